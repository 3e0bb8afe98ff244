/* The configuration's text: messages about it, characters, names and values. */
#include "lib/format.h"
#include "lib/string.h"
#include "vm/config_internal.h"

#define SHOWN_MAX   40 /* as much of a value as a message repeats */
#define MESSAGE_MAX 256
#define MAX_REPORTS 50 /* a file of garbage shall not flood the console */

/* ------------------------------------------------------------------ messages */

void config_report(struct parser *p, unsigned line, const char *fmt, ...)
{
    char text[MESSAGE_MAX];
    va_list args;
    size_t n;

    if (p->vm != NULL)
        p->vm->valid = false;
    if (++p->reports > MAX_REPORTS + 1)
        return;
    n = format_text(text, sizeof(text), "%.64s:%u: ", p->file, line);
    if (p->reports > MAX_REPORTS) {
        (void)format_text(text + n, sizeof(text) - n, "too many errors, the rest is not shown");
    } else {
        va_start(args, fmt);
        (void)format_text_v(text + n, sizeof(text) - n, fmt, args);
        va_end(args);
    }
    p->ops->report(p->ops->opaque, text);
}

/* What a message may repeat of a file's text: short, and nothing that controls a terminal. */
static void make_shown(char shown[SHOWN_MAX], const char *text)
{
    size_t i;

    for (i = 0; text[i] != '\0' && i < SHOWN_MAX - 1; i++)
        shown[i] = text[i] < ' ' || text[i] > '~' ? '?' : text[i];
    if (text[i] != '\0')
        memcpy(shown + i - 3, "...", 3);
    shown[i] = '\0';
}

/* An error in a key's value, at the line being read. */
void config_report_value(struct parser *p, const char *key, const char *value, const char *fmt, ...)
{
    char shown[SHOWN_MAX], why[MESSAGE_MAX / 2];
    va_list args;

    make_shown(shown, value);
    va_start(args, fmt);
    (void)format_text_v(why, sizeof(why), fmt, args);
    va_end(args);
    config_report(p, p->line, "%s = %s: %s", key, shown, why);
}

/* ------------------------------------------------------------------ characters */

/* The character at pos as unsigned, or END_OF_LINE. A carriage return before a newline is none. */
int config_peek(const struct parser *p)
{
    const char *s = p->text + p->pos;
    size_t left = p->n - p->pos;

    if (left == 0 || s[0] == '\n')
        return END_OF_LINE;
    if (s[0] == '\r' && (left == 1 || s[1] == '\n'))
        return END_OF_LINE;
    return (unsigned char)s[0];
}

int config_next(struct parser *p)
{
    int c = config_peek(p);

    if (c != END_OF_LINE)
        p->pos++;
    return c;
}

static bool is_blank(int c)
{
    return c == ' ' || c == '\t';
}
static bool is_control(int c)
{
    return (c >= 0 && c < ' ' && c != '\t') || c == 0x7f;
}
bool config_is_comment(int c)
{
    return c == '#' || c == ';';
}
static bool is_name(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
}
char config_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

void config_skip_blanks(struct parser *p)
{
    while (is_blank(config_peek(p)))
        p->pos++;
}

void config_skip_line(struct parser *p)
{
    while (config_next(p) != END_OF_LINE)
        ;
}

/* Steps over the end of a line, if it is not the file's end. */
void config_skip_newline(struct parser *p)
{
    if (p->pos < p->n && p->text[p->pos] == '\r')
        p->pos++;
    if (p->pos < p->n && p->text[p->pos] == '\n')
        p->pos++;
    p->line++;
}

/* Reads a name of letters, digits and "_-."; returns its length, which may be more than fits. */
size_t config_read_name(struct parser *p, char *name, size_t size)
{
    size_t n = 0;

    for (; is_name(config_peek(p)); p->pos++, n++)
        if (n < size - 1)
            name[n] = p->text[p->pos];
    name[MIN(n, size - 1)] = '\0';
    return n;
}

/* ------------------------------------------------------------------ values */

static void value_add(struct value *v, char c, bool keep)
{
    if (v->len < v->size - 1)
        v->buf[v->len] = c;
    v->len++;
    v->blank = !keep;
    if (keep)
        v->kept = v->len;
}

/* After a backslash: an escaped character, or the line goes on. Returns what is wrong, or NULL. */
static const char *read_escape(struct parser *p, struct value *v, bool quoted)
{
    int c = config_next(p);

    if (c == '\\' || c == '"') {
        value_add(v, (char)c, true);
        return NULL;
    }
    if (c != END_OF_LINE)
        return "\\ must come before \", \\ or the end of the line";
    if (p->pos == p->n)
        return "\\ at the end of the file";
    config_skip_newline(p);
    config_skip_blanks(p);
    value_add(v, ' ', quoted);
    return NULL;
}

/*
 * Reads a value up to the end of the line, without the quotes, the comment after it, and the blanks
 * around it. Returns what is wrong with it, or NULL. A comment starts after a blank only: kernel
 * command lines have ';' and '#' inside of words.
 */
const char *config_read_value(struct parser *p, struct value *v)
{
    bool quoted = false;
    const char *wrong;
    int c;

    while ((c = config_next(p)) != END_OF_LINE) {
        if (is_control(c))
            return "a control character in it";
        if (!quoted && v->blank && config_is_comment(c)) {
            config_skip_line(p);
            break;
        }
        if (c == '"') {
            quoted = !quoted;
            v->kept = v->len;
            v->blank = false;
        } else if (c == '\\') {
            wrong = read_escape(p, v, quoted);
            if (wrong != NULL)
                return wrong;
        } else {
            value_add(v, (char)c, quoted || !is_blank(c));
        }
    }
    v->len = v->kept;
    v->buf[MIN(v->len, v->size - 1)] = '\0';
    return quoted ? "the closing \" is missing" : NULL;
}
