/* CPUID: that the leaves are there and agree with one another, with XCR0 and with what works. */
#include "lib/guest.h"

#define FEATURE_XSAVE      BIT(26) /* leaf 1 ecx */
#define FEATURE_OSXSAVE    BIT(27)
#define FEATURE_HYPERVISOR BIT(31)
#define FEATURE_APIC       BIT(9) /* leaf 1 edx */
#define LEAF_XSAVE         0xd
#define XSAVE_LEGACY_BYTES 576 /* FXSAVE area and header */
#define EXTENDED           0x80000000u
#define HYPERVISOR         0x40000000u

static uint32_t max_leaf;

static bool printable(const uint32_t *words, unsigned n)
{
    const uint8_t *p = (const uint8_t *)words;

    for (unsigned i = 0; i < n * 4; i++)
        if (p[i] != 0 && (p[i] < ' ' || p[i] > '~'))
            return false;
    return true;
}

static void check_vendor(void)
{
    struct cpuid_regs r = cpuid(0, 0);
    uint32_t vendor[3] = {r.ebx, r.edx, r.ecx};

    max_leaf = r.eax;
    check_info("max-leaf", max_leaf);
    CHECK("max-leaf-has-xsave", max_leaf >= LEAF_XSAVE);
    CHECK("vendor-is-intel", memcmp(vendor, "GenuineIntel", 12) == 0);
}

static void check_signature(void)
{
    struct cpuid_regs r = cpuid(1, 0);
    uint32_t baseline = BIT(0) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(13) | BIT(15) | BIT(24) |
                        BIT(25) | BIT(26); /* FPU TSC MSR PAE CX8 PGE CMOV FXSR SSE SSE2 */

    check_info("signature", r.eax);
    check_info("features-ecx", r.ecx & ~(FEATURE_HYPERVISOR | FEATURE_OSXSAVE));
    check_info("features-edx", r.edx);
    check_info("hypervisor-bit", r.ecx >> 31);
    CHECK_EQ("baseline-features", r.edx & baseline, baseline);
    CHECK_EQ("apic-bit-follows-base-msr", !!(r.edx & FEATURE_APIC), rdmsr(MSR_APIC_BASE) >> 11 & 1);
    CHECK_EQ("clflush-line", r.ebx >> 8 & 0xff, 8);
    CHECK_EQ("initial-apic-id", r.ebx >> 24, apic_read(APIC_ID) >> 24);
    CHECK("family-is-6", (r.eax >> 8 & 0xf) == 6);
}

/* OSXSAVE mirrors CR4, in both directions. */
static void check_osxsave(void)
{
    write_cr4(read_cr4() | CR4_OSXSAVE);
    CHECK("osxsave-set", cpuid(1, 0).ecx & FEATURE_OSXSAVE);
    write_cr4(read_cr4() & ~CR4_OSXSAVE);
    CHECK("osxsave-clear", !(cpuid(1, 0).ecx & FEATURE_OSXSAVE));
    write_cr4(read_cr4() | CR4_OSXSAVE);
}

/* What XSAVE needs for those components: the end of the last one in the standard format. */
static uint32_t xsave_bytes(uint64_t components)
{
    uint32_t bytes = XSAVE_LEGACY_BYTES;

    for (unsigned i = 2; i < 63; i++) {
        struct cpuid_regs r = cpuid(LEAF_XSAVE, i);

        if (components >> i & 1)
            bytes = MAX(bytes, r.eax + r.ebx);
    }
    return bytes;
}

static void check_xsave(void)
{
    struct cpuid_regs r = cpuid(LEAF_XSAVE, 0);
    uint64_t offered = (uint64_t)r.edx << 32 | r.eax;

    check_info("xcr0-offered", offered);
    CHECK_EQ("xcr0-has-x87-and-sse", offered & 3, 3);
    CHECK_EQ("xsave-max-bytes", r.ecx, xsave_bytes(offered));
    xsetbv(0, 1);
    CHECK_EQ("xsave-bytes-x87", cpuid(LEAF_XSAVE, 0).ebx, XSAVE_LEGACY_BYTES);
    if (offered & 4) {
        xsetbv(0, 7);
        CHECK_EQ("xsave-bytes-avx", cpuid(LEAF_XSAVE, 0).ebx, xsave_bytes(7));
    } else {
        check_skip("xsave-bytes-avx", "no AVX");
    }
    xsetbv(0, offered);
    CHECK_EQ("xsave-bytes-all", cpuid(LEAF_XSAVE, 0).ebx, xsave_bytes(offered));
    xsetbv(0, 3);
}

