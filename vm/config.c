/*
 * The configuration file's reader. It streams over the text once, so that the size and the
 * contents of the file cost no memory: a value goes into a fixed buffer or straight to its field.
 * What can be written in a section is in the table of keys and nowhere else.
 */
#include "vm/config.h"

#include "lib/checked.h"
#include "lib/format.h"
#include "lib/string.h"

#define KEY_NAME_MAX     32
#define SHOWN_MAX        40 /* as much of a value as a message repeats */
#define MESSAGE_MAX      256
#define MAX_REPORTS      50 /* a file of garbage shall not flood the console */
#define SUGGEST_DISTANCE 2  /* typing errors up to which a known key is suggested */

enum key_type {
    KEY_SIZE,   /* uint64_t, with a unit */
    KEY_NUMBER, /* uint64_t */
    KEY_BOOL,   /* bool */
    KEY_CHOICE, /* an enum whose values are the indices of choices[] */
    KEY_TEXT,   /* char[room] */
    KEY_MODULE, /* char[room], the name of a boot module */
};

struct key {
    const char *name;
    enum key_type type;
    size_t offset;              /* of its field in struct vm_config */
    size_t room;                /* for texts: bytes there */
    uint64_t min, max;          /* for sizes and numbers */
    const char *const *choices; /* ends with NULL */
};

static const char *const action_names[] = {"destroy", "restart", "preserve", NULL};
static const char *const serial_names[] = {"console", "null", "log", NULL};
static const char *const boot_names[] = {"auto", "linux", "multiboot", NULL};

#define FIELD(f)      .offset = offsetof(struct vm_config, f)
#define TEXT(f)       FIELD(f), .room = sizeof(((struct vm_config *)0)->f)
#define RANGE(lo, hi) .min = (lo), .max = (hi)

static const struct key keys[] = {
    {"memory", KEY_SIZE, FIELD(memory), RANGE(CONFIG_MIN_MEMORY, CONFIG_MAX_MEMORY)},
    {"cpus", KEY_NUMBER, FIELD(cpus), RANGE(1, CONFIG_MAX_CPUS)},
    {"kernel", KEY_MODULE, TEXT(kernel)},
    {"initrd", KEY_MODULE, TEXT(initrd)},
    {"cmdline", KEY_TEXT, TEXT(cmdline)},
    {"boot", KEY_CHOICE, FIELD(boot), .choices = boot_names},
    {"com1", KEY_CHOICE, FIELD(com1), .choices = serial_names},
    {"on_poweroff", KEY_CHOICE, FIELD(on_poweroff), .choices = action_names},
    {"on_reboot", KEY_CHOICE, FIELD(on_reboot), .choices = action_names},
    {"on_crash", KEY_CHOICE, FIELD(on_crash), .choices = action_names},
    {"acpi", KEY_BOOL, FIELD(acpi)},
    {"start", KEY_BOOL, FIELD(start)},
    {"debug_console", KEY_BOOL, FIELD(debug_console)},
};

struct parser {
    const char *text;
    size_t n, pos;
    const char *file;
    unsigned line;
    unsigned reports;
    const struct config_ops *ops;
    struct vm_config *vms;
    unsigned nr_vms, max_vms;
    struct vm_config *vm;            /* the section that we are in, or NULL */
    bool skipping;                   /* in a section that is not kept: its keys are passed over */
    unsigned seen[ARRAY_SIZE(keys)]; /* the line where this section gave each key, or 0 */
};

/* ------------------------------------------------------------------ messages */

