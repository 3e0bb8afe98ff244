/*
 * The emulator's rules that the host cannot show natively: faults, retries, partial REP, locked
 * operations, ports, and what the callbacks get to see.
 */
#include "tests/unit/emulate_machine.h"

/* ------------------------------------------------------------------ faults and retries */

/* Every operation on memory, with a fault or a retry from the callbacks, changes nothing. */
static void test_nothing_changes(void **state)
{
    static const char *const insns[] = {
        "8b 03",       "89 03",    "8a 03",          "c6 03 01",    "0f b6 03",    "48 63 03",
        "01 03",       "03 03",    "f0 01 03",       "13 03",       "39 03",       "f7 13",
        "f0 f7 1b",    "ff 03",    "87 03",          "0f c1 03",    "f0 0f c1 03", "0f b1 0b",
        "f0 0f b1 0b", "0f c7 0b", "f0 0f ba 2b 01", "0f a3 03",    "0f ab 03",    "d1 23",
        "d3 1b",       "0f a5 03", "f7 23",          "f7 33",       "0f af 03",    "ff 33",
        "8f 03",       "ff 13",    "ff 23",          "0f 94 03",    "0f 44 03",    "0f c3 03",
        "0f 38 f0 03", "0f 10 03", "0f 11 03",       "66 0f 12 03", "66 0f 17 03", "a4",
        "f3 a4",       "f3 a6",    "f3 aa",          "f3 ac",       "f2 ae",       "6c",
        "6e",          "f3 6c",    "f3 6e",          "d7",          "8c 1b",
    };
    static const enum emu_result results[] = {EMU_FAULT, EMU_RETRY};

    (void)state;
    for (unsigned n = 0; n < 2 * ARRAY_SIZE(insns); n++) {
        struct machine *m = machine_new(EMU_LONG64), before;

        for (unsigned r = 0; r < EMU_NR_REGS; r++)
            m->c.regs[r] = 0x4000 + 0x100 * r;
        m->c.regs[EMU_RAX] = 0; /* for XLAT and the tests above */
        m->c.regs[EMU_RBX] = m->c.regs[EMU_RSI] = m->c.regs[EMU_RDI] = 0x200;
        m->c.rflags |= EMU_CF | EMU_OF;
        m->bad_address = 0x200;
        m->bad_result = results[n & 1];
        before = *m;
        assert_int_equal(step(m, insns[n / 2]), results[n & 1]);
        assert_memory_equal(m->c.regs, before.c.regs, sizeof(m->c.regs));
        assert_memory_equal(m->vectors, before.vectors, sizeof(m->vectors));
        assert_int_equal(m->c.rip, before.c.rip);
        assert_int_equal(m->c.rflags, before.c.rflags);
        if (m->bad_result == EMU_FAULT)
            assert_int_equal(m->c.fault.vector, 14);
        machine_free(m);
    }
}

static void test_divide_faults(void **state)
{
    struct machine *m = machine_new(EMU_LONG64);

    (void)state;
    m->c.regs[EMU_RAX] = 7;
    m->c.regs[EMU_RBX] = 0x200;
    step_faults(m, "f7 33", EMU_VECTOR_DE, false);
    step_faults(m, "f6 3b", EMU_VECTOR_DE, false);
    m->memory[0x200] = 7;
    m->c.regs[EMU_RDX] = 7; /* the quotient would need 33 bits */
    step_faults(m, "f7 33", EMU_VECTOR_DE, false);
    m->c.regs[EMU_RDX] = 6;
    step_ok(m, "f7 33");
    assert_int_equal(m->c.regs[EMU_RAX], 0xdb6db6dc);
    machine_free(m);
}

static void test_undefined_and_unknown(void **state)
{
    struct machine *m = machine_new(EMU_LONG64);

    (void)state;
    step_faults(m, "f0 8b 03", EMU_VECTOR_UD, false);
    step_faults(m, "ff 3b", EMU_VECTOR_UD, false);
    step_faults(m, "2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 2e 8b 03", EMU_VECTOR_GP, true);
    assert_int_equal(step(m, "0f a2"), EMU_UNSUPPORTED); /* CPUID */
    assert_false(m->c.need_more);
    assert_int_equal(step(m, "8b"), EMU_UNSUPPORTED);
    assert_true(m->c.need_more);
    assert_int_equal(step(m, "66 c7 03 01"), EMU_UNSUPPORTED);
    assert_true(m->c.need_more);
    step_ok(m, "66 c7 03 01 02");
    assert_false(m->c.need_more);
    assert_int_equal(m->reads, 0);
    machine_free(m);
}

