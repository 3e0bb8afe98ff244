/*
 * The local APIC's registers, as memory (xAPIC) and as MSRs (x2APIC), its modes, reset and state.
 * A table says for each register who may read and write it and which bits exist.
 */
#include "devices/lapic_internal.h"
#include "lib/assert.h"

#define VERSION_VALUE (0x14 | 6u << 16) /* integrated APIC, highest LVT entry 6: CMCI */

#define MSR_APIC_BASE    0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC_FIRST 0x800u
#define MSR_X2APIC_LAST  0x8ffu

/* IA32_APIC_BASE */
#define BASE_BSP    BIT(8)
#define BASE_X2APIC BIT(10)
#define BASE_ENABLE BIT(11)
#define BASE_MODE   (BASE_ENABLE | BASE_X2APIC)
#define BASE_VALID  ((BIT(52) - 1) & ~(BIT(9) | 0xffull))

#define REGS_SIZE 0x400u /* the registers end there; the rest of the page is reserved */
#define DFR_ONES  0x0fffffffu
#define LVT_RESET ((uint32_t)LVT_MASKED)

/* ------------------------------------------------------------------ side effects of writes */

typedef void (*reg_write_fn)(struct lapic *l, unsigned offset, uint32_t value);

static void write_plain(struct lapic *l, unsigned offset, uint32_t value)
{
    lapic_set_reg(l, offset, value);
}

/* What waited for a lower priority may be given to the guest now. */
static void wake_for_pending(struct lapic *l)
{
    if (lapic_pending(l) >= 0)
        l->machine->cpu_ops->wake(l->machine->cpu_opaque, l->vcpu);
}

static void write_tpr(struct lapic *l, unsigned offset, uint32_t value)
{
    lapic_set_reg(l, offset, value);
    lapic_update_ppr(l);
    wake_for_pending(l);
}

static void write_eoi(struct lapic *l, unsigned offset UNUSED, uint32_t value UNUSED)
{
    lapic_eoi(l);
    wake_for_pending(l);
}

static void write_dfr(struct lapic *l, unsigned offset, uint32_t value)
{
    lapic_set_reg(l, offset, value | DFR_ONES);
}

/* A write latches the errors since the last one, and makes new ones heard again. */
static void write_esr(struct lapic *l, unsigned offset, uint32_t value UNUSED)
{
    lapic_set_reg(l, offset, __atomic_exchange_n(&l->errors, 0, __ATOMIC_SEQ_CST));
}

/* While the APIC is disabled by software all entries are masked, and stay so (SDM 11.4.7.2). */
static void write_lvt(struct lapic *l, unsigned offset, uint32_t value)
{
    if (!(lapic_reg(l, LAPIC_SVR) & SVR_ENABLE))
        value |= LVT_MASKED;
    lapic_set_reg(l, offset, value);
}

static void write_lvt_timer(struct lapic *l, unsigned offset, uint32_t value)
{
    write_lvt(l, offset, value);
    lapic_timer_set_mode(l, value);
}

/* The PIC's output may be high already when LINT0 is opened to it. */
static void wake_for_pic(struct lapic *l)
{
    if ((l->lint_level & 1) && lapic_accepts_extint(l))
        l->machine->cpu_ops->wake(l->machine->cpu_opaque, l->vcpu);
}

static void write_lvt_lint(struct lapic *l, unsigned offset, uint32_t value)
{
    unsigned pin = offset == LAPIC_LVT_LINT1;

    if (!(value & LVT_LEVEL))
        l->lint_remote_irr &= (uint8_t) ~(1u << pin);
    if (l->lint_remote_irr & (1u << pin))
        value |= LVT_REMOTE_IRR;
    write_lvt(l, offset, value);
    lapic_lint_update(l, pin);
    if (pin == 0)
        wake_for_pic(l);
}

