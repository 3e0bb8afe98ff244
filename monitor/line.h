/*
 * A line that is typed and edited on an ANSI terminal (ECMA-48), with a history: the keys of
 * readline's Emacs mode. Pure: bytes come in, and the text that shows the line goes to a buffer of
 * the caller's. The line stays on one row of the terminal, and scrolls sideways there.
 */
#ifndef MONITOR_LINE_H
#define MONITOR_LINE_H

#include "lib/types.h"

#define LINE_BYTES   256 /* of a line, with its end */
#define LINE_HISTORY 16
#define LINE_COLUMNS 79 /* of the terminal that are used */
/* What line_draw writes at most. */
#define LINE_DRAW_BYTES (LINE_COLUMNS + 32)

enum line_event {
    LINE_NOTHING,  /* nothing has changed */
    LINE_CHANGED,  /* is to be drawn anew */
    LINE_BELL,     /* the key means nothing here */
    LINE_ENTERED,  /* text is complete; line_next begins another one */
    LINE_CANCELED, /* Ctrl-C: likewise, but text is not wanted */
    LINE_COMPLETE, /* Tab: see line_insert */
    LINE_CLEAR,    /* Ctrl-L: the terminal is to be cleared, and the line drawn */
};

/* Where the parser of the terminal's sequences is. */
enum line_state { LINE_TEXT, LINE_ESC, LINE_CSI, LINE_SS3 };

struct line {
    char text[LINE_BYTES]; /* with its end */
    size_t len, cursor;
    const char *prompt; /* at most half of LINE_COLUMNS */
    enum line_state state;
    unsigned number;         /* of a sequence */
    bool number_over;        /* further ones are passed over */
    bool skip_newline;       /* Enter sent a carriage return: its newline is no second one */
    char killed[LINE_BYTES]; /* by Ctrl-U, W, K, for Ctrl-Y */
    char history[LINE_HISTORY][LINE_BYTES];
    unsigned entered;      /* lines that ever went into the history */
    unsigned back;         /* how far back the line shown is; 0: it is a new one */
    char kept[LINE_BYTES]; /* the new one, meanwhile */
};

void line_init(struct line *l, const char *prompt);
enum line_event line_input(struct line *l, uint8_t byte);
/* A fresh line; the old one goes into the history if remember is set and it is not empty. */
void line_next(struct line *l, bool remember);
/* Text at the cursor, as far as there is room: what Tab completes. */
void line_insert(struct line *l, const char *text, size_t n);
/* Writes what draws the line on the cursor's row (at most LINE_DRAW_BYTES), returns how much. */
size_t line_draw(const struct line *l, char *out);

#endif
