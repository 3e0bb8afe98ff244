/*
 * What CPUID tells a guest: the machine's own answers, less what Tithe does not offer, plus what
 * it adds. Made once per VM; an exit looks its leaf up. Source: SDM vol. 2 CPUID.
 */
#include "lib/assert.h"
#include "lib/string.h"
#include "machine/cpu.h"
#include "machine/frame.h"
#include "vmx/caps.h"
#include "vmx/internal.h"
#include "vmx/vmcs.h"

#define MAX_BASIC     0x16u
#define HYPERVISOR    0x40000000u
#define EXTENDED      0x80000000u
#define MAX_EXTENDED  0x80000008u
#define MAX_SUBLEAVES 64

struct cpuid_table {
    struct cpuid_regs basic[MAX_BASIC + 1];
    struct cpuid_regs extended[MAX_EXTENDED - EXTENDED + 1];
    struct cpuid_regs xsave[MAX_SUBLEAVES]; /* leaf 0Dh */
    struct cpuid_regs cache[8];             /* leaf 4 */
    unsigned nr_cache;
    uint32_t max_basic, max_extended;
    uint64_t xcr0_allowed, cr4_allowed, efer_allowed;
    unsigned phys_bits;
};

/* Leaf 1, ECX and EDX: what a guest may have if the machine has it. */
#define F1_ECX_OFFERED                                                                       \
    (BIT(0) /* SSE3 */ | BIT(1) /* PCLMULQDQ */ | BIT(9) /* SSSE3 */ | BIT(12) /* FMA */ |   \
     BIT(13) /* CX16 */ | BIT(17) /* PCID */ | BIT(19) /* SSE4.1 */ | BIT(20) /* SSE4.2 */ | \
     BIT(22) /* MOVBE */ | BIT(23) /* POPCNT */ | BIT(25) /* AES */ | BIT(26) /* XSAVE */ |  \
     BIT(28) /* AVX */ | BIT(29) /* F16C */ | BIT(30) /* RDRAND */)
#define F1_ECX_ADDED \
    (BIT(21) /* x2APIC */ | BIT(24) /* TSC deadline */ | BIT(31) /* hypervisor \
                                                                                   */)
#define F1_ECX_OSXSAVE BIT(27)
#define F1_EDX_OFFERED                                                                             \
    (BIT(0) /* FPU */ | BIT(1) /* VME */ | BIT(2) /* DE */ | BIT(3) /* PSE */ | BIT(4) /* TSC */ | \
     BIT(5) /* MSR */ | BIT(6) /* PAE */ | BIT(8) /* CX8 */ | BIT(9) /* APIC */ |                  \
     BIT(11) /* SEP */ | BIT(13) /* PGE */ | BIT(15) /* CMOV */ | BIT(16) /* PAT */ |              \
     BIT(17) /* PSE-36 */ | BIT(19) /* CLFLUSH */ | BIT(23) /* MMX */ | BIT(24) /* FXSR */ |       \
     BIT(25) /* SSE */ | BIT(26) /* SSE2 */ | BIT(27) /* self snoop */)
#define F1_EDX_ADDED (BIT(7) /* MCE */ | BIT(12) /* MTRR */ | BIT(14) /* MCA */)
#define F1_EDX_HTT   BIT(28)

/* Leaf 7: no SGX, TSX, MPX, PT, CET, WAITPKG; no speculation MSRs. */
#define F7_EBX_OFFERED                                                                           \
    (BIT(0) /* FSGSBASE */ | BIT(1) /* TSC_ADJUST */ | BIT(3) /* BMI1 */ | BIT(5) /* AVX2 */ |   \
     BIT(6) /* FDP only on exception */ | BIT(7) /* SMEP */ | BIT(8) /* BMI2 */ |                \
     BIT(9) /* ERMS */ | BIT(10) /* INVPCID */ | BIT(13) /* no FCS/FDS */ |                      \
     BIT(16) /* AVX512F */ | BIT(17) /* AVX512DQ */ | BIT(18) /* RDSEED */ | BIT(19) /* ADX */ | \
     BIT(20) /* SMAP */ | BIT(21) /* AVX512-IFMA */ | BIT(23) /* CLFLUSHOPT */ |                 \
     BIT(24) /* CLWB */ | BIT(28) /* AVX512CD */ | BIT(29) /* SHA */ | BIT(30) /* AVX512BW */ |  \
     BIT(31) /* AVX512VL */)
