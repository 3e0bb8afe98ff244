/*
 * The frame table and its lock around the buddy allocator (machine/buddy.c). The table lies in
 * RAM itself, at the end of the largest range; entry n is MPN n.
 */
#include "lib/assert.h"
#include "lib/log.h"
#include "lib/spinlock.h"
#include "lib/string.h"
#include "machine/buddy.h"
#include "machine/cpu.h"
#include "machine/frame.h"
#include "machine/frame_init.h"
#include "machine/image.h"
#include "machine/paging.h"
#include "machine/panic.h"

/* MPNs are 32 bits wide in the table. */
#define RAM_LIMIT   (BUDDY_NONE * PAGE_SIZE)
#define EARLY_LIMIT GIB(4)
#define LOW_LIMIT   MIB(1)
#define MIN_MEMORY  MIB(16)

static struct memmap ram;       /* everything that is RAM */
static struct memmap boot_free; /* of that, what nobody uses yet; until frame_init */
static hpa_t low_page;          /* for AP start-up */
static struct buddy buddy;
static struct spinlock lock = SPINLOCK_INIT;

/* ------------------------------------------------------------ before the allocator */

static uint64_t image_hpa(const char *p)
{
    return (uintptr_t)p - IMAGE_BASE;
}

static uint64_t ram_limit(void)
{
    unsigned bits = cpuid(0x80000000, 0).eax >= 0x80000008 ? cpuid(0x80000008, 0).eax & 0xff : 36;

    return MIN(BIT(MIN(bits, 52u)), (uint64_t)RAM_LIMIT);
}

/* Memory below 1 MiB is used for nothing else: real mode starts there, and firmware is near. */
static bool reserve_low(void)
{
    uint64_t at;

    /* Page 0 holds the BIOS data area. */
    if (!memmap_remove(&boot_free, 0, PAGE_SIZE))
        return false;
    at = memmap_take(&boot_free, PAGE_SIZE, PAGE_SIZE, LOW_LIMIT);
    low_page = HPA(at == UINT64_MAX ? 0 : at);
    return memmap_remove(&boot_free, 0, LOW_LIMIT);
}

void frame_early_init(void)
{
    const struct bootinfo *b = bootinfo();
    bool ok = memmap_usable(&ram, b, ram_limit());

    boot_free = ram;
    ok &= memmap_remove(&boot_free, image_hpa(image_start), image_hpa(image_end));
    for (unsigned i = 0; i < b->nr_modules; i++)
        ok &= memmap_remove(&boot_free, b->modules[i].start.v,
                            b->modules[i].start.v + b->modules[i].size);
    ok &= reserve_low();
    if (!ok || b->ranges_dropped > 0)
        log_line("memory: the loader's map is too long; some of it is not used");
    if (memmap_size(&boot_free) < MIN_MEMORY)
        fatal("too little memory: %lu KiB are left, %lu MiB are needed",
              memmap_size(&boot_free) / 1024, (unsigned long)(MIN_MEMORY / MIB(1)));
}

const struct memmap *frame_ram(void)
{
    return &ram;
}

hpa_t frame_table_page(void)
{
    uint64_t at;

    if (buddy.n > 0) {
        mpn_t m = frame_alloc(0, FRAME_HYPERVISOR, FRAME_ZERO);

        if (mpn_is_none(m))
            panic("no memory for page tables");
        return mpn_hpa(m);
    }
    at = memmap_take(&boot_free, PAGE_SIZE, PAGE_SIZE, EARLY_LIMIT);
    if (at == UINT64_MAX)
        fatal("no memory for page tables");
    memset(hpa_ptr(HPA(at)), 0, PAGE_SIZE);
    return HPA(at);
}

hpa_t frame_low_page(void)
{
    return low_page;
}

/* ------------------------------------------------------------ setting up */

/* What is RAM above 1 MiB, and neither free nor a module, is ours: image, page tables, frames. */
static void add_used(void)
{
    const struct bootinfo *b = bootinfo();
    struct memmap *used = &ram; /* not needed as it was, from here on */
    bool ok = memmap_remove(used, 0, LOW_LIMIT);

    for (unsigned i = 0; i < boot_free.n; i++)
        ok &= memmap_remove(used, boot_free.ranges[i].start, boot_free.ranges[i].end);
    ASSERT(ok);
    for (unsigned i = 0; i < b->nr_modules; i++) {
        const struct boot_module *m = &b->modules[i];
        uint64_t start = ALIGN_DOWN(m->start.v, PAGE_SIZE);

        for (uint64_t at = start; at < m->start.v + m->size; at += PAGE_SIZE) {
            bool is_ram = false;

            for (unsigned k = 0; k < used->n; k++)
                is_ram |= at >= used->ranges[k].start && at < used->ranges[k].end;
            if (!is_ram)
                continue; /* two modules in one page, or not in RAM */
            buddy_add(&buddy, (uint32_t)(at >> PAGE_SHIFT), (uint32_t)(at >> PAGE_SHIFT) + 1,
                      FRAME_MODULE);
            ok &= memmap_remove(used, at, at + PAGE_SIZE);
        }
    }
    ASSERT(ok);
    for (unsigned i = 0; i < used->n; i++)
        buddy_add(&buddy, (uint32_t)(used->ranges[i].start >> PAGE_SHIFT),
                  (uint32_t)(used->ranges[i].end >> PAGE_SHIFT), FRAME_HYPERVISOR);
}

