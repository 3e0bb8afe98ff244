/* The hypervisor's part of every CPU's life, as boot/ sees it. */
#ifndef VM_LOOP_H
#define VM_LOOP_H

#include "lib/types.h"

/* Run queues; before any VM is made and any CPU loops. */
void loop_init(void);
/* Turns VMX on and runs vCPUs; never returns. Every CPU ends here. */
NORETURN void cpu_loop(void);
/* On the boot CPU, before it loops: VT-x, the configuration, the VMs. */
void hypervisor_start(void);

#endif
