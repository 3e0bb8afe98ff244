/*
 * The VMs that the configuration defines, running or not, and what their operator does with them.
 * All of it happens in jobs (vm/job.h), one at a time. docs/console.md says what each means.
 */
#ifndef VM_VMCTL_H
#define VM_VMCTL_H

#include "vm/config.h"
#include "vm/serial.h"
#include "vm/vm.h"

struct vmctl {
    struct vm_config config; /* as it will be started; the VM that runs has its own copy */
    struct vm *vm;           /* NULL: shut off */
    struct serial_ring console;
    unsigned number; /* from 1 on, in the configuration's order */
    bool crashed;    /* that was its last end */
};

enum vmctl_state {
    VMCTL_SHUT_OFF,
    VMCTL_RUNNING,
    VMCTL_PAUSED,
    VMCTL_ENDED, /* and kept as it was (on_poweroff = preserve) */
    VMCTL_CRASHED,
};

enum vmctl_event {
    VMCTL_STARTED,
    VMCTL_SUSPENDED,
    VMCTL_RESUMED,
    VMCTL_SHUTDOWN, /* the guest's power is off; detail: enum vm_end */
    VMCTL_RESET,
    VMCTL_CRASH,
    VMCTL_POWERDOWN, /* its power button was pressed */
};

/* Takes over configs[count], from the heap. Makes and starts those that are to be started. */
void vmctl_init(struct vm_config *configs, unsigned count);
unsigned vmctl_count(void);
/* The VM of that number, from 1 on, or of that name or number in text; NULL: there is none. */
struct vmctl *vmctl_at(unsigned number);
struct vmctl *vmctl_find(const char *name);
enum vmctl_state vmctl_state(const struct vmctl *c);
/* "running", "paused", "shut off" ... */
const char *vmctl_state_name(enum vmctl_state state);
/* Whether the machine stays up without any VM that runs (console=monitor). */
bool vmctl_stays(void);

/* Each returns NULL, or in one line why it cannot be done and what could be. */
const char *vmctl_start(struct vmctl *c);
const char *vmctl_shutdown(struct vmctl *c);
const char *vmctl_destroy(struct vmctl *c);
const char *vmctl_suspend(struct vmctl *c);
const char *vmctl_resume(struct vmctl *c);
const char *vmctl_reset(struct vmctl *c);
/* New CPU parameters; they count from now on, and when it is started again. */
const char *vmctl_set_cpu(struct vmctl *c, const struct sched_params *p);
struct sched_params vmctl_cpu(const struct vmctl *c);
/* Ends everything: the machine is powered off. */
NORETURN void vmctl_power_off(void);

/* Who wants to know what happens to VMs: called in the job in which it does. One listener. */
void vmctl_listen(void (*listener)(struct vmctl *c, enum vmctl_event e, unsigned detail));

/* ---- for vm.c ---- */

/* A VM comes to its end for this reason; it may be restarted. */
void vmctl_vm_end(struct vm *vm, enum vm_end why);
/* It was suspended. */
void vmctl_vm_suspended(struct vm *vm);
/*
 * It has ended for good, and is freed unless it is kept. When the last one has ended, the machine
 * is powered off, unless it stays.
 */
void vmctl_vm_ended(struct vm *vm, bool kept);

#endif
