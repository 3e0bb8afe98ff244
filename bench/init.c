/*
 * The first process of the guest whose boot is measured: reads the TSC before anything else, says
 * it on the console and powers off. Freestanding, so that nothing runs before it.
 */
#include <stdint.h>
#include <asm/ioctls.h>
#include <asm/unistd.h>
#include <linux/reboot.h>

/* The kernel gives init the console as its standard output. */
#define STDOUT      1
#define DRAIN       1  /* TCSBRK's argument: wait until everything is sent */
#define MAX_DECIMAL 20 /* digits of 2^64 - 1 */

static uint64_t read_tsc(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

/* A Linux system call: arguments in RDI, RSI, RDX, R10; RCX and R11 are lost. */
static long system_call(long number, long a, long b, long c, long d)
{
    register long r10 __asm__("r10") = d;
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return result;
}

/* Writes n in decimal so that it ends before end; returns where it begins. */
static char *put_decimal(char *end, uint64_t n)
{
    do
        *--end = (char)('0' + n % 10);
    while ((n /= 10) != 0);
    return end;
}

void _start(void);
void _start(void)
{
    uint64_t tsc = read_tsc();
    static const char words[] = "init-tsc ";
    char line[sizeof(words) + MAX_DECIMAL];
    char *end = line + sizeof(line), *p;

    *--end = '\n';
    p = put_decimal(end, tsc);
    for (unsigned i = sizeof(words) - 1; i > 0; i--)
        *--p = words[i - 1];
    (void)system_call(__NR_write, STDOUT, (long)p, line + sizeof(line) - p, 0);
    /* A power-off does not wait for what the serial driver still holds. */
    (void)system_call(__NR_ioctl, STDOUT, TCSBRK, DRAIN, 0);
    for (;;)
        (void)system_call(__NR_reboot, (int)LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
                          LINUX_REBOOT_CMD_POWER_OFF, 0);
}
