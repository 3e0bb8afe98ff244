/* Ring 3 (user.asm). Code there runs from its user alias and must be position independent. */
#ifndef GUESTS_USER_H
#define GUESTS_USER_H

#include "lib/types.h"

/* To 64-bit ring 3; comes back by a trap only: use inside TRAP_CATCH. arg arrives in RDI. */
void user_enter(const void *code, uint64_t rflags, uint64_t arg);
/* To compatibility mode in ring 3, at an address below 4 GiB that ring 3 may execute. */
void user_enter32(uint32_t code, uint64_t rflags);

#endif
