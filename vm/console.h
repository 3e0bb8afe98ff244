/*
 * The operator's terminal, and who has it: the monitor's prompt, a VM's serial console or screen,
 * or, until the operator first switches, all VMs together, line by line.
 */
#ifndef VM_CONSOLE_H
#define VM_CONSOLE_H

#include "lib/types.h"

struct vmctl;

/*
 * The escape: with the next key it does something here instead of going to the guest.
 * Docs: docs/console.md.
 */
#define CONSOLE_ESCAPE 0x1e /* Ctrl-^ */

/* Before any VM is made: keys are taken from here on. */
void console_start(void);
/* Whether several VMs write to the terminal, each line with its VM's name. */
bool console_is_shared(void);

/* ---- all in jobs ---- */

/* A VM is made: it may have the terminal. */
void console_join(struct vmctl *c);
/* Its devices are there: its screen is shown if it has the terminal. */
void console_connect(struct vmctl *c);
/* Its VM is about to go: who looked at it is back at the monitor. */
void console_gone(struct vmctl *c);
/* Gives the terminal to a VM; what it has said meanwhile comes first. NULL, or why not. */
const char *console_show(struct vmctl *c);
/* Gives it to the monitor. */
void console_show_monitor(void);

#endif
