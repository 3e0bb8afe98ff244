/*
 * Virtual machines and their vCPUs: what ties VMX, memory and devices together.
 *
 * Locks, in the order in which they may be taken: vm->lock (devices and their timers), ept.lock or
 * a serial ring's, sched queue, timer queue. VMM code runs to completion with interrupts off.
 */
#ifndef VM_VM_H
#define VM_VM_H

#include "devices/lapic.h"
#include "devices/machine.h"
#include "ept/ept.h"
#include "lib/spinlock.h"
#include "lib/timerq.h"
#include "machine/percpu.h"
#include "sched/group.h"
#include "vm/config.h"
#include "vm/device_mov.h"
#include "vm/firmware_files.h"
#include "vm/job.h"
#include "vm/load.h"
#include "vmx/vcpu.h"

struct vm;
struct vmctl;

/* Reasons to look up before the next entry; bits of vcpu->vmx.attention. */
#define REQUEST_EVENTS BIT(0) /* interrupts or NMIs may be pending */
#define REQUEST_STOP   BIT(1) /* the VM ends, resets or pauses: leave */
#define REQUEST_YIELD  BIT(2) /* the guest spins: others may have what it waits for */
#define REQUEST_HALT   BIT(3) /* the guest executed HLT */
#define REQUEST_INIT   BIT(4) /* an INIT arrived */
#define REQUEST_SIPI   BIT(5) /* a start-up IPI arrived */
#define REQUEST_ROUND  BIT(6) /* this CPU's queue or the VM's EPT has changed: go round */

enum vcpu_mode {
    VCPU_RUN,       /* executes instructions, when it is its turn */
    VCPU_HALT,      /* in HLT until an event */
    VCPU_WAIT_SIPI, /* after INIT, or never started */
};

struct vcpu {
    struct vmx_vcpu vmx; /* first: VMX's callbacks get a pointer to it */
    struct lapic *lapic; /* of the VM's machine */
    struct vm *vm;
    unsigned index;
    unsigned cpu; /* atomic: the physical CPU that it runs on, or ran on last */
    struct sched_entity sched;
    enum vcpu_mode mode;
    bool stopped; /* not between vcpu_start and the end of REQUEST_STOP: nothing wakes it; atomic */
    bool in_guest; /* between entry and exit */
    uint8_t sipi_page;
    /*
     * When the local APIC's timer expires, in host TSC. While the vCPU runs it is part of what the
     * preemption timer is set to; else apic_timer is armed for it.
     */
    uint64_t apic_deadline;
    struct timer apic_timer;
    struct mov_site mov_sites[MOV_SITES];
};

enum vm_end {
    VM_END_NONE,
    VM_END_POWEROFF,
    VM_END_RESET,
    VM_END_CRASH,
    VM_END_DESTROY, /* the operator's: whatever on_poweroff says */
    VM_END_RESTART, /* the operator's reset: whatever on_reboot says */
};

/* Frames in a row that a VM has taken ahead, so that a page can be given in a few steps. */
struct vm_spare {
    mpn_t next;
    unsigned left;
    bool clean; /* all zero */
};

enum vm_state {
    VM_STOPPED, /* it has not begun, or it has ended and is kept */
    VM_RUNNING,
    VM_PAUSED, /* suspended by the operator: time stands still in it */
};

/* Bytes for the guest that its UART could not take yet. */
#define VM_INPUT_RING 1024

struct vm_serial {
    bool logged;    /* com1 = log: whole lines to the log */
    char line[160]; /* the line that is being put together, for the log or a shared console */
    unsigned line_len;
    uint8_t input[VM_INPUT_RING];
    unsigned input_head, input_tail;
    struct timer retry; /* offers waiting bytes again */
};

/* Firmware's memory. The frames stay the VM's own whatever is mapped. */
#define FIRMWARE_PAGES 64 /* 256 KiB: at most of an image, and of the area below 1 MiB */

struct vm_firmware {
    struct firmware_files *files;
    mpn_t rom;          /* 2^6 pages whose last ones are the image; MPN_NONE: no firmware */
    mpn_t shadow;       /* 2^6 pages of RAM from GUEST_ROM_START on */
    unsigned rom_pages; /* of the image */
    uint8_t
        writable[FIRMWARE_PAGES]; /* whether writes to each page from GUEST_ROM_START on arrive */
};

