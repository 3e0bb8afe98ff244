/* The local APIC: registers, modes, priorities, IPIs, what kernels do with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>
#include "devices/lapic.h"
#include "lib/bitmap.h"
#include "lib/string.h"
#include "tests/unit/fake_host.h"
#include "tests/unit/random.h"

#define CPUS 4

#define MSR_APIC_BASE 0x1b
#define MSR_X2(reg)   (0x800 + (reg) / 16)
#define BASE_X2APIC   (GUEST_LAPIC_BASE | 0xc00)
#define BASE_XAPIC    (GUEST_LAPIC_BASE | 0x800)

#define MASKED 0x10000

struct fixture {
    struct fake_host host;
    struct machine m;
    struct lapic *l; /* the first one */
};

static int setup(void **state)
{
    static struct fixture f;

    fake_host_init(&f.host);
    fake_machine_create(&f.host, &f.m, CPUS);
    for (unsigned i = 0; i < CPUS; i++)
        lapic_write(f.m.lapic[i], LAPIC_SVR, 0x1ff);
    memset(f.host.cpu, 0, sizeof(f.host.cpu));
    f.l = f.m.lapic[0];
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    machine_destroy(&f->m);
    fake_host_finish(&f->host);
    return 0;
}

static void to_x2apic(struct fixture *f)
{
    for (unsigned i = 0; i < CPUS; i++)
        assert_true(
            lapic_msr_write(f->m.lapic[i], MSR_APIC_BASE, BASE_X2APIC | (i == 0 ? 0x100 : 0)));
}

static void send(struct fixture *f, unsigned from, uint8_t dest, uint32_t icr)
{
    lapic_write(f->m.lapic[from], LAPIC_ICR_HIGH, (uint32_t)dest << 24);
    lapic_write(f->m.lapic[from], LAPIC_ICR, icr);
}

/* Which LAPICs have the vector pending, as a bit mask; takes it. */
static unsigned take(struct fixture *f, uint8_t vector)
{
    unsigned who = 0;

    for (unsigned i = 0; i < CPUS; i++)
        if (lapic_pending(f->m.lapic[i]) == vector) {
            lapic_accept(f->m.lapic[i], vector);
            lapic_eoi(f->m.lapic[i]);
            who |= 1u << i;
        }
    return who;
}

/* ------------------------------------------------------------------ registers and modes */

static void reset_values(void **state)
{
    struct fixture *f = *state;
    struct lapic *l = f->m.lapic[2];
    uint64_t base;

    machine_reset(&f->m);
    assert_int_equal(lapic_read(l, LAPIC_ID), 2u << 24);
    assert_int_equal(lapic_read(l, LAPIC_VERSION), 0x60014);
    assert_int_equal(lapic_read(l, LAPIC_SVR), 0xff);
    assert_int_equal(lapic_read(l, LAPIC_DFR), 0xffffffff);
    assert_int_equal(lapic_read(l, LAPIC_LDR), 0);
    for (unsigned lvt = LAPIC_LVT_TIMER; lvt <= LAPIC_LVT_ERROR; lvt += 16)
        assert_int_equal(lapic_read(l, lvt), MASKED);
    assert_int_equal(lapic_read(l, LAPIC_LVT_CMCI), MASKED);
    assert_true(lapic_msr_read(l, MSR_APIC_BASE, &base));
    assert_int_equal(base, BASE_XAPIC);
    assert_true(lapic_msr_read(f->l, MSR_APIC_BASE, &base));
    assert_int_equal(base, BASE_XAPIC | 0x100); /* the boot processor */
}

static void writable_bits(void **state)
{
    struct lapic *l = ((struct fixture *)*state)->l;

    lapic_write(l, LAPIC_ID, 0x55000000);
    assert_int_equal(lapic_read(l, LAPIC_ID), 0);
    lapic_write(l, LAPIC_VERSION, 0xffffffff);
    assert_int_equal(lapic_read(l, LAPIC_VERSION), 0x60014);
    lapic_write(l, LAPIC_LDR, 0xffffffff);
    assert_int_equal(lapic_read(l, LAPIC_LDR), 0xff000000);
    lapic_write(l, LAPIC_DFR, 0);
    assert_int_equal(lapic_read(l, LAPIC_DFR), 0x0fffffff);
    lapic_write(l, LAPIC_LVT_TIMER, 0xffffffff);
    assert_int_equal(lapic_read(l, LAPIC_LVT_TIMER), 0x700ff);
    lapic_write(l, LAPIC_LVT_LINT0, 0xffffffff);
    assert_int_equal(lapic_read(l, LAPIC_LVT_LINT0), 0x1a7ff);
    lapic_write(l, LAPIC_LVT_ERROR, 0xffffffff);
    assert_int_equal(lapic_read(l, LAPIC_LVT_ERROR), 0x100ff);
    lapic_write(l, LAPIC_TIMER_DIVIDE, 0xffffffff);
    assert_int_equal(lapic_read(l, LAPIC_TIMER_DIVIDE), 0xb);
    lapic_write(l, LAPIC_TPR, 0xfffff123);
    assert_int_equal(lapic_read(l, LAPIC_TPR), 0x23);
    lapic_write(l, LAPIC_SVR, 0xffffffff);
    assert_int_equal(lapic_read(l, LAPIC_SVR), 0x3ff);
    lapic_write(l, LAPIC_ISR, 0xffffffff);
    assert_int_equal(lapic_read(l, LAPIC_ISR), 0);
}

