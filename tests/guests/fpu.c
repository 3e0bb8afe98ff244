/* x87, SSE, AVX and AVX-512 state over thousands of exits; XSAVE and its kin; #MF and #XM. */
#include "lib/guest.h"

#define EXITS         2000
#define SLOT          64
#define XCR0_AVX      7ul
#define XCR0_AVX512   0xe7ul
#define MXCSR_DEFAULT 0x1f80u
#define MXCSR_CHANGED 0xffc0u /* flush to zero, round to zero, denormals are zero */
#define FCW_CHANGED   0x0c7fu
#define HEADER_XSTATE 512
#define HEADER_XCOMP  520
#define AREA_EXTENDED 576 /* where the first component is in the compact format */
#define COMPACT       BIT(63)

void fpu_load_sse(const void *slots);
void fpu_store_sse(void *slots);
void fpu_load_avx(const void *slots);
void fpu_store_avx(void *slots);
void fpu_load_avx512(const void *slots);
void fpu_store_avx512(void *slots);
void fpu_load_x87(const uint64_t values[8]);
void fpu_store_x87(uint64_t values[8]);
void fpu_many_exits(uint64_t n);

static uint8_t pattern[33 * SLOT] __attribute__((aligned(64)));
static uint8_t found[33 * SLOT] __attribute__((aligned(64)));
static uint8_t area[4096] __attribute__((aligned(64)));
static uint64_t offered;

static void fill(unsigned seed)
{
    uint32_t v = seed;

    for (unsigned i = 0; i < sizeof(pattern); i++) {
        v = v * 1664525 + 1013904223; /* any generator will do */
        pattern[i] = (uint8_t)(v >> 24);
    }
    memset(found, 0, sizeof(found));
}

static bool slots_same(unsigned n, unsigned bytes)
{
    for (unsigned i = 0; i < n; i++)
        if (memcmp(pattern + i * SLOT, found + i * SLOT, bytes) != 0)
            return false;
    return true;
}

static void check_x87(void)
{
    static const uint64_t values[8] = {
        0x3ff0000000000000, 0x4000000000000000, 0x400921fb54442d18, 0xc05edd2f1a9fbe77,
        0x7fefffffffffffff, 0x0010000000000000, 0xbff0000000000000, 0x3fb999999999999a,
    };
    uint64_t back[8] = {0};
    uint16_t fcw = FCW_CHANGED, fsw;

    fpu_load_x87(values);
    asm volatile("fldcw %0" : : "m"(fcw));
    fpu_many_exits(EXITS);
    fcw = 0;
    asm volatile("fnstcw %0; fnstsw %1" : "=m"(fcw), "=m"(fsw));
    fpu_store_x87(back);
    CHECK("x87-registers", memcmp(values, back, sizeof(values)) == 0);
    CHECK_EQ("x87-control", fcw, FCW_CHANGED);
    CHECK_EQ("x87-top", fsw >> 11 & 7, 0);
    asm volatile("fninit; fld1; fld1; faddp; fstpl %0" : "=m"(back[0]));
    CHECK_EQ("x87-computes", back[0], 0x4000000000000000); /* 2.0 */
}

static void check_sse(void)
{
    uint32_t mxcsr = MXCSR_CHANGED;

    fill(1);
    asm volatile("ldmxcsr %0" : : "m"(mxcsr));
    fpu_load_sse(pattern);
    fpu_many_exits(EXITS);
    fpu_store_sse(found);
    mxcsr = 0;
    asm volatile("stmxcsr %0" : "=m"(mxcsr));
    CHECK("sse-registers", slots_same(16, 16));
    CHECK_EQ("sse-mxcsr", mxcsr, MXCSR_CHANGED);
    mxcsr = MXCSR_DEFAULT;
    asm volatile("ldmxcsr %0" : : "m"(mxcsr));
}

static void check_avx(void)
{
    if ((offered & XCR0_AVX) != XCR0_AVX) {
        check_skip("avx-registers", "no AVX");
        return;
    }
    xsetbv(0, XCR0_AVX);
    fill(2);
    fpu_load_avx(pattern);
    fpu_many_exits(EXITS);
    fpu_store_avx(found);
    CHECK("avx-registers", slots_same(16, 32));
}

