/* The characters of the PC's display font as Unicode (code page 437, and its graphics below 32). */
#ifndef MONITOR_CP437_H
#define MONITOR_CP437_H

#include "lib/types.h"

uint16_t cp437_unicode(uint8_t c);

#endif
