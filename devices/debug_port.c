/*
 * Ports for diagnosis: POST codes (0x80), the delay port that Linux uses (0xED), and a console for
 * firmware at 0xE9 (as in Bochs) and 0x402 (as in QEMU), which writes lines to the VM's log.
 */
#include "devices/bus.h"
#include "devices/debug_port.h"
#include "devices/machine.h"

#define PORT_POST      0x80
#define PORT_DELAY     0xed
#define PORT_CONSOLE   0xe9
#define PORT_CONSOLE_2 0x402
#define CONSOLE_HERE   0xe9 /* what reading a console port gives, so that firmware finds it */
#define LINE_MAX       120

struct debug_port {
    struct device device;
    uint8_t post;
    uint8_t posted; /* whether one was written */
    uint8_t length; /* of line */
    char line[LINE_MAX + 1];
};

static struct debug_port *to_debug_port(struct device *d)
{
    return container_of(d, struct debug_port, device);
}

static void flush_line(struct debug_port *p)
{
    struct device_host *host = p->device.machine->host;

    p->line[p->length] = '\0';
    if (p->length != 0)
        host->ops->log(host, p->line);
    p->length = 0;
}

static uint64_t post_read(void *opaque, uint64_t offset UNUSED, unsigned size UNUSED)
{
    return ((const struct debug_port *)opaque)->post;
}

static void post_write(void *opaque, uint64_t offset UNUSED, unsigned size UNUSED, uint64_t value)
{
    struct debug_port *p = opaque;

    p->post = (uint8_t)value;
    p->posted = 1;
}

bool debug_port_post(const struct debug_port *p, uint8_t *code)
{
    *code = p->post;
    return p->posted;
}

static uint64_t delay_read(void *opaque UNUSED, uint64_t offset UNUSED, unsigned size UNUSED)
{
    return UINT8_MAX;
}

static void delay_write(void *opaque UNUSED, uint64_t offset UNUSED, unsigned size UNUSED,
                        uint64_t value UNUSED)
{
}

static uint64_t console_read(void *opaque UNUSED, uint64_t offset UNUSED, unsigned size UNUSED)
{
    return CONSOLE_HERE;
}

/* Nothing that controls a terminal gets into the log. */
static void console_write(void *opaque, uint64_t offset UNUSED, unsigned size UNUSED,
                          uint64_t value)
{
    struct debug_port *p = opaque;
    char c = (char)value;

    if (c == '\n') {
        flush_line(p);
    } else if (c != '\r') {
        p->line[p->length++] = c == '\t' ? ' ' : c < ' ' || c > '~' ? '?' : c;
        if (p->length == LINE_MAX)
            flush_line(p);
    }
}

static const struct bus_ops post_ops = {post_read, post_write, 1};
static const struct bus_ops delay_ops = {delay_read, delay_write, 1};
static const struct bus_ops console_ops = {console_read, console_write, 1};

static int debug_port_create(struct device *d, struct machine *m)
{
    struct debug_port *p = to_debug_port(d);
    int err = bus_add_ports(m->bus, PORT_POST, 1, "post", &post_ops, p);

    if (err == 0)
        err = bus_add_ports(m->bus, PORT_DELAY, 1, "delay", &delay_ops, p);
    if (err == 0 && m->config.debug_console)
        err = bus_add_ports(m->bus, PORT_CONSOLE, 1, "debug-console", &console_ops, p);
    if (err == 0 && m->config.debug_console)
        err = bus_add_ports(m->bus, PORT_CONSOLE_2, 1, "debug-console-2", &console_ops, p);
    if (err == 0)
        m->debug_port = p;
    return err;
}

static void debug_port_reset(struct device *d)
{
    struct debug_port *p = to_debug_port(d);

    flush_line(p);
    p->post = 0;
    p->posted = 0;
}

static void debug_port_destroy(struct device *d)
{
    flush_line(to_debug_port(d));
}

static void debug_port_save(struct device *d, struct device_state *s)
{
    struct debug_port *p = to_debug_port(d);

    device_state_put(s, &p->post, sizeof(p->post));
    device_state_put(s, &p->posted, sizeof(p->posted));
    device_state_put(s, &p->length, sizeof(p->length));
    device_state_put(s, p->line, sizeof(p->line));
}

static bool debug_port_load(struct device *d, struct device_state *s)
{
    struct debug_port *p = to_debug_port(d);

    device_state_get(s, &p->post, sizeof(p->post));
    device_state_get(s, &p->posted, sizeof(p->posted));
    device_state_get(s, &p->length, sizeof(p->length));
    device_state_get(s, p->line, sizeof(p->line));
    if (p->length >= LINE_MAX || p->posted > 1) {
        p->length = 0;
        p->posted = 0;
        s->failed = true;
    }
    return !s->failed;
}

static const struct device_class debug_port_class = {
    .name = "debug-port",
    .size = sizeof(struct debug_port),
    .order = DEVICE_ORDER_PERIPHERAL,
    .create = debug_port_create,
    .reset = debug_port_reset,
    .save = debug_port_save,
    .load = debug_port_load,
    .destroy = debug_port_destroy,
};
DEVICE_CLASS(debug_port_class);
