#include "vm/serial.h"

#include "lib/format.h"
#include "machine/console.h"
#include "machine/timer.h"
#include "vm/console.h"
#include "vm/vmctl.h"
#include "vm/vm.h"

/* Bytes that the UART or the line could not take are offered again after so long. */
#define SERIAL_RETRY_NS 1000000ull

static void retry_later(struct vm *vm)
{
    struct timer *t = &vm->serial.retry;

    if (!timer_armed(t))
        vm->host.ops->timer_set(&vm->host, t,
                                device_now(&vm->host) + clock_from_ns(SERIAL_RETRY_NS));
}

/* ------------------------------------------------------------------ what it has said */

/*
 * Returns how many bytes were taken: all, unless the line is slow. lines: they are shown by lines,
 * not here.
 */
static size_t ring_write(struct serial_ring *r, const char *data, size_t n, bool lines)
{
    spin_lock(&r->lock);
    if (r->shown && !lines)
        n = console_write_raw(data, MIN(n, console_room()));
    for (size_t i = 0; i < n; i++)
        r->bytes[r->head++ % SERIAL_RING_BYTES] = data[i];
    if (r->shown)
        r->seen = r->head;
    spin_unlock(&r->lock);
    return n;
}

/* Up to the ring's end, at most. */
static void show_some(struct serial_ring *r)
{
    size_t at = r->seen % SERIAL_RING_BYTES;
    size_t n = MIN(r->head - r->seen, SERIAL_RING_BYTES - at);

    (void)console_write_raw(r->bytes + at, n);
    r->seen += n;
}

void serial_ring_show(struct serial_ring *r)
{
    spin_lock(&r->lock);
    if (r->head - r->seen > SERIAL_RING_BYTES)
        r->seen = r->head - SERIAL_RING_BYTES;
    while (r->seen != r->head)
        show_some(r);
    r->shown = true;
    spin_unlock(&r->lock);
}

void serial_ring_hide(struct serial_ring *r)
{
    spin_lock(&r->lock);
    r->shown = false;
    spin_unlock(&r->lock);
}

/* ------------------------------------------------------------------ output */

/* A finished line of a VM that shares the console or writes to the log. */
static void write_line(struct vm *vm)
{
    struct vm_serial *s = &vm->serial;

    s->line[s->line_len] = '\0';
    if (s->logged) {
        vm_log(vm, "com1: %s", s->line);
    } else {
        char text[sizeof(s->line) + CONFIG_NAME_MAX + 8];
        size_t n = format_text(text, sizeof(text), "[%s] %s\r\n", vm->config.name, s->line);

        console_write_raw(text, MIN(n, sizeof(text) - 1));
    }
    s->line_len = 0;
}

static void collect(struct vm *vm, char c)
{
    struct vm_serial *s = &vm->serial;

    if (c == '\r')
        return;
    if (c == '\n' || s->line_len == sizeof(s->line) - 1)
        write_line(vm);
    if (c != '\n')
        s->line[s->line_len++] = c;
}

static void collect_all(struct vm *vm, const char *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        collect(vm, data[i]);
}

static size_t serial_write(void *opaque, const void *data, size_t n)
{
    struct vm *vm = opaque;
    struct serial_ring *r = &vm->control->console;
    size_t taken;

    if (vm->serial.logged) {
        collect_all(vm, data, n);
        return n;
    }
    if (console_is_shared()) {
        (void)ring_write(r, data, n, true);
        collect_all(vm, data, n);
        return n;
    }
    taken = ring_write(r, data, n, false);
    if (taken < n)
        retry_later(vm);
    return taken;
}

/* ------------------------------------------------------------------ input */

static void feed(struct vm *vm)
{
    struct vm_serial *s = &vm->serial;

    while (s->input_tail != s->input_head) {
        uint8_t byte = s->input[s->input_tail % VM_INPUT_RING];

        if (machine_serial_input(&vm->machine, 0, &byte, 1) == 0) {
            retry_later(vm);
            return;
        }
        s->input_tail++;
    }
}

/* When the guest does not read for long, the newest bytes are lost. */
void vm_serial_type(struct vm *vm, uint8_t byte)
{
    struct vm_serial *s = &vm->serial;

    if (s->input_head - s->input_tail < VM_INPUT_RING)
        s->input[s->input_head++ % VM_INPUT_RING] = byte;
    if (vm->frozen_at != 0)
        retry_later(vm); /* once its time goes on */
    else
        feed(vm);
}

/* The guest has read from its UART. */
static void serial_room(void *opaque)
{
    feed(opaque);
}

static void serial_retry(struct timer *t, UNUSED uint64_t now)
{
    struct vm *vm = t->opaque;

    machine_serial_resume(&vm->machine, 0);
    feed(vm);
}

/* ------------------------------------------------------------------ life */

/* The screen takes the place of the serial port. */
bool vm_serial_on_console(const struct vm *vm)
{
    return vm->config.com1 == CONFIG_SERIAL_CONSOLE && vm->config.screen == CONFIG_SCREEN_NONE;
}

void vm_serial_init(struct vm *vm, struct machine_config *config)
{
    timer_init(&vm->serial.retry, serial_retry, vm);
    vm->serial.logged = vm->config.com1 == CONFIG_SERIAL_LOG;
    if (vm->serial.logged || vm_serial_on_console(vm))
        config->com[0] = (struct chardev){serial_write, vm, serial_room};
}

void vm_serial_destroy(struct vm *vm)
{
    if (vm->serial.line_len > 0 && (vm->serial.logged || console_is_shared()))
        write_line(vm);
}
