/*
 * Control registers. The guest owns every bit that it may set without our knowing; the rest is in
 * the masks, and its writes come here. Source: SDM vol. 3 section 2.5, vol. 2 MOV CR, section 24.8
 * (restrictions in VMX operation), 27.3.1.6 (PDPTEs).
 */
#include "lib/assert.h"
#include "machine/frame.h"
#include "vmx/caps.h"
#include "vmx/cpu.h"
#include "vmx/internal.h"
#include "vmx/vmcs.h"

#define CR0_DEFINED                                                                            \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | \
     CR0_PG)
#define CR0_GUEST_OWNED (CR0_MP | CR0_EM | CR0_TS | CR0_WP | CR0_AM)
/* Set by RESET: cache disable, not write-through, extension type. */
#define CR0_RESET (CR0_CD | CR0_NW | CR0_ET)

/* CR4 bits that change something we must know, or that VMX wants its own way. */
#define CR4_HOST_OWNED (CR4_VMXE | CR4_SMXE | CR4_OSXSAVE | CR4_PKE | CR4_DE)
/* Changing one of these flushes the TLB (SDM 4.10.4.1). */
#define CR4_FLUSHES (CR4_PAE | CR4_PSE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_PKE)

#define CR3_NOFLUSH BIT(63)

static void flush_linear(struct vmx_vcpu *v)
{
    if (vmx_has_proc2(PROC2_VPID))
        vmx_invvpid(v->vpid);
}

static bool unrestricted(void)
{
    return vmx_has_proc2(PROC2_UNRESTRICTED);
}

/* The value the CPU runs with for what the guest wants. Cache control is the host's. */
static uint64_t real_cr0(uint64_t wanted)
{
    uint64_t must = vmx_caps.cr0_fixed0;

    if (unrestricted())
        must &= ~(CR0_PE | CR0_PG);
    return ((wanted & ~(CR0_CD | CR0_NW)) | must) & vmx_caps.cr0_fixed1;
}

static uint64_t real_cr4(uint64_t wanted)
{
    return (wanted | vmx_caps.cr4_fixed0) & vmx_caps.cr4_fixed1;
}

static void set_efer(struct vmx_vcpu *v, uint64_t efer)
{
    uint32_t entry = vmx_caps.entry;

    if (efer & EFER_LMA)
        entry |= ENTRY_GUEST_64;
    vmwrite(VMCS_GUEST_EFER, efer);
    vmwrite(VMCS_ENTRY_CONTROLS, entry);
    v->long_mode = efer & EFER_LMA;
}

static void write_cr0_fields(uint64_t value)
{
    vmwrite(VMCS_GUEST_CR0, real_cr0(value));
    vmwrite(VMCS_CR0_SHADOW, value);
}

static void write_cr4_fields(struct vmx_vcpu *v, uint64_t value)
{
    cpuid_update_leaf(v, value, 1); /* shows OSXSAVE */
    cpuid_update_leaf(v, value, 7); /* and OSPKE */
    v->io_breakpoints = value & CR4_DE;
    vmwrite(VMCS_GUEST_CR4, real_cr4(value));
    vmwrite(VMCS_CR4_SHADOW, value);
}

void control_reset(struct vmx_vcpu *v, bool init)
{
    /* INIT keeps the cache bits; after RESET they are set. */
    uint64_t cr0 = init ? (vmx_cr0(v) & (CR0_CD | CR0_NW)) | CR0_ET : CR0_RESET;

    vmwrite(VMCS_CR0_MASK, ~CR0_GUEST_OWNED);
    vmwrite(VMCS_CR4_MASK, ~cpuid_cr4_allowed(v->vm) | CR4_HOST_OWNED);
    write_cr0_fields(cr0);
    write_cr4_fields(v, 0);
    vmwrite(VMCS_GUEST_CR3, 0);
    set_efer(v, 0);
}

void vmx_force_control(struct vmx_vcpu *v, uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer)
{
    write_cr0_fields(cr0);
    write_cr4_fields(v, cr4);
    vmwrite(VMCS_GUEST_CR3, cr3);
    set_efer(v, efer);
    flush_linear(v);
}

/* ------------------------------------------------------------------ PAE page-directory pointers */

#define PDPTE_PRESENT  BIT(0)
#define PDPTE_RESERVED 0x1e6ull

/*
 * In PAE paging the CPU keeps the four entries in registers, loaded when a control register is
 * written. As we write it for the guest, we load them. Memory never touched reads as zero.
 */
