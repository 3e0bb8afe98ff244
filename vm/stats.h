/* What a VM's run has cost, for people and for the benchmarks. */
#ifndef VM_STATS_H
#define VM_STATS_H

struct vm;

/*
 * With "stats" on the command line: one log line "stats: {...}", JSON with the exits by reason and
 * the ticks that the hypervisor spent between exit and entry; and for each reason a line
 * "times: {...}" with the distribution of those ticks.
 */
void stats_print(struct vm *vm);

#endif
