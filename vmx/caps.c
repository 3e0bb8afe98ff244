/*
 * Capability negotiation: each control is a (required, optional) pair with a name. Source: SDM
 * vol. 3 appendix A; the order of checks is what a person wants to be told first.
 */
#include "lib/assert.h"
#include "lib/format.h"
#include "lib/log.h"
#include "lib/string.h"
#include "machine/cpu.h"
#include "machine/bootinfo.h"
#include "machine/panic.h"
#include "vmx/caps.h"
#include "vmx/errata.h"
#include "vmx/internal.h"
#include "vmx/msrs.h"

struct vmx_caps vmx_caps;

#define CPUID_1_ECX_VMX BIT(5)

/* One feature of a control word. Features without a name are not worth a line. */
struct control {
    uint32_t bit;
    enum { OPTIONAL, REQUIRED, NOT_YET /* what will need it is not there */ } need;
    const char *name;
};

static const struct control pin_controls[] = {
    {PIN_EXTERNAL_INTERRUPT, REQUIRED, "external-interrupt exiting"},
    {PIN_NMI, REQUIRED, "NMI exiting"},
    {PIN_VIRTUAL_NMI, REQUIRED, "virtual NMIs"},
    {PIN_PREEMPTION_TIMER, OPTIONAL, "preemption timer"},
    {PIN_POSTED_INTERRUPTS, OPTIONAL, "posted interrupts"},
};

static const struct control proc_controls[] = {
    {PROC_TSC_OFFSET, REQUIRED, "TSC offset"},   {PROC_HLT, REQUIRED, "HLT exiting"},
    {PROC_RDPMC, REQUIRED, "RDPMC exiting"},     {PROC_MWAIT, REQUIRED, "MWAIT exiting"},
    {PROC_MONITOR, REQUIRED, "MONITOR exiting"}, {PROC_IO_BITMAPS, REQUIRED, "I/O bitmaps"},
    {PROC_MSR_BITMAPS, REQUIRED, "MSR bitmaps"}, {PROC_SECONDARY, REQUIRED, "secondary controls"},
    {PROC_MOV_DR, REQUIRED, "MOV DR exiting"},   {PROC_TPR_SHADOW, OPTIONAL, "TPR shadow"},
};

static const struct control proc2_controls[] = {
    {PROC2_EPT, REQUIRED, "EPT"},
    {PROC2_UNRESTRICTED, OPTIONAL, "unrestricted guest"},
    {PROC2_VPID, OPTIONAL, "VPID"},
    {PROC2_RDTSCP, OPTIONAL, "RDTSCP"},
    {PROC2_INVPCID, OPTIONAL, "INVPCID"},
    {PROC2_XSAVES, OPTIONAL, "XSAVES"},
    {PROC2_WBINVD, OPTIONAL, "WBINVD exiting"},
    {PROC2_APIC_ACCESS, OPTIONAL, "APIC-access page"},
    {PROC2_X2APIC, OPTIONAL, "x2APIC virtualisation"},
    {PROC2_APIC_REGISTERS, OPTIONAL, "APIC-register virtualisation"},
    {PROC2_VIRTUAL_DELIVERY, OPTIONAL, "virtual-interrupt delivery"},
    {PROC2_PAUSE_LOOP, OPTIONAL, "PAUSE-loop exiting"},
    {PROC2_TSC_SCALING, NOT_YET, "TSC scaling"},
    {PROC2_PML, NOT_YET, "PML"},
};

static const struct control exit_controls[] = {
    {EXIT_HOST_64, REQUIRED, "64-bit host"},
    {EXIT_SAVE_DEBUG, REQUIRED, "save debug controls"},
    {EXIT_ACK_INTERRUPT, REQUIRED, "acknowledge interrupt on exit"},
    {EXIT_SAVE_PAT, REQUIRED, "save PAT"},
    {EXIT_LOAD_PAT, REQUIRED, "load PAT"},
    {EXIT_SAVE_EFER, REQUIRED, "save EFER"},
    {EXIT_LOAD_EFER, REQUIRED, "load EFER"},
    {EXIT_SAVE_PREEMPTION, OPTIONAL, NULL},
};

static const struct control entry_controls[] = {
    {ENTRY_LOAD_DEBUG, REQUIRED, "load debug controls"},
    {ENTRY_LOAD_PAT, REQUIRED, "load PAT on entry"},
    {ENTRY_LOAD_EFER, REQUIRED, "load EFER on entry"},
};

