/* Control registers, XCR0, TPR: what can be set, what gives #GP, and what the bits do. */
#include "lib/guest.h"

#define XCR0_X87    BIT(0)
#define XCR0_SSE    BIT(1)
#define XCR0_AVX    BIT(2)
#define XCR0_AVX512 (7ul << 5)

static unsigned cr0_try(uint64_t v)
{
    struct trap t;

    TRAP_CATCH(t, write_cr0(v));
    return t.vector;
}

static unsigned cr3_try(uint64_t v)
{
    struct trap t;

    TRAP_CATCH(t, write_cr3(v));
    return t.vector;
}

static unsigned cr4_try(uint64_t v)
{
    struct trap t;

    TRAP_CATCH(t, write_cr4(v));
    return t.vector;
}

static unsigned xsetbv_try(uint32_t index, uint64_t v)
{
    struct trap t;

    TRAP_CATCH(t, xsetbv(index, v));
    return t.vector;
}

static bool cr0_holds(uint64_t v)
{
    write_cr0(v);
    return read_cr0() == v;
}

static void check_cr0(void)
{
    uint64_t cr0 = read_cr0();

    CHECK("cr0-pe-pg", (cr0 & (CR0_PE | CR0_PG | CR0_ET)) == (CR0_PE | CR0_PG | CR0_ET));
    CHECK("cr0-wp-clear", cr0_holds(cr0 & ~CR0_WP));
    CHECK("cr0-am-set", cr0_holds(cr0 | CR0_AM));
    CHECK("cr0-ne-clear", cr0_holds(cr0 & ~CR0_NE));
    CHECK("cr0-cd-set", cr0_holds(cr0 | CR0_CD));
    CHECK("cr0-cd-nw-set", cr0_holds(cr0 | CR0_CD | CR0_NW));
    CHECK("cr0-restored", cr0_holds(cr0));
    CHECK_EQ("cr0-nw-without-cd", cr0_try(cr0 | CR0_NW), VEC_GP);
    CHECK_EQ("cr0-pg-without-pe", cr0_try(cr0 & ~CR0_PE), VEC_GP);
    CHECK_EQ("cr0-no-pg-in-64-bit-mode", cr0_try(cr0 & ~CR0_PG), VEC_GP);
    CHECK_EQ("cr0-high-half", cr0_try(cr0 | BIT(32)), VEC_GP);
    CHECK_EQ("cr0-reserved-ignored", cr0_try(cr0 | BIT(10)), TRAP_NONE);
    CHECK_EQ("cr0-et-stays", cr0_try(cr0 & ~CR0_ET), TRAP_NONE);
    CHECK_EQ("cr0-after-bad-writes", read_cr0(), cr0);
}

/* TS, EM and MP by what they do to x87, SSE and WAIT. */
static void check_fpu_bits(void)
{
    uint64_t cr0 = read_cr0();
    struct trap t;

    write_cr0(cr0 | CR0_TS);
    TRAP_CATCH(t, asm volatile("fninit"));
    CHECK_TRAP("ts-x87", t, VEC_NM, 0);
    TRAP_CATCH(t, asm volatile("xorps %xmm0, %xmm0"));
    CHECK_TRAP("ts-sse", t, VEC_NM, 0);
    TRAP_CATCH(t, asm volatile("fwait"));
    CHECK_TRAP("ts-mp-wait", t, VEC_NM, 0);
    write_cr0((cr0 | CR0_TS) & ~CR0_MP);
    TRAP_CATCH(t, asm volatile("fwait"));
    CHECK_NO_TRAP("ts-without-mp-wait", t);
    asm volatile("clts");
    CHECK_EQ("clts", read_cr0(), cr0 & ~CR0_MP);
    write_cr0(cr0 | CR0_EM);
    TRAP_CATCH(t, asm volatile("fninit"));
    CHECK_TRAP("em-x87", t, VEC_NM, 0);
    TRAP_CATCH(t, asm volatile("xorps %xmm0, %xmm0"));
    CHECK_TRAP("em-sse", t, VEC_UD, 0);
    write_cr0(cr0);
    TRAP_CATCH(t, asm volatile("fninit; fwait; xorps %xmm0, %xmm0"));
    CHECK_NO_TRAP("fpu-usable", t);
}

