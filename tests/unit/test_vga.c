/* devices/vga: registers, retrace, PCI and the linear framebuffer, VBE_DISPI, reset and state. */
#include "tests/unit/vga.h"

#include <linux/pci_regs.h>

#define STATE_SIZE MIB(20)

static void plug(struct pc *pc, unsigned bar, uint32_t address)
{
    pc_out(pc, 0xcf8, 4, 0x80000000 | VGA_PCI_SLOT << 11 | (PCI_BASE_ADDRESS_0 + 4 * bar));
    pc_out(pc, 0xcfc, 4, address);
    pc_out(pc, 0xcf8, 4, 0x80000000 | VGA_PCI_SLOT << 11 | PCI_COMMAND);
    pc_out(pc, 0xcfc, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
}

static uint32_t pci_config(struct pc *pc, unsigned offset)
{
    pc_out(pc, 0xcf8, 4, 0x80000000 | VGA_PCI_SLOT << 11 | offset);
    return pc_in(pc, 0xcfc, 4);
}

/* ------------------------------------------------------------------ registers */

static void test_none(void **state)
{
    struct pc pc;

    (void)state;
    pc_init(&pc);
    assert_null(pc.m.vga);
    assert_int_equal(pci_config(&pc, 0), UINT32_MAX);
    assert_int_equal(pc_inb(&pc, VGA_PORT_MISC_READ), 0xff);
    assert_int_equal(peek(&pc, TEXT_AT, 2), 0xffff);
    pc_finish(&pc);
}

static void test_indexed(void **state)
{
    static const uint8_t seq[] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e};
    static const uint8_t gc[] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    for (unsigned i = 0; i < 5; i++) {
        set_indexed(&pc, VGA_PORT_SEQ, i, 0xff);
        assert_int_equal(get_indexed(&pc, VGA_PORT_SEQ, i), seq[i]);
        set_indexed(&pc, VGA_PORT_SEQ, i, 0);
        assert_int_equal(get_indexed(&pc, VGA_PORT_SEQ, i), 0);
    }
    for (unsigned i = 0; i < 9; i++) {
        pc_out(&pc, VGA_PORT_GC, 2, 0xa500 | i); /* index and data at once */
        assert_int_equal(get_indexed(&pc, VGA_PORT_GC, i), 0xa5 & gc[i]);
        assert_int_equal(pc_inb(&pc, VGA_PORT_GC), i);
    }
    set_indexed(&pc, VGA_PORT_SEQ, 7, 0xff); /* there is no such register */
    assert_int_equal(get_indexed(&pc, VGA_PORT_SEQ, 7), 0);
    set_indexed(&pc, VGA_PORT_GC, 15, 0xff);
    assert_int_equal(get_indexed(&pc, VGA_PORT_GC, 15), 0);
    pc_finish(&pc);
}

static void test_crtc(void **state)
{
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    for (unsigned i = 0; i < VGA_NR_CRTC; i++) {
        set_indexed(&pc, VGA_PORT_CRTC, i, 0x2a);
        assert_int_equal(get_indexed(&pc, VGA_PORT_CRTC, i), 0x2a);
    }
    set_indexed(&pc, VGA_PORT_CRTC, 0x3f, 1);
    assert_int_equal(get_indexed(&pc, VGA_PORT_CRTC, 0x3f), 0);
    /* Registers 0 to 7 locked, all but one bit of the overflow register. */
    set_indexed(&pc, VGA_PORT_CRTC, CRTC_V_SYNC_END, 0x80);
    for (unsigned i = 0; i <= 7; i++)
        set_indexed(&pc, VGA_PORT_CRTC, i, 0xd5);
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(get_indexed(&pc, VGA_PORT_CRTC, i), 0x2a);
    assert_int_equal(get_indexed(&pc, VGA_PORT_CRTC, 7), 0x3a);
    set_indexed(&pc, VGA_PORT_CRTC, 8, 0x15);
    assert_int_equal(get_indexed(&pc, VGA_PORT_CRTC, 8), 0x15);
    pc_finish(&pc);
}

