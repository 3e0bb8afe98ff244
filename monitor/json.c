#include "monitor/json.h"

#include "lib/format.h"
#include "lib/string.h"

void json_init(struct json *j)
{
    memset(j, 0, sizeof(*j));
}

/* ------------------------------------------------------------------ taking apart */

/* A place in the text. What stands open is on a stack, so nothing recurses. */
struct parser {
    struct json *j;
    size_t at;
    unsigned open[JSON_DEPTH]; /* objects and arrays whose end has not come */
    unsigned depth;
};

static char peek(const struct parser *p)
{
    return p->at < p->j->len ? p->j->text[p->at] : '\0';
}

static void skip_blanks(struct parser *p)
{
    while (peek(p) == ' ' || peek(p) == '\t' || peek(p) == '\n' || peek(p) == '\r')
        p->at++;
}

/* A new value that begins here; NULL: there is no room. */
static struct json_value *add(struct parser *p, enum json_type type)
{
    struct json_value *v = &p->j->values[p->j->count];

    if (p->j->count == JSON_VALUES)
        return NULL;
    p->j->count++;
    *v = (struct json_value){type, (uint16_t)p->at, (uint16_t)p->at, (uint16_t)p->j->count};
    return v;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Behind a backslash. */
static bool parse_escape(struct parser *p)
{
    char c = peek(p);

    p->at++;
    if (c == 'u') {
        for (unsigned i = 0; i < 4; i++, p->at++)
            if (hex_digit(peek(p)) < 0)
                return false;
        return true;
    }
    return c != '\0' && strchr("\"\\/bfnrt", c) != NULL;
}

static bool parse_string(struct parser *p)
{
    struct json_value *v;

    if (peek(p) != '"')
        return false;
    p->at++;
    v = add(p, JSON_STRING);
    if (v == NULL)
        return false;
    while (peek(p) != '"') {
        if ((uint8_t)peek(p) < 0x20)
            return false; /* the end of the text, too */
        if (p->j->text[p->at++] == '\\' && !parse_escape(p))
            return false;
    }
    v->end = (uint16_t)p->at++;
    return true;
}

static size_t skip_digits(struct parser *p)
{
    size_t start = p->at;

    while (peek(p) >= '0' && peek(p) <= '9')
        p->at++;
    return p->at - start;
}

static bool parse_number(struct parser *p)
{
    struct json_value *v = add(p, JSON_NUMBER);

    if (v == NULL)
        return false;
    p->at += peek(p) == '-';
    if (peek(p) == '0')
        p->at++;
    else if (skip_digits(p) == 0)
        return false;
    if (peek(p) == '.') {
        p->at++;
        if (skip_digits(p) == 0)
            return false;
    }
    if (peek(p) == 'e' || peek(p) == 'E') {
        p->at++;
        p->at += peek(p) == '+' || peek(p) == '-';
        if (skip_digits(p) == 0)
            return false;
    }
    v->end = (uint16_t)p->at;
    return true;
}

static bool parse_word(struct parser *p)
{
    static const struct {
        const char *word;
        enum json_type type;
    } words[] = {{"true", JSON_TRUE}, {"false", JSON_FALSE}, {"null", JSON_NULL}};

    for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
        size_t n = strlen(words[i].word);

        if (p->j->len - p->at >= n && memcmp(p->j->text + p->at, words[i].word, n) == 0) {
            struct json_value *v = add(p, words[i].type);

            p->at += n;
            return v != NULL;
        }
    }
    return false;
}

static bool open_container(struct parser *p, enum json_type type)
{
    if (p->depth == JSON_DEPTH || add(p, type) == NULL)
        return false;
    p->open[p->depth++] = p->j->count - 1;
    p->at++;
    return true;
}

static bool in_object(const struct parser *p)
{
    return p->j->values[p->open[p->depth - 1]].type == JSON_OBJECT;
}

/* In an object: a member's name and the colon. */
static bool parse_name(struct parser *p)
{
    skip_blanks(p);
    if (!parse_string(p))
        return false;
    skip_blanks(p);
    return p->at++ < p->j->len && p->j->text[p->at - 1] == ':';
}

static bool parse_value(struct parser *p)
{
    skip_blanks(p);
    switch (peek(p)) {
    case '{':
        return open_container(p, JSON_OBJECT);
    case '[':
        return open_container(p, JSON_ARRAY);
    case '"':
        return parse_string(p);
    case 't':
    case 'f':
    case 'n':
        return parse_word(p);
    default:
        return parse_number(p);
    }
}