static void software_disable_masks(void **state)
{
    struct fixture *f = *state;

    lapic_write(f->l, LAPIC_LVT_TIMER, 0x30);
    lapic_write(f->l, LAPIC_LVT_LINT0, 0x700);
    lapic_write(f->l, LAPIC_SVR, 0xff);
    assert_int_equal(lapic_read(f->l, LAPIC_LVT_TIMER), MASKED | 0x30);
    assert_int_equal(lapic_read(f->l, LAPIC_LVT_LINT0), MASKED | 0x700);
    lapic_write(f->l, LAPIC_LVT_TIMER, 0x31);
    assert_int_equal(lapic_read(f->l, LAPIC_LVT_TIMER), MASKED | 0x31);
    send(f, 1, 0, 0x40);
    assert_int_equal(take(f, 0x40), 0); /* ordinary interrupts are not taken */
    send(f, 1, 0, 0x400);
    assert_int_equal(f->host.cpu[0].nmis, 1); /* but NMIs are */
    lapic_write(f->l, LAPIC_SVR, 0x1ff);
    assert_int_equal(lapic_read(f->l, LAPIC_LVT_TIMER), MASKED | 0x31);
}

static void mode_transitions(void **state)
{
    struct fixture *f = *state;
    struct lapic *l = f->m.lapic[1];

    lapic_write(l, LAPIC_LDR, 0x02000000);
    lapic_write(l, LAPIC_TPR, 0x20);
    assert_false(lapic_msr_write(l, MSR_APIC_BASE, GUEST_LAPIC_BASE | 0x400)); /* invalid */
    assert_false(lapic_msr_write(l, MSR_APIC_BASE, BASE_XAPIC | 0x200));       /* reserved */
    assert_false(lapic_msr_write(l, MSR_APIC_BASE, BASE_XAPIC | 1));
    assert_false(lapic_msr_write(l, MSR_APIC_BASE, BASE_XAPIC | BIT(52)));
    assert_true(lapic_msr_write(l, MSR_APIC_BASE, BASE_X2APIC));
    assert_int_equal(lapic_read(l, LAPIC_ID), 0xffffffff); /* no memory interface now */
    assert_int_equal(l->page[LAPIC_ID / 4], 1);
    assert_int_equal(l->page[LAPIC_LDR / 4], 2);
    assert_int_equal(l->page[LAPIC_TPR / 4], 0x20); /* kept */
    assert_false(lapic_msr_write(l, MSR_APIC_BASE, BASE_XAPIC));
    assert_false(lapic_msr_write(l, MSR_APIC_BASE, GUEST_LAPIC_BASE | 0x400));
    assert_true(lapic_msr_write(l, MSR_APIC_BASE, GUEST_LAPIC_BASE));
    assert_false(lapic_enabled(l));
    assert_true(lapic_accepts_extint(l));
    assert_false(lapic_msr_write(l, MSR_APIC_BASE, BASE_X2APIC)); /* not at once */
    assert_true(lapic_msr_write(l, MSR_APIC_BASE, BASE_XAPIC));
    assert_int_equal(lapic_read(l, LAPIC_ID), 1u << 24);
    assert_int_equal(lapic_read(l, LAPIC_TPR), 0); /* as after reset */
    assert_int_equal(lapic_read(l, LAPIC_SVR), 0xff);
}

