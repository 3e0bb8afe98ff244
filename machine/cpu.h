/*
 * The instructions and registers of the CPU that C cannot name. Source: Intel SDM volumes 2 to 4.
 */
#ifndef MACHINE_CPU_H
#define MACHINE_CPU_H

#include "lib/types.h"

#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_ET BIT(4)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)

#define CR4_VME        BIT(0)
#define CR4_PVI        BIT(1)
#define CR4_TSD        BIT(2)
#define CR4_DE         BIT(3)
#define CR4_PSE        BIT(4)
#define CR4_PAE        BIT(5)
#define CR4_MCE        BIT(6)
#define CR4_PGE        BIT(7)
#define CR4_PCE        BIT(8)
#define CR4_OSFXSR     BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_UMIP       BIT(11)
#define CR4_LA57       BIT(12)
#define CR4_VMXE       BIT(13)
#define CR4_SMXE       BIT(14)
#define CR4_FSGSBASE   BIT(16)
#define CR4_PCIDE      BIT(17)
#define CR4_OSXSAVE    BIT(18)
#define CR4_SMEP       BIT(20)
#define CR4_SMAP       BIT(21)
#define CR4_PKE        BIT(22)
#define CR4_CET        BIT(23)
#define CR4_PKS        BIT(24)

#define EFER_SCE BIT(0)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define EFER_NXE BIT(11)

#define RFLAGS_CF    BIT(0)
#define RFLAGS_FIXED BIT(1)
#define RFLAGS_PF    BIT(2)
#define RFLAGS_AF    BIT(4)
#define RFLAGS_ZF    BIT(6)
#define RFLAGS_SF    BIT(7)
#define RFLAGS_TF    BIT(8)
#define RFLAGS_IF    BIT(9)
#define RFLAGS_DF    BIT(10)
#define RFLAGS_OF    BIT(11)
#define RFLAGS_NT    BIT(14)
#define RFLAGS_RF    BIT(16)
#define RFLAGS_VM    BIT(17)
#define RFLAGS_AC    BIT(18)
#define RFLAGS_ID    BIT(21)

/* Exception vectors (SDM vol. 3, table 6-1). */
enum vector {
    VECTOR_DE = 0,
    VECTOR_DB = 1,
    VECTOR_NMI = 2,
    VECTOR_BP = 3,
    VECTOR_OF = 4,
    VECTOR_BR = 5,
    VECTOR_UD = 6,
    VECTOR_NM = 7,
    VECTOR_DF = 8,
    VECTOR_TS = 10,
    VECTOR_NP = 11,
    VECTOR_SS = 12,
    VECTOR_GP = 13,
    VECTOR_PF = 14,
    VECTOR_MF = 16,
    VECTOR_AC = 17,
    VECTOR_MC = 18,
    VECTOR_XM = 19,
    VECTOR_VE = 20,
    VECTOR_CP = 21,
};

/* MSRs that more than one file names (SDM vol. 4). */
#define MSR_TSC             0x10
#define MSR_APIC_BASE       0x1b
#define MSR_FEATURE_CONTROL 0x3a
#define MSR_TSC_ADJUST      0x3b
#define MSR_SPEC_CTRL       0x48
#define MSR_UCODE_REV       0x8b
#define MSR_MTRR_CAP        0xfe
#define MSR_SYSENTER_CS     0x174
#define MSR_SYSENTER_ESP    0x175
#define MSR_SYSENTER_EIP    0x176
#define MSR_MISC_ENABLE     0x1a0
#define MSR_DEBUGCTL        0x1d9
#define MSR_MTRR_PHYS_BASE0 0x200
#define MSR_MTRR_FIX_64K    0x250
#define MSR_MTRR_FIX_16K_0  0x258
#define MSR_MTRR_FIX_16K_1  0x259
#define MSR_MTRR_FIX_4K_0   0x268
#define MSR_PAT             0x277
#define MSR_MTRR_DEF_TYPE   0x2ff
#define MSR_TSC_DEADLINE    0x6e0
#define MSR_X2APIC          0x800 /* register offset / 16 is added */
#define MSR_X2APIC_ICR      0x830
#define MSR_XSS             0xda0
#define MSR_EFER            0xc0000080
#define MSR_STAR            0xc0000081
#define MSR_LSTAR           0xc0000082
#define MSR_CSTAR           0xc0000083
#define MSR_SFMASK          0xc0000084
#define MSR_FS_BASE         0xc0000100
#define MSR_GS_BASE         0xc0000101
#define MSR_KERNEL_GS_BASE  0xc0000102
#define MSR_TSC_AUX         0xc0000103

