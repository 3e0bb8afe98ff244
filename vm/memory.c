/* A VM's memory: given on first touch, in 2 MiB pages where alignment and plenty allow. */
#include "lib/assert.h"
#include "lib/string.h"
#include "machine/frame.h"
#include "vm/vm.h"
#include "vmx/caps.h"

/* Large pages only while at least one part in so many of the machine's memory is free. */
#define PLENTY_PART 8

/* With firmware, what is there below 1 MiB changes: vm/firmware.c has it. */
static void remove_bios_area(struct vm *vm)
{
    unsigned n = 0;

    for (unsigned i = 0; i < vm->nr_regions; i++)
        if (vm->regions[i].start.v != GUEST_BIOS_START)
            vm->regions[n++] = vm->regions[i];
    vm->nr_regions = n;
}

int vm_memory_init(struct vm *vm)
{
    int error = ept_init(&vm->ept, &vmx_caps.ept, vm->id);

    if (error != 0)
        return error;
    vm->ept.changed = vm_ept_changed;
    vm->nr_regions = guest_ram_regions(vm->config.memory, vm->regions);
    if (vm->config.firmware[0] != '\0')
        remove_bios_area(vm);
    return 0;
}

static void release(UNUSED void *opaque, enum ept_kind kind, mpn_t mpn, unsigned order)
{
    ASSERT(kind == EPT_PRIVATE || kind == EPT_DEVICE || kind == EPT_VOID || kind == EPT_ROM);
    if (kind == EPT_PRIVATE || kind == EPT_DEVICE)
        frame_free(mpn, order);
}

/*
 * How many frames a VM takes at a time: more than one only while there is plenty, and then no more
 * than a part in SPARE_PART of its memory.
 */
#define SPARE_PART      512
#define SPARE_ORDER_MAX 6

static unsigned spare_order(const struct vm *vm)
{
    uint64_t pages = vm->config.memory / PAGE_SIZE / SPARE_PART;

    if (pages == 0 || !frame_plenty(PLENTY_PART))
        return FRAME_ORDER_4K;
    return MIN(63 - (unsigned)__builtin_clzl(pages), (unsigned)SPARE_ORDER_MAX);
}

static bool spare_refill(struct vm *vm)
{
    unsigned order = spare_order(vm);
    struct vm_spare *s = &vm->spare;

    s->next = frame_alloc_as_is(order, FRAME_GUEST, &s->clean);
    if (mpn_is_none(s->next) && order > 0) {
        order = FRAME_ORDER_4K;
        s->next = frame_alloc_as_is(order, FRAME_GUEST, &s->clean);
    }
    if (mpn_is_none(s->next))
        return false;
    frame_get(s->next)->vm = vm->id;
    frame_get(s->next)->ppn = UINT64_MAX; /* nowhere yet */
    if (order > 0)
        frame_split(s->next, order);
    s->left = 1u << order;
    return true;
}

static inline mpn_t spare_take(struct vm *vm)
{
    struct vm_spare *s = &vm->spare;
    mpn_t mpn = s->next;

    s->next.v++;
    s->left--;
    return mpn;
}

void vm_memory_destroy(struct vm *vm)
{
    ept_destroy(&vm->ept, release, NULL);
    while (vm->spare.left > 0)
        frame_free(spare_take(vm), FRAME_ORDER_4K);
}

static bool fits_large(const struct vm *vm, const struct guest_region *r, gpa_t gpa)
{
    uint64_t start = ALIGN_DOWN(gpa.v, LARGE_SIZE);

    return vm->ept.caps.large_2m && start >= r->start.v &&
           start + LARGE_SIZE <= r->start.v + r->size && frame_plenty(PLENTY_PART);
}

/* Puts 2^order frames behind gpa; they go back when there is no memory for a table. */
static inline bool fill(struct vm *vm, const struct ept_hole *hole, gpa_t gpa, mpn_t mpn,
                        unsigned order)
{
    gpa_t start = GPA(ALIGN_DOWN(gpa.v, PAGE_SIZE << order));
    struct frame *f = frame_entry(mpn);

    if (ept_fill(&vm->ept, hole, start, mpn, order, EPT_PRIVATE, EPT_RWX, EPT_TYPE_WB) != 0) {
        frame_free(mpn, order);
        return false;
    }
    f->vm = vm->id;
    f->ppn = gpa_ppn(start).v;
    return true;
}

static inline bool fill_large(struct vm *vm, const struct ept_hole *hole, gpa_t gpa)
{
    mpn_t mpn = frame_alloc(FRAME_ORDER_2M, FRAME_GUEST, FRAME_ZERO);

    return !mpn_is_none(mpn) && fill(vm, hole, gpa, mpn, EPT_ORDER_2M);
}

