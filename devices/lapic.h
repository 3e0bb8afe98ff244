/*
 * The local APIC (SDM vol. 3 ch. 11), xAPIC and x2APIC. Its registers live in one page in the
 * hardware's own layout, so that VMX can use that page as the virtual-APIC page: with APIC
 * virtualisation the CPU reads and writes it while the guest runs, and this code does the rest.
 *
 * Interrupts from other contexts are posted: a bit in pir[], set atomically, then a wake. The
 * owner folds pir[] into IRR before it enters the guest (or the CPU does, with posted interrupts:
 * pir has the layout of the posted-interrupt descriptor).
 */
#ifndef DEVICES_LAPIC_H
#define DEVICES_LAPIC_H

#include "devices/machine.h"
#include "lib/types.h"

/* Register offsets in the page; x2APIC MSR = 0x800 + offset / 16. */
enum lapic_reg {
    LAPIC_ID = 0x20,
    LAPIC_VERSION = 0x30,
    LAPIC_TPR = 0x80,
    LAPIC_APR = 0x90,
    LAPIC_PPR = 0xa0,
    LAPIC_EOI = 0xb0,
    LAPIC_RRD = 0xc0,
    LAPIC_LDR = 0xd0,
    LAPIC_DFR = 0xe0,
    LAPIC_SVR = 0xf0,
    LAPIC_ISR = 0x100,
    LAPIC_TMR = 0x180,
    LAPIC_IRR = 0x200,
    LAPIC_ESR = 0x280,
    LAPIC_LVT_CMCI = 0x2f0,
    LAPIC_ICR = 0x300,
    LAPIC_ICR_HIGH = 0x310,
    LAPIC_LVT_TIMER = 0x320,
    LAPIC_LVT_THERMAL = 0x330,
    LAPIC_LVT_PERF = 0x340,
    LAPIC_LVT_LINT0 = 0x350,
    LAPIC_LVT_LINT1 = 0x360,
    LAPIC_LVT_ERROR = 0x370,
    LAPIC_TIMER_INITIAL = 0x380,
    LAPIC_TIMER_CURRENT = 0x390,
    LAPIC_TIMER_DIVIDE = 0x3e0,
    LAPIC_SELF_IPI = 0x3f0,
};

/* Posted-interrupt descriptor (SDM vol. 3 section 30.6): 64 bytes, 64-byte aligned. */
struct lapic_pir {
    uint64_t bits[4];
    uint64_t control; /* bit 0: outstanding notification */
    uint64_t reserved[3];
} __attribute__((aligned(64)));

struct lapic {
    struct lapic_pir pir;
    uint32_t *page; /* 4 KiB, page aligned, in the hardware's layout */
    struct machine *machine;
    unsigned vcpu;
    uint64_t base_msr; /* IA32_APIC_BASE: base, enable, x2APIC, BSP */
    uint64_t tsc_deadline;
    uint64_t timer_deadline; /* guest TSC at which it will fire, or TIMER_NEVER */
    uint64_t timer_start;    /* guest TSC at which the count was started */
    /* Vectors posted level-triggered: EOI goes to the IOAPIC. Bits set and cleared atomically. */
    uint8_t pending_eoi_levels[32] __attribute__((aligned(8)));
    /*
     * Set by the owner when the CPU itself evaluates pending interrupts and EOI (virtual-interrupt
     * delivery): then lapic_eoi is only called for EOI-induced exits.
     */
    bool virtual_delivery;
    /* Which of the eight words of IRR and ISR are not 0; unused with virtual_delivery. */
    uint8_t irr_words, isr_words;
    uint8_t timer_mode;  /* LVT timer bits 18:17 in effect */
    uint8_t timer_shift; /* the count goes down once every 2^timer_shift ticks of the guest's TSC */
    bool timer_running;  /* it will fire once more */
    bool extint;         /* an ExtINT message from the IOAPIC: the PIC has something for us */
    uint8_t lint_level, lint_remote_irr; /* bit n: of LINTn */
    uint32_t errors;                     /* ESR bits since the last write to ESR; atomic */
    uint64_t timer_min;                  /* periodic timers do not fire closer together than this */
};

/* The instance for vcpu; page is given by the caller (page aligned, zeroed). Used by machine. */
void lapic_init(struct lapic *l, struct machine *m, unsigned vcpu, uint32_t *page);
void lapic_reset(struct lapic *l);
/* What an INIT does (SDM 11.4.7.3): as reset, but the ID and IA32_APIC_BASE stay. Owner only. */
void lapic_reset_init(struct lapic *l);
void lapic_save(struct lapic *l, struct device_state *s);
MUST_CHECK bool lapic_load(struct lapic *l, struct device_state *s);