static void x2apic_faults(void **state)
{
    struct fixture *f = *state;
    struct lapic *l = f->l;
    uint64_t v;

    assert_false(lapic_msr_read(l, MSR_X2(LAPIC_ID), &v)); /* not in x2APIC mode yet */
    assert_false(lapic_msr_write(l, MSR_X2(LAPIC_TPR), 0));
    to_x2apic(f);
    assert_true(lapic_msr_read(l, MSR_X2(LAPIC_VERSION), &v));
    assert_int_equal(v, 0x60014);
    assert_false(lapic_msr_write(l, MSR_X2(LAPIC_ID), 0)); /* read-only */
    assert_false(lapic_msr_write(l, MSR_X2(LAPIC_LDR), 0));
    assert_false(lapic_msr_write(l, MSR_X2(LAPIC_ISR), 0));
    assert_false(lapic_msr_read(l, MSR_X2(LAPIC_EOI), &v)); /* write-only */
    assert_false(lapic_msr_read(l, MSR_X2(LAPIC_SELF_IPI), &v));
    assert_false(lapic_msr_read(l, MSR_X2(LAPIC_DFR), &v)); /* not there */
    assert_false(lapic_msr_write(l, MSR_X2(LAPIC_DFR), 0xffffffff));
    assert_false(lapic_msr_read(l, MSR_X2(LAPIC_ICR_HIGH), &v));
    assert_false(lapic_msr_read(l, MSR_X2(LAPIC_APR), &v));
    assert_false(lapic_msr_read(l, 0x800, &v));
    assert_false(lapic_msr_read(l, 0x840, &v));
    assert_false(lapic_msr_read(l, 0x8ff, &v));
    assert_false(lapic_msr_write(l, 0x8ff, 0));
    assert_false(lapic_msr_write(l, MSR_X2(LAPIC_EOI), 1)); /* reserved bits */
    assert_false(lapic_msr_write(l, MSR_X2(LAPIC_ESR), 1));
    assert_false(lapic_msr_write(l, MSR_X2(LAPIC_TPR), 0x100));
    assert_false(lapic_msr_write(l, MSR_X2(LAPIC_TPR), BIT(32)));
    assert_false(lapic_msr_write(l, MSR_X2(LAPIC_SVR), 0x1000));
    assert_false(lapic_msr_write(l, MSR_X2(LAPIC_LVT_TIMER), BIT(19)));
    assert_false(lapic_msr_write(l, MSR_X2(LAPIC_ICR), BIT(13) | 0x30));
    assert_false(lapic_msr_write(l, MSR_X2(LAPIC_SELF_IPI), 0x100));
    assert_true(lapic_msr_write(l, MSR_X2(LAPIC_TPR), 0xff));
    assert_true(lapic_msr_write(l, MSR_X2(LAPIC_EOI), 0));
    assert_true(lapic_msr_write(l, MSR_X2(LAPIC_ESR), 0));
    assert_true(lapic_msr_write(l, MSR_X2(LAPIC_ICR), 2ull << 32 | 0x51));
    assert_true(lapic_msr_read(l, MSR_X2(LAPIC_ICR), &v));
    assert_int_equal(v, 2ull << 32 | 0x51);
    assert_false(lapic_msr_read(l, 0x1234, &v));
}

static void init_keeps_mode_and_id(void **state)
{
    struct fixture *f = *state;
    struct lapic *l = f->m.lapic[3];
    uint64_t v;

    to_x2apic(f);
    assert_true(lapic_msr_write(l, MSR_X2(LAPIC_TPR), 0x40));
    lapic_post(l, 0x80, false);
    lapic_reset_init(l);
    assert_true(lapic_x2apic(l));
    assert_int_equal(lapic_sync(l), -1);
    assert_true(lapic_msr_read(l, MSR_X2(LAPIC_ID), &v) && v == 3);
    assert_true(lapic_msr_read(l, MSR_X2(LAPIC_LDR), &v) && v == 8);
    assert_true(lapic_msr_read(l, MSR_X2(LAPIC_TPR), &v) && v == 0);
    assert_true(lapic_msr_read(l, MSR_X2(LAPIC_SVR), &v) && v == 0xff);
}

/* ------------------------------------------------------------------ priorities */

static void highest_first(void **state)
{
    struct lapic *l = ((struct fixture *)*state)->l;

    assert_int_equal(lapic_pending(l), -1);
    lapic_post(l, 0x31, false);
    lapic_post(l, 0xfe, false);
    lapic_post(l, 0x82, false);
    assert_int_equal(lapic_sync(l), 0xfe);
    assert_int_equal(lapic_pending(l), 0xfe);
    lapic_accept(l, 0xfe);
    assert_int_equal(lapic_in_service(l), 0xfe);
    assert_int_equal(lapic_pending(l), -1);
    assert_int_equal(lapic_sync(l), 0x82);
    lapic_post(l, 0xff, false);
    assert_int_equal(lapic_pending(l), -1); /* same class */
    lapic_eoi(l);
    assert_int_equal(lapic_pending(l), 0xff);
    lapic_accept(l, 0xff);
    lapic_eoi(l);
    assert_int_equal(lapic_pending(l), 0x82);
    lapic_accept(l, 0x82);
    lapic_post(l, 0x9f, false);
    assert_int_equal(lapic_pending(l), 0x9f); /* nests */
    lapic_accept(l, 0x9f);
    assert_int_equal(lapic_read(l, LAPIC_PPR), 0x90);
    lapic_write(l, LAPIC_EOI, 0);
    assert_int_equal(lapic_read(l, LAPIC_PPR), 0x80);
    lapic_write(l, LAPIC_EOI, 0);
    assert_int_equal(lapic_pending(l), 0x31);
    lapic_eoi(l);
    lapic_accept(l, 0x31);
    lapic_eoi(l);
    lapic_eoi(l); /* nothing in service: no harm */
    assert_int_equal(lapic_pending(l), -1);
}