static bool fill_small(struct vm *vm, const struct ept_hole *hole, gpa_t gpa)
{
    mpn_t mpn;

    if (unlikely(vm->spare.left == 0) && !spare_refill(vm))
        return false;
    mpn = spare_take(vm);
    if (unlikely(!vm->spare.clean))
        memset(mpn_ptr(mpn), 0, PAGE_SIZE);
    return fill(vm, hole, gpa, mpn, EPT_ORDER_4K);
}

bool vm_populate_region(struct vm *vm, const struct guest_region *r, gpa_t gpa)
{
    struct ept_hole hole;
    bool done = true; /* another vCPU may have been first */

    spin_lock(&vm->ept.lock);
    if (likely(ept_find_hole(&vm->ept, gpa, &hole)))
        done =
            (hole.order >= EPT_ORDER_2M && fits_large(vm, r, gpa) && fill_large(vm, &hole, gpa)) ||
            fill_small(vm, &hole, gpa);
    spin_unlock(&vm->ept.lock);
    return done;
}

/* The page behind everything that is not there. Made when first needed, never given back. */
static mpn_t void_page(void)
{
    static mpn_t page = {UINT64_MAX};
    static struct spinlock lock = SPINLOCK_INIT;

    spin_lock(&lock);
    if (mpn_is_none(page)) {
        page = frame_alloc(FRAME_ORDER_4K, FRAME_HYPERVISOR, 0);
        if (!mpn_is_none(page))
            memset(mpn_ptr(page), 0xff, PAGE_SIZE);
    }
    spin_unlock(&lock);
    return page;
}

bool vm_map_void(struct vm *vm, gpa_t gpa)
{
    gpa_t start = GPA(ALIGN_DOWN(gpa.v, PAGE_SIZE));
    mpn_t page;
    int error;

    if (gpa.v < GUEST_ROM_START || gpa.v >= GUEST_BIOS_START ||
        bus_find_memory(vm->machine.bus, start, &(struct bus_range){0}))
        return false;
    page = void_page();
    if (mpn_is_none(page))
        return false;
    spin_lock(&vm->ept.lock);
    error = ept_map(&vm->ept, start, page, EPT_ORDER_4K, EPT_VOID, EPT_READ, EPT_TYPE_WB);
    spin_unlock(&vm->ept.lock);
    return error == 0;
}

/* What is mapped at gpa, put there first if it is RAM. */
static struct ept_mapping get_mapping(struct vm *vm, gpa_t gpa)
{
    struct ept_mapping m = ept_lookup(&vm->ept, gpa);

    if (mpn_is_none(m.mpn) && vm_is_ram(vm, gpa) && vm_populate(vm, gpa))
        m = ept_lookup(&vm->ept, gpa);
    return m;
}

static void *mapped_pointer(const struct ept_mapping *m, gpa_t gpa)
{
    return (uint8_t *)mpn_ptr(m->mpn) + gpa.v % PAGE_SIZE;
}

void *vm_pointer(struct vm *vm, gpa_t gpa)
{
    struct ept_mapping m;

    if (vm_firmware_owns(vm, gpa))
        return vm_firmware_pointer(vm, gpa);
    m = get_mapping(vm, gpa);
    if (mpn_is_none(m.mpn) || m.kind == EPT_DEVICE || m.kind == EPT_VOID || m.kind == EPT_ROM)
        return NULL;
    return mapped_pointer(&m, gpa);
}

const void *vm_pointer_read(struct vm *vm, gpa_t gpa)
{
    struct ept_mapping m = get_mapping(vm, gpa);

    return mpn_is_none(m.mpn) || m.kind == EPT_DEVICE ? NULL : mapped_pointer(&m, gpa);
}

/* Reading what was never touched gives zeroes and puts nothing there. */
static bool read_part(struct vm *vm, gpa_t from, void *to, size_t n)
{
    struct ept_mapping m = ept_lookup(&vm->ept, from);

    if (!vm_is_ram(vm, from) && m.kind != EPT_ROM)
        return false;
    if (mpn_is_none(m.mpn))
        memset(to, 0, n);
    else
        memcpy(to, (uint8_t *)mpn_ptr(m.mpn) + from.v % PAGE_SIZE, n);
    return true;
}

static bool write_part(struct vm *vm, gpa_t to, const void *from, size_t n)
{
    void *p = vm_pointer(vm, to);

    if (p == NULL)
        return false;
    memcpy(p, from, n);
    return true;
}

bool vm_read(struct vm *vm, gpa_t from, void *to, size_t n)
{
    while (n > 0) {
        size_t part = MIN(n, PAGE_SIZE - from.v % PAGE_SIZE);

        if (!read_part(vm, from, to, part))
            return false;
        from.v += part;
        to = (uint8_t *)to + part;
        n -= part;
    }
    return true;
}

bool vm_write(struct vm *vm, gpa_t to, const void *from, size_t n)
{
    while (n > 0) {
        size_t part = MIN(n, PAGE_SIZE - to.v % PAGE_SIZE);

        if (!write_part(vm, to, from, part))
            return false;
        to.v += part;
        from = (const uint8_t *)from + part;
        n -= part;
    }
    return true;
}
