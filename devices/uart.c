/*
 * Serial ports: National Semiconductor PC16550D (data sheet of June 1995), wired as in a PC.
 * Register and bit names are those of <linux/serial_reg.h>.
 *
 * The line has no speed: a byte is sent when the chardev takes it, so that a guest which waits for
 * the transmitter never waits, and received bytes that do not reach the FIFO's trigger level are
 * reported as timed out at once.
 */
#include <linux/serial_reg.h>

#include "devices/bus.h"
#include "devices/machine.h"
#include "lib/string.h"

#define NR_PORTS     4
#define NR_REGISTERS 8
#define FIFO_SIZE    16

#define DIVISOR_RESET 12   /* 9600 baud */
#define IIR_FIFOS     0xc0 /* UART_IIR: FIFOs are enabled */
#define IER_MASK      0x0f
#define MCR_MASK      0x1f
#define LSR_ERRORS    (UART_LSR_OE | UART_LSR_PE | UART_LSR_FE | UART_LSR_BI)
#define FCR_STORED    (UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_MASK)

/* What the modem says while a cable is in: carrier, ready, clear to send. */
#define MODEM_CONNECTED (UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS)

static const uint16_t port_base[NR_PORTS] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
static const uint8_t port_irq[NR_PORTS] = {4, 3, 4, 3};

struct fifo {
    uint8_t data[FIFO_SIZE];
    uint8_t first, count;
};

/* All that a suspended VM has to keep. */
struct uart_state {
    struct fifo rx, tx;
    uint8_t dll, dlm, ier, fcr, lcr, mcr, lsr_errors, msr, scr;
    bool thr_pending; /* the transmitter-empty interrupt: gone when IIR showed it */
};

struct uart {
    struct uart_state s;
    bool irq;     /* what this port drives its line to */
    bool refused; /* input was refused for want of room */
    bool present;
    uint8_t index;
    struct chardev *chardev;
    struct irq_line line;
    struct uart *sharer; /* the other port on the same interrupt line */
};

struct uart_device {
    struct device device;
    struct uart port[NR_PORTS];
};

static void fifo_put(struct fifo *f, uint8_t c)
{
    f->data[(f->first + f->count++) % FIFO_SIZE] = c;
}

static uint8_t fifo_get(struct fifo *f)
{
    uint8_t c = f->data[f->first];

    f->first = (f->first + 1) % FIFO_SIZE;
    f->count--;
    return c;
}

/* ------------------------------------------------------------------ interrupts */

/* How many received bytes make an interrupt (data sheet: FCR bits 6 and 7). */
static unsigned rx_trigger(const struct uart *u)
{
    static const uint8_t levels[] = {1, 4, 8, 14};

    return u->s.fcr & UART_FCR_ENABLE_FIFO ? levels[u->s.fcr >> 6] : 1;
}

/* The interrupt of highest priority, as IIR shows it (data sheet table IV). */
static uint8_t pending_interrupt(const struct uart *u)
{
    const struct uart_state *s = &u->s;

    if ((s->ier & UART_IER_RLSI) && s->lsr_errors != 0)
        return UART_IIR_RLSI;
    if ((s->ier & UART_IER_RDI) && s->rx.count != 0)
        return s->rx.count >= rx_trigger(u) ? UART_IIR_RDI : UART_IIR_RX_TIMEOUT;
    if ((s->ier & UART_IER_THRI) && s->thr_pending)
        return UART_IIR_THRI;
    if ((s->ier & UART_IER_MSI) && (s->msr & UART_MSR_ANY_DELTA))
        return UART_IIR_MSI;
    return UART_IIR_NO_INT;
}

/* On a PC the OUT2 pin lets interrupts through; loopback mode takes that pin away. */
static void update_irq(struct uart *u)
{
    bool level = (u->s.mcr & (UART_MCR_OUT2 | UART_MCR_LOOP)) == UART_MCR_OUT2 &&
                 pending_interrupt(u) != UART_IIR_NO_INT;

    if (level == u->irq)
        return;
    u->irq = level;
    irq_line_set(&u->line, level || u->sharer->irq);
}