static void write_svr(struct lapic *l, unsigned offset, uint32_t value)
{
    static const uint16_t lvts[] = {LAPIC_LVT_CMCI, LAPIC_LVT_TIMER, LAPIC_LVT_THERMAL,
                                    LAPIC_LVT_PERF, LAPIC_LVT_LINT0, LAPIC_LVT_LINT1,
                                    LAPIC_LVT_ERROR};

    lapic_set_reg(l, offset, value);
    if (value & SVR_ENABLE)
        return;
    for (unsigned i = 0; i < ARRAY_SIZE(lvts); i++)
        lapic_set_reg(l, lvts[i], lapic_reg(l, lvts[i]) | LVT_MASKED);
}

/* In xAPIC mode the destination is in another register, in x2APIC mode in the upper half. */
static void write_icr(struct lapic *l, unsigned offset, uint32_t value)
{
    uint32_t dest =
        lapic_x2apic(l) ? lapic_reg(l, LAPIC_ICR_HIGH_X2) : lapic_reg(l, LAPIC_ICR_HIGH) >> 24;

    lapic_set_reg(l, offset, value);
    lapic_send_ipi(l, value, dest);
}

static void write_self_ipi(struct lapic *l, unsigned offset UNUSED, uint32_t value)
{
    if (unlikely(value < LAPIC_FIRST_VECTOR))
        lapic_error(l, ESR_SEND_ILLEGAL_VECTOR);
    else if (lapic_reg(l, LAPIC_SVR) & SVR_ENABLE)
        lapic_post(l, (uint8_t)value, false);
}

static void write_initial(struct lapic *l, unsigned offset UNUSED, uint32_t value)
{
    lapic_timer_set_initial(l, value);
}

static void write_divide(struct lapic *l, unsigned offset UNUSED, uint32_t value)
{
    lapic_timer_set_divide(l, value);
}

/* ------------------------------------------------------------------ reads */

static uint32_t read_plain(struct lapic *l, unsigned offset)
{
    return lapic_reg(l, offset);
}

static uint32_t read_pending(struct lapic *l, unsigned offset)
{
    lapic_sync(l); /* what was posted is pending, and in TMR, as far as the guest can tell */
    return lapic_reg(l, offset);
}

static uint32_t read_ppr(struct lapic *l, unsigned offset UNUSED)
{
    return lapic_ppr(l);
}

static uint32_t read_current(struct lapic *l, unsigned offset UNUSED)
{
    return lapic_timer_current(l);
}

static uint32_t read_zero(struct lapic *l UNUSED, unsigned offset UNUSED)
{
    return 0;
}

/* ------------------------------------------------------------------ the table */

enum reg_mode {
    X1 = 1, /* exists in xAPIC mode */
    X2 = 2, /* exists as an MSR */
    XBOTH = X1 | X2,
};

struct reg_rule {
    uint8_t readable, writable; /* in which modes */
    uint32_t bits;              /* that can be written */
    uint32_t ignored;           /* read-only bits that an MSR write may set all the same */
    uint32_t (*read)(struct lapic *l, unsigned offset);
    reg_write_fn write;
};

#define RULE(offset)    [(offset) >> 4]
#define BANK(offset)    [(offset) >> 4 ...((offset) >> 4) + 7]
#define LVT_STATUS_BITS ((uint32_t)LVT_STATUS)
#define LVT_LOCAL_BITS  ((uint32_t)(LVT_VECTOR | LVT_MODE | LVT_MASKED))
#define LVT_LINT_BITS   ((uint32_t)(LVT_LOCAL_BITS | LVT_POLARITY | LVT_LEVEL))
#define LVT_TIMER_BITS  ((uint32_t)(LVT_VECTOR | LVT_MASKED | LVT_TIMER_MODE))
#define LVT_ERROR_BITS  ((uint32_t)(LVT_VECTOR | LVT_MASKED))
#define SVR_BITS        0x3ffu /* vector, enable, focus */
#define ICR_BITS        0x000ccfffu
#define ICR_STATUS      0x00001000u
#define DIVIDE_BITS     0xbu

