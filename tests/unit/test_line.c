/* monitor/line, looked at through a terminal; monitor/command. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "monitor/command.h"
#include "monitor/line.h"
#include "tests/unit/random.h"

#define PROMPT  "> "
#define COLUMNS 80

/* One row of a terminal: what line_draw says is played back here. */
struct terminal {
    char row[COLUMNS + 1];
    unsigned cursor;
};

static const char *play_sequence(struct terminal *t, const char *s)
{
    unsigned n = 0;

    assert_int_equal(*s++, '[');
    for (; *s >= '0' && *s <= '9'; s++)
        n = n * 10 + (unsigned)(*s - '0');
    if (*s == 'K') {
        memset(t->row + t->cursor, ' ', COLUMNS - t->cursor);
    } else {
        assert_int_equal(*s, 'D');
        assert_true(n <= t->cursor);
        t->cursor -= n;
    }
    return s + 1;
}

static void draw(struct terminal *t, const struct line *l)
{
    char text[LINE_DRAW_BYTES + 1];
    size_t n = line_draw(l, text);

    assert_true(n < LINE_DRAW_BYTES);
    text[n] = '\0';
    for (const char *s = text; *s != '\0';) {
        if (*s == '\x1b') {
            s = play_sequence(t, s + 1);
        } else if (*s == '\r') {
            t->cursor = 0;
            s++;
        } else {
            assert_true(t->cursor < COLUMNS - 1); /* no row is ever full */
            t->row[t->cursor++] = *s++;
        }
    }
}

/* What stands there, with the cursor as '|', without blanks at the end. */
static const char *shown(const struct line *l)
{
    static struct terminal t;
    static char text[COLUMNS + 2];
    size_t n = COLUMNS;

    memset(t.row, '#', COLUMNS);
    draw(&t, l);
    memcpy(text, t.row, t.cursor);
    text[t.cursor] = '|';
    memcpy(text + t.cursor + 1, t.row + t.cursor, COLUMNS - t.cursor);
    n = COLUMNS + 1;
    while (n > 0 && text[n - 1] == ' ')
        n--;
    text[n] = '\0';
    return text;
}

static enum line_event type(struct line *l, const char *keys)
{
    enum line_event e = LINE_NOTHING;

    for (; *keys != '\0'; keys++)
        e = line_input(l, (uint8_t)*keys);
    return e;
}

#define SHOWS(l, text) assert_string_equal(shown(l), text)

static void test_edit(void **state)
{
    struct line l;

    (void)state;
    line_init(&l, PROMPT);
    SHOWS(&l, "> |");
    type(&l, "hello world");
    SHOWS(&l, "> hello world|");
    type(&l, "\x1b[D\x1b[D\x1bOD");
    SHOWS(&l, "> hello wo|rld");
    type(&l, "\x7f!");
    SHOWS(&l, "> hello w!|rld");
    type(&l, "\x01");
    SHOWS(&l, "> |hello w!rld");
    type(&l, "\x1b[3~\x1b[C\x04");
    SHOWS(&l, "> e|lo w!rld");
    type(&l, "\x1b[F");
    SHOWS(&l, "> elo w!rld|");
    type(&l, "\x17");
    SHOWS(&l, "> elo |");
    type(&l, "\x19\x19");
    SHOWS(&l, "> elo w!rldw!rld|");
    type(&l, "\x1b[H\x1b[1;5C\x0b");
    SHOWS(&l, "> e|");
    type(&l, "\x1b[4~xyz\x15");
    SHOWS(&l, "> |");
    type(&l, "one two\x1b"
             "b\x1b"
             "d");
    SHOWS(&l, "> one |");
    assert_int_equal(type(&l, "\x03"), LINE_CANCELED);
    assert_int_equal(type(&l, "\t"), LINE_COMPLETE);
    assert_int_equal(type(&l, "\x1b[99~"), LINE_BELL);
    assert_int_equal(type(&l, "\r"), LINE_ENTERED);
    assert_string_equal(l.text, "one ");
    line_next(&l, true);
    assert_int_equal(type(&l, "\n"), LINE_NOTHING); /* of the carriage return */
    assert_int_equal(type(&l, "\n"), LINE_ENTERED);
}

static void test_scroll(void **state)
{
    struct line l;
    char want[COLUMNS + 8];

    (void)state;
    line_init(&l, PROMPT);
    for (int i = 0; i < 200; i++)
        type(&l, (const char[]){(char)('a' + i % 26), '\0'});
    strcpy(want, PROMPT);
    memcpy(want + 2, l.text + 200 - (LINE_COLUMNS - 3), LINE_COLUMNS - 3);
    strcpy(want + 2 + LINE_COLUMNS - 3, "|");
    SHOWS(&l, want);
    type(&l, "\x01");
    assert_memory_equal(shown(&l), "> |abcdef", 9);
    for (int i = 0; i < 1000; i++)
        type(&l, "z");
    assert_int_equal(l.len, LINE_BYTES - 1);
    assert_int_equal(type(&l, "z"), LINE_BELL);
}

static void enter(struct line *l, const char *text)
{
    type(l, text);
    line_next(l, true);
}

