/* Guest memory for loader tests: low RAM only, with the PC's hole below 1 MiB. */
#ifndef TESTS_UNIT_GUEST_RAM_H
#define TESTS_UNIT_GUEST_RAM_H

#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/checked.h"
#include "vm/load.h"

struct guest_ram {
    struct guest_memory memory;
    uint8_t *bytes;
    uint64_t size;
};

static inline bool guest_ram_has(const struct guest_ram *g, uint64_t at, size_t n)
{
    if (!checked_range(at, n, g->size))
        return false;
    return at + n <= GUEST_BASE_RAM_END || at >= GUEST_BIOS_START;
}

static inline bool guest_ram_write(void *opaque, gpa_t to, const void *from, size_t n)
{
    struct guest_ram *g = opaque;

    if (!guest_ram_has(g, to.v, n))
        return false;
    memcpy(g->bytes + to.v, from, n);
    return true;
}

static inline bool guest_ram_read(void *opaque, gpa_t from, void *to, size_t n)
{
    struct guest_ram *g = opaque;

    if (!guest_ram_has(g, from.v, n))
        return false;
    memcpy(to, g->bytes + from.v, n);
    return true;
}

/* ram_bytes is what the guest is said to have; its first backed bytes are really there. */
static inline void guest_ram_init(struct guest_ram *g, uint64_t ram_bytes, uint64_t backed)
{
    static uint8_t arena[MIB(32)]; /* one guest at a time; a new one each would cost page faults */

    assert_true(backed <= sizeof(arena));
    g->bytes = arena;
    memset(g->bytes, 0xee, backed); /* memory is not zero when a VM is started again */
    g->size = backed;
    g->memory = (struct guest_memory){guest_ram_write, guest_ram_read, g, ram_bytes};
}

static inline void guest_ram_free(struct guest_ram *g)
{
    g->bytes = NULL;
}

#endif