static const struct reg_rule rules[REGS_SIZE >> 4] = {
    RULE(LAPIC_ID) = {XBOTH, 0, 0, 0, read_plain, NULL},
    RULE(LAPIC_VERSION) = {XBOTH, 0, 0, 0, read_plain, NULL},
    RULE(LAPIC_TPR) = {XBOTH, XBOTH, 0xff, 0, read_plain, write_tpr},
    RULE(LAPIC_APR) = {X1, 0, 0, 0, read_zero, NULL},
    RULE(LAPIC_PPR) = {XBOTH, 0, 0, 0, read_ppr, NULL},
    RULE(LAPIC_EOI) = {X1, XBOTH, 0, 0, read_zero, write_eoi},
    RULE(LAPIC_RRD) = {X1, 0, 0, 0, read_zero, NULL},
    RULE(LAPIC_LDR) = {XBOTH, X1, 0xff000000, 0, read_plain, write_plain},
    RULE(LAPIC_DFR) = {X1, X1, 0xf0000000, 0, read_plain, write_dfr},
    RULE(LAPIC_SVR) = {XBOTH, XBOTH, SVR_BITS, 0, read_plain, write_svr},
    BANK(LAPIC_ISR) = {XBOTH, 0, 0, 0, read_plain, NULL},
    BANK(LAPIC_TMR) = {XBOTH, 0, 0, 0, read_pending, NULL},
    BANK(LAPIC_IRR) = {XBOTH, 0, 0, 0, read_pending, NULL},
    RULE(LAPIC_ESR) = {XBOTH, XBOTH, 0, 0, read_plain, write_esr},
    RULE(LAPIC_LVT_CMCI) = {XBOTH, XBOTH, LVT_LOCAL_BITS, LVT_STATUS_BITS, read_plain, write_lvt},
    RULE(LAPIC_ICR) = {XBOTH, XBOTH, ICR_BITS, ICR_STATUS, read_plain, write_icr},
    RULE(LAPIC_ICR_HIGH) = {X1, X1, 0xff000000, 0, read_plain, write_plain},
    RULE(LAPIC_LVT_TIMER) = {XBOTH, XBOTH, LVT_TIMER_BITS, LVT_STATUS_BITS, read_plain,
                             write_lvt_timer},
    RULE(LAPIC_LVT_THERMAL) = {XBOTH, XBOTH, LVT_LOCAL_BITS, LVT_STATUS_BITS, read_plain,
                               write_lvt},
    RULE(LAPIC_LVT_PERF) = {XBOTH, XBOTH, LVT_LOCAL_BITS, LVT_STATUS_BITS, read_plain, write_lvt},
    RULE(LAPIC_LVT_LINT0) = {XBOTH, XBOTH, LVT_LINT_BITS, LVT_STATUS_BITS | LVT_REMOTE_IRR,
                             read_plain, write_lvt_lint},
    RULE(LAPIC_LVT_LINT1) = {XBOTH, XBOTH, LVT_LINT_BITS, LVT_STATUS_BITS | LVT_REMOTE_IRR,
                             read_plain, write_lvt_lint},
    RULE(LAPIC_LVT_ERROR) = {XBOTH, XBOTH, LVT_ERROR_BITS, LVT_STATUS_BITS, read_plain, write_lvt},
    RULE(LAPIC_TIMER_INITIAL) = {XBOTH, XBOTH, UINT32_MAX, 0, read_plain, write_initial},
    RULE(LAPIC_TIMER_CURRENT) = {XBOTH, 0, 0, 0, read_current, NULL},
    RULE(LAPIC_TIMER_DIVIDE) = {XBOTH, XBOTH, DIVIDE_BITS, 0, read_plain, write_divide},
    RULE(LAPIC_SELF_IPI) = {0, X2, 0xff, 0, NULL, write_self_ipi},
};

/* ------------------------------------------------------------------ xAPIC: memory */

static bool xapic_mode(const struct lapic *l)
{
    return (l->base_msr & BASE_MODE) == BASE_ENABLE;
}

