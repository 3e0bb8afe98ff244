#include "monitor/keys.h"

#include "lib/string.h"

#define ESC        0x1b
#define BREAK      0xf0 /* before the code of a key that is released */
#define EXTENDED   0xe0
#define KEY_SHIFT  0x12
#define KEY_CTRL   0x14
#define KEY_ALT    0x11
#define KEY_ESC    0x76
#define KEY_DELETE 0x71   /* extended */
#define MOD_SHIFT  BIT(0) /* as xterm numbers them, less one */
#define MOD_ALT    BIT(1)
#define MOD_CTRL   BIT(2)
#define KEY_BYTES  16 /* of one key with all modifiers, pressed and released */
#define PARAMETERS 2

_Static_assert((KEYS_QUEUE & (KEYS_QUEUE - 1)) == 0, "indices wrap");

/* ------------------------------------------------------------------ tables */

/* A key, by its code in set 2; shifted: with Shift held. */
struct key {
    uint8_t code;
    bool shifted;
};

#define K(c)     \
    {            \
        c, false \
    }
#define S(c)    \
    {           \
        c, true \
    }

/* The US layout, from space on. */
static const struct key ascii[] = {
    K(0x29), S(0x16), S(0x52), S(0x26), S(0x25), S(0x2e), S(0x3d), K(0x52), /* sp !"#$%&' */
    S(0x46), S(0x45), S(0x3e), S(0x55), K(0x41), K(0x4e), K(0x49), K(0x4a), /* ()*+,-./ */
    K(0x45), K(0x16), K(0x1e), K(0x26), K(0x25), K(0x2e), K(0x36), K(0x3d), /* 0 to 7 */
    K(0x3e), K(0x46), S(0x4c), K(0x4c), S(0x41), K(0x55), S(0x49), S(0x4a), /* 89:;<=>? */
    S(0x1e), S(0x1c), S(0x32), S(0x21), S(0x23), S(0x24), S(0x2b), S(0x34), /* @ to G */
    S(0x33), S(0x43), S(0x3b), S(0x42), S(0x4b), S(0x3a), S(0x31), S(0x44), /* H to O */
    S(0x4d), S(0x15), S(0x2d), S(0x1b), S(0x2c), S(0x3c), S(0x2a), S(0x1d), /* P to W */
    S(0x22), S(0x35), S(0x1a), K(0x54), K(0x5d), K(0x5b), S(0x36), S(0x4e), /* XYZ[\]^_ */
    K(0x0e), K(0x1c), K(0x32), K(0x21), K(0x23), K(0x24), K(0x2b), K(0x34), /* ` to g */
    K(0x33), K(0x43), K(0x3b), K(0x42), K(0x4b), K(0x3a), K(0x31), K(0x44), /* h to o */
    K(0x4d), K(0x15), K(0x2d), K(0x1b), K(0x2c), K(0x3c), K(0x2a), K(0x1d), /* p to w */
    K(0x22), K(0x35), K(0x1a), S(0x54), S(0x5d), S(0x5b), S(0x0e),          /* xyz{|}~ */
};

#define KEY_ENTER     0x5a
#define KEY_TAB       0x0d
#define KEY_BACKSPACE 0x66

/* Function keys F1 to F12. */
static const uint8_t function_keys[] = {0x05, 0x06, 0x04, 0x0c, 0x03, 0x0b,
                                        0x83, 0x0a, 0x01, 0x09, 0x78, 0x07};

/* The last byte of a sequence to a key that is extended. */
static const struct {
    char final;
    uint8_t code;
} cursor_keys[] = {
    {'A', 0x75}, {'B', 0x72}, {'C', 0x74}, {'D', 0x6b}, {'H', 0x6c}, {'F', 0x69},
};

