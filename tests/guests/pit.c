/* The 8254: modes, latches, read-back, port 61h, rates against the TSC, IRQ 0. */
#include "lib/guest.h"

#define READ_BACK      0xc0
#define NOT_COUNT      0x20
#define NOT_STATUS     0x10
#define STATUS_OUT     0x80
#define STATUS_NULL    0x40
#define RW_LOW         0x10
#define RW_HIGH        0x20
#define PORT61_REFRESH 0x10

static uint8_t status(unsigned channel)
{
    out8(PIT_CMD, (uint8_t)(READ_BACK | NOT_COUNT | 2 << channel));
    return in8((uint16_t)(PIT_CH0 + channel));
}

static void gate2(bool on)
{
    uint8_t v = in8(PORT_61) & (uint8_t) ~(PORT61_GATE2 | PORT61_SPEAKER);

    out8(PORT_61, on ? v | PORT61_GATE2 : v);
}

static bool out2(void)
{
    return in8(PORT_61) & PORT61_OUT2;
}

static void check_status(void)
{
    gate2(false);
    out8(PIT_CMD, 2 << 6 | 0x30); /* mode 0, both bytes; no count yet */
    CHECK_EQ("status-null-count", status(2) & STATUS_NULL, STATUS_NULL);
    CHECK_EQ("status-mode-0", status(2) & 0x3f, 0x30);
    out8(PIT_CH2, 0x34);
    out8(PIT_CH2, 0x12);
    timing_delay_us(10);
    CHECK_EQ("status-loaded", status(2) & STATUS_NULL, 0);
    CHECK_EQ("gate-off-holds-count", pit_read(2), 0x1234);
    pit_set(2, 3, 1000);
    CHECK_EQ("status-mode-3", status(2) & 0x3f, 0x36);
    out8(PIT_CMD, 2 << 6 | RW_LOW | 2 << 1);
    CHECK_EQ("status-low-byte-only", status(2) & 0x3f, RW_LOW | 2 << 1);
}

static void check_latch(void)
{
    uint16_t first, second, latched;

    gate2(true);
    pit_set(2, 2, 0);
    timing_delay_us(100);
    out8(PIT_CMD, 2 << 6);
    timing_delay_us(100);
    out8(PIT_CMD, 2 << 6); /* a second latch changes nothing until the first was read */
    latched = in8(PIT_CH2);
    latched = (uint16_t)(latched | in8(PIT_CH2) << 8);
    first = pit_read(2);
    timing_delay_us(5000);
    second = pit_read(2);
    CHECK("latch-holds", latched > first && latched - first >= 100);
    CHECK("counts-down", first > second);
    CHECK_NEAR("counts-at-rate", first - second, PIT_HZ / 200, 10);
}

/* Status and count latched together: status comes first. */
static void check_read_back(void)
{
    uint8_t st;
    uint16_t count;

    gate2(false);
    pit_set(2, 2, 0x4321);
    gate2(true);
    gate2(false);
    timing_delay_us(5);
    out8(PIT_CMD, READ_BACK | 2 << 2);
    st = in8(PIT_CH2);
    count = in8(PIT_CH2);
    count = (uint16_t)(count | in8(PIT_CH2) << 8);
    CHECK_EQ("read-back-status", st & 0x3f, 0x34);
    CHECK("read-back-count", count <= 0x4321 && count > 0x4000);
}

static void check_access_modes(void)
{
    gate2(false);
    out8(PIT_CMD, 2 << 6 | RW_HIGH);
    out8(PIT_CH2, 0x56);
    timing_delay_us(5);
    out8(PIT_CMD, 2 << 6 | RW_HIGH);
    out8(PIT_CH2, 0x56);
    timing_delay_us(5);
    CHECK_EQ("high-byte-only", in8(PIT_CH2), 0x56);
    out8(PIT_CMD, 2 << 6 | RW_LOW);
    out8(PIT_CH2, 0x78);
    timing_delay_us(5);
    CHECK_EQ("low-byte-only", in8(PIT_CH2), 0x78);
}

