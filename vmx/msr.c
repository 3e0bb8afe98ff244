/*
 * MSRs: a table of those that a guest has, and the bitmap of those that it uses without an exit.
 * What is not in the table is not there: #GP. Source: SDM vol. 4; for MTRRs vol. 3 section 12.11.
 */
#include "lib/assert.h"
#include "lib/string.h"
#include "machine/frame.h"
#include "vmx/caps.h"
#include "vmx/internal.h"
#include "vmx/vmcs.h"

#define MSR_PLATFORM_ID 0x17
#define MSR_MCG_CAP     0x179
#define MSR_MCG_STATUS  0x17a
#define MSR_MTRR_LAST   0x20f

#define MTRR_CAP_VALUE  (MTRR_VARIABLE | BIT(8) /* fixed */ | BIT(10) /* write combining */)
#define MTRR_DEF_ENABLE BIT(11)
#define MTRR_DEF_FIXED  BIT(10)
#define MTRR_TYPE_UC    0
#define MISC_ENABLE_VALUE \
    (BIT(0) /* fast strings */ | BIT(11) /* no BTS */ | BIT(12) /* no PEBS \
                                                                                       */)
#define MISC_ENABLE_GUEST BIT(0) /* what a guest may change */
#define DEBUGCTL_GUEST    BIT(1) /* single-step on branches; no branch records */
#define UCODE_REVISION    (1ull << 32)

struct msr_entry {
    uint32_t first, last;
    /* VMX_QUICK_SKIP: done, for RDMSR in EDX:EAX; NOT: #GP; DONE: the guest does it again. */
    enum vmx_quick (*read)(struct vmx_vcpu *v, uint32_t msr);
    enum vmx_quick (*write)(struct vmx_vcpu *v, uint32_t msr, uint64_t value);
};

static enum vmx_quick skip_if(bool ok)
{
    return ok ? VMX_QUICK_SKIP : VMX_QUICK_NOT;
}

/* The value that RDMSR gives. */
static inline enum vmx_quick give(struct vmx_vcpu *v, uint64_t value)
{
    v->regs[REG_RAX] = (uint32_t)value;
    v->regs[REG_RDX] = value >> 32;
    return VMX_QUICK_SKIP;
}

static enum vmx_quick no_read(UNUSED struct vmx_vcpu *v, UNUSED uint32_t msr)
{
    return VMX_QUICK_NOT;
}

static enum vmx_quick no_write(UNUSED struct vmx_vcpu *v, UNUSED uint32_t msr,
                               UNUSED uint64_t value)
{
    return VMX_QUICK_NOT;
}

static enum vmx_quick read_zero(struct vmx_vcpu *v, UNUSED uint32_t msr)
{
    return give(v, 0);
}

static enum vmx_quick tsc_read(struct vmx_vcpu *v, UNUSED uint32_t msr)
{
    return give(v, vmx_guest_tsc(v));
}

/* A write to the TSC changes TSC_ADJUST by the same amount (SDM 18.17.3). */
static enum vmx_quick tsc_write(struct vmx_vcpu *v, UNUSED uint32_t msr, uint64_t value)
{
    uint64_t delta = value - vmx_guest_tsc(v);

    v->tsc_adjust += delta;
    vmx_set_tsc_offset(v, v->tsc_offset + delta);
    v->client->tsc_moved(v, delta);
    return VMX_QUICK_SKIP;
}

static enum vmx_quick tsc_adjust_read(struct vmx_vcpu *v, UNUSED uint32_t msr)
{
    return give(v, v->tsc_adjust);
}

static enum vmx_quick tsc_adjust_write(struct vmx_vcpu *v, UNUSED uint32_t msr, uint64_t value)
{
    uint64_t delta = value - v->tsc_adjust;

    v->tsc_adjust = value;
    if (delta != 0) {
        vmx_set_tsc_offset(v, v->tsc_offset + delta);
        v->client->tsc_moved(v, delta);
    }
    return VMX_QUICK_SKIP;
}

static enum vmx_quick apic_base_read(struct vmx_vcpu *v, UNUSED uint32_t msr)
{
    return give(v, *v->apic_base);
}

static enum vmx_quick apic_read(struct vmx_vcpu *v, uint32_t msr)
{
    uint64_t value;

    return v->client->apic_msr_read(v, msr, &value) ? give(v, value) : VMX_QUICK_NOT;
}

static enum vmx_quick apic_write(struct vmx_vcpu *v, uint32_t msr, uint64_t value)
{
    return skip_if(v->client->apic_msr_write(v, msr, value));
}

