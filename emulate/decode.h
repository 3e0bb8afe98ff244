/*
 * The decoder: instruction bytes in, a struct emu_insn out. Pure; it never reads past the bytes
 * that it is given. Source: Intel SDM vol. 2, chapter 2 (formats) and appendix A (opcode maps).
 */
#ifndef EMULATE_DECODE_H
#define EMULATE_DECODE_H

#include "emulate/emulate.h"

/* clang-format off */
enum emu_op {
    EMU_OP_UNKNOWN,   /* this decoder does not know it */
    EMU_OP_UNDEFINED, /* the architecture does not define it: #UD */
    /* Group 1, in the order of its /digit */
    EMU_OP_ADD, EMU_OP_OR, EMU_OP_ADC, EMU_OP_SBB, EMU_OP_AND, EMU_OP_SUB, EMU_OP_XOR, EMU_OP_CMP,
    /* Group 2, likewise (/6 is another SHL) */
    EMU_OP_ROL, EMU_OP_ROR, EMU_OP_RCL, EMU_OP_RCR, EMU_OP_SHL, EMU_OP_SHR, EMU_OP_SAR,
    EMU_OP_SHLD, EMU_OP_SHRD,
    EMU_OP_TEST, EMU_OP_NOT, EMU_OP_NEG, EMU_OP_INC, EMU_OP_DEC,
    EMU_OP_MUL, EMU_OP_IMUL_WIDE, EMU_OP_DIV, EMU_OP_IDIV, EMU_OP_IMUL,
    EMU_OP_BT, EMU_OP_BTS, EMU_OP_BTR, EMU_OP_BTC,
    EMU_OP_XCHG, EMU_OP_XADD, EMU_OP_CMPXCHG, EMU_OP_CMPXCHG8B,
    EMU_OP_MOV, EMU_OP_MOVZX, EMU_OP_MOVSX, EMU_OP_MOVBE, EMU_OP_SETCC, EMU_OP_CMOVCC,
    EMU_OP_PUSH, EMU_OP_POP, EMU_OP_CALL, EMU_OP_JMP, EMU_OP_XLAT,
    EMU_OP_MOVS, EMU_OP_CMPS, EMU_OP_STOS, EMU_OP_LODS, EMU_OP_SCAS, EMU_OP_INS, EMU_OP_OUTS,
    EMU_OP_IN, EMU_OP_OUT,
    EMU_OP_VECTOR_LOAD,      /* memory to vector register, zero above what was read */
    EMU_OP_VECTOR_STORE,     /* low part of a vector register to memory */
    EMU_OP_VECTOR_LOAD_LOW,  /* MOVLPS and the like: one half comes from memory, */
    EMU_OP_VECTOR_LOAD_HIGH, /* ... the other from a register */
    EMU_OP_VECTOR_STORE_HIGH,
    EMU_NR_OPS,
};
/* clang-format on */

enum emu_operand_kind {
    EMU_OPERAND_NONE,
    EMU_OPERAND_REG,
    EMU_OPERAND_REG_HIGH, /* AH, CH, DH, BH: bits 15:8 of reg 0 to 3 */
    EMU_OPERAND_SEG,
    EMU_OPERAND_VECTOR,
    EMU_OPERAND_MEM, /* what seg, base, index, scale and disp of the instruction say */
    EMU_OPERAND_IMM, /* the instruction's imm */
};

struct emu_operand {
    uint8_t kind; /* enum emu_operand_kind */
    uint8_t reg;
    uint8_t size; /* bytes */
};

/* Prefixes that an operation looks at (struct emu_insn.prefixes). */
#define EMU_PREFIX_OPSIZE   BIT(0)
#define EMU_PREFIX_ADDRSIZE BIT(1)
#define EMU_PREFIX_LOCK     BIT(2)
#define EMU_PREFIX_REP      BIT(3) /* F3: REP or REPE */
#define EMU_PREFIX_REPNE    BIT(4) /* F2 */
#define EMU_PREFIX_VEX      BIT(5) /* VEX or EVEX encoded */

#define EMU_BASE_RIP 16 /* for struct emu_insn.base: relative to the next instruction */
#define EMU_NO_REG   17 /* for base and index */

struct emu_insn {
    uint8_t op;       /* enum emu_op */
    uint8_t len;      /* of the whole instruction, bytes */
    uint8_t opcode;   /* its last byte: has the condition of SETcc and CMOVcc */
    uint8_t prefixes; /* EMU_PREFIX_... */
    uint8_t op_size;  /* effective operand size, bytes */
    uint8_t addr_size;
    /* The memory operand: seg:[base + (index << scale) + disp] */
    uint8_t seg, base, index, scale;
    /* Vector moves only: */
    bool aligned; /* natural alignment is demanded */
    uint8_t vvvv; /* the additional register of a VEX form */
    uint8_t vlen; /* vector length, bytes */
    struct emu_operand dst, src, src2;
    int64_t disp, imm;
    uint64_t next_rip; /* set by the executor, not by the decoder */
};

enum emu_decoded {
    EMU_DECODED,
    EMU_DECODE_NEED_MORE, /* the instruction is longer than len */
    EMU_DECODE_TOO_LONG,  /* longer than 15 bytes: #GP */
    EMU_DECODE_UNDEFINED, /* #UD */
    EMU_DECODE_UNKNOWN,
};

/* Only after EMU_DECODED is *insn valid. */
enum emu_decoded emu_decode(enum emu_mode mode, const uint8_t *bytes, unsigned len,
                            struct emu_insn *insn);

#endif
