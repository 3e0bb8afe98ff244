/*
 * A vCPU on its physical CPU: requests are looked up, events injected, the guest entered, again
 * and again until it blocks, yields or stops.
 */
#include "devices/pic.h"
#include "lib/assert.h"
#include "lib/checked.h"
#include "lib/string.h"
#include "machine/apic.h"
#include "machine/frame.h"
#include "machine/timer.h"
#include "vm/vm.h"
#include "vmx/caps.h"
#include "vmx/cpu.h"

static void apic_timer_fired(struct timer *t, uint64_t now);

/* ------------------------------------------------------------------ life */

struct vcpu *vcpu_create(struct vm *vm, unsigned index)
{
    struct vcpu *c = heap_alloc(sizeof(*c));

    if (c == NULL)
        return NULL;
    c->vm = vm;
    c->index = index;
    c->lapic = vm->machine.lapic[index];
    c->vmx.apic_base = &c->lapic->base_msr;
    c->mode = index == 0 ? VCPU_RUN : VCPU_WAIT_SIPI;
    c->stopped = true;
    c->apic_deadline = TIMER_NEVER;
    timer_init(&c->apic_timer, apic_timer_fired, c);
    if (vmx_vcpu_init(&c->vmx, &vm->vmx, index, ptr_hpa(c->lapic->page), ptr_hpa(&c->lapic->pir)) !=
        0) {
        heap_free(c);
        return NULL;
    }
    if (sched_entity_init(&c->sched, &vm->sched, &c->vmx.current, rdtsc()) != 0) {
        vmx_vcpu_destroy(&c->vmx);
        heap_free(c);
        return NULL;
    }
    c->cpu = c->sched.queue->cpu;
    return c;
}

void vcpu_stop_timer(struct vcpu *c)
{
    timer_stop(&c->apic_timer);
}

void vcpu_skip_time(struct vcpu *c, uint64_t ticks)
{
    vmx_vcpu_load(&c->vmx);
    vmx_set_tsc_offset(&c->vmx, c->vmx.tsc_offset - ticks);
    vmx_vcpu_put(&c->vmx);
    /* A deadline beyond the end of time does not wrap to its beginning. */
    if (c->apic_deadline != TIMER_NEVER && !checked_add(c->apic_deadline, ticks, &c->apic_deadline))
        c->apic_deadline = TIMER_NEVER;
}

void vcpu_destroy(struct vcpu *c)
{
    sched_entity_destroy(&c->sched);
    vmx_vcpu_destroy(&c->vmx);
    heap_free(c);
}

enum vmx_apic_mode vcpu_apic_mode(const struct vcpu *c)
{
    const struct lapic *l = c->lapic;

    if (!lapic_enabled(l))
        return VMX_APIC_OFF;
    if (lapic_x2apic(l))
        return VMX_APIC_X2APIC;
    /* An APIC page that the guest has moved is emulated. */
    return ALIGN_DOWN(l->base_msr & 0xfffffffffull, PAGE_SIZE) == GUEST_LAPIC_BASE ? VMX_APIC_XAPIC
                                                                                   : VMX_APIC_OFF;
}

static void set_entry_state(struct vmx_vcpu *v, const struct entry_state *e)
{
    for (unsigned i = 0; i < REG_COUNT; i++)
        vmx_set_reg(v, i, e->gpr[i]);
    vmx_set_rip(v, e->rip);
    vmx_set_rflags(v, e->rflags | RFLAGS_FIXED);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        const struct vmx_segment s = {e->seg[i].selector, e->seg[i].limit, e->seg[i].access,
                                      e->seg[i].base};
        vmx_set_segment(v, i, &s);
    }
    vmx_set_table(v, false, e->gdt_base, e->gdt_limit);
    vmx_set_table(v, true, e->idt_base, e->idt_limit);
    vmx_force_control(v, e->cr0, e->cr3, e->cr4, e->efer);
}

