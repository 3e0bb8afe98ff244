/* The MC146818: CMOS RAM, time registers, update cycle, periodic, alarm and update interrupts. */
#include "lib/guest.h"

#define CMOS_FREE         0x50
#define REG_SECONDS       0
#define REG_SECONDS_ALARM 1
#define REG_MINUTES       2
#define REG_MINUTES_ALARM 3
#define REG_HOURS         4
#define REG_HOURS_ALARM   5
#define REG_MONTH         8
#define REG_A             0x0a
#define REG_B             0x0b
#define REG_C             0x0c
#define REG_D             0x0d
#define A_UIP             0x80
#define A_1024_HZ         0x26
#define B_SET             0x80
#define B_PERIODIC        0x40
#define B_ALARM           0x20
#define B_UPDATE          0x10
#define B_BINARY          0x04
#define B_24H             0x02
#define C_IRQ             0x80
#define ALARM_ANY         0xc0
#define NMI_OFF           0x80
#define CENTURY           0x32

static uint8_t last_c;

/* Like irq_count_pic's handler, but keeps what register C said. */
static void on_rtc(struct trap_frame *f)
{
    last_c = cmos_read(REG_C);
    irq_counts[f->vector]++;
    pic_eoi(IRQ_RTC);
}

/* Register C was read between request and acknowledge: only the master saw an interrupt. */
static void on_spurious(struct trap_frame *f)
{
    (void)f;
    pic_eoi(IRQ_CASCADE);
}

#define RTC_VECTOR (PIC_VECTOR + IRQ_RTC)

static void wanted(uint8_t enables)
{
    cmos_write(REG_B, B_24H | enables);
    (void)cmos_read(REG_C);
    last_c = 0;
    irq_counts[RTC_VECTOR] = 0;
}

static void check_ram(void)
{
    bool same = true;

    for (unsigned i = 0; i < 8; i++)
        cmos_write((uint8_t)(CMOS_FREE + i), (uint8_t)(0x11 * i + 3));
    for (unsigned i = 0; i < 8; i++)
        same = same && cmos_read((uint8_t)(CMOS_FREE + i)) == (uint8_t)(0x11 * i + 3);
    CHECK("ram-holds", same);
    CHECK_EQ("nmi-bit-ignored-for-address", cmos_read(CMOS_FREE | NMI_OFF), 3);
    CHECK_EQ("valid-ram-and-time", cmos_read(REG_D) & 0x80, 0x80);
    CHECK_EQ("register-a-divider", cmos_read(REG_A) & 0x70, 0x20);
}

static unsigned from_bcd(uint8_t v)
{
    return (unsigned)(v >> 4) * 10 + (v & 0xf);
}

static bool bcd_below(uint8_t v, unsigned limit)
{
    return (v & 0xf) < 10 && from_bcd(v) < limit;
}

static void check_time(void)
{
    wanted(0);
    while (cmos_read(REG_A) & A_UIP)
        ;
    CHECK("seconds-bcd", bcd_below(cmos_read(REG_SECONDS), 60));
    CHECK("minutes-bcd", bcd_below(cmos_read(REG_MINUTES), 60));
    CHECK("hours-bcd", bcd_below(cmos_read(REG_HOURS), 24));
    CHECK("month-bcd", bcd_below(cmos_read(REG_MONTH), 13));
    CHECK("century", from_bcd(cmos_read(CENTURY)) >= 20);
    check_info("hours", cmos_read(REG_HOURS));
}

/* SET holds updates, so that the time can be set. */
static void check_set(void)
{
    wanted(0);
    cmos_write(REG_B, B_24H | B_SET);
    cmos_write(REG_HOURS, 0x09);
    cmos_write(REG_MINUTES, 0x59);
    cmos_write(REG_SECONDS, 0x58);
    CHECK_EQ("set-reads-back", cmos_read(REG_MINUTES) << 8 | cmos_read(REG_SECONDS), 0x5958);
    CHECK_EQ("no-update-in-progress-in-set", cmos_read(REG_A) & A_UIP, 0);
    cmos_write(REG_B, B_24H);
}

/*
 * Two updates later it is 10:00:00: the carry went through. Both the update-ended interrupts and
 * an alarm at that time come.
 */