#define F7_EBX_ADDED BIT(1)
#define F7_ECX_OFFERED                                                                             \
    (BIT(1) /* AVX512-VBMI */ | BIT(2) /* UMIP */ | BIT(3) /* PKU */ | BIT(6) /* AVX512-VBMI2 */ | \
     BIT(8) /* GFNI */ | BIT(9) /* VAES */ | BIT(10) /* VPCLMULQDQ */ | BIT(11) /* VNNI */ |       \
     BIT(12) /* BITALG */ | BIT(14) /* VPOPCNTDQ */ | BIT(22) /* RDPID */)
#define F7_ECX_OSPKE BIT(4)
#define F7_EDX_OFFERED                                                             \
    (BIT(2) /* 4VNNIW */ | BIT(3) /* 4FMAPS */ | BIT(4) /* fast short REP MOV */ | \
     BIT(8) /* VP2INTERSECT */)

#define XCR0_OFFERED (0x7ull | 0xe0ull | BIT(9) /* PKRU */)

/* 80000001h. */
#define X1_ECX_OFFERED \
    (BIT(0) /* LAHF in long mode */ | BIT(5) /* LZCNT */ | BIT(8) /* PREFETCHW */)
#define X1_EDX_SYSCALL BIT(11)
#define X1_EDX_NX      BIT(20)
#define X1_EDX_1G      BIT(26)
#define X1_EDX_RDTSCP  BIT(27)
#define X1_EDX_LM      BIT(29)

static void leaf_1(struct cpuid_table *t, const struct vmx_vm *vm)
{
    struct cpuid_regs *r = &t->basic[1];

    r->ebx = (r->ebx & 0xff00) | (vm->nr_vcpus & 0xff) << 16;
    r->ecx = (r->ecx & F1_ECX_OFFERED) | F1_ECX_ADDED;
    r->edx = (r->edx & F1_EDX_OFFERED) | F1_EDX_ADDED | (vm->nr_vcpus > 1 ? F1_EDX_HTT : 0);
}

static void leaf_7(struct cpuid_table *t)
{
    struct cpuid_regs *r = &t->basic[7];

    r->eax = 0; /* no further subleaves */
    r->ebx = (r->ebx & F7_EBX_OFFERED) | F7_EBX_ADDED;
    r->ecx &= F7_ECX_OFFERED;
    r->edx &= F7_EDX_OFFERED;
    if (!vmx_has_proc2(PROC2_INVPCID))
        r->ebx &= ~(uint32_t)BIT(10);
    if (!vmx_has_proc2(PROC2_RDTSCP))
        r->ecx &= ~(uint32_t)BIT(22);
    if (!(t->xcr0_allowed & BIT(9)))
        r->ecx &= ~(uint32_t)BIT(3);
    if (!(t->xcr0_allowed & BIT(7))) /* all of AVX-512 */
        r->ebx &= ~(uint32_t)(BIT(16) | BIT(17) | BIT(21) | BIT(28) | BIT(30) | BIT(31));
}

/* Cores of one package, one thread each: the topology leaves must agree with leaf 1. */
static void topology(struct cpuid_table *t, const struct vmx_vm *vm)
{
    t->nr_cache = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(t->cache); i++) {
        struct cpuid_regs r = t->max_basic >= 4 ? cpuid(4, i) : (struct cpuid_regs){0};

        if ((r.eax & 0x1f) == 0)
            break;
        /* No cache is shared between vCPUs, as far as the guest can tell. */
        r.eax = (r.eax & 0x3fff) | (vm->nr_vcpus - 1) << 26;
        t->cache[t->nr_cache++] = r;
    }
}

static unsigned bits_for(unsigned count)
{
    unsigned bits = 0;

    while ((1u << bits) < count)
        bits++;
    return bits;
}

/* Leaf 0Bh: level 0 is threads (one a core), level 1 cores. EDX is the x2APIC ID. */
static struct cpuid_regs leaf_b(const struct vmx_vcpu *v, uint32_t subleaf)
{
    const struct cpuid_regs levels[] = {
        {0, 1, 0x100, v->index},
        {bits_for(v->vm->nr_vcpus), v->vm->nr_vcpus, 0x201, v->index},
    };

    if (subleaf < ARRAY_SIZE(levels))
        return levels[subleaf];
    return (struct cpuid_regs){.ecx = subleaf & 0xff, .edx = v->index};
}

/*
 * Leaf 0Dh is computed from the components' own sizes, so that it is right for the guest's XCR0
 * whatever the CPU has loaded (and where an emulator's sum is wrong).
 */