/* What firmware leaves behind in every CPU's memory type registers: RAM is cached. */
static void set_firmware_mtrrs(struct vmx_vcpu *v)
{
    v->mtrr_def_type = BIT(11) | EPT_TYPE_WB;
}

void vcpu_reset(struct vcpu *c, const struct entry_state *entry, uint64_t tsc_offset)
{
    vmx_vcpu_load(&c->vmx);
    vmx_vcpu_reset(&c->vmx, false);
    vmx_set_tsc_offset(&c->vmx, tsc_offset);
    c->vmx.tsc_adjust = 0;
    vmx_set_apic_mode(&c->vmx, vcpu_apic_mode(c));
    c->lapic->virtual_delivery = c->vm->vmx.virtual_apic;
    if (c->vm->vmx.virtual_apic) {
        vmx_set_requested(&c->vmx, -1);
        vmx_set_in_service(&c->vmx, -1);
    }
    if (entry != NULL)
        set_entry_state(&c->vmx, entry);
    if (!vm_has_firmware(c->vm))
        set_firmware_mtrrs(&c->vmx);
    vmx_vcpu_put(&c->vmx);
    c->mode = c->index == 0 ? VCPU_RUN : VCPU_WAIT_SIPI;
    c->vmx.attention = 0;
}

/* ------------------------------------------------------------------ requests */

/*
 * The bits first, then a look whether anybody would see them. A vCPU looks at its bits after it
 * has announced that it is in the guest (enter), so one of the two sees the other; and while it is
 * announced, an interrupt makes it look again. It has announced its CPU before that: if it has
 * moved since we looked, it has seen its bits on the way.
 */
static void ask_attention(struct vcpu *c)
{
    unsigned cpu;

    if (!__atomic_load_n(&c->in_guest, __ATOMIC_SEQ_CST))
        return;
    cpu = __atomic_load_n(&c->cpu, __ATOMIC_SEQ_CST);
    if (cpu != this_cpu()->index)
        apic_kick(cpu);
}

static void wake(struct vcpu *c)
{
    int cpu = sched_wake(&c->sched, rdtsc());

    if (cpu != SCHED_NO_CPU)
        loop_tell(cpu);
    else
        ask_attention(c);
}

void vcpu_request(struct vcpu *c, uint32_t requests)
{
    uint32_t old = __atomic_fetch_or(&c->vmx.attention, requests, __ATOMIC_SEQ_CST);

    /* Whoever set the bits sees to it that they are noticed; and so do we, if it is we who run. */
    if ((old & requests) == requests || this_cpu()->running == c)
        return;
    if (!__atomic_load_n(&c->stopped, __ATOMIC_SEQ_CST))
        wake(c);
}

/* No vCPU is woken for it: one that does not run goes round before it enters anyway. */
void vm_ept_changed(struct ept *ept)
{
    struct vm *vm = container_of(ept, struct vm, ept);

    for (unsigned i = 0; i < vm->config.cpus; i++) {
        struct vcpu *c = vm->vcpus[i];

        if (c == NULL)
            continue;
        __atomic_fetch_or(&c->vmx.attention, REQUEST_ROUND, __ATOMIC_SEQ_CST);
        ask_attention(c);
    }
}

static void cpu_wake(void *opaque, unsigned vcpu)
{
    vcpu_request(((struct vm *)opaque)->vcpus[vcpu], REQUEST_EVENTS);
}

/* Only while nothing else waits or is in service, and it can be taken: see by_hand, hold_back. */
static bool cpu_delivers(void *opaque, unsigned vcpu, uint8_t vector)
{
    struct vcpu *c = ((struct vm *)opaque)->vcpus[vcpu];

    return this_cpu()->running == c && c->vm->vmx.virtual_apic && c->mode == VCPU_RUN &&
           vmx_can_take_interrupt(&c->vmx) && vmx_request_alone(&c->vmx, vector);
}

static void cpu_nmi(void *opaque, unsigned vcpu)
{
    struct vcpu *c = ((struct vm *)opaque)->vcpus[vcpu];

    __atomic_store_n(&c->vmx.nmi_pending, true, __ATOMIC_SEQ_CST);
    vcpu_request(c, REQUEST_EVENTS);
}

