/* devices/pci: mechanism #1, a function with BARs and capabilities, interrupt lines, reset port. */
#include "tests/unit/pc.h"

#include <linux/pci_regs.h>

#include "devices/pci.h"

struct card {
    struct pci_function f;
    uint64_t at[PCI_NR_BARS]; /* 0: not mapped */
    unsigned maps, unmaps, writes;
    bool refuse;
};

static int card_map(struct pci_function *f, unsigned bar, uint64_t address)
{
    struct card *c = container_of(f, struct card, f);

    assert_int_equal(c->at[bar], 0);
    c->maps++;
    if (c->refuse)
        return E_EXIST;
    c->at[bar] = address;
    return 0;
}

static void card_unmap(struct pci_function *f, unsigned bar, uint64_t address)
{
    struct card *c = container_of(f, struct card, f);

    assert_int_equal(c->at[bar], address);
    c->at[bar] = 0;
    c->unmaps++;
}

static void card_written(struct pci_function *f, unsigned offset, unsigned size)
{
    assert_true(offset + size <= PCI_CONFIG_SIZE);
    container_of(f, struct card, f)->writes++;
}

static const struct pci_ops card_ops = {card_map, card_unmap, card_written};
static const struct pci_identity card_id = {.vendor = 0x1af4,
                                            .device = 0x1042,
                                            .revision = 1,
                                            .subsystem_vendor = 0x1af4,
                                            .subsystem = 0x40,
                                            .class_code = 0x010000,
                                            .pin = 1};

/* Ports of 32, memory of 4 KiB, and 16 KiB of 64-bit memory. */
static void plug(struct pc *pc, struct card *c, unsigned slot)
{
    memset(c, 0, sizeof(*c));
    pci_init(&c->f, &pc->m, "card", &card_id, &card_ops);
    pci_add_bar_ports(&c->f, 0, 32);
    pci_add_bar_memory(&c->f, 1, 4096, false, false);
    pci_add_bar_memory(&c->f, 2, 16384, true, true);
    assert_int_equal(pci_attach(&c->f, slot), 0);
}

static void select_register(struct pc *pc, unsigned slot, unsigned reg)
{
    pc_out(pc, 0xcf8, 4, 0x80000000u | slot << 11 | (reg & 0xfc));
}

static uint32_t get(struct pc *pc, unsigned slot, unsigned reg, unsigned size)
{
    select_register(pc, slot, reg);
    return pc_in(pc, 0xcfc + (reg & 3), size);
}

static void set(struct pc *pc, unsigned slot, unsigned reg, unsigned size, uint32_t value)
{
    select_register(pc, slot, reg);
    pc_out(pc, 0xcfc + (reg & 3), size, value);
}

static void test_mechanism(void **state)
{
    struct pc pc;

    (void)state;
    pc_init(&pc);
    /* How systems find out that it is there. */
    pc_out(&pc, 0xcf8, 4, 0x80000000);
    assert_int_equal(pc_in(&pc, 0xcf8, 4), 0x80000000);
    assert_int_equal(pc_in(&pc, 0xcfc, 4), 0x12378086);
    assert_int_equal(get(&pc, 0, PCI_CLASS_DEVICE, 2), 0x0600);
    assert_int_equal(get(&pc, 0, PCI_DEVICE_ID, 2), 0x1237);
    assert_int_equal(get(&pc, 0, PCI_VENDOR_ID + 1, 1), 0x80);
    assert_int_equal(get(&pc, 0, PCI_HEADER_TYPE, 1), 0);
    /* Nobody: other slots, functions and buses, and the address not enabled. */
    assert_int_equal(get(&pc, 2, 0, 4), 0xffffffff);
    assert_int_equal(get(&pc, 31, 0, 2), 0xffff);
    pc_out(&pc, 0xcf8, 4, 0x80000100);
    assert_int_equal(pc_in(&pc, 0xcfc, 4), 0xffffffff);
    pc_out(&pc, 0xcf8, 4, 0x80010000);
    assert_int_equal(pc_in(&pc, 0xcfc, 4), 0xffffffff);
    pc_out(&pc, 0xcf8, 4, 0);
    assert_int_equal(pc_in(&pc, 0xcfc, 4), 0xffffffff);
    /* Identity cannot be written. */
    set(&pc, 0, 0, 4, 0);
    assert_int_equal(get(&pc, 0, 0, 4), 0x12378086);
    pc_finish(&pc);
}

