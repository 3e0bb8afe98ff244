#include "monitor/screen.h"

#include "lib/format.h"
#include "lib/string.h"
#include "monitor/cp437.h"

#define CLEAR        "\x1b[0m\x1b[2J\x1b[H"
#define CURSOR_HIDE  "\x1b[?25l"
#define CURSOR_SHOW  "\x1b[?25h"
#define PLAIN        "\x1b[0m"
#define ATTR_UNKNOWN (-1)
#define BRIGHT       BIT(3) /* of the foreground */
#define BLINK        BIT(7)
#define SHORT_GAP    6  /* cells; to move the cursor takes as many bytes */
#define END_BYTES    48 /* kept free for the cursor at the end */

/* Output that stays within its buffer. */
struct out {
    char *text;
    size_t n, room;
};

static void put(struct out *o, const char *text)
{
    size_t n = strlen(text);

    if (n > o->room - o->n)
        return;
    memcpy(o->text + o->n, text, n);
    o->n += n;
}

void screen_forget(struct screen *s)
{
    s->columns = 0;
    s->rows = 0;
}

/* ------------------------------------------------------------------ pieces */

static void put_code(struct out *o, unsigned c)
{
    char utf8[4] = "";

    if (c < 0x80) {
        utf8[0] = (char)c;
    } else if (c < 0x800) {
        utf8[0] = (char)(0xc0 | c >> 6);
        utf8[1] = (char)(0x80 | (c & 0x3f));
    } else {
        utf8[0] = (char)(0xe0 | c >> 12);
        utf8[1] = (char)(0x80 | (c >> 6 & 0x3f));
        utf8[2] = (char)(0x80 | (c & 0x3f));
    }
    put(o, utf8);
}

/* Whether what lies between the cursor and column is short, and looks as what is drawn now. */
static bool can_overwrite(const struct screen *s, unsigned column, unsigned row)
{
    if (s->at_row != row || column < s->at_column || column - s->at_column > SHORT_GAP)
        return false;
    for (unsigned i = s->at_column; i < column; i++)
        if (s->cells[row * s->columns + i] >> 8 != s->attribute)
            return false;
    return true;
}

/* A short way is taken by drawing once more what is there. */
static void move(struct screen *s, struct out *o, unsigned column, unsigned row)
{
    char text[24];

    if (can_overwrite(s, column, row)) {
        for (; s->at_column < column; s->at_column++)
            put_code(o, cp437_unicode((uint8_t)s->cells[row * s->columns + s->at_column]));
        return;
    }
    (void)format_text(text, sizeof(text), "\x1b[%u;%uH", row + 1, column + 1);
    put(o, text);
    s->at_column = column;
    s->at_row = row;
}

/* The VGA's colours have blue and red the other way round than ECMA-48 numbers them. */
static unsigned ansi_colour(unsigned vga)
{
    return (vga & 1) << 2 | (vga & 2) | (vga & 4) >> 2;
}

static void set_attribute(struct screen *s, struct out *o, unsigned attribute)
{
    char text[32];

    if (s->attribute == (int)attribute)
        return;
    (void)format_text(text, sizeof(text), "\x1b[0%s%s;%u;%um", attribute & BRIGHT ? ";1" : "",
                      attribute & BLINK ? ";5" : "", 30 + ansi_colour(attribute & 7),
                      40 + ansi_colour(attribute >> 4 & 7));
    put(o, text);
    s->attribute = (int)attribute;
}

/* After the last column terminals differ in where the cursor is: it counts as unknown. */
static void put_cell(struct screen *s, struct out *o, unsigned n, uint16_t cell)
{
    move(s, o, n % s->columns, n / s->columns);
    set_attribute(s, o, cell >> 8);
    put_code(o, cp437_unicode((uint8_t)cell));
    s->cells[n] = cell;
    if (++s->at_column == s->columns)
        s->at_row = s->rows;
}

static void show_cursor(struct screen *s, struct out *o, bool shown)
{
    if (s->cursor_shown != shown)
        put(o, shown ? CURSOR_SHOW : CURSOR_HIDE);
    s->cursor_shown = shown;
}

/* ------------------------------------------------------------------ updating */

/* An empty terminal of that size, known to be so. */
static void start(struct screen *s, struct out *o, unsigned columns, unsigned rows)
{
    put(o, CLEAR CURSOR_HIDE);
    s->columns = columns;
    s->rows = rows;
    s->at_column = 0;
    s->at_row = 0;
    s->attribute = ATTR_UNKNOWN;
    s->cursor_shown = false;
    s->next = 0;
    for (unsigned i = 0; i < columns * rows; i++)
        s->cells[i] = 0x0720;
}

/* Draws the cells that differ, from where the last call stopped; false: not all. */
static bool draw_cells(struct screen *s, const struct screen_text *t, struct out *o)
{
    unsigned count = s->columns * s->rows, n = s->next;

    for (unsigned i = 0; i < count; i++, n = n + 1 == count ? 0 : n + 1) {
        if (s->cells[n] == t->cells[n])
            continue;
        if (o->room - o->n < SCREEN_CELL_BYTES + END_BYTES) {
            s->next = n;
            return false;
        }
        show_cursor(s, o, false);
        put_cell(s, o, n, t->cells[n]);
    }
    s->next = 0;
    return true;
}

size_t screen_update(struct screen *s, const struct screen_text *t, char *out, size_t room,
                     bool *done)
{
    struct out o = {out, 0, room};

    *done = true;
    if (t->columns == 0 || t->rows == 0 || t->columns > SCREEN_MAX_COLUMNS ||
        t->rows > SCREEN_MAX_ROWS)
        return 0;
    if (s->columns != t->columns || s->rows != t->rows)
        start(s, &o, t->columns, t->rows);
    *done = draw_cells(s, t, &o);
    if (*done && t->cursor)
        move(s, &o, t->cursor_column, t->cursor_row);
    if (*done)
        show_cursor(s, &o, t->cursor);
    return o.n;
}

size_t screen_say(struct screen *s, const char *line, char *out, size_t room)
{
    struct out o = {out, 0, room};

    put(&o, CLEAR);
    put(&o, line);
    put(&o, "\r\n" CURSOR_SHOW);
    screen_forget(s);
    return o.n;
}

size_t screen_leave(struct screen *s, char *out, size_t room)
{
    struct out o = {out, 0, room};
    char text[24];

    if (s->rows != 0) {
        (void)format_text(text, sizeof(text), PLAIN "\x1b[%u;1H\r\n", s->rows);
        put(&o, text);
        put(&o, CURSOR_SHOW);
    }
    screen_forget(s);
    return o.n;
}