static void task_priority(void **state)
{
    struct lapic *l = ((struct fixture *)*state)->l;

    lapic_write(l, LAPIC_TPR, 0x45);
    assert_int_equal(lapic_read(l, LAPIC_PPR), 0x45);
    lapic_post(l, 0x4f, false);
    assert_int_equal(lapic_pending(l), -1);
    lapic_post(l, 0x50, false);
    assert_int_equal(lapic_pending(l), 0x50);
    lapic_accept(l, 0x50);
    assert_int_equal(lapic_read(l, LAPIC_PPR), 0x50);
    lapic_eoi(l);
    l->page[LAPIC_TPR / 4] = 0x30; /* as a CPU with a TPR shadow stores it */
    assert_int_equal(lapic_pending(l), 0x4f);
}

static void registers_show_vectors(void **state)
{
    struct lapic *l = ((struct fixture *)*state)->l;

    lapic_post(l, 0x45, true);
    assert_int_equal(lapic_read(l, LAPIC_IRR + 0x20), 1u << 5);
    assert_int_equal(lapic_read(l, LAPIC_TMR + 0x20), 1u << 5);
    lapic_accept(l, 0x45);
    assert_int_equal(lapic_read(l, LAPIC_IRR + 0x20), 0);
    assert_int_equal(lapic_read(l, LAPIC_ISR + 0x20), 1u << 5);
    lapic_post(l, 0x45, false); /* again, by edge */
    assert_int_equal(lapic_read(l, LAPIC_TMR + 0x20), 0);
}

static void posting_wakes_once(void **state)
{
    struct fixture *f = *state;

    lapic_post(f->l, 0x40, false);
    lapic_post(f->l, 0x40, false);
    lapic_post(f->l, 0x41, false);
    assert_int_equal(f->host.cpu[0].wakes, 1);
    assert_int_equal(lapic_sync(f->l), 0x41);
    lapic_post(f->l, 0x41, false);
    assert_int_equal(f->host.cpu[0].wakes, 2);
}

/* Two or more wait: in one word of IRR or in two, posted or accepted. */
static void several_wait(void **state)
{
    struct lapic *l = ((struct fixture *)*state)->l;

    assert_false(lapic_crowded(l));
    lapic_post(l, 0xfb, false);
    assert_false(lapic_crowded(l));
    lapic_post(l, 0xfb, false);
    assert_false(lapic_crowded(l));
    lapic_post(l, 0xec, false);
    assert_true(lapic_crowded(l));
    lapic_accept(l, lapic_pending(l));
    assert_false(lapic_crowded(l));
    lapic_post(l, 0x20, false);
    assert_true(lapic_crowded(l));
    l->virtual_delivery = true;
    l->page[(LAPIC_IRR + 0x10 * 7) / 4] = 0; /* as if the CPU had delivered it */
    assert_false(lapic_crowded(l));
}

/* The CPU evaluates and delivers by itself: nothing that this code remembers may count. */
static void virtual_delivery(void **state)
{
    struct lapic *l = ((struct fixture *)*state)->l;
    uint64_t bitmap[4];

    l->virtual_delivery = true;
    lapic_post(l, 0x61, true);
    assert_int_equal(lapic_sync(l), 0x61);
    lapic_eoi_exit_bitmap(l, bitmap);
    assert_int_equal(bitmap[1], BIT(0x21));
    assert_int_equal(bitmap[0] | bitmap[2] | bitmap[3], 0);
    l->page[(LAPIC_IRR + 0x30) / 4] = 0; /* delivered */
    l->page[(LAPIC_ISR + 0x30) / 4] = 2;
    assert_int_equal(lapic_sync(l), -1);
    assert_int_equal(lapic_in_service(l), 0x61);
    assert_int_equal(lapic_read(l, LAPIC_PPR), 0x60);
    l->page[(LAPIC_ISR + 0x30) / 4] = 0; /* EOI virtualised */
    lapic_eoi_vector(l, 0x61);
    assert_int_equal(lapic_in_service(l), -1);
    l->page[(LAPIC_IRR + 0x70) / 4] = 1u << 31; /* self-IPI virtualised */
    assert_int_equal(lapic_sync(l), 0xff);
    l->page[(LAPIC_IRR + 0x60) / 4] = 1;
    l->virtual_delivery = false;
    lapic_rescan(l);
    assert_int_equal(lapic_pending(l), 0xff);
    lapic_accept(l, 0xff);
    lapic_eoi(l);
    assert_int_equal(lapic_pending(l), 0xc0);
}

/* ------------------------------------------------------------------ IPIs */

