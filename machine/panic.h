/* Ends of the hypervisor. Each is one clear line on serial and screen first. */
#ifndef MACHINE_PANIC_H
#define MACHINE_PANIC_H

#include "lib/types.h"

/* Our own bug: the line, registers, a backtrace with symbol names, and the machine stops. */
NORETURN void panic(const char *fmt, ...) PRINTF_LIKE(1, 2);
/*
 * Something outside is missing or wrong (no VT-x, no configuration): "tithe: fatal: ..." and a
 * clean end: powered off if the command line says so (see exit= in docs), else halted.
 */
NORETURN void fatal(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Prints the frames above this one, one a line, with symbol and offset. */
void backtrace_print(uint64_t rbp);

#endif
