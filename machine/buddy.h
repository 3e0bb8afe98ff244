/*
 * The buddy allocator over an array of frame entries: no locks, no memory of its own, so that it
 * also builds on the host. Blocks known to be zero ("clean") are on lists of their own; two free
 * buddies merge at once when both are clean or both are not. Mixed pairs stay apart, or scrubbing
 * would undo itself; buddy_alloc merges them (giving up what was known) when a request fails.
 */
#ifndef MACHINE_BUDDY_H
#define MACHINE_BUDDY_H

#include "lib/types.h"
#include "machine/frame.h"

#define BUDDY_ORDERS (FRAME_ORDER_1G + 1)
#define BUDDY_INSIDE 0xff /* order of a frame that no block starts at */
#define BUDDY_NONE   UINT32_MAX

struct buddy {
    struct frame *frames; /* entry n is frame n */
    uint32_t n;
    uint32_t heads[2][32]; /* free lists by order: not clean, clean */
    uint32_t filled[2];    /* bit n: heads[][n] is not empty */
    struct frame_stats stats;
};

/* All n entries must be zero (FRAME_RESERVED). */
void buddy_init(struct buddy *b, struct frame *frames, uint32_t n);
/* Gives frames [start, end) to the allocator: free, or in use by owner. */
void buddy_add(struct buddy *b, uint32_t start, uint32_t end, enum frame_owner owner);
/*
 * A block of 2^order frames for owner, BUDDY_NONE if there is none. Prefers what is clean when
 * want_clean says so, what is not otherwise; *clean tells which it was.
 */
uint32_t buddy_alloc(struct buddy *b, unsigned order, enum frame_owner owner, bool want_clean,
                     bool *clean);
void buddy_free(struct buddy *b, uint32_t frame, unsigned order, bool clean);
void buddy_split(struct buddy *b, uint32_t frame, unsigned order);
/*
 * Takes a block that is not clean, of max_order at most, to be cleared and then freed as clean;
 * BUDDY_NONE when all free memory is clean.
 */
uint32_t buddy_take_dirty(struct buddy *b, unsigned max_order, unsigned *order);
/* Recounts everything; asserts that entries, lists and statistics agree. */
void buddy_audit(const struct buddy *b);

#endif
