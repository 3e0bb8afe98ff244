/*
 * Ports are looked up in a two-level table of range numbers, memory in a sorted array. Not
 * locked: the VM's lock is held around every access.
 */
#include "devices/bus.h"
#include "devices/device.h"
#include "lib/assert.h"
#include "lib/checked.h"
#include "lib/string.h"

#define PORT_SPACE        0x10000u
#define PORTS_PER_PAGE    BUS_PORTS_PER_PAGE
#define PORT_PAGES        (PORT_SPACE / PORTS_PER_PAGE)
#define MAX_PORT_RANGES   128u
#define MAX_MEMORY_RANGES 128u
#define MEMORY_SPACE      BIT(52) /* no x86 has more physical address bits */

struct bus {
    struct device_host *host;
    struct bus_counters counters;
    struct bus_ports ports;
    struct bus_port nobody[PORTS_PER_PAGE];     /* the page of pages where there is nobody */
    struct bus_range port[MAX_PORT_RANGES];     /* unused ones have size 0 */
    struct bus_range memory[MAX_MEMORY_RANGES]; /* by address */
    unsigned nr_memory;
    unsigned last_hit; /* index in memory of the last range found */
};

/* Where a piece of an access goes. */
typedef const struct bus_range *(*bus_find_fn)(struct bus *b, uint64_t addr);

struct bus *bus_create(struct device_host *host)
{
    struct bus *b = host->ops->alloc(host, sizeof(*b));

    if (b == NULL)
        return NULL;
    b->host = host;
    for (unsigned i = 0; i < PORT_PAGES; i++)
        b->ports.page[i] = b->nobody;
    return b;
}

const struct bus_ports *bus_ports(const struct bus *b)
{
    return &b->ports;
}

/* A page that was made. */
static struct bus_port *port_page(struct bus *b, unsigned n)
{
    return (struct bus_port *)(uintptr_t)b->ports.page[n];
}

void bus_destroy(struct bus *b)
{
    for (unsigned i = 0; i < PORT_PAGES; i++)
        if (b->ports.page[i] != b->nobody)
            b->host->ops->free(b->host, port_page(b, i));
    b->host->ops->free(b->host, b);
}

const struct bus_counters *bus_counters(const struct bus *b)
{
    return &b->counters;
}

static bool range_has(const struct bus_range *r, uint64_t addr)
{
    return addr - r->start < r->size; /* wraps to something large below the start */
}

/* ------------------------------------------------------------------ who answers */

static const struct bus_range *port_find(struct bus *b, uint64_t port)
{
    return port >= PORT_SPACE ? NULL : bus_port_at(&b->ports, (uint16_t)port)->range;
}

