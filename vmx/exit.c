/*
 * VM exits: one table, a small function for each reason, and the round from entry to exit.
 * Source: SDM vol. 3 chapter 28 and appendix C.
 */
#include "lib/assert.h"
#include "lib/format.h"
#include "machine/frame.h"
#include "machine/trap.h"
#include "vmx/caps.h"
#include "vmx/cpu.h"
#include "vmx/internal.h"
#include "vmx/vmcs.h"

bool vmx_accounting;

/* Handler flags. */
#define MAY_VECTOR BIT(0) /* the exit can come in the middle of an event's delivery */

struct exit_entry {
    void (*handle)(struct vmx_vcpu *v);
    unsigned flags;
    const char *name;
};

/* ------------------------------------------------------------------ handlers */

static void exit_exception(struct vmx_vcpu *v)
{
    uint32_t info = vmread(VMCS_EXIT_INTERRUPTION_INFO);

    /* An NMI or machine check that meant the host: through its own gate. */
    if (EVENT_TYPE(info) == EVENT_NMI)
        trap_nmi();
    else if ((info & EVENT_VECTOR) == VECTOR_MC)
        __asm__ volatile("int $18");
    else if (info & EVENT_ERROR_CODE)
        vmx_inject_exception_error(v, info & EVENT_VECTOR, vmread(VMCS_EXIT_INTERRUPTION_ERROR));
    else
        vmx_inject_exception(v, info & EVENT_VECTOR);
}

static void exit_interrupt(struct vmx_vcpu *v)
{
    v->client->interrupt(v, vmread(VMCS_EXIT_INTERRUPTION_INFO) & EVENT_VECTOR);
}

static void exit_triple_fault(struct vmx_vcpu *v)
{
    v->client->triple_fault(v);
}

/* INIT and SIPI that reach a CPU in VMX operation are held by the hardware; nothing to do. */
static void exit_ignored(UNUSED struct vmx_vcpu *v) {}

static void exit_interrupt_window(struct vmx_vcpu *v)
{
    vmx_want_interrupt_window(v, false);
    v->client->window(v);
}

static void exit_nmi_window(struct vmx_vcpu *v)
{
    vmx_want_nmi_window(v, false);
    v->client->window(v);
}

static void exit_task_switch(struct vmx_vcpu *v)
{
    v->client->task_switch(v, vmread(VMCS_EXIT_QUALIFICATION));
}

static void exit_undefined(struct vmx_vcpu *v)
{
    vmx_inject_exception(v, VECTOR_UD);
}

static void exit_hlt(struct vmx_vcpu *v)
{
    vmx_skip(v);
    v->client->halt(v);
}

/* No guest owns a device that sees memory past the caches. */
static void exit_cache(struct vmx_vcpu *v)
{
    vmx_skip(v);
}

static void exit_invlpg(struct vmx_vcpu *v)
{
    if (vmx_has_proc2(PROC2_VPID))
        vmx_invvpid(v->vpid);
    vmx_skip(v);
}

static void exit_general_protection(struct vmx_vcpu *v)
{
    vmx_inject_gp(v);
}

static void set_edx_eax(struct vmx_vcpu *v, uint64_t value)
{
    v->regs[REG_RAX] = (uint32_t)value;
    v->regs[REG_RDX] = value >> 32;
}

static void exit_rdtsc(struct vmx_vcpu *v)
{
    set_edx_eax(v, vmx_guest_tsc(v));
    vmx_skip(v);
}

static void exit_rdtscp(struct vmx_vcpu *v)
{
    set_edx_eax(v, vmx_guest_tsc(v));
    v->regs[REG_RCX] = (uint32_t)rdmsr(MSR_TSC_AUX);
    vmx_skip(v);
}

static void exit_vmcall(struct vmx_vcpu *v)
{
    if (v->client->vmcall(v))
        vmx_skip(v);
    else
        vmx_inject_exception(v, VECTOR_UD);
}

/* Exit qualification of an I/O instruction (SDM table 28-5). */
#define IO_SIZE(q) ((unsigned)((q)&7) + 1)
#define IO_IN      BIT(3)
#define IO_STRING  BIT(4)
#define IO_REP     BIT(5)
#define IO_PORT(q) ((uint16_t)((q) >> 16))

