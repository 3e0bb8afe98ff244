#include "lib/assert.h"
#include "lib/string.h"
#include "machine/cpu.h"
#include "machine/frame.h"
#include "machine/interrupt.h"
#include "machine/paging.h"
#include "machine/panic.h"
#include "machine/panic_stop.h"
#include "machine/percpu.h"
#include "machine/trap.h"

#define NR_VECTORS     256
#define FIRST_EXTERNAL 32
#define STUB_SIZE      16 /* machine/trap_entry.asm */
#define IST_STACK_SIZE 3  /* pages: a panic formats text on them */

enum ist {
    IST_NONE,
    IST_NMI,
    IST_DF,
    IST_MC,
    IST_COUNT,
};

/* SDM vol. 3 figure 6-8. */
struct gate {
    uint16_t offset_0, selector;
    uint8_t ist, type;
    uint16_t offset_16;
    uint32_t offset_32, reserved;
};
#define GATE_INTERRUPT 0x8e /* present, DPL 0, interrupts off in the handler */

/* SDM vol. 3 figure 8-11. */
struct tss {
    uint32_t reserved_0;
    uint64_t rsp[3];
    uint64_t reserved_1;
    uint64_t ist[8]; /* [0] is not used */
    uint64_t reserved_2;
    uint16_t reserved_3, io_map;
} __attribute__((packed));

/* What percpu.gdt points at. */
struct gdt {
    uint64_t entries[5]; /* null, code, data, and the TSS takes two */
    struct tss tss;
};
#define GDT_CODE     0x00af9b000000ffffull
#define GDT_DATA     0x00cf93000000ffffull
#define GDT_TSS_TYPE 0x89ull /* present, available 64-bit TSS */

