/*
 * The guest's display adapter: a VGA (IBM PS/2 Hardware Interface Technical Reference, video
 * subsystem) with the extensions of Bochs' and QEMU's "stdvga": VBE_DISPI registers and a linear
 * framebuffer. Here is what whoever shows its screen needs.
 */
#ifndef DEVICES_VGA_H
#define DEVICES_VGA_H

#include "lib/types.h"

struct vga;
struct machine;

#define VGA_PCI_SLOT    2
#define VGA_MAX_WIDTH   2560
#define VGA_MAX_HEIGHT  1600
#define VGA_MAX_COLUMNS 160
#define VGA_MAX_ROWS    100

/* What is displayed. */
struct vga_screen {
    bool text;              /* characters: the fields of cells and cursor count */
    bool blank;             /* nothing is: turned off, or between two modes */
    unsigned width, height; /* of the picture, which text has too */
    unsigned bits;          /* per pixel */
    unsigned columns, rows;
    unsigned cell_width, cell_height;
    unsigned cursor_column, cursor_row;
    bool cursor; /* visible, and within the screen */
};

void vga_get_screen(const struct vga *v, struct vga_screen *s);
/* The cells of one row of text: character in bits 7:0, attribute in bits 15:8. */
void vga_text_row(struct vga *v, const struct vga_screen *s, unsigned row, uint16_t *cells);
/* One line of the picture: width pixels of three bytes, red first. */
void vga_render_line(struct vga *v, const struct vga_screen *s, unsigned y, uint8_t *rgb);

/*
 * Calls changed once when the display is next written to by ports or by the legacy window; what
 * goes through the linear framebuffer is not noticed.
 */
void vga_watch(struct vga *v, void (*changed)(void *opaque), void *opaque);

#endif
