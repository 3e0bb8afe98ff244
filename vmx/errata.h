/* Defects of the machines that Tithe runs on, and how it knows them. */
#ifndef VMX_ERRATA_H
#define VMX_ERRATA_H

#include "lib/types.h"

/*
 * Whether virtual-interrupt delivery may interrupt a guest whose IF is clear.
 *
 * An external interrupt that comes while a virtual interrupt is pending, but masked by IF, must
 * cause an exit and leave the virtual one pending (SDM vol. 3 sections 26.2 and 30.2.1). Bochs
 * (2.7 to 3.0; InterruptAcknowledge() in cpu/event.cc) looks at the virtual one first, and not at
 * IF: it delivers it. Since the host's interrupts come at any time, code of a guest that relies on
 * IF, say while it holds a spinlock, is then interrupted by a handler that wants the same lock.
 *
 * Such an emulator is known by a microcode revision of 0 where no hypervisor is reported: CPUs
 * have a revision from the update that firmware loads, and hypervisors report themselves.
 */
bool errata_delivers_masked(void);

#endif
