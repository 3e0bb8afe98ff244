/* What a VM's run has cost, for people and for the benchmarks. */
#ifndef VM_STATS_H
#define VM_STATS_H

#include "lib/types.h"

struct vm;

/* Of all vCPUs: exits of one reason and in all, and ticks spent in those of one reason
 * while that was measured: *timed of them. */
uint64_t stats_exits_of(const struct vm *vm, unsigned reason);
uint64_t stats_exits(const struct vm *vm);
uint64_t stats_exit_ticks(const struct vm *vm, unsigned reason, uint64_t *timed);
/* CPU time of its vCPUs, in ticks; bytes of memory behind its pages. */
uint64_t stats_ticks_used(const struct vm *vm);
uint64_t stats_memory_used(const struct vm *vm);

/*
 * With "stats" on the command line: one log line "stats: {...}", JSON with the exits by reason and
 * the ticks that the hypervisor spent between exit and entry; and for each reason a line
 * "times: {...}" with the distribution of those ticks.
 */
void stats_print(struct vm *vm);

#endif
