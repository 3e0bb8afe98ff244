/*
 * The PIIX3's IDE: a disk as primary master and a CD-ROM as secondary master, by PIO and by
 * bus-master DMA, with and without interrupts. tests/guests/run gives both: each sector of the
 * disk begins with its own number, and the CD is one that boots.
 */
#include "lib/guest.h"

#define PRIMARY   0x1f0
#define SECONDARY 0x170
#define CONTROL   0x206 /* from the command block on */
#define DATA      0
#define ERROR     1
#define COUNT     2
#define LOW       3
#define MID       4
#define HIGH      5
#define DEVICE    6
#define STATUS    7

#define BSY  0x80
#define DRDY 0x40
#define DRQ  0x08
#define ERR  0x01
#define ABRT 0x04
#define NIEN 0x02
#define SRST 0x04

#define IRQ_IDE 14

#define PCI_ADDRESS 0xcf8
#define PCI_DATA    0xcfc
#define IDE_PCI     0x80000900u /* slot 1, function 1 */
#define IDE_VENDOR  0x70108086u
#define BAR4        0x20
#define OWN_BAR4    0xc000 /* where no firmware has placed it */

#define BM_START  0x01
#define BM_TO_MEM 0x08
#define BM_ACTIVE 0x01
#define BM_ERROR  0x02
#define BM_INTR   0x04
#define PRD_LAST  0x80000000u

#define SECTORS   8064u /* 8 cylinders, 16 heads, 63 sectors */
#define CD_BLOCK  2048u
#define CD_VOLUME 16 /* where ISO 9660 starts */

static uint16_t base = PRIMARY;
static uint16_t bus_master;
static uint8_t buf[65536] __attribute__((aligned(4096)));
static uint8_t other[65536] __attribute__((aligned(4096)));
static struct {
    uint32_t address, count;
} prd[64] __attribute__((aligned(4096)));

/* ------------------------------------------------------------------ the drives */

static void ins16(void *to, uint64_t n)
{
    asm volatile("rep insw" : "+D"(to), "+c"(n) : "d"(base) : "memory");
}
static void ins32(void *to, uint64_t n)
{
    asm volatile("rep insl" : "+D"(to), "+c"(n) : "d"(base) : "memory");
}
static void outs16(const void *from, uint64_t n)
{
    asm volatile("rep outsw" : "+S"(from), "+c"(n) : "d"(base) : "memory");
}

static uint8_t reg(unsigned r)
{
    return in8((uint16_t)(base + r));
}

/* The status once BSY is down; 0xff: it stays up for two seconds. */
static uint8_t settled(void)
{
    uint64_t end = rdtsc() + 2 * timing_tsc_hz();
    uint8_t status;

    for (unsigned i = 0; i < 4; i++) /* 400 ns */
        (void)in8((uint16_t)(base + CONTROL));
    do
        status = in8((uint16_t)(base + CONTROL));
    while ((status & BSY) && rdtsc() < end);
    return status & BSY ? 0xff : reg(STATUS);
}

static void command(uint8_t command, uint32_t lba, uint8_t count)
{
    out8(base + DEVICE, (uint8_t)(0xe0 | lba >> 24));
    out8(base + COUNT, count);
    out8(base + LOW, (uint8_t)lba);
    out8(base + MID, (uint8_t)(lba >> 8));
    out8(base + HIGH, (uint8_t)(lba >> 16));
    out8(base + STATUS, command);
}

/* The command ended with an error of which these bits are. */
static bool failed(uint8_t bits)
{
    uint8_t status = settled();

    return status != 0xff && (status & (ERR | DRQ)) == ERR && (reg(ERROR) & bits) != 0;
}

static bool ended(void)
{
    return (settled() & (BSY | DRDY | DRQ | ERR)) == DRDY;
}

static bool has_numbers(const uint8_t *p, uint32_t lba, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint32_t number;

        memcpy(&number, p + i * 512, sizeof(number));
        if (number != lba + i || p[i * 512 + 511] != (uint8_t)(lba + i))
            return false;
    }
    return true;
}

static void fill(uint8_t *p, unsigned n, unsigned seed)
{
    for (unsigned i = 0; i < n; i++)
        p[i] = (uint8_t)(i * 5 + (i >> 8) + seed);
}

