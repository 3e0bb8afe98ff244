/* Every exception with its error code and RIP, privilege changes, and how traps nest. */
#include "lib/guest.h"

#define ERROR_EXT   1 /* while another event was being delivered */
#define ERROR_IDT   2
#define VEC_SYSCALL 0x80
#define VEC_OTHER   0x81
#define SEL_ABSENT  SEL_FREE
#define SEL_SYSTEM  (SEL_FREE + 8)
#define ABSENT_DATA (SEG_DATA & ~SEG_PRESENT)

void fault_divide(void);
void fault_breakpoint(void);
void fault_invalid(void);
void compat_call(uint32_t code);
extern const char fault_divide_rip[], fault_breakpoint_rip[], fault_invalid_rip[];
extern const char compat_into[], compat_into_rip[], compat_bound[], compat_bound_rip[];
extern const char compat_in_range[];
extern const char user_privileged[], user_syscall[], user_sysenter[], user_int80[];
extern const char user_unaligned[], user_read[];
extern const char syscall_entry[], sysenter_entry[];
extern volatile uint64_t entry_seen[5];

static void check_plain(void)
{
    struct trap t;

    TRAP_CATCH(t, fault_divide());
    CHECK_TRAP("de", t, VEC_DE, 0);
    CHECK_EQ("de-rip", t.frame.rip, (uint64_t)fault_divide_rip);
    CHECK("de-rf", t.frame.rflags & RFLAGS_RF);
    TRAP_CATCH(t, fault_breakpoint());
    CHECK_TRAP("bp", t, VEC_BP, 0);
    CHECK_EQ("bp-rip", t.frame.rip, (uint64_t)fault_breakpoint_rip);
    TRAP_CATCH(t, fault_invalid());
    CHECK_TRAP("ud", t, VEC_UD, 0);
    CHECK_EQ("ud-rip", t.frame.rip, (uint64_t)fault_invalid_rip);
    TRAP_CATCH(t, compat_call((uint32_t)(uint64_t)compat_into));
    CHECK_TRAP("of", t, VEC_OF, 0);
    CHECK_EQ("of-rip", t.frame.rip, (uint64_t)compat_into_rip);
    CHECK_EQ("of-cs", t.frame.cs, SEL_CODE32);
    TRAP_CATCH(t, compat_call((uint32_t)(uint64_t)compat_bound));
    CHECK_TRAP("br", t, VEC_BR, 0);
    CHECK_EQ("br-rip", t.frame.rip, (uint64_t)compat_bound_rip);
    TRAP_CATCH(t, compat_call((uint32_t)(uint64_t)compat_in_range));
    CHECK_NO_TRAP("br-in-range", t);
    TRAP_CATCH(t, asm volatile("int $0x81"));
    CHECK_TRAP("int-n", t, VEC_OTHER, 0);
    TRAP_CATCH(t, asm volatile(".byte 0xf0, 0x01, 0xc0" : : : "rax", "cc")); /* lock add eax, eax */
    CHECK_TRAP("ud-lock-register", t, VEC_UD, 0);
}

static void load_ds(unsigned selector)
{
    asm volatile("mov %w0, %%ds" : : "r"(selector));
}

static void load_ss(unsigned selector)
{
    asm volatile("mov %w0, %%ss" : : "r"(selector));
}

static void check_segments(void)
{
    struct trap t;

    *segment_descriptor(SEL_ABSENT) = segment_make(0, 0xfffff, ABSENT_DATA, SEG_4K | SEG_32);
    *segment_descriptor(SEL_SYSTEM) = segment_make(0, 0xfff, 0x82, 0); /* an LDT */
    TRAP_CATCH(t, load_ds(SEL_ABSENT));
    CHECK_TRAP("np", t, VEC_NP, SEL_ABSENT);
    TRAP_CATCH(t, load_ss(SEL_ABSENT));
    CHECK_TRAP("ss-not-present", t, VEC_SS, SEL_ABSENT);
    TRAP_CATCH(t, load_ds(SEL_SYSTEM));
    CHECK_TRAP("gp-system-segment", t, VEC_GP, SEL_SYSTEM);
    TRAP_CATCH(t, load_ds(0x4008));
    CHECK_TRAP("gp-beyond-gdt", t, VEC_GP, 0x4008);
    TRAP_CATCH(t, load_ds(SEL_FREE | 4));
    CHECK_TRAP("gp-no-ldt", t, VEC_GP, SEL_FREE | 4);
    TRAP_CATCH(t, *(volatile uint8_t *)NON_CANONICAL = 0);
    CHECK_TRAP("gp-non-canonical", t, VEC_GP, 0);
    TRAP_CATCH(t, asm volatile("mov %0, %%rbp; movb $0, (%%rbp)" : : "r"(NON_CANONICAL) : "rax"));
    CHECK_TRAP("ss-non-canonical", t, VEC_SS, 0);
}

