/* monitor/json: values as RFC 8259 has them, bounds, and hostile input. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "monitor/json.h"
#include "tests/unit/random.h"

/* What the last byte says. */
static enum json_event feed(struct json *j, const char *text)
{
    enum json_event e = JSON_MORE;

    for (; *text != '\0' && e == JSON_MORE; text++)
        e = json_feed(j, (uint8_t)*text);
    return *text == '\0' ? e : JSON_MORE;
}

static enum json_event fresh(struct json *j, const char *text)
{
    json_init(j);
    return feed(j, text);
}

static void test_values(void **state)
{
    struct json j;
    char text[32];
    unsigned args;

    (void)state;
    assert_int_equal(fresh(&j,
                           " \r\n{ \"execute\" : \"x-tithe-stop\", \"arguments\":{\"n\":-1.5e+3,"
                           "\"l\":[1,[],{},true,false,null],\"vm\":\"a\\\"\\u0041\\n\"}}"),
                     JSON_DONE);
    assert_true(json_string(&j, json_member(&j, 0, "execute"), text, sizeof(text)));
    assert_string_equal(text, "x-tithe-stop");
    args = json_member(&j, 0, "arguments");
    assert_int_equal(j.values[args].type, JSON_OBJECT);
    assert_int_equal(j.values[json_member(&j, args, "n")].type, JSON_NUMBER);
    assert_int_equal(j.values[json_member(&j, args, "l")].type, JSON_ARRAY);
    assert_true(json_string(&j, json_member(&j, args, "vm"), text, sizeof(text)));
    assert_string_equal(text, "a\"A\n");
    assert_false(json_string(&j, json_member(&j, args, "vm"), text, 4));
    assert_false(json_string(&j, args, text, sizeof(text)));
    assert_int_equal(json_member(&j, args, "execute"), 0);
    assert_int_equal(json_member(&j, 0, "vm"), 0);
    assert_int_equal(feed(&j, "{}"), JSON_DONE); /* the next one, without anything between */
    assert_int_equal(j.count, 1);
}

static void test_wrong(void **state)
{
    static const char *const wrong[] = {
        "x",
        "1",
        "{]",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\" 1}",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":1e}",
        "{\"a\":tru}",
        "{\"a\":\"\\x\"}",
        "{\"a\":[1,]}",
        "{\"a\":1 2}",
        "{\"a\":[1}",
        "{\"a\":-}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":[1]1}",
        "{\"a\":\"\n",
    };
    struct json j;

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        json_init(&j);
        if (feed(&j, wrong[i]) != JSON_ERROR && feed(&j, "}") != JSON_ERROR)
            fail_msg("taken: %s", wrong[i]);
        (void)json_feed(&j, '\n');
        assert_int_equal(feed(&j, "{\"a\":1}"), JSON_DONE); /* it finds its way back */
    }
}

static void test_bounds(void **state)
{
    struct json j;
    char text[2 * JSON_BYTES];

    (void)state;
    assert_int_equal(fresh(&j, "{\"a\":[[[[[[[1]]]]]]]}"), JSON_DONE);
    assert_int_equal(fresh(&j, "{\"a\":[[[[[[[[1]]]]]]]]}"), JSON_ERROR);
    strcpy(text, "{\"a\":[");
    for (unsigned i = 0; i < JSON_VALUES - 4; i++)
        strcat(text, "1,");
    strcat(text, "1]}");
    assert_int_equal(fresh(&j, text), JSON_DONE);
    assert_int_equal(j.count, JSON_VALUES);
    strcpy(text + strlen(text) - 2, ",1]}");
    assert_int_equal(fresh(&j, text), JSON_ERROR);
    json_init(&j);
    assert_int_equal(feed(&j, "{\"a\":\""), JSON_MORE);
    for (unsigned i = 6; i < JSON_BYTES; i++)
        assert_int_equal(json_feed(&j, 'x'), JSON_MORE);
    assert_int_equal(json_feed(&j, 'x'), JSON_ERROR);
    assert_int_equal(feed(&j, "{}{}[\""), JSON_MORE); /* still the same line */
    assert_int_equal(feed(&j, "\n{}"), JSON_DONE);
    assert_int_equal(feed(&j, "{\"a\":[\"\xff{}"), JSON_DONE); /* what was cut short is forgotten */
}

static void test_quote(void **state)
{
    char buf[64];
    size_t n = json_quote("a\"b\\\n", buf, sizeof(buf));

    (void)state;
    assert_int_equal(n, strlen(buf));
    assert_string_equal(buf, "\"a\\\"b\\\\\\u000a\"");
    assert_true(json_quote("0123456789abcdef0123456789", buf, 20) < 20);
}

/* Whatever came: the values lie within the text and within each other. */
static void check(const struct json *j)
{
    char text[JSON_BYTES + 1];

    for (unsigned i = 0; i < j->count; i++) {
        const struct json_value *v = &j->values[i];

        assert_true(v->start <= v->end && v->end <= j->len);
        assert_true(v->next > i && v->next <= j->count);
        (void)json_string(j, i, text, sizeof(text));
        (void)json_member(j, i, "vm");
    }
}

static void test_fuzz(void **state)
{
    static const char start[] =
        "{\"execute\":\"x\",\"arguments\":{\"vm\":\"a\\u0041\",\"l\":[1,-2.5e3,"
        "null,true,{\"b\":[]}]},\"id\":7}";
    static const char likely[] = "{}[]\":,\\u0019ae-+.tfn \n";
    struct random r = {3};
    unsigned done = 0;
    struct json j;

    (void)state;
    json_init(&j);
    for (unsigned round = 0; round < 60000; round++) {
        char text[sizeof(start)];
        unsigned changes = random_below(&r, 4);

        memcpy(text, start, sizeof(text));
        while (changes-- > 0)
            text[random_below(&r, sizeof(text) - 1)] =
                random_below(&r, 4) ? likely[random_below(&r, sizeof(likely) - 1)]
                                    : (char)random_next(&r);
        for (size_t i = 0; i < sizeof(text) - 1; i++)
            if (json_feed(&j, (uint8_t)text[i]) == JSON_DONE) {
                check(&j);
                done++;
            }
        if (random_below(&r, 8) == 0)
            (void)json_feed(&j, '\n');
    }
    assert_true(done > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_wrong), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_quote),  cmocka_unit_test(test_fuzz),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
