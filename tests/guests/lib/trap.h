/*
 * Exceptions and interrupts. A kernel either says where it expects a trap:
 *
 *     struct trap t;
 *     TRAP_CATCH(t, wrmsr(MSR_PAT, 8));
 *     CHECK_TRAP("pat-reserved", t, VEC_GP, 0);
 *
 * or gives a vector a handler, which may change the frame and resumes. A trap that is neither is
 * the end of the kernel, with a FAIL line.
 */
#ifndef GUESTS_TRAP_H
#define GUESTS_TRAP_H

#include "check.h"
#include "x86.h"

/* As traps.asm pushes it. */
struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};

/* What a caught trap was; vector is TRAP_NONE when there was none. */
struct trap {
    unsigned vector;
    uint64_t error, cr2, dr6;
    struct trap_frame frame;
};
#define TRAP_NONE 256

struct trap_context {
    uint64_t registers[8];
};

typedef void (*trap_handler_t)(struct trap_frame *f);

/* Fills the IDT and loads it. */
void trap_init(void);
void trap_load_idt(void);
/* NULL: none again. */
void trap_set_handler(unsigned vector, trap_handler_t handler);
/* An IDT gate's raw halves, for kernels that change one. */
uint64_t *trap_gate(unsigned vector);
/* Gate as trap_init made it; ist is the stack index (0: none), dpl the privilege for INT n. */
void trap_set_gate(unsigned vector, unsigned ist, unsigned dpl);

/* For TRAP_CATCH only. */
struct trap_context *trap_arm(struct trap *t);
void trap_disarm(void);
int trap_save(struct trap_context *c) __attribute__((returns_twice));
void trap_return(struct trap_context *c) NORETURN;

#define TRAP_CATCH(t, ...)                    \
    do {                                      \
        if (trap_save(trap_arm(&(t))) == 0) { \
            __VA_ARGS__;                      \
        }                                     \
        trap_disarm();                        \
    } while (0)

/* The trap has that vector and error code (0 where the CPU gives none). */
#define CHECK_TRAP(name, t, want_vector, want_error)                                        \
    check_report(                                                                           \
        name, __FILE__, __LINE__, (t).vector == (want_vector) && (t).error == (want_error), \
        (uint64_t)(t).vector << 32 | (t).error, (uint64_t)(want_vector) << 32 | (want_error))
#define CHECK_NO_TRAP(name, t)                                      \
    check_report(name, __FILE__, __LINE__, (t).vector == TRAP_NONE, \
                 (uint64_t)(t).vector << 32 | (t).error, TRAP_NONE)

/* rdmsr and wrmsr that catch: the trap's vector, or TRAP_NONE. */
unsigned rdmsr_safe(uint32_t msr, uint64_t *value);
unsigned wrmsr_safe(uint32_t msr, uint64_t value);

#endif
