/*
 * The 8259A pair: initialisation, masks, IRR and ISR, priorities, EOI kinds, polling, spurious
 * interrupts. Requests come from the PIT (IRQ 0), the UART in loopback (IRQ 4) and the RTC (IRQ 8).
 */
#include "lib/guest.h"

#define COM1            0x3f8
#define UART_IER        1
#define UART_MCR        4
#define IER_THRE        0x02
#define MCR_OUT2        0x08
#define OCW2_SPECIFIC   0x60
#define OCW2_ROTATE_EOI 0xa0
#define OCW2_SET_LOWEST 0xc0
#define OCW3_POLL       0x0c
#define OCW3_SPECIAL    0x68
#define OCW3_NO_SPECIAL 0x48
#define ICW4_AUTO_EOI   0x03
#define CMOS_B_PERIODIC 0x42
#define CMOS_B_PLAIN    0x02

static bool irr_has(unsigned irq)
{
    return irq < 8 ? pic_read(PIC1_CMD, PIC_READ_IRR) >> irq & 1
                   : pic_read(PIC2_CMD, PIC_READ_IRR) >> (irq - 8) & 1;
}

static uint8_t isr(void)
{
    return pic_read(PIC1_CMD, PIC_READ_ISR);
}

/* IRQ 0 becomes pending: OUT rises at the end of a mode 0 count. */
static void raise_pit(void)
{
    pit_set(0, 0, 200);
    timing_delay_us(400);
}

/* IRQ 4: the transmitter is empty, and said so. The line stays up until IER is cleared. */
static void raise_uart(void)
{
    console_drain();
    out8(COM1 + UART_MCR, MCR_OUT2 | 3);
    out8(COM1 + UART_IER, IER_THRE);
}

static void drop_uart(void)
{
    out8(COM1 + UART_IER, 0);
    (void)in8(COM1 + 2);
}

static void raise_rtc(void)
{
    cmos_write(0x0a, 0x26);
    cmos_write(0x0b, CMOS_B_PERIODIC);
    timing_delay_us(1500);
}

static void drop_rtc(void)
{
    cmos_write(0x0b, CMOS_B_PLAIN);
    (void)cmos_read(0x0c);
}

static void check_masks(void)
{
    bool same = true;

    pic_init();
    for (unsigned v = 0; v < 256; v += 5) {
        out8(PIC1_DATA, (uint8_t)v);
        out8(PIC2_DATA, (uint8_t)~v);
        same = same && in8(PIC1_DATA) == v && in8(PIC2_DATA) == (uint8_t)~v;
    }
    CHECK("masks-read-back", same);
    out8(PIC1_CMD, 0x11);
    out8(PIC1_DATA, PIC_VECTOR);
    out8(PIC1_DATA, 4);
    out8(PIC1_DATA, 1);
    CHECK_EQ("icw1-clears-mask", in8(PIC1_DATA), 0);
    pic_init();
    CHECK_EQ("isr-after-init", isr(), 0);
}

static void check_irr(void)
{
    raise_pit();
    CHECK("irr-pit", irr_has(IRQ_PIT));
    CHECK_EQ("masked-not-in-service", isr() & 1, 0);
    raise_rtc();
    CHECK("irr-rtc", irr_has(IRQ_RTC));
    raise_uart();
    CHECK("irr-uart", irr_has(IRQ_COM1));
    CHECK("irr-pit-still", irr_has(IRQ_PIT));
    drop_uart();
    drop_rtc();
}

/* Which vectors came, in order; service ends by the handler's choice. */
static struct {
    unsigned n;
    uint8_t vector[8], in_service[8];
    bool eoi;
} taken;

static void on_irq(struct trap_frame *f)
{
    if (taken.n < 8) {
        taken.vector[taken.n] = (uint8_t)f->vector;
        taken.in_service[taken.n] = isr();
    }
    taken.n++;
    if (f->vector == PIC_VECTOR + IRQ_COM1)
        drop_uart();
    if (f->vector == PIC_VECTOR + IRQ_RTC)
        drop_rtc();
    if (taken.eoi)
        pic_eoi((unsigned)f->vector - PIC_VECTOR);
}

static void take_some(bool eoi)
{
    taken.n = 0;
    taken.eoi = eoi;
    irq_enable();
    timing_delay_us(100);
    irq_disable();
}

static void unmask_three(void)
{
    out8(PIC2_DATA, 0xfe);
    out8(PIC1_DATA, (uint8_t) ~(1 << IRQ_PIT | 1 << IRQ_COM1 | 1 << IRQ_CASCADE));
}

static void pending_three(void)
{
    pic_init();
    pit_stop();
    raise_rtc();
    raise_uart();
    raise_pit();
    unmask_three();
}