static void check_avx512(void)
{
    if ((offered & XCR0_AVX512) != XCR0_AVX512) {
        check_skip("avx512-registers", "no AVX-512");
        check_skip("avx512-masks", "no AVX-512");
        return;
    }
    xsetbv(0, XCR0_AVX512);
    fill(3);
    fpu_load_avx512(pattern);
    fpu_many_exits(EXITS);
    fpu_store_avx512(found);
    CHECK("avx512-registers", slots_same(32, 64));
    for (unsigned k = 1; k < 8; k++)
        found[32 * SLOT] |= memcmp(pattern + 32 * SLOT + k * 8, found + 32 * SLOT + k * 8, 2) != 0;
    CHECK_EQ("avx512-masks", found[32 * SLOT], 0);
}

static uint64_t field(unsigned offset)
{
    uint64_t v;

    memcpy(&v, area + offset, sizeof(v));
    return v;
}

#define XSAVE_OP(op, mask) \
    asm volatile(op " %0" : "+m"(area) : "a"((uint32_t)(mask)), "d"((uint32_t)((mask) >> 32)))

/* What XSAVE puts where CPUID says; what XRSTOR brings back, or initialises. */
static void check_xsave(void)
{
    uint32_t avx_offset = cpuid(0xd, 2).ebx;

    xsetbv(0, offered & XCR0_AVX);
    fill(4);
    memset(area, 0, sizeof(area));
    fpu_load_avx(pattern);
    XSAVE_OP("xsave64", XCR0_AVX);
    CHECK_EQ("xsave-xstate-bv", field(HEADER_XSTATE) & 6, 6);
    CHECK_EQ("xsave-not-compact", field(HEADER_XCOMP), 0);
    CHECK("xsave-xmm-place", memcmp(area + 160, pattern, 16) == 0 &&
                                 memcmp(area + 160 + 15 * 16, pattern + 15 * SLOT, 16) == 0);
    CHECK("xsave-ymm-place", memcmp(area + avx_offset, pattern + 16, 16) == 0);
    asm volatile("vzeroall");
    XSAVE_OP("xrstor64", XCR0_AVX);
    fpu_store_avx(found);
    CHECK("xrstor-registers", slots_same(16, 32));
    area[HEADER_XSTATE] &= (uint8_t)~6;
    XSAVE_OP("xrstor64", XCR0_AVX);
    fpu_store_avx(found);
    memset(pattern, 0, sizeof(pattern));
    CHECK("xrstor-initialises", slots_same(16, 32));
}

static void check_xsave_faults(void)
{
    uint64_t cr4 = read_cr4();
    struct trap t;

    memset(area, 0, sizeof(area));
    area[HEADER_XSTATE + 7] = 0x40;
    TRAP_CATCH(t, XSAVE_OP("xrstor64", XCR0_AVX));
    CHECK_TRAP("xrstor-bad-xstate", t, VEC_GP, 0);
    memset(area, 0, sizeof(area));
    area[24 + 3] = 0xff; /* MXCSR */
    TRAP_CATCH(t, XSAVE_OP("xrstor64", XCR0_AVX));
    CHECK_TRAP("xrstor-bad-mxcsr", t, VEC_GP, 0);
    write_cr4(cr4 & ~CR4_OSXSAVE);
    TRAP_CATCH(t, XSAVE_OP("xsave64", XCR0_AVX));
    CHECK_TRAP("xsave-without-osxsave", t, VEC_UD, 0);
    TRAP_CATCH(t, fpu_load_avx(pattern));
    CHECK_TRAP("avx-without-osxsave", t, VEC_UD, 0);
    write_cr4(cr4);
    xsetbv(0, 3);
    TRAP_CATCH(t, fpu_load_avx(pattern));
    CHECK_TRAP("avx-without-xcr0", t, VEC_UD, 0);
    xsetbv(0, XCR0_AVX);
}

