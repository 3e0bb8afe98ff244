#include <stdlib.h>
#include "lib/assert.h"
#include "lib/checked.h"
#include "devices/lapic.h"
#include "lib/string.h"
#include "tests/unit/fake_host.h"

#define FAKE_SHADOW_START 0xc0000ul
#define FAKE_WALL_CLOCK   1700000000ull /* 2023-11-14 22:13:20 UTC */

static struct fake_host *to_fake(struct device_host *h)
{
    return container_of(h, struct fake_host, host);
}

static uint64_t fake_now(struct device_host *h)
{
    return to_fake(h)->now;
}

static void fake_timer_set(struct device_host *h, struct timer *t, uint64_t deadline)
{
    timerq_set(&to_fake(h)->timers, t, deadline);
}

static void fake_timer_cancel(struct device_host *h UNUSED, struct timer *t)
{
    timerq_cancel(t);
}

static bool fake_dma_read(struct device_host *h, gpa_t from, void *to, size_t n)
{
    if (!checked_range(from.v, n, FAKE_RAM_SIZE))
        return false;
    memcpy(to, to_fake(h)->ram + from.v, n);
    return true;
}

static bool fake_dma_write(struct device_host *h, gpa_t to, const void *from, size_t n)
{
    if (!checked_range(to.v, n, FAKE_RAM_SIZE))
        return false;
    memcpy(to_fake(h)->ram + to.v, from, n);
    return true;
}

static void fake_power(struct device_host *h, enum device_power what)
{
    if (what == DEVICE_POWER_OFF)
        to_fake(h)->power_offs++;
    else if (what == DEVICE_RESET)
        to_fake(h)->resets++;
    else
        to_fake(h)->cpu_resets++;
}

static void fake_map_shadow(struct device_host *h, gpa_t start, uint64_t size, bool read,
                            bool write)
{
    struct fake_host *f = to_fake(h);
    uint64_t first = (start.v - FAKE_SHADOW_START) / PAGE_SIZE;

    ASSERT(start.v % PAGE_SIZE == 0 && size % PAGE_SIZE == 0 && size != 0);
    ASSERT(checked_range(first, size / PAGE_SIZE, sizeof(f->shadow)));
    memset(f->shadow + first, (read ? 1 : 0) | (write ? 2 : 0), size / PAGE_SIZE);
    f->shadow_changes++;
}

static uint64_t fake_wall_clock(struct device_host *h)
{
    return to_fake(h)->wall_base + to_fake(h)->now / FAKE_TSC_HZ;
}

static void fake_log(struct device_host *h, const char *text)
{
    to_fake(h)->log_lines++;
    string_copy(to_fake(h)->last_log, sizeof(to_fake(h)->last_log), text);
}

/* Page-aligned from a page on, as the real host promises nothing less for whole pages. */
static void *fake_alloc(struct device_host *h, size_t bytes)
{
    struct fake_host *f = to_fake(h);
    size_t align = bytes >= PAGE_SIZE ? PAGE_SIZE : 64;
    void *p;

    if (f->allocs_left == 0)
        return NULL;
    if (f->allocs_left > 0)
        f->allocs_left--;
    p = aligned_alloc(align, ALIGN_UP(bytes, align));
    ASSERT(p != NULL);
    memset(p, 0, ALIGN_UP(bytes, align));
    f->live_allocs++;
    return p;
}

static void fake_free(struct device_host *h, void *p)
{
    if (p != NULL)
        to_fake(h)->live_allocs--;
    free(p);
}

uint8_t *fake_mapped(struct fake_host *f, uint64_t gpa)
{
    for (unsigned i = 0; i < FAKE_MAX_MAPS; i++)
        if (gpa - f->maps[i].gpa.v < f->maps[i].bytes)
            return f->maps[i].pages + (gpa - f->maps[i].gpa.v);
    return NULL;
}

static int fake_map_pages(struct device_host *h, gpa_t gpa, void *pages, uint64_t bytes,
                          bool writable UNUSED)
{
    struct fake_host *f = to_fake(h);

    ASSERT(gpa.v % PAGE_SIZE == 0 && bytes % PAGE_SIZE == 0 && (uintptr_t)pages % PAGE_SIZE == 0);
    if (f->refuse_maps || fake_mapped(f, gpa.v) != NULL)
        return E_EXIST;
    for (unsigned i = 0; i < FAKE_MAX_MAPS; i++)
        if (f->maps[i].bytes == 0) {
            f->maps[i] = (struct fake_map){gpa, pages, bytes};
            return 0;
        }
    return E_NOMEM;
}

