#include "lib/string.h"
#include "machine/screen.h"

#define MAX_COLUMNS   240
#define MAX_ROWS      100
#define VGA_COLUMNS   80
#define VGA_ROWS      25
#define VGA_ATTRIBUTE 0x0700 /* light grey on black */
#define TAB_WIDTH     8
#define LIGHT_GREY    0xaa

static struct {
    volatile uint8_t *memory;
    struct boot_framebuffer fb;
    unsigned columns, rows;
    unsigned column, row;
    uint32_t colour;
    /* What is to be seen. Reading it back from a frame buffer would be slow. */
    char cells[MAX_ROWS][MAX_COLUMNS];
} screen;

static uint32_t channel(uint8_t pos, uint8_t size)
{
    if (size == 0 || size > 8 || pos > 31)
        return 0;
    return (uint32_t)(LIGHT_GREY >> (8 - size)) << pos;
}

static void draw_pixel(volatile uint8_t *p, uint32_t colour)
{
    switch (screen.fb.bpp) {
    case 32:
        *(volatile uint32_t *)p = colour;
        break;
    case 16:
        *(volatile uint16_t *)p = (uint16_t)colour;
        break;
    case 24:
        for (unsigned i = 0; i < 3; i++)
            p[i] = (uint8_t)(colour >> (8 * i));
        break;
    }
}

static void draw_glyph(unsigned row, unsigned column, char c)
{
    unsigned glyph = (uint8_t)c - FONT_FIRST, pixel = screen.fb.bpp / 8;
    volatile uint8_t *line = screen.memory + (uint64_t)row * FONT_HEIGHT * screen.fb.pitch +
                             (uint64_t)column * FONT_WIDTH * pixel;

    if (glyph >= FONT_GLYPHS)
        glyph = '?' - FONT_FIRST;
    for (unsigned y = 0; y < FONT_HEIGHT; y++, line += screen.fb.pitch)
        for (unsigned x = 0; x < FONT_WIDTH; x++)
            draw_pixel(line + x * pixel,
                       font_glyphs[glyph][y] >> (FONT_WIDTH - 1 - x) & 1 ? screen.colour : 0);
}

/* Shows c at a place; where it is already, nothing is written. */
static void set_cell(unsigned row, unsigned column, char c)
{
    if (screen.cells[row][column] == c)
        return;
    screen.cells[row][column] = c;
    if (screen.fb.kind == BOOT_FB_RGB)
        draw_glyph(row, column, c);
    else
        ((volatile uint16_t *)screen.memory)[row * screen.columns + column] =
            VGA_ATTRIBUTE | (uint8_t)c;
}

static void clear(void)
{
    for (unsigned row = 0; row < screen.rows; row++) {
        for (unsigned column = 0; column < screen.columns; column++) {
            screen.cells[row][column] = '\0';
            set_cell(row, column, ' ');
        }
    }
}

void screen_init(const struct boot_framebuffer *fb, void *memory)
{
    screen.memory = memory;
    screen.fb = *fb;
    if (fb->kind == BOOT_FB_RGB) {
        screen.columns = MIN(fb->width / FONT_WIDTH, (uint32_t)MAX_COLUMNS);
        screen.rows = MIN(fb->height / FONT_HEIGHT, (uint32_t)MAX_ROWS);
        screen.colour = channel(fb->red.pos, fb->red.size) |
                        channel(fb->green.pos, fb->green.size) |
                        channel(fb->blue.pos, fb->blue.size);
    } else {
        screen.columns = VGA_COLUMNS;
        screen.rows = VGA_ROWS;
    }
    clear();
}

static void scroll(void)
{
    for (unsigned row = 0; row + 1 < screen.rows; row++)
        for (unsigned column = 0; column < screen.columns; column++)
            set_cell(row, column, screen.cells[row + 1][column]);
    for (unsigned column = 0; column < screen.columns; column++)
        set_cell(screen.rows - 1, column, ' ');
}

static void new_line(void)
{
    screen.column = 0;
    if (screen.row + 1 < screen.rows)
        screen.row++;
    else
        scroll();
}

static void put_char(char c)
{
    switch (c) {
    case '\n':
        new_line();
        return;
    case '\r':
        screen.column = 0;
        return;
    case '\t':
        screen.column = MIN(ALIGN_DOWN(screen.column, TAB_WIDTH) + TAB_WIDTH, screen.columns - 1);
        return;
    }
    if (screen.column == screen.columns)
        new_line();
    set_cell(screen.row, screen.column++, c);
}

void screen_put(const char *text, size_t n)
{
    if (screen.memory == NULL || screen.rows == 0 || screen.columns == 0)
        return;
    for (size_t i = 0; i < n; i++)
        put_char(text[i]);
}
