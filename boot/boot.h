/* Where boot/ hands over to vm/. */
#ifndef BOOT_BOOT_H
#define BOOT_BOOT_H

#include "lib/types.h"

/* First C (boot/entry.asm): the loader's magic and the physical address of its information. */
void main(uint32_t magic, uint32_t info);

/* Once, on the boot CPU, when the machine is ready and all CPUs wait. */
void hypervisor_start(void);
/* Every CPU ends here; the boot CPU comes last. Interrupts are off. */
NORETURN void cpu_loop(void);

#endif
