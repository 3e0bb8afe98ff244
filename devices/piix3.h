/*
 * The PCI-ISA bridge at slot 1 of the PCI bus (Intel 82371SB, data sheet 290550): function 0 with
 * the routing of the bus's interrupt lines to ISA IRQs. The slot's other functions are devices of
 * their own: IDE is function 1, power management function 3.
 */
#ifndef DEVICES_PIIX3_H
#define DEVICES_PIIX3_H

#include "lib/types.h"

#define PIIX3_SLOT         1
#define PIIX3_FUNCTION_IDE 1
#define PIIX3_FUNCTION_PM  3

struct piix3;

/* Level of interrupt line 0 to 3 of the bus (PIRQA# to PIRQD#). */
void piix3_set_pirq(struct piix3 *p, unsigned line, bool level);

#endif
