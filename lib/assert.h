/*
 * Assertions: for what only our own bug can cause. What a guest, a file or a cable can cause is
 * an error, never an assertion. They stay in every build.
 */
#ifndef LIB_ASSERT_H
#define LIB_ASSERT_H

#include "lib/types.h"

/* Ends the hypervisor with registers and a backtrace (host tests: abort). */
NORETURN void assert_failed(const char *file, int line, const char *what);

#define ASSERT(cond)                                  \
    do {                                              \
        if (unlikely(!(cond)))                        \
            assert_failed(__FILE__, __LINE__, #cond); \
    } while (0)

#endif
