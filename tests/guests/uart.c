/* The 16550A at COM1: registers, loopback, FIFOs, interrupt identification, and its IRQ. */
#include "lib/guest.h"

#define COM1           0x3f8
#define REG_IER        1
#define REG_IIR        2 /* FCR when written */
#define REG_LCR        3
#define REG_MCR        4
#define REG_LSR        5
#define REG_MSR        6
#define REG_SCRATCH    7
#define IER_RX         0x01
#define IER_THRE       0x02
#define IER_LINE       0x04
#define IER_MODEM      0x08
#define IIR_NONE       0x01
#define IIR_THRE       0x02
#define IIR_RX         0x04
#define IIR_LINE       0x06
#define IIR_MODEM      0x00
#define IIR_TIMEOUT    0x0c
#define IIR_ID         0x0f
#define IIR_FIFO       0xc0
#define FCR_ENABLE     0x01
#define FCR_CLEAR      0x06
#define FCR_TRIGGER_14 0xc0
#define LCR_8N1        0x03
#define LCR_DLAB       0x80
#define MCR_PLAIN      0x0b /* DTR, RTS, OUT2 */
#define MCR_LOOP       0x10
#define LSR_DATA       0x01
#define LSR_OVERRUN    0x02
#define LSR_IDLE       0x60
#define FIFO_SIZE      16
#define VECTOR         (PIC_VECTOR + IRQ_COM1)

static uint8_t reg(unsigned r)
{
    return in8((uint16_t)(COM1 + r));
}

static void set(unsigned r, uint8_t v)
{
    out8((uint16_t)(COM1 + r), v);
}

/* Into loopback, quiet and empty; what was to be printed is out first. */
static void loopback(uint8_t fcr)
{
    console_drain();
    set(REG_IER, 0);
    set(REG_MCR, MCR_LOOP);
    set(REG_IIR, FCR_CLEAR | FCR_ENABLE);
    set(REG_IIR, fcr);
    while (reg(REG_LSR) & LSR_DATA)
        (void)reg(0);
    (void)reg(REG_MSR);
    (void)reg(REG_IIR);
}

static void plain(void)
{
    set(REG_IER, 0);
    set(REG_IIR, FCR_CLEAR | FCR_ENABLE);
    set(REG_IIR, 0);
    set(REG_MCR, MCR_PLAIN);
}

static bool wait_lsr(uint8_t bits)
{
    for (unsigned i = 0; i < 1000; i++) {
        if ((reg(REG_LSR) & bits) == bits)
            return true;
        timing_delay_us(10);
    }
    return false;
}

static void send(uint8_t v)
{
    wait_lsr(0x20);
    set(0, v);
}

static void check_registers(void)
{
    uint8_t latch[2], ier, mcr, lcr;

    console_drain();
    set(REG_SCRATCH, 0x5a);
    CHECK_EQ("scratch", reg(REG_SCRATCH), 0x5a);
    set(REG_SCRATCH, 0xa5);
    CHECK_EQ("scratch-again", reg(REG_SCRATCH), 0xa5);
    set(REG_LCR, LCR_DLAB | LCR_8N1);
    lcr = reg(REG_LCR);
    set(0, 0x34);
    set(1, 0x12);
    latch[0] = reg(0);
    latch[1] = reg(1);
    set(0, 1);
    set(1, 0);
    set(REG_LCR, LCR_8N1);
    CHECK_EQ("lcr", lcr, LCR_DLAB | LCR_8N1);
    CHECK_EQ("divisor-latch", latch[0] | latch[1] << 8, 0x1234);
    set(REG_MCR, 0xff);
    mcr = reg(REG_MCR);
    set(REG_MCR, MCR_PLAIN);
    CHECK_EQ("mcr-five-bits", mcr, 0x1f);
    set(REG_MCR, MCR_LOOP);
    set(REG_IER, 0xf0);
    ier = reg(REG_IER);
    set(REG_IER, 0x05);
    CHECK_EQ("ier-four-bits", ier << 8 | reg(REG_IER), 0x0005);
    set(REG_IER, 0);
    plain();
    CHECK_EQ("lsr-idle", reg(REG_LSR) & (LSR_IDLE | LSR_DATA), LSR_IDLE);
    CHECK_EQ("iir-none", reg(REG_IIR) & IIR_ID, IIR_NONE);
}