static enum vmx_quick apic_deadline_write(struct vmx_vcpu *v, UNUSED uint32_t msr, uint64_t value)
{
    v->client->apic_deadline(v, value);
    return VMX_QUICK_SKIP;
}

static enum vmx_quick apic_icr_write(struct vmx_vcpu *v, UNUSED uint32_t msr, uint64_t value)
{
    return skip_if(v->client->apic_icr(v, value));
}

static enum vmx_quick ucode_read(struct vmx_vcpu *v, UNUSED uint32_t msr)
{
    return give(v, UCODE_REVISION);
}

/* Software clears it before CPUID fills it in. */
static enum vmx_quick ucode_write(UNUSED struct vmx_vcpu *v, UNUSED uint32_t msr,
                                  UNUSED uint64_t value)
{
    return VMX_QUICK_SKIP;
}

static enum vmx_quick mcg_status_read(struct vmx_vcpu *v, UNUSED uint32_t msr)
{
    return give(v, v->mcg_status);
}

static enum vmx_quick mcg_status_write(struct vmx_vcpu *v, UNUSED uint32_t msr, uint64_t value)
{
    v->mcg_status = value & 7;
    return VMX_QUICK_SKIP;
}

static enum vmx_quick misc_enable_read(struct vmx_vcpu *v, UNUSED uint32_t msr)
{
    return give(v, v->misc_enable);
}

static enum vmx_quick misc_enable_write(struct vmx_vcpu *v, UNUSED uint32_t msr, uint64_t value)
{
    v->misc_enable = (v->misc_enable & ~MISC_ENABLE_GUEST) | (value & MISC_ENABLE_GUEST);
    return VMX_QUICK_SKIP;
}

static enum vmx_quick debugctl_read(struct vmx_vcpu *v, UNUSED uint32_t msr)
{
    return give(v, vmread(VMCS_GUEST_DEBUGCTL));
}

static enum vmx_quick debugctl_write(UNUSED struct vmx_vcpu *v, UNUSED uint32_t msr, uint64_t value)
{
    if (value & ~DEBUGCTL_GUEST)
        return VMX_QUICK_NOT;
    vmwrite(VMCS_GUEST_DEBUGCTL, value);
    return VMX_QUICK_SKIP;
}

static enum vmx_quick efer_read(struct vmx_vcpu *v, UNUSED uint32_t msr)
{
    return give(v, vmx_efer(v));
}

static enum vmx_quick efer_write(struct vmx_vcpu *v, UNUSED uint32_t msr, uint64_t value)
{
    return skip_if(vmx_set_efer(v, value));
}

/* No supervisor state components are offered. */
static enum vmx_quick xss_write(UNUSED struct vmx_vcpu *v, UNUSED uint32_t msr, uint64_t value)
{
    return skip_if(value == 0);
}

/* From now on it may, until it leaves its CPU; and does so again. */
static enum vmx_quick switched_write(struct vmx_vcpu *v, uint32_t msr, UNUSED uint64_t value)
{
    if (msr == MSR_TSC_AUX && !cpuid_has_rdtscp(v->vm))
        return VMX_QUICK_NOT;
    switch_open_msrs(v);
    return VMX_QUICK_DONE;
}

/* ------------------------------------------------------------------ memory types: stored only */

static bool mtrr_type_valid(uint64_t type)
{
    return type == 0 || type == 1 || (type >= 4 && type <= 6);
}

static enum vmx_quick mtrr_cap_read(struct vmx_vcpu *v, UNUSED uint32_t msr)
{
    return give(v, MTRR_CAP_VALUE);
}

static enum vmx_quick mtrr_variable_read(struct vmx_vcpu *v, uint32_t msr)
{
    unsigned n = (msr - MSR_MTRR_PHYS_BASE0) / 2;

    return give(v, msr % 2 ? v->mtrr_mask[n] : v->mtrr_base[n]);
}

static enum vmx_quick mtrr_variable_write(struct vmx_vcpu *v, uint32_t msr, uint64_t value)
{
    unsigned n = (msr - MSR_MTRR_PHYS_BASE0) / 2;

    if (value >> cpuid_phys_bits(v->vm))
        return VMX_QUICK_NOT;
    if (msr % 2) {
        if (value & 0x7ff)
            return VMX_QUICK_NOT;
        v->mtrr_mask[n] = value;
        return VMX_QUICK_SKIP;
    }
    if ((value & 0xf00) || !mtrr_type_valid(value & 0xff))
        return VMX_QUICK_NOT;
    v->mtrr_base[n] = value;
    return VMX_QUICK_SKIP;
}

