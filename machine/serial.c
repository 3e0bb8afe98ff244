#include "lib/string.h"
#include "machine/cpu.h"
#include "machine/serial.h"

#define COM1 0x3f8

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

static struct {
    bool present, interrupts, dead;
    unsigned burst; /* characters that an empty transmitter takes */
    uint64_t head, tail;
    char ring[SERIAL_RING];
} port;

static uint8_t get(enum reg r)
{
    return inb((uint16_t)(COM1 + r));
}
static void put(enum reg r, unsigned v)
{
    outb((uint16_t)(COM1 + r), (uint8_t)v);
}

bool serial_init(void)
{
    put(REG_SCRATCH, 0x5a);
    if (get(REG_SCRATCH) != 0x5a || get(REG_LSR) == 0xff)
        return false;
    put(REG_IER, 0);
    put(REG_LCR, LCR_DLAB);
    put(REG_DATA, DIVISOR_115200);
    put(REG_IER, 0);
    put(REG_LCR, LCR_8N1);
    put(REG_FCR, FCR_ENABLE | FCR_CLEAR);
    put(REG_MCR, MCR_DTR | MCR_RTS | MCR_OUT2);
    port.burst = (get(REG_IIR) & IIR_FIFO) == IIR_FIFO ? FIFO_SIZE : 1;
    port.present = true;
    return true;
}

size_t serial_room(void)
{
    if (!port.present || port.dead)
        return SERIAL_RING;
    return SERIAL_RING - (port.head - port.tail);
}

size_t serial_put(const void *data, size_t n)
{
    const char *from = data;

    if (!port.present || port.dead)
        return n; /* nobody listens: nothing is lost */
    n = MIN(n, serial_room());
    for (size_t i = 0; i < n; i++)
        port.ring[port.head++ % SERIAL_RING] = from[i];
    return n;
}

static bool empty(void)
{
    return port.head == port.tail;
}

void serial_pump(void)
{
    if (!port.present)
        return;
    if (get(REG_LSR) & LSR_TX_EMPTY)
        for (unsigned i = 0; i < port.burst && !empty(); i++)
            put(REG_DATA, (uint8_t)port.ring[port.tail++ % SERIAL_RING]);
    if (port.interrupts)
        put(REG_IER, IER_RX | (empty() ? 0 : IER_TX));
}

/* Waits for a bit of LSR; false: it does not come. */
static bool wait_status(uint8_t bit)
{
    for (unsigned i = 0; i < FLUSH_PATIENCE; i++) {
        if (get(REG_LSR) & bit)
            return true;
        cpu_pause();
    }
    return false;
}

void serial_flush(void)
{
    while (port.present && !port.dead && !empty()) {
        port.dead = !wait_status(LSR_TX_EMPTY);
        serial_pump();
    }
    /* The last characters have left the ring, but not yet the port. */
    if (port.present && !port.dead)
        port.dead = !wait_status(LSR_TX_DONE);
}

void serial_enable_interrupts(void)
{
    if (!port.present)
        return;
    port.interrupts = true;
    put(REG_IER, IER_RX | (empty() ? 0 : IER_TX));
}

int serial_get(void)
{
    if (!port.present || !(get(REG_LSR) & LSR_DATA))
        return -1;
    return get(REG_DATA);
}

bool serial_pending(void)
{
    if (!port.present || (get(REG_IIR) & IIR_NONE))
        return false;
    (void)get(REG_LSR); /* a line error or a modem signal is the cause perhaps: reading clears it */
    (void)get(REG_MSR);
    return true;
}
