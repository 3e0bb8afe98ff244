/*
 * The keyboard controller of a PC (Intel 8042 with the PS/2 firmware: IBM PS/2 Hardware Interface
 * Technical Reference), a keyboard, a mouse that nobody moves, and system control port A (0x92).
 *
 * There is one output buffer towards the guest. The controller's own answers go first, then the
 * keyboard's bytes, then the mouse's; what has to wait stays in its queue.
 */
#include "devices/i8042.h"

#include "devices/bus.h"
#include "devices/ps2.h"
#include "lib/string.h"

#define PORT_DATA      0x60
#define PORT_COMMAND   0x64
#define PORT_CONTROL_A 0x92
#define KEYBOARD_IRQ   1
#define MOUSE_IRQ      12

/* Status register. */
#define STATUS_OUTPUT_FULL 0x01
#define STATUS_SYSTEM      0x04 /* as the command byte's bit */
#define STATUS_COMMAND     0x08 /* the last byte written went to port 0x64 */
#define STATUS_NOT_LOCKED  0x10 /* the key lock */
#define STATUS_MOUSE       0x20 /* the output buffer's byte is from the mouse */

/* Command byte. */
#define CB_KEYBOARD_IRQ 0x01
#define CB_MOUSE_IRQ    0x02
#define CB_SYSTEM       0x04
#define CB_KEYBOARD_OFF 0x10
#define CB_MOUSE_OFF    0x20
#define CB_TRANSLATE    0x40 /* scan code set 2 to set 1 */
#define CB_MASK         0x77
/* As a BIOS leaves it. */
#define CB_RESET (CB_KEYBOARD_IRQ | CB_SYSTEM | CB_MOUSE_OFF | CB_TRANSLATE)

/* Output port. */
#define OUTPUT_NOT_RESET    0x01
#define OUTPUT_A20          0x02
#define OUTPUT_KEYBOARD_IRQ 0x10
#define OUTPUT_MOUSE_IRQ    0x20

/* Port 0x92. */
#define CONTROL_RESET 0x01
#define CONTROL_A20   0x02

/* Commands to the controller, on port 0x64. */
enum {
    CMD_READ_RAM = 0x20, /* to 0x3f; 0x20 is the command byte */
    CMD_WRITE_RAM = 0x60,
    CMD_MOUSE_DISABLE = 0xa7,
    CMD_MOUSE_ENABLE = 0xa8,
    CMD_MOUSE_TEST = 0xa9,
    CMD_SELF_TEST = 0xaa,
    CMD_KEYBOARD_TEST = 0xab,
    CMD_KEYBOARD_DISABLE = 0xad,
    CMD_KEYBOARD_ENABLE = 0xae,
    CMD_READ_INPUT_PORT = 0xc0,
    CMD_READ_OUTPUT_PORT = 0xd0,
    CMD_WRITE_OUTPUT_PORT = 0xd1,
    CMD_FAKE_KEYBOARD = 0xd2,
    CMD_FAKE_MOUSE = 0xd3,
    CMD_WRITE_MOUSE = 0xd4,
    CMD_A20_OFF = 0xdd,
    CMD_A20_ON = 0xdf,
    CMD_READ_TEST_INPUTS = 0xe0,
    CMD_PULSE = 0xf0, /* to 0xff: output port bits 0 to 3 go low where the command has 0 */
};
#define SELF_TEST_OK 0x55
#define INPUT_PORT   0x80 /* keyboard not locked */

/* What keyboards send, set 2, by what the controller makes of it, set 1. */
static const uint8_t translation[128] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};
#define RELEASE_PREFIX  0xf0
#define KEY_RELEASED    0x80
#define TRANSLATION_F7  0x83 /* above the table, two codes are translated all the same */
#define TRANSLATION_SYS 0x84

struct i8042_state {
    uint8_t ram[32]; /* [0] is the command byte */
    uint8_t output_port;
    uint8_t awaiting; /* a controller command that waits for its byte on port 0x60, or 0 */
    uint8_t wrote_command;
    uint8_t full, byte, from_mouse;         /* the output buffer */
    uint8_t reply_full, reply, reply_mouse; /* the controller's own answer, waiting */
    uint8_t scan_set, leds, released;       /* released: 0xf0 was translated, its code follows */
    struct ps2_keyboard keyboard;
    struct ps2_mouse mouse;
};