static void test_mono_ports(void **state)
{
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    set_indexed(&pc, VGA_PORT_CRTC, 0xe, 0x12);
    assert_int_equal(get_indexed(&pc, 0x3b4, 0xe), 0xff);
    assert_int_equal(pc_inb(&pc, 0x3ba), 0xff);
    pc_outb(&pc, VGA_PORT_MISC, 0x66);
    assert_int_equal(pc_inb(&pc, VGA_PORT_MISC_READ), 0x66);
    assert_int_equal(pc_inb(&pc, VGA_PORT_CRTC), 0xff);
    assert_int_equal(pc_inb(&pc, VGA_PORT_STATUS), 0xff);
    assert_int_equal(get_indexed(&pc, 0x3b4, 0xe), 0x12);
    assert_int_not_equal(pc_inb(&pc, 0x3ba), 0xff);
    pc_outb(&pc, 0x3ba, 0xff);
    assert_int_equal(pc_inb(&pc, VGA_PORT_FEATURE), 3);
    pc_outb(&pc, VGA_PORT_STATUS, 0); /* not there */
    assert_int_equal(pc_inb(&pc, VGA_PORT_FEATURE), 3);
    pc_finish(&pc);
}

static void test_attribute(void **state)
{
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    for (unsigned i = 0; i < VGA_NR_ATTR; i++)
        set_attr(&pc, i, 0xff);
    for (unsigned i = 0; i < VGA_NR_ATTR; i++) {
        (void)pc_inb(&pc, VGA_PORT_STATUS);
        pc_outb(&pc, VGA_PORT_ATTR, i);
        assert_int_equal(pc_inb(&pc, VGA_PORT_ATTR), i);
        assert_int_equal(pc_inb(&pc, VGA_PORT_ATTR_READ), i < 16      ? 0x3f
                                                          : i == 0x10 ? 0xef
                                                          : i == 0x11 ? 0xff
                                                          : i == 0x12 ? 0x3f
                                                                      : 0x0f);
    }
    /* After an index the flip-flop waits for data; input status 1 puts it back. */
    (void)pc_inb(&pc, VGA_PORT_STATUS);
    pc_outb(&pc, VGA_PORT_ATTR, 0x03);
    (void)pc_inb(&pc, VGA_PORT_STATUS);
    pc_outb(&pc, VGA_PORT_ATTR, 0x24);
    assert_int_equal(pc_inb(&pc, VGA_PORT_ATTR), 0x24);
    pc_outb(&pc, VGA_PORT_ATTR, 0x15);
    assert_int_equal(pc_inb(&pc, VGA_PORT_ATTR_READ), 0x15);
    pc_outb(&pc, VGA_PORT_ATTR, 0x23);
    assert_int_equal(pc_inb(&pc, VGA_PORT_ATTR_READ), 0x3f);
    pc_finish(&pc);
}

static void test_dac(void **state)
{
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    set_colour(&pc, 254, 1, 2, 3);
    pc_outb(&pc, VGA_PORT_DAC_DATA, 0xff); /* goes on with colour 255, in six bits */
    pc_outb(&pc, VGA_PORT_DAC_DATA, 0x41);
    pc_outb(&pc, VGA_PORT_DAC_DATA, 7);
    pc_outb(&pc, VGA_PORT_DAC_DATA, 9); /* and then 0: two of three components change nothing */
    assert_int_equal(pc_inb(&pc, VGA_PORT_DAC_READ), 0);
    assert_int_equal(pc_inb(&pc, VGA_PORT_DAC_WRITE), 0);
    pc_outb(&pc, VGA_PORT_DAC_READ, 254);
    assert_int_equal(pc_inb(&pc, VGA_PORT_DAC_READ), 3);
    for (unsigned i = 0; i < 7; i++) {
        static const uint8_t want[] = {1, 2, 3, 0x3f, 1, 7, 0};
        assert_int_equal(pc_inb(&pc, VGA_PORT_DAC_DATA), want[i]);
    }
    set_dispi(&pc, DISPI_ENABLE, DISPI_DAC_8);
    set_colour(&pc, 5, 0xff, 0x80, 0x7f);
    pc_outb(&pc, VGA_PORT_DAC_READ, 5);
    assert_int_equal(pc_inb(&pc, VGA_PORT_DAC_DATA), 0xff);
    assert_int_equal(pc_inb(&pc, VGA_PORT_DAC_DATA), 0x80);
    pc_outb(&pc, VGA_PORT_DAC_MASK, 0x0f);
    assert_int_equal(pc_inb(&pc, VGA_PORT_DAC_MASK), 0x0f);
    pc_finish(&pc);
}

