/*
 * Inside the PIIX3's IDE function: channels, drives, and the transfer of data between a drive's
 * buffer, its disk and the guest. ide.c has the ports and the PCI function, ide_transfer.c moves
 * data by PIO or DMA, ide_dma.c is the bus master, ata*.c and atapi*.c are the two kinds of drives.
 *
 * Timing: a command is done as soon as its disk is, which for an image in memory is before the
 * write to the command register returns; BSY shows while a disk or a long transfer is at work.
 * That is right for drivers, since the interrupt is an edge that the controllers keep until the
 * driver takes interrupts again, and a wait would cost two exits for each command. A transfer
 * moves IDE_BUFFER_SIZE bytes at a time; in between, the guest runs for a moment.
 */
#ifndef DEVICES_IDE_H
#define DEVICES_IDE_H

#include "devices/disk.h"
#include "devices/machine.h"
#include "devices/pci.h"

#define IDE_CHANNELS       2
#define IDE_CHANNEL_DRIVES 2
#define IDE_BUFFER_SIZE    65536u
#define IDE_BUFFER_SECTORS (IDE_BUFFER_SIZE / DISK_SECTOR_SIZE)

/* Status (ATA/ATAPI-6, 7.15). In a packet device's, ERR is called CHK. */
#define ATA_ERR  0x01
#define ATA_DRQ  0x08
#define ATA_DSC  0x10 /* seek complete */
#define ATA_DF   0x20
#define ATA_DRDY 0x40
#define ATA_BSY  0x80

/* Error (7.9, and the commands' descriptions). */
#define ATA_ABRT      0x04
#define ATA_IDNF      0x10
#define ATA_UNC       0x40
#define ATA_DIAGNOSED 0x01 /* after a reset: device 0 passed, device 1 passed or is not there */

/* Device register (7.7). */
#define ATA_LBA      0x40
#define ATA_DEV      0x10
#define ATA_DEV_BITS 0xa0 /* obsolete, read as 1 */
#define ATA_HEAD     0x0f /* or bits 27:24 of an LBA */

/* Device control (7.6). */
#define ATA_NIEN 0x02
#define ATA_SRST 0x04
#define ATA_HOB  0x80

/* The one command that the channel itself has to know. */
#define ATA_DEVICE_RESET 0x08

/* The command block as a drive has it. The 48-bit commands use what was written before as well. */
struct ata_registers {
    uint8_t features, count, low, mid, high;
};

enum ide_transfer {
    IDE_NOTHING,   /* no command is under way */
    IDE_PACKET,    /* the command packet is awaited */
    IDE_IN,        /* from the buffer to the host */
    IDE_OUT,       /* from the host into the buffer; the command then looks at it */
    IDE_DISK_IN,   /* sectors from the disk to the host */
    IDE_DISK_OUT,  /* sectors from the host to the disk */
    IDE_VERIFY,    /* sectors are read and go nowhere */
    IDE_FLUSH,     /* the disk writes what it kept */
    IDE_DISCARD,   /* the ranges in the buffer are discarded */
    IDE_TRANSFERS, /* how many there are */
};

/* All of a drive that a suspended VM has to keep, but for the bytes in its buffer. No bool in it:
 * a stream may have any byte. */
struct ide_drive_state {
    struct ata_registers regs, hob; /* hob: written before regs (high order bytes) */
    uint8_t status, error;
    uint8_t command;   /* the one under way, or the last */
    uint8_t transfer;  /* enum ide_transfer */
    uint8_t dma;       /* by DMA, else PIO */
    uint8_t ready;     /* buffer[pos, end) is the host's to take or fill */
    uint8_t intrq;     /* the drive asks for an interrupt */
    uint8_t asleep;    /* only a reset wakes it */
    uint32_t pos, end; /* in the buffer: the next byte, the end of this DRQ block */
    uint32_t fill;     /* bytes that the buffer holds or shall hold */
    uint32_t block;    /* sectors at a time, between buffer and disk */
    uint32_t drq_max;  /* bytes in a DRQ block */
    uint64_t sector;   /* the next one on the disk */
    uint32_t left;     /* sectors still to go between disk and buffer */
    /* ATA (ata.c) */
    uint8_t multiple;       /* sectors in a block of READ and WRITE MULTIPLE; 0: not set */
    uint8_t heads, sectors; /* the geometry that CHS addresses are in */
    uint8_t xfer_mode;      /* as given to SET FEATURES */
    uint8_t power;          /* what CHECK POWER MODE tells */
    uint8_t write_cache, look_ahead;
    uint8_t is_48bit; /* the command under way has addresses of 48 bits */
    /* ATAPI (atapi.c) */
    uint8_t packet[12];
    uint8_t sense, asc, ascq;
    uint8_t attention; /* a reset or a new medium has not been told yet */
    uint8_t attention_asc;
    uint8_t tray_open, locked;
    uint8_t media_event;
};