/* Blocks of a PIO command to us; dwords or words. */
static bool read_blocks(uint8_t *to, unsigned blocks, unsigned bytes, bool wide)
{
    for (unsigned i = 0; i < blocks; i++) {
        if ((settled() & (BSY | DRQ | ERR)) != DRQ)
            return false;
        if (wide)
            ins32(to + i * bytes, bytes / 4);
        else
            ins16(to + i * bytes, bytes / 2);
    }
    return ended();
}

static bool write_blocks(const uint8_t *from, unsigned blocks, unsigned bytes)
{
    for (unsigned i = 0; i < blocks; i++) {
        if ((settled() & (BSY | DRQ | ERR)) != DRQ)
            return false;
        outs16(from + i * bytes, bytes / 2);
    }
    return ended();
}

/* ------------------------------------------------------------------ checks */

static void reset_channel(void)
{
    out8(base + DEVICE, 0xa0);
    out8(base + CONTROL, NIEN | SRST);
    timing_delay_us(10);
    CHECK(base == PRIMARY ? "srst-busy" : "cd-srst-busy", in8((uint16_t)(base + CONTROL)) & BSY);
    out8(base + CONTROL, NIEN);
    timing_delay_us(2000);
    out8(base + DEVICE, 0xa0);
}

static void check_signature(void)
{
    reset_channel();
    CHECK_EQ("reset-status", settled() & (BSY | DRDY | DRQ | ERR), DRDY);
    CHECK_EQ("reset-error", reg(ERROR), 1);
    CHECK_EQ("reset-count", reg(COUNT), 1);
    CHECK_EQ("reset-low", reg(LOW), 1);
    CHECK_EQ("reset-mid", reg(MID), 0);
    CHECK_EQ("reset-high", reg(HIGH), 0);
    out8(base + DEVICE, 0xb0);
    CHECK_EQ("no-slave-status", in8((uint16_t)(base + CONTROL)), 0);
    out8(base + DEVICE, 0xa0);
    out8(base + COUNT, 0x55);
    out8(base + LOW, 0xaa);
    CHECK_EQ("count-kept", reg(COUNT), 0x55);
    CHECK_EQ("low-kept", reg(LOW), 0xaa);
}

static void check_identify(void)
{
    uint16_t id[256];

    command(0xec, 0, 0);
    CHECK("identify", read_blocks((uint8_t *)id, 1, 512, false));
    CHECK_EQ("identify-cylinders", id[1], SECTORS / (16 * 63));
    CHECK_EQ("identify-heads", id[3], 16);
    CHECK_EQ("identify-sectors", id[6], 63);
    CHECK_EQ("identify-lba28", id[60] | (uint32_t)id[61] << 16, SECTORS);
    CHECK_EQ("identify-lba-dma", id[49] & 0x300, 0x300);
    CHECK_EQ("identify-lba48", id[100] | (uint32_t)id[101] << 16, SECTORS);
    check_info("identify-udma", id[88]);
    command(0xa1, 0, 0);
    CHECK("identify-packet-aborted", failed(ABRT));
}

static void check_pio(void)
{
    command(0x20, 7, 3);
    CHECK("pio-read-16", read_blocks(buf, 3, 512, false) && has_numbers(buf, 7, 3));
    command(0x20, SECTORS - 4, 4);
    CHECK("pio-read-32", read_blocks(buf, 4, 512, true) && has_numbers(buf, SECTORS - 4, 4));
    out8(base + DEVICE, 0xa2); /* cylinder 3, head 2, sector 5 */
    out8(base + COUNT, 1);
    out8(base + LOW, 5);
    out8(base + MID, 3);
    out8(base + HIGH, 0);
    out8(base + STATUS, 0x20);
    CHECK("pio-read-chs",
          read_blocks(buf, 1, 512, false) && has_numbers(buf, (3 * 16 + 2) * 63 + 4, 1));
    fill(buf, 5 * 512, 3);
    command(0x30, 200, 5);
    CHECK("pio-write", write_blocks(buf, 5, 512));
    command(0x20, 200, 5);
    CHECK("pio-written", read_blocks(other, 5, 512, false) && memcmp(buf, other, 5 * 512) == 0);
    command(0x20, 199, 1);
    CHECK("pio-before", read_blocks(other, 1, 512, false) && has_numbers(other, 199, 1));
    command(0x20, 205, 1);
    CHECK("pio-behind", read_blocks(other, 1, 512, false) && has_numbers(other, 205, 1));
}

