/*
 * devices/vga: the legacy window against a reference that does it bit by bit, plane by plane, and
 * the pictures of the classic modes.
 */
#include "tests/unit/vga.h"
#include "tests/vga_reference.h"

/* ------------------------------------------------------------------ against it */

static void change_register(struct pc *pc, struct vga_ref *r, struct random *rnd)
{
    unsigned index;

    switch (random_below(rnd, 8)) {
    case 0:
        r->misc = (uint8_t)(0x21 | (random_below(rnd, 8) ? 2 : 0));
        r->misc ^= random_below(rnd, 4) ? 0 : 0x20;
        pc_outb(pc, VGA_PORT_MISC, r->misc);
        break;
    case 1:
        r->seq[SEQ_MEMORY] = (uint8_t)(random_below(rnd, 4) * 4 + 2);
        set_indexed(pc, VGA_PORT_SEQ, SEQ_MEMORY, r->seq[SEQ_MEMORY]);
        break;
    case 2:
        r->seq[SEQ_MAP_MASK] = (uint8_t)random_below(rnd, 16);
        set_indexed(pc, VGA_PORT_SEQ, SEQ_MAP_MASK, r->seq[SEQ_MAP_MASK]);
        break;
    default:
        index = random_below(rnd, VGA_NR_GC);
        set_indexed(pc, VGA_PORT_GC, index, random_below(rnd, 256));
        r->gc[index] = pc_inb(pc, VGA_PORT_GC_DATA);
    }
}

static uint32_t some_address(const struct vga_ref *r, struct random *rnd)
{
    static const uint32_t start[] = {0xa0000, 0xa0000, 0xb0000, 0xb8000};

    if (random_below(rnd, 10) == 0)
        return WINDOW + random_below(rnd, 0x1fff0);
    return start[r->gc[GC_MISC] >> 2 & 3] + random_below(rnd, 64); /* the same ones again */
}

static void test_against_reference(void **state)
{
    struct vga_ref *r = calloc(1, sizeof(*r));
    struct random rnd = {1};
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    r->misc = 1;
    for (unsigned n = 0; n < 400000; n++) {
        uint32_t address = some_address(r, &rnd);
        unsigned size = 1u << random_below(&rnd, 4);
        uint64_t value = random_next(&rnd);

        if (random_below(&rnd, 3) == 0)
            change_register(&pc, r, &rnd);
        if (random_below(&rnd, 2) == 0) {
            poke(&pc, address, size, value);
            for (unsigned i = 0; i < size; i++)
                vga_ref_write(r, address + i, (uint8_t)(value >> 8 * i));
        } else {
            uint64_t got = peek(&pc, address, size);

            for (unsigned i = 0; i < size; i++)
                assert_int_equal(got >> 8 * i & 0xff, vga_ref_read(r, address + i));
        }
    }
    for (uint32_t i = 0; i < VGA_REF_BYTES; i++)
        for (unsigned p = 0; p < 4; p++)
            assert_int_equal(vga_planes(pc.m.vga, i) >> 8 * p & 0xff, r->plane[p][i]);
    pc_finish(&pc);
    free(r);
}

/* Plain examples, to be read: what programs do. */
static void test_examples(void **state)
{
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    set_mode(&pc, &mode_12h);
    set_indexed(&pc, VGA_PORT_GC, GC_MODE, 2); /* write mode 2: a pixel of colour 5 */
    set_indexed(&pc, VGA_PORT_GC, GC_BIT_MASK, 0x10);
    (void)peek(&pc, WINDOW + 80, 1);
    poke(&pc, WINDOW + 80, 1, 5);
    assert_int_equal(pixel(&pc, 3, 1), mode_colour(5));
    assert_int_equal(pixel(&pc, 4, 1), mode_colour(0));
    set_indexed(&pc, VGA_PORT_GC, GC_MODE, 8); /* read mode 1: where is colour 5? */
    set_indexed(&pc, VGA_PORT_GC, GC_COMPARE, 5);
    assert_int_equal(peek(&pc, WINDOW + 80, 1), 0x10);
    set_indexed(&pc, VGA_PORT_GC, GC_MODE, 1); /* write mode 1: a copy by the latches */
    (void)peek(&pc, WINDOW + 80, 1);
    poke(&pc, WINDOW + 160, 1, 0);
    assert_int_equal(pixel(&pc, 3, 2), mode_colour(5));
    set_indexed(&pc, VGA_PORT_GC, GC_MODE, 0);
    set_indexed(&pc, VGA_PORT_GC, GC_BIT_MASK, 0xff);
    set_indexed(&pc, VGA_PORT_GC, GC_ROTATE, 0x18); /* XOR twice */
    for (unsigned i = 0; i < 2; i++) {
        (void)peek(&pc, WINDOW + 160, 1);
        poke(&pc, WINDOW + 160, 1, 0xff);
        assert_int_equal(pixel(&pc, 3, 2), mode_colour(i == 0 ? 10 : 5));
    }
    pc_finish(&pc);
}