static void report(struct parser *p, unsigned line, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void report(struct parser *p, unsigned line, const char *fmt, ...)
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
static void report_value(struct parser *p, const char *key, const char *value, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
static void report_value(struct parser *p, const char *key, const char *value, const char *fmt, ...)
{
    char shown[SHOWN_MAX], why[MESSAGE_MAX / 2];
    va_list args;

    make_shown(shown, value);
    va_start(args, fmt);
    (void)format_text_v(why, sizeof(why), fmt, args);
    va_end(args);
    report(p, p->line, "%s = %s: %s", key, shown, why);
}

/* ------------------------------------------------------------------ characters */

#define END_OF_LINE (-1) /* a newline or the end of the file */

/* The character at pos as unsigned, or END_OF_LINE. A carriage return before a newline is none. */
static int peek(const struct parser *p)
{
    const char *s = p->text + p->pos;
    size_t left = p->n - p->pos;

    if (left == 0 || s[0] == '\n')
        return END_OF_LINE;
    if (s[0] == '\r' && (left == 1 || s[1] == '\n'))
        return END_OF_LINE;
    return (unsigned char)s[0];
}

static int next(struct parser *p)
{
    int c = peek(p);

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
static bool is_comment(int c)
{
    return c == '#' || c == ';';
}
static bool is_name(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
}
static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static void skip_blanks(struct parser *p)
{
    while (is_blank(peek(p)))
        p->pos++;
}

static void skip_line(struct parser *p)
{
    while (next(p) != END_OF_LINE)
        ;
}

/* Steps over the end of a line, if it is not the file's end. */
static void skip_newline(struct parser *p)
{
    if (p->pos < p->n && p->text[p->pos] == '\r')
        p->pos++;
    if (p->pos < p->n && p->text[p->pos] == '\n')
        p->pos++;
    p->line++;
}

/* Reads a name of letters, digits and "_-."; returns its length, which may be more than fits. */
static size_t read_name(struct parser *p, char *name, size_t size)
{
    size_t n = 0;

    for (; is_name(peek(p)); p->pos++, n++)
        if (n < size - 1)
            name[n] = p->text[p->pos];
    name[MIN(n, size - 1)] = '\0';
    return n;
}

/* ------------------------------------------------------------------ values */

/* A value being read. len counts what the value has, size says what buf can hold of it. */
struct value {
    char *buf;
    size_t size, len;
    size_t kept; /* up to where blanks at the end were quoted, or are no blanks */
    bool blank;  /* the last character was a blank: a comment may start */
};

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
    int c = next(p);

    if (c == '\\' || c == '"') {
        value_add(v, (char)c, true);
        return NULL;
    }
    if (c != END_OF_LINE)
        return "\\ must come before \", \\ or the end of the line";
    if (p->pos == p->n)
        return "\\ at the end of the file";
    skip_newline(p);
    skip_blanks(p);
    value_add(v, ' ', quoted);
    return NULL;
}

/*
 * Reads a value up to the end of the line, without the quotes, the comment after it, and the blanks
 * around it. Returns what is wrong with it, or NULL. A comment starts after a blank only: kernel
 * command lines have ';' and '#' inside of words.
 */
static const char *read_value(struct parser *p, struct value *v)
{
    bool quoted = false;
    const char *wrong;
    int c;

    while ((c = next(p)) != END_OF_LINE) {
        if (is_control(c))
            return "a control character in it";
        if (!quoted && v->blank && is_comment(c)) {
            skip_line(p);
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
    unit = lower(*s);
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
        report_value(p, k->name, text, "not a size (use 256M or 1G)");
    } else if (v < k->min || v > k->max) {
        format_size(low, sizeof(low), k->min);
        format_size(high, sizeof(high), k->max);
        report_value(p, k->name, text, "out of range (%s to %s)", low, high);
    } else if (v % PAGE_SIZE != 0) {
        report_value(p, k->name, text, "not a multiple of 4K");
    } else {
        memcpy((char *)p->vm + k->offset, &v, sizeof(v));
    }
}

static void set_number(struct parser *p, const struct key *k, const char *text)
{
    const char *end = text;
    uint64_t v;

    if (!parse_number(&end, &v) || *end != '\0')
        report_value(p, k->name, text, "not a number");
    else if (v < k->min || v > k->max)
        report_value(p, k->name, text, "out of range (%lu to %lu)", k->min, k->max);
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
    report_value(p, k->name, text, "not yes or no");
}

static void set_choice(struct parser *p, const struct key *k, const char *text)
{
    char all[MESSAGE_MAX / 2];
    size_t n = 0;
    int i;

    for (i = 0; k->choices[i] != NULL; i++)
        if (strcmp(text, k->choices[i]) == 0) {
            memcpy((char *)p->vm + k->offset, &i, sizeof(i));
            return;
        }
    for (i = 0; k->choices[i] != NULL && n < sizeof(all); i++)
        n += format_text(all + n, sizeof(all) - n, "%s%s", i == 0 ? "" : ", ", k->choices[i]);
    report_value(p, k->name, text, "not one of %s", all);
}

static void check_module(struct parser *p, const struct key *k, const char *text)
{
    if (*text == '\0')
        report_value(p, k->name, text, "no name");
    else if (p->ops->module_exists != NULL && !p->ops->module_exists(p->ops->opaque, text))
        report_value(p, k->name, text, "no such boot module");
}

/* ------------------------------------------------------------------ keys */

/* How many characters have to be added, removed or replaced to make b from a (Levenshtein). */
static unsigned edit_distance(const char *a, const char *b)
{
    unsigned row[KEY_NAME_MAX + 1], diagonal, above;
    size_t n = strlen(b);

    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 0; a[i] != '\0'; i++) {
        diagonal = row[0];
        row[0] = i + 1;
        for (unsigned j = 0; j < n; j++) {
            above = row[j + 1];
            row[j + 1] = MIN(MIN(above, row[j]) + 1, diagonal + (a[i] != b[j]));
            diagonal = above;
        }
    }
    return row[n];
}

static const struct key *find_key(const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

static void report_unknown_key(struct parser *p, const char *name)
{
    unsigned distance, best = SUGGEST_DISTANCE + 1;
    const char *nearest = NULL;

    for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
        distance = edit_distance(name, keys[i].name);
        if (distance < best) {
            best = distance;
            nearest = keys[i].name;
        }
    }
    if (nearest != NULL)
        report(p, p->line, "%s: unknown key (did you mean %s?)", name, nearest);
    else
        report(p, p->line, "%s: unknown key", name);
}

static void set_key(struct parser *p, const struct key *k, const char *text)
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
    case KEY_MODULE:
        check_module(p, k, text);
        break;
    case KEY_TEXT:
        break;
    }
}

