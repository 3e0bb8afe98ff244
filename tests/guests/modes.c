/* Processor modes: protected mode of 32 and 16 bits, real and big real mode, paging of all kinds.
 */
#include "lib/guest.h"

#define LOW          0x8000ul /* as in modes.asm */
#define SEL_SMALL    SEL_FREE
#define SEL_GATE     (SEL_FREE + 0x08)
#define SEL_C16      (SEL_FREE + 0x10)
#define CALL_GATE32  0x8cul
#define VIRTUAL_4M   0x200 /* page directory entry of 0x80000000 */
#define HEADER_MAGIC 0x1badb002
#define ERR_P        1
#define ERR_W        2

extern const char protected32[], paging32[], paging_pae[], real_mode[], real_start[], real_end[];
extern const char gate_target[], code16[];
extern uint64_t boot_pd_kernel[4 * 512];
extern volatile uint32_t r_cr0, r_push, r_pop, r_divide, r_selector, r_base, r_limit, r_null,
    r_gate, r_code16, r_int, r_paged, r_protect, r_absent, r_paged32, r_protect32, r_absent32,
    r_bad_pdpte, r_old_pdpte;
extern char v_msw[], v_segment[], v_a20[], v_far[], v_int[], v_int_flags[], v_divide[], v_invalid[],
    v_limit[], v_string[], v_cpuid[], v_in[], v_irq[], v_big[], v_big_again[];

uint32_t modes_page_dir[1024] __attribute__((aligned(4096)));
uint64_t modes_pdpt[4] __attribute__((aligned(32)));
uint64_t modes_bad_pdpt[4] __attribute__((aligned(32)));
uint8_t modes_buffer[4096] __attribute__((aligned(4096)));
static uint32_t page_table[1024] __attribute__((aligned(4096)));
static uint64_t pae_pd[512] __attribute__((aligned(4096)));
static uint64_t pae_pt[512] __attribute__((aligned(4096)));

static void check_protected(void)
{
    uint64_t gate = (uint64_t)gate_target;
    const struct mode32_result results[] = {
        {"p32-no-paging", &r_cr0, 1},
        {"p32-push-is-4-bytes", &r_push, 4},
        {"p32-pop", &r_pop, 0x12345678},
        {"p32-de", &r_divide, TRAP32(VEC_DE, 0)},
        {"p32-gp-selector", &r_selector, TRAP32(VEC_GP, 0x4008)},
        {"p32-segment-base", &r_base, 0xcafe},
        {"p32-segment-limit", &r_limit, TRAP32(VEC_GP, 0)},
        {"p32-null-segment", &r_null, TRAP32(VEC_GP, 0)},
        {"p32-call-gate", &r_gate, 0x9a7e},
        {"p16-code", &r_code16, 2},
        {"p32-int-n", &r_int, TRAP32(0x30, 0)},
    };

    *segment_descriptor(SEL_SMALL) =
        segment_make((uint32_t)(uint64_t)modes_buffer, 0xfff, SEG_DATA, SEG_32);
    *segment_descriptor(SEL_GATE) = (gate & 0xffff) | (uint64_t)SEL_CODE32 << 16 |
                                    CALL_GATE32 << 40 | (gate >> 16 & 0xffff) << 48;
    *segment_descriptor(SEL_C16) = segment_make((uint32_t)(uint64_t)code16, 0xffff, SEG_CODE, 0);
    CHECK("p32-came-back", mode32_call(protected32));
    mode32_check(results, ARRAY_SIZE(results));
}

/* Everything one to one by 4 MiB pages, but for two small pages at 2 GiB. */
static void check_paging32(void)
{
    const struct mode32_result results[] = {
        {"paging32-reads", &r_paged32, 0x1234abcd},
        {"paging32-read-only", &r_protect32, TRAP32(VEC_PF, ERR_P | ERR_W)},
        {"paging32-absent", &r_absent32, TRAP32(VEC_PF, ERR_W)},
    };

    for (uint32_t i = 0; i < 1024; i++)
        modes_page_dir[i] = i << 22 | PTE_P | PTE_W | PTE_PS;
    page_table[0] = (uint32_t)(uint64_t)modes_buffer | PTE_P;
    modes_page_dir[VIRTUAL_4M] = (uint32_t)(uint64_t)page_table | PTE_P | PTE_W;
    CHECK("paging32-came-back", mode32_call(paging32));
    mode32_check(results, ARRAY_SIZE(results));
    CHECK_EQ("paging32-cr2", trap32_cr2, 0x80001000);
    CHECK("paging32-accessed", page_table[0] & PTE_A);
}