static void check_gates(void)
{
    struct trap t;
    uint64_t saved = *trap_gate(VEC_OTHER);

    *trap_gate(VEC_OTHER) &= ~(0x80ul << 40);
    TRAP_CATCH(t, asm volatile("int $0x81"));
    CHECK_TRAP("gate-not-present", t, VEC_NP, VEC_OTHER * 8 + ERROR_IDT);
    *trap_gate(VEC_OTHER) = saved & ~(0xful << 40);
    TRAP_CATCH(t, asm volatile("int $0x81"));
    CHECK_TRAP("gate-bad-type", t, VEC_GP, VEC_OTHER * 8 + ERROR_IDT);
    *trap_gate(VEC_OTHER) = (saved & ~(0xfffful << 16)) | (uint64_t)SEL_DATA << 16;
    TRAP_CATCH(t, asm volatile("int $0x81"));
    CHECK_TRAP("gate-bad-code-segment", t, VEC_GP, SEL_DATA);
    *trap_gate(VEC_OTHER) = saved;
}

/* A fault while delivering a fault: #PF then #NP is a double fault, on its own stack. */
static void check_double_fault(void)
{
    uint64_t saved = *trap_gate(VEC_PF);
    struct trap t;

    *trap_gate(VEC_PF) &= ~(0x80ul << 40);
    TRAP_CATCH(t, *(volatile uint8_t *)(1ul << 46) = 0);
    CHECK_TRAP("df", t, VEC_DF, 0);
    CHECK_EQ("df-cr2", t.cr2, 1ul << 46);
    *trap_gate(VEC_PF) = saved;
    saved = *trap_gate(VEC_UD);
    *trap_gate(VEC_UD) &= ~(0x80ul << 40);
    TRAP_CATCH(t, fault_invalid());
    CHECK_TRAP("ud-then-np-is-no-df", t, VEC_NP, VEC_UD * 8 + ERROR_IDT + ERROR_EXT);
    *trap_gate(VEC_UD) = saved;
    saved = *trap_gate(VEC_GP);
    *trap_gate(VEC_GP) &= ~(0x80ul << 40);
    TRAP_CATCH(t, *(volatile uint8_t *)NON_CANONICAL = 0);
    CHECK_TRAP("df-gp-then-np", t, VEC_DF, 0);
    *trap_gate(VEC_GP) = saved;
}

static volatile unsigned nmis;
static uint64_t nmi_rsp;

static void on_nmi(struct trap_frame *f)
{
    (void)f;
    nmis++;
    if (nmis == 1) {
        apic_self_nmi(); /* stays pending until our IRET */
        timing_delay_us(20);
        nmi_rsp = nmis;
    }
}

static void check_nmi(void)
{
    trap_set_handler(VEC_NMI, on_nmi);
    apic_init();
    apic_self_nmi();
    timing_delay_us(50);
    CHECK_EQ("nmi-count", nmis, 2);
    CHECK_EQ("nmi-blocked-in-nmi", nmi_rsp, 1);
    trap_set_handler(VEC_NMI, NULL);
}

static volatile unsigned nested;

static void on_nested(struct trap_frame *f)
{
    nested++;
    if (nested < 5)
        asm volatile("int $0x81");
    f->rax = nested;
}

static void check_nesting(void)
{
    uint64_t rax;

    trap_set_handler(VEC_OTHER, on_nested);
    asm volatile("int $0x81" : "=a"(rax));
    trap_set_handler(VEC_OTHER, NULL);
    CHECK_EQ("nested-int", rax, 5);
    asm volatile("pushfq; orq $0x4000, (%%rsp); popfq" : : : "memory", "cc");
    CHECK("nt-settable", read_rflags() & BIT(14));
    asm volatile("pushfq; andq $~0x4000, (%%rsp); popfq" : : : "memory", "cc");
}

static struct trap in_user(const char *code, uint64_t rflags, uint64_t arg)
{
    struct trap t;

    TRAP_CATCH(t, user_enter(user_alias(code), rflags, arg));
    return t;
}