/* ------------------------------------------------------------------ locked operations */

static void test_locked(void **state)
{
    struct machine *m = machine_new(EMU_LONG64);

    (void)state;
    m->c.regs[EMU_RBX] = 0x200;
    m->c.regs[EMU_RAX] = 5;
    m->memory[0x200] = 10;
    m->steal = 3;
    step_ok(m, "f0 01 03");
    assert_int_equal(m->memory[0x200], 18); /* three increments by others, and 5 */
    assert_int_equal(m->exchanges, 4);
    assert_int_equal(m->writes, 0);
    assert_int_equal(m->last_access, EMU_READ_WRITE);
    step_ok(m, "87 03"); /* XCHG needs no prefix */
    assert_int_equal(m->exchanges, 5);
    assert_int_equal(m->c.regs[EMU_RAX], 18);
    step_ok(m, "01 03");
    assert_int_equal(m->exchanges, 5);
    assert_int_equal(m->writes, 1);
    m->steal = 1000000; /* never: the instruction is to be tried again, the caller not held */
    assert_int_equal(step(m, "f0 01 03"), EMU_RETRY);
    assert_int_equal(step(m, "f0 0f b1 0b"), EMU_RETRY);
    machine_free(m);
}

static void test_cmpxchg_writes_always(void **state)
{
    struct machine *m = machine_new(EMU_LONG64);

    (void)state;
    m->c.regs[EMU_RBX] = 0x200;
    m->c.regs[EMU_RAX] = 1;
    m->c.regs[EMU_RCX] = 9;
    m->memory[0x200] = 2;
    step_ok(m, "0f b1 0b");
    assert_int_equal(m->writes, 1);
    assert_int_equal(m->memory[0x200], 2);
    assert_int_equal(m->c.regs[EMU_RAX], 2);
    assert_false(m->c.rflags & EMU_ZF);
    m->steal = 1; /* someone makes it a 3 in between: the comparison must be made again */
    step_ok(m, "f0 0f b1 0b");
    assert_int_equal(m->memory[0x200], 3);
    assert_int_equal(m->c.regs[EMU_RAX], 3);
    step_ok(m, "f0 0f b1 0b");
    assert_int_equal(m->memory[0x200], 9);
    assert_true(m->c.rflags & EMU_ZF);
    machine_free(m);
}

/* ------------------------------------------------------------------ strings and ports */

static void test_rep_stops_at_fault(void **state)
{
    struct machine *m = machine_new(EMU_PROT32);

    (void)state;
    memset(m->memory + 0x100, 0xee, 64);
    m->c.regs[EMU_RSI] = 0x100;
    m->c.regs[EMU_RDI] = 0x1ff0;
    m->c.regs[EMU_RCX] = 10;
    m->bad_address = 0x2000;
    m->bad_result = EMU_FAULT;
    assert_int_equal(step(m, "f3 a5"), EMU_FAULT);
    assert_int_equal(m->c.fault.cr2, 0x2000);
    assert_int_equal(m->c.regs[EMU_RCX], 6);
    assert_int_equal(m->c.regs[EMU_RSI], 0x110);
    assert_int_equal(m->c.regs[EMU_RDI], 0x2000);
    assert_int_equal(m->c.rip, 0x100);
    assert_int_equal(m->reads, 4); /* the source of the fifth was left alone */
    m->bad_address = UINT64_MAX;
    step_ok(m, "f3 a5");
    assert_int_equal(m->c.regs[EMU_RCX], 0);
    assert_memory_equal(m->memory + 0x1ff0, m->memory + 0x100, 40);
    machine_free(m);
}

