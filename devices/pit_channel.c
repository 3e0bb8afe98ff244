#include "devices/pit_channel.h"

#define BINARY_RANGE 0x10000u
#define BCD_RANGE    10000u

enum pit_mode {
    MODE_TERMINAL_COUNT = 0,
    MODE_ONE_SHOT = 1, /* started by the gate */
    MODE_RATE = 2,
    MODE_SQUARE = 3,
    MODE_STROBE = 4,
    MODE_GATE_STROBE = 5, /* started by the gate */
};

unsigned pit_channel_mode(const struct pit_channel *c)
{
    unsigned mode = c->control >> PIT_MODE_SHIFT & 7;

    return mode > MODE_GATE_STROBE ? mode - 4 : mode; /* 6 and 7 are 2 and 3 */
}

static unsigned access_of(const struct pit_channel *c)
{
    return c->control >> PIT_ACCESS_SHIFT & 3;
}

static uint32_t range_of(const struct pit_channel *c)
{
    return c->control & PIT_BCD ? BCD_RANGE : BINARY_RANGE;
}

static bool periodic(const struct pit_channel *c)
{
    return pit_channel_mode(c) == MODE_RATE || pit_channel_mode(c) == MODE_SQUARE;
}

static bool gate_triggered(const struct pit_channel *c)
{
    return pit_channel_mode(c) == MODE_ONE_SHOT || pit_channel_mode(c) == MODE_GATE_STROBE;
}

static uint32_t from_bcd(uint16_t v)
{
    return (v >> 12) * 1000u + (v >> 8 & 15) * 100u + (v >> 4 & 15) * 10u + (v & 15);
}

static uint16_t to_bcd(uint32_t v)
{
    return (uint16_t)(v / 1000 % 10 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10);
}

/* ------------------------------------------------------------------ the course of a count */

/* Also right when ticks wrap: a start may lie before the machine's first tick. */
static bool before(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) < 0;
}

/* A count that waited for the end of a period comes into effect. */
static void catch_up(struct pit_channel *c, uint64_t tick)
{
    if (c->next == 0 || !periodic(c) || c->paused || before(tick, c->switch_at))
        return;
    c->start = c->next_start;
    c->count = c->next;
    c->next = 0;
}

/* Ticks since the count was loaded. Loading takes the first clock, which counts nothing. */
static uint64_t elapsed(const struct pit_channel *c, uint64_t tick)
{
    if (c->paused)
        return c->frozen;
    return before(tick, c->start) ? 0 : tick - c->start;
}

/* Up for the first half, with the odd tick. */
static uint32_t first_half(uint32_t count)
{
    return (count + 1) / 2;
}

/* In mode 3 each half counts down by two from the count, made even. */
static uint32_t square_count(uint32_t count, uint32_t phase)
{
    uint32_t in_half = phase < first_half(count) ? phase : phase - first_half(count);

    return (count & ~1u) - 2 * in_half;
}

static uint32_t count_now(struct pit_channel *c, uint64_t tick)
{
    uint32_t range = range_of(c);
    uint64_t e;

    catch_up(c, tick);
    if (!c->loaded)
        return c->count;
    e = elapsed(c, tick);
    if (pit_channel_mode(c) == MODE_RATE)
        return c->count - (uint32_t)(e % c->count);
    if (pit_channel_mode(c) == MODE_SQUARE)
        return square_count(c->count, (uint32_t)(e % c->count));
    return (c->count + range - (uint32_t)(e % range)) % range;
}

bool pit_channel_output(struct pit_channel *c, uint64_t tick)
{
    unsigned mode = pit_channel_mode(c);
    uint64_t e;

    catch_up(c, tick);
    if (!c->loaded || (c->paused && periodic(c)))
        return mode != MODE_TERMINAL_COUNT;
    e = elapsed(c, tick);
    switch (mode) {
    case MODE_TERMINAL_COUNT:
        return e >= c->count;
    case MODE_ONE_SHOT:
        return before(tick, c->start) ? !c->retriggered : e >= c->count;
    case MODE_RATE:
        return e % c->count != c->count - 1;
    case MODE_SQUARE:
        return e % c->count < first_half(c->count);
    default: /* the strobes: down for one clock */
        return e != c->count;
    }
}

/* The next rise of a periodic output after the tick. */
static uint64_t next_period(const struct pit_channel *c, uint64_t tick)
{
    if (c->next != 0) /* when it takes over in mid-period, the output is low until its own rise */
        return c->next_start == c->switch_at ? c->switch_at : c->next_start + c->next;
    if (before(tick, c->start))
        return c->start + c->count;
    return c->start + ((tick - c->start) / c->count + 1) * c->count;
}

uint64_t pit_channel_next_rise(struct pit_channel *c, uint64_t tick)
{
    uint64_t rise;

    catch_up(c, tick);
    if (!c->loaded || c->paused)
        return PIT_NEVER;
    if (periodic(c))
        return next_period(c, tick);
    rise = c->start + c->count;
    if (pit_channel_mode(c) >= MODE_STROBE)
        rise++;
    return before(tick, rise) ? rise : PIT_NEVER;
}

/* ------------------------------------------------------------------ programming */

void pit_channel_reset(struct pit_channel *c, bool gate)
{
    *c = (struct pit_channel){
        .count = BINARY_RANGE,
        .control = PIT_BOTH << PIT_ACCESS_SHIFT,
        .gate = gate,
    };
}