struct vm {
    struct vmctl *control; /* what it was defined as */
    uint32_t id;
    struct vm_config config;
    enum vm_state state;
    struct sched_group sched;
    struct spinlock lock;
    struct ept ept;
    struct vmx_vm vmx;
    struct machine machine;
    struct device_host host;
    struct guest_memory memory;
    struct vm_spare spare; /* under ept.lock */
    struct vm_firmware firmware;
    struct guest_region regions[GUEST_MAX_REGIONS];
    unsigned nr_regions;
    struct timerq timers;    /* of the devices, in guest TSC; under lock */
    struct timer next_timer; /* this VM's timer in its CPU's queue, for the soonest of them */
    uint64_t tsc_offset;     /* guest TSC = host TSC + this, as the devices know it */
    uint64_t frozen_at;      /* host TSC at which its time came to stand still; 0: it goes on */
    enum vm_end end;         /* why it is ending */
    bool pause;              /* the operator wants it to be paused */
    unsigned running_vcpus;  /* those that have not stopped */
    struct job left;         /* once all have stopped: what comes next */
    unsigned restarts;
    bool crashed; /* it ended in a way that its guest did not choose */
    struct vm_serial serial;
    struct vm_screen *screen; /* on the console; NULL: it has none there */
    struct vcpu *vcpus[MACHINE_MAX_VCPUS];
};

static inline struct vcpu *vcpu_of(struct vmx_vcpu *v)
{
    return (struct vcpu *)v;
}
static inline struct vm *vm_of_host(struct device_host *h)
{
    return container_of(h, struct vm, host);
}

/* ---- vm.c: life ---- */

/* Makes a VM, its kernel loaded, not yet running. NULL: why is told in a line of the log. */
struct vm *vm_create(const struct vm_config *config, struct vmctl *control);
/* Lets its vCPUs run. */
void vm_start(struct vm *vm);
/*
 * The VM comes to an end once its vCPUs have left; any CPU, vm->lock is held. The first reason
 * counts.
 */
void vm_request_end(struct vm *vm, enum vm_end why);
/* Called by a vCPU, with its state loaded: what there is to say of it and of the VM's last words.
 */
void vm_dump(struct vcpu *c);
/* Called by a vCPU, with its state loaded: dumps it and ends the VM as crashed. */
void vm_crash(struct vcpu *c, const char *why);
/* One vCPU has left. After the last one a job settles what happens to the VM. */
void vm_vcpu_stopped(struct vm *vm);
/* Its vCPUs have left, and it ends for this reason. In a job. */
void vm_end_stopped(struct vm *vm, enum vm_end why);
/* Frees a VM that does not run. In a job. */
void vm_destroy(struct vm *vm);

/* ---- pause.c: a VM whose time stands still; all in a job ---- */

/* Its vCPUs will leave, and then it is paused. */
void vm_pause(struct vm *vm);
/* They have left: its time stands still from here on. */
void vm_freeze(struct vm *vm);
/* Its time goes on from where it stood. */
void vm_thaw(struct vm *vm);
/* A paused VM goes on; one that is about to be paused is not. */
void vm_resume(struct vm *vm);

/* ---- vm.c, again ---- */

