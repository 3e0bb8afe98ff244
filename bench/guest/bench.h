/*
 * The benchmark's guest kernel: what an operation costs, read off the TSC. On COM1, one line each:
 *   bench NAME MEDIAN MIN EXITS [reason=N ticks=N] [reads=N writes=N]
 *     EXITS and what follows only under Tithe; accesses to VMCS fields where it counts them
 *   skip NAME WHY
 * and at the end `bench done`; then the machine goes off. Costs are TSC ticks of the operation
 * alone: what stands around it is measured as well and taken off.
 */
#ifndef BENCH_GUEST_BENCH_H
#define BENCH_GUEST_BENCH_H

#include "tests/guests/lib/guest.h"

#define BENCH_ROUNDS 2000
#define BENCH_WARMUP 200

/* Ticks from one reading of the TSC to the next, with something in between. */
typedef uint32_t (*bench_timed_t)(void);

/* An operation, once with and once without the instruction that is measured. */
struct bench_op {
    const char *name;
    bench_timed_t with, without;
};

/*
 * The two functions of an operation, in Intel syntax, and its entry in a table. setup stands in
 * both, op in the first only; any register but RSP, RBP and R15 may be changed. Fences keep an
 * out-of-order CPU from moving work across the TSC's readings.
 */
#define BENCH_FUNCTION(symbol, code)      \
    asm(".intel_syntax noprefix\n"        \
        ".text\n" symbol ":\n"            \
        "push rbx\n"                      \
        "push r12\n"                      \
        "push r13\n"                      \
        "push r14\n"                      \
        "push r15\n"                      \
        "lfence\n"                        \
        "rdtsc\n"                         \
        "lfence\n"                        \
        "mov r15d, eax\n" code "lfence\n" \
        "rdtsc\n"                         \
        "sub eax, r15d\n"                 \
        "pop r15\n"                       \
        "pop r14\n"                       \
        "pop r13\n"                       \
        "pop r12\n"                       \
        "pop rbx\n"                       \
        "ret\n"                           \
        ".att_syntax\n")
#define BENCH_DEFINE_PARTS(id, setup, op)            \
    uint32_t with_##id(void);                        \
    uint32_t without_##id(void);                     \
    BENCH_FUNCTION("with_" #id, setup "\n" op "\n"); \
    BENCH_FUNCTION("without_" #id, setup "\n");
#define BENCH_DEFINE(id, ...) BENCH_DEFINE_PARTS(id, __VA_ARGS__)
#define BENCH_ENTRY(id, ...)  {#id, with_##id, without_##id},

/* Measures each operation of a table; one that faults is skipped. */
void bench_run(const struct bench_op *ops, unsigned count);
/* Measures an operation in so many rounds, without warm-up where each can be done once only. */
void bench_run_times(const struct bench_op *op, unsigned rounds, unsigned warmup);
/* Measures what gives its own figure: a latency between two places, say. */
void bench_run_latency(const char *name, bench_timed_t sample, unsigned rounds, unsigned warmup);
void bench_skip(const char *name, const char *why);

/* A line of output: on COM1, under Xen on its debug port too, as a PVH guest has no COM1. */
void bench_print(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Where Xen was the loader: memory as it tells (pvh.c). */
void pvh_read_memory(void);

/* The groups. */
void bench_cpu(void);
void bench_port(void);
void bench_memory(void);
void bench_xapic(void);
void bench_x2apic(void);
void bench_timer(void);
void bench_exception(void);
void bench_smp(void);
void bench_switch(void);
void bench_partner(void);

/* Points a vector at code of stubs.asm, which ends in IRETQ itself. */
void bench_set_stub(unsigned vector, void (*stub)(void));

#endif
