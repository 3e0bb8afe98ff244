/*
 * Running one instruction on the processor underneath, and the same one in the emulator, and
 * comparing. Memory operands lie in a small arena at a low address, so that every address form
 * can reach it; the emulator works on a copy of it.
 */
#ifndef TESTS_UNIT_EMULATE_NATIVE_H
#define TESTS_UNIT_EMULATE_NATIVE_H

#define _GNU_SOURCE /* REG_RIP, MAP_FIXED_NOREPLACE */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <asm/prctl.h>
#include <ucontext.h>
#include <unistd.h>
#include <cmocka.h>
#include "emulate/access.h"
#include "lib/types.h"

#define ARENA_CODE   0x20000000ul         /* one page of code; a data window follows */
#define ARENA_LANDED (ARENA_CODE + 0x800) /* where CALL and JMP go */
#define ARENA_DATA   (ARENA_CODE + 0x1000)
#define ARENA_SIZE   2048ul
#define ARENA_TARGET (ARENA_DATA + 1024) /* operands are near here */
#define GS_BASE      0x1230ul

#define NR_VECTORS 32

enum vector_level { VECTORS_NONE, VECTORS_SSE, VECTORS_AVX, VECTORS_AVX512 };

struct native_state {
    uint64_t regs[16];
    uint64_t rflags;
    uint64_t code;    /* in: where to start */
    uint64_t level;   /* in: which vector registers to load and store */
    uint64_t landed;  /* out: it came back through ARENA_LANDED */
    uint64_t faulted; /* out: SIGFPE */
    uint64_t host_rsp;
    uint8_t vectors[NR_VECTORS][64] __attribute__((aligned(64)));
};

extern struct native_state native;
void native_run(void);
void native_exit(void);
void native_exit_landed(void);

struct native_state native;

/*
 * All registers, RSP among them, are loaded from native and stored back; nothing after the
 * instruction touches a flag before they are saved.
 */
__asm__(".pushsection .text\n"
        ".equ RFLAGS, 128\n.equ CODE, 136\n.equ LEVEL, 144\n.equ LANDED, 152\n"
        ".equ HOST_RSP, 168\n.equ VECTORS, 192\n"
        ".global native_run, native_exit, native_exit_landed\n"
        "native_run:\n"
        "    push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "    mov %rsp, native+HOST_RSP(%rip)\n"
        "    cmpq $1, native+LEVEL(%rip)\n"
        "    jb 1f\n"
        "    je 2f\n"
        "    cmpq $3, native+LEVEL(%rip)\n"
        "    je 3f\n"
        "    .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "    vmovups native+VECTORS+64*\\n(%rip), %ymm\\n\n"
        "    .endr\n"
        "    jmp 1f\n"
        "3:  .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,"
        "29,30,31\n"
        "    vmovups native+VECTORS+64*\\n(%rip), %zmm\\n\n"
        "    .endr\n"
        "    jmp 1f\n"
        "2:  .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "    movups native+VECTORS+64*\\n(%rip), %xmm\\n\n"
        "    .endr\n"
        "1:  pushq native+RFLAGS(%rip)\n"
        "    popfq\n"
        "    mov native+0(%rip), %rax; mov native+8(%rip), %rcx; mov native+16(%rip), %rdx\n"
        "    mov native+24(%rip), %rbx; mov native+40(%rip), %rbp; mov native+48(%rip), %rsi\n"
        "    mov native+56(%rip), %rdi; mov native+64(%rip), %r8; mov native+72(%rip), %r9\n"
        "    mov native+80(%rip), %r10; mov native+88(%rip), %r11; mov native+96(%rip), %r12\n"
        "    mov native+104(%rip), %r13; mov native+112(%rip), %r14; mov native+120(%rip), %r15\n"
        "    mov native+32(%rip), %rsp\n"
        "    jmp *native+CODE(%rip)\n"
        "native_exit_landed:\n"
        "    movq $1, native+LANDED(%rip)\n"
        "native_exit:\n"
        "    mov %rax, native+0(%rip); mov %rcx, native+8(%rip); mov %rdx, native+16(%rip)\n"
        "    mov %rbx, native+24(%rip); mov %rbp, native+40(%rip); mov %rsi, native+48(%rip)\n"
        "    mov %rdi, native+56(%rip); mov %r8, native+64(%rip); mov %r9, native+72(%rip)\n"
        "    mov %r10, native+80(%rip); mov %r11, native+88(%rip); mov %r12, native+96(%rip)\n"
        "    mov %r13, native+104(%rip); mov %r14, native+112(%rip); mov %r15, native+120(%rip)\n"
        "    mov %rsp, native+32(%rip)\n"
        "    mov native+HOST_RSP(%rip), %rsp\n"
        "    pushfq\n"
        "    popq native+RFLAGS(%rip)\n"
        "    cld\n"
        "    cmpq $1, native+LEVEL(%rip)\n"
        "    jb 1f\n"
        "    je 2f\n"
        "    cmpq $3, native+LEVEL(%rip)\n"
        "    je 3f\n"
        "    .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "    vmovups %ymm\\n, native+VECTORS+64*\\n(%rip)\n"
        "    .endr\n"
        "    jmp 4f\n"
        "3:  .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,"
        "29,30,31\n"
        "    vmovups %zmm\\n, native+VECTORS+64*\\n(%rip)\n"
        "    .endr\n"
        "4:  vzeroupper\n"
        "    jmp 1f\n"
        "2:  .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "    movups %xmm\\n, native+VECTORS+64*\\n(%rip)\n"
        "    .endr\n"
        "1:  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "    ret\n"
        ".popsection\n");