struct table_register {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

struct fixup {
    uint64_t from, to;
};

extern const char trap_stubs[];
extern const struct fixup __start_exception_table[], __stop_exception_table[];

void trap_handle(struct trap_frame *f);

static struct gate idt[NR_VECTORS] __attribute__((aligned(16)));
static struct gdt boot_gdt __attribute__((aligned(16)));
static char early_ist_stack[2 * PAGE_SIZE] __attribute__((aligned(16)));
static uint64_t nmi_count;

/* ------------------------------------------------------------ tables */

static uint8_t ist_of(unsigned vector)
{
    switch (vector) {
    case VECTOR_NMI:
        return IST_NMI;
    case VECTOR_DF:
        return IST_DF;
    case VECTOR_MC:
        return IST_MC;
    default:
        return IST_NONE;
    }
}

static void fill_idt(void)
{
    for (unsigned i = 0; i < NR_VECTORS; i++) {
        uint64_t stub = (uintptr_t)trap_stubs + i * STUB_SIZE;

        idt[i] = (struct gate){
            .offset_0 = (uint16_t)stub,
            .offset_16 = (uint16_t)(stub >> 16),
            .offset_32 = (uint32_t)(stub >> 32),
            .selector = SELECTOR_CODE,
            .ist = ist_of(i),
            .type = GATE_INTERRUPT,
        };
    }
}

static void fill_gdt(struct percpu *cpu, struct gdt *g)
{
    uint64_t base = (uintptr_t)&g->tss, limit = sizeof(g->tss) - 1;

    g->entries[0] = 0;
    g->entries[SELECTOR_CODE / 8] = GDT_CODE;
    g->entries[SELECTOR_DATA / 8] = GDT_DATA;
    g->entries[SELECTOR_TSS / 8] =
        limit | (base & 0xffffff) << 16 | GDT_TSS_TYPE << 40 | (base >> 24 & 0xff) << 56;
    g->entries[SELECTOR_TSS / 8 + 1] = base >> 32;
    g->tss.io_map = sizeof(g->tss);
    cpu->gdt = g;
    cpu->gdt_base = (uintptr_t)g->entries;
    cpu->tss_base = base;
}

void trap_load(struct percpu *cpu)
{
    struct gdt *g = cpu->gdt;
    struct table_register gdtr = {sizeof(g->entries) - 1, (uintptr_t)g->entries};
    struct table_register idtr = {sizeof(idt) - 1, (uintptr_t)idt};

    g->entries[SELECTOR_TSS / 8] &= ~BIT(41); /* LTR set "busy" the last time */
    __asm__ volatile("lgdt %0\n\t"
                     "push %1\n\t"
                     "lea 1f(%%rip), %%rax\n\t"
                     "push %%rax\n\t"
                     "lretq\n\t"
                     "1: mov %2, %%eax\n\t"
                     "mov %%eax, %%ds\n\t"
                     "mov %%eax, %%es\n\t"
                     "mov %%eax, %%ss\n\t"
                     "ltr %w3\n\t"
                     "lidt %4" ::"m"(gdtr),
                     "i"(SELECTOR_CODE), "i"(SELECTOR_DATA), "r"(SELECTOR_TSS), "m"(idtr)
                     : "rax", "memory");
}

void trap_init(void)
{
    struct percpu *cpu = this_cpu();

    fill_idt();
    for (unsigned i = IST_NMI; i < IST_COUNT; i++)
        boot_gdt.tss.ist[i] = (uintptr_t)early_ist_stack + sizeof(early_ist_stack);
    fill_gdt(cpu, &boot_gdt);
    trap_load(cpu);
}

bool trap_prepare(struct percpu *cpu)
{
    struct gdt *g = cpu->gdt;

    if (g == NULL) {
        if ((g = heap_alloc(sizeof(*g))) == NULL)
            return false;
        fill_gdt(cpu, g);
    }
    for (unsigned i = IST_NMI; i < IST_COUNT; i++) {
        void *top = paging_alloc_stack(IST_STACK_SIZE);

        if (top == NULL)
            return false;
        g->tss.ist[i] = (uintptr_t)top;
    }
    return true;
}

uint64_t trap_idt_base(void)
{
    return (uintptr_t)idt;
}

/* ------------------------------------------------------------ exceptions */

static const char *const exception_names[FIRST_EXTERNAL] = {
    [VECTOR_DE] = "#DE divide error",
    [VECTOR_DB] = "#DB debug",
    [VECTOR_NMI] = "NMI",
    [VECTOR_BP] = "#BP breakpoint",
    [VECTOR_OF] = "#OF overflow",
    [VECTOR_BR] = "#BR bound range",
    [VECTOR_UD] = "#UD invalid opcode",
    [VECTOR_NM] = "#NM no FPU",
    [VECTOR_DF] = "#DF double fault",
    [VECTOR_TS] = "#TS invalid TSS",
    [VECTOR_NP] = "#NP segment not present",
    [VECTOR_SS] = "#SS stack fault",
    [VECTOR_GP] = "#GP general protection",
    [VECTOR_PF] = "#PF page fault",
    [VECTOR_MF] = "#MF FPU error",
    [VECTOR_AC] = "#AC alignment check",
    [VECTOR_MC] = "#MC machine check",
    [VECTOR_XM] = "#XM SIMD error",
    [VECTOR_VE] = "#VE virtualization",
    [VECTOR_CP] = "#CP control protection",
};

static bool fix_up(struct trap_frame *f)
{
    for (const struct fixup *x = __start_exception_table; x < __stop_exception_table; x++) {
        if (x->from == f->rip) {
            f->rip = x->to;
            return true;
        }
    }
    return false;
}

/* Bits of a page fault's error code (SDM vol. 3 figure 4-12). */
#define PF_PRESENT BIT(0)
#define PF_WRITE   BIT(1)
#define PF_FETCH   BIT(4)

static void page_fault(const struct trap_frame *f)
{
    uint64_t address = read_cr2();
    const char *what = f->error & PF_FETCH   ? "executing"
                       : f->error & PF_WRITE ? "writing"
                                             : "reading";

    panic_trap(f, "#PF page fault %s %#lx, which is %s", what, address,
               f->error & PF_PRESENT ? "protected" : "not mapped");
}

static void exception(const struct trap_frame *f)
{
    const char *name = exception_names[f->vector];

    if (f->vector == VECTOR_PF)
        page_fault(f);
    if (f->vector == VECTOR_DF && paging_is_stack_guard(read_cr2()))
        panic_trap(f, "#DF double fault: the stack has run over at %#lx", read_cr2());
    panic_trap(f, "%s, error code %#lx", name != NULL ? name : "reserved exception", f->error);
}

void trap_nmi(void)
{
    panic_stop_if_panicking();
    /* Nobody sends us one otherwise: a board's way to report an error, or an operator's button. */
    __atomic_fetch_add(&nmi_count, 1, __ATOMIC_RELAXED);
}

uint64_t trap_nmi_count(void)
{
    return __atomic_load_n(&nmi_count, __ATOMIC_RELAXED);
}

void trap_handle(struct trap_frame *f)
{
    if (f->vector >= FIRST_EXTERNAL)
        interrupt_dispatch((unsigned)f->vector);
    else if (f->vector == VECTOR_NMI)
        trap_nmi();
    else if (!fix_up(f))
        exception(f);
}

/* ------------------------------------------------------------ MSRs that may not be there */

bool rdmsr_safe(uint32_t msr, uint64_t *v)
{
    uint32_t lo = 0, hi = 0;
    bool ok = false;

    __asm__ volatile("1: rdmsr\n\t"
                     "movb $1, %0\n\t"
                     "2:\n\t" TRAP_FIXUP("1b", "2b")
                     : "+r"(ok), "+a"(lo), "+d"(hi)
                     : "c"(msr)
                     : "memory");
    *v = (uint64_t)hi << 32 | lo;
    return ok;
}

bool wrmsr_safe(uint32_t msr, uint64_t v)
{
    bool ok = false;

    __asm__ volatile("1: wrmsr\n\t"
                     "movb $1, %0\n\t"
                     "2:\n\t" TRAP_FIXUP("1b", "2b")
                     : "+r"(ok)
                     : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32))
                     : "memory");
    return ok;
}
