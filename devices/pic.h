/* Two 8259A interrupt controllers, cascaded (Intel 8259A data sheet), with ELCR. */
#ifndef DEVICES_PIC_H
#define DEVICES_PIC_H

#include "devices/device.h"

struct pic;

/* Level of input irq (0 to 15). */
void pic_set_irq(struct pic *p, unsigned irq, bool level);
/* Whether the INT output is up. */
bool pic_output(const struct pic *p);
/* The interrupt acknowledge cycle: takes the highest request and returns its vector. */
uint8_t pic_acknowledge(struct pic *p);

#endif
