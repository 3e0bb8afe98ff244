/* The chip set: PAM registers, interrupt routing, where the ACPI registers are, CMOS. */
#include "tests/unit/pc.h"

#include <linux/pci_regs.h>

#include "devices/pci.h"

#define HOST_BRIDGE 0
#define ISA_BRIDGE  (1 << 3)
#define PM          (1 << 3 | 3)

#define PAM   0x59
#define ROUTE 0x60
#define READ  1
#define WRITE 2

static void firmware_pc(struct pc *pc)
{
    struct machine_config config = {
        .nr_vcpus = 3, .ram_bytes = GIB(5), .firmware = true, .boot_order = {3, 2, 4, 1}};

    pc_init_with(pc, &config);
}

static uint32_t get(struct pc *pc, unsigned function, unsigned reg, unsigned size)
{
    pc_out(pc, 0xcf8, 4, 0x80000000u | function << 8 | (reg & 0xfc));
    return pc_in(pc, 0xcfc + (reg & 3), size);
}

static void set(struct pc *pc, unsigned function, unsigned reg, unsigned size, uint32_t value)
{
    pc_out(pc, 0xcf8, 4, 0x80000000u | function << 8 | (reg & 0xfc));
    pc_out(pc, 0xcfc + (reg & 3), size, value);
}

