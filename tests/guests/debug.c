/* Debug registers, breakpoints, single steps (SDM vol. 3 ch. 17), also over instructions that exit.
 */
#include "lib/guest.h"

#define DR6_FIXED    0xffff0ff0ul
#define DR6_BD       BIT(13)
#define DR6_BS       BIT(14)
#define DR6_RTM      BIT(16) /* may be written where there is RTM */
#define DR7_FIXED    BIT(10)
#define DR7_GD       BIT(13)
#define DR7_L(n)     BIT(2 * (n))
#define DR7_EXECUTE  0ul
#define DR7_WRITE    1ul
#define DR7_IO       2ul
#define DR7_ACCESS   3ul
#define DR7_RW(n, t) ((uint64_t)(t) << (16 + 4 * (n)))
#define DR7_LEN4(n)  (3ul << (18 + 4 * (n)))
#define MAX_STEPS    64

void debug_steps(void *memory);
void debug_mov_ss(const uint16_t *selector);
uint32_t debug_execute(void);
void debug_icebp(void);
void debug_write(uint32_t *memory);
extern const uint64_t debug_step_labels[], debug_step_labels_end[];
extern const char debug_mov_ss_after[], debug_execute_here[], debug_icebp_after[],
    debug_write_after[];

static struct {
    unsigned n;
    uint64_t rip[MAX_STEPS], dr6[MAX_STEPS], rflags[MAX_STEPS];
} seen;

/* Notes every #DB; RF is set so that an execution breakpoint lets its instruction pass. */
static void on_debug(struct trap_frame *f)
{
    if (seen.n < MAX_STEPS) {
        seen.rip[seen.n] = f->rip;
        seen.dr6[seen.n] = read_dr6();
        seen.rflags[seen.n] = f->rflags;
    }
    seen.n++;
    write_dr6(DR6_FIXED);
    f->rflags |= RFLAGS_RF;
}

static void start(void)
{
    memset(&seen, 0, sizeof(seen));
    write_dr6(DR6_FIXED);
}

static void check_registers(void)
{
    struct trap t;
    uint64_t v;

    write_dr0(0x1111111111111000ul);
    write_dr1(0x2222);
    write_dr2(0xffff800000000000ul);
    write_dr3(0x4444);
    CHECK_EQ("dr0", read_dr0(), 0x1111111111111000ul);
    CHECK_EQ("dr1", read_dr1(), 0x2222);
    CHECK_EQ("dr2", read_dr2(), 0xffff800000000000ul);
    CHECK_EQ("dr3", read_dr3(), 0x4444);
    write_dr6(0);
    CHECK_EQ("dr6-fixed-ones", read_dr6() | DR6_RTM, DR6_FIXED | DR6_RTM);
    write_dr6(DR6_FIXED);
    write_dr7(0);
    CHECK_EQ("dr7-fixed-one", read_dr7(), DR7_FIXED);
    TRAP_CATCH(t, write_dr7(BIT(32)));
    CHECK_TRAP("dr7-high-half", t, VEC_GP, 0);
    TRAP_CATCH(t, write_dr6(BIT(32)));
    CHECK_TRAP("dr6-high-half", t, VEC_GP, 0);
    asm volatile(".byte 0x0f, 0x21, 0xe0" : "=a"(v)); /* mov rax, dr4 */
    CHECK_EQ("dr4-is-dr6", v, read_dr6());
    write_cr4(read_cr4() | CR4_DE);
    TRAP_CATCH(t, asm volatile(".byte 0x0f, 0x21, 0xe0" : : : "rax"));
    CHECK_TRAP("dr4-with-de", t, VEC_UD, 0);
    write_cr4(read_cr4() & ~CR4_DE);
}

static void check_steps(void)
{
    unsigned want = (unsigned)(debug_step_labels_end - debug_step_labels), wrong = 0;
    bool all_bs = true;
    uint8_t memory[16];

    start();
    debug_steps(memory);
    CHECK_EQ("step-count", seen.n, want);
    for (unsigned i = 0; i < MIN(seen.n, want); i++) {
        if (seen.rip[i] != debug_step_labels[i] && wrong++ == 0)
            console_print("info step-first-wrong %u at %#lx not %#lx\n", i, seen.rip[i],
                          debug_step_labels[i]);
        all_bs = all_bs && (seen.dr6[i] & (DR6_BS | 0xf)) == DR6_BS;
    }
    CHECK_EQ("step-addresses", wrong, 0);
    CHECK("step-dr6", all_bs);
}

