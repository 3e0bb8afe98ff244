/*
 * Real-time clock and CMOS RAM: Motorola MC146818A (data sheet of 1988) as a PC has it.
 *
 * The time is the host's wall clock plus what the guest set it apart by. Seconds are counted in
 * guest TSC from a phase, so that the update-in-progress bit, the registers and the interrupts
 * agree to the tick; when the count and the wall clock come apart (the VM was paused) the count
 * follows. Flags are worked out when somebody looks, and the one timer runs only for an interrupt
 * that is enabled and not up already: an unanswered interrupt costs nothing, a late one loses no
 * phase.
 */
#include "devices/bus.h"
#include "devices/cmos.h"
#include "devices/machine.h"
#include "lib/checked.h"
#include "lib/string.h"

#define PORT_INDEX 0x70
#define RTC_IRQ    8
#define INDEX_MASK 0x7f
#define NMI_MASK   0x80 /* of port 0x70: NMIs are masked; kept for whoever asks */

/* Registers. */
enum {
    SECONDS,
    SECONDS_ALARM,
    MINUTES,
    MINUTES_ALARM,
    HOURS,
    HOURS_ALARM,
    WEEKDAY,
    DAY,
    MONTH,
    YEAR,
    REG_A,
    REG_B,
    REG_C,
    REG_D,
    CENTURY = 0x32, /* the FADT says so */
};

/* Register A: dividers and rate. */
#define A_UIP           0x80
#define A_DIVIDER_RESET 0x60 /* 11x holds the dividers in reset */
#define A_RATE          0x0f
#define A_RESET         0x26 /* 32.768 kHz crystal, 1024 Hz */
/* Register B. The interrupt enables have the positions of their flags in C. */
#define B_SET        0x80
#define B_BINARY     0x04
#define B_24H        0x02
#define B_INTERRUPTS 0x70
#define B_RESET_MASK 0x87 /* what the RESET pin leaves */
/* Register C: flags, cleared by reading. */
#define C_IRQ      0x80
#define C_PERIODIC 0x40
#define C_ALARM    0x20
#define C_UPDATE   0x10
/* Register D. */
#define D_VALID 0x80

#define HOURS_PM  0x80
#define DONT_CARE 0xc0 /* alarm registers with both bits set match always */

#define CRYSTAL_HZ     32768u
#define UPDATE_LEAD_US 244 /* UIP rises so long before the update */
#define DAY_SECONDS    86400u
#define MAX_SECONDS    253402300799ull /* the end of the year 9999 */

struct rtc_state {
    uint8_t cmos[CMOS_SIZE]; /* the time registers are valid only while the clock is stopped */
    uint8_t index;           /* with the NMI mask */
    uint64_t phase;          /* guest TSC at which base began */
    uint64_t base;           /* seconds since 1970 then */
    int64_t offset;          /* what the guest's time is ahead of the wall clock */
    uint64_t second_seen;    /* the last second whose flags were set */
    uint64_t period_seen;    /* the number of the last period, from phase on, likewise */
};

struct rtc {
    struct device device;
    struct rtc_state s;
    struct timer timer;
    struct irq_line irq;
};

static struct rtc *to_rtc(struct device *d)
{
    return container_of(d, struct rtc, device);
}

/* ------------------------------------------------------------------ the calendar */

struct calendar {
    unsigned second, minute, hour, weekday, day, month, year; /* weekday: 1 is Sunday */
};

/*
 * Days since 1970-01-01 of a date in the Gregorian calendar. The year is taken to begin in March,
 * so that the leap day is its last; month lengths are then those of a linear formula.
 */
static uint64_t days_of(unsigned year, unsigned month, unsigned day)
{
    unsigned y = month <= 2 ? year - 1 : year, m = month <= 2 ? month + 9 : month - 3;
    int64_t days = (int64_t)365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day;

    days -= 719469; /* of 1970-01-01 by this count */
    return days < 0 ? 0 : (uint64_t)days;
}

static struct calendar calendar_of(uint64_t seconds)
{
    struct calendar c;
    uint64_t days = seconds / DAY_SECONDS;
    unsigned in_day = (unsigned)(seconds % DAY_SECONDS);

    c.second = in_day % 60;
    c.minute = in_day / 60 % 60;
    c.hour = in_day / 3600;
    c.weekday = (unsigned)((days + 4) % 7) + 1; /* 1970 began on a Thursday */
    c.year = 1970 + (unsigned)(days / 366);     /* never too late, and at most days off */
    while (days_of(c.year + 1, 1, 1) <= days)
        c.year++;
    c.month = 1;
    while (c.month < 12 && days_of(c.year, c.month + 1, 1) <= days)
        c.month++;
    c.day = (unsigned)(days - days_of(c.year, c.month, 1)) + 1;
    return c;
}

