/*
 * The chip set: i440FX and PIIX3 by configuration mechanism #1 (PCI 3.0, 3.2.2.3.2; data sheets
 * 290549, 290550, 290562), interrupt routing, ELCR, and the PM registers where PMBASE says. What
 * firmware decides (addresses, PAM while ROM is behind it) is not compared.
 */
#include "lib/guest.h"

#define ADDRESS 0xcf8
#define DATA    0xcfc
#define ENABLE  BIT(31)

#define HOST_BRIDGE 0
#define ISA_BRIDGE  (1 << 3)
#define PM          (1 << 3 | 3)

#define PCI_ID      0x00
#define PCI_COMMAND 0x04
#define PCI_STATUS  0x06
#define PCI_CLASS   0x0a
#define PCI_HEADER  0x0e
#define PIRQ_ROUTE  0x60
#define PM_BASE     0x40
#define PM_MISC     0x80

#define ELCR_1 0x4d0
#define ELCR_2 0x4d1

static void select(unsigned function, unsigned reg)
{
    out32(ADDRESS, (uint32_t)ENABLE | function << 8 | (reg & 0xfc));
}

static uint32_t get32(unsigned function, unsigned reg)
{
    select(function, reg);
    return in32(DATA);
}
static uint16_t get16(unsigned function, unsigned reg)
{
    select(function, reg);
    return in16((uint16_t)(DATA + (reg & 2)));
}
static uint8_t get8(unsigned function, unsigned reg)
{
    select(function, reg);
    return in8((uint16_t)(DATA + (reg & 3)));
}
static void set32(unsigned function, unsigned reg, uint32_t value)
{
    select(function, reg);
    out32(DATA, value);
}
static void set8(unsigned function, unsigned reg, uint8_t value)
{
    select(function, reg);
    out8((uint16_t)(DATA + (reg & 3)), value);
}

static void check_mechanism(void)
{
    select(HOST_BRIDGE, 0x34);
    CHECK_EQ("address-reads-back", in32(ADDRESS), ENABLE | 0x34);
    CHECK_EQ("nobody-there", get32(5 << 3, PCI_ID), 0xffffffff);
    CHECK_EQ("no-such-function", get32(ISA_BRIDGE | 7, PCI_ID), 0xffffffff);
    CHECK_EQ("no-such-bus", get32(1 << 8, PCI_ID), 0xffffffff);
    out32(ADDRESS, 0);
    CHECK_EQ("not-enabled", in32(DATA), 0xffffffff);
    CHECK_EQ("part-of-a-dword", get8(HOST_BRIDGE, 1), 0x80);
    CHECK_EQ("half-of-a-dword", get16(HOST_BRIDGE, 2), 0x1237);
}

static void check_identities(void)
{
    CHECK_EQ("host-bridge", get32(HOST_BRIDGE, PCI_ID), 0x12378086);
    CHECK_EQ("host-bridge-class", get16(HOST_BRIDGE, PCI_CLASS), 0x0600);
    CHECK_EQ("isa-bridge", get32(ISA_BRIDGE, PCI_ID), 0x70008086);
    CHECK_EQ("isa-bridge-class", get16(ISA_BRIDGE, PCI_CLASS), 0x0601);
    CHECK_EQ("isa-bridge-has-functions", get8(ISA_BRIDGE, PCI_HEADER), 0x80);
    CHECK_EQ("isa-bridge-command", get16(ISA_BRIDGE, PCI_COMMAND), 0x0007);
    CHECK_EQ("isa-bridge-speed", get16(ISA_BRIDGE, PCI_STATUS) & 0x0600, 0x0200);
    CHECK_EQ("pm", get32(PM, PCI_ID), 0x71138086);
    CHECK_EQ("pm-class", get16(PM, PCI_CLASS), 0x0680);
    set32(ISA_BRIDGE, PCI_ID, 0);
    set8(PM, PCI_CLASS, 0x55);
    CHECK_EQ("identity-fixed", get32(ISA_BRIDGE, PCI_ID), 0x70008086);
    CHECK_EQ("class-fixed", get16(PM, PCI_CLASS), 0x0680);
}

static void check_routes(void)
{
    uint32_t before = get32(ISA_BRIDGE, PIRQ_ROUTE);

    set32(ISA_BRIDGE, PIRQ_ROUTE, 0x0b0a0509);
    CHECK_EQ("routes-kept", get32(ISA_BRIDGE, PIRQ_ROUTE), 0x0b0a0509);
    set8(ISA_BRIDGE, PIRQ_ROUTE + 1, 0x80);
    CHECK_EQ("route-off", get32(ISA_BRIDGE, PIRQ_ROUTE), 0x0b0a8009);
    set8(ISA_BRIDGE, PIRQ_ROUTE + 2, 0xff);
    CHECK_EQ("route-reserved-bits", get8(ISA_BRIDGE, PIRQ_ROUTE + 2), 0x8f);
    set32(ISA_BRIDGE, PIRQ_ROUTE, before);
    CHECK_EQ("routes-restored", get32(ISA_BRIDGE, PIRQ_ROUTE), before);
}

static void check_elcr(void)
{
    uint8_t first = in8(ELCR_1), second = in8(ELCR_2);

    out8(ELCR_1, 0xff);
    out8(ELCR_2, 0xff);
    CHECK_EQ("elcr-timer-keyboard-cascade-edge", in8(ELCR_1), 0xf8);
    CHECK_EQ("elcr-rtc-fpu-edge", in8(ELCR_2), 0xde);
    out8(ELCR_1, 0);
    out8(ELCR_2, 0x0c);
    CHECK_EQ("elcr-first", in8(ELCR_1), 0);
    CHECK_EQ("elcr-second", in8(ELCR_2), 0x0c);
    out8(ELCR_1, first);
    out8(ELCR_2, second);
}

/* The timer counts on, there and after it was moved; its old place is empty. */
static void check_pm(void)
{
    uint32_t before = get32(PM, PM_BASE), misc = get8(PM, PM_MISC);
    uint16_t base = before & 0xffc0;
    uint32_t a = in32((uint16_t)(base + 8)), b = a;

    CHECK_EQ("pm-base-is-io", before & 0x3f, 1);
    CHECK_EQ("pm-on", misc & 1, 1);
    for (unsigned i = 0; i < 100000 && b == a; i++)
        b = in32((uint16_t)(base + 8));
    CHECK("pm-timer-counts", b != a);
    set32(PM, PM_BASE, 0xa000);
    CHECK_EQ("pm-base-moved", get32(PM, PM_BASE), 0xa001);
    CHECK("pm-timer-moved", in32(0xa008) != 0xffffffff);
    CHECK_EQ("pm-old-place-empty", in32((uint16_t)(base + 8)), 0xffffffff);
    set8(PM, PM_MISC, 0);
    CHECK_EQ("pm-off", in32(0xa008), 0xffffffff);
    set8(PM, PM_MISC, (uint8_t)misc);
    set32(PM, PM_BASE, before);
    CHECK("pm-back", in32((uint16_t)(base + 8)) != 0xffffffff);
}

void guest_main(void)
{
    check_group(check_mechanism);
    check_group(check_identities);
    check_group(check_routes);
    check_group(check_elcr);
    check_group(check_pm);
}
