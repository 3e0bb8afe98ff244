/*
 * One counter of an 8254 (Intel data sheet 231164), as a function of time: it holds when it was
 * loaded and with what, and says what its count and its output are at a given tick of its clock.
 */
#ifndef DEVICES_PIT_CHANNEL_H
#define DEVICES_PIT_CHANNEL_H

#include "lib/types.h"

#define PIT_HZ    1193182ull
#define PIT_NEVER UINT64_MAX

/* The control word's bits that a counter keeps and gives back in its status */
#define PIT_BCD          0x01
#define PIT_MODE_SHIFT   1
#define PIT_ACCESS_SHIFT 4
#define PIT_CONTROL_BITS 0x3f
/* Status */
#define PIT_STATUS_OUT  0x80
#define PIT_STATUS_NULL 0x40

enum pit_access {
    PIT_LATCH = 0, /* in a control word: no access mode, but the latch command */
    PIT_LOW = 1,
    PIT_HIGH = 2,
    PIT_BOTH = 3,
};

/* Saved and loaded as it is: no padding. */
struct pit_channel {
    uint64_t start;      /* tick at which count was, or will be, loaded */
    uint64_t switch_at;  /* tick at which next takes over, while next != 0 */
    uint64_t next_start; /* and its start: before switch_at when that is in mid-period */
    uint64_t frozen;     /* ticks counted when the gate closed */
    uint32_t count;      /* 1 to 65536 */
    uint32_t next;       /* written, not in effect yet; 0: none */
    uint16_t latch;
    uint8_t control; /* mode, access and BCD as written */
    uint8_t status_latch;
    uint8_t write_low; /* the first byte of two */
    uint8_t loaded;    /* there is a count, and (modes 1 and 5) it was triggered */
    uint8_t gate;
    uint8_t paused; /* by the gate */
    uint8_t count_latched;
    uint8_t status_latched;
    uint8_t write_second; /* the next byte is the upper one */
    uint8_t read_second;
    uint8_t retriggered; /* mode 1: while its output was low, which it stays */
    uint8_t reserved[3];
};

void pit_channel_reset(struct pit_channel *c, bool gate);
/* A control word that is not a latch or read-back command. */
void pit_channel_control(struct pit_channel *c, uint8_t control);
/* A byte to the counter's port. Returns true when that changed what the counter does. */
bool pit_channel_write(struct pit_channel *c, uint64_t tick, uint8_t value);
uint8_t pit_channel_read(struct pit_channel *c, uint64_t tick);
void pit_channel_latch_count(struct pit_channel *c, uint64_t tick);
void pit_channel_latch_status(struct pit_channel *c, uint64_t tick);
void pit_channel_set_gate(struct pit_channel *c, uint64_t tick, bool gate);
bool pit_channel_output(struct pit_channel *c, uint64_t tick);
/* The first tick after this one at which the output rises, or PIT_NEVER. */
uint64_t pit_channel_next_rise(struct pit_channel *c, uint64_t tick);
/* The mode in effect, 0 to 5. */
unsigned pit_channel_mode(const struct pit_channel *c);
/* Whether a loaded state is one that the functions above can work with at this tick. */
bool pit_channel_sane(const struct pit_channel *c, uint64_t tick);

#endif
