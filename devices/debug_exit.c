/*
 * A port that ends the VM, for test kernels that have no ACPI: QEMU's isa-debug-exit (its manual,
 * "-device isa-debug-exit"). A write of v turns the VM off and puts (v << 1) | 1 into its log,
 * which is never 0, so that it cannot be taken for a guest that turned itself off in the usual way.
 * There only when the configuration asks for it.
 */
#include "devices/bus.h"
#include "devices/machine.h"
#include "lib/format.h"

#define EXIT_PORT  0x501
#define EXIT_PORTS 4

struct debug_exit {
    struct device device;
    bool asked; /* the VM is on its way off: what else is written before it stops says nothing */
};

static struct debug_exit *to_debug_exit(struct device *d)
{
    return container_of(d, struct debug_exit, device);
}

static uint64_t exit_read(void *opaque UNUSED, uint64_t offset UNUSED, unsigned size UNUSED)
{
    return 0;
}

static void exit_write(void *opaque, uint64_t offset UNUSED, unsigned size UNUSED, uint64_t value)
{
    struct debug_exit *e = opaque;
    struct device_host *host = e->device.machine->host;
    char text[40];

    if (e->asked)
        return;
    e->asked = true;
    (void)format_text(text, sizeof(text), "debug exit %lu", value << 1 | 1);
    host->ops->log(host, text);
    host->ops->power(host, DEVICE_POWER_OFF);
}

static const struct bus_ops exit_ops = {exit_read, exit_write, 1 | 2 | 4};

static int debug_exit_create(struct device *d, struct machine *m)
{
    if (!m->config.debug_exit)
        return E_NODEV;
    return bus_add_ports(m->bus, EXIT_PORT, EXIT_PORTS, "debug-exit", &exit_ops, to_debug_exit(d));
}

static void debug_exit_reset(struct device *d)
{
    to_debug_exit(d)->asked = false;
}

static void debug_exit_save(struct device *d, struct device_state *s)
{
    uint8_t asked = to_debug_exit(d)->asked;

    device_state_put(s, &asked, sizeof(asked));
}

static bool debug_exit_load(struct device *d, struct device_state *s)
{
    uint8_t asked;

    device_state_get(s, &asked, sizeof(asked));
    if (s->failed || asked > 1)
        return false;
    to_debug_exit(d)->asked = asked;
    return true;
}

static const struct device_class debug_exit_class = {
    .name = "debug-exit",
    .size = sizeof(struct debug_exit),
    .order = DEVICE_ORDER_PERIPHERAL,
    .create = debug_exit_create,
    .reset = debug_exit_reset,
    .save = debug_exit_save,
    .load = debug_exit_load,
};
DEVICE_CLASS(debug_exit_class);