_Static_assert(offsetof(struct native_state, rflags) == 128, "RFLAGS");
_Static_assert(offsetof(struct native_state, code) == 136, "CODE");
_Static_assert(offsetof(struct native_state, level) == 144, "LEVEL");
_Static_assert(offsetof(struct native_state, landed) == 152, "LANDED");
_Static_assert(offsetof(struct native_state, host_rsp) == 168, "HOST_RSP");
_Static_assert(offsetof(struct native_state, vectors) == 192, "VECTORS");

/* The emulator's side. */
struct emulated {
    struct emu_ctx ctx;
    uint8_t memory[ARENA_SIZE]; /* its copy of the data window */
    uint8_t vectors[NR_VECTORS][64];
    unsigned level;
    bool strayed; /* it asked for something outside */
};

static inline uint8_t *emulated_memory(struct emu_ctx *c, gva_t addr, unsigned size)
{
    struct emulated *e = c->opaque;

    if (addr.v < ARENA_DATA || addr.v > ARENA_DATA + ARENA_SIZE - size) {
        e->strayed = true;
        return NULL;
    }
    return e->memory + (addr.v - ARENA_DATA);
}

static enum emu_result emulated_read(struct emu_ctx *c, gva_t addr, void *data, unsigned size,
                                     enum emu_access access)
{
    uint8_t *p = emulated_memory(c, addr, size);

    (void)access;
    if (!p)
        return EMU_RETRY;
    memcpy(data, p, size);
    return EMU_OK;
}

static enum emu_result emulated_write(struct emu_ctx *c, gva_t addr, const void *data,
                                      unsigned size)
{
    uint8_t *p = emulated_memory(c, addr, size);

    if (!p)
        return EMU_RETRY;
    memcpy(p, data, size);
    return EMU_OK;
}

static enum emu_result emulated_cmpxchg(struct emu_ctx *c, gva_t addr, const void *expected,
                                        const void *desired, unsigned size, bool *done)
{
    uint8_t *p = emulated_memory(c, addr, size);

    if (!p)
        return EMU_RETRY;
    *done = memcmp(p, expected, size) == 0;
    if (*done)
        memcpy(p, desired, size);
    return EMU_OK;
}

static enum emu_result emulated_vector_get(struct emu_ctx *c, unsigned n, void *data, unsigned size)
{
    struct emulated *e = c->opaque;

    memcpy(data, e->vectors[n], size);
    return EMU_OK;
}