static void check_pae(void)
{
    const struct mode32_result results[] = {
        {"pae-reads", &r_paged, 0x1234abcd},
        {"pae-read-only", &r_protect, TRAP32(VEC_PF, ERR_P | ERR_W)},
        {"pae-absent", &r_absent, TRAP32(VEC_PF, ERR_W)},
        {"pae-bad-pdpte", &r_bad_pdpte, TRAP32(VEC_GP, 0)},
        {"pae-keeps-old-pdptes", &r_old_pdpte, 0x1234abcd},
    };

    for (unsigned i = 0; i < 4; i++)
        modes_pdpt[i] = (uint64_t)(boot_pd_kernel + i * 512) | PTE_P;
    pae_pt[0] = (uint64_t)modes_buffer | PTE_P;
    pae_pd[0] = (uint64_t)pae_pt | PTE_P | PTE_W;
    modes_pdpt[2] = (uint64_t)pae_pd | PTE_P;
    memcpy(modes_bad_pdpt, modes_pdpt, sizeof(modes_pdpt));
    modes_bad_pdpt[3] |= BIT(1);
    CHECK("pae-came-back", mode32_call(paging_pae));
    mode32_check(results, ARRAY_SIZE(results));
}

/* A real-mode result, where the copy of the code left it. */
#define IN_COPY(v) ((volatile uint32_t *)(LOW + (uint64_t)((v)-real_start)))

static void check_real(void)
{
    const struct mode32_result results[] = {
        {"real-pe-clear", IN_COPY(v_msw), 0},
        {"real-segment", IN_COPY(v_segment), 0x600df00d},
        {"real-a20", IN_COPY(v_a20), HEADER_MAGIC},
        {"real-far-call", IN_COPY(v_far), 0xfa4},
        {"real-int", IN_COPY(v_int), 0x100},
        {"real-iret-flags", IN_COPY(v_int_flags), 1},
        {"real-de", IN_COPY(v_divide), 0xdead},
        {"real-ud", IN_COPY(v_invalid), 0xdead},
        {"real-limit", IN_COPY(v_limit), 0x13},
        {"real-string", IN_COPY(v_string), (2 << 16 | 1) + (8 << 16 | 7)},
        {"real-cpuid", IN_COPY(v_cpuid), cpuid(0, 0).ebx},
        {"real-port", IN_COPY(v_in), 0x3c},
        {"real-irq-and-hlt", IN_COPY(v_irq), 0x120},
        {"big-real", IN_COPY(v_big), HEADER_MAGIC},
        {"big-real-new-base", IN_COPY(v_big_again), HEADER_MAGIC},
    };

    memcpy((void *)LOW, real_start, (size_t)(real_end - real_start));
    pit_set(0, 0, 5000);
    pic_unmask(IRQ_PIT);
    CHECK("real-came-back", mode32_call(real_mode));
    pic_mask_all();
    mode32_check(results, ARRAY_SIZE(results));
}

/* Long mode works as before, also its interrupts; and the trip can be made often. */
static void check_again(void)
{
    unsigned back = 0;
    struct trap t;

    for (unsigned i = 0; i < 50; i++)
        back += mode32_call(protected32);
    CHECK_EQ("fifty-trips", back, 50);
    TRAP_CATCH(t, asm volatile("ud2"));
    CHECK_TRAP("long-mode-traps", t, VEC_UD, 0);
    CHECK_EQ("long-mode-efer", rdmsr(MSR_EFER) & (EFER_LME | EFER_LMA), EFER_LME | EFER_LMA);
}

void guest_main(void)
{
    apic_init();
    check_group(check_protected);
    check_group(check_paging32);
    check_group(check_pae);
    check_group(check_real);
    check_group(check_again);
}
