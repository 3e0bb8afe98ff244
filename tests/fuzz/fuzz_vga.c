/*
 * Fuzzing the display adapter: random writes and reads of its ports, the legacy window, the
 * framebuffer and PCI configuration space, with what is displayed drawn in between. Besides what
 * the sanitizers see: a picture has the size that was announced, and a saved state loads again.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -I. tests/fuzz/fuzz_vga.c \
 *         tests/unit/fake_host.c tests/unit/shim.c devices/?*.c lib/?*.c
 *
 * tests/unit/test_vga_fuzz.c feeds it random bytes in every run of the unit tests.
 */
#include <stdlib.h>
#include <string.h>

#include "devices/pci.h"
#include "devices/vga.h"
#include "tests/unit/fake_host.h"

#define WINDOW     0xa0000u
#define LFB        0xe0000000u
#define STATE_SIZE MIB(17)

/* The input, read front to back; zeros once it is used up. */
struct input {
    const uint8_t *data;
    size_t size;
};

static uint32_t take(struct input *in, unsigned size)
{
    uint32_t v = 0;
    unsigned n = size < in->size ? size : (unsigned)in->size;

    if (n > 0)
        memcpy(&v, in->data, n);
    in->data += n;
    in->size -= n;
    return v;
}

static void check(bool ok)
{
    if (!ok)
        abort();
}

/* Ports of the adapter, mostly: 0x3B0 to 0x3DF, VBE_DISPI, PCI. */
static uint16_t some_port(struct input *in)
{
    uint8_t n = (uint8_t)take(in, 1);

    if (n < 0xc0)
        return (uint16_t)(0x3b0 + n % 0x30);
    return n < 0xe0 ? (uint16_t)(0x1ce + n % 2) : (uint16_t)(0xcf8 + n % 8);
}

static uint64_t some_address(struct input *in)
{
    uint32_t offset = take(in, 3);

    return take(in, 1) & 1 ? WINDOW + offset % 0x20000 : LFB + offset;
}

static void draw(struct vga *v, struct input *in)
{
    struct vga_screen s;
    uint8_t *line;
    uint16_t *cells;

    vga_get_screen(v, &s);
    check(s.width > 0 && s.width <= VGA_MAX_WIDTH && s.height > 0 && s.height <= VGA_MAX_HEIGHT);
    line = malloc(3 * s.width); /* just as long: a write past its end is seen */
    vga_render_line(v, &s, take(in, 2) % s.height, line);
    free(line);
    if (!s.text)
        return;
    check(s.columns > 0 && s.columns <= VGA_MAX_COLUMNS && s.rows > 0 && s.rows <= VGA_MAX_ROWS);
    check(!s.cursor || (s.cursor_column < s.columns && s.cursor_row < s.rows));
    cells = malloc(2 * s.columns);
    vga_text_row(v, &s, take(in, 1) % s.rows, cells);
    free(cells);
}

static void place_framebuffer(struct machine *m)
{
    bus_port_write(m->bus, 0xcf8, 4, 0x80000000u | VGA_PCI_SLOT << 11 | 0x10);
    bus_port_write(m->bus, 0xcfc, 4, LFB);
    bus_port_write(m->bus, 0xcf8, 4, 0x80000000u | VGA_PCI_SLOT << 11 | 4);
    bus_port_write(m->bus, 0xcfc, 2, 3);
}

/* A VBE_DISPI mode of some size, so that those are not left to luck. */
static void start_mode(struct machine *m, struct input *in)
{
    static const uint8_t bpp[] = {4, 8, 15, 16, 24, 32};
    uint16_t values[5] = {0, (uint16_t)(take(in, 1) * 8), (uint16_t)(take(in, 1) * 4),
                          bpp[take(in, 1) % sizeof(bpp)], 0x81};
    static const uint8_t index[5] = {4, 1, 2, 3, 4};

    for (unsigned i = 0; i < 5; i++) {
        bus_port_write(m->bus, 0x1ce, 2, index[i]);
        bus_port_write(m->bus, 0x1cf, 2, values[i]);
    }
}

static void save_and_load(struct machine *m, uint8_t *buf, struct input *in)
{
    struct device_state s = {.buf = buf, .size = STATE_SIZE};
    size_t n;

    check(machine_save(m, &s));
    n = s.pos;
    if (take(in, 1) & 1) /* damaged: it may load or not, but must do no harm */
        buf[take(in, 3) % n] ^= (uint8_t)take(in, 1);
    s = (struct device_state){.buf = buf, .size = n};
    (void)!machine_load(m, &s);
}

static void step(struct fake_host *f, struct machine *m, struct input *in, uint8_t *state)
{
    unsigned size = 1u << take(in, 1) % 4;
    uint8_t what = (uint8_t)take(in, 1);

    if (what < 0x90)
        bus_port_write(m->bus, some_port(in), size > 4 ? 1 : size, take(in, size > 4 ? 1 : size));
    else if (what < 0xa0)
        (void)bus_port_read(m->bus, some_port(in), size > 4 ? 1 : size);
    else if (what < 0xc0)
        bus_memory_write(m->bus, GPA(some_address(in)), size, take(in, 4) * 0x100000001ull);
    else if (what < 0xd0)
        (void)bus_memory_read(m->bus, GPA(some_address(in)), size);
    else if (what < 0xf0)
        draw(m->vga, in);
    else if (what < 0xf8)
        start_mode(m, in);
    else if (what < 0xfc)
        fake_host_advance(f, take(in, 3));
    else if (what < 0xfe)
        place_framebuffer(m);
    else if (what < 0xff)
        machine_reset(m);
    else
        save_and_load(m, state, in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct machine_config config = {.nr_vcpus = 1, .ram_bytes = MIB(64), .vga = true};
    static uint8_t state[STATE_SIZE];
    struct input in = {data, size};
    struct fake_host f;
    struct machine m;

    fake_host_init(&f);
    check(machine_create(&m, &f.host, &config, &fake_cpu_ops, &f) == 0);
    place_framebuffer(&m);
    while (in.size > 0)
        step(&f, &m, &in, state);
    machine_destroy(&m);
    fake_host_finish(&f);
    return 0;
}