void pit_channel_control(struct pit_channel *c, uint8_t control)
{
    c->control = control & PIT_CONTROL_BITS;
    c->loaded = 0;
    c->next = 0;
    c->paused = 0;
    c->frozen = 0;
    c->count_latched = 0;
    c->status_latched = 0;
    c->write_second = 0;
    c->read_second = 0;
}

static void start_now(struct pit_channel *c, uint64_t tick, uint32_t count)
{
    c->count = count;
    c->next = 0;
    c->start = tick + 1;
    c->loaded = 1;
    c->frozen = 0;
    c->paused = !c->gate && !gate_triggered(c);
}

/* In modes 2 and 3 a new count waits for the end of the period, or of the half period. */
static void start_later(struct pit_channel *c, uint64_t tick, uint32_t count)
{
    uint64_t e = elapsed(c, tick), begin = c->start + e - e % c->count;
    uint32_t half = first_half(c->count);

    c->next = count;
    if (pit_channel_mode(c) == MODE_SQUARE && e % c->count < half) {
        c->switch_at = begin + half;
        c->next_start = c->switch_at - first_half(count);
    } else {
        c->switch_at = c->next_start = begin + c->count;
    }
}

static void set_count(struct pit_channel *c, uint64_t tick, uint16_t raw)
{
    uint32_t count = c->control & PIT_BCD ? from_bcd(raw) : raw;

    if (count == 0)
        count = range_of(c);
    catch_up(c, tick);
    if (gate_triggered(c))
        c->next = count; /* until the gate rises */
    else if (periodic(c) && c->loaded && !c->paused)
        start_later(c, tick, count);
    else
        start_now(c, tick, count);
}

bool pit_channel_write(struct pit_channel *c, uint64_t tick, uint8_t value)
{
    uint16_t raw = value;

    if (access_of(c) == PIT_HIGH)
        raw = (uint16_t)(value << 8);
    if (access_of(c) == PIT_BOTH && !c->write_second) {
        c->write_low = value;
        c->write_second = 1;
        if (pit_channel_mode(c) != MODE_TERMINAL_COUNT)
            return false;
        c->loaded = 0; /* in mode 0 the first byte stops the count, and the output goes low */
        return true;
    }
    if (access_of(c) == PIT_BOTH)
        raw = (uint16_t)(value << 8 | c->write_low);
    c->write_second = 0;
    set_count(c, tick, raw);
    return true;
}

void pit_channel_set_gate(struct pit_channel *c, uint64_t tick, bool gate)
{
    bool was = c->gate;

    catch_up(c, tick);
    c->gate = gate;
    if (was == gate)
        return;
    if (gate_triggered(c)) {
        if (!gate || (c->next == 0 && !c->loaded))
            return;
        c->retriggered = !pit_channel_output(c, tick);
        start_now(c, tick, c->next != 0 ? c->next : c->count);
    } else if (!c->loaded) {
        return;
    } else if (!gate) {
        c->frozen = elapsed(c, tick);
        c->paused = 1;
    } else if (periodic(c)) {
        start_now(c, tick, c->next != 0 ? c->next : c->count);
    } else {
        c->start = tick - c->frozen;
        c->paused = 0;
    }
}

/* ------------------------------------------------------------------ reading */

static uint16_t raw_count(struct pit_channel *c, uint64_t tick)
{
    uint32_t count = count_now(c, tick);

    return c->control & PIT_BCD ? to_bcd(count % BCD_RANGE) : (uint16_t)count;
}

/* A count or status that is latched already stays until it is read. */
void pit_channel_latch_count(struct pit_channel *c, uint64_t tick)
{
    if (c->count_latched)
        return;
    c->latch = raw_count(c, tick);
    c->count_latched = 1;
}

void pit_channel_latch_status(struct pit_channel *c, uint64_t tick)
{
    bool null_count;

    if (c->status_latched)
        return;
    catch_up(c, tick);
    null_count = c->next != 0 || !c->loaded || before(tick, c->start);
    c->status_latch = c->control | (null_count ? PIT_STATUS_NULL : 0) |
                      (pit_channel_output(c, tick) ? PIT_STATUS_OUT : 0);
    c->status_latched = 1;
}

uint8_t pit_channel_read(struct pit_channel *c, uint64_t tick)
{
    uint16_t count;
    bool high = access_of(c) == PIT_HIGH || c->read_second;

    if (c->status_latched) {
        c->status_latched = 0;
        return c->status_latch;
    }
    count = c->count_latched ? c->latch : raw_count(c, tick);
    if (access_of(c) == PIT_BOTH)
        c->read_second = !c->read_second;
    if (!c->read_second) /* that was the last byte of it */
        c->count_latched = 0;
    return (uint8_t)(high ? count >> 8 : count);
}

bool pit_channel_sane(const struct pit_channel *c, uint64_t tick)
{
    uint64_t limit = tick + 2 * BINARY_RANGE; /* nothing is planned further ahead than a period */
    const uint8_t flags[] = {c->loaded,         c->gate,         c->paused,      c->count_latched,
                             c->status_latched, c->write_second, c->read_second, c->retriggered};

    for (unsigned i = 0; i < sizeof(flags); i++)
        if (flags[i] > 1)
            return false;
    if (before(limit, c->start) || before(limit, c->next_start) || before(limit, c->switch_at))
        return false;
    return c->count >= 1 && c->count <= BINARY_RANGE && c->next <= BINARY_RANGE &&
           (c->control & ~PIT_CONTROL_BITS) == 0 && access_of(c) != PIT_LATCH;
}