/* ------------------------------------------------------------------ registers and time */

static uint8_t encode(const struct rtc *r, unsigned v)
{
    return (uint8_t)(r->s.cmos[REG_B] & B_BINARY ? v : v / 10 << 4 | v % 10);
}

static unsigned decode(const struct rtc *r, uint8_t v)
{
    return r->s.cmos[REG_B] & B_BINARY ? v : (v >> 4) * 10u + (v & 0xfu);
}

static uint8_t encode_hour(const struct rtc *r, unsigned hour)
{
    if (r->s.cmos[REG_B] & B_24H)
        return encode(r, hour);
    return encode(r, hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? HOURS_PM : 0);
}

static unsigned decode_hour(const struct rtc *r, uint8_t v)
{
    if (r->s.cmos[REG_B] & B_24H)
        return decode(r, v) % 24;
    return decode(r, v & (uint8_t)~HOURS_PM) % 12 + (v & HOURS_PM ? 12 : 0);
}

static bool divider_held(const struct rtc *r)
{
    return (r->s.cmos[REG_A] & A_DIVIDER_RESET) == A_DIVIDER_RESET;
}

/* Whether the time stands still and the registers hold what the guest writes. */
static bool stopped(const struct rtc *r)
{
    return (r->s.cmos[REG_B] & B_SET) || divider_held(r);
}

static uint64_t since_phase(const struct rtc *r)
{
    uint64_t now = device_now(r->device.machine->host);

    return now > r->s.phase ? now - r->s.phase : 0;
}

static uint64_t guest_wall_clock(const struct rtc *r)
{
    struct device_host *host = r->device.machine->host;
    int64_t t = (int64_t)host->ops->wall_clock(host) + r->s.offset;

    return t < 0 ? 0 : MIN((uint64_t)t, MAX_SECONDS);
}

/* The guest's time. Where it comes apart from the wall clock, the wall clock is right. */
static uint64_t seconds_now(struct rtc *r)
{
    uint64_t elapsed = since_phase(r) / r->device.machine->host->tsc_hz;
    uint64_t wall = guest_wall_clock(r), t = r->s.base + elapsed;

    if (wall > t + 1 || wall + 1 < t) {
        r->s.base = wall > elapsed ? wall - elapsed : 0;
        t = r->s.base + elapsed;
    }
    return t;
}

/* ------------------------------------------------------------------ flags and interrupts */

/* The length of a period in crystal ticks, or 0 (data sheet table 5). */
static uint64_t period_ticks(const struct rtc *r)
{
    unsigned rate = r->s.cmos[REG_A] & A_RATE;

    if (rate == 0 || divider_held(r))
        return 0;
    return BIT(rate <= 2 ? rate + 6 : rate - 1);
}

static uint64_t periods_now(const struct rtc *r)
{
    uint64_t length = period_ticks(r);

    return length == 0
               ? 0
               : mul_div(since_phase(r), CRYSTAL_HZ, r->device.machine->host->tsc_hz) / length;
}

/* Puts the time into the registers. */
static void latch(struct rtc *r)
{
    struct calendar c = calendar_of(seconds_now(r));
    uint8_t *reg = r->s.cmos;

    reg[SECONDS] = encode(r, c.second);
    reg[MINUTES] = encode(r, c.minute);
    reg[HOURS] = encode_hour(r, c.hour);
    reg[WEEKDAY] = encode(r, c.weekday);
    reg[DAY] = encode(r, c.day);
    reg[MONTH] = encode(r, c.month);
    reg[YEAR] = encode(r, c.year % 100);
    reg[CENTURY] = encode(r, c.year / 100);
}

/* The registers become the time; whatever was written into them, this is some time. */
static void commit(struct rtc *r)
{
    struct device_host *host = r->device.machine->host;
    const uint8_t *reg = r->s.cmos;
    unsigned year = decode(r, reg[CENTURY]) % 100 * 100 + decode(r, reg[YEAR]) % 100;
    unsigned month = MIN(MAX(decode(r, reg[MONTH]), 1u), 12u);
    uint64_t t = days_of(MAX(year, 1970u), month, MAX(decode(r, reg[DAY]), 1u)) * DAY_SECONDS;

    t += decode_hour(r, reg[HOURS]) * 3600 + decode(r, reg[MINUTES]) * 60 + decode(r, reg[SECONDS]);
    r->s.phase += since_phase(r) / host->tsc_hz * host->tsc_hz;
    r->s.base = t;
    r->s.offset = (int64_t)(t - host->ops->wall_clock(host));
    r->s.second_seen = t;
    r->s.period_seen = periods_now(r);
}

