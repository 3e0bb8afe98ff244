/*
 * Multiboot 1 and 2 information into one form. The loader is trusted not to attack us, but not to
 * be free of bugs: every length is checked before it is used.
 */
#include "lib/checked.h"
#include "lib/string.h"
#include "machine/bootinfo.h"
#include "machine/multiboot.h"

/* Copies a string from memory; cut to size. */
static void copy_string(const struct bootinfo_reader *r, uint64_t address, char *buf, size_t size)
{
    size_t n = 0;

    for (; n + 1 < size; n++) {
        const char *c = r->read(r->opaque, address + n, 1);

        if (c == NULL || *c == '\0')
            break;
        buf[n] = *c;
    }
    buf[n] = '\0';
}

/* As copy_string, from a string inside a tag that ends after limit bytes. */
static void copy_bounded(const char *s, size_t limit, char *buf, size_t size)
{
    size_t n = 0;

    for (; n + 1 < size && n < limit && s[n] != '\0'; n++)
        buf[n] = s[n];
    buf[n] = '\0';
}

static void add_range(struct bootinfo *b, uint64_t start, uint64_t size, uint32_t type)
{
    uint64_t end;

    if (size == 0)
        return;
    if (b->nr_ranges == BOOT_MAX_RANGES || !checked_add(start, size - 1, &end)) {
        b->ranges_dropped++;
        return;
    }
    if (type < BOOT_RANGE_USABLE || type > BOOT_RANGE_BAD)
        type = BOOT_RANGE_RESERVED;
    b->ranges[b->nr_ranges++] =
        (struct boot_range){.start = HPA(start), .size = size, .type = type};
}

/* The first word of the loader's line, without directories. */
static void name_module(struct boot_module *m, const char *line)
{
    const char *name = line;
    size_t n = 0;

    for (const char *c = line; *c != '\0' && *c != ' '; c++)
        if (*c == '/')
            name = c + 1;
    for (; name[n] != '\0' && name[n] != ' ' && n + 1 < sizeof(m->name); n++)
        m->name[n] = name[n];
    m->name[n] = '\0';
}

static void add_module(struct bootinfo *b, uint32_t start, uint32_t end, const char *line)
{
    struct boot_module *m;

    if (b->nr_modules == BOOT_MAX_MODULES || end < start) {
        b->modules_dropped++;
        return;
    }
    m = &b->modules[b->nr_modules++];
    m->start = HPA(start);
    m->size = end - start;
    name_module(m, line);
}

static void set_framebuffer(struct bootinfo *b, const struct mb2_framebuffer *f)
{
    struct boot_framebuffer *fb = &b->fb;
    bool rgb = f->type == MB_FRAMEBUFFER_RGB;

    if (f->type != MB_FRAMEBUFFER_TEXT && (!rgb || (f->bpp != 16 && f->bpp != 24 && f->bpp != 32) ||
                                           (uint64_t)f->width * (f->bpp / 8) > f->pitch))
        return;
    *fb = (struct boot_framebuffer){
        .base = HPA(f->addr),
        .pitch = f->pitch,
        .width = f->width,
        .height = f->height,
        .bpp = f->bpp,
        .kind = rgb ? BOOT_FB_RGB : BOOT_FB_TEXT,
    };
    if (!rgb)
        return;
    fb->red.pos = f->red_pos;
    fb->red.size = f->red_size;
    fb->green.pos = f->green_pos;
    fb->green.size = f->green_size;
    fb->blue.pos = f->blue_pos;
    fb->blue.size = f->blue_size;
}

/* ------------------------------------------------------------ multiboot 1 */

static void parse_mb1_mmap(struct bootinfo *b, const struct bootinfo_reader *r,
                           const struct mb1_info *info)
{
    uint64_t pos = info->mmap_addr, end = pos + info->mmap_length;

    while (pos + sizeof(struct mb1_mmap) <= end) {
        const struct mb1_mmap *e = r->read(r->opaque, pos, sizeof(*e));

        if (e == NULL || e->size < sizeof(*e) - sizeof(e->size))
            return;
        add_range(b, e->addr, e->len, e->type);
        pos += sizeof(e->size) + e->size;
    }
}

