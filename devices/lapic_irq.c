/*
 * The local APIC's pending and in-service interrupts: what every exit and entry goes through.
 * Only the owner touches IRR, ISR and TMR; everybody else posts into pir.
 */
#include "devices/ioapic.h"
#include "devices/lapic_internal.h"

static inline void set_vector(struct lapic *l, unsigned bank, uint8_t *words, unsigned vector)
{
    *lapic_word(l, bank, vector / 32) |= 1u << (vector % 32);
    *words |= (uint8_t)(1u << (vector / 32));
}

static inline void clear_vector(struct lapic *l, unsigned bank, uint8_t *words, unsigned vector)
{
    uint32_t *word = lapic_word(l, bank, vector / 32);

    *word &= ~(1u << (vector % 32));
    if (*word == 0)
        *words &= (uint8_t) ~(1u << (vector / 32));
}

static uint8_t scan_words(struct lapic *l, unsigned bank)
{
    uint8_t words = 0;

    for (unsigned i = 0; i < 8; i++)
        words |= (uint8_t)((*lapic_word(l, bank, i) != 0) << i);
    return words;
}

void lapic_rescan(struct lapic *l)
{
    l->irr_words = scan_words(l, LAPIC_IRR);
    l->isr_words = scan_words(l, LAPIC_ISR);
}

/* ------------------------------------------------------------------ posting */

/* What the TMR will say of the vector once it is accepted. */
static inline void note_trigger(struct lapic *l, uint8_t vector, bool level)
{
    uint8_t *byte = &l->pending_eoi_levels[vector / 8], bit = (uint8_t)(1u << (vector % 8));
    bool was = __atomic_load_n(byte, __ATOMIC_RELAXED) & bit;

    if (likely(was == level))
        return;
    if (level)
        __atomic_fetch_or(byte, bit, __ATOMIC_RELAXED);
    else
        __atomic_fetch_and(byte, (uint8_t)~bit, __ATOMIC_RELAXED);
}

/* Into IRR at once, if the owner allows and the vector was not level-triggered before. */
static inline bool request_directly(struct lapic *l, uint8_t vector)
{
    const uint32_t *levels = (const uint32_t *)(const void *)l->pending_eoi_levels;
    unsigned word = vector / 32;
    uint32_t bit = 1u << (vector % 32);

    if (unlikely(((*lapic_word(l, LAPIC_TMR, word) | levels[word]) & bit) != 0) ||
        !l->machine->cpu_ops->delivers(l->machine->cpu_opaque, l->vcpu, vector))
        return false;
    *lapic_word(l, LAPIC_IRR, word) |= bit;
    return true;
}

/*
 * The bit first, then the notification. The owner takes the notification first, then the bits: so
 * a bit it has just missed comes with a notification that it has not. Who finds either set
 * already has nothing to do: whoever set it wakes the owner, or has done so.
 */
void lapic_post(struct lapic *l, uint8_t vector, bool level)
{
    uint64_t bit = BIT(vector % 64);

    if (!level && request_directly(l, vector))
        return;
    note_trigger(l, vector, level);
    if (__atomic_fetch_or(&l->pir.bits[vector / 64], bit, __ATOMIC_SEQ_CST) & bit)
        return;
    if (__atomic_fetch_or(&l->pir.control, LAPIC_PIR_ON, __ATOMIC_SEQ_CST) & LAPIC_PIR_ON)
        return;
    l->machine->cpu_ops->wake(l->machine->cpu_opaque, l->vcpu);
}

/* 32 posted vectors become pending; their TMR bits follow how they were posted. */
static inline void fold_word(struct lapic *l, unsigned word, uint32_t posted)
{
    const uint32_t *levels = (const uint32_t *)(const void *)l->pending_eoi_levels;
    uint32_t *tmr = lapic_word(l, LAPIC_TMR, word);

    if (posted == 0)
        return;
    *lapic_word(l, LAPIC_IRR, word) |= posted;
    l->irr_words |= (uint8_t)(1u << word);
    *tmr = (*tmr & ~posted) | (__atomic_load_n(&levels[word], __ATOMIC_RELAXED) & posted);
}

static void __attribute__((noinline)) fold_pir(struct lapic *l)
{
    __atomic_fetch_and(&l->pir.control, ~LAPIC_PIR_ON, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < ARRAY_SIZE(l->pir.bits); i++) {
        uint64_t posted;

        if (__atomic_load_n(&l->pir.bits[i], __ATOMIC_RELAXED) == 0)
            continue;
        posted = __atomic_exchange_n(&l->pir.bits[i], 0, __ATOMIC_SEQ_CST);
        fold_word(l, 2 * i, (uint32_t)posted);
        fold_word(l, 2 * i + 1, (uint32_t)(posted >> 32));
    }
}