/* ESC [ N ~: extended keys, and below those the function keys. */
static const struct {
    uint8_t number, code;
} numbered_keys[] = {
    {1, 0x6c}, {2, 0x70}, {3, 0x71}, {4, 0x69}, {5, 0x7d}, {6, 0x7a}, {7, 0x6c}, {8, 0x69},
};
static const uint8_t numbered_functions[] = {11, 12, 13, 14, 15, 17, 18, 19, 20, 21, 23, 24};
_Static_assert(ARRAY_SIZE(numbered_functions) == ARRAY_SIZE(function_keys), "F1 to F12");

/* ------------------------------------------------------------------ the queue */

static unsigned room(const struct keys *k)
{
    return KEYS_QUEUE - (k->head - k->tail);
}

static void queue(struct keys *k, uint8_t byte)
{
    k->queue[k->head++ % KEYS_QUEUE] = byte;
}

const uint8_t *keys_next(const struct keys *k, size_t *n)
{
    unsigned at = k->tail % KEYS_QUEUE;

    *n = MIN(k->head - k->tail, KEYS_QUEUE - at);
    return k->queue + at;
}

void keys_taken(struct keys *k, size_t n)
{
    k->tail += (unsigned)n;
}

static void modifier(struct keys *k, unsigned modifiers, unsigned which, uint8_t code, bool down)
{
    if (!(modifiers & which))
        return;
    if (!down)
        queue(k, BREAK);
    queue(k, code);
}

/* A key pressed and released, between its modifiers. */
static void press(struct keys *k, uint8_t code, bool extended, unsigned modifiers)
{
    if (room(k) < KEY_BYTES)
        return;
    modifier(k, modifiers, MOD_CTRL, KEY_CTRL, true);
    modifier(k, modifiers, MOD_ALT, KEY_ALT, true);
    modifier(k, modifiers, MOD_SHIFT, KEY_SHIFT, true);
    if (extended)
        queue(k, EXTENDED);
    queue(k, code);
    if (extended)
        queue(k, EXTENDED);
    queue(k, BREAK);
    queue(k, code);
    modifier(k, modifiers, MOD_SHIFT, KEY_SHIFT, false);
    modifier(k, modifiers, MOD_ALT, KEY_ALT, false);
    modifier(k, modifiers, MOD_CTRL, KEY_CTRL, false);
}

void keys_ctrl_alt_del(struct keys *k)
{
    press(k, KEY_DELETE, true, MOD_CTRL | MOD_ALT);
}

/* ------------------------------------------------------------------ single bytes */

static void press_ascii(struct keys *k, uint8_t c, unsigned modifiers)
{
    const struct key *key = &ascii[c - ' '];

    press(k, key->code, false, modifiers | (key->shifted ? MOD_SHIFT : 0));
}

/* Below space: keys of their own, or Ctrl with the character that is 64 (or 96) above. */
static void press_control(struct keys *k, uint8_t c, unsigned modifiers)
{
    switch (c) {
    case '\r':
    case '\n':
        press(k, KEY_ENTER, false, modifiers);
        break;
    case '\t':
        press(k, KEY_TAB, false, modifiers);
        break;
    case '\b':
        press(k, KEY_BACKSPACE, false, modifiers);
        break;
    case ESC:
        press(k, KEY_ESC, false, modifiers);
        break;
    case 0:
        press_ascii(k, ' ', modifiers | MOD_CTRL);
        break;
    default:
        press_ascii(k, c <= 26 ? c + 'a' - 1 : c + 0x40, modifiers | MOD_CTRL);
    }
}

static void press_byte(struct keys *k, uint8_t c, unsigned modifiers)
{
    if (c == 0x7f)
        press(k, KEY_BACKSPACE, false, modifiers);
    else if (c < ' ')
        press_control(k, c, modifiers);
    else if (c < 0x7f)
        press_ascii(k, c, modifiers);
}

/* How many bytes of UTF-8 follow this one. */
static unsigned utf8_follow(uint8_t c)
{
    return c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
}

/* ------------------------------------------------------------------ sequences */