struct ide_channel;
struct ide_kind;
struct ide;

struct ide_drive {
    struct ide_channel *channel;
    const struct ide_kind *kind; /* NULL: no drive there */
    struct disk *disk;           /* NULL in a packet device: no medium */
    unsigned index;              /* 0 or 1 */
    struct ide_drive_state s;
    struct disk_request request;
    struct timer slice; /* goes on with a long transfer */
    uint8_t *buffer;    /* IDE_BUFFER_SIZE */
};

/* The bus master of a channel (SFF-8038i; 82371SB data sheet, 2.7). */
struct ide_dma_state {
    uint8_t command, status;
    uint32_t table;     /* what the guest wrote: where the descriptors start */
    uint32_t next;      /* the next descriptor */
    uint32_t address;   /* in the region of the present one */
    uint32_t remaining; /* bytes of it; 0: fetch the next */
    uint32_t last;      /* the present one is the last */
};

struct ide_channel {
    struct device_host *host;
    struct ide *ide;
    struct irq_line irq;
    bool irq_level;
    uint8_t control;  /* the device control register */
    uint8_t selected; /* the device register */
    struct ide_drive drive[IDE_CHANNEL_DRIVES];
    struct ide_dma_state dma;
};

struct ide {
    struct device device;
    struct pci_function pci;
    struct ide_channel channel[IDE_CHANNELS];
    bool decoded[IDE_CHANNELS];
};

/* How a kind of drive does it. */
struct ide_kind {
    bool packet;
    /* Registers and settings after a reset; hard: after power-on or a hardware reset. */
    void (*reset)(struct ide_drive *d, bool hard);
    void (*command)(struct ide_drive *d, uint8_t command);
    /* The host may now take or fill buffer[pos, end): status, registers, interrupt. */
    void (*drq)(struct ide_drive *d, bool first);
    /* The transfer, which was of that sort, is over. */
    void (*complete)(struct ide_drive *d, enum ide_transfer was);
    /* The disk could not. */
    void (*failed)(struct ide_drive *d, enum disk_status status);
};

extern const struct ide_kind ata_kind, atapi_kind;

/* ---- ide.c ---- */

/* Whether the guest lets the function be bus master. */
bool ide_is_bus_master(const struct ide_channel *c);

/* ---- ide_ports.c ---- */

extern const struct bus_ops ide_command_ops, ide_control_ops; /* opaque: the channel */
/* Raises or lowers the interrupt request of a drive, and with it the channel's line. */
void ide_set_intrq(struct ide_drive *d, bool level);
/* What the line should be. */
bool ide_irq_wanted(struct ide_channel *c);
/* The drive at the other end of the cable. */
static inline struct ide_drive *ide_other(struct ide_drive *d)
{
    return &d->channel->drive[!d->index];
}
/* The signature by which a host tells what a drive is (ATA/ATAPI-6, 9.12). */
void ide_set_signature(struct ide_drive *d, bool packet);
/* Ends whatever the drive does, and puts it into the state after a reset. */
void ide_drive_reset(struct ide_drive *d, bool hard);
/* Both drives, after which device 0 is selected. */
void ide_reset_drives(struct ide_channel *c, bool hard);
/* EXECUTE DEVICE DIAGNOSTIC: both drives do it, whichever is selected. */
void ide_diagnose(struct ide_channel *c);

/* ---- ata_identify.c ---- */

/* Puts what IDENTIFY (PACKET) DEVICE tells into the buffer, a sector of it. */
void ata_identify(struct ide_drive *d);
void atapi_identify(struct ide_drive *d);

/* ---- ata_features.c ---- */

