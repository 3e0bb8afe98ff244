/* The VGA's ports: miscellaneous, sequencer, CRTC, graphics and attribute controllers, DAC. */
#include "devices/vga_internal.h"
#include "lib/string.h"

/* The bits that each register has. */
static const uint8_t seq_mask[VGA_NR_SEQ] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e};
static const uint8_t gc_mask[VGA_NR_GC] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};
static const uint8_t crtc_mask[VGA_NR_CRTC] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0x3f, 0x7f, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xef, 0xff,
};
static const uint8_t attr_mask[VGA_NR_ATTR] = {
    0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f,
    0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0xef, 0xff, 0x3f, 0x0f, 0x0f,
};

#define SEQ_INDEX_MASK  0x07
#define GC_INDEX_MASK   0x0f
#define CRTC_INDEX_MASK 0x3f
#define ATTR_INDEX_MASK (ATTR_INDEX | ATTR_ON)
#define DAC_6_BITS      0x3f
#define MISC_MASK       0xef
#define CRTC_PROTECTED  7 /* the last register that CRTC_V_SYNC_PROTECT locks */

/* ------------------------------------------------------------------ attribute controller */

static void attr_write(struct vga *v, uint8_t value)
{
    struct vga_state *s = &v->s;
    unsigned index = s->attr_index & ATTR_INDEX;

    if (!s->attr_data)
        s->attr_index = value & ATTR_INDEX_MASK;
    else if (index < VGA_NR_ATTR)
        s->attr[index] = value & attr_mask[index];
    s->attr_data = !s->attr_data;
    vga_touch(v);
}

static uint8_t attr_read(const struct vga_state *s)
{
    unsigned index = s->attr_index & ATTR_INDEX;

    return index < VGA_NR_ATTR ? s->attr[index] : 0;
}

/* ------------------------------------------------------------------ DAC */

static uint8_t dac_read(struct vga_state *s)
{
    uint8_t value = s->dac[s->dac_read][s->dac_component];

    if (++s->dac_component == 3) {
        s->dac_component = 0;
        s->dac_read++;
    }
    return value;
}

/* A colour takes effect as a whole, with its third component. */
static void dac_write(struct vga *v, uint8_t value)
{
    struct vga_state *s = &v->s;

    if (!(s->dispi[DISPI_ENABLE] & DISPI_DAC_8))
        value &= DAC_6_BITS;
    if (s->dac_component < 2) {
        s->dac_latch[s->dac_component++] = value;
        return;
    }
    memcpy(s->dac[s->dac_write], s->dac_latch, 2);
    s->dac[s->dac_write][2] = value;
    s->dac_component = 0;
    s->dac_write++;
    vga_touch(v);
}

static void dac_set_index(struct vga_state *s, uint8_t value, bool reading)
{
    if (reading)
        s->dac_read = value;
    else
        s->dac_write = value;
    s->dac_component = 0;
    s->dac_state = reading ? VGA_DAC_READING : 0;
}

/* ------------------------------------------------------------------ indexed registers */

static void seq_write(struct vga *v, uint8_t value)
{
    unsigned index = v->s.seq_index;

    if (index >= VGA_NR_SEQ)
        return;
    v->s.seq[index] = value & seq_mask[index];
    v->timing_valid = false;
    vga_memory_update(v);
    vga_touch(v);
}

static void gc_write(struct vga *v, uint8_t value)
{
    unsigned index = v->s.gc_index;

    if (index >= VGA_NR_GC)
        return;
    v->s.gc[index] = value & gc_mask[index];
    vga_memory_update(v);
    vga_touch(v);
}

static void crtc_write(struct vga *v, uint8_t value)
{
    struct vga_state *s = &v->s;
    unsigned index = s->crtc_index;

    if (index >= VGA_NR_CRTC)
        return;
    if (index <= CRTC_PROTECTED && (s->crtc[CRTC_V_SYNC_END] & CRTC_V_SYNC_PROTECT)) {
        if (index != CRTC_OVERFLOW)
            return;
        value =
            (uint8_t)((s->crtc[index] & ~CRTC_OVERFLOW_COMPARE) | (value & CRTC_OVERFLOW_COMPARE));
    }
    s->crtc[index] = value & crtc_mask[index];
    v->timing_valid = false;
    vga_touch(v);
}

/* ------------------------------------------------------------------ ports */

/* The port as its colour address, or 0 if it does not answer as the adapter is set. */
static unsigned relocate(const struct vga_state *s, unsigned port)
{
    bool mono = port < VGA_PORT_ATTR;

    if (!mono && port < VGA_PORT_CRTC)
        return port;
    if (mono == !!(s->misc & MISC_COLOUR))
        return 0;
    return mono ? port + VGA_PORT_MONO_OFFSET : port;
}

