/*
 * A vCPU's VMCS: made and reset. Source: SDM vol. 3 chapters 25 and 27.
 */
#include "lib/assert.h"
#include "lib/string.h"
#include "machine/apic.h"
#include "machine/frame.h"
#include "machine/paging.h"
#include "machine/percpu.h"
#include "vmx/caps.h"
#include "vmx/cpu.h"
#include "vmx/internal.h"
#include "vmx/vmcs.h"

#define IO_BITMAP_PAGES_ORDER 1

/* A spin-wait of this many ticks, with PAUSEs at most this far apart, is worth an exit. */
#define PLE_GAP_TICKS    128
#define PLE_WINDOW_TICKS 4096

#define DR7_RESET 0x400u

int vmx_vm_init(struct vmx_vm *vm)
{
    mpn_t bitmaps = frame_alloc(IO_BITMAP_PAGES_ORDER, FRAME_HYPERVISOR, 0);

    if (mpn_is_none(bitmaps))
        return E_NOMEM;
    vm->io_bitmaps = mpn_ptr(bitmaps);
    memset(vm->io_bitmaps, 0xff, PAGE_SIZE << IO_BITMAP_PAGES_ORDER);
    vm->virtual_apic = vm->nr_vcpus > 1 ? vmx_caps.virtual_apic_smp : vmx_caps.virtual_apic;
    vm->cpuid = cpuid_table_create(vm);
    if (vm->cpuid == NULL) {
        frame_free(bitmaps, IO_BITMAP_PAGES_ORDER);
        return E_NOMEM;
    }
    return 0;
}

void vmx_vm_destroy(struct vmx_vm *vm)
{
    cpuid_table_destroy(vm->cpuid);
    frame_free(hpa_mpn(ptr_hpa(vm->io_bitmaps)), IO_BITMAP_PAGES_ORDER);
}

void vmx_open_port(struct vmx_vm *vm, uint16_t port)
{
    vm->io_bitmaps[port / 32] &= ~(1u << port % 32);
}

/* ------------------------------------------------------------------ controls and host state */

static uint32_t initial_proc2(const struct vmx_vcpu *v)
{
    uint32_t w = vmx_caps.proc2;

    /* On only in the APIC mode concerned: vmx_set_apic_mode. */
    w &= ~(PROC2_APIC_ACCESS | PROC2_X2APIC | PROC2_APIC_REGISTERS);
    if (!v->vm->virtual_apic)
        w &= ~PROC2_VIRTUAL_DELIVERY;
    if (!cpuid_has_invpcid(v->vm))
        w &= ~PROC2_INVPCID;
    return w;
}

static void write_controls(struct vmx_vcpu *v)
{
    v->pin = vmx_caps.pin;
    v->proc = vmx_caps.proc;
    v->proc2 = initial_proc2(v);
    if (!v->vm->virtual_apic)
        v->pin &= ~PIN_POSTED_INTERRUPTS;
    if (!vmx_has_proc(PROC_TPR_SHADOW))
        v->proc |= PROC_CR8_LOAD | PROC_CR8_STORE;
    vmwrite(VMCS_PIN_CONTROLS, v->pin);
    vmwrite(VMCS_PROC_CONTROLS, v->proc);
    vmwrite(VMCS_PROC_CONTROLS_2, v->proc2);
    vmwrite(VMCS_EXIT_CONTROLS, vmx_caps.exit);
    vmwrite(VMCS_ENTRY_CONTROLS, vmx_caps.entry);
    /* Guests handle their own exceptions; #MC on the machine itself is the host's. */
    vmwrite(VMCS_EXCEPTION_BITMAP, BIT(VECTOR_MC));
    vmwrite(VMCS_PF_ERROR_MASK, 0);
    vmwrite(VMCS_PF_ERROR_MATCH, 0);
    vmwrite(VMCS_CR3_TARGET_COUNT, 0);
    vmwrite(VMCS_EXIT_MSR_STORE_COUNT, 0);
    vmwrite(VMCS_EXIT_MSR_LOAD_COUNT, 0);
    vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, 0);
    vmwrite(VMCS_LINK_POINTER, UINT64_MAX);
}