/* SET FEATURES, of both kinds; false: the command is to be aborted. */
bool ata_set_features(struct ide_drive *d);

/* ---- atapi.c, for atapi_info.c ---- */

/* Ends a packet command with sense data. */
void atapi_check(struct ide_drive *d, uint8_t sense, uint16_t asc_ascq);
/* Ends a packet command well, without data. */
void atapi_good(struct ide_drive *d);
/* Gives the first n bytes of the buffer, as many as the host allocated. */
void atapi_reply(struct ide_drive *d, uint32_t n, uint32_t allocated);
/* How many blocks the medium has; 0: there is none, or the tray is open. */
uint32_t atapi_blocks(const struct ide_drive *d);

/* Sense keys, and additional sense code << 8 | qualifier (MMC-3 annex A, SPC-2 tables 107, 108). */
#define SENSE_NONE            0x0
#define SENSE_NOT_READY       0x2
#define SENSE_MEDIUM_ERROR    0x3
#define SENSE_ILLEGAL         0x5
#define SENSE_ATTENTION       0x6
#define ASC_NO_MEDIUM         0x3a00
#define ASC_TRAY_OPEN         0x3a02
#define ASC_READ_ERROR        0x1100
#define ASC_BAD_OPCODE        0x2000
#define ASC_BAD_ADDRESS       0x2100
#define ASC_BAD_FIELD         0x2400
#define ASC_MEDIUM_CHANGED    0x2800
#define ASC_RESET             0x2900
#define ASC_NO_SAVED          0x3900
#define ASC_REMOVAL_PREVENTED 0x5302
#define ASC_BAD_TRACK_MODE    0x6400

/* ---- atapi_info.c: commands that tell about drive and medium ---- */

void atapi_inquiry(struct ide_drive *d);
void atapi_mode_sense(struct ide_drive *d);
void atapi_read_toc(struct ide_drive *d);
void atapi_read_disc_information(struct ide_drive *d);
void atapi_get_configuration(struct ide_drive *d);
void atapi_get_event(struct ide_drive *d);
void atapi_mechanism_status(struct ide_drive *d);

/* Numbers in packets have their highest byte first. */
static inline uint32_t be16_get(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}
static inline uint32_t be32_get(const uint8_t *p)
{
    return be16_get(p) << 16 | be16_get(p + 2);
}
static inline void be16_put(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void be32_put(uint8_t *p, uint32_t v)
{
    be16_put(p, v >> 16);
    be16_put(p + 2, v);
}

/* ---- ide_transfer.c ---- */

/* Starts a transfer. For IDE_IN and IDE_OUT: fill bytes; else sector, left and block are set. */
void ide_transfer_start(struct ide_drive *d, enum ide_transfer what, bool dma);
/* Drops whatever is under way, as a reset does. */
void ide_transfer_abort(struct ide_drive *d);
/* The data port: size is 2 or 4. */
uint32_t ide_data_read(struct ide_drive *d, unsigned size);
void ide_data_write(struct ide_drive *d, unsigned size, uint32_t value);
/* buffer[pos, end) has gone over: what comes next. */
void ide_transfer_next(struct ide_drive *d);
/* For the slice timer, whose opaque is the drive. */
void ide_transfer_go_on(struct timer *t, uint64_t now);
/* Lets the guest run for a moment before the drive goes on. */
void ide_transfer_pause(struct ide_drive *d);

/* ---- ide_state.c ---- */

void ide_channel_save(const struct ide_channel *c, struct device_state *s);
MUST_CHECK bool ide_channel_load(struct ide_channel *c, struct device_state *s);

/* ---- ide_dma.c ---- */

#define IDE_DMA_PORTS 8 /* of one channel */

uint64_t ide_dma_read(struct ide_channel *c, unsigned offset, unsigned size);
void ide_dma_write(struct ide_channel *c, unsigned offset, unsigned size, uint64_t value);
void ide_dma_reset(struct ide_channel *c);
/* The interrupt line rose: the status register keeps it. */
void ide_dma_interrupt(struct ide_channel *c);
/* Moves a drive's data if drive, bus master and guest are all ready for it. */
void ide_dma_run(struct ide_channel *c);
/* After loading: what a register cannot hold is cleared. */
void ide_dma_sanitize(struct ide_channel *c);

#endif
