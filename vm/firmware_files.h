/*
 * The files by which firmware is told about its machine (devices/fw_cfg.h): the memory map, the
 * ACPI tables with the script that puts them in place, the floppy's image, the VGA's BIOS. Pure.
 */
#ifndef VM_FIRMWARE_FILES_H
#define VM_FIRMWARE_FILES_H

#include "devices/disk_image.h"
#include "devices/fw_cfg.h"
#include "vm/guest_acpi.h"

/* The capacity of the smallest floppy that an image of size bytes fits on; 0: on none. */
uint32_t firmware_floppy_size(uint64_t size);

/* What they are made from. A floppy that fits on none is left out. */
struct firmware_request {
    uint64_t ram_bytes;
    const struct guest_acpi_config *acpi; /* NULL: no ACPI tables */
    struct disk_image floppy, vgabios;    /* data NULL: none */
};

/* A step of the script: QEMU's "linker/loader" (hw/acpi/bios-linker-loader.c there), little-endian.
 */
struct firmware_step {
    uint32_t command;
    union {
        struct {
            char file[FW_CFG_NAME_MAX];
            uint32_t align;
            uint8_t zone;
        } __attribute__((packed)) allocate;
        struct {
            char file[FW_CFG_NAME_MAX], target[FW_CFG_NAME_MAX];
            uint32_t offset;
            uint8_t size;
        } __attribute__((packed)) pointer;
        struct {
            char file[FW_CFG_NAME_MAX];
            uint32_t offset, start, length;
        } __attribute__((packed)) checksum;
        uint8_t all[124];
    };
};

struct firmware_e820 {
    uint64_t start, size;
    uint32_t type;
} __attribute__((packed));

#define FIRMWARE_FILES      6
#define FIRMWARE_TABLES_MAX 0x8000

struct firmware_files {
    struct firmware_file file[FIRMWARE_FILES];
    unsigned count;
    char floppy_name[FW_CFG_NAME_MAX];
    struct firmware_e820 e820[2];
    struct firmware_step step[GUEST_ACPI_FIXUPS + 2];
    unsigned nr_steps;
    uint8_t rsdp[GUEST_ACPI_RSDP_SIZE];
    uint8_t tables[FIRMWARE_TABLES_MAX];
};

/* Fills in f, which is zero; the images stay where they are. 0 or a negative error. */
MUST_CHECK int firmware_files_build(struct firmware_files *f, const struct firmware_request *r);

#endif
