/* The executor's functions, one per operation, found by enum emu_op. Internal to emulate/. */
#ifndef EMULATE_EXEC_H
#define EMULATE_EXEC_H

#include "emulate/access.h"

/*
 * Runs a decoded instruction whose next_rip has been set; may change next_rip. Unless it returns
 * EMU_OK it has changed no register, but for what a REP string has finished.
 */
typedef enum emu_result emu_exec_fn(struct emu_ctx *c, struct emu_insn *i);

/* exec_basic.c */
emu_exec_fn emu_exec_modify, emu_exec_compare, emu_exec_bit, emu_exec_double_shift;
emu_exec_fn emu_exec_exchange, emu_exec_xadd;
emu_exec_fn emu_exec_mov, emu_exec_movsx, emu_exec_movbe, emu_exec_setcc, emu_exec_cmovcc;
emu_exec_fn emu_exec_multiply, emu_exec_imul, emu_exec_divide, emu_exec_xlat;
/* exec_cmpxchg.c */
emu_exec_fn emu_exec_cmpxchg, emu_exec_cmpxchg8b;
/* exec_stack.c */
emu_exec_fn emu_exec_push, emu_exec_pop, emu_exec_call, emu_exec_jmp;
/* exec_string.c */
emu_exec_fn emu_exec_string, emu_exec_in, emu_exec_out;
/* exec_vector.c */
emu_exec_fn emu_exec_vector_load, emu_exec_vector_store;
emu_exec_fn emu_exec_vector_load_half, emu_exec_vector_store_high;

static inline bool emu_locked(const struct emu_insn *i)
{
    return i->prefixes & EMU_PREFIX_LOCK;
}

#endif
