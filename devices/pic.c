/*
 * Two 8259A (data sheet 231468), the second on input 2 of the first, and the ELCR ports of the
 * south bridges, which say for each input whether it is edge or level triggered.
 */
#include "devices/bus.h"
#include "devices/machine.h"
#include "devices/pic.h"

#define PIC_MASTER_PORT 0x20
#define PIC_SLAVE_PORT  0xa0
#define PIC_ELCR_PORT   0x4d0
#define PIC_CASCADE     2u
#define PIC_SPURIOUS    7u
#define PIC_NONE        8u /* a priority below all */

#define MASTER_ELCR 0xf8 /* inputs 0 to 2 are always edge triggered: timer, keyboard, cascade */
#define SLAVE_ELCR  0xde /* inputs 8 (RTC) and 13 (FPU) too */

/* ICW1, and what tells it from OCW2 and OCW3 */
#define ICW1_INIT   0x10
#define ICW1_LEVEL  0x08
#define ICW1_SINGLE 0x02
#define ICW1_ICW4   0x01
#define ICW2_BASE   0xf8
#define ICW4_SFNM   0x10 /* special fully nested mode */
#define ICW4_AEOI   0x02

#define OCW2_COMMAND_SHIFT 5
#define OCW3_SELECT        0x08
#define OCW3_ESMM          0x40
#define OCW3_SMM           0x20
#define OCW3_POLL          0x04
#define OCW3_READ          0x02
#define OCW3_READ_ISR      0x01
#define POLL_REQUEST       0x80

#define PIC_TAG    0x20434950u /* "PIC " */
#define PIC_STREAM 1           /* version */

/* What is written next to the odd port. */
enum pic_expect {
    EXPECT_ICW2,
    EXPECT_ICW3,
    EXPECT_ICW4,
    EXPECT_MASK,        /* OCW1: initialised */
    EXPECT_NOTHING_YET, /* since power-up: the mask can be written, but no interrupts come */
};

struct pic_chip {
    uint8_t lines; /* levels of the inputs */
    uint8_t latch; /* inputs that rose, and are high still, and were not acknowledged */
    uint8_t imr;
    uint8_t isr;
    uint8_t elcr;
    uint8_t icw1;
    uint8_t icw3;
    uint8_t icw4;
    uint8_t base;   /* vector of input 0 */
    uint8_t lowest; /* the input of lowest priority */
    uint8_t expect; /* enum pic_expect */
    uint8_t special_mask;
    uint8_t rotate_on_aeoi;
    uint8_t read_isr;
    uint8_t poll;
};

struct pic {
    struct device device;
    struct pic_chip chip[2]; /* master, slave */
};

/* ------------------------------------------------------------------ one chip */

static uint8_t chip_level_inputs(const struct pic_chip *c)
{
    return c->icw1 & ICW1_LEVEL ? 0xff : c->elcr;
}

static uint8_t chip_requests(const struct pic_chip *c)
{
    uint8_t level = chip_level_inputs(c);

    return (c->lines & level) | (c->latch & (uint8_t)~level);
}

/* The highest of these inputs as a distance from the top (0 to 7), or PIC_NONE. */
static unsigned chip_priority(const struct pic_chip *c, uint8_t inputs)
{
    unsigned first = c->lowest + 1u, rotated = (inputs | (unsigned)inputs << 8) >> (first & 7);

    return inputs == 0 ? PIC_NONE : (unsigned)__builtin_ctz(rotated);
}

static unsigned chip_input_of(const struct pic_chip *c, unsigned priority)
{
    return (c->lowest + 1 + priority) & 7;
}

/* The input to be served now, or -1. */
static inline int chip_request(const struct pic_chip *c, bool master)
{
    uint8_t in_service = c->isr, waiting = chip_requests(c) & (uint8_t)~c->imr;
    unsigned wanted;

    if (likely(waiting == 0))
        return -1;
    wanted = chip_priority(c, waiting);
    if (c->expect != EXPECT_MASK)
        return -1;
    if (c->special_mask)
        in_service &= (uint8_t)~c->imr;
    if (master && (c->icw4 & ICW4_SFNM))
        in_service &= (uint8_t) ~(1u << PIC_CASCADE);
    if (wanted >= chip_priority(c, in_service))
        return -1;
    return (int)chip_input_of(c, wanted);
}

