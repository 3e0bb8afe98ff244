#include "lib/string.h"
#include "machine/cpu.h"
#include "machine/serial.h"

/* Ports of COM1 and COM2, by convention. */
#define COM1 0x3f8
#define COM2 0x2f8

/* Registers, as offsets from the base. */
enum reg {
    REG_DATA = 0, /* and the divisor's low byte while DLAB is set */
    REG_IER = 1,  /* and its high byte */
    REG_IIR = 2,  /* read */
    REG_FCR = 2,  /* write */
    REG_LCR = 3,
    REG_MCR = 4,
    REG_LSR = 5,
    REG_MSR = 6,
    REG_SCRATCH = 7,
};

#define IER_RX         BIT(0)
#define IER_TX         BIT(1)
#define IIR_NONE       BIT(0)
#define IIR_FIFO       0xc0 /* both set: the FIFOs work */
#define FCR_ENABLE     BIT(0)
#define FCR_CLEAR      (BIT(1) | BIT(2))
#define LCR_8N1        3
#define LCR_DLAB       BIT(7)
#define MCR_DTR        BIT(0)
#define MCR_RTS        BIT(1)
#define MCR_OUT2       BIT(3) /* lets the interrupt out on a PC */
#define LSR_DATA       BIT(0)
#define LSR_TX_EMPTY   BIT(5) /* the transmit FIFO */
#define LSR_TX_DONE    BIT(6) /* and the last character is on its way */
#define DIVISOR_115200 1
#define FIFO_SIZE      16
#define FLUSH_PATIENCE 1000000 /* reads of LSR; a character takes about 100 us */

struct serial_port {
    uint16_t base;
    bool present, interrupts, dead;
    unsigned burst; /* characters that an empty transmitter takes */
    uint64_t head, tail;
    char ring[SERIAL_RING];
};

struct serial_port serial_com1 = {.base = COM1}, serial_com2 = {.base = COM2};

static uint8_t get(const struct serial_port *p, enum reg r)
{
    return inb((uint16_t)(p->base + r));
}
static void put(const struct serial_port *p, enum reg r, unsigned v)
{
    outb((uint16_t)(p->base + r), (uint8_t)v);
}

bool serial_init(struct serial_port *p)
{
    put(p, REG_SCRATCH, 0x5a);
    if (get(p, REG_SCRATCH) != 0x5a || get(p, REG_LSR) == 0xff)
        return false;
    put(p, REG_IER, 0);
    put(p, REG_LCR, LCR_DLAB);
    put(p, REG_DATA, DIVISOR_115200);
    put(p, REG_IER, 0);
    put(p, REG_LCR, LCR_8N1);
    put(p, REG_FCR, FCR_ENABLE | FCR_CLEAR);
    put(p, REG_MCR, MCR_DTR | MCR_RTS | MCR_OUT2);
    p->burst = (get(p, REG_IIR) & IIR_FIFO) == IIR_FIFO ? FIFO_SIZE : 1;
    p->present = true;
    return true;
}

size_t serial_room(const struct serial_port *p)
{
    if (!p->present || p->dead)
        return SERIAL_RING;
    return SERIAL_RING - (p->head - p->tail);
}

size_t serial_put(struct serial_port *p, const void *data, size_t n)
{
    const char *from = data;

    if (!p->present || p->dead)
        return n; /* nobody listens: nothing is lost */
    n = MIN(n, serial_room(p));
    for (size_t i = 0; i < n; i++)
        p->ring[p->head++ % SERIAL_RING] = from[i];
    return n;
}

static bool empty(const struct serial_port *p)
{
    return p->head == p->tail;
}

void serial_pump(struct serial_port *p)
{
    if (!p->present)
        return;
    if (get(p, REG_LSR) & LSR_TX_EMPTY)
        for (unsigned i = 0; i < p->burst && !empty(p); i++)
            put(p, REG_DATA, (uint8_t)p->ring[p->tail++ % SERIAL_RING]);
    if (p->interrupts)
        put(p, REG_IER, IER_RX | (empty(p) ? 0 : IER_TX));
}

/* Waits for a bit of LSR; false: it does not come. */
static bool wait_status(const struct serial_port *p, uint8_t bit)
{
    for (unsigned i = 0; i < FLUSH_PATIENCE; i++) {
        if (get(p, REG_LSR) & bit)
            return true;
        cpu_pause();
    }
    return false;
}

void serial_flush(struct serial_port *p)
{
    while (p->present && !p->dead && !empty(p)) {
        p->dead = !wait_status(p, LSR_TX_EMPTY);
        serial_pump(p);
    }
    /* The last characters have left the ring, but not yet the p-> */
    if (p->present && !p->dead)
        p->dead = !wait_status(p, LSR_TX_DONE);
}

void serial_enable_interrupts(struct serial_port *p)
{
    if (!p->present)
        return;
    p->interrupts = true;
    put(p, REG_IER, IER_RX | (empty(p) ? 0 : IER_TX));
}

int serial_get(struct serial_port *p)
{
    if (!p->present || !(get(p, REG_LSR) & LSR_DATA))
        return -1;
    return get(p, REG_DATA);
}

bool serial_pending(struct serial_port *p)
{
    if (!p->present || (get(p, REG_IIR) & IIR_NONE))
        return false;
    (void)get(p,
              REG_LSR); /* a line error or a modem signal is the cause perhaps: reading clears it */
    (void)get(p, REG_MSR);
    return true;
}
