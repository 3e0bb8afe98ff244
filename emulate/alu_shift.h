/* Shifts and rotates: entries of emu_alu_table. src is the count (count: of a double shift). */
#ifndef EMULATE_ALU_SHIFT_H
#define EMULATE_ALU_SHIFT_H

#include "emulate/alu.h"

/* Sets SF, ZF and PF by the result r. */
void emu_alu_result_flags(struct emu_alu *a, uint64_t r);

emu_alu_fn emu_alu_rol, emu_alu_ror, emu_alu_rcl, emu_alu_rcr;
emu_alu_fn emu_alu_shl, emu_alu_shr, emu_alu_sar;
emu_alu_fn emu_alu_shld, emu_alu_shrd;

#endif