static enum emu_result emulated_vector_set(struct emu_ctx *c, unsigned n, const void *data,
                                           unsigned size, bool clear_upper)
{
    struct emulated *e = c->opaque;
    unsigned all = e->level == VECTORS_AVX512 ? 64 : 32;

    memcpy(e->vectors[n], data, size);
    if (clear_upper)
        memset(e->vectors[n] + size, 0, all - size);
    return EMU_OK;
}

static const struct emu_ops emulated_ops = {
    .read = emulated_read,
    .write = emulated_write,
    .cmpxchg = emulated_cmpxchg,
    .vector_get = emulated_vector_get,
    .vector_set = emulated_vector_set,
};

/* What the emulator is to start from: as native has it. */
static inline void emulated_init(struct emulated *e, const uint8_t *image)
{
    uint16_t s[EMU_NR_SEGS];

    __asm__("mov %%es, %0" : "=r"(s[EMU_ES]));
    __asm__("mov %%cs, %0" : "=r"(s[EMU_CS]));
    __asm__("mov %%ss, %0" : "=r"(s[EMU_SS]));
    __asm__("mov %%ds, %0" : "=r"(s[EMU_DS]));
    __asm__("mov %%fs, %0" : "=r"(s[EMU_FS]));
    __asm__("mov %%gs, %0" : "=r"(s[EMU_GS]));
    for (unsigned n = 0; n < EMU_NR_SEGS; n++)
        e->ctx.seg[n].selector = s[n];
    e->ctx.ops = &emulated_ops;
    e->ctx.opaque = e;
    memcpy(e->ctx.regs, native.regs, sizeof(native.regs));
    e->ctx.rip = ARENA_CODE;
    e->ctx.rflags = native.rflags;
    e->ctx.seg[EMU_GS].base = GS_BASE;
    e->ctx.mode = EMU_LONG64;
    e->ctx.cpl = 3;
    e->ctx.rep_limit = UINT64_MAX;
    e->strayed = false;
    e->level = (unsigned)native.level;
    memcpy(e->memory, image, ARENA_SIZE);
    if (native.level != VECTORS_NONE)
        memcpy(e->vectors, native.vectors, sizeof(e->vectors));
}

/* Places the instruction, with a way back behind it, and runs it on the image. */
static inline void native_execute(const uint8_t *insn, unsigned len, const uint8_t *image)
{
    static const uint8_t jump_indirect[6] = {0xff, 0x25, 0, 0, 0, 0}; /* jmp [rip + 0] */
    uint64_t back = (uint64_t)(uintptr_t)native_exit;
    uint8_t *code = (uint8_t *)ARENA_CODE;

    memcpy(code, insn, len);
    memcpy(code + len, jump_indirect, 6);
    memcpy(code + len + 6, &back, 8);
    memcpy((void *)ARENA_DATA, image, ARENA_SIZE);
    native.code = ARENA_CODE;
    native.landed = 0;
    native.faulted = 0;
    native_run();
}

static void native_on_sigfpe(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;

    (void)sig;
    (void)info;
    native.faulted = 1;
    uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)native_exit;
}