static bool load_pdptes(struct vmx_vcpu *v, uint64_t cr3)
{
    static const vmcs64_t fields[4] = {{0x280a}, {0x280c}, {0x280e}, {0x2810}};
    uint64_t reserved = PDPTE_RESERVED | ~(BIT(cpuid_phys_bits(v->vm)) - 1);
    gpa_t table = GPA(cr3 & 0xffffffe0ull);
    struct ept_mapping m = ept_lookup(v->vm->ept, table);
    uint64_t entries[4] = {0};

    if (!mpn_is_none(m.mpn))
        for (unsigned i = 0; i < 4; i++)
            entries[i] = ((uint64_t *)mpn_ptr(m.mpn))[table.v % PAGE_SIZE / 8 + i];
    for (unsigned i = 0; i < 4; i++)
        if ((entries[i] & PDPTE_PRESENT) && (entries[i] & reserved))
            return false;
    for (unsigned i = 0; i < 4; i++)
        vmwrite(fields[i], entries[i]);
    return true;
}

static bool pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LMA);
}

/* ------------------------------------------------------------------ MOV to CR */

/* The long-mode side of switching paging on or off; false: #GP. */
static bool switch_paging(struct vmx_vcpu *v, bool on, uint64_t *efer)
{
    bool cs_long = vmread(VMCS_GUEST_CS_ACCESS) & ACCESS_LONG;

    if (on && (*efer & EFER_LME)) {
        struct vmx_segment tr = vmx_segment(v, SEG_TR);

        if (!(vmx_cr4(v) & CR4_PAE) || cs_long)
            return false;
        /* VM entry wants a busy 64-bit TSS; a 16-bit one may be left from before. */
        tr.access |= 0xb;
        vmx_set_segment(v, SEG_TR, &tr);
        *efer |= EFER_LMA;
    } else if (!on) {
        if (((*efer & EFER_LMA) && cs_long) || (vmx_cr4(v) & CR4_PCIDE))
            return false;
        *efer &= ~EFER_LMA;
    }
    return true;
}

bool vmx_set_cr0(struct vmx_vcpu *v, uint64_t value)
{
    uint64_t old = vmx_cr0(v), efer = vmx_efer(v), changed;

    if (value >> 32)
        return false;
    value = (value & CR0_DEFINED) | CR0_ET;
    changed = old ^ value;
    if ((value & CR0_PG && !(value & CR0_PE)) || (value & CR0_NW && !(value & CR0_CD)))
        return false;
    if (!unrestricted() && (value & (CR0_PE | CR0_PG)) != (CR0_PE | CR0_PG)) {
        v->client->broken(v, "real mode or paging switched off, and this CPU has no "
                             "unrestricted guest");
        return true;
    }
    if ((changed & CR0_PG) && !switch_paging(v, value & CR0_PG, &efer))
        return false;
    if (pae_paging(value, vmx_cr4(v), efer) && (changed & (CR0_PG | CR0_CD | CR0_NW)) &&
        !load_pdptes(v, vmx_cr3(v)))
        return false;
    write_cr0_fields(value);
    if (changed & CR0_PG)
        set_efer(v, efer);
    if (changed & (CR0_PG | CR0_PE | CR0_WP))
        flush_linear(v);
    return true;
}

bool vmx_set_cr4(struct vmx_vcpu *v, uint64_t value)
{
    uint64_t old = vmx_cr4(v), efer = vmx_efer(v), changed = old ^ value;

    if (value & ~cpuid_cr4_allowed(v->vm))
        return false;
    if ((efer & EFER_LMA) && !(value & CR4_PAE))
        return false;
    if ((value & ~old & CR4_PCIDE) && (!(efer & EFER_LMA) || (vmx_cr3(v) & 0xfff) != 0))
        return false;
    if (pae_paging(vmx_cr0(v), value, efer) &&
        (changed & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP)) && !load_pdptes(v, vmx_cr3(v)))
        return false;
    write_cr4_fields(v, value);
    if (changed & CR4_FLUSHES)
        flush_linear(v);
    return true;
}

/* By MOV only where the CPU cannot do without CR3 exits. */
bool vmx_set_cr3(struct vmx_vcpu *v, uint64_t value)
{
    bool keep = (vmx_cr4(v) & CR4_PCIDE) && (value & CR3_NOFLUSH);

    value &= ~CR3_NOFLUSH;
    if ((vmx_efer(v) & EFER_LMA) && value >> cpuid_phys_bits(v->vm))
        return false;
    if (pae_paging(vmx_cr0(v), vmx_cr4(v), vmx_efer(v)) && !load_pdptes(v, value))
        return false;
    vmwrite(VMCS_GUEST_CR3, value);
    if (!keep)
        flush_linear(v);
    return true;
}

