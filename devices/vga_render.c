/* The picture: one line of pixels at a time, in whatever mode the registers amount to. */
#include "devices/vga_internal.h"
#include "lib/string.h"

#define PALETTE_SIZE   16
#define MAX_SCAN_MASK  0x1f
#define BYTE_PAN(r)    ((r) >> 5 & 3)
#define LINE_GRAPHICS  0xc0 /* characters 0xC0 to 0xDF go on in the ninth dot */
#define GLYPH_BYTES    32
#define ROW_WORDS      2 /* the offset register counts in twice the counter's unit */
#define PIXELS_OF_BYTE 8

/* A line being drawn. Pixels left of the picture and behind its end are dropped. */
struct line {
    struct vga *v;
    uint8_t *rgb;
    int x; /* of the next pixel */
    int width;
    uint8_t palette[PALETTE_SIZE][3];
};

/* ------------------------------------------------------------------ colours */

/* A colour of the DAC, by a pixel's eight bits. */
static void dac_colour(const struct vga_state *s, unsigned index, uint8_t rgb[3])
{
    const uint8_t *c = s->dac[index & s->dac_mask];
    bool wide = s->dispi[DISPI_ENABLE] & DISPI_DAC_8;

    for (unsigned i = 0; i < 3; i++)
        rgb[i] = wide ? c[i] : (uint8_t)(c[i] << 2 | c[i] >> 4);
}

/* The attribute controller's sixteen colours (IBM, attribute controller: color select). */
static void make_palette(const struct vga_state *s, uint8_t palette[PALETTE_SIZE][3])
{
    unsigned select = s->attr[ATTR_SELECT];

    for (unsigned i = 0; i < PALETTE_SIZE; i++) {
        unsigned c = s->attr[i & s->attr[ATTR_PLANES]];

        if (s->attr[ATTR_MODE] & ATTR_MODE_SELECT)
            c = (c & 0xf) | (select & 3) << 4;
        dac_colour(s, c | (select & 0xc) << 4, palette[i]);
    }
}

static void put_rgb(struct line *l, const uint8_t rgb[3])
{
    if (l->x >= 0 && l->x < l->width)
        memcpy(l->rgb + 3 * l->x, rgb, 3);
    l->x++;
}

static void put_colour(struct line *l, unsigned index)
{
    put_rgb(l, l->palette[index % PALETTE_SIZE]);
}

static void put_index_256(struct line *l, unsigned index)
{
    uint8_t rgb[3];

    dac_colour(&l->v->s, index, rgb);
    put_rgb(l, rgb);
}

/* ------------------------------------------------------------------ what the CRTC fetches */

/* A bit of each plane is a pixel. */
static void put_planar(struct line *l, uint32_t planes)
{
    for (unsigned bit = PIXELS_OF_BYTE; bit-- > 0;) {
        uint32_t p = planes >> bit;

        put_colour(l, (p & 1) | (p >> 7 & 2) | (p >> 14 & 4) | (p >> 21 & 8));
    }
}

/* Two bits of planes 0 and 2 are a pixel, after four of them those of planes 1 and 3. */
static void put_interleaved(struct line *l, uint32_t planes)
{
    for (unsigned half = 0; half < 2; half++, planes >>= 8)
        for (unsigned bit = PIXELS_OF_BYTE; bit > 0; bit -= 2)
            put_colour(l, (planes >> (bit - 2) & 3) | (planes >> (bit + 14) & 3) << 2);
}

static void put_256(struct line *l, uint32_t planes)
{
    for (unsigned plane = 0; plane < 4; plane++, planes >>= 8)
        put_index_256(l, planes & 0xff);
}

static void put_fetched(struct line *l, uint32_t planes)
{
    unsigned mode = l->v->s.gc[GC_MODE];

    if (mode & GC_MODE_256)
        put_256(l, planes);
    else if (mode & GC_MODE_INTERLEAVED)
        put_interleaved(l, planes);
    else
        put_planar(l, planes);
}

/* ------------------------------------------------------------------ the classic modes */

