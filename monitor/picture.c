#include "monitor/picture.h"

#include "lib/format.h"
#include "lib/string.h"

#define APC        "\x1b_tithe-"
#define ST         "\x1b\\"
#define FNV_PRIME  16777619u
#define PIECE      120  /* characters of data in one command */
#define LONGEST    4095 /* of a repetition */
#define TOKEN_MAX  4
#define BITS_6     0x3f
#define PIXEL_SIZE 3

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Tokens, cut into commands. */
struct tokens {
    char *text;
    size_t n, room;
    unsigned in_piece; /* characters in the command that is open; 0: none is */
};

static void append(struct tokens *t, const char *text, size_t n)
{
    if (n > t->room - t->n)
        return;
    memcpy(t->text + t->n, text, n);
    t->n += n;
}

static void close_piece(struct tokens *t)
{
    if (t->in_piece != 0)
        append(t, ST, sizeof(ST) - 1);
    t->in_piece = 0;
}

static void token(struct tokens *t, const char *text, unsigned n)
{
    if (t->in_piece + n > PIECE)
        close_piece(t);
    if (t->in_piece == 0)
        append(t, APC "row;", sizeof(APC "row;") - 1);
    append(t, text, n);
    t->in_piece += n;
}

static void count_token(struct tokens *t, char kind, unsigned count)
{
    char text[3] = {kind, alphabet[count >> 6 & BITS_6], alphabet[count & BITS_6]};

    token(t, text, sizeof(text));
}

static void pixel_token(struct tokens *t, const uint8_t *rgb)
{
    uint32_t p = (uint32_t)rgb[0] << 16 | (uint32_t)rgb[1] << 8 | rgb[2];
    char text[TOKEN_MAX];

    for (unsigned i = 0; i < TOKEN_MAX; i++)
        text[i] = alphabet[p >> (18 - 6 * i) & BITS_6];
    token(t, text, sizeof(text));
}

/* Pixels from x on that are those of other, which begins at pixel x too. */
static unsigned same(const uint8_t *rgb, const uint8_t *other, unsigned x, unsigned width)
{
    unsigned n = 0;

    while (x + n < width && n < LONGEST &&
           memcmp(rgb + PIXEL_SIZE * (x + n), other + PIXEL_SIZE * n, PIXEL_SIZE) == 0)
        n++;
    return n;
}

/* Pixels from x on that are like the one before. */
static unsigned run(const uint8_t *rgb, unsigned x, unsigned width)
{
    return x == 0 ? 0 : same(rgb, rgb + PIXEL_SIZE * (x - 1), x, width);
}

size_t picture_row(const uint8_t *rgb, const uint8_t *above, unsigned width, uint32_t *checksum,
                   char *out, size_t room)
{
    struct tokens t = {.text = out, .room = room};

    for (unsigned i = 0; i < PIXEL_SIZE * width; i++)
        *checksum = (*checksum ^ rgb[i]) * FNV_PRIME;
    for (unsigned x = 0; x < width;) {
        unsigned repeat = run(rgb, x, width);
        unsigned copy = above == NULL ? 0 : same(rgb, above + PIXEL_SIZE * x, x, width);

        if (repeat == 0 && copy == 0)
            pixel_token(&t, rgb + PIXEL_SIZE * x);
        else if (copy >= repeat)
            count_token(&t, '^', copy);
        else
            count_token(&t, '*', repeat);
        x += MAX(MAX(repeat, copy), 1u);
    }
    close_piece(&t);
    return t.n;
}

size_t picture_begin(const char *name, unsigned width, unsigned height, char *out, size_t room)
{
    size_t n = format_text(out, room, APC "picture;%s;%u;%u" ST, name, width, height);

    return MIN(n, room - 1);
}

size_t picture_end(uint32_t checksum, char *out, size_t room)
{
    size_t n = format_text(out, room, APC "end;%08x" ST, checksum);

    return MIN(n, room - 1);
}
