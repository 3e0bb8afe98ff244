#include "irq.h"
#include "timing.h"

#define ICW1_INIT_ICW4 0x11
#define ICW4_8086      0x01

#define PIT_LOW_HIGH 0x30
#define CMOS_INDEX   0x70
#define CMOS_DATA    0x71

volatile unsigned irq_counts[256];

static void pic_init_one(uint16_t command, uint8_t vector, uint8_t icw3)
{
    out8(command, ICW1_INIT_ICW4);
    out8(command + 1, vector);
    out8(command + 1, icw3);
    out8(command + 1, ICW4_8086);
    out8(command + 1, 0xff);
}

void pic_init(void)
{
    pic_init_one(PIC1_CMD, PIC_VECTOR, 1 << IRQ_CASCADE);
    pic_init_one(PIC2_CMD, PIC_VECTOR + 8, IRQ_CASCADE);
}

void pic_unmask(unsigned irq)
{
    if (irq >= 8) {
        out8(PIC2_DATA, in8(PIC2_DATA) & (uint8_t) ~(1 << (irq - 8)));
        irq = IRQ_CASCADE;
    }
    out8(PIC1_DATA, in8(PIC1_DATA) & (uint8_t) ~(1 << irq));
}

void pic_mask_all(void)
{
    out8(PIC1_DATA, 0xff);
    out8(PIC2_DATA, 0xff);
}

void pic_eoi(unsigned irq)
{
    if (irq >= 8)
        out8(PIC2_CMD, PIC_EOI);
    out8(PIC1_CMD, PIC_EOI);
}

uint8_t pic_read(uint16_t command_port, uint8_t what)
{
    out8(command_port, what);
    return in8(command_port);
}

static void count_pic(struct trap_frame *f)
{
    unsigned irq = (unsigned)f->vector - PIC_VECTOR;

    irq_counts[f->vector]++;
    if (irq == IRQ_RTC)
        (void)cmos_read(0x0c); /* the RTC's line stays up until its flags are read */
    pic_eoi(irq);
}

static void count_apic(struct trap_frame *f)
{
    irq_counts[f->vector]++;
    apic_write(APIC_EOI, 0);
}

void irq_count_pic(unsigned irq)
{
    irq_counts[PIC_VECTOR + irq] = 0;
    trap_set_handler(PIC_VECTOR + irq, count_pic);
}

void irq_count_apic(unsigned vector)
{
    irq_counts[vector] = 0;
    trap_set_handler(vector, count_apic);
}

void irq_count_none(unsigned vector)
{
    trap_set_handler(vector, NULL);
}

bool irq_wait_count(unsigned vector, unsigned count, unsigned ms)
{
    uint64_t end = rdtsc() + timing_tsc_hz() / 1000 * ms;

    irq_enable();
    while (irq_counts[vector] < count && rdtsc() < end)
        asm volatile("pause" : : : "memory");
    irq_disable();
    return irq_counts[vector] >= count;
}

void pit_set(unsigned channel, unsigned mode, uint16_t count)
{
    out8(PIT_CMD, (uint8_t)(channel << 6 | PIT_LOW_HIGH | mode << 1));
    out8((uint16_t)(PIT_CH0 + channel), count & 0xff);
    out8((uint16_t)(PIT_CH0 + channel), count >> 8);
}

uint16_t pit_read(unsigned channel)
{
    uint16_t port = (uint16_t)(PIT_CH0 + channel);
    uint8_t low;

    out8(PIT_CMD, (uint8_t)(channel << 6)); /* latch */
    low = in8(port);
    return (uint16_t)(low | in8(port) << 8);
}

void pit_stop(void)
{
    pit_set(0, 0, 1);
}

uint8_t cmos_read(uint8_t index)
{
    out8(CMOS_INDEX, index);
    return in8(CMOS_DATA);
}

void cmos_write(uint8_t index, uint8_t value)
{
    out8(CMOS_INDEX, index);
    out8(CMOS_DATA, value);
}

/* An interrupt that went away between request and acknowledge: no EOI. */
static void ignore_spurious(struct trap_frame *f)
{
    (void)f;
}

void apic_init(void)
{
    trap_set_handler(APIC_SPURIOUS_VECTOR, ignore_spurious);
    apic_write(APIC_SVR, APIC_SVR_ENABLE | APIC_SPURIOUS_VECTOR);
    apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED);
    apic_write(APIC_LVT_LINT0, APIC_DM_EXTINT);
    apic_write(APIC_LVT_LINT1, APIC_LVT_MASKED);
    apic_write(APIC_LVT_ERROR, APIC_LVT_MASKED);
    apic_write(APIC_TPR, 0);
}

void apic_self_ipi(unsigned vector)
{
    apic_write(APIC_ICR, APIC_ICR_SELF | APIC_ICR_ASSERT | vector);
}

void apic_self_nmi(void)
{
    apic_write(APIC_ICR_HIGH, apic_read(APIC_ID) & 0xff000000);
    apic_write(APIC_ICR, APIC_DM_NMI | APIC_ICR_ASSERT);
}

bool apic_bit(unsigned offset, unsigned vector)
{
    return apic_read(offset + vector / 32 * 16) >> vector % 32 & 1;
}
