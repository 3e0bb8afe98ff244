/*
 * As little of a virtual machine monitor as KVM needs to run the benchmark's guest: kvm KERNEL.ELF
 * MEBIBYTES. Interrupt controllers and timer are KVM's own; the serial port (its output goes to
 * ours), power-off and whatever else is accessed are here. Source: Documentation/virt/kvm/api.rst
 * of Linux, Multiboot specification 0.6.96.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define MIB         (1ul << 20)
#define LARGE       (2 * MIB)
#define TSS_ADDRESS 0xfffbd000u /* three pages nobody uses, which KVM wants on Intel */

#define COM1         0x3f8
#define UART_LSR     5
#define UART_SCRATCH 7
#define LSR_IDLE     0x60
#define POWER_PORT   0x604
#define POWER_OFF    0x2000
#define INFO_AT      0x2000
#define MMAP_AT      0x2100
#define CMDLINE_AT   0x3000
#define LOADED_MAGIC 0x2badb002u
#define INFO_MEMORY  0x01
#define INFO_CMDLINE 0x04
#define INFO_MMAP    0x40
#define LOW_RAM_END  0xa0000u
#define CR0_PE       1u
#define CR0_ET       0x10u
#define RFLAGS_FIXED 2u
#define SEGMENT_CODE 11 /* accessed, readable */
#define SEGMENT_DATA 3  /* accessed, writable */
#define ECX_DEADLINE (1u << 24)
#define ECX_X2APIC   (1u << 21)
#define MAX_LEAVES   100

struct machine {
    int kvm, vm, vcpu;
    uint8_t *memory;
    size_t size;
    struct kvm_run *run;
    uint8_t scratch;
    char line[512];
    size_t length;
};

struct multiboot_info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
    uint32_t syms[4];
    uint32_t mmap_length, mmap_addr;
};

struct multiboot_mmap {
    uint32_t size;
    uint64_t base, bytes;
    uint32_t type;
} __attribute__((packed));

static void die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void die(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    fputs("bench-kvm: ", stdout);
    vprintf(fmt, args);
    va_end(args);
    puts(errno != 0 ? strerror(errno) : "");
    exit(1);
}

static int ask(int fd, unsigned long request, void *argument, const char *name)
{
    int result = ioctl(fd, request, argument);

    if (result < 0)
        die("%s: ", name);
    return result;
}
#define ASK(fd, request, argument) ask(fd, request, (void *)(uintptr_t)(argument), #request)

/* ------------------------------------------------------------------ the machine */

