/* Addressing and segment checks in 16-, 32- and 64-bit modes, which the host cannot show. */
#include "tests/unit/emulate_machine.h"

/* ------------------------------------------------------------------ real and V86 mode */

static void test_real_addressing(void **state)
{
    struct machine *m = machine_new(EMU_REAL);

    (void)state;
    m->c.seg[EMU_DS].base = 0x1000;
    m->c.seg[EMU_SS].base = 0x8000;
    m->c.seg[EMU_ES].base = 0x10000;
    m->c.regs[EMU_RBX] = 0xffff0123;
    m->c.regs[EMU_RSI] = 0x0010;
    m->memory[0x1133] = 0x5a; /* DS:[BX+SI] */
    m->c.regs[EMU_RAX] = 0x1111111111111111;
    step_ok(m, "8a 00");
    assert_int_equal(m->c.regs[EMU_RAX], 0x111111111111115a);
    m->c.regs[EMU_RBP] = 0xfff0;
    m->memory[0x8000] = 0x77; /* SS:[BP+10h] wraps at 64 KiB */
    step_ok(m, "8a 46 10");
    assert_int_equal(m->c.regs[EMU_RAX] & 0xff, 0x77);
    step_ok(m, "26 89 1e 34 02"); /* mov es:[234h], bx */
    assert_int_equal(m->memory[0x10234], 0x23);
    assert_int_equal(m->memory[0x10235], 0x01);
    m->c.regs[EMU_RBX] = 0x10;
    m->c.regs[EMU_RCX] = 0x400;
    step_ok(m, "66 67 c7 04 4b 78 56 34 12"); /* mov dword [ebx+ecx*2], 12345678h */
    assert_memory_equal(m->memory + 0x1810, "\x78\x56\x34\x12", 4);
    machine_free(m);
}

static void test_real_limit(void **state)
{
    struct machine *m = machine_new(EMU_REAL);

    (void)state;
    m->c.regs[EMU_RBX] = 0xffff;
    step_faults(m, "8b 07", EMU_VECTOR_GP, false); /* word at FFFF: no error code in real mode */
    m->c.regs[EMU_RBP] = 0xffff;
    step_faults(m, "8b 46 00", EMU_VECTOR_SS, false);
    step_ok(m, "8a 07");
    m->c.regs[EMU_RBX] = 0x12345;
    step_faults(m, "67 8a 03", EMU_VECTOR_GP, false); /* 32-bit offset beyond the limit */
    m->c.seg[EMU_DS].limit = UINT32_MAX;              /* "unreal" mode */
    m->memory[0x12345] = 9;
    step_ok(m, "67 8a 03");
    assert_int_equal(m->c.regs[EMU_RAX], 9);
    m->c.mode = EMU_V86;
    m->c.seg[EMU_DS].limit = 0xffff;
    step_faults(m, "67 8a 03", EMU_VECTOR_GP, true);
    machine_free(m);
}

static void test_real_code_segment_is_writable(void **state)
{
    struct machine *m = machine_new(EMU_REAL);

    (void)state;
    m->c.seg[EMU_CS].base = 0x2000;
    step_ok(m, "2e c6 06 10 00 42");
    assert_int_equal(m->memory[0x2010], 0x42);
    machine_free(m);
}

/* ------------------------------------------------------------------ protected mode */

static void test_protected_limits(void **state)
{
    struct machine *m = machine_new(EMU_PROT32);

    (void)state;
    m->c.seg[EMU_DS].base = 0x1000;
    m->c.seg[EMU_DS].limit = 0xfff;
    m->c.regs[EMU_RBX] = 0xffc;
    step_ok(m, "89 03");
    m->c.regs[EMU_RBX] = 0xffd;
    step_faults(m, "89 03", EMU_VECTOR_GP, true);
    m->c.regs[EMU_RBX] = 0xffffffff; /* the last byte's offset does not wrap into the segment */
    step_faults(m, "89 03", EMU_VECTOR_GP, true);
    m->c.seg[EMU_SS].limit = 0xff;
    m->c.regs[EMU_RBP] = 0xfe;
    step_faults(m, "89 45 00", EMU_VECTOR_SS, true);
    step_ok(m, "3e 66 89 45 00"); /* with DS it fits */
    machine_free(m);
}