/* How many ranges start at or below addr: the candidate is the one before. */
static unsigned memory_upper_bound(const struct bus *b, uint64_t addr)
{
    unsigned low = 0, high = b->nr_memory;

    while (low < high) {
        unsigned mid = (low + high) / 2;

        if (b->memory[mid].start <= addr)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static const struct bus_range *memory_find(struct bus *b, uint64_t addr)
{
    unsigned n;

    if (b->last_hit < b->nr_memory && range_has(&b->memory[b->last_hit], addr))
        return &b->memory[b->last_hit];
    n = memory_upper_bound(b, addr);
    if (n == 0 || !range_has(&b->memory[n - 1], addr))
        return NULL;
    b->last_hit = n - 1;
    return &b->memory[n - 1];
}

bool bus_find_memory(struct bus *b, gpa_t addr, struct bus_range *found)
{
    const struct bus_range *r = memory_find(b, addr.v);

    if (r != NULL)
        *found = *r;
    return r != NULL;
}

/* ------------------------------------------------------------------ registration */

static struct bus_range *port_free_slot(struct bus *b)
{
    for (unsigned i = 0; i < MAX_PORT_RANGES; i++)
        if (b->port[i].size == 0)
            return &b->port[i];
    return NULL;
}

/* The page that a port lies in is made when it is the first one there; false: no memory. */
static bool port_page_make(struct bus *b, unsigned port)
{
    const struct bus_port **page = &b->ports.page[port / PORTS_PER_PAGE];
    struct bus_port *fresh;

    if (*page != b->nobody)
        return true;
    fresh = b->host->ops->alloc(b->host, sizeof(b->nobody));
    if (fresh == NULL)
        return false;
    memcpy(fresh, b->nobody, sizeof(b->nobody));
    *page = fresh;
    return true;
}

/* The access sizes that the range takes at this port: those that end within it. */
static uint32_t sizes_at(const struct bus_range *r, unsigned port)
{
    uint64_t left = r->start + r->size - port;

    return r->ops->sizes & (left >= 4 ? 7u : left >= 2 ? 3u : 1u);
}

/* r NULL: nobody. */
static void port_fill(struct bus *b, unsigned start, unsigned count, const struct bus_range *r)
{
    for (unsigned port = start; port < start + count; port++)
        port_page(b, port / PORTS_PER_PAGE)[port % PORTS_PER_PAGE] =
            r == NULL ? b->nobody[0]
                      : (struct bus_port){r, port - (uint32_t)r->start, sizes_at(r, port)};
}

int bus_add_ports(struct bus *b, uint16_t start, unsigned count, const char *name,
                  const struct bus_ops *ops, void *opaque)
{
    struct bus_range *slot;

    if (count == 0 || !checked_range(start, count, PORT_SPACE))
        return E_RANGE;
    for (unsigned port = start; port < start + count; port++)
        if (port_find(b, port) != NULL)
            return E_EXIST;
    slot = port_free_slot(b);
    if (slot == NULL)
        return E_NOSPC;
    for (unsigned port = start; port < start + count; port++)
        if (!port_page_make(b, port))
            return E_NOMEM;
    *slot = (struct bus_range){start, count, ops, opaque, name};
    port_fill(b, start, count, slot);
    return 0;
}

void bus_remove_ports(struct bus *b, uint16_t start)
{
    const struct bus_range *r = port_find(b, start);

    if (r == NULL || r->start != start)
        return;
    port_fill(b, start, (unsigned)r->size, NULL);
    memset(&b->port[r - b->port], 0, sizeof(*r));
}

int bus_add_memory(struct bus *b, gpa_t start, uint64_t size, const char *name,
                   const struct bus_ops *ops, void *opaque)
{
    unsigned at;

    if (size == 0 || !checked_range(start.v, size, MEMORY_SPACE))
        return E_RANGE;
    at = memory_upper_bound(b, start.v);
    if (at > 0 && range_has(&b->memory[at - 1], start.v))
        return E_EXIST;
    if (at < b->nr_memory && b->memory[at].start - start.v < size)
        return E_EXIST;
    if (b->nr_memory == MAX_MEMORY_RANGES)
        return E_NOSPC;
    memmove(&b->memory[at + 1], &b->memory[at], (b->nr_memory - at) * sizeof(b->memory[0]));
    b->memory[at] = (struct bus_range){start.v, size, ops, opaque, name};
    b->nr_memory++;
    return 0;
}

void bus_remove_memory(struct bus *b, gpa_t start)
{
    const struct bus_range *r = memory_find(b, start.v);
    unsigned at;

    if (r == NULL || r->start != start.v)
        return;
    at = (unsigned)(r - b->memory);
    b->nr_memory--;
    memmove(&b->memory[at], &b->memory[at + 1], (b->nr_memory - at) * sizeof(b->memory[0]));
}

/* ------------------------------------------------------------------ accesses */

static uint64_t size_mask(unsigned size)
{
    return size >= 8 ? UINT64_MAX : BIT(8 * size) - 1;
}

/* Whether the whole access is one that the range takes as it is. */
static bool range_takes(const struct bus_range *r, uint64_t addr, unsigned size)
{
    return (r->ops->sizes & size) != 0 && r->size - (addr - r->start) >= size;
}

/* The largest access from addr on that the range takes, at most limit bytes; 0: all are wider. */
static unsigned range_piece(const struct bus_range *r, uint64_t addr, unsigned limit)
{
    uint64_t left = r->size - (addr - r->start);
    unsigned size = 8;

    while (size != 0 && (size > limit || size > left || (r->ops->sizes & size) == 0))
        size /= 2;
    return size;
}

/* One byte out of the narrowest register that the range can read. */
static uint8_t range_read_byte(const struct bus_range *r, uint64_t addr)
{
    unsigned size = r->ops->sizes & -r->ops->sizes;
    uint64_t offset = addr - r->start, aligned;

    if (size == 0)
        return UINT8_MAX;
    aligned = ALIGN_DOWN(offset, size);
    if (r->size - aligned < size)
        return UINT8_MAX;
    return (uint8_t)(r->ops->read(r->opaque, aligned, size) >> (8 * (offset - aligned)));
}

/*
 * How far one range's answer to [addr, addr + size) may go at once: all of it when it lies within
 * the range, else a byte. r is looked up anew for each piece: a write may move ranges.
 */
static unsigned piece_limit(const struct bus_range *r, uint64_t addr, unsigned size)
{
    return r->size - (addr - r->start) >= size ? size : 1;
}

static uint64_t read_pieces(struct bus *b, bus_find_fn find, uint64_t addr, unsigned size)
{
    uint64_t value = 0;
    bool unclaimed = false;

    for (unsigned done = 0; done < size;) {
        const struct bus_range *r = find(b, addr + done);
        unsigned n =
            r == NULL ? 0 : range_piece(r, addr + done, piece_limit(r, addr + done, size - done));
        uint64_t part = UINT8_MAX;

        if (n != 0)
            part = r->ops->read(r->opaque, addr + done - r->start, n) & size_mask(n);
        else if (r != NULL)
            part = range_read_byte(r, addr + done);
        else
            unclaimed = true;
        value |= part << (8 * done);
        done += MAX(n, 1u);
    }
    b->counters.unclaimed_reads += unclaimed;
    return value;
}

static void write_pieces(struct bus *b, bus_find_fn find, uint64_t addr, unsigned size,
                         uint64_t value)
{
    bool dropped = false;

    for (unsigned done = 0; done < size;) {
        const struct bus_range *r = find(b, addr + done);
        unsigned n =
            r == NULL ? 0 : range_piece(r, addr + done, piece_limit(r, addr + done, size - done));

        if (n != 0)
            r->ops->write(r->opaque, addr + done - r->start, n, value >> (8 * done) & size_mask(n));
        else
            dropped = true;
        done += MAX(n, 1u);
    }
    b->counters.unclaimed_writes += dropped;
}

uint32_t bus_port_read(struct bus *b, uint16_t port, unsigned size)
{
    const struct bus_port *at = bus_port_at(&b->ports, port);

    if (likely(at->takes & size))
        return (uint32_t)(at->range->ops->read(at->range->opaque, at->offset, size) &
                          size_mask(size));
    return (uint32_t)read_pieces(b, port_find, port, MIN(size, 4u));
}

void bus_port_write(struct bus *b, uint16_t port, unsigned size, uint32_t value)
{
    const struct bus_port *at = bus_port_at(&b->ports, port);

    if (likely(at->takes & size))
        at->range->ops->write(at->range->opaque, at->offset, size, value & size_mask(size));
    else
        write_pieces(b, port_find, port, MIN(size, 4u), value);
}

uint64_t bus_memory_read(struct bus *b, gpa_t addr, unsigned size)
{
    const struct bus_range *r = memory_find(b, addr.v);

    if (likely(r != NULL && range_takes(r, addr.v, size)))
        return r->ops->read(r->opaque, addr.v - r->start, size) & size_mask(size);
    return read_pieces(b, memory_find, addr.v, MIN(size, 8u));
}

void bus_memory_write(struct bus *b, gpa_t addr, unsigned size, uint64_t value)
{
    const struct bus_range *r = memory_find(b, addr.v);

    if (likely(r != NULL && range_takes(r, addr.v, size)))
        r->ops->write(r->opaque, addr.v - r->start, size, value & size_mask(size));
    else
        write_pieces(b, memory_find, addr.v, MIN(size, 8u), value);
}