static unsigned mtrr_fixed_index(uint32_t msr)
{
    return msr == MSR_MTRR_FIX_64K     ? 0
           : msr <= MSR_MTRR_FIX_16K_1 ? 1 + msr - MSR_MTRR_FIX_16K_0
                                       : 3 + msr - MSR_MTRR_FIX_4K_0;
}

static enum vmx_quick mtrr_fixed_read(struct vmx_vcpu *v, uint32_t msr)
{
    return give(v, v->mtrr_fixed[mtrr_fixed_index(msr)]);
}

static enum vmx_quick mtrr_fixed_write(struct vmx_vcpu *v, uint32_t msr, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++)
        if (!mtrr_type_valid(value >> 8 * i & 0xff))
            return VMX_QUICK_NOT;
    v->mtrr_fixed[mtrr_fixed_index(msr)] = value;
    return VMX_QUICK_SKIP;
}

static enum vmx_quick mtrr_def_read(struct vmx_vcpu *v, UNUSED uint32_t msr)
{
    return give(v, v->mtrr_def_type);
}

static enum vmx_quick mtrr_def_write(struct vmx_vcpu *v, UNUSED uint32_t msr, uint64_t value)
{
    if ((value & ~(MTRR_DEF_ENABLE | MTRR_DEF_FIXED | 0xff)) || !mtrr_type_valid(value & 0xff))
        return VMX_QUICK_NOT;
    v->mtrr_def_type = value;
    return VMX_QUICK_SKIP;
}

/* Sorted by first, but for the one that stands for MSRs that there are not. */
static const struct msr_entry msr_table[] = {
    {0, 0, no_read, no_write},
    {MSR_TSC, MSR_TSC, tsc_read, tsc_write},
    {MSR_PLATFORM_ID, MSR_PLATFORM_ID, read_zero, no_write},
    {MSR_APIC_BASE, MSR_APIC_BASE, apic_base_read, apic_write},
    {MSR_TSC_ADJUST, MSR_TSC_ADJUST, tsc_adjust_read, tsc_adjust_write},
    {MSR_UCODE_REV, MSR_UCODE_REV, ucode_read, ucode_write},
    {MSR_MTRR_CAP, MSR_MTRR_CAP, mtrr_cap_read, no_write},
    {MSR_MCG_CAP, MSR_MCG_CAP, read_zero, no_write},
    {MSR_MCG_STATUS, MSR_MCG_STATUS, mcg_status_read, mcg_status_write},
    {MSR_MISC_ENABLE, MSR_MISC_ENABLE, misc_enable_read, misc_enable_write},
    {MSR_DEBUGCTL, MSR_DEBUGCTL, debugctl_read, debugctl_write},
    {MSR_MTRR_PHYS_BASE0, MSR_MTRR_LAST, mtrr_variable_read, mtrr_variable_write},
    {MSR_MTRR_FIX_64K, MSR_MTRR_FIX_64K, mtrr_fixed_read, mtrr_fixed_write},
    {MSR_MTRR_FIX_16K_0, MSR_MTRR_FIX_16K_1, mtrr_fixed_read, mtrr_fixed_write},
    {MSR_MTRR_FIX_4K_0, MSR_MTRR_FIX_4K_0 + 7, mtrr_fixed_read, mtrr_fixed_write},
    {MSR_MTRR_DEF_TYPE, MSR_MTRR_DEF_TYPE, mtrr_def_read, mtrr_def_write},
    {MSR_TSC_DEADLINE, MSR_TSC_DEADLINE, apic_read, apic_deadline_write},
    {MSR_X2APIC, MSR_X2APIC_ICR - 1, apic_read, apic_write},
    {MSR_X2APIC_ICR, MSR_X2APIC_ICR, apic_read, apic_icr_write},
    {MSR_X2APIC_ICR + 1, MSR_X2APIC + 0xff, apic_read, apic_write},
    {MSR_XSS, MSR_XSS, read_zero, xss_write},
    {MSR_EFER, MSR_EFER, efer_read, efer_write},
    {MSR_STAR, MSR_SFMASK, no_read, switched_write},
    {MSR_TSC_AUX, MSR_TSC_AUX, no_read, switched_write},
};

static const struct msr_entry *find(uint32_t msr)
{
    size_t low = 1, high = ARRAY_SIZE(msr_table);

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (msr > msr_table[mid].last)
            low = mid + 1;
        else
            high = mid;
    }
    return low < ARRAY_SIZE(msr_table) && msr >= msr_table[low].first ? &msr_table[low]
                                                                      : &msr_table[0];
}