static void test_rep_compare_fault_keeps_flags(void **state)
{
    struct machine *m = machine_new(EMU_PROT32);

    (void)state;
    m->c.rflags |= EMU_CF | EMU_SF;
    m->c.regs[EMU_RDI] = 0x1ffe;
    m->c.regs[EMU_RCX] = 10;
    m->bad_address = 0x2000;
    m->bad_result = EMU_FAULT;
    assert_int_equal(step(m, "f3 ae"), EMU_FAULT);
    assert_int_equal(m->c.regs[EMU_RCX], 8);
    assert_int_equal(m->c.rflags, BIT(1) | EMU_CF | EMU_SF);
    machine_free(m);
}

static void test_rep_limit(void **state)
{
    struct machine *m = machine_new(EMU_LONG64);

    (void)state;
    m->c.regs[EMU_RDI] = 0x200;
    m->c.regs[EMU_RCX] = 10;
    m->c.rep_limit = 4;
    assert_int_equal(step(m, "f3 aa"), EMU_OK);
    assert_int_equal(m->c.rip, 0x100);
    assert_int_equal(m->c.regs[EMU_RCX], 6);
    m->c.rep_limit = 0; /* still gets on */
    assert_int_equal(step(m, "f3 aa"), EMU_OK);
    assert_int_equal(m->c.regs[EMU_RCX], 5);
    m->c.rep_limit = 5;
    step_ok(m, "f3 aa");
    assert_int_equal(m->c.regs[EMU_RCX], 0);
    m->c.regs[EMU_RCX] = 9; /* a single step counts iterations */
    m->c.rflags |= EMU_TF;
    m->c.rip = 0x100;
    assert_int_equal(step(m, "f3 aa"), EMU_OK);
    assert_int_equal(m->c.rip, 0x100);
    assert_int_equal(m->c.regs[EMU_RCX], 8);
    machine_free(m);
}

static void test_string_16bit_wraps(void **state)
{
    struct machine *m = machine_new(EMU_REAL);

    (void)state;
    m->c.regs[EMU_RAX] = 0x55;
    m->c.regs[EMU_RDI] = 0xabcdfffe;
    m->c.regs[EMU_RCX] = 0x70004;
    step_ok(m, "f3 aa");
    assert_int_equal(m->c.regs[EMU_RDI], 0xabcd0002);
    assert_int_equal(m->c.regs[EMU_RCX], 0x70000);
    assert_int_equal(m->memory[0xffff], 0x55);
    assert_int_equal(m->memory[1], 0x55);
    assert_int_equal(m->memory[2], 0);
    assert_int_equal(m->memory[0x10000], 0);
    machine_free(m);
}

static void test_string_segments(void **state)
{
    struct machine *m = machine_new(EMU_PROT32);

    (void)state;
    m->c.seg[EMU_ES].base = 0x1000;
    m->c.seg[EMU_DS].base = 0x2000;
    m->c.seg[EMU_FS].base = 0x3000;
    m->memory[0x2000] = 2;
    m->memory[0x3001] = 3;
    step_ok(m, "a4");
    assert_int_equal(m->memory[0x1000], 2);
    step_ok(m, "64 a4"); /* the destination stays in ES */
    assert_int_equal(m->memory[0x1001], 3);
    m->c.seg[EMU_ES].access = RIGHTS_READ_ONLY;
    step_faults(m, "a4", EMU_VECTOR_GP, true);
    machine_free(m);
}

static void test_ports(void **state)
{
    struct machine *m = machine_new(EMU_PROT32);

    (void)state;
    m->c.regs[EMU_RDX] = 0xffff01f0;
    m->c.regs[EMU_RDI] = 0x300;
    m->c.regs[EMU_RCX] = 3;
    m->port_value = 0x1111;
    step_ok(m, "f3 66 6d");
    assert_int_equal(m->port, 0x1f0);
    assert_int_equal(m->port_size, 2);
    assert_int_equal(m->c.regs[EMU_RDI], 0x306);
    assert_memory_equal(m->memory + 0x300, "\x11\x11\x12\x11\x13\x11", 6);
    m->c.regs[EMU_RSI] = 0x302;
    step_ok(m, "6e");
    assert_int_equal(m->port_value, 0x12);
    assert_int_equal(m->port_size, 1);
    m->c.regs[EMU_RAX] = 0xffffffff;
    step_ok(m, "e4 fe");
    assert_int_equal(m->port, 0xfe);
    assert_int_equal(m->c.regs[EMU_RAX], 0xffffff12);
    step_ok(m, "66 ef");
    assert_int_equal(m->port_value, 0xff12);
    m->c.mode = EMU_LONG64;
    m->c.regs[EMU_RAX] = UINT64_MAX;
    step_ok(m, "48 ed"); /* at most 32 bits */
    assert_int_equal(m->port_size, 4);
    assert_int_equal(m->c.regs[EMU_RAX], 0xff12);
    machine_free(m);
}

