/*
 * Bytes that a terminal sends to what a PS/2 keyboard with US layout sends: codes of scan code set
 * 2, make and break (IBM PS/2 Hardware Interface Technical Reference, keyboard). Terminals are
 * those of xterm's kind, Linux' console included.
 */
#ifndef MONITOR_KEYS_H
#define MONITOR_KEYS_H

#include "lib/types.h"

#define KEYS_QUEUE   512 /* bytes for the keyboard that it has not taken yet; a power of two */
#define KEYS_SEQ_MAX 16

struct keys {
    uint8_t seq[KEYS_SEQ_MAX]; /* an escape sequence that is not complete */
    unsigned seq_len;          /* 0: none */
    unsigned utf8_left;        /* bytes that belong to a character which no key has */
    uint8_t queue[KEYS_QUEUE];
    unsigned head, tail;
};

/* A byte was typed. Keys for which there is no room are lost as a whole. */
void keys_input(struct keys *k, uint8_t byte);
/* For a while nothing came: an ESC that began no sequence was the Esc key itself. */
void keys_pause(struct keys *k);
/* Whether keys_pause would have something to do. */
static inline bool keys_waiting(const struct keys *k)
{
    return k->seq_len != 0;
}
/* Ctrl-Alt-Del, which terminals do not send. */
void keys_ctrl_alt_del(struct keys *k);
/* The next bytes for the keyboard: up to n in a row; keys_taken says how many it has taken. */
const uint8_t *keys_next(const struct keys *k, size_t *n);
void keys_taken(struct keys *k, size_t n);

#endif