#define DR7_TYPE(dr7, n)   ((dr7) >> (16 + 4 * (n)) & 3)
#define DR7_LENGTH(dr7, n) ((unsigned)((dr7) >> (18 + 4 * (n)) & 3) + 1)
#define DR7_TYPE_IO        2
#define PENDING_ENABLED    BIT(12)

/* The CPU does not look at I/O breakpoints when the instruction exits (SDM vol. 3, 17.2.4). */
static void io_breakpoints(uint16_t port, unsigned size)
{
    const uint64_t address[4] = {read_dr0(), read_dr1(), read_dr2(), read_dr3()};
    uint64_t dr7 = vmread(VMCS_GUEST_DR7), hits = 0;

    for (unsigned n = 0; n < 4; n++) {
        uint64_t length = DR7_LENGTH(dr7, n), start = address[n] & ~(length - 1);

        if ((dr7 >> 2 * n & 3) && DR7_TYPE(dr7, n) == DR7_TYPE_IO && start < port + size &&
            port < start + length)
            hits |= BIT(n);
    }
    if (hits != 0)
        vmwrite(VMCS_GUEST_PENDING_DEBUG,
                vmread(VMCS_GUEST_PENDING_DEBUG) | hits | PENDING_ENABLED);
}

static const uint32_t io_masks[] = {[1] = 0xff, [2] = 0xffff, [4] = 0xffffffff};

static inline void io_out(struct vmx_vcpu *v, uint64_t q)
{
    unsigned size = IO_SIZE(q);

    v->client->port_write(v, IO_PORT(q), size, (uint32_t)v->regs[REG_RAX] & io_masks[size]);
}

/* As with any register write, 32 bits clear the upper half, fewer leave it. */
static inline void io_in(struct vmx_vcpu *v, uint64_t q)
{
    unsigned size = IO_SIZE(q);
    uint32_t value = v->client->port_read(v, IO_PORT(q), size);

    if (likely(size == 1))
        *(uint8_t *)&v->regs[REG_RAX] = (uint8_t)value;
    else if (size == 2)
        *(uint16_t *)&v->regs[REG_RAX] = (uint16_t)value;
    else
        v->regs[REG_RAX] = value;
}

static void exit_io(struct vmx_vcpu *v)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);

    if (q & IO_STRING) {
        struct vmx_io io = {IO_PORT(q), (uint8_t)IO_SIZE(q), q & IO_IN, true, q & IO_REP};

        v->client->port_string(v, &io);
        return;
    }
    if (q & IO_IN)
        io_in(v, q);
    else
        io_out(v, q);
    vmx_skip(v);
    if (v->io_breakpoints)
        io_breakpoints(IO_PORT(q), IO_SIZE(q));
}

static __attribute__((noinline)) enum vmx_quick quick_in(struct vmx_vcpu *v, uint64_t q)
{
    io_in(v, q);
    return VMX_QUICK_SKIP;
}

static enum vmx_quick quick_io(struct vmx_vcpu *v)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);

    if (unlikely(q & IO_STRING) || unlikely(v->io_breakpoints))
        return VMX_QUICK_NOT;
    if (q & IO_IN)
        return quick_in(v, q);
    io_out(v, q);
    return VMX_QUICK_SKIP;
}

static void exit_entry_failed(struct vmx_vcpu *v)
{
    char why[64];

    format_text(why, sizeof(why), "VM entry failed: %s, qualification %lu",
                v->exit_reason == EXIT_BAD_GUEST_STATE ? "invalid guest state" : "MSR loading",
                vmread(VMCS_EXIT_QUALIFICATION));
    v->client->broken(v, why);
}

static void exit_pause(struct vmx_vcpu *v)
{
    vmx_skip(v);
    v->client->pause(v);
}

static void exit_tpr(struct vmx_vcpu *v)
{
    v->client->apic_tpr_lowered(v);
}

#define APIC_ACCESS_OFFSET(q) ((unsigned)((q)&0xfff))
#define APIC_ACCESS_TYPE(q)   ((q) >> 12 & 0xf)

#define APIC_ACCESS_LINEAR_WRITE 1 /* the types above are not those of an instruction's operand */

static void exit_apic_access(struct vmx_vcpu *v)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);

    v->client->apic_access(v, APIC_ACCESS_OFFSET(q),
                           APIC_ACCESS_TYPE(q) <= APIC_ACCESS_LINEAR_WRITE);
}

