/*
 * The configuration file's reader. It streams over the text once, so that the size and the
 * contents of the file cost no memory: a value goes into a fixed buffer or straight to its field.
 * What can be written in a section is in the table of keys and nowhere else.
 */
#include "lib/string.h"
#include "vm/config_internal.h"

#define KEY_NAME_MAX     32
#define SUGGEST_DISTANCE 2 /* typing errors up to which a known key is suggested */

static const char *const action_names[] = {"destroy", "restart", "preserve", NULL};
static const char *const serial_names[] = {"console", "null", "log", NULL};
static const char *const vga_names[] = {"auto", "no", "yes", NULL};
static const char *const screen_names[] = {"none", "console", NULL};
static const char *const boot_names[] = {"auto", "linux", "multiboot", NULL};

static const char *const device_names[] = {"floppy", "disk", "cdrom", "network", NULL};

#define FIELD(f)      .offset = offsetof(struct vm_config, f)
#define TEXT(f)       FIELD(f), .room = sizeof(((struct vm_config *)0)->f)
#define RANGE(lo, hi) .min = (lo), .max = (hi)

static const struct key keys[] = {
    {"memory", KEY_SIZE, FIELD(memory), RANGE(CONFIG_MIN_MEMORY, CONFIG_MAX_MEMORY)},
    {"cpus", KEY_NUMBER, FIELD(cpus), RANGE(1, CONFIG_MAX_CPUS)},
    {"cpu_shares", KEY_NUMBER, FIELD(cpu_shares), RANGE(1, CONFIG_MAX_SHARES)},
    {"cpu_reservation", KEY_NUMBER, FIELD(cpu_reservation), RANGE(0, 100 * CONFIG_MAX_CPUS)},
    {"cpu_limit", KEY_NUMBER, FIELD(cpu_limit), RANGE(0, 100 * CONFIG_MAX_CPUS)},
    {"cpu_affinity", KEY_CPUS, FIELD(cpu_affinity)},
    {"kernel", KEY_MODULE, TEXT(kernel)},
    {"initrd", KEY_MODULE, TEXT(initrd)},
    {"cmdline", KEY_TEXT, TEXT(cmdline)},
    {"boot", KEY_CHOICE, FIELD(boot), .choices = boot_names},
    {"firmware", KEY_MODULE, TEXT(firmware)},
    {"vgabios", KEY_MODULE, TEXT(vgabios)},
    {"floppy", KEY_MODULE, TEXT(floppy)},
    {"disk", KEY_MODULE, TEXT(disk[0])},
    {"disk2", KEY_MODULE, TEXT(disk[1])},
    {"disk3", KEY_MODULE, TEXT(disk[2])},
    {"disk4", KEY_MODULE, TEXT(disk[3])},
    {"cdrom", KEY_MODULE, TEXT(cdrom)},
    {"boot_order", KEY_LIST, TEXT(boot_order), .choices = device_names},
    {"boot_menu", KEY_BOOL, FIELD(boot_menu)},
    {"com1", KEY_CHOICE, FIELD(com1), .choices = serial_names},
    {"vga", KEY_CHOICE, FIELD(vga), .choices = vga_names},
    {"screen", KEY_CHOICE, FIELD(screen), .choices = screen_names},
    {"on_poweroff", KEY_CHOICE, FIELD(on_poweroff), .choices = action_names},
    {"on_reboot", KEY_CHOICE, FIELD(on_reboot), .choices = action_names},
    {"on_crash", KEY_CHOICE, FIELD(on_crash), .choices = action_names},
    {"acpi", KEY_BOOL, FIELD(acpi)},
    {"start", KEY_BOOL, FIELD(start)},
    {"debug_console", KEY_BOOL, FIELD(debug_console)},
    {"debug_exit", KEY_BOOL, FIELD(debug_exit)},
};

_Static_assert(ARRAY_SIZE(keys) <= CONFIG_MAX_KEYS, "struct parser has room for all");

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
        config_report(p, p->line, "%s: unknown key (did you mean %s?)", name, nearest);
    else
        config_report(p, p->line, "%s: unknown key", name);
}

/* The value of a known key, which p is before. Texts are read to where they belong. */
static void read_known(struct parser *p, const struct key *k)
{
    unsigned line = p->line, *seen = &p->seen[k - keys];
    char scratch[CONFIG_MODULE_MAX];
    struct value v = {.buf = scratch, .size = sizeof(scratch), .blank = true};
    const char *wrong;

    if ((k->type == KEY_TEXT || k->type == KEY_MODULE) && *seen == 0) {
        v.buf = (char *)p->vm + k->offset;
        v.size = k->room;
    }
    wrong = config_read_value(p, &v);
    if (wrong != NULL)
        config_report(p, line, "%s: %s", k->name, wrong);
    else if (*seen != 0)
        config_report(p, line, "%s: was given on line %u already", k->name, *seen);
    else if (v.len >= v.size)
        config_report_value(p, k->name, v.buf, "too long (at most %lu bytes)", v.size - 1);
    else
        config_set_key(p, k, v.buf);
    if (*seen == 0)
        *seen = line;
}

/* Passes over a value, which may go on in the next lines. */
static void skip_value(struct parser *p)
{
    char scratch[2];
    struct value v = {.buf = scratch, .size = sizeof(scratch), .blank = true};

    (void)config_read_value(p, &v);
}

