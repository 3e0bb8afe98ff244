/*
 * Arithmetic with flags, as the processor does it (SDM vol. 1, 3.4.3 and the instructions' own
 * pages). Pure functions. Flags that the SDM leaves undefined keep their old value.
 */
#ifndef EMULATE_ALU_H
#define EMULATE_ALU_H

#include "emulate/decode.h"

#define EMU_CF BIT(0)
#define EMU_PF BIT(2)
#define EMU_AF BIT(4)
#define EMU_ZF BIT(6)
#define EMU_SF BIT(7)
#define EMU_TF BIT(8)
#define EMU_DF BIT(10)
#define EMU_OF BIT(11)
#define EMU_RF BIT(16)

#define EMU_ARITHMETIC_FLAGS (EMU_CF | EMU_PF | EMU_AF | EMU_ZF | EMU_SF | EMU_OF)

/* One operation: operands and flags in, result returned, flags out. Operands fit in size. */
struct emu_alu {
    uint64_t dst, src;
    uint64_t count; /* of a double shift */
    uint64_t flags;
    unsigned size; /* bytes: 1, 2, 4, 8 */
};

typedef uint64_t emu_alu_fn(struct emu_alu *a);

/* By enum emu_op; NULL for what is no operation of this kind. */
extern emu_alu_fn *const emu_alu_table[EMU_NR_OPS];

/* All ones in the low size bytes; a table, since every operand needs it more than once. */
extern const uint64_t emu_masks[9];
static inline uint64_t emu_mask(unsigned size)
{
    return emu_masks[size];
}
static inline uint64_t emu_sign_bit(unsigned size)
{
    return BIT(8 * size - 1);
}
static inline uint64_t emu_sign_extend(uint64_t v, unsigned size)
{
    return (uint64_t)((int64_t)(v << (64 - 8 * size)) >> (64 - 8 * size));
}

/* The flags that a comparison of a with b leaves in flags. */
uint64_t emu_compare(uint64_t a, uint64_t b, unsigned size, uint64_t flags);

/* Condition 0 to 15 of Jcc, SETcc and CMOVcc (SDM vol. 2, appendix B.1.4.7). */
bool emu_condition(unsigned cond, uint64_t flags);

/* low:high = a * b, each of size bytes; sets CF and OF. */
void emu_multiply(unsigned size, bool is_signed, uint64_t a, uint64_t b, uint64_t *low,
                  uint64_t *high, uint64_t *flags);

/* high:low / divisor. False: the quotient does not fit, or the divisor is 0 (#DE). */
MUST_CHECK bool emu_divide(unsigned size, bool is_signed, uint64_t high, uint64_t low,
                           uint64_t divisor, uint64_t *quotient, uint64_t *remainder);

#endif