static enum vmx_quick quick_apic_access(struct vmx_vcpu *v)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);

    if (unlikely(vmread(VMCS_IDT_VECTORING_INFO) & EVENT_VALID) ||
        APIC_ACCESS_TYPE(q) > APIC_ACCESS_LINEAR_WRITE)
        return VMX_QUICK_NOT;
    return v->client->apic_quick(v, APIC_ACCESS_OFFSET(q)) ? VMX_QUICK_DONE : VMX_QUICK_NOT;
}

static void exit_apic_write(struct vmx_vcpu *v)
{
    v->client->apic_written(v, APIC_ACCESS_OFFSET(vmread(VMCS_EXIT_QUALIFICATION)));
}

static enum vmx_quick quick_apic_write(struct vmx_vcpu *v)
{
    exit_apic_write(v);
    return VMX_QUICK_DONE;
}

static void exit_eoi(struct vmx_vcpu *v)
{
    v->client->apic_eoi(v, (uint8_t)vmread(VMCS_EXIT_QUALIFICATION));
}

#define EPT_NMI_UNBLOCKED BIT(12)

/* The linear address is valid, and the access was to the page itself, not to a page table. */
#define EPT_LINEAR (BIT(7) | BIT(8))

static void exit_ept_violation(struct vmx_vcpu *v)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);

    /* IRET had just ended NMI blocking when it faulted: it will run again. */
    if (unlikely(q & EPT_NMI_UNBLOCKED) && !vmx_event_queued(v))
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY,
                vmread(VMCS_GUEST_INTERRUPTIBILITY) | (uint32_t)BLOCKING_NMI);
    v->client->ept_fault(v, GPA(vmread(VMCS_GUEST_PHYSICAL_ADDRESS)), q & EPT_RWX,
                         (q & EPT_LINEAR) == EPT_LINEAR);
}

static enum vmx_quick quick_ept_violation(struct vmx_vcpu *v)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);

    if (unlikely(vmread(VMCS_IDT_VECTORING_INFO) & EVENT_VALID) || unlikely(q & EPT_NMI_UNBLOCKED))
        return VMX_QUICK_NOT;
    return v->client->ept_quick(v, GPA(vmread(VMCS_GUEST_PHYSICAL_ADDRESS)),
                                (q & EPT_LINEAR) == EPT_LINEAR)
               ? VMX_QUICK_DONE
               : VMX_QUICK_NOT;
}

static void exit_ept_misconfig(struct vmx_vcpu *v)
{
    char why[64];

    format_text(why, sizeof(why), "EPT misconfiguration at 0x%lx",
                vmread(VMCS_GUEST_PHYSICAL_ADDRESS));
    v->client->broken(v, why);
}

static void exit_preemption(struct vmx_vcpu *v)
{
    v->preempt_deadline = 0;
    v->client->timer(v);
}

static enum vmx_quick quick_preemption(struct vmx_vcpu *v)
{
    exit_preemption(v);
    return VMX_QUICK_DONE;
}

const vmx_quick_fn vmx_quick_exits[EXIT_TABLE_SIZE] = {
    [EXIT_IO] = quick_io,
    [EXIT_RDMSR] = msr_read_quick,
    [EXIT_WRMSR] = msr_write_quick,
    [EXIT_EPT_VIOLATION] = quick_ept_violation,
    [EXIT_PREEMPTION_TIMER] = quick_preemption,
    [EXIT_APIC_ACCESS] = quick_apic_access,
    [EXIT_APIC_WRITE] = quick_apic_write,
};