static void check_multiple(void)
{
    command(0xc6, 0, 8);
    CHECK("set-multiple", ended());
    command(0xc4, 100, 16);
    CHECK("read-multiple", read_blocks(buf, 2, 8 * 512, true) && has_numbers(buf, 100, 16));
    fill(buf, 8 * 512, 9);
    command(0xc5, 300, 8);
    CHECK("write-multiple", write_blocks(buf, 1, 8 * 512));
    command(0xc4, 300, 8);
    CHECK("multiple-written",
          read_blocks(other, 1, 8 * 512, false) && memcmp(buf, other, 8 * 512) == 0);
}

static void check_48bit(void)
{
    for (unsigned i = 0; i < 2; i++) {
        out8(base + DEVICE, 0xe0);
        for (unsigned r = COUNT; r <= HIGH; r++)
            out8((uint16_t)(base + r), 0);
        out8(base + COUNT, 2);
        out8(base + LOW, 0x34);
        out8(base + MID, 0x12);
        out8(base + STATUS, i == 0 ? 0x24 : 0x42);
        if (i == 0)
            CHECK("read-ext", read_blocks(buf, 2, 512, false) && has_numbers(buf, 0x1234, 2));
        else
            CHECK("verify-ext", ended());
    }
}

static void check_others(void)
{
    static const struct {
        const char *name;
        uint8_t command, count;
    } good[] = {{"recalibrate", 0x10, 0}, {"verify", 0x40, 8},      {"flush", 0xe7, 0},
                {"flush-ext", 0xea, 0},   {"check-power", 0xe5, 0}, {"idle-immediate", 0xe1, 0}};

    for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
        command(good[i].command, 0, good[i].count);
        CHECK(good[i].name, ended());
    }
    command(0xf8, 0, 0);
    CHECK("native-max", ended() && reg(LOW) == ((SECTORS - 1) & 0xff));
    command(0x00, 0, 0);
    CHECK("nop-aborted", failed(ABRT));
    command(0xa0, 0, 0);
    CHECK("packet-aborted", failed(ABRT));
    command(0xff, 0, 0);
    CHECK("unknown-aborted", failed(ABRT));
    command(0x20, SECTORS, 1);
    CHECK("beyond-the-end", failed(0xff));
    command(0x20, 0, 1);
    CHECK("fine-again", read_blocks(buf, 1, 512, false) && has_numbers(buf, 0, 1));
}

static void check_interrupt(void)
{
    unsigned vector = PIC_VECTOR + IRQ_IDE;

    out8(base + CONTROL, 0);
    (void)reg(STATUS);
    irq_count_pic(IRQ_IDE);
    pic_unmask(IRQ_IDE);
    irq_counts[vector] = 0;
    command(0x20, 11, 2);
    CHECK("irq-first-block", irq_wait_count(vector, 1, 1000));
    CHECK_EQ("irq-status", reg(STATUS) & (BSY | DRQ | ERR), DRQ);
    ins16(buf, 256);
    CHECK("irq-second-block", irq_wait_count(vector, 2, 1000));
    (void)reg(STATUS);
    ins16(buf + 512, 256);
    CHECK("irq-data", has_numbers(buf, 11, 2));
    timing_delay_us(1000);
    CHECK_EQ("irq-none-at-end", irq_counts[vector], 2);
    command(0x30, 500, 1);
    CHECK_EQ("irq-none-before-write", settled() & (DRQ | ERR), DRQ);
    CHECK_EQ("irq-none-counted", irq_counts[vector], 2);
    outs16(buf, 256);
    CHECK("irq-after-write", irq_wait_count(vector, 3, 1000));
    (void)reg(STATUS);
    out8(base + CONTROL, NIEN);
    command(0xe7, 0, 0);
    CHECK("irq-nien", ended() && irq_counts[vector] == 3);
    pic_mask_all();
}

/* ------------------------------------------------------------------ DMA */

static uint32_t pci_read(unsigned offset)
{
    out32(PCI_ADDRESS, IDE_PCI | offset);
    return in32(PCI_DATA);
}

static void pci_write(unsigned offset, uint32_t v)
{
    out32(PCI_ADDRESS, IDE_PCI | offset);
    out32(PCI_DATA, v);
}

