/*
 * The legacy window at 0xA0000: the planes through the graphics controller's write and read modes,
 * chain-4 and odd/even, or a bank of the linear framebuffer.
 *
 * Planes are handled four at a time, a byte of each in a dword. In chain-4 the two lowest address
 * bits select the plane, in odd/even the lowest one; in both they are 0 in the plane's address.
 */
#include "devices/vga_internal.h"
#include "lib/string.h"

#define PLANE_BYTES   KIB(64)
#define EVEN_PLANES   0x00ff00ffu
#define ODD_PLANES    0xff00ff00u
#define EVERY_BYTE    0x01010101u
#define LARGE_WINDOW  0 /* all of the 128 KiB; the others are listed below */
#define FUNCTION_NONE 0

/* Bits 3:0 as a byte of zeroes or ones each. */
static uint32_t expand(unsigned bits)
{
    return ((bits & 1) | (bits & 2) << 7 | (bits & 4) << 14 | (bits & 8) << 21) * 0xffu;
}

/* ------------------------------------------------------------------ what registers say */

static void update_window(struct vga *v)
{
    static const struct {
        uint32_t start, size;
    } windows[4] = {{0, 0x20000}, {0, 0x10000}, {0x10000, 0x8000}, {0x18000, 0x8000}};
    unsigned n = GC_MISC_WINDOW(v->s.gc[GC_MISC]);

    v->packed = vga_dispi_on(&v->s) && v->s.dispi[DISPI_BPP] != 4;
    if (v->packed)
        n = 1;
    v->window_start = windows[n].start;
    v->window_size = v->packed || (v->s.misc & MISC_RAM) ? windows[n].size : 0;
}

void vga_memory_update(struct vga *v)
{
    const struct vga_state *s = &v->s;

    v->map_mask = expand(s->seq[SEQ_MAP_MASK]);
    v->bit_mask = s->gc[GC_BIT_MASK] * EVERY_BYTE;
    v->set_reset = expand(s->gc[GC_SET_RESET]);
    v->set_reset_mask = expand(s->gc[GC_ENABLE_SET_RESET]);
    v->plain = GC_MODE_WRITE(s->gc[GC_MODE]) == 0 && v->set_reset_mask == 0 &&
               s->gc[GC_ROTATE] == 0 && v->bit_mask == UINT32_MAX;
    update_window(v);
}

static bool chain4(const struct vga *v)
{
    return v->s.seq[SEQ_MEMORY] & SEQ_MEMORY_CHAIN4;
}

/* The plane's address in odd/even: bit 0 selected the plane, so another takes its place. */
static uint32_t odd_even_address(const struct vga *v, uint32_t address)
{
    uint32_t low;

    if (!(v->s.gc[GC_MISC] & GC_MISC_CHAIN))
        return address;
    if (GC_MISC_WINDOW(v->s.gc[GC_MISC]) == LARGE_WINDOW)
        low = address / PLANE_BYTES;
    else
        low = !(v->s.misc & MISC_PAGE);
    return (address & ~1u) | low;
}

/* The planes' dword n, in the bank that VBE_DISPI has selected. */
static uint32_t *planes_at(struct vga *v, uint32_t n)
{
    n %= PLANE_BYTES;
    if (vga_dispi_on(&v->s))
        n += v->s.dispi[DISPI_BANK] * (uint32_t)PLANE_BYTES;
    return (uint32_t *)vga_vram(v, n * 4 % VGA_VRAM_SIZE);
}

/* ------------------------------------------------------------------ writing */

static uint8_t rotate(const struct vga *v, uint8_t value)
{
    unsigned by = GC_ROTATE_COUNT(v->s.gc[GC_ROTATE]);

    return (uint8_t)(value >> by | value << (8 - by));
}

/* The logical function with the latches, then the bit mask. */
static uint32_t combine(const struct vga *v, uint32_t value, uint32_t bit_mask)
{
    switch (GC_ROTATE_FUNCTION(v->s.gc[GC_ROTATE])) {
    case FUNCTION_NONE:
        break;
    case 1:
        value &= v->s.latch;
        break;
    case 2:
        value |= v->s.latch;
        break;
    default:
        value ^= v->s.latch;
    }
    return (value & bit_mask) | (v->s.latch & ~bit_mask);
}