struct i8042 {
    struct device device;
    struct i8042_state s;
    struct irq_line keyboard_irq, mouse_irq;
};

/* ------------------------------------------------------------------ the output buffer */

static void update_irqs(struct i8042 *k)
{
    const struct i8042_state *s = &k->s;

    irq_line_set(&k->keyboard_irq, s->full && !s->from_mouse && (s->ram[0] & CB_KEYBOARD_IRQ));
    irq_line_set(&k->mouse_irq, s->full && s->from_mouse && (s->ram[0] & CB_MOUSE_IRQ));
}

/* A keyboard's byte as the guest gets it; false when it only changes the one that follows. */
static bool translate(struct i8042_state *s, uint8_t code, uint8_t *out)
{
    if (!(s->ram[0] & CB_TRANSLATE)) {
        *out = code;
        return true;
    }
    if (code == RELEASE_PREFIX) {
        s->released = KEY_RELEASED;
        return false;
    }
    if (code < ARRAY_SIZE(translation))
        *out = translation[code] | s->released;
    else if (code == TRANSLATION_F7)
        *out = 0x41 | s->released;
    else if (code == TRANSLATION_SYS)
        *out = 0x54 | s->released;
    else
        *out = code;
    s->released = 0;
    return true;
}

/* Moves the next byte into the output buffer when that is empty. */
static void fill_output(struct i8042 *k)
{
    struct i8042_state *s = &k->s;

    if (!s->full && s->reply_full) {
        s->full = true;
        s->byte = s->reply;
        s->from_mouse = s->reply_mouse;
        s->reply_full = false;
    }
    while (!s->full && s->keyboard.port.out.count != 0 && !(s->ram[0] & CB_KEYBOARD_OFF)) {
        s->full = translate(s, ps2_get(&s->keyboard.port), &s->byte);
        s->from_mouse = false;
    }
    if (!s->full && s->mouse.port.out.count != 0 && !(s->ram[0] & CB_MOUSE_OFF)) {
        s->full = true;
        s->byte = ps2_get(&s->mouse.port);
        s->from_mouse = true;
    }
    update_irqs(k);
}

static void reply(struct i8042 *k, uint8_t byte, bool as_mouse)
{
    k->s.reply = byte;
    k->s.reply_mouse = as_mouse;
    k->s.reply_full = true;
}

/* The interrupt lines go down in between, so that each byte makes an edge. */
static uint8_t read_data(struct i8042 *k)
{
    uint8_t byte = k->s.byte;

    k->s.full = false;
    update_irqs(k);
    fill_output(k);
    return byte;
}

size_t i8042_keyboard_input(struct machine *m, const uint8_t *codes, size_t n)
{
    struct i8042 *k = m->i8042;
    size_t taken = 0;

    if (!k->s.keyboard.port.enabled)
        return 0;
    for (; taken < n && k->s.keyboard.port.out.count < PS2_QUEUE_SIZE; taken++)
        ps2_put(&k->s.keyboard.port, codes[taken]);
    fill_output(k);
    return taken;
}

/* ------------------------------------------------------------------ the controller */

static void ask_reset(struct i8042 *k)
{
    k->device.machine->host->ops->power(k->device.machine->host, DEVICE_RESET_CPU);
}

static void set_a20(struct i8042 *k, bool on)
{
    k->s.output_port = (uint8_t)((k->s.output_port & ~OUTPUT_A20) | (on ? OUTPUT_A20 : 0));
}

bool i8042_a20(const struct machine *m)
{
    return m->i8042->s.output_port & OUTPUT_A20;
}

static void write_output_port(struct i8042 *k, uint8_t value)
{
    set_a20(k, value & OUTPUT_A20);
    if (!(value & OUTPUT_NOT_RESET))
        ask_reset(k);
}

