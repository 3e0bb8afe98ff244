/* How a task switch reaches descriptor tables and TSSs, and how it fails. */
#include "vm/task.h"
#include "lib/string.h"
#include "vmx/vmcs.h"

#define ACCESS_BYTE 5 /* of a descriptor: type, S, DPL, P */

bool task_fault(struct task_switch *t, unsigned vector, uint16_t selector)
{
    vmx_inject_exception_error(t->v, vector, (selector & ~3u) | t->ext);
    return false;
}

static bool translate_as(struct task_switch *t, uint32_t at, enum walk_access access,
                         bool supervisor, gpa_t *gpa)
{
    struct walk_fault fault;

    if (walk_translate(t->c, GVA(at), access, supervisor, gpa, &fault))
        return true;
    vmx_inject_page_fault(t->v, at, fault.error);
    return false;
}

static bool translate(struct task_switch *t, uint32_t at, enum walk_access access, gpa_t *gpa)
{
    return translate_as(t, at, access, true, gpa);
}

static size_t part_of_page(uint32_t at, size_t n)
{
    return MIN(n, PAGE_SIZE - at % PAGE_SIZE);
}

/* What is not RAM reads as all ones, as on a bus that nobody answers on. */
bool task_read(struct task_switch *t, uint32_t from, void *to, size_t n)
{
    for (uint8_t *p = to; n > 0;) {
        size_t part = part_of_page(from, n);
        gpa_t gpa;

        if (!translate(t, from, WALK_READ, &gpa))
            return false;
        if (!vm_read(t->c->vm, gpa, p, part))
            memset(p, 0xff, part);
        p += part;
        from += part;
        n -= part;
    }
    return true;
}

static bool write_as(struct task_switch *t, uint32_t to, const void *from, size_t n,
                     bool supervisor)
{
    for (const uint8_t *p = from; n > 0;) {
        size_t part = part_of_page(to, n);
        gpa_t gpa;

        if (!translate_as(t, to, WALK_WRITE, supervisor, &gpa))
            return false;
        (void)!vm_write(t->c->vm, gpa, p, part); /* nobody there: dropped */
        p += part;
        to += part;
        n -= part;
    }
    return true;
}

bool task_write(struct task_switch *t, uint32_t to, const void *from, size_t n)
{
    return write_as(t, to, from, n, true);
}

bool task_push(struct task_switch *t, uint32_t at, uint32_t value, size_t size)
{
    return write_as(t, at, &value, size, false);
}

bool task_probe(struct task_switch *t, uint32_t at, size_t n, enum walk_access access)
{
    gpa_t gpa;

    return translate(t, at, access, &gpa) && translate(t, at + (uint32_t)n - 1, access, &gpa);
}

/* Atomic, as by the CPU: other vCPUs may share the table. */
bool task_mark(struct task_switch *t, gva_t descriptor, unsigned set, unsigned clear)
{
    gpa_t gpa;
    uint8_t *p;

    if (!translate(t, (uint32_t)descriptor.v + ACCESS_BYTE, WALK_WRITE, &gpa))
        return false;
    p = vm_pointer(t->c->vm, gpa);
    if (p == NULL)
        return true;
    if (set != 0)
        __atomic_fetch_or(p, (uint8_t)set, __ATOMIC_SEQ_CST);
    if (clear != 0)
        __atomic_fetch_and(p, (uint8_t)~clear, __ATOMIC_SEQ_CST);
    return true;
}

static void take_apart(uint64_t raw, struct task_descriptor *d)
{
    d->base = (raw >> 16 & 0xffffff) | (raw >> 32 & 0xff000000);
    d->limit = (raw & 0xffff) | (raw >> 32 & 0xf0000);
    d->access = raw >> 40 & 0xf0ff;
    if (d->access & DESC_GRANULARITY)
        d->limit = d->limit << PAGE_SHIFT | (uint32_t)PAGE_MASK;
}

bool task_descriptor(struct task_switch *t, uint16_t selector, unsigned vector,
                     struct task_descriptor *d)
{
    uint32_t base = (uint32_t)vmread(VMCS_GUEST_GDTR_BASE), limit = vmread(VMCS_GUEST_GDTR_LIMIT);
    uint64_t raw;

    if (selector & SELECTOR_TI) {
        struct vmx_segment ldt = vmx_segment(t->v, SEG_LDTR);

        if (ldt.access & ACCESS_UNUSABLE)
            return task_fault(t, vector, selector);
        base = (uint32_t)ldt.base;
        limit = ldt.limit;
    }
    if (SELECTOR_INDEX(selector) + sizeof(raw) - 1 > limit)
        return task_fault(t, vector, selector);
    d->at = GVA((uint32_t)(base + SELECTOR_INDEX(selector)));
    if (!task_read(t, (uint32_t)d->at.v, &raw, sizeof(raw)))
        return false;
    take_apart(raw, d);
    return true;
}