/* Leaf 0Bh: one thread here, whose x2APIC ID is the APIC's. */
static void check_topology(void)
{
    struct cpuid_regs r;
    unsigned levels = 0, shift = 0;
    bool ids_agree = true, shifts_grow = true;

    if (max_leaf < 0xb || cpuid(0xb, 0).ebx == 0) {
        check_skip("topology", "no leaf 0Bh");
        return;
    }
    for (;; levels++) {
        r = cpuid(0xb, levels);
        if ((r.ecx >> 8 & 0xff) == 0 || levels > 8)
            break;
        ids_agree = ids_agree && r.edx == apic_read(APIC_ID) >> 24;
        shifts_grow = shifts_grow && (r.eax & 0x1f) >= shift && (r.ecx & 0xff) == levels;
        shift = r.eax & 0x1f;
    }
    check_info("topology-levels", levels);
    CHECK("topology-two-levels", levels >= 2 && levels <= 8);
    CHECK("topology-ids-agree", ids_agree);
    CHECK("topology-shifts-grow", shifts_grow);
}

static void check_caches(void)
{
    unsigned n = 0;
    bool sane = true;

    for (; n < 16; n++) {
        struct cpuid_regs r = cpuid(4, n);

        if ((r.eax & 0x1f) == 0)
            break;
        sane = sane && (r.eax >> 5 & 7) >= 1 && (r.ebx & 0xfff) == 63;
    }
    CHECK("cache-leaves-end", n >= 1 && n < 16);
    CHECK("cache-levels-and-lines", sane);
}

static void check_extended(void)
{
    struct cpuid_regs r = cpuid(EXTENDED, 0);
    uint32_t brand[12];

    CHECK("extended-has-addresses", r.eax >= EXTENDED + 8);
    for (unsigned i = 0; i < 3; i++) {
        r = cpuid(EXTENDED + 2 + i, 0);
        memcpy(brand + i * 4, &r, sizeof(r));
    }
    CHECK("brand-is-text", brand[0] != 0 && printable(brand, 12));
    r = cpuid(EXTENDED + 1, 0);
    CHECK("long-mode-and-nx", (r.edx & BIT(29)) && (r.edx & BIT(20)));
    CHECK("syscall-in-long-mode", r.edx & BIT(11));
    r = cpuid(EXTENDED + 8, 0);
    check_info("address-bits", r.eax);
    CHECK("physical-bits", (r.eax & 0xff) >= 36 && (r.eax & 0xff) <= 52);
    CHECK("linear-bits", (r.eax >> 8 & 0xff) == 48 || (r.eax >> 8 & 0xff) == 57);
}

/* Above the highest basic leaf Intel CPUs answer as for that leaf (SDM vol. 2, CPUID). */
static void check_beyond(void)
{
    struct cpuid_regs top = cpuid(max_leaf, 0), beyond = cpuid(max_leaf + 0x100, 0);
    struct cpuid_regs hypervisor = cpuid(HYPERVISOR, 0);
    bool is_guest = cpuid(1, 0).ecx & FEATURE_HYPERVISOR;

    CHECK("beyond-basic-is-highest", memcmp(&top, &beyond, sizeof(top)) == 0);
    check_info("hypervisor-leaf", hypervisor.eax);
    CHECK("hypervisor-leaves-if-bit",
          !is_guest || (hypervisor.eax >= HYPERVISOR && hypervisor.eax < HYPERVISOR + 0x1000));
}

/* The upper halves of the registers are cleared, and the same leaf gives the same answer. */
static void check_instruction(void)
{
    uint64_t rax = 0xdeadbeef00000000ul, rbx = rax, rcx = rax, rdx = rax;
    bool stable = true;

    asm volatile("cpuid" : "+a"(rax), "+b"(rbx), "+c"(rcx), "+d"(rdx));
    CHECK_EQ("upper-halves-clear", (rax | rbx | rcx | rdx) >> 32, 0);
    for (uint32_t leaf = 0; leaf <= max_leaf; leaf++) {
        struct cpuid_regs a = cpuid(leaf, 0), b = cpuid(leaf, 0);

        stable = stable && memcmp(&a, &b, sizeof(a)) == 0;
    }
    CHECK("leaves-are-stable", stable);
}

void guest_main(void)
{
    check_group(check_vendor);
    check_group(check_signature);
    check_group(check_osxsave);
    check_group(check_xsave);
    check_group(check_topology);
    check_group(check_caches);
    check_group(check_extended);
    check_group(check_beyond);
    check_group(check_instruction);
}
