/*
 * The VGA's registers and its inner interfaces. Names and bits are those of the IBM PS/2 Hardware
 * Interface Technical Reference (video subsystem); VBE_DISPI is described in QEMU's
 * docs/specs/standard-vga and in Bochs' vbe documentation.
 */
#ifndef DEVICES_VGA_INTERNAL_H
#define DEVICES_VGA_INTERNAL_H

#include "devices/bus.h"
#include "devices/machine.h"
#include "devices/pci.h"
#include "devices/vga.h"

/* Ports. The CRTC and input status 1 are at 0x3Bx instead while MISC_COLOUR is 0. */
#define VGA_PORT_ATTR        0x3c0 /* address and data in turn, by the flip-flop */
#define VGA_PORT_ATTR_READ   0x3c1
#define VGA_PORT_MISC        0x3c2 /* read: input status 0 */
#define VGA_PORT_SEQ         0x3c4
#define VGA_PORT_SEQ_DATA    0x3c5
#define VGA_PORT_DAC_MASK    0x3c6
#define VGA_PORT_DAC_READ    0x3c7 /* read: state */
#define VGA_PORT_DAC_WRITE   0x3c8
#define VGA_PORT_DAC_DATA    0x3c9
#define VGA_PORT_FEATURE     0x3ca /* read only */
#define VGA_PORT_MISC_READ   0x3cc
#define VGA_PORT_GC          0x3ce
#define VGA_PORT_GC_DATA     0x3cf
#define VGA_PORT_CRTC        0x3d4
#define VGA_PORT_CRTC_DATA   0x3d5
#define VGA_PORT_STATUS      0x3da /* write: feature control */
#define VGA_PORT_MONO_OFFSET 0x20  /* from 0x3Dx down to 0x3Bx */
#define VGA_PORT_DISPI       0x1ce /* index; data follows */

#define MISC_COLOUR   BIT(0)
#define MISC_RAM      BIT(1) /* the legacy window answers */
#define MISC_CLOCK(m) ((m) >> 2 & 3)
#define MISC_PAGE     BIT(5) /* odd/even: 0 selects the odd bytes of each plane */
#define FEATURE_MASK  0x03
#define STATUS0_SENSE BIT(4)
#define STATUS1_OFF   BIT(0) /* blanked, horizontally or vertically */
#define STATUS1_VSYNC BIT(3)

enum vga_seq { SEQ_RESET, SEQ_CLOCKING, SEQ_MAP_MASK, SEQ_FONTS, SEQ_MEMORY, VGA_NR_SEQ };
#define SEQ_CLOCKING_8_DOTS   BIT(0)
#define SEQ_CLOCKING_HALF     BIT(3)
#define SEQ_CLOCKING_OFF      BIT(5)
#define SEQ_MEMORY_SEQUENTIAL BIT(2) /* not odd/even */
#define SEQ_MEMORY_CHAIN4     BIT(3)

enum vga_gc {
    GC_SET_RESET,
    GC_ENABLE_SET_RESET,
    GC_COMPARE,
    GC_ROTATE,
    GC_READ_MAP,
    GC_MODE,
    GC_MISC,
    GC_CARE,
    GC_BIT_MASK,
    VGA_NR_GC
};
#define GC_ROTATE_COUNT(r)    ((r)&7u)
#define GC_ROTATE_FUNCTION(r) ((r) >> 3 & 3)
#define GC_MODE_WRITE(r)      ((r)&3)
#define GC_MODE_COMPARE       BIT(3) /* read mode 1 */
#define GC_MODE_ODD_EVEN      BIT(4) /* for reads */
#define GC_MODE_INTERLEAVED   BIT(5) /* two bits a pixel, as the CGA has them */
#define GC_MODE_256           BIT(6)
#define GC_MISC_GRAPHICS      BIT(0)
#define GC_MISC_CHAIN         BIT(1) /* odd/even: address bit 0 selects the plane */
#define GC_MISC_WINDOW(r)     ((r) >> 2 & 3)

