/* lib/: formatted text against the C library's, strings, timers, arithmetic, lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <limits.h>
#include <stdio.h>
#include "lib/bitmap.h"
#include "lib/checked.h"
#include "lib/format.h"
#include "lib/list.h"
#include "lib/string.h"
#include "lib/timerq.h"
#include "tests/unit/random.h"

/* Ours and the C library's must be the same: text, length, and where it is cut. */
#define SAME(...)                                                  \
    do {                                                           \
        char ours[200], theirs[200];                               \
        size_t n = format_text(ours, sizeof(ours), __VA_ARGS__);   \
        int want = snprintf(theirs, sizeof(theirs), __VA_ARGS__);  \
        assert_string_equal(ours, theirs);                         \
        assert_int_equal(n, want);                                 \
        assert_int_equal(format_text(ours, 5, __VA_ARGS__), want); \
        theirs[4] = '\0';                                          \
        assert_string_equal(ours, theirs);                         \
    } while (0)

#pragma GCC diagnostic ignored "-Wformat-truncation"
#pragma GCC diagnostic ignored "-Wformat-security"
#pragma GCC diagnostic ignored "-Wformat-nonliteral"

static const char *const number_flags[] = {"", "-", "0", "+", " ", "#", "0+", "-+", "#0", "- "};
static const char *const widths[] = {"", "1", "8", "12", ".0", ".5", "8.3", "3.8", "20.10"};

static void check_format(const char *flags, const char *width, const char *conv, long value)
{
    char fmt[32];

    snprintf(fmt, sizeof(fmt), "<%%%s%sl%s>", flags, width, conv);
    SAME(fmt, value);
    snprintf(fmt, sizeof(fmt), "<%%%s%s%s>", flags, width, conv);
    SAME(fmt, (int)value);
    snprintf(fmt, sizeof(fmt), "<%%%s%shh%s>", flags, width, conv);
    SAME(fmt, (int)(signed char)value);
}

static void test_format_numbers(void **state)
{
    static const long values[] = {0, 1, -1, 9, 10, 255, 4096, INT_MIN, INT_MAX, LONG_MIN, LONG_MAX};
    static const char *const convs[] = {"d", "i", "u", "x", "X"};

    (void)state;
    for (size_t f = 0; f < ARRAY_SIZE(number_flags); f++)
        for (size_t w = 0; w < ARRAY_SIZE(widths); w++)
            for (size_t c = 0; c < ARRAY_SIZE(convs); c++)
                for (size_t v = 0; v < ARRAY_SIZE(values); v++)
                    check_format(number_flags[f], widths[w], convs[c], values[v]);
}

static void test_format_text(void **state)
{
    (void)state;
    SAME("plain, 100 %%");
    SAME("%s|%10s|%-10s|%.2s|%*s|%-*s|%.*s", "abc", "abc", "abc", "abc", 6, "abc", 6, "abc", 1,
         "abc");
    SAME("%c%c|%3c|%-3c|", 'a', 'b', 'c', 'd');
    SAME("%zu %llu %hu %hhu %jd %td", (size_t)1, 2ull, (unsigned short)3, (unsigned char)4,
         (intmax_t)-5, (ptrdiff_t)6);
    SAME("%p|%20p|%-20p|", (void *)0x1234, (void *)0xabcdef, (void *)1);
    SAME("%*d|%-*d|%*d", 5, 1, 5, 2, -5, 3);
    SAME("%o %lo", 8, 511l);
}

/* Nothing is written where there is no room, and the length is told all the same. */
static void test_format_sizes(void **state)
{
    char buf[4] = "xyz";

    (void)state;
    assert_int_equal(format_text(buf, 0, "%d", 12345), 5);
    assert_string_equal(buf, "xyz");
    assert_int_equal(format_text(NULL, 0, "%s", "abc"), 3);
    assert_int_equal(format_text(buf, 1, "%d", 1), 1);
    assert_string_equal(buf, "");
    assert_int_equal(format_text(buf, 4, "%s", "abc"), 3);
    assert_string_equal(buf, "abc");
}

static void test_string_copy(void **state)
{
    char buf[4];

    (void)state;
    assert_true(string_copy(buf, sizeof(buf), "abc"));
    assert_string_equal(buf, "abc");
    assert_false(string_copy(buf, sizeof(buf), "defg"));
    assert_string_equal(buf, "def");
    assert_true(string_copy(buf, sizeof(buf), ""));
    assert_string_equal(buf, "");
    assert_false(string_copy(buf, 1, "a"));
    assert_string_equal(buf, "");
}

static void test_checked(void **state)
{
    struct random rnd = {1};
    uint64_t r;

    (void)state;
    assert_true(checked_add(UINT64_MAX - 1, 1, &r) && r == UINT64_MAX);
    assert_false(checked_add(UINT64_MAX, 1, &r));
    assert_true(checked_mul(1ull << 32, (1ull << 32) - 1, &r) && r == 0xffffffff00000000ull);
    assert_false(checked_mul(1ull << 32, 1ull << 32, &r));
    assert_true(checked_range(0, 10, 10) && checked_range(10, 0, 10));
    assert_false(checked_range(1, 10, 10) || checked_range(11, 0, 10));
    assert_false(checked_range(5, UINT64_MAX, 10) || checked_range(UINT64_MAX, 2, 10));
    assert_int_equal(mul_div(UINT64_MAX, 1000, 1000), UINT64_MAX);
    assert_int_equal(mul_div(UINT64_MAX, 2, 1), UINT64_MAX); /* saturated */
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t a = random_next(&rnd) >> random_below(&rnd, 64);
        uint64_t b = random_next(&rnd) >> random_below(&rnd, 64);
        uint64_t c = (random_next(&rnd) >> random_below(&rnd, 64)) + 1;
        unsigned __int128 q = c == 0 ? 0 : (unsigned __int128)a * b / c;

        if (c != 0)
            assert_int_equal(mul_div(a, b, c), q >> 64 ? UINT64_MAX : (uint64_t)q);
    }
}

