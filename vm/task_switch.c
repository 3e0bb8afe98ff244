/*
 * Task switches, which a CPU in VMX operation never does by itself. It has checked the way to the
 * new TSS (gates and privileges) before it exits; the rest is here, in the order of SDM vol. 3
 * section 8.3. Until the old task has been saved an exception finds the old task, from then on the
 * new one.
 */
#include "lib/assert.h"
#include "lib/checked.h"
#include "lib/string.h"
#include "vm/task.h"
#include "vmx/vmcs.h"

/* Exit qualification (SDM table 28-2). */
#define QUALIFICATION_SELECTOR(q) ((uint16_t)(q))
#define QUALIFICATION_SOURCE(q)   ((enum task_source)((q) >> 30 & 3))

#define TYPE_TSS16 1
#define TYPE_TSS32 9

/* SDM figures 8-2 and 8-10. */
struct tss32 {
    uint16_t link, reserved0;
    uint32_t stacks[6], cr3;
    uint32_t eip, eflags, regs[8];
    struct {
        uint16_t selector, reserved;
    } segments[TASK_SEGMENTS];
    uint16_t ldt, reserved1;
    uint16_t trap, io_base;
};
struct tss16 {
    uint16_t link, stacks[6];
    uint16_t ip, flags, regs[8];
    uint16_t segments[4]; /* FS and GS have no place */
    uint16_t ldt;
};
_Static_assert(sizeof(struct tss32) == 0x68 && sizeof(struct tss16) == 0x2c, "as in the SDM");

#define TSS16_SEGMENTS 4
#define TSS32_TRAP     BIT(0)
/* What a switch saves: from the instruction pointer up to the segments. */
#define TSS32_SAVED (offsetof(struct tss32, ldt) - offsetof(struct tss32, eip))
#define TSS16_SAVED (offsetof(struct tss16, ldt) - offsetof(struct tss16, ip))

/* The SDM leaves open what the upper halves of registers become; CPUs have set them. */
#define TSS16_REG_HIGH 0xffff0000u

/* EFLAGS bits that exist; bit 1 is always set. */
#define EFLAGS_DEFINED 0x3f7fd5u

#define DR7_LOCAL 0x155ull /* L0 to L3, LE */
#define DR6_BT    BIT(15)

static size_t tss_size(const struct task_tss *tss)
{
    return tss->wide ? sizeof(struct tss32) : sizeof(struct tss16);
}

static uint32_t saved_offset(const struct task_tss *tss)
{
    return tss->wide ? offsetof(struct tss32, eip) : offsetof(struct tss16, ip);
}

static size_t saved_size(const struct task_tss *tss)
{
    return tss->wide ? TSS32_SAVED : TSS16_SAVED;
}

static bool nests(const struct task_switch *t)
{
    return t->source == TASK_CALL || t->source == TASK_GATE;
}

/* ------------------------------------------------------------------ checks */

static bool in_software(uint32_t info)
{
    return EVENT_TYPE(info) == EVENT_SOFT_INT || EVENT_TYPE(info) == EVENT_SOFT_EXCEPTION;
}

static void find_old(struct task_switch *t)
{
    struct vmx_segment tr = vmx_segment(t->v, SEG_TR);

    t->old = (struct task_tss){tr.selector, (DESC_TYPE(tr.access) & ~DESC_TSS_BUSY) == TYPE_TSS32,
                               (uint32_t)tr.base, tr.limit, (uint16_t)tr.access};
}

static bool find_new(struct task_switch *t)
{
    uint16_t selector = t->new.selector;
    unsigned bad = t->source == TASK_IRET ? VECTOR_TS : VECTOR_GP, type, busy;
    struct task_descriptor d;

    if (SELECTOR_NULL(selector) || (selector & SELECTOR_TI))
        return task_fault(t, bad, selector);
    if (!task_descriptor(t, selector, bad, &d))
        return false;
    type = DESC_TYPE(d.access) & ~(unsigned)DESC_TSS_BUSY;
    busy = t->source == TASK_IRET ? DESC_TSS_BUSY : 0;
    if ((d.access & DESC_SEGMENT) || (type != TYPE_TSS16 && type != TYPE_TSS32) ||
        (d.access & DESC_TSS_BUSY) != busy)
        return task_fault(t, bad, selector);
    if (!(d.access & DESC_PRESENT))
        return task_fault(t, VECTOR_NP, selector);
    t->new = (struct task_tss){selector, type == TYPE_TSS32, d.base, d.limit,
                               (uint16_t)(d.access | DESC_TSS_BUSY)};
    t->new_at = d.at;
    if (d.limit < tss_size(&t->new) - 1)
        return task_fault(t, VECTOR_TS, selector);
    return true;
}