static uint8_t read_status1(struct vga *v)
{
    v->s.attr_data = 0;
    return vga_status1(v);
}

uint8_t vga_port_read(struct vga *v, unsigned port)
{
    struct vga_state *s = &v->s;

    switch (relocate(s, port)) {
    case VGA_PORT_ATTR:
        return s->attr_index;
    case VGA_PORT_ATTR_READ:
        return attr_read(s);
    case VGA_PORT_MISC:
        return STATUS0_SENSE;
    case VGA_PORT_SEQ:
        return s->seq_index;
    case VGA_PORT_SEQ_DATA:
        return s->seq_index < VGA_NR_SEQ ? s->seq[s->seq_index] : 0;
    case VGA_PORT_DAC_MASK:
        return s->dac_mask;
    case VGA_PORT_DAC_READ:
        return s->dac_state;
    case VGA_PORT_DAC_WRITE:
        return s->dac_write;
    case VGA_PORT_DAC_DATA:
        return dac_read(s);
    case VGA_PORT_FEATURE:
        return s->feature;
    case VGA_PORT_MISC_READ:
        return s->misc;
    case VGA_PORT_GC:
        return s->gc_index;
    case VGA_PORT_GC_DATA:
        return s->gc_index < VGA_NR_GC ? s->gc[s->gc_index] : 0;
    case VGA_PORT_CRTC:
        return s->crtc_index;
    case VGA_PORT_CRTC_DATA:
        return s->crtc_index < VGA_NR_CRTC ? s->crtc[s->crtc_index] : 0;
    case VGA_PORT_STATUS:
        return read_status1(v);
    default:
        return UINT8_MAX;
    }
}

static void misc_write(struct vga *v, uint8_t value)
{
    v->s.misc = value & MISC_MASK;
    v->timing_valid = false;
    vga_memory_update(v);
    vga_touch(v);
}

void vga_port_write(struct vga *v, unsigned port, uint8_t value)
{
    struct vga_state *s = &v->s;

    switch (relocate(s, port)) {
    case VGA_PORT_ATTR:
        attr_write(v, value);
        break;
    case VGA_PORT_MISC:
        misc_write(v, value);
        break;
    case VGA_PORT_SEQ:
        s->seq_index = value & SEQ_INDEX_MASK;
        break;
    case VGA_PORT_SEQ_DATA:
        seq_write(v, value);
        break;
    case VGA_PORT_DAC_MASK:
        s->dac_mask = value;
        vga_touch(v);
        break;
    case VGA_PORT_DAC_READ:
    case VGA_PORT_DAC_WRITE:
        dac_set_index(s, value, relocate(s, port) == VGA_PORT_DAC_READ);
        break;
    case VGA_PORT_DAC_DATA:
        dac_write(v, value);
        break;
    case VGA_PORT_GC:
        s->gc_index = value & GC_INDEX_MASK;
        break;
    case VGA_PORT_GC_DATA:
        gc_write(v, value);
        break;
    case VGA_PORT_CRTC:
        s->crtc_index = value & CRTC_INDEX_MASK;
        break;
    case VGA_PORT_CRTC_DATA:
        crtc_write(v, value);
        break;
    case VGA_PORT_STATUS:
        s->feature = value & FEATURE_MASK;
        break;
    default:
        break;
    }
}

/* ------------------------------------------------------------------ state */

/* As the adapter is before firmware programs it: nothing is shown, nothing answers in memory. */
void vga_regs_reset(struct vga *v)
{
    memset(&v->s, 0, sizeof(v->s));
    v->s.misc = MISC_COLOUR;
    v->s.dac_mask = UINT8_MAX;
    v->timing_valid = false;
}

static void mask_all(uint8_t *regs, const uint8_t *masks, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        regs[i] &= masks[i];
}

void vga_regs_sanitize(struct vga_state *s)
{
    s->misc &= MISC_MASK;
    s->feature &= FEATURE_MASK;
    s->seq_index &= SEQ_INDEX_MASK;
    s->gc_index &= GC_INDEX_MASK;
    s->crtc_index &= CRTC_INDEX_MASK;
    s->attr_index &= ATTR_INDEX_MASK;
    s->attr_data &= 1;
    s->dac_state &= VGA_DAC_READING;
    s->dac_component %= 3;
    mask_all(s->seq, seq_mask, VGA_NR_SEQ);
    mask_all(s->gc, gc_mask, VGA_NR_GC);
    mask_all(s->crtc, crtc_mask, VGA_NR_CRTC);
    mask_all(s->attr, attr_mask, VGA_NR_ATTR);
}
