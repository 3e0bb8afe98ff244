/*
 * A guest's computer: its bus, its interrupt controllers and their wiring, its devices. Pure: vm/
 * owns one per VM and tests build one on the host.
 *
 * Wiring: ISA IRQ n drives PIC input n and IOAPIC pin n (IRQ 0: pin 2, as the MADT says). The
 * PIC's output is LINT0 of every local APIC (ExtINT as the guest programs it). The PCI bus has four
 * interrupt lines: line n is IOAPIC pin 16 + n, and the ISA IRQ that the PIIX3 routes it to.
 */
#ifndef DEVICES_MACHINE_H
#define DEVICES_MACHINE_H

#include "devices/bus.h"
#include "devices/device.h"
#include "devices/disk_image.h"
#include "devices/fw_cfg.h"
#include "lib/list.h"
#include "lib/types.h"

#define MACHINE_MAX_VCPUS 16

/* Where things are in every guest's address space. */
#define GUEST_LAPIC_BASE  0xfee00000ul
#define GUEST_IOAPIC_BASE 0xfec00000ul
#define GUEST_LOW_RAM_MAX 0xc0000000ul /* RAM below 4 GiB ends here at the latest */
#define GUEST_PM_BASE     0x600        /* ACPI PM1a event block, control, timer */
#define GUEST_SCI_IRQ     9

struct lapic;
struct pic;
struct ioapic;
struct uart;
struct pci;
struct acpi_pm;
struct i8042;
struct piix3;
struct vga;
struct debug_port;
struct dma;

/* Kinds of boot devices, as SeaBIOS numbers them in CMOS. */
enum machine_boot {
    MACHINE_BOOT_FLOPPY = 1,
    MACHINE_BOOT_DISK = 2,
    MACHINE_BOOT_CDROM = 3,
    MACHINE_BOOT_NETWORK = 4,
};
#define MACHINE_BOOT_DEVICES 4

struct machine_config {
    unsigned nr_vcpus;
    uint64_t ram_bytes;    /* in all */
    uint64_t apic_shift;   /* the local APICs' timer clock is the TSC >> apic_shift */
    struct chardev com[4]; /* write NULL: no such port */
    bool debug_console;    /* ports 0xE9 and 0x402 write to the VM's log */
    bool debug_exit;       /* a write to port 0x501 turns the VM off */
    /*
     * Firmware starts the guest: the chip set is as after power-on. Without, it is as firmware
     * leaves it.
     */
    bool firmware;
    struct disk_image disk[DISK_IMAGES];
    bool vga; /* there is a display adapter */
    /* What fw_cfg tells firmware; the array lives as long as the machine. */
    const struct firmware_file *files;
    unsigned nr_files;
    bool no_graphics;                         /* firmware talks on COM1 */
    bool boot_menu;                           /* it offers a choice of boot devices */
    uint8_t boot_order[MACHINE_BOOT_DEVICES]; /* enum machine_boot, 0 ends it */
};

/* What the local APICs want from their vCPUs. vcpu is an index. */
struct machine_cpu_ops {
    /* Something to inject may have come up: look at the local APIC before the next entry. */
    void (*wake)(void *opaque, unsigned vcpu);
    /*
     * A short cut for an edge-triggered interrupt: true when the vCPU is between exit and entry on
     * this CPU, which delivers the vector by itself as soon as it is in IRR.
     */
    bool (*delivers)(void *opaque, unsigned vcpu, uint8_t vector);
    /*
     * lapic_timer_expired is to be called at this guest TSC value (or as soon as it can, if that
     * is over); TIMER_NEVER: not any more.
     */
    void (*timer)(void *opaque, struct lapic *l, uint64_t deadline);
    void (*nmi)(void *opaque, unsigned vcpu);
    void (*init)(void *opaque, unsigned vcpu);
    void (*startup)(void *opaque, unsigned vcpu, uint8_t vector); /* SIPI: page of the entry */
};

struct machine {
    struct device_host *host;
    struct machine_config config;
    const struct machine_cpu_ops *cpu_ops;
    void *cpu_opaque;
    struct bus *bus;
    const struct bus_ports *ports; /* of that bus */
    struct lapic *lapic[MACHINE_MAX_VCPUS];
    /* Set by the classes concerned when they are created. */
    struct pic *pic;
    struct ioapic *ioapic;
    struct uart *uart[4];
    struct pci *pci;
    struct acpi_pm *acpi_pm;
    struct i8042 *i8042;
    struct piix3 *piix3;
    struct vga *vga; /* NULL: none */
    struct debug_port *debug_port;
    struct dma *dma;
    struct list devices;
    uint16_t isa_level; /* level of each ISA IRQ */
    /* What PIT and RTC drive their IRQs to, whether or not that arrives (machine_replace_timers) */
    uint16_t timers_level;
    bool timers_replaced;
    /* Counts changes of what lapic_eoi_exit_bitmap says because of the IOAPIC. */
    uint32_t eoi_generation;
    bool intr_level;    /* the PIC's output */
    uint8_t lapic_turn; /* whose turn it is among equals, for lowest-priority messages */
};

/*
 * Builds the machine with every device class there is, and resets it. 0 or a negative error, with
 * nothing left.
 */
MUST_CHECK int machine_create(struct machine *m, struct device_host *host,
                              const struct machine_config *config,
                              const struct machine_cpu_ops *cpu_ops, void *cpu_opaque);
void machine_destroy(struct machine *m);
/* The reset line: every device, the local APICs included. */
void machine_reset(struct machine *m);
/* All device state; false when it did not fit or (load) is not a stream of this machine. */
MUST_CHECK bool machine_save(struct machine *m, struct device_state *s);
MUST_CHECK bool machine_load(struct machine *m, struct device_state *s);

/* ISA interrupt line irq (0 to 15), for a device to keep. */
struct irq_line machine_isa_irq(struct machine *m, unsigned irq);

/*
 * The HPET's legacy replacement: PIT and RTC are cut off from IRQ 0 and 8, and the lines that
 * machine_replaced_irq gives drive them. n is 0 for IRQ 0 and 1 for IRQ 8; a line that is set while
 * nothing is replaced does nothing.
 */
void machine_replace_timers(struct machine *m, bool on);
struct irq_line machine_replaced_irq(struct machine *m, unsigned n);

/* The PIC's output: LINT0 of every local APIC, and IOAPIC pin 0 (for ExtINT through there). */
void machine_set_intr(struct machine *m, bool level);

/* Bytes from outside for COM n (0 based); returns how many were taken. */
size_t machine_serial_input(struct machine *m, unsigned com, const void *data, size_t n);
/* Output may be offered again to the chardev behind COM n: there is room. */
void machine_serial_resume(struct machine *m, unsigned com);

#endif
