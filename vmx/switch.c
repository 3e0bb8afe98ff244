/*
 * From one vCPU of a CPU to the next: what VM entry and exit do not switch is switched here, as
 * little of it as possible. The CPU's registers still hold the last guest's values: what is the
 * same is not written. What guests seldom write makes an exit when they first do (SDM vol. 3
 * sections 25.6.2 and 25.6.9); only then it has to be read back.
 */
#include "lib/assert.h"
#include "lib/string.h"
#include "machine/percpu.h"
#include "vmx/caps.h"
#include "vmx/cpu.h"
#include "vmx/internal.h"
#include "vmx/vmcs.h"

static struct vmx_registers registers[MAX_CPUS];

/* ------------------------------------------------------------------ MSRs */

static const uint32_t switched_msrs[SWITCHED_COUNT] = {
    [SWITCHED_STAR] = MSR_STAR,       [SWITCHED_LSTAR] = MSR_LSTAR,
    [SWITCHED_CSTAR] = MSR_CSTAR,     [SWITCHED_SFMASK] = MSR_SFMASK,
    [SWITCHED_TSC_AUX] = MSR_TSC_AUX, [SWITCHED_KERNEL_GS_BASE] = MSR_KERNEL_GS_BASE,
};

/* Where there is no RDTSCP this MSR is missing, and no guest can see it. */
static bool msr_is_there(const struct vmx_vcpu *v, unsigned i)
{
    return i != SWITCHED_TSC_AUX || cpuid_has_rdtscp(v->vm);
}

static void set_msr_exits(struct vmx_vcpu *v, bool exits)
{
    for (unsigned i = 0; i < SWITCHED_RARE; i++)
        if (msr_is_there(v, i))
            msr_bitmap_set(v, switched_msrs[i], false, exits);
    v->msrs_open = !exits;
}

void switch_init_msrs(struct vmx_vcpu *v)
{
    set_msr_exits(v, true);
    msr_bitmap_set(v, MSR_KERNEL_GS_BASE, false, false); /* SWAPGS writes it without an exit */
}

void switch_open_msrs(struct vmx_vcpu *v)
{
    set_msr_exits(v, false);
}

static void read_rare_msrs(struct vmx_vcpu *v, struct vmx_registers *r)
{
    for (unsigned i = 0; i < SWITCHED_RARE; i++)
        if (msr_is_there(v, i))
            v->switched_msrs[i] = r->msrs[i] = rdmsr(switched_msrs[i]);
    set_msr_exits(v, true);
}

static void msrs_out(struct vmx_vcpu *v, struct vmx_registers *r)
{
    if (unlikely(v->msrs_open))
        read_rare_msrs(v, r);
    r->msrs[SWITCHED_KERNEL_GS_BASE] = rdmsr(MSR_KERNEL_GS_BASE);
    v->switched_msrs[SWITCHED_KERNEL_GS_BASE] = r->msrs[SWITCHED_KERNEL_GS_BASE];
}

static void msrs_in(const struct vmx_vcpu *v, struct vmx_registers *r)
{
#pragma GCC unroll 8
    for (unsigned i = 0; i < SWITCHED_COUNT; i++) {
        if (likely(r->msrs[i] == v->switched_msrs[i]))
            continue;
        r->msrs[i] = v->switched_msrs[i];
        wrmsr(switched_msrs[i], r->msrs[i]);
    }
}

void switch_reset_msrs(struct vmx_vcpu *v)
{
    struct vmx_registers *r = this_cpu()->guest;

    if (v->current)
        msrs_out(v, r);
    memset(v->switched_msrs, 0, sizeof(v->switched_msrs));
    if (v->current)
        msrs_in(v, r);
}

/* ------------------------------------------------------------------ debug registers */

void switch_open_debug(struct vmx_vcpu *v)
{
    v->proc &= ~PROC_MOV_DR;
    vmwrite(VMCS_PROC_CONTROLS, v->proc);
}

static bool debug_open(const struct vmx_vcpu *v)
{
    return !(v->proc & PROC_MOV_DR);
}

