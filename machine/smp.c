#include "lib/log.h"
#include "lib/string.h"
#include "machine/acpi.h"
#include "machine/apic.h"
#include "machine/apic_init.h"
#include "machine/console_init.h"
#include "machine/cpu.h"
#include "machine/features.h"
#include "machine/frame.h"
#include "machine/frame_init.h"
#include "machine/paging.h"
#include "machine/panic.h"
#include "machine/smp.h"
#include "machine/timer.h"
#include "machine/timer_init.h"
#include "machine/trap.h"

#define STACK_PAGES      8
#define INIT_WAIT_US     10000 /* SDM vol. 3, 8.4.4.1 */
#define STARTUP_WAIT_US  200
#define STARTUP_LIMIT_US 200000
#define POLL_US          50

/* Start-up code and the words in it that we fill in (machine/smp_entry.asm). */
extern const char smp_code_start[], smp_code_end[];
extern const char smp_gdtr_base[], smp_jump_32[], smp_jump_64[], smp_protected[], smp_long[],
    smp_gdt[], smp_cr3[], smp_stack[], smp_percpu[], smp_next[];

void smp_ap_main(struct percpu *cpu);

struct percpu boot_cpu = {.self = &boot_cpu};

static struct percpu *cpus[MAX_CPUS] = {&boot_cpu};
static unsigned nr_cpus = 1;
static void (*ap_next)(void);

unsigned cpu_count(void)
{
    return __atomic_load_n(&nr_cpus, __ATOMIC_ACQUIRE);
}

struct percpu *cpu_get(unsigned index)
{
    return cpus[index];
}

void smp_init_boot_cpu(void)
{
    boot_cpu.online = true;
    boot_cpu.stack_top = paging_alloc_stack(STACK_PAGES);
    if (boot_cpu.stack_top == NULL || !trap_prepare(&boot_cpu))
        fatal("no memory for stacks");
    timer_init_queue(&boot_cpu);
}

/* ------------------------------------------------------------ on the new CPU */

static void setup_nmi_inputs(void)
{
    const struct acpi_info *a = acpi_info();
    uint32_t processor = UINT32_MAX;

    for (unsigned i = 0; i < a->nr_cpus; i++)
        if (a->cpus[i] == this_cpu()->apic_id)
            processor = a->processor_ids[i];
    for (unsigned i = 0; i < a->nr_nmis; i++)
        if (a->nmis[i].processor == UINT32_MAX || a->nmis[i].processor == processor)
            apic_setup_nmi(a->nmis[i].lint, a->nmis[i].active_low, a->nmis[i].level);
}

/* First C on another CPU: its stack is its own, its page tables those for start-up. */
void smp_ap_main(struct percpu *cpu)
{
    wrmsr(MSR_GS_BASE, (uintptr_t)cpu);
    write_cr3(paging_cr3());
    features_enable();
    trap_load(cpu);
    wrmsr(MSR_GS_BASE, (uintptr_t)cpu);
    apic_init_this_cpu();
    setup_nmi_inputs();
    apic_timer_init();
    __atomic_store_n(&cpu->online, true, __ATOMIC_RELEASE);
    ap_next();
}

/* ------------------------------------------------------------ on the boot CPU */

/* Fills in a word of the start-up code's copy. */
static void patch(char *page, const char *where, uint64_t value, size_t size)
{
    memcpy(page + (where - smp_code_start), &value, size);
}

static void copy_code(hpa_t at)
{
    char *page = hpa_ptr(at);

    memcpy(page, smp_code_start, (size_t)(smp_code_end - smp_code_start));
    patch(page, smp_gdtr_base, at.v + (uint64_t)(smp_gdt - smp_code_start), 4);
    patch(page, smp_jump_32, at.v + (uint64_t)(smp_protected - smp_code_start), 4);
    patch(page, smp_jump_64, at.v + (uint64_t)(smp_long - smp_code_start), 4);
    patch(page, smp_cr3, paging_make_startup(at), 4);
    patch(page, smp_next, (uintptr_t)smp_ap_main, 8);
}

static struct percpu *make_cpu(unsigned index, uint32_t id)
{
    struct percpu *cpu = heap_alloc(sizeof(*cpu));

    if (cpu == NULL)
        return NULL;
    cpu->self = cpu;
    cpu->index = index;
    cpu->apic_id = id;
    cpu->stack_top = paging_alloc_stack(STACK_PAGES);
    if (cpu->stack_top == NULL || !trap_prepare(cpu))
        return NULL; /* no memory at boot: nothing will be started anyway */
    timer_init_queue(cpu);
    return cpu;
}

static bool wait_online(const struct percpu *cpu, unsigned us)
{
    for (unsigned waited = 0; waited < us; waited += POLL_US) {
        if (__atomic_load_n(&cpu->online, __ATOMIC_ACQUIRE))
            return true;
        clock_delay_us(POLL_US);
        console_poll();
    }
    return false;
}

/* INIT, wait, SIPI, and if that was not enough a second SIPI. */
static bool wake(const struct percpu *cpu, hpa_t page)
{
    apic_send_init(cpu->apic_id);
    clock_delay_us(INIT_WAIT_US);
    apic_send_startup(cpu->apic_id, page);
    if (wait_online(cpu, STARTUP_WAIT_US))
        return true;
    apic_send_startup(cpu->apic_id, page);
    return wait_online(cpu, STARTUP_LIMIT_US);
}

/* False: no further CPU can be started. */
static bool start_one(uint32_t id, hpa_t page)
{
    unsigned index = nr_cpus;
    struct percpu *cpu = make_cpu(index, id);

    if (cpu == NULL) {
        log_line("smp: no memory for the CPU with APIC id %u", id);
        return false;
    }
    patch(hpa_ptr(page), smp_stack, (uintptr_t)cpu->stack_top, 8);
    patch(hpa_ptr(page), smp_percpu, (uintptr_t)cpu, 8);
    cpus[index] = cpu;
    if (!wake(cpu, page)) {
        /* Should it come to life later, its stack and percpu are still its own. */
        log_line("smp: the CPU with APIC id %u does not start; skipped", id);
        apic_send_init(id);
        return true;
    }
    __atomic_store_n(&nr_cpus, index + 1, __ATOMIC_RELEASE);
    return true;
}

void smp_start(void (*next)(void))
{
    const struct acpi_info *a = acpi_info();
    hpa_t page = frame_low_page();

    setup_nmi_inputs();
    if (a->nr_cpus <= 1)
        return;
    if (page.v == 0) {
        log_line("smp: no memory below 1 MiB, so one CPU only");
        return;
    }
    ap_next = next;
    copy_code(page);
    for (unsigned i = 0; i < a->nr_cpus && nr_cpus < MAX_CPUS; i++) {
        bool reachable = apic_is_x2apic() || a->cpus[i] < 0xff;

        if (a->cpus[i] == this_cpu()->apic_id || !reachable)
            continue;
        if (!start_one(a->cpus[i], page))
            break;
    }
    memset(hpa_ptr(page), 0, PAGE_SIZE);
    paging_drop_startup();
}