/* "key = value"; the key's first character is next. */
static void read_key(struct parser *p)
{
    const struct key *k;
    char name[KEY_NAME_MAX];

    (void)config_read_name(p, name, sizeof(name));
    config_skip_blanks(p);
    if (name[0] == '\0' || config_next(p) != '=') {
        config_report(p, p->line, "expected \"[vm NAME]\" or \"key = value\"");
        return;
    }
    if (p->vm == NULL) {
        config_report(p, p->line, "%s: outside of a section (start one with [vm NAME])", name);
        skip_value(p);
        return;
    }
    for (char *s = name; *s != '\0'; s++)
        *s = config_lower(*s);
    k = find_key(name);
    if (k == NULL) {
        report_unknown_key(p, name);
        skip_value(p);
        return;
    }
    config_skip_blanks(p);
    read_known(p, k);
}

/* ------------------------------------------------------------------ sections */

static unsigned seen_on(const struct parser *p, const char *key)
{
    return p->seen[find_key(key) - keys];
}

/* Keys that mean nothing with a kernel, or nothing with firmware. */
static void check_start(struct parser *p, const char *const *names, const char *why)
{
    for (; *names != NULL; names++)
        if (seen_on(p, *names) != 0)
            config_report(p, seen_on(p, *names), "%s: %s", *names, why);
}

/* The hard disks and the CD-ROM share four places. */
static void check_disks(struct parser *p)
{
    bool full = true;

    for (unsigned i = 0; i < CONFIG_DISKS; i++)
        full &= p->vm->disk[i][0] != '\0';
    if (full && p->vm->cdrom[0] != '\0')
        config_report(p, seen_on(p, "cdrom"), "cdrom: no place left beside %u disks", CONFIG_DISKS);
}

static void check_screen(struct parser *p)
{
    if (p->vm->screen != CONFIG_SCREEN_NONE && p->vm->vga == CONFIG_VGA_NO)
        config_report(p, seen_on(p, "screen"), "screen: there is none with vga = no");
}

/* The checks that need the whole section. */
static void finish_section(struct parser *p)
{
    static const char *const of_firmware[] = {"vgabios", "floppy", "boot_order", "boot_menu", NULL};
    static const char *const of_kernel[] = {"kernel", "initrd", "cmdline", "boot", NULL};

    if (p->vm == NULL)
        return;
    if (seen_on(p, "firmware") != 0)
        check_start(p, of_kernel, "cannot be used with firmware");
    else
        check_start(p, of_firmware, "needs firmware (firmware = MODULE)");
    if (seen_on(p, "kernel") == 0 && seen_on(p, "firmware") == 0)
        config_report(p, p->vm->line, "vm %s: no kernel (kernel = MODULE)", p->vm->name);
    check_disks(p);
    check_screen(p);
    p->vm = NULL;
}

static void set_defaults(struct vm_config *vm, unsigned line)
{
    static const uint8_t boot_order[CONFIG_BOOT_DEVICES] = {
        CONFIG_BOOT_FLOPPY + 1, CONFIG_BOOT_DISK + 1, CONFIG_BOOT_CDROM + 1,
        CONFIG_BOOT_NETWORK + 1};

    memset(vm, 0, sizeof(*vm));
    vm->valid = true;
    vm->line = line;
    vm->memory = MIB(256);
    vm->cpus = 1;
    vm->cpu_shares = 1000;
    vm->cpu_affinity = UINT64_MAX;
    vm->on_poweroff = CONFIG_DESTROY;
    vm->on_reboot = CONFIG_RESTART;
    vm->on_crash = CONFIG_DESTROY;
    vm->acpi = true;
    vm->start = true;
    memcpy(vm->boot_order, boot_order, sizeof(boot_order));
}

/* Reads vm "NAME"] or vm NAME]; what is wrong with it, or NULL. */
static const char *read_header(struct parser *p, char *name, size_t size)
{
    char kind[8];
    bool quoted;
    size_t n;

    config_skip_blanks(p);
    (void)config_read_name(p, kind, sizeof(kind));
    if (strcmp(kind, "vm") != 0)
        return "unknown section (it must be [vm NAME])";
    config_skip_blanks(p);
    quoted = config_peek(p) == '"';
    if (quoted)
        p->pos++;
    n = config_read_name(p, name, size);
    if (n >= size)
        return "the VM's name is too long (at most 31 bytes)";
    if (n == 0)
        return "no VM name ([vm NAME])";
    if (quoted && config_next(p) != '"')
        return "a VM's name has letters, digits, and the characters _ - . only";
    config_skip_blanks(p);
    if (config_next(p) != ']')
        return quoted ? "the closing ] is missing"
                      : "a VM's name has letters, digits, and the characters _ - . only";
    config_skip_blanks(p);
    if (config_peek(p) != END_OF_LINE && !config_is_comment(config_peek(p)))
        return "text after the ]";
    return NULL;
}

static void check_duplicate(struct parser *p)
{
    for (struct vm_config *other = p->vms; other != p->vm; other++)
        if (strcmp(other->name, p->vm->name) == 0) {
            config_report(p, p->line, "vm %s: is on line %u already", p->vm->name, other->line);
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
        config_report(p, p->line, "%s", wrong);
        return;
    }
    if (p->nr_vms == p->max_vms) {
        config_report(p, p->line, "vm %s: too many VMs (at most %u)", name, p->max_vms);
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
    config_skip_blanks(p);
    if (config_peek(p) == END_OF_LINE || config_is_comment(config_peek(p)))
        return;
    if (config_peek(p) == '[') {
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
        config_skip_line(&p);
        config_skip_newline(&p);
    }
    finish_section(&p);
    return p.nr_vms;
}
