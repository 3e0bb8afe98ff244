#include "devices/cmos.h"

#include "devices/machine.h"

enum {
    EQUIPMENT = 0x14,
    BASE_MEMORY = 0x15,      /* KiB, 16 bits */
    EXTENDED_MEMORY = 0x17,  /* KiB above 1 MiB, 16 bits */
    CHECKSUM = 0x2e,         /* of 0x10 to 0x2d, high byte first */
    EXTENDED_MEMORY2 = 0x30, /* as 0x17 */
    HIGH_MEMORY = 0x34,      /* 64 KiB units above 16 MiB, 16 bits */
    BOOT_ORDER_3 = 0x38,     /* SeaBIOS: third boot device in bits 7 to 4 */
    BOOT_ORDER = 0x3d,       /* first and second, low half first */
    ABOVE_4G = 0x5b,         /* 64 KiB units above 4 GiB, 24 bits */
    MORE_CPUS = 0x5f,        /* SeaBIOS: CPUs besides the first */
};
#define CHECKSUM_FIRST 0x10

#define EQUIPMENT_FPU   0x02
#define EQUIPMENT_MOUSE 0x04
/* There is no floppy controller: drive types at 0x10 stay 0. */

static void put16(uint8_t *cmos, unsigned at, uint64_t value)
{
    cmos[at] = (uint8_t)value;
    cmos[at + 1] = (uint8_t)(value >> 8);
}

static void fill_memory(uint8_t *cmos, uint64_t ram)
{
    uint64_t low = MIN(ram, GUEST_LOW_RAM_MAX), above = ram - low;

    put16(cmos, BASE_MEMORY, 640);
    put16(cmos, EXTENDED_MEMORY, low < MIB(1) ? 0 : MIN((low - MIB(1)) / KIB(1), 0xffff));
    put16(cmos, EXTENDED_MEMORY2, low < MIB(1) ? 0 : MIN((low - MIB(1)) / KIB(1), 0xffff));
    put16(cmos, HIGH_MEMORY, low < MIB(16) ? 0 : (low - MIB(16)) / KIB(64));
    put16(cmos, ABOVE_4G, above / KIB(64));
    cmos[ABOVE_4G + 2] = (uint8_t)(above / KIB(64) >> 16);
}

void cmos_fill(uint8_t cmos[CMOS_SIZE], const struct machine_config *config)
{
    uint16_t sum = 0;

    cmos[EQUIPMENT] = EQUIPMENT_FPU | EQUIPMENT_MOUSE;
    fill_memory(cmos, config->ram_bytes);
    for (unsigned i = CHECKSUM_FIRST; i < CHECKSUM; i++)
        sum = (uint16_t)(sum + cmos[i]);
    cmos[CHECKSUM] = (uint8_t)(sum >> 8);
    cmos[CHECKSUM + 1] = (uint8_t)sum;
    cmos[BOOT_ORDER] = (uint8_t)(config->boot_order[0] | config->boot_order[1] << 4);
    cmos[BOOT_ORDER_3] = (uint8_t)(config->boot_order[2] << 4);
    cmos[MORE_CPUS] = (uint8_t)(config->firmware ? config->nr_vcpus - 1 : 0);
}
