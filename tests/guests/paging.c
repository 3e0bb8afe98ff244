/* Paging in long mode: page sizes, access bits, error codes, flushing, PCID, SMEP, SMAP. */
#include "lib/guest.h"

#define BASE         (1ul << 40) /* PML4 slot 2: nothing of ours is there */
#define ERR_P        1u
#define ERR_W        2u
#define ERR_U        4u
#define ERR_RSVD     8u
#define ERR_FETCH    16u
#define RW           (PTE_P | PTE_W)
#define CR3_NO_FLUSH BIT(63)
#define RET          0xc3

extern uint64_t boot_pml4[512];
static uint64_t pdpt[512] __attribute__((aligned(4096)));
static uint64_t pd[512] __attribute__((aligned(4096)));
static uint64_t pt[512] __attribute__((aligned(4096)));
/* Seen through other addresses, too: the compiler must not keep what it knows. */
static volatile uint8_t page_a[4096] __attribute__((aligned(4096)));
static volatile uint8_t page_b[4096] __attribute__((aligned(4096)));

/* The test page's entries, one for each level; all rights above the lowest. */
static void tables(uint64_t pte)
{
    boot_pml4[2] = (uint64_t)pdpt | RW | PTE_U;
    pdpt[0] = (uint64_t)pd | RW | PTE_U;
    pd[0] = (uint64_t)pt | RW | PTE_U;
    pt[0] = pte;
    write_cr3(read_cr3());
}

static volatile uint64_t *at(uint64_t offset)
{
    return (volatile uint64_t *)(BASE + offset);
}

static struct trap try_read(uint64_t offset)
{
    struct trap t;

    TRAP_CATCH(t, (void)*at(offset));
    return t;
}

static struct trap try_write(uint64_t offset)
{
    struct trap t;

    TRAP_CATCH(t, *at(offset) = 1);
    return t;
}

static struct trap try_fetch(uint64_t offset)
{
    struct trap t;

    TRAP_CATCH(t, asm volatile("call *%0" : : "r"(BASE + offset) : "memory"));
    return t;
}

static struct trap try_user(uint64_t offset)
{
    struct trap t;

    TRAP_CATCH(t, user_enter((const void *)(BASE + offset), 0, 0));
    return t;
}

#define CHECK_PF(name, t, code) CHECK_TRAP(name, t, VEC_PF, code)

static void check_sizes(void)
{
    volatile uint64_t *p = (volatile uint64_t *)page_a;

    p[3] = 0x1234567890abcdef;
    tables((uint64_t)page_a | RW);
    CHECK_EQ("page-4k", at(24)[0], p[3]);
    pd[0] = ((uint64_t)page_a & ~(LARGE_SIZE - 1)) | RW | PTE_PS;
    write_cr3(read_cr3());
    CHECK_EQ("page-2m", *at((uint64_t)(p + 3) & (LARGE_SIZE - 1)), p[3]);
    if (!(cpuid(0x80000001, 0).edx & BIT(26))) {
        check_skip("page-1g", "no 1 GiB pages");
        return;
    }
    pdpt[0] = RW | PTE_PS;
    write_cr3(read_cr3());
    CHECK_EQ("page-1g", *at((uint64_t)(p + 3)), p[3]);
}

static void check_accessed_dirty(void)
{
    tables((uint64_t)page_a | RW);
    CHECK_EQ("no-access-no-bits", (boot_pml4[2] | pdpt[0] | pd[0] | pt[0]) & (PTE_A | PTE_D), 0);
    (void)*at(0);
    CHECK("read-sets-accessed", boot_pml4[2] & pdpt[0] & pd[0] & pt[0] & PTE_A);
    CHECK_EQ("read-not-dirty", pt[0] & PTE_D, 0);
    *at(0) = 1;
    CHECK_EQ("write-sets-dirty", pt[0] & PTE_D, PTE_D);
    CHECK_EQ("tables-never-dirty", pd[0] & PTE_D, 0);
    pt[0] &= ~(PTE_A | PTE_D);
    invlpg(at(0));
    (void)*at(0);
    CHECK_EQ("accessed-again", pt[0] & (PTE_A | PTE_D), PTE_A);
    pd[0] = ((uint64_t)page_a & ~(LARGE_SIZE - 1)) | RW | PTE_PS;
    write_cr3(read_cr3());
    *at((uint64_t)page_a & (LARGE_SIZE - 1)) = 1;
    CHECK_EQ("large-page-dirty", pd[0] & (PTE_A | PTE_D), PTE_A | PTE_D);
}

