/* The 8237As as far as no device takes part: registers, flip-flop, masks, page registers. */
#include "lib/guest.h"

#define PAGE_PORT 0x80

static unsigned address_port(unsigned n)
{
    return n < 4 ? n * 2 : 0xc0 + (n - 4) * 4;
}
static unsigned count_port(unsigned n)
{
    return n < 4 ? n * 2 + 1 : 0xc2 + (n - 4) * 4;
}
/* Register 8 to 15 of a chip. */
static uint16_t control_port(unsigned chip, unsigned reg)
{
    return (uint16_t)(chip == 0 ? reg : 0xc0 + reg * 2);
}

static void write16(unsigned port, unsigned value)
{
    out8((uint16_t)port, (uint8_t)value);
    out8((uint16_t)port, (uint8_t)(value >> 8));
}
static unsigned read16(unsigned port)
{
    unsigned low = in8((uint16_t)port);

    return low | (unsigned)in8((uint16_t)port) << 8;
}

static void clear_flip_flops(void)
{
    out8(control_port(0, 12), 0);
    out8(control_port(1, 12), 0);
}

static void check_addresses(void)
{
    unsigned addresses = 0, counts = 0;

    clear_flip_flops();
    for (unsigned n = 0; n < 8; n++) {
        write16(address_port(n), 0x1357 + n);
        write16(count_port(n), 0xfdb0 - n);
    }
    for (unsigned n = 0; n < 8; n++) {
        addresses += read16(address_port(n)) == 0x1357 + n;
        counts += read16(count_port(n)) == 0xfdb0 - n;
    }
    CHECK_EQ("addresses-read-back", addresses, 8);
    CHECK_EQ("counts-read-back", counts, 8);
}

static void check_flip_flop(void)
{
    clear_flip_flops();
    write16(4, 0xbeef);
    write16(5, 0x1234);
    CHECK_EQ("low-first", in8(4), 0xef);
    CHECK_EQ("one-for-all", in8(5), 0x12);
    CHECK_EQ("low-again", in8(4), 0xef);
    out8(control_port(1, 12), 0); /* the other chip's */
    CHECK_EQ("one-for-each-chip", in8(4), 0xbe);
    (void)in8(4);
    out8(control_port(0, 12), 0);
    CHECK_EQ("cleared", in8(4), 0xef);
    out8(control_port(0, 12), 0);
}

static void check_masks(unsigned chip, const char *one, const char *all, const char *none,
                        const char *clear)
{
    out8(control_port(chip, 15), 0x0f);
    CHECK_EQ(all, in8(control_port(chip, 15)) & 0x0f, 0x0f);
    out8(control_port(chip, 10), 2);
    out8(control_port(chip, 10), 0);
    out8(control_port(chip, 10), 4);
    CHECK_EQ(one, in8(control_port(chip, 15)) & 0x0f, 0x0b);
    out8(control_port(chip, 14), 0);
    CHECK_EQ(none, in8(control_port(chip, 15)) & 0x0f, 0);
    out8(control_port(chip, 13), 0);
    CHECK_EQ(clear, in8(control_port(chip, 15)) & 0x0f, 0x0f);
}

static void check_all_masks(void)
{
    check_masks(0, "mask-one", "mask-all", "mask-none", "master-clear-masks");
    check_masks(1, "mask-one-2", "mask-all-2", "mask-none-2", "master-clear-masks-2");
}

/* A request on a chip that is switched off stays one. */
static void check_status(void)
{
    (void)in8(control_port(0, 8));
    CHECK_EQ("status-quiet", in8(control_port(0, 8)), 0);
    CHECK_EQ("temporary", in8(control_port(0, 13)), 0);
    out8(control_port(0, 8), 4);
    out8(control_port(0, 9), 4 | 3);
    CHECK_EQ("request-shown", in8(control_port(0, 8)), 0x80);
    out8(control_port(0, 9), 3);
    CHECK_EQ("request-taken-back", in8(control_port(0, 8)), 0);
    out8(control_port(0, 9), 4 | 1);
    out8(control_port(0, 13), 0);
    CHECK_EQ("master-clear-requests", in8(control_port(0, 8)), 0);
}

static void check_pages(void)
{
    unsigned good = 0;

    for (unsigned i = 0; i < 16; i++)
        out8((uint16_t)(PAGE_PORT + i), (uint8_t)(0x55 + i));
    for (unsigned i = 0; i < 16; i++)
        good += in8((uint16_t)(PAGE_PORT + i)) == 0x55 + i;
    CHECK_EQ("pages-read-back", good, 16);
}

void guest_main(void)
{
    check_group(check_addresses);
    check_group(check_flip_flop);
    check_group(check_all_masks);
    check_group(check_status);
    check_group(check_pages);
}
