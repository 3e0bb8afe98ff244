/*
 * The guest's own page tables, walked as its CPU walks them (SDM vol. 3 chapter 4): 32-bit, PAE
 * and four-level paging, with permissions, SMEP, SMAP, protection keys and accessed/dirty bits.
 */
#include "lib/assert.h"
#include "machine/frame.h"
#include "vm/vm.h"
#include "vmx/vmcs.h"

#define PTE_PRESENT  BIT(0)
#define PTE_WRITE    BIT(1)
#define PTE_USER     BIT(2)
#define PTE_ACCESSED BIT(5)
#define PTE_DIRTY    BIT(6)
#define PTE_LARGE    BIT(7)
#define PTE_NX       BIT(63)
#define PTE_ADDR     0x000ffffffffff000ull
#define PTE_PKEY(e)  ((unsigned)((e) >> 59 & 0xf))

#define PF_PRESENT  BIT(0)
#define PF_WRITE    BIT(1)
#define PF_USER     BIT(2)
#define PF_RESERVED BIT(3)
#define PF_FETCH    BIT(4)
#define PF_PKEY     BIT(5)

/* How a walk goes in the vCPU's present mode. */
struct paging {
    uint64_t cr0, cr3, cr4, efer, rflags;
    unsigned levels;     /* 2, 3 or 4 */
    unsigned entry_size; /* 4 or 8 */
    bool user;
    enum walk_access access;
};

/* What the walk has gathered from the levels above. */
struct rights {
    bool write, user, no_execute;
};

static void paging_of(struct vcpu *c, enum walk_access access, bool implicit, struct paging *p)
{
    struct vmx_vcpu *v = &c->vmx;

    p->cr0 = vmx_cr0(v);
    p->cr3 = vmx_cr3(v);
    p->cr4 = vmx_cr4(v);
    p->efer = vmx_efer(v);
    p->rflags = vmx_rflags(v);
    p->levels = p->efer & EFER_LMA ? 4 : p->cr4 & CR4_PAE ? 3 : 2;
    p->entry_size = p->levels == 2 ? 4 : 8;
    p->user = !implicit && vmx_cpl(v) == 3;
    p->access = access;
}

static uint32_t error_code(const struct paging *p, uint32_t base)
{
    bool nx = (p->efer & EFER_NXE) && (p->cr4 & CR4_PAE);

    if (p->access == WALK_WRITE)
        base |= PF_WRITE;
    if (p->user)
        base |= PF_USER;
    if (p->access == WALK_FETCH && (nx || (p->cr4 & CR4_SMEP)))
        base |= PF_FETCH;
    return base;
}

static uint64_t reserved_bits(const struct paging *p, unsigned level, uint64_t entry)
{
    uint64_t bits = 0;

    if (p->entry_size == 4)
        return 0;
    if (!(p->efer & EFER_NXE))
        bits |= PTE_NX;
    if (p->levels == 3 && level == 2)
        return PTE_NX | 0x1e6;
    if (level == 3)
        bits |= PTE_LARGE;
    if (level > 0 && level < 3 && (entry & PTE_LARGE))
        bits |= (BIT(9 * level + PAGE_SHIFT) - 1) & 0x1fffffe000ull & ~0x1000ull;
    return bits;
}

/* Whether a supervisor access to a user page is stopped by SMAP or SMEP. */
static bool supervisor_prevented(const struct paging *p)
{
    if (p->access == WALK_FETCH)
        return p->cr4 & CR4_SMEP;
    return (p->cr4 & CR4_SMAP) && !(p->rflags & RFLAGS_AC);
}

static bool permitted(const struct paging *p, const struct rights *r)
{
    if (p->access == WALK_FETCH && r->no_execute)
        return false;
    if (p->user)
        return r->user && (p->access != WALK_WRITE || r->write);
    if (r->user && supervisor_prevented(p))
        return false;
    return p->access != WALK_WRITE || r->write || !(p->cr0 & CR0_WP);
}

/* Protection keys, for data accesses to user pages in four-level paging (SDM 4.6.2). */
static bool key_permits(const struct paging *p, const struct rights *r, uint64_t entry)
{
    uint32_t pkru, key;
    uint32_t edx;

    if (!(p->cr4 & CR4_PKE) || p->levels != 4 || !r->user || p->access == WALK_FETCH)
        return true;
    __asm__ volatile("rdpkru" : "=a"(pkru), "=d"(edx) : "c"(0));
    key = pkru >> 2 * PTE_PKEY(entry) & 3;
    if (key & 1)
        return false;
    return p->access != WALK_WRITE || !(key & 2) || (!p->user && !(p->cr0 & CR0_WP));
}

