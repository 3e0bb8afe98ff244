/* Input status 1: where the beam is, by the VM's clock and what the CRTC is programmed to. */
#include "devices/vga_internal.h"
#include "lib/checked.h"

#define CLOCK_25_HZ     25175000u
#define CLOCK_28_HZ     28322000u
#define H_TOTAL_EXTRA   5 /* the register has so many characters less */
#define V_TOTAL_EXTRA   2
#define SYNC_LINES_MASK 0xf

/* 640x480 at 60 Hz, for when the CRTC's registers mean nothing: VBE_DISPI modes, mostly. */
static const struct {
    unsigned line_dots, display_dots, lines, display_lines, sync_start, sync_lines;
} standard = {800, 640, 525, 480, 490, 2};

static void timing_standard(struct vga *v)
{
    uint64_t hz = v->device.machine->host->tsc_hz;

    v->timing = (struct vga_timing){
        .line_ticks = MAX(mul_div(standard.line_dots, hz, CLOCK_25_HZ), 1u),
        .display_ticks = mul_div(standard.display_dots, hz, CLOCK_25_HZ),
        .lines = standard.lines,
        .display_lines = standard.display_lines,
        .sync_start = standard.sync_start,
        .sync_lines = standard.sync_lines,
    };
}

static void timing_crtc(struct vga *v)
{
    const struct vga_state *s = &v->s;
    uint64_t hz = v->device.machine->host->tsc_hz;
    unsigned dots = s->seq[SEQ_CLOCKING] & SEQ_CLOCKING_8_DOTS ? 8 : 9;
    unsigned clock = MISC_CLOCK(s->misc) == 1 ? CLOCK_28_HZ : CLOCK_25_HZ;
    struct vga_timing *t = &v->timing;

    if (s->seq[SEQ_CLOCKING] & SEQ_CLOCKING_HALF)
        dots *= 2;
    t->line_ticks = mul_div((s->crtc[CRTC_H_TOTAL] + H_TOTAL_EXTRA) * dots, hz, clock);
    t->line_ticks = MAX(t->line_ticks, 1u);
    t->display_ticks = mul_div((s->crtc[CRTC_H_DISPLAY_END] + 1u) * dots, hz, clock);
    t->lines = vga_crtc_vertical(s, CRTC_V_TOTAL, 0, 5) + V_TOTAL_EXTRA;
    t->display_lines = vga_display_lines(s);
    t->sync_start = vga_crtc_vertical(s, CRTC_V_SYNC_START, 2, 7);
    t->sync_lines = (s->crtc[CRTC_V_SYNC_END] - t->sync_start) & SYNC_LINES_MASK;
    if (t->sync_lines == 0)
        t->sync_lines = SYNC_LINES_MASK + 1;
}

/* Whoever waits for a retrace shall not wait for ever, however the CRTC is programmed. */
static void timing_update(struct vga *v)
{
    timing_crtc(v);
    if (vga_dispi_on(&v->s) || v->timing.sync_start + v->timing.sync_lines > v->timing.lines ||
        v->timing.display_lines > v->timing.sync_start)
        timing_standard(v);
    v->timing_valid = true;
}

uint8_t vga_status1(struct vga *v)
{
    const struct vga_timing *t = &v->timing;
    uint64_t at;
    unsigned line;
    bool off, sync;

    if (!v->timing_valid)
        timing_update(v);
    at = device_now(v->device.machine->host) % (t->line_ticks * t->lines);
    line = (unsigned)(at / t->line_ticks);
    off = line >= t->display_lines || at % t->line_ticks >= t->display_ticks;
    sync = line - t->sync_start < t->sync_lines;
    return (uint8_t)((off ? STATUS1_OFF : 0) | (sync ? STATUS1_VSYNC : 0));
}
