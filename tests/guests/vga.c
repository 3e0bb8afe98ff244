/*
 * The VGA: registers as they read back, memory in every write and read mode against the book
 * (tests/vga_reference.h), retrace, VBE_DISPI and the linear framebuffer.
 */
#include "lib/guest.h"
#include "lib/vga.h"
#include "tests/vga_reference.h"

#define MONO      0x3b4
#define VSYNC     0x08
#define ROUNDS    2000
#define ALL       0x1f /* the function register: rotate count and logical function */
#define ROTATE    0x07
#define ADDRESSES 64
#define WORDS     (1024 * 768 / 4)

static struct vga_ref ref;

static unsigned get_attr(unsigned index)
{
    (void)in8(VGA_STATUS);
    out8(VGA_ATTR, (uint8_t)index);
    return in8(VGA_ATTR + 1);
}

static volatile uint8_t *at(uint64_t address)
{
    return (volatile uint8_t *)address;
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
        vga_set(VGA_SEQ, i, 0x55);
        CHECK_EQ(seq_names[i], vga_get(VGA_SEQ, i), 0x55 & seq_mask[i]);
    }
    for (unsigned i = 0; i < 9; i++) {
        vga_set(VGA_GC, i, 0x55);
        CHECK_EQ(gc_names[i], vga_get(VGA_GC, i), 0x55 & gc_mask[i]);
    }
    CHECK_EQ("gc-index", in8(VGA_GC), 8);
    out16(VGA_GC, 0xa508);
    CHECK_EQ("gc-16-bit", vga_get(VGA_GC, 8), 0xa5);
    vga_set_mode(VGA_MODE_12H);
}

static void check_crtc(void)
{
    unsigned wrong = 0;

    vga_set(VGA_CRTC, 0x11, 0);
    for (unsigned i = 0; i < 0x19; i++) {
        unsigned value = i == 0x11 ? 0x0e : 0x05;

        vga_set(VGA_CRTC, i, value);
        wrong += vga_get(VGA_CRTC, i) != value;
    }
    CHECK_EQ("crtc-read-back", wrong, 0);
    vga_set(VGA_CRTC, 7, 0x00);
    vga_set(VGA_CRTC, 0x11, 0x80);
    vga_set(VGA_CRTC, 1, 0x4f);
    vga_set(VGA_CRTC, 7, 0xff);
    CHECK_EQ("crtc-protected", vga_get(VGA_CRTC, 1), 0x05);
    CHECK_EQ("crtc-overflow-protected", vga_get(VGA_CRTC, 7), 0x10);
    vga_set(VGA_CRTC, 0xe, 0x12);
    CHECK_EQ("crtc-cursor", vga_get(VGA_CRTC, 0xe), 0x12);
    vga_set_mode(VGA_MODE_12H);
}

static void check_mono(void)
{
    vga_set(VGA_CRTC, 0xf, 0x34);
    out8(VGA_MISC, 0x66);
    CHECK_EQ("misc-reads-back", in8(VGA_MISC_READ), 0x66);
    CHECK_EQ("mono-crtc", vga_get(MONO, 0xf), 0x34);
    CHECK_EQ("colour-crtc-gone", in8(VGA_CRTC + 1), 0xff);
    out8(VGA_MISC, 0x67);
    CHECK_EQ("mono-crtc-gone", in8(MONO + 1), 0xff);
    CHECK_EQ("colour-crtc-back", vga_get(VGA_CRTC, 0xf), 0x34);
    vga_set_mode(VGA_MODE_12H);
}

static void check_attr(void)
{
    unsigned wrong = 0;

    for (unsigned i = 0; i < 16; i++)
        vga_set_attr(i, 0x3f - i);
    for (unsigned i = 0; i < 16; i++)
        wrong += get_attr(i) != 0x3f - i;
    CHECK_EQ("attr-palette", wrong, 0);
    vga_set_attr(0x12, 0x0a);
    CHECK_EQ("attr-planes", get_attr(0x12), 0x0a);
    vga_set_attr(0x13, 0x05);
    CHECK_EQ("attr-pan", get_attr(0x13), 0x05);
    vga_set_attr(0x14, 0x0c);
    CHECK_EQ("attr-select", get_attr(0x14), 0x0c);
    /* The flip-flop: index, data, index; input status 1 puts it back. */
    (void)in8(VGA_STATUS);
    out8(VGA_ATTR, 0x33);
    CHECK_EQ("attr-index", in8(VGA_ATTR), 0x33);
    out8(VGA_ATTR, 0x07);
    CHECK_EQ("attr-flip-flop", in8(VGA_ATTR), 0x33);
    out8(VGA_ATTR, 0x32);
    (void)in8(VGA_STATUS);
    out8(VGA_ATTR, 0x33);
    CHECK_EQ("attr-written", in8(VGA_ATTR + 1), 0x07);
    vga_set_mode(VGA_MODE_12H);
}

