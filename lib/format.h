/*
 * Formatted text without a C library: %d %i %u %x %X %o %c %s %p %% with flags "-0+ #", width,
 * precision (also "*"), and the length modifiers hh h l ll z j t. No floating point.
 */
#ifndef LIB_FORMAT_H
#define LIB_FORMAT_H

#include <stdarg.h>
#include "lib/types.h"

/*
 * As snprintf: writes at most size bytes, terminated when size > 0, and returns the length that
 * the whole text has.
 */
size_t format_text(char *buf, size_t size, const char *fmt, ...) PRINTF_LIKE(3, 4);
size_t format_text_v(char *buf, size_t size, const char *fmt, va_list args) PRINTF_LIKE(3, 0);

#endif
