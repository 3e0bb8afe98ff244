/*
 * Local APIC and IOAPIC. xAPIC mode comes first: the way back from x2APIC mode is long, and not
 * every machine has it.
 */
#include "bench.h"

#define VEC_IPI         0x41
#define BASE_EXTD       BIT(10)
#define ECX_X2APIC      BIT(21)
#define IOAPIC_SELECT   0xfec00000ul
#define IOAPIC_VERSION  1
#define MSR_X2APIC_SVR  0x80f
#define MSR_X2APIC_LVTT 0x832

/* stubs.asm: set bench_arrived, acknowledge, return. */
void stub_arrived_xapic(void);
void stub_arrived_x2apic(void);
volatile uint8_t bench_arrived;

#define APIC_READ(offset) "mov ebx, 0xfee00000 + " #offset, "mov eax, [rbx]"
#define APIC_WRITE(offset, value) \
    "mov ebx, 0xfee00000 + " #offset "; mov eax, " #value, "mov [rbx], eax"
#define MSR_READ(msr)         "mov ecx, " #msr, "rdmsr"
#define MSR_WRITE(msr, value) "mov ecx, " #msr "; mov eax, " #value "; xor edx, edx", "wrmsr"

#define XAPIC_OPS(X)                                                            \
    X(xapic_read_id, APIC_READ(0x20))                                           \
    X(xapic_read_version, APIC_READ(0x30))                                      \
    X(xapic_read_icr, APIC_READ(0x300))                                         \
    X(xapic_read_timer, APIC_READ(0x390))                                       \
    X(xapic_write_tpr, APIC_WRITE(0x80, 0))                                     \
    X(xapic_write_eoi, APIC_WRITE(0xb0, 0))                                     \
    X(xapic_write_icr_high, APIC_WRITE(0x310, 0))                               \
    X(xapic_write_timer, APIC_WRITE(0x380, 0x1000000))                          \
    X(ioapic_write_select, "mov ebx, 0xfec00000; mov eax, 1", "mov [rbx], eax") \
    X(ioapic_read_data, "mov ebx, 0xfec00010", "mov eax, [rbx]")                \
    X(ioapic_write_data, "mov ebx, 0xfec00010; mov eax, 0x10000", "mov [rbx], eax")

/* A deadline far enough away that the next round replaces it. */
#define DEADLINE_SETUP "rdtsc; add eax, 0x1000000; adc edx, 0; mov ecx, 0x6e0"

#define X2APIC_OPS(X)                                  \
    X(x2apic_read_id, MSR_READ(0x802))                 \
    X(x2apic_read_version, MSR_READ(0x803))            \
    X(x2apic_read_tpr, MSR_READ(0x808))                \
    X(x2apic_read_icr, MSR_READ(0x830))                \
    X(x2apic_write_tpr, MSR_WRITE(0x808, 0))           \
    X(x2apic_write_eoi, MSR_WRITE(0x80b, 0))           \
    X(x2apic_write_timer, MSR_WRITE(0x838, 0x1000000)) \
    X(x2apic_write_lvt, MSR_WRITE(0x837, 0x10000))

#define DEADLINE_OPS(X)                            \
    X(wrmsr_tsc_deadline, DEADLINE_SETUP, "wrmsr") \
    X(rdmsr_tsc_deadline, "mov ecx, 0x6e0", "rdmsr")

XAPIC_OPS(BENCH_DEFINE)
X2APIC_OPS(BENCH_DEFINE)
DEADLINE_OPS(BENCH_DEFINE)

static const struct bench_op xapic_ops[] = {XAPIC_OPS(BENCH_ENTRY)};
static const struct bench_op x2apic_ops[] = {X2APIC_OPS(BENCH_ENTRY)};
static const struct bench_op deadline_ops[] = {DEADLINE_OPS(BENCH_ENTRY)};

/*
 * An IPI to oneself, its handler and EOI included: done when the handler has set the flag. What
 * it is compared with sends none and has the flag set.
 */
#define IPI_SETUP(arrived, setup) "mov byte ptr [bench_arrived], " #arrived "; sti; " setup "; "
#define IPI_WAIT                  "1: cmp byte ptr [bench_arrived], 0; je 1b; cli\n"
#define IPI_DEFINE(id, setup, op)                                      \
    uint32_t with_##id(void);                                          \
    uint32_t without_##id(void);                                       \
    BENCH_FUNCTION("with_" #id, IPI_SETUP(0, setup) op "\n" IPI_WAIT); \
    BENCH_FUNCTION("without_" #id, IPI_SETUP(1, setup) IPI_WAIT);      \
    static const struct bench_op id = {#id, with_##id, without_##id};

IPI_DEFINE(self_ipi_xapic, "mov ebx, 0xfee00300; mov eax, 0x44041", "mov [rbx], eax")
IPI_DEFINE(self_ipi_x2apic_icr, "mov ecx, 0x830; mov eax, 0x44041; xor edx, edx", "wrmsr")
IPI_DEFINE(self_ipi_x2apic_self, "mov ecx, 0x83f; mov eax, 0x41; xor edx, edx", "wrmsr")

void bench_xapic(void)
{
    apic_init();
    apic_write(APIC_TMR_DIVIDE, 0xb);
    mmio_write32(IOAPIC_SELECT, IOAPIC_VERSION);
    bench_run(xapic_ops, ARRAY_SIZE(xapic_ops));
    apic_write(APIC_TMR_INITIAL, 0);
    bench_set_stub(VEC_IPI, stub_arrived_xapic);
    bench_run(&self_ipi_xapic, 1);
}

/* Stays in x2APIC mode. */
void bench_x2apic(void)
{
    if (!(cpuid(1, 0).ecx & ECX_X2APIC)) {
        bench_skip("x2apic", "CPUID does not offer it");
        return;
    }
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | BASE_EXTD);
    bench_run(x2apic_ops, ARRAY_SIZE(x2apic_ops));
    wrmsr(MSR_X2APIC + APIC_TMR_INITIAL / 16, 0);
    bench_set_stub(VEC_IPI, stub_arrived_x2apic);
    bench_run(&self_ipi_x2apic_icr, 1);
    bench_run(&self_ipi_x2apic_self, 1);
    /* Some hypervisors have it without saying so in CPUID; without it these fault. */
    (void)wrmsr_safe(MSR_X2APIC_LVTT, APIC_LVT_DEADLINE | APIC_LVT_MASKED | VEC_IPI);
    bench_run(deadline_ops, ARRAY_SIZE(deadline_ops));
    (void)wrmsr_safe(MSR_TSC_DEADLINE, 0);
}