static inline void chip_set_line(struct pic_chip *c, unsigned input, bool level)
{
    uint8_t bit = (uint8_t)(1u << input);

    if (!level) {
        c->lines &= (uint8_t)~bit;
        c->latch &= (uint8_t)~bit;
    } else if (!(c->lines & bit)) {
        c->lines |= bit;
        c->latch |= bit;
    }
}

/* The acknowledge cycle; without a request (any more) the lowest input answers, unserviced. */
static unsigned chip_acknowledge(struct pic_chip *c, bool master)
{
    int input = chip_request(c, master);

    if (input < 0)
        return PIC_SPURIOUS;
    c->latch &= (uint8_t) ~(1u << input);
    if (!(c->icw4 & ICW4_AEOI))
        c->isr |= (uint8_t)(1u << input);
    else if (c->rotate_on_aeoi)
        c->lowest = (uint8_t)input;
    return (unsigned)input;
}

/* ------------------------------------------------------------------ both chips */

bool pic_output(const struct pic *p)
{
    return chip_request(&p->chip[0], true) >= 0;
}

static void pic_update(struct pic *p)
{
    chip_set_line(&p->chip[0], PIC_CASCADE, chip_request(&p->chip[1], false) >= 0);
    machine_set_intr(p->device.machine, pic_output(p));
}

void pic_set_irq(struct pic *p, unsigned irq, bool level)
{
    chip_set_line(&p->chip[irq >> 3 & 1], irq & 7, level);
    pic_update(p);
}

/*
 * The outputs go down during the cycle and up again if there is more, which makes an edge for
 * whoever listens: the master, and the local APICs.
 */
uint8_t pic_acknowledge(struct pic *p)
{
    struct pic_chip *master = &p->chip[0], *slave = &p->chip[1];
    unsigned input = chip_acknowledge(master, true);
    uint8_t vector = (uint8_t)(master->base + input);

    if (input == PIC_CASCADE && !(master->icw1 & ICW1_SINGLE)) {
        vector = (uint8_t)(slave->base + chip_acknowledge(slave, false));
        chip_set_line(master, PIC_CASCADE, false);
    }
    machine_set_intr(p->device.machine, false);
    pic_update(p);
    return vector;
}

/* ------------------------------------------------------------------ commands */

/* Starts the initialisation sequence: everything as the data sheet lists it under ICW1. */
static void chip_icw1(struct pic_chip *c, uint8_t value)
{
    c->icw1 = value;
    c->icw4 = 0;
    c->latch = 0;
    c->imr = 0;
    c->isr = 0;
    c->lowest = 7;
    c->special_mask = 0;
    c->rotate_on_aeoi = 0;
    c->read_isr = 0;
    c->poll = 0;
    c->expect = EXPECT_ICW2;
}

/* Ends the service of the highest input in service; returns it, or -1. */
static int chip_eoi(struct pic_chip *c)
{
    uint8_t in_service = c->special_mask ? c->isr & (uint8_t)~c->imr : c->isr;
    unsigned priority = chip_priority(c, in_service);
    unsigned input = chip_input_of(c, priority);

    if (priority == PIC_NONE)
        return -1;
    c->isr &= (uint8_t) ~(1u << input);
    return (int)input;
}

