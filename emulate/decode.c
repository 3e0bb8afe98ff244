/*
 * Decoding: prefixes, opcode look-up, ModRM, operands. No byte fetched is checked for being there;
 * that is settled first: where fewer than 15 bytes are given, or so many prefixes that the rest
 * may not fit in 15, the decoder reads from a padded copy, and how far it got is looked at
 * afterwards.
 */
#include "emulate/decoder.h"
#include "lib/string.h"

#define OPCODE_MOVSXD 0x63

/*
 * Without prefixes no instruction that is decoded here is longer than 11 bytes (C7 /0 with SIB,
 * displacement and immediate; EVEX with SIB and displacement).
 */
#define MAX_WITHOUT_PREFIXES 11
#define PADDED_SIZE          (EMU_MAX_INSN + MAX_WITHOUT_PREFIXES)

/* What the ModRM byte's r/m means with 16-bit addresses (SDM vol. 2 table 2-1). */
static const struct {
    uint8_t base, index;
} mem16[8] = {
    {EMU_RBX, EMU_RSI},    {EMU_RBX, EMU_RDI},    {EMU_RBP, EMU_RSI},    {EMU_RBP, EMU_RDI},
    {EMU_RSI, EMU_NO_REG}, {EMU_RDI, EMU_NO_REG}, {EMU_RBP, EMU_NO_REG}, {EMU_RBX, EMU_NO_REG},
};

/* In 64-bit mode only FS and GS overrides mean anything; the others are ignored. */
static void set_segment(struct emu_decoder *d, enum emu_seg seg)
{
    if (d->mode != EMU_LONG64 || seg >= EMU_FS)
        d->seg_override = seg;
}

static void apply_prefix(struct emu_decoder *d, uint8_t byte)
{
    uint8_t *p = &d->insn->prefixes;

    d->rex = 0; /* a REX counts only right before the opcode */
    switch (byte) {
    case 0x26:
        return set_segment(d, EMU_ES);
    case 0x2e:
        return set_segment(d, EMU_CS);
    case 0x36:
        return set_segment(d, EMU_SS);
    case 0x3e:
        return set_segment(d, EMU_DS);
    case 0x64:
        return set_segment(d, EMU_FS);
    case 0x65:
        return set_segment(d, EMU_GS);
    case 0x66:
        *p |= EMU_PREFIX_OPSIZE;
        return;
    case 0x67:
        *p |= EMU_PREFIX_ADDRSIZE;
        return;
    case 0xf0:
        *p |= EMU_PREFIX_LOCK;
        return;
    case 0xf2: /* of F2 and F3 the last one counts */
        *p = (*p & ~EMU_PREFIX_REP) | EMU_PREFIX_REPNE;
        return;
    default:
        *p = (*p & ~EMU_PREFIX_REPNE) | EMU_PREFIX_REP;
        return;
    }
}

/* Reads up to the first opcode byte. False: there are prefixes beyond the last place for one. */
static bool decode_prefixes(struct emu_decoder *d, const uint8_t *last, uint8_t *opcode)
{
    for (;;) {
        uint8_t form;

        *opcode = emu_fetch8(d);
        form = emu_opcode_map1[*opcode].form;
        if (likely(form < EMU_FORM_REX))
            return true;
        if (form == EMU_FORM_PREFIX)
            apply_prefix(d, *opcode);
        else if (form == EMU_FORM_REX && d->mode == EMU_LONG64)
            d->rex = *opcode;
        else
            return true;
        if (d->next > last)
            return false;
    }
}

/* Sizes without and with the prefix that changes them, by enum emu_mode (SDM vol. 1, 3.6). */
static const uint8_t op_sizes[][2] = {
    [EMU_REAL] = {2, 4},   [EMU_V86] = {2, 4},    [EMU_PROT16] = {2, 4},
    [EMU_PROT32] = {4, 2}, [EMU_LONG64] = {4, 2},
};
static const uint8_t addr_sizes[][2] = {
    [EMU_REAL] = {2, 4},   [EMU_V86] = {2, 4},    [EMU_PROT16] = {2, 4},
    [EMU_PROT32] = {4, 2}, [EMU_LONG64] = {8, 4},
};

static uint8_t address_size(const struct emu_decoder *d)
{
    return addr_sizes[d->mode][d->insn->prefixes / EMU_PREFIX_ADDRSIZE % 2];
}

