/*
 * A machine with disks, and a driver for them: a disk of 4096 sectors as primary master, a small
 * one as its slave, a CD-ROM as secondary master. Bus master registers are at IDE_BM.
 */
#ifndef TESTS_UNIT_IDE_PC_H
#define TESTS_UNIT_IDE_PC_H

#include "tests/unit/pc.h"

#include <linux/pci_regs.h>

#include "devices/ide.h"

#define IDE_BM       0xc000u
#define DISK_SECTORS 4096u
#define DISK2_BYTES  (100 * 512 - 12) /* the last sector is not whole */
#define CD_BLOCKS    300u

#define PRIMARY   0x1f0
#define SECONDARY 0x170

struct ide_pc {
    struct pc pc;
    struct ide *ide;
    uint8_t *image, *image2, *cd;
    unsigned base; /* of the channel that the driver talks to */
    uint8_t device;
};

static inline void ide_fill(uint8_t *p, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(i * 7 + (i >> 9) * 13 + (i >> 17) + seed);
}

static inline uint32_t ide_pci_address(unsigned reg)
{
    return 0x80000000u | 1 << 11 | 1 << 8 | reg;
}

static inline void ide_config_write(struct ide_pc *p, unsigned reg, unsigned size, uint32_t value)
{
    pc_out(&p->pc, 0xcf8, 4, ide_pci_address(reg & 0xfc));
    pc_out(&p->pc, 0xcfc + (reg & 3), size, value);
}

static inline uint32_t ide_config_read(struct ide_pc *p, unsigned reg, unsigned size)
{
    pc_out(&p->pc, 0xcf8, 4, ide_pci_address(reg & 0xfc));
    return pc_in(&p->pc, 0xcfc + (reg & 3), size);
}

static inline void ide_pc_find(struct ide_pc *p)
{
    list_for_each (node, &p->pc.m.devices) {
        struct device *d = list_entry(node, struct device, node);

        if (strcmp(d->class->name, "ide") == 0)
            p->ide = container_of(d, struct ide, device);
    }
    assert_non_null(p->ide);
}

