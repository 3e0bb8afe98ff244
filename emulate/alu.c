/* Arithmetic, logic, bit tests, multiplication and division. Shifts are in alu_shift.c. */
#include "emulate/alu_shift.h"

const uint64_t emu_masks[9] = {
    0,          0xff, 0xffff, 0xffffff, UINT32_MAX, 0xffffffffff, 0xffffffffffff, 0xffffffffffffff,
    UINT64_MAX,
};

/* SF, ZF and PF of a result; the other flags are cleared. */
static uint64_t flags_of(uint64_t r, unsigned size)
{
    const unsigned odd_nibbles = 0x6996; /* bit n: does n have an odd number of ones? */
    uint64_t f = 0;

    if (r == 0)
        f |= EMU_ZF;
    if (r & emu_sign_bit(size))
        f |= EMU_SF;
    if (!(odd_nibbles >> ((r ^ r >> 4) & 15) & 1))
        f |= EMU_PF;
    return f;
}

void emu_alu_result_flags(struct emu_alu *a, uint64_t r)
{
    const uint64_t changed = EMU_SF | EMU_ZF | EMU_PF;

    a->flags = (a->flags & ~changed) | flags_of(r, a->size);
}

static uint64_t add_with(struct emu_alu *a, uint64_t carry)
{
    uint64_t r = (a->dst + a->src + carry) & emu_mask(a->size);
    uint64_t f = flags_of(r, a->size);

    if (r < a->dst || (carry && r == a->dst))
        f |= EMU_CF;
    if ((a->dst ^ r) & (a->src ^ r) & emu_sign_bit(a->size))
        f |= EMU_OF;
    f |= (a->dst ^ a->src ^ r) & EMU_AF; /* the carry out of bit 3 is bit 4: AF's own place */
    a->flags = (a->flags & ~EMU_ARITHMETIC_FLAGS) | f;
    return r;
}

static uint64_t sub_with(struct emu_alu *a, uint64_t borrow)
{
    uint64_t r = (a->dst - a->src - borrow) & emu_mask(a->size);
    uint64_t f = flags_of(r, a->size);

    if (a->dst < a->src || (borrow && a->dst == a->src))
        f |= EMU_CF;
    if ((a->dst ^ a->src) & (a->dst ^ r) & emu_sign_bit(a->size))
        f |= EMU_OF;
    f |= (a->dst ^ a->src ^ r) & EMU_AF;
    a->flags = (a->flags & ~EMU_ARITHMETIC_FLAGS) | f;
    return r;
}

static uint64_t logic(struct emu_alu *a, uint64_t r)
{
    const uint64_t changed = EMU_CF | EMU_OF | EMU_SF | EMU_ZF | EMU_PF;

    a->flags = (a->flags & ~changed) | flags_of(r, a->size);
    return r;
}

static uint64_t alu_add(struct emu_alu *a)
{
    return add_with(a, 0);
}
static uint64_t alu_adc(struct emu_alu *a)
{
    return add_with(a, a->flags & EMU_CF);
}
static uint64_t alu_sub(struct emu_alu *a)
{
    return sub_with(a, 0);
}
static uint64_t alu_sbb(struct emu_alu *a)
{
    return sub_with(a, a->flags & EMU_CF);
}
static uint64_t alu_and(struct emu_alu *a)
{
    return logic(a, a->dst & a->src);
}
static uint64_t alu_or(struct emu_alu *a)
{
    return logic(a, a->dst | a->src);
}
static uint64_t alu_xor(struct emu_alu *a)
{
    return logic(a, a->dst ^ a->src);
}

static uint64_t alu_not(struct emu_alu *a)
{
    return ~a->dst & emu_mask(a->size);
}

static uint64_t alu_neg(struct emu_alu *a)
{
    a->src = a->dst;
    a->dst = 0;
    return sub_with(a, 0);
}

/* INC and DEC leave CF alone. */
static uint64_t alu_inc(struct emu_alu *a)
{
    uint64_t carry = a->flags & EMU_CF, r;

    a->src = 1;
    r = add_with(a, 0);
    a->flags = (a->flags & ~EMU_CF) | carry;
    return r;
}

static uint64_t alu_dec(struct emu_alu *a)
{
    uint64_t carry = a->flags & EMU_CF, r;

    a->src = 1;
    r = sub_with(a, 0);
    a->flags = (a->flags & ~EMU_CF) | carry;
    return r;
}

static uint64_t alu_xchg(struct emu_alu *a)
{
    return a->src;
}

/* The bit that BT and its kin work on, which goes to CF. */
static uint64_t test_bit(struct emu_alu *a)
{
    uint64_t bit = BIT(a->src & (8 * a->size - 1));

    a->flags = (a->flags & ~EMU_CF) | (a->dst & bit ? EMU_CF : 0);
    return bit;
}

static uint64_t alu_bt(struct emu_alu *a)
{
    test_bit(a);
    return a->dst;
}
static uint64_t alu_bts(struct emu_alu *a)
{
    return a->dst | test_bit(a);
}
static uint64_t alu_btr(struct emu_alu *a)
{
    return a->dst & ~test_bit(a);
}
static uint64_t alu_btc(struct emu_alu *a)
{
    return a->dst ^ test_bit(a);
}