static void test_expand_down(void **state)
{
    struct machine *m = machine_new(EMU_PROT32);

    (void)state;
    m->c.seg[EMU_DS].access = RIGHTS_EXPAND_DOWN;
    m->c.seg[EMU_DS].limit = 0x0fff;
    m->c.regs[EMU_RBX] = 0x0fff;
    step_faults(m, "8a 03", EMU_VECTOR_GP, true);
    m->c.regs[EMU_RBX] = 0x1000;
    step_ok(m, "8a 03");
    m->c.regs[EMU_RBX] = 0xfffd; /* without B the top is FFFF */
    step_faults(m, "8b 03", EMU_VECTOR_GP, true);
    m->c.seg[EMU_DS].access |= EMU_SEG_BIG;
    step_ok(m, "8b 03");
    machine_free(m);
}

static void test_segment_types(void **state)
{
    struct machine *m = machine_new(EMU_PROT32);

    (void)state;
    m->c.seg[EMU_DS].access = RIGHTS_READ_ONLY;
    step_ok(m, "8b 03");
    step_faults(m, "89 03", EMU_VECTOR_GP, true);
    step_faults(m, "ff 03", EMU_VECTOR_GP, true); /* a modification is a write */
    step_ok(m, "39 03");                          /* CMP is not */
    step_ok(m, "2e 8b 03");
    step_faults(m, "2e 89 03", EMU_VECTOR_GP, true);
    m->c.seg[EMU_CS].access = RIGHTS_EXECUTE;
    step_faults(m, "2e 8b 03", EMU_VECTOR_GP, true);
    m->c.seg[EMU_FS].access = EMU_SEG_UNUSABLE;
    step_faults(m, "64 8b 03", EMU_VECTOR_GP, true);
    machine_free(m);
}

static void test_linear_wraps_at_4g(void **state)
{
    struct machine *m = machine_new(EMU_PROT32);

    (void)state;
    m->c.seg[EMU_DS].base = 0xfffff000;
    m->c.regs[EMU_RBX] = 0x00001010;
    m->memory[0x10] = 0x5c;
    step_ok(m, "8a 03");
    assert_int_equal(m->c.regs[EMU_RAX], 0x5c);
    machine_free(m);
}

static void test_modes_choose_sizes(void **state)
{
    struct machine *m = machine_new(EMU_PROT16);

    (void)state;
    m->c.regs[EMU_RBX] = 0x40;
    m->c.regs[EMU_RDI] = 0x10000;
    memcpy(m->memory + 0x40, "\x11\x22\x33\x44\x55\x66\x77\x88", 8);
    m->c.regs[EMU_RAX] = 0xaaaaaaaa;
    step_ok(m, "8b 07");
    assert_int_equal(m->c.regs[EMU_RAX], 0xaaaa2211);
    step_ok(m, "66 8b 07");
    assert_int_equal(m->c.regs[EMU_RAX], 0x44332211);
    step_ok(m, "67 8a 43 04"); /* [ebx+4] */
    assert_int_equal(m->c.regs[EMU_RAX], 0x44332255);
    m->c.mode = EMU_PROT32;
    step_ok(m, "66 8b 43 06");
    assert_int_equal(m->c.regs[EMU_RAX], 0x44338877);
    step_ok(m, "a1 40 00 00 00");
    assert_int_equal(m->c.regs[EMU_RAX], 0x44332211);
    machine_free(m);
}

/* ------------------------------------------------------------------ 64-bit mode */