static uint8_t operand_size(const struct emu_decoder *d, unsigned flags)
{
    const unsigned forced = EMU_OPCODE_DEFAULT64 | EMU_OPCODE_FORCE64 | EMU_OPCODE_NO_PREFIX;
    uint8_t size = op_sizes[d->mode][d->insn->prefixes / EMU_PREFIX_OPSIZE % 2];

    if (flags & EMU_OPCODE_BYTE)
        return 1;
    if (d->rex & EMU_REX_W)
        return flags & EMU_OPCODE_MAX32 ? 4 : 8;
    if (likely(!(flags & forced)))
        return size;
    if (flags & EMU_OPCODE_NO_PREFIX) /* nothing could make it 16 bits */
        return 4;
    if (d->mode != EMU_LONG64 || (size == 2 && !(flags & EMU_OPCODE_FORCE64)))
        return size;
    return 8;
}

static void decode_mem16(struct emu_decoder *d)
{
    struct emu_insn *i = d->insn;
    unsigned mod = d->modrm >> 6, rm = d->modrm & 7;

    i->scale = 0;
    if (mod == 0 && rm == 6) {
        i->base = i->index = EMU_NO_REG;
        i->seg = EMU_DS;
        i->disp = emu_fetch_signed(d, 2);
        return;
    }
    i->base = mem16[rm].base;
    i->index = mem16[rm].index;
    i->seg = i->base == EMU_RBP ? EMU_SS : EMU_DS;
    i->disp = mod == 0 ? 0 : emu_fetch_signed(d, mod);
}

/* Sets index and scale, and returns the base. */
static unsigned decode_sib(struct emu_decoder *d, unsigned mod)
{
    unsigned sib = emu_fetch8(d), index = (sib >> 3 & 7) | emu_rex_x(d);

    d->insn->index = index == EMU_RSP ? EMU_NO_REG : index;
    d->insn->scale = index == EMU_RSP ? 0 : sib >> 6;
    if ((sib & 7) == EMU_RBP && mod == 0)
        return EMU_NO_REG;
    return (sib & 7) | emu_rex_b(d);
}

static void decode_mem32(struct emu_decoder *d)
{
    unsigned mod = d->modrm >> 6, rm = d->modrm & 7, base = rm | emu_rex_b(d);
    struct emu_insn *i = d->insn;

    if (rm == EMU_RSP) {
        base = decode_sib(d, mod);
    } else {
        i->index = EMU_NO_REG;
        i->scale = 0;
        if (rm == EMU_RBP && mod == 0)
            base = d->mode == EMU_LONG64 ? EMU_BASE_RIP : EMU_NO_REG;
    }
    i->base = base;
    i->seg = base == EMU_RSP || base == EMU_RBP ? EMU_SS : EMU_DS;
    if (mod == 1)
        i->disp = (int64_t)(int8_t)emu_fetch8(d) * (1 << d->disp8_shift);
    else if (mod == 2 || base >= EMU_BASE_RIP)
        i->disp = (int32_t)emu_fetch32(d);
    else
        i->disp = 0;
}

void emu_decode_modrm(struct emu_decoder *d)
{
    d->modrm = emu_fetch8(d);
    if (d->modrm >> 6 == EMU_MOD_REGISTER)
        return;
    if (d->insn->addr_size == 2)
        decode_mem16(d);
    else
        decode_mem32(d);
    if (d->seg_override != EMU_NO_SEG)
        d->insn->seg = d->seg_override;
}

/* Which prefixes and operands make this encoding undefined. */
static bool is_undefined(const struct emu_decoder *d, unsigned flags, bool modrm)
{
    bool memory = modrm && d->modrm >> 6 != EMU_MOD_REGISTER;

    if (flags & EMU_OPCODE_UNDEFINED)
        return true;
    if ((flags & EMU_OPCODE_MEMORY) && !memory)
        return true;
    if ((flags & EMU_OPCODE_NOT_LONG) && d->mode == EMU_LONG64)
        return true;
    if ((flags & EMU_OPCODE_NO_PREFIX) &&
        (d->insn->prefixes & (EMU_PREFIX_OPSIZE | EMU_PREFIX_REP | EMU_PREFIX_REPNE)))
        return true;
    if ((flags & EMU_OPCODE_SREG) && (d->modrm >> 3 & 7) >= EMU_NR_SEGS)
        return true;
    /* LOCK needs an operation that may have it, and a destination in memory. */
    return (d->insn->prefixes & EMU_PREFIX_LOCK) &&
           !((flags & EMU_OPCODE_LOCK) && d->insn->dst.kind == EMU_OPERAND_MEM);
}

/* The opcode has been read; what follows it, in order: ModRM, displacement, immediate. */
static enum emu_decoded decode_entry(struct emu_decoder *d, const struct emu_opcode *e)
{
    unsigned form = e->form, flags = e->flags, op = e->op;
    bool modrm = form <= EMU_FORM_LAST_MODRM;
    struct emu_insn *i = d->insn;