static void cpu_init(void *opaque, unsigned vcpu)
{
    vcpu_request(((struct vm *)opaque)->vcpus[vcpu], REQUEST_INIT);
}

static void cpu_startup(void *opaque, unsigned vcpu, uint8_t page)
{
    struct vcpu *c = ((struct vm *)opaque)->vcpus[vcpu];

    __atomic_store_n(&c->sipi_page, page, __ATOMIC_SEQ_CST);
    vcpu_request(c, REQUEST_SIPI);
}

/* ------------------------------------------------------------------ timers */

/* The preemption timer follows the soonest of the CPU's deadlines and the vCPU's own. */
static uint64_t soonest(const struct vcpu *c)
{
    return MIN(MIN(timer_soonest(), this_cpu()->slice_end), c->apic_deadline);
}

static void arm_preemption(struct vcpu *c)
{
    uint64_t deadline = soonest(c);

    if (deadline != c->vmx.preempt_deadline)
        vmx_set_preemption(&c->vmx, deadline);
}

/* Between two vCPUs nobody need know: the next one looks before it enters. */
static void soonest_moved(void)
{
    struct vcpu *c = this_cpu()->running;

    if (c != NULL)
        arm_preemption(c);
}

void vcpu_drive_timers(void)
{
    if (vmx_has_pin(PIN_PREEMPTION_TIMER))
        timer_use_follower(soonest_moved);
}

static void apic_timer_due(struct vcpu *c)
{
    struct vm *vm = c->vm;

    spin_lock(&vm->lock);
    /* It may have been set anew before we had the lock. */
    if (rdtsc() >= c->apic_deadline) {
        c->apic_deadline = TIMER_NEVER;
        lapic_timer_expired(c->lapic, device_now(&vm->host));
    }
    spin_unlock(&vm->lock);
}

static void apic_timer_fired(struct timer *t, UNUSED uint64_t now)
{
    apic_timer_due(t->opaque);
}

void vcpu_timers(struct vcpu *c)
{
    uint64_t now = rdtsc();

    if (now >= c->apic_deadline)
        apic_timer_due(c);
    if (now >= this_cpu()->slice_end)
        loop_time_over();
    if (now >= timer_soonest())
        timer_run();
    arm_preemption(c);
}

static void queue_apic_timer(struct vcpu *c)
{
    if (c->apic_deadline != TIMER_NEVER && c->vm->frozen_at == 0)
        timer_arm(c->cpu, &c->apic_timer, c->apic_deadline);
    else
        timer_disarm(&c->apic_timer);
}

/* vm->lock is held. */
static void cpu_timer(void *opaque, struct lapic *l, uint64_t deadline)
{
    struct vm *vm = opaque;
    struct vcpu *c = vm->vcpus[l->vcpu];

    if (c == NULL) /* the machine is being built */
        return;
    /* A deadline beyond the end of time does not wrap to its beginning. */
    if (deadline == TIMER_NEVER || !checked_add(deadline, -vm->tsc_offset, &c->apic_deadline))
        c->apic_deadline = TIMER_NEVER;
    if (likely(this_cpu()->timed == c))
        arm_preemption(c);
    else
        queue_apic_timer(c);
}

const struct machine_cpu_ops vm_cpu_ops = {
    .wake = cpu_wake,
    .delivers = cpu_delivers,
    .timer = cpu_timer,
    .nmi = cpu_nmi,
    .init = cpu_init,
    .startup = cpu_startup,
};

/* ------------------------------------------------------------------ events */

static bool pic_wants(const struct vcpu *c)
{
    return pic_output(c->vm->machine.pic) && lapic_accepts_extint(c->lapic);
}

