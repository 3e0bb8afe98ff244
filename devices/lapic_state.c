/*
 * Save and load of a local APIC. What is derived from the registers is derived anew, and what no
 * guest could have set is refused or dropped: a stream comes from outside.
 */
#include "devices/lapic_internal.h"

#define LAPIC_TAG    0x4350414cu /* "LAPC" */
#define LAPIC_STREAM 1           /* version */
#define SAVED_REGS   0x400u
#define ILLEGAL_BITS 0xffffu /* vectors 0 to 15 */

/* The fields beside the page, in the order of the stream. */
struct lapic_fields {
    uint64_t base_msr;
    uint64_t tsc_deadline;
    uint64_t timer_start;
    uint64_t timer_deadline;
    uint64_t pir[4];
    uint8_t levels[32];
    uint32_t errors;
    uint8_t timer_running;
    uint8_t extint;
    uint8_t lint_level;
    uint8_t lint_remote_irr;
};

void lapic_save(struct lapic *l, struct device_state *s)
{
    struct lapic_fields f;

    lapic_sync(l);
    memset(&f, 0, sizeof(f));
    f.base_msr = l->base_msr;
    f.tsc_deadline = l->tsc_deadline;
    f.timer_start = l->timer_start;
    f.timer_deadline = l->timer_deadline;
    f.errors = l->errors;
    f.timer_running = l->timer_running;
    f.extint = l->extint;
    f.lint_level = l->lint_level;
    f.lint_remote_irr = l->lint_remote_irr;
    memcpy(f.pir, l->pir.bits, sizeof(f.pir));
    memcpy(f.levels, l->pending_eoi_levels, sizeof(f.levels));
    device_state_put_tag(s, LAPIC_TAG, LAPIC_STREAM);
    device_state_put(s, &f, sizeof(f));
    device_state_put(s, l->page, SAVED_REGS);
}

/* Whether the base is one that the guest could have written. */
static bool base_valid(uint64_t base)
{
    uint64_t mode = base & (BIT(11) | BIT(10));

    return mode != BIT(10) && (base & 0xff) == 0 && !(base & BIT(9)) && base >> 52 == 0;
}

static void take_fields(struct lapic *l, const struct lapic_fields *f)
{
    l->base_msr = f->base_msr;
    lapic_reset_init(l);
    l->tsc_deadline = f->tsc_deadline;
    l->timer_start = f->timer_start;
    l->errors = f->errors & 0xff;
    l->timer_running = f->timer_running & 1;
    l->extint = f->extint & 1;
    l->lint_level = f->lint_level & 3;
    l->lint_remote_irr = f->lint_remote_irr & 3;
    memcpy(l->pir.bits, f->pir, sizeof(f->pir));
    l->pir.bits[0] &= ~(uint64_t)ILLEGAL_BITS;
    if (l->pir.bits[0] | l->pir.bits[1] | l->pir.bits[2] | l->pir.bits[3])
        l->pir.control |= LAPIC_PIR_ON;
    memcpy(l->pending_eoi_levels, f->levels, sizeof(f->levels));
}

static void take_page(struct lapic *l, const uint32_t *regs)
{
    uint32_t id = lapic_reg(l, LAPIC_ID), version = lapic_reg(l, LAPIC_VERSION);
    uint32_t lvt = regs[LAPIC_LVT_TIMER / 4], ldr = lapic_reg(l, LAPIC_LDR);

    memcpy(l->page, regs, SAVED_REGS);
    lapic_set_reg(l, LAPIC_ID, id);
    lapic_set_reg(l, LAPIC_VERSION, version);
    if (lapic_x2apic(l))
        lapic_set_reg(l, LAPIC_LDR, ldr);
    *lapic_word(l, LAPIC_IRR, 0) &= ~ILLEGAL_BITS;
    *lapic_word(l, LAPIC_ISR, 0) &= ~ILLEGAL_BITS;
    lapic_rescan(l);
    l->timer_mode = (lvt & LVT_TIMER_MODE) >> LVT_TIMER_SHIFT;
    l->timer_shift = lapic_timer_shift(l);
}

bool lapic_load(struct lapic *l, struct device_state *s)
{
    struct lapic_fields f;
    uint32_t regs[SAVED_REGS / 4];

    if (!device_state_get_tag(s, LAPIC_TAG, LAPIC_STREAM))
        return false;
    device_state_get(s, &f, sizeof(f));
    device_state_get(s, regs, sizeof(regs));
    if (s->failed || !base_valid(f.base_msr))
        return false;
    take_fields(l, &f);
    take_page(l, regs);
    lapic_timer_resume(l, f.timer_deadline);
    return true;
}
