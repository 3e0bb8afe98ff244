/*
 * What a task switch loads, and how it fails once the new task is the current one (SDM vol. 3
 * table 8-1). The new tasks run at CPL 3, so that the exceptions have a good stack in any case.
 */
#include "lib/guest.h"

#define SEL_A       (SEL_FREE + 0x08) /* as in taskload.asm */
#define SEL_WIDE    (SEL_FREE + 0x10)
#define SEL_NARROW  (SEL_FREE + 0x18)
#define SEL_NO_CODE (SEL_FREE + 0x20)
#define SEL_NO_DATA (SEL_FREE + 0x28)
#define SEL_EXECUTE (SEL_FREE + 0x30)
#define SEL_NO_LDT  (SEL_FREE + 0x38)
#define SEL_LDT     (SEL_FREE + 0x40)
#define IN_LDT      (0 << 3 | 4 | 3)

#define USER(s)      ((s) | 3u)
#define TSS16_TYPE   0x81
#define LDT_TYPE     0x82
#define EXECUTE_ONLY 0xf9
#define EFLAGS_VM    BIT(17)
#define V86_FLAGS    (RFLAGS_FIXED | EFLAGS_VM)
#define NARROW_STACK 0x7000 /* low memory that nobody uses */
#define OUTSIDE      SEL_LIMIT

/* The 16-bit TSS (SDM vol. 3 section 8.6). */
struct tss16 {
    uint16_t link, sp0, ss0, sp1, ss1, sp2, ss2;
    uint16_t ip, flags, ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt;
};

/* Two fields of a TSS, what they are set to for one switch, and what came of it. */
struct load_case {
    uint32_t field[2], value[2];
    uint32_t selector, got, trap_eax, trap_cs, trap_eflags, trap_gs, dr6;
};
extern struct load_case load_cases[];
extern volatile uint32_t load_count;
extern const char taskload_run[];

/* The new tasks, and how they begin each time: a switch away saves the trap handler's state. */
extern struct tss32 wide, wide_begin;
extern struct tss16 narrow, narrow_begin;
struct tss32 wide, wide_begin;
struct tss16 narrow, narrow_begin;

static struct tss32 tss_a;
static uint64_t ldt[1];

static void make_tasks(void)
{
    mode32_make_tss(&tss_a, SEL_A);
    mode32_make_tss(&wide, SEL_WIDE);
    wide.eflags = RFLAGS_FIXED;
    wide.eax = 0xcafe1234;
    wide.cs = USER(SEL_USER_CODE32);
    wide.ds = wide.es = wide.ss = wide.fs = wide.gs = USER(SEL_USER_DATA);
    wide.ldt = SEL_LDT;
    narrow = (struct tss16){
        .sp0 = NARROW_STACK,
        .ss0 = SEL_DATA,
        .flags = RFLAGS_FIXED,
        .ax = 0x5678,
        .cs = USER(SEL_USER_CODE32),
        .ss = USER(SEL_USER_DATA),
        .es = USER(SEL_USER_DATA),
        .ds = USER(SEL_USER_DATA),
    };
    wide_begin = wide;
    narrow_begin = narrow;
    ldt[0] = segment_make(0, 0xfffff, SEG_DATA | SEG_DPL3, SEG_4K | SEG_32);
    *segment_descriptor(SEL_NARROW) =
        segment_make((uint32_t)(uint64_t)&narrow, sizeof(narrow) - 1, TSS16_TYPE, 0);
    *segment_descriptor(SEL_NO_CODE) =
        segment_make(0, 0xfffff, (SEG_CODE | SEG_DPL3) & ~SEG_PRESENT, SEG_4K | SEG_32);
    *segment_descriptor(SEL_NO_DATA) =
        segment_make(0, 0xfffff, (SEG_DATA | SEG_DPL3) & ~SEG_PRESENT, SEG_4K | SEG_32);
    *segment_descriptor(SEL_EXECUTE) = segment_make(0, 0xfffff, EXECUTE_ONLY, SEG_4K | SEG_32);
    *segment_descriptor(SEL_LDT) =
        segment_make((uint32_t)(uint64_t)ldt, sizeof(ldt) - 1, LDT_TYPE, 0);
    *segment_descriptor(SEL_NO_LDT) =
        segment_make((uint32_t)(uint64_t)ldt, sizeof(ldt) - 1, LDT_TYPE & ~SEG_PRESENT, 0);
}

#define FIELD(f)      ((uint32_t)(uint64_t) & (f))
#define TRAP_BIT(tss) ((uint32_t)(tss).io_base << 16 | 1)
#define SET(f, v)                                               \
    {                                                           \
        .field = {FIELD(f)}, .value = {v}, .selector = SEL_WIDE \
    }

