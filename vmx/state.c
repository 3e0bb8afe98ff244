/* The guest's state in the VMCS: registers, segments, control registers as the guest sees them. */
#include "lib/assert.h"
#include "vmx/caps.h"
#include "vmx/cpu.h"
#include "vmx/internal.h"
#include "vmx/vmcs.h"

uint64_t vmx_rip(UNUSED const struct vmx_vcpu *v)
{
    return vmread(VMCS_GUEST_RIP);
}

void vmx_set_rip(UNUSED struct vmx_vcpu *v, uint64_t rip)
{
    vmwrite(VMCS_GUEST_RIP, rip);
}

uint64_t vmx_rflags(UNUSED const struct vmx_vcpu *v)
{
    return vmread(VMCS_GUEST_RFLAGS);
}

void vmx_set_rflags(UNUSED struct vmx_vcpu *v, uint64_t rflags)
{
    vmwrite(VMCS_GUEST_RFLAGS, rflags);
}

uint64_t vmx_reg(const struct vmx_vcpu *v, unsigned n)
{
    return n == REG_RSP ? vmread(VMCS_GUEST_RSP) : v->regs[n];
}

void vmx_set_reg(struct vmx_vcpu *v, unsigned n, uint64_t value)
{
    if (n == REG_RSP)
        vmwrite(VMCS_GUEST_RSP, value);
    else
        v->regs[n] = value;
}

struct segment_fields {
    vmcs16_t selector;
    vmcs32_t limit, access;
    vmcsn_t base;
};

