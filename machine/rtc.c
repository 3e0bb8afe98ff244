/* MC146818 and its descendants: the date and time registers (data sheet; PC ports 70h and 71h). */
#include "machine/cpu.h"
#include "machine/rtc.h"
#include "machine/timer.h"

#define CMOS_INDEX 0x70
#define CMOS_DATA  0x71

enum cmos_register {
    CMOS_SECONDS = 0,
    CMOS_MINUTES = 2,
    CMOS_HOURS = 4,
    CMOS_DAY = 7,
    CMOS_MONTH = 8,
    CMOS_YEAR = 9,
    CMOS_STATUS_A = 10,
    CMOS_STATUS_B = 11,
};

#define STATUS_A_UPDATING 0x80
#define STATUS_B_24_HOURS 0x02
#define STATUS_B_BINARY   0x04
#define HOURS_PM          0x80

/* An update takes at most 2 ms; a clock that never ends one is not there. */
#define UPDATE_POLLS 100000

static uint64_t boot_seconds, boot_tsc;

static uint8_t cmos_read(uint8_t reg)
{
    outb(CMOS_INDEX, reg);
    return inb(CMOS_DATA);
}

struct date {
    unsigned second, minute, hour, day, month, year;
};

static struct date read_raw(void)
{
    for (unsigned i = 0; i < UPDATE_POLLS && (cmos_read(CMOS_STATUS_A) & STATUS_A_UPDATING); i++)
        cpu_pause();
    return (struct date){cmos_read(CMOS_SECONDS), cmos_read(CMOS_MINUTES), cmos_read(CMOS_HOURS),
                         cmos_read(CMOS_DAY),     cmos_read(CMOS_MONTH),   cmos_read(CMOS_YEAR)};
}

static unsigned from_bcd(unsigned v)
{
    return (v >> 4) * 10 + (v & 0xf);
}

static struct date decode(struct date d)
{
    uint8_t b = cmos_read(CMOS_STATUS_B);
    bool pm = !(b & STATUS_B_24_HOURS) && (d.hour & HOURS_PM);

    d.hour &= ~(unsigned)HOURS_PM;
    if (!(b & STATUS_B_BINARY))
        d = (struct date){from_bcd(d.second), from_bcd(d.minute), from_bcd(d.hour),
                          from_bcd(d.day),    from_bcd(d.month),  from_bcd(d.year)};
    if (!(b & STATUS_B_24_HOURS))
        d.hour = d.hour % 12 + (pm ? 12 : 0);
    d.year += d.year < 70 ? 2000 : 1900;
    return d;
}

/* Days since 1970-01-01 in the Gregorian calendar; the year is counted from March. */
static uint64_t days_since_epoch(const struct date *d)
{
    unsigned year = d->month > 2 ? d->year : d->year - 1;
    unsigned month = d->month > 2 ? d->month - 3 : d->month + 9;
    uint64_t days = 365ull * year + year / 4 - year / 100 + year / 400;

    return days + (153 * month + 2) / 5 + d->day - 1 - 719468;
}

void rtc_init(void)
{
    struct date a, b = read_raw();

    /* Twice the same: no update came in between. */
    do {
        a = b;
        b = read_raw();
    } while (a.second != b.second);
    a = decode(a);
    boot_seconds = days_since_epoch(&a) * 86400 + a.hour * 3600 + a.minute * 60 + a.second;
    boot_tsc = rdtsc();
}

uint64_t rtc_wall_clock(void)
{
    return boot_seconds + (rdtsc() - boot_tsc) / clock_hz();
}
