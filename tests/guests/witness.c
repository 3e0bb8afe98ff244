/* A good neighbour: goes on with interrupts, memory and devices while another VM misbehaves. */
#include "lib/guest.h"

#define ROUNDS 20
#define WORDS  4096

static uint64_t words[WORDS];

static unsigned wrong_words(uint64_t salt)
{
    unsigned wrong = 0;

    for (uint64_t i = 0; i < WORDS; i++)
        words[i] = i * salt;
    (void)irq_wait_count(PIC_VECTOR, irq_counts[PIC_VECTOR] + 5, 1000);
    for (uint64_t i = 0; i < WORDS; i++)
        wrong += words[i] != i * salt;
    return wrong;
}

void guest_main(void)
{
    unsigned wrong = 0;

    (void)timing_tsc_hz();
    apic_init();
    irq_count_pic(IRQ_PIT);
    pit_set(0, 2, PIT_HZ / 500);
    pic_unmask(IRQ_PIT);
    for (unsigned i = 1; i <= ROUNDS; i++)
        wrong += wrong_words(0x9e3779b97f4a7c15ul * i);
    CHECK_EQ("memory-unharmed", wrong, 0);
    CHECK("interrupts-come", irq_counts[PIC_VECTOR] >= ROUNDS * 5);
}
