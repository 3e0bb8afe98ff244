/*
 * A VM's display adapter on the operator's console: its screen, its keyboard, and pictures of it.
 * All is called with the VM's lock held.
 */
#ifndef VM_SCREEN_H
#define VM_SCREEN_H

#include "lib/types.h"

struct vm;

/*
 * The console's escape: with the next key it does something here instead of going to the guest.
 * Docs: docs/running.md.
 */
#define SCREEN_ESCAPE 0x1e /* Ctrl-^ */

/* The VM has the console: shows its screen there if it is configured so. 0 or E_NOMEM. */
MUST_CHECK int vm_screen_open(struct vm *vm);
void vm_screen_close(struct vm *vm);
/* A byte typed; false: it is not for here, but for the serial line. */
bool vm_screen_input(struct vm *vm, uint8_t byte);

#endif
