/* Source: SDM vol. 2 (CPUID), vol. 3 ch. 2.5 (control registers), 12.12 (PAT). */
#include "lib/format.h"
#include "lib/string.h"
#include "machine/cpu.h"
#include "machine/features.h"
#include "machine/panic.h"

#define LEAF_FEATURES     1
#define LEAF_EXTENDED     7
#define LEAF_EXT_MAX      0x80000000
#define LEAF_EXT_FEATURES 0x80000001
#define LEAF_NAME         0x80000002
#define LEAF_NAME_END     0x80000004

/* The PAT as reset leaves it, but for entry 1, which becomes write combining (paging.c). */
#define PAT_VALUE 0x0007040600070106ull

enum reg {
    EAX,
    EBX,
    ECX,
    EDX,
};

struct feature {
    const char *name;
    uint32_t leaf;
    enum reg reg;
    uint8_t bit;
};

static const struct feature required[] = {
    {"TSC", LEAF_FEATURES, EDX, 4},     {"MSR", LEAF_FEATURES, EDX, 5},
    {"APIC", LEAF_FEATURES, EDX, 9},    {"PGE", LEAF_FEATURES, EDX, 13},
    {"PAT", LEAF_FEATURES, EDX, 16},    {"FXSR", LEAF_FEATURES, EDX, 24},
    {"NX", LEAF_EXT_FEATURES, EDX, 20}, {"long mode", LEAF_EXT_FEATURES, EDX, 29},
};

/* CR4 bits that are set where the CPU has them. */
static const struct cr4_feature {
    struct feature feature;
    uint64_t cr4;
    bool tell;
} optional[] = {
    {{"DE", LEAF_FEATURES, EDX, 2}, CR4_DE, false},
    {{"MCE", LEAF_FEATURES, EDX, 7}, CR4_MCE, true},
    {{"XSAVE", LEAF_FEATURES, ECX, 26}, CR4_OSXSAVE, false}, /* XCR0 is switched with guests */
    {{"UMIP", LEAF_EXTENDED, ECX, 2}, CR4_UMIP, true},
    {{"SMEP", LEAF_EXTENDED, EBX, 7}, CR4_SMEP, true},
    {{"SMAP", LEAF_EXTENDED, EBX, 20}, CR4_SMAP, true},
};

static bool has(const struct feature *f)
{
    uint32_t max = cpuid(f->leaf & LEAF_EXT_MAX, 0).eax;
    struct cpuid_regs r;
    uint32_t values[4];

    if (f->leaf > max)
        return false;
    r = cpuid(f->leaf, 0);
    values[EAX] = r.eax;
    values[EBX] = r.ebx;
    values[ECX] = r.ecx;
    values[EDX] = r.edx;
    return values[f->reg] >> f->bit & 1;
}

void features_require(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(required); i++)
        if (!has(&required[i]))
            fatal("this CPU does not have %s", required[i].name);
}

void features_enable(void)
{
    /* OSFXSR: FXSAVE and XSAVE, which switch guests' registers, leave out XMM without it. */
    uint64_t cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT;

    for (size_t i = 0; i < ARRAY_SIZE(optional); i++)
        if (has(&optional[i].feature))
            cr4 |= optional[i].cr4;
    write_cr0(CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG);
    write_cr4(cr4);
    wrmsr(MSR_EFER, EFER_LME | EFER_LMA | EFER_NXE | (rdmsr(MSR_EFER) & EFER_SCE));
    wrmsr(MSR_PAT, PAT_VALUE);
    write_cr3(read_cr3());
}

void features_cpu_name(char *buf, size_t size)
{
    union {
        struct cpuid_regs regs[3];
        char text[49];
    } name = {0};
    const char *start = name.text;
    size_t n;

    if (cpuid(LEAF_EXT_MAX, 0).eax < LEAF_NAME_END) {
        string_copy(buf, size, "a CPU without a name");
        return;
    }
    for (uint32_t i = 0; i < ARRAY_SIZE(name.regs); i++)
        name.regs[i] = cpuid(LEAF_NAME + i, 0);
    while (*start == ' ')
        start++;
    n = strlen(start);
    while (n > 0 && start[n - 1] == ' ')
        n--;
    format_text(buf, size, "%.*s", (int)n, start);
}

void features_describe(char *buf, size_t size)
{
    size_t n = format_text(buf, size, "W^X NX WP");

    for (size_t i = 0; i < ARRAY_SIZE(optional); i++)
        if (optional[i].tell && has(&optional[i].feature) && n < size)
            n += format_text(buf + n, size - n, " %s", optional[i].feature.name);
}
