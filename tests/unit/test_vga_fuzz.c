/* A short, always equal run of tests/fuzz/fuzz_vga.c. FUZZ_ROUNDS and FUZZ_SEED make it another. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/fuzz/fuzz_vga.c"
#include "tests/unit/random.h"

#define ROUNDS     60
#define INPUT_SIZE 16384

static unsigned variable(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? (unsigned)atoi(text) : otherwise;
}

static void test_random(void **state)
{
    struct random rnd = {variable("FUZZ_SEED", 1)};
    static uint8_t data[INPUT_SIZE];

    (void)state;
    for (unsigned left = variable("FUZZ_ROUNDS", ROUNDS); left > 0; left--) {
        size_t n = 1 + random_below(&rnd, INPUT_SIZE);

        for (size_t i = 0; i < n; i++)
            data[i] = (uint8_t)random_next(&rnd);
        assert_int_equal(LLVMFuzzerTestOneInput(data, n), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
