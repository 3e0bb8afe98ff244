/* What is displayed: the mode that the registers amount to, and the cells of a text screen. */
#include "devices/vga_internal.h"
#include "lib/string.h"

#define MAX_SCAN_MASK   0x1f
#define PLANE_MASK      0xffffu
#define CURSOR_SCAN     0x1f
#define WRAP_13         13
#define WRAP_15         15
#define CELL_MASK       0xffffu /* planes 0 and 1: character and attribute */
#define TEXT_BITS       4
#define VGA_256_BITS    8
#define DISPLAYED_WORDS 2 /* the offset register counts in twice the counter's unit */

unsigned vga_crtc_vertical(const struct vga_state *s, unsigned reg, unsigned bit8, unsigned bit9)
{
    unsigned overflow = s->crtc[CRTC_OVERFLOW];

    return s->crtc[reg] | (overflow >> bit8 & 1) << 8 | (overflow >> bit9 & 1) << 9;
}

unsigned vga_display_lines(const struct vga_state *s)
{
    return vga_crtc_vertical(s, CRTC_V_DISPLAY_END, 1, 6) + 1;
}

uint32_t vga_crtc_address(const struct vga_state *s, uint32_t counter, unsigned row_scan)
{
    unsigned mode = s->crtc[CRTC_MODE];
    uint32_t a = counter;

    if (s->crtc[CRTC_UNDERLINE] & CRTC_UNDERLINE_DWORD)
        a = counter << 2;
    else if (!(mode & CRTC_MODE_BYTE))
        a = counter << 1 | (counter >> (mode & CRTC_MODE_WRAP_15 ? WRAP_15 : WRAP_13) & 1);
    if (!(mode & CRTC_MODE_ROW_13))
        a = (a & ~(uint32_t)BIT(13)) | (row_scan & 1) << 13;
    if (!(mode & CRTC_MODE_ROW_14))
        a = (a & ~(uint32_t)BIT(14)) | (row_scan >> 1 & 1) << 14;
    return a & PLANE_MASK;
}

static uint32_t start_address(const struct vga_state *s)
{
    return (uint32_t)s->crtc[CRTC_START_HIGH] << 8 | s->crtc[CRTC_START_LOW];
}

/* ------------------------------------------------------------------ text */

static void find_cursor(const struct vga_state *s, struct vga_screen *out)
{
    uint32_t at = (uint32_t)s->crtc[CRTC_CURSOR_HIGH] << 8 | s->crtc[CRTC_CURSOR_LOW];
    unsigned pitch = s->crtc[CRTC_OFFSET] * DISPLAYED_WORDS;
    unsigned first = s->crtc[CRTC_CURSOR_START] & CURSOR_SCAN;

    at = (at - start_address(s)) & PLANE_MASK;
    if (pitch == 0)
        pitch = out->columns;
    out->cursor_column = at % pitch;
    out->cursor_row = at / pitch;
    out->cursor = !(s->crtc[CRTC_CURSOR_START] & CRTC_CURSOR_OFF) &&
                  first <= (s->crtc[CRTC_CURSOR_END] & CURSOR_SCAN) && first < out->cell_height &&
                  out->cursor_column < out->columns && out->cursor_row < out->rows;
}

static void text_screen(const struct vga_state *s, struct vga_screen *out)
{
    unsigned lines = vga_display_lines(s);

    if (s->crtc[CRTC_MAX_SCAN] & CRTC_MAX_SCAN_DOUBLE)
        lines /= 2;
    out->text = true;
    out->bits = TEXT_BITS;
    out->cell_width = s->seq[SEQ_CLOCKING] & SEQ_CLOCKING_8_DOTS ? 8 : 9;
    out->cell_height = (s->crtc[CRTC_MAX_SCAN] & MAX_SCAN_MASK) + 1u;
    out->columns = MIN(s->crtc[CRTC_H_DISPLAY_END] + 1u, (unsigned)VGA_MAX_COLUMNS);
    out->rows = MIN(MAX(lines / out->cell_height, 1u), (unsigned)VGA_MAX_ROWS);
    out->width = out->columns * out->cell_width;
    out->height = out->rows * out->cell_height;
    find_cursor(s, out);
}

void vga_text_row(struct vga *v, const struct vga_screen *s, unsigned row, uint16_t *cells)
{
    uint32_t counter =
        start_address(&v->s) + row * v->s.crtc[CRTC_OFFSET] * (uint32_t)DISPLAYED_WORDS;

    for (unsigned i = 0; i < s->columns; i++)
        cells[i] = (uint16_t)vga_planes(v, vga_crtc_address(&v->s, counter + i, 0));
}

/* ------------------------------------------------------------------ graphics */

/* Scan lines that show the same: by doubling, and by rows that the address does not depend on. */
static unsigned line_repeat(const struct vga_state *s)
{
    unsigned repeat = s->crtc[CRTC_MAX_SCAN] & CRTC_MAX_SCAN_DOUBLE ? 2 : 1;

    if (s->crtc[CRTC_MODE] & CRTC_MODE_ROW_13)
        repeat *= (s->crtc[CRTC_MAX_SCAN] & MAX_SCAN_MASK) + 1u;
    return repeat;
}

static void graphics_screen(const struct vga_state *s, struct vga_screen *out)
{
    bool colours_256 = s->gc[GC_MODE] & GC_MODE_256;

    out->width = (s->crtc[CRTC_H_DISPLAY_END] + 1u) * (colours_256 ? 4 : 8);
    out->height = MAX(vga_display_lines(s) / line_repeat(s), 1u);
    out->bits = colours_256 ? VGA_256_BITS : s->gc[GC_MODE] & GC_MODE_INTERLEAVED ? 2 : 4;
}

static void dispi_screen(const struct vga_state *s, struct vga_screen *out)
{
    out->width = s->dispi[DISPI_XRES];
    out->height = s->dispi[DISPI_YRES];
    out->bits = s->dispi[DISPI_BPP];
}

void vga_get_screen(const struct vga *v, struct vga_screen *out)
{
    const struct vga_state *s = &v->s;

    memset(out, 0, sizeof(*out));
    out->blank = (s->seq[SEQ_CLOCKING] & SEQ_CLOCKING_OFF) || !(s->attr_index & ATTR_ON);
    if (vga_dispi_on(s))
        dispi_screen(s, out);
    else if (s->gc[GC_MISC] & GC_MISC_GRAPHICS)
        graphics_screen(s, out);
    else
        text_screen(s, out);
}

void vga_watch(struct vga *v, void (*changed)(void *opaque), void *opaque)
{
    v->changed_opaque = opaque;
    v->changed = changed;
}
