/* The decoder's own state, shared by its two files. Nobody else includes this. */
#ifndef EMULATE_DECODER_H
#define EMULATE_DECODER_H

#include "emulate/decode.h"
#include "emulate/opcodes.h"

#define EMU_REX_B BIT(0)
#define EMU_REX_X BIT(1)
#define EMU_REX_R BIT(2)
#define EMU_REX_W BIT(3)

#define EMU_NO_SEG EMU_NR_SEGS

struct emu_decoder {
    const uint8_t *next; /* the byte to be fetched; there is always one more (see emu_decode) */
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

/* Reads ModRM, SIB and displacement. */
void emu_decode_modrm(struct emu_decoder *d);

/* emu_decode, for what its shortcut does not know. */
enum emu_decoded emu_decode_any(enum emu_mode mode, const uint8_t *bytes, unsigned len,
                                struct emu_insn *insn);

/* A legacy-encoded vector move; its opcode has been read. */
enum emu_decoded emu_decode_sse(struct emu_decoder *d, enum emu_vector_row row);
/* What follows C4, C5 or 62. */
enum emu_decoded emu_decode_vex(struct emu_decoder *d, uint8_t opcode);

#endif