/* ------------------------------------------------------------------ pictures */

static void test_text(void **state)
{
    struct vga_screen s;
    uint16_t cells[VGA_MAX_COLUMNS];
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    set_mode(&pc, &mode_text);
    vga_get_screen(pc.m.vga, &s);
    assert_true(s.text && !s.blank);
    assert_int_equal(s.columns, 80);
    assert_int_equal(s.rows, 25);
    assert_int_equal(s.width, 720);
    assert_int_equal(s.height, 400);
    for (unsigned i = 0; i < 80 * 25; i++)
        poke(&pc, TEXT_AT + 2 * i, 2, (i * 7 & 0xff) | (i * 3 & 0xff) << 8);
    for (unsigned row = 0; row < 25; row++) {
        vga_text_row(pc.m.vga, &s, row, cells);
        for (unsigned i = 0; i < 80; i++) {
            unsigned n = row * 80 + i;

            assert_int_equal(cells[i], (n * 7 & 0xff) | (n * 3 & 0xff) << 8);
            assert_int_equal(peek(&pc, TEXT_AT + 2 * n, 2), cells[i]);
        }
    }
    /* Scrolled by hardware, and the cursor moves along. */
    set_indexed(&pc, VGA_PORT_CRTC, CRTC_START_LOW, 80);
    set_indexed(&pc, VGA_PORT_CRTC, CRTC_CURSOR_LOW, 80 * 3 + 5);
    vga_get_screen(pc.m.vga, &s);
    vga_text_row(pc.m.vga, &s, 0, cells);
    assert_int_equal(cells[0] & 0xff, 80 * 7 & 0xff);
    assert_true(s.cursor);
    assert_int_equal(s.cursor_row, 2);
    assert_int_equal(s.cursor_column, 5);
    set_indexed(&pc, VGA_PORT_CRTC, CRTC_CURSOR_START, 0x2e);
    vga_get_screen(pc.m.vga, &s);
    assert_false(s.cursor);
    pc_finish(&pc);
}

/* A font is loaded as a BIOS does it: plane 2, sequential, at 0xA0000. */
static void load_glyph(struct pc *pc, unsigned at, const uint8_t *rows, unsigned n)
{
    set_indexed(pc, VGA_PORT_SEQ, SEQ_MAP_MASK, 4);
    set_indexed(pc, VGA_PORT_SEQ, SEQ_MEMORY, 6);
    set_indexed(pc, VGA_PORT_GC, GC_MODE, 0);
    set_indexed(pc, VGA_PORT_GC, GC_MISC, 4);
    for (unsigned i = 0; i < n; i++)
        poke(pc, WINDOW + at + i, 1, rows[i]);
    set_indexed(pc, VGA_PORT_SEQ, SEQ_MAP_MASK, 3);
    set_indexed(pc, VGA_PORT_SEQ, SEQ_MEMORY, 2);
    set_indexed(pc, VGA_PORT_GC, GC_MODE, 0x10);
    set_indexed(pc, VGA_PORT_GC, GC_MISC, 0xe);
}

