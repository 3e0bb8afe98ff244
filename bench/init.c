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
#define MAX_WORD    16

static uint64_t read_tsc(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

#define TITHE_LEAF  0x40000000u
#define TITHE_COSTS (TITHE_LEAF + 1) /* subleaf n: exits with reason n; ALL: see read_cost */
#define ALL         UINT32_MAX
#define REASONS     72

struct registers {
    uint32_t a, b, c, d;
};

static struct registers cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct registers r;

    __asm__ volatile("cpuid"
                     : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d)
                     : "a"(leaf), "c"(subleaf));
    return r;
}

struct cost {
    uint64_t exits, ticks; /* so far, on this CPU; what Tithe itself has executed */
};

static struct cost read_cost(void)
{
    struct registers r = cpuid(TITHE_COSTS, ALL);

    return (struct cost){(uint64_t)r.d << 32 | r.a, (uint64_t)r.c << 32 | r.b};
}

static int under_tithe(void)
{
    struct registers r = cpuid(TITHE_LEAF, 0);

    return r.b == 0x68746954 && r.c == 0x74695465; /* "TitheTit" */
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

/* One line: word, and as many numbers as are given. */
static void say(const char *word, const uint64_t *numbers, unsigned count)
{
    char line[MAX_WORD + 2 * (MAX_DECIMAL + 1) + 1];
    char *end = line + sizeof(line), *p = end;
    unsigned length = 0;

    *--p = '\n';
    while (count-- > 0) {
        p = put_decimal(p, numbers[count]);
        *--p = ' ';
    }
    while (word[length] != '\0')
        length++;
    while (length > 0)
        *--p = word[--length];
    (void)system_call(__NR_write, STDOUT, (long)p, end - p, 0);
}

/* What the way here has cost, and by reason: the counts are taken before they are written. */
static void say_cost(struct cost cost)
{
    uint64_t reasons[REASONS];

    for (uint32_t i = 0; i < REASONS; i++)
        reasons[i] = cpuid(TITHE_COSTS, i).a;
    say("init-cost", (const uint64_t[]){cost.exits, cost.ticks}, 2);
    for (uint64_t i = 0; i < REASONS; i++)
        if (reasons[i] != 0)
            say("init-exit", (const uint64_t[]){i, reasons[i]}, 2);
}

void _start(void);
void _start(void)
{
    uint64_t tsc = read_tsc();
    struct cost cost = read_cost();

    say("init-tsc", &tsc, 1);
    if (under_tithe())
        say_cost(cost);
    /* A power-off does not wait for what the serial driver still holds. */
    (void)system_call(__NR_ioctl, STDOUT, TCSBRK, DRAIN, 0);
    for (;;)
        (void)system_call(__NR_reboot, (int)LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
                          LINUX_REBOOT_CMD_POWER_OFF, 0);
}