static uint8_t read_output_port(const struct i8042 *k)
{
    const struct i8042_state *s = &k->s;

    return OUTPUT_NOT_RESET | s->output_port |
           (s->full ? (s->from_mouse ? OUTPUT_MOUSE_IRQ : OUTPUT_KEYBOARD_IRQ) : 0);
}

static void write_command_byte(struct i8042 *k, uint8_t value)
{
    k->s.ram[0] = value & CB_MASK;
    fill_output(k);
}

/* Commands with an answer. */
static bool query(struct i8042 *k, uint8_t command)
{
    switch (command) {
    case CMD_SELF_TEST:
        k->s.ram[0] |= CB_SYSTEM;
        reply(k, SELF_TEST_OK, false);
        return true;
    case CMD_MOUSE_TEST:
    case CMD_KEYBOARD_TEST:
    case CMD_READ_TEST_INPUTS:
        reply(k, 0, false);
        return true;
    case CMD_READ_INPUT_PORT:
        reply(k, INPUT_PORT, false);
        return true;
    case CMD_READ_OUTPUT_PORT:
        reply(k, read_output_port(k), false);
        return true;
    default:
        if (command < CMD_READ_RAM || command >= CMD_READ_RAM + sizeof(k->s.ram))
            return false;
        reply(k, k->s.ram[command - CMD_READ_RAM], false);
        return true;
    }
}

/* Commands that switch something. */
static void control(struct i8042 *k, uint8_t command)
{
    switch (command) {
    case CMD_MOUSE_DISABLE:
        k->s.ram[0] |= CB_MOUSE_OFF;
        break;
    case CMD_MOUSE_ENABLE:
        k->s.ram[0] &= (uint8_t)~CB_MOUSE_OFF;
        break;
    case CMD_KEYBOARD_DISABLE:
        k->s.ram[0] |= CB_KEYBOARD_OFF;
        break;
    case CMD_KEYBOARD_ENABLE:
        k->s.ram[0] &= (uint8_t)~CB_KEYBOARD_OFF;
        break;
    case CMD_A20_OFF:
    case CMD_A20_ON:
        set_a20(k, command == CMD_A20_ON);
        break;
    default:
        if (command >= CMD_PULSE && !(command & OUTPUT_NOT_RESET))
            ask_reset(k);
    }
}

static bool takes_byte(uint8_t command)
{
    return (command >= CMD_WRITE_RAM && command < CMD_WRITE_RAM + 32) ||
           (command >= CMD_WRITE_OUTPUT_PORT && command <= CMD_WRITE_MOUSE);
}

static void write_command(struct i8042 *k, uint8_t command)
{
    k->s.wrote_command = true;
    k->s.awaiting = takes_byte(command) ? command : 0;
    if (k->s.awaiting == 0 && !query(k, command))
        control(k, command);
    fill_output(k);
}

/* The byte that a controller command was waiting for. */
static void finish_command(struct i8042 *k, uint8_t command, uint8_t value)
{
    switch (command) {
    case CMD_WRITE_RAM:
        write_command_byte(k, value);
        break;
    case CMD_WRITE_OUTPUT_PORT:
        write_output_port(k, value);
        break;
    case CMD_FAKE_KEYBOARD:
    case CMD_FAKE_MOUSE:
        reply(k, value, command == CMD_FAKE_MOUSE);
        break;
    case CMD_WRITE_MOUSE:
        k->s.ram[0] &= (uint8_t)~CB_MOUSE_OFF;
        ps2_mouse_write(&k->s.mouse, value);
        break;
    default:
        k->s.ram[command - CMD_WRITE_RAM] = value;
    }
}

/* A byte for the keyboard turns its interface on, as the real controller does. */
static void write_data(struct i8042 *k, uint8_t value)
{
    uint8_t command = k->s.awaiting;

    k->s.wrote_command = false;
    k->s.awaiting = 0;
    if (command != 0) {
        finish_command(k, command, value);
    } else {
        k->s.ram[0] &= (uint8_t)~CB_KEYBOARD_OFF;
        k->s.released = 0;
        ps2_keyboard_write(&k->s.keyboard, value);
    }
    fill_output(k);
}

/* ------------------------------------------------------------------ ports */

