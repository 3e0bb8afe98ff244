/*
 * Machine memory: one 16-byte entry per MPN, and a buddy allocator over all usable memory.
 * Everything usable is mapped, writable and not executable, in the direct map.
 */
#ifndef MACHINE_FRAME_H
#define MACHINE_FRAME_H

#include "lib/types.h"

#define FRAME_ORDER_4K 0
#define FRAME_ORDER_2M 9
#define FRAME_ORDER_1G 18

/* On the host, where tests drive the code above this, an MPN is a host address >> 12. */
#if __STDC_HOSTED__
#define DIRECT_MAP_BASE 0ul
#else
#define DIRECT_MAP_BASE 0xffff800000000000ul
#endif

enum frame_owner {
    FRAME_RESERVED, /* not ours to give: firmware, devices, holes */
    FRAME_FREE,
    FRAME_HYPERVISOR, /* image, tables, structures */
    FRAME_MODULE,     /* a boot module */
    FRAME_GUEST,      /* mapped by a VM */
    FRAME_EPT,        /* an EPT table of a VM */
};

struct frame {
    uint8_t owner; /* enum frame_owner */
    uint8_t order; /* of the block that starts here; 0xff inside a block */
    bool clean;    /* a free block that is known to be all zeroes */
    uint8_t reserved;
    uint32_t vm; /* owning VM's id for FRAME_GUEST and FRAME_EPT */
    union {
        struct {
            uint32_t next, prev; /* while free: the free list of its order */
        };
        uint64_t ppn; /* while FRAME_GUEST: where it is mapped */
    };
};
_Static_assert(sizeof(struct frame) == 16, "the frame table costs 16 bytes a page");

struct frame_stats {
    uint64_t total; /* pages that the allocator was given */
    uint64_t free;  /* of those, free now */
    uint64_t clean; /* of the free ones, known to be zero */
    uint64_t by_owner[6];
};

/* Flags of frame_alloc. */
#define FRAME_ZERO BIT(0) /* all zeroes (taken from the clean ones when there are some) */

/*
 * 2^order frames, aligned to their size, owned by owner. Returns MPN_NONE when there is no such
 * block. Any CPU; takes the allocator's lock.
 */
mpn_t frame_alloc(unsigned order, enum frame_owner owner, unsigned flags);
/* The same without clearing: *clean says whether it is known to be zero, which is preferred. */
mpn_t frame_alloc_as_is(unsigned order, enum frame_owner owner, bool *clean);
/* Gives back a block exactly as it was got, or a part of it after frame_split. */
void frame_free(mpn_t mpn, unsigned order);
/* Makes 2^order single frames of an allocated block, which are then freed one by one. */
void frame_split(mpn_t mpn, unsigned order);
/* The entry of a frame, or NULL when mpn is beyond the table. */
struct frame *frame_get(mpn_t mpn);
/* The same without a check, for a frame that was just allocated. */
extern struct frame *frame_entries;
static inline struct frame *frame_entry(mpn_t mpn)
{
    return &frame_entries[mpn.v];
}
/* Clears up to pages free pages that are not known to be clean; returns how many it cleared. */
uint64_t frame_scrub(uint64_t pages);
struct frame_stats frame_stats(void);
/* Whether at least one part in so many (a power of two) of the memory is free. No lock. */
bool frame_plenty(unsigned part);
/* Recounts every frame and free list; asserts that they agree. */
void frame_audit(void);

/* The direct map. */
static inline void *hpa_ptr(hpa_t a)
{
    return (void *)(DIRECT_MAP_BASE + a.v);
}
static inline void *mpn_ptr(mpn_t m)
{
    return hpa_ptr(mpn_hpa(m));
}
static inline hpa_t ptr_hpa(const void *p)
{
    return HPA((uintptr_t)p - DIRECT_MAP_BASE);
}

/* Small objects of the hypervisor's own (rounded up to whole frames above 2 KiB); zeroed. */
void *heap_alloc(size_t bytes);
void heap_free(void *p);

#endif
