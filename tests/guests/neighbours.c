/*
 * Several VMs on one CPU hand it to each other, each with its own values in all that VM entry and
 * exit do not switch: none may see another's. The command line says what a VM uses of the vector
 * registers: "sse", "avx" or "avx512". At the end it enables what it has not used, and finds that
 * in its initial state.
 */
#include "lib/guest.h"

#define ROUNDS      1200
#define FRESH_EVERY 8 /* rounds between two changes of all values; in between they only stay */
#define SLOT        64
#define SLOTS       33

#define XCR0_SSE    3ul
#define XCR0_AVX    7ul
#define XCR0_AVX512 0xe7ul

void neighbours_load_sse(const void *slots);
void neighbours_store_sse(void *slots);
void neighbours_load_avx(const void *slots);
void neighbours_store_avx(void *slots);
void neighbours_load_avx512(const void *slots);
void neighbours_store_avx512(void *slots);

static const struct width {
    const char *word;
    unsigned slots, bytes;
    uint64_t xcr0;
    void (*load)(const void *slots);
    void (*store)(void *slots);
} widths[] = {
    {"sse", 16, 16, XCR0_SSE, neighbours_load_sse, neighbours_store_sse},
    {"avx512", 32, 64, XCR0_AVX512, neighbours_load_avx512, neighbours_store_avx512},
    {"avx", 16, 32, XCR0_AVX, neighbours_load_avx, neighbours_store_avx},
};

static uint8_t pattern[SLOTS * SLOT] __attribute__((aligned(64)));
static uint8_t found[SLOTS * SLOT] __attribute__((aligned(64)));
static uint64_t state;

static uint64_t rnd(void)
{
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return state ^ state >> 29;
}

static void yield(void)
{
    uint64_t call = 1;

    asm volatile("vmcall" : "+a"(call) : : "memory", "cc");
}

/* ------------------------------------------------------------------ MSRs and debug registers */

enum { STAR, LSTAR, CSTAR, FMASK, GS_KERNEL, AUX, DR0, DR1, DR2, DR3, DR6, CR2, VALUES };

static const char *const names[VALUES] = {
    "star", "lstar", "cstar", "fmask", "kernel-gs-base", "tsc-aux", "dr0", "dr1",
    "dr2",  "dr3",   "dr6",   "cr2",
};
static uint64_t values[VALUES];
static unsigned wrong[VALUES], wrong_vectors;

static void write_msrs(void)
{
    wrmsr(MSR_STAR, values[STAR]);
    wrmsr(MSR_LSTAR, values[LSTAR]);
    wrmsr(MSR_CSTAR, values[CSTAR]);
    wrmsr(MSR_FMASK, values[FMASK]);
    wrmsr(MSR_TSC_AUX, values[AUX]);
}

static void write_debug(void)
{
    write_dr0(values[DR0]);
    write_dr1(values[DR1]);
    write_dr2(values[DR2]);
    write_dr3(values[DR3]);
}

/* DR6's bits B0 to B3 and BS. */
#define DR6_FREE 0x400ful
#define DR6_ONES 0xffff0ff0ul

static void new_values(void)
{
    for (unsigned i = 0; i < VALUES; i++)
        values[i] = rnd() >> 20; /* a canonical address */
    values[FMASK] = (uint32_t)values[FMASK];
    values[AUX] = (uint32_t)values[AUX];
    values[DR6] = DR6_ONES | (values[DR6] & DR6_FREE);
}

/* Not all every time: what has not been written in a turn has to stay, too. */
static void write_values(unsigned turn)
{
    if (turn % 3 != 1)
        write_msrs();
    if (turn % 3 != 2)
        write_debug();
}

static void write_always(void)
{
    wrmsr(MSR_KERNEL_GS_BASE, values[GS_KERNEL]);
    write_dr6(values[DR6]);
    write_cr2(values[CR2]);
}

