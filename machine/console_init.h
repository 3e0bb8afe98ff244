/* The console's parts, brought up one after the other. */
#ifndef MACHINE_CONSOLE_INIT_H
#define MACHINE_CONSOLE_INIT_H

#include "lib/types.h"

/* The serial line, polled; the log works from here on. */
void console_init(void);
/* The screen that the loader left, as far as it can be reached yet; shows the log so far. */
void console_init_screen(void);
/* Serial interrupts, both ways; after the APIC. */
void console_init_interrupts(void);
/* This CPU panics: takes the console from whoever holds it, and writes at once from now on. */
void console_panic(void);
/* Hands the serial line what it can take now. For loops that wait, while interrupts are off. */
void console_poll(void);
/*
 * The log's text from position *pos on (0: the oldest there is), at most size bytes; moves *pos
 * behind it and returns how many. The last 64 KiB are kept.
 */
size_t console_log_read(uint64_t *pos, char *buf, size_t size);
/* Lines and bytes that were dropped because the serial line was too slow. */
struct console_stats {
    uint64_t lines_dropped, bytes_dropped;
};
struct console_stats console_stats(void);

#endif
