/* What Tithe says about a vCPU's exits (its CPUID leaf 40000001h); nothing elsewhere. */
#ifndef BENCH_GUEST_ACCOUNT_H
#define BENCH_GUEST_ACCOUNT_H

#include "lib/types.h"

/* Basic exit reasons, SDM vol. 3 appendix C, and some to come. */
#define ACCOUNT_REASONS 80

struct account {
    uint32_t exits[ACCOUNT_REASONS];
    uint64_t ticks;
    uint32_t reads, writes; /* of VMCS fields, where Tithe was built to count them */
};

/* The hypervisor under us: its signature's 12 letters; empty on a bare machine. */
void account_init(void);
const char *account_hypervisor(void);
bool account_available(void);
/* Whether Tithe was built to count accesses to VMCS fields. */
bool account_counts_fields(void);

void account_begin(struct account *a);
/* What happened since account_begin, our own questions taken off. */
void account_end(struct account *a);
uint32_t account_total(const struct account *a);
/* The reason with most exits. */
unsigned account_main_reason(const struct account *a);

#endif
