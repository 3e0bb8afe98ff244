/* Virtual-8086 mode: segments, IOPL, software interrupts, the I/O bitmap, what is privileged. */
#include "lib/guest.h"

#define LOW        0x9000ul /* as in v86.asm */
#define SEL_V86TSS (SEL_FREE + 0x08)
#define ERROR_IDT  2
#define PORT_FREE  0x2340

struct v86_request {
    uint32_t ip, eflags, cr4;
};

extern const char v86_run[], v86_start[], v86_end[];
extern const char v86_segments[], v86_far[], v86_cli[], v86_pushf[], v86_int[], v86_int3[],
    v86_in[], v86_ins[], v86_cr0[], v86_limit[], v86_divide[], v86_cpuid[], v86_lgdt[],
    v86_prefix[];

struct v86_request v86_request;
static struct tss32 tss;

/* Runs a piece; the trap that ended it as mode32.inc packs it. */
static uint32_t run_with(const char *piece, uint32_t eflags, uint32_t cr4)
{
    memcpy((void *)LOW, v86_start, (size_t)(v86_end - v86_start));
    mode32_make_tss(&tss, SEL_V86TSS);
    v86_request = (struct v86_request){(uint32_t)(piece - v86_start), eflags, cr4};
    if (!mode32_call(v86_run))
        return ~0u;
    return TRAP32(trap32_frame.vector, trap32_frame.error);
}

static uint32_t run(const char *piece, uint32_t eflags)
{
    return run_with(piece, eflags, 0);
}

/* The piece came to its HLT and left that in eax. */
static bool ends_with(const char *piece, uint32_t eflags, uint32_t eax)
{
    return run(piece, eflags) == TRAP32(VEC_GP, 0) && trap32_frame.eax == eax;
}

static void check_execution(void)
{
    CHECK("segments-and-stack", ends_with(v86_segments, 0, 0x0badcafe));
    CHECK("frame-says-v86", trap32_frame.eflags & RFLAGS_VM);
    CHECK_EQ("frame-cs", trap32_frame.cs, LOW >> 4);
    CHECK_EQ("frame-ds", trap32_frame.ds, LOW >> 4);
    CHECK_EQ("frame-sp", trap32_frame.esp, LOW - 16);
    CHECK("far-call", ends_with(v86_far, 0, 0xfa6));
    CHECK("operand-size-prefix", ends_with(v86_prefix, 0, 0x33456 + 0x3456 * 4));
    CHECK("cpuid", ends_with(v86_cpuid, 0, cpuid(0, 0).ebx));
}

static void check_iopl(void)
{
    CHECK_EQ("cli-iopl-0", run(v86_cli, 0), TRAP32(VEC_GP, 0));
    CHECK("cli-iopl-0-at-cli", trap32_frame.eax != 0xc11);
    CHECK("cli-iopl-3", ends_with(v86_cli, RFLAGS_IOPL3, 0xc11));
    run(v86_cli, RFLAGS_IOPL3 | RFLAGS_IF);
    CHECK_EQ("cli-clears-if", trap32_frame.eflags & RFLAGS_IF, 0);
    CHECK_EQ("pushf-iopl-0", run(v86_pushf, 0), TRAP32(VEC_GP, 0));
    CHECK_EQ("pushf-iopl-0-at-pushf", trap32_frame.eip, (uint32_t)(v86_pushf - v86_start));
    run(v86_pushf, RFLAGS_IOPL3);
    CHECK_EQ("pushf-iopl-3", trap32_frame.eax & RFLAGS_IOPL3, RFLAGS_IOPL3);
}