static void test_text_picture(void **state)
{
    static const uint8_t glyph[3] = {0x81, 0x18, 0xff}, other[1] = {0x40};
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    set_mode(&pc, &mode_text);
    load_glyph(&pc, 0xc4 * 32, glyph, 3);
    load_glyph(&pc, 'A' * 32, glyph, 3);
    load_glyph(&pc, 0x4000 + 'A' * 32, other, 1);
    poke(&pc, TEXT_AT + 2 * 81, 2, 0x9e00 | 'A'); /* blinking: background 1 */
    poke(&pc, TEXT_AT + 2 * 82, 2, 0x1ec4);
    assert_int_equal(pixel(&pc, 9, 16), mode_colour(14));
    assert_int_equal(pixel(&pc, 10, 16), mode_colour(1));
    assert_int_equal(pixel(&pc, 16, 16), mode_colour(14));
    assert_int_equal(pixel(&pc, 17, 16), mode_colour(1));  /* the ninth dot */
    assert_int_equal(pixel(&pc, 26, 16), mode_colour(14)); /* goes on in line graphics */
    assert_int_equal(pixel(&pc, 12, 17), mode_colour(14));
    set_attr(&pc, ATTR_MODE, 0x04);
    pc_outb(&pc, VGA_PORT_ATTR, ATTR_ON);
    assert_int_equal(pixel(&pc, 10, 16), mode_colour(9)); /* bright instead of blinking */
    set_indexed(&pc, VGA_PORT_SEQ, SEQ_FONTS, 0x04);      /* another font when bit 3 is set */
    assert_int_equal(pixel(&pc, 9, 16), mode_colour(9));
    assert_int_equal(pixel(&pc, 10, 16), mode_colour(14));
    set_indexed(&pc, VGA_PORT_CRTC, CRTC_CURSOR_LOW, 81);
    set_indexed(&pc, VGA_PORT_CRTC, CRTC_CURSOR_START, 4);
    set_indexed(&pc, VGA_PORT_CRTC, CRTC_CURSOR_END, 5);
    assert_int_equal(pixel(&pc, 9, 19), mode_colour(9));
    assert_int_equal(pixel(&pc, 9, 20), mode_colour(14));
    assert_int_equal(pixel(&pc, 9, 22), mode_colour(9));
    set_indexed(&pc, VGA_PORT_SEQ, SEQ_CLOCKING, 0x21); /* turned off */
    assert_int_equal(pixel(&pc, 9, 20), 0);
    pc_finish(&pc);
}

static void test_picture_12h(void **state)
{
    struct vga_screen s;
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    set_mode(&pc, &mode_12h);
    vga_get_screen(pc.m.vga, &s);
    assert_int_equal(s.width, 640);
    assert_int_equal(s.height, 480);
    assert_int_equal(s.bits, 4);
    set_indexed(&pc, VGA_PORT_GC, GC_ENABLE_SET_RESET, 0xf);
    set_indexed(&pc, VGA_PORT_GC, GC_SET_RESET, 0xb);
    set_indexed(&pc, VGA_PORT_GC, GC_BIT_MASK, 0x01);
    poke(&pc, WINDOW + 479 * 80 + 79, 1, 0);
    assert_int_equal(pixel(&pc, 639, 479), mode_colour(0xb));
    assert_int_equal(pixel(&pc, 638, 479), mode_colour(0));
    /* The palette: a plane disabled, another colour, the colour select register. */
    set_attr(&pc, ATTR_PLANES, 0x7);
    set_attr(&pc, 3, 0x2c);
    pc_outb(&pc, VGA_PORT_ATTR, ATTR_ON);
    assert_int_equal(pixel(&pc, 639, 479), mode_colour(0x2c));
    set_attr(&pc, ATTR_SELECT, 0xd);
    pc_outb(&pc, VGA_PORT_ATTR, ATTR_ON);
    assert_int_equal(pixel(&pc, 639, 479), mode_colour(0xec));
    set_attr(&pc, ATTR_MODE, 0x81);
    pc_outb(&pc, VGA_PORT_ATTR, ATTR_ON);
    assert_int_equal(pixel(&pc, 639, 479), mode_colour(0xdc));
    pc_outb(&pc, VGA_PORT_DAC_MASK, 0x0f);
    assert_int_equal(pixel(&pc, 639, 479), mode_colour(0x0c));
    /* Panning by pixels. */
    set_attr(&pc, ATTR_PAN, 3);
    pc_outb(&pc, VGA_PORT_ATTR, ATTR_ON);
    assert_int_equal(pixel(&pc, 636, 479), mode_colour(0x0c));
    pc_finish(&pc);
}

static void test_split(void **state)
{
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    set_mode(&pc, &mode_12h);
    poke(&pc, WINDOW, 1, 0x80);
    set_indexed(&pc, VGA_PORT_CRTC, CRTC_START_HIGH, 0x40);
    set_indexed(&pc, VGA_PORT_CRTC, CRTC_OVERFLOW, 0x2e); /* line compare 0x0ff */
    set_indexed(&pc, VGA_PORT_CRTC, CRTC_MAX_SCAN, 0);
    assert_int_equal(pixel(&pc, 0, 255), mode_colour(0));
    assert_int_equal(pixel(&pc, 0, 256), mode_colour(15));
    set_attr(&pc, ATTR_PAN, 1);
    set_attr(&pc, ATTR_MODE, 0x21);
    pc_outb(&pc, VGA_PORT_ATTR, ATTR_ON);
    assert_int_equal(pixel(&pc, 0, 256), mode_colour(15));
    pc_finish(&pc);
}

