/* What the hypervisor gives to pure code, given by the host: log, assertions. */
#include <stdio.h>
#include <stdlib.h>
#include "lib/assert.h"
#include "lib/log.h"

void assert_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, what);
    abort();
}

void log_line_v(const char *fmt, va_list args)
{
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
}

void log_line(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    log_line_v(fmt, args);
    va_end(args);
}
