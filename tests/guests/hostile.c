/*
 * A guest that attacks. By default it tries what must do no harm at all, not even to itself. With
 * a word on its command line it does what may end it, and only it:
 *     triple   a triple fault            jump     runs code where no memory is
 *     idt      an IDT outside of memory  cr3      page tables outside of memory
 */
#include "lib/guest.h"

#define HOLE       0xd0000000ul
#define WINDOW     (2ul << 39) /* PML4 slot 2: the pages that ring 3 may use */
#define VEC_TIMER  0x50
#define ROUNDS     400
#define PORTS      2000
#define ACCESSES   1500
#define TIME_SLICE 20000

extern uint64_t boot_pml4[512], boot_pd_user[4 * 512];
static uint64_t pdpt[512] __attribute__((aligned(4096)));
static uint64_t pd[512] __attribute__((aligned(4096)));
static uint64_t pt[512] __attribute__((aligned(4096)));
static uint8_t code[2][4096] __attribute__((aligned(4096)));

static uint64_t seed = 0x7173656564;

/* xorshift64: the same attack each time. */
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

#define CHECK_UD(name, ...)                        \
    do {                                           \
        struct trap t_;                            \
        TRAP_CATCH(t_, asm volatile(__VA_ARGS__)); \
        CHECK_TRAP(name, t_, VEC_UD, 0);           \
    } while (0)

/* VMX is not offered: its instructions do not exist. */
static void check_vmx(void)
{
    static uint64_t operand[2];

    if (cpuid(1, 0).ecx & BIT(5)) {
        check_skip("vmx", "offered by CPUID");
        return;
    }
    CHECK_UD("vmxon", "vmxon %0" : : "m"(operand) : "cc");
    CHECK_UD("vmclear", "vmclear %0" : : "m"(operand) : "cc");
    CHECK_UD("vmptrld", "vmptrld %0" : : "m"(operand) : "cc");
    CHECK_UD("vmptrst", "vmptrst %0" : "=m"(operand) : : "cc");
    CHECK_UD("vmread", "vmread %%rax, %%rcx" : : : "rcx", "cc");
    CHECK_UD("vmwrite", "vmwrite %%rax, %%rcx" : : : "cc");
    CHECK_UD("vmlaunch", "vmlaunch" : : : "cc");
    CHECK_UD("vmresume", "vmresume" : : : "cc");
    CHECK_UD("vmxoff", "vmxoff" : : : "cc");
    CHECK_UD("invept", "invept %0, %%rax" : : "m"(operand), "a"(2) : "cc");
    CHECK_UD("invvpid", "invvpid %0, %%rax" : : "m"(operand), "a"(2) : "cc");
    CHECK_UD("vmfunc", ".byte 0x0f, 0x01, 0xd4" : : "a"(0), "c"(0));
    CHECK_UD("getsec", ".byte 0x0f, 0x37" : : "a"(0));
    CHECK_UD("encls", ".byte 0x0f, 0x01, 0xcf" : : "a"(0));
    CHECK_UD("rsm", "rsm");
}

/* Ports that would end this VM by rights, or its console. */
static bool port_spared(uint16_t port)
{
    return (port & 0xfff8) == 0x3f8 || (port & 0xfff8) == 0xcf8 || (port & 0xffc0) == 0x600 ||
           (port & 0xfffc) == 0x64 || (port & 0xfffc) == 0x90 || (port & 0xfff8) == 0xb000;
}

static void check_ports(void)
{
    unsigned done = 0;

    for (uint32_t port = 0; port < 0x10000; port += 31) {
        (void)in8((uint16_t)port);
        (void)in16((uint16_t)port);
        (void)in32((uint16_t)port);
    }
    for (unsigned i = 0; i < PORTS; i++) {
        uint16_t port = (uint16_t)(i % 2 ? rnd() : rnd() & 0x3ff);

        if (port_spared(port) || port_spared(port + 3))
            continue;
        switch (rnd() % 3) {
        case 0:
            out8(port, (uint8_t)rnd());
            break;
        case 1:
            out16(port, (uint16_t)rnd());
            break;
        default:
            out32(port, (uint32_t)rnd());
        }
        done++;
    }
    pic_init();
    CHECK("ports-survived", done > PORTS / 2);
}

/* Writing these with garbage would rightly break this kernel. */
static bool msr_spared(uint32_t msr)
{
    return msr == MSR_EFER || msr == MSR_APIC_BASE || msr == MSR_TSC || msr == MSR_TSC_ADJUST ||
           msr == MSR_TSC_DEADLINE;
}

/* Each either works or gives #GP, for reading and for garbage. */
static void check_msrs(void)
{
    static const uint32_t from[] = {0,          0x480,      0x800,      0xd00,      0x40000000,
                                    0x4b564d00, 0xc0000080, 0xc0010000, 0x80000000, 0xfffffff0};
    unsigned strange = 0, readable = 0;
    uint64_t v;

    for (unsigned r = 0; r < ARRAY_SIZE(from); r++) {
        for (uint32_t i = 0; i < (r == 0 ? 0x400u : 0x10u); i++) {
            uint32_t msr = from[r] + i;
            unsigned vector = rdmsr_safe(msr, &v);

            strange += vector != TRAP_NONE && vector != VEC_GP;
            if (vector != TRAP_NONE)
                continue;
            readable++;
            if (msr_spared(msr))
                continue;
            vector = wrmsr_safe(msr, rnd());
            strange += vector != TRAP_NONE && vector != VEC_GP;
            vector = wrmsr_safe(msr, v);
            strange += vector != TRAP_NONE && vector != VEC_GP;
        }
    }
    check_info("msrs-readable", readable);
    CHECK_EQ("msrs-work-or-gp", strange, 0);
}

