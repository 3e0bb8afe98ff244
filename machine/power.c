/*
 * Source: ACPI 6.5, 4.8.3.2 (PM1 control), 4.8.3.6 (reset register), 4.8.3.7 (sleep control),
 * 16.3 (switching ACPI on).
 */
#include "lib/log.h"
#include "machine/acpi.h"
#include "machine/console.h"
#include "machine/cpu.h"
#include "machine/paging.h"
#include "machine/power.h"
#include "machine/timer.h"

#define PM1_SCI_EN          BIT(0)
#define PM1_SLP_TYP_SHIFT   10
#define PM1_SLP_TYP         (7u << PM1_SLP_TYP_SHIFT)
#define PM1_SLP_EN          BIT(13)
#define SLEEP_TYPE_SHIFT    2
#define SLEEP_ENABLE        BIT(5)
#define ACPI_ENABLE_WAIT_MS 300
#define POWER_WAIT_US       100000

#define PORT_RESET        0xcf9 /* PIIX, ICH: reset control */
#define RESET_HARD        0x06
#define PORT_KEYBOARD     0x64
#define KEYBOARD_RESET    0xfe
#define QEMU_PM1_CONTROL  0x604 /* QEMU's PIIX4 and ICH9 */
#define BOCHS_PM1_CONTROL 0xb004
#define BOCHS_SHUTDOWN    0x8900

/* Register widths in bytes: PM1 control is 2, the others are 1. */
static uint32_t read_register(const struct acpi_register *r)
{
    if (r->space == ACPI_SPACE_IO)
        return inw((uint16_t)r->address);
    return *(volatile uint16_t *)paging_map_device(HPA(r->address), 2);
}

static void write_register(const struct acpi_register *r, uint32_t v, unsigned bytes)
{
    if (r->address == 0 || r->space > ACPI_SPACE_IO)
        return;
    if (r->space == ACPI_SPACE_IO && bytes == 2)
        outw((uint16_t)r->address, (uint16_t)v);
    else if (r->space == ACPI_SPACE_IO)
        outb((uint16_t)r->address, (uint8_t)v);
    else if (bytes == 2)
        *(volatile uint16_t *)paging_map_device(HPA(r->address), 2) = (uint16_t)v;
    else
        *(volatile uint8_t *)paging_map_device(HPA(r->address), 1) = (uint8_t)v;
}

void power_halt(void)
{
    for (;;)
        __asm__ volatile("cli; hlt");
}

/* The PM1 registers may be firmware's until ACPI is switched on. */
static void enable_acpi(const struct acpi_info *a)
{
    if (a->smi_command == 0 || a->acpi_enable == 0 ||
        (read_register(&a->pm1a_control) & PM1_SCI_EN))
        return;
    outb((uint16_t)a->smi_command, a->acpi_enable);
    for (unsigned i = 0; i < ACPI_ENABLE_WAIT_MS; i++) {
        if (read_register(&a->pm1a_control) & PM1_SCI_EN)
            return;
        clock_delay_us(1000);
    }
}

static void sleep_pm1(const struct acpi_register *r, uint8_t type)
{
    uint32_t v;

    if (r->address == 0 || r->space > ACPI_SPACE_IO)
        return;
    v = (read_register(r) & ~PM1_SLP_TYP) | (uint32_t)type << PM1_SLP_TYP_SHIFT;
    write_register(r, v | PM1_SLP_EN, 2);
}

static void acpi_off(void)
{
    const struct acpi_info *a = acpi_info();

    if (!a->has_s5)
        return;
    if (a->pm1a_control.address != 0) {
        enable_acpi(a);
        sleep_pm1(&a->pm1a_control, a->s5_type_a);
        sleep_pm1(&a->pm1b_control, a->s5_type_b);
    }
    write_register(&a->sleep_control, SLEEP_ENABLE | (uint32_t)a->s5_type_a << SLEEP_TYPE_SHIFT, 1);
    clock_delay_us(POWER_WAIT_US);
}

/* Where the tables are missing or have not helped. Only in a virtual machine: elsewhere, who
 * knows what is at these ports. */
static void emulator_off(void)
{
    if (!(cpuid(1, 0).ecx & BIT(31)) && acpi_present())
        return;
    outw(QEMU_PM1_CONTROL, PM1_SLP_EN);
    outw(BOCHS_PM1_CONTROL, PM1_SLP_EN);
    for (const char *c = "Shutdown"; *c != '\0'; c++)
        outb(BOCHS_SHUTDOWN, (uint8_t)*c);
    clock_delay_us(POWER_WAIT_US);
}

void power_off(int status)
{
    interrupts_off();
    log_line("exit status %d", status);
    console_flush();
    acpi_off();
    emulator_off();
    log_line("the power stays on; halted");
    console_flush();
    power_halt();
}

static void triple_fault(void)
{
    static const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) no_idt = {0, 0};

    __asm__ volatile("lidt %0; int3" ::"m"(no_idt));
}

void power_reset(void)
{
    const struct acpi_info *a = acpi_info();

    interrupts_off();
    console_flush();
    write_register(&a->reset, a->reset_value, 1);
    clock_delay_us(POWER_WAIT_US);
    outb(PORT_RESET, RESET_HARD);
    clock_delay_us(POWER_WAIT_US);
    outb(PORT_KEYBOARD, KEYBOARD_RESET);
    clock_delay_us(POWER_WAIT_US);
    triple_fault();
    power_halt();
}
