/*
 * The VGA: registers as they read back, memory in every write and read mode against the book
 * (tests/vga_reference.h), retrace, VBE_DISPI and the linear framebuffer.
 */
#include "lib/guest.h"
#include "tests/vga_reference.h"

#define ATTR      0x3c0
#define MISC      0x3c2
#define SEQ       0x3c4
#define DAC_MASK  0x3c6
#define DAC_READ  0x3c7
#define DAC_WRITE 0x3c8
#define DAC_DATA  0x3c9
#define FEATURE   0x3ca
#define MISC_READ 0x3cc
#define GC        0x3ce
#define CRTC      0x3d4
#define STATUS    0x3da
#define MONO      0x3b4
#define DISPI     0x1ce
#define WINDOW    0xa0000u
#define TEXT      0xb8000u
#define LFB       0xe0000000u /* where Bochs has it; ours goes where it is put */
#define PCI_OURS  0x11111234u
#define PCI_SLOT  (0x80000000u | 2u << 11)
#define VSYNC     0x08
#define ROUNDS    2000
#define ALL       0x1f /* the function register: rotate count and logical function */
#define ROTATE    0x07
#define ADDRESSES 64
#define WORDS     (1024 * 768 / 4)

static struct vga_ref ref;

static void set(uint16_t port, unsigned index, unsigned value)
{
    out8(port, (uint8_t)index);
    out8(port + 1, (uint8_t)value);
}

static unsigned get(uint16_t port, unsigned index)
{
    out8(port, (uint8_t)index);
    return in8(port + 1);
}

static void set_attr(unsigned index, unsigned value)
{
    (void)in8(STATUS);
    out8(ATTR, (uint8_t)index);
    out8(ATTR, (uint8_t)value);
}

static unsigned get_attr(unsigned index)
{
    (void)in8(STATUS);
    out8(ATTR, (uint8_t)index);
    return in8(ATTR + 1);
}

static void set_dispi(unsigned index, unsigned value)
{
    out16(DISPI, (uint16_t)index);
    out16(DISPI + 1, (uint16_t)value);
}

static unsigned get_dispi(unsigned index)
{
    out16(DISPI, (uint16_t)index);
    return in16(DISPI + 1);
}

static volatile uint8_t *at(uint64_t address)
{
    return (volatile uint8_t *)address;
}

/* IBM's mode 3 or 12h. */
static void set_mode(bool text)
{
    static const uint8_t crtc[2][25] = {
        {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0x00, 0x00, 0x00,
         0x00, 0x00, 0x00, 0xea, 0x8c, 0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff},
        {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
         0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff},
    };

    out8(MISC, text ? 0x67 : 0xe3);
    set(SEQ, 0, 3);
    set(SEQ, 1, text ? 0 : 1);
    set(SEQ, 2, text ? 3 : 0xf);
    set(SEQ, 3, 0);
    set(SEQ, 4, text ? 2 : 6);
    set(CRTC, 0x11, 0);
    for (unsigned i = 0; i < 25; i++)
        set(CRTC, i, crtc[text][i]);
    for (unsigned i = 0; i < 9; i++)
        set(GC, i, i == 7 ? 0xf : i == 8 ? 0xff : 0);
    set(GC, 5, text ? 0x10 : 0);
    set(GC, 6, text ? 0xe : 5);
    for (unsigned i = 0; i < 16; i++)
        set_attr(i, i);
    set_attr(0x10, text ? 0x0c : 0x01);
    set_attr(0x11, 0);
    set_attr(0x12, 0xf);
    set_attr(0x13, 0);
    set_attr(0x14, 0);
    out8(ATTR, 0x20);
}

/* ------------------------------------------------------------------ registers */

static void check_indexed(void)
{
    static const char *const seq_names[] = {"seq-0", "seq-1", "seq-2", "seq-3", "seq-4"};
    static const uint8_t seq_mask[] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e};
    static const char *const gc_names[] = {"gc-0", "gc-1", "gc-2", "gc-3", "gc-4",
                                           "gc-5", "gc-6", "gc-7", "gc-8"};
    static const uint8_t gc_mask[] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};

    for (unsigned i = 0; i < 5; i++) {
        set(SEQ, i, 0x55);
        CHECK_EQ(seq_names[i], get(SEQ, i), 0x55 & seq_mask[i]);
    }
    for (unsigned i = 0; i < 9; i++) {
        set(GC, i, 0x55);
        CHECK_EQ(gc_names[i], get(GC, i), 0x55 & gc_mask[i]);
    }
    CHECK_EQ("gc-index", in8(GC), 8);
    out16(GC, 0xa508);
    CHECK_EQ("gc-16-bit", get(GC, 8), 0xa5);
    set_mode(false);
}

