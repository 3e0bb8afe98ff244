/*
 * What a device model is, and all that it may know of the world: its host (time, timers, guest
 * memory, the VM's power switch), interrupt lines, and the bus it registers on (devices/bus.h).
 *
 * A device is one small file: its register struct, named registers, in/out, interrupt update,
 * reset, save and load. It is created per VM, keeps no global state, and announces itself with
 * DEVICE_CLASS; no list names it. The files also build on the host, where tests drive them.
 *
 * Locking: one lock per VM, held by the caller around every entry into a device, timers included.
 */
#ifndef DEVICES_DEVICE_H
#define DEVICES_DEVICE_H

#include "lib/timerq.h"
#include "lib/types.h"

struct bus;
struct machine;

enum device_power {
    DEVICE_POWER_OFF, /* ACPI S5 */
    DEVICE_RESET,     /* the whole machine: 0xCF9, ACPI reset register, triple fault */
    DEVICE_RESET_CPU, /* the CPUs only (INIT): 0xCF9, keyboard controller, port 0x92 */
};

/*
 * The machine that a device sits in. Time is the guest's TSC: one clock, from which every device
 * derives its own (lib/checked.h: mul_div).
 */
struct device_host {
    const struct device_host_ops *ops;
    uint64_t tsc_hz; /* guest TSC ticks per second */
};

struct device_host_ops {
    /* The guest's TSC now. */
    uint64_t (*now)(struct device_host *h);
    /* Arms or moves a timer (timer_init first) to a guest TSC value; it fires under the VM's lock.
     */
    void (*timer_set)(struct device_host *h, struct timer *t, uint64_t deadline);
    void (*timer_cancel)(struct device_host *h, struct timer *t);
    /* Copies from or to guest memory; false when any of it is not RAM (nothing is promised then).
     */
    bool (*dma_read)(struct device_host *h, gpa_t from, void *to, size_t n);
    bool (*dma_write)(struct device_host *h, gpa_t to, const void *from, size_t n);
    /* Asks for the VM to be ended or reset once the current access is done. */
    void (*power)(struct device_host *h, enum device_power what);
    /* Wall-clock time, seconds since 1970 UTC. */
    uint64_t (*wall_clock)(struct device_host *h);
    /*
     * What the guest finds at [start, start + size), whole 4 KiB pages within the firmware's area
     * below 1 MiB: RAM or not when it reads, RAM or not when it writes. Takes effect with the next
     * instruction.
     */
    void (*map_shadow)(struct device_host *h, gpa_t start, uint64_t size, bool read, bool write);
    /* A line in the VM's log. */
    void (*log)(struct device_host *h, const char *text);
    /*
     * Zeroed memory for as long as the VM lives; NULL when there is none. Aligned to 64 bytes, and
     * to a page when it is a page or more.
     */
    void *(*alloc)(struct device_host *h, size_t bytes);
    void (*free)(struct device_host *h, void *p);
    /*
     * Makes a device's own memory (from alloc, whole pages) appear at gpa: the guest's accesses
     * there do not come to the bus any more. Only where nothing else is: E_EXIST otherwise, and
     * E_NOMEM; then nothing has changed. Both may be NULL: the host cannot do that.
     */
    int (*map_pages)(struct device_host *h, gpa_t gpa, void *pages, uint64_t bytes, bool writable);
    /* Takes away what map_pages, with the same bytes, has put there. */
    void (*unmap_pages)(struct device_host *h, gpa_t gpa, uint64_t bytes);
};

static inline uint64_t device_now(struct device_host *h)
{
    return h->ops->now(h);
}

/* An interrupt line: a wire to some input of a controller. Level, not edges, is what it carries. */
struct irq_line {
    void (*set)(void *opaque, unsigned input, bool level);
    void *opaque;
    unsigned input;
};

static inline void irq_line_set(const struct irq_line *l, bool level)
{
    if (l->set != NULL)
        l->set(l->opaque, l->input, level);
}

/* A byte stream behind a UART or console: where its output goes. Input is pushed into the device.
 */
struct chardev {
    /* Takes up to n bytes; returns how many. The rest may be offered again. */
    size_t (*write)(void *opaque, const void *data, size_t n);
    void *opaque;
    /* The device can take input again, after it had taken less than was offered. May be NULL. */
    void (*room)(void *opaque);
};

/*
 * The device state stream, for suspend, snapshot and migration: tagged so that a reader can tell
 * a wrong or cut-off stream from a right one.
 */
struct device_state {
    uint8_t *buf;
    size_t size; /* of buf */
    size_t pos;
    bool failed; /* did not fit, or ran out, or a tag did not match: sticky */
};

/* Appends n bytes (saving) or takes n bytes (loading). Defined in devices/state.c. */
void device_state_put(struct device_state *s, const void *data, size_t n);
void device_state_get(struct device_state *s, void *data, size_t n);
/* A section's tag: written, and when loading compared. */
void device_state_put_tag(struct device_state *s, uint32_t tag, uint16_t version);
bool device_state_get_tag(struct device_state *s, uint32_t tag, uint16_t version);

struct device;

/* A kind of device. Announced with DEVICE_CLASS(name). */
struct device_class {
    const char *name; /* as a configuration names it: "uart", "pit" */
    size_t size;      /* of the instance, whose first member is struct device */
    /*
     * Order of creation, low first: interrupt controllers come before what is wired to them.
     * Every VM gets one instance of each class, unless create declines with E_NODEV.
     */
    unsigned order;
    /* Registers on the bus, takes its interrupt lines from the machine; 0 or a negative error. */
    int (*create)(struct device *d, struct machine *m);
    void (*reset)(struct device *d);
    void (*save)(struct device *d, struct device_state *s);
    bool (*load)(struct device *d, struct device_state *s);
    void (*destroy)(struct device *d); /* may be NULL */
};

struct device {
    const struct device_class *class;
    struct machine *machine;
    struct list node; /* in its machine's devices */
};

#define DEVICE_ORDER_INTERRUPTS 10
#define DEVICE_ORDER_PLATFORM   20
#define DEVICE_ORDER_CHIPSET    25 /* functions of slots 0 and 1 of the PCI bus */
#define DEVICE_ORDER_PERIPHERAL 30

/* Puts the class where machine_create finds it: a linker section of pointers. */
#define DEVICE_CLASS(name)                                      \
    static const struct device_class *const device_class_##name \
        __attribute__((used, retain, section("device_classes"))) = &(name)

#endif