/* All that must be written is there, so that nothing fails half-way. */
static bool probe(struct task_switch *t)
{
    if (t->old.limit < saved_offset(&t->old) + saved_size(&t->old) - 1)
        return task_fault(t, VECTOR_TS, t->old.selector);
    if (!task_probe(t, t->old.base + saved_offset(&t->old), saved_size(&t->old), WALK_WRITE) ||
        !task_probe(t, t->new.base, tss_size(&t->new), WALK_READ))
        return false;
    if (nests(t) && !task_probe(t, t->new.base, sizeof(uint16_t), WALK_WRITE))
        return false;
    return task_probe(t, (uint32_t)t->new_at.v, sizeof(uint64_t), WALK_WRITE);
}

/* ------------------------------------------------------------------ the old task */

/* Where the old task goes on: after an instruction that caused the switch, at a fault. */
static uint32_t return_eip(const struct task_switch *t)
{
    uint64_t rip = vmx_rip(t->v);

    if (t->source != TASK_GATE)
        rip += vmread(VMCS_EXIT_INSTRUCTION_LENGTH);
    else if (EVENT_TYPE(t->v->event.info) >= EVENT_SOFT_INT)
        rip += t->v->event.length;
    return (uint32_t)rip;
}

/* Faults are saved with RF, so that a breakpoint on the instruction does not strike twice. */
static bool is_fault(uint32_t info)
{
    unsigned vector = info & EVENT_VECTOR;

    return EVENT_TYPE(info) == EVENT_EXCEPTION && vector != VECTOR_DB && vector != VECTOR_DF &&
           vector != VECTOR_MC;
}

static uint32_t saved_eflags(const struct task_switch *t)
{
    uint32_t flags = (uint32_t)vmx_rflags(t->v);

    if (t->source == TASK_IRET)
        flags &= ~(uint32_t)RFLAGS_NT;
    if (t->source == TASK_GATE && is_fault(t->v->event.info))
        flags |= RFLAGS_RF;
    return flags;
}

static void fill32(const struct task_switch *t, struct tss32 *tss)
{
    tss->eip = return_eip(t);
    tss->eflags = saved_eflags(t);
    for (unsigned n = 0; n < ARRAY_SIZE(tss->regs); n++)
        tss->regs[n] = (uint32_t)vmx_reg(t->v, n);
    for (unsigned n = 0; n < TASK_SEGMENTS; n++)
        tss->segments[n].selector = vmx_segment(t->v, n).selector;
}

static void fill16(const struct task_switch *t, struct tss16 *tss)
{
    tss->ip = (uint16_t)return_eip(t);
    tss->flags = (uint16_t)saved_eflags(t);
    for (unsigned n = 0; n < ARRAY_SIZE(tss->regs); n++)
        tss->regs[n] = (uint16_t)vmx_reg(t->v, n);
    for (unsigned n = 0; n < TSS16_SEGMENTS; n++)
        tss->segments[n] = vmx_segment(t->v, n).selector;
}

/* Fields between those that are saved keep what they hold. */
static bool save_old(struct task_switch *t)
{
    union {
        struct tss32 wide;
        struct tss16 narrow;
        uint8_t bytes[sizeof(struct tss32)];
    } tss;
    uint32_t offset = saved_offset(&t->old);
    size_t size = saved_size(&t->old);

    if (!task_read(t, t->old.base + offset, tss.bytes + offset, size))
        return false;
    if (t->old.wide)
        fill32(t, &tss.wide);
    else
        fill16(t, &tss.narrow);
    return task_write(t, t->old.base + offset, tss.bytes + offset, size);
}

/* A task that is left for good is free again. */
static bool free_old(struct task_switch *t)
{
    struct task_descriptor d;

    if (nests(t))
        return true;
    return task_descriptor(t, t->old.selector & (uint16_t)~SELECTOR_TI, VECTOR_TS, &d) &&
           task_mark(t, d.at, 0, DESC_TSS_BUSY);
}

/* ------------------------------------------------------------------ the new task */

static void take32(struct task_state *s, const struct tss32 *tss)
{
    s->cr3 = tss->cr3;
    s->eip = tss->eip;
    s->eflags = tss->eflags;
    s->ldt = tss->ldt;
    s->trap = tss->trap & TSS32_TRAP;
    memcpy(s->regs, tss->regs, sizeof(s->regs));
    for (unsigned n = 0; n < TASK_SEGMENTS; n++)
        s->segments[n] = tss->segments[n].selector;
}

static void take16(struct task_state *s, const struct tss16 *tss)
{
    s->eip = tss->ip;
    s->eflags = tss->flags;
    s->ldt = tss->ldt;
    for (unsigned n = 0; n < ARRAY_SIZE(s->regs); n++)
        s->regs[n] = TSS16_REG_HIGH | tss->regs[n];
    for (unsigned n = 0; n < TSS16_SEGMENTS; n++)
        s->segments[n] = tss->segments[n];
}

static bool read_new(struct task_switch *t)
{
    union {
        struct tss32 wide;
        struct tss16 narrow;
    } tss;

    if (!task_read(t, t->new.base, &tss, tss_size(&t->new)))
        return false;
    if (t->new.wide)
        take32(&t->state, &tss.wide);
    else
        take16(&t->state, &tss.narrow);
    t->state.eflags = (t->state.eflags & EFLAGS_DEFINED) | (uint32_t)RFLAGS_FIXED;
    if (nests(t))
        t->state.eflags |= RFLAGS_NT;
    return true;
}