/* ------------------------------------------------------------------ receiving */

static unsigned rx_room(const struct uart *u)
{
    unsigned size = u->s.fcr & UART_FCR_ENABLE_FIFO ? FIFO_SIZE : 1;

    return u->s.rx.count < size ? size - u->s.rx.count : 0;
}

/* A byte came in by loopback. When there is no room it is lost, and the guest is told. */
static void receive(struct uart *u, uint8_t c)
{
    if (rx_room(u) == 0) {
        u->s.lsr_errors |= UART_LSR_OE;
        if (u->s.fcr & UART_FCR_ENABLE_FIFO)
            return;
        (void)fifo_get(&u->s.rx); /* without FIFOs the new byte takes the place of the old one */
    }
    fifo_put(&u->s.rx, c);
}

/* Tells whoever has more input that it will be taken now. */
static void offer_room(struct uart *u)
{
    if (!u->refused || (u->s.mcr & UART_MCR_LOOP) || rx_room(u) == 0)
        return;
    u->refused = false;
    if (u->chardev->room != NULL)
        u->chardev->room(u->chardev->opaque);
}

static uint8_t read_rx(struct uart *u)
{
    uint8_t c;

    if (u->s.rx.count == 0)
        return 0;
    c = fifo_get(&u->s.rx);
    update_irq(u);
    offer_room(u);
    return c;
}

size_t machine_serial_input(struct machine *m, unsigned com, const void *data, size_t n)
{
    struct uart *u = com < NR_PORTS ? m->uart[com] : NULL;
    const uint8_t *bytes = data;
    size_t taken;

    if (u == NULL)
        return 0;
    taken = u->s.mcr & UART_MCR_LOOP ? 0 : MIN(n, rx_room(u));
    for (size_t i = 0; i < taken; i++)
        fifo_put(&u->s.rx, bytes[i]);
    if (taken < n)
        u->refused = true;
    update_irq(u);
    return taken;
}

/* ------------------------------------------------------------------ sending */

/* Gives the chardev n bytes; returns how many it took. With no chardev they vanish. */
static size_t send(struct uart *u, const uint8_t *data, size_t n)
{
    return u->chardev->write == NULL ? n : u->chardev->write(u->chardev->opaque, data, n);
}

static void transmitter_empty(struct uart *u)
{
    u->s.thr_pending = true;
    if (u->s.ier & UART_IER_THRI)
        update_irq(u);
}

/* A byte that the chardev did not take stays in the transmitter; if that is full it is lost. */
static void keep_unsent(struct uart *u, uint8_t c)
{
    unsigned size = u->s.fcr & UART_FCR_ENABLE_FIFO ? FIFO_SIZE : 1;

    if (u->s.tx.count < size)
        fifo_put(&u->s.tx, c);
    u->s.thr_pending = false;
    update_irq(u);
}

/* A write to THR: each character of a guest's console comes here, and mostly leaves at once. */
static void transmit(struct uart *u, uint8_t c)
{
    if (unlikely(u->s.mcr & UART_MCR_LOOP)) {
        receive(u, c);
        u->s.thr_pending = true;
        update_irq(u);
        return;
    }
    if (likely(u->s.tx.count == 0 && send(u, &c, 1) == 1))
        transmitter_empty(u);
    else
        keep_unsent(u, c);
}

/* Sends what had to wait. */
static void flush(struct uart *u)
{
    struct fifo *tx = &u->s.tx;
    size_t n, sent;

    while (tx->count != 0) {
        n = MIN(tx->count, FIFO_SIZE - tx->first);
        sent = send(u, &tx->data[tx->first], n);
        tx->first = (uint8_t)((tx->first + sent) % FIFO_SIZE);
        tx->count = (uint8_t)(tx->count - sent);
        if (sent < n)
            return;
    }
    transmitter_empty(u);
}

void machine_serial_resume(struct machine *m, unsigned com)
{
    struct uart *u = com < NR_PORTS ? m->uart[com] : NULL;

    if (u != NULL && u->s.tx.count != 0)
        flush(u);
}