static void test_history(void **state)
{
    struct line l;
    char text[16];

    (void)state;
    line_init(&l, PROMPT);
    assert_int_equal(type(&l, "\x1b[A"), LINE_BELL);
    enter(&l, "first");
    enter(&l, "second");
    enter(&l, "second");
    enter(&l, "");
    type(&l, "new\x1b[A");
    SHOWS(&l, "> second|");
    type(&l, "\x10");
    SHOWS(&l, "> first|");
    assert_int_equal(type(&l, "\x1b[A"), LINE_BELL);
    type(&l, "\x1b[B\x0e");
    SHOWS(&l, "> new|");
    assert_int_equal(type(&l, "\x1b[B"), LINE_BELL);
    line_next(&l, false);
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof(text), "n%d", i);
        enter(&l, text);
    }
    for (int i = 0; i < 50; i++)
        type(&l, "\x1b[A");
    snprintf(text, sizeof(text), "n%d", 100 - LINE_HISTORY);
    assert_string_equal(l.text, text);
}

/* Any bytes without end: the line stays within its bounds, and can always be drawn. */
static void test_hostile(void **state)
{
    static const char likely[] = "\x1b[O~ADHF019;?\t\r\n\x01\x05\x15\x17\x0b\x19\x7fxyz \x10\x0e";
    struct line l;
    struct random seed = {1};

    (void)state;
    line_init(&l, PROMPT);
    for (unsigned i = 0; i < 300000; i++) {
        uint64_t r = random_next(&seed);
        uint8_t byte = r & 0x300 ? (uint8_t)likely[r % (sizeof(likely) - 1)] : (uint8_t)r;
        enum line_event e = line_input(&l, byte);

        assert_true(l.cursor <= l.len && l.len < LINE_BYTES);
        assert_int_equal(strlen(l.text), l.len);
        if (e == LINE_ENTERED || e == LINE_CANCELED)
            line_next(&l, e == LINE_ENTERED);
        if (i % 16 == 0)
            (void)shown(&l);
    }
}

/* ------------------------------------------------------------------ commands */

static char ran[200];

static void run(void *opaque, unsigned argc, const char *const argv[])
{
    (void)opaque;
    ran[0] = '\0';
    for (unsigned i = 0; i < argc; i++) {
        strcat(ran, "/");
        strcat(ran, argv[i]);
    }
}

static const struct command commands[] = {
    {"list", "", "", 0, 0, {0}, NULL, run},
    {"reset", "VM", "", 1, 1, {COMMAND_NAME}, NULL, run},
    {"resume", "VM", "", 1, 1, {COMMAND_NAME}, NULL, run},
    {"res", "", "", 0, 7, {0}, NULL, run},
    {"set", "VM WHAT N", "", 3, 3, {COMMAND_NAME, COMMAND_CHOICE}, "shares limit", run},
};

static const char *vm_name(void *opaque, unsigned index)
{
    static const char *const names[] = {"web-1", "web-2", "mail"};

    (void)opaque;
    return index < ARRAY_SIZE(names) ? names[index] : NULL;
}

static const struct command_table table = {commands, ARRAY_SIZE(commands), NULL, vm_name};

static bool call(const char *text, char *error)
{
    char line[512];

    snprintf(line, sizeof(line), "%s", text);
    return command_run(&table, line, error, 200);
}

static void test_run(void **state)
{
    char error[200];

    (void)state;
    assert_true(call("  list\t ", error));
    assert_string_equal(ran, "/list");
    assert_true(call("rese 'a b'", error));
    assert_string_equal(ran, "/rese/a b");
    assert_true(call("res \"\" x", error)); /* the whole name, though others begin so */
    assert_string_equal(ran, "/res//x");
    assert_true(call("", error));
    assert_false(call("re x", error));
    assert_string_equal(error, "unknown command: 're' (`help` lists what there is)");
    assert_false(call("reset", error));
    assert_string_equal(error, "usage: reset VM");
    assert_false(call("reset a b", error));
    assert_false(call("reset 'a", error));
    assert_string_equal(error, "too many words, or a quote that does not end");
    assert_false(call("res 1 2 3 4 5 6 7 8", error));
    assert_true(call("res 1 2 3 4 5 6 7", error));
    assert_false(call("'' x", error));
}

static const char *completed(const char *text, unsigned count)
{
    static struct command_completion c;

    command_complete(&table, text, strlen(text), &c);
    assert_int_equal(c.count, count);
    return c.add;
}

static void test_complete(void **state)
{
    struct command_completion c;

    (void)state;
    assert_string_equal(completed("l", 1), "ist ");
    assert_string_equal(completed("r", 3), "es");
    assert_string_equal(completed("x", 0), "");
    assert_string_equal(completed("reset w", 2), "eb-");
    assert_string_equal(completed("reset web-2", 1), " ");
    assert_string_equal(completed("  set mail s", 1), "hares ");
    assert_string_equal(completed("set mail shares 1", 0), "");
    assert_string_equal(completed("list w", 0), "");
    assert_string_equal(completed("", 5), "");
    command_complete(&table, "reset ", 6, &c);
    assert_string_equal(c.list, "web-1  web-2  mail");
}

static void test_command_hostile(void **state)
{
    static const char likely[] = "reslitm wb-12\"'\t ";
    struct command_completion c;
    struct random seed = {2};
    char line[LINE_BYTES], error[200];

    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        size_t n = random_next(&seed) % 40;

        for (size_t k = 0; k < n; k++)
            line[k] = likely[random_next(&seed) % (sizeof(likely) - 1)];
        line[n] = '\0';
        command_complete(&table, line, n, &c);
        (void)command_run(&table, line, error, sizeof(error));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edit),
        cmocka_unit_test(test_scroll),
        cmocka_unit_test(test_history),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_run),
        cmocka_unit_test(test_complete),
        cmocka_unit_test(test_command_hostile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
