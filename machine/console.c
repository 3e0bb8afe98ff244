/*
 * The log and the console: every line goes to the log ring, the serial line's ring and the screen.
 * A line that does not fit into the serial ring is dropped there as a whole and counted; the log
 * ring has it all the same. Nothing waits for the line, but in a panic.
 */
#include "lib/format.h"
#include "lib/log.h"
#include "lib/string.h"
#include "machine/bootinfo.h"
#include "machine/console.h"
#include "machine/console_init.h"
#include "machine/cpu.h"
#include "machine/frame.h"
#include "machine/interrupt.h"
#include "machine/apic.h"
#include "machine/percpu.h"
#include "machine/screen.h"
#include "machine/serial.h"

#define LOG_RING       KIB(64)
#define LINE_MAX       512
#define PREFIX         "tithe: "
#define RAW_RESERVE    KIB(8) /* of the serial ring, which guests' output leaves to the log */
#define ERASE_ROW      "\r\x1b[K"
#define UNLOCKED       0 /* else the holder's index + 1 */
#define VGA_TEXT       0xb8000
#define IRQ_ROUNDS_MAX 64 /* what one interrupt handles, so that a broken port cannot hold us */

static struct {
    /*
     * The CPU that holds the console. Unlike other locks, this one can meet its own holder: an
     * NMI or an assertion may want to say something in the middle of a line.
     */
    uint32_t holder;
    bool panic;
    bool sync; /* "console=sync": wait for the line after every line, for debugging */
    uint64_t log_head;
    char log[LOG_RING];
    struct console_stats stats;
    uint64_t drops_told;
    char prompt[CONSOLE_PROMPT];
    size_t prompt_len;
    void (*input)(void *opaque, uint8_t byte);
    void *input_opaque;
} console;

/* ------------------------------------------------------------ locking */

