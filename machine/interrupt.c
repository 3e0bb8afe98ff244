#include "lib/assert.h"
#include "machine/apic.h"
#include "machine/apic_init.h"
#include "machine/interrupt.h"
#include "machine/ioapic.h"

#define NR_VECTORS     256
#define FIRST_EXTERNAL 32

static interrupt_handler handlers[NR_VECTORS];
static uint64_t unexpected; /* interrupts that nobody had registered for */

void interrupt_register(unsigned vector, interrupt_handler handler)
{
    ASSERT(vector >= FIRST_EXTERNAL && vector < NR_VECTORS);
    __atomic_store_n(&handlers[vector], handler, __ATOMIC_RELEASE);
}

/* A spurious interrupt is not in service, so nothing ends it (SDM vol. 3, 11.9). */
static void end_of_interrupt(unsigned vector)
{
    if (vector == HOST_VECTOR_SPURIOUS)
        return;
    if (!ioapic_pic_eoi(vector))
        apic_eoi();
}

void interrupt_dispatch(unsigned vector)
{
    interrupt_handler handler;

    ASSERT(vector >= FIRST_EXTERNAL && vector < NR_VECTORS);
    end_of_interrupt(vector);
    handler = __atomic_load_n(&handlers[vector], __ATOMIC_ACQUIRE);
    if (handler != NULL)
        handler(vector);
    else if (vector != HOST_VECTOR_SPURIOUS)
        __atomic_fetch_add(&unexpected, 1, __ATOMIC_RELAXED);
}

uint64_t interrupt_unexpected(void)
{
    return __atomic_load_n(&unexpected, __ATOMIC_RELAXED);
}
