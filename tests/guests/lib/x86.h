/* Instructions and architectural names that the guest kernels use (SDM vol. 2 to 4). */
#ifndef GUESTS_X86_H
#define GUESTS_X86_H

#include "lib/types.h"

enum vector {
    VEC_DE = 0,
    VEC_DB = 1,
    VEC_NMI = 2,
    VEC_BP = 3,
    VEC_OF = 4,
    VEC_BR = 5,
    VEC_UD = 6,
    VEC_NM = 7,
    VEC_DF = 8,
    VEC_TS = 10,
    VEC_NP = 11,
    VEC_SS = 12,
    VEC_GP = 13,
    VEC_PF = 14,
    VEC_MF = 16,
    VEC_AC = 17,
    VEC_MC = 18,
    VEC_XM = 19,
};

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
#define CR4_VMXE       BIT(13)
#define CR4_FSGSBASE   BIT(16)
#define CR4_PCIDE      BIT(17)
#define CR4_OSXSAVE    BIT(18)
#define CR4_SMEP       BIT(20)
#define CR4_SMAP       BIT(21)

#define EFER_SCE BIT(0)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define EFER_NXE BIT(11)

#define RFLAGS_CF    BIT(0)
#define RFLAGS_FIXED BIT(1)
#define RFLAGS_ZF    BIT(6)
#define RFLAGS_TF    BIT(8)
#define RFLAGS_IF    BIT(9)
#define RFLAGS_DF    BIT(10)
#define RFLAGS_IOPL3 (3ul << 12)
#define RFLAGS_RF    BIT(16)
#define RFLAGS_VM    BIT(17)
#define RFLAGS_AC    BIT(18)

#define PTE_P   BIT(0)
#define PTE_W   BIT(1)
#define PTE_U   BIT(2)
#define PTE_PWT BIT(3)
#define PTE_PCD BIT(4)
#define PTE_A   BIT(5)
#define PTE_D   BIT(6)
#define PTE_PS  BIT(7)
#define PTE_G   BIT(8)
#define PTE_NX  BIT(63)

enum msr {
    MSR_TSC = 0x10,
    MSR_APIC_BASE = 0x1b,
    MSR_TSC_ADJUST = 0x3b,
    MSR_MTRRCAP = 0xfe,
    MSR_SYSENTER_CS = 0x174,
    MSR_SYSENTER_ESP = 0x175,
    MSR_SYSENTER_EIP = 0x176,
    MSR_MISC_ENABLE = 0x1a0,
    MSR_MTRR_PHYSBASE0 = 0x200,
    MSR_MTRR_FIX64K = 0x250,
    MSR_PAT = 0x277,
    MSR_MTRR_DEF_TYPE = 0x2ff,
    MSR_TSC_DEADLINE = 0x6e0,
    MSR_X2APIC = 0x800,
    MSR_XSS = 0xda0,
    MSR_EFER = 0xc0000080,
    MSR_STAR = 0xc0000081,
    MSR_LSTAR = 0xc0000082,
    MSR_CSTAR = 0xc0000083,
    MSR_FMASK = 0xc0000084,
    MSR_FS_BASE = 0xc0000100,
    MSR_GS_BASE = 0xc0000101,
    MSR_KERNEL_GS_BASE = 0xc0000102,
    MSR_TSC_AUX = 0xc0000103,
};

#define NON_CANONICAL 0x8000000000000000ul

struct cpuid_regs {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid_regs cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_regs r;

    asm volatile("cpuid"
                 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                 : "a"(leaf), "c"(subleaf));
    return r;
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t low, high;

    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
    return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
    asm volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"(value >> 32) : "memory");
}

static inline uint64_t rdtsc(void)
{
    uint32_t low, high;

    asm volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static inline uint64_t rdtscp(uint32_t *aux)
{
    uint32_t low, high;

    asm volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(*aux) : : "memory");
    return (uint64_t)high << 32 | low;
}

static inline uint64_t xgetbv(uint32_t index)
{
    uint32_t low, high;

    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(index));
    return (uint64_t)high << 32 | low;
}

static inline void xsetbv(uint32_t index, uint64_t value)
{
    asm volatile("xsetbv" : : "c"(index), "a"((uint32_t)value), "d"(value >> 32) : "memory");
}

#define DEFINE_REGISTER(name)                                       \
    static inline uint64_t read_##name(void)                        \
    {                                                               \
        uint64_t v;                                                 \
        asm volatile("mov %%" #name ", %0" : "=r"(v) : : "memory"); \
        return v;                                                   \
    }                                                               \
    static inline void write_##name(uint64_t v)                     \
    {                                                               \
        asm volatile("mov %0, %%" #name : : "r"(v) : "memory");     \
    }

DEFINE_REGISTER(cr0)
DEFINE_REGISTER(cr2)
DEFINE_REGISTER(cr3)
DEFINE_REGISTER(cr4)
DEFINE_REGISTER(cr8)
DEFINE_REGISTER(dr0)
DEFINE_REGISTER(dr1)
DEFINE_REGISTER(dr2)
DEFINE_REGISTER(dr3)
DEFINE_REGISTER(dr6)
DEFINE_REGISTER(dr7)

static inline uint8_t in8(uint16_t port)
{
    uint8_t v;

    asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}
static inline uint16_t in16(uint16_t port)
{
    uint16_t v;

    asm volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}
static inline uint32_t in32(uint16_t port)
{
    uint32_t v;

    asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}
static inline void out8(uint16_t port, uint8_t v)
{
    asm volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}
static inline void out16(uint16_t port, uint16_t v)
{
    asm volatile("outw %0, %1" : : "a"(v), "Nd"(port) : "memory");
}
static inline void out32(uint16_t port, uint32_t v)
{
    asm volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline uint64_t read_rflags(void)
{
    uint64_t v;

    asm volatile("pushfq; popq %0" : "=r"(v) : : "memory");
    return v;
}
static inline void write_rflags(uint64_t v)
{
    asm volatile("pushq %0; popfq" : : "r"(v) : "memory", "cc");
}
static inline void irq_enable(void)
{
    asm volatile("sti" : : : "memory");
}
static inline void irq_disable(void)
{
    asm volatile("cli" : : : "memory");
}
/* STI; HLT: no interrupt can come between the two (interrupt shadow). */
static inline void irq_wait(void)
{
    asm volatile("sti; hlt; cli" : : : "memory");
}
static inline void invlpg(const volatile void *p)
{
    asm volatile("invlpg (%0)" : : "r"(p) : "memory");
}

static inline uint32_t mmio_read32(uint64_t address)
{
    uint32_t v;

    asm volatile("movl (%1), %0" : "=r"(v) : "r"(address) : "memory");
    return v;
}
static inline void mmio_write32(uint64_t address, uint32_t v)
{
    asm volatile("movl %0, (%1)" : : "r"(v), "r"(address) : "memory");
}

#endif