static void leaf_d(struct cpuid_table *t)
{
    uint64_t machine;

    memset(t->xsave, 0, sizeof(t->xsave));
    if (!(t->basic[1].ecx & BIT(26)) || t->max_basic < 0xd)
        return;
    for (unsigned i = 0; i < MAX_SUBLEAVES; i++)
        t->xsave[i] = cpuid(0xd, i);
    machine = t->xsave[0].eax | (uint64_t)t->xsave[0].edx << 32;
    t->xcr0_allowed = machine & XCR0_OFFERED;
    if ((t->xcr0_allowed & 0xe0) != 0xe0)
        t->xcr0_allowed &= ~0xe0ull;
    for (unsigned i = 2; i < MAX_SUBLEAVES; i++)
        if (!(t->xcr0_allowed & BIT(i)))
            t->xsave[i] = (struct cpuid_regs){0};
    t->xsave[0].eax = (uint32_t)t->xcr0_allowed;
    t->xsave[0].edx = (uint32_t)(t->xcr0_allowed >> 32);
    /* Subleaf 1: XSAVEOPT, XSAVEC, XGETBV 1, XSAVES; no supervisor state. */
    t->xsave[1].eax &= vmx_has_proc2(PROC2_XSAVES) ? 0xf : 0x7;
    t->xsave[1].ecx = t->xsave[1].edx = 0;
}

#define XSAVE_HEADER_END 576u

static uint32_t xsave_size(const struct cpuid_table *t, uint64_t components, bool compacted)
{
    uint32_t size = XSAVE_HEADER_END;

    for (unsigned i = 2; i < MAX_SUBLEAVES; i++) {
        const struct cpuid_regs *c = &t->xsave[i];

        if (!(components & BIT(i)))
            continue;
        if (!compacted)
            size = MAX(size, c->ebx + c->eax);
        else
            size = (c->ecx & BIT(1) ? ALIGN_UP(size, 64u) : size) + c->eax;
    }
    return size;
}

static struct cpuid_regs leaf_d_now(const struct vmx_vcpu *v, uint32_t subleaf)
{
    const struct cpuid_table *t = v->vm->cpuid;
    struct cpuid_regs r = {0};

    if (subleaf >= MAX_SUBLEAVES || t->xcr0_allowed == 0)
        return r;
    r = t->xsave[subleaf];
    if (subleaf == 0) {
        r.ebx = xsave_size(t, v->xcr0, false);
        r.ecx = xsave_size(t, t->xcr0_allowed, false);
    } else if (subleaf == 1) {
        r.ebx = r.eax & BIT(1) ? xsave_size(t, v->xcr0, true) : 0;
    }
    return r;
}

/* The TSC's frequency, told so that it is exact: TSC = crystal * EBX / EAX. */
static void leaf_time(struct cpuid_table *t, const struct vmx_vm *vm)
{
    uint32_t mhz = (uint32_t)((vm->tsc_hz + 500000) / 1000000);

    t->basic[0x15] =
        (struct cpuid_regs){1, 1u << vm->apic_shift, (uint32_t)(vm->tsc_hz >> vm->apic_shift), 0};
    t->basic[0x16] = (struct cpuid_regs){mhz, mhz, (uint32_t)(mhz >> vm->apic_shift), 0};
}

static void extended(struct cpuid_table *t)
{
    uint32_t last = MIN(cpuid(EXTENDED, 0).eax, MAX_EXTENDED);

    t->max_extended = last;
    for (uint32_t i = 0; EXTENDED + i <= last; i++)
        t->extended[i] = cpuid(EXTENDED + i, 0);
    t->extended[0].eax = last;
    t->extended[1].ecx &= X1_ECX_OFFERED;
    t->extended[1].edx &= X1_EDX_SYSCALL | X1_EDX_NX | X1_EDX_1G | X1_EDX_RDTSCP | X1_EDX_LM;
    /* SYSCALL shows only in 64-bit mode when the machine is asked there; it is there. */
    t->extended[1].edx |= X1_EDX_SYSCALL;
    if (!vmx_has_proc2(PROC2_RDTSCP))
        t->extended[1].edx &= ~(uint32_t)X1_EDX_RDTSCP;
    t->extended[7] = (struct cpuid_regs){.edx = BIT(8)}; /* invariant TSC */
    t->phys_bits = MIN(t->extended[8].eax & 0xff, 48u);
    t->extended[8] = (struct cpuid_regs){.eax = (t->extended[8].eax & 0xff00) | t->phys_bits};
}

