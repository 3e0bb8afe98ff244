/*
 * Ports and memory-mapped registers: who answers at which address. One bus per VM. What nobody
 * claims behaves as on a PC: reads give all ones, writes are dropped, and both are counted.
 */
#ifndef DEVICES_BUS_H
#define DEVICES_BUS_H

#include "lib/types.h"

struct device_host;

/*
 * Access functions of a range. offset is from the range's start; size is one of those in sizes
 * (wider accesses are split by the bus, low address first; narrower ones than the smallest are
 * widened for reads and dropped with a count for writes).
 */
struct bus_ops {
    uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
    void (*write)(void *opaque, uint64_t offset, unsigned size, uint64_t value);
    unsigned sizes; /* bit mask of access sizes in bytes that it takes: 1|2|4|8 */
};

struct bus_range {
    uint64_t start, size;
    const struct bus_ops *ops;
    void *opaque;
    const char *name;
};

struct bus;

/* What answers at one port. */
struct bus_port {
    const struct bus_range *range; /* NULL: nobody */
    uint32_t offset;               /* from the range's start */
    uint32_t takes;                /* access sizes that it takes here without splitting */
};

#define BUS_PORTS_PER_PAGE 256u

struct bus_counters {
    uint64_t unclaimed_reads, unclaimed_writes;
};

struct bus *bus_create(struct device_host *host);
void bus_destroy(struct bus *b);
/* E_EXIST when it overlaps another range, E_RANGE outside the space, E_NOMEM, E_NOSPC. */
MUST_CHECK int bus_add_ports(struct bus *b, uint16_t start, unsigned count, const char *name,
                             const struct bus_ops *ops, void *opaque);
MUST_CHECK int bus_add_memory(struct bus *b, gpa_t start, uint64_t size, const char *name,
                              const struct bus_ops *ops, void *opaque);
/* A range that starts there goes away (a moved BAR). */
void bus_remove_ports(struct bus *b, uint16_t start);
void bus_remove_memory(struct bus *b, gpa_t start);

/*
 * Who answers at a port, for callers that count instructions. An access of a size that is not in
 * takes is for bus_port_read and bus_port_write. A value read may have more bits set than the size.
 */
struct bus_ports {
    const struct bus_port *page[0x10000 / BUS_PORTS_PER_PAGE]; /* never NULL */
};
const struct bus_ports *bus_ports(const struct bus *b);
static inline const struct bus_port *bus_port_at(const struct bus_ports *p, uint16_t port)
{
    return &p->page[port / BUS_PORTS_PER_PAGE][port % BUS_PORTS_PER_PAGE];
}

/* size 1, 2 or 4. Constant time. */
uint32_t bus_port_read(struct bus *b, uint16_t port, unsigned size);
void bus_port_write(struct bus *b, uint16_t port, unsigned size, uint32_t value);
/* size 1, 2, 4 or 8; an access that crosses a range's end is split by bytes. */
uint64_t bus_memory_read(struct bus *b, gpa_t addr, unsigned size);
void bus_memory_write(struct bus *b, gpa_t addr, unsigned size, uint64_t value);
/* Whether anything answers there; the range is copied out when it does. */
bool bus_find_memory(struct bus *b, gpa_t addr, struct bus_range *found);
const struct bus_counters *bus_counters(const struct bus *b);

#endif