struct item {
    int value;
    struct list node;
};

static void test_list(void **state)
{
    struct list head = LIST_INIT(head);
    struct item items[5];
    int sum = 0, order = 0;

    (void)state;
    assert_true(list_empty(&head));
    for (int i = 0; i < 5; i++) {
        items[i].value = i;
        if (i % 2)
            list_push_front(&head, &items[i].node);
        else
            list_push_back(&head, &items[i].node);
    }
    list_for_each (it, &head)
        order = order * 10 + list_entry(it, struct item, node)->value;
    assert_int_equal(order, 31024);
    list_remove(&items[0].node);
    list_remove(&items[0].node); /* twice does no harm */
    list_for_each_safe (it, &head) {
        sum += list_entry(it, struct item, node)->value;
        list_remove(it);
    }
    assert_int_equal(sum, 10);
    assert_true(list_empty(&head));
}

static void test_bitmap(void **state)
{
    uint64_t map[BITMAP_WORDS(130)] = {0};

    (void)state;
    assert_int_equal(ARRAY_SIZE(map), 3);
    bitmap_set(map, 0);
    bitmap_set(map, 63);
    bitmap_set(map, 129);
    assert_true(bitmap_test(map, 63) && bitmap_test(map, 129));
    assert_int_equal(map[0], BIT(63) | 1);
    assert_int_equal(map[2], 2);
    bitmap_clear(map, 63);
    assert_false(bitmap_test(map, 63));
    assert_int_equal(map[0], 1);
}

/* ------------------------------------------------------------------ timers */

#define TIMERS 20

static unsigned fired[TIMERS];

static void note(struct timer *t, uint64_t now)
{
    assert_false(timer_armed(t));
    assert_int_equal(t->deadline, TIMER_NEVER);
    fired[(uintptr_t)t->opaque]++;
    (void)now;
}

/* Against a plain array of deadlines: who fires when, and which is the soonest. */
static void test_timers_random(void **state)
{
    struct random rnd = {1};
    struct timerq q;
    struct timer t[TIMERS];
    uint64_t deadlines[TIMERS], now = 0;
    unsigned expected[TIMERS] = {0};

    (void)state;
    timerq_init(&q);
    assert_int_equal(timerq_next(&q), TIMER_NEVER);
    for (uintptr_t i = 0; i < TIMERS; i++) {
        timer_init(&t[i], note, (void *)i);
        deadlines[i] = TIMER_NEVER;
    }
    for (unsigned step = 0; step < 20000; step++) {
        unsigned n = random_below(&rnd, TIMERS), what = random_below(&rnd, 4);
        uint64_t soonest = TIMER_NEVER;

        for (unsigned i = 0; i < TIMERS; i++)
            if (i != n)
                soonest = MIN(soonest, deadlines[i]);
        if (what < 2) {
            deadlines[n] = now + random_below(&rnd, 50);
            assert_int_equal(timerq_set(&q, &t[n], deadlines[n]), deadlines[n] < soonest);
        } else if (what == 2) {
            timerq_cancel(&t[n]);
            deadlines[n] = TIMER_NEVER;
        } else {
            now += random_below(&rnd, 10);
            timerq_expire(&q, now);
            for (unsigned i = 0; i < TIMERS; i++)
                if (deadlines[i] <= now) {
                    expected[i]++;
                    deadlines[i] = TIMER_NEVER;
                }
            assert_memory_equal(fired, expected, sizeof(fired));
        }
        soonest = TIMER_NEVER;
        for (unsigned i = 0; i < TIMERS; i++) {
            soonest = MIN(soonest, deadlines[i]);
            assert_int_equal(timer_armed(&t[i]), deadlines[i] != TIMER_NEVER);
        }
        assert_int_equal(timerq_next(&q), soonest);
    }
}

static struct timer other;

static void rearm(struct timer *t, uint64_t now)
{
    unsigned *left = t->opaque;

    timerq_cancel(&other);
    if (--*left > 0)
        timerq_set(other.opaque, t, now);
}

static void never(UNUSED struct timer *t, UNUSED uint64_t now)
{
    fail_msg("it was cancelled");
}

/* A callback sets its own timer again, due at once, and cancels another that is due as well. */
static void test_timers_callbacks(void **state)
{
    struct timerq q;
    struct timer t;
    unsigned left = 3;

    (void)state;
    timerq_init(&q);
    timer_init(&t, rearm, &left);
    timer_init(&other, never, &q);
    assert_true(timerq_set(&q, &t, 5));
    assert_false(timerq_set(&q, &other, 5)); /* equal deadlines: first come, first served */
    assert_null(timerq_pop(&q, 4));
    timerq_expire(&q, 5);
    assert_int_equal(left, 0);
    assert_int_equal(timerq_next(&q), TIMER_NEVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_numbers),   cmocka_unit_test(test_format_text),
        cmocka_unit_test(test_format_sizes),     cmocka_unit_test(test_string_copy),
        cmocka_unit_test(test_checked),          cmocka_unit_test(test_list),
        cmocka_unit_test(test_bitmap),           cmocka_unit_test(test_timers_random),
        cmocka_unit_test(test_timers_callbacks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