static void check_msw(void)
{
    uint64_t cr0 = read_cr0(), msw;
    static uint16_t memory_msw;

    asm volatile("smsw %0" : "=r"(msw));
    CHECK_EQ("smsw-register", msw, cr0);
    asm volatile("smsw %0" : "=m"(memory_msw));
    CHECK_EQ("smsw-memory", memory_msw, cr0 & 0xffff);
    asm volatile("lmsw %w0" : : "r"((cr0 | CR0_TS) & 0xf));
    CHECK_EQ("lmsw-sets-ts", read_cr0(), cr0 | CR0_TS);
    memory_msw = CR0_MP;
    asm volatile("lmsw %0" : : "m"(memory_msw));
    CHECK_EQ("lmsw-cannot-clear-pe", read_cr0(), cr0);
}

static void check_cr3(void)
{
    uint64_t cr3 = read_cr3();

    write_cr3(cr3 | PTE_PWT | PTE_PCD);
    CHECK_EQ("cr3-pwt-pcd", read_cr3(), cr3 | PTE_PWT | PTE_PCD);
    CHECK_EQ("cr3-beyond-width", cr3_try(cr3 | BIT(52)), VEC_GP);
    CHECK_EQ("cr3-no-flush-without-pcid", cr3_try(cr3 | BIT(63)), VEC_GP);
    write_cr3(cr3);
    CHECK_EQ("cr3-restored", read_cr3(), cr3);
}

/* CR4 bits which exist exactly where CPUID offers the feature. */
static const struct cr4_feature {
    const char *name;
    uint64_t bit;
    uint32_t leaf;
    char reg; /* of the leaf: 'b', 'c', 'd' */
    unsigned feature;
} cr4_features[] = {
    {"cr4-vme", CR4_VME, 1, 'd', 1},
    {"cr4-tsd", CR4_TSD, 1, 'd', 4},
    {"cr4-de", CR4_DE, 1, 'd', 2},
    {"cr4-pse", CR4_PSE, 1, 'd', 3},
    {"cr4-mce", CR4_MCE, 1, 'd', 7},
    {"cr4-pge", CR4_PGE, 1, 'd', 13},
    {"cr4-pce", CR4_PCE, 1, 'd', 0},
    {"cr4-umip", CR4_UMIP, 7, 'c', 2},
    {"cr4-vmxe", CR4_VMXE, 1, 'c', 5},
    {"cr4-smxe", BIT(14), 1, 'c', 6},
    {"cr4-fsgsbase", CR4_FSGSBASE, 7, 'b', 0},
    {"cr4-pcide", CR4_PCIDE, 1, 'c', 17},
    {"cr4-osxsave", CR4_OSXSAVE, 1, 'c', 26},
    {"cr4-smep", CR4_SMEP, 7, 'b', 7},
    {"cr4-smap", CR4_SMAP, 7, 'b', 20},
    {"cr4-pke", BIT(22), 7, 'c', 3},
    {"cr4-la57", BIT(12), 7, 'c', 16},
};

static bool offered(const struct cr4_feature *f)
{
    struct cpuid_regs r = cpuid(f->leaf, 0);
    uint32_t word = f->reg == 'b' ? r.ebx : f->reg == 'c' ? r.ecx : r.edx;

    return word >> f->feature & 1;
}

static void check_cr4_features(void)
{
    uint64_t cr4 = read_cr4();

    for (unsigned i = 0; i < ARRAY_SIZE(cr4_features); i++) {
        const struct cr4_feature *f = &cr4_features[i];
        bool in_long_mode_fixed = f->bit == BIT(12); /* LA57 can't change while paging is on */
        unsigned vector = cr4_try(cr4 | f->bit);
        bool held = read_cr4() == (cr4 | f->bit);

        check_info(f->name, offered(f));
        if (offered(f) && !in_long_mode_fixed)
            CHECK(f->name, vector == TRAP_NONE && held);
        else
            CHECK(f->name, vector == VEC_GP && read_cr4() == cr4);
        write_cr4(cr4);
    }
}

