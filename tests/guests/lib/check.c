#include "check.h"
#include "power.h"
#include "x86.h"
#include "lib/format.h"

#define COM1          0x3f8
#define UART_IER      1
#define UART_FCR      2
#define UART_LCR      3
#define UART_MCR      4
#define UART_LSR      5
#define LSR_THR_EMPTY 0x20
#define LSR_IDLE      0x40
#define LCR_8N1       0x03
#define LCR_DLAB      0x80

#define LINE_MAX 256

static unsigned passed, failed;
static char buffer[8192];
static unsigned buffered;

void console_init(void)
{
    out8(COM1 + UART_IER, 0);
    out8(COM1 + UART_LCR, LCR_DLAB);
    out8(COM1, 1); /* 115200 baud */
    out8(COM1 + 1, 0);
    out8(COM1 + UART_LCR, LCR_8N1);
    out8(COM1 + UART_FCR, 0);
    out8(COM1 + UART_MCR, 3);
}

static void console_char(char c)
{
    while (!(in8(COM1 + UART_LSR) & LSR_THR_EMPTY))
        ;
    out8(COM1, (uint8_t)c);
}

void console_flush(void)
{
    for (unsigned i = 0; i < buffered; i++)
        console_char(buffer[i]);
    buffered = 0;
}

void console_print(const char *fmt, ...)
{
    size_t room = sizeof(buffer) - buffered, length;
    va_list args;

    if (room < LINE_MAX) {
        console_flush();
        room = sizeof(buffer);
    }
    va_start(args, fmt);
    length = format_text_v(buffer + buffered, room, fmt, args);
    va_end(args);
    buffered += (unsigned)MIN(length, room - 1);
}

void console_drain(void)
{
    console_flush();
    while (!(in8(COM1 + UART_LSR) & LSR_IDLE))
        ;
}

void check_group(void (*checks)(void))
{
    checks();
    console_flush();
}

bool check_report(const char *name, const char *file, int line, bool ok, uint64_t got,
                  uint64_t want)
{
    if (ok) {
        passed++;
        console_print("ok %s\n", name);
        return true;
    }
    failed++;
    console_print("FAIL %s %s:%d got %#lx want %#lx\n", name, file, line, got, want);
    return false;
}

bool check_near(const char *name, const char *file, int line, uint64_t got, uint64_t want,
                unsigned percent)
{
    uint64_t slack = want / 100 * percent + want % 100 * percent / 100;

    return check_report(name, file, line, got >= want - slack && got <= want + slack, got, want);
}

void check_info(const char *name, uint64_t value)
{
    console_print("info %s %#lx\n", name, value);
}

void check_skip(const char *name, const char *why)
{
    console_print("skip %s %s\n", name, why);
}

void check_finish(void)
{
    console_print("%u passed, %u failed\n", passed, failed);
    console_drain();
    power_off();
}