static void check_dac(void)
{
    unsigned wrong = 0;

    out8(VGA_DAC_WRITE, 0);
    CHECK_EQ("dac-state-writing", in8(VGA_DAC_READ) & 3, 0);
    for (unsigned i = 0; i < 768; i++)
        out8(VGA_DAC_DATA, (uint8_t)((i * 5 + 1) & 0x3f));
    CHECK_EQ("dac-index-wraps", in8(VGA_DAC_WRITE), 0);
    out8(VGA_DAC_READ, 0);
    CHECK_EQ("dac-state-reading", in8(VGA_DAC_READ) & 3, 3);
    for (unsigned i = 0; i < 768; i++)
        wrong += in8(VGA_DAC_DATA) != ((i * 5 + 1) & 0x3f);
    CHECK_EQ("dac-all", wrong, 0);
    out8(VGA_DAC_WRITE, 77);
    CHECK_EQ("dac-index", in8(VGA_DAC_WRITE), 77);
    out8(VGA_DAC_MASK, 0x5a);
    CHECK_EQ("dac-mask", in8(VGA_DAC_MASK), 0x5a);
    out8(VGA_DAC_MASK, 0xff);
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
    vga_set(VGA_GC, index, value);
    ref.gc[index] = (uint8_t)value;
}

static void set_seq(unsigned index, unsigned value)
{
    vga_set(VGA_SEQ, index, value);
    ref.seq[index] = (uint8_t)value;
}

/* All that a memory access depends on, known on both sides; and the memory used is zero. */
static void start_memory(unsigned memory, unsigned mode, unsigned misc, uint32_t base)
{
    vga_set_mode(VGA_MODE_12H);
    memset(&ref, 0, sizeof(ref));
    ref.misc = 0xe3;
    for (unsigned i = 0; i < 9; i++)
        set_gc(i, i == 8 ? 0xff : 0);
    set_seq(2, 0xf);
    set_seq(4, 6);
    set_gc(6, 5);
    for (unsigned i = 0; i < 2 * ADDRESSES; i++)
        *at(VGA_WINDOW + i) = 0;
    (void)*at(VGA_WINDOW);
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
            wrong += *at(VGA_WINDOW + i) != ref.plane[plane][i];
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
        start_memory(6, 0, 5, VGA_WINDOW);
        (void)many_accesses(VGA_WINDOW, 0, ALL); /* something to begin with */
        set_gc(3, 0);
        CHECK_EQ(reads[mode], many_accesses(VGA_WINDOW, mode, mode == 3 ? 0 : ALL), 0);
        CHECK_EQ(memory[mode], compare_planes(), 0);
    }
    set_gc(3, 0);
    start_memory(6, 0, 5, VGA_WINDOW);
    CHECK_EQ("write-3-rotated-reads", many_accesses(VGA_WINDOW, 3, ROTATE), 0);
    CHECK_EQ("write-3-rotated-memory", compare_planes(), 0);
    start_memory(6, 0, 5, VGA_WINDOW);
    CHECK_EQ("write-3-function-reads", many_accesses(VGA_WINDOW, 3, ALL), 0);
    CHECK_EQ("write-3-function-memory", compare_planes(), 0);
}

static void check_compare(void)
{
    start_memory(6, 0, 5, VGA_WINDOW);
    (void)many_accesses(VGA_WINDOW, 0, ALL);
    CHECK_EQ("read-mode-1", many_accesses(VGA_WINDOW, 8, ALL), 0);
    CHECK_EQ("read-mode-1-memory", compare_planes(), 0);
}

static void check_odd_even(void)
{
    start_memory(2, 0x10, 0xe, VGA_TEXT);
    CHECK_EQ("odd-even-reads", plain_accesses(VGA_TEXT), 0);
    CHECK_EQ("odd-even-memory", compare_planes(), 0);
}

