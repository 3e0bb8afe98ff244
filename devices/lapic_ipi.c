/* Interrupt messages between APICs: who is meant (SDM vol. 3 section 11.6.2), and what arrives. */
#include "devices/lapic_internal.h"

/* ICR bits */
#define ICR_LOGICAL         BIT(11)
#define ICR_ASSERT          BIT(14)
#define ICR_LEVEL           BIT(15)
#define ICR_SHORTHAND_SHIFT 18
#define ICR_SHORTHAND       (3u << ICR_SHORTHAND_SHIFT)

enum icr_shorthand {
    TO_DEST = 0,
    TO_SELF = 1,
    TO_ALL = 2,
    TO_OTHERS = 3,
};

#define BROADCAST_XAPIC  0xffu
#define BROADCAST_X2APIC 0xffffffffu
#define DFR_MODEL_SHIFT  28
#define DFR_FLAT         0xfu
#define CLUSTER_ALL      0xfu

struct message {
    uint32_t dest;
    bool logical;
    bool broadcast;
    bool level;
    uint8_t mode;
    uint8_t vector;
};

/* ------------------------------------------------------------------ who is meant */

static bool matches_xapic_logical(const struct lapic *l, uint32_t dest)
{
    uint32_t ldr = lapic_reg(l, LAPIC_LDR) >> 24;

    if (dest > BROADCAST_XAPIC)
        return false;
    if (lapic_reg(l, LAPIC_DFR) >> DFR_MODEL_SHIFT == DFR_FLAT)
        return (dest & ldr) != 0;
    return (dest >> 4 == CLUSTER_ALL || dest >> 4 == ldr >> 4) && (dest & ldr & 0xf) != 0;
}

static bool matches_x2apic_logical(const struct lapic *l, uint32_t dest)
{
    uint32_t ldr = lapic_reg(l, LAPIC_LDR);

    return dest >> 16 == ldr >> 16 && (dest & ldr & 0xffff) != 0;
}

static bool matches(const struct lapic *l, const struct message *msg)
{
    if (msg->broadcast)
        return true;
    if (!msg->logical)
        return l->vcpu == msg->dest;
    return lapic_x2apic(l) ? matches_x2apic_logical(l, msg->dest)
                           : matches_xapic_logical(l, msg->dest);
}

/* ------------------------------------------------------------------ what arrives */

/* Software-disabled APICs take everything but ordinary interrupts (SDM 11.4.7.2). */
static bool takes_fixed(const struct lapic *l)
{
    return lapic_reg(l, LAPIC_SVR) & SVR_ENABLE;
}

static bool receive_fixed(struct lapic *l, const struct message *msg)
{
    if (!takes_fixed(l))
        return false;
    if (unlikely(msg->vector < LAPIC_FIRST_VECTOR)) {
        lapic_error(l, ESR_RECEIVE_ILLEGAL_VECTOR);
        return false;
    }
    lapic_post(l, msg->vector, msg->level);
    return true;
}

static void receive_extint(struct lapic *l)
{
    l->extint = true;
    l->machine->cpu_ops->wake(l->machine->cpu_opaque, l->vcpu);
}

/* Whether it was taken. */
static bool receive(struct lapic *l, const struct message *msg)
{
    const struct machine *m = l->machine;

    if (!lapic_enabled(l))
        return false;
    switch (msg->mode) {
    case LAPIC_FIXED:
    case LAPIC_LOWEST_PRIORITY:
        return receive_fixed(l, msg);
    case LAPIC_NMI:
        m->cpu_ops->nmi(m->cpu_opaque, l->vcpu);
        return true;
    case LAPIC_INIT:
        m->cpu_ops->init(m->cpu_opaque, l->vcpu);
        return true;
    case LAPIC_STARTUP:
        m->cpu_ops->startup(m->cpu_opaque, l->vcpu, msg->vector);
        return true;
    case LAPIC_EXTINT:
        receive_extint(l);
        return true;
    default: /* SMI: there is no system management mode; the rest is reserved */
        return false;
    }
}

/* ------------------------------------------------------------------ distribution */

/*
 * The one with the lowest task priority gets it, as chip sets arbitrate; equals take turns. The
 * turn only decides who is looked at first.
 */
static struct lapic *lowest_priority(struct machine *m, const struct message *msg)
{
    unsigned n = m->config.nr_vcpus;
    struct lapic *best = NULL;

    for (unsigned i = 0; i < n; i++) {
        struct lapic *l = m->lapic[(m->lapic_turn + i) % n];

        if (!lapic_enabled(l) || !takes_fixed(l) || !matches(l, msg))
            continue;
        if (best == NULL || (lapic_reg(l, LAPIC_TPR) & 0xff) < (lapic_reg(best, LAPIC_TPR) & 0xff))
            best = l;
    }
    if (best != NULL)
        m->lapic_turn = (uint8_t)((best->vcpu + 1) % n);
    return best;
}

