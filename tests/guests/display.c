/*
 * What tests/e2e looks at on the operator's console: a text screen that shows which keys come, and
 * screens of graphics that F1 to F3 switch to. Esc ends it.
 */
#include "lib/guest.h"
#include "lib/vga.h"

#define KBD_DATA     0x60
#define KBD_STATUS   0x64
#define KBD_FULL     0x01
#define KBD_BUSY     0x02
#define KBD_WRITE    0x60 /* the command byte comes next */
#define KBD_XLATE    0x40
#define KBD_ENABLE   0xf4 /* to the keyboard: report keys */
#define KEY_ESC      0x01 /* codes of set 1 */
#define KEY_F1       0x3b
#define KEY_F2       0x3c
#define KEY_F3       0x3d
#define KEY_RELEASED 0x80
#define COLUMNS      80
#define ROWS         25
#define PLAIN        0x07
#define TITLE        0x1e
#define BLOCK        16 /* pixels of one colour: a serial line is slow */

static unsigned at_column, at_row;

static void put_cell(unsigned column, unsigned row, unsigned cell)
{
    ((volatile uint16_t *)(uint64_t)VGA_TEXT)[row * COLUMNS + column] = (uint16_t)cell;
}

static void print(const char *text, unsigned attribute)
{
    for (; *text != '\0'; text++)
        put_cell(at_column++, at_row, attribute << 8 | (uint8_t)*text);
}

static void put_cursor(void)
{
    unsigned at = at_row * COLUMNS + at_column;

    vga_set(VGA_CRTC, 0xe, at >> 8);
    vga_set(VGA_CRTC, 0xf, at & 0xff);
}

/* The colours of the DAC: of n, red is n / 4, green 63 - n / 4, blue n mod 64. */
static void set_colours(void)
{
    out8(VGA_DAC_WRITE, 0);
    for (unsigned i = 0; i < 256; i++) {
        out8(VGA_DAC_DATA, (uint8_t)(i / 4));
        out8(VGA_DAC_DATA, (uint8_t)(63 - i / 4));
        out8(VGA_DAC_DATA, (uint8_t)(i % 64));
    }
}

static void show_text(void)
{
    vga_set_dispi(4, 0);
    vga_set_mode(VGA_MODE_3);
    for (unsigned i = 0; i < COLUMNS * ROWS; i++)
        put_cell(i % COLUMNS, i / COLUMNS, PLAIN << 8 | ' ');
    at_column = 30;
    at_row = 0;
    print("display: ready", TITLE);
    at_column = 0;
    at_row = 2;
    put_cursor();
}

static void show_13h(void)
{
    volatile uint8_t *window = (volatile uint8_t *)(uint64_t)VGA_WINDOW;

    vga_set_mode(VGA_MODE_13H);
    for (unsigned i = 0; i < 64000; i++)
        window[i] = (uint8_t)(i / 320 / BLOCK * 20 + i % 320 / BLOCK);
}

/* True colour through the framebuffer, in blocks: red by column, green by row, blue by both. */
static void show_true_colour(void)
{
    volatile uint32_t *lfb = (volatile uint32_t *)(uint64_t)VGA_LFB;

    vga_place_lfb();
    vga_start_dispi(320, 240, 32);
    for (unsigned y = 0; y < 240; y++)
        for (unsigned x = 0; x < 320; x++)
            lfb[y * 320 + x] = x / BLOCK * 12 << 16 | y / BLOCK * 16 << 8 | (x / BLOCK ^ y / BLOCK);
}

/* Waits with interrupts on, though none is used: Bochs lets the host's through only then. */
static uint8_t wait_key(void)
{
    while (!(in8(KBD_STATUS) & KBD_FULL))
        asm volatile("sti; pause; cli");
    return in8(KBD_DATA);
}

static void keyboard_write(uint16_t port, uint8_t value)
{
    while (in8(KBD_STATUS) & KBD_BUSY)
        asm volatile("pause");
    out8(port, value);
}

static void start_keyboard(void)
{
    keyboard_write(KBD_STATUS, KBD_WRITE);
    keyboard_write(KBD_DATA, KBD_XLATE);
    keyboard_write(KBD_DATA, KBD_ENABLE);
    (void)wait_key();
}

static void show_key(uint8_t code)
{
    static const char digits[] = "0123456789abcdef";
    char text[4] = {digits[code >> 4], digits[code & 0xf], ' ', '\0'};

    if (at_column + 3 > COLUMNS) {
        at_column = 0;
        at_row = at_row == ROWS - 1 ? 2 : at_row + 1;
    }
    print(text, PLAIN);
    put_cursor();
}

void guest_main(void)
{
    start_keyboard();
    set_colours();
    show_text();
    for (;;) {
        uint8_t code = wait_key();

        if (code == KEY_ESC)
            break;
        if (code == KEY_F1)
            show_text();
        else if (code == KEY_F2)
            show_13h();
        else if (code == KEY_F3)
            show_true_colour();
        else if ((code & ~KEY_RELEASED) < KEY_F1 || (code & ~KEY_RELEASED) > KEY_F3)
            show_key(code);
    }
    CHECK("display-seen", true);
}