static void chip_ocw2(struct pic_chip *c, uint8_t value)
{
    unsigned input = value & 7;
    int ended;

    switch (value >> OCW2_COMMAND_SHIFT) {
    case 0: /* rotation at automatic EOI off */
        c->rotate_on_aeoi = 0;
        break;
    case 1: /* EOI */
        chip_eoi(c);
        break;
    case 2: /* nothing */
        break;
    case 3: /* EOI of one input */
        c->isr &= (uint8_t) ~(1u << input);
        break;
    case 4: /* rotation at automatic EOI on */
        c->rotate_on_aeoi = 1;
        break;
    case 5: /* EOI, which gets the lowest priority */
        ended = chip_eoi(c);
        if (ended >= 0)
            c->lowest = (uint8_t)ended;
        break;
    case 6: /* set the lowest priority */
        c->lowest = (uint8_t)input;
        break;
    case 7: /* EOI of one input, which gets the lowest priority */
        c->isr &= (uint8_t) ~(1u << input);
        c->lowest = (uint8_t)input;
        break;
    }
}

static void chip_ocw3(struct pic_chip *c, uint8_t value)
{
    if (value & OCW3_ESMM)
        c->special_mask = (value & OCW3_SMM) != 0;
    if (value & OCW3_POLL)
        c->poll = 1;
    else if (value & OCW3_READ)
        c->read_isr = value & OCW3_READ_ISR;
}

/* The odd port: initialisation words in turn, then the mask. */
static void chip_icw(struct pic_chip *c, uint8_t value)
{
    switch (c->expect) {
    case EXPECT_ICW2:
        c->base = value & ICW2_BASE;
        if (!(c->icw1 & ICW1_SINGLE))
            c->expect = EXPECT_ICW3;
        else
            c->expect = c->icw1 & ICW1_ICW4 ? EXPECT_ICW4 : EXPECT_MASK;
        break;
    case EXPECT_ICW3:
        c->icw3 = value; /* how the chips are wired is not up to the guest */
        c->expect = c->icw1 & ICW1_ICW4 ? EXPECT_ICW4 : EXPECT_MASK;
        break;
    case EXPECT_ICW4:
        c->icw4 = value;
        c->expect = EXPECT_MASK;
        break;
    }
}

/* ------------------------------------------------------------------ ports */

static uint8_t chip_poll(struct pic *p, struct pic_chip *c)
{
    bool master = c == &p->chip[0];
    uint8_t answer = 0;

    c->poll = 0;
    if (chip_request(c, master) >= 0)
        answer = (uint8_t)(POLL_REQUEST | chip_acknowledge(c, master));
    if (!master)
        chip_set_line(&p->chip[0], PIC_CASCADE, false);
    machine_set_intr(p->device.machine, false);
    pic_update(p);
    return answer;
}

static inline uint64_t read_command(struct pic *p, struct pic_chip *c)
{
    if (unlikely(c->poll))
        return chip_poll(p, c);
    return c->read_isr ? c->isr : chip_requests(c);
}

static inline uint64_t read_data(struct pic *p, struct pic_chip *c)
{
    return unlikely(c->poll) ? chip_poll(p, c) : c->imr;
}

static void write_command(struct pic *p, struct pic_chip *c, uint8_t value)
{
    if (value & ICW1_INIT)
        chip_icw1(c, value);
    else if (value & OCW3_SELECT)
        chip_ocw3(c, value);
    else
        chip_ocw2(c, value);
    pic_update(p);
}

static void write_icw(struct pic *p, struct pic_chip *c, uint8_t value)
{
    chip_icw(c, value);
    pic_update(p);
}

/* Guests mask and unmask all the time; mostly nothing waits at the inputs concerned. */
static inline void write_data(struct pic *p, struct pic_chip *c, uint8_t value)
{
    uint8_t changed = c->imr ^ value;

    if (unlikely(c->expect < EXPECT_MASK)) {
        write_icw(p, c, value);
        return;
    }
    c->imr = value;
    if (unlikely((changed & (c->lines | c->latch | c->isr)) != 0)) /* isr: in special mask mode */
        pic_update(p);
}

/* Each register has functions of its own: the bus finds them without a look at the offset. */
#define PIC_REGISTER(name, reg, n)                                                          \
    static uint64_t name##_read(void *opaque, uint64_t offset UNUSED, unsigned size UNUSED) \
    {                                                                                       \
        return read_##reg(opaque, &((struct pic *)opaque)->chip[n]);                        \
    }                                                                                       \
    static void name##_write(void *opaque, uint64_t offset UNUSED, unsigned size UNUSED,    \
                             uint64_t value)                                                \
    {                                                                                       \
        write_##reg(opaque, &((struct pic *)opaque)->chip[n], (uint8_t)value);              \
    }                                                                                       \
    static const struct bus_ops name##_ops = {name##_read, name##_write, 1};

