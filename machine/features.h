/* What this CPU must have, what we switch on, and its name. */
#ifndef MACHINE_FEATURES_H
#define MACHINE_FEATURES_H

#include "lib/types.h"

/* Ends with a fatal line that names what is missing. Boot CPU, before the final page tables. */
void features_require(void);
/* Control registers and MSRs as the hypervisor wants them; on every CPU. */
void features_enable(void);
/* The processor's name as CPUID gives it, without padding. */
void features_cpu_name(char *buf, size_t size);
/* The optional protections in use, as words. */
void features_describe(char *buf, size_t size);

#endif