static void check_cr4(void)
{
    uint64_t cr4 = read_cr4(), cr3 = read_cr3();
    struct trap t;

    CHECK_EQ("cr4-reserved-31", cr4_try(cr4 | BIT(31)), VEC_GP);
    CHECK_EQ("cr4-reserved-63", cr4_try(cr4 | BIT(63)), VEC_GP);
    CHECK_EQ("cr4-pae-in-long-mode", cr4_try(cr4 & ~CR4_PAE), VEC_GP);
    write_cr3(cr3 | PTE_PCD);
    CHECK_EQ("cr4-pcide-with-cr3-low-bits", cr4_try(cr4 | CR4_PCIDE), VEC_GP);
    write_cr3(cr3);
    TRAP_CATCH(t, asm volatile(".byte 0x0f, 0x20, 0xc8" : : : "rax")); /* mov eax, cr1 */
    CHECK_TRAP("cr1", t, VEC_UD, 0);
    TRAP_CATCH(t, asm volatile(".byte 0x0f, 0x22, 0xe8" : : "a"(0))); /* mov cr5, eax */
    CHECK_TRAP("cr5", t, VEC_UD, 0);
    CHECK_EQ("cr4-restored", read_cr4(), cr4);
}

static void check_cr8(void)
{
    struct trap t;
    bool same = true;

    apic_init();
    for (uint64_t v = 0; v < 16; v++) {
        write_cr8(v);
        same = same && read_cr8() == v && apic_read(APIC_TPR) == v << 4;
    }
    CHECK("cr8-is-tpr", same);
    apic_write(APIC_TPR, 0x5a);
    CHECK_EQ("tpr-is-cr8", read_cr8(), 5);
    TRAP_CATCH(t, write_cr8(16));
    CHECK_TRAP("cr8-reserved", t, VEC_GP, 0);
    write_cr8(0);
}

static void check_xcr0(void)
{
    struct cpuid_regs r = cpuid(0xd, 0);
    uint64_t all = (uint64_t)r.edx << 32 | r.eax, cr4 = read_cr4();
    struct trap t;

    write_cr4(cr4 | CR4_OSXSAVE);
    CHECK_EQ("xsetbv-all-offered", xsetbv_try(0, all), TRAP_NONE);
    CHECK_EQ("xgetbv-all-offered", xgetbv(0), all);
    CHECK_EQ("xsetbv-x87-only", xsetbv_try(0, XCR0_X87), TRAP_NONE);
    CHECK_EQ("xsetbv-without-x87", xsetbv_try(0, XCR0_SSE), VEC_GP);
    CHECK_EQ("xsetbv-avx-without-sse", xsetbv_try(0, XCR0_X87 | XCR0_AVX), VEC_GP);
    CHECK_EQ("xsetbv-avx512-in-part", xsetbv_try(0, 7 | BIT(5)), VEC_GP);
    CHECK_EQ("xsetbv-avx512-without-avx", xsetbv_try(0, 3 | XCR0_AVX512), VEC_GP);
    CHECK_EQ("xsetbv-not-offered", xsetbv_try(0, all | BIT(62)), VEC_GP);
    CHECK_EQ("xsetbv-index-1", xsetbv_try(1, 1), VEC_GP);
    CHECK_EQ("xcr0-after-bad-writes", xgetbv(0), XCR0_X87);
    TRAP_CATCH(t, (void)xgetbv(7));
    CHECK_TRAP("xgetbv-index-7", t, VEC_GP, 0);
    xsetbv(0, 3);
    write_cr4(cr4 & ~CR4_OSXSAVE);
    CHECK_EQ("xsetbv-without-osxsave", xsetbv_try(0, 3), VEC_UD);
    TRAP_CATCH(t, (void)xgetbv(0));
    CHECK_TRAP("xgetbv-without-osxsave", t, VEC_UD, 0);
    write_cr4(cr4);
}

void guest_main(void)
{
    check_group(check_cr0);
    check_group(check_fpu_bits);
    check_group(check_msw);
    check_group(check_cr3);
    check_group(check_cr4_features);
    check_group(check_cr4);
    check_group(check_cr8);
    check_group(check_xcr0);
}
