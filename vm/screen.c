#include "vm/screen.h"

#include "devices/i8042.h"
#include "devices/vga.h"
#include "lib/format.h"
#include "lib/string.h"
#include "machine/console.h"
#include "machine/frame.h"
#include "machine/timer.h"
#include "monitor/keys.h"
#include "monitor/picture.h"
#include "monitor/screen.h"
#include "vm/vm.h"

/* A change is drawn so much later, together with what follows it. */
#define DRAW_DELAY_NS 50000000ull
#define DRAW_MORE_NS  10000000ull   /* the line was full: the rest */
#define QUIET_NS      2000000000ull /* after a line of the log, which may be read */
#define KEYS_RETRY_NS 5000000ull
#define ESCAPE_NS     50000000ull /* what an escape sequence's bytes are apart at most */
#define PICTURE_NS    2000000ull
#define PICTURE_ROWS  16u /* at a time */
#define OUT_BYTES     KIB(16)
#define STATUS_BYTES  160

_Static_assert(SCREEN_MAX_COLUMNS >= VGA_MAX_COLUMNS && SCREEN_MAX_ROWS >= VGA_MAX_ROWS, "fits");
_Static_assert(PICTURE_MAX_WIDTH >= VGA_MAX_WIDTH && PICTURE_ROW_BYTES <= OUT_BYTES, "fits");

/* A picture on its way. */
struct picture_job {
    bool active;
    struct vga_screen screen;
    unsigned y;
    uint32_t checksum;
    uint8_t row[2][VGA_MAX_WIDTH * 3];
};

struct vm_screen {
    struct vm *vm;
    bool shown; /* on the console; else there are only pictures of it */
    bool quiet; /* lines of the log are left to be read before the next drawing */
    struct timer draw, type, picture_timer;
    uint64_t log_seen;        /* the log's end when the terminal was last known */
    char said[STATUS_BYTES];  /* what stands there instead of text; "" for text */
    uint64_t escape_deadline; /* when the keys pause */
    struct screen screen;
    struct keys keys;
    struct picture_job picture;
    uint16_t cells[SCREEN_MAX_COLUMNS * SCREEN_MAX_ROWS];
    char out[OUT_BYTES];
};

static void set_timer(struct vm_screen *s, struct timer *t, uint64_t ns)
{
    struct device_host *h = &s->vm->host;

    if (!timer_armed(t))
        h->ops->timer_set(h, t, device_now(h) + clock_from_ns(ns));
}

/* ------------------------------------------------------------------ drawing */

static void changed(void *opaque)
{
    struct vm_screen *s = opaque;

    set_timer(s, &s->draw, DRAW_DELAY_NS);
}

static size_t out_room(void)
{
    return MIN(console_room(), OUT_BYTES);
}

/* Draws as much as the line takes; false: there is more. */
static bool draw_text(struct vm_screen *s, const struct vga_screen *now)
{
    struct screen_text text = {
        .columns = now->columns,
        .rows = now->rows,
        .cursor_column = now->cursor_column,
        .cursor_row = now->cursor_row,
        .cursor = now->cursor,
        .cells = s->cells,
    };
    bool done;

    s->said[0] = '\0';
    for (unsigned row = 0; row < now->rows; row++)
        vga_text_row(s->vm->machine.vga, now, row, s->cells + row * now->columns);
    console_write_raw(s->out, screen_update(&s->screen, &text, s->out, out_room(), &done));
    return done;
}

static void draw_status(struct vm_screen *s, const struct vga_screen *now)
{
    char line[STATUS_BYTES];

    (void)format_text(line, sizeof(line),
                      "[%s: graphics, %ux%u, %u bits per pixel. Ctrl-^ p sends a picture]",
                      s->vm->config.name, now->width, now->height, now->bits);
    if (strcmp(line, s->said) == 0)
        return;
    string_copy(s->said, sizeof(s->said), line);
    console_write_raw(s->out, screen_say(&s->screen, line, s->out, OUT_BYTES));
}

/* Lines of the log have spoilt the terminal: they stand for a while, then all is drawn anew. */
static bool wait_for_reader(struct vm_screen *s)
{
    uint64_t end = console_log_end();

    if (!s->quiet && end != s->log_seen) {
        s->quiet = true;
        return true;
    }
    if (s->quiet) {
        s->said[0] = '\0';
        screen_forget(&s->screen);
    }
    s->quiet = false;
    s->log_seen = end;
    return false;
}

/* What is blank is between two modes, mostly: what was there stays. False: there is more. */
static bool draw_now(struct vm_screen *s)
{
    struct vga_screen screen;

    vga_get_screen(s->vm->machine.vga, &screen);
    if (screen.text && !screen.blank)
        return draw_text(s, &screen);
    if (!screen.blank)
        draw_status(s, &screen);
    return true;
}

static void draw(struct timer *t, UNUSED uint64_t now)
{
    struct vm_screen *s = t->opaque;

    if (s->picture.active || out_room() < 2 * STATUS_BYTES)
        set_timer(s, &s->draw, DRAW_MORE_NS);
    else if (wait_for_reader(s))
        set_timer(s, &s->draw, QUIET_NS);
    else if (!draw_now(s))
        set_timer(s, &s->draw, DRAW_MORE_NS);
    else
        vga_watch(s->vm->machine.vga, changed, s);
}

static void redraw(struct vm_screen *s)
{
    s->log_seen = console_log_end();
    s->said[0] = '\0';
    screen_forget(&s->screen);
    set_timer(s, &s->draw, 0);
}