static bool enter_tss(struct task_switch *t)
{
    struct vmx_segment tr = {t->new.selector, t->new.limit, t->new.access, t->new.base};

    if (nests(t) && !task_write(t, t->new.base, &t->old.selector, sizeof(t->old.selector)))
        return false;
    if (t->source != TASK_IRET && !task_mark(t, t->new_at, DESC_TSS_BUSY, 0))
        return false;
    vmx_set_segment(t->v, SEG_TR, &tr);
    return true;
}

/* Registers that no check stands before. */
static void load_registers(struct task_switch *t)
{
    struct vmx_vcpu *v = t->v;
    bool ok = vmx_set_cr0(v, vmx_cr0(v) | CR0_TS);

    ASSERT(ok); /* TS alone changes */
    vmx_finish(v, t->state.eip, 0);
    vmwrite(VMCS_GUEST_PENDING_DEBUG, 0); /* the old task's single step */
    vmx_set_rflags(v, t->state.eflags);
    for (unsigned n = 0; n < ARRAY_SIZE(t->state.regs); n++)
        vmx_set_reg(v, n, t->state.regs[n]);
    vmwrite(VMCS_GUEST_DR7, vmread(VMCS_GUEST_DR7) & ~DR7_LOCAL);
}

static bool load_cr3(struct task_switch *t)
{
    if (!t->new.wide || !(vmx_cr0(t->v) & CR0_PG) || vmx_set_cr3(t->v, t->state.cr3))
        return true;
    return task_fault(t, VECTOR_GP, 0); /* PAE: bad page-directory pointers */
}

/* ------------------------------------------------------------------ the error code */

static bool within_stack(const struct vmx_segment *ss, uint32_t at, uint32_t size)
{
    uint32_t top = ss->access & DESC_BIG ? UINT32_MAX : UINT16_MAX;

    if (!(ss->access & DESC_CONFORMING))
        return checked_range(at, size, (uint64_t)ss->limit + 1);
    return at > ss->limit && at <= top && top - at >= size - 1;
}

/* The new task's stack gets the error code of the exception that it handles (SDM 6.13). */
static bool push_error(struct task_switch *t)
{
    struct vmx_segment ss = vmx_segment(t->v, SEG_SS);
    uint32_t size = t->new.wide ? sizeof(uint32_t) : sizeof(uint16_t);
    uint32_t mask = ss.access & DESC_BIG ? UINT32_MAX : UINT16_MAX;
    uint32_t esp = (uint32_t)vmx_reg(t->v, REG_RSP), at = (esp - size) & mask;

    if (!within_stack(&ss, at, size))
        return task_fault(t, VECTOR_SS, 0);
    if (!task_push(t, (uint32_t)ss.base + at, t->v->event.error, size))
        return false;
    vmx_set_reg(t->v, REG_RSP, (esp & ~mask) | at);
    return true;
}

/* ------------------------------------------------------------------ the whole */

/* NMIs stay blocked in the handler; IRET opens them even if it fails. */
static void block_nmis(const struct task_switch *t)
{
    uint32_t state = vmread(VMCS_GUEST_INTERRUPTIBILITY);

    if (t->source == TASK_GATE && EVENT_TYPE(t->v->event.info) == EVENT_NMI)
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY, state | (uint32_t)BLOCKING_NMI);
    else if (t->source == TASK_IRET)
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY, state & ~(uint32_t)BLOCKING_NMI);
}

static bool switch_tasks(struct task_switch *t)
{
    if (!find_new(t) || !probe(t))
        return false;
    if (!save_old(t) || !free_old(t) || !enter_tss(t) || !read_new(t))
        return false;
    load_registers(t);
    if (!load_cr3(t) || !task_load_segments(t))
        return false;
    return t->source != TASK_GATE || !(t->v->event.info & EVENT_ERROR_CODE) || push_error(t);
}

/*
 * v->event, if any, is what the CPU was delivering. It stays until the switch is complete, so
 * that an exception on the way is combined with it, and is dropped then: the switch was its
 * delivery.
 */
void task_switch_run(struct vmx_vcpu *v, uint64_t qualification)
{
    struct task_switch t = {
        .c = vcpu_of(v),
        .v = v,
        .source = QUALIFICATION_SOURCE(qualification),
        .new.selector = QUALIFICATION_SELECTOR(qualification),
    };

    if (t.source == TASK_GATE && vmx_event_queued(v) && !in_software(v->event.info))
        t.ext = 1;
    find_old(&t);
    block_nmis(&t);
    if (!switch_tasks(&t))
        return;
    v->event.info = 0;
    if (t.state.trap) {
        write_dr6(read_dr6() | DR6_BT);
        vmx_inject_exception(v, VECTOR_DB);
    }
}