/* Whether something would end HLT: an NMI, or an interrupt that the guest takes. */
static bool has_event(struct vcpu *c)
{
    if (vmx_event_queued(&c->vmx) || (c->vmx.nmi_pending && vmx_can_take_nmi(&c->vmx)))
        return true;
    if (!(vmx_rflags(&c->vmx) & RFLAGS_IF))
        return false;
    lapic_sync(c->lapic);
    return lapic_pending(c->lapic) >= 0 || pic_wants(c);
}

/* Hands the CPU what it needs to evaluate interrupts by itself. */
static void sync_virtual_delivery(struct vcpu *c)
{
    uint64_t bitmap[4];

    vmx_set_requested(&c->vmx, lapic_sync(c->lapic));
    lapic_eoi_exit_bitmap(c->lapic, bitmap);
    vmx_set_eoi_exits(&c->vmx, bitmap);
}

/*
 * Whether local interrupts are injected by hand: without virtual delivery, and when several wait.
 * The CPU could deliver those one after the other. But where the second one has become pending in
 * the handler of the first, by its EOI, Bochs (up to 3.0) delivers it there, IF or not, when an
 * interrupt for the host comes. So it never sees the second one while IF is clear.
 */
static bool by_hand(struct vcpu *c)
{
    return !c->vm->vmx.virtual_apic || lapic_crowded(c->lapic);
}

/* The vector to inject by hand, taken from its controller; -1: none. */
static int take_interrupt(struct vcpu *c)
{
    int vector;

    if (pic_wants(c))
        return pic_acknowledge(c->vm->machine.pic);
    if (!by_hand(c))
        return -1;
    lapic_sync(c->lapic);
    vector = lapic_pending(c->lapic);
    if (vector < 0)
        return -1;
    lapic_accept(c->lapic, vector);
    if (c->vm->vmx.virtual_apic)
        vmx_set_in_service(&c->vmx, vector);
    return vector;
}

static bool interrupt_waits(struct vcpu *c)
{
    return pic_wants(c) || (by_hand(c) && lapic_pending(c->lapic) >= 0);
}

/*
 * Interrupt-window exiting also keeps the CPU from looking at virtual interrupts (SDM vol. 3
 * section 30.2.1): while one is injected by hand, or cannot be taken now. That goes for a single
 * one too, as Bochs would deliver it to a guest with IF clear: a disk's driver, say, whose command
 * was done before its exit was over.
 */
static bool hold_back(struct vcpu *c)
{
    if (!c->vm->vmx.virtual_apic || lapic_sync(c->lapic) < 0)
        return false;
    return vmx_event_queued(&c->vmx) || !vmx_can_take_interrupt(&c->vmx);
}

static void inject_nmi(struct vcpu *c)
{
    struct vmx_vcpu *v = &c->vmx;

    if (!v->nmi_pending)
        return;
    if (!vmx_event_queued(v) && vmx_can_take_nmi(v))
        vmx_inject_nmi(v);
    vmx_want_nmi_window(v, v->nmi_pending);
}

/* With the TPR shadow alone: the CPU tells when the guest lowers its priority below this class. */
static void set_threshold(struct vcpu *c)
{
    unsigned class = 0;
    int vector;

    if (c->vm->vmx.virtual_apic || !vmx_has_proc(PROC_TPR_SHADOW))
        return;
    vector = lapic_sync(c->lapic);
    if (vector >= 0 && lapic_pending(c->lapic) < 0)
        class = (unsigned)vector >> 4;
    /* The threshold must not be above the TPR's class while nothing is below it (SDM 27.2.1.1). */
    vmx_set_tpr_threshold(&c->vmx, MIN(class, lapic_read(c->lapic, LAPIC_TPR) >> 4 & 0xf));
}

/* Brings pending events to the guest, as far as it can take them. vm->lock is held. */
static void inject_events(struct vcpu *c)
{
    struct vmx_vcpu *v = &c->vmx;
    int vector;

    inject_nmi(c);
    if (!vmx_event_queued(v) && interrupt_waits(c) && vmx_can_take_interrupt(v)) {
        vector = take_interrupt(c);
        if (vector >= 0)
            vmx_inject_interrupt(v, (uint8_t)vector);
    }
    if (c->vm->vmx.virtual_apic)
        sync_virtual_delivery(c);
    vmx_want_interrupt_window(v, interrupt_waits(c) || hold_back(c));
    set_threshold(c);
}

