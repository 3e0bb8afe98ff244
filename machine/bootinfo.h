/* What the boot loader told us, the same for multiboot 1 and 2. */
#ifndef MACHINE_BOOTINFO_H
#define MACHINE_BOOTINFO_H

#include "lib/types.h"

#define BOOT_MAX_RANGES  128
#define BOOT_MAX_MODULES 64

enum boot_range_type {
    BOOT_RANGE_USABLE = 1,
    BOOT_RANGE_RESERVED = 2,
    BOOT_RANGE_ACPI = 3, /* reclaimable; left alone */
    BOOT_RANGE_NVS = 4,
    BOOT_RANGE_BAD = 5,
};

struct boot_range {
    hpa_t start;
    uint64_t size;
    enum boot_range_type type;
};

struct boot_module {
    hpa_t start;
    uint64_t size;
    char name[64]; /* the first word of the loader's module line, without directories */
};

struct boot_framebuffer {
    hpa_t base;
    uint32_t pitch, width, height;
    uint8_t bpp;
    enum { BOOT_FB_NONE, BOOT_FB_TEXT, BOOT_FB_RGB } kind;
    struct {
        uint8_t pos, size;
    } red, green, blue;
};

struct bootinfo {
    char cmdline[512];
    char loader[64];
    struct boot_range ranges[BOOT_MAX_RANGES];
    unsigned nr_ranges;
    struct boot_module modules[BOOT_MAX_MODULES];
    unsigned nr_modules;
    struct boot_framebuffer fb;
    hpa_t rsdp;            /* 0: not given, to be searched */
    uint8_t rsdp_copy[36]; /* multiboot 2 gives a copy, which rsdp then points at */
    uint32_t rsdp_length;  /* of the copy; 0: none */
    bool efi;
    unsigned ranges_dropped, modules_dropped; /* did not fit, or made no sense */
};

/* Takes over what the loader left (EAX and EBX at entry); before anything else uses memory. */
void bootinfo_init(uint32_t magic, uint32_t info);
const struct bootinfo *bootinfo(void);
/* The module of that name, or NULL. */
const struct boot_module *bootinfo_module(const char *name);
/*
 * The value of "key=value" on our command line in buf, or false. A key without "=" gives "".
 */
bool bootinfo_option(const char *key, char *buf, size_t size);

/*
 * The pure part (machine/bootinfo_parse.c), which also builds on the host. read gives a pointer
 * to len bytes of physical memory, or NULL where there are none. false: not a multiboot loader,
 * or its information makes no sense.
 */
struct bootinfo_reader {
    const void *(*read)(void *opaque, uint64_t address, uint64_t len);
    void *opaque;
};
bool bootinfo_parse(struct bootinfo *b, const struct bootinfo_reader *r, uint32_t magic,
                    uint32_t info);
bool bootinfo_find_option(const char *cmdline, const char *key, char *buf, size_t size);

#endif
