/*
 * String instructions against the real processor: all of them, sizes, REP prefixes, address
 * sizes, both directions, overlapping operands; and the same again in instalments, as rep_limit
 * makes them.
 */
#include "tests/unit/emulate_native.h"

#define ROUNDS    150000
#define MAX_COUNT 40

struct trial {
    uint8_t bytes[EMU_MAX_INSN];
    unsigned len;
    uint8_t image[ARENA_SIZE];
};

static void build(struct trial *t, uint64_t r)
{
    static const uint8_t opcodes[] = {0xa4, 0xa6, 0xaa, 0xac, 0xae};
    unsigned n = 0;

    if (r & 1)
        t->bytes[n++] = r & 2 ? 0xf2 : 0xf3;
    if (r & 4)
        t->bytes[n++] = 0x66;
    if (r & 8)
        t->bytes[n++] = 0x67;
    if ((r & 0x30) == 0x30)
        t->bytes[n++] = 0x65;
    if (r & 0x40)
        t->bytes[n++] = 0x48;
    t->bytes[n++] = opcodes[(r >> 8) % sizeof(opcodes)] | (r & 0x80 ? 1 : 0);
    t->len = n;
}

/* An index register that points near the target; above 32 bits anything may be if unused. */
static uint64_t pointer(uint64_t *seed, bool address32, uint64_t base)
{
    uint64_t r = random64(seed);

    return ARENA_TARGET - base + r % 64 + (address32 ? r & 0xffffffff00000000ull : 0);
}

static void random_registers(uint64_t *seed, const struct trial *t)
{
    bool address32 = memchr(t->bytes, 0x67, t->len), gs = memchr(t->bytes, 0x65, t->len);
    uint64_t count = random64(seed) % MAX_COUNT;

    for (unsigned n = 0; n < EMU_NR_REGS; n++)
        native.regs[n] = random_value(seed);
    native.regs[EMU_RSI] = pointer(seed, address32, gs ? GS_BASE : 0);
    native.regs[EMU_RDI] = pointer(seed, address32, 0);
    /* With a count of 0 processors differ in what becomes of the upper half. */
    native.regs[EMU_RCX] = count | (address32 && count ? random64(seed) << 32 : 0);
    native.rflags = (random64(seed) & (EMU_ARITHMETIC_FLAGS | EMU_DF)) | BIT(1) | BIT(9);
    native.level = VECTORS_NONE;
}

/* Few different bytes, in runs, so that comparisons go on for a while. */
static void random_runs(uint64_t *seed, uint8_t *image)
{
    uint8_t value = 0;

    for (unsigned n = 0; n < ARENA_SIZE; n++) {
        uint64_t r = random64(seed);

        if (r % 50 == 0)
            value = r >> 32 & 1;
        image[n] = value;
    }
    if (random64(seed) & 1)
        native.regs[EMU_RAX] = value ? 0x0101010101010101ull : 0;
}

/* Steps until the instruction is through, at most limit iterations at a time. */
static enum emu_result emulate(struct emulated *e, const struct trial *t, uint64_t limit,
                               unsigned *steps)
{
    enum emu_result r;

    e->ctx.rep_limit = limit;
    for (*steps = 1;; ++*steps) {
        r = emu_step(&e->ctx, t->bytes, t->len);
        if (r != EMU_OK || e->ctx.rip != ARENA_CODE)
            return r;
        assert_true(*steps <= MAX_COUNT);
    }
}

static void run(uint64_t *seed, struct trial *t, unsigned *instalments)
{
    static struct emulated e;
    struct native_state before;
    const char *differs = NULL;
    unsigned steps;
    enum emu_result r;

    build(t, random64(seed));
    random_registers(seed, t);
    random_runs(seed, t->image);
    before = native;
    emulated_init(&e, t->image);
    r = emulate(&e, t, random64(seed) & 1 ? UINT64_MAX : random64(seed) % 8, &steps);
    *instalments += steps > 1;
    native_execute(t->bytes, t->len, t->image);
    if (r != EMU_OK)
        differs = "result";
    else if (e.ctx.rip != ARENA_CODE + t->len)
        differs = "RIP";
    else
        differs = native_difference(&e, 0);
    if (differs) {
        native_explain(t->bytes, t->len, &e, &before, differs);
        fail();
    }
}

static void test_strings(void **state)
{
    uint64_t seed = 0x737472696e67;
    unsigned instalments = 0;
    struct trial t;

    (void)state;
    native_catch_sigfpe();
    for (unsigned n = 0; n < ROUNDS; n++)
        run(&seed, &t, &instalments);
    assert_true(instalments > ROUNDS / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_strings)};

    return cmocka_run_group_tests(tests, native_setup, NULL);
}