static void write_addresses(struct vmx_vcpu *v, hpa_t apic_page, hpa_t posted)
{
    hpa_t io = ptr_hpa(v->vm->io_bitmaps);

    vmwrite(VMCS_IO_BITMAP_A, io.v);
    vmwrite(VMCS_IO_BITMAP_B, io.v + PAGE_SIZE);
    vmwrite(VMCS_MSR_BITMAP, ptr_hpa(v->msr_bitmap).v);
    vmwrite(VMCS_EPT_POINTER, ept_pointer(v->vm->ept));
    if (vmx_has_proc2(PROC2_VPID))
        vmwrite(VMCS_VPID, v->vpid);
    if (vmx_has_proc(PROC_TPR_SHADOW)) {
        vmwrite(VMCS_VIRTUAL_APIC_PAGE, apic_page.v);
        vmwrite(VMCS_TPR_THRESHOLD, 0);
    }
    if (v->vm->virtual_apic) {
        vmwrite(VMCS_APIC_ACCESS_ADDR, v->vm->apic_access.v);
        vmwrite(VMCS_GUEST_INTERRUPT_STATUS, 0);
        vmx_set_eoi_exits(v, (const uint64_t[4]){0});
    }
    if (v->pin & PIN_POSTED_INTERRUPTS) {
        vmwrite(VMCS_POSTED_INTERRUPT_DESC, posted.v);
        vmwrite(VMCS_POSTED_INTERRUPT_VECTOR, HOST_VECTOR_POSTED);
    }
    if (vmx_has_proc2(PROC2_PAUSE_LOOP)) {
        vmwrite(VMCS_PLE_GAP, PLE_GAP_TICKS);
        vmwrite(VMCS_PLE_WINDOW, PLE_WINDOW_TICKS);
    }
    if (vmx_has_proc2(PROC2_XSAVES))
        vmwrite(VMCS_XSS_EXITING_BITMAP, 0);
}

