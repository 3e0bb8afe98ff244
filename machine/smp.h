/* Starting the other CPUs. SDM vol. 3, 8.4. */
#ifndef MACHINE_SMP_H
#define MACHINE_SMP_H

#include "lib/types.h"
#include "machine/percpu.h"

/* The boot CPU's; GS points at it from the first instruction of C on. */
extern struct percpu boot_cpu;

/* Gives the boot CPU its place, its stacks and its main stack's top. */
void smp_init_boot_cpu(void);
/* Starts what the MADT lists; then next runs on each of them, on its own stack. */
void smp_start(void (*next)(void));

#endif