static bool find_bus_master(void)
{
    if (!CHECK_EQ("pci-id", pci_read(0), IDE_VENDOR))
        return false;
    CHECK_EQ("pci-class", pci_read(8) >> 8, 0x010180);
    if ((pci_read(BAR4) & ~3u) == 0)
        pci_write(BAR4, OWN_BAR4);
    pci_write(4, (pci_read(4) & 0xffff) | 5);
    bus_master = (uint16_t)(pci_read(BAR4) & ~3u);
    return CHECK("pci-bus-master", bus_master != 0 && (pci_read(4) & 5) == 5);
}

static uint16_t bm(unsigned offset)
{
    return (uint16_t)(bus_master + (base == PRIMARY ? 0 : 8) + offset);
}

static void dma_prepare(uint8_t direction)
{
    out8(bm(0), direction);
    out32(bm(4), (uint32_t)(uint64_t)prd);
    out8(bm(2), BM_ERROR | BM_INTR);
}

/* Regions of so many bytes each for a transfer from or to p. */
static void dma_regions(uint8_t *p, unsigned bytes, unsigned each)
{
    unsigned n = 0;

    for (unsigned at = 0; at < bytes; at += each, n++) {
        prd[n].address = (uint32_t)(uint64_t)(p + at);
        prd[n].count = at + each >= bytes ? (bytes - at) | PRD_LAST : each;
    }
}

/* Runs what was prepared; the bus master's status at its end. Interrupts are on at the drive. */
static uint8_t dma_run(uint8_t direction)
{
    uint64_t end = rdtsc() + 2 * timing_tsc_hz();

    out8(bm(0), direction | BM_START);
    while (!(in8(bm(2)) & BM_INTR) && rdtsc() < end)
        ;
    return in8(bm(2)) & (BM_ACTIVE | BM_ERROR | BM_INTR);
}

static bool dma_ended(void)
{
    out8(bm(0), 0);
    return ended();
}

static void check_dma(void)
{
    out8(base + CONTROL, 0);
    dma_regions(buf, 32 * 512, 1536);
    dma_prepare(BM_TO_MEM);
    command(0xc8, 64, 32);
    CHECK_EQ("dma-read", dma_run(BM_TO_MEM), BM_INTR);
    CHECK("dma-read-data", dma_ended() && has_numbers(buf, 64, 32));
    fill(buf, 32 * 512, 40);
    dma_regions(buf, 32 * 512, 4096);
    dma_prepare(0);
    command(0xca, 1000, 32);
    CHECK_EQ("dma-write", dma_run(0), BM_INTR);
    CHECK("dma-write-end", dma_ended());
    dma_regions(other + 2, 32 * 512, 510);
    dma_prepare(BM_TO_MEM);
    command(0x25, 0, 0);
    CHECK("dma-too-much", failed(0xff)); /* 65536 sectors */
    dma_prepare(BM_TO_MEM);
    command(0xc8, 1000, 32);
    CHECK_EQ("dma-read-back", dma_run(BM_TO_MEM), BM_INTR);
    CHECK("dma-same", dma_ended() && memcmp(buf, other + 2, 32 * 512) == 0);
    command(0x20, 1032, 1);
    CHECK("dma-behind", read_blocks(buf, 1, 512, false) && has_numbers(buf, 1032, 1));
    /* Regions for more than the drive has: the bus master stays active. */
    dma_regions(buf, 8192, 8192);
    dma_prepare(BM_TO_MEM);
    command(0xc8, 5, 4);
    CHECK_EQ("dma-larger-regions", dma_run(BM_TO_MEM), BM_INTR | BM_ACTIVE);
    CHECK("dma-larger-end", dma_ended());
    CHECK("dma-larger-data", has_numbers(buf, 5, 4));
    out8(base + CONTROL, NIEN);
}

/* ------------------------------------------------------------------ CD-ROM */

/* Sends a packet; whether it was taken. */
static bool packet(const uint8_t *p, unsigned features)
{
    out8(base + DEVICE, 0xa0);
    out8(base + ERROR, (uint8_t)features);
    out8(base + MID, 0x00);
    out8(base + HIGH, 0x20); /* blocks of 8 KiB at most */
    out8(base + STATUS, 0xa0);
    if ((settled() & (BSY | DRQ | ERR)) != DRQ || (reg(COUNT) & 3) != 1)
        return false;
    outs16(p, 6);
    return true;
}