static uint64_t data_read(void *opaque, uint64_t offset UNUSED, unsigned size UNUSED)
{
    return read_data(opaque);
}

static void data_write(void *opaque, uint64_t offset UNUSED, unsigned size UNUSED, uint64_t value)
{
    write_data(opaque, (uint8_t)value);
}

static uint64_t status_read(void *opaque, uint64_t offset UNUSED, unsigned size UNUSED)
{
    const struct i8042_state *s = &((const struct i8042 *)opaque)->s;

    return STATUS_NOT_LOCKED | (s->full ? STATUS_OUTPUT_FULL : 0) |
           (s->full && s->from_mouse ? STATUS_MOUSE : 0) |
           (s->ram[0] & CB_SYSTEM ? STATUS_SYSTEM : 0) | (s->wrote_command ? STATUS_COMMAND : 0);
}

static void command_write(void *opaque, uint64_t offset UNUSED, unsigned size UNUSED,
                          uint64_t value)
{
    write_command(opaque, (uint8_t)value);
}

static uint64_t control_a_read(void *opaque, uint64_t offset UNUSED, unsigned size UNUSED)
{
    return ((const struct i8042 *)opaque)->s.output_port & OUTPUT_A20 ? CONTROL_A20 : 0;
}

static void control_a_write(void *opaque, uint64_t offset UNUSED, unsigned size UNUSED,
                            uint64_t value)
{
    set_a20(opaque, value & CONTROL_A20);
    if (value & CONTROL_RESET)
        ask_reset(opaque);
}

static const struct bus_ops data_ops = {data_read, data_write, 1};
static const struct bus_ops command_ops = {status_read, command_write, 1};
static const struct bus_ops control_a_ops = {control_a_read, control_a_write, 1};

/* ------------------------------------------------------------------ the device */

static struct i8042 *to_i8042(struct device *d)
{
    return container_of(d, struct i8042, device);
}

static int i8042_create(struct device *d, struct machine *m)
{
    struct i8042 *k = to_i8042(d);
    int err = bus_add_ports(m->bus, PORT_DATA, 1, "i8042-data", &data_ops, k);

    if (err == 0)
        err = bus_add_ports(m->bus, PORT_COMMAND, 1, "i8042-command", &command_ops, k);
    if (err == 0)
        err = bus_add_ports(m->bus, PORT_CONTROL_A, 1, "port-92", &control_a_ops, k);
    k->keyboard_irq = machine_isa_irq(m, KEYBOARD_IRQ);
    k->mouse_irq = machine_isa_irq(m, MOUSE_IRQ);
    m->i8042 = k;
    return err;
}

static void i8042_destroy(struct device *d)
{
    d->machine->i8042 = NULL;
}

static void i8042_reset(struct device *d)
{
    struct i8042 *k = to_i8042(d);

    memset(&k->s, 0, sizeof(k->s));
    k->s.ram[0] = CB_RESET;
    k->s.output_port = OUTPUT_A20;
    ps2_keyboard_reset(&k->s.keyboard);
    ps2_mouse_reset(&k->s.mouse);
    update_irqs(k);
}

static void i8042_save(struct device *d, struct device_state *s)
{
    device_state_put(s, &to_i8042(d)->s, sizeof(struct i8042_state));
}

static bool i8042_load(struct device *d, struct device_state *s)
{
    struct i8042 *k = to_i8042(d);

    device_state_get(s, &k->s, sizeof(k->s));
    if (!ps2_port_valid(&k->s.keyboard.port) || !ps2_port_valid(&k->s.mouse.port) ||
        (k->s.awaiting != 0 && !takes_byte(k->s.awaiting)))
        s->failed = true;
    if (s->failed)
        i8042_reset(d);
    update_irqs(k);
    return !s->failed;
}

static const struct device_class i8042_class = {
    .name = "i8042",
    .size = sizeof(struct i8042),
    .order = DEVICE_ORDER_PERIPHERAL,
    .create = i8042_create,
    .reset = i8042_reset,
    .save = i8042_save,
    .load = i8042_load,
    .destroy = i8042_destroy,
};
DEVICE_CLASS(i8042_class);