static void shorthands(void **state)
{
    struct fixture *f = *state;

    send(f, 1, 0, 0x40 | 1 << 18);
    assert_int_equal(take(f, 0x40), 1 << 1);
    send(f, 1, 0, 0x41 | 2 << 18);
    assert_int_equal(take(f, 0x41), 0xf);
    send(f, 1, 0, 0x42 | 3 << 18);
    assert_int_equal(take(f, 0x42), 0xd);
    send(f, 1, 0, 0x400 | 3 << 18);
    for (unsigned i = 0; i < CPUS; i++)
        assert_int_equal(f->host.cpu[i].nmis, i != 1);
    send(f, 1, 0, 0x500 | 1 << 18); /* INIT to itself is not allowed */
    assert_int_equal(f->host.cpu[1].inits, 0);
}

static void physical_destinations(void **state)
{
    struct fixture *f = *state;

    send(f, 0, 3, 0x50);
    assert_int_equal(take(f, 0x50), 1 << 3);
    assert_int_equal(f->host.cpu[3].wakes, 1);
    send(f, 0, 0xff, 0x51);
    assert_int_equal(take(f, 0x51), 0xf);
    send(f, 0, CPUS, 0x52);
    assert_int_equal(take(f, 0x52), 0);
    assert_int_equal(lapic_read(f->l, LAPIC_ICR), 0x52);
    assert_int_equal(lapic_read(f->l, LAPIC_ICR_HIGH), CPUS << 24);
}

static void logical_destinations(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < CPUS; i++)
        lapic_write(f->m.lapic[i], LAPIC_LDR, 1u << (24 + i));
    send(f, 0, 0x05, 0x850);
    assert_int_equal(take(f, 0x50), 0x5);
    send(f, 0, 0xff, 0x851);
    assert_int_equal(take(f, 0x51), 0xf);
    for (unsigned i = 0; i < CPUS; i++) { /* two clusters of two */
        lapic_write(f->m.lapic[i], LAPIC_DFR, 0x0fffffff);
        lapic_write(f->m.lapic[i], LAPIC_LDR, (i / 2) << 28 | 1u << (24 + i % 2));
    }
    send(f, 0, 0x12, 0x852);
    assert_int_equal(take(f, 0x52), 1 << 3);
    send(f, 0, 0x03, 0x853);
    assert_int_equal(take(f, 0x53), 0x3);
    send(f, 0, 0xf1, 0x854); /* the first of all clusters */
    assert_int_equal(take(f, 0x54), 0x5);
}

static void x2apic_destinations(void **state)
{
    struct fixture *f = *state;

    to_x2apic(f);
    assert_true(lapic_msr_write(f->l, MSR_X2(LAPIC_ICR), 2ull << 32 | 0x60));
    assert_int_equal(take(f, 0x60), 1 << 2);
    assert_true(lapic_msr_write(f->l, MSR_X2(LAPIC_ICR), 0x6ull << 32 | 0x861)); /* logical */
    assert_int_equal(take(f, 0x61), 0x6);
    assert_true(lapic_msr_write(f->l, MSR_X2(LAPIC_ICR), 0x10001ull << 32 | 0x862));
    assert_int_equal(take(f, 0x62), 0); /* another cluster */
    assert_true(lapic_msr_write(f->l, MSR_X2(LAPIC_ICR), 0xffffffffull << 32 | 0x63));
    assert_int_equal(take(f, 0x63), 0xf);
    assert_true(lapic_msr_write(f->l, MSR_X2(LAPIC_ICR), 0xffull << 32 | 0x64));
    assert_int_equal(take(f, 0x64), 0); /* no broadcast in this mode */
    assert_true(lapic_msr_write(f->m.lapic[2], MSR_X2(LAPIC_SELF_IPI), 0x65));
    assert_int_equal(take(f, 0x65), 1 << 2);
    assert_true(lapic_deliver(&f->m, 0xff, false, LAPIC_FIXED, 0x66, false)); /* an MSI */
    assert_int_equal(take(f, 0x66), 0xf);
}

static void lowest_priority(void **state)
{
    struct fixture *f = *state;
    static const uint8_t tpr[CPUS] = {0x40, 0x20, 0x50, 0x20};
    unsigned who = 0;

    for (unsigned i = 0; i < CPUS; i++) {
        lapic_write(f->m.lapic[i], LAPIC_LDR, 1u << (24 + i));
        lapic_write(f->m.lapic[i], LAPIC_TPR, tpr[i]);
    }
    for (unsigned n = 0; n < 2; n++) { /* equals take turns */
        assert_true(lapic_deliver(&f->m, 0xf, true, LAPIC_LOWEST_PRIORITY, 0x70, false));
        who |= take(f, 0x70);
    }
    assert_int_equal(who, 0xa);
    assert_true(lapic_deliver(&f->m, 0x5, true, LAPIC_LOWEST_PRIORITY, 0x71, false));
    assert_int_equal(take(f, 0x71), 0x1);
    assert_false(lapic_deliver(&f->m, 0xf0, true, LAPIC_LOWEST_PRIORITY, 0x72, false));
}

