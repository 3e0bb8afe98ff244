/*
 * Jobs: work that is no vCPU's, one after the other on the boot CPU, in its loop: with interrupts
 * off, no lock held, and no vCPU running there. VMs are made, end and go in jobs, and the
 * operator's commands are jobs; so what one of them sees of VMs stays as it is until it returns.
 */
#ifndef VM_JOB_H
#define VM_JOB_H

#include "lib/list.h"

struct job {
    struct list node;
    bool posted; /* waits for its turn */
    void (*run)(struct job *j);
};

/* To be done soon, once; any context, any CPU. */
void job_post(struct job *j);

#endif