static inline int sync_pending(struct lapic *l)
{
    if (unlikely(__atomic_load_n(&l->pir.control, __ATOMIC_ACQUIRE) & LAPIC_PIR_ON))
        fold_pir(l);
    if (unlikely(l->virtual_delivery))
        l->irr_words = scan_words(l, LAPIC_IRR);
    return lapic_highest(l, LAPIC_IRR, l->irr_words);
}

int lapic_sync(struct lapic *l)
{
    return sync_pending(l);
}

bool lapic_crowded(struct lapic *l)
{
    int highest = sync_pending(l);

    if (highest < 0)
        return false;
    for (unsigned i = 0; i < 8; i++) {
        uint32_t word = *lapic_word(l, LAPIC_IRR, i);

        if (i == (unsigned)highest / 32)
            word &= ~(1u << (highest % 32));
        if (word != 0)
            return true;
    }
    return false;
}

/* Nothing was ever posted: for reset. */
void lapic_drop_pending(struct lapic *l)
{
    __atomic_fetch_and(&l->pir.control, ~LAPIC_PIR_ON, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < ARRAY_SIZE(l->pir.bits); i++)
        __atomic_store_n(&l->pir.bits[i], 0, __ATOMIC_SEQ_CST);
    memset(l->pending_eoi_levels, 0, sizeof(l->pending_eoi_levels));
    lapic_rescan(l);
}

/* ------------------------------------------------------------------ priorities */

static inline int in_service(struct lapic *l)
{
    if (unlikely(l->virtual_delivery))
        l->isr_words = scan_words(l, LAPIC_ISR);
    return lapic_highest(l, LAPIC_ISR, l->isr_words);
}

int lapic_in_service(struct lapic *l)
{
    return in_service(l);
}

/* SDM 11.8.3.1. The TPR is read from the page: with a TPR shadow the CPU writes it there. */
static inline unsigned processor_priority(struct lapic *l)
{
    unsigned tpr = lapic_reg(l, LAPIC_TPR) & 0xff;
    int vector = in_service(l);
    unsigned service = vector < 0 ? 0 : LAPIC_CLASS((unsigned)vector);

    return LAPIC_CLASS(tpr) >= service ? tpr : service;
}

uint8_t lapic_ppr(struct lapic *l)
{
    return (uint8_t)processor_priority(l);
}

void lapic_update_ppr(struct lapic *l)
{
    lapic_set_reg(l, LAPIC_PPR, processor_priority(l));
}

int lapic_pending(struct lapic *l)
{
    int vector = sync_pending(l);

    if (likely(vector < 0))
        return -1;
    return LAPIC_CLASS((unsigned)vector) > LAPIC_CLASS(processor_priority(l)) ? vector : -1;
}

void lapic_accept(struct lapic *l, int vector)
{
    clear_vector(l, LAPIC_IRR, &l->irr_words, (uint8_t)vector);
    set_vector(l, LAPIC_ISR, &l->isr_words, (uint8_t)vector);
    lapic_set_reg(l, LAPIC_PPR, LAPIC_CLASS((unsigned)vector)); /* it is above all others */
}

/* ------------------------------------------------------------------ end of interrupt */

static bool level_triggered(struct lapic *l, unsigned vector)
{
    return *lapic_word(l, LAPIC_TMR, vector / 32) >> (vector % 32) & 1;
}

static void end_lint(struct lapic *l, unsigned pin, uint8_t vector)
{
    uint32_t lvt = lapic_reg(l, LAPIC_LVT_LINT0 + 0x10 * pin);

    if (!(l->lint_remote_irr & (1u << pin)) || (lvt & LVT_VECTOR) != vector)
        return;
    l->lint_remote_irr &= (uint8_t) ~(1u << pin);
    lapic_set_reg(l, LAPIC_LVT_LINT0 + 0x10 * pin, lvt & ~(uint32_t)LVT_REMOTE_IRR);
    lapic_lint_update(l, pin);
}

void lapic_eoi_vector(struct lapic *l, uint8_t vector)
{
    for (unsigned pin = 0; pin < 2; pin++)
        end_lint(l, pin, vector);
    if (l->machine->ioapic != NULL)
        ioapic_eoi(l->machine->ioapic, vector);
}

void lapic_eoi(struct lapic *l)
{
    int vector = in_service(l);

    if (unlikely(vector < 0))
        return;
    clear_vector(l, LAPIC_ISR, &l->isr_words, (unsigned)vector);
    lapic_set_reg(l, LAPIC_PPR, processor_priority(l));
    if (unlikely(level_triggered(l, (unsigned)vector)))
        lapic_eoi_vector(l, (uint8_t)vector);
}