/* False: this CPU holds it already, or another CPU does and panics. */
static bool lock(void)
{
    uint32_t self = this_cpu()->index + 1, holder;

    for (;;) {
        holder = UNLOCKED;
        if (__atomic_compare_exchange_n(&console.holder, &holder, self, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return true;
        if (holder == self)
            return false;
        cpu_pause();
    }
}

static void unlock(void)
{
    __atomic_store_n(&console.holder, UNLOCKED, __ATOMIC_RELEASE);
}

void console_panic(void)
{
    console.panic = true;
    /* A short wait for a line that another CPU is in the middle of. */
    for (unsigned i = 0; i < 100000; i++) {
        if (__atomic_load_n(&console.holder, __ATOMIC_RELAXED) == UNLOCKED)
            break;
        cpu_pause();
    }
    unlock();
    serial_flush(&serial_com1);
}

/* ------------------------------------------------------------ output */

static void log_append(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        console.log[console.log_head++ % LOG_RING] = text[i];
}

/* Once there is room again, says how much is missing. */
static void tell_drops(void)
{
    char text[80];
    uint64_t n = console.stats.lines_dropped - console.drops_told;
    size_t len;

    if (n == 0)
        return;
    len = format_text(text, sizeof(text), PREFIX "%lu lines are missing here\r\n", n);
    if (serial_room(&serial_com1) < len + LINE_MAX)
        return;
    serial_put(&serial_com1, text, len);
    console.drops_told += n;
}

static void put_above_prompt(const char *text, size_t n)
{
    if (console.prompt_len > 0)
        serial_put(&serial_com1, ERASE_ROW, sizeof(ERASE_ROW) - 1);
    serial_put(&serial_com1, text, n);
    serial_put(&serial_com1, console.prompt, console.prompt_len);
}

void console_set_prompt(const char *text, size_t n)
{
    if (!lock())
        return;
    console.prompt_len = MIN(n, sizeof(console.prompt));
    memcpy(console.prompt, text, console.prompt_len);
    unlock();
}

/* text ends with "\r\n"; the log has no use for the "\r". */
static void put_line(const char *text, size_t n)
{
    log_append(text, n - 2);
    log_append("\n", 1);
    screen_put(text, n);
    tell_drops();
    if (serial_room(&serial_com1) >= n + sizeof(ERASE_ROW) + console.prompt_len)
        put_above_prompt(text, n);
    else
        console.stats.lines_dropped++;
    if (console.panic || console.sync)
        serial_flush(&serial_com1);
    else
        serial_pump(&serial_com1);
}

void log_line_v(const char *fmt, va_list args)
{
    char text[LINE_MAX] = PREFIX;
    size_t start = sizeof(PREFIX) - 1, n;

    /* Two bytes are kept for the line's end; text that is longer is cut. */
    n = format_text_v(text + start, sizeof(text) - start - 2, fmt, args);
    n = start + MIN(n, sizeof(text) - start - 3);
    text[n++] = '\r';
    text[n++] = '\n';
    if (!lock()) {
        console.stats.lines_dropped++;
        return;
    }
    put_line(text, n);
    unlock();
}

void log_line(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    log_line_v(fmt, args);
    va_end(args);
}

size_t console_room(void)
{
    size_t room = serial_room(&serial_com1);

    return room > RAW_RESERVE ? room - RAW_RESERVE : 0;
}

size_t console_write_raw(const void *data, size_t n)
{
    size_t taken = 0;

    if (lock()) {
        taken = serial_put(&serial_com1, data, MIN(n, console_room()));
        serial_pump(&serial_com1);
        console.stats.bytes_dropped += n - taken;
        unlock();
    }
    return taken;
}

void console_poll(void)
{
    if (lock()) {
        serial_pump(&serial_com1);
        unlock();
    }
}

void console_flush(void)
{
    if (lock()) {
        serial_flush(&serial_com1);
        unlock();
    }
}

size_t console_log_read(uint64_t *pos, char *buf, size_t size)
{
    size_t n = 0;

    if (!lock())
        return 0;
    if (console.log_head > LOG_RING)
        *pos = MAX(*pos, console.log_head - LOG_RING);
    for (; n < size && *pos < console.log_head; n++)
        buf[n] = console.log[(*pos)++ % LOG_RING];
    unlock();
    return n;
}

uint64_t console_log_end(void)
{
    return __atomic_load_n(&console.log_head, __ATOMIC_RELAXED);
}

struct console_stats console_stats(void)
{
    return console.stats;
}

/* ------------------------------------------------------------ input */

void console_set_input(void (*input)(void *opaque, uint8_t byte), void *opaque)
{
    /* Before the function is there, its argument must be. */
    console.input_opaque = opaque;
    __atomic_store_n(&console.input, input, __ATOMIC_RELEASE);
}

static void handle_input(void)
{
    void (*input)(void *opaque, uint8_t byte) = __atomic_load_n(&console.input, __ATOMIC_ACQUIRE);
    int byte;

    for (unsigned i = 0; i < IRQ_ROUNDS_MAX && (byte = serial_get(&serial_com1)) >= 0; i++)
        if (input != NULL)
            input(console.input_opaque, (uint8_t)byte);
}

/* Input is handled without the lock: it may well answer. */
static void serial_interrupt(unsigned vector)
{
    (void)vector;
    for (unsigned i = 0; i < IRQ_ROUNDS_MAX && serial_pending(&serial_com1); i++) {
        handle_input();
        console_poll();
    }
}

/* ------------------------------------------------------------ bring-up */

void console_init(void)
{
    serial_init(&serial_com1);
}

void console_init_screen(void)
{
    const struct boot_framebuffer *fb = &bootinfo()->fb;
    char how[16];

    if (bootinfo_option("console", how, sizeof(how)))
        console.sync = strcmp(how, "sync") == 0;
    if (fb->kind == BOOT_FB_NONE && bootinfo()->efi)
        return;
    screen_init(fb, hpa_ptr(fb->kind == BOOT_FB_RGB ? fb->base : HPA(VGA_TEXT)));
    if (lock()) {
        screen_put(console.log, MIN(console.log_head, LOG_RING));
        unlock();
    }
}

void console_init_interrupts(void)
{
    interrupt_register(HOST_VECTOR_IRQ + SERIAL_COM1_IRQ, serial_interrupt);
    if (interrupt_enable_isa(SERIAL_COM1_IRQ))
        serial_enable_interrupts(&serial_com1);
}