/* How Linux starts a processor: INIT, its de-assertion, and twice the start-up message. */
static void start_a_processor(void **state)
{
    struct fixture *f = *state;

    send(f, 0, 1, 0xc500);
    send(f, 0, 1, 0x8500);
    assert_int_equal(f->host.cpu[1].inits, 1);
    send(f, 0, 1, 0x69a);
    send(f, 0, 1, 0x69a);
    assert_int_equal(f->host.cpu[1].startups, 2);
    assert_int_equal(f->host.cpu[1].startup_vector, 0x9a);
    assert_int_equal(f->host.cpu[0].inits + f->host.cpu[2].inits + f->host.cpu[3].inits, 0);
}

/* A ring of IPIs as a kernel's cross-calls make it: every one arrives, in order. */
static void cross_calls(void **state)
{
    struct fixture *f = *state;

    for (unsigned n = 0; n < 1000; n++) {
        unsigned from = n % CPUS, to = (n + 1 + n / CPUS % (CPUS - 1)) % CPUS;

        send(f, from, (uint8_t)to, 0xfb);
        assert_int_equal(lapic_pending(f->m.lapic[to]), 0xfb);
        assert_int_equal(take(f, 0xfb), 1u << to);
    }
}

/* ------------------------------------------------------------------ errors and pins */

static void errors(void **state)
{
    struct fixture *f = *state;

    lapic_write(f->l, LAPIC_LVT_ERROR, 0xf0);
    lapic_read(f->l, 0x40); /* reserved */
    assert_int_equal(take(f, 0xf0), 1);
    lapic_read(f->l, 0x40);
    assert_int_equal(take(f, 0xf0), 0); /* not before ESR is written */
    assert_int_equal(lapic_read(f->l, LAPIC_ESR), 0);
    lapic_write(f->l, LAPIC_ESR, 0);
    assert_int_equal(lapic_read(f->l, LAPIC_ESR), 0x80);
    send(f, 0, 1, 0x05);
    assert_int_equal(take(f, 0xf0), 1);
    lapic_write(f->l, LAPIC_ESR, 0);
    assert_int_equal(lapic_read(f->l, LAPIC_ESR), 0x20); /* illegal vector sent */
    lapic_write(f->l, LAPIC_ESR, 0);
    assert_int_equal(lapic_read(f->l, LAPIC_ESR), 0);
    assert_false(lapic_deliver(&f->m, 1, false, LAPIC_FIXED, 3, false));
    lapic_write(f->m.lapic[1], LAPIC_ESR, 0);
    assert_int_equal(lapic_read(f->m.lapic[1], LAPIC_ESR), 0x40); /* and received */
    lapic_write(f->l, LAPIC_LVT_ERROR, 0x01);                     /* itself illegal: ends */
    lapic_read(f->l, 0x1000);
    lapic_write(f->l, LAPIC_ESR, 0);
    assert_int_equal(lapic_read(f->l, LAPIC_ESR), 0xc0);
}

static void lint_pins(void **state)
{
    struct fixture *f = *state;

    lapic_write(f->l, LAPIC_LVT_LINT1, 0x400);
    lapic_set_lint(f->l, 1, true);
    lapic_set_lint(f->l, 1, true);
    assert_int_equal(f->host.cpu[0].nmis, 1);
    lapic_write(f->l, LAPIC_LVT_LINT0, 0x31); /* fixed, by edge: Linux's fallback for the timer */
    lapic_set_lint(f->l, 0, true);
    assert_int_equal(take(f, 0x31), 1);
    lapic_set_lint(f->l, 0, false);
    lapic_write(f->l, LAPIC_LVT_LINT0, 0x8032); /* by level */
    lapic_set_lint(f->l, 0, true);
    assert_int_equal(lapic_pending(f->l), 0x32);
    assert_int_equal(lapic_read(f->l, LAPIC_LVT_LINT0), 0xc032); /* remote IRR */
    lapic_accept(f->l, 0x32);
    assert_int_equal(lapic_sync(f->l), -1);
    lapic_eoi(f->l);
    assert_int_equal(lapic_pending(f->l), 0x32); /* still asserted: again */
    lapic_set_lint(f->l, 0, false);
    lapic_accept(f->l, 0x32);
    lapic_eoi(f->l);
    assert_int_equal(lapic_pending(f->l), -1);
    assert_int_equal(lapic_read(f->l, LAPIC_LVT_LINT0), 0x8032);
}

/* The PIC has had something for a while when LINT0 is opened to it. */
static void lint0_opened_late(void **state)
{
    struct fixture *f = *state;

    lapic_write(f->l, LAPIC_LVT_LINT0, MASKED | 0x700);
    lapic_set_lint(f->l, 0, true);
    assert_int_equal(f->host.cpu[0].wakes, 0);
    lapic_write(f->l, LAPIC_LVT_LINT0, 0x700);
    assert_int_equal(f->host.cpu[0].wakes, 1);
    lapic_set_lint(f->l, 0, false);
    lapic_write(f->l, LAPIC_LVT_LINT0, MASKED | 0x700);
    lapic_write(f->l, LAPIC_LVT_LINT0, 0x700);
    assert_int_equal(f->host.cpu[0].wakes, 1);
}