static void parse_mb1_modules(struct bootinfo *b, const struct bootinfo_reader *r,
                              const struct mb1_info *info)
{
    char line[256];

    for (uint32_t i = 0; i < info->mods_count; i++) {
        const struct mb1_module *m =
            r->read(r->opaque, info->mods_addr + (uint64_t)i * sizeof(*m), sizeof(*m));

        if (m == NULL)
            return;
        line[0] = '\0';
        if (m->string != 0)
            copy_string(r, m->string, line, sizeof(line));
        add_module(b, m->start, m->end, line);
        if (b->modules_dropped >= BOOT_MAX_MODULES)
            return;
    }
}

static void parse_mb1_framebuffer(struct bootinfo *b, const struct mb1_info *info)
{
    struct mb2_framebuffer f = {
        .addr = info->framebuffer_addr,
        .pitch = info->framebuffer_pitch,
        .width = info->framebuffer_width,
        .height = info->framebuffer_height,
        .bpp = info->framebuffer_bpp,
        .type = info->framebuffer_type,
        .red_pos = info->red_pos,
        .red_size = info->red_size,
        .green_pos = info->green_pos,
        .green_size = info->green_size,
        .blue_pos = info->blue_pos,
        .blue_size = info->blue_size,
    };

    set_framebuffer(b, &f);
}

static bool parse_mb1(struct bootinfo *b, const struct bootinfo_reader *r, uint32_t address)
{
    const struct mb1_info *info = r->read(r->opaque, address, sizeof(*info));

    if (info == NULL)
        return false;
    if (info->flags & MB1_HAS_CMDLINE)
        copy_string(r, info->cmdline, b->cmdline, sizeof(b->cmdline));
    if (info->flags & MB1_HAS_LOADER)
        copy_string(r, info->boot_loader_name, b->loader, sizeof(b->loader));
    if (info->flags & MB1_HAS_MODULES)
        parse_mb1_modules(b, r, info);
    if (info->flags & MB1_HAS_MMAP)
        parse_mb1_mmap(b, r, info);
    if (info->flags & MB1_HAS_FRAMEBUFFER)
        parse_mb1_framebuffer(b, info);
    return true;
}

/* ------------------------------------------------------------ multiboot 2 */

static void parse_mb2_mmap(struct bootinfo *b, const struct mb2_mmap *m)
{
    const uint8_t *pos = (const uint8_t *)(m + 1), *end = (const uint8_t *)m + m->tag.size;

    if (m->entry_size < sizeof(struct mb2_mmap_entry))
        return;
    while ((size_t)(end - pos) >= m->entry_size) {
        struct mb2_mmap_entry e;

        memcpy(&e, pos, sizeof(e));
        add_range(b, e.addr, e.len, e.type);
        pos += m->entry_size;
    }
}

static void parse_mb2_module(struct bootinfo *b, const struct mb2_module *m)
{
    char line[256];

    copy_bounded(m->string, m->tag.size - sizeof(*m), line, sizeof(line));
    add_module(b, m->start, m->end, line);
}

/* A newer RSDP is worth more than an older one. */
static void copy_rsdp(struct bootinfo *b, const struct mb2_tag *tag)
{
    uint32_t n = MIN(tag->size - (uint32_t)sizeof(*tag), (uint32_t)sizeof(b->rsdp_copy));

    if (n < b->rsdp_length)
        return;
    memcpy(b->rsdp_copy, tag + 1, n);
    b->rsdp_length = n;
}

