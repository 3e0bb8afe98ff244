/*
 * The loop that every physical CPU runs for ever: take the vCPU that the scheduler chooses and run
 * it; with none, do what is left to do (clear free memory), then sleep until an interrupt.
 */
#include "lib/assert.h"
#include "lib/log.h"
#include "machine/apic.h"
#include "machine/bootinfo.h"
#include "machine/frame.h"
#include "machine/panic.h"
#include "machine/timer.h"
#include "sched/policy.h"
#include "vm/job.h"
#include "vm/loop.h"
#include "vm/vm.h"
#include "vmx/caps.h"

/* Pages cleared in one go while idle: a wake-up waits for them, 512 ticks each in Bochs. */
#define SCRUB_PAGES 2
/* The CPU that does the jobs: the boot CPU, which gets the serial lines' interrupts too. */
#define JOB_CPU 0

static struct sched sched;
static struct sched_queue queues[MAX_CPUS];
/* For each CPU: when it is to look at its queue again. */
static struct timer looks[MAX_CPUS];
static struct list jobs = LIST_INIT(jobs);
static struct spinlock jobs_lock = SPINLOCK_INIT;

struct sched *loop_sched(void)
{
    return &sched;
}

struct sched_queue *loop_queue(void)
{
    return &queues[this_cpu()->index];
}

/*
 * A vCPU that runs on this CPU is in the hypervisor now: a request sees to it that it looks before
 * it enters the guest again.
 */
void loop_tell(int cpu)
{
    struct vcpu *c = this_cpu()->running;

    if (cpu == SCHED_NO_CPU)
        return;
    if ((unsigned)cpu != this_cpu()->index)
        apic_kick((unsigned)cpu);
    else if (c != NULL)
        __atomic_fetch_or(&c->vmx.attention, REQUEST_ROUND, __ATOMIC_SEQ_CST);
}

void loop_time_over(void)
{
    this_cpu()->slice_end = TIMER_NEVER;
    sched_set_news(loop_queue());
    loop_tell((int)this_cpu()->index);
}

static void time_over(UNUSED struct timer *t, UNUSED uint64_t now)
{
    loop_time_over();
}

static void arm_look(uint64_t until)
{
    unsigned cpu = this_cpu()->index;

    if (until != SCHED_NEVER)
        timer_arm(cpu, &looks[cpu], until);
    else if (timer_armed(&looks[cpu]))
        timer_disarm(&looks[cpu]);
}

/* A vCPU that has the preemption timer looks by itself, as long as it runs. */
static void look_at(uint64_t until, bool runs)
{
    bool by_itself = runs && vmx_has_pin(PIN_PREEMPTION_TIMER);

    this_cpu()->slice_end = by_itself ? until : TIMER_NEVER;
    arm_look(by_itself ? SCHED_NEVER : until);
}

static bool have_jobs(void)
{
    const struct list *first = __atomic_load_n(&jobs.next, __ATOMIC_SEQ_CST);

    return this_cpu()->index == JOB_CPU && first != &jobs;
}

void job_post(struct job *j)
{
    bool is_new;

    spin_lock(&jobs_lock);
    is_new = !j->posted;
    if (is_new)
        list_push_back(&jobs, &j->node);
    j->posted = true;
    spin_unlock(&jobs_lock);
    if (!is_new)
        return;
    sched_set_news(&queues[JOB_CPU]);
    loop_tell(JOB_CPU);
}

/* The first job, or NULL. From here on it may be posted again, and belongs to its function. */
static struct job *next_job(void)
{
    struct job *j = NULL;

    spin_lock(&jobs_lock);
    if (!list_empty(&jobs)) {
        j = list_entry(jobs.next, struct job, node);
        list_remove(&j->node);
        j->posted = false;
    }
    spin_unlock(&jobs_lock);
    return j;
}

static void do_jobs(void)
{
    struct job *j;

    while (have_jobs() && (j = next_job()) != NULL)
        j->run(j);
}

bool loop_look(struct sched_queue *q)
{
    struct sched_choice choice;

    if (have_jobs())
        return false;
    choice = sched_look(q, rdtsc());
    if (choice.entity == NULL)
        return false;
    look_at(choice.until, true);
    loop_tell(choice.kick);
    return true;
}

void loop_work_for(const struct vm *vm)
{
    const struct vcpu *c = this_cpu()->running;

    if (c == NULL || c->vm != vm)
        sched_interrupt_begin(loop_queue(), rdtsc());
}

void loop_work_done(void)
{
    struct sched_queue *q = loop_queue();

    if (q->interrupt_since != 0)
        sched_interrupt_end(q, rdtsc());
}

static const struct sched_policy *chosen_policy(void)
{
    const struct sched_policy *policy;
    char name[32];

    if (!bootinfo_option("sched", name, sizeof(name)))
        return &sched_proportional;
    policy = sched_policy_named(name);
    if (policy == NULL)
        fatal("sched=%s: there is only sched=proportional and sched=round-robin", name);
    return policy;
}

void loop_init(void)
{
    sched_init(&sched, chosen_policy(), queues, cpu_count(), clock_hz(), rdtsc());
    for (unsigned i = 0; i < MAX_CPUS; i++)
        timer_init(&looks[i], time_over, NULL);
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
    if (!sched_contended(q) && !have_jobs())
        cpu_wait_for_interrupt();
}

void cpu_loop(void)
{
    struct sched_queue *q = loop_queue();
    bool yields = false;

    if (this_cpu()->vmx == NULL)
        vmx_cpu_start();
    for (;;) {
        struct sched_choice choice;

        do_jobs();
        choice = yields ? sched_hand_over(q, rdtsc()) : sched_pick(q, rdtsc());
        if (have_jobs()) /* the pick has taken away their news */
            sched_set_news(q);
        look_at(choice.until, choice.entity != NULL);
        if (choice.entity != NULL) {
            vcpu_drive_timers();
            yields = vcpu_run(container_of(choice.entity, struct vcpu, sched), choice.kick);
        } else {
            yields = false;
            timer_use_follower(NULL);
            loop_tell(choice.kick);
            idle(q);
            timer_run();
        }
    }
}