static void test_picture_13h(void **state)
{
    struct vga_screen s;
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    set_mode(&pc, &mode_13h);
    vga_get_screen(pc.m.vga, &s);
    assert_int_equal(s.width, 320);
    assert_int_equal(s.height, 200);
    assert_int_equal(s.bits, 8);
    for (unsigned i = 0; i < 64000; i += 8)
        poke(&pc, WINDOW + i, 8, (i / 320 + i % 320) * 0x0101010101010101ull + 0x0706050403020100);
    for (unsigned y = 0; y < 200; y += 7)
        for (unsigned x = 0; x < 320; x += 3) {
            uint8_t colour = (uint8_t)peek(&pc, WINDOW + y * 320 + x, 1);

            assert_int_equal(pixel(&pc, x, y), mode_colour(colour));
        }
    /* Mode X: unchained, the CRTC in byte mode, four pages. */
    set_indexed(&pc, VGA_PORT_SEQ, SEQ_MEMORY, 0x06);
    set_indexed(&pc, VGA_PORT_CRTC, CRTC_UNDERLINE, 0);
    set_indexed(&pc, VGA_PORT_CRTC, CRTC_MODE, 0xe3);
    set_indexed(&pc, VGA_PORT_CRTC, CRTC_START_HIGH, 0x40);
    set_indexed(&pc, VGA_PORT_SEQ, SEQ_MAP_MASK, 1 << (101 & 3));
    poke(&pc, WINDOW + 0x4000 + 50 * 80 + 101 / 4, 1, 0x9a);
    assert_int_equal(pixel(&pc, 101, 50), mode_colour(0x9a));
    pc_finish(&pc);
}

/* The CGA's: even lines in the first half of the memory, odd ones in the other. */
static void test_picture_4(void **state)
{
    struct vga_screen s;
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    set_mode(&pc, &mode_4);
    vga_get_screen(pc.m.vga, &s);
    assert_int_equal(s.width, 320);
    assert_int_equal(s.height, 200);
    assert_int_equal(s.bits, 2);
    poke(&pc, TEXT_AT + 5 * 80 + 3, 1, 0x1b); /* line 10, pixels 12 to 15: colours 0 to 3 */
    poke(&pc, TEXT_AT + 0x2000 + 5 * 80 + 2, 1, 0xe4);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pixel(&pc, 12 + i, 10), mode_colour(i));
        assert_int_equal(pixel(&pc, 8 + i, 11), mode_colour(3 - i));
    }
    /* Mode 6: 640 pixels of one bit, the same interleave. */
    set_indexed(&pc, VGA_PORT_SEQ, SEQ_CLOCKING, 1);
    set_indexed(&pc, VGA_PORT_SEQ, SEQ_MAP_MASK, 1);
    set_indexed(&pc, VGA_PORT_SEQ, SEQ_MEMORY, 6);
    set_indexed(&pc, VGA_PORT_GC, GC_MODE, 0);
    set_indexed(&pc, VGA_PORT_GC, GC_MISC, 0xd);
    set_indexed(&pc, VGA_PORT_CRTC, CRTC_V_SYNC_END, 0x0e); /* unlocks the first ones */
    set_indexed(&pc, VGA_PORT_CRTC, CRTC_H_DISPLAY_END, 0x4f);
    set_indexed(&pc, VGA_PORT_CRTC, CRTC_OFFSET, 0x28);
    set_indexed(&pc, VGA_PORT_CRTC, CRTC_MODE, 0xc2);
    poke(&pc, TEXT_AT + 0x2000 + 99 * 80 + 79, 1, 0x01);
    assert_int_equal(pixel(&pc, 639, 199), mode_colour(1));
    assert_int_equal(pixel(&pc, 638, 199), mode_colour(0));
    vga_get_screen(pc.m.vga, &s);
    assert_int_equal(s.width, 640);
    pc_finish(&pc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_reference),
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_picture),
        cmocka_unit_test(test_picture_12h),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_picture_13h),
        cmocka_unit_test(test_picture_4),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
