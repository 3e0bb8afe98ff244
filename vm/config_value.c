/* What the keys' values mean: sizes, numbers, choices, names of modules. */
#include "lib/checked.h"
#include "lib/format.h"
#include "lib/string.h"
#include "vm/config_internal.h"

#define ALL_CHOICES_MAX 128 /* of a message that names them all */

static bool parse_number(const char **s, uint64_t *value)
{
    const char *start = *s;

    *value = 0;
    for (; **s >= '0' && **s <= '9'; (*s)++)
        if (!checked_mul(*value, 10, value) || !checked_add(*value, (uint64_t)(**s - '0'), value))
            *value = UINT64_MAX / 1024; /* beyond every limit, and stays there */
    return *s != start;
}

/* "256M", "1g", "64MiB": a number and its unit, which has to be there. */
static bool parse_size(const char *s, uint64_t *value)
{
    unsigned shift;
    char unit;

    if (!parse_number(&s, value))
        return false;
    unit = config_lower(*s);
    shift = unit == 'k' ? 10 : unit == 'm' ? 20 : unit == 'g' ? 30 : 0;
    if (shift == 0)
        return false;
    s++;
    if (s[0] == 'i' && s[1] == 'B')
        s += 2;
    if (!checked_mul(*value, 1ull << shift, value))
        *value = UINT64_MAX;
    return *s == '\0';
}

/* A size as one would write it: the largest unit that gives a whole number. */
static void format_size(char *buf, size_t size, uint64_t bytes)
{
    if (bytes % GIB(1) == 0)
        (void)format_text(buf, size, "%luG", bytes / GIB(1));
    else if (bytes % MIB(1) == 0)
        (void)format_text(buf, size, "%luM", bytes / MIB(1));
    else
        (void)format_text(buf, size, "%luK", bytes / KIB(1));
}

static void set_size(struct parser *p, const struct key *k, const char *text)
{
    char low[24], high[24];
    uint64_t v;

    if (!parse_size(text, &v)) {
        config_report_value(p, k->name, text, "not a size (use 256M or 1G)");
    } else if (v < k->min || v > k->max) {
        format_size(low, sizeof(low), k->min);
        format_size(high, sizeof(high), k->max);
        config_report_value(p, k->name, text, "out of range (%s to %s)", low, high);
    } else if (v % PAGE_SIZE != 0) {
        config_report_value(p, k->name, text, "not a multiple of 4K");
    } else {
        memcpy((char *)p->vm + k->offset, &v, sizeof(v));
    }
}

static void set_number(struct parser *p, const struct key *k, const char *text)
{
    const char *end = text;
    uint64_t v;

    if (!parse_number(&end, &v) || *end != '\0')
        config_report_value(p, k->name, text, "not a number");
    else if (v < k->min || v > k->max)
        config_report_value(p, k->name, text, "out of range (%lu to %lu)", k->min, k->max);
    else
        memcpy((char *)p->vm + k->offset, &v, sizeof(v));
}

static void set_bool(struct parser *p, const struct key *k, const char *text)
{
    static const char *const words[] = {"no", "yes", "off", "on", "false", "true", "0", "1"};

    for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
        if (strcmp(text, words[i]) == 0) {
            ((char *)p->vm)[k->offset] = i & 1;
            return;
        }
    config_report_value(p, k->name, text, "not yes or no");
}

/* The names of all choices, for a message. */
static void list_choices(char all[ALL_CHOICES_MAX], const struct key *k)
{
    size_t n = 0;

    for (unsigned i = 0; k->choices[i] != NULL && n < ALL_CHOICES_MAX; i++)
        n += format_text(all + n, ALL_CHOICES_MAX - n, "%s%s", i == 0 ? "" : ", ", k->choices[i]);
}

/* The choice that the first n characters of text name, or -1. */
static int find_choice(const struct key *k, const char *text, size_t n)
{
    for (int i = 0; k->choices[i] != NULL; i++)
        if (strlen(k->choices[i]) == n && memcmp(k->choices[i], text, n) == 0)
            return i;
    return -1;
}

static void set_choice(struct parser *p, const struct key *k, const char *text)
{
    char all[ALL_CHOICES_MAX];
    int i = find_choice(k, text, strlen(text));

    if (i >= 0) {
        memcpy((char *)p->vm + k->offset, &i, sizeof(i));
        return;
    }
    list_choices(all, k);
    config_report_value(p, k->name, text, "not one of %s", all);
}

/* Up to the comma or the end, blanks around not counted; what comes after is left in *next. */
static size_t list_item(const char **text, const char **next)
{
    size_t n = 0;

    while (**text == ' ' || **text == '\t')
        ++*text;
    while ((*text)[n] != ',' && (*text)[n] != '\0')
        n++;
    *next = *text + n + ((*text)[n] == ',');
    while (n > 0 && ((*text)[n - 1] == ' ' || (*text)[n - 1] == '\t'))
        n--;
    return n;
}

/* Choices with commas between, none twice. */
static void set_list(struct parser *p, const struct key *k, const char *text)
{
    uint8_t *list = (uint8_t *)p->vm + k->offset;
    char all[ALL_CHOICES_MAX];
    const char *item = text, *next;
    size_t count = 0;

    memset(list, 0, k->room);
    do {
        int i = find_choice(k, item, list_item(&item, &next));

        if (i < 0) {
            list_choices(all, k);
            config_report_value(p, k->name, text, "not a list of %s", all);
            return;
        }
        for (size_t j = 0; j < count; j++)
            if (list[j] == i + 1) {
                config_report_value(p, k->name, text, "%s is there twice", k->choices[i]);
                return;
            }
        list[count++] = (uint8_t)(i + 1);
        item = next;
    } while (next[-1] == ',');
}

/* "0-3,5": the numbers of physical CPUs. False: that is not what it looks like. */
static bool parse_cpus(const char *s, uint64_t *mask)
{
    uint64_t first, last;

    *mask = 0;
    for (;; s++) {
        if (!parse_number(&s, &first))
            return false;
        last = first;
        if (*s == '-') {
            s++;
            if (!parse_number(&s, &last))
                return false;
        }
        if (first > last || last > 63)
            return false;
        *mask |= UINT64_MAX >> (63 - last) & UINT64_MAX << first;
        if (*s != ',')
            return *s == '\0';
    }
}

static void set_cpus(struct parser *p, const struct key *k, const char *text)
{
    uint64_t mask;

    if (parse_cpus(text, &mask))
        memcpy((char *)p->vm + k->offset, &mask, sizeof(mask));
    else
        config_report_value(p, k->name, text, "not a list of CPUs from 0 to 63 (use 0-3,5)");
}

static void check_module(struct parser *p, const struct key *k, const char *text)
{
    if (*text == '\0')
        config_report_value(p, k->name, text, "no name");
    else if (p->ops->module_exists != NULL && !p->ops->module_exists(p->ops->opaque, text))
        config_report_value(p, k->name, text, "no such boot module");
}

void config_set_key(struct parser *p, const struct key *k, const char *text)
{
    switch (k->type) {
    case KEY_SIZE:
        set_size(p, k, text);
        break;
    case KEY_NUMBER:
        set_number(p, k, text);
        break;
    case KEY_BOOL:
        set_bool(p, k, text);
        break;
    case KEY_CHOICE:
        set_choice(p, k, text);
        break;
    case KEY_LIST:
        set_list(p, k, text);
        break;
    case KEY_CPUS:
        set_cpus(p, k, text);
        break;
    case KEY_MODULE:
        check_module(p, k, text);
        break;
    case KEY_TEXT:
        break;
    }
}