static void check_priority(void)
{
    pending_three();
    take_some(true);
    CHECK_EQ("priority-count", taken.n, 3);
    CHECK_EQ("priority-first-irq0", taken.vector[0], PIC_VECTOR + IRQ_PIT);
    CHECK_EQ("priority-then-irq8", taken.vector[1], PIC_VECTOR + IRQ_RTC);
    CHECK_EQ("priority-then-irq4", taken.vector[2], PIC_VECTOR + IRQ_COM1);
    CHECK_EQ("isr-irq0", taken.in_service[0], 1);
    CHECK_EQ("isr-cascade", taken.in_service[1], 1 << IRQ_CASCADE);
    CHECK_EQ("isr-after-eoi", isr(), 0);
}

/* Without EOI nothing below comes; special mask mode lets it in. */
static void check_without_eoi(void)
{
    pending_three();
    take_some(false);
    CHECK_EQ("no-eoi-blocks-lower", taken.n, 1);
    CHECK_EQ("no-eoi-isr", isr(), 1);
    out8(PIC1_DATA, in8(PIC1_DATA) | 1);
    out8(PIC1_CMD, OCW3_SPECIAL);
    take_some(true);
    CHECK("special-mask-lets-lower", taken.n == 2 && taken.vector[1] == PIC_VECTOR + IRQ_COM1);
    CHECK_EQ("special-mask-eoi-leaves-masked", isr(), 1);
    out8(PIC1_CMD, OCW3_NO_SPECIAL);
    out8(PIC1_CMD, OCW2_SPECIFIC | IRQ_COM1);
    out8(PIC1_CMD, OCW2_SPECIFIC | IRQ_PIT);
    CHECK_EQ("specific-eoi", isr(), 0);
}

/* Rotation: with IRQ 3 the lowest, IRQ 4 is the highest. */
static void check_rotation(void)
{
    pending_three();
    pic_mask_all();
    out8(PIC1_CMD, OCW2_SET_LOWEST | 3);
    unmask_three();
    take_some(true);
    CHECK("set-lowest", taken.n == 3 && taken.vector[0] == PIC_VECTOR + IRQ_COM1 &&
                            taken.vector[1] == PIC_VECTOR + IRQ_PIT);
    pending_three();
    take_some(false);
    out8(PIC1_CMD, OCW2_ROTATE_EOI);
    CHECK_EQ("rotate-eoi-ends", isr(), 0);
    raise_pit();
    take_some(true);
    CHECK("rotate-eoi-lowers", taken.n == 3 && taken.vector[2] == PIC_VECTOR + IRQ_PIT);
}

static void check_auto_eoi(void)
{
    pending_three();
    out8(PIC1_CMD, 0x11);
    out8(PIC1_DATA, PIC_VECTOR);
    out8(PIC1_DATA, 4);
    out8(PIC1_DATA, ICW4_AUTO_EOI);
    out8(PIC1_DATA, 0xff & ~(1 << IRQ_PIT));
    raise_pit();
    pit_stop();
    raise_pit();
    take_some(false);
    CHECK("auto-eoi-taken", taken.n >= 1 && taken.vector[0] == PIC_VECTOR);
    CHECK_EQ("auto-eoi-isr", isr(), 0);
    pic_init();
}

static void check_poll(void)
{
    uint8_t polled;

    pending_three();
    pic_mask_all();
    out8(PIC1_DATA, (uint8_t) ~(1 << IRQ_PIT));
    out8(PIC1_CMD, OCW3_POLL);
    polled = in8(PIC1_CMD);
    CHECK_EQ("poll-finds-irq0", polled, 0x80 | IRQ_PIT);
    CHECK_EQ("poll-is-acknowledge", isr(), 1);
    out8(PIC1_CMD, PIC_EOI);
    pic_mask_all();
    out8(PIC1_CMD, OCW3_POLL);
    CHECK_EQ("poll-nothing", in8(PIC1_CMD) & 0x80, 0);
    drop_uart();
    drop_rtc();
}

/* The line falls between request and acknowledge: IRQ 7 comes, and is not in service. */
static void check_level_dropped(void)
{
    pic_init();
    pit_stop();
    raise_uart();
    CHECK("uart-pending", irr_has(IRQ_COM1));
    drop_uart();
    CHECK("uart-gone-with-line", !irr_has(IRQ_COM1));
}

/* With new vectors the same request arrives elsewhere. */
static void check_vectors(void)
{
    trap_set_handler(0x58, on_irq);
    out8(PIC1_CMD, 0x11);
    out8(PIC1_DATA, 0x58);
    out8(PIC1_DATA, 4);
    out8(PIC1_DATA, 1);
    out8(PIC1_DATA, (uint8_t) ~(1 << IRQ_PIT));
    pit_stop();
    raise_pit();
    take_some(false);
    CHECK("other-vector", taken.n == 1 && taken.vector[0] == 0x58);
    pic_init();
}

void guest_main(void)
{
    (void)timing_tsc_hz();
    apic_init();
    for (unsigned irq = 0; irq < 16; irq++)
        trap_set_handler(PIC_VECTOR + irq, on_irq);
    check_group(check_masks);
    check_group(check_irr);
    check_group(check_priority);
    check_group(check_without_eoi);
    check_group(check_rotation);
    check_group(check_auto_eoi);
    check_group(check_poll);
    check_group(check_level_dropped);
    check_group(check_vectors);
}