static bool alarm_field_matches(uint8_t alarm, unsigned decoded, unsigned value)
{
    return (alarm & DONT_CARE) == DONT_CARE || decoded == value;
}

/*
 * The first second after t that the alarm registers match, or 0 when there is none: an alarm that
 * is no time of day. Goes by hours, minutes and seconds, so that two days take few steps.
 */
static uint64_t next_alarm(const struct rtc *r, uint64_t t)
{
    const uint8_t *reg = r->s.cmos;
    unsigned hour = decode_hour(r, reg[HOURS_ALARM]), minute = decode(r, reg[MINUTES_ALARM]),
             second = decode(r, reg[SECONDS_ALARM]);
    uint64_t end = t + 2 * DAY_SECONDS;

    for (t++; t < end;) {
        if (!alarm_field_matches(reg[HOURS_ALARM], hour, t % DAY_SECONDS / 3600))
            t += 3600 - t % 3600;
        else if (!alarm_field_matches(reg[MINUTES_ALARM], minute, t / 60 % 60))
            t += 60 - t % 60;
        else if (!alarm_field_matches(reg[SECONDS_ALARM], second, t % 60))
            t++;
        else
            return t;
    }
    return 0;
}

/* Sets the flags of what has happened since the last look. */
static void update_flags(struct rtc *r)
{
    uint64_t periods = periods_now(r), now, alarm;

    if (periods != r->s.period_seen)
        r->s.cmos[REG_C] |= C_PERIODIC;
    r->s.period_seen = periods;
    if (stopped(r))
        return;
    now = seconds_now(r);
    if (now == r->s.second_seen)
        return;
    r->s.cmos[REG_C] |= C_UPDATE;
    alarm = next_alarm(r, r->s.second_seen);
    if (alarm != 0 && alarm <= now)
        r->s.cmos[REG_C] |= C_ALARM;
    r->s.second_seen = now;
}

/* The first guest TSC at which units of 1/hz seconds since phase have gone by. */
static uint64_t tsc_after(const struct rtc *r, uint64_t units, uint64_t hz)
{
    uint64_t tsc_hz = r->device.machine->host->tsc_hz, ticks = mul_div(units, tsc_hz, hz);

    return r->s.phase + ticks + (mul_div(ticks, hz, tsc_hz) < units ? 1 : 0);
}

/* When the next flag will rise whose interrupt is enabled and which is not up already. */
static uint64_t next_event(const struct rtc *r)
{
    uint8_t want = r->s.cmos[REG_B] & (uint8_t)~r->s.cmos[REG_C] & B_INTERRUPTS;
    uint64_t at = TIMER_NEVER, alarm;

    if ((want & C_PERIODIC) && period_ticks(r) != 0)
        at = tsc_after(r, (r->s.period_seen + 1) * period_ticks(r), CRYSTAL_HZ);
    if (stopped(r))
        return at;
    if (want & C_UPDATE)
        at = MIN(at, tsc_after(r, r->s.second_seen + 1 - MIN(r->s.base, r->s.second_seen), 1));
    if (want & C_ALARM) {
        alarm = next_alarm(r, r->s.second_seen);
        if (alarm != 0)
            at = MIN(at, tsc_after(r, alarm - MIN(r->s.base, alarm), 1));
    }
    return at;
}

static void update(struct rtc *r)
{
    struct device_host *host = r->device.machine->host;
    uint64_t at;
    bool level;

    update_flags(r);
    level = r->s.cmos[REG_B] & r->s.cmos[REG_C] & B_INTERRUPTS;
    r->s.cmos[REG_C] = (uint8_t)((r->s.cmos[REG_C] & ~C_IRQ) | (level ? C_IRQ : 0));
    irq_line_set(&r->irq, level);
    at = next_event(r);
    if (at != TIMER_NEVER)
        host->ops->timer_set(host, &r->timer, at);
    else
        host->ops->timer_cancel(host, &r->timer);
}

static void rtc_fired(struct timer *t, uint64_t now UNUSED)
{
    update(t->opaque);
}

/* ------------------------------------------------------------------ ports */

static bool is_time(unsigned reg)
{
    return reg == CENTURY ||
           (reg <= YEAR && reg != SECONDS_ALARM && reg != MINUTES_ALARM && reg != HOURS_ALARM);
}

static bool update_in_progress(const struct rtc *r)
{
    uint64_t hz = r->device.machine->host->tsc_hz;

    return !stopped(r) && since_phase(r) % hz >= hz - mul_div(UPDATE_LEAD_US, hz, 1000000);
}

