/* What a VM's devices are offered: time, timers, guest memory, the power switch, serial lines. */
#include <stdarg.h>
#include "lib/assert.h"
#include "lib/checked.h"
#include "lib/format.h"
#include "lib/log.h"
#include "lib/string.h"
#include "machine/console.h"
#include "machine/frame.h"
#include "machine/rtc.h"
#include "machine/timer.h"
#include "vm/screen.h"
#include "vm/vm.h"

/* Bytes that the UART or the line could not take are offered again after so long. */
#define SERIAL_RETRY_NS 1000000ull

/* ------------------------------------------------------------------ time */

static uint64_t host_now(struct device_host *h)
{
    return rdtsc() + vm_of_host(h)->tsc_offset;
}

/* The VM's one timer in its CPU's queue follows the soonest of its devices. */
static void arm_next(struct vm *vm)
{
    uint64_t soonest = timerq_next(&vm->timers), host;

    /* A deadline beyond the end of time does not wrap to its beginning. */
    if (soonest == TIMER_NEVER || !checked_add(soonest, -vm->tsc_offset, &host))
        timer_disarm(&vm->next_timer);
    else
        timer_arm(__atomic_load_n(&vm->vcpus[0]->cpu, __ATOMIC_RELAXED), &vm->next_timer, host);
}

static void host_timer_set(struct device_host *h, struct timer *t, uint64_t deadline)
{
    struct vm *vm = vm_of_host(h);

    timerq_set(&vm->timers, t, deadline);
    if (vm->vcpus[0] != NULL)
        arm_next(vm);
}

static void host_timer_cancel(UNUSED struct device_host *h, struct timer *t)
{
    timerq_cancel(t); /* should the VM's timer fire for nothing, it is armed anew then */
}

static void next_timer_fired(struct timer *t, UNUSED uint64_t now)
{
    struct vm *vm = t->opaque;

    loop_work_for(vm);
    spin_lock(&vm->lock);
    timerq_expire(&vm->timers, host_now(&vm->host));
    arm_next(vm);
    spin_unlock(&vm->lock);
    loop_work_done();
}

static uint64_t host_wall_clock(UNUSED struct device_host *h)
{
    return rtc_wall_clock();
}

/* ------------------------------------------------------------------ memory, power, log */

static bool host_dma_read(struct device_host *h, gpa_t from, void *to, size_t n)
{
    return vm_read(vm_of_host(h), from, to, n);
}

static bool host_dma_write(struct device_host *h, gpa_t to, const void *from, size_t n)
{
    return vm_write(vm_of_host(h), to, from, n);
}

static void host_power(struct device_host *h, enum device_power what)
{
    struct vm *vm = vm_of_host(h);

    /* CPUs that are reset go on in firmware, if there is some. */
    if (what == DEVICE_RESET_CPU && vm_has_firmware(vm))
        for (unsigned i = 0; i < vm->vmx.nr_vcpus; i++)
            vcpu_request(vm->vcpus[i], REQUEST_INIT);
    else
        vm_request_end(vm, what == DEVICE_POWER_OFF ? VM_END_POWEROFF : VM_END_RESET);
}

static void host_map_shadow(struct device_host *h, gpa_t start, uint64_t size, bool read,
                            bool write)
{
    vm_firmware_map(vm_of_host(h), start, size, read, write);
}

static void host_log(struct device_host *h, const char *text)
{
    vm_log(vm_of_host(h), "%s", text);
}

static void *host_alloc(UNUSED struct device_host *h, size_t bytes)
{
    return heap_alloc(bytes);
}

static void host_free(UNUSED struct device_host *h, void *p)
{
    if (p != NULL)
        heap_free(p);
}

const struct device_host_ops vm_host_ops = {
    .now = host_now,
    .timer_set = host_timer_set,
    .timer_cancel = host_timer_cancel,
    .dma_read = host_dma_read,
    .dma_write = host_dma_write,
    .power = host_power,
    .map_shadow = host_map_shadow,
    .wall_clock = host_wall_clock,
    .log = host_log,
    .alloc = host_alloc,
    .free = host_free,
    .map_pages = vm_map_pages,
    .unmap_pages = vm_unmap_pages,
};

void vm_log(struct vm *vm, const char *fmt, ...)
{
    char text[256];
    va_list args;

    va_start(args, fmt);
    format_text_v(text, sizeof(text), fmt, args);
    va_end(args);
    log_line("%s: %s", vm->config.name, text);
}

/* ------------------------------------------------------------------ serial */