/* What nearly all exits are about is found by one look: where in the table the entry is. */
#define QUICK_MSRS 0x900u

static uint16_t quick_msrs[QUICK_MSRS];

void msr_init_tables(void)
{
    for (uint32_t msr = 0; msr < QUICK_MSRS; msr++)
        quick_msrs[msr] = (uint16_t)((uintptr_t)find(msr) - (uintptr_t)msr_table);
}

static const struct msr_entry *find_quick(uint32_t msr)
{
    return (const void *)((uintptr_t)msr_table + quick_msrs[msr]);
}

static uint64_t given(const struct vmx_vcpu *v)
{
    return (uint32_t)v->regs[REG_RAX] | v->regs[REG_RDX] << 32;
}

enum vmx_quick msr_read_quick(struct vmx_vcpu *v)
{
    uint32_t msr = (uint32_t)v->regs[REG_RCX];

    return unlikely(msr >= QUICK_MSRS) ? VMX_QUICK_NOT : find_quick(msr)->read(v, msr);
}

enum vmx_quick msr_write_quick(struct vmx_vcpu *v)
{
    uint32_t msr = (uint32_t)v->regs[REG_RCX];

    return unlikely(msr >= QUICK_MSRS) ? VMX_QUICK_NOT : find_quick(msr)->write(v, msr, given(v));
}

void msr_read_exit(struct vmx_vcpu *v)
{
    uint32_t msr = (uint32_t)v->regs[REG_RCX];

    if (find(msr)->read(v, msr) == VMX_QUICK_SKIP)
        vmx_skip(v);
    else
        vmx_inject_gp(v);
}

void msr_write_exit(struct vmx_vcpu *v)
{
    uint32_t msr = (uint32_t)v->regs[REG_RCX];

    switch (find(msr)->write(v, msr, given(v))) {
    case VMX_QUICK_SKIP:
        vmx_skip(v);
        break;
    case VMX_QUICK_NOT:
        vmx_inject_gp(v);
        break;
    case VMX_QUICK_DONE:
        break;
    }
}

/* ------------------------------------------------------------------ the bitmap */

#define BITMAP_HIGH_FIRST 0xc0000000u
#define BITMAP_RANGE      0x2000u
#define BITMAP_WRITES     (2 * BITMAP_RANGE) /* the write half's first bit */

void msr_bitmap_set(struct vmx_vcpu *v, uint32_t msr, bool read_exits, bool write_exits)
{
    uint32_t bit = msr >= BITMAP_HIGH_FIRST ? BITMAP_RANGE + (msr - BITMAP_HIGH_FIRST) : msr;
    uint64_t *read = &v->msr_bitmap[bit / 64];
    uint64_t *write = &v->msr_bitmap[(BITMAP_WRITES + bit) / 64];
    uint64_t mask = BIT(bit % 64);

    *read = read_exits ? *read | mask : *read & ~mask;
    *write = write_exits ? *write | mask : *write & ~mask;
}

/* What VM entry and exit switch is the guest's to use. */
static const uint32_t open_msrs[] = {
    MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_PAT, MSR_FS_BASE, MSR_GS_BASE,
};

void msr_init(struct vmx_vcpu *v)
{
    memset(v->msr_bitmap, 0xff, PAGE_SIZE);
    for (size_t i = 0; i < ARRAY_SIZE(open_msrs); i++)
        msr_bitmap_set(v, open_msrs[i], false, false);
    switch_init_msrs(v);
    /* The CPU applies the TSC offset and shows the guest's own EFER. */
    msr_bitmap_set(v, MSR_TSC, false, true);
    msr_bitmap_set(v, MSR_EFER, false, true);
}

#define PAT_RESET 0x0007040600070406ull

void msr_reset(struct vmx_vcpu *v, bool init)
{
    vmwrite(VMCS_GUEST_SYSENTER_CS, 0);
    vmwrite(VMCS_GUEST_SYSENTER_ESP, 0);
    vmwrite(VMCS_GUEST_SYSENTER_EIP, 0);
    vmwrite(VMCS_GUEST_DEBUGCTL, 0);
    v->misc_enable = MISC_ENABLE_VALUE;
    if (init)
        return;
    vmwrite(VMCS_GUEST_PAT, PAT_RESET);
    switch_reset_msrs(v);
    v->mcg_status = 0;
    v->mtrr_def_type = MTRR_TYPE_UC;
    memset(v->mtrr_fixed, 0, sizeof(v->mtrr_fixed));
    memset(v->mtrr_base, 0, sizeof(v->mtrr_base));
    memset(v->mtrr_mask, 0, sizeof(v->mtrr_mask));
}
