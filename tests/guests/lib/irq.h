/* Interrupt controllers, the PIT and the RTC, as much of them as many kernels need. */
#ifndef GUESTS_IRQ_H
#define GUESTS_IRQ_H

#include "trap.h"
#include "lib/types.h"

/* 8259A pair (data sheet 231468). */
#define PIC1_CMD     0x20
#define PIC1_DATA    0x21
#define PIC2_CMD     0xa0
#define PIC2_DATA    0xa1
#define PIC_EOI      0x20
#define PIC_READ_IRR 0x0a
#define PIC_READ_ISR 0x0b
#define PIC_VECTOR   0x20 /* of IRQ 0 */

enum irq {
    IRQ_PIT = 0,
    IRQ_CASCADE = 2,
    IRQ_COM1 = 4,
    IRQ_RTC = 8,
};

/* Vectors PIC_VECTOR on, edge triggered, all masked. */
void pic_init(void);
void pic_unmask(unsigned irq);
void pic_mask_all(void);
void pic_eoi(unsigned irq);
uint8_t pic_read(uint16_t command_port, uint8_t what);

/* Counts of interrupts taken by irq_count handlers, by vector. */
extern volatile unsigned irq_counts[256];
/* The PIC's IRQ is counted and acknowledged from now on; not yet unmasked. */
void irq_count_pic(unsigned irq);
/* A vector of the local APIC's is counted and acknowledged there. */
void irq_count_apic(unsigned vector);
void irq_count_none(unsigned vector);
/* With interrupts on, until the vector's count reaches that or milliseconds are over. */
bool irq_wait_count(unsigned vector, unsigned count, unsigned ms);

/* 8254 (data sheet 231164). */
#define PIT_HZ         1193182
#define PIT_CH0        0x40
#define PIT_CH2        0x42
#define PIT_CMD        0x43
#define PORT_61        0x61
#define PORT61_GATE2   0x01
#define PORT61_SPEAKER 0x02
#define PORT61_OUT2    0x20
void pit_set(unsigned channel, unsigned mode, uint16_t count);
uint16_t pit_read(unsigned channel);
/* Channel 0 quiet: mode 0 with its count run down. */
void pit_stop(void);

/* CMOS RAM and real-time clock (MC146818). */
uint8_t cmos_read(uint8_t index);
void cmos_write(uint8_t index, uint8_t value);

/* The local APIC, xAPIC mode (SDM vol. 3 ch. 11). */
#define APIC_BASE            0xfee00000ul
#define APIC_ID              0x20
#define APIC_VERSION         0x30
#define APIC_TPR             0x80
#define APIC_PPR             0xa0
#define APIC_EOI             0xb0
#define APIC_LDR             0xd0
#define APIC_DFR             0xe0
#define APIC_SVR             0xf0
#define APIC_ISR             0x100
#define APIC_TMR             0x180
#define APIC_IRR             0x200
#define APIC_ESR             0x280
#define APIC_ICR             0x300
#define APIC_ICR_HIGH        0x310
#define APIC_LVT_TIMER       0x320
#define APIC_LVT_LINT0       0x350
#define APIC_LVT_LINT1       0x360
#define APIC_LVT_ERROR       0x370
#define APIC_TMR_INITIAL     0x380
#define APIC_TMR_CURRENT     0x390
#define APIC_TMR_DIVIDE      0x3e0
#define APIC_SVR_ENABLE      0x100
#define APIC_LVT_MASKED      0x10000
#define APIC_LVT_PERIODIC    0x20000
#define APIC_LVT_DEADLINE    0x40000
#define APIC_DM_NMI          0x400
#define APIC_DM_EXTINT       0x700
#define APIC_ICR_ASSERT      0x4000
#define APIC_ICR_SELF        0x40000
#define APIC_SPURIOUS_VECTOR 0xff

static inline uint32_t apic_read(unsigned offset)
{
    return mmio_read32(APIC_BASE + offset);
}
static inline void apic_write(unsigned offset, uint32_t v)
{
    mmio_write32(APIC_BASE + offset, v);
}
/* Software-enabled, LINT0 passing the PIC's interrupts, TPR 0, everything else masked. */
void apic_init(void);
void apic_self_ipi(unsigned vector);
/* By its ID: the shorthand for self takes fixed delivery only. */
void apic_self_nmi(void);
/* A vector's bit in the 256-bit register that starts at offset. */
bool apic_bit(unsigned offset, unsigned vector);

#endif