/* The numbers of a control sequence, those that are not given being 0. */
static void parameters(const struct keys *k, unsigned value[PARAMETERS])
{
    unsigned n = 0;

    memset(value, 0, PARAMETERS * sizeof(*value));
    for (unsigned i = 2; i < k->seq_len - 1 && n < PARAMETERS; i++) {
        if (k->seq[i] == ';')
            n++;
        else if (k->seq[i] >= '0' && k->seq[i] <= '9')
            value[n] = (value[n] * 10 + k->seq[i] - '0') % 1000;
    }
}

static void press_numbered(struct keys *k, unsigned number, unsigned modifiers)
{
    for (unsigned i = 0; i < ARRAY_SIZE(numbered_keys); i++)
        if (numbered_keys[i].number == number)
            press(k, numbered_keys[i].code, true, modifiers);
    for (unsigned i = 0; i < ARRAY_SIZE(numbered_functions); i++)
        if (numbered_functions[i] == number)
            press(k, function_keys[i], false, modifiers);
}

/* ESC [ ... or ESC O ..., complete. */
static void press_sequence(struct keys *k)
{
    uint8_t final = k->seq[k->seq_len - 1];
    unsigned value[PARAMETERS], modifiers;

    parameters(k, value);
    modifiers = value[1] > 0 ? (value[1] - 1) & (MOD_SHIFT | MOD_ALT | MOD_CTRL) : 0;
    if (final == '~')
        press_numbered(k, value[0], modifiers);
    else if (final == 'Z')
        press(k, KEY_TAB, false, MOD_SHIFT);
    else if (final >= 'P' && final <= 'S')
        press(k, function_keys[final - 'P'], false, modifiers);
    for (unsigned i = 0; i < ARRAY_SIZE(cursor_keys); i++)
        if (cursor_keys[i].final == final)
            press(k, cursor_keys[i].code, true, modifiers);
}

/* Linux' console: ESC [ [ A to E are F1 to F5. */
static bool linux_function(struct keys *k, uint8_t byte)
{
    if (k->seq_len != 4 || k->seq[2] != '[')
        return false;
    if (byte >= 'A' && byte <= 'E')
        press(k, function_keys[byte - 'A'], false, 0);
    return true;
}

/* A byte within a sequence; it ends with the first that is no parameter (ECMA-48, 5.4). */
static void sequence_byte(struct keys *k, uint8_t byte)
{
    if (k->seq_len == KEYS_SEQ_MAX) /* longer than any key's: only its end counts */
        k->seq_len--;
    k->seq[k->seq_len++] = byte;
    if (k->seq_len == 2) {
        if (byte == '[' || byte == 'O')
            return;
        k->seq_len = byte == ESC ? 1 : 0; /* the second ESC may begin a sequence itself */
        press_byte(k, byte == ESC ? ESC : byte, byte == ESC ? 0 : MOD_ALT);
        return;
    }
    if (k->seq_len == 3 && byte == '[')
        return;
    if (linux_function(k, byte)) {
        k->seq_len = 0;
    } else if (byte >= '@' && byte <= '~') {
        press_sequence(k);
        k->seq_len = 0;
    } else if (byte < ' ' || byte > '~') {
        k->seq_len = 0;
    }
}

void keys_input(struct keys *k, uint8_t byte)
{
    if (k->utf8_left > 0 && (byte & 0xc0) == 0x80) {
        k->utf8_left--;
        return;
    }
    k->utf8_left = utf8_follow(byte);
    if (k->seq_len > 0) {
        sequence_byte(k, byte);
    } else if (byte == ESC) {
        k->seq[0] = ESC;
        k->seq_len = 1;
    } else {
        press_byte(k, byte, 0);
    }
}

/* What was begun is no sequence: Esc, or Alt with the one character that came. */
void keys_pause(struct keys *k)
{
    if (k->seq_len == 1)
        press(k, KEY_ESC, false, 0);
    else if (k->seq_len == 2)
        press_byte(k, k->seq[1], MOD_ALT);
    k->seq_len = 0;
}