void lapic_eoi_exit_bitmap(struct lapic *l, uint64_t bitmap[4])
{
    const uint64_t *levels = (const uint64_t *)(const void *)l->pending_eoi_levels;

    for (unsigned i = 0; i < 4; i++)
        bitmap[i] = __atomic_load_n(&levels[i], __ATOMIC_RELAXED) |
                    *lapic_word(l, LAPIC_TMR, 2 * i) |
                    (uint64_t)*lapic_word(l, LAPIC_TMR, 2 * i + 1) << 32;
    if (l->machine->ioapic != NULL)
        ioapic_level_vectors(l->machine->ioapic, bitmap);
}

/* ------------------------------------------------------------------ local sources */

void lapic_post_checked(struct lapic *l, uint8_t vector, bool level)
{
    if (unlikely(vector < LAPIC_FIRST_VECTOR))
        lapic_error(l, ESR_RECEIVE_ILLEGAL_VECTOR);
    else
        lapic_post(l, vector, level);
}

void lapic_local_interrupt(struct lapic *l, uint32_t lvt)
{
    const struct machine *m = l->machine;

    switch ((lvt & LVT_MODE) >> LVT_MODE_SHIFT) {
    case LAPIC_FIXED:
        lapic_post_checked(l, lvt & LVT_VECTOR, lvt & LVT_REMOTE_IRR);
        break;
    case LAPIC_NMI:
        m->cpu_ops->nmi(m->cpu_opaque, l->vcpu);
        break;
    case LAPIC_INIT:
        m->cpu_ops->init(m->cpu_opaque, l->vcpu);
        break;
    case LAPIC_EXTINT:
        m->cpu_ops->wake(m->cpu_opaque, l->vcpu);
        break;
    default: /* SMI: there is no system management mode */
        break;
    }
}

/*
 * The error interrupt comes when an error is new since ESR was last written (SDM 11.5.3), which
 * also ends the recursion that an illegal vector in the error entry itself would start.
 */
void lapic_error(struct lapic *l, uint32_t esr_bit)
{
    uint32_t lvt = lapic_reg(l, LAPIC_LVT_ERROR);

    if (__atomic_fetch_or(&l->errors, esr_bit, __ATOMIC_SEQ_CST) & esr_bit)
        return;
    if (!(lvt & LVT_MASKED))
        lapic_local_interrupt(l, lvt);
}

bool lapic_accepts_extint(const struct lapic *l)
{
    uint32_t lvt = lapic_reg(l, LAPIC_LVT_LINT0);

    if (!lapic_enabled(l) || l->extint)
        return true;
    return (lvt & (LVT_MASKED | LVT_MODE)) == LAPIC_EXTINT << LVT_MODE_SHIFT;
}

/* A level-triggered fixed entry sends its vector once, and again after the EOI. */
void lapic_lint_update(struct lapic *l, unsigned pin)
{
    unsigned offset = LAPIC_LVT_LINT0 + 0x10 * pin;
    uint32_t lvt = lapic_reg(l, offset);

    if (!(l->lint_level & (1u << pin)) || (l->lint_remote_irr & (1u << pin)))
        return;
    if ((lvt & (LVT_MASKED | LVT_LEVEL | LVT_MODE)) != (LVT_LEVEL | LAPIC_FIXED))
        return;
    l->lint_remote_irr |= (uint8_t)(1u << pin);
    lapic_set_reg(l, offset, lvt | LVT_REMOTE_IRR);
    lapic_local_interrupt(l, lvt | LVT_REMOTE_IRR);
}

static bool lint_is_level(uint32_t lvt)
{
    return (lvt & LVT_LEVEL) && (lvt & LVT_MODE) == LAPIC_FIXED << LVT_MODE_SHIFT;
}

void lapic_set_lint(struct lapic *l, unsigned pin, bool level)
{
    uint32_t lvt = lapic_reg(l, LAPIC_LVT_LINT0 + 0x10 * pin);
    uint8_t bit = (uint8_t)(1u << pin);
    bool rose = level && !(l->lint_level & bit);

    l->lint_level = (uint8_t)((l->lint_level & ~bit) | (level ? bit : 0));
    if (pin == 0 && !level)
        l->extint = false; /* the PIC took its request back, or it was acknowledged */
    if (!rose)
        return;
    if (!lapic_enabled(l)) { /* the pins are INTR and NMI then */
        lapic_local_interrupt(l, (pin == 0 ? LAPIC_EXTINT : LAPIC_NMI) << LVT_MODE_SHIFT);
        return;
    }
    if (lint_is_level(lvt))
        lapic_lint_update(l, pin);
    else if (!(lvt & LVT_MASKED))
        lapic_local_interrupt(l, lvt & ~(uint32_t)LVT_REMOTE_IRR);
}
