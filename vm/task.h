/* What the files of the task switch share. Source: SDM vol. 3 chapter 8 (7 in older editions). */
#ifndef VM_TASK_H
#define VM_TASK_H

#include "vm/vm.h"

/* Where the switch came from: exit qualification bits 31:30 (SDM table 28-2). */
enum task_source { TASK_CALL, TASK_IRET, TASK_JMP, TASK_GATE };

/* General segments of a task, in the order that the TSS and enum vmx_seg share. */
#define TASK_SEGMENTS 6

/* The part of a TSS that a switch loads, whatever its format. */
struct task_state {
    uint32_t cr3, eip, eflags;
    uint32_t regs[8];
    uint16_t segments[TASK_SEGMENTS];
    uint16_t ldt;
    bool trap; /* the T bit: a debug exception when the task begins */
};

struct task_tss {
    uint16_t selector;
    bool wide; /* 32-bit format */
    uint32_t base, limit;
    uint16_t access;
};

struct task_switch {
    struct vcpu *c;
    struct vmx_vcpu *v;
    enum task_source source;
    struct task_tss old, new;
    gva_t new_at;            /* the new TSS's descriptor */
    struct task_state state; /* of the new task */
    uint32_t ext;            /* bit 0 of error codes: an event from outside of the program */
    unsigned cpl;            /* the new one */
};

/* A descriptor of the GDT or LDT, taken apart. */
struct task_descriptor {
    uint32_t base, limit;
    uint16_t access; /* as in the VMCS: type, S, DPL, P, AVL, L, D/B, G */
    gva_t at;
};

#define DESC_TYPE(a)     ((a)&0xf)
#define DESC_ACCESSED    BIT(0)
#define DESC_TSS_BUSY    BIT(1)
#define DESC_WRITABLE    BIT(1) /* data; of code: readable */
#define DESC_CONFORMING  BIT(2) /* code; of data: expand-down */
#define DESC_CODE        BIT(3)
#define DESC_SEGMENT     BIT(4) /* code or data, not system */
#define DESC_PRESENT     BIT(7)
#define DESC_BIG         BIT(14)
#define DESC_GRANULARITY BIT(15)

#define SELECTOR_RPL(s)   ((s)&3u)
#define SELECTOR_TI       BIT(2)
#define SELECTOR_INDEX(s) ((s) & ~7u)
#define SELECTOR_NULL(s)  (((s) & ~3u) == 0)

/* Each gives false when it has queued an exception for the guest. */

/* Queues an exception whose error code is the selector. */
bool task_fault(struct task_switch *t, unsigned vector, uint16_t selector);
/* Copy between guest linear memory and here, with supervisor rights. */
MUST_CHECK bool task_read(struct task_switch *t, uint32_t from, void *to, size_t n);
MUST_CHECK bool task_write(struct task_switch *t, uint32_t to, const void *from, size_t n);
/* Puts size bytes of value onto the stack, with the rights of the new task. */
MUST_CHECK bool task_push(struct task_switch *t, uint32_t at, uint32_t value, size_t size);
/* Sees to it that later accesses to those bytes do not fault. */
MUST_CHECK bool task_probe(struct task_switch *t, uint32_t at, size_t n, enum walk_access access);
/* Sets and clears bits in a descriptor's type. */
MUST_CHECK bool task_mark(struct task_switch *t, gva_t descriptor, unsigned set, unsigned clear);
/* The descriptor behind a selector; outside of its table: that exception. */
MUST_CHECK bool task_descriptor(struct task_switch *t, uint16_t selector, unsigned vector,
                                struct task_descriptor *d);

/* task_load.c: LDTR and the six segments of the new task, with the checks of SDM table 8-1. */
MUST_CHECK bool task_load_segments(struct task_switch *t);

#endif
