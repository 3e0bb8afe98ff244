/* One line to the hypervisor's log (serial console, screen, log ring). Hosts tests: stderr. */
#ifndef LIB_LOG_H
#define LIB_LOG_H

#include <stdarg.h>
#include "lib/types.h"

/* Prints one line; the newline is added. May be called from any context. */
void log_line(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_line_v(const char *fmt, va_list args) PRINTF_LIKE(1, 0);

#endif