/* ------------------------------------------------------------------ registers */

/* The modem's lines. In loopback mode they are the four outputs (data sheet 8.6.4). */
static void update_modem(struct uart *u)
{
    uint8_t mcr = u->s.mcr, lines = MODEM_CONNECTED, old = u->s.msr & 0xf0, delta = 0;

    if (mcr & UART_MCR_LOOP)
        lines = (uint8_t)((mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
                          (mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) |
                          (mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) |
                          (mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0));
    delta = (uint8_t)(((old ^ lines) & (UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS)) >> 4);
    if ((old & UART_MSR_RI) && !(lines & UART_MSR_RI)) /* ringing: only its end counts */
        delta |= UART_MSR_TERI;
    u->s.msr = (uint8_t)(lines | (u->s.msr & UART_MSR_ANY_DELTA) | delta);
}

static uint8_t read_iir(struct uart *u)
{
    uint8_t iir = pending_interrupt(u);

    if (iir == UART_IIR_THRI) {
        u->s.thr_pending = false;
        update_irq(u);
    }
    return u->s.fcr & UART_FCR_ENABLE_FIFO ? iir | IIR_FIFOS : iir;
}

static uint8_t read_lsr(struct uart *u)
{
    uint8_t lsr = u->s.lsr_errors;

    if (u->s.rx.count != 0)
        lsr |= UART_LSR_DR;
    if (u->s.tx.count == 0)
        lsr |= UART_LSR_THRE | UART_LSR_TEMT;
    if (u->s.lsr_errors != 0) {
        u->s.lsr_errors = 0;
        update_irq(u);
    }
    return lsr;
}

static uint8_t read_msr(struct uart *u)
{
    uint8_t msr = u->s.msr;

    if (msr & UART_MSR_ANY_DELTA) {
        u->s.msr &= (uint8_t)~UART_MSR_ANY_DELTA;
        update_irq(u);
    }
    return msr;
}

static uint64_t uart_read(void *opaque, uint64_t offset, unsigned size UNUSED)
{
    struct uart *u = opaque;
    bool dlab = u->s.lcr & UART_LCR_DLAB;

    switch (offset) {
    case UART_RX:
        return dlab ? u->s.dll : read_rx(u);
    case UART_IER:
        return dlab ? u->s.dlm : u->s.ier;
    case UART_IIR:
        return read_iir(u);
    case UART_LCR:
        return u->s.lcr;
    case UART_MCR:
        return u->s.mcr;
    case UART_LSR:
        return read_lsr(u);
    case UART_MSR:
        return read_msr(u);
    default:
        return u->s.scr;
    }
}

/* Enabling the transmitter's interrupt while there is nothing to send raises it. */
static void write_ier(struct uart *u, uint8_t value)
{
    uint8_t enabled = (uint8_t)(value & ~u->s.ier);

    u->s.ier = value & IER_MASK;
    if ((enabled & UART_IER_THRI) && u->s.tx.count == 0)
        u->s.thr_pending = true;
    update_irq(u);
}

/* Turning the FIFOs on or off empties both; the other bits count only while they are on. */
static void write_fcr(struct uart *u, uint8_t value)
{
    bool toggled = (value ^ u->s.fcr) & UART_FCR_ENABLE_FIFO;

    if (!(value & UART_FCR_ENABLE_FIFO))
        value = 0;
    if (toggled || (value & UART_FCR_CLEAR_RCVR))
        u->s.rx.count = 0;
    if ((toggled || (value & UART_FCR_CLEAR_XMIT)) && u->s.tx.count != 0) {
        u->s.tx.count = 0;
        u->s.thr_pending = true;
    }
    u->s.fcr = value & FCR_STORED;
    update_irq(u);
    offer_room(u);
}

static void write_mcr(struct uart *u, uint8_t value)
{
    u->s.mcr = value & MCR_MASK;
    update_modem(u);
    update_irq(u);
    offer_room(u);
}

static void uart_write(void *opaque, uint64_t offset, unsigned size UNUSED, uint64_t wide)
{
    struct uart *u = opaque;
    uint8_t value = (uint8_t)wide;
    bool dlab = u->s.lcr & UART_LCR_DLAB;

    switch (offset) {
    case UART_TX:
        if (dlab)
            u->s.dll = value;
        else
            transmit(u, value);
        break;
    case UART_IER:
        if (dlab)
            u->s.dlm = value;
        else
            write_ier(u, value);
        break;
    case UART_FCR:
        write_fcr(u, value);
        break;
    case UART_LCR:
        u->s.lcr = value;
        break;
    case UART_MCR:
        write_mcr(u, value);
        break;
    case UART_SCR:
        u->s.scr = value;
        break;
    default: /* LSR and MSR: for factory tests only, by the data sheet */
        break;
    }
}

static const struct bus_ops uart_ops = {uart_read, uart_write, 1};

/* ------------------------------------------------------------------ the device */

static struct uart_device *to_uart_device(struct device *d)
{
    return container_of(d, struct uart_device, device);
}

static int uart_create(struct device *d, struct machine *m)
{
    struct uart_device *ud = to_uart_device(d);
    int err;

    for (unsigned i = 0; i < NR_PORTS; i++) {
        struct uart *u = &ud->port[i];

        u->index = (uint8_t)i;
        u->chardev = &m->config.com[i];
        u->line = machine_isa_irq(m, port_irq[i]);
        u->sharer = &ud->port[i ^ 2];
        u->present = i == 0 || u->chardev->write != NULL;
        if (!u->present)
            continue;
        err = bus_add_ports(m->bus, port_base[i], NR_REGISTERS, "uart", &uart_ops, u);
        if (err != 0)
            return err;
        m->uart[i] = u;
    }
    return 0;
}

/* The master reset (data sheet table I). The divisor and the scratch register have none. */
static void uart_reset(struct device *d)
{
    struct uart_device *ud = to_uart_device(d);

    for (unsigned i = 0; i < NR_PORTS; i++) {
        struct uart *u = &ud->port[i];

        memset(&u->s, 0, sizeof(u->s));
        u->s.dll = DIVISOR_RESET;
        u->s.msr = MODEM_CONNECTED;
        u->irq = false;
        irq_line_set(&u->line, false);
    }
    for (unsigned i = 0; i < NR_PORTS; i++)
        offer_room(&ud->port[i]);
}

static void uart_save(struct device *d, struct device_state *s)
{
    struct uart_device *ud = to_uart_device(d);

    for (unsigned i = 0; i < NR_PORTS; i++)
        device_state_put(s, &ud->port[i].s, sizeof(ud->port[i].s));
}

static bool fifo_valid(const struct fifo *f)
{
    return f->first < FIFO_SIZE && f->count <= FIFO_SIZE;
}

/* Lines are driven anew; the interrupt controllers' state says whether the edge was seen. */
static bool uart_load(struct device *d, struct device_state *s)
{
    struct uart_device *ud = to_uart_device(d);

    for (unsigned i = 0; i < NR_PORTS; i++) {
        struct uart *u = &ud->port[i];
        uint8_t raw[sizeof(u->s)];

        device_state_get(s, raw, sizeof(raw));
        if (raw[offsetof(struct uart_state, thr_pending)] > 1)
            return false;
        memcpy(&u->s, raw, sizeof(raw));
        if (s->failed || !fifo_valid(&u->s.rx) || !fifo_valid(&u->s.tx)) {
            memset(&u->s, 0, sizeof(u->s));
            return false;
        }
        u->s.ier &= IER_MASK;
        u->s.fcr &= FCR_STORED;
        u->s.mcr &= MCR_MASK;
    }
    for (unsigned i = 0; i < NR_PORTS; i++)
        update_irq(&ud->port[i]);
    return true;
}

static const struct device_class uart_class = {
    .name = "uart",
    .size = sizeof(struct uart_device),
    .order = DEVICE_ORDER_PERIPHERAL,
    .create = uart_create,
    .reset = uart_reset,
    .save = uart_save,
    .load = uart_load,
};
DEVICE_CLASS(uart_class);