static uint64_t entry_load(const void *slot, unsigned size)
{
    return size == 4 ? __atomic_load_n((const uint32_t *)slot, __ATOMIC_RELAXED)
                     : __atomic_load_n((const uint64_t *)slot, __ATOMIC_RELAXED);
}

static void entry_or(void *slot, unsigned size, uint64_t bits)
{
    if (size == 4)
        __atomic_fetch_or((uint32_t *)slot, (uint32_t)bits, __ATOMIC_RELAXED);
    else
        __atomic_fetch_or((uint64_t *)slot, bits, __ATOMIC_RELAXED);
}

/* The bits of the linear address below the entries of that level. */
static unsigned level_shift(const struct paging *p, unsigned level)
{
    return PAGE_SHIFT + level * (p->entry_size == 4 ? 10 : 9);
}

static gpa_t table_slot(const struct paging *p, gpa_t table, unsigned level, gva_t gva)
{
    unsigned bits = p->entry_size == 4 ? 10 : p->levels == 3 && level == 2 ? 2 : 9;
    uint64_t index = gva.v >> level_shift(p, level) & (BIT(bits) - 1);

    return GPA(table.v + index * p->entry_size);
}

static bool is_leaf(const struct paging *p, unsigned level, uint64_t entry)
{
    if (level == 0)
        return true;
    if (!(entry & PTE_LARGE) || level > 2 || (p->levels == 3 && level == 2))
        return false;
    return p->entry_size == 8 || (p->cr4 & CR4_PSE);
}

static gpa_t leaf_address(const struct paging *p, unsigned level, uint64_t entry, gva_t gva)
{
    uint64_t within = BIT(level_shift(p, level)) - 1;
    uint64_t frame = entry & PTE_ADDR & ~within;

    /* 4 MiB pages keep address bits 39:32 in bits 20:13 (PSE-36). */
    if (p->entry_size == 4 && level == 1)
        frame = (entry & 0xffc00000ull) | (entry >> 13 & 0xff) << 32;
    return GPA(frame | (gva.v & within));
}

static gpa_t root_table(const struct paging *p)
{
    return GPA(p->levels == 3 ? p->cr3 & 0xffffffe0ull : p->cr3 & PTE_ADDR);
}

static bool fail(const struct paging *p, uint32_t base, struct walk_fault *fault)
{
    fault->error = error_code(p, base);
    return false;
}

static bool finish(const struct paging *p, const struct rights *r, unsigned level, uint64_t entry,
                   void *slot, gva_t gva, gpa_t *gpa, struct walk_fault *fault)
{
    if (!permitted(p, r))
        return fail(p, PF_PRESENT, fault);
    if (!key_permits(p, r, entry))
        return fail(p, PF_PRESENT | PF_PKEY, fault);
    if (p->access == WALK_WRITE && !(entry & PTE_DIRTY))
        entry_or(slot, p->entry_size, PTE_DIRTY);
    *gpa = leaf_address(p, level, entry, gva);
    return true;
}

static bool walk(struct vcpu *c, const struct paging *p, gva_t gva, gpa_t *gpa,
                 struct walk_fault *fault)
{
    struct rights r = {true, true, false};
    gpa_t table = root_table(p);

    for (unsigned level = p->levels - 1;; level--) {
        void *slot = vm_pointer(c->vm, table_slot(p, table, level, gva));
        /* A table outside of RAM reads as all ones there: reserved bits are set. */
        uint64_t entry = slot == NULL ? UINT64_MAX : entry_load(slot, p->entry_size);
        bool pdpte = p->levels == 3 && level == 2;

        if (!(entry & PTE_PRESENT))
            return fail(p, 0, fault);
        if (slot == NULL || (entry & reserved_bits(p, level, entry)))
            return fail(p, PF_PRESENT | PF_RESERVED, fault);
        if (!pdpte) {
            r.write &= (entry & PTE_WRITE) != 0;
            r.user &= (entry & PTE_USER) != 0;
            r.no_execute |= p->entry_size == 8 && (entry & PTE_NX);
            if (!(entry & PTE_ACCESSED))
                entry_or(slot, p->entry_size, PTE_ACCESSED);
        }
        if (is_leaf(p, level, entry))
            return finish(p, &r, level, entry, slot, gva, gpa, fault);
        table = GPA(entry & (p->entry_size == 4 ? 0xfffff000ull : PTE_ADDR));
    }
}

bool walk_translate(struct vcpu *c, gva_t gva, enum walk_access access, bool implicit, gpa_t *gpa,
                    struct walk_fault *fault)
{
    struct paging p;

    paging_of(c, access, implicit, &p);
    if (!(p.cr0 & CR0_PG)) {
        *gpa = GPA((uint32_t)gva.v);
        return true;
    }
    return walk(c, &p, gva, gpa, fault);
}
