/* emu_step: decode, dispatch, commit. */
#include "emulate/exec.h"

static emu_exec_fn *const exec_table[EMU_NR_OPS] = {
    [EMU_OP_ADD... EMU_OP_XOR] = emu_exec_modify,
    [EMU_OP_CMP] = emu_exec_compare,
    [EMU_OP_ROL... EMU_OP_SAR] = emu_exec_modify,
    [EMU_OP_SHLD... EMU_OP_SHRD] = emu_exec_double_shift,
    [EMU_OP_TEST] = emu_exec_compare,
    [EMU_OP_NOT... EMU_OP_DEC] = emu_exec_modify,
    [EMU_OP_MUL... EMU_OP_IMUL_WIDE] = emu_exec_multiply,
    [EMU_OP_DIV... EMU_OP_IDIV] = emu_exec_divide,
    [EMU_OP_IMUL] = emu_exec_imul,
    [EMU_OP_BT... EMU_OP_BTC] = emu_exec_bit,
    [EMU_OP_XCHG] = emu_exec_exchange,
    [EMU_OP_XADD] = emu_exec_xadd,
    [EMU_OP_CMPXCHG] = emu_exec_cmpxchg,
    [EMU_OP_CMPXCHG8B] = emu_exec_cmpxchg8b,
    [EMU_OP_MOV... EMU_OP_MOVZX] = emu_exec_mov,
    [EMU_OP_MOVSX] = emu_exec_movsx,
    [EMU_OP_MOVBE] = emu_exec_movbe,
    [EMU_OP_SETCC] = emu_exec_setcc,
    [EMU_OP_CMOVCC] = emu_exec_cmovcc,
    [EMU_OP_PUSH] = emu_exec_push,
    [EMU_OP_POP] = emu_exec_pop,
    [EMU_OP_CALL] = emu_exec_call,
    [EMU_OP_JMP] = emu_exec_jmp,
    [EMU_OP_XLAT] = emu_exec_xlat,
    [EMU_OP_MOVS... EMU_OP_OUTS] = emu_exec_string,
    [EMU_OP_IN] = emu_exec_in,
    [EMU_OP_OUT] = emu_exec_out,
    [EMU_OP_VECTOR_LOAD] = emu_exec_vector_load,
    [EMU_OP_VECTOR_STORE] = emu_exec_vector_store,
    [EMU_OP_VECTOR_LOAD_LOW... EMU_OP_VECTOR_LOAD_HIGH] = emu_exec_vector_load_half,
    [EMU_OP_VECTOR_STORE_HIGH] = emu_exec_vector_store_high,
};

/* What a failed decode means for the guest. */
static enum emu_result decode_failure(struct emu_ctx *c, enum emu_decoded why)
{
    switch (why) {
    case EMU_DECODE_UNDEFINED:
        return emu_raise(c, EMU_VECTOR_UD);
    case EMU_DECODE_TOO_LONG:
        return emu_raise(c, EMU_VECTOR_GP);
    case EMU_DECODE_NEED_MORE:
        c->need_more = true;
        return EMU_UNSUPPORTED;
    default:
        return EMU_UNSUPPORTED;
    }
}

enum emu_result emu_step(struct emu_ctx *c, const uint8_t *insn, unsigned len)
{
    struct emu_insn i;
    enum emu_decoded decoded = emu_decode(c->mode, insn, len, &i);
    enum emu_result r;

    c->need_more = false;
    if (unlikely(decoded != EMU_DECODED))
        return decode_failure(c, decoded);
    i.next_rip = c->rip + i.len;
    if (c->mode != EMU_LONG64)
        i.next_rip = (uint32_t)i.next_rip;
    r = exec_table[i.op](c, &i);
    if (r != EMU_OK)
        return r;
    /* A finished instruction clears RF (SDM vol. 3, 17.3.1.1); one to be gone on with does not. */
    if (i.next_rip != c->rip)
        c->rflags &= ~EMU_RF;
    c->rip = i.next_rip;
    return EMU_OK;
}