/* Memory behind the last 2 MiB boundary is small pages, the rest large ones. */
static void create_memory(struct machine *m)
{
    struct kvm_userspace_memory_region region = {.memory_size = m->size};
    uint8_t *all = mmap(NULL, m->size + LARGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    size_t whole = m->size & ~(LARGE - 1);

    if (all == MAP_FAILED)
        die("no memory: ");
    m->memory = (uint8_t *)(((uintptr_t)all + LARGE - 1) & ~(LARGE - 1));
    if (madvise(m->memory, whole, MADV_HUGEPAGE) != 0)
        die("MADV_HUGEPAGE: ");
    if (m->size > whole && madvise(m->memory + whole, m->size - whole, MADV_NOHUGEPAGE) != 0)
        die("MADV_NOHUGEPAGE: ");
    region.userspace_addr = (uintptr_t)m->memory;
    ASK(m->vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static void create(struct machine *m)
{
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};

    m->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (m->kvm < 0)
        die("/dev/kvm: ");
    m->vm = ASK(m->kvm, KVM_CREATE_VM, 0);
    ASK(m->vm, KVM_SET_TSS_ADDR, TSS_ADDRESS);
    ASK(m->vm, KVM_CREATE_IRQCHIP, 0);
    ASK(m->vm, KVM_CREATE_PIT2, &pit);
    create_memory(m);
    m->vcpu = ASK(m->vm, KVM_CREATE_VCPU, 0);
    m->run = mmap(NULL, (size_t)ASK(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
                  MAP_SHARED, m->vcpu, 0);
    if (m->run == MAP_FAILED)
        die("kvm_run: ");
}

/* What KVM supports, and the two that it has but leaves to us to offer. */
static void set_cpuid(struct machine *m)
{
    struct kvm_cpuid2 *leaves =
        calloc(1, sizeof(*leaves) + MAX_LEAVES * sizeof(leaves->entries[0]));

    if (leaves == NULL)
        die("no memory: ");
    leaves->nent = MAX_LEAVES;
    ASK(m->kvm, KVM_GET_SUPPORTED_CPUID, leaves);
    for (unsigned i = 0; i < leaves->nent; i++)
        if (leaves->entries[i].function == 1)
            leaves->entries[i].ecx |= ECX_X2APIC | ECX_DEADLINE;
    ASK(m->vcpu, KVM_SET_CPUID2, leaves);
    free(leaves);
}

/* ------------------------------------------------------------------ the kernel */

static void load_segment(struct machine *m, const uint8_t *file, size_t size, const Elf32_Phdr *p)
{
    if (p->p_type != PT_LOAD)
        return;
    if (p->p_offset > size || p->p_filesz > size - p->p_offset || p->p_paddr > m->size ||
        p->p_memsz > m->size - p->p_paddr || p->p_filesz > p->p_memsz)
        die("the kernel does not fit");
    memcpy(m->memory + p->p_paddr, file + p->p_offset, p->p_filesz);
}

/* Returns where it starts. */
static uint32_t load_kernel(struct machine *m, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    const Elf32_Ehdr *header;
    const uint8_t *file;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0)
        die("%s: ", path);
    file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    header = (const Elf32_Ehdr *)file;
    if (file == MAP_FAILED || (size_t)st.st_size < sizeof(*header) ||
        memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
        header->e_phoff + header->e_phnum * sizeof(Elf32_Phdr) > (size_t)st.st_size)
        die("%s: not an ELF file", path);
    for (unsigned i = 0; i < header->e_phnum; i++)
        load_segment(m, file, (size_t)st.st_size, (const Elf32_Phdr *)(file + header->e_phoff) + i);
    return header->e_entry;
}

static void write_info(struct machine *m, const char *cmdline)
{
    const struct multiboot_mmap map[] = {
        {sizeof(map[0]) - 4, 0, LOW_RAM_END, 1},
        {sizeof(map[0]) - 4, MIB, m->size - MIB, 1},
    };
    const struct multiboot_info info = {
        .flags = INFO_MEMORY | INFO_CMDLINE | INFO_MMAP,
        .mem_lower = LOW_RAM_END / 1024,
        .mem_upper = (uint32_t)((m->size - MIB) / 1024),
        .cmdline = CMDLINE_AT,
        .mmap_length = sizeof(map),
        .mmap_addr = MMAP_AT,
    };

    memcpy(m->memory + INFO_AT, &info, sizeof(info));
    memcpy(m->memory + MMAP_AT, map, sizeof(map));
    snprintf((char *)m->memory + CMDLINE_AT, 256, "%s", cmdline);
}

/* 32-bit protected mode without paging, flat segments. */
static void set_registers(struct machine *m, uint32_t entry)
{
    struct kvm_segment code = {.limit = UINT32_MAX,
                               .selector = 8,
                               .type = SEGMENT_CODE,
                               .present = 1,
                               .db = 1,
                               .s = 1,
                               .g = 1};
    struct kvm_segment data = code;
    struct kvm_regs regs = {
        .rip = entry, .rax = LOADED_MAGIC, .rbx = INFO_AT, .rflags = RFLAGS_FIXED};
    struct kvm_sregs sregs;

    data.selector = 16;
    data.type = SEGMENT_DATA;
    ASK(m->vcpu, KVM_GET_SREGS, &sregs);
    sregs.cs = code;
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
    sregs.cr0 = CR0_PE | CR0_ET;
    ASK(m->vcpu, KVM_SET_SREGS, &sregs);
    ASK(m->vcpu, KVM_SET_REGS, &regs);
}

/* ------------------------------------------------------------------ running */

/* A line goes out whole and at once: nothing is under way while the guest measures. */
static void serial_write(struct machine *m, char c)
{
    if (m->length < sizeof(m->line) - 1)
        m->line[m->length++] = c;
    if (c != '\n')
        return;
    if (write(STDOUT_FILENO, m->line, m->length) < 0)
        exit(1);
    (void)tcdrain(STDOUT_FILENO);
    m->length = 0;
}

/* Returns false when the guest turns itself off. */
static bool port_write(struct machine *m, uint16_t port, const uint8_t *data, unsigned size)
{
    if (port == COM1)
        serial_write(m, (char)data[0]);
    else if (port == COM1 + UART_SCRATCH)
        m->scratch = data[0];
    else if (port == POWER_PORT && size == 2 && (data[0] | data[1] << 8) & POWER_OFF)
        return false;
    return true;
}

static void port_read(const struct machine *m, uint16_t port, uint8_t *data, unsigned size)
{
    memset(data, 0xff, size);
    if (port == COM1 + UART_LSR)
        data[0] = LSR_IDLE;
    else if (port == COM1 + UART_SCRATCH)
        data[0] = m->scratch;
}

static bool port_exit(struct machine *m)
{
    uint8_t *data = (uint8_t *)m->run + m->run->io.data_offset;
    bool on = true;

    for (unsigned i = 0; i < m->run->io.count && on; i++, data += m->run->io.size) {
        if (m->run->io.direction == KVM_EXIT_IO_OUT)
            on = port_write(m, m->run->io.port, data, m->run->io.size);
        else
            port_read(m, m->run->io.port, data, m->run->io.size);
    }
    return on;
}

static void run(struct machine *m)
{
    while (true) {
        if (ioctl(m->vcpu, KVM_RUN, 0) < 0 && errno != EINTR && errno != EAGAIN)
            die("KVM_RUN: ");
        switch (m->run->exit_reason) {
        case KVM_EXIT_IO:
            if (!port_exit(m))
                return;
            break;
        case KVM_EXIT_MMIO:
            if (!m->run->mmio.is_write)
                memset(m->run->mmio.data, 0xff, sizeof(m->run->mmio.data));
            break;
        case KVM_EXIT_INTR:
            break;
        default:
            errno = 0;
            die("unexpected exit %u", m->run->exit_reason);
        }
    }
}

int main(int argc, char **argv)
{
    static struct machine m;

    if (argc < 3)
        die("usage: kvm KERNEL.ELF MEBIBYTES [COMMAND LINE]");
    m.size = strtoul(argv[2], NULL, 10) * MIB;
    create(&m);
    set_cpuid(&m);
    write_info(&m, argc > 3 ? argv[3] : "");
    set_registers(&m, load_kernel(&m, argv[1]));
    run(&m);
    return 0;
}