static void check_error_codes(void)
{
    struct trap t;

    tables(0);
    t = try_read(8);
    CHECK_PF("absent-read", t, 0);
    CHECK_EQ("cr2", t.cr2, BASE + 8);
    t = try_write(8);
    CHECK_PF("absent-write", t, ERR_W);
    t = try_fetch(0);
    CHECK_PF("absent-fetch", t, ERR_FETCH);
    t = try_user(0);
    CHECK_PF("absent-user-fetch", t, ERR_U | ERR_FETCH);
    tables((uint64_t)page_a | PTE_P);
    t = try_write(0);
    CHECK_PF("read-only", t, ERR_P | ERR_W);
    write_cr0(read_cr0() & ~CR0_WP);
    t = try_write(0);
    CHECK_NO_TRAP("read-only-without-wp", t);
    write_cr0(read_cr0() | CR0_WP);
    t = try_write(0);
    CHECK_PF("read-only-with-wp-again", t, ERR_P | ERR_W);
    t = try_user(0);
    CHECK_PF("supervisor-page", t, ERR_P | ERR_U | ERR_FETCH);
    tables((uint64_t)page_a | RW);
    pd[0] &= ~PTE_W;
    write_cr3(read_cr3());
    t = try_write(0);
    CHECK_PF("read-only-by-directory", t, ERR_P | ERR_W);
}

static void check_reserved(void)
{
    struct trap t;

    tables((uint64_t)page_a | RW | BIT(51));
    t = try_read(0);
    CHECK_PF("beyond-physical-width", t, ERR_P | ERR_RSVD);
    tables((uint64_t)page_a | RW);
    pd[0] = RW | PTE_PS | BIT(13);
    write_cr3(read_cr3());
    t = try_write(0);
    CHECK_PF("large-page-low-bits", t, ERR_P | ERR_RSVD | ERR_W);
    tables((uint64_t)page_a | RW);
    boot_pml4[2] |= PTE_PS;
    write_cr3(read_cr3());
    t = try_read(0);
    CHECK_PF("pml4-ps", t, ERR_P | ERR_RSVD);
    boot_pml4[2] = 0;
    write_cr3(read_cr3());
    t = try_read(0);
    CHECK_PF("pml4-absent", t, 0);
}

static void check_nx(void)
{
    struct trap t;

    page_a[0] = RET;
    tables((uint64_t)page_a | RW);
    t = try_fetch(0);
    CHECK_NO_TRAP("fetch", t);
    tables((uint64_t)page_a | RW | PTE_NX);
    t = try_fetch(0);
    CHECK_PF("nx", t, ERR_P | ERR_FETCH);
    t = try_read(0);
    CHECK_NO_TRAP("nx-reads", t);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_NXE);
    write_cr3(read_cr3());
    t = try_read(0);
    CHECK_PF("nx-reserved-without-nxe", t, ERR_P | ERR_RSVD);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
    tables((uint64_t)page_a | RW);
    pdpt[0] |= PTE_NX;
    write_cr3(read_cr3());
    t = try_fetch(0);
    CHECK_PF("nx-by-pdpt", t, ERR_P | ERR_FETCH);
}

/* A write over two pages of which the second faults changes nothing. */
static void check_crossing(void)
{
    struct trap t;

    page_a[4092] = page_a[4095] = 0x11;
    tables((uint64_t)page_a | RW);
    pt[1] = 0;
    TRAP_CATCH(t, *at(4092) = 0);
    CHECK_PF("crossing-faults", t, ERR_W);
    CHECK_EQ("crossing-cr2", t.cr2, BASE + 4096);
    CHECK_EQ("crossing-nothing-written", page_a[4095], 0x11);
    pt[1] = (uint64_t)page_b | RW;
    *at(4092) = 0x8877665544332211ul;
    CHECK("crossing-written", page_a[4095] == 0x44 && page_b[0] == 0x55 && page_b[3] == 0x88);
}