/* What a packet's command gives by PIO; 0 also when it fails. */
static unsigned packet_in(const uint8_t *p, uint8_t *to)
{
    unsigned n = 0, part;

    if (!packet(p, 0))
        return 0;
    while ((settled() & (BSY | DRQ)) == DRQ) {
        part = reg(MID) | (unsigned)reg(HIGH) << 8;
        ins16(to + n, (part + 1) / 2);
        n += part;
    }
    return n;
}

#define PACKET(...) ((const uint8_t[12]){__VA_ARGS__})

static void check_cd(void)
{
    unsigned n;

    base = SECONDARY;
    reset_channel();
    CHECK_EQ("cd-signature", reg(MID) | reg(HIGH) << 8, 0xeb14);
    command(0xec, 0, 0);
    CHECK("cd-identify-aborted", failed(ABRT));
    out8(base + DEVICE, 0xa0);
    out8(base + STATUS, 0xa1);
    CHECK("cd-identify", read_blocks(buf, 1, 512, false));
    CHECK_EQ("cd-identify-kind", buf[1] & 0xdf, 0x85);
    n = packet_in(PACKET(0x12, 0, 0, 0, 36), buf);
    CHECK_EQ("cd-inquiry", n, 36);
    CHECK_EQ("cd-inquiry-type", buf[0] | buf[1] << 8, 0x8005);
    (void)packet_in(PACKET(0), buf); /* the reset is told here */
    (void)packet_in(PACKET(3, 0, 0, 0, 18), buf);
    (void)packet(PACKET(0), 0);
    CHECK_EQ("cd-ready", settled() & (DRQ | ERR), 0);
    n = packet_in(PACKET(0x25), buf);
    CHECK("cd-capacity", n == 8 && buf[6] == 8 && buf[7] == 0);
    n = packet_in(PACKET(0x28, 0, 0, 0, 0, CD_VOLUME, 0, 0, 5), buf);
    CHECK("cd-read", n == 5 * CD_BLOCK && memcmp(buf + 1, "CD001", 5) == 0);
    n = packet_in(PACKET(0xa8, 0, 0, 0, 0, CD_VOLUME, 0, 0, 0, 5), other);
    CHECK("cd-read-12", n == 5 * CD_BLOCK && memcmp(buf, other, n) == 0);
    n = packet_in(PACKET(0x43, 0, 0, 0, 0, 0, 0, 0, 20), other);
    CHECK("cd-toc", n == 20 && other[3] == 1 && other[14] == 0xaa);
    n = packet_in(PACKET(0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 28), other);
    CHECK("cd-mode-sense", n == 28 && (other[8] & 0x3f) == 0x2a);
    (void)packet(PACKET(0x28, 0, 0x7f, 0, 0, 0, 0, 0, 1), 0);
    CHECK_EQ("cd-beyond", settled() & (DRQ | ERR), ERR);
    n = packet_in(PACKET(3, 0, 0, 0, 18), other);
    CHECK("cd-beyond-sense", n == 18 && (other[2] & 15) == 5 && other[12] == 0x21);
    (void)packet(PACKET(0xf7), 0);
    CHECK_EQ("cd-unknown", settled() & (DRQ | ERR), ERR);
    n = packet_in(PACKET(3, 0, 0, 0, 18), other);
    CHECK("cd-unknown-sense", n == 18 && (other[2] & 15) == 5 && other[12] == 0x20);
}

/* The same blocks by DMA; buf has them. */
static void check_cd_dma(void)
{
    out8(base + CONTROL, 0);
    memset(other, 0, sizeof(other));
    dma_regions(other, 5 * CD_BLOCK, 3000);
    dma_prepare(BM_TO_MEM);
    CHECK("cd-dma-packet", packet(PACKET(0x28, 0, 0, 0, 0, CD_VOLUME, 0, 0, 5), 1));
    CHECK_EQ("cd-dma", dma_run(BM_TO_MEM), BM_INTR);
    CHECK("cd-dma-data", dma_ended() && memcmp(buf, other, 5 * CD_BLOCK) == 0);
    out8(base + CONTROL, NIEN);
}

void guest_main(void)
{
    bool dma = find_bus_master();

    check_signature();
    check_identify();
    check_pio();
    check_multiple();
    check_48bit();
    check_others();
    check_interrupt();
    if (dma)
        check_dma();
    check_cd();
    if (dma)
        check_cd_dma();
}
