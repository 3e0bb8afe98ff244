#include "monitor/line.h"

#include "lib/format.h"
#include "lib/string.h"

#define CTRL(c)     ((c)-0x40)
#define KEY_ESC     0x1b
#define KEY_DELETE  0x7f
#define NUMBERS_MAX 1000 /* of a sequence: more is no key */

/* ------------------------------------------------------------------ editing */

void line_init(struct line *l, const char *prompt)
{
    memset(l, 0, sizeof(*l));
    l->prompt = prompt;
}

static void set_text(struct line *l, const char *text)
{
    (void)string_copy(l->text, sizeof(l->text), text);
    l->len = strlen(l->text);
    l->cursor = l->len;
}

void line_insert(struct line *l, const char *text, size_t n)
{
    n = MIN(n, sizeof(l->text) - 1 - l->len);
    memmove(l->text + l->cursor + n, l->text + l->cursor, l->len - l->cursor + 1);
    memcpy(l->text + l->cursor, text, n);
    l->len += n;
    l->cursor += n;
}

static void cut(struct line *l, size_t from, size_t to)
{
    memmove(l->text + from, l->text + to, l->len - to + 1);
    l->len -= to - from;
    l->cursor = from;
}

static enum line_event kill(struct line *l, size_t from, size_t to)
{
    if (from == to)
        return LINE_BELL;
    memcpy(l->killed, l->text + from, to - from);
    l->killed[to - from] = '\0';
    cut(l, from, to);
    return LINE_CHANGED;
}

static enum line_event move_to(struct line *l, size_t cursor)
{
    if (l->cursor == cursor)
        return LINE_NOTHING;
    l->cursor = cursor;
    return LINE_CHANGED;
}

/* Where the word before the cursor begins; and where the one after it ends. */
static size_t word_left(const struct line *l)
{
    size_t at = l->cursor;

    while (at > 0 && l->text[at - 1] == ' ')
        at--;
    while (at > 0 && l->text[at - 1] != ' ')
        at--;
    return at;
}

static size_t word_right(const struct line *l)
{
    size_t at = l->cursor;

    while (at < l->len && l->text[at] == ' ')
        at++;
    while (at < l->len && l->text[at] != ' ')
        at++;
    return at;
}

static enum line_event delete_left(struct line *l)
{
    if (l->cursor == 0)
        return LINE_BELL;
    cut(l, l->cursor - 1, l->cursor);
    return LINE_CHANGED;
}

static enum line_event delete_right(struct line *l)
{
    if (l->cursor == l->len)
        return LINE_BELL;
    cut(l, l->cursor, l->cursor + 1);
    return LINE_CHANGED;
}

/* ------------------------------------------------------------------ history */

static char *entry(struct line *l, unsigned back)
{
    return l->history[(l->entered - back) % LINE_HISTORY];
}

static enum line_event older(struct line *l)
{
    if (l->back == MIN(l->entered, (unsigned)LINE_HISTORY))
        return LINE_BELL;
    if (l->back == 0)
        (void)string_copy(l->kept, sizeof(l->kept), l->text);
    set_text(l, entry(l, ++l->back));
    return LINE_CHANGED;
}

static enum line_event newer(struct line *l)
{
    if (l->back == 0)
        return LINE_BELL;
    l->back--;
    set_text(l, l->back == 0 ? l->kept : entry(l, l->back));
    return LINE_CHANGED;
}

void line_next(struct line *l, bool remember)
{
    bool again = l->entered > 0 && strcmp(entry(l, 1), l->text) == 0;

    if (remember && l->len > 0 && !again) {
        memcpy(l->history[l->entered % LINE_HISTORY], l->text, l->len + 1);
        l->entered++;
    }
    l->back = 0;
    set_text(l, "");
}

/* ------------------------------------------------------------------ keys */

static enum line_event yank(struct line *l)
{
    line_insert(l, l->killed, strlen(l->killed));
    return LINE_CHANGED;
}

static enum line_event control_key(struct line *l, uint8_t byte)
{
    switch (byte) {
    case CTRL('A'):
        return move_to(l, 0);
    case CTRL('B'):
        return move_to(l, l->cursor - (l->cursor > 0));
    case CTRL('C'):
        return LINE_CANCELED;
    case CTRL('D'):
        return delete_right(l);
    case CTRL('E'):
        return move_to(l, l->len);
    case CTRL('F'):
        return move_to(l, l->cursor + (l->cursor < l->len));
    case CTRL('H'):
    case KEY_DELETE:
        return delete_left(l);
    case CTRL('I'):
        return LINE_COMPLETE;
    case CTRL('J'):
    case CTRL('M'):
        l->skip_newline = byte == CTRL('M');
        return LINE_ENTERED;
    case CTRL('K'):
        return kill(l, l->cursor, l->len);
    case CTRL('L'):
        return LINE_CLEAR;
    case CTRL('N'):
        return newer(l);
    case CTRL('P'):
        return older(l);
    case CTRL('U'):
        return kill(l, 0, l->cursor);
    case CTRL('W'):
        return kill(l, word_left(l), l->cursor);
    case CTRL('Y'):
        return yank(l);
    case KEY_ESC:
        l->state = LINE_ESC;
        return LINE_NOTHING;
    default:
        return LINE_BELL;
    }
}

