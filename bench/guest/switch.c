/*
 * Two VMs on one CPU that hand it to each other by Tithe's hypercall "yield": one measures
 * ("switch"), the other ("partner") only ever gives the CPU back.
 */
#include "bench.h"

#define PARTNER_ROUNDS 20000
#define ROUNDS         1000
#define WARMUP         200

BENCH_DEFINE(yield, "mov eax, 1", "vmcall")

static bool can_yield(void)
{
    struct trap t;

    TRAP_CATCH(t, (void)with_yield());
    return t.vector == TRAP_NONE;
}

/* There and back are two switches. */
static uint32_t one_switch(void)
{
    return (with_yield() - without_yield()) / 2;
}

void bench_switch(void)
{
    if (can_yield())
        bench_run_latency("vm_switch", one_switch, ROUNDS, WARMUP);
    else
        bench_skip("vm_switch", "no hypercall that yields");
}

/* Long enough for the other VM to be done, and then an end of its own. */
void bench_partner(void)
{
    for (unsigned i = 0; i < PARTNER_ROUNDS && can_yield(); i++)
        ;
}