enum vga_crtc {
    CRTC_H_TOTAL = 0,
    CRTC_H_DISPLAY_END = 1,
    CRTC_V_TOTAL = 6,
    CRTC_OVERFLOW = 7,
    CRTC_PRESET_ROW = 8,
    CRTC_MAX_SCAN = 9,
    CRTC_CURSOR_START = 0xa,
    CRTC_CURSOR_END = 0xb,
    CRTC_START_HIGH = 0xc,
    CRTC_START_LOW = 0xd,
    CRTC_CURSOR_HIGH = 0xe,
    CRTC_CURSOR_LOW = 0xf,
    CRTC_V_SYNC_START = 0x10,
    CRTC_V_SYNC_END = 0x11,
    CRTC_V_DISPLAY_END = 0x12,
    CRTC_OFFSET = 0x13,
    CRTC_UNDERLINE = 0x14,
    CRTC_MODE = 0x17,
    CRTC_LINE_COMPARE = 0x18,
    VGA_NR_CRTC = 0x19
};
#define CRTC_MAX_SCAN_DOUBLE   BIT(7)
#define CRTC_CURSOR_OFF        BIT(5)
#define CRTC_V_SYNC_PROTECT    BIT(7) /* of registers 0 to 7 */
#define CRTC_OVERFLOW_COMPARE  BIT(4) /* the one bit that is not protected */
#define CRTC_UNDERLINE_DWORD   BIT(6)
#define CRTC_UNDERLINE_COUNT_4 BIT(5)
#define CRTC_MODE_ROW_13       BIT(0) /* 0: address bit 13 is bit 0 of the row scan counter */
#define CRTC_MODE_ROW_14       BIT(1)
#define CRTC_MODE_COUNT_2      BIT(3)
#define CRTC_MODE_WRAP_15      BIT(5)
#define CRTC_MODE_BYTE         BIT(6)

enum vga_attr {
    ATTR_MODE = 0x10,
    ATTR_OVERSCAN = 0x11,
    ATTR_PLANES = 0x12,
    ATTR_PAN = 0x13,
    ATTR_SELECT = 0x14,
    VGA_NR_ATTR = 0x15
};
#define ATTR_INDEX          0x1f
#define ATTR_ON             BIT(5) /* in the index: the palette drives the display */
#define ATTR_MODE_LINE_9    BIT(2) /* the ninth dot of line graphics is that of the eighth */
#define ATTR_MODE_BLINK     BIT(3)
#define ATTR_MODE_SPLIT_PAN BIT(5) /* no panning below the split */
#define ATTR_MODE_256       BIT(6)
#define ATTR_MODE_SELECT    BIT(7) /* colour bits 5:4 come from ATTR_SELECT */

enum vga_dispi {
    DISPI_ID,
    DISPI_XRES,
    DISPI_YRES,
    DISPI_BPP,
    DISPI_ENABLE,
    DISPI_BANK,
    DISPI_VIRT_WIDTH,
    DISPI_VIRT_HEIGHT,
    DISPI_X_OFFSET,
    DISPI_Y_OFFSET,
    VGA_NR_DISPI,
    DISPI_MEMORY_64K = VGA_NR_DISPI, /* read only */
};
#define DISPI_ID_FIRST    0xb0c0
#define DISPI_ID_LAST     0xb0c5
#define DISPI_ENABLED     BIT(0)
#define DISPI_GET_CAPS    BIT(1) /* resolutions read as the largest there are */
#define DISPI_DAC_8       BIT(5)
#define DISPI_LFB         BIT(6)
#define DISPI_NO_CLEAR    BIT(7)
#define DISPI_ENABLE_MASK 0xe3
#define DISPI_BANK_SIZE   KIB(64)

#define VGA_VRAM_SIZE   MIB(16)
#define VGA_CHUNK_SHIFT LARGE_SHIFT
#define VGA_CHUNK_SIZE  (1ul << VGA_CHUNK_SHIFT)
#define VGA_NR_CHUNKS   (VGA_VRAM_SIZE >> VGA_CHUNK_SHIFT)

#define VGA_DAC_READING 3 /* the state that VGA_PORT_DAC_READ shows */

/* All that a suspended VM has to keep, but for the memory. */
struct vga_state {
    uint8_t misc, feature;
    uint8_t seq_index, gc_index, crtc_index, attr_index;
    uint8_t attr_data; /* the flip-flop: the next write is data */
    uint8_t dac_state, dac_mask, dac_read, dac_write, dac_component;
    uint8_t dac_latch[2]; /* components of a colour that is being written */
    uint8_t seq[VGA_NR_SEQ], gc[VGA_NR_GC], crtc[VGA_NR_CRTC], attr[VGA_NR_ATTR];
    uint8_t dac[256][3];
    uint32_t latch; /* a byte of each plane */
    uint16_t dispi_index, dispi[VGA_NR_DISPI];
};

/* When what is on the screen: in guest TSC ticks and lines. */
struct vga_timing {
    uint64_t line_ticks, display_ticks;
    unsigned lines, display_lines, sync_start, sync_lines;
};

/* A range of ports on the bus, and whose it is. */
#define VGA_NR_PORT_RANGES 5
struct vga_ports {
    struct vga *vga;
    uint16_t start;
};

