/*
 * Port I/O: unclaimed ports, every size, INS and OUTS with REP in both directions and through
 * segments, and the TSS' permission bitmap. The device is what every PC has: COM2's scratch
 * register would do but need not be there, so it is CMOS RAM and the PCI configuration ports.
 */
#include "lib/guest.h"

#define PORT_FREE    0x2340 /* nobody's on any machine that this runs on */
#define CMOS_INDEX   0x70
#define CMOS_DATA    0x71
#define CMOS_FREE    0x50 /* a byte of RAM that no firmware checks */
#define PCI_ADDRESS  0xcf8
#define COM1_SCRATCH 0x3ff

static uint8_t buffer[256] __attribute__((aligned(16)));

static void insb(uint16_t port, void *to, uint64_t n, bool down)
{
    if (down)
        asm volatile("std; rep insb; cld" : "+D"(to), "+c"(n) : "d"(port) : "memory");
    else
        asm volatile("rep insb" : "+D"(to), "+c"(n) : "d"(port) : "memory");
}

static void outsb(uint16_t port, const void *from, uint64_t n, bool down)
{
    if (down)
        asm volatile("std; rep outsb; cld" : "+S"(from), "+c"(n) : "d"(port) : "memory");
    else
        asm volatile("rep outsb" : "+S"(from), "+c"(n) : "d"(port) : "memory");
}

static void check_unclaimed(void)
{
    CHECK_EQ("unclaimed-8", in8(PORT_FREE), 0xff);
    CHECK_EQ("unclaimed-16", in16(PORT_FREE), 0xffff);
    CHECK_EQ("unclaimed-32", in32(PORT_FREE), 0xffffffff);
    out8(PORT_FREE, 0);
    out16(PORT_FREE, 0);
    out32(PORT_FREE, 0);
    CHECK_EQ("unclaimed-write-dropped", in32(PORT_FREE), 0xffffffff);
    CHECK_EQ("last-port", in8(0xffff), 0xff);
    memset(buffer, 0, sizeof(buffer));
    insb(PORT_FREE, buffer, 16, false);
    CHECK("unclaimed-string", buffer[0] == 0xff && buffer[15] == 0xff && buffer[16] == 0);
}

/* IN into AL and AX leaves the rest of RAX; into EAX clears the upper half, as moves do. */
static void check_register_width(void)
{
    uint64_t rax = 0x1122334455667788ul;

    asm volatile("inb %w1, %%al" : "+a"(rax) : "d"(PORT_FREE));
    CHECK_EQ("in8-keeps-upper", rax, 0x11223344556677fful);
    rax = 0x1122334455667788ul;
    asm volatile("inw %w1, %%ax" : "+a"(rax) : "d"(PORT_FREE));
    CHECK_EQ("in16-keeps-upper", rax, 0x112233445566fffful);
    rax = 0x1122334455667788ul;
    asm volatile("inl %w1, %%eax" : "+a"(rax) : "d"(PORT_FREE));
    CHECK_EQ("in32-clears-upper", rax, 0xfffffffful);
    asm volatile("inb $0x71, %%al" : "+a"(rax)); /* the immediate form */
    CHECK_EQ("in-immediate", rax >> 8, 0xffffff);
}

static void check_sizes(void)
{
    out32(PCI_ADDRESS, 0x80000000);
    CHECK_EQ("out32-in32", in32(PCI_ADDRESS), 0x80000000);
    out8(CMOS_INDEX, CMOS_FREE);
    out8(CMOS_DATA, 0x5a);
    out8(CMOS_INDEX, CMOS_FREE);
    CHECK_EQ("out8-in8", in8(CMOS_DATA), 0x5a);
    out32(PCI_ADDRESS, 0x80000000);
    CHECK_EQ("pci-vendor-16", in16(0xcfc), in32(0xcfc) & 0xffff);
    CHECK_EQ("pci-device-16", in16(0xcfe), in32(0xcfc) >> 16);
    CHECK_EQ("pci-vendor-8", in8(0xcfc), in32(0xcfc) & 0xff);
    CHECK("pci-host-bridge-there", in16(0xcfc) != 0xffff);
}

/* CMOS keeps no address counter: the last byte of a string stays, the first of one repeats. */
static void check_string_8(void)
{
    static const uint8_t from[4] = {0x11, 0x22, 0x33, 0x44};

    out8(CMOS_INDEX, CMOS_FREE);
    outsb(CMOS_DATA, from, 4, false);
    CHECK_EQ("outsb-up", cmos_read(CMOS_FREE), 0x44);
    out8(CMOS_INDEX, CMOS_FREE);
    outsb(CMOS_DATA, from + 3, 4, true);
    CHECK_EQ("outsb-down", cmos_read(CMOS_FREE), 0x11);
    memset(buffer, 0, sizeof(buffer));
    insb(CMOS_DATA, buffer + 8, 4, false);
    CHECK("insb-up", buffer[7] == 0 && buffer[8] == 0x11 && buffer[11] == 0x11 && buffer[12] == 0);
    memset(buffer, 0, sizeof(buffer));
    insb(CMOS_DATA, buffer + 8, 4, true);
    CHECK("insb-down", buffer[4] == 0 && buffer[5] == 0x11 && buffer[8] == 0x11 && buffer[9] == 0);
    memset(buffer, 0, sizeof(buffer));
    insb(CMOS_DATA, buffer, 0, false);
    CHECK_EQ("insb-count-0", buffer[0], 0);
}