static void check_chain4(void)
{
    start_memory(0xe, 0x40, 5, VGA_WINDOW);
    CHECK_EQ("chain4-masked-reads", plain_accesses(VGA_WINDOW), 0);
    start_memory(0xe, 0x40, 5, VGA_WINDOW);
    for (unsigned i = 0; i < ADDRESSES; i++) {
        *at(VGA_WINDOW + i) = (uint8_t)(i * 3);
        vga_ref_write(&ref, VGA_WINDOW + i, (uint8_t)(i * 3));
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
    start_memory(6, 0, 5, VGA_WINDOW);
    *at(VGA_WINDOW) = 0x77;
    out8(VGA_MISC, 0xe1);
    CHECK_EQ("window-disabled", *at(VGA_WINDOW), 0xff);
    out8(VGA_MISC, 0xe3);
    CHECK_EQ("window-enabled", *at(VGA_WINDOW), 0x77);
}

static void check_wide(void)
{
    volatile uint64_t *wide = (volatile uint64_t *)(uint64_t)VGA_WINDOW;
    volatile uint32_t *text = (volatile uint32_t *)(uint64_t)VGA_TEXT;

    start_memory(0xe, 0x40, 5, VGA_WINDOW);
    *wide = 0x8877665544332211;
    CHECK_EQ("wide-64", *wide, 0x8877665544332211);
    CHECK_EQ("wide-bytes", at(VGA_WINDOW)[2] << 8 | at(VGA_WINDOW)[5], 0x3366);
    CHECK_EQ("wide-unaligned", *(volatile uint32_t *)(uint64_t)(VGA_WINDOW + 3), 0x77665544);
    vga_set_mode(VGA_MODE_3);
    *text = 0x1e421e41;
    CHECK_EQ("text-cells", *text, 0x1e421e41);
    asm volatile("cld; rep stosw"
                 :
                 : "D"((uint64_t)VGA_TEXT + 160), "c"(80ul), "a"(0x0720)
                 : "memory");
    CHECK_EQ("text-line", *(volatile uint16_t *)(uint64_t)(VGA_TEXT + 318), 0x0720);
    asm volatile("cld; rep movsw"
                 :
                 : "D"((uint64_t)VGA_TEXT + 320), "S"((uint64_t)VGA_TEXT), "c"(82ul)
                 : "memory");
    CHECK_EQ("text-scroll", *(volatile uint32_t *)(uint64_t)(VGA_TEXT + 320), 0x1e421e41);
    CHECK_EQ("text-scroll-end", *(volatile uint16_t *)(uint64_t)(VGA_TEXT + 320 + 162), 0x0720);
}

/* ------------------------------------------------------------------ retrace */

static bool wait_vsync(bool level)
{
    for (unsigned i = 0; i < 1000000; i++)
        if (!(in8(VGA_STATUS) & VSYNC) == !level)
            return true;
    return false;
}

static void check_retrace(void)
{
    uint64_t start;
    bool come = true;

    vga_set_mode(VGA_MODE_3);
    come = wait_vsync(false) && wait_vsync(true);
    start = rdtsc();
    for (unsigned i = 0; i < 10; i++)
        come = come && wait_vsync(false) && wait_vsync(true);
    CHECK("retrace-comes", come);
    CHECK_NEAR("retrace-rate", (rdtsc() - start) * 70 / timing_tsc_hz(), 10, 15);
}

/* ------------------------------------------------------------------ VBE_DISPI */

static void check_dispi(void)
{
    vga_set_dispi(0, 0xb0c0);
    CHECK_EQ("dispi-id-0", vga_get_dispi(0), 0xb0c0);
    vga_set_dispi(0, 0xb0c4);
    CHECK_EQ("dispi-id-4", vga_get_dispi(0), 0xb0c4);
    vga_start_dispi(640, 400, 8);
    CHECK_EQ("dispi-enabled", vga_get_dispi(4) & 1, 1);
    CHECK_EQ("dispi-width", vga_get_dispi(1), 640);
    CHECK_EQ("dispi-height", vga_get_dispi(2), 400);
    CHECK_EQ("dispi-bpp", vga_get_dispi(3), 8);
    CHECK_EQ("dispi-virtual-width", vga_get_dispi(6), 640);
    vga_set_dispi(6, 1024);
    CHECK_EQ("dispi-virtual-width-set", vga_get_dispi(6), 1024);
    vga_set_dispi(9, 100);
    CHECK_EQ("dispi-y-offset", vga_get_dispi(9), 100);
    vga_set_dispi(4, 0);
    CHECK_EQ("dispi-off", vga_get_dispi(4) & 1, 0);
}

static void check_framebuffer(void)
{
    volatile uint32_t *lfb = (volatile uint32_t *)(uint64_t)VGA_LFB;
    unsigned wrong = 0;

    vga_place_lfb();
    vga_start_dispi(1024, 768, 8);
    CHECK_EQ("lfb-cleared", lfb[0] | lfb[WORDS - 1], 0);
    for (unsigned i = 0; i < 2 * WORDS; i += 97) /* beyond what is shown too */
        lfb[i] = i * 2654435761u;
    for (unsigned i = 0; i < 2 * WORDS; i += 97)
        wrong += lfb[i] != i * 2654435761u;
    CHECK_EQ("lfb-keeps", wrong, 0);
    vga_start_dispi(640, 480, 8);
    vga_set_dispi(5, 2);
    *at(VGA_WINDOW + 0x1234) = 0xa7;
    CHECK_EQ("bank-to-lfb", *at(VGA_LFB + 0x21234), 0xa7);
    *at(VGA_LFB + 0x2ffff) = 0x7a;
    CHECK_EQ("lfb-to-bank", *at(VGA_WINDOW + 0xffff), 0x7a);
    vga_set_dispi(5, 0);
    CHECK_EQ("bank-0", *at(VGA_WINDOW + 0x1234), 0);
    vga_set_dispi(4, 0);
}

void guest_main(void)
{
    (void)timing_tsc_hz();
    vga_set_mode(VGA_MODE_12H);
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
    vga_set_mode(VGA_MODE_3);
}