static void check_mode_0(void)
{
    gate2(true);
    pit_set(2, 0, 1200);
    CHECK("mode0-out-low", !out2());
    timing_delay_us(500);
    CHECK("mode0-still-low", !out2());
    timing_delay_us(700);
    CHECK("mode0-out-high", out2());
    pit_set(2, 0, 1200);
    CHECK("mode0-rewritten-low", !out2());
    gate2(false);
    timing_delay_us(1500);
    CHECK("mode0-gate-stops", !out2());
    gate2(true);
    timing_delay_us(1500);
    CHECK("mode0-gate-resumes", out2());
}

static void check_mode_1(void)
{
    gate2(false);
    pit_set(2, 1, 1200);
    timing_delay_us(20);
    CHECK("mode1-idle-high", out2());
    gate2(true); /* the rising edge triggers */
    timing_delay_us(100);
    CHECK("mode1-pulse-low", !out2());
    timing_delay_us(1200);
    CHECK("mode1-high-again", out2());
}

/* How much of the time OUT 2 is high, in percent, over some periods. */
static unsigned high_percent(unsigned us)
{
    uint64_t end = rdtsc() + timing_tsc_hz() / 1000000 * us;
    unsigned high = 0, all = 0;

    while (rdtsc() < end) {
        high += out2();
        all++;
    }
    return high * 100 / all;
}

static void check_periodic_modes(void)
{
    unsigned percent;

    gate2(true);
    pit_set(2, 3, 1200);
    percent = high_percent(10000);
    CHECK("mode3-square", percent >= 40 && percent <= 60);
    pit_set(2, 2, 1200);
    percent = high_percent(10000);
    CHECK("mode2-mostly-high", percent >= 95);
    gate2(false);
    CHECK("mode2-gate-off-high", out2());
}

static void check_rates(void)
{
    uint64_t a = timing_measure_tsc(PIT_HZ / 100), b = timing_measure_tsc(PIT_HZ / 50);

    check_info("tsc-hz", a);
    CHECK_NEAR("two-measurements-agree", a, b, 1);
}

static void check_irq0(void)
{
    uint64_t start;

    irq_count_pic(IRQ_PIT);
    pit_set(0, 2, PIT_HZ / 1000);
    pic_unmask(IRQ_PIT);
    irq_wait_count(PIC_VECTOR, 1, 100);
    start = rdtsc();
    CHECK("irq0-comes", irq_wait_count(PIC_VECTOR, 21, 200));
    CHECK_NEAR("irq0-rate", rdtsc() - start, timing_tsc_hz() / 50, 5);
    pit_stop();
    timing_delay_us(100);
    (void)irq_wait_count(PIC_VECTOR, ~0u, 1);
    irq_counts[PIC_VECTOR] = 0;
    pit_set(0, 0, PIT_HZ / 1000);
    (void)irq_wait_count(PIC_VECTOR, ~0u, 5);
    CHECK_EQ("irq0-mode0-once", irq_counts[PIC_VECTOR], 1);
    pic_mask_all();
}

static void check_port61(void)
{
    unsigned changes = 0;
    uint8_t last = in8(PORT_61) & PORT61_REFRESH;
    uint64_t end = rdtsc() + timing_tsc_hz() / 1000;

    while (rdtsc() < end) {
        uint8_t now = in8(PORT_61) & PORT61_REFRESH;

        changes += now != last;
        last = now;
    }
    check_info("refresh-changes-per-ms", changes);
    CHECK("refresh-toggles", changes > 5);
    gate2(true);
    CHECK_EQ("gate2-reads-back", in8(PORT_61) & (PORT61_GATE2 | PORT61_SPEAKER), PORT61_GATE2);
    gate2(false);
    CHECK_EQ("gate2-off-reads-back", in8(PORT_61) & (PORT61_GATE2 | PORT61_SPEAKER), 0);
}

void guest_main(void)
{
    (void)timing_tsc_hz();
    apic_init();
    check_group(check_status);
    check_group(check_latch);
    check_group(check_read_back);
    check_group(check_access_modes);
    check_group(check_mode_0);
    check_group(check_mode_1);
    check_group(check_periodic_modes);
    check_group(check_rates);
    check_group(check_irq0);
    check_group(check_port61);
}