static void test_canonical(void **state)
{
    struct machine *m = machine_new(EMU_LONG64);

    (void)state;
    m->c.regs[EMU_RBX] = 0x800000000000;
    step_faults(m, "8b 03", EMU_VECTOR_GP, true);
    m->c.regs[EMU_RBX] = 0x7ffffffffffe; /* ends beyond */
    step_faults(m, "8b 03", EMU_VECTOR_GP, true);
    m->c.regs[EMU_RBP] = 0x800000000000;
    step_faults(m, "8b 45 00", EMU_VECTOR_SS, true);
    step_faults(m, "3e 8b 45 00", EMU_VECTOR_SS, true); /* DS override: ignored */
    step_faults(m, "65 8b 45 00", EMU_VECTOR_GP, true);
    m->c.seg[EMU_GS].base = (uint64_t)-0x800000000000 + 0x100;
    step_ok(m, "65 8b 45 00"); /* base + offset wraps to 100h */
    machine_free(m);
}

static void test_long_mode_ignores_segments(void **state)
{
    struct machine *m = machine_new(EMU_LONG64);

    (void)state;
    for (unsigned n = 0; n < EMU_NR_SEGS; n++) {
        m->c.seg[n].base = 0x3000;
        m->c.seg[n].limit = 0;
        m->c.seg[n].access = EMU_SEG_UNUSABLE;
    }
    m->memory[0x20] = 1;
    m->memory[0x3020] = 2;
    m->c.regs[EMU_RBX] = 0x20;
    step_ok(m, "8a 03");
    assert_int_equal(m->c.regs[EMU_RAX], 1);
    step_ok(m, "2e 8a 03");
    assert_int_equal(m->c.regs[EMU_RAX], 1);
    step_ok(m, "64 8a 03");
    assert_int_equal(m->c.regs[EMU_RAX], 2);
    step_ok(m, "64 26 8a 03"); /* an ignored override does not undo FS */
    assert_int_equal(m->c.regs[EMU_RAX], 2);
    machine_free(m);
}

static void test_alignment(void **state)
{
    struct machine *m = machine_new(EMU_LONG64);

    (void)state;
    m->c.regs[EMU_RBX] = 0x102;
    step_ok(m, "8b 03");
    m->c.wp_alignment = true;
    step_faults(m, "8b 03", EMU_VECTOR_AC, true);
    step_ok(m, "66 8b 03");
    m->c.wp_alignment = false;
    step_faults(m, "0f 28 03", EMU_VECTOR_GP, true);       /* movaps */
    step_faults(m, "66 0f 7f 03", EMU_VECTOR_GP, true);    /* movdqa */
    step_faults(m, "0f 2b 03", EMU_VECTOR_GP, true);       /* movntps */
    step_faults(m, "66 0f 38 2a 03", EMU_VECTOR_GP, true); /* movntdqa */
    step_ok(m, "0f 10 03");
    step_faults(m, "f0 48 0f c7 0b", EMU_VECTOR_GP, true); /* cmpxchg16b */
    step_ok(m, "f0 0f c7 0b");
    m->c.regs[EMU_RBX] = 0x110;
    step_ok(m, "c5 f8 28 03");
    step_faults(m, "c5 fc 28 03", EMU_VECTOR_GP, true); /* 32 bytes */
    machine_free(m);
}

static void test_rip_relative(void **state)
{
    struct machine *m = machine_new(EMU_LONG64);

    (void)state;
    m->c.rip = 0x1000;
    m->memory[0x1107] = 0x31;
    step_ok(m, "80 05 00 01 00 00 05"); /* relative to what follows the immediate */
    assert_int_equal(m->memory[0x1107], 0x36);
    m->c.rip = 0xffffffff00001000;
    m->c.mode = EMU_LONG64;
    m->memory[0x1106] = 0x44;
    step_ok(m, "67 8a 05 ff 00 00 00"); /* 67: cut to 32 bits */
    assert_int_equal(m->c.regs[EMU_RAX], 0x44);
    machine_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_addressing),
        cmocka_unit_test(test_real_limit),
        cmocka_unit_test(test_real_code_segment_is_writable),
        cmocka_unit_test(test_protected_limits),
        cmocka_unit_test(test_expand_down),
        cmocka_unit_test(test_segment_types),
        cmocka_unit_test(test_linear_wraps_at_4g),
        cmocka_unit_test(test_modes_choose_sizes),
        cmocka_unit_test(test_canonical),
        cmocka_unit_test(test_long_mode_ignores_segments),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_rip_relative),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