/* ------------------------------------------------------------------ retrace */

struct beam {
    unsigned frames, sync_samples, off_samples, samples;
};

static struct beam watch(struct pc *pc, uint64_t us, unsigned step_ns)
{
    struct beam b = {0};
    bool before = true;

    for (uint64_t t = 0; t < us * 1000; t += step_ns) {
        uint8_t status = pc_inb(pc, VGA_PORT_STATUS);
        bool sync = status & STATUS1_VSYNC;

        assert_true(!sync || (status & STATUS1_OFF));
        b.frames += sync && !before;
        b.sync_samples += sync;
        b.off_samples += status & STATUS1_OFF;
        b.samples++;
        before = sync;
        fake_host_advance(&pc->f, step_ns);
    }
    return b;
}

static void test_retrace(void **state)
{
    struct pc pc;
    struct beam b;

    (void)state;
    vga_pc_init(&pc);
    set_mode(&pc, &mode_text);
    b = watch(&pc, 1000000, 5000);
    assert_in_range(b.frames, 69, 71); /* 28.322 MHz / 900 dots / 449 lines = 70.09 Hz */
    assert_in_range(b.sync_samples * 449 / b.samples, 1, 3);  /* two lines */
    assert_in_range(b.off_samples * 100 / b.samples, 25, 33); /* 1 - 400 * 720 / (449 * 900) */
    set_mode(&pc, &mode_12h);
    b = watch(&pc, 1000000, 5000);
    assert_in_range(b.frames, 59, 61);
    /* A CRTC without sense, and a VBE_DISPI mode: there is a retrace all the same. */
    set_indexed(&pc, VGA_PORT_CRTC, CRTC_V_SYNC_END, 0);
    for (unsigned i = 0; i < VGA_NR_CRTC; i++)
        set_indexed(&pc, VGA_PORT_CRTC, i, 0);
    b = watch(&pc, 1000000, 5000);
    assert_in_range(b.frames, 50, 70);
    set_dispi(&pc, DISPI_XRES, 640);
    set_dispi(&pc, DISPI_YRES, 480);
    set_dispi(&pc, DISPI_ENABLE, DISPI_ENABLED);
    b = watch(&pc, 1000000, 5000);
    assert_in_range(b.frames, 59, 61);
    pc_finish(&pc);
}

/* ------------------------------------------------------------------ PCI and the framebuffer */

static void test_pci(void **state)
{
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    assert_int_equal(pci_config(&pc, PCI_VENDOR_ID), 0x11111234);
    assert_int_equal(pci_config(&pc, PCI_CLASS_REVISION), 0x03000000);
    plug(&pc, 0, UINT32_MAX);
    assert_int_equal(pci_config(&pc, PCI_BASE_ADDRESS_0), 0xff000008);
    plug(&pc, 2, UINT32_MAX);
    assert_int_equal(pci_config(&pc, PCI_BASE_ADDRESS_2), 0xfffff000);
    assert_int_equal(pci_config(&pc, PCI_BASE_ADDRESS_1), 0);
    pc_finish(&pc);
}

