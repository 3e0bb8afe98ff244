/*
 * ACPI fixed hardware (ACPI specification chapter 4) as the PIIX4 lays it out (Intel 82371AB, data
 * sheet 290562, 7.2): PM1 events and control, the PM timer, general purpose events. The PCI
 * function in devices/piix4_pm.c says where. There is no SMI command port: the machine is always in
 * ACPI mode, which the FADT tells by SMI_CMD = 0.
 */
#ifndef DEVICES_ACPI_PM_H
#define DEVICES_ACPI_PM_H

#include "devices/machine.h"

/* Register blocks, as offsets from the base, for the FADT. */
#define ACPI_PM1_EVENT        0x00 /* status, enable: 16 bits each */
#define ACPI_PM1_EVENT_SIZE   4
#define ACPI_PM1_CONTROL      0x04
#define ACPI_PM1_CONTROL_SIZE 2
#define ACPI_PM_TIMER         0x08
#define ACPI_PM_TIMER_SIZE    4
#define ACPI_GPE0             0x0c /* status, enable: 16 bits each */
#define ACPI_GPE0_SIZE        4
#define ACPI_PM_SIZE          0x40

#define ACPI_PM_TIMER_HZ 3579545

/* SLP_TYP for power off, as the PIIX4 has it; the DSDT's _S5 says the same. */
#define ACPI_SLP_TYP_S5 0

/*
 * The registers are at ports base to base + ACPI_PM_SIZE - 1 from now on; 0: nowhere. An error,
 * when others are there or memory ran out, leaves those concerned undecoded.
 */
int acpi_pm_set_base(struct machine *m, uint16_t base);
/* The power button: a press, not a hold. The guest's system shuts down if it cares to. */
void acpi_pm_power_button(struct machine *m);
/* General purpose event n (0 to 15) happened. */
void acpi_pm_event(struct machine *m, unsigned n);

#endif
