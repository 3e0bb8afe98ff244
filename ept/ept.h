/*
 * The pmap of one VM, PPN -> MPN, kept as the EPT tables themselves (SDM vol. 3 section 29.3).
 *
 * Each leaf entry carries a page kind in bits that the hardware ignores (55:52), so that one walk
 * tells everything there is to know about a guest page. A kind that is not mapped keeps its 40-bit
 * payload (a swap slot, say) where the MPN would be.
 *
 * Invalidation is by generation: whoever removes or narrows a mapping bumps the generation; each
 * CPU compares it with the one it last flushed before it enters the guest (ept_stale), and
 * ept_flush waits for the CPUs that are inside.
 */
#ifndef EPT_EPT_H
#define EPT_EPT_H

#include "lib/spinlock.h"
#include "lib/types.h"

enum ept_kind {
    EPT_ABSENT,     /* never touched: nothing behind it */
    EPT_ZERO,       /* reads as zero, through the zero page */
    EPT_PRIVATE,    /* an own frame */
    EPT_SHARED,     /* a shared frame, copy-on-write */
    EPT_BALLOONED,  /* given up by the guest's balloon driver */
    EPT_COMPRESSED, /* payload: where in the compression pool */
    EPT_SWAPPED,    /* payload: swap slot */
    EPT_DEVICE,     /* a page that is not RAM: the APIC-access page */
    EPT_VOID,       /* nothing is there: reads as all ones, through one page for all VMs */
    EPT_ROM,        /* the firmware's: its ROM, or RAM that shadows it (vm/firmware.c) */
    EPT_NR_KINDS,
};

#define EPT_READ    BIT(0)
#define EPT_WRITE   BIT(1)
#define EPT_EXEC    BIT(2)
#define EPT_RW      (EPT_READ | EPT_WRITE)
#define EPT_RWX     (EPT_READ | EPT_WRITE | EPT_EXEC)
#define EPT_TYPE_UC 0u
#define EPT_TYPE_WB 6u

#define EPT_ORDER_4K 0
#define EPT_ORDER_2M 9
#define EPT_ORDER_1G 18

/* The highest guest-physical address + 1 that four levels map. */
#define EPT_LIMIT BIT(48)

#define EPT_MAX_CPUS 64

struct ept_caps {
    bool large_2m, large_1g;
    bool accessed_dirty;
    bool execute_only;
};

struct ept {
    mpn_t root;
    struct ept_caps caps;
    uint32_t vm;                    /* owner id, for the frame table */
    struct spinlock lock;           /* held by the callers of everything that changes entries */
    uint64_t generation;            /* bumped when a mapping is removed or narrowed */
    uint64_t flushed[EPT_MAX_CPUS]; /* the generation that each CPU last flushed at */
    void (*changed)(struct ept *e); /* called after the generation was bumped; may be NULL */
    uint64_t tables;                /* pages of tables, the root included */
    uint64_t pages[EPT_NR_KINDS];   /* guest pages of each kind, in 4 KiB; absent is not counted */
};

/* What one walk found. */
struct ept_mapping {
    enum ept_kind kind;
    unsigned order;   /* of the mapping, or of the hole for EPT_ABSENT */
    mpn_t mpn;        /* of the page asked for (not of the large page's start), if it is mapped */
    uint64_t payload; /* of a kind that is not mapped */
    unsigned access;  /* EPT_READ... ; 0 if not mapped */
    bool accessed, dirty;
};

/* 0 or E_NOMEM. */
MUST_CHECK int ept_init(struct ept *e, const struct ept_caps *caps, uint32_t vm);
/* Frees the tables. Guest frames are given to release, one mapping at a time. */
void ept_destroy(struct ept *e,
                 void (*release)(void *opaque, enum ept_kind kind, mpn_t mpn, unsigned order),
                 void *opaque);

/* The EPTP for the VMCS (SDM table 25-9). */
uint64_t ept_pointer(const struct ept *e);

struct ept_mapping ept_lookup(const struct ept *e, gpa_t gpa);

/* Where a page that is absent would be mapped: good until something changes the tables. */
struct ept_hole {
    uint64_t *entry;
    unsigned order; /* of the hole */
};
/* False: gpa is not absent (or beyond EPT_LIMIT). */
MUST_CHECK bool ept_find_hole(const struct ept *e, gpa_t gpa, struct ept_hole *hole);
/*
 * ept_map into a hole, which must be at least of that order, without looking again what is there.
 * gpa is the start of what is mapped, aligned to the order. 0 or E_NOMEM (no table).
 */
MUST_CHECK int ept_fill(struct ept *e, const struct ept_hole *hole, gpa_t gpa, mpn_t mpn,
                        unsigned order, enum ept_kind kind, unsigned access, unsigned type);

/*
 * Maps 2^order pages at gpa, which must be absent (or unmapped of another kind). gpa and mpn are
 * aligned to the order. E_NOMEM (no table), E_EXIST (something is mapped in the range), E_INVAL
 * (order not offered, misaligned, beyond EPT_LIMIT).
 */
MUST_CHECK int ept_map(struct ept *e, gpa_t gpa, mpn_t mpn, unsigned order, enum ept_kind kind,
                       unsigned access, unsigned type);
/*
 * Unmaps what is mapped at gpa with exactly that order, leaving kind and payload. Returns the MPN
 * that was there, or MPN_NONE. The caller calls ept_flush before the frame is used again.
 */
mpn_t ept_unmap(struct ept *e, gpa_t gpa, unsigned order, enum ept_kind left, uint64_t payload);
/* Changes kind and access of a mapping in place; ept_flush must follow if access was narrowed. */
MUST_CHECK int ept_change(struct ept *e, gpa_t gpa, unsigned order, enum ept_kind kind,
                          unsigned access);
/* A large mapping becomes 512 of the next smaller order. E_NOMEM, E_NOENT. */
MUST_CHECK int ept_split(struct ept *e, gpa_t gpa, unsigned order);
/*
 * 512 mappings of frames in a row, all of one kind and access, become one of order. E_INVAL when
 * they are not like that. ept_flush must follow.
 */
MUST_CHECK int ept_merge(struct ept *e, gpa_t gpa, unsigned order);
/* Whether the page was touched since the last call; clears the bit. Needs accessed_dirty. */
bool ept_test_and_clear_accessed(struct ept *e, gpa_t gpa);

/*
 * True when this CPU must flush (INVEPT) before it enters a guest of this EPT; notes that it has.
 * The caller has already made visible that it is about to enter.
 */
static inline bool ept_stale(struct ept *e, unsigned cpu)
{
    uint64_t now = __atomic_load_n(&e->generation, __ATOMIC_SEQ_CST);

    if (likely(e->flushed[cpu] == now))
        return false;
    e->flushed[cpu] = now;
    return true;
}
/* Mappings were removed or narrowed: every CPU must flush before its next entry. */
static inline void ept_bump(struct ept *e)
{
    __atomic_fetch_add(&e->generation, 1, __ATOMIC_SEQ_CST);
    if (e->changed != NULL)
        e->changed(e);
}

/* Recounts all entries, asserts that tables and counters agree, and calls visit for each leaf. */
void ept_audit(const struct ept *e,
               void (*visit)(void *opaque, gpa_t gpa, const struct ept_mapping *m), void *opaque);

#endif