static void check_crtc(void)
{
    unsigned wrong = 0;

    set(CRTC, 0x11, 0);
    for (unsigned i = 0; i < 0x19; i++) {
        unsigned value = i == 0x11 ? 0x0e : 0x05;

        set(CRTC, i, value);
        wrong += get(CRTC, i) != value;
    }
    CHECK_EQ("crtc-read-back", wrong, 0);
    set(CRTC, 7, 0x00);
    set(CRTC, 0x11, 0x80);
    set(CRTC, 1, 0x4f);
    set(CRTC, 7, 0xff);
    CHECK_EQ("crtc-protected", get(CRTC, 1), 0x05);
    CHECK_EQ("crtc-overflow-protected", get(CRTC, 7), 0x10);
    set(CRTC, 0xe, 0x12);
    CHECK_EQ("crtc-cursor", get(CRTC, 0xe), 0x12);
    set_mode(false);
}

static void check_mono(void)
{
    set(CRTC, 0xf, 0x34);
    out8(MISC, 0x66);
    CHECK_EQ("misc-reads-back", in8(MISC_READ), 0x66);
    CHECK_EQ("mono-crtc", get(MONO, 0xf), 0x34);
    CHECK_EQ("colour-crtc-gone", in8(CRTC + 1), 0xff);
    out8(MISC, 0x67);
    CHECK_EQ("mono-crtc-gone", in8(MONO + 1), 0xff);
    CHECK_EQ("colour-crtc-back", get(CRTC, 0xf), 0x34);
    set_mode(false);
}

static void check_attr(void)
{
    unsigned wrong = 0;

    for (unsigned i = 0; i < 16; i++)
        set_attr(i, 0x3f - i);
    for (unsigned i = 0; i < 16; i++)
        wrong += get_attr(i) != 0x3f - i;
    CHECK_EQ("attr-palette", wrong, 0);
    set_attr(0x12, 0x0a);
    CHECK_EQ("attr-planes", get_attr(0x12), 0x0a);
    set_attr(0x13, 0x05);
    CHECK_EQ("attr-pan", get_attr(0x13), 0x05);
    set_attr(0x14, 0x0c);
    CHECK_EQ("attr-select", get_attr(0x14), 0x0c);
    /* The flip-flop: index, data, index; input status 1 puts it back. */
    (void)in8(STATUS);
    out8(ATTR, 0x33);
    CHECK_EQ("attr-index", in8(ATTR), 0x33);
    out8(ATTR, 0x07);
    CHECK_EQ("attr-flip-flop", in8(ATTR), 0x33);
    out8(ATTR, 0x32);
    (void)in8(STATUS);
    out8(ATTR, 0x33);
    CHECK_EQ("attr-written", in8(ATTR + 1), 0x07);
    set_mode(false);
}

static void check_dac(void)
{
    unsigned wrong = 0;

    out8(DAC_WRITE, 0);
    CHECK_EQ("dac-state-writing", in8(DAC_READ) & 3, 0);
    for (unsigned i = 0; i < 768; i++)
        out8(DAC_DATA, (uint8_t)((i * 5 + 1) & 0x3f));
    CHECK_EQ("dac-index-wraps", in8(DAC_WRITE), 0);
    out8(DAC_READ, 0);
    CHECK_EQ("dac-state-reading", in8(DAC_READ) & 3, 3);
    for (unsigned i = 0; i < 768; i++)
        wrong += in8(DAC_DATA) != ((i * 5 + 1) & 0x3f);
    CHECK_EQ("dac-all", wrong, 0);
    out8(DAC_WRITE, 77);
    CHECK_EQ("dac-index", in8(DAC_WRITE), 77);
    out8(DAC_MASK, 0x5a);
    CHECK_EQ("dac-mask", in8(DAC_MASK), 0x5a);
    out8(DAC_MASK, 0xff);
}