#define SEGMENT_FIELDS(name)       \
    [SEG_##name] = {               \
        {0x0800 + 2 * SEG_##name}, \
        {0x4800 + 2 * SEG_##name}, \
        {0x4814 + 2 * SEG_##name}, \
        {0x6806 + 2 * SEG_##name}, \
    }

/* The encodings of the eight segments follow each other (SDM appendix B), as the enum does. */
static const struct segment_fields segment_fields[SEG_COUNT] = {
    SEGMENT_FIELDS(ES), SEGMENT_FIELDS(CS), SEGMENT_FIELDS(SS),   SEGMENT_FIELDS(DS),
    SEGMENT_FIELDS(FS), SEGMENT_FIELDS(GS), SEGMENT_FIELDS(LDTR), SEGMENT_FIELDS(TR),
};

struct vmx_segment vmx_segment(UNUSED const struct vmx_vcpu *v, enum vmx_seg n)
{
    const struct segment_fields *f = &segment_fields[n];

    return (struct vmx_segment){vmread(f->selector), vmread(f->limit), vmread(f->access),
                                vmread(f->base)};
}

void vmx_set_segment(UNUSED struct vmx_vcpu *v, enum vmx_seg n, const struct vmx_segment *s)
{
    const struct segment_fields *f = &segment_fields[n];

    vmwrite(f->selector, s->selector);
    vmwrite(f->limit, s->limit);
    vmwrite(f->access, s->access);
    vmwrite(f->base, s->base);
}

void vmx_set_table(UNUSED struct vmx_vcpu *v, bool idt, uint64_t base, uint32_t limit)
{
    vmwrite(idt ? VMCS_GUEST_IDTR_BASE : VMCS_GUEST_GDTR_BASE, base);
    vmwrite(idt ? VMCS_GUEST_IDTR_LIMIT : VMCS_GUEST_GDTR_LIMIT, limit);
}

unsigned vmx_cpl(UNUSED const struct vmx_vcpu *v)
{
    return ACCESS_DPL(vmread(VMCS_GUEST_SS_ACCESS));
}

/* Bits that the guest does not own come from the shadow. */
static uint64_t shadowed(vmcsn_t real, vmcsn_t mask, vmcsn_t shadow)
{
    uint64_t m = vmread(mask);

    return (vmread(real) & ~m) | (vmread(shadow) & m);
}

uint64_t vmx_cr0(UNUSED const struct vmx_vcpu *v)
{
    return shadowed(VMCS_GUEST_CR0, VMCS_CR0_MASK, VMCS_CR0_SHADOW);
}

uint64_t vmx_cr3(UNUSED const struct vmx_vcpu *v)
{
    return vmread(VMCS_GUEST_CR3);
}

uint64_t vmx_cr4(UNUSED const struct vmx_vcpu *v)
{
    return shadowed(VMCS_GUEST_CR4, VMCS_CR4_MASK, VMCS_CR4_SHADOW);
}

uint64_t vmx_efer(UNUSED const struct vmx_vcpu *v)
{
    return vmread(VMCS_GUEST_EFER);
}

void vmx_clear_shadow(UNUSED struct vmx_vcpu *v)
{
    uint32_t s = vmread(VMCS_GUEST_INTERRUPTIBILITY);

    if (s & (BLOCKING_STI | BLOCKING_MOV_SS))
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY, s & ~(uint32_t)(BLOCKING_STI | BLOCKING_MOV_SS));
}

#define PENDING_DEBUG_STEP BIT(14)

void vmx_finish(struct vmx_vcpu *v, uint64_t rip, uint64_t rflags)
{
    vmwrite(VMCS_GUEST_RIP, rip);
    vmx_clear_shadow(v);
    if (unlikely(rflags & RFLAGS_TF))
        vmwrite(VMCS_GUEST_PENDING_DEBUG, vmread(VMCS_GUEST_PENDING_DEBUG) | PENDING_DEBUG_STEP);
}

void vmx_skip(struct vmx_vcpu *v)
{
    uint64_t rip = vmread(VMCS_GUEST_RIP);
    uint64_t next = rip + vmread(VMCS_EXIT_INSTRUCTION_LENGTH);

    /* Outside 64-bit mode the instruction pointer wraps at 4 GiB. */
    if (unlikely((rip ^ next) & BIT(32)) && !(vmread(VMCS_GUEST_CS_ACCESS) & ACCESS_LONG))
        next = (uint32_t)next;
    vmx_finish(v, next, vmread(VMCS_GUEST_RFLAGS));
}

/* ------------------------------------------------------------------ time, windows, APIC */

void vmx_set_tsc_offset(struct vmx_vcpu *v, uint64_t offset)
{
    v->tsc_offset = offset;
    vmwrite(VMCS_TSC_OFFSET, offset);
}

void vmx_set_preemption(struct vmx_vcpu *v, uint64_t host_tsc)
{
    uint64_t now = rdtsc(), ticks = 0;

    if (likely(host_tsc > now))
        ticks = (host_tsc - now) >> vmx_caps.preemption_shift;
    /* A deadline beyond the counter's range: leave, look at the clock, and come back. */
    if (unlikely(ticks > UINT32_MAX))
        ticks = UINT32_MAX;
    vmwrite(VMCS_PREEMPTION_TIMER, (uint32_t)ticks);
    v->preempt_deadline = host_tsc;
}

static void set_proc(struct vmx_vcpu *v, uint32_t bit, bool on)
{
    uint32_t w = on ? v->proc | bit : v->proc & ~bit;

    if (w != v->proc) {
        v->proc = w;
        vmwrite(VMCS_PROC_CONTROLS, w);
    }
}

void vmx_want_interrupt_window(struct vmx_vcpu *v, bool want)
{
    set_proc(v, PROC_INTERRUPT_WINDOW, want);
}

void vmx_want_nmi_window(struct vmx_vcpu *v, bool want)
{
    set_proc(v, PROC_NMI_WINDOW, want);
}

/*
 * x2APIC MSRs that the CPU virtualises. Reads come from the virtual-APIC page without a check, so
 * only registers that exist are opened; the running timer count is not in the page.
 */
#define X2APIC_READABLE                                                            \
    (BIT(0x02) | BIT(0x03) | BIT(0x08) | BIT(0x0a) | BIT(0x0d) | BIT(0x0f) |       \
     0xffffffull << 0x10 /* ISR, TMR, IRR */ | BIT(0x28) | BIT(0x2f) | BIT(0x30) | \
     0x1fdull << 0x30 /* ICR, LVT, initial count */ | BIT(0x3e))
#define X2APIC_WRITABLE (BIT(0x08) /* TPR */ | BIT(0x0b) /* EOI */ | BIT(0x3f) /* SELF IPI */)

static void open_x2apic_msrs(struct vmx_vcpu *v, bool open)
{
    for (unsigned n = 0; n < 64; n++)
        msr_bitmap_set(v, MSR_X2APIC + n, !open || !(X2APIC_READABLE & BIT(n)),
                       !open || !(X2APIC_WRITABLE & BIT(n)));
}

void vmx_set_apic_mode(struct vmx_vcpu *v, enum vmx_apic_mode mode)
{
    const uint32_t bits = PROC2_APIC_ACCESS | PROC2_X2APIC | PROC2_APIC_REGISTERS;
    uint32_t w = v->proc2 & ~bits;

    if (!v->vm->virtual_apic)
        return;
    if (mode == VMX_APIC_XAPIC)
        w |= PROC2_APIC_ACCESS | PROC2_APIC_REGISTERS;
    else if (mode == VMX_APIC_X2APIC)
        w |= PROC2_X2APIC | PROC2_APIC_REGISTERS;
    open_x2apic_msrs(v, mode == VMX_APIC_X2APIC);
    if (w == v->proc2)
        return;
    v->proc2 = w;
    vmwrite(VMCS_PROC_CONTROLS_2, w);
    /* Cached translations to the APIC-access page depend on the control (SDM 30.4.2). */
    vmx_invept(ept_pointer(v->vm->ept));
    if (vmx_has_proc2(PROC2_VPID))
        vmx_invvpid(v->vpid);
}

static uint8_t vector_or_zero(int vector)
{
    return vector < 0 ? 0 : (uint8_t)vector;
}

void vmx_set_requested(UNUSED struct vmx_vcpu *v, int vector)
{
    uint16_t old = vmread(VMCS_GUEST_INTERRUPT_STATUS);
    uint16_t now = (uint16_t)((old & 0xff00) | vector_or_zero(vector));

    if (now != old)
        vmwrite(VMCS_GUEST_INTERRUPT_STATUS, now);
}

bool vmx_request_alone(struct vmx_vcpu *v, uint8_t vector)
{
    if (vmx_event_queued(v) || vmread(VMCS_GUEST_INTERRUPT_STATUS) != 0)
        return false;
    vmwrite(VMCS_GUEST_INTERRUPT_STATUS, vector);
    return true;
}

void vmx_set_in_service(UNUSED struct vmx_vcpu *v, int vector)
{
    uint16_t old = vmread(VMCS_GUEST_INTERRUPT_STATUS);

    vmwrite(VMCS_GUEST_INTERRUPT_STATUS,
            (uint16_t)((old & 0xff) | (unsigned)vector_or_zero(vector) << 8));
}

void vmx_set_eoi_exits(struct vmx_vcpu *v, const uint64_t bitmap[4])
{
    static const vmcs64_t fields[4] = {{0x201c}, {0x201e}, {0x2020}, {0x2022}};

    for (unsigned i = 0; i < 4; i++)
        if (bitmap[i] != v->eoi_exit_bitmap[i] || !v->launched) {
            v->eoi_exit_bitmap[i] = bitmap[i];
            vmwrite(fields[i], bitmap[i]);
        }
}

void vmx_set_tpr_threshold(UNUSED struct vmx_vcpu *v, unsigned class)
{
    if (vmx_has_proc(PROC_TPR_SHADOW) && !v->vm->virtual_apic)
        vmwrite(VMCS_TPR_THRESHOLD, class);
}