/* What a written byte makes of the four planes. */
static uint32_t write_value(const struct vga *v, uint8_t value)
{
    uint32_t all;

    if (likely(v->plain))
        return value * EVERY_BYTE;
    switch (GC_MODE_WRITE(v->s.gc[GC_MODE])) {
    case 0:
        all = rotate(v, value) * EVERY_BYTE;
        all = (all & ~v->set_reset_mask) | (v->set_reset & v->set_reset_mask);
        return combine(v, all, v->bit_mask);
    case 1:
        return v->s.latch;
    case 2:
        return combine(v, expand(value), v->bit_mask);
    default:
        return combine(v, v->set_reset, v->bit_mask & (rotate(v, value) * EVERY_BYTE));
    }
}

static void write_byte(struct vga *v, uint32_t address, uint8_t value)
{
    uint32_t mask = v->map_mask, *planes;

    if (chain4(v)) {
        mask &= 0xffu << 8 * (address & 3);
        address &= ~3u;
    } else if (!(v->s.seq[SEQ_MEMORY] & SEQ_MEMORY_SEQUENTIAL)) {
        mask &= address & 1 ? ODD_PLANES : EVEN_PLANES;
        address = odd_even_address(v, address);
    }
    planes = planes_at(v, address);
    if (planes != NULL)
        *planes = (*planes & ~mask) | (write_value(v, value) & mask);
}

static void write_packed(struct vga *v, uint32_t address, uint8_t value)
{
    uint8_t *p =
        vga_vram(v, (uint32_t)(v->s.dispi[DISPI_BANK] * DISPI_BANK_SIZE + address) % VGA_VRAM_SIZE);

    if (p != NULL)
        *p = value;
}

static void window_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct vga *v = opaque;
    uint32_t address = (uint32_t)offset - v->window_start;

    vga_touch(v);
    for (; size > 0; size--, address++, value >>= 8) {
        if (address >= v->window_size)
            continue;
        if (v->packed)
            write_packed(v, address, (uint8_t)value);
        else
            write_byte(v, address, (uint8_t)value);
    }
}

/* ------------------------------------------------------------------ reading */

/* Read mode 1: a bit is 1 where the planes that count have the colour compared with. */
static uint8_t compare(const struct vga *v)
{
    uint32_t differ = (v->s.latch ^ expand(v->s.gc[GC_COMPARE])) & expand(v->s.gc[GC_CARE]);

    differ |= differ >> 16;
    return (uint8_t) ~(differ | differ >> 8);
}

static uint8_t read_byte(struct vga *v, uint32_t address)
{
    unsigned plane = v->s.gc[GC_READ_MAP];
    const uint32_t *planes;

    if (chain4(v)) {
        plane = address & 3;
        address &= ~3u;
    } else if (v->s.gc[GC_MODE] & GC_MODE_ODD_EVEN) {
        plane = (plane & 2) | (address & 1);
        address = odd_even_address(v, address);
    }
    planes = planes_at(v, address);
    v->s.latch = planes == NULL ? UINT32_MAX : *planes;
    if (v->s.gc[GC_MODE] & GC_MODE_COMPARE)
        return compare(v);
    return (uint8_t)(v->s.latch >> 8 * plane);
}

static uint8_t read_packed(const struct vga *v, uint32_t address)
{
    return vga_vram_byte(v, (uint32_t)(v->s.dispi[DISPI_BANK] * DISPI_BANK_SIZE + address) %
                                VGA_VRAM_SIZE);
}

static uint64_t window_read(void *opaque, uint64_t offset, unsigned size)
{
    struct vga *v = opaque;
    uint32_t address = (uint32_t)offset - v->window_start;
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++, address++) {
        uint8_t byte = UINT8_MAX;

        if (address < v->window_size)
            byte = v->packed ? read_packed(v, address) : read_byte(v, address);
        value |= (uint64_t)byte << 8 * i;
    }
    return value;
}

const struct bus_ops vga_window_ops = {window_read, window_write, 1 | 2 | 4 | 8};
