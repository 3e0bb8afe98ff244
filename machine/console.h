/*
 * The hypervisor's console: COM1 (interrupt driven both ways) and the screen. Output goes to a
 * ring and never waits for the line.
 */
#ifndef MACHINE_CONSOLE_H
#define MACHINE_CONSOLE_H

#include "lib/types.h"

/*
 * Raw bytes to the serial line only: a guest's console. Bytes that do not fit are dropped and
 * counted. Returns how many were taken.
 */
size_t console_write_raw(const void *data, size_t n);
/* Room in the output ring, in bytes. */
size_t console_room(void);
/*
 * What stands on the terminal's last row, and how it is drawn there: lines of the log come above
 * it. n is 0 for nothing, and at most CONSOLE_PROMPT.
 */
#define CONSOLE_PROMPT 128
void console_set_prompt(const char *text, size_t n);
/* Where the log ends; it moves with every line. */
uint64_t console_log_end(void);
/* Who gets the bytes typed on the serial line; called with interrupts off, from an interrupt. */
void console_set_input(void (*input)(void *opaque, uint8_t byte), void *opaque);
/* Writes out everything that is queued, by polling. Before power-off, and in a panic. */
void console_flush(void);

#endif
