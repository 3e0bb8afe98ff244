/* Task switches by hardware, which always exit to a hypervisor (SDM vol. 3 ch. 8). */
#include "lib/guest.h"

#define SEL_A      (SEL_FREE + 0x08) /* as in tasks.asm */
#define SEL_B      (SEL_FREE + 0x10)
#define SEL_SHORT  (SEL_FREE + 0x18)
#define SEL_ABSENT (SEL_FREE + 0x20)
#define GATE_INT   0x31
#define TASK_GATE  0x85ul
#define TSS_FREE   9
#define TSS_BUSY   11
#define EFLAGS_NT  BIT(14)

extern const char tasks_run[], task_b[];
extern volatile uint32_t b_gdt, b_link;
extern volatile uint32_t t_call_ebx, t_call_b_ebx, t_call_b_tr, t_call_nt, t_call_ts, t_call_a_busy,
    t_call_b_free, t_back_nt, t_back_tr, t_jmp_nt, t_jmp_a_free, t_jmp_back_a_busy,
    t_jmp_back_b_free, t_int_edi, t_count, t_error, t_busy, t_short;

static struct tss32 tss_a, tss_b;
static uint8_t stack_b[2048] __attribute__((aligned(16)));

static void make_tasks(void)
{
    mode32_make_tss(&tss_a, SEL_A);
    mode32_make_tss(&tss_b, SEL_B);
    tss_b.eip = (uint32_t)(uint64_t)task_b;
    tss_b.esp = (uint32_t)(uint64_t)(stack_b + sizeof(stack_b));
    tss_b.eflags = RFLAGS_FIXED;
    tss_b.ebx = 0xbbbb;
    tss_b.cs = SEL_CODE32;
    tss_b.ds = tss_b.es = tss_b.ss = tss_b.fs = tss_b.gs = SEL_DATA;
    *segment_descriptor(SEL_SHORT) = segment_make((uint32_t)(uint64_t)&tss_b, 0x66, 0x89, 0);
    *segment_descriptor(SEL_ABSENT) =
        segment_make(0, 0xfffff, SEG_DATA & ~SEG_PRESENT, SEG_4K | SEG_32);
    *mode32_gate(GATE_INT) = (uint64_t)SEL_B << 16 | TASK_GATE << 40;
    *mode32_gate(VEC_NP) = (uint64_t)SEL_B << 16 | TASK_GATE << 40;
    b_gdt = (uint32_t)(uint64_t)segment_descriptor(0);
    b_link = (uint32_t)(uint64_t)&tss_a;
}

static void check_tasks(void)
{
    const struct mode32_result results[] = {
        {"call-keeps-our-registers", &t_call_ebx, 0xaaaa},
        {"call-loads-registers", &t_call_b_ebx, 0xbbbb},
        {"call-loads-tr", &t_call_b_tr, SEL_B},
        {"call-sets-nt", &t_call_nt, EFLAGS_NT},
        {"call-sets-ts", &t_call_ts, CR0_TS},
        {"call-leaves-busy", &t_call_a_busy, TSS_BUSY},
        {"iret-frees", &t_call_b_free, TSS_FREE},
        {"iret-clears-nt", &t_back_nt, 0},
        {"iret-loads-tr", &t_back_tr, SEL_A},
        {"jmp-is-not-nested", &t_jmp_nt, 0},
        {"jmp-frees", &t_jmp_a_free, TSS_FREE},
        {"jmp-back-busy", &t_jmp_back_a_busy, TSS_BUSY},
        {"jmp-back-frees", &t_jmp_back_b_free, TSS_FREE},
        {"int-task-gate", &t_int_edi, 0x1d1d},
        {"task-ran-each-time", &t_count, 3},
        {"exception-task-gate-error", &t_error, SEL_ABSENT},
        {"busy-task", &t_busy, TRAP32(VEC_GP, SEL_A)},
        {"short-tss", &t_short, TRAP32(VEC_TS, SEL_SHORT)},
    };

    make_tasks();
    CHECK("came-back", mode32_call(tasks_run));
    mode32_check(results, ARRAY_SIZE(results));
    CHECK_EQ("back-link", tss_b.link & 0xffff, SEL_A);
    CHECK("saved-eip",
          tss_a.eip > (uint32_t)(uint64_t)tasks_run && tss_a.eip < (uint32_t)(uint64_t)task_b);
}

void guest_main(void)
{
    check_group(check_tasks);
}