    if (op == EMU_OP_UNKNOWN && e->group == EMU_GROUP_NONE)
        return EMU_DECODE_UNKNOWN;
    if (modrm)
        emu_decode_modrm(d);
    if (op == EMU_OP_UNKNOWN) {
        e = &emu_opcode_groups[e->group][d->modrm >> 3 & 7];
        op = e->op;
        flags |= e->flags;
        form = e->form ? e->form : form;
        if (op == EMU_OP_UNKNOWN)
            return EMU_DECODE_UNKNOWN;
    }
    i->op = op;
    i->op_size = operand_size(d, flags);
    emu_decode_operands(d, form);
    if (likely(!(flags & EMU_OPCODE_RESTRICTED) && !(i->prefixes & EMU_PREFIX_LOCK)))
        return EMU_DECODED;
    return is_undefined(d, flags, modrm) ? EMU_DECODE_UNDEFINED : EMU_DECODED;
}

/* The three-byte map 0F 38: MOVBE and one vector move; F2 in front makes it CRC32. */
static const struct emu_opcode *entry_0f38(struct emu_decoder *d)
{
    static const struct emu_opcode movbe[2] = {
        {EMU_OP_MOVBE, EMU_FORM_R_RM, 0, EMU_OPCODE_MEMORY},
        {EMU_OP_MOVBE, EMU_FORM_RM_R, 0, EMU_OPCODE_MEMORY},
    };
    static const struct emu_opcode movntdqa = {EMU_OP_UNKNOWN, EMU_FORM_VECTOR, EMU_VECTOR_38_2A,
                                               0};
    static const struct emu_opcode unknown = {EMU_OP_UNKNOWN, EMU_FORM_NONE, 0, 0};
    uint8_t opcode = emu_fetch8(d);

    d->insn->opcode = opcode;
    if (opcode == 0x2a)
        return &movntdqa;
    if ((opcode & ~1) == 0xf0 && !(d->insn->prefixes & (EMU_PREFIX_REP | EMU_PREFIX_REPNE)))
        return &movbe[opcode & 1];
    return &unknown;
}

static const struct emu_opcode *entry_0f(struct emu_decoder *d)
{
    uint8_t opcode = emu_fetch8(d);

    d->insn->opcode = opcode;
    if (emu_opcode_map0f[opcode].form == EMU_FORM_ESCAPE)
        return entry_0f38(d);
    return &emu_opcode_map0f[opcode];
}

/*
 * From d->next on there are enough bytes for everything, if prefixes end at last; if they do not,
 * it is too long.
 */
static enum emu_decoded decode(struct emu_decoder *d, const uint8_t *last)
{
    const struct emu_opcode *e;
    uint8_t opcode;

    d->rex = 0;
    d->seg_override = EMU_NO_SEG;
    d->insn->prefixes = 0;
    if (!decode_prefixes(d, last, &opcode))
        return EMU_DECODE_TOO_LONG;
    d->insn->opcode = opcode;
    d->insn->addr_size = address_size(d);
    e = &emu_opcode_map1[opcode];
    if (e->form == EMU_FORM_ESCAPE)
        e = entry_0f(d);
    if (likely(e->form < EMU_FORM_VECTOR)) {
        if (opcode == OPCODE_MOVSXD && d->mode != EMU_LONG64)
            return EMU_DECODE_UNKNOWN; /* ARPL */
        return decode_entry(d, e);
    }
    return e->form == EMU_FORM_VECTOR ? emu_decode_sse(d, e->group) : emu_decode_vex(d, opcode);
}

/* Decodes a copy with zeros behind it; whoever gets to them has read too far. */
static enum emu_decoded decode_padded(struct emu_decoder *d, const uint8_t *bytes, unsigned len)
{
    unsigned given = MIN(len, (unsigned)EMU_MAX_INSN), used;
    uint8_t padded[PADDED_SIZE] = {0};
    enum emu_decoded r;

    memcpy(padded, bytes, given);
    d->next = padded;
    r = decode(d, padded + EMU_MAX_INSN - 1);
    used = (unsigned)(d->next - padded);
    if (used > given)
        return given == EMU_MAX_INSN ? EMU_DECODE_TOO_LONG : EMU_DECODE_NEED_MORE;
    d->insn->len = used;
    return r;
}

enum emu_decoded emu_decode_any(enum emu_mode mode, const uint8_t *bytes, unsigned len,
                                struct emu_insn *insn)
{
    struct emu_decoder d = {.next = bytes, .mode = mode, .insn = insn};
    enum emu_decoded r;

    if (len < EMU_MAX_INSN)
        return decode_padded(&d, bytes, len);
    r = decode(&d, bytes + EMU_MAX_INSN - MAX_WITHOUT_PREFIXES);
    insn->len = (uint8_t)(d.next - bytes);
    return r == EMU_DECODE_TOO_LONG ? decode_padded(&d, bytes, len) : r;
}
