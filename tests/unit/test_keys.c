/* monitor/keys: bytes of a terminal to scan codes, read back as keys here. monitor/picture. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "monitor/keys.h"
#include "monitor/picture.h"
#include "tests/unit/random.h"

/* All that is queued, as text: codes in hexadecimal, "-" before those of releases. */
static const char *typed(struct keys *k)
{
    static char text[4 * KEYS_QUEUE];
    bool released = false;
    const uint8_t *codes;
    size_t n, at = 0;

    text[0] = '\0';
    while (codes = keys_next(k, &n), n > 0) {
        for (size_t i = 0; i < n; i++) {
            if (codes[i] == 0xf0) {
                released = true;
                continue;
            }
            at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s%02x", at ? " " : "",
                                   released ? "-" : "", codes[i]);
            released = false;
        }
        keys_taken(k, n);
    }
    return text;
}

static const char *type(struct keys *k, const char *bytes)
{
    for (; *bytes != '\0'; bytes++)
        keys_input(k, (uint8_t)*bytes);
    return typed(k);
}

static void test_ascii(void **state)
{
    struct keys k = {0};

    (void)state;
    assert_string_equal(type(&k, "a"), "1c -1c");
    assert_string_equal(type(&k, "A"), "12 1c -1c -12");
    assert_string_equal(type(&k, "1!"), "16 -16 12 16 -16 -12");
    assert_string_equal(type(&k, "\r"), "5a -5a");
    assert_string_equal(type(&k, "\n"), "5a -5a");
    assert_string_equal(type(&k, "\t "), "0d -0d 29 -29");
    assert_string_equal(type(&k, "\x7f\b"), "66 -66 66 -66");
    assert_string_equal(type(&k, "~"), "12 0e -0e -12");
    assert_string_equal(type(&k, "\\|"), "5d -5d 12 5d -5d -12");
    assert_string_equal(type(&k, "\x03"), "14 21 -21 -14");
    assert_string_equal(type(&k, "\x1a"), "14 1a -1a -14");
    assert_string_equal(type(&k, "\x1c"), "14 5d -5d -14");
    keys_input(&k, 0);
    assert_string_equal(typed(&k), "14 29 -29 -14");
    assert_string_equal(type(&k, "\xc3\xa4"
                                 "b\xe2\x82\xac\xf0\x9f\x98\x80"
                                 "c"),
                        "32 -32 21 -21");
}

/* Each printable character against the key caps of a US keyboard, row by row. */
static void test_layout(void **state)
{
    static const char *const plain = "`1234567890-=qwertyuiop[]\\asdfghjkl;'zxcvbnm,./";
    static const char *const shift = "~!@#$%^&*()_+QWERTYUIOP{}|ASDFGHJKL:\"ZXCVBNM<>?";
    static const uint8_t code[] = {0x0e, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46,
                                   0x45, 0x4e, 0x55, 0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c,
                                   0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5d, 0x1c, 0x1b, 0x23, 0x2b,
                                   0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x1a, 0x22, 0x21,
                                   0x2a, 0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a};
    struct keys k = {0};
    char want[32], key[2] = "";

    (void)state;
    assert_int_equal(strlen(plain), sizeof(code));
    assert_int_equal(strlen(shift), sizeof(code));
    for (unsigned i = 0; i < sizeof(code); i++) {
        key[0] = plain[i];
        snprintf(want, sizeof(want), "%02x -%02x", code[i], code[i]);
        assert_string_equal(type(&k, key), want);
        key[0] = shift[i];
        snprintf(want, sizeof(want), "12 %02x -%02x -12", code[i], code[i]);
        assert_string_equal(type(&k, key), want);
    }
}

static void test_sequences(void **state)
{
    struct keys k = {0};

    (void)state;
    assert_string_equal(type(&k, "\x1b[A"), "e0 75 e0 -75");
    assert_string_equal(type(&k, "\x1bOB"), "e0 72 e0 -72");
    assert_string_equal(type(&k, "\x1b[C\x1b[D"), "e0 74 e0 -74 e0 6b e0 -6b");
    assert_string_equal(type(&k, "\x1b[H\x1b[F"), "e0 6c e0 -6c e0 69 e0 -69");
    assert_string_equal(type(&k, "\x1b[1~\x1b[4~"), "e0 6c e0 -6c e0 69 e0 -69");
    assert_string_equal(type(&k, "\x1b[2~\x1b[3~"), "e0 70 e0 -70 e0 71 e0 -71");
    assert_string_equal(type(&k, "\x1b[5~\x1b[6~"), "e0 7d e0 -7d e0 7a e0 -7a");
    assert_string_equal(type(&k, "\x1bOP\x1bOQ\x1bOR\x1bOS"), "05 -05 06 -06 04 -04 0c -0c");
    assert_string_equal(type(&k, "\x1b[11~\x1b[15~\x1b[17~\x1b[21~"),
                        "05 -05 03 -03 0b -0b 09 -09");
    assert_string_equal(type(&k, "\x1b[18~\x1b[19~\x1b[20~"), "83 -83 0a -0a 01 -01");
    assert_string_equal(type(&k, "\x1b[23~\x1b[24~"), "78 -78 07 -07");
    assert_string_equal(type(&k, "\x1b[[A\x1b[[E"), "05 -05 03 -03");
    assert_string_equal(type(&k, "\x1b[1;5A"), "14 e0 75 e0 -75 -14");
    assert_string_equal(type(&k, "\x1b[1;2P"), "12 05 -05 -12");
    assert_string_equal(type(&k, "\x1b[3;3~"), "11 e0 71 e0 -71 -11");
    assert_string_equal(type(&k, "\x1b[Z"), "12 0d -0d -12");
    assert_string_equal(type(&k, "\x1bx"), "11 22 -22 -11");
    assert_string_equal(type(&k, "\x1b[99~\x1b[?25h\x1b[200000000000;7u"), "");
    assert_string_equal(type(&k, "q"), "15 -15");
    keys_ctrl_alt_del(&k);
    assert_string_equal(typed(&k), "14 11 e0 71 e0 -71 -11 -14");
}