/* ------------------------------------------------------------------ memory */

static uint64_t random_state = 1;

static unsigned random_below(unsigned limit)
{
    random_state = random_state * 6364136223846793005ul + 1442695040888963407ul;
    return (unsigned)(random_state >> 33) % limit;
}

static void set_gc(unsigned index, unsigned value)
{
    set(GC, index, value);
    ref.gc[index] = (uint8_t)value;
}

static void set_seq(unsigned index, unsigned value)
{
    set(SEQ, index, value);
    ref.seq[index] = (uint8_t)value;
}

/* All that a memory access depends on, known on both sides; and the memory used is zero. */
static void start_memory(unsigned memory, unsigned mode, unsigned misc, uint32_t base)
{
    set_mode(false);
    memset(&ref, 0, sizeof(ref));
    ref.misc = 0xe3;
    for (unsigned i = 0; i < 9; i++)
        set_gc(i, i == 8 ? 0xff : 0);
    set_seq(2, 0xf);
    set_seq(4, 6);
    set_gc(6, 5);
    for (unsigned i = 0; i < 2 * ADDRESSES; i++)
        *at(WINDOW + i) = 0;
    (void)*at(WINDOW);
    memset(ref.latch, 0, sizeof(ref.latch));
    set_seq(4, memory);
    set_gc(5, mode);
    set_gc(6, misc);
    (void)vga_ref_read(&ref, base);
    (void)*at(base);
}

/* One access on both sides; whether they agree. */
static bool access(uint32_t address)
{
    uint8_t data = (uint8_t)random_below(256);

    if (random_below(2)) {
        *at(address) = data;
        vga_ref_write(&ref, address, data);
        return true;
    }
    return *at(address) == vga_ref_read(&ref, address);
}

/* Many accesses with registers changing; of the function register the bits of rotate. */
static unsigned many_accesses(uint32_t base, unsigned mode, unsigned rotate)
{
    unsigned wrong = 0;

    set_gc(5, mode);
    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned index = random_below(9);

        if (index == 3)
            set_gc(3, random_below(32) & rotate);
        else if (index == 6)
            set_seq(2, random_below(16));
        else if (index != 5)
            set_gc(index, index == 4 ? random_below(4) : random_below(index == 8 ? 256 : 16));
        wrong += !access(base + random_below(ADDRESSES));
    }
    return wrong;
}

/* Only the registers that select planes. */
static unsigned plain_accesses(uint32_t base)
{
    unsigned wrong = 0;

    for (unsigned i = 0; i < ROUNDS; i++) {
        if (random_below(2))
            set_gc(4, random_below(4));
        else
            set_seq(2, random_below(16));
        wrong += !access(base + random_below(ADDRESSES));
    }
    return wrong;
}

/* What all four planes have in the end. */
static unsigned compare_planes(void)
{
    unsigned wrong = 0;

    set_seq(4, 6);
    set_gc(5, 0);
    set_gc(6, 5);
    for (unsigned plane = 0; plane < 4; plane++) {
        set_gc(4, plane);
        for (unsigned i = 0; i < 2 * ADDRESSES; i++)
            wrong += *at(WINDOW + i) != ref.plane[plane][i];
    }
    return wrong;
}

static void check_planar(void)
{
    static const char *const reads[] = {"write-0-reads", "write-1-reads", "write-2-reads",
                                        "write-3-reads"};
    static const char *const memory[] = {"write-0-memory", "write-1-memory", "write-2-memory",
                                         "write-3-memory"};

    for (unsigned mode = 0; mode < 4; mode++) {
        start_memory(6, 0, 5, WINDOW);
        (void)many_accesses(WINDOW, 0, ALL); /* something to begin with */
        set_gc(3, 0);
        CHECK_EQ(reads[mode], many_accesses(WINDOW, mode, mode == 3 ? 0 : ALL), 0);
        CHECK_EQ(memory[mode], compare_planes(), 0);
    }
    set_gc(3, 0);
    start_memory(6, 0, 5, WINDOW);
    CHECK_EQ("write-3-rotated-reads", many_accesses(WINDOW, 3, ROTATE), 0);
    CHECK_EQ("write-3-rotated-memory", compare_planes(), 0);
    start_memory(6, 0, 5, WINDOW);
    CHECK_EQ("write-3-function-reads", many_accesses(WINDOW, 3, ALL), 0);
    CHECK_EQ("write-3-function-memory", compare_planes(), 0);
}

