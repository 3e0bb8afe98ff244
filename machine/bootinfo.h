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
    hpa_t rsdp; /* 0: not given, to be searched */
    bool efi;
};

const struct bootinfo *bootinfo(void);
/* The module of that name, or NULL. */
const struct boot_module *bootinfo_module(const char *name);
/*
 * The value of "key=value" on our command line in buf, or false. A key without "=" gives "".
 */
bool bootinfo_option(const char *key, char *buf, size_t size);

#endif
