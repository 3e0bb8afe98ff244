/*
 * Instruction forms on memory-mapped registers. The register is the local APIC's initial count,
 * with its timer masked: 32 bits that hold what is written and do nothing else. Every form runs
 * once on it and once on RAM, and both must agree in memory, register and flags. Sizes that the
 * APIC does not take are tried on an address that nobody answers: reads give ones.
 */
#include "lib/guest.h"

#define HOLE 0xd0000000ul

struct mmio_form {
    const char *name;
    void *code;
    uint64_t before;
};
extern const struct mmio_form mmio_forms[], mmio_forms_end[];

struct outcome {
    uint64_t rax, flags;
    uint32_t memory;
};

/* The instruction's result in RAX, its flags in RDX. */
static struct outcome run(const struct mmio_form *form, volatile uint32_t *at)
{
    struct outcome o;
    uint64_t rdi = (uint64_t)at, rsi = form->before;

    mmio_write32((uint64_t)at, (uint32_t)form->before);
    asm volatile("call *%[code]"
                 : "=&a"(o.rax), "=&d"(o.flags), "+D"(rdi), "+S"(rsi)
                 : [code] "r"(form->code)
                 : "rcx", "memory", "cc");
    o.memory = mmio_read32((uint64_t)at);
    return o;
}

static __attribute__((noinline)) struct trap try_form(const struct mmio_form *form,
                                                      volatile uint32_t *at, struct outcome *o)
{
    struct trap t;

    TRAP_CATCH(t, *o = run(form, at));
    return t;
}

static void check_forms(void)
{
    static volatile uint32_t ram[4];
    volatile uint32_t *reg = (volatile uint32_t *)(APIC_BASE + APIC_TMR_INITIAL);

    apic_init();
    for (const struct mmio_form *f = mmio_forms; f < mmio_forms_end; f++) {
        struct outcome want = run(f, &ram[1]), got;
        struct trap t = try_form(f, reg, &got);

        if (t.vector != TRAP_NONE)
            CHECK_NO_TRAP(f->name, t);
        else if (got.memory != want.memory)
            CHECK_EQ(f->name, got.memory, want.memory);
        else
            CHECK_EQ(f->name, got.rax ^ got.flags << 40, want.rax ^ want.flags << 40);
    }
    apic_write(APIC_TMR_INITIAL, 0);
}

#define LOAD(insn, type, at)                                      \
    ({                                                            \
        type v_ = 0;                                              \
        asm volatile(insn : "+r"(v_) : "r"(at) : "memory", "cc"); \
        v_;                                                       \
    })

static void check_sizes(void)
{
    uint64_t at = HOLE + 0x100, v;

    CHECK_EQ("load-8", LOAD("movb (%1), %0", uint8_t, at), 0xff);
    CHECK_EQ("load-16", LOAD("movw (%1), %0", uint16_t, at), 0xffff);
    CHECK_EQ("load-32", LOAD("movl (%1), %0", uint32_t, at), 0xffffffff);
    CHECK_EQ("load-64", LOAD("movq (%1), %0", uint64_t, at), ~0ul);
    CHECK_EQ("load-8-keeps-upper", LOAD("movb (%1), %b0", uint64_t, at), 0xff);
    CHECK_EQ("movzx-8", LOAD("movzbl (%1), %k0", uint64_t, at), 0xff);
    CHECK_EQ("movzx-16", LOAD("movzwq (%1), %0", uint64_t, at), 0xffff);
    CHECK_EQ("movsx-8", LOAD("movsbq (%1), %0", uint64_t, at), ~0ul);
    CHECK_EQ("movsx-16", LOAD("movswl (%1), %k0", uint64_t, at), 0xffffffff);
    CHECK_EQ("movbe",
             cpuid(1, 0).ecx & BIT(22) ? LOAD("movbel (%1), %0", uint32_t, at) : 0xffffffff,
             0xffffffff);
    asm volatile("movb $0, (%0); movw $0, (%0); movl $0, (%0); movq $0, (%0)"
                 :
                 : "r"(at)
                 : "memory");
    CHECK_EQ("stores-dropped", LOAD("movq (%1), %0", uint64_t, at), ~0ul);
    asm volatile("xor %%eax, %%eax; movb (%1), %%ah" : "=&a"(v) : "r"(at) : "memory", "cc");
    CHECK_EQ("high-byte-register", v, 0xff00);
}