/* The innermost one ends here, if its bracket is next. */
static bool close_container(struct parser *p)
{
    struct json_value *v = &p->j->values[p->open[p->depth - 1]];

    skip_blanks(p);
    if (peek(p) != (v->type == JSON_OBJECT ? '}' : ']'))
        return false;
    p->at++;
    v->end = (uint16_t)p->at;
    v->next = (uint16_t)p->j->count;
    p->depth--;
    return true;
}

static bool parse(struct json *j)
{
    struct parser p = {.j = j};
    bool first = true; /* nothing is in the innermost one yet */

    j->count = 0;
    if (!open_container(&p, JSON_OBJECT))
        return false;
    while (p.depth > 0) {
        unsigned depth = p.depth;

        if (close_container(&p)) {
            first = false;
            continue;
        }
        if (!first && (peek(&p) != ',' || p.at++ >= j->len))
            return false;
        if (in_object(&p) && !parse_name(&p))
            return false;
        if (!parse_value(&p))
            return false;
        first = p.depth > depth;
    }
    return p.at == j->len;
}

/* ------------------------------------------------------------------ bytes */

static enum json_event give_up(struct json *j, uint8_t byte)
{
    json_init(j);
    j->skipping = byte != '\n';
    return JSON_ERROR;
}

static void count_bracket(struct json *j, char c)
{
    if (j->escaped) {
        j->escaped = false;
    } else if (j->in_string) {
        j->escaped = c == '\\';
        j->in_string = c != '"';
    } else if (c == '"') {
        j->in_string = true;
    } else if (c == '{' || c == '[') {
        j->depth++;
    } else if (c == '}' || c == ']') {
        j->depth--;
    }
}

enum json_event json_feed(struct json *j, uint8_t byte)
{
    if (byte == JSON_RESET) {
        json_init(j);
        return JSON_MORE;
    }
    if (j->skipping) {
        j->skipping = byte != '\n';
        return JSON_MORE;
    }
    if (j->depth == 0) {
        if (byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r')
            return JSON_MORE;
        j->len = 0;
        if (byte != '{')
            return give_up(j, byte);
    }
    if (j->len == JSON_BYTES || (byte < 0x20 && j->in_string))
        return give_up(j, byte);
    j->text[j->len++] = (char)byte;
    count_bracket(j, (char)byte);
    if (j->depth > 0)
        return JSON_MORE;
    return parse(j) ? JSON_DONE : give_up(j, byte);
}

/* ------------------------------------------------------------------ looking */

unsigned json_member(const struct json *j, unsigned object, const char *name)
{
    const struct json_value *o = &j->values[object];
    size_t n = strlen(name);

    if (object >= j->count || o->type != JSON_OBJECT)
        return 0;
    for (unsigned i = object + 1; i < o->next; i = j->values[i + 1].next) {
        const struct json_value *v = &j->values[i];

        if ((size_t)(v->end - v->start) == n && memcmp(j->text + v->start, name, n) == 0)
            return i + 1;
    }
    return 0;
}

/* What an escape stands for; what is no ASCII becomes a question mark: no name here has it. */
static char unescaped(const char *text, size_t *at)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    char c = text[(*at)++];
    unsigned code = 0;

    if (c == 'u') {
        for (unsigned i = 0; i < 4; i++)
            code = code << 4 | (unsigned)hex_digit(text[(*at)++]);
        return code > 0 && code < 0x80 ? (char)code : '?';
    }
    for (unsigned i = 0; i < sizeof(to) - 1; i++)
        if (from[i] == c)
            return to[i];
    return c;
}

bool json_string(const struct json *j, unsigned index, char *buf, size_t size)
{
    const struct json_value *v = &j->values[index];
    size_t n = 0;

    if (index >= j->count || v->type != JSON_STRING)
        return false;
    for (size_t at = v->start; at < v->end;) {
        char c = j->text[at++];

        if (n + 1 >= size)
            return false;
        buf[n++] = c == '\\' ? unescaped(j->text, &at) : c;
    }
    buf[n] = '\0';
    return true;
}

size_t json_quote(const char *text, char *buf, size_t size)
{
    size_t n = 0;

    buf[n++] = '"';
    for (; *text != '\0' && n + 8 < size; text++) {
        if (*text == '"' || *text == '\\')
            n += format_text(buf + n, size - n, "\\%c", *text);
        else if ((uint8_t)*text < 0x20)
            n += format_text(buf + n, size - n, "\\u%04x", (unsigned)*text);
        else
            buf[n++] = *text;
    }
    buf[n++] = '"';
    buf[n] = '\0';
    return n;
}
