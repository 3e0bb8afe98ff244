/*
 * Shifts and rotates. A masked count of 0 changes neither the operand nor any flag. OF is defined
 * for a count of 1 only; for larger counts it is computed the same way, as processors do.
 */
#include "emulate/alu_shift.h"

static unsigned bits(const struct emu_alu *a)
{
    return 8 * a->size;
}

/* Counts are taken modulo 32, or 64 for 64-bit operands. */
static unsigned masked(const struct emu_alu *a, uint64_t count)
{
    return count & (a->size == 8 ? 63 : 31);
}

static void set_carry_overflow(struct emu_alu *a, bool carry, bool overflow)
{
    a->flags &= ~(EMU_CF | EMU_OF);
    a->flags |= (carry ? EMU_CF : 0) | (overflow ? EMU_OF : 0);
}

static bool top_bit(const struct emu_alu *a, uint64_t v)
{
    return v & emu_sign_bit(a->size);
}

uint64_t emu_alu_shl(struct emu_alu *a)
{
    unsigned n = masked(a, a->src);
    uint64_t r;
    bool carry;

    if (n == 0)
        return a->dst;
    r = (a->dst << n) & emu_mask(a->size);
    carry = n <= bits(a) && (a->dst >> (bits(a) - n) & 1);
    set_carry_overflow(a, carry, carry != top_bit(a, r));
    emu_alu_result_flags(a, r);
    return r;
}

uint64_t emu_alu_shr(struct emu_alu *a)
{
    unsigned n = masked(a, a->src);
    uint64_t r;

    if (n == 0)
        return a->dst;
    r = a->dst >> n;
    set_carry_overflow(a, a->dst >> (n - 1) & 1, top_bit(a, a->dst));
    emu_alu_result_flags(a, r);
    return r;
}

uint64_t emu_alu_sar(struct emu_alu *a)
{
    unsigned n = masked(a, a->src);
    int64_t v = (int64_t)emu_sign_extend(a->dst, a->size);
    uint64_t r;

    if (n == 0)
        return a->dst;
    r = (uint64_t)(v >> n) & emu_mask(a->size);
    set_carry_overflow(a, v >> (n - 1) & 1, false);
    emu_alu_result_flags(a, r);
    return r;
}

uint64_t emu_alu_rol(struct emu_alu *a)
{
    unsigned count = masked(a, a->src), n = count % bits(a);
    uint64_t r = a->dst;

    if (count == 0)
        return r;
    if (n != 0)
        r = (r << n | r >> (bits(a) - n)) & emu_mask(a->size);
    set_carry_overflow(a, r & 1, (r & 1) != top_bit(a, r));
    return r;
}

uint64_t emu_alu_ror(struct emu_alu *a)
{
    unsigned count = masked(a, a->src), n = count % bits(a);
    uint64_t r = a->dst;

    if (count == 0)
        return r;
    if (n != 0)
        r = (r >> n | r << (bits(a) - n)) & emu_mask(a->size);
    set_carry_overflow(a, top_bit(a, r), top_bit(a, r) != top_bit(a, r << 1));
    return r;
}

/*
 * Rotates through the carry go round size * 8 + 1 bits. The two shift steps below keep each
 * shift count under 64: "x << n" is done as "x << (n - 1) << 1".
 */
uint64_t emu_alu_rcl(struct emu_alu *a)
{
    unsigned n = masked(a, a->src) % (bits(a) + 1);
    uint64_t carry = a->flags & EMU_CF, r;
    bool out;

    if (n == 0)
        return a->dst;
    r = a->dst << (n - 1) << 1 | carry << (n - 1) | a->dst >> (bits(a) - n) >> 1;
    r &= emu_mask(a->size);
    out = a->dst >> (bits(a) - n) & 1;
    set_carry_overflow(a, out, out != top_bit(a, r));
    return r;
}

uint64_t emu_alu_rcr(struct emu_alu *a)
{
    unsigned n = masked(a, a->src) % (bits(a) + 1);
    uint64_t carry = a->flags & EMU_CF, r;

    if (n == 0)
        return a->dst;
    r = a->dst >> (n - 1) >> 1 | carry << (bits(a) - n) | a->dst << (bits(a) - n) << 1;
    r &= emu_mask(a->size);
    set_carry_overflow(a, a->dst >> (n - 1) & 1, top_bit(a, r) != top_bit(a, r << 1));
    return r;
}

/* With 16-bit operands and a count over 16 the result is undefined: the operand stays. */
uint64_t emu_alu_shld(struct emu_alu *a)
{
    unsigned n = masked(a, a->count);
    uint64_t r;

    if (n == 0 || n > bits(a))
        return a->dst;
    r = a->dst << (n - 1) << 1 | a->src >> (bits(a) - n);
    r &= emu_mask(a->size);
    set_carry_overflow(a, a->dst >> (bits(a) - n) & 1, top_bit(a, a->dst ^ r));
    emu_alu_result_flags(a, r);
    return r;
}

uint64_t emu_alu_shrd(struct emu_alu *a)
{
    unsigned n = masked(a, a->count);
    uint64_t r;

    if (n == 0 || n > bits(a))
        return a->dst;
    r = a->dst >> (n - 1) >> 1 | a->src << (bits(a) - n);
    r &= emu_mask(a->size);
    set_carry_overflow(a, a->dst >> (n - 1) & 1, top_bit(a, a->dst ^ r));
    emu_alu_result_flags(a, r);
    return r;
}