/* ------------------------------------------------------------------ typing */

/* Gives the keyboard what it takes; the rest waits. */
static void type_keys(struct vm_screen *s)
{
    const uint8_t *codes;
    size_t n, taken;

    do {
        codes = keys_next(&s->keys, &n);
        taken = n == 0 ? 0 : i8042_keyboard_input(&s->vm->machine, codes, n);
        keys_taken(&s->keys, taken);
    } while (taken != 0);
    if (n != 0 || keys_waiting(&s->keys))
        set_timer(s, &s->type, KEYS_RETRY_NS);
}

static void type_later(struct timer *t, UNUSED uint64_t now)
{
    struct vm_screen *s = t->opaque;

    if (keys_waiting(&s->keys) && device_now(&s->vm->host) >= s->escape_deadline)
        keys_pause(&s->keys);
    type_keys(s);
}

static void type_byte(struct vm_screen *s, uint8_t byte)
{
    keys_input(&s->keys, byte);
    s->escape_deadline = device_now(&s->vm->host) + clock_from_ns(ESCAPE_NS);
    type_keys(s);
}

/* ------------------------------------------------------------------ pictures */

static void picture_start(struct vm_screen *s)
{
    struct picture_job *p = &s->picture;

    if (p->active)
        return;
    p->active = true;
    p->y = 0;
    p->checksum = PICTURE_CHECKSUM;
    vga_get_screen(s->vm->machine.vga, &p->screen);
    p->screen.width = MIN(p->screen.width, (unsigned)VGA_MAX_WIDTH);
    console_write_raw(s->out, picture_begin(s->vm->config.name, p->screen.width, p->screen.height,
                                            s->out, OUT_BYTES));
    set_timer(s, &s->picture_timer, 0);
}

/* The guest may change its mode meanwhile: then the picture just ends, and is not whole. */
static bool picture_same_mode(const struct vm_screen *s)
{
    struct vga_screen now;

    vga_get_screen(s->vm->machine.vga, &now);
    return now.width == s->picture.screen.width && now.height == s->picture.screen.height &&
           now.text == s->picture.screen.text && now.bits == s->picture.screen.bits;
}

static void picture_one_row(struct vm_screen *s)
{
    struct picture_job *p = &s->picture;
    uint8_t *row = p->row[p->y & 1], *above = p->y == 0 ? NULL : p->row[~p->y & 1];

    vga_render_line(s->vm->machine.vga, &p->screen, p->y, row);
    console_write_raw(s->out,
                      picture_row(row, above, p->screen.width, &p->checksum, s->out, OUT_BYTES));
    p->y++;
}

static void picture_step(struct timer *t, UNUSED uint64_t now)
{
    struct vm_screen *s = t->opaque;
    struct picture_job *p = &s->picture;
    bool whole = picture_same_mode(s);

    for (unsigned i = 0; i < PICTURE_ROWS && whole && p->y < p->screen.height; i++) {
        if (console_room() < PICTURE_ROW_BYTES)
            break;
        picture_one_row(s);
    }
    if ((whole && p->y < p->screen.height) || console_room() < PICTURE_LINE_BYTES) {
        set_timer(s, &s->picture_timer, PICTURE_NS);
        return;
    }
    p->active = false;
    console_write_raw(s->out, picture_end(p->checksum, s->out, OUT_BYTES));
}

/* ------------------------------------------------------------------ the console */

void vm_screen_key(struct vm *vm, uint8_t key)
{
    struct vm_screen *s = vm->screen;

    if (s == NULL)
        return;
    switch (key) {
    case 'p':
        picture_start(s);
        break;
    case 'r':
        if (s->shown)
            redraw(s);
        break;
    case 'd':
        keys_ctrl_alt_del(&s->keys);
        type_keys(s);
        break;
    default:
        break;
    }
}

bool vm_screen_input(struct vm *vm, uint8_t byte)
{
    struct vm_screen *s = vm->screen;

    if (s == NULL || !s->shown)
        return false;
    type_byte(s, byte);
    return true;
}

void vm_screen_show(struct vm *vm, bool shown)
{
    struct vm_screen *s = vm->screen;

    if (s == NULL || s->shown == shown)
        return;
    s->shown = shown;
    if (shown) {
        vga_watch(vm->machine.vga, changed, s);
        redraw(s);
        return;
    }
    vga_watch(vm->machine.vga, NULL, NULL);
    timerq_cancel(&s->draw);
    console_write_raw(s->out, screen_leave(&s->screen, s->out, OUT_BYTES));
}

int vm_screen_open(struct vm *vm)
{
    struct vm_screen *s;

    if (vm->machine.vga == NULL)
        return 0;
    s = heap_alloc(sizeof(*s));
    if (s == NULL)
        return E_NOMEM;
    vm->screen = s;
    s->vm = vm;
    timer_init(&s->draw, draw, s);
    timer_init(&s->type, type_later, s);
    timer_init(&s->picture_timer, picture_step, s);
    return 0;
}

void vm_screen_close(struct vm *vm)
{
    struct vm_screen *s = vm->screen;

    if (s == NULL)
        return;
    timerq_cancel(&s->draw);
    timerq_cancel(&s->type);
    timerq_cancel(&s->picture_timer);
    if (s->shown)
        console_write_raw(s->out, screen_leave(&s->screen, s->out, OUT_BYTES));
    heap_free(s);
    vm->screen = NULL;
}
