/*
 * Firmware's memory: its image as ROM that ends at 4 GiB, the last 128 KiB of it again below 1 MiB,
 * and RAM from 768 KiB to 1 MiB that lies behind. Which of the two a page shows is up to the chip
 * set (devices/i440fx.c); a page that shows neither is left unmapped, and reads as ones.
 */
#include "lib/assert.h"
#include "lib/string.h"
#include "machine/frame.h"
#include "vm/vm.h"
#include "vmx/caps.h"

#define FIRMWARE_ORDER    6 /* 2^6 pages */
#define FIRMWARE_SIZE_MAX (PAGE_SIZE * FIRMWARE_PAGES)
#define ALIAS_START       GUEST_BIOS_START /* the end of the ROM is seen from here to 1 MiB too */
#define SHADOW_START      GUEST_ROM_START

_Static_assert((int)CONFIG_BOOT_FLOPPY + 1 == MACHINE_BOOT_FLOPPY &&
                   (int)CONFIG_BOOT_DISK + 1 == MACHINE_BOOT_DISK &&
                   (int)CONFIG_BOOT_CDROM + 1 == MACHINE_BOOT_CDROM &&
                   (int)CONFIG_BOOT_NETWORK + 1 == MACHINE_BOOT_NETWORK,
               "both number boot devices alike");
_Static_assert(FIRMWARE_PAGES == 1u << FIRMWARE_ORDER, "one block of frames");
_Static_assert(SHADOW_START + FIRMWARE_SIZE_MAX == GUEST_HIGH_START, "the shadow ends at 1 MiB");

/* Page n of the image's 64 pages, of which the last rom_pages are there. */
static mpn_t rom_page(const struct vm_firmware *f, unsigned n)
{
    return MPN(f->rom.v + n);
}

static bool rom_has(const struct vm_firmware *f, unsigned n)
{
    return n >= FIRMWARE_PAGES - f->rom_pages;
}

static int map_page(struct vm *vm, gpa_t gpa, mpn_t mpn, unsigned access)
{
    return ept_map(&vm->ept, gpa, mpn, EPT_ORDER_4K, EPT_ROM, access, EPT_TYPE_WB);
}

/* What page n from SHADOW_START on shows: E_NOENT for nothing. ept.lock is held. */
static int map_shadow_page(struct vm *vm, unsigned n, bool read, bool write)
{
    struct vm_firmware *f = &vm->firmware;
    gpa_t gpa = GPA(SHADOW_START + n * PAGE_SIZE);

    if (!mpn_is_none(ept_lookup(&vm->ept, gpa).mpn))
        ept_unmap(&vm->ept, gpa, EPT_ORDER_4K, EPT_ABSENT, 0);
    f->writable[n] = write;
    if (read)
        return map_page(vm, gpa, MPN(f->shadow.v + n), write ? EPT_RWX : EPT_READ | EPT_EXEC);
    if (gpa.v < ALIAS_START || !rom_has(f, n))
        return 0;
    return map_page(vm, gpa, rom_page(f, n), EPT_READ | EPT_EXEC);
}

/*
 * The tables for these addresses are there from the start, so that mapping cannot fail. Other vCPUs
 * are made to leave the guest: they flush before they enter it again.
 */
void vm_firmware_map(struct vm *vm, gpa_t start, uint64_t size, bool read, bool write)
{
    unsigned first = (unsigned)((start.v - SHADOW_START) / PAGE_SIZE);
    unsigned end = first + (unsigned)(size / PAGE_SIZE);

    ASSERT(start.v >= SHADOW_START && end <= FIRMWARE_PAGES);
    spin_lock(&vm->ept.lock);
    for (unsigned n = first; n < end; n++) {
        int error = map_shadow_page(vm, n, read, write);

        ASSERT(error == 0);
    }
    spin_unlock(&vm->ept.lock);
    for (unsigned i = 0; i < vm->vmx.nr_vcpus; i++)
        if (vm->vcpus[i] != NULL)
            vcpu_request(vm->vcpus[i], REQUEST_EVENTS);
}

bool vm_firmware_owns(const struct vm *vm, gpa_t gpa)
{
    return vm->firmware.rom_pages != 0 && gpa.v - SHADOW_START < FIRMWARE_SIZE_MAX;
}

void *vm_firmware_pointer(const struct vm *vm, gpa_t gpa)
{
    uint64_t offset = gpa.v - SHADOW_START;

    if (!vm->firmware.writable[offset / PAGE_SIZE])
        return NULL;
    return (uint8_t *)mpn_ptr(vm->firmware.shadow) + offset;
}

