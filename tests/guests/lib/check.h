/*
 * What a guest kernel says on COM1, one line each:
 *   ok NAME                             a check passed
 *   FAIL NAME file:line got X want Y    it did not
 *   info NAME value                     what may differ from machine to machine
 *   skip NAME why                       not on this machine (a CPU feature it lacks)
 * and at the end `N passed, N failed`. Names are unique within a kernel; tests/guests/run compares
 * them between the bare machine and Tithe.
 */
#ifndef GUESTS_CHECK_H
#define GUESTS_CHECK_H

#include "lib/types.h"

/* Each returns whether the check passed. */
#define CHECK(name, cond) check_report(name, __FILE__, __LINE__, (cond), 0, 1)
#define CHECK_EQ(name, got, want)                                           \
    ({                                                                      \
        uint64_t got_ = (uint64_t)(got), want_ = (uint64_t)(want);          \
        check_report(name, __FILE__, __LINE__, got_ == want_, got_, want_); \
    })
/* got is within want +- percent %. */
#define CHECK_NEAR(name, got, want, percent) \
    check_near(name, __FILE__, __LINE__, (uint64_t)(got), (uint64_t)(want), percent)

bool check_report(const char *name, const char *file, int line, bool ok, uint64_t got,
                  uint64_t want);
bool check_near(const char *name, const char *file, int line, uint64_t got, uint64_t want,
                unsigned percent);
void check_info(const char *name, uint64_t value);
void check_skip(const char *name, const char *why);
/* `N passed, N failed`; then the machine goes off. */
void check_finish(void) NORETURN;

/*
 * Runs some checks, then says what they said. Lines are kept in memory until then: a character
 * takes 87 us, and that would show in whatever is timed.
 */
void check_group(void (*checks)(void));

/* COM1, by polling. Text is buffered. */
void console_init(void);
void console_print(const char *fmt, ...) PRINTF_LIKE(1, 2);
void console_flush(void);
/* Flushes, and waits until the last character has left: before COM1 is played with. */
void console_drain(void);

#endif
