/*
 * VBE_DISPI: an index and a data register of 16 bits, with which firmware and drivers set modes
 * with a linear framebuffer. A write that makes no sense is dropped; drivers read back.
 */
#include "devices/vga_internal.h"
#include "lib/string.h"

#define DATA_OFFSET 1 /* from the index's port */
#define PLANES      4

static bool bpp_valid(unsigned bpp)
{
    return bpp == 4 || bpp == 8 || bpp == 15 || bpp == 16 || bpp == 24 || bpp == 32;
}

static uint32_t pitch_of(unsigned width, unsigned bpp)
{
    return bpp == 4 ? width / 8 : width * ((bpp + 7) / 8);
}

uint32_t vga_dispi_pitch(const struct vga_state *s)
{
    return pitch_of(s->dispi[DISPI_VIRT_WIDTH], s->dispi[DISPI_BPP]);
}

/* Lines of that many pixels that the memory has room for. */
static uint32_t lines_of(unsigned width, unsigned bpp)
{
    uint32_t pitch = pitch_of(width, bpp);

    return pitch == 0 ? 0 : (uint32_t)(VGA_VRAM_SIZE / (bpp == 4 ? PLANES : 1)) / pitch;
}

static bool mode_valid(const uint16_t *r)
{
    return r[DISPI_XRES] != 0 && r[DISPI_XRES] <= VGA_MAX_WIDTH && r[DISPI_XRES] % 8 == 0 &&
           r[DISPI_YRES] != 0 && r[DISPI_YRES] <= VGA_MAX_HEIGHT && bpp_valid(r[DISPI_BPP]) &&
           r[DISPI_YRES] <= lines_of(r[DISPI_XRES], r[DISPI_BPP]);
}

static void set_virt_width(struct vga_state *s, unsigned width)
{
    uint32_t lines = lines_of(width, s->dispi[DISPI_BPP]);

    if (width < s->dispi[DISPI_XRES] || width % 8 != 0 || lines < s->dispi[DISPI_YRES])
        return;
    s->dispi[DISPI_VIRT_WIDTH] = (uint16_t)width;
    s->dispi[DISPI_VIRT_HEIGHT] = (uint16_t)MIN(lines, UINT16_MAX);
    s->dispi[DISPI_X_OFFSET] = 0;
    s->dispi[DISPI_Y_OFFSET] = 0;
}

static void start_mode(struct vga *v, bool clear)
{
    struct vga_state *s = &v->s;
    uint32_t bytes;

    set_virt_width(s, s->dispi[DISPI_XRES]);
    s->dispi[DISPI_BANK] = 0;
    bytes = vga_dispi_pitch(s) * s->dispi[DISPI_YRES];
    if (clear)
        vga_vram_clear(v, 0, s->dispi[DISPI_BPP] == 4 ? bytes * PLANES : bytes);
}

static void write_enable(struct vga *v, uint16_t value)
{
    struct vga_state *s = &v->s;
    bool start = (value & DISPI_ENABLED) && !vga_dispi_on(s);

    if (start && !mode_valid(s->dispi))
        value &= (uint16_t)~DISPI_ENABLED;
    else if (start)
        start_mode(v, !(value & DISPI_NO_CLEAR));
    s->dispi[DISPI_ENABLE] = value & DISPI_ENABLE_MASK;
    v->timing_valid = false;
    vga_memory_update(v);
}

/* Resolution and depth stay while the mode is on. */
static void write_mode(struct vga_state *s, unsigned index, uint16_t value)
{
    if (vga_dispi_on(s))
        return;
    if (index == DISPI_BPP && value == 0)
        value = 8;
    if (index == DISPI_BPP ? bpp_valid(value)
                           : value <= (index == DISPI_XRES ? VGA_MAX_WIDTH : VGA_MAX_HEIGHT))
        s->dispi[index] = value;
}

static void write_offset(struct vga_state *s, unsigned index, uint16_t value)
{
    unsigned shown = s->dispi[index == DISPI_X_OFFSET ? DISPI_XRES : DISPI_YRES];
    unsigned there = s->dispi[index == DISPI_X_OFFSET ? DISPI_VIRT_WIDTH : DISPI_VIRT_HEIGHT];

    if (vga_dispi_on(s) && value + shown <= there)
        s->dispi[index] = value;
}

