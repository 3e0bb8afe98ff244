#include "lib/format.h"
#include "lib/string.h"

struct out {
    char *buf;
    size_t size, len;
};

static void out_char(struct out *o, char c)
{
    if (o->len + 1 < o->size)
        o->buf[o->len] = c;
    o->len++;
}

static void out_fill(struct out *o, char c, int n)
{
    while (n-- > 0)
        out_char(o, c);
}

struct spec {
    bool left, zero, plus, space, alt;
    int width, precision; /* precision < 0: none was given */
    int bytes;            /* the argument's size */
    char conv;
};

/* Writes a field's sign or prefix, its padding and its digits. */
static void out_field(struct out *o, const struct spec *s, const char *prefix, const char *body,
                      int len, int zeros)
{
    int prefix_len = (int)strlen(prefix);
    int pad = s->width - len - prefix_len - zeros;

    if (s->zero && !s->left && s->precision < 0 && pad > 0) {
        zeros += pad;
        pad = 0;
    }
    if (!s->left)
        out_fill(o, ' ', pad);
    for (int i = 0; i < prefix_len; i++)
        out_char(o, prefix[i]);
    out_fill(o, '0', zeros);
    for (int i = 0; i < len; i++)
        out_char(o, body[i]);
    if (s->left)
        out_fill(o, ' ', pad);
}

static void out_number(struct out *o, const struct spec *s, uint64_t v, bool negative)
{
    const char *digits = s->conv == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    unsigned base = s->conv == 'x' || s->conv == 'X' || s->conv == 'p' ? 16
                    : s->conv == 'o'                                   ? 8
                                                                       : 10;
    const char *prefix = "";
    char text[24];
    int n = 0;

    if (negative)
        prefix = "-";
    else if (s->conv == 'p' || (s->alt && base == 16 && v != 0))
        prefix = s->conv == 'X' ? "0X" : "0x";
    else if ((s->conv == 'd' || s->conv == 'i') && (s->plus || s->space))
        prefix = s->plus ? "+" : " ";
    if (v != 0 || s->precision != 0)
        do
            text[sizeof(text) - (size_t)++n] = digits[v % base];
        while ((v /= base) != 0);
    out_field(o, s, prefix, text + sizeof(text) - n, n, MAX(s->precision - n, 0));
}

static const char *parse_flags(const char *f, struct spec *s)
{
    for (;; f++) {
        if (*f == '-')
            s->left = true;
        else if (*f == '0')
            s->zero = true;
        else if (*f == '+')
            s->plus = true;
        else if (*f == ' ')
            s->space = true;
        else if (*f == '#')
            s->alt = true;
        else
            return f;
    }
}

static const char *parse_length(const char *f, struct spec *s)
{
    s->bytes = 4;
    switch (*f) {
    case 'l':
    case 'z':
    case 'j':
    case 't':
        s->bytes = 8;
        return f[0] == 'l' && f[1] == 'l' ? f + 2 : f + 1;
    case 'h':
        s->bytes = f[1] == 'h' ? 1 : 2;
        return f[1] == 'h' ? f + 2 : f + 1;
    default:
        return f;
    }
}

/* va_list is passed by pointer in a struct, so that helpers can take arguments from it. */
struct args {
    va_list list;
};

static const char *parse_count(const char *f, struct args *a, int *count)
{
    if (*f == '*') {
        *count = va_arg(a->list, int);
        return f + 1;
    }
    for (*count = 0; *f >= '0' && *f <= '9'; f++)
        *count = *count * 10 + (*f - '0');
    return f;
}

static void convert_signed(struct out *o, const struct spec *s, struct args *a)
{
    int64_t v = s->bytes == 8 ? va_arg(a->list, long) : va_arg(a->list, int);

    if (s->bytes == 1)
        v = (int8_t)v;
    else if (s->bytes == 2)
        v = (int16_t)v;
    out_number(o, s, v < 0 ? -(uint64_t)v : (uint64_t)v, v < 0);
}

static void convert_unsigned(struct out *o, const struct spec *s, struct args *a)
{
    uint64_t v = s->bytes == 8 ? va_arg(a->list, unsigned long) : va_arg(a->list, unsigned);

    if (s->bytes == 1)
        v = (uint8_t)v;
    else if (s->bytes == 2)
        v = (uint16_t)v;
    out_number(o, s, v, false);
}

static void convert_string(struct out *o, struct spec *s, struct args *a)
{
    const char *text = va_arg(a->list, const char *);
    int len = 0;

    if (text == NULL)
        text = "(null)";
    while ((s->precision < 0 || len < s->precision) && text[len] != '\0')
        len++;
    s->zero = false;
    out_field(o, s, "", text, len, 0);
}

static const char *convert(struct out *o, const char *f, struct args *a)
{
    struct spec s = {.precision = -1};
    char c;

    f = parse_flags(f, &s);
    f = parse_count(f, a, &s.width);
    if (s.width < 0) {
        s.left = true;
        s.width = -s.width;
    }
    if (*f == '.')
        f = parse_count(f + 1, a, &s.precision);
    f = parse_length(f, &s);
    s.conv = *f;
    switch (*f) {
    case 'd':
    case 'i':
        convert_signed(o, &s, a);
        break;
    case 'u':
    case 'x':
    case 'X':
    case 'o':
        convert_unsigned(o, &s, a);
        break;
    case 'p':
        out_number(o, &s, (uintptr_t)va_arg(a->list, void *), false);
        break;
    case 's':
        convert_string(o, &s, a);
        break;
    case 'c':
        c = (char)va_arg(a->list, int);
        s.zero = false;
        out_field(o, &s, "", &c, 1, 0);
        break;
    case '\0':
        return f;
    default:
        out_char(o, *f);
    }
    return f + 1;
}

size_t format_text_v(char *buf, size_t size, const char *fmt, va_list list)
{
    struct out o = {buf, size, 0};
    struct args a;

    va_copy(a.list, list);
    while (*fmt != '\0') {
        if (*fmt == '%')
            fmt = convert(&o, fmt + 1, &a);
        else
            out_char(&o, *fmt++);
    }
    va_end(a.list);
    if (size > 0)
        buf[MIN(o.len, size - 1)] = '\0';
    return o.len;
}

size_t format_text(char *buf, size_t size, const char *fmt, ...)
{
    va_list args;
    size_t n;

    va_start(args, fmt);
    n = format_text_v(buf, size, fmt, args);
    va_end(args);
    return n;
}
