/*
 * PS/2 keyboard and mouse (IBM PS/2 Hardware Interface Technical Reference), as the keyboard
 * controller talks to them: commands go in, bytes come out of a queue.
 */
#ifndef DEVICES_PS2_H
#define DEVICES_PS2_H

#include "lib/types.h"

#define PS2_QUEUE_SIZE 16

struct ps2_queue {
    uint8_t data[PS2_QUEUE_SIZE];
    uint8_t first, count;
};

/* What both have: what they have to say, and the command whose parameter they wait for. */
struct ps2_port {
    struct ps2_queue out;
    uint8_t awaiting; /* 0: no command */
    uint8_t enabled;  /* it reports keys or movements */
    uint8_t last;     /* what it sent last, for resending */
};

struct ps2_keyboard {
    struct ps2_port port;
    uint8_t scan_set, leds;
};

struct ps2_mouse {
    struct ps2_port port;
    uint8_t resolution, rate;
};

/* As after power on. */
void ps2_keyboard_reset(struct ps2_keyboard *k);
void ps2_mouse_reset(struct ps2_mouse *m);
/* A byte from the controller: a command or its parameter. The answer is in the queue. */
void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t value);
void ps2_mouse_write(struct ps2_mouse *m, uint8_t value);
/* Queues a byte; when there is no room it is lost. */
void ps2_put(struct ps2_port *p, uint8_t byte);
/* The next byte; the queue must have one. */
uint8_t ps2_get(struct ps2_port *p);
/* Whether a loaded state can be one of this device. */
bool ps2_port_valid(const struct ps2_port *p);

#endif
