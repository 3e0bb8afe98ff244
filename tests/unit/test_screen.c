/*
 * monitor/screen: what it writes goes to a small terminal here, whose screen must then be the
 * guest's. And monitor/cp437.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "monitor/cp437.h"
#include "monitor/screen.h"
#include "tests/unit/random.h"

#define COLUMNS 80
#define ROWS    25

/* ------------------------------------------------------------------ the terminal */

struct terminal {
    unsigned code[ROWS][COLUMNS]; /* Unicode */
    unsigned look[ROWS][COLUMNS]; /* attribute as the VGA has it, blinking as bit 7 */
    unsigned column, row, attribute;
    bool cursor, pending; /* after the last column the cursor waits there */
};

static unsigned vga_colour(unsigned ansi)
{
    return (ansi & 1) << 2 | (ansi & 2) | (ansi & 4) >> 2;
}

static void select_look(struct terminal *t, unsigned n)
{
    if (n == 0)
        t->attribute = 0x07;
    else if (n == 1)
        t->attribute |= 0x08;
    else if (n == 5)
        t->attribute |= 0x80;
    else if (n >= 30 && n <= 37)
        t->attribute = (t->attribute & ~7u) | vga_colour(n - 30);
    else if (n >= 40 && n <= 47)
        t->attribute = (t->attribute & ~0x70u) | vga_colour(n - 40) << 4;
    else
        fail_msg("SGR %u", n);
}

static void erase(struct terminal *t)
{
    for (unsigned y = 0; y < ROWS; y++)
        for (unsigned x = 0; x < COLUMNS; x++) {
            t->code[y][x] = ' ';
            t->look[y][x] = t->attribute;
        }
}

/* After ESC [: the numbers and the final character. Returns where it ends. */
static const char *sequence(struct terminal *t, const char *s)
{
    unsigned value[8] = {0}, n = 0;
    bool private = *s == '?';

    for (s += private; (*s >= '0' && *s <= '9') || *s == ';'; s++) {
        if (*s == ';')
            n++;
        else
            value[n] = value[n] * 10 + (unsigned)(*s - '0');
        assert_true(n < 8);
    }
    if (private) {
        assert_int_equal(value[0], 25);
        assert_true(*s == 'h' || *s == 'l');
        t->cursor = *s == 'h';
    } else if (*s == 'H') {
        t->row = value[0] > 0 ? value[0] - 1 : 0;
        t->column = value[1] > 0 ? value[1] - 1 : 0;
        t->pending = false;
        assert_true(t->row < ROWS && t->column < COLUMNS);
    } else if (*s == 'J') {
        assert_int_equal(value[0], 2);
        erase(t);
    } else {
        assert_int_equal(*s, 'm');
        for (unsigned i = 0; i <= n; i++)
            select_look(t, value[i]);
    }
    return s + 1;
}

static void show(struct terminal *t, unsigned code)
{
    assert_false(t->pending); /* terminals differ in what comes then */
    t->code[t->row][t->column] = code;
    t->look[t->row][t->column] = t->attribute;
    if (t->column + 1 < COLUMNS)
        t->column++;
    else
        t->pending = true;
}

static void replay(struct terminal *t, const char *s, size_t n)
{
    const char *end = s + n;

    while (s < end) {
        unsigned c = (unsigned char)*s++;
        unsigned more = c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;

        if (c == 0x1b) {
            assert_int_equal(*s++, '[');
            s = sequence(t, s);
            continue;
        }
        assert_true(c >= ' ');
        if (more > 0)
            c &= more == 2 ? 0x0f : 0x1f;
        for (; more > 0; more--)
            c = c << 6 | ((unsigned char)*s++ & 0x3f);
        show(t, c);
    }
    assert_ptr_equal(s, end);
}

/* ------------------------------------------------------------------ the tests */

struct pair {
    struct screen s;
    struct terminal t;
    uint16_t cells[ROWS * COLUMNS];
    struct screen_text text;
};

static struct pair *pair_new(void)
{
    struct pair *p = calloc(1, sizeof(*p));

    p->t.attribute = 0x5a; /* whatever was there before */
    erase(&p->t);
    p->text = (struct screen_text){COLUMNS, ROWS, 0, 0, true, p->cells};
    for (unsigned i = 0; i < ROWS * COLUMNS; i++)
        p->cells[i] = 0x0720;
    return p;
}

/* One call with that room; true: all was drawn. */
static bool step(struct pair *p, size_t room, size_t *n)
{
    char *out = malloc(room);
    bool done;

    *n = screen_update(&p->s, &p->text, out, room, &done);
    assert_true(*n <= room);
    replay(&p->t, out, *n);
    free(out);
    return done;
}