/* The value of a known key, which p is before. Texts are read to where they belong. */
static void read_known(struct parser *p, const struct key *k)
{
    unsigned line = p->line, *seen = &p->seen[k - keys];
    char scratch[CONFIG_MODULE_MAX];
    struct value v = {.buf = scratch, .size = sizeof(scratch), .blank = true};
    const char *wrong;

    if (k->room != 0 && *seen == 0) {
        v.buf = (char *)p->vm + k->offset;
        v.size = k->room;
    }
    wrong = read_value(p, &v);
    if (wrong != NULL)
        report(p, line, "%s: %s", k->name, wrong);
    else if (*seen != 0)
        report(p, line, "%s: was given on line %u already", k->name, *seen);
    else if (v.len >= v.size)
        report_value(p, k->name, v.buf, "too long (at most %lu bytes)", v.size - 1);
    else
        set_key(p, k, v.buf);
    if (*seen == 0)
        *seen = line;
}

/* Passes over a value, which may go on in the next lines. */
static void skip_value(struct parser *p)
{
    char scratch[2];
    struct value v = {.buf = scratch, .size = sizeof(scratch), .blank = true};

    (void)read_value(p, &v);
}

/* "key = value"; the key's first character is next. */
static void read_key(struct parser *p)
{
    const struct key *k;
    char name[KEY_NAME_MAX];

    (void)read_name(p, name, sizeof(name));
    skip_blanks(p);
    if (name[0] == '\0' || next(p) != '=') {
        report(p, p->line, "expected \"[vm NAME]\" or \"key = value\"");
        return;
    }
    if (p->vm == NULL) {
        report(p, p->line, "%s: outside of a section (start one with [vm NAME])", name);
        skip_value(p);
        return;
    }
    for (char *s = name; *s != '\0'; s++)
        *s = lower(*s);
    k = find_key(name);
    if (k == NULL) {
        report_unknown_key(p, name);
        skip_value(p);
        return;
    }
    skip_blanks(p);
    read_known(p, k);
}