/* One that waited for a lower priority is given when EOI or the TPR have lowered it. */
static void lower_priority_wakes(void **state)
{
    struct fixture *f = *state;

    lapic_post(f->l, 0x81, false);
    assert_int_equal(lapic_pending(f->l), 0x81);
    lapic_accept(f->l, 0x81);
    lapic_post(f->l, 0x41, false);
    assert_int_equal(lapic_pending(f->l), -1);
    assert_int_equal(f->host.cpu[0].wakes, 2);
    lapic_write(f->l, LAPIC_TPR, 0x50);
    lapic_write(f->l, LAPIC_EOI, 0);
    assert_int_equal(f->host.cpu[0].wakes, 2);
    lapic_write(f->l, LAPIC_TPR, 0x30);
    assert_int_equal(f->host.cpu[0].wakes, 3);
    to_x2apic(f);
    lapic_accept(f->l, 0x41);
    lapic_post(f->l, 0x31, false);
    assert_int_equal(f->host.cpu[0].wakes, 4);
    assert_int_equal(lapic_pending(f->l), -1);
    assert_true(lapic_msr_write(f->l, MSR_X2(LAPIC_TPR), 0));
    assert_int_equal(f->host.cpu[0].wakes, 4);
    assert_true(lapic_msr_write(f->l, MSR_X2(LAPIC_EOI), 0));
    assert_int_equal(f->host.cpu[0].wakes, 5);
}

static void extint_message(void **state)
{
    struct fixture *f = *state;

    assert_false(lapic_accepts_extint(f->l));
    assert_true(lapic_deliver(&f->m, 0, false, LAPIC_EXTINT, 0, false));
    assert_true(lapic_accepts_extint(f->l));
    assert_int_equal(f->host.cpu[0].wakes, 1);
    lapic_set_lint(f->l, 0, false);
    assert_false(lapic_accepts_extint(f->l));
}

/* APIC-write exits: the CPU has stored the value already. */
static void after_the_cpu_wrote(void **state)
{
    struct fixture *f = *state;

    f->l->page[LAPIC_ID / 4] = 0x77000000;
    lapic_written(f->l, LAPIC_ID);
    assert_int_equal(lapic_read(f->l, LAPIC_ID), 0);
    f->l->page[LAPIC_ICR_HIGH / 4] = 2u << 24;
    lapic_written(f->l, LAPIC_ICR_HIGH);
    f->l->page[LAPIC_ICR / 4] = 0x55;
    lapic_written(f->l, LAPIC_ICR);
    assert_int_equal(take(f, 0x55), 1 << 2);
    f->l->page[LAPIC_SVR / 4] = 0xffff00ff;
    lapic_written(f->l, LAPIC_SVR);
    assert_int_equal(lapic_read(f->l, LAPIC_SVR), 0xff);
    lapic_written(f->l, 0xff0); /* outside: nothing */
}

/* ------------------------------------------------------------------ posting from elsewhere */

#define POSTERS 2
#define POSTS   100000

/* An owner that looks at its APIC only when it was woken, and posters that wait for each vector. */
struct post_race {
    struct lapic *l;
    uint32_t woken, posters_left;
    uint8_t in_flight[256];
};

struct poster {
    struct post_race *race;
    uint8_t first_vector;
};

static void race_wake(void *opaque, unsigned vcpu UNUSED)
{
    struct post_race *race = opaque;

    __atomic_store_n(&race->woken, 1, __ATOMIC_SEQ_CST);
}