/* What has been read from a port cannot be given back. */
static void test_ins_asks_memory_first(void **state)
{
    struct machine *m = machine_new(EMU_LONG64);

    (void)state;
    m->c.regs[EMU_RDI] = 0xffe;
    m->c.regs[EMU_RCX] = 8;
    m->bad_address = 0x1000;
    m->bad_result = EMU_RETRY;
    assert_int_equal(step(m, "f3 66 6d"), EMU_RETRY);
    assert_int_equal(m->ins, 1);
    assert_int_equal(m->c.regs[EMU_RCX], 7);
    assert_int_equal(m->c.regs[EMU_RDI], 0x1000);
    machine_free(m);
}

/* ------------------------------------------------------------------ stack */

static void test_stack(void **state)
{
    struct machine *m = machine_new(EMU_LONG64);

    (void)state;
    m->c.regs[EMU_RSP] = 0x1000;
    memcpy(m->memory + 0x1000, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
    step_ok(m, "ff 34 24"); /* push [rsp]: the address uses rSP before */
    assert_int_equal(m->c.regs[EMU_RSP], 0xff8);
    assert_memory_equal(m->memory + 0xff8, m->memory + 0x1000, 8);
    step_ok(m, "8f 44 24 10"); /* pop [rsp+16]: the address uses rSP after */
    assert_int_equal(m->c.regs[EMU_RSP], 0x1000);
    assert_memory_equal(m->memory + 0x1010, m->memory + 0x1000, 8);
    m->bad_address = 0xff8; /* a push that cannot happen must not read its source either */
    m->bad_result = EMU_RETRY;
    m->reads = 0;
    assert_int_equal(step(m, "ff 34 24"), EMU_RETRY);
    assert_int_equal(m->reads, 0);
    m->c.regs[EMU_RSP] = 0x800000000004;
    step_faults(m, "ff 30", EMU_VECTOR_SS, true);
    machine_free(m);
}

static void test_stack_16bit(void **state)
{
    struct machine *m = machine_new(EMU_PROT16);

    (void)state;
    m->c.seg[EMU_SS].base = 0x10000;
    m->c.seg[EMU_SS].limit = 0xffff;
    m->c.regs[EMU_RSP] = 0x12340000; /* SP wraps, the upper half of ESP stays */
    memcpy(m->memory + 0x80, "\xcd\xab", 2);
    step_ok(m, "ff 36 80 00");
    assert_int_equal(m->c.regs[EMU_RSP], 0x1234fffe);
    assert_memory_equal(m->memory + 0x1fffe, "\xcd\xab", 2);
    step_ok(m, "8f 06 90 00");
    assert_int_equal(m->c.regs[EMU_RSP], 0x12340000);
    assert_memory_equal(m->memory + 0x90, "\xcd\xab", 2);
    m->c.regs[EMU_RSP] = 1; /* the word would lie across the end */
    step_faults(m, "ff 36 80 00", EMU_VECTOR_SS, true);
    machine_free(m);
}

static void test_branches(void **state)
{
    struct machine *m = machine_new(EMU_PROT32);

    (void)state;
    m->c.seg[EMU_CS].limit = 0xffff;
    m->c.regs[EMU_RSP] = 0x1000;
    memcpy(m->memory + 0x80, "\x00\x20\x00\x00\x00\x00\x01\x00", 8);
    assert_int_equal(step(m, "ff 15 80 00 00 00"), EMU_OK);
    assert_int_equal(m->c.rip, 0x2000);
    assert_memory_equal(m->memory + 0xffc, "\x06\x01\x00\x00", 4);
    step_faults(m, "ff 25 84 00 00 00", EMU_VECTOR_GP, true); /* beyond CS */
    assert_int_equal(step(m, "66 ff 25 84 00 00 00"), EMU_OK);
    assert_int_equal(m->c.rip, 0);
    m->c.mode = EMU_LONG64;
    m->c.regs[EMU_RBX] = 0x88;
    memset(m->memory + 0x88, 0x7f, 8);
    step_faults(m, "ff 23", EMU_VECTOR_GP, true);
    machine_free(m);
}

/* ------------------------------------------------------------------ the rest */

static void test_resume_flag(void **state)
{
    struct machine *m = machine_new(EMU_LONG64);

    (void)state;
    m->c.rflags |= EMU_RF;
    step_ok(m, "8b 03");
    assert_false(m->c.rflags & EMU_RF);
    machine_free(m);
}

static void test_rip_wraps_outside_long_mode(void **state)
{
    struct machine *m = machine_new(EMU_PROT32);

    (void)state;
    m->c.rip = 0xfffffffe;
    assert_int_equal(step(m, "8b 03"), EMU_OK);
    assert_int_equal(m->c.rip, 0);
    machine_free(m);
}

static void test_page_crossing_is_one_access(void **state)
{
    struct machine *m = machine_new(EMU_LONG64);

    (void)state;
    m->c.regs[EMU_RBX] = 0xffd;
    m->c.regs[EMU_RAX] = 0x1122334455667788;
    step_ok(m, "48 89 03");
    assert_int_equal(m->writes, 1);
    assert_int_equal(m->memory[0xffd], 0x88);
    assert_int_equal(m->memory[0x1004], 0x11);
    machine_free(m);
}

static void test_access_kinds(void **state)
{
    struct machine *m = machine_new(EMU_LONG64);

    (void)state;
    step_ok(m, "8b 03");
    assert_int_equal(m->last_access, EMU_READ);
    step_ok(m, "ff 03");
    assert_int_equal(m->last_access, EMU_READ_WRITE);
    step_ok(m, "0f a3 03"); /* BT only reads */
    assert_int_equal(m->last_access, EMU_READ);
    m->reads = 0;
    step_ok(m, "0f 94 03"); /* stores do not read */
    step_ok(m, "c7 03 01 00 00 00");
    step_ok(m, "0f 11 03");
    assert_int_equal(m->reads, 0);
    m->writes = 0;
    step_ok(m, "85 03"); /* TEST and CMP do not write */
    step_ok(m, "83 3b 01");
    step_ok(m, "0f 44 03");
    assert_int_equal(m->reads, 3);
    assert_int_equal(m->writes, 0);
    machine_free(m);
}

static void test_selector_store(void **state)
{
    struct machine *m = machine_new(EMU_PROT32);

    (void)state;
    m->c.seg[EMU_FS].selector = 0x38;
    memset(m->memory, 0xff, 8);
    step_ok(m, "8c 23");
    assert_memory_equal(m->memory, "\x38\x00\xff\xff", 4);
    m->c.regs[EMU_RCX] = UINT32_MAX;
    step_ok(m, "8c e1");
    assert_int_equal(m->c.regs[EMU_RCX], 0x38);
    machine_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_changes),
        cmocka_unit_test(test_divide_faults),
        cmocka_unit_test(test_undefined_and_unknown),
        cmocka_unit_test(test_locked),
        cmocka_unit_test(test_cmpxchg_writes_always),
        cmocka_unit_test(test_rep_stops_at_fault),
        cmocka_unit_test(test_rep_compare_fault_keeps_flags),
        cmocka_unit_test(test_rep_limit),
        cmocka_unit_test(test_string_16bit_wraps),
        cmocka_unit_test(test_string_segments),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_ins_asks_memory_first),
        cmocka_unit_test(test_stack),
        cmocka_unit_test(test_stack_16bit),
        cmocka_unit_test(test_branches),
        cmocka_unit_test(test_resume_flag),
        cmocka_unit_test(test_rip_wraps_outside_long_mode),
        cmocka_unit_test(test_page_crossing_is_one_access),
        cmocka_unit_test(test_access_kinds),
        cmocka_unit_test(test_selector_store),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
