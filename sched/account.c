#include "sched/account.h"

#include "lib/assert.h"

void account_init(struct account *a, enum account_state state, uint64_t now)
{
    *a = (struct account){.start = now, .since = now, .state = state};
}

uint64_t account_ticks(const struct account *a, enum account_state state, uint64_t now)
{
    return a->ticks[state] + (a->state == state ? account_elapsed(a, now) : 0);
}

const char *account_name(enum account_state state)
{
    static const char *const names[ACCOUNT_STATES] = {"halted", "ready",      "held",
                                                      "guest",  "hypervisor", "interrupt"};

    ASSERT(state < ACCOUNT_STATES);
    return names[state];
}
