#include "account.h"
#include "tests/guests/lib/x86.h"
#include "lib/string.h"

#define CPUID_ECX_HYPERVISOR BIT(31)
#define LEAF_SIGNATURE       0x40000000u
#define LEAF_ACCOUNT         0x40000001u
#define SUBLEAF_TOTAL        UINT32_MAX
#define SUBLEAF_FIELDS       (UINT32_MAX - 1)
#define REASON_CPUID         10

static char signature[13];
static bool available;
/* What an empty measurement counts: the questions themselves. */
static struct account own;

static uint32_t exits_of(unsigned reason)
{
    return cpuid(LEAF_ACCOUNT, reason).eax;
}

static uint64_t ticks(void)
{
    struct cpuid_regs r = cpuid(LEAF_ACCOUNT, SUBLEAF_TOTAL);

    return (uint64_t)r.ecx << 32 | r.ebx;
}

/* CPUID's own count, the fields and the ticks stand nearest to what is measured. */
void account_begin(struct account *a)
{
    struct cpuid_regs fields;

    if (!available)
        return;
    for (unsigned i = 0; i < ACCOUNT_REASONS; i++)
        if (i != REASON_CPUID)
            a->exits[i] = exits_of(i);
    a->exits[REASON_CPUID] = exits_of(REASON_CPUID);
    fields = cpuid(LEAF_ACCOUNT, SUBLEAF_FIELDS);
    a->reads = fields.eax;
    a->writes = fields.ebx;
    a->ticks = ticks();
}

void account_end(struct account *a)
{
    struct cpuid_regs fields;

    if (!available)
        return;
    a->ticks = ticks() - a->ticks - own.ticks;
    fields = cpuid(LEAF_ACCOUNT, SUBLEAF_FIELDS);
    a->reads = fields.eax - a->reads - own.reads;
    a->writes = fields.ebx - a->writes - own.writes;
    a->exits[REASON_CPUID] =
        exits_of(REASON_CPUID) - a->exits[REASON_CPUID] - own.exits[REASON_CPUID];
    for (unsigned i = 0; i < ACCOUNT_REASONS; i++)
        if (i != REASON_CPUID)
            a->exits[i] = exits_of(i) - a->exits[i];
}

uint32_t account_total(const struct account *a)
{
    uint32_t total = 0;

    for (unsigned i = 0; i < ACCOUNT_REASONS; i++)
        total += a->exits[i];
    return total;
}

unsigned account_main_reason(const struct account *a)
{
    unsigned most = 0;

    for (unsigned i = 1; i < ACCOUNT_REASONS; i++)
        if (a->exits[i] > a->exits[most])
            most = i;
    return most;
}

void account_init(void)
{
    struct cpuid_regs r;
    struct account empty = {0};

    if (!(cpuid(1, 0).ecx & CPUID_ECX_HYPERVISOR))
        return;
    r = cpuid(LEAF_SIGNATURE, 0);
    memcpy(signature, &r.ebx, 4);
    memcpy(signature + 4, &r.ecx, 4);
    memcpy(signature + 8, &r.edx, 4);
    available = memcmp(signature, "TitheTithe", 10) == 0 && r.eax >= LEAF_ACCOUNT;
    account_begin(&empty);
    account_end(&empty);
    own = empty;
}

const char *account_hypervisor(void)
{
    return signature;
}

bool account_available(void)
{
    return available;
}

bool account_counts_fields(void)
{
    return available && cpuid(LEAF_ACCOUNT, SUBLEAF_FIELDS).eax != 0;
}