/* ------------------------------------------------------------------ requests, at home */

/* Start-up IPI: real mode at page * 4 KiB (SDM vol. 3 section 9.4.4). */
static void start_up(struct vcpu *c)
{
    struct vmx_segment cs = vmx_segment(&c->vmx, SEG_CS);

    cs.selector = (uint16_t)(c->sipi_page << 8);
    cs.base = (uint64_t)c->sipi_page << PAGE_SHIFT;
    vmx_set_segment(&c->vmx, SEG_CS, &cs);
    vmx_set_rip(&c->vmx, 0);
    c->mode = VCPU_RUN;
}

static void take_init(struct vcpu *c)
{
    vmx_vcpu_reset(&c->vmx, true);
    spin_lock(&c->vm->lock);
    lapic_reset_init(c->lapic);
    spin_unlock(&c->vm->lock);
    if (c->vm->vmx.virtual_apic) {
        vmx_set_requested(&c->vmx, -1);
        vmx_set_in_service(&c->vmx, -1);
    }
    vmx_set_apic_mode(&c->vmx, vcpu_apic_mode(c));
    /* The boot processor starts at the reset vector; the others wait. */
    c->mode = c->lapic->base_msr & BIT(8) ? VCPU_RUN : VCPU_WAIT_SIPI;
}

enum next { ENTER, BLOCK, YIELD, GIVE_WAY, STOP };

/* Works off the requests; says what comes next. */
static enum next serve_requests(struct vcpu *c, uint32_t requests)
{
    bool wakes;

    if (requests & REQUEST_STOP) {
        /* If it is for a pause, the others are found afterwards. */
        __atomic_fetch_or(&c->vmx.attention, requests & ~(uint32_t)REQUEST_STOP, __ATOMIC_SEQ_CST);
        return STOP;
    }
    if (requests & REQUEST_INIT) {
        take_init(c);
        requests &= ~(uint32_t)REQUEST_HALT; /* that was before */
    }
    if ((requests & REQUEST_SIPI) && c->mode == VCPU_WAIT_SIPI)
        start_up(c);
    if ((requests & REQUEST_HALT) && c->mode == VCPU_RUN)
        c->mode = VCPU_HALT;
    if (c->mode == VCPU_WAIT_SIPI)
        return BLOCK;
    spin_lock(&c->vm->lock);
    wakes = c->mode != VCPU_HALT || has_event(c);
    if (wakes) {
        c->mode = VCPU_RUN;
        inject_events(c);
    }
    spin_unlock(&c->vm->lock);
    if (!wakes)
        return BLOCK;
    return requests & REQUEST_YIELD ? YIELD : ENTER;
}

/* The guest, until somebody wants something. See ask_attention for in_guest. */
static void enter(struct vcpu *c)
{
    struct ept *ept = &c->vm->ept;

    __atomic_store_n(&c->in_guest, true, __ATOMIC_SEQ_CST);
    if (likely(__atomic_load_n(&c->vmx.attention, __ATOMIC_SEQ_CST) == 0)) {
        if (unlikely(ept_stale(ept, this_cpu()->index)))
            vmx_invept(ept_pointer(ept));
        if (vmx_has_pin(PIN_PREEMPTION_TIMER)) {
            /* It has stood still since the last exit. */
            vmx_set_preemption(&c->vmx, soonest(c));
        }
        vmx_vcpu_run(&c->vmx);
    }
    __atomic_store_n(&c->in_guest, false, __ATOMIC_RELAXED);
}

static enum next round(struct vcpu *c)
{
    uint32_t requests = __atomic_load_n(&c->vmx.attention, __ATOMIC_SEQ_CST);
    enum next next = ENTER;

