/*
 * COM1, a 16550 (National Semiconductor PC16550D data sheet). Not locked: machine/console.c does
 * that. Output is put into a ring, from which the line takes as much as it is ready for.
 */
#ifndef MACHINE_SERIAL_H
#define MACHINE_SERIAL_H

#include "lib/types.h"

#define SERIAL_RING     KIB(64)
#define SERIAL_COM1_IRQ 4

/* 115200 8N1; false when there is no port. */
bool serial_init(void);
size_t serial_room(void);
/* Puts up to n bytes into the ring, returns how many. */
size_t serial_put(const void *data, size_t n);
/* Hands over what the line is ready for; asks for an interrupt when more is left. */
void serial_pump(void);
/* Waits for the line until the ring is empty, or the line seems dead. */
void serial_flush(void);
void serial_enable_interrupts(void);
/* One received byte, or -1. */
int serial_get(void);
/* Whether the port (still) asks for attention; clears causes that need no action. */
bool serial_pending(void);

#endif
