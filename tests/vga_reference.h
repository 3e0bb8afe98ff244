/*
 * The VGA's memory by the book (IBM PS/2 Hardware Interface Technical Reference, graphics
 * controller), bit by bit and plane by plane: what the device is compared with in unit tests, and
 * every machine in a guest.
 */
#ifndef TESTS_VGA_REFERENCE_H
#define TESTS_VGA_REFERENCE_H

#include "lib/types.h"

#define VGA_REF_BYTES 65536u /* of a plane */

enum {
    REF_SEQ_MAP_MASK = 2,
    REF_SEQ_MEMORY = 4,
    REF_GC_SET_RESET = 0,
    REF_GC_ENABLE_SET_RESET = 1,
    REF_GC_COMPARE = 2,
    REF_GC_ROTATE = 3,
    REF_GC_READ_MAP = 4,
    REF_GC_MODE = 5,
    REF_GC_MISC = 6,
    REF_GC_CARE = 7,
    REF_GC_BIT_MASK = 8,
};

struct vga_ref {
    uint8_t plane[4][VGA_REF_BYTES];
    uint8_t latch[4];
    uint8_t misc, seq[5], gc[9];
};

/* Where an access goes: whether the window answers, and the offset in it. */
static inline bool vga_ref_window(const struct vga_ref *r, uint32_t address, uint32_t *offset)
{
    static const uint32_t start[] = {0xa0000, 0xa0000, 0xb0000, 0xb8000};
    static const uint32_t end[] = {0xc0000, 0xb0000, 0xb8000, 0xc0000};
    unsigned n = r->gc[REF_GC_MISC] >> 2 & 3;

    *offset = address - start[n];
    return (r->misc & 2) && address >= start[n] && address < end[n];
}

static inline uint32_t vga_ref_odd_even(const struct vga_ref *r, uint32_t offset)
{
    bool low;

    if (!(r->gc[REF_GC_MISC] & 2))
        return offset % VGA_REF_BYTES;
    low = (r->gc[REF_GC_MISC] & 0xc) == 0 ? offset >= VGA_REF_BYTES : !(r->misc & 0x20);
    return (offset - offset % 2 + low) % VGA_REF_BYTES;
}

static inline unsigned vga_ref_bit(unsigned value, unsigned bit)
{
    return value >> bit & 1;
}

/* One bit of one plane, after data has been written (IBM, graphics controller: write modes). */
static inline unsigned vga_ref_write_bit(const struct vga_ref *r, unsigned plane, unsigned bit,
                                         uint8_t data)
{
    unsigned mode = r->gc[REF_GC_MODE] & 3, count = r->gc[REF_GC_ROTATE] & 7;
    unsigned latched = vga_ref_bit(r->latch[plane], bit),
             rotated = vga_ref_bit(data, (bit + count) % 8);
    unsigned mask = vga_ref_bit(r->gc[REF_GC_BIT_MASK], bit), source;

    if (mode == 1)
        return latched;
    if (mode == 0)
        source = vga_ref_bit(r->gc[REF_GC_ENABLE_SET_RESET], plane)
                     ? vga_ref_bit(r->gc[REF_GC_SET_RESET], plane)
                     : rotated;
    else if (mode == 2)
        source = vga_ref_bit(data, plane);
    else
        source = vga_ref_bit(r->gc[REF_GC_SET_RESET], plane);
    if (mode == 3)
        mask = mask && rotated;
    switch (r->gc[REF_GC_ROTATE] >> 3 & 3) {
    case 1:
        source = source && latched;
        break;
    case 2:
        source = source || latched;
        break;
    case 3:
        source = source != latched;
        break;
    default:
        break;
    }
    return mask ? source : latched;
}

static inline void vga_ref_write(struct vga_ref *r, uint32_t address, uint8_t data)
{
    uint32_t offset, at;

    if (!vga_ref_window(r, address, &offset))
        return;
    for (unsigned p = 0; p < 4; p++) {
        uint8_t result = 0;

        at = offset % VGA_REF_BYTES;
        if (r->seq[REF_SEQ_MEMORY] & 8) {
            if (offset % 4 != p)
                continue;
            at -= at % 4;
        } else if (!(r->seq[REF_SEQ_MEMORY] & 4)) {
            if (offset % 2 != p % 2)
                continue;
            at = vga_ref_odd_even(r, offset);
        }
        if (!vga_ref_bit(r->seq[REF_SEQ_MAP_MASK], p))
            continue;
        for (unsigned bit = 0; bit < 8; bit++)
            result |= (uint8_t)(vga_ref_write_bit(r, p, bit, data) << bit);
        r->plane[p][at] = result;
    }
}

static inline uint8_t vga_ref_read(struct vga_ref *r, uint32_t address)
{
    uint32_t offset, at;
    unsigned p = r->gc[REF_GC_READ_MAP];
    uint8_t result = 0;

    if (!vga_ref_window(r, address, &offset))
        return 0xff;
    at = offset % VGA_REF_BYTES;
    if (r->seq[REF_SEQ_MEMORY] & 8) {
        p = offset % 4;
        at -= p;
    } else if (r->gc[REF_GC_MODE] & 0x10) {
        p = (p & 2) + offset % 2;
        at = vga_ref_odd_even(r, offset);
    }
    for (unsigned i = 0; i < 4; i++)
        r->latch[i] = r->plane[i][at];
    if (!(r->gc[REF_GC_MODE] & 8))
        return r->latch[p];
    for (unsigned bit = 0; bit < 8; bit++) {
        bool same = true;

        for (unsigned i = 0; i < 4; i++)
            if (vga_ref_bit(r->gc[REF_GC_CARE], i) &&
                vga_ref_bit(r->latch[i], bit) != vga_ref_bit(r->gc[REF_GC_COMPARE], i))
                same = false;
        result |= (uint8_t)(same << bit);
    }
    return result;
}

#endif
