/* The inside of panics: what trap.c and panic.c share. */
#ifndef MACHINE_PANIC_STOP_H
#define MACHINE_PANIC_STOP_H

#include "lib/types.h"

struct trap_frame;

/* As panic, with the registers and the backtrace of the interrupted code. */
NORETURN void panic_trap(const struct trap_frame *f, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* In an NMI: another CPU panics, this one ends here. */
void panic_stop_if_panicking(void);

#endif
