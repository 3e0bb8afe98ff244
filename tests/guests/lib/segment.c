#include "segment.h"

#define TSS_AVAILABLE 0x89
#define STACK_BYTES   8192

static uint64_t gdt[SEL_LIMIT / 8] __attribute__((aligned(16)));
static struct tss64 tss;
static uint8_t stacks[3][STACK_BYTES] __attribute__((aligned(16)));

uint64_t *segment_descriptor(unsigned selector)
{
    return &gdt[selector / 8];
}

struct tss64 *segment_tss(void)
{
    return &tss;
}

uint64_t segment_make(uint32_t base, uint32_t limit, unsigned access, unsigned flags)
{
    return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 |
           (uint64_t)(limit >> 16 & 0xf) << 48 | (uint64_t)flags << 52 |
           (uint64_t)(base >> 24) << 56;
}

void segment_load_gdt(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer = {sizeof(gdt) - 1, (uint64_t)gdt};

    asm volatile("lgdt %0" : : "m"(pointer));
}

static void fill_gdt(void)
{
    *segment_descriptor(SEL_CODE64) = segment_make(0, 0xfffff, SEG_CODE, SEG_4K | SEG_64);
    *segment_descriptor(SEL_DATA) = segment_make(0, 0xfffff, SEG_DATA, SEG_4K | SEG_32);
    *segment_descriptor(SEL_USER_CODE32) =
        segment_make(0, 0xfffff, SEG_CODE | SEG_DPL3, SEG_4K | SEG_32);
    *segment_descriptor(SEL_USER_DATA) =
        segment_make(0, 0xfffff, SEG_DATA | SEG_DPL3, SEG_4K | SEG_32);
    *segment_descriptor(SEL_USER_CODE64) =
        segment_make(0, 0xfffff, SEG_CODE | SEG_DPL3, SEG_4K | SEG_64);
    *segment_descriptor(SEL_CODE32) = segment_make(0, 0xfffff, SEG_CODE, SEG_4K | SEG_32);
    *segment_descriptor(SEL_CODE16) = segment_make(0, 0xffff, SEG_CODE, 0);
    *segment_descriptor(SEL_DATA16) = segment_make(0, 0xffff, SEG_DATA, 0);
    *segment_descriptor(SEL_DATA32) = segment_make(0, 0xfffff, SEG_DATA, SEG_4K | SEG_32);
}

static void fill_tss(void)
{
    uint64_t base = (uint64_t)&tss;

    tss.rsp[0] = (uint64_t)(stacks[0] + STACK_BYTES);
    tss.ist[IST_DOUBLE_FAULT - 1] = (uint64_t)(stacks[1] + STACK_BYTES);
    tss.ist[IST_SPARE - 1] = (uint64_t)(stacks[2] + STACK_BYTES);
    tss.io_base = offsetof(struct tss64, io_bitmap);
    for (unsigned i = 0; i < sizeof(tss.io_bitmap); i++)
        tss.io_bitmap[i] = 0xff;
    segment_descriptor(SEL_TSS)[0] =
        segment_make((uint32_t)base, sizeof(tss) - 1, TSS_AVAILABLE, 0);
    segment_descriptor(SEL_TSS)[1] = base >> 32;
}

void segment_init(void)
{
    fill_gdt();
    fill_tss();
    segment_load_gdt();
    asm volatile("pushq %0; leaq 1f(%%rip), %%rax; pushq %%rax; lretq; 1:"
                 "mov %w1, %%ds; mov %w1, %%es; mov %w1, %%ss; mov %w2, %%fs; mov %w2, %%gs;"
                 "ltr %w3"
                 :
                 : "i"(SEL_CODE64), "r"(SEL_DATA), "r"(0), "r"(SEL_TSS)
                 : "rax", "memory");
}
