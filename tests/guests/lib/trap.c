#include "trap.h"
#include "segment.h"
#include "lib/string.h"

#define GATE_PRESENT   0x80
#define GATE_INTERRUPT 0x0e

struct gate {
    uint64_t low, high;
};

extern const uint64_t trap_entries[256];

static struct gate idt[256] __attribute__((aligned(16)));
static trap_handler_t handlers[256];
static struct trap_context context;
static struct trap *expected;

void trap_set_gate(unsigned vector, unsigned ist, unsigned dpl)
{
    uint64_t entry = trap_entries[vector];
    uint64_t type = GATE_PRESENT | GATE_INTERRUPT | dpl << 5;

    idt[vector].low = (entry & 0xffff) | (uint64_t)SEL_CODE64 << 16 | (uint64_t)ist << 32 |
                      type << 40 | (entry >> 16 & 0xffff) << 48;
    idt[vector].high = entry >> 32;
}

uint64_t *trap_gate(unsigned vector)
{
    return &idt[vector].low;
}

void trap_load_idt(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer = {sizeof(idt) - 1, (uint64_t)idt};

    asm volatile("lidt %0" : : "m"(pointer));
}

void trap_init(void)
{
    for (unsigned v = 0; v < 256; v++)
        trap_set_gate(v, v == VEC_DF ? IST_DOUBLE_FAULT : 0, 0);
    trap_load_idt();
}

void trap_set_handler(unsigned vector, trap_handler_t handler)
{
    handlers[vector] = handler;
}

struct trap_context *trap_arm(struct trap *t)
{
    memset(t, 0, sizeof(*t));
    t->vector = TRAP_NONE;
    expected = t;
    return &context;
}

void trap_disarm(void)
{
    expected = NULL;
}

static void unexpected(const struct trap_frame *f)
{
    console_init(); /* whatever the kernel has done to COM1 */
    console_print("registers cs:rip %lx:%lx ss:rsp %lx:%lx rflags %lx cr2 %lx\n", f->cs, f->rip,
                  f->ss, f->rsp, f->rflags, read_cr2());
    check_report("unexpected-trap", "trap", (int)f->vector, false, f->vector << 32 | f->error, 0);
    check_finish();
}

void trap_dispatch(struct trap_frame *f);
void trap_dispatch(struct trap_frame *f)
{
    struct trap *t = expected;

    if (handlers[f->vector] != NULL) {
        handlers[f->vector](f);
        return;
    }
    if (t == NULL)
        unexpected(f);
    t->vector = (unsigned)f->vector;
    t->error = f->error;
    t->cr2 = read_cr2();
    t->dr6 = read_dr6();
    t->frame = *f;
    expected = NULL;
    trap_return(&context);
}

unsigned rdmsr_safe(uint32_t msr, uint64_t *value)
{
    struct trap t;

    TRAP_CATCH(t, *value = rdmsr(msr));
    return t.vector;
}

unsigned wrmsr_safe(uint32_t msr, uint64_t value)
{
    struct trap t;

    TRAP_CATCH(t, wrmsr(msr, value));
    return t.vector;
}