static inline void ide_pc_enable(struct ide_pc *p)
{
    ide_config_write(p, PCI_BASE_ADDRESS_4, 4, IDE_BM);
    ide_config_write(p, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
}

static inline void ide_pc_init_with(struct ide_pc *p, bool read_only)
{
    struct machine_config config = {.nr_vcpus = 1, .ram_bytes = MIB(64)};

    memset(p, 0, sizeof(*p));
    p->image = malloc(DISK_SECTORS * 512);
    p->image2 = malloc(DISK2_BYTES);
    p->cd = malloc(CD_BLOCKS * 2048);
    ide_fill(p->image, DISK_SECTORS * 512, 1);
    ide_fill(p->image2, DISK2_BYTES, 2);
    ide_fill(p->cd, CD_BLOCKS * 2048, 3);
    config.disk[0] = (struct disk_image){p->image, DISK_SECTORS * 512, read_only, false, "one"};
    config.disk[1] = (struct disk_image){p->image2, DISK2_BYTES, read_only, false, "two"};
    config.disk[2] = (struct disk_image){p->cd, CD_BLOCKS * 2048, true, true, "cd"};
    pc_init_with(&p->pc, &config);
    ide_pc_find(p);
    ide_pc_enable(p);
    p->base = PRIMARY;
    p->device = 0xe0;
}

static inline void ide_pc_init(struct ide_pc *p)
{
    ide_pc_init_with(p, false);
}

/* The images are as they were: whatever was written is elsewhere. */
static inline void ide_pc_finish(struct ide_pc *p)
{
    uint8_t *fresh = malloc(DISK_SECTORS * 512);

    ide_fill(fresh, DISK_SECTORS * 512, 1);
    assert_memory_equal(fresh, p->image, DISK_SECTORS * 512);
    pc_finish(&p->pc);
    free(fresh);
    free(p->image);
    free(p->image2);
    free(p->cd);
}

/* ------------------------------------------------------------------ registers */

static inline uint8_t ide_status(struct ide_pc *p)
{
    return pc_inb(&p->pc, p->base + 7);
}
static inline uint8_t ide_alt_status(struct ide_pc *p)
{
    return pc_inb(&p->pc, p->base + 0x206);
}
static inline uint8_t ide_error(struct ide_pc *p)
{
    return pc_inb(&p->pc, p->base + 1);
}
static inline bool ide_irq(const struct ide_pc *p)
{
    return pc_irq(&p->pc, p->base == PRIMARY ? 14 : 15);
}
static inline void ide_control(struct ide_pc *p, unsigned value)
{
    pc_outb(&p->pc, p->base + 0x206, value);
}
/* Channel and drive that the driver talks to; device is bits 7:5 of the register and the drive. */
static inline void ide_select(struct ide_pc *p, unsigned base, unsigned device)
{
    p->base = base;
    p->device = (uint8_t)device;
    pc_outb(&p->pc, base + 6, device);
}

static inline void ide_command28(struct ide_pc *p, unsigned command, uint32_t lba, unsigned count)
{
    pc_outb(&p->pc, p->base + 6, p->device | (lba >> 24 & 0xf));
    pc_outb(&p->pc, p->base + 2, count & 0xff);
    pc_outb(&p->pc, p->base + 3, lba & 0xff);
    pc_outb(&p->pc, p->base + 4, lba >> 8 & 0xff);
    pc_outb(&p->pc, p->base + 5, lba >> 16 & 0xff);
    pc_outb(&p->pc, p->base + 7, command);
}

static inline void ide_command48(struct ide_pc *p, unsigned command, uint64_t lba, unsigned count)
{
    pc_outb(&p->pc, p->base + 6, p->device);
    pc_outb(&p->pc, p->base + 2, count >> 8 & 0xff);
    pc_outb(&p->pc, p->base + 3, lba >> 24 & 0xff);
    pc_outb(&p->pc, p->base + 4, lba >> 32 & 0xff);
    pc_outb(&p->pc, p->base + 5, lba >> 40 & 0xff);
    ide_command28(p, command, (uint32_t)lba & 0xffffff, count);
}

/* A command without data: ends with its interrupt and with that status. */
static inline void ide_simple(struct ide_pc *p, unsigned command, uint8_t features, uint8_t count)
{
    pc_outb(&p->pc, p->base + 6, p->device);
    pc_outb(&p->pc, p->base + 1, features);
    pc_outb(&p->pc, p->base + 2, count);
    pc_outb(&p->pc, p->base + 7, command);
}

static inline void ide_expect_ok(struct ide_pc *p)
{
    assert_true(ide_irq(p));
    assert_int_equal(ide_status(p), 0x50);
    assert_false(ide_irq(p));
}

static inline void ide_expect_error(struct ide_pc *p, uint8_t error)
{
    assert_true(ide_irq(p));
    assert_int_equal(ide_status(p) & 0x89, 0x01);
    assert_int_equal(ide_error(p), error);
    assert_false(ide_irq(p));
}

static inline void ide_pio_in(struct ide_pc *p, void *to, size_t n, unsigned size)
{
    for (size_t i = 0; i < n; i += size) {
        uint32_t v = pc_in(&p->pc, p->base, size);

        memcpy((uint8_t *)to + i, &v, MIN(size, n - i));
    }
}

static inline void ide_pio_out(struct ide_pc *p, const void *from, size_t n, unsigned size)
{
    for (size_t i = 0; i < n; i += size) {
        uint32_t v = 0;

        memcpy(&v, (const uint8_t *)from + i, MIN(size, n - i));
        pc_out(&p->pc, p->base, size, v);
    }
}

/* Lets a long transfer get to its end. */
static inline void ide_settle(struct ide_pc *p)
{
    for (int i = 0; i < 2000 && timerq_next(&p->pc.f.timers) < p->pc.f.now + 1000000; i++)
        fake_host_advance(&p->pc.f, 20000);
}

/* ------------------------------------------------------------------ the bus master */

#define BM_START  1
#define BM_TO_MEM 8
#define BM_ACTIVE 1
#define BM_ERROR  2
#define BM_INTR   4
#define PRD_LAST  0x80000000u

static inline unsigned ide_bm(const struct ide_pc *p)
{
    return IDE_BM + (p->base == PRIMARY ? 0 : 8);
}
static inline void ide_prd(struct ide_pc *p, uint32_t at, uint32_t address, uint32_t count)
{
    uint32_t d[2] = {address, count};

    memcpy(p->pc.f.ram + at, d, sizeof(d));
}
static inline uint8_t ide_bm_status(struct ide_pc *p)
{
    return pc_inb(&p->pc, ide_bm(p) + 2);
}
/* Points the bus master to a table and sets the direction; clears old status. */
static inline void ide_bm_prepare(struct ide_pc *p, uint32_t table, unsigned direction)
{
    pc_outb(&p->pc, ide_bm(p), direction);
    pc_out(&p->pc, ide_bm(p) + 4, 4, table);
    pc_outb(&p->pc, ide_bm(p) + 2, BM_ERROR | BM_INTR);
}
static inline void ide_bm_start(struct ide_pc *p, unsigned direction)
{
    pc_outb(&p->pc, ide_bm(p), direction | BM_START);
}
static inline void ide_bm_stop(struct ide_pc *p)
{
    pc_outb(&p->pc, ide_bm(p), 0);
}

#endif
