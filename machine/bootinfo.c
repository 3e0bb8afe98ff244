/* What the boot loader told us: kept in the image, so that its own memory can be used. */
#include "lib/string.h"
#include "machine/bootinfo.h"
#include "machine/frame.h"
#include "machine/paging.h"
#include "machine/panic.h"

static struct bootinfo info;

/* The early page tables map this much. */
#define EARLY_LIMIT GIB(4)

static const void *read_early(void *opaque, uint64_t address, uint64_t len)
{
    (void)opaque;
    if (address > EARLY_LIMIT || len > EARLY_LIMIT - address)
        return NULL;
    return hpa_ptr(HPA(address));
}

void bootinfo_init(uint32_t magic, uint32_t address)
{
    const struct bootinfo_reader reader = {.read = read_early};

    if (!bootinfo_parse(&info, &reader, magic, address))
        fatal("no usable multiboot information (magic %#x)", magic);
    if (info.rsdp_length > 0)
        info.rsdp = HPA((uintptr_t)info.rsdp_copy - IMAGE_BASE);
    if (info.loader[0] == '\0')
        string_copy(info.loader, sizeof(info.loader), "a multiboot loader");
}

const struct bootinfo *bootinfo(void)
{
    return &info;
}

const struct boot_module *bootinfo_module(const char *name)
{
    for (unsigned i = 0; i < info.nr_modules; i++)
        if (strcmp(info.modules[i].name, name) == 0)
            return &info.modules[i];
    return NULL;
}

bool bootinfo_option(const char *key, char *buf, size_t size)
{
    return bootinfo_find_option(info.cmdline, key, buf, size);
}
