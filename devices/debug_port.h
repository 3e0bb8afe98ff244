/* Port 0x80 and its like (devices/debug_port.c). */
#ifndef DEVICES_DEBUG_PORT_H
#define DEVICES_DEBUG_PORT_H

#include "lib/types.h"

struct debug_port;

/* The POST code that was last written to port 0x80 since the reset; false: none was. */
bool debug_port_post(const struct debug_port *p, uint8_t *code);

#endif