/* ------------------------------------------------------------------ sections */

/* The checks that need the whole section. */
static void finish_section(struct parser *p)
{
    if (p->vm != NULL && p->seen[find_key("kernel") - keys] == 0)
        report(p, p->vm->line, "vm %s: no kernel (kernel = MODULE)", p->vm->name);
    p->vm = NULL;
}

static void set_defaults(struct vm_config *vm, unsigned line)
{
    memset(vm, 0, sizeof(*vm));
    vm->valid = true;
    vm->line = line;
    vm->memory = MIB(256);
    vm->cpus = 1;
    vm->on_poweroff = CONFIG_DESTROY;
    vm->on_reboot = CONFIG_RESTART;
    vm->on_crash = CONFIG_DESTROY;
    vm->acpi = true;
    vm->start = true;
}

/* Reads vm "NAME"] or vm NAME]; what is wrong with it, or NULL. */
static const char *read_header(struct parser *p, char *name, size_t size)
{
    char kind[8];
    bool quoted;
    size_t n;

    skip_blanks(p);
    (void)read_name(p, kind, sizeof(kind));
    if (strcmp(kind, "vm") != 0)
        return "unknown section (it must be [vm NAME])";
    skip_blanks(p);
    quoted = peek(p) == '"';
    if (quoted)
        p->pos++;
    n = read_name(p, name, size);
    if (n >= size)
        return "the VM's name is too long (at most 31 bytes)";
    if (n == 0)
        return "no VM name ([vm NAME])";
    if (quoted && next(p) != '"')
        return "a VM's name has letters, digits, and the characters _ - . only";
    skip_blanks(p);
    if (next(p) != ']')
        return quoted ? "the closing ] is missing"
                      : "a VM's name has letters, digits, and the characters _ - . only";
    skip_blanks(p);
    if (peek(p) != END_OF_LINE && !is_comment(peek(p)))
        return "text after the ]";
    return NULL;
}

static void check_duplicate(struct parser *p)
{
    for (struct vm_config *other = p->vms; other != p->vm; other++)
        if (strcmp(other->name, p->vm->name) == 0) {
            report(p, p->line, "vm %s: is on line %u already", p->vm->name, other->line);
            return;
        }
}

/* A section header; what comes after the [ is next. */
static void read_section(struct parser *p)
{
    char name[CONFIG_NAME_MAX] = "";
    const char *wrong;

    finish_section(p);
    p->skipping = true;
    wrong = read_header(p, name, sizeof(name));
    if (wrong != NULL) {
        report(p, p->line, "%s", wrong);
        return;
    }
    if (p->nr_vms == p->max_vms) {
        report(p, p->line, "vm %s: too many VMs (at most %u)", name, p->max_vms);
        return;
    }
    p->skipping = false;
    p->vm = &p->vms[p->nr_vms++];
    set_defaults(p->vm, p->line);
    memcpy(p->vm->name, name, sizeof(name));
    memset(p->seen, 0, sizeof(p->seen));
    check_duplicate(p);
}

static void read_line(struct parser *p)
{
    skip_blanks(p);
    if (peek(p) == END_OF_LINE || is_comment(peek(p)))
        return;
    if (peek(p) == '[') {
        p->pos++;
        read_section(p);
    } else if (!p->skipping) {
        read_key(p);
    }
}

unsigned config_parse(const char *text, size_t n, const char *file, struct vm_config *vms,
                      unsigned max, const struct config_ops *ops)
{
    struct parser p = {.text = text, .n = n, .file = file, .line = 1, .ops = ops};

    p.vms = vms;
    p.max_vms = max;
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) /* what some editors start a file with */
        p.pos = 3;
    while (p.pos < n) {
        read_line(&p);
        skip_line(&p);
        skip_newline(&p);
    }
    finish_section(&p);
    return p.nr_vms;
}
