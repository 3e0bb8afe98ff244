#include "guest.h"
#include "vga.h"

#define PCI_OURS 0x11111234u
#define PCI_SLOT (0x80000000u | 2u << 11)

void vga_set(uint16_t port, unsigned index, unsigned value)
{
    out8(port, (uint8_t)index);
    out8(port + 1, (uint8_t)value);
}

unsigned vga_get(uint16_t port, unsigned index)
{
    out8(port, (uint8_t)index);
    return in8(port + 1);
}

void vga_set_attr(unsigned index, unsigned value)
{
    (void)in8(VGA_STATUS);
    out8(VGA_ATTR, (uint8_t)index);
    out8(VGA_ATTR, (uint8_t)value);
}

/* IBM's tables of video parameters. */
static const struct {
    uint8_t misc, seq[4], crtc[25], gc_mode, gc_misc, attr_mode;
} modes[] = {
    [VGA_MODE_3] = {.misc = 0x67,
                    .seq = {0x00, 0x03, 0x00, 0x02},
                    .crtc = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00,
                             0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e,
                             0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff},
                    .gc_mode = 0x10,
                    .gc_misc = 0x0e,
                    .attr_mode = 0x0c},
    [VGA_MODE_12H] = {.misc = 0xe3,
                      .seq = {0x01, 0x0f, 0x00, 0x06},
                      .crtc = {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00,
                               0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xea, 0x8c,
                               0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff},
                      .gc_mode = 0x00,
                      .gc_misc = 0x05,
                      .attr_mode = 0x01},
    [VGA_MODE_13H] = {.misc = 0x63,
                      .seq = {0x01, 0x0f, 0x00, 0x0e},
                      .crtc = {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00,
                               0x41, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e,
                               0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff},
                      .gc_mode = 0x40,
                      .gc_misc = 0x05,
                      .attr_mode = 0x41},
};

void vga_set_mode(enum vga_mode mode)
{
    out8(VGA_MISC, modes[mode].misc);
    vga_set(VGA_SEQ, 0, 3);
    for (unsigned i = 0; i < 4; i++)
        vga_set(VGA_SEQ, i + 1, modes[mode].seq[i]);
    vga_set(VGA_CRTC, 0x11, 0);
    for (unsigned i = 0; i < 25; i++)
        vga_set(VGA_CRTC, i, modes[mode].crtc[i]);
    for (unsigned i = 0; i < 9; i++)
        vga_set(VGA_GC, i, i == 7 ? 0xf : i == 8 ? 0xff : 0);
    vga_set(VGA_GC, 5, modes[mode].gc_mode);
    vga_set(VGA_GC, 6, modes[mode].gc_misc);
    for (unsigned i = 0; i < 16; i++)
        vga_set_attr(i, i);
    vga_set_attr(0x10, modes[mode].attr_mode);
    vga_set_attr(0x11, 0);
    vga_set_attr(0x12, 0xf);
    vga_set_attr(0x13, 0);
    vga_set_attr(0x14, 0);
    out8(VGA_ATTR, 0x20);
}

void vga_set_dispi(unsigned index, unsigned value)
{
    out16(VGA_DISPI, (uint16_t)index);
    out16(VGA_DISPI + 1, (uint16_t)value);
}

unsigned vga_get_dispi(unsigned index)
{
    out16(VGA_DISPI, (uint16_t)index);
    return in16(VGA_DISPI + 1);
}

void vga_place_lfb(void)
{
    out32(0xcf8, PCI_SLOT);
    if (in32(0xcfc) != PCI_OURS)
        return;
    out32(0xcf8, PCI_SLOT | 0x10);
    out32(0xcfc, VGA_LFB);
    out32(0xcf8, PCI_SLOT | 0x04);
    out16(0xcfc, 3);
}

void vga_start_dispi(unsigned width, unsigned height, unsigned bpp)
{
    vga_set_dispi(4, 0);
    vga_set_dispi(1, width);
    vga_set_dispi(2, height);
    vga_set_dispi(3, bpp);
    vga_set_dispi(4, 0x41);
}
