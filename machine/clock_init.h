/* Finding out how fast the TSC is. */
#ifndef MACHINE_CLOCK_INIT_H
#define MACHINE_CLOCK_INIT_H

/* Measures the TSC against the best timer there is, and says so in a line. Boot CPU, after ACPI. */
void clock_init(void);

#endif
