/*
 * Machine frames for code that is tested on the host: memory from the C library, in pages. An MPN
 * is a host address >> 12 (DIRECT_MAP_BASE is 0 there).
 */
#ifndef TESTS_FAKE_FRAMES_H
#define TESTS_FAKE_FRAMES_H

#include "machine/frame.h"

#define FAKE_FRAMES_NO_LIMIT UINT64_MAX

/* From now on only so many allocations succeed. */
void fake_frames_limit(uint64_t allocations);
/* Blocks that were allocated and not freed yet. */
uint64_t fake_frames_used(void);

#endif