/* Trapped until there is memory, then mapped; the same bytes either way. */
static void test_lfb(void **state)
{
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    assert_int_equal(peek(&pc, LFB_AT, 4), UINT32_MAX);
    plug(&pc, 0, LFB_AT);
    assert_non_null(fake_mapped(&pc.f, LFB_AT)); /* the first chunk is always there */
    assert_null(fake_mapped(&pc.f, LFB_AT + VGA_CHUNK_SIZE));
    assert_int_equal(peek(&pc, LFB_AT + VGA_CHUNK_SIZE, 8), 0);
    assert_null(fake_mapped(&pc.f, LFB_AT + VGA_CHUNK_SIZE)); /* reading takes no memory */
    poke(&pc, LFB_AT + VGA_CHUNK_SIZE + 5, 1, 0x5a);
    assert_int_equal(*fake_mapped(&pc.f, LFB_AT + VGA_CHUNK_SIZE + 5), 0x5a);
    *fake_mapped(&pc.f, LFB_AT + VGA_CHUNK_SIZE + 6) = 0xa5;
    assert_int_equal(peek(&pc, LFB_AT + VGA_CHUNK_SIZE + 4, 4), 0x00a55a00);
    poke(&pc, LFB_AT + VGA_VRAM_SIZE - 8, 8, 0x1122334455667788);
    assert_int_equal(peek(&pc, LFB_AT + VGA_VRAM_SIZE - 4, 4), 0x11223344);
    /* A moved BAR takes its memory along, and a disabled one has none. */
    plug(&pc, 0, LFB_AT + MIB(16));
    assert_null(fake_mapped(&pc.f, LFB_AT));
    assert_int_equal(*fake_mapped(&pc.f, LFB_AT + MIB(16) + VGA_CHUNK_SIZE + 5), 0x5a);
    assert_int_equal(peek(&pc, LFB_AT, 4), UINT32_MAX);
    pc_out(&pc, 0xcfc, 2, 0);
    assert_null(fake_mapped(&pc.f, LFB_AT + MIB(16)));
    assert_int_equal(peek(&pc, LFB_AT + MIB(16), 4), UINT32_MAX);
    /* Over something else: not mapped, still right. */
    pc.f.refuse_maps = true;
    plug(&pc, 0, LFB_AT);
    assert_null(fake_mapped(&pc.f, LFB_AT));
    assert_int_equal(peek(&pc, LFB_AT + VGA_CHUNK_SIZE + 5, 2), 0xa55a);
    pc_finish(&pc);
}

static void test_no_memory(void **state)
{
    struct machine_config config = {.nr_vcpus = 1, .ram_bytes = MIB(64), .vga = true};
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    plug(&pc, 0, LFB_AT);
    pc.f.allocs_left = 0;
    poke(&pc, LFB_AT + VGA_CHUNK_SIZE, 4, 0x12345678);
    assert_int_equal(peek(&pc, LFB_AT + VGA_CHUNK_SIZE, 4), 0);
    pc.f.allocs_left = -1;
    pc_finish(&pc);
    for (long allocs = 0; allocs < 40; allocs++) { /* whatever is missing, nothing leaks */
        fake_host_init(&pc.f);
        pc.f.allocs_left = allocs;
        if (machine_create(&pc.m, &pc.f.host, &config, &fake_cpu_ops, &pc.f) == 0)
            machine_destroy(&pc.m);
        fake_host_finish(&pc.f);
    }
}

static void test_mmio(void **state)
{
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    plug(&pc, 2, MMIO_AT);
    poke(&pc, MMIO_AT + 0x400 + 0xe, 2, 0x3c08); /* graphics controller, bit mask */
    assert_int_equal(get_indexed(&pc, VGA_PORT_GC, GC_BIT_MASK), 0x3c);
    assert_int_equal(peek(&pc, MMIO_AT + 0x400 + 0xf, 1), 0x3c);
    assert_int_equal(peek(&pc, MMIO_AT + 0x400 + 0xc, 1), pc_inb(&pc, VGA_PORT_MISC_READ));
    poke(&pc, MMIO_AT + 0x500 + 2 * DISPI_XRES, 2, 800);
    assert_int_equal(get_dispi(&pc, DISPI_XRES), 800);
    assert_int_equal(peek(&pc, MMIO_AT + 0x500 + 2 * DISPI_XRES, 2), 800);
    assert_int_equal(peek(&pc, MMIO_AT + 0x500 + 2 * DISPI_XRES + 1, 1), 800 >> 8);
    assert_int_equal(peek(&pc, MMIO_AT + 0x500, 2), 0xb0c5);
    assert_int_equal(peek(&pc, MMIO_AT, 2), 0xffff);
    poke(&pc, MMIO_AT + 0xffe, 4, 0);
    pc_finish(&pc);
}

/* ------------------------------------------------------------------ VBE_DISPI */

