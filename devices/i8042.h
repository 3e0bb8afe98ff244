/* The keyboard controller (Intel 8042) with its keyboard and mouse. */
#ifndef DEVICES_I8042_H
#define DEVICES_I8042_H

#include "devices/machine.h"

/*
 * Keys were pressed and released: bytes of scan code set 2, as a keyboard sends them. Returns how
 * many were taken; none while the guest has turned the keyboard off.
 */
size_t i8042_keyboard_input(struct machine *m, const uint8_t *codes, size_t n);
/* Whether the guest lets address line 20 through; memory accesses do not heed it. */
bool i8042_a20(const struct machine *m);

#endif