static void test_identities(void **state)
{
    struct pc pc;

    (void)state;
    firmware_pc(&pc);
    assert_int_equal(get(&pc, HOST_BRIDGE, 0, 4), 0x12378086);
    assert_int_equal(get(&pc, HOST_BRIDGE, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x11001af4);
    assert_int_equal(get(&pc, ISA_BRIDGE, 0, 4), 0x70008086);
    assert_int_equal(get(&pc, ISA_BRIDGE, PCI_CLASS_DEVICE, 2), 0x0601);
    assert_int_equal(get(&pc, ISA_BRIDGE, PCI_HEADER_TYPE, 1), 0x80);
    assert_int_equal(get(&pc, PM, 0, 4), 0x71138086);
    assert_int_equal(get(&pc, PM, 0x58, 4), 1 << 25); /* as if SMM had been set up */
    pc_finish(&pc);
}

/* ------------------------------------------------------------------ PAM */

/* Every nibble is 16 KiB, the first register's upper one the last 64 KiB. */
static void test_pam_segments(void **state)
{
    struct pc pc;

    (void)state;
    firmware_pc(&pc);
    for (unsigned n = 0; n < 13; n++) {
        unsigned reg = n == 12 ? PAM : PAM + 1 + n / 2, shift = n == 12 || n % 2 ? 4 : 0;
        unsigned first = n * 4, count = n == 12 ? 16 : 4;

        for (unsigned bits = 3; bits < 4; bits--) { /* down to 0 */
            unsigned changes = pc.f.shadow_changes;

            set(&pc, HOST_BRIDGE, reg, 1, bits << shift);
            assert_int_equal(get(&pc, HOST_BRIDGE, reg, 1), bits << shift);
            assert_int_equal(pc.f.shadow_changes, changes + 1);
            for (unsigned page = 0; page < 64; page++)
                assert_int_equal(pc.f.shadow[page], page - first < count ? bits : 0);
        }
    }
    pc_finish(&pc);
}

/* As SeaBIOS does it: two dwords at once. Reserved bits stay 0, and nothing changes twice. */
static void test_pam_dwords(void **state)
{
    unsigned changes;
    struct pc pc;

    (void)state;
    firmware_pc(&pc);
    set(&pc, HOST_BRIDGE, 0x58, 4, 0xffffffff);
    set(&pc, HOST_BRIDGE, 0x5c, 4, 0xffffffff);
    assert_int_equal(get(&pc, HOST_BRIDGE, 0x58, 4), 0x33333000);
    assert_int_equal(get(&pc, HOST_BRIDGE, 0x5c, 4), 0x33333333);
    for (unsigned page = 0; page < 64; page++)
        assert_int_equal(pc.f.shadow[page], READ | WRITE);
    changes = pc.f.shadow_changes;
    set(&pc, HOST_BRIDGE, 0x58, 4, 0x33333000);
    set(&pc, HOST_BRIDGE, 0x57, 1, 0xff);
    assert_int_equal(pc.f.shadow_changes, changes);
    set(&pc, HOST_BRIDGE, PAM, 1, 0x10);
    assert_int_equal(pc.f.shadow[63], READ);
    machine_reset(&pc.m);
    for (unsigned page = 0; page < 64; page++)
        assert_int_equal(pc.f.shadow[page], 0);
    pc_finish(&pc);
}

/* Without firmware there is no ROM, and what a kernel writes changes nothing. */
static void test_pam_without_firmware(void **state)
{
    struct pc pc;

    (void)state;
    pc_init(&pc);
    assert_int_equal(get(&pc, HOST_BRIDGE, 0x58, 4), 0x00003000);
    assert_int_equal(get(&pc, HOST_BRIDGE, 0x5c, 4), 0x33330000);
    set(&pc, HOST_BRIDGE, 0x5c, 4, 0x11111111);
    assert_int_equal(get(&pc, HOST_BRIDGE, 0x5c, 4), 0x33330000);
    assert_int_equal(pc.f.shadow_changes, 0);
    pc_finish(&pc);
}

static void test_pam_migrates(void **state)
{
    struct pc a, b;

    (void)state;
    firmware_pc(&a);
    firmware_pc(&b);
    set(&a, HOST_BRIDGE, PAM + 2, 1, 0x21);
    pc_migrate(&a, &b);
    assert_memory_equal(a.f.shadow, b.f.shadow, sizeof(a.f.shadow));
    assert_int_equal(b.f.shadow[8], READ);
    assert_int_equal(b.f.shadow[12], WRITE);
    pc_finish(&a);
    pc_finish(&b);
}

/* ------------------------------------------------------------------ PIRQ */

/* Slot s, pin A is line s - 1. */
static void plug(struct pc *pc, struct pci_function *f, unsigned slot)
{
    static const struct pci_identity id = {.vendor = 0x1234, .device = 0x5678, .pin = 1};

    pci_init(f, &pc->m, "card", &id, NULL);
    assert_int_equal(pci_attach(f, slot), 0);
}

static void test_routes(void **state)
{
    struct pci_function card[PCI_NR_LINES];
    struct pc pc;

    (void)state;
    firmware_pc(&pc);
    for (unsigned line = 0; line < PCI_NR_LINES; line++) {
        plug(&pc, &card[line], 17 + line);
        assert_int_equal(get(&pc, ISA_BRIDGE, ROUTE + line, 1), 0x80);
        pci_set_intx(&card[line], true);
    }
    assert_int_equal(pc.m.isa_level, 0); /* nothing is routed */
    set(&pc, ISA_BRIDGE, ROUTE, 4, 0x0b0b0a0a);
    assert_int_equal(pc.m.isa_level, 1 << 10 | 1 << 11);
    pci_set_intx(&card[0], false);
    assert_true(pc_irq(&pc, 10));
    pci_set_intx(&card[1], false);
    assert_false(pc_irq(&pc, 10));
    /* Moved while it is up. */
    set(&pc, ISA_BRIDGE, ROUTE + 2, 1, 5);
    set(&pc, ISA_BRIDGE, ROUTE + 3, 1, 0x8b);
    assert_int_equal(pc.m.isa_level, 1 << 5);
    /* Timer, keyboard, cascade, RTC and FPU are reserved; so are bits 6 to 4. */
    for (unsigned irq = 0; irq < 16; irq++) {
        bool there = irq >= 3 && irq != 8 && irq != 13;

        set(&pc, ISA_BRIDGE, ROUTE + 2, 1, 0x70 | irq);
        assert_int_equal(get(&pc, ISA_BRIDGE, ROUTE + 2, 1), irq);
        assert_int_equal(pc.m.isa_level, there ? 1 << irq : 0);
    }
    machine_reset(&pc.m);
    assert_int_equal(pc.m.isa_level, 0);
    pci_set_intx(&card[2], true);
    assert_int_equal(pc.m.isa_level, 0);
    pc_finish(&pc);
}

/* A level-triggered input of the PIC stays requested until the card lets go. */
static void test_elcr(void **state)
{
    struct pci_function card;
    struct pc pc;

    (void)state;
    firmware_pc(&pc);
    plug(&pc, &card, 17);
    set(&pc, ISA_BRIDGE, ROUTE, 1, 11);
    pc_outb(&pc, 0x4d1, 0x08);
    pc_outb(&pc, 0xa0, 0x11);
    pc_outb(&pc, 0xa1, 0x70);
    pc_outb(&pc, 0xa1, 2);
    pc_outb(&pc, 0xa1, 1);
    pci_set_intx(&card, true);
    assert_int_equal(pc_inb(&pc, 0xa0), 0x08);
    pc_outb(&pc, 0x4d1, 0);
    pci_set_intx(&card, false);
    assert_int_equal(pc_inb(&pc, 0xa0), 0);
    pc_finish(&pc);
}

/* Whatever is written and asserted: each ISA IRQ is the OR of the lines that are routed to it. */
static void test_routes_random(void **state)
{
    struct pci_function card[PCI_NR_LINES];
    struct pc pc;

    (void)state;
    srand(11);
    firmware_pc(&pc);
    for (unsigned line = 0; line < PCI_NR_LINES; line++)
        plug(&pc, &card[line], 17 + line);
    for (unsigned i = 0; i < 20000; i++) {
        unsigned want = 0;

        if (rand() % 2)
            pci_set_intx(&card[rand() % 4], rand() % 2);
        else
            set(&pc, ISA_BRIDGE, ROUTE + (unsigned)rand() % 4, 1, (uint32_t)rand());
        for (unsigned line = 0; line < PCI_NR_LINES; line++) {
            unsigned route = get(&pc, ISA_BRIDGE, ROUTE + line, 1);

            if (card[line].intx_driven && route < 16 && (0xdef8 >> route & 1))
                want |= 1u << route;
        }
        assert_int_equal(pc.m.isa_level, want);
    }
    pc_finish(&pc);
}

/* ------------------------------------------------------------------ PM */

static void test_pm_base(void **state)
{
    struct pc pc;

    (void)state;
    firmware_pc(&pc);
    assert_int_equal(get(&pc, PM, 0x40, 4), 1);
    assert_int_equal(pc_in(&pc, 0x604, 2), 0xffff);
    set(&pc, PM, 0x40, 4, 0xb03f);
    assert_int_equal(get(&pc, PM, 0x40, 4), 0xb001);
    assert_int_equal(pc_in(&pc, 0xb004, 2), 0xffff);
    set(&pc, PM, 0x80, 1, 0xff);
    assert_int_equal(get(&pc, PM, 0x80, 1), 1);
    assert_int_equal(pc_in(&pc, 0xb004, 2), 1);
    set(&pc, PM, 0x40, 4, 0x600);
    assert_int_equal(pc_in(&pc, 0xb004, 2), 0xffff);
    assert_int_equal(pc_in(&pc, 0x604, 2), 1);
    /* Upon other devices: what is there already stays. */
    set(&pc, PM, 0x40, 4, 0x4c0);
    assert_int_equal(pc_in(&pc, 0x4c4, 2), 1);
    pc_outb(&pc, 0x4d1, 0x0c);
    set(&pc, PM, 0x40, 4, 0);
    assert_int_equal(pc_in(&pc, 0x4c4, 2), 0xffff);
    assert_int_equal(pc_inb(&pc, 0x4d1), 0x0c);
    set(&pc, PM, 0x40, 4, 0x600);
    machine_reset(&pc.m);
    assert_int_equal(pc_in(&pc, 0x604, 2), 0xffff);
    pc_finish(&pc);
}

static void test_pm_migrates(void **state)
{
    struct pc a, b;

    (void)state;
    firmware_pc(&a);
    firmware_pc(&b);
    set(&a, PM, 0x40, 4, 0xb000);
    set(&a, PM, 0x80, 1, 1);
    pc_migrate(&a, &b);
    assert_int_equal(pc_in(&b, 0xb004, 2), 1);
    pc_finish(&a);
    pc_finish(&b);
}

/* ------------------------------------------------------------------ CMOS */

static unsigned cmos(struct pc *pc, unsigned at)
{
    pc_outb(pc, 0x70, at);
    return pc_inb(pc, 0x71);
}

static void test_cmos(void **state)
{
    struct pc pc;

    (void)state;
    firmware_pc(&pc); /* 3 GiB below 4 GiB, 2 GiB above */
    assert_int_equal(cmos(&pc, 0x15) | cmos(&pc, 0x16) << 8, 640);
    assert_int_equal(cmos(&pc, 0x17) | cmos(&pc, 0x18) << 8, 0xffff);
    assert_int_equal(cmos(&pc, 0x34) | cmos(&pc, 0x35) << 8, (GIB(3) - MIB(16)) >> 16);
    assert_int_equal(cmos(&pc, 0x5b) | cmos(&pc, 0x5c) << 8 | cmos(&pc, 0x5d) << 16, GIB(2) >> 16);
    assert_int_equal(cmos(&pc, 0x5f), 2);
    assert_int_equal(cmos(&pc, 0x3d), 0x23);
    assert_int_equal(cmos(&pc, 0x38), 0x40);
    assert_int_equal(cmos(&pc, 0x10), 0);
    pc_finish(&pc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identities),   cmocka_unit_test(test_pam_segments),
        cmocka_unit_test(test_pam_dwords),   cmocka_unit_test(test_pam_without_firmware),
        cmocka_unit_test(test_pam_migrates), cmocka_unit_test(test_routes),
        cmocka_unit_test(test_elcr),         cmocka_unit_test(test_routes_random),
        cmocka_unit_test(test_pm_base),      cmocka_unit_test(test_pm_migrates),
        cmocka_unit_test(test_cmos),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