static void test_reset_port(void **state)
{
    struct pc pc;

    (void)state;
    pc_init(&pc);
    pc_out(&pc, 0xcf8, 4, 0x80000008);
    pc_outb(&pc, 0xcf9, 0x02);
    assert_int_equal(pc.f.resets, 0);
    assert_int_equal(pc_inb(&pc, 0xcf9), 0x02);
    pc_outb(&pc, 0xcf9, 0x04);
    assert_int_equal(pc.f.resets, 0);
    assert_int_equal(pc.f.cpu_resets, 1);
    pc_outb(&pc, 0xcf9, 0x02);
    assert_int_equal(pc_in(&pc, 0xcf8, 4), 0x80000008); /* not the address register */
    pc_outb(&pc, 0xcf9, 0x06);
    assert_int_equal(pc.f.resets, 1);
    pc_outb(&pc, 0xcf9, 0x0e);
    assert_int_equal(pc.f.resets, 2);
    /* A dword write through it is an address only. */
    pc_out(&pc, 0xcf8, 4, 0x80000600);
    assert_int_equal(pc.f.resets, 2);
    assert_int_equal(pc_in(&pc, 0xcf8, 2), 0xffff);
    assert_int_equal(pc_inb(&pc, 0xcf8), 0xff);
    machine_reset(&pc.m);
    assert_int_equal(pc_inb(&pc, 0xcf9), 0);
    assert_int_equal(pc_in(&pc, 0xcf8, 4), 0);
    pc_finish(&pc);
}

static void test_bars(void **state)
{
    struct card c;
    struct pc pc;

    (void)state;
    pc_init(&pc);
    plug(&pc, &c, 3);
    assert_int_equal(get(&pc, 3, PCI_SUBSYSTEM_ID, 2), 0x40);
    assert_int_equal(get(&pc, 3, PCI_BASE_ADDRESS_0, 4), 1);
    assert_int_equal(get(&pc, 3, PCI_BASE_ADDRESS_2, 4), 0xc);
    /* Sizing, with decoding off. */
    for (unsigned bar = 0; bar < 6; bar++)
        set(&pc, 3, PCI_BASE_ADDRESS_0 + 4 * bar, 4, 0xffffffff);
    assert_int_equal(get(&pc, 3, PCI_BASE_ADDRESS_0, 4), 0xffffffe1);
    assert_int_equal(get(&pc, 3, PCI_BASE_ADDRESS_1, 4), 0xfffff000);
    assert_int_equal(get(&pc, 3, PCI_BASE_ADDRESS_2, 4), 0xffffc00c);
    assert_int_equal(get(&pc, 3, PCI_BASE_ADDRESS_3, 4), 0xffffffff);
    assert_int_equal(get(&pc, 3, PCI_BASE_ADDRESS_4, 4), 0);
    /* Decoding on while all ones: nothing is mapped. */
    set(&pc, 3, PCI_COMMAND, 2, 3);
    assert_int_equal(c.maps, 0);
    set(&pc, 3, PCI_COMMAND, 2, 0);
    set(&pc, 3, PCI_BASE_ADDRESS_0, 4, 0xc021);
    set(&pc, 3, PCI_BASE_ADDRESS_1, 4, 0xfe000123);
    set(&pc, 3, PCI_BASE_ADDRESS_2, 4, 0x00004000);
    set(&pc, 3, PCI_BASE_ADDRESS_3, 4, 0x8);
    assert_int_equal(c.maps, 0);
    set(&pc, 3, PCI_COMMAND, 1, PCI_COMMAND_MEMORY);
    assert_int_equal(c.at[0], 0);
    assert_int_equal(c.at[1], 0xfe000000);
    assert_int_equal(c.at[2], 0x800004000);
    set(&pc, 3, PCI_COMMAND, 2, 0xffff);
    assert_int_equal(get(&pc, 3, PCI_COMMAND, 2), 0x547);
    assert_int_equal(c.at[0], 0xc020);
    /* Moved by single bytes, then refused, then off. */
    set(&pc, 3, PCI_BASE_ADDRESS_0 + 1, 1, 0xd0);
    assert_int_equal(c.at[0], 0xd020);
    c.refuse = true;
    set(&pc, 3, PCI_BASE_ADDRESS_1, 4, 0xfd000000);
    assert_int_equal(c.at[1], 0);
    c.refuse = false;
    set(&pc, 3, PCI_BASE_ADDRESS_0, 4, 0x12340000); /* no such port */
    assert_int_equal(c.at[0], 0);
    machine_reset(&pc.m);
    assert_int_equal(c.at[2], 0);
    assert_int_equal(get(&pc, 3, PCI_BASE_ADDRESS_2, 4), 0xc);
    assert_int_equal(get(&pc, 3, PCI_COMMAND, 2), 0);
    assert_true(c.writes > 10);
    pci_detach(&c.f);
    assert_int_equal(get(&pc, 3, 0, 4), 0xffffffff);
    pc_finish(&pc);
}

