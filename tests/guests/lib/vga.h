/* The VGA, programmed: what the kernels that use it share. */
#ifndef GUESTS_VGA_H
#define GUESTS_VGA_H

#include "lib/types.h"

#define VGA_ATTR      0x3c0
#define VGA_MISC      0x3c2
#define VGA_SEQ       0x3c4
#define VGA_DAC_MASK  0x3c6
#define VGA_DAC_READ  0x3c7
#define VGA_DAC_WRITE 0x3c8
#define VGA_DAC_DATA  0x3c9
#define VGA_FEATURE   0x3ca
#define VGA_MISC_READ 0x3cc
#define VGA_GC        0x3ce
#define VGA_CRTC      0x3d4
#define VGA_STATUS    0x3da
#define VGA_DISPI     0x1ce
#define VGA_WINDOW    0xa0000u
#define VGA_TEXT      0xb8000u
#define VGA_LFB       0xe0000000u /* where Bochs has it; ours goes where it is put */

enum vga_mode { VGA_MODE_3, VGA_MODE_12H, VGA_MODE_13H };

/* A register behind an index port. */
void vga_set(uint16_t port, unsigned index, unsigned value);
unsigned vga_get(uint16_t port, unsigned index);
void vga_set_attr(unsigned index, unsigned value);
/* One of IBM's modes, by its registers; the DAC and the memory stay as they are. */
void vga_set_mode(enum vga_mode mode);

/* VBE_DISPI. */
void vga_set_dispi(unsigned index, unsigned value);
unsigned vga_get_dispi(unsigned index);
/* Puts the linear framebuffer at VGA_LFB, where it is a PCI function's. */
void vga_place_lfb(void);
void vga_start_dispi(unsigned width, unsigned height, unsigned bpp);

#endif
