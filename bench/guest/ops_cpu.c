/* Instructions of the CPU itself: those that always exit, and those that should not. */
#include "bench.h"

#define CR4_OSXSAVE_LEAF1 BIT(26)

/* What an MSR or register has already: writing it back changes nothing. */
uint64_t bench_tsc_adjust, bench_xcr0;
uint8_t bench_idtr[10];

#define OPS(X)                                                                                \
    X(cpuid_0, "xor eax, eax; xor ecx, ecx", "cpuid")                                         \
    X(cpuid_1, "mov eax, 1; xor ecx, ecx", "cpuid")                                           \
    X(cpuid_7, "mov eax, 7; xor ecx, ecx", "cpuid")                                           \
    X(cpuid_d, "mov eax, 13; xor ecx, ecx", "cpuid")                                          \
    X(vmcall, "xor eax, eax", "vmcall")                                                       \
    X(rdmsr_tsc_adjust, "mov ecx, 0x3b", "rdmsr")                                             \
    X(wrmsr_tsc_adjust,                                                                       \
      "mov ecx, 0x3b; mov eax, [bench_tsc_adjust]; mov edx, [bench_tsc_adjust + 4]", "wrmsr") \
    X(rdmsr_apic_base, "mov ecx, 0x1b", "rdmsr")                                              \
    X(rdmsr_efer, "mov ecx, 0xc0000080", "rdmsr")                                             \
    X(rdmsr_fs_base, "mov ecx, 0xc0000100", "rdmsr")                                          \
    X(wbinvd, "", "wbinvd")                                                                   \
    X(xsetbv, "xor ecx, ecx; mov eax, [bench_xcr0]; mov edx, [bench_xcr0 + 4]", "xsetbv")     \
    X(rdtsc, "", "rdtsc")                                                                     \
    X(pause, "", "pause")                                                                     \
    X(cr0_read, "", "mov rax, cr0")                                                           \
    X(cr0_ts_clts, "mov rax, cr0; or eax, 8", "mov cr0, rax; clts")                           \
    X(cr0_wp_toggle, "mov rax, cr0; xor eax, 0x10000", "mov cr0, rax")                        \
    X(cr3_write, "mov rax, cr3", "mov cr3, rax")                                              \
    X(cr4_pge_toggle, "mov rax, cr4; xor eax, 0x80", "mov cr4, rax")                          \
    X(cr8_read, "", "mov rax, cr8")                                                           \
    X(cr8_write, "xor eax, eax", "mov cr8, rax")                                              \
    X(invlpg, "lea rax, [bench_xcr0]", "invlpg [rax]")                                        \
    X(dr0_read, "", "mov rax, dr0")                                                           \
    X(dr0_write, "xor eax, eax", "mov dr0, rax")                                              \
    X(dr7_write, "mov eax, 0x400", "mov dr7, rax")                                            \
    X(lidt, "", "lidt [bench_idtr]")

OPS(BENCH_DEFINE)

static const struct bench_op ops[] = {OPS(BENCH_ENTRY)};

void bench_cpu(void)
{
    (void)rdmsr_safe(MSR_TSC_ADJUST, &bench_tsc_adjust);
    if (cpuid(1, 0).ecx & CR4_OSXSAVE_LEAF1) {
        write_cr4(read_cr4() | CR4_OSXSAVE);
        bench_xcr0 = xgetbv(0);
    }
    asm volatile("sidt %0" : "=m"(bench_idtr));
    bench_run(ops, ARRAY_SIZE(ops));
}