/* Where a line begins: the counters, and how many pixels of it are left of the screen. */
struct place {
    uint32_t counter;
    unsigned row_scan;
    unsigned pan;
};

static unsigned line_compare(const struct vga_state *s)
{
    return s->crtc[CRTC_LINE_COMPARE] | (s->crtc[CRTC_OVERFLOW] >> 4 & 1u) << 8 |
           (s->crtc[CRTC_MAX_SCAN] >> 6 & 1u) << 9;
}

static unsigned pan_of(const struct vga_state *s)
{
    unsigned pan = s->attr[ATTR_PAN];

    return s->gc[GC_MODE] & GC_MODE_256 ? pan / 2 & 3 : pan & 7;
}

/* scan: the scan line, as the display counts them. */
static struct place find_line(const struct vga_state *s, unsigned scan)
{
    unsigned rows = (s->crtc[CRTC_MAX_SCAN] & MAX_SCAN_MASK) + 1u;
    struct place p = {.pan = pan_of(s)};

    p.counter = (uint32_t)s->crtc[CRTC_START_HIGH] << 8 | s->crtc[CRTC_START_LOW];
    p.counter += BYTE_PAN(s->crtc[CRTC_PRESET_ROW]);
    if (scan > line_compare(s)) {
        scan -= line_compare(s) + 1;
        p.counter = 0;
        if (s->attr[ATTR_MODE] & ATTR_MODE_SPLIT_PAN)
            p.pan = 0;
    }
    if (s->crtc[CRTC_MAX_SCAN] & CRTC_MAX_SCAN_DOUBLE)
        scan /= 2;
    p.counter += scan / rows * s->crtc[CRTC_OFFSET] * (uint32_t)ROW_WORDS;
    p.row_scan = scan % rows;
    return p;
}

/* Characters that the address counter stays at one place for. */
static unsigned count_by(const struct vga_state *s)
{
    if (s->crtc[CRTC_UNDERLINE] & CRTC_UNDERLINE_COUNT_4)
        return 4;
    return s->crtc[CRTC_MODE] & CRTC_MODE_COUNT_2 ? 2 : 1;
}

static void render_graphics(struct line *l, const struct vga_screen *screen, unsigned y)
{
    const struct vga_state *s = &l->v->s;
    unsigned repeat = vga_display_lines(s) / screen->height;
    struct place p = find_line(s, y * repeat);
    unsigned by = count_by(s);

    l->x = -(int)p.pan;
    for (unsigned i = 0; l->x < l->width; i++)
        put_fetched(l, vga_planes(l->v, vga_crtc_address(s, p.counter + i / by, p.row_scan)));
}

/* ------------------------------------------------------------------ text */

/* Where plane 2 has the font that SEQ_FONTS selects with three bits. */
static unsigned font_address(const struct vga_state *s, bool bold)
{
    static const uint16_t starts[8] = {0x0000, 0x4000, 0x8000, 0xc000,
                                       0x2000, 0x6000, 0xa000, 0xe000};
    unsigned r = s->seq[SEQ_FONTS];

    return starts[bold ? (r >> 2 & 3) | (r >> 3 & 4) : (r & 3) | (r >> 2 & 4)];
}

static bool cursor_here(const struct vga_state *s, const struct vga_screen *screen, unsigned row,
                        unsigned column, unsigned scan)
{
    return screen->cursor && row == screen->cursor_row && column == screen->cursor_column &&
           scan >= (s->crtc[CRTC_CURSOR_START] & MAX_SCAN_MASK) &&
           scan <= (s->crtc[CRTC_CURSOR_END] & MAX_SCAN_MASK);
}

static void put_glyph(struct line *l, const struct vga_screen *screen, uint16_t cell, unsigned dots)
{
    const struct vga_state *s = &l->v->s;
    unsigned fore = cell >> 8 & 0xf, back = cell >> 12, code = cell & 0xff;
    bool line_graphics = (s->attr[ATTR_MODE] & ATTR_MODE_LINE_9) && (code & 0xe0) == LINE_GRAPHICS;

    if (s->attr[ATTR_MODE] & ATTR_MODE_BLINK)
        back &= 7;
    for (unsigned bit = PIXELS_OF_BYTE; bit-- > 0;)
        put_colour(l, dots >> bit & 1 ? fore : back);
    if (screen->cell_width > PIXELS_OF_BYTE)
        put_colour(l, line_graphics && (dots & 1) ? fore : back);
}