static const struct {
    const char *name;
    uint32_t want;
} wanted[] = {
    {"ldt-not-an-ldt", TRAP32(VEC_TS, SEL_DATA)},
    {"ldt-outside", TRAP32(VEC_TS, OUTSIDE)},
    {"ldt-absent", TRAP32(VEC_TS, SEL_NO_LDT)},
    {"cs-data", TRAP32(VEC_TS, SEL_USER_DATA)},
    {"cs-dpl", TRAP32(VEC_TS, SEL_CODE32)},
    {"cs-absent", TRAP32(VEC_NP, SEL_NO_CODE)},
    {"ss-null", TRAP32(VEC_TS, 0)},
    {"ss-dpl", TRAP32(VEC_TS, SEL_DATA)},
    {"ss-rpl", TRAP32(VEC_TS, SEL_USER_DATA)},
    {"ss-code", TRAP32(VEC_TS, SEL_USER_CODE32)},
    {"ss-absent", TRAP32(VEC_SS, SEL_NO_DATA)},
    {"ds-absent", TRAP32(VEC_NP, SEL_NO_DATA)},
    {"es-dpl", TRAP32(VEC_TS, SEL_DATA)},
    {"fs-execute-only", TRAP32(VEC_TS, SEL_EXECUTE)},
    {"gs-outside", TRAP32(VEC_TS, OUTSIDE)},
    {"ldt-outside-ldt", TRAP32(VEC_TS, 8 | 4)},
    {"trap-bit", TRAP32(VEC_DB, 0)},
    {"trap-bit-from-ldt", TRAP32(VEC_DB, 0)},
    {"trap-bit-v86", TRAP32(VEC_DB, 0)},
    {"narrow-ds-absent", TRAP32(VEC_NP, SEL_NO_DATA)},
};

enum { CASE_TRAP = 16, CASE_LDT, CASE_V86, CASE_NARROW };

static void make_cases(void)
{
    uint32_t trap = FIELD(wide.trap), on = TRAP_BIT(wide);
    const struct load_case cases[ARRAY_SIZE(wanted)] = {
        SET(wide.ldt, SEL_DATA),
        SET(wide.ldt, OUTSIDE),
        SET(wide.ldt, SEL_NO_LDT),
        SET(wide.cs, USER(SEL_USER_DATA)),
        SET(wide.cs, USER(SEL_CODE32)),
        SET(wide.cs, USER(SEL_NO_CODE)),
        SET(wide.ss, USER(0)),
        SET(wide.ss, USER(SEL_DATA)),
        SET(wide.ss, SEL_USER_DATA),
        SET(wide.ss, USER(SEL_USER_CODE32)),
        SET(wide.ss, USER(SEL_NO_DATA)),
        SET(wide.ds, USER(SEL_NO_DATA)),
        SET(wide.es, USER(SEL_DATA)),
        SET(wide.fs, USER(SEL_EXECUTE)),
        SET(wide.gs, USER(OUTSIDE)),
        SET(wide.ds, 8 | USER(4)),
        {.field = {trap}, .value = {on}, .selector = SEL_WIDE},
        {.field = {trap, FIELD(wide.gs)}, .value = {on, IN_LDT}, .selector = SEL_WIDE},
        {.field = {trap, FIELD(wide.eflags)}, .value = {on, V86_FLAGS}, .selector = SEL_WIDE},
        {.field = {FIELD(narrow.ds)}, .value = {USER(SEL_NO_DATA)}, .selector = SEL_NARROW},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        load_cases[i] = cases[i];
    load_count = ARRAY_SIZE(cases);
}

static void check_loads(void)
{
    make_tasks();
    make_cases();
    CHECK("came-back", mode32_call(taskload_run));
    for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++)
        CHECK_EQ(wanted[i].name, load_cases[i].got, wanted[i].want);
    CHECK_EQ("eax-loaded", load_cases[CASE_TRAP].trap_eax, 0xcafe1234);
    CHECK_EQ("cs-loaded", load_cases[CASE_TRAP].trap_cs, USER(SEL_USER_CODE32));
    CHECK_EQ("dr6-bt", load_cases[CASE_TRAP].dr6 & BIT(15), BIT(15));
    CHECK_EQ("v86-eflags", load_cases[CASE_V86].trap_eflags & EFLAGS_VM, EFLAGS_VM);
    CHECK_EQ("v86-gs", load_cases[CASE_V86].trap_gs, USER(SEL_USER_DATA));
    CHECK_EQ("narrow-ax", load_cases[CASE_NARROW].trap_eax & 0xffff, 0x5678);
}

void guest_main(void)
{
    check_group(check_loads);
}