/* ------------------------------------------------------------------ life */

static int map_rom(struct vm *vm)
{
    int error = 0;

    spin_lock(&vm->ept.lock);
    for (unsigned n = 0; n < FIRMWARE_PAGES && error == 0; n++) {
        if (rom_has(&vm->firmware, n))
            error = map_page(vm, GPA(GIB(4) - FIRMWARE_SIZE_MAX + n * PAGE_SIZE),
                             rom_page(&vm->firmware, n), EPT_READ | EPT_EXEC);
        if (error == 0)
            error = map_shadow_page(vm, n, false, false);
    }
    spin_unlock(&vm->ept.lock);
    return error;
}

static int check_floppy(struct vm *vm)
{
    struct disk_image floppy = vm_disk_image(vm->config.floppy, false);

    if (floppy.data == NULL || firmware_floppy_size(floppy.size) != 0)
        return 0;
    vm_log(vm, "not started: %s: %lu bytes do not fit on a floppy (2880 KiB at most)",
           vm->config.floppy, floppy.size);
    return E_RANGE;
}

/* 0, or an error that was told. */
static int check(struct vm *vm, size_t size)
{
    if (!vmx_has_proc2(PROC2_UNRESTRICTED)) {
        vm_log(vm, "not started: firmware needs a CPU with the VT-x feature unrestricted guest "
                   "(only kernels can be started on this one)");
        return E_NODEV;
    }
    if (size != 0 && size % PAGE_SIZE == 0 && size <= FIRMWARE_SIZE_MAX)
        return check_floppy(vm);
    vm_log(vm, "not started: %s: %lu bytes are no PC firmware (whole pages of 4K, at most %lu K)",
           vm->config.firmware, size, FIRMWARE_SIZE_MAX / KIB(1));
    return E_BADFMT;
}

int vm_firmware_init(struct vm *vm, const void *image, size_t size)
{
    struct vm_firmware *f = &vm->firmware;
    int error = check(vm, size);

    if (error != 0)
        return error;
    f->rom = frame_alloc(FIRMWARE_ORDER, FRAME_HYPERVISOR, FRAME_ZERO);
    f->shadow = frame_alloc(FIRMWARE_ORDER, FRAME_HYPERVISOR, FRAME_ZERO);
    f->rom_pages = (unsigned)(size / PAGE_SIZE);
    if (!mpn_is_none(f->rom) && !mpn_is_none(f->shadow)) {
        memcpy((uint8_t *)mpn_ptr(f->rom) + FIRMWARE_SIZE_MAX - size, image, size);
        error = map_rom(vm);
    } else {
        error = E_NOMEM;
    }
    if (error != 0)
        vm_log(vm, "not started: the machine has no memory left for it");
    return error;
}

int vm_firmware_config(struct vm *vm, struct machine_config *config)
{
    struct guest_acpi_config acpi = {.nr_vcpus = config->nr_vcpus, .vga = config->vga};
    struct firmware_request r = {
        .ram_bytes = config->ram_bytes,
        .floppy = vm_disk_image(vm->config.floppy, false),
        .vgabios = vm_disk_image(vm->config.vgabios, false),
        .acpi = vm->config.acpi ? &acpi : NULL,
    };

    config->firmware = vm_has_firmware(vm);
    if (!config->firmware)
        return 0;
    config->no_graphics = r.vgabios.data == NULL;
    config->boot_menu = vm->config.boot_menu;
    for (unsigned i = 0; i < ARRAY_SIZE(acpi.com); i++)
        acpi.com[i] = config->com[i].write != NULL;
    for (unsigned i = 0; i < MACHINE_BOOT_DEVICES; i++)
        config->boot_order[i] = vm->config.boot_order[i];
    vm->firmware.files = heap_alloc(sizeof(*vm->firmware.files));
    if (vm->firmware.files == NULL)
        return E_NOMEM;
    config->files = vm->firmware.files->file;
    if (firmware_files_build(vm->firmware.files, &r) != 0)
        return E_RANGE;
    config->nr_files = vm->firmware.files->count;
    return 0;
}

/* Called when nothing maps them any more. */
void vm_firmware_destroy(struct vm *vm)
{
    struct vm_firmware *f = &vm->firmware;

    if (f->files != NULL)
        heap_free(f->files);
    if (f->rom_pages == 0)
        return;
    if (!mpn_is_none(f->rom))
        frame_free(f->rom, FIRMWARE_ORDER);
    if (!mpn_is_none(f->shadow))
        frame_free(f->shadow, FIRMWARE_ORDER);
    f->rom_pages = 0;
}