static const struct exit_entry exit_table[EXIT_TABLE_SIZE] = {
    [EXIT_EXCEPTION] = {exit_exception, MAY_VECTOR, "exception or NMI"},
    [EXIT_EXTERNAL_INTERRUPT] = {exit_interrupt, 0, "external interrupt"},
    [EXIT_TRIPLE_FAULT] = {exit_triple_fault, 0, "triple fault"},
    [EXIT_INIT] = {exit_ignored, 0, "INIT"},
    [EXIT_SIPI] = {exit_ignored, 0, "SIPI"},
    [EXIT_INTERRUPT_WINDOW] = {exit_interrupt_window, 0, "interrupt window"},
    [EXIT_NMI_WINDOW] = {exit_nmi_window, 0, "NMI window"},
    [EXIT_TASK_SWITCH] = {exit_task_switch, MAY_VECTOR, "task switch"},
    [EXIT_CPUID] = {cpuid_exit, 0, "CPUID"},
    [EXIT_GETSEC] = {exit_undefined, 0, "GETSEC"},
    [EXIT_HLT] = {exit_hlt, 0, "HLT"},
    [EXIT_INVD] = {exit_cache, 0, "INVD"},
    [EXIT_INVLPG] = {exit_invlpg, 0, "INVLPG"},
    [EXIT_RDPMC] = {exit_general_protection, 0, "RDPMC"},
    [EXIT_RDTSC] = {exit_rdtsc, 0, "RDTSC"},
    [EXIT_VMCALL] = {exit_vmcall, 0, "VMCALL"},
    [EXIT_VMCLEAR] = {exit_undefined, 0, "VMCLEAR"},
    [EXIT_VMLAUNCH] = {exit_undefined, 0, "VMLAUNCH"},
    [EXIT_VMPTRLD] = {exit_undefined, 0, "VMPTRLD"},
    [EXIT_VMPTRST] = {exit_undefined, 0, "VMPTRST"},
    [EXIT_VMREAD] = {exit_undefined, 0, "VMREAD"},
    [EXIT_VMRESUME] = {exit_undefined, 0, "VMRESUME"},
    [EXIT_VMWRITE] = {exit_undefined, 0, "VMWRITE"},
    [EXIT_VMXOFF] = {exit_undefined, 0, "VMXOFF"},
    [EXIT_VMXON] = {exit_undefined, 0, "VMXON"},
    [EXIT_CR_ACCESS] = {control_cr_exit, 0, "CR access"},
    [EXIT_DR_ACCESS] = {control_dr_exit, 0, "DR access"},
    [EXIT_IO] = {exit_io, 0, "I/O"},
    [EXIT_RDMSR] = {msr_read_exit, 0, "RDMSR"},
    [EXIT_WRMSR] = {msr_write_exit, 0, "WRMSR"},
    [EXIT_BAD_GUEST_STATE] = {exit_entry_failed, 0, "entry: guest state"},
    [EXIT_BAD_MSR_LOAD] = {exit_entry_failed, 0, "entry: MSR loading"},
    [EXIT_MWAIT] = {exit_undefined, 0, "MWAIT"},
    [EXIT_MONITOR] = {exit_undefined, 0, "MONITOR"},
    [EXIT_PAUSE] = {exit_pause, 0, "PAUSE"},
    [EXIT_TPR_THRESHOLD] = {exit_tpr, 0, "TPR below threshold"},
    [EXIT_APIC_ACCESS] = {exit_apic_access, MAY_VECTOR, "APIC access"},
    [EXIT_EOI] = {exit_eoi, 0, "virtualised EOI"},
    [EXIT_EPT_VIOLATION] = {exit_ept_violation, MAY_VECTOR, "EPT violation"},
    [EXIT_EPT_MISCONFIG] = {exit_ept_misconfig, MAY_VECTOR, "EPT misconfiguration"},
    [EXIT_INVEPT] = {exit_undefined, 0, "INVEPT"},
    [EXIT_RDTSCP] = {exit_rdtscp, 0, "RDTSCP"},
    [EXIT_PREEMPTION_TIMER] = {exit_preemption, 0, "preemption timer"},
    [EXIT_INVVPID] = {exit_undefined, 0, "INVVPID"},
    [EXIT_WBINVD] = {exit_cache, 0, "WBINVD"},
    [EXIT_XSETBV] = {control_xsetbv_exit, 0, "XSETBV"},
    [EXIT_APIC_WRITE] = {exit_apic_write, 0, "APIC write"},
    [EXIT_VMFUNC] = {exit_undefined, 0, "VMFUNC"},
    [EXIT_NONE] = {NULL, 0, "resumption"},
};

const char *vmx_exit_name(unsigned reason)
{
    if (reason >= EXIT_TABLE_SIZE || exit_table[reason].name == NULL)
        return "unknown";
    return exit_table[reason].name;
}

/* ------------------------------------------------------------------ the round */