/* Forms that move more than a register's worth, or use the stack or the instruction pointer. */
static void check_other(void)
{
    uint64_t at = HOLE + 0x200, v = 0, low, high;
    struct trap t;

    asm volatile("pushq (%1); popq %0" : "=r"(v) : "r"(at) : "memory");
    CHECK_EQ("push-memory", v, ~0ul);
    asm volatile("pushq $5; popq (%0)" : : "r"(at) : "memory");
    CHECK_EQ("pop-memory-dropped", LOAD("movq (%1), %0", uint64_t, at), ~0ul);
    asm volatile("movups (%2), %%xmm0; movq %%xmm0, %0; psrldq $8, %%xmm0; movq %%xmm0, %1"
                 : "=r"(low), "=r"(high)
                 : "r"(at)
                 : "memory");
    CHECK_EQ("movups-load", low & high, ~0ul);
    asm volatile("movups %%xmm0, (%0); movaps (%0), %%xmm1" : : "r"(at) : "memory");
    CHECK_EQ("movups-store-dropped", LOAD("movq (%1), %0", uint64_t, at), ~0ul);
    TRAP_CATCH(t, asm volatile("call *(%0)" : : "r"(at) : "memory"));
    CHECK("call-memory", t.vector == VEC_PF || t.vector == VEC_GP || t.vector == VEC_UD);
    TRAP_CATCH(t, asm volatile("jmp *(%0)" : : "r"(at) : "memory"));
    CHECK("jmp-memory", t.vector == VEC_PF || t.vector == VEC_GP || t.vector == VEC_UD);
    asm volatile("cmpxchg8b (%0)" : : "r"(at), "a"(-1), "d"(-1), "b"(0), "c"(0) : "memory", "cc");
    CHECK_EQ("cmpxchg8b", LOAD("movq (%1), %0", uint64_t, at), ~0ul);
}

static uint8_t buffer[64];

static void check_strings(void)
{
    uint64_t at = HOLE + 0x1000 - 8, n;
    void *to = buffer;
    uint64_t from = at;
    unsigned ones = 0;

    memset(buffer, 0, sizeof(buffer));
    n = 16;
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
    for (unsigned i = 0; i < sizeof(buffer); i++)
        ones += buffer[i] == 0xff;
    CHECK_EQ("rep-movsb-over-pages", ones, 16);
    CHECK("rep-movsb-registers", n == 0 && to == buffer + 16 && from == at + 16);
    n = 5;
    from = at;
    to = (void *)(at + 64);
    asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
    CHECK("rep-movsq-both", n == 0 && (uint64_t)to == at + 64 + 40 && from == at + 40);
    n = 3;
    to = (void *)at;
    asm volatile("rep stosw" : "+D"(to), "+c"(n) : "a"(0) : "memory");
    CHECK("rep-stosw", n == 0 && (uint64_t)to == at + 6);
    n = 10;
    to = (void *)at;
    asm volatile("repe scasb" : "+D"(to), "+c"(n) : "a"(0xff) : "memory", "cc");
    CHECK_EQ("repe-scasb", n, 0);
    n = 10;
    to = (void *)at;
    asm volatile("repne scasl" : "+D"(to), "+c"(n) : "a"(-1) : "memory", "cc");
    CHECK_EQ("repne-scasl", n, 9);
}

void guest_main(void)
{
    check_group(check_forms);
    check_group(check_sizes);
    check_group(check_other);
    check_group(check_strings);
}