static void check_modem_loop(void)
{
    loopback(0);
    set(REG_MCR, MCR_LOOP | 0x01);
    CHECK_EQ("loop-dtr-is-dsr", reg(REG_MSR) & 0xf0, 0x20);
    set(REG_MCR, MCR_LOOP | 0x02);
    CHECK_EQ("loop-rts-is-cts", reg(REG_MSR) & 0xf0, 0x10);
    set(REG_MCR, MCR_LOOP | 0x04);
    CHECK_EQ("loop-out1-is-ri", reg(REG_MSR) & 0xf0, 0x40);
    set(REG_MCR, MCR_LOOP | 0x08);
    (void)reg(REG_MSR);
    CHECK_EQ("loop-out2-is-dcd", reg(REG_MSR), 0x80);
    set(REG_MCR, MCR_LOOP | 0x0a);
    CHECK_EQ("loop-delta-cts", reg(REG_MSR) & 0x0f, 0x01);
    CHECK_EQ("delta-clears-on-read", reg(REG_MSR) & 0x0f, 0);
    plain();
}

static void check_data_loop(void)
{
    uint8_t got;
    bool same = true;

    loopback(0);
    send(0x42);
    CHECK("loop-data-arrives", wait_lsr(LSR_DATA));
    got = reg(0);
    CHECK_EQ("loop-data", got, 0x42);
    CHECK_EQ("data-taken", reg(REG_LSR) & LSR_DATA, 0);
    for (unsigned i = 0; i < 256; i += 15) {
        send((uint8_t)i);
        same = wait_lsr(LSR_DATA) && reg(0) == i && same;
    }
    CHECK("loop-all-values", same);
    send(1);
    wait_lsr(LSR_DATA | LSR_IDLE);
    send(2);
    timing_delay_us(300); /* reading LSR would clear the flag */
    CHECK_EQ("overrun", reg(REG_LSR) & (LSR_OVERRUN | LSR_DATA), LSR_OVERRUN | LSR_DATA);
    CHECK_EQ("overrun-clears-on-read", reg(REG_LSR) & LSR_OVERRUN, 0);
    CHECK_EQ("overrun-keeps-newer", reg(0), 2);
    plain();
}

static void check_fifo(void)
{
    bool same = true;

    loopback(FCR_ENABLE);
    CHECK_EQ("iir-says-fifo", reg(REG_IIR) & IIR_FIFO, IIR_FIFO);
    for (uint8_t i = 0; i < FIFO_SIZE; i++)
        send((uint8_t)(0x30 + i));
    wait_lsr(LSR_IDLE);
    timing_delay_us(300);
    CHECK_EQ("fifo-no-overrun", reg(REG_LSR) & LSR_OVERRUN, 0);
    for (uint8_t i = 0; i < FIFO_SIZE; i++)
        same = (reg(REG_LSR) & LSR_DATA) && reg(0) == 0x30 + i && same;
    CHECK("fifo-in-order", same);
    CHECK_EQ("fifo-empty", reg(REG_LSR) & LSR_DATA, 0);
    send(1);
    wait_lsr(LSR_DATA);
    set(REG_IIR, FCR_ENABLE | FCR_CLEAR);
    CHECK_EQ("fifo-reset", reg(REG_LSR) & LSR_DATA, 0);
    for (uint8_t i = 0; i < FIFO_SIZE + 1; i++)
        send(i);
    timing_delay_us(2500);
    CHECK_EQ("fifo-overrun", reg(REG_LSR) & LSR_OVERRUN, LSR_OVERRUN);
    CHECK_EQ("fifo-overrun-keeps-older", reg(0), 0);
    plain();
    CHECK_EQ("iir-says-no-fifo", reg(REG_IIR) & IIR_FIFO, 0);
}