static void write_bank(struct vga_state *s, uint16_t value)
{
    unsigned banks = VGA_VRAM_SIZE / DISPI_BANK_SIZE;

    if (s->dispi[DISPI_BPP] == 4)
        banks /= PLANES;
    if (value < banks)
        s->dispi[DISPI_BANK] = value;
}

void vga_dispi_write(struct vga *v, unsigned index, uint16_t value)
{
    struct vga_state *s = &v->s;

    switch (index) {
    case DISPI_ID:
        if (value >= DISPI_ID_FIRST && value <= DISPI_ID_LAST)
            s->dispi[DISPI_ID] = value;
        break;
    case DISPI_XRES:
    case DISPI_YRES:
    case DISPI_BPP:
        write_mode(s, index, value);
        break;
    case DISPI_ENABLE:
        write_enable(v, value);
        break;
    case DISPI_BANK:
        write_bank(s, value);
        break;
    case DISPI_VIRT_WIDTH:
        if (vga_dispi_on(s))
            set_virt_width(s, value);
        break;
    case DISPI_X_OFFSET:
    case DISPI_Y_OFFSET:
        write_offset(s, index, value);
        break;
    default:
        break;
    }
    vga_touch(v);
}

uint16_t vga_dispi_read(const struct vga *v, unsigned index)
{
    bool caps = v->s.dispi[DISPI_ENABLE] & DISPI_GET_CAPS;

    if (index == DISPI_MEMORY_64K)
        return VGA_VRAM_SIZE / KIB(64);
    if (index >= VGA_NR_DISPI)
        return 0;
    if (caps && index == DISPI_XRES)
        return VGA_MAX_WIDTH;
    if (caps && index == DISPI_YRES)
        return VGA_MAX_HEIGHT;
    if (caps && index == DISPI_BPP)
        return 32;
    return v->s.dispi[index];
}

void vga_dispi_reset(struct vga *v)
{
    memset(v->s.dispi, 0, sizeof(v->s.dispi));
    v->s.dispi_index = 0;
    v->s.dispi[DISPI_ID] = DISPI_ID_LAST;
    v->s.dispi[DISPI_BPP] = 8;
}

bool vga_dispi_valid(const struct vga_state *s)
{
    const uint16_t *r = s->dispi;

    if (r[DISPI_ID] < DISPI_ID_FIRST || r[DISPI_ID] > DISPI_ID_LAST || !bpp_valid(r[DISPI_BPP]) ||
        (r[DISPI_ENABLE] & ~DISPI_ENABLE_MASK) != 0 || r[DISPI_XRES] > VGA_MAX_WIDTH ||
        r[DISPI_YRES] > VGA_MAX_HEIGHT || r[DISPI_BANK] >= VGA_VRAM_SIZE / DISPI_BANK_SIZE)
        return false;
    if (!vga_dispi_on(s))
        return true;
    return mode_valid(r) && r[DISPI_VIRT_WIDTH] >= r[DISPI_XRES] && r[DISPI_VIRT_WIDTH] % 8 == 0 &&
           r[DISPI_VIRT_HEIGHT] >= r[DISPI_YRES] &&
           r[DISPI_VIRT_HEIGHT] <= lines_of(r[DISPI_VIRT_WIDTH], r[DISPI_BPP]) &&
           r[DISPI_X_OFFSET] + r[DISPI_XRES] <= r[DISPI_VIRT_WIDTH] &&
           r[DISPI_Y_OFFSET] + r[DISPI_YRES] <= r[DISPI_VIRT_HEIGHT];
}

/* ------------------------------------------------------------------ ports */

static uint64_t dispi_read(void *opaque, uint64_t offset, unsigned size UNUSED)
{
    const struct vga *v = opaque;

    if (offset == 0)
        return v->s.dispi_index;
    return offset == DATA_OFFSET ? vga_dispi_read(v, v->s.dispi_index) : UINT16_MAX;
}

static void dispi_write(void *opaque, uint64_t offset, unsigned size UNUSED, uint64_t value)
{
    struct vga *v = opaque;

    if (offset == 0)
        v->s.dispi_index = (uint16_t)value;
    else if (offset == DATA_OFFSET)
        vga_dispi_write(v, v->s.dispi_index, (uint16_t)value);
}

const struct bus_ops vga_dispi_ops = {dispi_read, dispi_write, 2};
