/*
 * The PC's two 8237A DMA controllers (Intel data sheet 231466) and their page registers, for
 * devices on the ISA bus: channels 0 to 3 move bytes, 5 to 7 words; 4 is the cascade.
 */
#ifndef DEVICES_DMA8237_H
#define DEVICES_DMA8237_H

#include "lib/types.h"

struct dma;

enum dma_direction {
    DMA_TO_DEVICE,   /* the 8237A calls it a read transfer */
    DMA_FROM_DEVICE, /* a write transfer */
};

struct dma_result {
    size_t bytes;        /* how many were moved; the rest must wait until the channel is ready */
    bool terminal_count; /* the channel's count ran out with the last of them */
};

/*
 * Who is called when a channel whose DREQ is up becomes ready: the guest has programmed or
 * unmasked it. May be NULL. Called at the end of a register write; it may transfer at once.
 */
struct dma_client {
    void (*ready)(void *opaque, unsigned channel);
    void *opaque;
};

/* A device takes a channel (not 4), when it is created: E_EXIST when it is taken already. */
MUST_CHECK int dma_claim(struct dma *d, unsigned channel, const struct dma_client *client);
/* The level of the channel's DREQ; does not call ready. */
void dma_request(struct dma *d, unsigned channel, bool level);
/* Whether a transfer would move something now. */
bool dma_ready(const struct dma *d, unsigned channel);
/*
 * Moves up to n bytes between the channel's memory and buffer, whole words on channels 5 to 7; to
 * the end of the channel's count at most, also where it starts over by itself (auto-init). A
 * direction that the guest did not program moves nothing; a verify transfer counts and
 * leaves memory alone, and what the device gets by it is ones, as from memory that is not there.
 */
struct dma_result dma_transfer(struct dma *d, unsigned channel, void *buffer, size_t n,
                               enum dma_direction direction);

#endif
