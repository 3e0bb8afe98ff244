/* The I/O APIC: its registers, edge and level interrupts, masks, remote IRR, NMI delivery. */
#include "lib/guest.h"

#define IOAPIC       0xfec00000ul
#define REG_ID       0
#define REG_VERSION  1
#define REG_ENTRY(n) (0x10 + 2 * (n))
#define PIN_PIT      2
#define PIN_UART     4
#define PIN_RTC      8
#define LEVEL        BIT(15)
#define MASKED       BIT(16)
#define REMOTE_IRR   BIT(14)
#define READ_ONLY    (BIT(12) | REMOTE_IRR)
#define MODE_NMI     0x400
#define VEC_PIT      0x42
#define VEC_UART     0x53
#define VEC_RTC      0x64
#define COM1         0x3f8
#define IER_THRE     0x02

static uint32_t io_read(unsigned reg)
{
    mmio_write32(IOAPIC, reg);
    return mmio_read32(IOAPIC + 0x10);
}

static void io_write(unsigned reg, uint32_t v)
{
    mmio_write32(IOAPIC, reg);
    mmio_write32(IOAPIC + 0x10, v);
}

static void route(unsigned pin, uint32_t low)
{
    io_write(REG_ENTRY(pin), MASKED);
    io_write(REG_ENTRY(pin) + 1, apic_read(APIC_ID) & 0xff000000);
    io_write(REG_ENTRY(pin), low);
}

static void wait_ms(unsigned ms)
{
    (void)irq_wait_count(0xfe, ~0u, ms);
}

static void check_registers(void)
{
    uint32_t version = io_read(REG_VERSION);
    bool same = true;

    check_info("version", version);
    CHECK_EQ("24-pins", version >> 16 & 0xff, 23);
    io_write(REG_VERSION, 0);
    CHECK_EQ("version-read-only", io_read(REG_VERSION), version);
    io_write(REG_ID, 0x0f000000);
    CHECK_EQ("id-holds", io_read(REG_ID) & 0x0f000000, 0x0f000000);
    io_write(REG_ID, 0x01000000);
    mmio_write32(IOAPIC, 0x12);
    CHECK_EQ("select-reads-back", mmio_read32(IOAPIC) & 0xff, 0x12);
    for (unsigned pin = 0; pin < 24; pin++) {
        uint32_t v = MASKED | LEVEL | (0x40 + pin);

        io_write(REG_ENTRY(pin), v);
        io_write(REG_ENTRY(pin) + 1, pin << 24);
        same = same && (io_read(REG_ENTRY(pin)) & ~(uint32_t)READ_ONLY) == v &&
               io_read(REG_ENTRY(pin) + 1) >> 24 == pin;
        io_write(REG_ENTRY(pin), MASKED);
    }
    CHECK("entries-hold", same);
    io_write(REG_ENTRY(5), MASKED | READ_ONLY);
    CHECK_EQ("status-bits-read-only", io_read(REG_ENTRY(5)) & READ_ONLY, 0);
}

static void check_edge(void)
{
    irq_count_apic(VEC_PIT);
    pit_stop();
    route(PIN_PIT, VEC_PIT);
    pit_set(0, 2, PIT_HZ / 1000);
    CHECK("pit-comes", irq_wait_count(VEC_PIT, 10, 50));
    CHECK("pit-was-edge", !apic_bit(APIC_TMR, VEC_PIT));
    io_write(REG_ENTRY(PIN_PIT), VEC_PIT | MASKED);
    wait_ms(1);
    irq_counts[VEC_PIT] = 0;
    wait_ms(5);
    CHECK_EQ("pit-masked", irq_counts[VEC_PIT], 0);
    io_write(REG_ENTRY(PIN_PIT), VEC_PIT);
    CHECK("pit-unmasked", irq_wait_count(VEC_PIT, 3, 20));
    route(PIN_PIT, MASKED);
    pit_stop();
}

static void on_rtc(struct trap_frame *f)
{
    irq_counts[f->vector]++;
    (void)cmos_read(0x0c);
    apic_write(APIC_EOI, 0);
}

static void check_rtc(void)
{
    trap_set_handler(VEC_RTC, on_rtc);
    (void)cmos_read(0x0c);
    route(PIN_RTC, VEC_RTC);
    cmos_write(0x0a, 0x26);
    cmos_write(0x0b, 0x42);
    CHECK("rtc-comes", irq_wait_count(VEC_RTC, 5, 50));
    cmos_write(0x0b, 0x02);
    route(PIN_RTC, MASKED);
}

/* Counts, notes the state in service, and leaves the UART's line as it is until the third time. */
static struct {
    uint32_t entry[4];
    bool tmr;
} level;

static void on_uart(struct trap_frame *f)
{
    unsigned n = irq_counts[f->vector]++;

    if (n < 4)
        level.entry[n] = io_read(REG_ENTRY(PIN_UART));
    level.tmr = apic_bit(APIC_TMR, VEC_UART);
    if (n == 2)
        out8(COM1 + 1, 0);
    apic_write(APIC_EOI, 0);
}

/* The UART's "transmitter empty", as if IRQ 4 were level-triggered: it comes until it is ended. */
static void check_level(void)
{
    console_drain();
    trap_set_handler(VEC_UART, on_uart);
    irq_counts[VEC_UART] = 0;
    route(PIN_UART, VEC_UART | LEVEL);
    out8(COM1 + 4, 0x0b);
    out8(COM1 + 1, IER_THRE);
    wait_ms(2);
    CHECK_EQ("level-comes-again", irq_counts[VEC_UART], 3);
    CHECK("level-remote-irr", level.entry[0] & REMOTE_IRR);
    CHECK("level-tmr", level.tmr);
    CHECK_EQ("remote-irr-ends", io_read(REG_ENTRY(PIN_UART)) & REMOTE_IRR, 0);
    route(PIN_UART, MASKED | LEVEL);
    irq_counts[VEC_UART] = 0;
    out8(COM1 + 1, IER_THRE);
    wait_ms(1);
    CHECK_EQ("level-masked", irq_counts[VEC_UART], 0);
    io_write(REG_ENTRY(PIN_UART), VEC_UART | LEVEL);
    wait_ms(1);
    CHECK_EQ("level-unmask-sees-line", irq_counts[VEC_UART], 3);
    route(PIN_UART, MASKED);
    (void)in8(COM1 + 2);
}

static volatile unsigned nmis;

static void on_nmi(struct trap_frame *f)
{
    (void)f;
    nmis++;
}

static void check_nmi(void)
{
    trap_set_handler(VEC_NMI, on_nmi);
    pit_stop();
    route(PIN_PIT, MODE_NMI);
    nmis = 0;
    pit_set(0, 0, 500);
    timing_delay_us(2000);
    CHECK_EQ("nmi-with-if-clear", nmis, 1);
    route(PIN_PIT, MASKED);
}

void guest_main(void)
{
    (void)timing_tsc_hz();
    apic_init();
    apic_write(APIC_LVT_LINT0, APIC_LVT_MASKED);
    check_group(check_registers);
    check_group(check_edge);
    check_group(check_rtc);
    check_group(check_level);
    check_group(check_nmi);
}
