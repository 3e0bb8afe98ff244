/* Model-specific registers: what can be written and read back, what must give #GP. */
#include "lib/guest.h"
#include "lib/format.h"

static const struct base_msr {
    const char *name;
    uint32_t msr;
} base_msrs[] = {
    {"lstar", MSR_LSTAR},
    {"cstar", MSR_CSTAR},
    {"kernel-gs-base", MSR_KERNEL_GS_BASE},
    {"fs-base", MSR_FS_BASE},
    {"gs-base", MSR_GS_BASE},
    {"sysenter-esp", MSR_SYSENTER_ESP},
    {"sysenter-eip", MSR_SYSENTER_EIP},
};

static void report(const char *stem, const char *what, bool ok)
{
    char name[48];

    console_drain();
    format_text(name, sizeof(name), "%s-%s", stem, what);
    CHECK(name, ok);
}

static bool holds(uint32_t msr, uint64_t value)
{
    wrmsr(msr, value);
    return rdmsr(msr) == value;
}

/* Registers that hold a linear address: any canonical one, and no other. */
static void check_bases(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(base_msrs); i++) {
        const struct base_msr *b = &base_msrs[i];
        uint64_t old = rdmsr(b->msr);

        report(b->name, "low", holds(b->msr, 0x00007ffffffff000ul));
        report(b->name, "high", holds(b->msr, 0xffff800000000000ul));
        report(b->name, "non-canonical", wrmsr_safe(b->msr, NON_CANONICAL) == VEC_GP);
        report(b->name, "kept-after-gp", rdmsr(b->msr) == 0xffff800000000000ul);
        wrmsr(b->msr, old);
    }
}

static void check_efer(void)
{
    uint64_t efer = rdmsr(MSR_EFER);

    CHECK("efer-long-mode-active", (efer & (EFER_LME | EFER_LMA)) == (EFER_LME | EFER_LMA));
    CHECK("efer-sce-clear", holds(MSR_EFER, efer & ~EFER_SCE));
    CHECK("efer-sce-set", holds(MSR_EFER, efer | EFER_SCE));
    CHECK("efer-nxe-clear", holds(MSR_EFER, efer & ~EFER_NXE));
    CHECK("efer-nxe-set", holds(MSR_EFER, efer | EFER_NXE));
    CHECK_EQ("efer-reserved", wrmsr_safe(MSR_EFER, efer | BIT(1)), VEC_GP);
    CHECK_EQ("efer-reserved-high", wrmsr_safe(MSR_EFER, efer | BIT(63)), VEC_GP);
    CHECK_EQ("efer-lme-while-paging", wrmsr_safe(MSR_EFER, efer & ~EFER_LME), VEC_GP);
    CHECK_EQ("efer-lma-ignored", wrmsr_safe(MSR_EFER, efer & ~EFER_LMA), TRAP_NONE);
    CHECK_EQ("efer-in-the-end", rdmsr(MSR_EFER), efer);
}

static void check_star(void)
{
    uint64_t fmask = rdmsr(MSR_FMASK);

    CHECK("star", holds(MSR_STAR, 0x0013000812345678ul));
    CHECK("fmask", holds(MSR_FMASK, 0x47700));
    CHECK_EQ("fmask-reserved-high", wrmsr_safe(MSR_FMASK, BIT(32)), VEC_GP);
    wrmsr(MSR_FMASK, fmask);
    CHECK("sysenter-cs", holds(MSR_SYSENTER_CS, SEL_CODE64));
}

/* Base registers really are the segments' bases, and SWAPGS swaps two of them. */
static void check_segment_bases(void)
{
    static uint64_t cells[2] = {0x1111, 0x2222};
    uint64_t fs, gs, swapped;

    wrmsr(MSR_FS_BASE, (uint64_t)&cells[0]);
    wrmsr(MSR_GS_BASE, (uint64_t)&cells[1]);
    wrmsr(MSR_KERNEL_GS_BASE, (uint64_t)&cells[0]);
    asm volatile("mov %%fs:0, %0; mov %%gs:0, %1" : "=r"(fs), "=r"(gs));
    CHECK_EQ("fs-base-used", fs, 0x1111);
    CHECK_EQ("gs-base-used", gs, 0x2222);
    asm volatile("swapgs; mov %%gs:0, %0" : "=r"(swapped));
    CHECK_EQ("swapgs-used", swapped, 0x1111);
    CHECK_EQ("swapgs-base", rdmsr(MSR_GS_BASE), (uint64_t)&cells[0]);
    CHECK_EQ("swapgs-kernel-base", rdmsr(MSR_KERNEL_GS_BASE), (uint64_t)&cells[1]);
    asm volatile("mov %w0, %%fs; mov %w0, %%gs" : : "r"(SEL_DATA));
    CHECK_EQ("selector-load-clears-base", rdmsr(MSR_FS_BASE), 0);
}

static void check_pat(void)
{
    uint64_t pat = rdmsr(MSR_PAT);

    CHECK("pat-all-types", holds(MSR_PAT, 0x0007040501060000ul));
    CHECK_EQ("pat-type-2", wrmsr_safe(MSR_PAT, 0x02), VEC_GP);
    CHECK_EQ("pat-type-3", wrmsr_safe(MSR_PAT, 0x03ul << 56), VEC_GP);
    CHECK_EQ("pat-type-8", wrmsr_safe(MSR_PAT, 0x08ul << 24), VEC_GP);
    CHECK("pat-restore", holds(MSR_PAT, pat));
}