static void check_string_wide(void)
{
    uint32_t address[2] = {0x80000000, 0x80000800}, vendor;
    const void *from = address;
    void *to = buffer;
    uint64_t n = 2;

    asm volatile("rep outsl" : "+S"(from), "+c"(n) : "d"(PCI_ADDRESS) : "memory");
    CHECK_EQ("outsl", in32(PCI_ADDRESS), 0x80000800);
    CHECK("outsl-registers", n == 0 && from == address + 2);
    out32(PCI_ADDRESS, 0x80000000);
    vendor = in32(0xcfc);
    memset(buffer, 0, sizeof(buffer));
    n = 3;
    asm volatile("rep insl" : "+D"(to), "+c"(n) : "d"(0xcfc) : "memory");
    CHECK("insl", memcmp(buffer, &vendor, 4) == 0 && memcmp(buffer + 8, &vendor, 4) == 0);
    CHECK("insl-registers", n == 0 && to == buffer + 12);
    to = buffer + 100;
    memset(buffer, 0, sizeof(buffer));
    asm volatile("insw" : "+D"(to) : "d"(0xcfc) : "memory");
    CHECK("insw", memcmp(buffer + 100, &vendor, 2) == 0 && buffer[102] == 0);
}

/* Address-size override (EDI, ECX), an FS override on OUTS, and a page crossing. */
static void check_string_forms(void)
{
    static uint8_t pages[8192] __attribute__((aligned(4096)));
    uint64_t rdi = (uint64_t)buffer | 0xabcd00000000ul, rcx = 2 | 0x100000000ul, rsi = 1;

    out8(CMOS_INDEX, CMOS_FREE);
    out8(CMOS_DATA, 0x77);
    memset(buffer, 0, sizeof(buffer));
    asm volatile("rep addr32 insb" : "+D"(rdi), "+c"(rcx) : "d"(CMOS_DATA) : "memory");
    CHECK("insb-addr32", buffer[1] == 0x77 && buffer[2] == 0);
    CHECK_EQ("insb-addr32-edi", rdi, (uint32_t)(uint64_t)buffer + 2);
    buffer[1] = 0x66;
    wrmsr(MSR_FS_BASE, (uint64_t)buffer);
    asm volatile("fs outsb" : "+S"(rsi) : "d"(CMOS_DATA) : "memory");
    CHECK_EQ("outsb-fs", cmos_read(CMOS_FREE), 0x66);
    insb(CMOS_DATA, pages + 4093, 6, false);
    CHECK("insb-page-crossing",
          pages[4092] == 0 && pages[4093] == 0x66 && pages[4098] == 0x66 && pages[4099] == 0);
}

/* A fault in the middle of a string: the registers say how far it came. */
static void check_string_fault(void)
{
    struct trap t;

    out8(CMOS_INDEX, CMOS_FREE);
    TRAP_CATCH(t, insb(CMOS_DATA, (void *)0x00007ffffffffffcul, 8, false));
    CHECK("insb-fault", t.vector == VEC_PF);
    TRAP_CATCH(t, insb(CMOS_DATA, (void *)NON_CANONICAL, 8, false));
    CHECK_TRAP("insb-non-canonical", t, VEC_GP, 0);
    CHECK_EQ("insb-non-canonical-count", t.frame.rcx, 8);
}

extern const char io_user_in8[], io_user_in32[], io_user_outs8[];

static struct trap user_io(const char *code, uint64_t rflags, uint64_t port)
{
    struct trap t;

    TRAP_CATCH(t, user_enter(user_alias(code), rflags, port));
    return t;
}

static void allow(uint16_t port, bool allowed)
{
    uint8_t *byte = &segment_tss()->io_bitmap[port / 8], bit = (uint8_t)(1 << port % 8);

    *byte = allowed ? *byte & (uint8_t)~bit : *byte | bit;
}

static void check_bitmap(void)
{
    struct trap t = user_io(io_user_in8, 0, PORT_FREE);

    CHECK_TRAP("ring3-denied", t, VEC_GP, 0);
    t = user_io(io_user_in8, RFLAGS_IOPL3, PORT_FREE);
    CHECK("ring3-iopl3", t.vector == VEC_UD && t.frame.rax == 0xff);
    allow(PORT_FREE, true);
    t = user_io(io_user_in8, 0, PORT_FREE);
    CHECK("ring3-allowed", t.vector == VEC_UD && t.frame.rax == 0xff);
    t = user_io(io_user_in32, 0, PORT_FREE);
    CHECK_TRAP("ring3-allowed-in-part", t, VEC_GP, 0);
    t = user_io(io_user_outs8, 0, PORT_FREE);
    CHECK("ring3-outs-allowed", t.vector == VEC_UD);
    for (uint16_t i = 1; i < 4; i++)
        allow(PORT_FREE + i, true);
    t = user_io(io_user_in32, 0, PORT_FREE);
    CHECK("ring3-allowed-32", t.vector == VEC_UD && t.frame.rax == 0xffffffff);
    allow(PORT_FREE, false);
    t = user_io(io_user_outs8, 0, PORT_FREE);
    CHECK_TRAP("ring3-outs-denied", t, VEC_GP, 0);
}

/* Wide accesses to byte devices go to the neighbours: scratch is the UART's last register. */
static void check_neighbours(void)
{
    console_drain();
    out8(COM1_SCRATCH, 0xa5);
    CHECK_EQ("scratch-8", in8(COM1_SCRATCH), 0xa5);
    CHECK_EQ("scratch-high-byte-of-16", in16(COM1_SCRATCH - 1) >> 8, 0xa5);
}

void guest_main(void)
{
    check_group(check_unclaimed);
    check_group(check_register_width);
    check_group(check_sizes);
    check_group(check_string_8);
    check_group(check_string_wide);
    check_group(check_string_forms);
    check_group(check_string_fault);
    check_group(check_bitmap);
    check_group(check_neighbours);
}
