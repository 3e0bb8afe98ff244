/*
 * A pure x86 decoder and executor: a context and operations in, a result out. No globals, no
 * knowledge of VMX; it also builds on the host, where tests compare it with Zydis (decode) and
 * with the real CPU (execution).
 *
 * What it is for: instructions whose memory operand is a device register, and string I/O. Source
 * of the encodings: Intel SDM vol. 2.
 */
#ifndef EMULATE_EMULATE_H
#define EMULATE_EMULATE_H

#include "lib/types.h"

/* clang-format off */
enum emu_reg {
    EMU_RAX, EMU_RCX, EMU_RDX, EMU_RBX, EMU_RSP, EMU_RBP, EMU_RSI, EMU_RDI,
    EMU_R8, EMU_R9, EMU_R10, EMU_R11, EMU_R12, EMU_R13, EMU_R14, EMU_R15,
    EMU_NR_REGS,
};
/* clang-format on */

enum emu_seg { EMU_ES, EMU_CS, EMU_SS, EMU_DS, EMU_FS, EMU_GS, EMU_NR_SEGS };

struct emu_segment {
    uint64_t base;
    uint32_t limit;
    uint32_t access; /* VMX access-rights format (SDM vol. 3 table 25-2); bit 16: unusable */
    uint16_t selector;
};

enum emu_mode { EMU_REAL, EMU_V86, EMU_PROT16, EMU_PROT32, EMU_LONG64 }; /* CS.D and CS.L decide */

enum emu_access { EMU_READ, EMU_WRITE, EMU_READ_WRITE /* a locked or read-modify-write operand */ };

struct emu_fault {
    uint8_t vector;
    bool has_error;
    uint32_t error;
    uint64_t cr2; /* for #PF */
};

enum emu_result {
    EMU_OK,    /* done: regs, rip, rflags are the new ones */
    EMU_FAULT, /* ctx->fault is to be injected; registers are unchanged (REP: as far as it got) */
    EMU_RETRY, /* an operation asked to try the instruction again later; nothing changed */
    EMU_UNSUPPORTED, /* an instruction that it does not know */
};

struct emu_ctx;

/*
 * Outside 64-bit mode a linear address has 32 bits; an access that runs over the end of the 4 GiB
 * goes on at 0. All but probe must be given.
 */
struct emu_ops {
    /*
     * Memory at a linear address (segmentation and canonical checks are done already). An access
     * may cross a page. EMU_FAULT: ctx->fault has been filled in. For EMU_READ_WRITE the read
     * must fault where the write would.
     */
    enum emu_result (*read)(struct emu_ctx *c, gva_t addr, void *data, unsigned size,
                            enum emu_access access);
    enum emu_result (*write)(struct emu_ctx *c, gva_t addr, const void *data, unsigned size);
    /* Atomic compare and exchange for LOCKed operations; *done tells whether it was stored. */
    enum emu_result (*cmpxchg)(struct emu_ctx *c, gva_t addr, const void *expected,
                               const void *desired, unsigned size, bool *done);
    /* Ports, for INS and OUTS (and IN/OUT in emulated real mode). Permissions are checked by it. */
    enum emu_result (*in)(struct emu_ctx *c, uint16_t port, unsigned size, uint32_t *value);
    enum emu_result (*out)(struct emu_ctx *c, uint16_t port, unsigned size, uint32_t value);
    /*
     * XMM/YMM/ZMM register n, the low size bytes (16, 32 or 64). clear_upper: what is above them
     * becomes 0 (VEX, EVEX); else it is kept.
     */
    enum emu_result (*vector_get)(struct emu_ctx *c, unsigned n, void *data, unsigned size);
    enum emu_result (*vector_set)(struct emu_ctx *c, unsigned n, const void *data, unsigned size,
                                  bool clear_upper);
    /*
     * Would this access fault or have to be retried? Touches no data, so that it may be asked of a
     * device. May be NULL. It is asked before the first half of an instruction with two accesses
     * (MOVS, CMPS, INS, PUSH and CALL through memory) has side effects that could not be undone.
     */
    enum emu_result (*probe)(struct emu_ctx *c, gva_t addr, unsigned size, enum emu_access access);
};

struct emu_ctx {
    const struct emu_ops *ops;
    void *opaque;
    uint64_t regs[EMU_NR_REGS];
    uint64_t rip, rflags;
    struct emu_segment seg[EMU_NR_SEGS];
    enum emu_mode mode;
    uint8_t cpl;
    bool wp_alignment; /* CR0.AM and EFLAGS.AC and CPL 3: alignment is checked */
    struct emu_fault fault;
    uint64_t rep_limit; /* at most this many iterations of a REP string, then EMU_OK with RIP kept;
                           0 is taken as 1, so that an instruction always gets on */
    bool need_more;     /* with EMU_UNSUPPORTED: the instruction is longer than the bytes given */
};

#define EMU_MAX_INSN 15

/*
 * Decodes insn[len] (from ctx->rip) and executes it. len < needed: EMU_UNSUPPORTED with need_more.
 * Fastest with at least EMU_MAX_INSN bytes; never reads more than len.
 */
enum emu_result emu_step(struct emu_ctx *c, const uint8_t *insn, unsigned len);

#endif
