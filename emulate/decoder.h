/* The decoder's own state, shared by its two files. Nobody else includes this. */
#ifndef EMULATE_DECODER_H
#define EMULATE_DECODER_H

#include "emulate/decode.h"
#include "emulate/opcodes.h"

/* Inlined wherever it is called, so that the decoder's state need not live in memory. */
#define EMU_INLINE static inline __attribute__((always_inline))

#define EMU_REX_B BIT(0)
#define EMU_REX_X BIT(1)
#define EMU_REX_R BIT(2)
#define EMU_REX_W BIT(3)

#define EMU_NO_SEG EMU_NR_SEGS

struct emu_decoder {
    const uint8_t *bytes;
    unsigned len, pos;
    enum emu_mode mode;
    uint8_t rex;      /* the REX byte, 0 when there is none; VEX forms give the same bits */
    uint8_t prefixes; /* EMU_PREFIX_... */
    uint8_t addr_size;
    uint8_t modrm;
    uint8_t seg_override; /* or EMU_NO_SEG */
    uint8_t disp8_shift;  /* EVEX scales an 8-bit displacement */
    struct emu_insn *insn;
};

/* The bytes ran out: is that the caller's or the architecture's limit? */
EMU_INLINE enum emu_decoded emu_out_of_bytes(const struct emu_decoder *d)
{
    return d->len == EMU_MAX_INSN ? EMU_DECODE_TOO_LONG : EMU_DECODE_NEED_MORE;
}

/* The next byte. False when there is none: then emu_out_of_bytes says what to return. */
EMU_INLINE bool emu_fetch_byte(struct emu_decoder *d, uint8_t *b)
{
    if (d->pos >= d->len)
        return false;
    *b = d->bytes[d->pos++];
    return true;
}

/* Reads ModRM, SIB and displacement. Returns false when the bytes run out. */
bool emu_decode_modrm(struct emu_decoder *d);

/* A legacy-encoded vector move; its opcode has been read. */
enum emu_decoded emu_decode_sse(struct emu_decoder *d, enum emu_vector_row row);
/* What follows C4, C5 or 62. */
enum emu_decoded emu_decode_vex(struct emu_decoder *d, uint8_t opcode);

#endif
