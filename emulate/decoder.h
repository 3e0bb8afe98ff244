/* The decoder's own state, shared by its files. Nobody else includes this. */
#ifndef EMULATE_DECODER_H
#define EMULATE_DECODER_H

#include "emulate/decode.h"
#include "emulate/opcodes.h"

#define EMU_REX_B BIT(0)
#define EMU_REX_X BIT(1)
#define EMU_REX_R BIT(2)
#define EMU_REX_W BIT(3)

#define EMU_MOD_REGISTER 3 /* ModRM.mod: r/m is a register */

#define EMU_NO_SEG EMU_NR_SEGS

struct emu_decoder {
    const uint8_t *next; /* the byte to be fetched; there is always one more (see decode.c) */
    struct emu_insn *insn;
    enum emu_mode mode;
    uint8_t rex; /* the REX byte, 0 when there is none; VEX forms give the same bits */
    uint8_t modrm;
    uint8_t seg_override; /* or EMU_NO_SEG */
    uint8_t disp8_shift;  /* EVEX scales an 8-bit displacement */
};

static inline uint8_t emu_fetch8(struct emu_decoder *d)
{
    return *d->next++;
}

static inline uint16_t emu_fetch16(struct emu_decoder *d)
{
    const uint8_t *p = d->next;

    d->next += 2;
    return p[0] | (uint16_t)(p[1] << 8);
}

static inline uint32_t emu_fetch32(struct emu_decoder *d)
{
    const uint8_t *p = d->next;

    d->next += 4;
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* A number of size bytes, sign-extended. */
static inline int64_t emu_fetch_signed(struct emu_decoder *d, unsigned size)
{
    if (size == 1)
        return (int8_t)emu_fetch8(d);
    if (size == 2)
        return (int16_t)emu_fetch16(d);
    return (int32_t)emu_fetch32(d);
}

/* The register numbers' fourth bits. */
static inline unsigned emu_rex_r(const struct emu_decoder *d)
{
    return (d->rex & EMU_REX_R) << 1;
}
static inline unsigned emu_rex_x(const struct emu_decoder *d)
{
    return (d->rex & EMU_REX_X) << 2;
}
static inline unsigned emu_rex_b(const struct emu_decoder *d)
{
    return (d->rex & EMU_REX_B) << 3;
}

/* Reads ModRM, SIB and displacement. */
void emu_decode_modrm(struct emu_decoder *d);

/*
 * Sets the operands that instructions of this form have, and reads the immediate. ModRM has been
 * read, op and op_size are set.
 */
void emu_decode_operands(struct emu_decoder *d, enum emu_form form);

/* emu_decode, for what its shortcut does not know. */
enum emu_decoded emu_decode_any(enum emu_mode mode, const uint8_t *bytes, unsigned len,
                                struct emu_insn *insn);

/* A legacy-encoded vector move; its opcode has been read. */
enum emu_decoded emu_decode_sse(struct emu_decoder *d, enum emu_vector_row row);
/* What follows C4, C5 or 62. */
enum emu_decoded emu_decode_vex(struct emu_decoder *d, uint8_t opcode);

#endif