/* The bits of CR4 that go with the features offered. */
static uint64_t cr4_for(const struct cpuid_table *t)
{
    static const struct {
        uint64_t cr4;
        uint8_t leaf;
        char reg; /* of CPUID: b, c or d */
        uint8_t bit;
    } needs[] = {
        {CR4_VME | CR4_PVI, 1, 'd', 1}, {CR4_TSD, 1, 'd', 4},      {CR4_DE, 1, 'd', 2},
        {CR4_PSE, 1, 'd', 3},           {CR4_PAE, 1, 'd', 6},      {CR4_MCE, 1, 'd', 7},
        {CR4_PGE, 1, 'd', 13},          {CR4_PCE, 1, 'd', 5},      {CR4_OSFXSR, 1, 'd', 24},
        {CR4_OSXMMEXCPT, 1, 'd', 25},   {CR4_UMIP, 7, 'c', 2},     {CR4_FSGSBASE, 7, 'b', 0},
        {CR4_PCIDE, 1, 'c', 17},        {CR4_OSXSAVE, 1, 'c', 26}, {CR4_SMEP, 7, 'b', 7},
        {CR4_SMAP, 7, 'b', 20},         {CR4_PKE, 7, 'c', 3},
    };
    uint64_t cr4 = 0;

    for (size_t i = 0; i < ARRAY_SIZE(needs); i++) {
        const struct cpuid_regs *r = &t->basic[needs[i].leaf];
        uint32_t word = needs[i].reg == 'b' ? r->ebx : needs[i].reg == 'c' ? r->ecx : r->edx;

        if (word & BIT(needs[i].bit))
            cr4 |= needs[i].cr4;
    }
    return cr4 & vmx_caps.cr4_fixed1;
}

/* "TitheTithe  ", and the highest leaf. */
static const struct cpuid_regs signature = {HYPERVISOR + 1, 0x68746954, 0x74695465, 0x20206568};

#define ACCOUNT_TOTAL  UINT32_MAX
#define ACCOUNT_FIELDS (UINT32_MAX - 1)

static struct cpuid_regs leaf_fields(void)
{
    struct vmcs_accesses counted = vmcs_counted();

    return (struct cpuid_regs){.eax = (uint32_t)counted.reads, .ebx = (uint32_t)counted.writes};
}

/*
 * Leaf 40000001h tells a vCPU what its own exits have cost so far, for benchmarks. Subleaf n: EAX
 * is the number of exits with basic reason n. Subleaf FFFFFFFFh: EDX:EAX all exits, ECX:EBX the
 * TSC ticks between exits and entries (0 unless accounting is on). Subleaf FFFFFFFEh: EAX VMREADs,
 * EBX VMWRITEs on all CPUs (0 but in the build that counts them).
 */
static struct cpuid_regs leaf_account(const struct vmx_vcpu *v, uint32_t subleaf)
{
    uint64_t total = 0;

    if (subleaf == ACCOUNT_FIELDS)
        return leaf_fields();
    if (subleaf != ACCOUNT_TOTAL)
        return (struct cpuid_regs){.eax =
                                       subleaf < EXIT_TABLE_SIZE ? (uint32_t)v->exits[subleaf] : 0};
    for (unsigned i = 0; i < EXIT_TABLE_SIZE; i++)
        total += v->exits[i];
    return (struct cpuid_regs){
        .eax = (uint32_t)total,
        .ebx = (uint32_t)v->host_ticks,
        .ecx = (uint32_t)(v->host_ticks >> 32),
        .edx = (uint32_t)(total >> 32),
    };
}

static struct cpuid_regs hypervisor_leaf(const struct vmx_vcpu *v, uint32_t leaf, uint32_t subleaf)
{
    if (leaf == HYPERVISOR)
        return signature;
    return leaf == HYPERVISOR + 1 ? leaf_account(v, subleaf) : (struct cpuid_regs){0};
}

struct cpuid_table *cpuid_table_create(const struct vmx_vm *vm)
{
    struct cpuid_table *t = heap_alloc(sizeof(*t));

    if (t == NULL)
        return NULL;
    t->max_basic = MIN(cpuid(0, 0).eax, MAX_BASIC);
    for (uint32_t i = 0; i <= t->max_basic; i++)
        t->basic[i] = cpuid(i, 0);
    leaf_1(t, vm);
    leaf_d(t);
    leaf_7(t);
    topology(t, vm);
    extended(t);
    /* Nothing to tell of MONITOR, monitoring, cache QoS, SGX, tracing; leaf 6: APIC always runs. */
    for (uint32_t i = 5; i <= MAX_BASIC; i++)
        if (i != 7 && i != 0xb && i != 0xd)
            t->basic[i] = (struct cpuid_regs){0};
    t->basic[6].eax = BIT(2);
    leaf_time(t, vm);
    t->max_basic = MAX_BASIC;
    t->basic[0].eax = MAX_BASIC;
    t->cr4_allowed = cr4_for(t);
    t->efer_allowed = EFER_SCE | EFER_LME | (t->extended[1].edx & X1_EDX_NX ? EFER_NXE : 0);
    return t;
}

