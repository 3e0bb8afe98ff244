/*
 * A VM's display adapter on the operator's console: its screen, its keyboard, and pictures of it.
 * All is called with the VM's lock held.
 */
#ifndef VM_SCREEN_H
#define VM_SCREEN_H

#include "lib/types.h"

struct vm;

/* For a VM with a display adapter; it is not shown yet. 0 or E_NOMEM. */
MUST_CHECK int vm_screen_open(struct vm *vm);
void vm_screen_close(struct vm *vm);
/* On the console from now on, or not any more. */
void vm_screen_show(struct vm *vm, bool shown);
/* The key after the console's escape: p, r or d; others do nothing. */
void vm_screen_key(struct vm *vm, uint8_t key);
/* A byte typed; false: it is not for here, but for the serial line. */
bool vm_screen_input(struct vm *vm, uint8_t byte);

#endif
