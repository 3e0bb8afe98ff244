/*
 * The PCI bus of a guest: configuration mechanism #1 (PCI Local Bus specification 3.0, 3.2.2.3.2)
 * and an API for what sits on the bus. Register names come from <linux/pci_regs.h>.
 *
 * The reset control register (port 0xCF9, as in the PIIX3) lies within the address register's four
 * bytes: only a dword access reaches the address register.
 */
#ifndef DEVICES_PCI_H
#define DEVICES_PCI_H

#include "devices/device.h"
#include "lib/types.h"

#define PCI_MAX_SLOTS   32
#define PCI_FUNCTIONS   8 /* of a slot */
#define PCI_CONFIG_SIZE 256
#define PCI_NR_BARS     6
#define PCI_INTX_GSI    16 /* interrupt line n is I/O APIC pin 16 + n */
#define PCI_NR_LINES    4
#define PCI_RESET_PORT  0xcf9
#define PCI_RESET_FULL  0x06 /* hard reset, from a write that sets bit 2 */

struct machine;
struct pci_function;

/* What a function wants to know. Any of them may be NULL. */
struct pci_ops {
    /*
     * BAR n decodes at address now, or not at all (mapped false). Called with what was mapped
     * first unmapped. size is the BAR's. Returning an error leaves it undecoded.
     */
    int (*map)(struct pci_function *f, unsigned bar, uint64_t address);
    void (*unmap)(struct pci_function *f, unsigned bar, uint64_t address);
    /* After a write to config space took effect (capabilities, command bits). */
    void (*written)(struct pci_function *f, unsigned offset, unsigned size);
};

struct pci_bar {
    uint64_t size; /* 0: no such BAR, or the upper half of a 64-bit one; else a power of two */
    uint64_t mapped_at;
    bool mapped;
    bool is_64bit;
    bool is_io;
};

/* A function, embedded in the device that it belongs to. */
struct pci_function {
    struct machine *machine;
    const char *name;
    const struct pci_ops *ops;
    uint8_t slot, number;    /* device and function number on the bus */
    uint8_t next_capability; /* offset where there is room for one */
    uint8_t last_capability; /* offset of the pointer that the next one extends */
    bool intx_requested;     /* by the device */
    bool intx_driven;        /* requested, and not disabled by the guest */
    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t write_mask[PCI_CONFIG_SIZE]; /* bits that a guest can write */
    uint8_t clear_mask[PCI_CONFIG_SIZE]; /* bits that writing 1 clears */
    uint8_t reset_config[PCI_CONFIG_SIZE];
    struct pci_bar bar[PCI_NR_BARS];
};

/* What a function is, for its header. */
struct pci_identity {
    uint16_t vendor, device;
    uint16_t subsystem_vendor, subsystem;
    uint32_t class_code; /* base class, sub-class, interface: 24 bits */
    uint8_t revision;
    uint8_t pin; /* 1 to 4: INTA to INTD; 0: none */
};

/*
 * Sets up f with a header of type 0; add BARs and capabilities, then put it on the bus. slot 0 is
 * the host bridge; PCI_ANY_SLOT takes the first free one. E_EXIST, E_NOSPC, E_NODEV (no bus).
 */
#define PCI_ANY_SLOT 0xff
void pci_init(struct pci_function *f, struct machine *m, const char *name,
              const struct pci_identity *id, const struct pci_ops *ops);
/* size is a power of two: at least 4 for ports, 16 for memory. */
void pci_add_bar_ports(struct pci_function *f, unsigned bar, uint32_t size);
void pci_add_bar_memory(struct pci_function *f, unsigned bar, uint64_t size, bool is_64bit,
                        bool prefetchable);
/* Room for a capability of size bytes (its two header bytes included); its offset, or 0. */
unsigned pci_add_capability(struct pci_function *f, uint8_t id, unsigned size);
MUST_CHECK int pci_attach(struct pci_function *f, unsigned slot);
/*
 * The same for function number of a slot with several functions, function 0 first: that one's
 * header then says that there are more. E_NODEV when there is no function 0.
 */
MUST_CHECK int pci_attach_function(struct pci_function *f, unsigned slot, unsigned number);
void pci_detach(struct pci_function *f);

/* Config space of a function, as its own device sees it: no masks. */
static inline uint16_t pci_get16(const struct pci_function *f, unsigned offset)
{
    return (uint16_t)(f->config[offset] | f->config[offset + 1] << 8);
}
uint32_t pci_get32(const struct pci_function *f, unsigned offset);
void pci_set16(struct pci_function *f, unsigned offset, uint16_t value);
void pci_set32(struct pci_function *f, unsigned offset, uint32_t value);

/* The function's interrupt pin. Lines are shared: a line is up while any function asserts it. */
void pci_set_intx(struct pci_function *f, bool level);
/* For the device's own reset, save and load: the function's part of it. */
void pci_reset(struct pci_function *f);
void pci_save(const struct pci_function *f, struct device_state *s);
MUST_CHECK bool pci_load(struct pci_function *f, struct device_state *s);

#endif
