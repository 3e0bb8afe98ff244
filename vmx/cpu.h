/* Invalidation of translations that the CPU caches for guests (SDM vol. 3 section 29.4). */
#ifndef VMX_CPU_H
#define VMX_CPU_H

#include "lib/types.h"

/* All translations through that EPTP, on this CPU. */
void vmx_invept(uint64_t eptp);
/* All linear translations tagged with that VPID, on this CPU. */
void vmx_invvpid(uint16_t vpid);

#endif