/* The rule of a register that the memory interface has; otherwise an error is noted. */
static const struct reg_rule *xapic_rule(struct lapic *l, unsigned offset)
{
    const struct reg_rule *rule = offset < REGS_SIZE ? &rules[offset >> 4] : NULL;

    if (rule != NULL && offset % 16 == 0 && ((rule->readable | rule->writable) & X1))
        return rule;
    lapic_error(l, ESR_ILLEGAL_REGISTER);
    return NULL;
}

uint32_t lapic_read(struct lapic *l, unsigned offset)
{
    const struct reg_rule *rule;

    if (!xapic_mode(l))
        return UINT32_MAX;
    rule = xapic_rule(l, offset);
    return rule == NULL || !(rule->readable & X1) ? 0 : rule->read(l, offset);
}

void lapic_write(struct lapic *l, unsigned offset, uint32_t value)
{
    const struct reg_rule *rule;

    if (!xapic_mode(l))
        return;
    rule = xapic_rule(l, offset);
    if (rule != NULL && (rule->writable & X1))
        rule->write(l, offset, value & rule->bits);
}

static uint32_t id_value(const struct lapic *l)
{
    return lapic_x2apic(l) ? l->vcpu : l->vcpu << 24;
}

/* No write function looks at the register's old value: the CPU has overwritten it here. */
void lapic_written(struct lapic *l, unsigned offset)
{
    const struct reg_rule *rule;

    offset = ALIGN_DOWN(offset, 16u);
    if (offset >= REGS_SIZE)
        return;
    rule = &rules[offset >> 4];
    if (rule->write != NULL)
        rule->write(l, offset, lapic_reg(l, offset) & rule->bits);
    else if (offset == LAPIC_ID)
        lapic_set_reg(l, LAPIC_ID, id_value(l));
}

/* ------------------------------------------------------------------ modes and reset */

/* SDM 11.12.9: the logical ID follows from the ID. */
static uint32_t x2apic_ldr(const struct lapic *l)
{
    return l->vcpu >> 4 << 16 | 1u << (l->vcpu & 0xf);
}

static void reset_registers(struct lapic *l)
{
    lapic_timer_stop(l);
    memset(l->page, 0, REGS_SIZE);
    lapic_drop_pending(l);
    for (unsigned lvt = LAPIC_LVT_TIMER; lvt <= LAPIC_LVT_ERROR; lvt += 0x10)
        lapic_set_reg(l, lvt, LVT_RESET);
    lapic_set_reg(l, LAPIC_LVT_CMCI, LVT_RESET);
    /* As QEMU and KVM have it: SeaBIOS relies on that when it resumes after a CPU reset. */
    if (l->machine->config.firmware && l->vcpu == 0)
        lapic_set_reg(l, LAPIC_LVT_LINT0, LAPIC_EXTINT << LVT_MODE_SHIFT);
    lapic_set_reg(l, LAPIC_ID, id_value(l));
    lapic_set_reg(l, LAPIC_VERSION, VERSION_VALUE);
    lapic_set_reg(l, LAPIC_DFR, UINT32_MAX);
    lapic_set_reg(l, LAPIC_SVR, 0xff);
    if (lapic_x2apic(l))
        lapic_set_reg(l, LAPIC_LDR, x2apic_ldr(l));
    l->tsc_deadline = 0;
    l->timer_start = 0;
    l->timer_mode = TIMER_ONE_SHOT;
    lapic_timer_set_divide(l, 0);
    l->errors = 0;
    l->extint = false;
    l->lint_remote_irr = 0;
}

void lapic_reset_init(struct lapic *l)
{
    reset_registers(l);
}

void lapic_reset(struct lapic *l)
{
    l->base_msr = GUEST_LAPIC_BASE | BASE_ENABLE | (l->vcpu == 0 ? BASE_BSP : 0);
    l->lint_level = 0;
    reset_registers(l);
}

void lapic_init(struct lapic *l, struct machine *m, unsigned vcpu, uint32_t *page)
{
    ASSERT(((uintptr_t)l & 63) == 0 && ((uintptr_t)page & PAGE_MASK) == 0);
    l->page = page;
    l->machine = m;
    l->vcpu = vcpu;
    lapic_timer_init(l);
    lapic_reset(l);
}

