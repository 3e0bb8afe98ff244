/*
 * The segments of a new task. By now the switch is a fact: what fails here is an exception in the
 * new task, before its first instruction (SDM vol. 3 table 8-1).
 */
#include "vm/task.h"

#define TYPE_LDT 2

#define V86_ACCESS 0xf3 /* present, DPL 3, writable data, accessed */
#define V86_LIMIT  0xffff

/* What VM entry wants of a segment: for the time until the real one has been loaded. */
#define CODE_ACCESS (DESC_PRESENT | DESC_SEGMENT | DESC_CODE | DESC_WRITABLE | DESC_ACCESSED)

static unsigned dpl_shifted(unsigned dpl)
{
    return dpl << 5;
}

/* What may be loaded into a kind of segment register. */
struct rule {
    bool null_allowed;
    unsigned absent; /* the exception for a segment that is not present */
    bool (*type_ok)(unsigned access);
    bool (*privilege_ok)(unsigned access, unsigned rpl, unsigned cpl);
};

static bool is_code(unsigned access)
{
    return (access & DESC_SEGMENT) && (access & DESC_CODE);
}

static bool is_stack(unsigned access)
{
    return (access & DESC_SEGMENT) && !(access & DESC_CODE) && (access & DESC_WRITABLE);
}

static bool is_readable(unsigned access)
{
    return (access & DESC_SEGMENT) && (!(access & DESC_CODE) || (access & DESC_WRITABLE));
}

/* CPL is CS's RPL. */
static bool code_privilege(unsigned access, unsigned rpl, UNUSED unsigned cpl)
{
    return access & DESC_CONFORMING ? ACCESS_DPL(access) <= rpl : ACCESS_DPL(access) == rpl;
}

static bool stack_privilege(unsigned access, unsigned rpl, unsigned cpl)
{
    return ACCESS_DPL(access) == cpl && rpl == cpl;
}

static bool data_privilege(unsigned access, unsigned rpl, unsigned cpl)
{
    if (is_code(access) && (access & DESC_CONFORMING))
        return true;
    return ACCESS_DPL(access) >= MAX(rpl, cpl);
}

static const struct rule code_rule = {false, VECTOR_NP, is_code, code_privilege};
static const struct rule stack_rule = {false, VECTOR_SS, is_stack, stack_privilege};
static const struct rule data_rule = {true, VECTOR_NP, is_readable, data_privilege};

/* In the order of loading. */
static const struct {
    enum vmx_seg segment;
    const struct rule *rule;
} loads[TASK_SEGMENTS] = {
    {SEG_CS, &code_rule}, {SEG_SS, &stack_rule}, {SEG_DS, &data_rule},
    {SEG_ES, &data_rule}, {SEG_FS, &data_rule},  {SEG_GS, &data_rule},
};

static bool check(struct task_switch *t, const struct rule *r, uint16_t selector,
                  const struct task_descriptor *d)
{
    if (!r->type_ok(d->access) || !r->privilege_ok(d->access, SELECTOR_RPL(selector), t->cpl))
        return task_fault(t, VECTOR_TS, selector);
    if (!(d->access & DESC_PRESENT))
        return task_fault(t, r->absent, selector);
    return true;
}

static bool load(struct task_switch *t, enum vmx_seg n, const struct rule *r)
{
    uint16_t selector = t->state.segments[n];
    struct vmx_segment s = {.selector = selector, .access = ACCESS_UNUSABLE};
    struct task_descriptor d;

    if (SELECTOR_NULL(selector)) {
        if (!r->null_allowed)
            return task_fault(t, VECTOR_TS, selector);
        vmx_set_segment(t->v, n, &s);
        return true;
    }
    if (!task_descriptor(t, selector, VECTOR_TS, &d) || !check(t, r, selector, &d))
        return false;
    if (!(d.access & DESC_ACCESSED) && !task_mark(t, d.at, DESC_ACCESSED, 0))
        return false;
    s = (struct vmx_segment){selector, d.limit, d.access | DESC_ACCESSED, d.base};
    vmx_set_segment(t->v, n, &s);
    return true;
}

static bool load_ldt(struct task_switch *t)
{
    uint16_t selector = t->state.ldt;
    struct task_descriptor d;
    struct vmx_segment s;

    if (SELECTOR_NULL(selector))
        return true; /* as it is: unusable */
    if (selector & SELECTOR_TI)
        return task_fault(t, VECTOR_TS, selector);
    if (!task_descriptor(t, selector, VECTOR_TS, &d))
        return false;
    if ((d.access & DESC_SEGMENT) || DESC_TYPE(d.access) != TYPE_LDT || !(d.access & DESC_PRESENT))
        return task_fault(t, VECTOR_TS, selector);
    s = (struct vmx_segment){selector, d.limit, d.access, d.base};
    vmx_set_segment(t->v, SEG_LDTR, &s);
    return true;
}

static void set_v86(struct task_switch *t)
{
    for (unsigned n = 0; n < TASK_SEGMENTS; n++) {
        uint16_t selector = t->state.segments[n];
        struct vmx_segment s = {selector, V86_LIMIT, V86_ACCESS, (uint64_t)selector << 4};

        vmx_set_segment(t->v, n, &s);
    }
}

/* Selectors at once, descriptors not yet: so an exception on the way finds the new task. */
static void set_selectors(struct task_switch *t)
{
    for (unsigned n = 0; n < TASK_SEGMENTS; n++) {
        struct vmx_segment s = {.selector = t->state.segments[n], .access = ACCESS_UNUSABLE};

        if (n == SEG_CS) {
            s.access = (uint32_t)CODE_ACCESS | dpl_shifted(t->cpl);
            s.limit = V86_LIMIT;
        } else if (n == SEG_SS) {
            /* VM entry reads the CPL from here, unusable or not. */
            s.selector = (uint16_t)((s.selector & ~3u) | t->cpl);
            s.access |= dpl_shifted(t->cpl);
        }
        vmx_set_segment(t->v, n, &s);
    }
}

bool task_load_segments(struct task_switch *t)
{
    bool v86 = t->state.eflags & RFLAGS_VM;
    struct vmx_segment no_ldt = {.selector = t->state.ldt, .access = ACCESS_UNUSABLE};

    t->cpl = v86 ? 3 : SELECTOR_RPL(t->state.segments[SEG_CS]);
    if (v86)
        set_v86(t);
    else
        set_selectors(t);
    vmx_set_segment(t->v, SEG_LDTR, &no_ldt);
    if (!load_ldt(t))
        return false;
    if (v86)
        return true;
    for (unsigned i = 0; i < TASK_SEGMENTS; i++)
        if (!load(t, loads[i].segment, loads[i].rule))
            return false;
    return true;
}