static bool distribute(struct machine *m, const struct message *msg)
{
    bool taken = false;

    if (msg->mode == LAPIC_LOWEST_PRIORITY) {
        struct lapic *l = lowest_priority(m, msg);

        return l != NULL && receive(l, msg);
    }
    if (likely(!msg->logical && !msg->broadcast)) /* IDs are vCPU numbers */
        return msg->dest < m->config.nr_vcpus && receive(m->lapic[msg->dest], msg);
    for (unsigned i = 0; i < m->config.nr_vcpus; i++)
        if (matches(m->lapic[i], msg))
            taken |= receive(m->lapic[i], msg);
    return taken;
}

/* A message from the IOAPIC or an MSI has an 8-bit destination, and 0xff means everyone. */
bool lapic_deliver(struct machine *m, uint32_t dest, bool logical, unsigned mode, uint8_t vector,
                   bool level)
{
    struct message msg = {
        .dest = dest,
        .logical = logical,
        .broadcast = dest == BROADCAST_X2APIC || (dest == BROADCAST_XAPIC && !logical),
        .level = level,
        .mode = (uint8_t)mode,
        .vector = vector,
    };

    return distribute(m, &msg);
}

/* ------------------------------------------------------------------ the ICR */

static void send_to_others(struct lapic *l, const struct message *msg)
{
    for (unsigned i = 0; i < l->machine->config.nr_vcpus; i++)
        if (i != l->vcpu)
            receive(l->machine->lapic[i], msg);
}

/* Whether the message may be sent at all (SDM vol. 3 table 11-3 and section 11.6.1). */
static bool may_send(struct lapic *l, uint32_t icr, const struct message *msg)
{
    unsigned shorthand = icr >> ICR_SHORTHAND_SHIFT & 3;

    if (msg->mode == LAPIC_EXTINT || msg->mode == 3)
        return false;
    if (msg->mode == LAPIC_INIT && (icr & (ICR_LEVEL | ICR_ASSERT)) == ICR_LEVEL)
        return false; /* INIT level de-assert: only old processors knew it */
    if ((shorthand == TO_SELF || shorthand == TO_ALL) && msg->mode != LAPIC_FIXED)
        return false;
    if (msg->mode <= LAPIC_LOWEST_PRIORITY && unlikely(msg->vector < LAPIC_FIRST_VECTOR)) {
        lapic_error(l, ESR_SEND_ILLEGAL_VECTOR);
        return false;
    }
    return true;
}

/* What nearly all IPIs are: an ordinary vector to one CPU. False when it is not that. */
static inline bool send_plain(struct lapic *l, uint32_t icr, uint32_t dest)
{
    const struct machine *m = l->machine;
    unsigned shorthand = icr & ICR_SHORTHAND;
    struct lapic *to = l;

    if ((icr & (ICR_LOGICAL | LVT_MODE)) || (uint8_t)icr < LAPIC_FIRST_VECTOR)
        return false;
    if (shorthand == 0 && dest < m->config.nr_vcpus)
        to = m->lapic[dest];
    else if (shorthand != TO_SELF << ICR_SHORTHAND_SHIFT)
        return false;
    if (lapic_enabled(to) && takes_fixed(to))
        lapic_post(to, (uint8_t)icr, false);
    return true;
}

bool lapic_icr_to_self(const struct lapic *l, uint64_t icr)
{
    const uint32_t *levels = (const uint32_t *)(const void *)l->pending_eoi_levels;
    unsigned word = (uint8_t)icr / 32;

    if (unlikely((icr ^ TO_SELF << ICR_SHORTHAND_SHIFT) & ~(uint64_t)(LVT_VECTOR | ICR_ASSERT)) ||
        unlikely((uint8_t)icr < LAPIC_FIRST_VECTOR) || unlikely(!lapic_x2apic(l)) ||
        unlikely(!takes_fixed(l)))
        return false;
    return !((l->page[LAPIC_TMR / 4 + 4 * word] | levels[word]) & 1u << icr % 32);
}

void lapic_send_ipi(struct lapic *l, uint32_t icr, uint32_t dest)
{
    struct message msg;

    if (likely(send_plain(l, icr, dest)))
        return;
    msg = (struct message){
        .dest = dest,
        .logical = icr & ICR_LOGICAL,
        .broadcast = dest == (lapic_x2apic(l) ? BROADCAST_X2APIC : BROADCAST_XAPIC),
        .mode = icr >> LVT_MODE_SHIFT & 7,
        .vector = (uint8_t)icr,
    };

    if (!may_send(l, icr, &msg))
        return;
    switch (icr >> ICR_SHORTHAND_SHIFT & 3) {
    case TO_DEST:
        distribute(l->machine, &msg);
        break;
    case TO_SELF:
        receive(l, &msg);
        break;
    case TO_ALL:
        msg.broadcast = true;
        distribute(l->machine, &msg);
        break;
    case TO_OTHERS:
        send_to_others(l, &msg);
        break;
    }
}