static void *poster_main(void *opaque)
{
    struct poster *p = opaque;

    for (unsigned n = 0; n < POSTS; n++) {
        uint8_t vector = (uint8_t)(p->first_vector + n % 4);

        while (__atomic_exchange_n(&p->race->in_flight[vector], 1, __ATOMIC_SEQ_CST) != 0)
            sched_yield(); /* not taken yet: it is if no wake-up gets lost */
        lapic_post(p->race->l, vector, n & 1);
    }
    __atomic_fetch_sub(&p->race->posters_left, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void race_take(struct post_race *race)
{
    int vector;

    while ((vector = lapic_pending(race->l)) >= 0) {
        lapic_accept(race->l, vector);
        __atomic_store_n(&race->in_flight[vector], 0, __ATOMIC_SEQ_CST);
        lapic_eoi(race->l);
    }
}

static void no_post_is_lost(void **state)
{
    struct fixture *f = *state;
    struct machine_cpu_ops ops = fake_cpu_ops;
    struct post_race race = {.l = f->l, .posters_left = POSTERS};
    struct poster poster[POSTERS];
    pthread_t thread[POSTERS];
    time_t limit = time(NULL) + 60;

    ops.wake = race_wake;
    f->m.cpu_ops = &ops;
    f->m.cpu_opaque = &race;
    for (unsigned i = 0; i < POSTERS; i++) {
        poster[i] = (struct poster){&race, (uint8_t)(0x3e + 0x40 * i)};
        assert_int_equal(pthread_create(&thread[i], NULL, poster_main, &poster[i]), 0);
    }
    while (__atomic_load_n(&race.posters_left, __ATOMIC_SEQ_CST) != 0) {
        if (__atomic_exchange_n(&race.woken, 0, __ATOMIC_SEQ_CST) != 0)
            race_take(&race);
        else
            sched_yield();
        assert_true(time(NULL) < limit);
    }
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_join(thread[i], NULL);
    race_take(&race);
    for (unsigned v = 0; v < 256; v++)
        assert_int_equal(race.in_flight[v], 0);
    f->m.cpu_ops = &fake_cpu_ops;
    f->m.cpu_opaque = &f->host;
}

/* ------------------------------------------------------------------ random use */

struct model {
    uint64_t irr[4], isr[4];
};

static int model_highest(const uint64_t map[4])
{
    for (int v = 255; v >= 0; v--)
        if (bitmap_test(map, (unsigned)v))
            return v;
    return -1;
}

static int model_pending(const struct model *m, unsigned tpr)
{
    int irr = model_highest(m->irr), isr = model_highest(m->isr);
    int threshold = MAX((int)(tpr >> 4), isr >> 4);

    return irr >> 4 > threshold ? irr : -1;
}

static void same_as_a_model(void **state)
{
    struct fixture *f = *state;
    struct random r = {3};
    struct model m = {{0}, {0}};
    unsigned tpr = 0, taken = 0;

    for (unsigned n = 0; n < 300000; n++) {
        unsigned vector = 16 + random_below(&r, 240);
        int pending = model_pending(&m, tpr);

        assert_int_equal(lapic_pending(f->l), pending);
        assert_int_equal(lapic_in_service(f->l), model_highest(m.isr));
        switch (random_below(&r, 8)) {
        case 0:
        case 1:
            lapic_post(f->l, (uint8_t)vector, random_below(&r, 2));
            bitmap_set(m.irr, vector);
            break;
        case 2:
            tpr = random_below(&r, 8) ? 0 : (uint8_t)random_next(&r);
            lapic_write(f->l, LAPIC_TPR, tpr);
            break;
        case 3:
        case 4:
            lapic_eoi(f->l);
            if (model_highest(m.isr) >= 0)
                bitmap_clear(m.isr, (unsigned)model_highest(m.isr));
            break;
        default:
            if (pending < 0)
                break;
            lapic_accept(f->l, pending);
            bitmap_clear(m.irr, (unsigned)pending);
            bitmap_set(m.isr, (unsigned)pending);
            taken++;
        }
    }
    assert_true(taken > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reset_values, setup, teardown),
        cmocka_unit_test_setup_teardown(writable_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(software_disable_masks, setup, teardown),
        cmocka_unit_test_setup_teardown(mode_transitions, setup, teardown),
        cmocka_unit_test_setup_teardown(x2apic_faults, setup, teardown),
        cmocka_unit_test_setup_teardown(init_keeps_mode_and_id, setup, teardown),
        cmocka_unit_test_setup_teardown(highest_first, setup, teardown),
        cmocka_unit_test_setup_teardown(task_priority, setup, teardown),
        cmocka_unit_test_setup_teardown(registers_show_vectors, setup, teardown),
        cmocka_unit_test_setup_teardown(posting_wakes_once, setup, teardown),
        cmocka_unit_test_setup_teardown(several_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(virtual_delivery, setup, teardown),
        cmocka_unit_test_setup_teardown(shorthands, setup, teardown),
        cmocka_unit_test_setup_teardown(physical_destinations, setup, teardown),
        cmocka_unit_test_setup_teardown(logical_destinations, setup, teardown),
        cmocka_unit_test_setup_teardown(x2apic_destinations, setup, teardown),
        cmocka_unit_test_setup_teardown(lowest_priority, setup, teardown),
        cmocka_unit_test_setup_teardown(start_a_processor, setup, teardown),
        cmocka_unit_test_setup_teardown(cross_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(errors, setup, teardown),
        cmocka_unit_test_setup_teardown(lint_pins, setup, teardown),
        cmocka_unit_test_setup_teardown(lint0_opened_late, setup, teardown),
        cmocka_unit_test_setup_teardown(lower_priority_wakes, setup, teardown),
        cmocka_unit_test_setup_teardown(extint_message, setup, teardown),
        cmocka_unit_test_setup_teardown(after_the_cpu_wrote, setup, teardown),
        cmocka_unit_test_setup_teardown(no_post_is_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(same_as_a_model, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