struct cpuid_regs {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid_regs cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_regs r;

    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(leaf), "c"(subleaf));
    return r;
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t lo, hi;

    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr) : "memory");
    return (uint64_t)hi << 32 | lo;
}
static inline void wrmsr(uint32_t msr, uint64_t v)
{
    __asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}

/* As rdmsr and wrmsr, but a #GP is caught and gives false. Defined in machine/trap.c. */
MUST_CHECK bool rdmsr_safe(uint32_t msr, uint64_t *v);
MUST_CHECK bool wrmsr_safe(uint32_t msr, uint64_t v);

static inline uint64_t rdtsc(void)
{
    uint32_t lo, hi;

    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return (uint64_t)hi << 32 | lo;
}

#define CPU_CR_ACCESS(n)                                            \
    static inline uint64_t read_cr##n(void)                         \
    {                                                               \
        uint64_t v;                                                 \
        __asm__ volatile("mov %%cr" #n ", %0" : "=r"(v)::"memory"); \
        return v;                                                   \
    }                                                               \
    static inline void write_cr##n(uint64_t v)                      \
    {                                                               \
        __asm__ volatile("mov %0, %%cr" #n ::"r"(v) : "memory");    \
    }
CPU_CR_ACCESS(0)
CPU_CR_ACCESS(2)
CPU_CR_ACCESS(3)
CPU_CR_ACCESS(4)
CPU_CR_ACCESS(8)
#undef CPU_CR_ACCESS

#define CPU_DR_ACCESS(n)                                            \
    static inline uint64_t read_dr##n(void)                         \
    {                                                               \
        uint64_t v;                                                 \
        __asm__ volatile("mov %%dr" #n ", %0" : "=r"(v)::"memory"); \
        return v;                                                   \
    }                                                               \
    static inline void write_dr##n(uint64_t v)                      \
    {                                                               \
        __asm__ volatile("mov %0, %%dr" #n ::"r"(v) : "memory");    \
    }
CPU_DR_ACCESS(0)
CPU_DR_ACCESS(1)
CPU_DR_ACCESS(2)
CPU_DR_ACCESS(3)
CPU_DR_ACCESS(6)
CPU_DR_ACCESS(7)
#undef CPU_DR_ACCESS

static inline uint64_t xgetbv(uint32_t n)
{
    uint32_t lo, hi;

    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(n));
    return (uint64_t)hi << 32 | lo;
}
static inline void xsetbv(uint32_t n, uint64_t v)
{
    __asm__ volatile("xsetbv" ::"c"(n), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)));
}

#define CPU_PORT_ACCESS(suffix, type)                                    \
    static inline type in##suffix(uint16_t port)                         \
    {                                                                    \
        type v;                                                          \
        __asm__ volatile("in" #suffix " %1, %0" : "=a"(v) : "Nd"(port)); \
        return v;                                                        \
    }                                                                    \
    static inline void out##suffix(uint16_t port, type v)                \
    {                                                                    \
        __asm__ volatile("out" #suffix " %0, %1" ::"a"(v), "Nd"(port));  \
    }
CPU_PORT_ACCESS(b, uint8_t)
CPU_PORT_ACCESS(w, uint16_t)
CPU_PORT_ACCESS(l, uint32_t)
#undef CPU_PORT_ACCESS

static inline void cpu_pause(void)
{
    __builtin_ia32_pause();
}
static inline void interrupts_off(void)
{
    __asm__ volatile("cli" ::: "memory");
}
static inline void interrupts_on(void)
{
    __asm__ volatile("sti" ::: "memory");
}
/* Opens interrupts and sleeps until one has been handled; returns with interrupts off again. */
static inline void cpu_wait_for_interrupt(void)
{
    __asm__ volatile("sti; hlt; cli" ::: "memory");
}

#endif
