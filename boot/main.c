/*
 * From the boot loader to a machine that runs guests, one line a step. The command line is
 * described in docs/command-line.md.
 */
#include "boot/boot.h"
#include "lib/log.h"
#include "machine/acpi.h"
#include "machine/apic.h"
#include "machine/apic_init.h"
#include "machine/bootinfo.h"
#include "machine/clock_init.h"
#include "machine/console_init.h"
#include "machine/cpu.h"
#include "machine/features.h"
#include "machine/frame.h"
#include "machine/frame_init.h"
#include "machine/ioapic.h"
#include "machine/paging.h"
#include "machine/smp.h"
#include "machine/timer_init.h"
#include "machine/trap.h"

NORETURN void stack_switch(void *top, void (*next)(void)); /* boot/entry.asm */

static bool ready; /* the other CPUs may go on */

static void print_loader(void)
{
    const struct bootinfo *b = bootinfo();

    log_line("boot: by %s%s, %u module%s, command line \"%s\"", b->loader, b->efi ? " on UEFI" : "",
             b->nr_modules, b->nr_modules == 1 ? "" : "s", b->cmdline);
    if (b->modules_dropped > 0)
        log_line("boot: %u modules more than can be used", b->modules_dropped);
}

static void print_memory(void)
{
    struct frame_stats s = frame_stats();

    log_line("memory: %lu MiB, %lu MiB free, %lu KiB of modules", s.total * PAGE_SIZE / MIB(1),
             s.free * PAGE_SIZE / MIB(1), s.by_owner[FRAME_MODULE] * PAGE_SIZE / KIB(1));
}

static void print_cpus(void)
{
    char name[64], features[64];

    features_cpu_name(name, sizeof(name));
    features_describe(features, sizeof(features));
    log_line("cpu: %u of %s", cpu_count(), name);
    log_line("cpu: %s", features);
}

static void print_interrupts(void)
{
    uint64_t hz = apic_timer_hz();

    log_line("apic: %s, %u IOAPIC%s, timer %s (counts at %lu.%03lu MHz)",
             apic_is_x2apic() ? "x2APIC" : "xAPIC", ioapic_count(), ioapic_count() == 1 ? "" : "s",
             apic_timer_is_deadline() ? "by TSC deadline" : "one-shot", hz / 1000000,
             hz / 1000 % 1000);
}

/* Every other CPU waits here, asleep, until the boot CPU has called hypervisor_start. */
static void wait_until_ready(void)
{
    while (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE))
        cpu_wait_for_interrupt();
    cpu_loop();
}

static void release_cpus(void)
{
    __atomic_store_n(&ready, true, __ATOMIC_RELEASE);
    for (unsigned i = 1; i < cpu_count(); i++)
        apic_kick(i);
}

/* On the boot CPU's real stack, with a guard page below. */
static void main_with_stack(void)
{
    trap_load(this_cpu());
    print_memory();
    acpi_init();
    clock_init();
    apic_init();
    ioapic_init();
    timer_init_interrupts();
    apic_timer_calibrate();
    apic_timer_init();
    console_init_interrupts();
    print_interrupts();
    smp_start(wait_until_ready);
    print_cpus();
    hypervisor_start();
    release_cpus();
    cpu_loop();
}

void main(uint32_t magic, uint32_t info)
{
    console_init();
    trap_init();
    log_line("Tithe " TITHE_VERSION);
    bootinfo_init(magic, info);
    if (bootinfo()->fb.kind != BOOT_FB_RGB)
        console_init_screen(); /* other screens may be beyond the early page tables */
    features_require();
    print_loader();
    frame_early_init();
    paging_init();
    features_enable();
    if (bootinfo()->fb.kind == BOOT_FB_RGB)
        console_init_screen();
    frame_init();
    smp_init_boot_cpu();
    stack_switch(this_cpu()->stack_top, main_with_stack);
}
