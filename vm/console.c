#include "vm/console.h"

#include "lib/format.h"
#include "machine/console.h"
#include "vm/vmctl.h"
#include "vm/operator.h"
#include "vm/screen.h"
#include "vm/vm.h"

/* Typed, and not looked at yet; a power of two. What is more is lost. */
#define INPUT_BYTES 1024

static struct {
    struct spinlock lock; /* of the input */
    uint8_t input[INPUT_BYTES];
    unsigned head, tail;
    struct job typed;
    bool escape;          /* the escape was typed, its key comes next */
    bool together;        /* nobody has switched yet */
    unsigned sharing;     /* VMs that write to the terminal while that is so */
    bool monitor;         /* the monitor has the terminal */
    struct vmctl *viewed; /* who has it otherwise, and gets what is typed */
} console;

/* ------------------------------------------------------------------ who has it */

bool console_is_shared(void)
{
    return __atomic_load_n(&console.together, __ATOMIC_RELAXED) &&
           __atomic_load_n(&console.sharing, __ATOMIC_RELAXED) > 1;
}

static bool has_screen(const struct vmctl *c)
{
    return c->config.screen == CONFIG_SCREEN_CONSOLE;
}

static bool has_console(const struct vmctl *c)
{
    return has_screen(c) || c->config.com1 == CONFIG_SERIAL_CONSOLE;
}

static void say(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void say(const char *fmt, ...)
{
    char text[160];
    va_list args;
    size_t n;

    va_start(args, fmt);
    n = format_text_v(text, sizeof(text), fmt, args);
    va_end(args);
    (void)console_write_raw(text, MIN(n, sizeof(text) - 1));
}

static void show_screen(struct vmctl *c, bool shown)
{
    if (c->vm == NULL || !has_screen(c))
        return;
    spin_lock(&c->vm->lock);
    vm_screen_show(c->vm, shown);
    spin_unlock(&c->vm->lock);
}

/* From now on one at a time. */
static void separate(void)
{
    __atomic_store_n(&console.together, false, __ATOMIC_RELAXED);
    for (unsigned i = 1; i <= vmctl_count(); i++)
        serial_ring_hide(&vmctl_at(i)->console);
}

static void take_away(void)
{
    separate();
    if (console.viewed != NULL)
        show_screen(console.viewed, false);
    if (console.monitor)
        operator_leave();
    console.viewed = NULL;
    console.monitor = false;
}

void console_show_monitor(void)
{
    if (console.monitor)
        return;
    take_away();
    console.monitor = true;
    operator_enter();
}

const char *console_show(struct vmctl *c)
{
    if (!has_console(c))
        return "it has no console (com1 and screen say so in its configuration)";
    if (c->vm == NULL && c->console.head == c->console.seen)
        return "it is not running (`start` starts it)";
    take_away();
    say("\r\n[%s: console. Ctrl-^ m: the monitor, Ctrl-^ ?: other keys]\r\n", c->config.name);
    serial_ring_show(&c->console);
    if (c->vm == NULL) { /* its last words */
        serial_ring_hide(&c->console);
        say("\r\n[%s is not running]", c->config.name);
        console_show_monitor();
        return NULL;
    }
    console.viewed = c;
    show_screen(c, true);
    if (c->vm->state == VM_PAUSED)
        say("[%s is suspended]\r\n", c->config.name);
    return NULL;
}

void console_join(struct vmctl *c)
{
    if (!has_console(c))
        return;
    if (console.together) {
        if (!c->console.shown)
            __atomic_fetch_add(&console.sharing, 1, __ATOMIC_RELAXED);
        serial_ring_show(&c->console);
        if (console.viewed == NULL)
            console.viewed = c;
    }
}

void console_connect(struct vmctl *c)
{
    if (console.viewed == c)
        show_screen(c, true);
    else if (has_screen(c))
        vm_log(c->vm, "its screen is not shown: the console is that of %s (Ctrl-^ %u shows it)",
               console.viewed != NULL ? console.viewed->config.name : "the monitor", c->number);
}

void console_gone(struct vmctl *c)
{
    if (console.viewed != c || console.together)
        return;
    say("\r\n[%s is not running any more]", c->config.name);
    console_show_monitor();
}

/* ------------------------------------------------------------------ keys */

static void give(uint8_t byte)
{
    struct vmctl *c = console.viewed;

    if (console.monitor)
        operator_input(byte);
    if (c == NULL || c->vm == NULL)
        return;
    spin_lock(&c->vm->lock);
    if (!vm_screen_input(c->vm, byte))
        vm_serial_type(c->vm, byte);
    spin_unlock(&c->vm->lock);
}

static void help(void)
{
    say("\r\n[Ctrl-^ and m: monitor; 1 to 9: that VM; p: picture; r: redraw; d: Ctrl-Alt-Del; "
        "Ctrl-^: itself]\r\n");
    if (console.monitor)
        operator_redraw();
}

static void show_number(unsigned number)
{
    struct vmctl *c = vmctl_at(number);
    const char *why = "there is no such VM";

    if (c != NULL)
        why = console_show(c);
    if (why == NULL)
        return;
    say("\r\n[VM %u: %s]\r\n", number, why);
    if (console.monitor)
        operator_redraw();
}

static void screen_key(uint8_t key)
{
    struct vmctl *c = console.viewed;

    if (c == NULL || c->vm == NULL)
        return;
    spin_lock(&c->vm->lock);
    vm_screen_key(c->vm, key);
    spin_unlock(&c->vm->lock);
}

/* The key after the escape. */
static void escaped(uint8_t key)
{
    if (key == CONSOLE_ESCAPE)
        give(key);
    else if (key == 'm')
        console_show_monitor();
    else if (key == '?')
        help();
    else if (key >= '1' && key <= '9')
        show_number(key - '0');
    else
        screen_key(key);
}

static void handle(uint8_t byte)
{
    if (console.escape) {
        console.escape = false;
        escaped(byte);
    } else if (byte == CONSOLE_ESCAPE) {
        console.escape = true;
    } else {
        give(byte);
    }
}

static bool next_byte(uint8_t *byte)
{
    bool have;

    spin_lock(&console.lock);
    have = console.tail != console.head;
    if (have)
        *byte = console.input[console.tail++ % INPUT_BYTES];
    spin_unlock(&console.lock);
    return have;
}

static void typed(UNUSED struct job *j)
{
    uint8_t byte;

    for (unsigned i = 0; i < INPUT_BYTES && next_byte(&byte); i++)
        handle(byte);
}

/* In an interrupt. */
static void received(UNUSED void *opaque, uint8_t byte)
{
    spin_lock(&console.lock);
    if (console.head - console.tail < INPUT_BYTES)
        console.input[console.head++ % INPUT_BYTES] = byte;
    spin_unlock(&console.lock);
    job_post(&console.typed);
}

void console_start(void)
{
    console.typed.run = typed;
    console.together = !vmctl_stays();
    console_set_input(received, NULL);
    if (!console.together)
        console_show_monitor();
}