    if (unlikely(requests != 0)) {
        __atomic_fetch_and(&c->vmx.attention, ~requests, __ATOMIC_SEQ_CST);
        if (requests == REQUEST_YIELD && c->mode == VCPU_RUN)
            return YIELD;
        if (requests != REQUEST_ROUND || c->mode != VCPU_RUN)
            next = serve_requests(c, requests);
    }
    if (next == ENTER)
        enter(c);
    return next;
}

/*
 * Off its CPU until vcpu_start. Others wake it under vm->lock, and not when it is stopped: so what
 * wakes it now has done so already, and is of no use any more. Then it stays blocked.
 */
static void leave(struct vcpu *c)
{
    spin_lock(&c->vm->lock);
    __atomic_store_n(&c->stopped, true, __ATOMIC_SEQ_CST);
    spin_unlock(&c->vm->lock);
    while (!sched_block(&c->sched, rdtsc()))
        ;
}

/* What was requested of it while it was stopped it finds when it runs. */
void vcpu_start(struct vcpu *c)
{
    __atomic_fetch_and(&c->vmx.attention, ~(uint32_t)REQUEST_STOP, __ATOMIC_SEQ_CST);
    __atomic_store_n(&c->stopped, false, __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&c->vmx.attention, REQUEST_EVENTS, __ATOMIC_SEQ_CST);
    wake(c);
}

/*
 * It was woken before it could block. The request behind that may be served already, and then
 * nothing has happened since it decided to block: it decides again. It must not simply go on into
 * a guest that is in HLT or waits for SIPI.
 */
static enum next reconsider(struct vcpu *c)
{
    __atomic_fetch_or(&c->vmx.attention, REQUEST_EVENTS, __ATOMIC_SEQ_CST);
    return ENTER;
}

/* From here on requests to c from this CPU need no wake-up, and its deadline is in its hands. */
static void start_running(struct vcpu *c)
{
    struct percpu *cpu = this_cpu();

    __atomic_store_n(&c->cpu, cpu->index, __ATOMIC_SEQ_CST);
    cpu->running = c;
    if (vmx_has_pin(PIN_PREEMPTION_TIMER)) {
        cpu->timed = c;
        if (timer_armed(&c->apic_timer))
            timer_disarm(&c->apic_timer);
    }
}

/* Another CPU that sets the deadline now does not find the vCPU timed, and queues it by itself. */
static void give_deadline_back(struct vcpu *c)
{
    if (__atomic_load_n(&c->apic_deadline, __ATOMIC_RELAXED) == TIMER_NEVER)
        return;
    spin_lock(&c->vm->lock);
    queue_apic_timer(c);
    spin_unlock(&c->vm->lock);
}

static void stop_running(struct vcpu *c)
{
    struct percpu *cpu = this_cpu();

    cpu->running = NULL;
    if (cpu->timed == c) {
        cpu->timed = NULL;
        give_deadline_back(c);
    }
}

/* Until it is to leave its CPU, and why. */
static enum next run(struct vcpu *c, struct sched_queue *q)
{
    enum next next;

    do {
        if (unlikely(sched_news(q)) && !loop_look(q))
            return GIVE_WAY;
        next = round(c);
        if (next == YIELD && !sched_contended(q))
            next = ENTER;
        if (next == BLOCK && !sched_block(&c->sched, rdtsc()))
            next = reconsider(c);
    } while (next == ENTER);
    return next;
}

bool vcpu_run(struct vcpu *c, int helper)
{
    enum next next;

    ASSERT(!c->stopped);
    vmx_vcpu_load(&c->vmx);
    loop_tell(helper);
    vmx_account_begin(&c->vmx);
    start_running(c);
    next = run(c, loop_queue());
    vmx_account_end(&c->vmx);
    stop_running(c);
    if (next == GIVE_WAY)
        sched_requeue(&c->sched, SCHED_PREEMPTED, rdtsc());
    if (next != STOP)
        return next == YIELD;
    vmx_vcpu_put(&c->vmx);
    leave(c);
    vm_vcpu_stopped(c->vm);
    return false;
}