/* The keys that send ESC [ NUMBER ~. */
static enum line_event numbered_key(struct line *l)
{
    switch (l->number) {
    case 1:
    case 7:
        return move_to(l, 0);
    case 3:
        return delete_right(l);
    case 4:
    case 8:
        return move_to(l, l->len);
    default:
        return LINE_BELL;
    }
}

/* A sequence's last byte: ESC [ x, or ESC O x. */
static enum line_event final_byte(struct line *l, uint8_t byte)
{
    switch (byte) {
    case 'A':
        return older(l);
    case 'B':
        return newer(l);
    case 'C':
        return move_to(l, l->cursor + (l->cursor < l->len));
    case 'D':
        return move_to(l, l->cursor - (l->cursor > 0));
    case 'F':
        return move_to(l, l->len);
    case 'H':
        return move_to(l, 0);
    case '~':
        return numbered_key(l);
    default:
        return LINE_BELL;
    }
}

/* After ESC [: parameters are digits and what is up to '?', the last byte ends it. */
static enum line_event sequence(struct line *l, uint8_t byte)
{
    if (byte >= '0' && byte <= '9' && !l->number_over && l->number < NUMBERS_MAX) {
        l->number = l->number * 10 + (byte - '0');
        return LINE_NOTHING;
    }
    if (byte >= 0x20 && byte <= 0x3f) {
        l->number_over = true;
        return LINE_NOTHING;
    }
    l->state = LINE_TEXT;
    return byte >= 0x40 && byte < KEY_DELETE ? final_byte(l, byte) : LINE_BELL;
}

/* After ESC: a sequence begins, or it is a key with Alt. */
static enum line_event after_escape(struct line *l, uint8_t byte)
{
    l->state = LINE_TEXT;
    l->number = 0;
    l->number_over = false;
    switch (byte) {
    case '[':
        l->state = LINE_CSI;
        return LINE_NOTHING;
    case 'O':
        l->state = LINE_SS3;
        return LINE_NOTHING;
    case KEY_ESC:
        l->state = LINE_ESC;
        return LINE_NOTHING;
    case 'b':
        return move_to(l, word_left(l));
    case 'f':
        return move_to(l, word_right(l));
    case 'd':
        return kill(l, l->cursor, word_right(l));
    case KEY_DELETE:
        return kill(l, word_left(l), l->cursor);
    default:
        return LINE_BELL;
    }
}

static enum line_event plain_byte(struct line *l, uint8_t byte)
{
    bool second = l->skip_newline && byte == CTRL('J');
    char c = (char)byte;

    l->skip_newline = false;
    if (second)
        return LINE_NOTHING;
    if (byte < 0x20 || byte == KEY_DELETE)
        return control_key(l, byte);
    if (byte > KEY_DELETE || l->len == sizeof(l->text) - 1)
        return LINE_BELL;
    line_insert(l, &c, 1);
    return LINE_CHANGED;
}

enum line_event line_input(struct line *l, uint8_t byte)
{
    switch (l->state) {
    case LINE_ESC:
        return after_escape(l, byte);
    case LINE_CSI:
        return sequence(l, byte);
    case LINE_SS3:
        l->state = LINE_TEXT;
        return final_byte(l, byte);
    default:
        return plain_byte(l, byte);
    }
}

/* ------------------------------------------------------------------ drawing */

size_t line_draw(const struct line *l, char *out)
{
    size_t prompt = MIN(strlen(l->prompt), (size_t)LINE_COLUMNS / 2);
    size_t room = LINE_COLUMNS - prompt - 1; /* the cursor may stand behind the text */
    size_t from = l->cursor > room ? l->cursor - room : 0;
    size_t shown = MIN(l->len - from, room);
    size_t back = from + shown - l->cursor, n;

    n = format_text(out, LINE_DRAW_BYTES, "\r%.*s%.*s\x1b[K", (int)prompt, l->prompt, (int)shown,
                    l->text + from);
    if (back > 0)
        n += format_text(out + n, LINE_DRAW_BYTES - n, "\x1b[%luD", back);
    return n;
}
