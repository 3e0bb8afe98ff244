/* The monitor: the operator's prompt, and its commands. All in jobs. Docs: docs/console.md. */
#ifndef VM_OPERATOR_H
#define VM_OPERATOR_H

#include "lib/types.h"
#include "monitor/command.h"

/* The monitor has the terminal from here on; not any more. */
void operator_enter(void);
void operator_leave(void);
void operator_input(uint8_t byte);
/* Something else was written: the line is drawn once more. */
void operator_redraw(void);
/* A piece of a command's output; "\n" ends a line. */
void operator_print(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* The table of commands (vm/operator_commands.c). */
extern const struct command_table operator_commands;

#endif
