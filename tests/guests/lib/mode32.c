#include "mode32.h"
#include "check.h"
#include "segment.h"
#include "trap.h"
#include "x86.h"
#include "lib/string.h"

#define GATE32        0x8eul /* present interrupt gate, 32 bits */
#define TSS_AVAILABLE 0x89
#define TSS_BUSY      (2ul << 40)

void mode32_enter(const void *code);
extern uint64_t idt32[256];
extern const uint64_t stubs32[256];
extern volatile uint32_t trap32_unexpected;
extern char stack32_top[];

uint64_t *mode32_gate(unsigned vector)
{
    return &idt32[vector];
}

void mode32_set_gate(unsigned vector, unsigned dpl)
{
    uint64_t entry = stubs32[vector];

    idt32[vector] = (entry & 0xffff) | (uint64_t)SEL_CODE32 << 16 | (GATE32 | dpl << 5) << 40 |
                    (entry >> 16 & 0xffff) << 48;
}

static void reload_tr(void)
{
    segment_load_gdt();
    *segment_descriptor(SEL_TSS) &= ~TSS_BUSY;
    asm volatile("ltr %w0" : : "r"(SEL_TSS) : "memory");
}

void mode32_init(void)
{
    for (unsigned v = 0; v < 256; v++)
        mode32_set_gate(v, 0);
}

bool mode32_call(const void *code)
{
    mode32_enter(code);
    trap_load_idt();
    reload_tr();
    if (trap32_unexpected)
        console_print("info unexpected-trap %u error %#x at %x:%x eflags %x\n", trap32_frame.vector,
                      trap32_frame.error, trap32_frame.cs, trap32_frame.eip, trap32_frame.eflags);
    return !trap32_unexpected;
}

void mode32_check(const struct mode32_result *results, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        CHECK_EQ(results[i].name, *results[i].got, results[i].want);
}

void mode32_make_tss(struct tss32 *tss, unsigned selector)
{
    memset(tss, 0, sizeof(*tss));
    tss->esp0 = (uint32_t)(uint64_t)stack32_top - 4096;
    tss->ss0 = SEL_DATA;
    tss->io_base = offsetof(struct tss32, io_bitmap);
    memset(tss->io_bitmap, 0xff, sizeof(tss->io_bitmap));
    *segment_descriptor(selector) =
        segment_make((uint32_t)(uint64_t)tss, sizeof(*tss) - 1, TSS_AVAILABLE, 0);
}
