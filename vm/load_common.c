#include "vm/load_common.h"

#include "devices/machine.h"
#include "lib/format.h"
#include "lib/string.h"

#define CR0_PE BIT(0)
#define CR0_ET BIT(4)

#define RFLAGS_FIXED BIT(1)

int load_fail(const struct load *l, int error, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)format_text_v(l->why, l->why_size, fmt, args);
    va_end(args);
    return error;
}

const char *load_size_text(char buf[LOAD_SIZE_TEXT], uint64_t bytes)
{
    if (bytes >= MIB(1))
        (void)format_text(buf, LOAD_SIZE_TEXT, "%lu MiB",
                          bytes / MIB(1) + (bytes % MIB(1) != 0 ? 1 : 0));
    else
        (void)format_text(buf, LOAD_SIZE_TEXT, "%lu KiB", (bytes + 1023) / 1024);
    return buf;
}

uint64_t guest_low_ram_end(uint64_t ram_bytes)
{
    return MIN(ALIGN_DOWN(ram_bytes, PAGE_SIZE), GUEST_LOW_RAM_MAX);
}

unsigned guest_ram_regions(uint64_t ram_bytes, struct guest_region regions[GUEST_MAX_REGIONS])
{
    uint64_t low = guest_low_ram_end(ram_bytes), all = ALIGN_DOWN(ram_bytes, PAGE_SIZE);
    unsigned n = 0;

    regions[n++] = (struct guest_region){GPA(0), MIN(low, GUEST_BASE_RAM_END), true};
    regions[n++] =
        (struct guest_region){GPA(GUEST_BIOS_START), GUEST_HIGH_START - GUEST_BIOS_START, false};
    if (low > GUEST_HIGH_START)
        regions[n++] = (struct guest_region){GPA(GUEST_HIGH_START), low - GUEST_HIGH_START, true};
    if (all > low)
        regions[n++] = (struct guest_region){GPA(GUEST_RAM_ABOVE_4G), all - low, true};
    return n;
}

int load_write(const struct load *l, uint64_t to, const void *from, size_t n)
{
    if (n == 0 || l->r->memory->write(l->r->memory->opaque, GPA(to), from, n))
        return 0;
    return load_fail(l, E_RANGE, "guest memory at 0x%lx cannot be written", to);
}

int load_zero(const struct load *l, uint64_t to, uint64_t n)
{
    static const uint8_t zeros[PAGE_SIZE];
    uint64_t piece;
    int err;

    for (; n > 0; n -= piece, to += piece) {
        piece = MIN(n, PAGE_SIZE - (to & PAGE_MASK));
        err = load_write(l, to, zeros, piece);
        if (err != 0)
            return err;
    }
    return 0;
}

int load_initrd(const struct load *l, uint64_t limit, uint64_t *start)
{
    char initrd[LOAD_SIZE_TEXT], memory[LOAD_SIZE_TEXT], kernel[LOAD_SIZE_TEXT];
    uint64_t size = l->r->initrd == NULL ? 0 : l->r->initrd_size;

    *start = 0;
    if (size == 0)
        return 0;
    limit = MIN(limit, l->low_end);
    if (size <= limit)
        *start = ALIGN_DOWN(limit - size, PAGE_SIZE);
    if (size > limit || *start < l->kernel_end)
        return load_fail(l, E_NOSPC,
                         "initrd of %s does not fit into %s of memory (the kernel takes the first "
                         "%s)",
                         load_size_text(initrd, size), load_size_text(memory, limit),
                         load_size_text(kernel, l->kernel_end));
    return load_write(l, *start, l->r->initrd, size);
}

/* A descriptor of a flat segment: base 0, limit 4 GiB, access rights as in the VMCS. */
static uint64_t flat_descriptor(uint32_t access)
{
    return 0xffffull | (uint64_t)(access & 0xff) << 40 | 0xfull << 48 |
           (uint64_t)(access >> 12 & 0xf) << 52;
}

int load_segments(const struct load *l, struct entry_state *entry, uint32_t code)
{
    const uint64_t gdt[] = {
        [ENTRY_CS_SELECTOR / 8] = flat_descriptor(code),
        [ENTRY_DS_SELECTOR / 8] = flat_descriptor(ENTRY_DATA),
    };

    memset(entry, 0, sizeof(*entry));
    for (unsigned i = ENTRY_ES; i <= ENTRY_GS; i++)
        entry->seg[i] = (struct entry_segment){
            .selector = ENTRY_DS_SELECTOR, .limit = UINT32_MAX, .access = ENTRY_DATA};
    entry->seg[ENTRY_CS].selector = ENTRY_CS_SELECTOR;
    entry->seg[ENTRY_CS].access = code;
    entry->seg[ENTRY_LDTR].access = ENTRY_UNUSABLE;
    entry->seg[ENTRY_TR] = (struct entry_segment){.limit = 0x67, .access = ENTRY_TSS_BUSY};
    entry->gdt_base = LOAD_GDT_BASE;
    entry->gdt_limit = sizeof(gdt) - 1;
    entry->rflags = RFLAGS_FIXED;
    entry->cr0 = CR0_PE | CR0_ET;
    return load_write(l, LOAD_GDT_BASE, gdt, sizeof(gdt));
}