/* The names of what is used, for one or more lines of the log. */
struct names {
    char text[768];
    size_t len;
};

static void names_add(struct names *n, const char *name)
{
    if (n->len < sizeof(n->text))
        n->len += format_text(n->text + n->len, sizeof(n->text) - n->len, "%s%s",
                              n->len > 0 ? ", " : "", name);
}

/* "without=NAME,NAME" on the command line takes optional features out, to test their absence. */
static bool switched_off(const char *name)
{
    char list[256];
    const char *p = list;
    size_t n = strlen(name);

    if (!bootinfo_option("without", list, sizeof(list)))
        return false;
    while (*p != '\0') {
        size_t i = 0;

        while (i < n && (p[i] == name[i] || (p[i] == '_' && name[i] == ' ')))
            i++;
        if (i == n && (p[i] == ',' || p[i] == '\0'))
            return true;
        while (*p != '\0' && *p++ != ',')
            ;
    }
    return false;
}

/*
 * A control word from its capability MSR: low half must be one, high half may be one. Required
 * controls that are missing end the hypervisor; optional ones are taken where they are.
 */
static uint32_t negotiate(uint64_t msr, const struct control *list, size_t n)
{
    uint32_t must = (uint32_t)msr, may = (uint32_t)(msr >> 32), word = must;

    for (size_t i = 0; i < n; i++) {
        const struct control *c = &list[i];
        bool there = may & c->bit;

        if (!there && c->need == REQUIRED)
            fatal("this CPU's VT-x lacks a feature that Tithe requires: %s", c->name);
        if (!there || c->need == NOT_YET ||
            (c->need == OPTIONAL && c->name != NULL && switched_off(c->name)))
            continue;
        word |= c->bit;
    }
    return word;
}

#define NEGOTIATE(msr, list) negotiate(rdmsr(msr), list, ARRAY_SIZE(list))

/* The optional features of a control word that are in use. */
static void name_used(struct names *names, uint32_t word, const struct control *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (list[i].need == OPTIONAL && list[i].name != NULL && (word & list[i].bit))
            names_add(names, list[i].name);
}

#define NAME_USED(names, word, list) name_used(names, word, list, ARRAY_SIZE(list))

__attribute__((noinline)) uint64_t vmx_feature_control(void)
{
    uint64_t v;

    /* Some emulators have VMX without this MSR. */
    return rdmsr_safe(MSR_FEATURE_CONTROL, &v) ? v : FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX;
}

/* VMX must be unlocked for us, or be left unlocked: then we lock it on. */
static void feature_control(void)
{
    uint64_t v;

    if (!(cpuid(1, 0).ecx & CPUID_1_ECX_VMX))
        fatal("this CPU has no VT-x (or it is hidden: in QEMU use -accel kvm -cpu host)");
    v = vmx_feature_control();
    if (v & FEATURE_CONTROL_LOCK) {
        if (!(v & FEATURE_CONTROL_VMX))
            fatal("VT-x is locked off by the firmware: turn it on in the firmware's setup");
        return;
    }
    if (!wrmsr_safe(MSR_FEATURE_CONTROL, v | FEATURE_CONTROL_VMX | FEATURE_CONTROL_LOCK))
        fatal("IA32_FEATURE_CONTROL cannot be set: VT-x stays off");
}

static void ept_capabilities(void)
{
    uint64_t v = rdmsr(MSR_VMX_EPT_VPID_CAP);
    struct vmx_caps *c = &vmx_caps;

    if (!(v & EPT_CAP_WALK_4) || !(v & EPT_CAP_WB))
        fatal("this CPU's EPT lacks four-level walks or write-back tables");
    if (!(v & EPT_CAP_INVEPT) || !(v & (EPT_CAP_INVEPT_SINGLE | EPT_CAP_INVEPT_ALL)))
        fatal("this CPU's EPT lacks INVEPT");
    c->ept.large_2m = (v & EPT_CAP_2M) && !switched_off("EPT 2M pages");
    c->ept.large_1g = v & EPT_CAP_1G;
    c->ept.accessed_dirty = (v & EPT_CAP_ACCESSED_DIRTY) && !switched_off("EPT accessed/dirty");
    c->ept.execute_only = v & EPT_CAP_EXECUTE_ONLY;
    c->invept_single = v & EPT_CAP_INVEPT_SINGLE;
    c->invvpid_single = (v & VPID_CAP_INVVPID) && (v & VPID_CAP_SINGLE);
    /* VPIDs without a way to flush one would be worse than none. */
    if (!c->invvpid_single)
        c->proc2 &= ~PROC2_VPID;
}

