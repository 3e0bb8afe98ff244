/* What the files of the local APIC share: its registers' bits and its inner functions. */
#ifndef DEVICES_LAPIC_INTERNAL_H
#define DEVICES_LAPIC_INTERNAL_H

#include "devices/lapic.h"
#include "lib/string.h"

/* SVR */
#define SVR_ENABLE BIT(8)
/* LVT entries (SDM vol. 3 figure 11-8) */
#define LVT_VECTOR      0xffu
#define LVT_MODE_SHIFT  8
#define LVT_MODE        (7u << LVT_MODE_SHIFT)
#define LVT_STATUS      BIT(12)
#define LVT_POLARITY    BIT(13)
#define LVT_REMOTE_IRR  BIT(14)
#define LVT_LEVEL       BIT(15)
#define LVT_MASKED      BIT(16)
#define LVT_TIMER_MODE  (3u << LVT_TIMER_SHIFT)
#define LVT_TIMER_SHIFT 17

enum lapic_timer_mode {
    TIMER_ONE_SHOT = 0,
    TIMER_PERIODIC = 1,
    TIMER_TSC_DEADLINE = 2,
};

/* ESR bits */
#define ESR_SEND_ILLEGAL_VECTOR    BIT(5)
#define ESR_RECEIVE_ILLEGAL_VECTOR BIT(6)
#define ESR_ILLEGAL_REGISTER       BIT(7)

#define LAPIC_FIRST_VECTOR  16   /* 0 to 15 are illegal as fixed interrupts */
#define LAPIC_PIR_ON        1ull /* control: outstanding notification */
#define LAPIC_CLASS(vector) ((vector)&0xf0)
#define LAPIC_ICR_HIGH_X2   (LAPIC_ICR + 4) /* x2APIC: the ICR is one 64-bit register */

static inline uint32_t lapic_reg(const struct lapic *l, unsigned offset)
{
    return l->page[offset / 4];
}
static inline void lapic_set_reg(struct lapic *l, unsigned offset, uint32_t value)
{
    l->page[offset / 4] = value;
}
/* The word of IRR, ISR or TMR (bank) in which a vector's bit is. */
static inline uint32_t *lapic_word(struct lapic *l, unsigned bank, unsigned word)
{
    return &l->page[bank / 4 + 4 * word];
}
/* The highest vector of a bank whose words differ from 0 where words says so, or -1. */
static inline int lapic_highest(struct lapic *l, unsigned bank, unsigned words)
{
    int word;

    if (words == 0)
        return -1;
    word = 31 - __builtin_clz(words);
    return word * 32 + 31 - __builtin_clz(*lapic_word(l, bank, (unsigned)word));
}

/* lapic_irq.c */
uint8_t lapic_ppr(struct lapic *l);
void lapic_update_ppr(struct lapic *l);
void lapic_drop_pending(struct lapic *l);
/* Posts a fixed interrupt, or notes the error when the vector is one that cannot be received. */
void lapic_post_checked(struct lapic *l, uint8_t vector, bool level);
/* An interrupt of the APIC's own, as an LVT entry describes it. */
void lapic_local_interrupt(struct lapic *l, uint32_t lvt);
void lapic_error(struct lapic *l, uint32_t esr_bit);
/* LINT0 or LINT1 was programmed: a level that waits may get through now. */
void lapic_lint_update(struct lapic *l, unsigned pin);

/* lapic_ipi.c: what the ICR says is sent. */
void lapic_send_ipi(struct lapic *l, uint32_t icr, uint32_t dest);

/* lapic_timer.c */
void lapic_timer_init(struct lapic *l);
void lapic_timer_stop(struct lapic *l);
void lapic_timer_set_mode(struct lapic *l, uint32_t lvt);
void lapic_timer_set_initial(struct lapic *l, uint32_t count);
void lapic_timer_set_divide(struct lapic *l, uint32_t divide);
/* What timer_shift is by the divide register. */
uint8_t lapic_timer_shift(const struct lapic *l);
uint32_t lapic_timer_current(struct lapic *l);
/* After loading: arms the timer again. */
void lapic_timer_resume(struct lapic *l, uint64_t deadline);

#endif