static void test_dispi_ids(void **state)
{
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    assert_int_equal(get_dispi(&pc, DISPI_ID), 0xb0c5);
    for (unsigned id = 0xb0c0; id <= 0xb0c5; id++) {
        set_dispi(&pc, DISPI_ID, id);
        assert_int_equal(get_dispi(&pc, DISPI_ID), id);
    }
    set_dispi(&pc, DISPI_ID, 0xb0c6);
    set_dispi(&pc, DISPI_ID, 0);
    assert_int_equal(get_dispi(&pc, DISPI_ID), 0xb0c5);
    assert_int_equal(get_dispi(&pc, DISPI_MEMORY_64K), 256);
    assert_int_equal(get_dispi(&pc, 0x55), 0);
    assert_int_equal(pc_in(&pc, VGA_PORT_DISPI, 2), 0x55);
    pc_finish(&pc);
}

static void test_dispi_mode(void **state)
{
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    set_dispi(&pc, DISPI_ENABLE, DISPI_ENABLED); /* no resolution */
    assert_int_equal(get_dispi(&pc, DISPI_ENABLE), 0);
    set_dispi(&pc, DISPI_XRES, 1024);
    set_dispi(&pc, DISPI_YRES, 768);
    set_dispi(&pc, DISPI_BPP, 17);
    assert_int_equal(get_dispi(&pc, DISPI_BPP), 8);
    set_dispi(&pc, DISPI_BPP, 32);
    set_dispi(&pc, DISPI_ENABLE, DISPI_ENABLED | DISPI_LFB);
    assert_int_equal(get_dispi(&pc, DISPI_ENABLE), DISPI_ENABLED | DISPI_LFB);
    assert_int_equal(get_dispi(&pc, DISPI_VIRT_WIDTH), 1024);
    assert_int_equal(get_dispi(&pc, DISPI_VIRT_HEIGHT), 4096);
    set_dispi(&pc, DISPI_XRES, 640); /* not while it is on */
    assert_int_equal(get_dispi(&pc, DISPI_XRES), 1024);
    set_dispi(&pc, DISPI_VIRT_WIDTH, 512);
    assert_int_equal(get_dispi(&pc, DISPI_VIRT_WIDTH), 1024);
    set_dispi(&pc, DISPI_VIRT_WIDTH, 2048);
    assert_int_equal(get_dispi(&pc, DISPI_VIRT_HEIGHT), 2048);
    set_dispi(&pc, DISPI_Y_OFFSET, 1280);
    assert_int_equal(get_dispi(&pc, DISPI_Y_OFFSET), 1280);
    set_dispi(&pc, DISPI_Y_OFFSET, 1281);
    set_dispi(&pc, DISPI_X_OFFSET, 1025);
    assert_int_equal(get_dispi(&pc, DISPI_Y_OFFSET), 1280);
    assert_int_equal(get_dispi(&pc, DISPI_X_OFFSET), 0);
    set_dispi(&pc, DISPI_BANK, 256);
    assert_int_equal(get_dispi(&pc, DISPI_BANK), 0);
    set_dispi(&pc, DISPI_ENABLE, DISPI_ENABLED | DISPI_GET_CAPS);
    assert_int_equal(get_dispi(&pc, DISPI_XRES), VGA_MAX_WIDTH);
    assert_int_equal(get_dispi(&pc, DISPI_YRES), VGA_MAX_HEIGHT);
    assert_int_equal(get_dispi(&pc, DISPI_BPP), 32);
    pc_finish(&pc);
}

static void start_dispi(struct pc *pc, unsigned x, unsigned y, unsigned bpp, unsigned flags)
{
    set_dispi(pc, DISPI_ENABLE, 0);
    set_dispi(pc, DISPI_XRES, x);
    set_dispi(pc, DISPI_YRES, y);
    set_dispi(pc, DISPI_BPP, bpp);
    set_dispi(pc, DISPI_ENABLE, DISPI_ENABLED | flags);
    (void)pc_inb(pc, VGA_PORT_STATUS);
    pc_outb(pc, VGA_PORT_ATTR, ATTR_ON);
}

