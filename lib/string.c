#include "lib/string.h"

/*
 * REP MOVS/STOS: on every CPU with VT-x the microcode moves whole cache lines, and the copies
 * that matter here are of pages.
 */
#if !__STDC_HOSTED__
void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
    void *d = dst;
    size_t words = n / 8, rest = n % 8;

    __asm__ volatile("rep movsq" : "+D"(d), "+S"(src), "+c"(words)::"memory");
    __asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(rest)::"memory");
    return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
    char *d = dst;
    const char *s = src;

    if ((uintptr_t)d - (uintptr_t)s >= n)
        return memcpy(dst, src, n);
    while (n-- > 0)
        d[n] = s[n];
    return dst;
}

void *memset(void *dst, int c, size_t n)
{
    void *d = dst;
    size_t words = n / 8, rest = n % 8;
    uint64_t fill = 0x0101010101010101ull * (uint8_t)c;

    __asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(fill) : "memory");
    __asm__ volatile("rep stosb" : "+D"(d), "+c"(rest) : "a"(fill) : "memory");
    return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *x = a, *y = b;

    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i])
            return x[i] - y[i];
    return 0;
}

size_t strlen(const char *s)
{
    size_t n = 0;

    while (s[n] != '\0')
        n++;
    return n;
}

int strcmp(const char *a, const char *b)
{
    return strncmp(a, b, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t n)
{
    for (; n > 0; a++, b++, n--) {
        if (*a != *b)
            return (uint8_t)*a - (uint8_t)*b;
        if (*a == '\0')
            break;
    }
    return 0;
}

char *strchr(const char *s, int c)
{
    for (;; s++) {
        if (*s == (char)c)
            return (char *)(uintptr_t)s;
        if (*s == '\0')
            return NULL;
    }
}
#endif

bool string_copy(char *dst, size_t size, const char *src)
{
    size_t n = strlen(src), fit = MIN(n, size - 1);

    memcpy(dst, src, fit);
    dst[fit] = '\0';
    return fit == n;
}