static void check_user(void)
{
    struct trap t = in_user(user_privileged, 0, 0);

    CHECK_TRAP("user-hlt", t, VEC_GP, 0);
    CHECK_EQ("user-cs", t.frame.cs, SEL_USER_CODE64 | 3);
    CHECK_EQ("user-ss", t.frame.ss, SEL_USER_DATA | 3);
    CHECK_EQ("user-rip", t.frame.rip, (uint64_t)user_alias(user_privileged));
    trap_set_gate(VEC_SYSCALL, 0, 3);
    t = in_user(user_int80, 0, 0);
    CHECK_TRAP("user-int-allowed", t, VEC_SYSCALL, 0);
    CHECK_EQ("user-int-rip", t.frame.rip, (uint64_t)user_alias(user_int80) + 2);
    trap_set_gate(VEC_SYSCALL, 0, 0);
    t = in_user(user_int80, 0, 0);
    CHECK_TRAP("user-int-denied", t, VEC_GP, VEC_SYSCALL * 8 + ERROR_IDT);
    t = in_user(user_unaligned, RFLAGS_AC, 0);
    CHECK("user-unaligned-without-am", t.vector == VEC_UD);
    write_cr0(read_cr0() | CR0_AM);
    t = in_user(user_unaligned, RFLAGS_AC, 0);
    CHECK_TRAP("ac", t, VEC_AC, 0);
    write_cr0(read_cr0() & ~CR0_AM);
    t = in_user(user_read, 0, (uint64_t)nested); /* address 5: there, but not for ring 3 */
    CHECK_TRAP("user-reads-supervisor", t, VEC_PF, 5);
    CHECK_EQ("user-pf-cr2", t.cr2, 5);
}

static void check_syscall(void)
{
    struct trap t;

    wrmsr(MSR_STAR, (uint64_t)(SEL_USER_CODE32 | 3) << 48 | (uint64_t)SEL_CODE64 << 32);
    wrmsr(MSR_LSTAR, (uint64_t)syscall_entry);
    wrmsr(MSR_FMASK, RFLAGS_CF | RFLAGS_DF);
    t = in_user(user_syscall, RFLAGS_CF | RFLAGS_DF, 0);
    CHECK("syscall-and-back", t.vector == VEC_UD && t.frame.rbx == 0x2223);
    CHECK_EQ("syscall-rcx", entry_seen[0], (uint64_t)user_alias(user_syscall) + 7);
    CHECK_EQ("syscall-r11", entry_seen[1] & (RFLAGS_CF | RFLAGS_DF), RFLAGS_CF | RFLAGS_DF);
    CHECK_EQ("syscall-cs-ss", entry_seen[2] << 16 | entry_seen[3], SEL_CODE64 << 16 | SEL_DATA);
    CHECK_EQ("syscall-masks-flags", entry_seen[4] & (RFLAGS_CF | RFLAGS_DF), 0);
    CHECK_EQ("sysret-cs-ss", t.frame.cs << 16 | t.frame.ss,
             (SEL_USER_CODE64 | 3) << 16 | (SEL_USER_DATA | 3));
    CHECK("sysret-flags", (t.frame.rflags & (RFLAGS_CF | RFLAGS_DF)) == (RFLAGS_CF | RFLAGS_DF));
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SCE);
    t = in_user(user_syscall, 0, 0);
    CHECK_TRAP("syscall-without-sce", t, VEC_UD, 0);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
}

static void check_sysenter(void)
{
    static uint64_t stack[64];
    struct trap t;

    wrmsr(MSR_SYSENTER_CS, SEL_CODE64);
    wrmsr(MSR_SYSENTER_EIP, (uint64_t)sysenter_entry);
    wrmsr(MSR_SYSENTER_ESP, (uint64_t)(stack + 64));
    t = in_user(user_sysenter, RFLAGS_IF, 0);
    CHECK("sysenter-and-back", t.vector == VEC_UD && t.frame.rbx == 0x4445);
    CHECK_EQ("sysenter-rsp", entry_seen[0], (uint64_t)(stack + 64));
    CHECK_EQ("sysenter-cs-ss", entry_seen[2] << 16 | entry_seen[3], SEL_CODE64 << 16 | SEL_DATA);
    CHECK_EQ("sysenter-if", entry_seen[4] & RFLAGS_IF, 0);
    wrmsr(MSR_SYSENTER_CS, 0);
    t = in_user(user_sysenter, 0, 0);
    CHECK_TRAP("sysenter-without-cs", t, VEC_GP, 0);
}

void guest_main(void)
{
    check_group(check_plain);
    check_group(check_segments);
    check_group(check_gates);
    check_group(check_double_fault);
    check_group(check_nmi);
    check_group(check_nesting);
    check_group(check_user);
    check_group(check_syscall);
    check_group(check_sysenter);
}