static void check_xsave_variants(void)
{
    uint32_t variants = cpuid(0xd, 1).eax;
    uint64_t mask = XCR0_AVX;
    struct trap t;

    fill(5);
    fpu_load_avx(pattern);
    if (variants & BIT(0)) {
        memset(area, 0, sizeof(area));
        XSAVE_OP("xsaveopt64", mask);
        CHECK("xsaveopt", memcmp(area + 160, pattern, 16) == 0);
    } else {
        check_skip("xsaveopt", "not offered");
    }
    if (variants & BIT(1)) {
        memset(area, 0, sizeof(area));
        XSAVE_OP("xsavec64", mask);
        CHECK("xsavec", (field(HEADER_XCOMP) & COMPACT) && memcmp(area + 160, pattern, 16) == 0);
    } else {
        check_skip("xsavec", "not offered");
    }
    if (variants & BIT(3)) {
        memset(area, 0, sizeof(area));
        wrmsr(MSR_XSS, 0);
        XSAVE_OP("xsaves64", mask);
        CHECK_EQ("xsaves", field(HEADER_XCOMP), COMPACT | mask);
        CHECK("xsaves-ymm-place", memcmp(area + AREA_EXTENDED, pattern + 16, 16) == 0);
        asm volatile("vzeroall");
        TRAP_CATCH(t, XSAVE_OP("xrstors64", mask));
        fpu_store_avx(found);
        CHECK("xrstors", t.vector == TRAP_NONE && slots_same(16, 32));
    } else {
        check_skip("xsaves", "not offered");
        check_skip("xsaves-ymm-place", "not offered");
        check_skip("xrstors", "not offered");
    }
}

static void check_fxsave(void)
{
    fill(6);
    memset(area, 0, sizeof(area));
    fpu_load_sse(pattern);
    asm volatile("fxsave64 %0" : "+m"(area));
    CHECK("fxsave-place", memcmp(area + 160 + 16, pattern + SLOT, 16) == 0);
    asm volatile("xorps %xmm1, %xmm1");
    asm volatile("fxrstor64 %0" : : "m"(area));
    fpu_store_sse(found);
    CHECK("fxrstor", slots_same(16, 16));
}

static void check_exceptions(void)
{
    uint16_t unmasked_x87 = 0x037b; /* division by zero */
    uint32_t unmasked_sse = MXCSR_DEFAULT & ~0x200u, plain = MXCSR_DEFAULT;
    struct trap t;

    asm volatile("fninit; fldcw %0; fld1; fldz; fdivrp" : : "m"(unmasked_x87));
    TRAP_CATCH(t, asm volatile("fwait"));
    CHECK_TRAP("mf", t, VEC_MF, 0);
    asm volatile("fninit; ldmxcsr %0" : : "m"(unmasked_sse));
    TRAP_CATCH(t, asm volatile("xorps %xmm0, %xmm0; pcmpeqd %xmm1, %xmm1; psrld $25, %xmm1;"
                               "pslld $23, %xmm1; divps %xmm0, %xmm1"));
    CHECK_TRAP("xm", t, VEC_XM, 0);
    asm volatile("ldmxcsr %0" : : "m"(plain));
    TRAP_CATCH(t, asm volatile("ldmxcsr %0" : : "m"(*(uint32_t *)"\xff\xff\xff\xff")));
    CHECK_TRAP("mxcsr-reserved", t, VEC_GP, 0);
    TRAP_CATCH(t, asm volatile("movaps %0, %%xmm0" : : "m"(*(const char *)(pattern + 1))));
    CHECK_TRAP("movaps-unaligned", t, VEC_GP, 0);
}

void guest_main(void)
{
    struct cpuid_regs r = cpuid(0xd, 0);

    offered = (uint64_t)r.edx << 32 | r.eax;
    check_info("xcr0-offered", offered);
    write_cr4(read_cr4() | CR4_OSXSAVE);
    check_group(check_x87);
    check_group(check_sse);
    check_group(check_avx);
    check_group(check_avx512);
    if ((offered & XCR0_AVX) == XCR0_AVX) {
        check_group(check_xsave);
        check_group(check_xsave_faults);
        check_group(check_xsave_variants);
    }
    check_group(check_fxsave);
    check_group(check_exceptions);
}