/* Where no RAM is; not the APICs, whose registers can send INIT. */
static void check_mmio(void)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < ACCESSES; i++) {
        uint64_t a = HOLE + rnd() % 0x2c000000;

        switch (rnd() % 5) {
        case 0:
            sum += *(volatile uint8_t *)a;
            break;
        case 1:
            sum += *(volatile uint64_t *)(a & ~7ul);
            break;
        case 2:
            *(volatile uint16_t *)a = (uint16_t)rnd();
            break;
        case 3:
            asm volatile("lock xaddq %0, (%1)" : "+r"(sum) : "r"(a) : "memory", "cc");
            break;
        default:
            asm volatile("movups %%xmm0, (%0); movups (%0), %%xmm0" : : "r"(a) : "memory");
        }
    }
    CHECK("mmio-survived", true);
    check_info("mmio-sum", sum);
}

/* Ring 3 gets two pages of its own, and nothing else of this kernel. */
static void map_window(void)
{
    boot_pml4[2] = (uint64_t)pdpt | PTE_P | PTE_W | PTE_U;
    pdpt[0] = (uint64_t)pd | PTE_P | PTE_W | PTE_U;
    pd[0] = (uint64_t)pt | PTE_P | PTE_W | PTE_U;
    pt[0] = (uint64_t)code[0] | PTE_P | PTE_W | PTE_U;
    pt[1] = (uint64_t)code[1] | PTE_P | PTE_W | PTE_U;
    for (unsigned i = 0; i < 4 * 512; i++)
        boot_pd_user[i] &= ~PTE_U;
    write_cr3(read_cr3());
}

/* One page of noise, run until it traps or its time is over; how it ended. */
static __attribute__((noinline)) unsigned run_noise(void)
{
    struct trap t;

    for (unsigned j = 0; j < sizeof(code[0]) / 8; j += 1 + (j > 16) * 15)
        ((uint64_t *)code[0])[j] = rnd();
    apic_write(APIC_LVT_TIMER, VEC_TIMER);
    apic_write(APIC_TMR_INITIAL, TIME_SLICE);
    TRAP_CATCH(t, user_enter((void *)WINDOW, RFLAGS_IF, WINDOW + 4096));
    apic_write(APIC_TMR_INITIAL, 0);
    apic_write(APIC_EOI, 0);
    write_dr6(0xffff0ff0);
    return t.vector;
}

static void check_random_code(void)
{
    unsigned ended[TRAP_NONE + 1] = {0}, kinds = 0;

    map_window();
    for (unsigned i = 0; i < ROUNDS; i++)
        ended[run_noise()]++;
    for (unsigned v = 0; v <= TRAP_NONE; v++)
        kinds += ended[v] != 0;
    check_info("random-code-kinds", kinds);
    CHECK("random-code-survived", ended[VEC_UD] + ended[VEC_GP] + ended[VEC_PF] > ROUNDS / 4);
    CHECK_EQ("random-code-no-escape", ended[VEC_DF] + ended[VEC_TS] + ended[VEC_MC], 0);
}

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

static void end_by_triple_fault(void)
{
    struct table_pointer none = {0, 0};

    asm volatile("lidt %0; ud2" : : "m"(none));
}

static void end_by_jump(void)
{
    asm volatile("jmp *%0" : : "r"(HOLE));
}

static void end_by_idt(void)
{
    struct table_pointer outside = {0xfff, HOLE};

    asm volatile("lidt %0; int3" : : "m"(outside));
}

static void end_by_cr3(void)
{
    write_cr3(HOLE);
}

static const struct ending {
    const char *word;
    void (*end)(void);
} endings[] = {
    {"triple", end_by_triple_fault},
    {"jump", end_by_jump},
    {"idt", end_by_idt},
    {"cr3", end_by_cr3},
};

static bool has_word(const char *word)
{
    for (const char *p = guest_cmdline; *p != '\0'; p++)
        if (strncmp(p, word, strlen(word)) == 0)
            return true;
    return false;
}

/* Comes back only if the attack did nothing at all, or gave a trap, which is right, too. */
static void attack(const struct ending *e)
{
    struct trap t;

    console_print("info ending-by %s\n", e->word);
    console_drain();
    TRAP_CATCH(t, e->end());
    CHECK("ended-or-trapped", t.vector != TRAP_NONE);
}

void guest_main(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(endings); i++)
        if (has_word(endings[i].word)) {
            attack(&endings[i]);
            return;
        }
    apic_init();
    check_group(check_vmx);
    check_group(check_ports);
    apic_init();
    check_group(check_msrs);
    check_group(check_mmio);
    check_group(check_random_code);
}