static void test_capabilities_and_slots(void **state)
{
    struct card c, d, many[PCI_MAX_SLOTS];
    struct pc pc;
    unsigned i;

    (void)state;
    pc_init(&pc);
    pci_init(&c.f, &pc.m, "card", &card_id, NULL);
    assert_int_equal(pci_add_capability(&c.f, PCI_CAP_ID_VNDR, 17), 0x40);
    assert_int_equal(pci_add_capability(&c.f, PCI_CAP_ID_MSIX, 12), 0x54);
    assert_int_equal(pci_add_capability(&c.f, PCI_CAP_ID_VNDR, 161), 0);
    assert_int_equal(pci_add_capability(&c.f, PCI_CAP_ID_VNDR, 160), 0x60);
    assert_int_equal(pci_add_capability(&c.f, PCI_CAP_ID_VNDR, 2), 0);
    assert_int_equal(pci_attach(&c.f, 5), 0);
    assert_true(get(&pc, 5, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST);
    assert_int_equal(get(&pc, 5, PCI_CAPABILITY_LIST, 1), 0x40);
    assert_int_equal(get(&pc, 5, 0x40, 2), 0x54 << 8 | PCI_CAP_ID_VNDR);
    assert_int_equal(get(&pc, 5, 0x54, 2), 0x60 << 8 | PCI_CAP_ID_MSIX);
    assert_int_equal(get(&pc, 5, 0x60, 2), PCI_CAP_ID_VNDR);
    pci_init(&d.f, &pc.m, "other", &card_id, NULL);
    assert_int_equal(pci_attach(&d.f, 5), E_EXIST);
    assert_int_equal(pci_attach(&d.f, 0), E_EXIST);
    assert_int_equal(pci_attach(&d.f, 32), E_NOSPC);
    /* The chip set has slots 0 and 1; other devices of the machine may have taken some more. */
    for (i = 2; i < PCI_MAX_SLOTS; i++) {
        bool taken = get(&pc, i, 0, 4) != 0xffffffff;

        pci_init(&many[i].f, &pc.m, "many", &card_id, NULL);
        if (!taken) {
            assert_int_equal(pci_attach(&many[i].f, PCI_ANY_SLOT), 0);
            assert_int_equal(many[i].f.slot, i);
        }
    }
    assert_int_equal(pci_attach(&d.f, PCI_ANY_SLOT), E_NOSPC);
    pc_finish(&pc);
}

/* Slots 5 and 9 share line 0, slot 6 is line 1: IRQ 10 for both. Slot 4 is line 3, IRQ 11. */
static void test_interrupts(void **state)
{
    struct card a, b, c, d;
    struct pc pc;

    (void)state;
    pc_init(&pc);
    plug(&pc, &a, 5);
    plug(&pc, &b, 9);
    plug(&pc, &c, 6);
    plug(&pc, &d, 4);
    pci_set_intx(&a.f, true);
    pci_set_intx(&a.f, true);
    assert_true(pc_irq(&pc, 10));
    assert_false(pc_irq(&pc, 11));
    assert_true(get(&pc, 5, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
    assert_false(get(&pc, 9, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
    pci_set_intx(&b.f, true);
    pci_set_intx(&c.f, true);
    pci_set_intx(&a.f, false);
    assert_true(pc_irq(&pc, 10));
    pci_set_intx(&b.f, false);
    assert_true(pc_irq(&pc, 10));
    /* The guest turns c's pin off and on again. */
    set(&pc, 6, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
    assert_false(pc_irq(&pc, 10));
    assert_true(get(&pc, 6, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
    set(&pc, 6, PCI_COMMAND, 2, 0);
    assert_true(pc_irq(&pc, 10));
    pci_set_intx(&d.f, true);
    assert_true(pc_irq(&pc, 11));
    machine_reset(&pc.m);
    assert_false(pc_irq(&pc, 10));
    assert_false(pc_irq(&pc, 11));
    pci_set_intx(&c.f, true);
    assert_true(pc_irq(&pc, 10));
    pci_detach(&c.f);
    assert_false(pc_irq(&pc, 10));
    pc_finish(&pc);
}

/* Functions of one slot are told apart, and the first one's header says that there are more. */
static void test_functions(void **state)
{
    struct card first, fifth, stray;
    struct pc pc;

    (void)state;
    pc_init(&pc);
    memset(&fifth, 0, sizeof(fifth));
    pci_init(&fifth.f, &pc.m, "fifth", &card_id, &card_ops);
    assert_int_equal(pci_attach_function(&fifth.f, 7, 5), E_NODEV);
    plug(&pc, &first, 7);
    assert_int_equal(get(&pc, 7, PCI_HEADER_TYPE, 1), 0);
    assert_int_equal(pci_attach_function(&fifth.f, 7, 8), E_NOSPC);
    assert_int_equal(pci_attach_function(&fifth.f, 7, 5), 0);
    assert_int_equal(get(&pc, 7, PCI_HEADER_TYPE, 1), 0x80);
    pc_out(&pc, 0xcf8, 4, 0x80000000 | 7 << 11 | 5 << 8);
    assert_int_equal(pc_in(&pc, 0xcfc, 4), 0x10421af4);
    pc_out(&pc, 0xcf8, 4, 0x80000000 | 7 << 11 | 4 << 8);
    assert_int_equal(pc_in(&pc, 0xcfc, 4), 0xffffffff);
    pci_init(&stray.f, &pc.m, "stray", &card_id, NULL);
    assert_int_equal(pci_attach_function(&stray.f, 7, 5), E_EXIST);
    machine_reset(&pc.m);
    assert_int_equal(get(&pc, 7, PCI_HEADER_TYPE, 1), 0x80);
    pci_detach(&fifth.f);
    pc_out(&pc, 0xcf8, 4, 0x80000000 | 7 << 11 | 5 << 8);
    assert_int_equal(pc_in(&pc, 0xcfc, 4), 0xffffffff);
    pc_finish(&pc);
}

static void test_save_load(void **state)
{
    static uint8_t buf[1024];
    struct device_state s = {.buf = buf, .size = sizeof(buf)};
    struct pc from, to;
    struct card a, b;

    (void)state;
    pc_init(&from);
    pc_init(&to);
    plug(&from, &a, 4);
    plug(&to, &b, 4);
    set(&from, 4, PCI_BASE_ADDRESS_1, 4, 0xfe000000);
    set(&from, 4, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    set(&from, 4, PCI_INTERRUPT_LINE, 1, 10);
    pci_set_intx(&a.f, true);
    pc_migrate(&from, &to);
    assert_int_equal(pc_in(&to, 0xcf8, 4), 0x8000203c);
    pci_save(&a.f, &s);
    s.size = s.pos;
    s.pos = 0;
    assert_true(pci_load(&b.f, &s));
    assert_int_equal(b.at[1], 0xfe000000);
    assert_true(pc_irq(&to, 11));
    assert_int_equal(get(&to, 4, PCI_INTERRUPT_LINE, 1), 10);
    s.pos = 1;
    s.failed = false;
    assert_false(pci_load(&b.f, &s));
    pc_finish(&from);
    pc_finish(&to);
}

static void test_fuzz(void **state)
{
    uint8_t before[4];
    struct card c;
    struct pc pc;

    (void)state;
    srand(5);
    pc_init(&pc);
    plug(&pc, &c, 3);
    memcpy(before, c.f.config, 4);
    for (int i = 0; i < 200000; i++) {
        unsigned size = 1u << rand() % 3, port = 0xcf8 + (unsigned)rand() % 8;

        if (rand() % 3 == 0)
            select_register(&pc, 2 + (unsigned)rand() % 2, (unsigned)rand());
        else if (rand() % 8 == 0)
            pci_set_intx(&c.f, rand() & 1);
        else if (rand() % 2)
            (void)pc_in(&pc, port, size);
        else
            pc_out(&pc, port, size, (uint32_t)rand() << rand() % 16);
        assert_memory_equal(c.f.config, before, 4);
        assert_int_equal(pc_irq(&pc, 11), c.f.intx_driven);
    }
    assert_true(c.maps > 100);
    pc_finish(&pc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mechanism),  cmocka_unit_test(test_reset_port),
        cmocka_unit_test(test_bars),       cmocka_unit_test(test_capabilities_and_slots),
        cmocka_unit_test(test_interrupts), cmocka_unit_test(test_functions),
        cmocka_unit_test(test_save_load),  cmocka_unit_test(test_fuzz),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