static void check_compare(void)
{
    start_memory(6, 0, 5, WINDOW);
    (void)many_accesses(WINDOW, 0, ALL);
    CHECK_EQ("read-mode-1", many_accesses(WINDOW, 8, ALL), 0);
    CHECK_EQ("read-mode-1-memory", compare_planes(), 0);
}

static void check_odd_even(void)
{
    start_memory(2, 0x10, 0xe, TEXT);
    CHECK_EQ("odd-even-reads", plain_accesses(TEXT), 0);
    CHECK_EQ("odd-even-memory", compare_planes(), 0);
}

static void check_chain4(void)
{
    start_memory(0xe, 0x40, 5, WINDOW);
    CHECK_EQ("chain4-masked-reads", plain_accesses(WINDOW), 0);
    start_memory(0xe, 0x40, 5, WINDOW);
    for (unsigned i = 0; i < ADDRESSES; i++) {
        *at(WINDOW + i) = (uint8_t)(i * 3);
        vga_ref_write(&ref, WINDOW + i, (uint8_t)(i * 3));
    }
    CHECK_EQ("chain4-memory", compare_planes(), 0);
}

/* Each of the four windows answers where it should, and nowhere else. */
static void check_windows(void)
{
    static const char *const names[] = {"window-128k", "window-64k", "window-mono",
                                        "window-colour"};
    static const uint32_t probes[] = {0xa0100, 0xb0100, 0xb8100};
    static const uint8_t there[] = {7, 1, 2, 4};

    for (unsigned n = 0; n < 4; n++) {
        unsigned answers = 0;

        start_memory(6, 0, n << 2 | 1, probes[0]);
        for (unsigned i = 0; i < 3; i++) {
            *at(probes[i]) = 0x5a;
            answers |= (*at(probes[i]) == 0x5a) << i;
        }
        CHECK_EQ(names[n], answers, there[n]);
    }
    start_memory(6, 0, 5, WINDOW);
    *at(WINDOW) = 0x77;
    out8(MISC, 0xe1);
    CHECK_EQ("window-disabled", *at(WINDOW), 0xff);
    out8(MISC, 0xe3);
    CHECK_EQ("window-enabled", *at(WINDOW), 0x77);
}

static void check_wide(void)
{
    volatile uint64_t *wide = (volatile uint64_t *)(uint64_t)WINDOW;
    volatile uint32_t *text = (volatile uint32_t *)(uint64_t)TEXT;

    start_memory(0xe, 0x40, 5, WINDOW);
    *wide = 0x8877665544332211;
    CHECK_EQ("wide-64", *wide, 0x8877665544332211);
    CHECK_EQ("wide-bytes", at(WINDOW)[2] << 8 | at(WINDOW)[5], 0x3366);
    CHECK_EQ("wide-unaligned", *(volatile uint32_t *)(uint64_t)(WINDOW + 3), 0x77665544);
    set_mode(true);
    *text = 0x1e421e41;
    CHECK_EQ("text-cells", *text, 0x1e421e41);
    asm volatile("cld; rep stosw" : : "D"((uint64_t)TEXT + 160), "c"(80ul), "a"(0x0720) : "memory");
    CHECK_EQ("text-line", *(volatile uint16_t *)(uint64_t)(TEXT + 318), 0x0720);
    asm volatile("cld; rep movsw"
                 :
                 : "D"((uint64_t)TEXT + 320), "S"((uint64_t)TEXT), "c"(82ul)
                 : "memory");
    CHECK_EQ("text-scroll", *(volatile uint32_t *)(uint64_t)(TEXT + 320), 0x1e421e41);
    CHECK_EQ("text-scroll-end", *(volatile uint16_t *)(uint64_t)(TEXT + 320 + 162), 0x0720);
}

/* ------------------------------------------------------------------ retrace */

static bool wait_vsync(bool level)
{
    for (unsigned i = 0; i < 1000000; i++)
        if (!(in8(STATUS) & VSYNC) == !level)
            return true;
    return false;
}