static void test_dispi_banks(void **state)
{
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    plug(&pc, 0, LFB_AT);
    start_dispi(&pc, 640, 480, 8, 0);
    for (unsigned bank = 0; bank < 256; bank += 51) {
        set_dispi(&pc, DISPI_BANK, bank);
        poke(&pc, WINDOW + 0x1234, 4, 0xdeadbe00 + bank);
        assert_int_equal(peek(&pc, LFB_AT + bank * 0x10000 + 0x1234, 4), 0xdeadbe00 + bank);
        poke(&pc, LFB_AT + bank * 0x10000 + 0xffff, 1, bank);
        assert_int_equal(peek(&pc, WINDOW + 0xffff, 1), bank);
    }
    assert_int_equal(peek(&pc, WINDOW + 0x10000, 1), 0xff);
    /* A mode starts with what is shown cleared, unless it is asked to leave it. */
    start_dispi(&pc, 640, 480, 8, DISPI_NO_CLEAR);
    assert_int_equal(peek(&pc, LFB_AT + 0x1234, 4), 0xdeadbe00);
    start_dispi(&pc, 640, 480, 8, 0);
    assert_int_equal(peek(&pc, LFB_AT + 0x1234, 4), 0);
    pc_finish(&pc);
}

static void test_dispi_pictures(void **state)
{
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    plug(&pc, 0, LFB_AT);
    set_mode(&pc, &mode_13h);
    start_dispi(&pc, 800, 600, 8, 0);
    poke(&pc, LFB_AT + 7 * 800 + 9, 1, 77);
    assert_int_equal(pixel(&pc, 9, 7), mode_colour(77));
    set_dispi(&pc, DISPI_ENABLE, DISPI_ENABLED | DISPI_DAC_8);
    set_colour(&pc, 77, 0x12, 0xfe, 0x81);
    assert_int_equal(pixel(&pc, 9, 7), 0x12fe81);
    start_dispi(&pc, 800, 600, 15, 0);
    poke(&pc, LFB_AT + (599 * 800 + 799) * 2, 2, 0x7c00 | 0x10 << 5 | 1);
    assert_int_equal(pixel(&pc, 799, 599), 0xff8408);
    start_dispi(&pc, 800, 600, 16, 0);
    poke(&pc, LFB_AT + (1 * 800 + 2) * 2, 2, 0x1f << 11 | 0x20 << 5 | 0x11);
    assert_int_equal(pixel(&pc, 2, 1), 0xff828c);
    start_dispi(&pc, 800, 600, 24, 0);
    poke(&pc, LFB_AT + (1 * 800 + 2) * 3, 4, 0x99010203);
    assert_int_equal(pixel(&pc, 2, 1), 0x010203);
    assert_int_equal(pixel(&pc, 3, 1), 0x000099);
    start_dispi(&pc, 1024, 768, 32, 0);
    poke(&pc, LFB_AT + (767 * 1024 + 1023) * 4, 4, 0xff808182);
    assert_int_equal(pixel(&pc, 1023, 767), 0x808182);
    set_dispi(&pc, DISPI_VIRT_WIDTH, 1600);
    set_dispi(&pc, DISPI_X_OFFSET, 100);
    set_dispi(&pc, DISPI_Y_OFFSET, 200);
    poke(&pc, LFB_AT + (205 * 1600 + 103) * 4, 4, 0x00abcdef);
    assert_int_equal(pixel(&pc, 3, 5), 0xabcdef);
    pc_finish(&pc);
}

/* 1024x768 in 16 colours is more than 64 KiB a plane: banked. */
static void test_dispi_planar(void **state)
{
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    set_mode(&pc, &mode_12h);
    start_dispi(&pc, 1024, 768, 4, 0);
    set_dispi(&pc, DISPI_BANK, 64);
    assert_int_equal(get_dispi(&pc, DISPI_BANK), 0);
    set_dispi(&pc, DISPI_BANK, 1);
    set_indexed(&pc, VGA_PORT_SEQ, SEQ_MAP_MASK, 0x9);
    poke(&pc, WINDOW + 600 * 128 + 5 - 0x10000, 1, 0x20);
    assert_int_equal(pixel(&pc, 42, 600), mode_colour(9));
    assert_int_equal(pixel(&pc, 41, 600), mode_colour(0));
    pc_finish(&pc);
}

/* ------------------------------------------------------------------ reset, state, watching */

