/*
 * A guest's first serial port, on the operator's console or in the log; and what it has said last.
 */
#ifndef VM_SERIAL_H
#define VM_SERIAL_H

#include "lib/spinlock.h"
#include "lib/types.h"

struct vm;
struct machine_config;

#define SERIAL_RING_BYTES KIB(8)

/* What a VM's console has said last. It outlives the VM. */
struct serial_ring {
    struct spinlock lock; /* comes after vm->lock */
    bool shown;           /* goes to the terminal as it comes */
    uint64_t head, seen;  /* bytes ever written; up to where they were shown */
    char bytes[SERIAL_RING_BYTES];
};

/* Writes what was not shown yet, at most what the line takes, and goes on as it comes. */
void serial_ring_show(struct serial_ring *r);
void serial_ring_hide(struct serial_ring *r);

/* The VM's COM1, as it is configured. */
void vm_serial_init(struct vm *vm, struct machine_config *config);
void vm_serial_destroy(struct vm *vm);
/* Whether its first serial port is a console of its own. */
bool vm_serial_on_console(const struct vm *vm);
/* A byte for the guest. vm->lock is held. */
void vm_serial_type(struct vm *vm, uint8_t byte);

#endif