struct table_register {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

static uint16_t selector_of(const char *seg)
{
    uint16_t s = 0;

    switch (seg[0]) {
    case 'c':
        __asm__("mov %%cs, %0" : "=r"(s));
        break;
    case 's':
        __asm__("mov %%ss, %0" : "=r"(s));
        break;
    case 't':
        __asm__("str %0" : "=r"(s));
        break;
    }
    return s;
}

/* What an exit loads, the same on every CPU. */
static void write_host_common(struct vmx_vcpu *v)
{
    vmwrite(VMCS_HOST_CS_SELECTOR, selector_of("cs"));
    vmwrite(VMCS_HOST_SS_SELECTOR, selector_of("ss"));
    vmwrite(VMCS_HOST_DS_SELECTOR, 0);
    vmwrite(VMCS_HOST_ES_SELECTOR, 0);
    vmwrite(VMCS_HOST_FS_SELECTOR, 0);
    vmwrite(VMCS_HOST_GS_SELECTOR, 0);
    vmwrite(VMCS_HOST_TR_SELECTOR, selector_of("tr"));
    vmwrite(VMCS_HOST_CR0, read_cr0());
    vmwrite(VMCS_HOST_CR3, paging_cr3());
    vmwrite(VMCS_HOST_CR4, read_cr4());
    vmwrite(VMCS_HOST_EFER, rdmsr(MSR_EFER));
    vmwrite(VMCS_HOST_PAT, rdmsr(MSR_PAT));
    vmwrite(VMCS_HOST_FS_BASE, 0);
    vmwrite(VMCS_HOST_SYSENTER_CS, 0);
    vmwrite(VMCS_HOST_SYSENTER_ESP, 0);
    vmwrite(VMCS_HOST_SYSENTER_EIP, 0);
    vmwrite(VMCS_HOST_RSP, (uintptr_t)&v->regs[REG_COUNT]);
    vmwrite(VMCS_HOST_RIP, (uintptr_t)vmx_exit);
}

void vmx_write_host_cpu(void)
{
    struct percpu *cpu = this_cpu();
    struct table_register gdt, idt;

    __asm__("sgdt %0" : "=m"(gdt));
    __asm__("sidt %0" : "=m"(idt));
    vmwrite(VMCS_HOST_GS_BASE, (uintptr_t)cpu);
    vmwrite(VMCS_HOST_TR_BASE, cpu->tss_base);
    vmwrite(VMCS_HOST_GDTR_BASE, gdt.base);
    vmwrite(VMCS_HOST_IDTR_BASE, idt.base);
}

/* ------------------------------------------------------------------ life */

/* VPIDs are not reused while others are left: a reused one starts with a flush. */
static uint16_t vpid_next(void)
{
    static uint16_t last;

    if (++last == 0)
        last = 1;
    return last;
}

static int alloc_pages(struct vmx_vcpu *v)
{
    mpn_t vmcs = frame_alloc(FRAME_ORDER_4K, FRAME_HYPERVISOR, FRAME_ZERO);
    mpn_t bitmap = frame_alloc(FRAME_ORDER_4K, FRAME_HYPERVISOR, 0);

    if (!mpn_is_none(vmcs))
        v->vmcs = mpn_hpa(vmcs);
    if (!mpn_is_none(bitmap))
        v->msr_bitmap = mpn_ptr(bitmap);
    return mpn_is_none(vmcs) || mpn_is_none(bitmap) ? E_NOMEM : fpu_init(v);
}

int vmx_vcpu_init(struct vmx_vcpu *v, struct vmx_vm *vm, unsigned index, hpa_t apic_page,
                  hpa_t posted)
{
    v->vm = vm;
    v->client = vm->client;
    v->index = index;
    v->vpid = vpid_next();
    v->loaded_on = -1;
    if (alloc_pages(v) != 0) {
        vmx_vcpu_destroy(v);
        return E_NOMEM;
    }
    *(uint32_t *)hpa_ptr(v->vmcs) = vmx_caps.revision;
    vmcs_clear(v->vmcs);
    msr_init(v);
    vmx_vcpu_load(v);
    write_controls(v);
    write_addresses(v, apic_page, posted);
    write_host_common(v);
    vmx_vcpu_reset(v, false);
    if (vmx_has_proc2(PROC2_VPID))
        vmx_invvpid(v->vpid);
    vmx_vcpu_put(v);
    return 0;
}

void vmx_vcpu_destroy(struct vmx_vcpu *v)
{
    ASSERT(!v->current);
    fpu_destroy(v);
    if (v->times != NULL)
        heap_free(v->times);
    if (v->msr_bitmap != NULL)
        frame_free(hpa_mpn(ptr_hpa(v->msr_bitmap)), FRAME_ORDER_4K);
    if (v->vmcs.v != 0)
        frame_free(hpa_mpn(v->vmcs), FRAME_ORDER_4K);
}

/* A real-mode segment, and the table registers, as after RESET. */
static void reset_segments(struct vmx_vcpu *v)
{
    const struct vmx_segment data = {.limit = 0xffff, .access = 0x93};
    const struct vmx_segment code = {0xf000, 0xffff, 0x9b, 0xffff0000};
    const struct vmx_segment ldtr = {.limit = 0xffff, .access = 0x82};
    const struct vmx_segment tr = {.limit = 0xffff, .access = 0x8b};

    for (unsigned i = SEG_ES; i <= SEG_GS; i++)
        vmx_set_segment(v, i, &data);
    vmx_set_segment(v, SEG_CS, &code);
    vmx_set_segment(v, SEG_LDTR, &ldtr);
    vmx_set_segment(v, SEG_TR, &tr);
    vmx_set_table(v, false, 0, 0xffff);
    vmx_set_table(v, true, 0, 0xffff);
}

static void reset_registers(struct vmx_vcpu *v)
{
    memset(v->regs, 0, sizeof(v->regs));
    v->regs[REG_RDX] = cpuid(1, 0).eax;
    reset_segments(v);
    vmwrite(VMCS_GUEST_RIP, 0xfff0);
    vmwrite(VMCS_GUEST_RSP, 0);
    vmwrite(VMCS_GUEST_RFLAGS, RFLAGS_FIXED);
    vmwrite(VMCS_GUEST_DR7, DR7_RESET);
    vmwrite(VMCS_GUEST_PENDING_DEBUG, 0);
    vmwrite(VMCS_GUEST_INTERRUPTIBILITY, 0);
    vmwrite(VMCS_GUEST_ACTIVITY, ACTIVITY_ACTIVE);
    write_cr2(0);
}

void vmx_vcpu_reset(struct vmx_vcpu *v, bool init)
{
    ASSERT(v->current);
    v->event.info = 0;
    v->nmi_pending = false;
    reset_registers(v);
    switch_reset_debug(v);
    control_reset(v, init);
    msr_reset(v, init);
    if (!init)
        fpu_reset(v);
    cpuid_update(v);
    vmx_want_interrupt_window(v, false);
    vmx_want_nmi_window(v, false);
    /* The control registers did not change by MOV: translations must go by hand. */
    if (vmx_has_proc2(PROC2_VPID))
        vmx_invvpid(v->vpid);
}
