/*
 * The order of the groups: what changes the machine for good comes last. Names of groups on the
 * command line choose among them.
 */
#include "bench.h"
#include "account.h"
#include "lib/string.h"

void bench_set_stub(unsigned vector, void (*stub)(void))
{
    uint64_t entry = (uint64_t)stub, *gate = trap_gate(vector);

    trap_set_gate(vector, 0, 0);
    gate[0] = (gate[0] & ~0xffff00000000fffful) | (entry & 0xffff) | (entry >> 16 & 0xffff) << 48;
    gate[1] = entry >> 32;
}

/* A word of the command line. */
static bool wanted(const char *group)
{
    size_t length = strlen(group);

    for (const char *p = guest_cmdline; *p != '\0'; p++)
        if ((p == guest_cmdline || p[-1] == ' ') && strncmp(p, group, length) == 0 &&
            (p[length] == ' ' || p[length] == '\0'))
            return true;
    return false;
}

void guest_main(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
        bool by_name_only; /* they need a machine or VMs of their own */
    } groups[] = {
        {"cpu", bench_cpu, false},
        {"port", bench_port, false},
        {"exception", bench_exception, false},
        {"memory", bench_memory, false},
        {"xapic", bench_xapic, false},
        {"x2apic", bench_x2apic, false},
        {"timer", bench_timer, false},
        {"smp", bench_smp, true},
        {"switch", bench_switch, true},
        {"partner", bench_partner, true},
    };
    bool all = true;

    account_init();
    pvh_read_memory();
    bench_print("bench under %s\n",
                account_hypervisor()[0] != '\0' ? account_hypervisor() : "nothing");
    for (unsigned i = 0; i < ARRAY_SIZE(groups); i++)
        all = all && !wanted(groups[i].name);
    for (unsigned i = 0; i < ARRAY_SIZE(groups); i++)
        if (wanted(groups[i].name) || (all && !groups[i].by_name_only))
            groups[i].run();
    bench_print("bench done\n");
    console_drain();
    power_off();
}