void frame_init(void)
{
    uint32_t n = (uint32_t)(ram.ranges[ram.n - 1].end >> PAGE_SHIFT);
    uint64_t size = ALIGN_UP(n * sizeof(struct frame), PAGE_SIZE);
    uint64_t at = memmap_take(&boot_free, size, PAGE_SIZE, UINT64_MAX);

    if (at == UINT64_MAX)
        fatal("no memory for the frame table (%lu KiB)", size / 1024);
    memset(hpa_ptr(HPA(at)), 0, size);
    frame_entries = hpa_ptr(HPA(at));
    buddy_init(&buddy, frame_entries, n);
    for (unsigned i = 0; i < boot_free.n; i++)
        buddy_add(&buddy, (uint32_t)(boot_free.ranges[i].start >> PAGE_SHIFT),
                  (uint32_t)(boot_free.ranges[i].end >> PAGE_SHIFT), FRAME_FREE);
    add_used();
}

/* ------------------------------------------------------------ the allocator */

struct frame *frame_entries;

mpn_t frame_alloc_as_is(unsigned order, enum frame_owner owner, bool *clean)
{
    uint32_t at;

    spin_lock(&lock);
    at = buddy_alloc(&buddy, order, owner, true, clean);
    spin_unlock(&lock);
    return at == BUDDY_NONE ? MPN_NONE : MPN(at);
}

static __attribute__((noinline)) mpn_t cleared(mpn_t mpn, unsigned order)
{
    memset(mpn_ptr(mpn), 0, PAGE_SIZE << order);
    return mpn;
}

mpn_t frame_alloc(unsigned order, enum frame_owner owner, unsigned flags)
{
    bool clean = false;
    uint32_t at;

    spin_lock(&lock);
    at = buddy_alloc(&buddy, order, owner, flags & FRAME_ZERO, &clean);
    spin_unlock(&lock);
    if (unlikely(at == BUDDY_NONE))
        return MPN_NONE;
    return (flags & FRAME_ZERO) && !clean ? cleared(MPN(at), order) : MPN(at);
}

void frame_free(mpn_t mpn, unsigned order)
{
    ASSERT(mpn.v < buddy.n);
    spin_lock(&lock);
    buddy_free(&buddy, (uint32_t)mpn.v, order, false);
    spin_unlock(&lock);
}

void frame_split(mpn_t mpn, unsigned order)
{
    ASSERT(mpn.v < buddy.n);
    spin_lock(&lock);
    buddy_split(&buddy, (uint32_t)mpn.v, order);
    spin_unlock(&lock);
}

struct frame *frame_get(mpn_t mpn)
{
    return mpn.v < buddy.n ? &buddy.frames[mpn.v] : NULL;
}

/* The largest order that is not more than pages. */
static unsigned order_within(uint64_t pages)
{
    return 63 - (unsigned)__builtin_clzll(pages);
}

uint64_t frame_scrub(uint64_t pages)
{
    uint64_t done = 0;

    while (done < pages) {
        unsigned order, max = MIN(order_within(pages - done), (unsigned)FRAME_ORDER_2M);
        uint32_t at;

        spin_lock(&lock);
        at = buddy_take_dirty(&buddy, max, &order);
        spin_unlock(&lock);
        if (at == BUDDY_NONE)
            break;
        memset(mpn_ptr(MPN(at)), 0, PAGE_SIZE << order);
        spin_lock(&lock);
        buddy_free(&buddy, at, order, true);
        spin_unlock(&lock);
        done += BIT(order);
    }
    return done;
}

struct frame_stats frame_stats(void)
{
    struct frame_stats s;

    spin_lock(&lock);
    s = buddy.stats;
    spin_unlock(&lock);
    return s;
}

bool frame_plenty(unsigned part)
{
    return __atomic_load_n(&buddy.stats.free, __ATOMIC_RELAXED) >= buddy.stats.total >>
           __builtin_ctz(part);
}

/* Every clean block's first words are looked at: all of them would take too long. */
static void audit_clean(void)
{
    for (unsigned order = 0; order < BUDDY_ORDERS; order++)
        for (uint32_t at = buddy.heads[1][order]; at != BUDDY_NONE; at = buddy.frames[at].next)
            for (unsigned i = 0; i < 8; i++)
                ASSERT(((const uint64_t *)mpn_ptr(MPN(at)))[i] == 0);
}

void frame_audit(void)
{
    spin_lock(&lock);
    buddy_audit(&buddy);
    audit_clean();
    spin_unlock(&lock);
}