static void check(const struct pair *p)
{
    for (unsigned i = 0; i < ROWS * COLUMNS; i++) {
        assert_int_equal(p->t.code[i / COLUMNS][i % COLUMNS], cp437_unicode((uint8_t)p->cells[i]));
        assert_int_equal(p->t.look[i / COLUMNS][i % COLUMNS], p->cells[i] >> 8);
    }
    assert_int_equal(p->t.cursor, p->text.cursor);
    if (p->text.cursor) {
        assert_int_equal(p->t.column, p->text.cursor_column);
        assert_int_equal(p->t.row, p->text.cursor_row);
    }
}

static void finish(struct pair *p, size_t room)
{
    size_t n;

    for (unsigned calls = 0; !step(p, room, &n); calls++)
        assert_true(n > 0 && calls < 10000);
    check(p);
}

static void test_empty(void **state)
{
    struct pair *p = pair_new();
    size_t n;

    (void)state;
    finish(p, 4096);
    for (unsigned i = 0; i < 3; i++) { /* nothing changed: nothing is written */
        assert_true(step(p, 4096, &n));
        assert_int_equal(n, 0);
    }
    free(p);
}

static void test_all_characters(void **state)
{
    struct pair *p = pair_new();

    (void)state;
    for (unsigned i = 0; i < ROWS * COLUMNS; i++)
        p->cells[i] = (uint16_t)(i % 256 | i * 7 % 256 << 8);
    finish(p, 65536);
    assert_int_equal(cp437_unicode('A'), 'A');
    assert_int_equal(cp437_unicode(0xc9), 0x2554);
    assert_int_equal(cp437_unicode(0xdb), 0x2588);
    assert_int_equal(cp437_unicode(1), 0x263a);
    assert_int_equal(cp437_unicode(0x7f), 0x2302);
    free(p);
}

/* A typed character costs a few bytes. */
static void test_small_change(void **state)
{
    struct pair *p = pair_new();
    size_t n;

    (void)state;
    finish(p, 4096);
    p->cells[0] = 0x0741;
    p->text.cursor_column = 1;
    finish(p, 4096);
    p->cells[1] = 0x0742;
    p->text.cursor_column = 2;
    assert_true(step(p, 4096, &n));
    assert_in_range(n, 1, 20);
    check(p);
    p->text.cursor = false;
    assert_true(step(p, 4096, &n));
    assert_in_range(n, 1, 10);
    check(p);
    free(p);
}

static void test_random(void **state)
{
    struct pair *p = pair_new();
    struct random rnd = {7};
    size_t n;

    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        unsigned changes = random_below(&rnd, round % 10 == 0 ? 3000 : 30);

        for (unsigned i = 0; i < changes; i++)
            p->cells[random_below(&rnd, ROWS * COLUMNS)] = (uint16_t)random_next(&rnd);
        p->text.cursor = random_below(&rnd, 4) != 0;
        p->text.cursor_column = random_below(&rnd, COLUMNS);
        p->text.cursor_row = random_below(&rnd, ROWS);
        if (random_below(&rnd, 3) == 0)
            (void)step(p, 128 + random_below(&rnd, 2000), &n); /* and it changes before the rest */
        else
            finish(p, 128 + random_below(&rnd, 2000));
    }
    finish(p, 200);
    free(p);
}

/* Something else wrote on the terminal, or the size changed. */
static void test_forget(void **state)
{
    struct pair *p = pair_new();
    char out[256];
    size_t n;

    (void)state;
    p->cells[100] = 0x1f58;
    finish(p, 4096);
    n = screen_say(&p->s, "[graphics]", out, sizeof(out));
    out[n] = '\0';
    assert_non_null(strstr(out, "[graphics]\r\n"));
    erase(&p->t);
    finish(p, 4096);
    p->t.column = 7;
    p->t.row = 3;
    erase(&p->t);
    screen_forget(&p->s);
    finish(p, 4096);
    n = screen_leave(&p->s, out, sizeof(out));
    assert_true(n > 0);
    assert_int_equal(screen_leave(&p->s, out, sizeof(out)), 0); /* is plain already */
    p->text.columns = SCREEN_MAX_COLUMNS + 1;
    assert_true(step(p, 100, &n));
    assert_int_equal(n, 0);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),        cmocka_unit_test(test_all_characters),
        cmocka_unit_test(test_small_change), cmocka_unit_test(test_random),
        cmocka_unit_test(test_forget),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