static void check_retrace(void)
{
    uint64_t start;
    bool come = true;

    set_mode(true);
    come = wait_vsync(false) && wait_vsync(true);
    start = rdtsc();
    for (unsigned i = 0; i < 10; i++)
        come = come && wait_vsync(false) && wait_vsync(true);
    CHECK("retrace-comes", come);
    CHECK_NEAR("retrace-rate", (rdtsc() - start) * 70 / timing_tsc_hz(), 10, 15);
}

/* ------------------------------------------------------------------ VBE_DISPI */

static uint32_t pci_read(unsigned offset)
{
    out32(0xcf8, PCI_SLOT | offset);
    return in32(0xcfc);
}

/* Ours is a PCI function whose framebuffer has to be put somewhere. */
static void place_framebuffer(void)
{
    if (pci_read(0) != PCI_OURS)
        return;
    out32(0xcf8, PCI_SLOT | 0x10);
    out32(0xcfc, LFB);
    out32(0xcf8, PCI_SLOT | 0x04);
    out16(0xcfc, 3);
}

static void start_dispi(unsigned width, unsigned height, unsigned bpp)
{
    set_dispi(4, 0);
    set_dispi(1, width);
    set_dispi(2, height);
    set_dispi(3, bpp);
    set_dispi(4, 0x41);
}

static void check_dispi(void)
{
    set_dispi(0, 0xb0c0);
    CHECK_EQ("dispi-id-0", get_dispi(0), 0xb0c0);
    set_dispi(0, 0xb0c4);
    CHECK_EQ("dispi-id-4", get_dispi(0), 0xb0c4);
    start_dispi(640, 400, 8);
    CHECK_EQ("dispi-enabled", get_dispi(4) & 1, 1);
    CHECK_EQ("dispi-width", get_dispi(1), 640);
    CHECK_EQ("dispi-height", get_dispi(2), 400);
    CHECK_EQ("dispi-bpp", get_dispi(3), 8);
    CHECK_EQ("dispi-virtual-width", get_dispi(6), 640);
    set_dispi(6, 1024);
    CHECK_EQ("dispi-virtual-width-set", get_dispi(6), 1024);
    set_dispi(9, 100);
    CHECK_EQ("dispi-y-offset", get_dispi(9), 100);
    set_dispi(4, 0);
    CHECK_EQ("dispi-off", get_dispi(4) & 1, 0);
}

static void check_framebuffer(void)
{
    volatile uint32_t *lfb = (volatile uint32_t *)(uint64_t)LFB;
    unsigned wrong = 0;

    place_framebuffer();
    start_dispi(1024, 768, 8);
    CHECK_EQ("lfb-cleared", lfb[0] | lfb[WORDS - 1], 0);
    for (unsigned i = 0; i < 2 * WORDS; i += 97) /* beyond what is shown too */
        lfb[i] = i * 2654435761u;
    for (unsigned i = 0; i < 2 * WORDS; i += 97)
        wrong += lfb[i] != i * 2654435761u;
    CHECK_EQ("lfb-keeps", wrong, 0);
    start_dispi(640, 480, 8);
    set_dispi(5, 2);
    *at(WINDOW + 0x1234) = 0xa7;
    CHECK_EQ("bank-to-lfb", *at(LFB + 0x21234), 0xa7);
    *at(LFB + 0x2ffff) = 0x7a;
    CHECK_EQ("lfb-to-bank", *at(WINDOW + 0xffff), 0x7a);
    set_dispi(5, 0);
    CHECK_EQ("bank-0", *at(WINDOW + 0x1234), 0);
    set_dispi(4, 0);
}

void guest_main(void)
{
    (void)timing_tsc_hz();
    set_mode(false);
    check_group(check_indexed);
    check_group(check_crtc);
    check_group(check_mono);
    check_group(check_attr);
    check_group(check_dac);
    check_group(check_planar);
    check_group(check_compare);
    check_group(check_odd_even);
    check_group(check_chain4);
    check_group(check_windows);
    check_group(check_wide);
    check_group(check_retrace);
    check_group(check_dispi);
    check_group(check_framebuffer);
    set_mode(true);
}