/*
 * The exit interrupted the delivery of an event: it must be delivered again, unless the handler
 * finds something that goes before (SDM 28.2.4).
 */
static void requeue_vectoring(struct vmx_vcpu *v)
{
    uint32_t info = vmread(VMCS_IDT_VECTORING_INFO);

    if (likely(!(info & EVENT_VALID)))
        return;
    v->event.info = info & ~(uint32_t)EVENT_NMI_UNBLOCKED;
    v->event.error = info & EVENT_ERROR_CODE ? vmread(VMCS_IDT_VECTORING_ERROR) : 0;
    v->event.length = vmread(VMCS_EXIT_INSTRUCTION_LENGTH);
    if (EVENT_TYPE(info) == EVENT_NMI)
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY,
                vmread(VMCS_GUEST_INTERRUPTIBILITY) & ~(uint32_t)BLOCKING_NMI);
}

static void handle_exit(struct vmx_vcpu *v)
{
    uint32_t reason = vmread(VMCS_EXIT_REASON) & (EXIT_TABLE_SIZE - 1);
    const struct exit_entry *e = &exit_table[reason];

    v->exit_reason = reason;
    if (unlikely(e->handle == NULL)) {
        char why[48];

        format_text(why, sizeof(why), "unknown exit reason %u", reason);
        v->client->broken(v, why);
        return;
    }
    if (e->flags & MAY_VECTOR)
        requeue_vectoring(v);
    e->handle(v);
}

static void write_event(struct vmx_vcpu *v)
{
    if (v->event.info & EVENT_ERROR_CODE)
        vmwrite(VMCS_ENTRY_EXCEPTION_ERROR, v->event.error);
    if (EVENT_TYPE(v->event.info) >= EVENT_SOFT_INT)
        vmwrite(VMCS_ENTRY_INSTRUCTION_LENGTH, v->event.length);
    vmwrite(VMCS_ENTRY_INTERRUPTION_INFO, v->event.info);
    v->event.info = 0;
}

/* ------------------------------------------------------------------ accounting */

void vmx_account_exit(struct vmx_vcpu *v)
{
    uint64_t ticks = rdtsc() - v->exit_tsc;
    struct vmx_times *t;

    v->host_ticks += ticks;
    if (v->times != NULL && v->exit_reason < EXIT_NR_TIMES) {
        t = &v->times[v->exit_reason];
        t->count++;
        t->total += ticks;
        t->max = MAX(t->max, ticks);
        t->histogram[MIN(63 - __builtin_clzl(ticks | 1), VMX_TIME_BINS - 1)]++;
    }
    v->exit_reason = EXIT_NONE;
}

/* The switch was moved: exits take the other way from now on. */
static void follow_accounting(struct vmx_vcpu *v)
{
    v->timed = vmx_accounting;
    if (v->timed && v->times == NULL)
        v->times = heap_alloc(EXIT_NR_TIMES * sizeof(*v->times));
    v->exit_reason = EXIT_NONE;
    v->exit_tsc = rdtsc();
    vmwrite(VMCS_HOST_RIP, v->timed ? (uintptr_t)vmx_exit_timed : (uintptr_t)vmx_exit);
}

/* ------------------------------------------------------------------ the round */

void vmx_instruction_failed(void)
{
    vmcs_fail("VMREAD or VMWRITE of the exit path, or VMRESUME", 0);
}

/*
 * So many exits may go by before the owner's round, in which the preemption timer is set again: it
 * stands still outside of the guest. With exits of a few hundred ticks it is late by microseconds.
 */
#define VMX_TURNS 64

void vmx_vcpu_run(struct vmx_vcpu *v)
{
    v->turns = VMX_TURNS;
    if (unlikely(v->timed != vmx_accounting))
        follow_accounting(v);
    do {
        if (vmx_event_queued(v))
            write_event(v);
        if (unlikely(v->timed))
            vmx_account_exit(v);
        switch (vmx_enter(v)) {
        case VMX_LEFT_EXIT:
            handle_exit(v);
            break;
        case VMX_LEFT_HANDLED:
            break;
        case VMX_ENTRY_FAILED:
            vmcs_fail(v->launched ? "VMRESUME" : "VMLAUNCH", v->vmcs.v);
        }
    } while (v->attention == 0 && v->turns > 0);
}
