/*
 * A host for device tests: simulated time, timers, RAM, and a record of what was asked for. Time
 * moves only when a test moves it.
 */
#ifndef TESTS_FAKE_HOST_H
#define TESTS_FAKE_HOST_H

#include "devices/machine.h"

#define FAKE_TSC_HZ   1000000000ull /* a tick is a nanosecond */
#define FAKE_RAM_SIZE MIB(1)
#define FAKE_MAX_CPUS MACHINE_MAX_VCPUS

/* What the local APICs asked of a vCPU. */
struct fake_cpu {
    unsigned wakes, nmis, inits, startups;
    uint8_t startup_vector; /* of the last SIPI */
};

/* Device memory that the guest has been given. */
#define FAKE_MAX_MAPS 16
struct fake_map {
    gpa_t gpa;
    uint8_t *pages;
    uint64_t bytes; /* 0: none */
};

struct fake_host {
    struct device_host host;
    uint64_t now;
    struct timerq timers;
    uint8_t *ram; /* FAKE_RAM_SIZE bytes at guest address 0 */
    unsigned power_offs, resets, cpu_resets;
    uint8_t shadow[64]; /* bits 0 and 1: what each page from 768 KiB on was set to by map_shadow */
    unsigned shadow_changes;
    uint64_t wall_base; /* wall-clock seconds at TSC 0 */
    unsigned log_lines;
    char last_log[128];
    long live_allocs; /* must be 0 when everything was destroyed */
    long allocs_left; /* allocations that will succeed; negative: all */
    struct fake_cpu cpu[FAKE_MAX_CPUS];
    struct fake_map maps[FAKE_MAX_MAPS];
    bool refuse_maps;
    struct timer apic_timer[FAKE_MAX_CPUS];
};

void fake_host_init(struct fake_host *f);
/* Frees the RAM and asserts that nothing is left: allocations, armed timers. */
void fake_host_finish(struct fake_host *f);

/* Lets ticks go by; each timer fires when it is due, and sees that time. */
void fake_host_advance(struct fake_host *f, uint64_t ticks);
/* As when the VM was not scheduled: time has gone by first, then all overdue timers fire. */
void fake_host_jump(struct fake_host *f, uint64_t ticks);
/* Ticks of a duration. */
uint64_t fake_host_us(uint64_t us);

/* The byte that the guest would find at gpa without coming to a device; NULL: nothing mapped. */
uint8_t *fake_mapped(struct fake_host *f, uint64_t gpa);

/* machine_cpu_ops that record into f->cpu; their opaque is the fake_host. */
extern const struct machine_cpu_ops fake_cpu_ops;

/* A machine with all device classes on this host; fails the test if that does not work. */
void fake_machine_create(struct fake_host *f, struct machine *m, unsigned nr_vcpus);

static inline void fake_outb(struct machine *m, uint16_t port, uint8_t value)
{
    bus_port_write(m->bus, port, 1, value);
}
static inline uint8_t fake_inb(struct machine *m, uint16_t port)
{
    return (uint8_t)bus_port_read(m->bus, port, 1);
}

#endif
