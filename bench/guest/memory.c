/*
 * The first touch of memory. Hypervisors use large pages where they can: what lies behind the last
 * 2 MiB boundary of RAM can only be small ones, whole 2 MiB in the middle can be large.
 */
#include "bench.h"

#define SMALL     4096ul
#define LARGE     (2ul << 20)
#define FROM      (4ul << 20) /* behind the kernel and what the loader has put there */
#define LIMIT     (3ul << 30) /* boot.asm maps RAM up to there */
#define MAX_SMALL 200ul
#define MAX_LARGE 60ul

uint64_t bench_address;

#define OPS(X)                                             \
    X(touch, "mov rbx, [bench_address]", "mov [rbx], rbx") \
    X(clear_4k, "mov rdi, [bench_address]; xor eax, eax; mov ecx, 512", "rep stosq")

OPS(BENCH_DEFINE)

static uint64_t step;

static uint32_t touch_next(void)
{
    bench_address += step;
    return with_touch();
}

/* The end of the RAM that FROM is in. */
static uint64_t ram_end(void)
{
    for (unsigned i = 0; i < guest_nr_memory; i++) {
        const struct guest_memory *m = &guest_memory[i];

        if (m->type == 1 && m->base <= FROM && m->base + m->bytes > FROM)
            return MIN(m->base + m->bytes, LIMIT);
    }
    return FROM;
}

static void first_touches(const char *name, uint64_t from, uint64_t to, uint64_t size,
                          uint64_t most)
{
    const struct bench_op op = {name, touch_next, without_touch};
    unsigned pages = (unsigned)MIN((to - from) / size, most);

    if (pages < 10) {
        bench_skip(name, "too little memory");
        return;
    }
    bench_address = from - size;
    step = size;
    bench_run_times(&op, pages, 0);
}

void bench_memory(void)
{
    static const struct bench_op warm[] = {OPS(BENCH_ENTRY)};
    uint64_t end = ram_end(), tail = end & ~(LARGE - 1);

    first_touches("first_touch_4k", tail, end, SMALL, MAX_SMALL);
    first_touches("first_touch_2m", FROM, tail, LARGE, MAX_LARGE);
    bench_run(warm, ARRAY_SIZE(warm));
}
