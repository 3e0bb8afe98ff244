#include "vm/operator.h"

#include "lib/format.h"
#include "lib/string.h"
#include "machine/console.h"
#include "monitor/line.h"

#define PROMPT       "tithe> "
#define WELCOME      "\r\n[monitor. `help` lists the commands, Ctrl-^ 1 to 9: VMs' consoles]\r\n"
#define CLEAR_SCREEN "\x1b[2J\x1b[H"
#define BELL         "\a"

_Static_assert(LINE_DRAW_BYTES <= CONSOLE_PROMPT, "the line is the console's prompt");

static struct {
    bool active;
    struct line line;
} operator;

/* ------------------------------------------------------------------ output */

static void put(const char *text)
{
    (void)console_write_raw(text, strlen(text));
}

/* Terminals want a carriage return too. */
static void put_lines(const char *text)
{
    const char *end;

    while ((end = strchr(text, '\n')) != NULL) {
        (void)console_write_raw(text, (size_t)(end - text));
        put("\r\n");
        text = end + 1;
    }
    put(text);
}

void operator_print(const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    (void)format_text_v(text, sizeof(text), fmt, args);
    va_end(args);
    put_lines(text);
}

void operator_redraw(void)
{
    char text[LINE_DRAW_BYTES];
    size_t n = line_draw(&operator.line, text);

    (void)console_write_raw(text, n);
    console_set_prompt(text, n);
}

void operator_enter(void)
{
    if (operator.line.prompt == NULL)
        line_init(&operator.line, PROMPT);
    operator.active = true;
    put(WELCOME);
    operator_redraw();
}

void operator_leave(void)
{
    operator.active = false;
    console_set_prompt("", 0);
}

/* ------------------------------------------------------------------ lines */

/* The command may have given the terminal to somebody else. */
static void next_line(bool remember)
{
    line_next(&operator.line, remember);
    if (operator.active)
        operator_redraw();
}

static void run_line(void)
{
    char text[LINE_BYTES], error[200];

    (void)string_copy(text, sizeof(text), operator.line.text);
    put("\r\n");
    console_set_prompt("", 0);
    if (!command_run(&operator_commands, text, error, sizeof(error)))
        operator_print("error: %s\n", error);
    next_line(true);
}

static void complete(void)
{
    struct command_completion c;

    command_complete(&operator_commands, operator.line.text, operator.line.cursor, &c);
    if (c.count > 1 && c.add[0] == '\0')
        operator_print("\n%s\n", c.list);
    line_insert(&operator.line, c.add, strlen(c.add));
    if (c.count == 0)
        put(BELL);
    operator_redraw();
}

void operator_input(uint8_t byte)
{
    switch (line_input(&operator.line, byte)) {
    case LINE_CHANGED:
        operator_redraw();
        break;
    case LINE_BELL:
        put(BELL);
        break;
    case LINE_ENTERED:
        run_line();
        break;
    case LINE_CANCELED:
        put("^C\r\n");
        next_line(false);
        break;
    case LINE_COMPLETE:
        complete();
        break;
    case LINE_CLEAR:
        put(CLEAR_SCREEN);
        operator_redraw();
        break;
    default:
        break;
    }
}
