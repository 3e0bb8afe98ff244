#include "devices/ps2.h"

#include "lib/string.h"

/* Commands to keyboard and mouse, and their answers. */
enum {
    DEV_ACK = 0xfa,
    DEV_RESEND = 0xfe,
    DEV_SELF_TEST_OK = 0xaa,
    KBD_SET_LEDS = 0xed,
    KBD_ECHO = 0xee,
    KBD_SCAN_SET = 0xf0,
    KBD_FIRST_KEY_TYPE = 0xf7, /* to 0xfd: what keys of set 3 do */
    KBD_LAST_KEY_TYPE = 0xfd,
    MOUSE_SCALING_1 = 0xe6,
    MOUSE_SCALING_2 = 0xe7,
    MOUSE_RESOLUTION = 0xe8,
    MOUSE_STATUS = 0xe9,
    MOUSE_STREAM = 0xea,
    MOUSE_READ = 0xeb,
    MOUSE_REMOTE = 0xf0,
    DEV_IDENTIFY = 0xf2,
    DEV_SET_RATE = 0xf3,
    DEV_ENABLE = 0xf4,
    DEV_DISABLE = 0xf5,
    DEV_DEFAULTS = 0xf6,
    DEV_RESET = 0xff,
};

void ps2_put(struct ps2_port *p, uint8_t byte)
{
    struct ps2_queue *q = &p->out;

    if (q->count < PS2_QUEUE_SIZE)
        q->data[(q->first + q->count++) % PS2_QUEUE_SIZE] = byte;
}

uint8_t ps2_get(struct ps2_port *p)
{
    struct ps2_queue *q = &p->out;

    p->last = q->data[q->first];
    q->first = (q->first + 1) % PS2_QUEUE_SIZE;
    q->count--;
    return p->last;
}

bool ps2_port_valid(const struct ps2_port *p)
{
    return p->out.first < PS2_QUEUE_SIZE && p->out.count <= PS2_QUEUE_SIZE;
}

static void answer(struct ps2_port *p, unsigned n, const uint8_t *bytes)
{
    for (unsigned i = 0; i < n; i++)
        ps2_put(p, bytes[i]);
}
#define ANSWER(p, ...) \
    answer(p, sizeof((const uint8_t[]){__VA_ARGS__}), (const uint8_t[]){__VA_ARGS__})

/* What keyboard and mouse have in common; false when the command is not one of those. */
static bool common_command(struct ps2_port *p, uint8_t command)
{
    switch (command) {
    case DEV_ENABLE:
    case DEV_DISABLE:
        p->enabled = command == DEV_ENABLE;
        ANSWER(p, DEV_ACK);
        return true;
    case DEV_SET_RATE:
        p->awaiting = command;
        ANSWER(p, DEV_ACK);
        return true;
    case DEV_RESEND:
        ps2_put(p, p->last);
        return true;
    default:
        return false;
    }
}

static void keyboard_defaults(struct ps2_keyboard *k)
{
    k->scan_set = 2;
    k->leds = 0;
    k->port.enabled = true;
}

static void keyboard_parameter(struct ps2_keyboard *k, uint8_t command, uint8_t value)
{
    ANSWER(&k->port, DEV_ACK);
    if (command == KBD_SET_LEDS)
        k->leds = value & 7;
    else if (command == KBD_SCAN_SET && value == 0)
        ps2_put(&k->port, k->scan_set);
    else if (command == KBD_SCAN_SET && value <= 3)
        k->scan_set = value;
}

void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t value)
{
    struct ps2_port *p = &k->port;
    uint8_t awaiting = p->awaiting;

    p->awaiting = 0;
    p->out.count = 0; /* a new command ends the answer to the one before */
    if (awaiting != 0 && value < 0x80) {
        keyboard_parameter(k, awaiting, value);
    } else if (common_command(p, value)) {
        return;
    } else if (value == KBD_SET_LEDS || value == KBD_SCAN_SET) {
        p->awaiting = value;
        ANSWER(p, DEV_ACK);
    } else if (value == KBD_ECHO) {
        ANSWER(p, KBD_ECHO);
    } else if (value == DEV_IDENTIFY) {
        ANSWER(p, DEV_ACK, 0xab, 0x83); /* an MF2 keyboard */
    } else if (value == DEV_DEFAULTS || value == DEV_RESET) {
        keyboard_defaults(k);
        ANSWER(p, DEV_ACK);
        if (value == DEV_RESET)
            ANSWER(p, DEV_SELF_TEST_OK);
    } else if (value >= KBD_FIRST_KEY_TYPE && value <= KBD_LAST_KEY_TYPE) {
        ANSWER(p, DEV_ACK);
    } else {
        ANSWER(p, DEV_RESEND);
    }
}

static void mouse_defaults(struct ps2_mouse *m)
{
    m->resolution = 2; /* 4 counts per mm */
    m->rate = 100;
    m->port.enabled = false;
}

static void mouse_parameter(struct ps2_mouse *m, uint8_t command, uint8_t value)
{
    if (command == MOUSE_RESOLUTION)
        m->resolution = value;
    else
        m->rate = value;
    ANSWER(&m->port, DEV_ACK);
}

void ps2_mouse_write(struct ps2_mouse *m, uint8_t value)
{
    struct ps2_port *p = &m->port;
    uint8_t awaiting = p->awaiting;

    p->awaiting = 0;
    p->out.count = 0;
    if (awaiting != 0) {
        mouse_parameter(m, awaiting, value);
        return;
    }
    if (common_command(p, value))
        return;
    switch (value) {
    case MOUSE_RESOLUTION:
        p->awaiting = value;
        ANSWER(p, DEV_ACK);
        break;
    case MOUSE_STATUS:
        ANSWER(p, DEV_ACK, (uint8_t)(p->enabled << 5), m->resolution, m->rate);
        break;
    case MOUSE_READ:
        ANSWER(p, DEV_ACK, 0x08, 0, 0); /* no button, no movement */
        break;
    case DEV_IDENTIFY:
        ANSWER(p, DEV_ACK, 0);
        break;
    case DEV_RESET:
        mouse_defaults(m);
        ANSWER(p, DEV_ACK, DEV_SELF_TEST_OK, 0);
        break;
    case DEV_DEFAULTS:
        mouse_defaults(m);
        ANSWER(p, DEV_ACK);
        break;
    case MOUSE_SCALING_1:
    case MOUSE_SCALING_2:
    case MOUSE_STREAM:
    case MOUSE_REMOTE:
        ANSWER(p, DEV_ACK);
        break;
    default:
        ANSWER(p, DEV_RESEND);
    }
}

void ps2_keyboard_reset(struct ps2_keyboard *k)
{
    memset(k, 0, sizeof(*k));
    keyboard_defaults(k);
}

void ps2_mouse_reset(struct ps2_mouse *m)
{
    memset(m, 0, sizeof(*m));
    mouse_defaults(m);
}