static uint8_t read_register(struct rtc *r, unsigned reg)
{
    uint8_t value;

    if (is_time(reg) && !stopped(r)) {
        update(r);
        latch(r);
    }
    value = r->s.cmos[reg];
    if (reg == REG_A && update_in_progress(r))
        value |= A_UIP;
    if (reg == REG_C) {
        update(r);
        value = r->s.cmos[REG_C];
        r->s.cmos[REG_C] = 0;
        update(r);
    }
    return value;
}

/*
 * Registers A and B: SET and the divider's reset stop the clock. The first update comes half a
 * second after the divider was let go (data sheet, "divider control").
 */
static void write_control(struct rtc *r, unsigned reg, uint8_t value)
{
    struct device_host *host = r->device.machine->host;
    bool was_stopped = stopped(r), was_held = divider_held(r);

    update_flags(r);
    if (!was_stopped)
        latch(r);
    r->s.cmos[reg] = reg == REG_A ? value & (uint8_t)~A_UIP : value;
    if (was_held && !divider_held(r))
        r->s.phase = device_now(host) - host->tsc_hz / 2;
    if (was_stopped && !stopped(r))
        commit(r);
    r->s.period_seen = periods_now(r);
    update(r);
}

static void write_register(struct rtc *r, unsigned reg, uint8_t value)
{
    if (reg == REG_A || reg == REG_B) {
        write_control(r, reg, value);
    } else if (reg != REG_C && reg != REG_D) {
        if (is_time(reg) && !stopped(r))
            latch(r);
        update_flags(r);
        r->s.cmos[reg] = value;
        if (is_time(reg) && !stopped(r))
            commit(r);
        if (reg < REG_A)
            update(r);
    }
}

/* The index register cannot be read on a PC. */
static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned size UNUSED)
{
    struct rtc *r = opaque;

    return offset == 0 ? UINT8_MAX : read_register(r, r->s.index & INDEX_MASK);
}

static void rtc_write(void *opaque, uint64_t offset, unsigned size UNUSED, uint64_t value)
{
    struct rtc *r = opaque;

    if (offset == 0)
        r->s.index = (uint8_t)value;
    else
        write_register(r, r->s.index & INDEX_MASK, (uint8_t)value);
}

static const struct bus_ops rtc_ops = {rtc_read, rtc_write, 1};

/* ------------------------------------------------------------------ the device */

static int rtc_create(struct device *d, struct machine *m)
{
    struct rtc *r = to_rtc(d);

    timer_init(&r->timer, rtc_fired, r);
    r->irq = machine_isa_irq(m, RTC_IRQ);
    cmos_fill(r->s.cmos, &m->config);
    r->s.cmos[REG_A] = A_RESET;
    r->s.cmos[REG_B] = B_24H;
    r->s.cmos[REG_D] = D_VALID;
    r->s.phase = device_now(m->host);
    r->s.base = guest_wall_clock(r);
    r->s.second_seen = r->s.base;
    return bus_add_ports(m->bus, PORT_INDEX, 2, "rtc", &rtc_ops, r);
}

static void rtc_destroy(struct device *d)
{
    d->machine->host->ops->timer_cancel(d->machine->host, &to_rtc(d)->timer);
}

/* The clock and the RAM have a battery: only interrupts and their flags are reset. */
static void rtc_reset(struct device *d)
{
    struct rtc *r = to_rtc(d);

    update_flags(r);
    r->s.index = 0;
    r->s.cmos[REG_B] &= B_RESET_MASK;
    r->s.cmos[REG_C] = 0;
    update(r);
}

static void rtc_save(struct device *d, struct device_state *s)
{
    device_state_put(s, &to_rtc(d)->s, sizeof(struct rtc_state));
}

static bool rtc_load(struct device *d, struct device_state *s)
{
    struct rtc *r = to_rtc(d);
    int64_t limit = (int64_t)MAX_SECONDS;

    device_state_get(s, &r->s, sizeof(r->s));
    r->s.cmos[REG_A] &= (uint8_t)~A_UIP;
    r->s.cmos[REG_D] = D_VALID;
    r->s.phase = MIN(r->s.phase, device_now(d->machine->host));
    r->s.base = MIN(r->s.base, MAX_SECONDS);
    r->s.second_seen = MIN(r->s.second_seen, MAX_SECONDS);
    r->s.offset = MIN(MAX(r->s.offset, -limit), limit);
    r->s.period_seen = periods_now(r);
    update(r);
    return !s->failed;
}

static const struct device_class rtc_class = {
    .name = "rtc",
    .size = sizeof(struct rtc),
    .order = DEVICE_ORDER_PLATFORM,
    .create = rtc_create,
    .reset = rtc_reset,
    .save = rtc_save,
    .load = rtc_load,
    .destroy = rtc_destroy,
};
DEVICE_CLASS(rtc_class);
