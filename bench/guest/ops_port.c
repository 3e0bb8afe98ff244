/* Ports: interrupt controller, timer, serial line, PCI, ACPI timer, and one that nobody has. */
#include "bench.h"

uint32_t bench_pm_timer, bench_port61;
uint8_t bench_block[64];

#define OPS(X)                                                                   \
    X(in_pic_mask, "mov edx, 0x21", "in al, dx")                                 \
    X(out_pic_mask, "mov edx, 0x21; mov eax, 0xff", "out dx, al")                \
    X(in_pit_61, "mov edx, 0x61", "in al, dx")                                   \
    X(out_pit_61, "mov edx, 0x61; mov eax, [bench_port61]", "out dx, al")        \
    X(in_pit_40, "mov edx, 0x40", "in al, dx")                                   \
    X(out_pit_40, "mov edx, 0x40; mov eax, 0xff", "out dx, al")                  \
    X(in_uart_scratch, "mov edx, 0x3ff", "in al, dx")                            \
    X(out_uart_scratch, "mov edx, 0x3ff; mov eax, 0x55", "out dx, al")           \
    X(in_pci_address, "mov edx, 0xcf8", "in eax, dx")                            \
    X(out_pci_address, "mov edx, 0xcf8; mov eax, 0x80000000", "out dx, eax")     \
    X(in_pci_data, "mov edx, 0xcfc", "in eax, dx")                               \
    X(in_acpi_timer, "mov edx, [bench_pm_timer]", "in eax, dx")                  \
    X(in_unclaimed, "mov edx, 0x5f0", "in al, dx")                               \
    X(out_unclaimed, "mov edx, 0x5f0; xor eax, eax", "out dx, al")               \
    X(ins_64, "mov edx, 0x3ff; lea rdi, [bench_block]; mov ecx, 64", "rep insb") \
    X(outs_64, "mov edx, 0x3ff; lea rsi, [bench_block]; mov ecx, 64", "rep outsb")

OPS(BENCH_DEFINE)

static const struct bench_op ops[] = {OPS(BENCH_ENTRY)};

void bench_port(void)
{
    struct power_acpi acpi;

    /* Where there are no tables the port is one that nobody has. */
    bench_pm_timer = power_find_acpi(&acpi) && acpi.pm_timer != 0 ? acpi.pm_timer : 0x608;
    bench_port61 = in8(PORT_61) & 0xf;
    bench_run(ops, ARRAY_SIZE(ops));
    pit_stop();
}
