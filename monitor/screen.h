/*
 * A guest's screen on an ANSI terminal (ECMA-48): only what differs from what the terminal shows
 * is drawn, in pieces as large as the line takes. Pure: bytes go to a buffer of the caller's.
 */
#ifndef MONITOR_SCREEN_H
#define MONITOR_SCREEN_H

#include "lib/types.h"

#define SCREEN_MAX_COLUMNS 160
#define SCREEN_MAX_ROWS    100
/* What one cell takes at most: a cursor movement, colours, a character of UTF-8. */
#define SCREEN_CELL_BYTES 56

/* What is to be shown. Cells are as in VGA text memory: character, attribute in bits 15:8. */
struct screen_text {
    unsigned columns, rows; /* at most the above */
    unsigned cursor_column, cursor_row;
    bool cursor;
    const uint16_t *cells; /* columns * rows */
};

struct screen {
    unsigned columns, rows;     /* of what is shown; 0: the terminal's content is unknown */
    unsigned at_column, at_row; /* the terminal's cursor; at_row == rows: unknown */
    int attribute;              /* what characters are drawn with now; -1: unknown */
    bool cursor_shown;
    unsigned next; /* the cell to go on with */
    uint16_t cells[SCREEN_MAX_COLUMNS * SCREEN_MAX_ROWS];
};

/* The next update draws everything: the terminal is new, or something else wrote on it. */
void screen_forget(struct screen *s);
/*
 * Writes what makes the terminal show t to out, at most room bytes of it (at least 128), and
 * returns how many. *done says whether all was drawn; otherwise the next call goes on.
 */
size_t screen_update(struct screen *s, const struct screen_text *t, char *out, size_t room,
                     bool *done);
/* A screen that has no text: a line that says so instead. line has no control characters. */
size_t screen_say(struct screen *s, const char *line, char *out, size_t room);
/* Gives the terminal back: plain colours, cursor visible, below what was drawn. */
size_t screen_leave(struct screen *s, char *out, size_t room);

#endif