/*
 * APIC virtualisation is one feature to us: register virtualisation and virtual delivery need the
 * TPR shadow, and only with the APIC-access page does a stock guest's xAPIC profit. What remains
 * of an incomplete set is turned off (the TPR shadow is good by itself).
 */
static void apic_virtualisation(void)
{
    const uint32_t set =
        PROC2_APIC_ACCESS | PROC2_APIC_REGISTERS | PROC2_VIRTUAL_DELIVERY | PROC2_X2APIC;
    struct vmx_caps *c = &vmx_caps;

    c->virtual_apic = (c->proc & PROC_TPR_SHADOW) && (c->proc2 & set) == set;
    if (!c->virtual_apic) {
        c->proc2 &= ~set;
        c->pin &= ~PIN_POSTED_INTERRUPTS;
    }
    /* Single-vCPU VMs are kept from harm by injecting by hand where it matters (vm/vcpu.c). */
    c->virtual_apic_smp = c->virtual_apic && !errata_delivers_masked();
}

static void control_words(void)
{
    uint64_t basic = rdmsr(MSR_VMX_BASIC);
    bool true_controls = basic & VMX_BASIC_TRUE_CONTROLS;
    struct vmx_caps *c = &vmx_caps;

    if (VMX_BASIC_MEM_TYPE(basic) != EPT_TYPE_WB)
        fatal("this CPU wants its VMCS in memory that is not write-back");
    c->revision = basic & VMX_BASIC_REVISION;
    c->string_io_info = basic & VMX_BASIC_STRING_IO;
    c->pin = NEGOTIATE(true_controls ? MSR_VMX_TRUE_PIN : MSR_VMX_PIN, pin_controls);
    c->proc = NEGOTIATE(true_controls ? MSR_VMX_TRUE_PROC : MSR_VMX_PROC, proc_controls);
    c->proc2 = NEGOTIATE(MSR_VMX_PROC2, proc2_controls);
    c->exit = NEGOTIATE(true_controls ? MSR_VMX_TRUE_EXIT : MSR_VMX_EXIT, exit_controls);
    c->entry = NEGOTIATE(true_controls ? MSR_VMX_TRUE_ENTRY : MSR_VMX_ENTRY, entry_controls);
    if (!(c->exit & EXIT_SAVE_PREEMPTION))
        c->pin &= ~PIN_PREEMPTION_TIMER;
    if (!(c->pin & PIN_PREEMPTION_TIMER))
        c->exit &= ~EXIT_SAVE_PREEMPTION;
    /* Without TRUE controls these default to one; EPT makes them needless. */
    if (true_controls)
        c->proc &= ~(PROC_CR3_LOAD | PROC_CR3_STORE | PROC_INVLPG);
    c->preemption_shift = rdmsr(MSR_VMX_MISC) & VMX_MISC_PREEMPT_RATE;
    c->cr0_fixed0 = rdmsr(MSR_VMX_CR0_FIXED0);
    c->cr0_fixed1 = rdmsr(MSR_VMX_CR0_FIXED1);
    c->cr4_fixed0 = rdmsr(MSR_VMX_CR4_FIXED0);
    c->cr4_fixed1 = rdmsr(MSR_VMX_CR4_FIXED1);
}

/* The list of what is used, in lines that fit a terminal. */
static void print_used(void)
{
    struct names names = {.len = 0};
    const struct vmx_caps *c = &vmx_caps;
    const char *text = names.text;

    NAME_USED(&names, c->pin, pin_controls);
    NAME_USED(&names, c->proc, proc_controls);
    NAME_USED(&names, c->proc2, proc2_controls);
    if (c->ept.large_2m)
        names_add(&names, c->ept.large_1g ? "EPT 2M and 1G pages" : "EPT 2M pages");
    if (c->ept.accessed_dirty)
        names_add(&names, "EPT accessed/dirty");
    while (*text != '\0') {
        size_t n = strlen(text);

        if (n > 84)
            for (n = 84; n > 0 && text[n - 1] != ' '; n--)
                ;
        log_line("VT-x: %.*s", (int)n, text);
        text += n;
    }
    if (c->virtual_apic && !c->virtual_apic_smp)
        log_line("VT-x: an emulator: no APIC virtualisation for VMs with more than one CPU");
}

void vmx_caps_init(void)
{
    feature_control();
    control_words();
    ept_capabilities();
    apic_virtualisation();
    msr_init_tables();
    print_used();
}