static void test_reset(void **state)
{
    struct vga_screen s;
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    plug(&pc, 0, LFB_AT);
    set_mode(&pc, &mode_text);
    start_dispi(&pc, 640, 480, 8, 0);
    machine_reset(&pc.m);
    assert_null(fake_mapped(&pc.f, LFB_AT));
    assert_int_equal(get_dispi(&pc, DISPI_ENABLE), 0);
    assert_int_equal(get_indexed(&pc, VGA_PORT_SEQ, SEQ_MAP_MASK), 0);
    assert_int_equal(peek(&pc, TEXT_AT, 1), 0xff);
    vga_get_screen(pc.m.vga, &s);
    assert_true(s.blank);
    assert_int_equal(pixel(&pc, 0, 0), 0);
    pc_finish(&pc);
}

static void test_migrate(void **state)
{
    struct device_state s = {.buf = malloc(STATE_SIZE), .size = STATE_SIZE};
    struct pc a, b;

    (void)state;
    vga_pc_init(&a);
    vga_pc_init(&b);
    plug(&a, 0, LFB_AT);
    set_mode(&a, &mode_text);
    poke(&a, TEXT_AT, 2, 0x1e41);
    poke(&a, LFB_AT + MIB(9), 4, 0x01020304);
    poke(&b, TEXT_AT, 2, 0xffff);
    pc_outb(&a, VGA_PORT_ATTR, 0x2f); /* an index was written, data comes next */
    assert_true(machine_save(&a.m, &s));
    s.size = s.pos;
    s.pos = 0;
    assert_true(machine_load(&b.m, &s));
    assert_int_equal(s.pos, s.size);
    assert_int_equal(peek(&b, TEXT_AT, 2), 0x1e41);
    assert_int_equal(peek(&b, LFB_AT + MIB(9), 4), 0x01020304);
    assert_non_null(fake_mapped(&b.f, LFB_AT + MIB(9)));
    pc_outb(&b, VGA_PORT_ATTR, 0x05);
    assert_int_equal(pc_inb(&b, VGA_PORT_ATTR_READ), 0x05);
    /* Cut off anywhere, or of a machine without it. */
    for (size_t n = 0; n < s.size; n += 1 + n / 8) {
        struct device_state cut = {.buf = s.buf, .size = n};

        assert_false(machine_load(&b.m, &cut));
    }
    pc_finish(&b);
    pc_init(&b);
    s.pos = 0;
    assert_false(machine_load(&b.m, &s));
    pc_finish(&b);
    pc_finish(&a);
    free(s.buf);
}

static void count(void *opaque)
{
    ++*(unsigned *)opaque;
}

static void test_watch(void **state)
{
    unsigned changes = 0;
    struct pc pc;

    (void)state;
    vga_pc_init(&pc);
    set_mode(&pc, &mode_text);
    vga_watch(pc.m.vga, count, &changes);
    (void)peek(&pc, TEXT_AT, 2);
    (void)pc_inb(&pc, VGA_PORT_STATUS);
    assert_int_equal(changes, 0);
    poke(&pc, TEXT_AT, 2, 0x0741);
    poke(&pc, TEXT_AT + 2, 2, 0x0742);
    assert_int_equal(changes, 1); /* once, until it is asked for again */
    vga_watch(pc.m.vga, count, &changes);
    set_indexed(&pc, VGA_PORT_CRTC, CRTC_CURSOR_LOW, 1);
    assert_int_equal(changes, 2);
    pc_finish(&pc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_indexed),
        cmocka_unit_test(test_crtc),
        cmocka_unit_test(test_mono_ports),
        cmocka_unit_test(test_attribute),
        cmocka_unit_test(test_dac),
        cmocka_unit_test(test_retrace),
        cmocka_unit_test(test_pci),
        cmocka_unit_test(test_lfb),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_mmio),
        cmocka_unit_test(test_dispi_ids),
        cmocka_unit_test(test_dispi_mode),
        cmocka_unit_test(test_dispi_banks),
        cmocka_unit_test(test_dispi_pictures),
        cmocka_unit_test(test_dispi_planar),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_migrate),
        cmocka_unit_test(test_watch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