static void fake_unmap_pages(struct device_host *h, gpa_t gpa, uint64_t bytes)
{
    struct fake_host *f = to_fake(h);

    for (unsigned i = 0; i < FAKE_MAX_MAPS; i++)
        if (f->maps[i].bytes != 0 && f->maps[i].gpa.v == gpa.v) {
            ASSERT(f->maps[i].bytes == bytes);
            f->maps[i].bytes = 0;
            return;
        }
    ASSERT(false);
}

static const struct device_host_ops fake_ops = {
    .now = fake_now,
    .timer_set = fake_timer_set,
    .timer_cancel = fake_timer_cancel,
    .dma_read = fake_dma_read,
    .dma_write = fake_dma_write,
    .power = fake_power,
    .map_shadow = fake_map_shadow,
    .wall_clock = fake_wall_clock,
    .log = fake_log,
    .alloc = fake_alloc,
    .free = fake_free,
    .map_pages = fake_map_pages,
    .unmap_pages = fake_unmap_pages,
};

void fake_host_init(struct fake_host *f)
{
    memset(f, 0, sizeof(*f));
    f->host.ops = &fake_ops;
    f->host.tsc_hz = FAKE_TSC_HZ;
    f->now = FAKE_TSC_HZ; /* not 0: deadlines and starts have a past */
    f->wall_base = FAKE_WALL_CLOCK;
    f->allocs_left = -1;
    timerq_init(&f->timers);
    f->ram = calloc(1, FAKE_RAM_SIZE);
    ASSERT(f->ram != NULL);
}

void fake_host_finish(struct fake_host *f)
{
    ASSERT(f->live_allocs == 0);
    ASSERT(list_empty(&f->timers.timers));
    for (unsigned i = 0; i < FAKE_MAX_MAPS; i++)
        ASSERT(f->maps[i].bytes == 0);
    free(f->ram);
}

void fake_host_advance(struct fake_host *f, uint64_t ticks)
{
    uint64_t end = f->now + ticks;

    while (timerq_next(&f->timers) <= end) {
        f->now = MAX(f->now, timerq_next(&f->timers));
        timerq_expire(&f->timers, f->now);
    }
    f->now = end;
}

void fake_host_jump(struct fake_host *f, uint64_t ticks)
{
    f->now += ticks;
    timerq_expire(&f->timers, f->now);
}

uint64_t fake_host_us(uint64_t us)
{
    return mul_div(us, FAKE_TSC_HZ, 1000000);
}

static void fake_wake(void *opaque, unsigned vcpu)
{
    struct fake_host *f = opaque;

    f->cpu[vcpu].wakes++;
}

static bool fake_delivers(void *opaque UNUSED, unsigned vcpu UNUSED, uint8_t vector UNUSED)
{
    return false;
}

static void fake_apic_timer_fired(struct timer *t, uint64_t now)
{
    lapic_timer_expired(t->opaque, now);
}

static void fake_timer(void *opaque, struct lapic *l, uint64_t deadline)
{
    struct fake_host *f = opaque;
    struct timer *t = &f->apic_timer[l->vcpu];

    if (t->fire == NULL)
        timer_init(t, fake_apic_timer_fired, l);
    t->opaque = l;
    if (deadline == TIMER_NEVER)
        timerq_cancel(t);
    else
        timerq_set(&f->timers, t, deadline);
}

static void fake_nmi(void *opaque, unsigned vcpu)
{
    struct fake_host *f = opaque;

    f->cpu[vcpu].nmis++;
}

static void fake_init(void *opaque, unsigned vcpu)
{
    struct fake_host *f = opaque;

    f->cpu[vcpu].inits++;
}

static void fake_startup(void *opaque, unsigned vcpu, uint8_t vector)
{
    struct fake_host *f = opaque;

    f->cpu[vcpu].startups++;
    f->cpu[vcpu].startup_vector = vector;
}

const struct machine_cpu_ops fake_cpu_ops = {
    .wake = fake_wake,
    .delivers = fake_delivers,
    .timer = fake_timer,
    .nmi = fake_nmi,
    .init = fake_init,
    .startup = fake_startup,
};

void fake_machine_create(struct fake_host *f, struct machine *m, unsigned nr_vcpus)
{
    struct machine_config config = {
        .nr_vcpus = nr_vcpus,
        .ram_bytes = FAKE_RAM_SIZE,
        .apic_shift = 3,
    };

    ASSERT(machine_create(m, &f->host, &config, &fake_cpu_ops, f) == 0);
}