bool vmx_set_efer(struct vmx_vcpu *v, uint64_t value)
{
    uint64_t old = vmx_efer(v);

    if (value & ~(cpuid_efer_allowed(v->vm) | EFER_LMA))
        return false;
    if (((old ^ value) & EFER_LME) && (vmx_cr0(v) & CR0_PG))
        return false;
    set_efer(v, (value & ~EFER_LMA) | (old & EFER_LMA));
    if ((old ^ value) & EFER_NXE)
        flush_linear(v);
    return true;
}

/* ------------------------------------------------------------------ exits */

enum cr_access { CR_MOV_TO, CR_MOV_FROM, CR_CLTS, CR_LMSW };

static bool mov_to_cr(struct vmx_vcpu *v, unsigned cr, uint64_t value)
{
    switch (cr) {
    case 0:
        return vmx_set_cr0(v, value);
    case 3:
        return vmx_set_cr3(v, value);
    case 4:
        return vmx_set_cr4(v, value);
    case 8:
        if (value > 15)
            return false;
        v->client->cr8_write(v, value);
        return true;
    default:
        return false;
    }
}

static uint64_t mov_from_cr(struct vmx_vcpu *v, unsigned cr)
{
    return cr == 8 ? v->client->cr8_read(v) : vmx_cr3(v);
}

/* LMSW sets the low four bits of CR0 and cannot clear PE. */
static bool lmsw(struct vmx_vcpu *v, uint64_t source)
{
    uint64_t cr0 = vmx_cr0(v);

    return vmx_set_cr0(v, (cr0 & ~0xeull) | (source & 0xf));
}

void control_cr_exit(struct vmx_vcpu *v)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);
    unsigned cr = q & 0xf, reg = q >> 8 & 0xf;
    uint64_t value = vmx_reg(v, reg);
    bool ok = true;

    if (!(vmread(VMCS_GUEST_CS_ACCESS) & ACCESS_LONG))
        value = (uint32_t)value;
    switch ((enum cr_access)(q >> 4 & 3)) {
    case CR_MOV_TO:
        ok = mov_to_cr(v, cr, value);
        break;
    case CR_MOV_FROM:
        vmx_set_reg(v, reg, mov_from_cr(v, cr));
        break;
    case CR_CLTS:
        ok = vmx_set_cr0(v, vmx_cr0(v) & ~CR0_TS);
        break;
    case CR_LMSW:
        ok = lmsw(v, q >> 16 & 0xffff);
        break;
    }
    if (ok)
        vmx_skip(v);
    else
        vmx_inject_gp(v);
}

/* The guest uses debug registers: until it leaves its CPU it may; and does this again. */
void control_dr_exit(struct vmx_vcpu *v)
{
    switch_open_debug(v);
}

#define XCR0_X87    BIT(0)
#define XCR0_SSE    BIT(1)
#define XCR0_AVX    BIT(2)
#define XCR0_MPX    (BIT(3) | BIT(4))
#define XCR0_AVX512 (BIT(5) | BIT(6) | BIT(7))

/* The combinations that XSETBV takes (SDM vol. 1 section 13.3). */
static bool xcr0_valid(const struct vmx_vcpu *v, uint64_t x)
{
    if ((x & ~cpuid_xcr0_allowed(v->vm)) || !(x & XCR0_X87))
        return false;
    if ((x & XCR0_AVX) && !(x & XCR0_SSE))
        return false;
    if ((x & XCR0_AVX512) && ((x & XCR0_AVX512) != XCR0_AVX512 || !(x & XCR0_AVX)))
        return false;
    return (x & XCR0_MPX) == 0 || (x & XCR0_MPX) == XCR0_MPX;
}

void control_xsetbv_exit(struct vmx_vcpu *v)
{
    uint64_t value = (uint32_t)v->regs[REG_RAX] | v->regs[REG_RDX] << 32;

    if ((uint32_t)v->regs[REG_RCX] != 0 || vmx_cpl(v) != 0 || !xcr0_valid(v, value)) {
        vmx_inject_gp(v);
        return;
    }
    fpu_set_xcr0(v, value);
    cpuid_update_leaf(v, vmx_cr4(v), 0xd);
    vmx_skip(v);
}
