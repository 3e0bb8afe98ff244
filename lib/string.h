/* The C library's string functions that we use; on the host they are the host's own. */
#ifndef LIB_STRING_H
#define LIB_STRING_H

#include "lib/types.h"

#if __STDC_HOSTED__
#include <string.h>
#else
void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
#endif

/*
 * Copies src into dst[size], always terminated. Returns false if it was cut short.
 */
bool string_copy(char *dst, size_t size, const char *src);

#endif