static void check_flushing(void)
{
    uint64_t cr4 = read_cr4();

    page_a[0] = 0xaa;
    page_b[0] = 0xbb;
    tables((uint64_t)page_a | RW);
    (void)*at(0);
    pt[0] = (uint64_t)page_b | RW;
    invlpg(at(0));
    CHECK_EQ("invlpg", (uint8_t)*at(0), 0xbb);
    pt[0] = (uint64_t)page_a | RW;
    write_cr3(read_cr3());
    CHECK_EQ("cr3-flushes", (uint8_t)*at(0), 0xaa);
    write_cr4(cr4 | CR4_PGE);
    tables((uint64_t)page_a | RW | PTE_G);
    (void)*at(0);
    pt[0] = (uint64_t)page_b | RW;
    write_cr4(cr4);
    CHECK_EQ("pge-toggle-flushes-global", (uint8_t)*at(0), 0xbb);
    write_cr4(cr4 | CR4_PGE);
    pt[0] = (uint64_t)page_a | RW | PTE_G;
    invlpg(at(0));
    (void)*at(0);
    pt[0] = (uint64_t)page_b | RW;
    invlpg(at(0));
    CHECK_EQ("invlpg-flushes-global", (uint8_t)*at(0), 0xbb);
    write_cr4(cr4);
    pt[0] = (uint64_t)page_a | RW;
    write_cr3(read_cr3());
    (void)*at(0);
    pt[0] = (uint64_t)page_b | RW;
    write_cr0(read_cr0() ^ CR0_WP);
    write_cr0(read_cr0() ^ CR0_WP);
    invlpg((void *)NON_CANONICAL); /* no fault: SDM vol. 2, INVLPG */
    check_info("stale-after-cr0-wp", (uint8_t)*at(0));
}

static struct trap invpcid(uint64_t type, uint64_t pcid, uint64_t address)
{
    uint64_t descriptor[2] = {pcid, address};
    struct trap t;

    TRAP_CATCH(t, asm volatile("invpcid %0, %1" : : "m"(descriptor), "r"(type) : "memory"));
    return t;
}

static void check_pcid(void)
{
    uint64_t cr3 = read_cr3(), cr4 = read_cr4();
    struct trap t;

    if (!(cpuid(1, 0).ecx & BIT(17)) || !(cpuid(7, 0).ebx & BIT(10))) {
        check_skip("pcid", "no PCID or INVPCID");
        return;
    }
    write_cr4(cr4 | CR4_PCIDE);
    tables((uint64_t)page_a | RW);
    write_cr3(cr3 | 5);
    (void)*at(0);
    pt[0] = (uint64_t)page_b | RW;
    write_cr3(cr3 | 6 | CR3_NO_FLUSH);
    CHECK_EQ("pcid-cr3-reads", read_cr3(), cr3 | 6);
    t = invpcid(0, 5, BASE);
    CHECK_NO_TRAP("invpcid-address", t);
    write_cr3(cr3 | 5 | CR3_NO_FLUSH);
    CHECK_EQ("invpcid-address-flushed", (uint8_t)*at(0), 0xbb);
    pt[0] = (uint64_t)page_a | RW;
    t = invpcid(1, 5, 0);
    CHECK_EQ("invpcid-context-flushed", (uint8_t)*at(0), 0xaa);
    pt[0] = (uint64_t)page_b | RW;
    t = invpcid(2, 0, 0);
    CHECK_EQ("invpcid-all-flushed", (uint8_t)*at(0), 0xbb);
    t = invpcid(4, 0, 0);
    CHECK_TRAP("invpcid-bad-type", t, VEC_GP, 0);
    t = invpcid(0, 0x1000, 0);
    CHECK_TRAP("invpcid-bad-descriptor", t, VEC_GP, 0);
    TRAP_CATCH(t, write_cr4(cr4)); /* with PCID 5: allowed, flushes all */
    CHECK_NO_TRAP("pcide-off", t);
    write_cr3(cr3);
}