static inline bool lapic_enabled(const struct lapic *l) /* by IA32_APIC_BASE */
{
    return l->base_msr & BIT(11);
}
static inline bool lapic_x2apic(const struct lapic *l)
{
    return (l->base_msr & (BIT(11) | BIT(10))) == (BIT(11) | BIT(10));
}

/* xAPIC registers by offset in the page (32-bit accesses at multiples of 16). */
uint32_t lapic_read(struct lapic *l, unsigned offset);
void lapic_write(struct lapic *l, unsigned offset, uint32_t value);
/* x2APIC registers, IA32_APIC_BASE, TSC deadline; false: #GP. */
MUST_CHECK bool lapic_msr_read(struct lapic *l, uint32_t msr, uint64_t *value);
MUST_CHECK bool lapic_msr_write(struct lapic *l, uint32_t msr, uint64_t value);
/* Of those the two that are written all the time: TSC deadline (0: none) and x2APIC's ICR. */
void lapic_set_deadline(struct lapic *l, uint64_t tsc);
MUST_CHECK bool lapic_write_icr(struct lapic *l, uint64_t value);
/*
 * For a CPU that delivers by itself: whether the x2APIC ICR value sends an ordinary edge-triggered
 * vector to this CPU itself, with nothing about it to be noted; then lapic_request stores the ICR
 * and puts the vector into IRR, and the owner tells the CPU. Owner only.
 */
bool lapic_icr_to_self(const struct lapic *l, uint64_t icr);
static inline void lapic_request(struct lapic *l, uint32_t icr)
{
    l->page[LAPIC_ICR / 4] = icr;
    l->page[LAPIC_ICR / 4 + 1] = 0;
    l->page[(LAPIC_IRR + (uint8_t)icr / 32 * 16) / 4] |= 1u << icr % 32;
}
/* The time that machine_cpu_ops.timer was told has come; now: the guest's TSC. */
void lapic_timer_expired(struct lapic *l, uint64_t now);
/* After the CPU itself stored value into the page (APIC-write exit): the side effects. */
void lapic_written(struct lapic *l, unsigned offset);

/* Makes vector pending (fixed delivery) and wakes the vCPU. Any context. */
void lapic_post(struct lapic *l, uint8_t vector, bool level);
/* Folds pir into IRR; returns the highest vector in IRR, or -1. Owner only. */
int lapic_sync(struct lapic *l);
/* The highest vector in IRR whose class is above PPR, or -1: what may be injected now. */
int lapic_pending(struct lapic *l);
/* Whether two or more vectors are in IRR. Owner only. */
bool lapic_crowded(struct lapic *l);
/* The highest vector in ISR, or -1. */
int lapic_in_service(struct lapic *l);
/* Counts IRR and ISR anew: for an owner that turns virtual_delivery off. */
void lapic_rescan(struct lapic *l);
/* The vector goes from IRR to ISR: it is being injected. One that lapic_pending returned. */
void lapic_accept(struct lapic *l, int vector);
/* An EOI, without virtual delivery; with it: EOI-induced exit for that vector. */
void lapic_eoi(struct lapic *l);
void lapic_eoi_vector(struct lapic *l, uint8_t vector);
/* Which vectors need an exit at EOI (level-triggered ones), for the EOI-exit bitmap. */
void lapic_eoi_exit_bitmap(struct lapic *l, uint64_t bitmap[4]);
/*
 * Whether the PIC's output reaches this CPU: LAPIC globally disabled, or LINT0 unmasked as
 * ExtINT. Such an interrupt is taken from the PIC by machine->pic when the guest can take it.
 */
bool lapic_accepts_extint(const struct lapic *l);

/* The level of the pin LINT0 or LINT1 (pin 0 or 1). */
void lapic_set_lint(struct lapic *l, unsigned pin, bool level);

/* Delivery modes: bits 10:8 of ICR, LVT and IOAPIC entries, bits 10:8 of MSI data. */
enum lapic_delivery {
    LAPIC_FIXED = 0,
    LAPIC_LOWEST_PRIORITY = 1,
    LAPIC_SMI = 2,
    LAPIC_NMI = 4,
    LAPIC_INIT = 5,
    LAPIC_STARTUP = 6,
    LAPIC_EXTINT = 7,
};

/*
 * An interrupt message on the APIC bus: from the IOAPIC, an MSI or another CPU's ICR. dest is
 * the 8-bit (or x2APIC 32-bit) destination field; mode as in the ICR's delivery mode. False when
 * no local APIC took it.
 */
bool lapic_deliver(struct machine *m, uint32_t dest, bool logical, unsigned mode, uint8_t vector,
                   bool level);

#endif