static void read_values(uint64_t v[VALUES])
{
    uint32_t aux;

    (void)rdtscp(&aux);
    v[STAR] = rdmsr(MSR_STAR);
    v[LSTAR] = rdmsr(MSR_LSTAR);
    v[CSTAR] = rdmsr(MSR_CSTAR);
    v[FMASK] = rdmsr(MSR_FMASK);
    v[GS_KERNEL] = rdmsr(MSR_KERNEL_GS_BASE);
    v[AUX] = aux;
    v[DR0] = read_dr0();
    v[DR1] = read_dr1();
    v[DR2] = read_dr2();
    v[DR3] = read_dr3();
    v[DR6] = read_dr6();
    v[CR2] = read_cr2();
}

/* Debug registers are looked at now and then only: most turns leave them alone. */
static void compare_values(bool debug)
{
    uint64_t now[VALUES];
    uint32_t aux;

    if (debug) {
        read_values(now);
        for (unsigned i = 0; i < VALUES; i++)
            wrong[i] += now[i] != values[i];
        return;
    }
    (void)rdtscp(&aux);
    wrong[AUX] += aux != values[AUX];
    wrong[LSTAR] += rdmsr(MSR_LSTAR) != values[LSTAR];
    wrong[GS_KERNEL] += rdmsr(MSR_KERNEL_GS_BASE) != values[GS_KERNEL];
    wrong[CR2] += read_cr2() != values[CR2];
}

/* ------------------------------------------------------------------ vector registers */

static void new_pattern(const struct width *w)
{
    for (unsigned i = 0; i < SLOTS * SLOT / sizeof(uint64_t); i++)
        ((uint64_t *)pattern)[i] = rnd();
    w->load(pattern);
}

static bool same_pattern(const struct width *w)
{
    w->store(found);
    for (unsigned i = 0; i < w->slots; i++)
        if (memcmp(pattern + i * SLOT, found + i * SLOT, w->bytes) != 0)
            return false;
    return true;
}

/* Whether all of each register from that byte on is zero, and all of those from that slot on. */
static bool initial_from(unsigned byte, unsigned slot)
{
    for (unsigned i = 0; i < 32; i++)
        for (unsigned k = i < slot ? byte : 0; k < SLOT; k++)
            if (found[i * SLOT + k] != 0)
                return false;
    return true;
}

static void check_unused(const struct width *w)
{
    if (w->xcr0 == XCR0_AVX512)
        return;
    xsetbv(0, XCR0_AVX512);
    memset(found, 0xff, sizeof(found));
    neighbours_store_avx512(found);
    CHECK("unused-is-initial", initial_from(w->bytes, 16));
    CHECK("used-remains", memcmp(found, pattern, w->bytes) == 0);
    yield();
    neighbours_store_avx512(found);
    CHECK("unused-stays-initial", initial_from(w->bytes, 16));
}

/* ------------------------------------------------------------------ all of it */

static const struct width *chosen(void)
{
    for (const char *p = guest_cmdline; *p != '\0'; p++)
        for (unsigned i = 0; i < ARRAY_SIZE(widths); i++)
            if (strncmp(p, widths[i].word, strlen(widths[i].word)) == 0)
                return &widths[i];
    return &widths[0];
}

static void play(const struct width *w)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (i % FRESH_EVERY == 0) {
            new_values();
            write_msrs();
            write_debug();
            new_pattern(w);
        }
        write_values(i);
        write_always();
        yield();
        compare_values(i % 4 == 0);
        yield();
        wrong_vectors += !same_pattern(w);
    }
}

void guest_main(void)
{
    const struct width *w = chosen();

    state = rdtsc() + w->bytes;
    write_cr4(read_cr4() | CR4_OSXSAVE);
    if (w->xcr0 != XCR0_SSE)
        xsetbv(0, w->xcr0);
    play(w);
    for (unsigned i = 0; i < VALUES; i++)
        CHECK_EQ(names[i], wrong[i], 0);
    CHECK_EQ("vector-registers", wrong_vectors, 0);
    check_unused(w);
}
