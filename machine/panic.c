/*
 * The ends of the hypervisor. A panic stops the other CPUs by NMI, so that its words are not mixed
 * with theirs; of two CPUs that panic at once the first one speaks.
 */
#include "lib/assert.h"
#include "lib/format.h"
#include "lib/log.h"
#include "lib/string.h"
#include "machine/apic_init.h"
#include "machine/bootinfo.h"
#include "machine/console.h"
#include "machine/console_init.h"
#include "machine/cpu.h"
#include "machine/image.h"
#include "machine/paging.h"
#include "machine/panic.h"
#include "machine/panic_stop.h"
#include "machine/percpu.h"
#include "machine/power.h"
#include "machine/symbols.h"
#include "machine/trap.h"

#define NOBODY        UINT32_MAX
#define MAX_BACKTRACE 32

/* What power_off tells those who wait for us. */
enum exit_status {
    EXIT_FATAL = 2,
    EXIT_PANIC = 3,
};

static uint32_t panicking = NOBODY; /* index of the CPU that speaks */

/* ------------------------------------------------------------ backtraces */

static const struct symbol *symbol_of(uint64_t address)
{
    size_t low = 0, high = nr_symbols;

    if (address < (uintptr_t)image_start || address >= (uintptr_t)image_text_end)
        return NULL;
    while (low < high) { /* the first symbol beyond address */
        size_t middle = (low + high) / 2;

        if (symbols[middle].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? &symbols[low - 1] : NULL;
}

static void print_address(const char *what, uint64_t address)
{
    const struct symbol *s = symbol_of(address);

    if (s == NULL)
        log_line("%s %016lx", what, address);
    else
        log_line("%s %016lx %s+%#lx", what, address, s->name, address - s->address);
}

/* Whether a saved frame pointer and return address can be read at rbp: it may be rubbish. */
static bool is_readable(uint64_t rbp)
{
    hpa_t pa;

    return rbp % 8 == 0 && paging_lookup(rbp, &pa) && paging_lookup(rbp + 8, &pa);
}

void backtrace_print(uint64_t rbp)
{
    for (unsigned i = 0; i < MAX_BACKTRACE; i++) {
        const uint64_t *frame = (const uint64_t *)rbp;

        if (rbp == 0 || !is_readable(rbp) || frame[1] == 0)
            return;
        print_address("   ", frame[1] - 1); /* the call, not what comes after it */
        if (frame[0] <= rbp)
            return;
        rbp = frame[0];
    }
    log_line("    ...");
}

/* ------------------------------------------------------------ ending */

static NORETURN void end(int status)
{
    char how[16];

    console_flush();
    if (bootinfo_option("exit", how, sizeof(how)) && strcmp(how, "poweroff") == 0)
        power_off(status);
    log_line("halted");
    power_halt();
}

void panic_stop_if_panicking(void)
{
    if (__atomic_load_n(&panicking, __ATOMIC_ACQUIRE) != NOBODY)
        power_halt();
}

/* Makes this CPU the one that speaks; ends here if another one is, or if this one is already. */
static void panic_begin(void)
{
    uint32_t nobody = NOBODY, self = this_cpu()->index;

    interrupts_off();
    if (!__atomic_compare_exchange_n(&panicking, &nobody, self, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED)) {
        if (nobody == self)
            log_line("panic: once more, while telling about the first");
        console_flush();
        power_halt();
    }
    console_panic();
    apic_stop_others();
}

static NORETURN void panic_end(uint64_t rbp)
{
    log_line("backtrace:");
    backtrace_print(rbp);
    end(EXIT_PANIC);
}

static void print_headline(const char *fmt, va_list args)
{
    char text[256];

    format_text_v(text, sizeof(text), fmt, args);
    log_line("panic: cpu %u: %s", this_cpu()->index, text);
}

static void print_control_registers(void)
{
    log_line("  cr0 %016lx  cr2 %016lx  cr3 %016lx  cr4 %016lx", read_cr0(), read_cr2(), read_cr3(),
             read_cr4());
}

static void print_registers(const struct trap_frame *f)
{
    print_address("  rip", f->rip);
    log_line("  rsp %016lx  rbp %016lx  flags %016lx  cs %04lx  ss %04lx", f->rsp, f->rbp,
             f->rflags, f->cs, f->ss);
    log_line("  rax %016lx  rbx %016lx  rcx %016lx  rdx %016lx", f->rax, f->rbx, f->rcx, f->rdx);
    log_line("  rsi %016lx  rdi %016lx  r8  %016lx  r9  %016lx", f->rsi, f->rdi, f->r8, f->r9);
    log_line("  r10 %016lx  r11 %016lx  r12 %016lx  r13 %016lx", f->r10, f->r11, f->r12, f->r13);
    log_line("  r14 %016lx  r15 %016lx", f->r14, f->r15);
}

void panic(const char *fmt, ...)
{
    uint64_t rbp = (uintptr_t)__builtin_frame_address(0);
    va_list args;

    panic_begin();
    va_start(args, fmt);
    print_headline(fmt, args);
    va_end(args);
    log_line("  rsp %016lx  rbp %016lx", rbp, rbp);
    print_control_registers();
    panic_end(rbp);
}

void panic_trap(const struct trap_frame *f, const char *fmt, ...)
{
    va_list args;

    panic_begin();
    va_start(args, fmt);
    print_headline(fmt, args);
    va_end(args);
    print_registers(f);
    print_control_registers();
    panic_end(f->rbp);
}

void assert_failed(const char *file, int line, const char *what)
{
    panic("%s:%d: assertion failed: %s", file, line, what);
}

void fatal(const char *fmt, ...)
{
    char text[256];
    va_list args;

    va_start(args, fmt);
    format_text_v(text, sizeof(text), fmt, args);
    va_end(args);
    log_line("fatal: %s", text);
    end(EXIT_FATAL);
}
