/*
 * The display memory, and the linear framebuffer that shows it at BAR 0. A guest's accesses are
 * trapped until there is memory behind them; from then on they go directly to it, if the host can
 * do that (a host that cannot, or a BAR over something else, leaves them trapped).
 */
#include "devices/vga_internal.h"
#include "lib/string.h"

_Static_assert(VGA_NR_CHUNKS <= 32, "a bit each");

static uint64_t chunk_address(const struct vga *v, unsigned n)
{
    return v->lfb + n * VGA_CHUNK_SIZE;
}

/* Lets the guest have chunk n directly. */
static void chunk_expose(struct vga *v, unsigned n)
{
    struct device_host *host = v->device.machine->host;

    if (v->lfb == 0 || v->chunk[n] == NULL || host->ops->map_pages == NULL)
        return;
    if (host->ops->map_pages(host, GPA(chunk_address(v, n)), v->chunk[n], VGA_CHUNK_SIZE, true) ==
        0)
        v->direct |= (uint32_t)BIT(n);
}

static void chunk_hide(struct vga *v, unsigned n)
{
    struct device_host *host = v->device.machine->host;

    if (!(v->direct & BIT(n)))
        return;
    host->ops->unmap_pages(host, GPA(chunk_address(v, n)), VGA_CHUNK_SIZE);
    v->direct &= (uint32_t)~BIT(n);
}

static uint8_t *chunk_get(struct vga *v, unsigned n)
{
    struct device_host *host = v->device.machine->host;

    if (v->chunk[n] == NULL) {
        v->chunk[n] = host->ops->alloc(host, VGA_CHUNK_SIZE);
        chunk_expose(v, n);
    }
    return v->chunk[n];
}

uint8_t *vga_vram(struct vga *v, uint32_t offset)
{
    uint8_t *chunk = v->chunk[offset >> VGA_CHUNK_SHIFT];

    if (unlikely(chunk == NULL)) {
        chunk = chunk_get(v, offset >> VGA_CHUNK_SHIFT);
        if (chunk == NULL)
            return NULL;
    }
    return chunk + offset % VGA_CHUNK_SIZE;
}

int vga_vram_create(struct vga *v)
{
    return chunk_get(v, 0) == NULL ? E_NOMEM : 0;
}

void vga_vram_destroy(struct vga *v)
{
    struct device_host *host = v->device.machine->host;

    for (unsigned n = 0; n < VGA_NR_CHUNKS; n++)
        if (v->chunk[n] != NULL)
            host->ops->free(host, v->chunk[n]);
}

void vga_vram_clear(struct vga *v, uint32_t start, uint32_t size)
{
    size = MIN(size, (uint32_t)VGA_VRAM_SIZE - start);
    while (size > 0) {
        uint32_t part = MIN(size, (uint32_t)(VGA_CHUNK_SIZE - start % VGA_CHUNK_SIZE));

        if (v->chunk[start >> VGA_CHUNK_SHIFT] != NULL)
            memset(vga_vram(v, start), 0, part);
        start += part;
        size -= part;
    }
}

/* ------------------------------------------------------------------ BAR 0 */

static uint64_t lfb_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct vga *v = opaque;
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)vga_vram_byte(v, (uint32_t)offset + i) << 8 * i;
    return value;
}

static void lfb_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct vga *v = opaque;

    for (unsigned i = 0; i < size; i++) {
        uint8_t *p = vga_vram(v, (uint32_t)offset + i);

        if (p != NULL)
            *p = (uint8_t)(value >> 8 * i);
    }
}

static const struct bus_ops lfb_ops = {lfb_read, lfb_write, 1 | 2 | 4 | 8};

int vga_lfb_map(struct vga *v, uint64_t address)
{
    int err =
        bus_add_memory(v->device.machine->bus, GPA(address), VGA_VRAM_SIZE, "vga-lfb", &lfb_ops, v);

    if (err != 0)
        return err;
    v->lfb = address;
    for (unsigned n = 0; n < VGA_NR_CHUNKS; n++)
        chunk_expose(v, n);
    return 0;
}

void vga_lfb_unmap(struct vga *v)
{
    for (unsigned n = 0; n < VGA_NR_CHUNKS; n++)
        chunk_hide(v, n);
    bus_remove_memory(v->device.machine->bus, GPA(v->lfb));
    v->lfb = 0;
}

/* ------------------------------------------------------------------ state */

/* Pages that are not all zero, each with its number before it; a number that is none at the end. */
#define NO_PAGE UINT32_MAX

static bool page_empty(const uint8_t *page)
{
    const uint64_t *words = (const uint64_t *)page;

    for (unsigned i = 0; i < PAGE_SIZE / sizeof(*words); i++)
        if (words[i] != 0)
            return false;
    return true;
}

void vga_vram_save(const struct vga *v, struct device_state *s)
{
    uint32_t end = NO_PAGE;

    for (uint32_t n = 0; n < VGA_VRAM_SIZE / PAGE_SIZE; n++) {
        const uint8_t *page = vga_vram_peek(v, (uint32_t)(n * PAGE_SIZE));

        if (page == NULL || page_empty(page))
            continue;
        device_state_put(s, &n, sizeof(n));
        device_state_put(s, page, PAGE_SIZE);
    }
    device_state_put(s, &end, sizeof(end));
}

bool vga_vram_load(struct vga *v, struct device_state *s)
{
    uint32_t n;

    vga_vram_clear(v, 0, VGA_VRAM_SIZE);
    for (;;) {
        uint8_t *page;

        device_state_get(s, &n, sizeof(n));
        if (s->failed || n == NO_PAGE)
            return !s->failed;
        page = n < VGA_VRAM_SIZE / PAGE_SIZE ? vga_vram(v, (uint32_t)(n * PAGE_SIZE)) : NULL;
        if (page == NULL)
            return false;
        device_state_get(s, page, PAGE_SIZE);
    }
}