/* Whether the VM gets a display adapter. */
bool vm_wants_vga(const struct vm_config *config);
/* A line in the log, with the VM's name before it. */
void vm_log(struct vm *vm, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The image in a boot module; name stays with the machine. */
struct disk_image vm_disk_image(const char *name, bool cdrom);
/* Puts the disks' images on their places. */
void vm_disks_config(struct vm *vm, struct machine_config *config);
/* A boot module's bytes; NULL for "" or a name that is not there. */
const void *vm_module(const char *name, size_t *size);

/* ---- memory.c: guest-physical memory ---- */

int vm_memory_init(struct vm *vm);
void vm_memory_destroy(struct vm *vm);
/* The RAM of this VM that gpa lies in, or NULL. */
static inline const struct guest_region *vm_region(const struct vm *vm, gpa_t gpa)
{
    /* From the end: what is below 1 MiB is the first and the smallest. */
    for (const struct guest_region *r = vm->regions + vm->nr_regions; r-- > vm->regions;)
        if (gpa.v - r->start.v < r->size)
            return r;
    return NULL;
}
static inline bool vm_is_ram(const struct vm *vm, gpa_t gpa)
{
    return vm_region(vm, gpa) != NULL;
}
/* Puts memory behind gpa, which lies in r; false when the machine has none left. */
MUST_CHECK bool vm_populate_region(struct vm *vm, const struct guest_region *r, gpa_t gpa);
/* Likewise; false also when gpa is not RAM. */
MUST_CHECK static inline bool vm_populate(struct vm *vm, gpa_t gpa)
{
    const struct guest_region *r = vm_region(vm, gpa);

    return r != NULL && vm_populate_region(vm, r, gpa);
}
/* The EPT's generation has changed: no vCPU enters again without having seen that. */
void vm_ept_changed(struct ept *ept);
/*
 * Where option ROMs would be, a guest that searches for them reads all ones word by word: maps a
 * page of ones there instead. False: it is not that area, or a device answers there.
 */
#define GUEST_ROM_START 0xc0000ul
MUST_CHECK bool vm_map_void(struct vm *vm, gpa_t gpa);
/* Copies; false when any byte is not RAM, or memory ran out. */
MUST_CHECK bool vm_read(struct vm *vm, gpa_t from, void *to, size_t n);
MUST_CHECK bool vm_write(struct vm *vm, gpa_t to, const void *from, size_t n);
/*
 * Where gpa is in the direct map, put there if need be; NULL: not RAM that can be written, or no
 * memory left.
 */
void *vm_pointer(struct vm *vm, gpa_t gpa);
/* The same for reading, from ROM too. */
const void *vm_pointer_read(struct vm *vm, gpa_t gpa);

/* ---- firmware.c: the ROM, and the RAM that shadows it ---- */

/* Whether the VM starts from firmware. */
static inline bool vm_has_firmware(const struct vm *vm)
{
    return vm->config.firmware[0] != '\0';
}
/* Puts the firmware's image (size bytes, checked here) into ROM. 0, or why it was not told. */
MUST_CHECK int vm_firmware_init(struct vm *vm, const void *image, size_t size);
void vm_firmware_destroy(struct vm *vm);
/* What the machine needs to know for firmware: files, boot order. 0 or E_NOMEM, E_RANGE. */
MUST_CHECK int vm_firmware_config(struct vm *vm, struct machine_config *config);
/* Whether gpa is between 768 KiB and 1 MiB, where the chip set says what is found. */
bool vm_firmware_owns(const struct vm *vm, gpa_t gpa);
/* The RAM there, in the direct map; NULL where writes do not reach it. */
void *vm_firmware_pointer(const struct vm *vm, gpa_t gpa);
/*
 * What is found at [start, start + size) there, for reads and for writes: RAM, or not. The chip set
 * calls this, under vm->lock.
 */
void vm_firmware_map(struct vm *vm, gpa_t start, uint64_t size, bool read, bool write);

/* ---- device_pages.c: what device_host_ops say of map_pages and unmap_pages ---- */

MUST_CHECK int vm_map_pages(struct device_host *h, gpa_t gpa, void *pages, uint64_t bytes,
                            bool writable);
void vm_unmap_pages(struct device_host *h, gpa_t gpa, uint64_t bytes);

/* ---- walk.c: guest page tables ---- */

enum walk_access { WALK_READ, WALK_WRITE, WALK_FETCH };
struct walk_fault {
    uint32_t error; /* the error code of the #PF */
};
/*
 * Translates a linear address as the loaded vCPU would, with accessed and dirty bits set; false:
 * a page fault with that error code. implicit: a supervisor access whatever the CPL (descriptor
 * tables).
 */
MUST_CHECK bool walk_translate(struct vcpu *c, gva_t gva, enum walk_access access, bool implicit,
                               gpa_t *gpa, struct walk_fault *fault);

/* ---- ports ---- */

/* vm->lock is held. Of a value read, more bits than those of the size may be set. */
static inline uint32_t vm_port_read(struct vm *vm, uint16_t port, unsigned size)
{
    const struct bus_port *at = bus_port_at(vm->machine.ports, port);

    if (likely(at->takes & size))
        return (uint32_t)at->range->ops->read(at->range->opaque, at->offset, size);
    return bus_port_read(vm->machine.bus, port, size);
}
static inline void vm_port_write(struct vm *vm, uint16_t port, unsigned size, uint32_t value)
{
    const struct bus_port *at = bus_port_at(vm->machine.ports, port);

    if (likely(at->takes & size))
        at->range->ops->write(at->range->opaque, at->offset, size, value);
    else
        bus_port_write(vm->machine.bus, port, size, value);
}
/* port_string.c: INS or OUTS in short; false: nothing was done, it is one for the emulator. */
MUST_CHECK bool port_string_run(struct vcpu *c, const struct vmx_io *io);

/* ---- emulation.c ---- */

/* A register of a device, the local APIC's page included; size 1, 2, 4 or 8, aligned. */
uint64_t vm_device_read(struct vcpu *c, gpa_t gpa, unsigned size);
void vm_device_write(struct vcpu *c, gpa_t gpa, unsigned size, uint64_t value);

/* Emulates the instruction at RIP; gpa: the device access that made it exit, at linear. */
void emulation_run(struct vcpu *c, const gpa_t *gpa);

/* ---- task_switch.c ---- */

/* Carries out the task switch that made the vCPU exit (SDM vol. 3 section 7.3). */
void task_switch_run(struct vmx_vcpu *v, uint64_t qualification);

/* ---- vcpu.c: running ---- */

struct vcpu *vcpu_create(struct vm *vm, unsigned index);
void vcpu_destroy(struct vcpu *c);
/* Back to its state after power-on; the boot vCPU gets entry. */
void vcpu_reset(struct vcpu *c, const struct entry_state *entry, uint64_t tsc_offset);
/*
 * Runs c on this CPU until it blocks, gives way or stops. Once it is loaded, and who was loaded
 * before may move, the CPU helper (or SCHED_NO_CPU) is told to look for work.
 */
bool vcpu_run(struct vcpu *c, int helper);
/* A stopped vCPU runs from now on. */
void vcpu_start(struct vcpu *c);
/* Nothing of the vCPU's fires any more; before it is destroyed, and while its VM is frozen. */
void vcpu_stop_timer(struct vcpu *c);
/* The stopped vCPU's TSC is as if those ticks had not been. */
void vcpu_skip_time(struct vcpu *c, uint64_t ticks);
/*
 * Sets request bits and sees to it that the vCPU notices, or finds them when it is started. Any
 * CPU; vm->lock is held unless it is the running vCPU itself, so that nobody is still busy with
 * waking it when the VM goes.
 */
void vcpu_request(struct vcpu *c, uint32_t requests);
/* This CPU's soonest deadline may be over, and the running vCPU's APIC timer's. */
void vcpu_timers(struct vcpu *c);
/* This CPU's vCPUs see to its timers from here on, until timer_use_follower(NULL). */
void vcpu_drive_timers(void);

/* What of the local APIC the CPU can virtualise in its present mode. */
enum vmx_apic_mode vcpu_apic_mode(const struct vcpu *c);

/* ---- exits.c, host.c ---- */

extern const struct vmx_client vm_client;
extern const struct device_host_ops vm_host_ops;
extern const struct machine_cpu_ops vm_cpu_ops;
/* Fills in config's serial ports. */
void vm_host_init(struct vm *vm, struct machine_config *config);
/* Once the machine is made: connects its screen. 0 or E_NOMEM. */
MUST_CHECK int vm_host_connect(struct vm *vm);
/* The VM's timers are set anew, or stopped while its time stands still. vm->lock is held. */
void vm_host_arm_timers(struct vm *vm);
/* Before the machine goes: no key and no timer reaches it or its vCPUs any more. */
void vm_host_disconnect(struct vm *vm);
void vm_host_destroy(struct vm *vm);

/* ---- loop.c: the per-CPU loop ---- */

/* The scheduler of all CPUs; and this CPU's queue. */
struct sched *loop_sched(void);
struct sched_queue *loop_queue(void);
/* That CPU (or SCHED_NO_CPU) should look at its queue: it is kicked. */
void loop_tell(int cpu);
/* The running vCPU's slice is over. */
void loop_time_over(void);
/* There are news for the running vCPU: whether it goes on. */
bool loop_look(struct sched_queue *q);
/* The CPU works for vm (NULL: for no VM); a vCPU of another one that runs here is not charged. */
void loop_work_for(const struct vm *vm);
void loop_work_done(void);

#endif