static void check_mtrr(void)
{
    uint64_t cap = rdmsr(MSR_MTRRCAP), def = rdmsr(MSR_MTRR_DEF_TYPE), base, fixed;

    check_info("mtrr-variable", cap & 0xff);
    CHECK("mtrr-some-variable", (cap & 0xff) >= 2 && (cap & 0xff) <= 32);
    CHECK_EQ("mtrr-cap-read-only", wrmsr_safe(MSR_MTRRCAP, cap), VEC_GP);
    base = rdmsr(MSR_MTRR_PHYSBASE0);
    CHECK("mtrr-base", holds(MSR_MTRR_PHYSBASE0, 0xe0000001));
    CHECK("mtrr-mask", holds(MSR_MTRR_PHYSBASE0 + 3, 0xff0000000));
    CHECK_EQ("mtrr-base-type-2", wrmsr_safe(MSR_MTRR_PHYSBASE0, 0xe0000002), VEC_GP);
    CHECK_EQ("mtrr-base-reserved", wrmsr_safe(MSR_MTRR_PHYSBASE0, 0xe0000100), VEC_GP);
    CHECK_EQ("mtrr-mask-beyond-width", wrmsr_safe(MSR_MTRR_PHYSBASE0 + 3, BIT(60)), VEC_GP);
    wrmsr(MSR_MTRR_PHYSBASE0, base);
    wrmsr(MSR_MTRR_PHYSBASE0 + 3, 0);
    fixed = rdmsr(MSR_MTRR_FIX64K);
    CHECK("mtrr-fixed", holds(MSR_MTRR_FIX64K, 0x0605040100060504ul));
    CHECK_EQ("mtrr-fixed-type-3", wrmsr_safe(MSR_MTRR_FIX64K, 3), VEC_GP);
    wrmsr(MSR_MTRR_FIX64K, fixed);
    CHECK("mtrr-def-type", holds(MSR_MTRR_DEF_TYPE, 0xc06));
    CHECK_EQ("mtrr-def-type-7", wrmsr_safe(MSR_MTRR_DEF_TYPE, 0xc07), VEC_GP);
    CHECK_EQ("mtrr-def-type-reserved", wrmsr_safe(MSR_MTRR_DEF_TYPE, 0xc06 | BIT(9)), VEC_GP);
    wrmsr(MSR_MTRR_DEF_TYPE, def);
}

static void check_tsc(void)
{
    uint64_t adjust, before;
    uint32_t aux;

    wrmsr(MSR_TSC, 0x123456789000ul);
    before = rdtsc();
    CHECK("tsc-write", before >= 0x123456789000ul && before < 0x123456789000ul + 1000000000);
    CHECK("tsc-rdmsr", rdmsr(MSR_TSC) >= before);
    if (!(cpuid(7, 0).ebx & BIT(1))) {
        check_skip("tsc-adjust", "no TSC_ADJUST");
    } else {
        adjust = rdmsr(MSR_TSC_ADJUST);
        CHECK("tsc-adjust", holds(MSR_TSC_ADJUST, adjust + 0x1000000000000ul));
        CHECK("tsc-adjust-moves-tsc", rdtsc() - before >= 0x1000000000000ul);
        wrmsr(MSR_TSC_ADJUST, adjust);
    }
    CHECK("tsc-aux", holds(MSR_TSC_AUX, 0xcafe1234));
    (void)rdtscp(&aux);
    CHECK_EQ("rdtscp-aux", aux, 0xcafe1234);
    CHECK_EQ("tsc-aux-reserved", wrmsr_safe(MSR_TSC_AUX, BIT(32)), VEC_GP);
}

static void check_apic_base(void)
{
    uint64_t base = rdmsr(MSR_APIC_BASE);

    CHECK_EQ("apic-base", base & ~0xffful, APIC_BASE);
    CHECK("apic-base-bsp-and-enabled", (base & BIT(8)) && (base & BIT(11)));
    CHECK_EQ("apic-base-reserved", wrmsr_safe(MSR_APIC_BASE, base | 1), VEC_GP);
    CHECK_EQ("apic-base-beyond-width", wrmsr_safe(MSR_APIC_BASE, base | BIT(60)), VEC_GP);
    CHECK_EQ("apic-base-same", wrmsr_safe(MSR_APIC_BASE, base), TRAP_NONE);
}

/* Not registers of any CPU: reserved for software, or nobody's. */
static void check_unknown(void)
{
    static const uint32_t unknown[] = {0x5,        0x2ee,      0x4fff,     0x40000080,
                                       0xbfffffff, 0xc0000fff, 0xc0002000, 0xffffffff};
    unsigned reads = 0, writes = 0;
    uint64_t v;

    for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
        reads += rdmsr_safe(unknown[i], &v) == VEC_GP;
        writes += wrmsr_safe(unknown[i], 0) == VEC_GP;
    }
    CHECK_EQ("unknown-reads-gp", reads, ARRAY_SIZE(unknown));
    CHECK_EQ("unknown-writes-gp", writes, ARRAY_SIZE(unknown));
    CHECK_EQ("x2apic-msr-in-xapic-mode", wrmsr_safe(MSR_X2APIC + 0x0b, 0), VEC_GP);
}

void guest_main(void)
{
    check_group(check_bases);
    check_group(check_efer);
    check_group(check_star);
    check_group(check_segment_bases);
    check_group(check_pat);
    check_group(check_mtrr);
    check_group(check_tsc);
    check_group(check_apic_base);
    check_group(check_unknown);
}