emu_alu_fn *const emu_alu_table[EMU_NR_OPS] = {
    [EMU_OP_ADD] = alu_add,       [EMU_OP_OR] = alu_or,       [EMU_OP_ADC] = alu_adc,
    [EMU_OP_SBB] = alu_sbb,       [EMU_OP_AND] = alu_and,     [EMU_OP_SUB] = alu_sub,
    [EMU_OP_XOR] = alu_xor,       [EMU_OP_CMP] = alu_sub,     [EMU_OP_TEST] = alu_and,
    [EMU_OP_NOT] = alu_not,       [EMU_OP_NEG] = alu_neg,     [EMU_OP_INC] = alu_inc,
    [EMU_OP_DEC] = alu_dec,       [EMU_OP_XCHG] = alu_xchg,   [EMU_OP_XADD] = alu_add,
    [EMU_OP_BT] = alu_bt,         [EMU_OP_BTS] = alu_bts,     [EMU_OP_BTR] = alu_btr,
    [EMU_OP_BTC] = alu_btc,       [EMU_OP_ROL] = emu_alu_rol, [EMU_OP_ROR] = emu_alu_ror,
    [EMU_OP_RCL] = emu_alu_rcl,   [EMU_OP_RCR] = emu_alu_rcr, [EMU_OP_SHL] = emu_alu_shl,
    [EMU_OP_SHR] = emu_alu_shr,   [EMU_OP_SAR] = emu_alu_sar, [EMU_OP_SHLD] = emu_alu_shld,
    [EMU_OP_SHRD] = emu_alu_shrd,
};

uint64_t emu_compare(uint64_t a, uint64_t b, unsigned size, uint64_t flags)
{
    struct emu_alu alu = {.dst = a, .src = b, .flags = flags, .size = size};

    sub_with(&alu, 0);
    return alu.flags;
}

bool emu_condition(unsigned cond, uint64_t flags)
{
    bool less = !(flags & EMU_SF) != !(flags & EMU_OF), yes;

    switch (cond >> 1 & 7) {
    case 0:
        yes = flags & EMU_OF;
        break;
    case 1:
        yes = flags & EMU_CF;
        break;
    case 2:
        yes = flags & EMU_ZF;
        break;
    case 3:
        yes = flags & (EMU_CF | EMU_ZF);
        break;
    case 4:
        yes = flags & EMU_SF;
        break;
    case 5:
        yes = flags & EMU_PF;
        break;
    case 6:
        yes = less;
        break;
    default:
        yes = less || (flags & EMU_ZF);
        break;
    }
    return yes != (cond & 1);
}

void emu_multiply(unsigned size, bool is_signed, uint64_t a, uint64_t b, uint64_t *low,
                  uint64_t *high, uint64_t *flags)
{
    unsigned __int128 p;
    bool overflow;

    if (is_signed)
        p = (unsigned __int128)((__int128)(int64_t)emu_sign_extend(a, size) *
                                (int64_t)emu_sign_extend(b, size));
    else
        p = (unsigned __int128)a * b;
    *low = (uint64_t)p & emu_mask(size);
    *high = (uint64_t)(p >> 8 * size) & emu_mask(size);
    /* Overflow: the high half is more than an extension of the low one. */
    if (is_signed)
        overflow = *high != (*low & emu_sign_bit(size) ? emu_mask(size) : 0);
    else
        overflow = *high != 0;
    *flags = (*flags & ~(EMU_CF | EMU_OF)) | (overflow ? EMU_CF | EMU_OF : 0);
}

/* 128 / 64 bits; false when the quotient has more than 64. */
static bool divide128(unsigned __int128 n, uint64_t divisor, uint64_t *q, uint64_t *r)
{
    if ((uint64_t)(n >> 64) >= divisor)
        return false;
    /* The compiler would call a library routine for this. */
    __asm__("divq %4"
            : "=a"(*q), "=d"(*r)
            : "0"((uint64_t)n), "1"((uint64_t)(n >> 64)), "rm"(divisor)
            : "cc");
    return true;
}

bool emu_divide(unsigned size, bool is_signed, uint64_t high, uint64_t low, uint64_t divisor,
                uint64_t *quotient, uint64_t *remainder)
{
    unsigned __int128 n = (unsigned __int128)high << 8 * size | low;
    bool n_negative = is_signed && (high & emu_sign_bit(size));
    bool d_negative = is_signed && (divisor & emu_sign_bit(size));
    uint64_t q, r, limit;

    if (n_negative) /* the dividend's sign bit is its bit 16 * size - 1 */
        n = -n << (128 - 16 * size) >> (128 - 16 * size);
    if (d_negative)
        divisor = -divisor & emu_mask(size);
    if (!divide128(n, divisor, &q, &r))
        return false;
    limit = emu_mask(size);
    if (is_signed)
        limit = n_negative != d_negative ? emu_sign_bit(size) : emu_sign_bit(size) - 1;
    if (q > limit)
        return false;
    /* The quotient is truncated towards zero, so the remainder has the dividend's sign. */
    *quotient = (n_negative != d_negative ? -q : q) & emu_mask(size);
    *remainder = (n_negative ? -r : r) & emu_mask(size);
    return true;
}