static void check_interrupts(void)
{
    mode32_set_gate(0x80, 3);
    mode32_set_gate(VEC_BP, 3);
    CHECK_EQ("int-iopl-0", run(v86_int, 0), TRAP32(VEC_GP, 0));
    CHECK_EQ("int-iopl-3", run(v86_int, RFLAGS_IOPL3), TRAP32(0x80, 0));
    CHECK_EQ("int-iopl-3-eax", trap32_frame.eax, 0x111);
    CHECK_EQ("int3", run(v86_int3, 0), TRAP32(VEC_BP, 0));
    mode32_set_gate(0x80, 0);
    CHECK_EQ("int-gate-dpl-0", run(v86_int, RFLAGS_IOPL3), TRAP32(VEC_GP, 0x80 * 8 + ERROR_IDT));
    CHECK_EQ("divide", run(v86_divide, 0), TRAP32(VEC_DE, 0));
}

/* With VME a software interrupt may stay in V86 mode: its vector table is at 0. */
static void check_vme(void)
{
    volatile uint16_t *ivt = (volatile uint16_t *)(0x80ul * 4);
    uint16_t saved[2] = {ivt[0], ivt[1]};

    if (!(cpuid(1, 0).edx & BIT(1))) {
        check_skip("vme-int-redirected", "no VME");
        check_skip("vme-cli-virtual", "no VME");
        return;
    }
    ivt[0] = (uint16_t)(v86_divide - v86_start);
    ivt[1] = LOW >> 4;
    CHECK_EQ("vme-int-redirected", run_with(v86_int, RFLAGS_IOPL3, CR4_VME), TRAP32(VEC_DE, 0));
    ivt[0] = saved[0];
    ivt[1] = saved[1];
    run_with(v86_cli, BIT(19), CR4_VME); /* CLI clears VIF instead */
    CHECK("vme-cli-virtual", trap32_frame.eax == 0xc11 && !(trap32_frame.eflags & BIT(19)));
}

static void check_ports(void)
{
    CHECK_EQ("in-denied", run(v86_in, 0), TRAP32(VEC_GP, 0));
    CHECK_EQ("in-denied-at-in", *(volatile uint8_t *)(LOW + trap32_frame.eip), 0xec);
    CHECK_EQ("in-denied-even-iopl-3", run(v86_in, RFLAGS_IOPL3), TRAP32(VEC_GP, 0));
    CHECK_EQ("in-denied-iopl-3-at-in", *(volatile uint8_t *)(LOW + trap32_frame.eip), 0xec);
}

static uint32_t run_allowed(const char *piece)
{
    memcpy((void *)LOW, v86_start, (size_t)(v86_end - v86_start));
    mode32_make_tss(&tss, SEL_V86TSS);
    tss.io_bitmap[PORT_FREE / 8] &= (uint8_t) ~(1 << PORT_FREE % 8);
    v86_request = (struct v86_request){(uint32_t)(piece - v86_start), 0, 0};
    return mode32_call(v86_run) ? trap32_frame.eax : 0;
}

static void check_ports_allowed(void)
{
    CHECK_EQ("in-allowed", run_allowed(v86_in), 0xff);
    CHECK_EQ("ins-allowed", run_allowed(v86_ins), 0xff);
}

static void check_privileged(void)
{
    CHECK_EQ("mov-cr0", run(v86_cr0, RFLAGS_IOPL3), TRAP32(VEC_GP, 0));
    CHECK_EQ("mov-cr0-at-once", trap32_frame.eip, (uint32_t)(v86_cr0 - v86_start));
    CHECK_EQ("lgdt", run(v86_lgdt, RFLAGS_IOPL3), TRAP32(VEC_GP, 0));
    CHECK_EQ("lgdt-at-once", trap32_frame.eip, (uint32_t)(v86_lgdt - v86_start));
    CHECK_EQ("segment-limit", run(v86_limit, 0), TRAP32(VEC_GP, 0));
    CHECK_EQ("segment-limit-rip", *(volatile uint16_t *)(LOW + trap32_frame.eip), 0x8b66);
}

void guest_main(void)
{
    check_group(check_execution);
    check_group(check_iopl);
    check_group(check_interrupts);
    check_group(check_vme);
    check_group(check_ports);
    check_group(check_ports_allowed);
    check_group(check_privileged);
}
