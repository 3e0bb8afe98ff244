/*
 * COM1 and COM2, a 16550 each (National Semiconductor PC16550D data sheet). Not locked: who uses
 * one does that. Output is put into a ring, from which the line takes as much as it is ready for.
 */
#ifndef MACHINE_SERIAL_H
#define MACHINE_SERIAL_H

#include "lib/types.h"

#define SERIAL_RING     KIB(64)
#define SERIAL_COM1_IRQ 4
#define SERIAL_COM2_IRQ 3

struct serial_port;
extern struct serial_port serial_com1, serial_com2;

/* 115200 8N1; false when there is no port. */
bool serial_init(struct serial_port *p);
size_t serial_room(const struct serial_port *p);
/* Puts up to n bytes into the ring, returns how many. */
size_t serial_put(struct serial_port *p, const void *data, size_t n);
/* Hands over what the line is ready for; asks for an interrupt when more is left. */
void serial_pump(struct serial_port *p);
/* Waits for the line until the ring is empty, or the line seems dead. */
void serial_flush(struct serial_port *p);
void serial_enable_interrupts(struct serial_port *p);
/* One received byte, or -1. */
int serial_get(struct serial_port *p);
/* Whether the port (still) asks for attention; clears causes that need no action. */
bool serial_pending(struct serial_port *p);

#endif