static void check_identification(void)
{
    loopback(0);
    set(REG_IER, IER_THRE);
    CHECK_EQ("iir-thre", reg(REG_IIR) & IIR_ID, IIR_THRE);
    CHECK_EQ("iir-thre-clears-on-read", reg(REG_IIR) & IIR_ID, IIR_NONE);
    set(REG_IER, IER_RX);
    send(7);
    wait_lsr(LSR_DATA);
    CHECK_EQ("iir-rx", reg(REG_IIR) & IIR_ID, IIR_RX);
    set(REG_IER, IER_RX | IER_THRE | IER_MODEM);
    set(REG_MCR, MCR_LOOP | 0x02);
    CHECK_EQ("iir-rx-before-others", reg(REG_IIR) & IIR_ID, IIR_RX);
    (void)reg(0);
    CHECK_EQ("iir-then-thre", reg(REG_IIR) & IIR_ID, IIR_THRE);
    CHECK_EQ("iir-then-modem", reg(REG_IIR) & IIR_ID, IIR_MODEM);
    (void)reg(REG_MSR);
    CHECK_EQ("iir-then-none", reg(REG_IIR) & IIR_ID, IIR_NONE);
    plain();
}

static void check_fifo_interrupts(void)
{
    uint8_t before;

    loopback(FCR_ENABLE | FCR_TRIGGER_14);
    set(REG_IER, IER_RX);
    for (uint8_t i = 0; i < 3; i++)
        send(i);
    before = reg(REG_IIR) & IIR_ID;
    wait_lsr(LSR_IDLE | LSR_DATA);
    timing_delay_us(1000); /* four characters' time without another: timeout */
    CHECK_EQ("trigger-14-not-yet", before, IIR_NONE);
    CHECK_EQ("iir-timeout", reg(REG_IIR) & IIR_ID, IIR_TIMEOUT);
    (void)reg(0);
    for (uint8_t i = 0; i < 14; i++)
        send(i);
    wait_lsr(LSR_IDLE);
    CHECK_EQ("iir-trigger-14", reg(REG_IIR) & IIR_ID, IIR_RX);
    set(REG_IER, IER_RX | IER_LINE);
    send(0);
    send(0);
    send(0);
    timing_delay_us(500);
    CHECK_EQ("iir-line-status-first", reg(REG_IIR) & IIR_ID, IIR_LINE);
    plain();
}

static void check_irq(void)
{
    console_drain();
    irq_count_pic(IRQ_COM1);
    pic_unmask(IRQ_COM1);
    set(REG_MCR, MCR_PLAIN);
    set(REG_IER, IER_THRE);
    CHECK("irq4-comes", irq_wait_count(VECTOR, 1, 20));
    (void)reg(REG_IIR);
    (void)irq_wait_count(VECTOR, ~0u, 1);
    CHECK_EQ("irq4-once", irq_counts[VECTOR], 1);
    set(REG_IER, 0);
    set(REG_IER, IER_THRE); /* the enable's rising edge gives another */
    CHECK("irq4-on-enable", irq_wait_count(VECTOR, 2, 20));
    set(REG_IER, 0);
    (void)reg(REG_IIR);
    set(REG_MCR, 0x03);
    set(REG_IER, IER_THRE);
    (void)irq_wait_count(VECTOR, 3, 1);
    CHECK_EQ("irq4-needs-out2", irq_counts[VECTOR], 2);
    pic_mask_all();
    plain();
}

void guest_main(void)
{
    (void)timing_tsc_hz();
    apic_init();
    check_group(check_registers);
    check_group(check_modem_loop);
    check_group(check_data_loop);
    check_group(check_fifo);
    check_group(check_identification);
    check_group(check_fifo_interrupts);
    check_group(check_irq);
}
