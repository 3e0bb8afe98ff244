/* What runs until vm/ is there: the machine by itself. */
#include "boot/boot.h"
#include "lib/log.h"
#include "machine/cpu.h"
#include "machine/frame.h"
#include "machine/timer.h"

__attribute__((weak)) void hypervisor_start(void)
{
    struct frame_stats s;

    frame_audit();
    s = frame_stats();
    log_line("frames: %lu free, %lu ours, audit passed", s.free, s.by_owner[FRAME_HYPERVISOR]);
}

__attribute__((weak)) void cpu_loop(void)
{
    for (;;) {
        timer_run();
        cpu_wait_for_interrupt();
    }
}