/* To be called by each test: cmocka has handlers of its own around them. */
static inline void native_catch_sigfpe(void)
{
    struct sigaction sa = {.sa_sigaction = native_on_sigfpe, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    assert_int_equal(sigaction(SIGFPE, &sa, NULL), 0);
}

static inline unsigned native_best_level(void)
{
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        return VECTORS_AVX512;
    return __builtin_cpu_supports("avx") ? VECTORS_AVX : VECTORS_SSE;
}

static inline int native_setup(void **state)
{
    static uint8_t signal_stack[65536];
    static const uint8_t jump_indirect[6] = {0xff, 0x25, 0, 0, 0, 0};
    stack_t ss = {.ss_sp = signal_stack, .ss_size = sizeof(signal_stack)};
    uint64_t landed = (uint64_t)(uintptr_t)native_exit_landed;
    void *p = mmap((void *)ARENA_CODE, 0x1000 + ALIGN_UP(ARENA_SIZE, PAGE_SIZE),
                   PROT_READ | PROT_WRITE | PROT_EXEC,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    (void)state;
    if (p != (void *)ARENA_CODE || sigaltstack(&ss, NULL) ||
        syscall(SYS_arch_prctl, ARCH_SET_GS, GS_BASE))
        return -1;
    memcpy((void *)ARENA_LANDED, jump_indirect, 6);
    memcpy((void *)(ARENA_LANDED + 6), &landed, 8);
    return 0;
}

/* ------------------------------------------------------------------ random values */

static inline uint64_t random64(uint64_t *s) /* xorshift64* */
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * 0x2545f4914f6cdd1dull;
}

/* Corner cases of every size come more often than chance would have it. */
static inline uint64_t random_value(uint64_t *seed)
{
    static const uint64_t corners[] = {
        0,          1,          2,         0x7f,       0x80,       0xff,
        0x7fff,     0x8000,     0xffff,    0x7fffffff, 0x10,       0x0f,
        1ull << 31, UINT32_MAX, INT64_MAX, 1ull << 63, UINT64_MAX, 0x8080808080808080ull};
    uint64_t r = random64(seed);

    switch (r >> 60) {
    case 0 ... 3:
        return corners[r % ARRAY_SIZE(corners)];
    case 4:
        return r & 0xff;
    case 5:
        return corners[r % ARRAY_SIZE(corners)] | corners[(r >> 20) % ARRAY_SIZE(corners)] << 32;
    default:
        return random64(seed);
    }
}

static inline void random_image(uint64_t *seed, uint8_t *image)
{
    for (unsigned n = 0; n < ARENA_SIZE; n += 8) {
        uint64_t v = random64(seed);

        memcpy(image + n, &v, 8);
    }
}

/* ------------------------------------------------------------------ comparing */

static inline void native_explain_vectors(const struct emulated *e)
{
    for (unsigned n = 0; n < NR_VECTORS; n++) {
        for (unsigned k = 0; k < 64; k++) {
            if (native.vectors[n][k] != e->vectors[n][k])
                fprintf(stderr, "vector %u byte %u: native %02x, emulated %02x\n", n, k,
                        native.vectors[n][k], e->vectors[n][k]);
        }
    }
}

static inline void native_explain(const uint8_t *insn, unsigned len, const struct emulated *e,
                                  const struct native_state *before, const char *what)
{
    fprintf(stderr, "%s differs:", what);
    for (unsigned n = 0; n < len; n++)
        fprintf(stderr, " %02x", insn[n]);
    fprintf(stderr, "\nrflags before %lx, native %lx, emulated %lx\n", before->rflags,
            native.rflags, e->ctx.rflags);
    for (unsigned n = 0; n < 16; n++)
        fprintf(stderr, "reg %2u before %016lx, native %016lx, emulated %016lx\n", n,
                before->regs[n], native.regs[n], e->ctx.regs[n]);
    if (native.level != VECTORS_NONE)
        native_explain_vectors(e);
    for (unsigned n = 0; n < ARENA_SIZE; n++) {
        uint8_t theirs = ((uint8_t *)ARENA_DATA)[n];

        if (theirs != e->memory[n])
            fprintf(stderr, "%#lx: native %02x, emulated %02x\n", ARENA_DATA + n, theirs,
                    e->memory[n]);
    }
}

/* NULL, or what differs; flags in undefined are not compared. */
static inline const char *native_difference(const struct emulated *e, uint64_t undefined)
{
    const uint64_t compared = (EMU_ARITHMETIC_FLAGS | EMU_DF) & ~undefined;

    if (memcmp(native.regs, e->ctx.regs, sizeof(native.regs)) != 0)
        return "register";
    if ((native.rflags ^ e->ctx.rflags) & compared)
        return "flag";
    if (memcmp((void *)ARENA_DATA, e->memory, ARENA_SIZE) != 0)
        return "memory";
    if (native.level != VECTORS_NONE && memcmp(native.vectors, e->vectors, sizeof(e->vectors)) != 0)
        return "vector register";
    return NULL;
}

#endif