static void check_smep(void)
{
    struct trap t;

    if (!(cpuid(7, 0).ebx & BIT(7))) {
        check_skip("smep", "no SMEP");
        return;
    }
    page_a[0] = RET;
    tables((uint64_t)page_a | RW | PTE_U);
    t = try_fetch(0);
    CHECK_NO_TRAP("user-page-fetch", t);
    write_cr4(read_cr4() | CR4_SMEP);
    t = try_fetch(0);
    CHECK_PF("smep", t, ERR_P | ERR_FETCH);
    t = try_read(0);
    CHECK_NO_TRAP("smep-reads", t);
    write_cr4(read_cr4() & ~CR4_SMEP);
    t = try_fetch(0);
    CHECK_NO_TRAP("smep-off", t);
}

static void check_smap(void)
{
    struct trap t;

    if (!(cpuid(7, 0).ebx & BIT(20))) {
        check_skip("smap", "no SMAP");
        return;
    }
    tables((uint64_t)page_a | RW | PTE_U);
    write_cr4(read_cr4() | CR4_SMAP);
    t = try_read(0);
    CHECK_PF("smap-read", t, ERR_P);
    t = try_write(0);
    CHECK_PF("smap-write", t, ERR_P | ERR_W);
    TRAP_CATCH(t, asm volatile("stac" : : : "memory", "cc"); (void)*at(0));
    CHECK_NO_TRAP("smap-stac", t);
    asm volatile("clac" : : : "memory", "cc");
    t = try_read(0);
    CHECK_PF("smap-clac", t, ERR_P);
    write_cr4(read_cr4() & ~CR4_SMAP);
}

/* ------------------------------------------------------------------ code that reads a device */

#define HOLE 0xd0000000ul /* nobody answers: ones */

/* Instructions of one length at one place, which say apart what they read. */
static const uint8_t load_32[] = {0x8b, 0x07, 0x90, RET}; /* mov eax, [rdi] */
static const uint8_t load_8[] = {0x8a, 0x07, 0x90, RET};  /* mov al, [rdi] */
static const uint8_t load_ah[] = {0x8a, 0x27, 0x90, RET}; /* mov ah, [rdi] */
static const uint8_t load_sx[] = {0x0f, 0xbe, 0x07, RET}; /* movsx eax, byte [rdi] */

static void put_code(volatile uint8_t *page, const uint8_t code[4])
{
    for (unsigned i = 0; i < 4; i++)
        page[i] = code[i];
}

static uint64_t run_load(void)
{
    uint64_t rax = 0x1111111111111111, rdi = HOLE;

    asm volatile("call *%2" : "+a"(rax), "+D"(rdi) : "r"(BASE) : "memory");
    return rax;
}

/*
 * A hypervisor that remembers what it has decoded must notice that it is no more what is there:
 * other bytes, another page, another page table, another address space.
 */
static void check_device_code(void)
{
    tables((uint64_t)page_a | RW);
    put_code(page_a, load_32);
    put_code(page_b, load_8);
    run_load();
    CHECK_EQ("device-code", run_load(), 0xffffffff);
    put_code(page_a, load_8);
    CHECK_EQ("device-code-rewritten", run_load(), 0x11111111111111ff);
    put_code(page_a, load_32);
    CHECK_EQ("device-code-rewritten-back", run_load(), 0xffffffff);
    pt[0] = (uint64_t)page_b | RW;
    invlpg(at(0));
    CHECK_EQ("device-code-other-page", run_load(), 0x11111111111111ff);
    put_code(page_b, load_ah);
    CHECK_EQ("device-code-high-byte", run_load(), 0x111111111111ff11);
    put_code(page_b, load_sx);
    CHECK_EQ("device-code-sign", run_load(), 0xffffffff);
    for (unsigned i = 0; i < 512; i++)
        pdpt[i] = 0;
    put_code(page_a, load_32);
    pt[0] = (uint64_t)page_a | RW;
    pdpt[0] = (uint64_t)pd | RW;
    write_cr3(read_cr3());
    CHECK_EQ("device-code-other-table", run_load(), 0xffffffff);
}

void guest_main(void)
{
    check_group(check_sizes);
    check_group(check_accessed_dirty);
    check_group(check_error_codes);
    check_group(check_reserved);
    check_group(check_nx);
    check_group(check_crossing);
    check_group(check_flushing);
    check_group(check_pcid);
    check_group(check_smep);
    check_group(check_smap);
    check_group(check_device_code);
}
