/* The HPET (IA-PC HPET specification 1.0a): what its ACPI table says about it. */
#ifndef DEVICES_HPET_H
#define DEVICES_HPET_H

#define GUEST_HPET_BASE 0xfed00000ul
#define HPET_SIZE       0x400

#define HPET_TIMERS 3u
/* The low half of the capabilities register: revision, timers, 64 bits, legacy routes, vendor. */
#define HPET_BLOCK_ID (0x01u | (HPET_TIMERS - 1) << 8 | 1u << 13 | 1u << 15 | 0x8086u << 16)
/* Periodic interrupts come after so many ticks at the soonest. */
#define HPET_MIN_TICKS 2000u

#endif