static void read_addresses(struct vmx_vcpu *v, struct vmx_registers *r)
{
    v->dr[0] = read_dr0();
    v->dr[1] = read_dr1();
    v->dr[2] = read_dr2();
    v->dr[3] = read_dr3();
    v->breakpoints = r->breakpoints = (v->dr[0] | v->dr[1] | v->dr[2] | v->dr[3]) != 0;
    v->proc |= PROC_MOV_DR;
    vmwrite(VMCS_PROC_CONTROLS, v->proc);
}

/* DR6 changes with every #DB, single steps' included. */
static void debug_out(struct vmx_vcpu *v, struct vmx_registers *r)
{
    if (unlikely(debug_open(v)))
        read_addresses(v, r);
    v->dr6 = r->dr6 = read_dr6();
}

static void write_addresses(const struct vmx_vcpu *v, struct vmx_registers *r)
{
    write_dr0(v->dr[0]);
    write_dr1(v->dr[1]);
    write_dr2(v->dr[2]);
    write_dr3(v->dr[3]);
    r->breakpoints = v->breakpoints;
}

static void debug_in(const struct vmx_vcpu *v, struct vmx_registers *r)
{
    if (unlikely(v->breakpoints || r->breakpoints))
        write_addresses(v, r);
    if (unlikely(v->dr6 != r->dr6))
        write_dr6(v->dr6);
}

void switch_reset_debug(struct vmx_vcpu *v)
{
    struct vmx_registers *r = this_cpu()->guest;

    debug_out(v, r);
    memset(v->dr, 0, sizeof(v->dr));
    v->breakpoints = false;
    v->dr6 = DR6_RESET;
    debug_in(v, r);
}

/* ------------------------------------------------------------------ on and off a CPU */

void switch_init_cpu(struct percpu *cpu)
{
    cpu->guest = &registers[cpu->index];
}

struct vmx_registers *switch_registers(void)
{
    return this_cpu()->guest;
}

struct vmx_vcpu *vmx_vcpu_loaded(void)
{
    struct vmx_registers *r = switch_registers();

    return r != NULL ? r->loaded : NULL;
}

/* Before the first guest: what firmware and loader have left. */
static __attribute__((noinline)) void learn(struct vmx_vcpu *v, struct vmx_registers *r)
{
    for (unsigned i = 0; i < SWITCHED_COUNT; i++)
        if (msr_is_there(v, i))
            r->msrs[i] = rdmsr(switched_msrs[i]);
    r->breakpoints = true;
    r->dr6 = read_dr6();
    fpu_learn(v, r);
    r->known = true;
}

static __attribute__((noinline)) void enter_cpu(struct vmx_vcpu *v, const struct percpu *cpu)
{
    vmx_write_host_cpu();
    /* Another CPU's translations under this VPID may be stale by now. */
    if (vmx_has_proc2(PROC2_VPID))
        vmx_invvpid(v->vpid);
    v->loaded_on = (int)cpu->index;
}

void vmx_vcpu_load(struct vmx_vcpu *v)
{
    const struct percpu *cpu = this_cpu();
    struct vmx_registers *r = cpu->guest;

    if (r->loaded == v)
        return;
    if (r->loaded != NULL)
        vmx_vcpu_put(r->loaded);
    ASSERT(!v->current);
    if (unlikely(!r->known))
        learn(v, r);
    vmcs_load(v->vmcs);
    if (unlikely(v->loaded_on != (int)cpu->index))
        enter_cpu(v, cpu);
    v->preempt_deadline = 0;
    write_cr2(v->cr2);
    debug_in(v, r);
    msrs_in(v, r);
    fpu_switch_in(v, r);
    v->current = true;
    r->loaded = v;
}

void vmx_vcpu_put(struct vmx_vcpu *v)
{
    struct vmx_registers *r = switch_registers();

    ASSERT(r->loaded == v);
    fpu_switch_out(v, r);
    msrs_out(v, r);
    debug_out(v, r);
    v->cr2 = read_cr2();
    /* Cleared at once: another CPU may load it, and this CPU's cache must not write back later. */
    vmcs_clear(v->vmcs);
    v->launched = 0;
    r->loaded = NULL;
    /* The last write: as soon as it is seen, another CPU may load it. */
    __atomic_store_n(&v->current, false, __ATOMIC_RELEASE);
}