/* SDM 11.12.5: to x2APIC mode the registers are kept, but for these. */
static void enter_x2apic(struct lapic *l)
{
    lapic_set_reg(l, LAPIC_ID, id_value(l));
    lapic_set_reg(l, LAPIC_LDR, x2apic_ldr(l));
    lapic_set_reg(l, LAPIC_DFR, UINT32_MAX);
    lapic_set_reg(l, LAPIC_ICR_HIGH, 0);
    lapic_set_reg(l, LAPIC_ICR_HIGH_X2, 0);
}

/*
 * SDM figure 11-27: disabled -> xAPIC -> x2APIC -> disabled, and xAPIC -> disabled; everything
 * else is a fault. Disabled is as after power-up, so that is done on the way there.
 */
static bool base_write(struct lapic *l, uint64_t value)
{
    uint64_t old = l->base_msr & BASE_MODE, mode = value & BASE_MODE;

    if ((value & ~BASE_VALID) || mode == BASE_X2APIC)
        return false;
    if ((old == BASE_MODE && mode == BASE_ENABLE) || (old == 0 && mode == BASE_MODE))
        return false;
    l->base_msr = value;
    if (old != mode && mode == 0)
        reset_registers(l);
    else if (old != mode && mode == BASE_MODE)
        enter_x2apic(l);
    return true;
}

/* ------------------------------------------------------------------ MSRs */

static bool x2apic_read(struct lapic *l, unsigned offset, uint64_t *value)
{
    const struct reg_rule *rule = &rules[(offset & (REGS_SIZE - 1)) >> 4];

    if (offset >= REGS_SIZE || !lapic_x2apic(l) || !(rule->readable & X2))
        return false;
    *value = rule->read(l, offset);
    if (offset == LAPIC_ICR)
        *value |= (uint64_t)lapic_reg(l, LAPIC_ICR_HIGH_X2) << 32;
    return true;
}

static bool x2apic_write(struct lapic *l, unsigned offset, uint64_t value)
{
    const struct reg_rule *rule = &rules[(offset & (REGS_SIZE - 1)) >> 4];

    if (offset >= REGS_SIZE || !lapic_x2apic(l) || !(rule->writable & X2))
        return false;
    if (offset == LAPIC_ICR)
        return lapic_write_icr(l, value);
    if (value & ~(uint64_t)(rule->bits | rule->ignored))
        return false;
    rule->write(l, offset, (uint32_t)value & rule->bits);
    return true;
}

bool lapic_write_icr(struct lapic *l, uint64_t value)
{
    if (unlikely(!lapic_x2apic(l)) || unlikely((uint32_t)value & ~(ICR_BITS | ICR_STATUS)))
        return false;
    lapic_set_reg(l, LAPIC_ICR, (uint32_t)value & ICR_BITS);
    lapic_set_reg(l, LAPIC_ICR_HIGH_X2, (uint32_t)(value >> 32));
    lapic_send_ipi(l, (uint32_t)value & ICR_BITS, (uint32_t)(value >> 32));
    return true;
}

bool lapic_msr_read(struct lapic *l, uint32_t msr, uint64_t *value)
{
    if (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST)
        return x2apic_read(l, (msr - MSR_X2APIC_FIRST) << 4, value);
    if (msr == MSR_TSC_DEADLINE)
        *value = l->tsc_deadline;
    else if (msr == MSR_APIC_BASE)
        *value = l->base_msr;
    else
        return false;
    return true;
}

bool lapic_msr_write(struct lapic *l, uint32_t msr, uint64_t value)
{
    if (msr == MSR_TSC_DEADLINE) {
        lapic_set_deadline(l, value);
        return true;
    }
    if (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST)
        return x2apic_write(l, (msr - MSR_X2APIC_FIRST) << 4, value);
    return msr == MSR_APIC_BASE && base_write(l, value);
}
