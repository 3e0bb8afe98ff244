/* A PC with a display adapter, as its tests drive it, and what the adapter does by the book. */
#ifndef TESTS_UNIT_VGA_H
#define TESTS_UNIT_VGA_H

#include "devices/vga_internal.h"
#include "tests/unit/pc.h"
#include "tests/unit/random.h"

#define WINDOW  0xa0000u
#define TEXT_AT 0xb8000u
#define LFB_AT  0xe0000000u
#define MMIO_AT 0xf0000000u

static inline void vga_pc_init(struct pc *pc)
{
    struct machine_config config = {.nr_vcpus = 1, .ram_bytes = MIB(64), .vga = true};

    pc_init_with(pc, &config);
    assert_non_null(pc->m.vga);
}

/* A register behind an index. */
static inline void set_indexed(struct pc *pc, unsigned port, unsigned index, unsigned value)
{
    pc_outb(pc, port, index);
    pc_outb(pc, port + 1, value);
}
static inline uint8_t get_indexed(struct pc *pc, unsigned port, unsigned index)
{
    pc_outb(pc, port, index);
    return pc_inb(pc, port + 1);
}
static inline void set_attr(struct pc *pc, unsigned index, unsigned value)
{
    (void)pc_inb(pc, VGA_PORT_STATUS);
    pc_outb(pc, VGA_PORT_ATTR, index);
    pc_outb(pc, VGA_PORT_ATTR, value);
}
static inline void set_dispi(struct pc *pc, unsigned index, unsigned value)
{
    pc_out(pc, VGA_PORT_DISPI, 2, index);
    pc_out(pc, VGA_PORT_DISPI + 1, 2, value);
}
static inline unsigned get_dispi(struct pc *pc, unsigned index)
{
    pc_out(pc, VGA_PORT_DISPI, 2, index);
    return pc_in(pc, VGA_PORT_DISPI + 1, 2);
}
static inline void set_colour(struct pc *pc, unsigned n, unsigned r, unsigned g, unsigned b)
{
    pc_outb(pc, VGA_PORT_DAC_WRITE, n);
    pc_outb(pc, VGA_PORT_DAC_DATA, r);
    pc_outb(pc, VGA_PORT_DAC_DATA, g);
    pc_outb(pc, VGA_PORT_DAC_DATA, b);
}

static inline void poke(struct pc *pc, uint32_t address, unsigned size, uint64_t value)
{
    bus_memory_write(pc->m.bus, GPA(address), size, value);
}
static inline uint64_t peek(struct pc *pc, uint32_t address, unsigned size)
{
    return bus_memory_read(pc->m.bus, GPA(address), size);
}

/* A mode by its registers, as a BIOS has them in its tables. */
struct mode {
    uint8_t misc;
    uint8_t seq[4]; /* from SEQ_CLOCKING on */
    uint8_t crtc[VGA_NR_CRTC];
    uint8_t gc_mode, gc_misc, attr_mode;
};

static inline void set_mode(struct pc *pc, const struct mode *m)
{
    pc_outb(pc, VGA_PORT_MISC, m->misc);
    for (unsigned i = 0; i < 4; i++)
        set_indexed(pc, VGA_PORT_SEQ, i + 1, m->seq[i]);
    set_indexed(pc, VGA_PORT_CRTC, CRTC_V_SYNC_END, 0);
    for (unsigned i = 0; i < VGA_NR_CRTC; i++)
        set_indexed(pc, VGA_PORT_CRTC, i, m->crtc[i]);
    for (unsigned i = 0; i < VGA_NR_GC; i++)
        set_indexed(pc, VGA_PORT_GC, i, i == GC_CARE ? 0xf : i == GC_BIT_MASK ? 0xff : 0);
    set_indexed(pc, VGA_PORT_GC, GC_MODE, m->gc_mode);
    set_indexed(pc, VGA_PORT_GC, GC_MISC, m->gc_misc);
    for (unsigned i = 0; i < 16; i++)
        set_attr(pc, i, i);
    set_attr(pc, ATTR_MODE, m->attr_mode);
    set_attr(pc, ATTR_PLANES, 0xf);
    set_attr(pc, ATTR_PAN, 0);
    set_attr(pc, ATTR_SELECT, 0);
    pc_outb(pc, VGA_PORT_ATTR, ATTR_ON);
    for (unsigned i = 0; i < 256; i++)
        set_colour(pc, i, i & 63, i * 3 & 63, (i >> 2) & 63);
}

/* IBM's modes 3, 12h, 13h and 4, and 13h with its planes unchained ("mode X"). */
static const struct mode mode_text = {
    .misc = 0x67,
    .seq = {0x00, 0x03, 0x00, 0x02},
    .crtc = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
             0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff},
    .gc_mode = 0x10,
    .gc_misc = 0x0e,
    .attr_mode = 0x0c,
};
static const struct mode mode_12h UNUSED = {
    .misc = 0xe3,
    .seq = {0x01, 0x0f, 0x00, 0x06},
    .crtc = {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0x00, 0x00, 0x00,
             0x00, 0x00, 0x00, 0xea, 0x8c, 0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff},
    .gc_misc = 0x05,
    .attr_mode = 0x01,
};
static const struct mode mode_13h UNUSED = {
    .misc = 0x63,
    .seq = {0x01, 0x0f, 0x00, 0x0e},
    .crtc = {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x41, 0x00, 0x00, 0x00,
             0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff},
    .gc_mode = 0x40,
    .gc_misc = 0x05,
    .attr_mode = 0x41,
};
static const struct mode mode_4 UNUSED = {
    .misc = 0x63,
    .seq = {0x09, 0x03, 0x00, 0x02},
    .crtc = {0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0x00, 0x00, 0x00,
             0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96, 0xb9, 0xa2, 0xff},
    .gc_mode = 0x30,
    .gc_misc = 0x0f,
    .attr_mode = 0x01,
};

/* The picture's pixel, drawn line by line. */
static inline uint32_t pixel(struct pc *pc, unsigned x, unsigned y)
{
    static uint8_t line[VGA_MAX_WIDTH * 3];
    struct vga_screen s;

    vga_get_screen(pc->m.vga, &s);
    assert_true(x < s.width && y < s.height && s.width <= VGA_MAX_WIDTH);
    vga_render_line(pc->m.vga, &s, y, line);
    return (uint32_t)line[3 * x] << 16 | (uint32_t)line[3 * x + 1] << 8 | line[3 * x + 2];
}

static inline uint32_t wide(unsigned c6)
{
    return c6 << 2 | c6 >> 4;
}
/* What set_mode makes colour n of the DAC. */
static inline uint32_t mode_colour(unsigned n)
{
    return wide(n & 63) << 16 | wide(n * 3 & 63) << 8 | wide(n >> 2 & 63);
}

#endif