/*
 * The four planes lie byte by byte in one dword: byte n of plane p is vram[4 * n + p]. Memory is
 * taken in chunks of 2 MiB when they are first needed; the first one is always there.
 */
struct vga {
    struct device device;
    struct pci_function pci;
    struct vga_ports ports[VGA_NR_PORT_RANGES];
    struct vga_state s;
    uint8_t *chunk[VGA_NR_CHUNKS];
    uint32_t direct; /* bit per chunk: mapped into the guest's memory */
    uint64_t lfb;    /* where BAR 0 is; 0: nowhere */
    /* From here on derived from the registers, by vga_memory_update and vga_timing_update. */
    uint32_t map_mask, bit_mask, set_reset, set_reset_mask;
    uint32_t window_start, window_size; /* from 0xA0000; size 0: nothing answers */
    bool plain;                         /* what is written goes to the planes as it is */
    bool packed;                        /* the window shows a bank of the linear framebuffer */
    bool timing_valid;
    struct vga_timing timing;
    void (*changed)(void *opaque); /* NULL: nobody waits for a change */
    void *changed_opaque;
};

/* Something that can be seen has changed. */
static inline void vga_touch(struct vga *v)
{
    void (*changed)(void *opaque) = v->changed;

    if (likely(changed == NULL))
        return;
    v->changed = NULL;
    changed(v->changed_opaque);
}

/* ---- vga_regs.c: the ports ---- */

uint8_t vga_port_read(struct vga *v, unsigned port);
void vga_port_write(struct vga *v, unsigned port, uint8_t value);
void vga_regs_reset(struct vga *v);
/* A loaded state is made one that registers can be in. */
void vga_regs_sanitize(struct vga_state *s);

/* ---- vga_status.c: retrace ---- */

uint8_t vga_status1(struct vga *v);

/* ---- vga_memory.c: the legacy window ---- */

extern const struct bus_ops vga_window_ops;
/* After any change of registers that tell how memory is accessed. */
void vga_memory_update(struct vga *v);

/* ---- vga_vram.c: the memory itself, and BAR 0 ---- */

/* Where offset is, memory put there if need be; NULL: the machine has none left. */
uint8_t *vga_vram(struct vga *v, uint32_t offset);
/* The same without putting anything there: NULL means zeroes. */
static inline const uint8_t *vga_vram_peek(const struct vga *v, uint32_t offset)
{
    const uint8_t *chunk = v->chunk[offset >> VGA_CHUNK_SHIFT];

    return chunk == NULL ? NULL : chunk + offset % VGA_CHUNK_SIZE;
}
static inline uint8_t vga_vram_byte(const struct vga *v, uint32_t offset)
{
    const uint8_t *p = vga_vram_peek(v, offset);

    return p == NULL ? 0 : *p;
}
/* The four planes' bytes n. */
static inline uint32_t vga_planes(const struct vga *v, uint32_t n)
{
    const void *p = vga_vram_peek(v, n * 4);

    return p == NULL ? 0 : *(const uint32_t *)p;
}
MUST_CHECK int vga_vram_create(struct vga *v);
void vga_vram_destroy(struct vga *v);
void vga_vram_clear(struct vga *v, uint32_t start, uint32_t size);
void vga_vram_save(const struct vga *v, struct device_state *s);
bool vga_vram_load(struct vga *v, struct device_state *s);
MUST_CHECK int vga_lfb_map(struct vga *v, uint64_t address);
void vga_lfb_unmap(struct vga *v);

/* ---- vga_dispi.c: VBE_DISPI ---- */

extern const struct bus_ops vga_dispi_ops;
uint16_t vga_dispi_read(const struct vga *v, unsigned index);
void vga_dispi_write(struct vga *v, unsigned index, uint16_t value);
void vga_dispi_reset(struct vga *v);
/* Whether a loaded state is one that writes can have led to. */
bool vga_dispi_valid(const struct vga_state *s);
static inline bool vga_dispi_on(const struct vga_state *s)
{
    return s->dispi[DISPI_ENABLE] & DISPI_ENABLED;
}
/* Bytes from one line to the next; of each plane with 4 bits per pixel. */
uint32_t vga_dispi_pitch(const struct vga_state *s);

/* ---- vga_screen.c ---- */

/* Byte of each plane that the CRTC fetches when its counter and row scan counter say so. */
uint32_t vga_crtc_address(const struct vga_state *s, uint32_t counter, unsigned row_scan);
/* A CRTC value whose bits 8 and 9 are in the overflow register. */
unsigned vga_crtc_vertical(const struct vga_state *s, unsigned reg, unsigned bit8, unsigned bit9);
unsigned vga_display_lines(const struct vga_state *s);

#endif
