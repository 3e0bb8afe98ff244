/*
 * ACPI fixed hardware (ACPI specification chapter 4): PM1 events and control, the PM timer, general
 * purpose events, at GUEST_PM_BASE. There is no SMI command port: the machine is always in ACPI
 * mode, which the FADT tells by SMI_CMD = 0.
 */
#ifndef DEVICES_ACPI_PM_H
#define DEVICES_ACPI_PM_H

#include "devices/machine.h"

/* Register blocks, as offsets from GUEST_PM_BASE, for the FADT. */
#define ACPI_PM1_EVENT        0x00 /* status, enable: 16 bits each */
#define ACPI_PM1_EVENT_SIZE   4
#define ACPI_PM1_CONTROL      0x04
#define ACPI_PM1_CONTROL_SIZE 2
#define ACPI_PM_TIMER         0x08
#define ACPI_PM_TIMER_SIZE    4
#define ACPI_GPE0             0x20 /* status, enable: 16 bits each */
#define ACPI_GPE0_SIZE        4
#define ACPI_PM_SIZE          0x40

#define ACPI_PM_TIMER_HZ 3579545

/* SLP_TYP for power off; the DSDT's _S5 says the same. */
#define ACPI_SLP_TYP_S5 5

/* The power button: a press, not a hold. The guest's system shuts down if it cares to. */
void acpi_pm_power_button(struct machine *m);
/* General purpose event n (0 to 15) happened. */
void acpi_pm_event(struct machine *m, unsigned n);

#endif