/* An ESC is one when nothing follows. */
static void test_escape(void **state)
{
    struct keys k = {0};

    (void)state;
    assert_string_equal(type(&k, "\x1b"), "");
    assert_true(keys_waiting(&k));
    keys_pause(&k);
    assert_false(keys_waiting(&k));
    assert_string_equal(typed(&k), "76 -76");
    assert_string_equal(type(&k, "\x1b["), "");
    keys_pause(&k);
    assert_string_equal(typed(&k), "11 54 -54 -11");
    assert_string_equal(type(&k, "\x1b\x1b[A"), "76 -76 e0 75 e0 -75");
    keys_pause(&k);
    assert_string_equal(typed(&k), "");
}

/* Whatever is typed: keys go down and come up again, and a full queue loses whole keys. */
static void test_random(void **state)
{
    struct random rnd = {3};
    struct keys k = {0};

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        unsigned n = random_below(&rnd, 200);
        int down[256] = {0};
        const uint8_t *codes;
        bool up = false;
        size_t m;

        while (n-- > 0)
            keys_input(&k, random_below(&rnd, 4)
                               ? (uint8_t) "\x1b[O;1234~ABa"[random_below(&rnd, 12)]
                               : (uint8_t)random_next(&rnd));
        keys_pause(&k);
        assert_true(k.head - k.tail <= KEYS_QUEUE);
        while (codes = keys_next(&k, &m), m > 0) {
            for (size_t i = 0; i < m; i++) {
                if (codes[i] == 0xf0)
                    up = true;
                else if (codes[i] != 0xe0)
                    down[codes[i]] += up ? -1 : 1, up = false;
            }
            keys_taken(&k, m);
        }
        for (unsigned i = 0; i < 256; i++)
            assert_int_equal(down[i], 0);
    }
}

/* ------------------------------------------------------------------ pictures */

static unsigned digit(char c)
{
    static const char all[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *p = strchr(all, c);

    assert_non_null(p);
    return (unsigned)(p - all);
}

/* Undoes picture_row: reads n bytes of commands to pixels. */
static unsigned decode(const char *s, size_t n, const uint8_t *above, uint8_t *rgb)
{
    const char *end = s + n;
    unsigned x = 0;

    while (s < end) {
        assert_memory_equal(s, "\x1b_tithe-row;", 12);
        for (s += 12; *s != 0x1b;) {
            if (*s == '*' || *s == '^') {
                unsigned count = digit(s[1]) << 6 | digit(s[2]);

                for (; count > 0; count--, x++)
                    memcpy(rgb + 3 * x, *s == '*' ? rgb + 3 * (x - 1) : above + 3 * x, 3);
                s += 3;
            } else {
                uint32_t p = digit(s[0]) << 18 | digit(s[1]) << 12 | digit(s[2]) << 6 | digit(s[3]);

                rgb[3 * x] = (uint8_t)(p >> 16);
                rgb[3 * x + 1] = (uint8_t)(p >> 8);
                rgb[3 * x + 2] = (uint8_t)p;
                x++;
                s += 4;
            }
        }
        assert_memory_equal(s, "\x1b\\", 2);
        s += 2;
    }
    return x;
}

static void test_picture(void **state)
{
    static uint8_t rows[2][PICTURE_MAX_WIDTH * 3], got[PICTURE_MAX_WIDTH * 3];
    static char out[PICTURE_ROW_BYTES];
    struct random rnd = {11};
    uint32_t sum = PICTURE_CHECKSUM;

    (void)state;
    for (unsigned round = 0; round < 400; round++) {
        unsigned width = round % 8 == 0 ? PICTURE_MAX_WIDTH : 1 + random_below(&rnd, 800);
        unsigned colours = round % 4 == 0 ? UINT32_MAX : 1 + random_below(&rnd, 3);
        uint8_t *row = rows[round & 1], *above = rows[~round & 1];
        size_t n;

        for (unsigned i = 0; i < 3 * width; i++)
            row[i] = random_below(&rnd, 3) ? above[i] : (uint8_t)random_below(&rnd, colours);
        n = picture_row(row, round % 5 ? above : NULL, width, &sum, out, sizeof(out));
        memset(got, 0, sizeof(got));
        assert_int_equal(decode(out, n, above, got), width);
        assert_memory_equal(got, row, 3 * width);
    }
    assert_int_equal(picture_begin("vm", 640, 400, out, sizeof(out)),
                     strlen("\x1b_tithe-picture;vm;640;400\x1b\\"));
    assert_string_equal(out, "\x1b_tithe-picture;vm;640;400\x1b\\");
    picture_end(0xabc, out, sizeof(out));
    assert_string_equal(out, "\x1b_tithe-end;00000abc\x1b\\");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ascii),     cmocka_unit_test(test_layout),
        cmocka_unit_test(test_sequences), cmocka_unit_test(test_escape),
        cmocka_unit_test(test_random),    cmocka_unit_test(test_picture),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