/* The size that a tag must have at least for us to look into it. */
static uint32_t mb2_min_size(uint32_t type)
{
    switch (type) {
    case MB2_TAG_MODULE:
        return sizeof(struct mb2_module);
    case MB2_TAG_MMAP:
        return sizeof(struct mb2_mmap);
    case MB2_TAG_FRAMEBUFFER:
        return offsetof(struct mb2_framebuffer, red_pos);
    default:
        return sizeof(struct mb2_tag);
    }
}

static void parse_mb2_framebuffer(struct bootinfo *b, const struct mb2_tag *tag)
{
    struct mb2_framebuffer f = {0};

    memcpy(&f, tag, MIN((size_t)tag->size, sizeof(f)));
    if (f.type == MB_FRAMEBUFFER_RGB && tag->size < sizeof(f))
        return;
    set_framebuffer(b, &f);
}

static void parse_mb2_tag(struct bootinfo *b, const struct mb2_tag *tag)
{
    const char *text = (const char *)(tag + 1);
    size_t text_size = tag->size - sizeof(*tag);

    switch (tag->type) {
    case MB2_TAG_CMDLINE:
        copy_bounded(text, text_size, b->cmdline, sizeof(b->cmdline));
        break;
    case MB2_TAG_LOADER:
        copy_bounded(text, text_size, b->loader, sizeof(b->loader));
        break;
    case MB2_TAG_MODULE:
        parse_mb2_module(b, (const struct mb2_module *)tag);
        break;
    case MB2_TAG_MMAP:
        parse_mb2_mmap(b, (const struct mb2_mmap *)tag);
        break;
    case MB2_TAG_FRAMEBUFFER:
        parse_mb2_framebuffer(b, tag);
        break;
    case MB2_TAG_EFI32:
    case MB2_TAG_EFI64:
        b->efi = true;
        break;
    case MB2_TAG_ACPI_OLD:
    case MB2_TAG_ACPI_NEW:
        copy_rsdp(b, tag);
        break;
    }
}

static bool parse_mb2(struct bootinfo *b, const struct bootinfo_reader *r, uint32_t address)
{
    const struct mb2_info *info = r->read(r->opaque, address, sizeof(*info));
    uint64_t pos = sizeof(*info);
    uint32_t total;
    const uint8_t *all;

    if (info == NULL || info->total_size < sizeof(*info) || info->total_size > MIB(16))
        return false;
    total = info->total_size;
    all = r->read(r->opaque, address, total);
    if (all == NULL)
        return false;
    while (pos + sizeof(struct mb2_tag) <= total) {
        const struct mb2_tag *tag = (const struct mb2_tag *)(all + pos);

        if (tag->type == MB2_TAG_END)
            return true;
        if (tag->size < mb2_min_size(tag->type) || tag->size > total - pos)
            return false;
        parse_mb2_tag(b, tag);
        pos += ALIGN_UP((uint64_t)tag->size, 8);
    }
    return true;
}

bool bootinfo_parse(struct bootinfo *b, const struct bootinfo_reader *r, uint32_t magic,
                    uint32_t info)
{
    memset(b, 0, sizeof(*b));
    if (magic == MB1_LOADER_MAGIC)
        return parse_mb1(b, r, info);
    if (magic == MB2_LOADER_MAGIC)
        return parse_mb2(b, r, info);
    return false;
}

/* ------------------------------------------------------------ command line */

bool bootinfo_find_option(const char *cmdline, const char *key, char *buf, size_t size)
{
    size_t key_len = strlen(key);

    for (const char *word = cmdline; *word != '\0';) {
        size_t len = 0;

        if (*word == ' ') {
            word++;
            continue;
        }
        while (word[len] != '\0' && word[len] != ' ')
            len++;
        if (len >= key_len && strncmp(word, key, key_len) == 0 &&
            (len == key_len || word[key_len] == '=')) {
            size_t skip = MIN(key_len + 1, len);

            copy_bounded(word + skip, len - skip, buf, size);
            return true;
        }
        word += len;
    }
    return false;
}