static void render_text(struct line *l, const struct vga_screen *screen, unsigned y)
{
    const struct vga_state *s = &l->v->s;
    unsigned row = y / screen->cell_height, scan = y % screen->cell_height;
    uint16_t cells[VGA_MAX_COLUMNS];

    vga_text_row(l->v, screen, row, cells);
    for (unsigned i = 0; i < screen->columns; i++) {
        uint32_t at = font_address(s, cells[i] & BIT(11)) + (cells[i] & 0xff) * GLYPH_BYTES + scan;
        unsigned dots = vga_planes(l->v, at & 0xffff) >> 16 & 0xff;

        if (cursor_here(s, screen, row, i, scan))
            dots = 0xff;
        put_glyph(l, screen, cells[i], dots);
    }
}

/* ------------------------------------------------------------------ VBE_DISPI modes */

static uint8_t widen_5(unsigned c)
{
    return (uint8_t)(c << 3 | c >> 2);
}

static void put_15(struct line *l, unsigned p)
{
    put_rgb(l, (const uint8_t[3]){widen_5(p >> 10 & 31), widen_5(p >> 5 & 31), widen_5(p & 31)});
}

static void put_16(struct line *l, unsigned p)
{
    unsigned green = p >> 5 & 63;

    put_rgb(l, (const uint8_t[3]){widen_5(p >> 11 & 31), (uint8_t)(green << 2 | green >> 4),
                                  widen_5(p & 31)});
}

static void put_packed(struct line *l, unsigned bpp, uint32_t p)
{
    switch (bpp) {
    case 8:
        put_index_256(l, p);
        break;
    case 15:
        put_15(l, p);
        break;
    case 16:
        put_16(l, p);
        break;
    default:
        put_rgb(l, (const uint8_t[3]){(uint8_t)(p >> 16), (uint8_t)(p >> 8), (uint8_t)p});
    }
}

static void render_packed(struct line *l, unsigned y)
{
    const struct vga_state *s = &l->v->s;
    unsigned bpp = s->dispi[DISPI_BPP], bytes = (bpp + 7) / 8;
    uint32_t at =
        (s->dispi[DISPI_Y_OFFSET] + y) * vga_dispi_pitch(s) + s->dispi[DISPI_X_OFFSET] * bytes;

    while (l->x < l->width) {
        uint32_t p = 0;

        for (unsigned i = 0; i < bytes; i++, at++)
            p |= (uint32_t)vga_vram_byte(l->v, at % VGA_VRAM_SIZE) << 8 * i;
        put_packed(l, bpp, p);
    }
}

static void render_dispi_planar(struct line *l, unsigned y)
{
    const struct vga_state *s = &l->v->s;
    unsigned x = s->dispi[DISPI_X_OFFSET];
    uint32_t at = (s->dispi[DISPI_Y_OFFSET] + y) * vga_dispi_pitch(s) + x / PIXELS_OF_BYTE;

    l->x = -(int)(x % PIXELS_OF_BYTE);
    while (l->x < l->width)
        put_planar(l, vga_planes(l->v, at++ % (VGA_VRAM_SIZE / 4)));
}

/* ------------------------------------------------------------------ any mode */

void vga_render_line(struct vga *v, const struct vga_screen *s, unsigned y, uint8_t *rgb)
{
    struct line l = {.v = v, .rgb = rgb, .width = (int)s->width};

    if (s->blank || y >= s->height) {
        memset(rgb, 0, 3 * s->width);
        return;
    }
    make_palette(&v->s, l.palette);
    if (s->text)
        render_text(&l, s, y);
    else if (!vga_dispi_on(&v->s))
        render_graphics(&l, s, y);
    else if (s->bits == 4)
        render_dispi_planar(&l, y);
    else
        render_packed(&l, y);
}