static void check_data(void)
{
    static uint32_t cell;

    start();
    write_dr0((uint64_t)&cell);
    write_dr7(DR7_L(0) | DR7_RW(0, DR7_WRITE) | DR7_LEN4(0));
    debug_write(&cell);
    write_dr7(0);
    CHECK_EQ("data-write-hits", seen.n, 1);
    CHECK_EQ("data-write-rip", seen.rip[0], (uint64_t)debug_write_after);
    CHECK_EQ("data-write-dr6", seen.dr6[0] & 0xf, 1);
    start();
    write_dr3((uint64_t)&cell);
    write_dr7(DR7_L(3) | DR7_RW(3, DR7_ACCESS) | DR7_LEN4(3));
    debug_write(&cell);
    write_dr7(0);
    CHECK_EQ("data-access-hits", seen.n, 2);
    CHECK_EQ("data-access-dr6", seen.dr6[1] & 0xf, 8);
    debug_write(&cell);
    CHECK_EQ("data-disabled", seen.n, 2);
}

static void check_execute(void)
{
    uint32_t value;

    start();
    write_dr1((uint64_t)debug_execute_here);
    write_dr7(DR7_L(1) | DR7_RW(1, DR7_EXECUTE));
    value = debug_execute();
    write_dr7(0);
    CHECK_EQ("execute-hits", seen.n, 1);
    CHECK_EQ("execute-rip", seen.rip[0], (uint64_t)debug_execute_here);
    CHECK("execute-fault-without-rf", !(seen.rflags[0] & RFLAGS_RF));
    CHECK_EQ("execute-dr6", seen.dr6[0] & 0xf, 2);
    CHECK_EQ("execute-goes-on", value, 1);
}

/* I/O breakpoints want CR4.DE; IN and OUT exit, so the hypervisor has to see to them. */
static void check_io(void)
{
    write_cr4(read_cr4() | CR4_DE);
    start();
    write_dr2(0x80);
    write_dr7(DR7_L(2) | DR7_RW(2, DR7_IO));
    out8(0x80, 0);
    (void)in8(0x80);
    (void)in8(0x61);
    write_dr7(0);
    write_cr4(read_cr4() & ~CR4_DE);
    CHECK_EQ("io-hits", seen.n, 2);
    CHECK_EQ("io-dr6", seen.dr6[0] & 0xf, 4);
}

static void check_mov_ss(void)
{
    static uint16_t selector = SEL_DATA;

    start();
    write_dr0((uint64_t)&selector);
    write_dr7(DR7_L(0) | DR7_RW(0, DR7_ACCESS) | BIT(18));
    debug_mov_ss(&selector);
    write_dr7(0);
    CHECK_EQ("mov-ss-hits", seen.n, 1);
    CHECK_EQ("mov-ss-delayed", seen.rip[0], (uint64_t)debug_mov_ss_after);
}

static void check_icebp(void)
{
    start();
    debug_icebp();
    CHECK_EQ("icebp-hits", seen.n, 1);
    CHECK_EQ("icebp-rip", seen.rip[0], (uint64_t)debug_icebp_after);
    CHECK_EQ("icebp-dr6", seen.dr6[0] & (DR6_BS | 0xf), 0);
}

/* General detect: DR access faults, DR6.BD says so, and GD is cleared for the handler. */
static void check_general_detect(void)
{
    struct trap t;

    trap_set_handler(VEC_DB, NULL);
    write_dr6(DR6_FIXED);
    write_dr7(DR7_GD);
    TRAP_CATCH(t, write_dr0(0));
    CHECK_TRAP("gd-faults", t, VEC_DB, 0);
    CHECK("gd-dr6", t.dr6 & DR6_BD);
    CHECK_EQ("gd-cleared", read_dr7(), DR7_FIXED);
}

void guest_main(void)
{
    check_group(check_registers);
    trap_set_handler(VEC_DB, on_debug);
    check_group(check_steps);
    check_group(check_data);
    check_group(check_execute);
    check_group(check_io);
    check_group(check_mov_ss);
    check_group(check_icebp);
    check_group(check_general_detect);
}