/* The VM that the operator's keys go to: the first that has its screen or COM1 on the console. */
static struct vm *console_vm;
/* Held while a key is on its way there; comes before vm->lock. */
static struct spinlock console_lock = SPINLOCK_INIT;

static void retry_later(struct vm *vm)
{
    struct timer *t = &vm->serial.retry;

    if (!timer_armed(t))
        host_timer_set(&vm->host, t, host_now(&vm->host) + clock_from_ns(SERIAL_RETRY_NS));
}

/* A finished line of a VM that shares the console or writes to the log. */
static void serial_line(struct vm *vm)
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

static void serial_collect(struct vm *vm, char c)
{
    struct vm_serial *s = &vm->serial;

    if (c == '\r')
        return;
    if (c == '\n' || s->line_len == sizeof(s->line) - 1)
        serial_line(vm);
    if (c != '\n')
        s->line[s->line_len++] = c;
}

static size_t serial_write(void *opaque, const void *data, size_t n)
{
    struct vm *vm = opaque;
    size_t taken;

    if (!vm->serial.prefix && !vm->serial.logged) {
        taken = console_write_raw(data, MIN(n, console_room()));
        if (taken < n)
            retry_later(vm);
        return taken;
    }
    for (size_t i = 0; i < n; i++)
        serial_collect(vm, ((const char *)data)[i]);
    return n;
}

static void serial_feed(struct vm *vm)
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

/* The guest has read from its UART. */
static void serial_room(void *opaque)
{
    serial_feed(opaque);
}

static void serial_retry(struct timer *t, UNUSED uint64_t now)
{
    struct vm *vm = t->opaque;

    machine_serial_resume(&vm->machine, 0);
    serial_feed(vm);
}

/* When the guest does not read for long, the newest bytes are lost. */
static void typed(struct vm *vm, uint8_t byte)
{
    struct vm_serial *s = &vm->serial;

    spin_lock(&vm->lock);
    if (!vm_screen_input(vm, byte)) {
        if (s->input_head - s->input_tail < VM_INPUT_RING)
            s->input[s->input_head++ % VM_INPUT_RING] = byte;
        serial_feed(vm);
    }
    spin_unlock(&vm->lock);
}

/* A byte typed by the operator. */
static void console_input(UNUSED void *opaque, uint8_t byte)
{
    spin_lock(&console_lock);
    if (console_vm != NULL)
        typed(console_vm, byte);
    spin_unlock(&console_lock);
}

/* The screen takes the place of the serial port. */
static bool serial_on_console(const struct vm *vm)
{
    return vm->config.com1 == CONFIG_SERIAL_CONSOLE && vm->config.screen == CONFIG_SCREEN_NONE;
}

static void share_console(struct vm *vm)
{
    if (!serial_on_console(vm) && vm->config.screen == CONFIG_SCREEN_NONE)
        return;
    if (console_vm == NULL) {
        console_vm = vm;
        console_set_input(console_input, NULL);
        return;
    }
    /* Two or more: every line says whose it is. */
    console_vm->serial.prefix = true;
    vm->serial.prefix = true;
}

void vm_host_init(struct vm *vm, struct machine_config *config)
{
    vm->host = (struct device_host){&vm_host_ops, clock_hz()};
    timerq_init(&vm->timers);
    timer_init(&vm->next_timer, next_timer_fired, vm);
    timer_init(&vm->serial.retry, serial_retry, vm);
    vm->serial.logged = vm->config.com1 == CONFIG_SERIAL_LOG;
    if (vm->serial.logged || serial_on_console(vm))
        config->com[0] = (struct chardev){serial_write, vm, serial_room};
    share_console(vm);
}

int vm_host_connect(struct vm *vm)
{
    if (console_vm == vm)
        return vm_screen_open(vm);
    if (vm->config.screen == CONFIG_SCREEN_CONSOLE)
        vm_log(vm, "its screen is not shown: the console is that of %s", console_vm->config.name);
    return 0;
}

void vm_host_disconnect(struct vm *vm)
{
    spin_lock(&console_lock);
    if (console_vm == vm)
        console_vm = NULL;
    spin_unlock(&console_lock);
    spin_lock(&vm->lock);
    vm_screen_close(vm);
    spin_unlock(&vm->lock);
    timer_stop(&vm->next_timer);
    for (unsigned i = 0; i < vm->vmx.nr_vcpus; i++)
        if (vm->vcpus[i] != NULL)
            vcpu_stop_timer(vm->vcpus[i]);
}

void vm_host_destroy(struct vm *vm)
{
    if (vm->serial.line_len > 0)
        serial_line(vm);
}
