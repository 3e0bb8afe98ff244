/*
 * The loop that every physical CPU runs for ever: take the next vCPU that is ready and run it;
 * with none, do what is left to do (clear free memory), then sleep until an interrupt.
 */
#include "lib/assert.h"
#include "machine/apic.h"
#include "machine/frame.h"
#include "machine/timer.h"
#include "vm/loop.h"
#include "vm/vm.h"
#include "vmx/caps.h"

/* How long a vCPU runs while others wait for its CPU. */
#define SLICE_NS 5000000ull

/* Pages cleared in one go while idle: a wake-up waits for them, 512 ticks each in Bochs. */
#define SCRUB_PAGES 2

struct cpu_loop_state {
    struct sched_queue queue;
    struct timer slice;
};

static struct cpu_loop_state states[MAX_CPUS];

struct sched_queue *loop_queue(unsigned cpu)
{
    return &states[cpu].queue;
}

unsigned loop_place(void)
{
    static unsigned next;

    return __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED) % cpu_count();
}

static void slice_over(UNUSED struct timer *t, UNUSED uint64_t now)
{
    struct vcpu *c = this_cpu()->running;

    if (c != NULL)
        vcpu_request(c, REQUEST_YIELD);
}

void loop_limit_slice(void)
{
    unsigned cpu = this_cpu()->index;

    if (!timer_armed(&states[cpu].slice))
        timer_arm(cpu, &states[cpu].slice, rdtsc() + clock_from_ns(SLICE_NS));
}

void loop_init(void)
{
    for (unsigned i = 0; i < MAX_CPUS; i++) {
        sched_queue_init(&states[i].queue);
        timer_init(&states[i].slice, slice_over, NULL);
    }
}

/*
 * Interrupts stay off from the look at the queue to the HLT that lets them in, so that a wake-up
 * in between is not slept over.
 */
static void idle(struct sched_queue *q)
{
    if (frame_scrub(SCRUB_PAGES) > 0) {
        interrupts_on();
        cpu_pause();
        interrupts_off();
        return;
    }
    if (!sched_contended(q))
        cpu_wait_for_interrupt();
}

void cpu_loop(void)
{
    struct sched_queue *q = loop_queue(this_cpu()->index);

    if (this_cpu()->vmx == NULL)
        vmx_cpu_start();
    for (;;) {
        struct sched_entity *e = sched_pick(q, rdtsc());

        if (e != NULL) {
            vcpu_run(container_of(e, struct vcpu, sched));
            timer_disarm(&states[this_cpu()->index].slice);
        } else {
            idle(q);
            timer_run();
        }
    }
}