PIC_REGISTER(master_command, command, 0)
PIC_REGISTER(master_data, data, 0)
PIC_REGISTER(slave_command, command, 1)
PIC_REGISTER(slave_data, data, 1)

static uint64_t elcr_read(void *opaque, uint64_t offset, unsigned size UNUSED)
{
    return ((struct pic *)opaque)->chip[offset & 1].elcr;
}

static void elcr_write(void *opaque, uint64_t offset, unsigned size UNUSED, uint64_t value)
{
    struct pic *p = opaque;

    p->chip[offset & 1].elcr = (uint8_t)value & (offset & 1 ? SLAVE_ELCR : MASTER_ELCR);
    pic_update(p);
}

static const struct bus_ops elcr_ops = {elcr_read, elcr_write, 1};

/* ------------------------------------------------------------------ the device */

static int pic_create(struct device *d, struct machine *m)
{
    struct pic *p = container_of(d, struct pic, device);
    static const struct {
        uint16_t port, count;
        const char *name;
        const struct bus_ops *ops;
    } ports[] = {
        {PIC_MASTER_PORT, 1, "pic master command", &master_command_ops},
        {PIC_MASTER_PORT + 1, 1, "pic master data", &master_data_ops},
        {PIC_SLAVE_PORT, 1, "pic slave command", &slave_command_ops},
        {PIC_SLAVE_PORT + 1, 1, "pic slave data", &slave_data_ops},
        {PIC_ELCR_PORT, 2, "elcr", &elcr_ops},
    };
    int err = 0;

    for (unsigned i = 0; i < ARRAY_SIZE(ports) && err == 0; i++)
        err = bus_add_ports(m->bus, ports[i].port, ports[i].count, ports[i].name, ports[i].ops, p);
    if (err == 0)
        m->pic = p;
    return err;
}

static void pic_reset(struct device *d)
{
    struct pic *p = container_of(d, struct pic, device);

    for (unsigned i = 0; i < ARRAY_SIZE(p->chip); i++)
        p->chip[i] = (struct pic_chip){.lowest = 7, .expect = EXPECT_NOTHING_YET};
    pic_update(p);
}

static void pic_save(struct device *d, struct device_state *s)
{
    struct pic *p = container_of(d, struct pic, device);

    device_state_put_tag(s, PIC_TAG, PIC_STREAM);
    device_state_put(s, p->chip, sizeof(p->chip));
}

static bool chip_sane(const struct pic_chip *c, uint8_t elcr)
{
    return c->lowest < 8 && c->expect <= EXPECT_NOTHING_YET && (c->elcr & (uint8_t)~elcr) == 0 &&
           (c->base & (uint8_t)~ICW2_BASE) == 0 && c->special_mask <= 1 && c->rotate_on_aeoi <= 1 &&
           c->read_isr <= 1 && c->poll <= 1;
}

static bool pic_load(struct device *d, struct device_state *s)
{
    struct pic *p = container_of(d, struct pic, device);
    struct pic_chip chip[2];

    if (!device_state_get_tag(s, PIC_TAG, PIC_STREAM))
        return false;
    device_state_get(s, chip, sizeof(chip));
    if (s->failed || !chip_sane(&chip[0], MASTER_ELCR) || !chip_sane(&chip[1], SLAVE_ELCR))
        return false;
    p->chip[0] = chip[0];
    p->chip[1] = chip[1];
    return true;
}

static const struct device_class pic_class = {
    .name = "pic",
    .size = sizeof(struct pic),
    .order = DEVICE_ORDER_INTERRUPTS,
    .create = pic_create,
    .reset = pic_reset,
    .save = pic_save,
    .load = pic_load,
};
DEVICE_CLASS(pic_class);
