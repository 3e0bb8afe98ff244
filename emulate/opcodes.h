/* The opcode maps (SDM vol. 2, appendix A): small constant entries, one per opcode. */
#ifndef EMULATE_OPCODES_H
#define EMULATE_OPCODES_H

#include "emulate/decode.h"

/* How an instruction's operands are encoded. */
enum emu_form {
    EMU_FORM_NONE,
    /* The first ones are what most accesses to devices have: decode_quick.c knows them. */
    EMU_FORM_RM_R,
    EMU_FORM_R_RM,
    EMU_FORM_RM_IMM,
    EMU_FORM_R_RM8,
    EMU_FORM_R_RM16,
    EMU_FORM_LAST_QUICK = EMU_FORM_R_RM16,
    EMU_FORM_RM,
    EMU_FORM_RM_IMM8,
    EMU_FORM_RM_1,
    EMU_FORM_RM_CL,
    EMU_FORM_R_RM32,
    EMU_FORM_R_RM_IMM,
    EMU_FORM_R_RM_IMM8,
    EMU_FORM_RM_R_IMM8,
    EMU_FORM_RM_R_CL,
    EMU_FORM_RM_SREG,
    EMU_FORM_LAST_MODRM = EMU_FORM_RM_SREG, /* all up to here have a ModRM byte (NONE: unknown) */
    EMU_FORM_A_IMM,
    EMU_FORM_A_MOFFS,
    EMU_FORM_MOFFS_A,
    EMU_FORM_A_IMM8, /* IN and OUT: a port number, whatever the operand size */
    EMU_FORM_A_DX,
    EMU_FORM_STRING, /* from here on: an implied memory operand */
    EMU_FORM_XLAT,
    EMU_FORM_REX, /* a prefix in 64-bit mode, else an opcode that is not known here */
    /* What is not an opcode by itself; all from here on needs a second look. */
    EMU_FORM_VECTOR, /* emu_vector_map[group][mandatory prefix] says the rest */
    EMU_FORM_PREFIX,
    EMU_FORM_ESCAPE,
    EMU_FORM_VEX2,
    EMU_FORM_VEX3,
    EMU_FORM_EVEX,
};

/* struct emu_opcode.flags */
#define EMU_OPCODE_BYTE      0x001u /* the operand size is one byte */
#define EMU_OPCODE_LOCK      0x002u /* may be locked when its destination is memory */
#define EMU_OPCODE_DEFAULT64 0x004u /* 64-bit mode: 64 bits unless 16 */
#define EMU_OPCODE_FORCE64   0x008u /* 64-bit mode: always 64 bits */
#define EMU_OPCODE_NOT_LONG  0x010u /* undefined in 64-bit mode */
#define EMU_OPCODE_MEMORY    0x020u /* undefined with a register as r/m */
#define EMU_OPCODE_NO_PREFIX 0x040u /* undefined with 66, F2 or F3; no 16-bit form */
#define EMU_OPCODE_MAX32     0x080u /* the operand has at most 32 bits */
#define EMU_OPCODE_SREG      0x100u /* undefined when ModRM.reg is no segment register */
#define EMU_OPCODE_UNDEFINED 0x200u /* undefined always */

/* Those that can make an encoding undefined. */
#define EMU_OPCODE_RESTRICTED                                                           \
    (EMU_OPCODE_NOT_LONG | EMU_OPCODE_MEMORY | EMU_OPCODE_NO_PREFIX | EMU_OPCODE_SREG | \
     EMU_OPCODE_UNDEFINED)

struct emu_opcode {
    uint8_t op;     /* enum emu_op */
    uint8_t form;   /* enum emu_form; in a group: EMU_FORM_NONE keeps the opcode's own */
    uint8_t group;  /* enum emu_group: ModRM.reg chooses the operation; or enum emu_vector_row */
    uint16_t flags; /* EMU_OPCODE_...; in a group: added to the opcode's own */
};

enum emu_group {
    EMU_GROUP_NONE,
    EMU_GROUP_1,
    EMU_GROUP_1A,
    EMU_GROUP_2,
    EMU_GROUP_3,
    EMU_GROUP_4,
    EMU_GROUP_5,
    EMU_GROUP_8,
    EMU_GROUP_9,
    EMU_GROUP_11,
    EMU_NR_GROUPS,
};

extern const struct emu_opcode emu_opcode_map1[256];  /* one byte */
extern const struct emu_opcode emu_opcode_map0f[256]; /* 0F xx */
extern const struct emu_opcode emu_opcode_groups[EMU_NR_GROUPS][8];

/* The vector moves: rows of emu_vector_map, columns none, 66, F3, F2 (VEX.pp). */
enum emu_vector_row {
    EMU_VECTOR_NONE,
    EMU_VECTOR_10,
    EMU_VECTOR_11,
    EMU_VECTOR_12,
    EMU_VECTOR_13,
    EMU_VECTOR_16,
    EMU_VECTOR_17,
    EMU_VECTOR_28,
    EMU_VECTOR_29,
    EMU_VECTOR_2B,
    EMU_VECTOR_6E,
    EMU_VECTOR_6F,
    EMU_VECTOR_7E,
    EMU_VECTOR_7F,
    EMU_VECTOR_D6,
    EMU_VECTOR_E7,
    EMU_VECTOR_F0,
    EMU_VECTOR_38_2A,
    EMU_NR_VECTOR_ROWS,
};

/* struct emu_vector_move.flags */
#define EMU_VECTOR_ALIGNED BIT(0) /* #GP when memory is not aligned to its size */
#define EMU_VECTOR_BY_W    BIT(1) /* 8 bytes with W (64-bit mode), else 4 */
#define EMU_VECTOR_L0      BIT(2) /* VEX.L must be 0 */
#define EMU_VECTOR_MERGE   BIT(3) /* takes a second source in VEX.vvvv */
#define EMU_VECTOR_EVEX_W0 BIT(4) /* has an EVEX form with this W (both: either) */
#define EMU_VECTOR_EVEX_W1 BIT(5)
#define EMU_VECTOR_NO_VEX  BIT(6) /* neither a legacy nor a VEX form */

struct emu_vector_move {
    uint8_t op;   /* enum emu_op; EMU_OP_UNKNOWN: not here */
    uint8_t size; /* of the memory operand, bytes; 0: the vector length */
    uint8_t flags;
};

extern const struct emu_vector_move emu_vector_map[EMU_NR_VECTOR_ROWS][4];

#endif