static void check_update_and_alarm(void)
{
    uint64_t start;

    cmos_write(REG_HOURS_ALARM, ALARM_ANY);
    cmos_write(REG_MINUTES_ALARM, 0x00);
    cmos_write(REG_SECONDS_ALARM, 0x00);
    wanted(B_UPDATE | B_ALARM);
    CHECK("update-comes", irq_wait_count(RTC_VECTOR, 1, 2500));
    start = rdtsc();
    CHECK("update-flag", (last_c & (C_IRQ | B_UPDATE)) == (C_IRQ | B_UPDATE));
    CHECK("no-alarm-yet", !(last_c & B_ALARM));
    CHECK("update-comes-again", irq_wait_count(RTC_VECTOR, 2, 2500));
    CHECK_NEAR("update-is-a-second", rdtsc() - start, timing_tsc_hz(), 3);
    CHECK("alarm-flag", last_c & B_ALARM);
    CHECK_EQ("minutes-carried", cmos_read(REG_MINUTES) << 8 | cmos_read(REG_SECONDS), 0);
    CHECK_EQ("hours-carried", cmos_read(REG_HOURS), 0x10);
    wanted(0);
}

/* UIP is up for at least 244 us before each update. */
static void check_uip(void)
{
    uint64_t end = rdtsc() + timing_tsc_hz() * 3 / 2, rise = 0;
    uint8_t before = 0;

    while (rdtsc() < end && !(cmos_read(REG_A) & A_UIP))
        before = cmos_read(REG_SECONDS);
    rise = rdtsc();
    CHECK("uip-seen", cmos_read(REG_A) & A_UIP);
    while (rdtsc() < end && (cmos_read(REG_A) & A_UIP))
        ;
    CHECK("uip-lasts", rdtsc() - rise > timing_tsc_hz() / 1000000 * 100 &&
                           rdtsc() - rise < timing_tsc_hz() / 100);
    CHECK_EQ("second-after-uip", from_bcd(cmos_read(REG_SECONDS)), (from_bcd(before) + 1) % 60);
}

static void check_periodic(void)
{
    uint64_t start;

    cmos_write(REG_A, A_1024_HZ);
    wanted(B_PERIODIC);
    CHECK("periodic-comes", irq_wait_count(RTC_VECTOR, 1, 100));
    start = rdtsc();
    CHECK("periodic-comes-again", irq_wait_count(RTC_VECTOR, 65, 200));
    CHECK_NEAR("periodic-rate", rdtsc() - start, timing_tsc_hz() / 16, 5);
    CHECK("periodic-flag", (last_c & (C_IRQ | B_PERIODIC)) == (C_IRQ | B_PERIODIC));
    wanted(0);
    (void)irq_wait_count(RTC_VECTOR, ~0u, 5);
    CHECK_EQ("periodic-stops", irq_counts[RTC_VECTOR], 0);
}

/* Flags rise also without interrupts, and reading register C clears them. */
static void check_flags(void)
{
    wanted(0);
    timing_delay_us(3000);
    CHECK_EQ("flag-without-enable", cmos_read(REG_C) & (C_IRQ | B_PERIODIC), B_PERIODIC);
    CHECK_EQ("flags-clear-on-read", cmos_read(REG_C) & (C_IRQ | B_ALARM), 0);
}

/* Until register C is read, the line stays up and no second edge comes. */
static void on_rtc_unread(struct trap_frame *f)
{
    irq_counts[f->vector]++;
    pic_eoi(IRQ_RTC);
}

static void check_unread(void)
{
    trap_set_handler(RTC_VECTOR, on_rtc_unread);
    wanted(B_PERIODIC);
    (void)irq_wait_count(RTC_VECTOR, ~0u, 10);
    CHECK_EQ("unread-once", irq_counts[RTC_VECTOR], 1);
    trap_set_handler(RTC_VECTOR, on_rtc);
    wanted(0);
}

static void check_modes(void)
{
    uint8_t bcd = cmos_read(REG_MINUTES);

    cmos_write(REG_B, B_24H | B_SET);
    cmos_write(REG_B, B_24H | B_SET | B_BINARY);
    CHECK_EQ("binary-mode-kept", cmos_read(REG_B) & (B_BINARY | B_24H), B_BINARY | B_24H);
    cmos_write(REG_MINUTES, 42);
    CHECK_EQ("binary-minutes", cmos_read(REG_MINUTES), 42);
    cmos_write(REG_B, B_24H | B_SET);
    cmos_write(REG_MINUTES, bcd);
    cmos_write(REG_B, B_24H);
    CHECK_EQ("bcd-again", cmos_read(REG_B) & (B_BINARY | B_SET), 0);
}

void guest_main(void)
{
    (void)timing_tsc_hz();
    apic_init();
    trap_set_handler(RTC_VECTOR, on_rtc);
    trap_set_handler(PIC_VECTOR + 15, on_spurious);
    pic_unmask(IRQ_RTC);
    check_group(check_ram);
    check_group(check_time);
    check_group(check_periodic);
    check_group(check_flags);
    check_group(check_unread);
    check_group(check_set);
    check_group(check_update_and_alarm);
    check_group(check_uip);
    check_group(check_modes);
}
