/*
 * Sources: Intel 82093AA (IOAPIC) and 8259A data sheets; ACPI 6.5, 5.2.12 (MADT).
 */
#include "lib/log.h"
#include "machine/acpi.h"
#include "machine/apic.h"
#include "machine/apic_init.h"
#include "machine/cpu.h"
#include "machine/interrupt.h"
#include "machine/ioapic.h"
#include "machine/paging.h"
#include "machine/percpu.h"

#define ISA_IRQS 16

/* IOAPIC: an index and a window; a redirection entry is two registers. */
#define IOAPIC_SIZE        0x20
#define IOAPIC_WINDOW      0x10
#define IOAPIC_VERSION     1
#define IOAPIC_REDIRECTION 0x10
#define REDIR_ACTIVE_LOW   BIT(13)
#define REDIR_LEVEL        BIT(15)
#define REDIR_MASKED       BIT(16)
#define REDIR_DEST_SHIFT   56

/* The two 8259As. */
#define PIC1_COMMAND  0x20
#define PIC1_DATA     0x21
#define PIC2_COMMAND  0xa0
#define PIC2_DATA     0xa1
#define PIC_ICW1_INIT 0x11 /* edge triggered, cascaded, ICW4 follows */
#define PIC_ICW4_8086 0x01
#define PIC_CASCADE   2
#define PIC_EOI       0x20

static struct {
    struct ioapic {
        volatile uint32_t *regs;
        uint32_t gsi_base, inputs;
    } ioapics[ACPI_MAX_IOAPICS];
    unsigned n;
} found;

/* ------------------------------------------------------------ PIC */

/* Moved away from the exceptions' vectors, so that even a spurious IRQ 7 is known for what it is.
 */
static void pic_init(void)
{
    outb(PIC1_COMMAND, PIC_ICW1_INIT);
    outb(PIC2_COMMAND, PIC_ICW1_INIT);
    outb(PIC1_DATA, HOST_VECTOR_IRQ);
    outb(PIC2_DATA, HOST_VECTOR_IRQ + 8);
    outb(PIC1_DATA, BIT(PIC_CASCADE));
    outb(PIC2_DATA, PIC_CASCADE);
    outb(PIC1_DATA, PIC_ICW4_8086);
    outb(PIC2_DATA, PIC_ICW4_8086);
    outb(PIC1_DATA, 0xff);
    outb(PIC2_DATA, 0xff);
}

static void pic_unmask(unsigned irq)
{
    if (irq >= 8) {
        outb(PIC2_DATA, inb(PIC2_DATA) & ~(1u << (irq - 8)));
        irq = PIC_CASCADE;
    }
    outb(PIC1_DATA, inb(PIC1_DATA) & ~(1u << irq));
}

bool ioapic_pic_eoi(unsigned vector)
{
    if (found.n > 0 || vector < HOST_VECTOR_IRQ || vector >= HOST_VECTOR_IRQ + ISA_IRQS)
        return false;
    if (vector >= HOST_VECTOR_IRQ + 8)
        outb(PIC2_COMMAND, PIC_EOI);
    outb(PIC1_COMMAND, PIC_EOI);
    return true;
}

/* ------------------------------------------------------------ IOAPIC */

static uint32_t read_reg(const struct ioapic *io, uint32_t index)
{
    io->regs[0] = index;
    return io->regs[IOAPIC_WINDOW / 4];
}
static void write_reg(const struct ioapic *io, uint32_t index, uint32_t v)
{
    io->regs[0] = index;
    io->regs[IOAPIC_WINDOW / 4] = v;
}

/* The half with the mask is written last when opening, first when closing: masked in between. */
static void write_redirection(const struct ioapic *io, uint32_t input, uint64_t v)
{
    write_reg(io, IOAPIC_REDIRECTION + 2 * input, REDIR_MASKED);
    write_reg(io, IOAPIC_REDIRECTION + 2 * input + 1, (uint32_t)(v >> 32));
    write_reg(io, IOAPIC_REDIRECTION + 2 * input, (uint32_t)v);
}

static void add_ioapic(const struct acpi_ioapic *a)
{
    struct ioapic *io = &found.ioapics[found.n];
    uint32_t version;

    io->regs = paging_map_device(a->address, IOAPIC_SIZE);
    io->gsi_base = a->gsi_base;
    version = read_reg(io, IOAPIC_VERSION);
    if (version == UINT32_MAX) {
        log_line("ioapic: nothing answers at %#lx", a->address.v);
        return;
    }
    io->inputs = (version >> 16 & 0xff) + 1;
    for (uint32_t i = 0; i < io->inputs; i++)
        write_redirection(io, i, REDIR_MASKED);
    found.n++;
}

void ioapic_init(void)
{
    const struct acpi_info *acpi = acpi_info();

    pic_init();
    for (unsigned i = 0; i < acpi->nr_ioapics; i++)
        add_ioapic(&acpi->ioapics[i]);
    if (found.n == 0)
        apic_accept_pic();
}

unsigned ioapic_count(void)
{
    return found.n;
}

static const struct ioapic *ioapic_of(uint32_t gsi)
{
    for (unsigned i = 0; i < found.n; i++)
        if (gsi - found.ioapics[i].gsi_base < found.ioapics[i].inputs)
            return &found.ioapics[i];
    return NULL;
}

bool interrupt_enable_isa(unsigned irq)
{
    const struct acpi_isa_route *route = &acpi_info()->isa[irq % ISA_IRQS];
    const struct ioapic *io;
    uint64_t entry = HOST_VECTOR_IRQ + irq;
    uint32_t dest = cpu_get(0)->apic_id;

    if (irq >= ISA_IRQS)
        return false;
    if (found.n == 0) {
        pic_unmask(irq);
        return true;
    }
    io = ioapic_of(route->gsi);
    if (io == NULL || dest > 0xff)
        return false;
    if (route->active_low)
        entry |= REDIR_ACTIVE_LOW;
    if (route->level)
        entry |= REDIR_LEVEL;
    write_redirection(io, route->gsi - io->gsi_base, entry | (uint64_t)dest << REDIR_DEST_SHIFT);
    return true;
}
