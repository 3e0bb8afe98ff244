#include "sched/account.h"

#include "lib/assert.h"

void account_init(struct account *a, enum account_state state, uint64_t now)
{
    *a = (struct account){.start = now, .since = now, .state = state};
}

static uint64_t elapsed(const struct account *a, uint64_t now)
{
    return (int64_t)(now - a->since) > 0 ? now - a->since : 0;
}

void account_switch(struct account *a, enum account_state state, uint64_t now)
{
    uint64_t ticks = elapsed(a, now);

    a->ticks[a->state] += ticks;
    a->since += ticks;
    a->state = state;
}

uint64_t account_ticks(const struct account *a, enum account_state state, uint64_t now)
{
    return a->ticks[state] + (a->state == state ? elapsed(a, now) : 0);
}

const char *account_name(enum account_state state)
{
    static const char *const names[ACCOUNT_STATES] = {"halted", "ready",      "held",
                                                      "guest",  "hypervisor", "interrupt"};

    ASSERT(state < ACCOUNT_STATES);
    return names[state];
}
