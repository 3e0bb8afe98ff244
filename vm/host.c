/* What a VM's devices are offered: time, timers, guest memory, the power switch, serial lines. */
#include <stdarg.h>
#include "lib/assert.h"
#include "lib/checked.h"
#include "lib/format.h"
#include "lib/log.h"
#include "lib/string.h"
#include "machine/frame.h"
#include "machine/rtc.h"
#include "machine/timer.h"
#include "vm/console.h"
#include "vm/screen.h"
#include "vm/serial.h"
#include "vm/vm.h"

/* ------------------------------------------------------------------ time */

static uint64_t host_now(struct device_host *h)
{
    const struct vm *vm = vm_of_host(h);

    return (unlikely(vm->frozen_at != 0) ? vm->frozen_at : rdtsc()) + vm->tsc_offset;
}

/* The VM's one timer in its CPU's queue follows the soonest of its devices. */
static void arm_next(struct vm *vm)
{
    uint64_t soonest = timerq_next(&vm->timers), host;

    /* A deadline beyond the end of time does not wrap to its beginning. */
    if (soonest == TIMER_NEVER || vm->frozen_at != 0 ||
        !checked_add(soonest, -vm->tsc_offset, &host))
        timer_disarm(&vm->next_timer);
    else
        timer_arm(__atomic_load_n(&vm->vcpus[0]->cpu, __ATOMIC_RELAXED), &vm->next_timer, host);
}

void vm_host_arm_timers(struct vm *vm)
{
    arm_next(vm);
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

/* ------------------------------------------------------------------ from beginning to end */

void vm_host_init(struct vm *vm, struct machine_config *config)
{
    vm->host = (struct device_host){&vm_host_ops, clock_hz()};
    timerq_init(&vm->timers);
    timer_init(&vm->next_timer, next_timer_fired, vm);
    vm_serial_init(vm, config);
    console_join(vm->control);
}

int vm_host_connect(struct vm *vm)
{
    int error = vm_screen_open(vm);

    if (error == 0)
        console_connect(vm->control);
    return error;
}

void vm_host_disconnect(struct vm *vm)
{
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
    vm_serial_destroy(vm);
}