void cpuid_table_destroy(struct cpuid_table *t)
{
    heap_free(t);
}

uint64_t cpuid_cr4_allowed(const struct vmx_vm *vm)
{
    return vm->cpuid->cr4_allowed;
}

uint64_t cpuid_xcr0_allowed(const struct vmx_vm *vm)
{
    return vm->cpuid->xcr0_allowed;
}

uint64_t cpuid_efer_allowed(const struct vmx_vm *vm)
{
    return vm->cpuid->efer_allowed;
}

unsigned cpuid_phys_bits(const struct vmx_vm *vm)
{
    return vm->cpuid->phys_bits;
}

bool cpuid_has_rdtscp(const struct vmx_vm *vm)
{
    return vm->cpuid->extended[1].edx & X1_EDX_RDTSCP;
}

bool cpuid_has_invpcid(const struct vmx_vm *vm)
{
    return vm->cpuid->basic[7].ebx & BIT(10);
}

static struct cpuid_regs basic_leaf(const struct vmx_vcpu *v, uint64_t cr4, uint32_t leaf,
                                    uint32_t subleaf)
{
    const struct cpuid_table *t = v->vm->cpuid;
    struct cpuid_regs r = t->basic[leaf];

    switch (leaf) {
    case 1:
        r.ebx |= v->index << 24;
        if (cr4 & CR4_OSXSAVE)
            r.ecx |= F1_ECX_OSXSAVE;
        return r;
    case 4:
        return subleaf < t->nr_cache ? t->cache[subleaf] : (struct cpuid_regs){0};
    case 7:
        if (subleaf != 0)
            return (struct cpuid_regs){0};
        if (cr4 & CR4_PKE)
            r.ecx |= F7_ECX_OSPKE;
        return r;
    case 0xb:
        return leaf_b(v, subleaf);
    case 0xd:
        return leaf_d_now(v, subleaf);
    default:
        return r;
    }
}

static struct cpuid_regs lookup(const struct vmx_vcpu *v, uint32_t leaf, uint32_t subleaf)
{
    const struct cpuid_table *t = v->vm->cpuid;

    if (leaf <= MAX_BASIC)
        return basic_leaf(v, vmx_cr4(v), leaf, subleaf);
    if (leaf >= EXTENDED && leaf <= t->max_extended)
        return t->extended[leaf - EXTENDED];
    if (leaf >> 8 == HYPERVISOR >> 8)
        return hypervisor_leaf(v, leaf, subleaf);
    /* Beyond the end an Intel CPU answers as its highest basic leaf. */
    return basic_leaf(v, vmx_cr4(v), MAX_BASIC, subleaf);
}

_Static_assert(MAX_BASIC + 1 == VMX_CPUID_BASIC, "the exit path's table");
_Static_assert(MAX_EXTENDED - EXTENDED + 1 == VMX_CPUID_EXTENDED, "the exit path's table");

/* Leaves whose answer depends on ECX: the exit path knows only subleaf 0 of them. */
static bool has_subleaves(uint32_t leaf)
{
    return leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd;
}

void cpuid_update_leaf(struct vmx_vcpu *v, uint64_t cr4, uint32_t leaf)
{
    v->cpuid_leaves[leaf] = basic_leaf(v, cr4, leaf, 0);
}

void cpuid_update(struct vmx_vcpu *v)
{
    const struct cpuid_table *t = v->vm->cpuid;
    uint64_t cr4 = vmx_cr4(v);

    for (uint32_t i = 0; i < VMX_CPUID_BASIC; i++) {
        cpuid_update_leaf(v, cr4, i);
        v->cpuid_subleaf_masks[i] = has_subleaves(i) ? UINT32_MAX : 0;
    }
    for (uint32_t i = 0; i < VMX_CPUID_EXTENDED; i++)
        v->cpuid_leaves[VMX_CPUID_BASIC + i] =
            EXTENDED + i <= t->max_extended ? t->extended[i] : v->cpuid_leaves[MAX_BASIC];
}

void cpuid_exit(struct vmx_vcpu *v)
{
    struct cpuid_regs r = lookup(v, (uint32_t)v->regs[REG_RAX], (uint32_t)v->regs[REG_RCX]);

    v->regs[REG_RAX] = r.eax;
    v->regs[REG_RBX] = r.ebx;
    v->regs[REG_RCX] = r.ecx;
    v->regs[REG_RDX] = r.edx;
    vmx_skip(v);
}
