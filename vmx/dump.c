/* A vCPU's whole state on the log, for when a VM has come to an end that nobody planned. */
#include "lib/log.h"
#include "machine/frame.h"
#include "vmx/internal.h"
#include "vmx/vmcs.h"

static const char *const reg_names[REG_COUNT] = {
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
    "r8 ", "r9 ", "r10", "r11", "r12", "r13", "r14", "r15",
};

static const char *const seg_names[SEG_COUNT] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};

static void dump_registers(struct vmx_vcpu *v)
{
    log_line("  rip %016lx  rflags %016lx", vmx_rip(v), vmx_rflags(v));
    for (unsigned i = 0; i < REG_COUNT; i += 4)
        log_line("  %s %016lx  %s %016lx  %s %016lx  %s %016lx", reg_names[i], vmx_reg(v, i),
                 reg_names[i + 1], vmx_reg(v, i + 1), reg_names[i + 2], vmx_reg(v, i + 2),
                 reg_names[i + 3], vmx_reg(v, i + 3));
}

static void dump_control(struct vmx_vcpu *v)
{
    log_line("  cr0 %08lx (real %08lx)  cr2 %016lx  cr3 %016lx", vmx_cr0(v), vmread(VMCS_GUEST_CR0),
             read_cr2(), vmx_cr3(v));
    log_line("  cr4 %08lx (real %08lx)  efer %04lx  pat %016lx", vmx_cr4(v), vmread(VMCS_GUEST_CR4),
             vmx_efer(v), vmread(VMCS_GUEST_PAT));
    log_line("  dr0 %lx  dr1 %lx  dr2 %lx  dr3 %lx  dr6 %lx  dr7 %lx", read_dr0(), read_dr1(),
             read_dr2(), read_dr3(), read_dr6(), vmread(VMCS_GUEST_DR7));
    log_line("  gdtr %016lx limit %04x  idtr %016lx limit %04x", vmread(VMCS_GUEST_GDTR_BASE),
             vmread(VMCS_GUEST_GDTR_LIMIT), vmread(VMCS_GUEST_IDTR_BASE),
             vmread(VMCS_GUEST_IDTR_LIMIT));
}

static void dump_segments(struct vmx_vcpu *v)
{
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        struct vmx_segment s = vmx_segment(v, i);

        log_line("  %-4s %04x  base %016lx  limit %08x  access %05x%s", seg_names[i], s.selector,
                 s.base, s.limit, s.access, s.access & ACCESS_UNUSABLE ? " unusable" : "");
    }
}

static void dump_exit(struct vmx_vcpu *v)
{
    log_line("  last exit %u (%s)  qualification %lx  linear %lx  physical %lx", v->exit_reason,
             vmx_exit_name(v->exit_reason), vmread(VMCS_EXIT_QUALIFICATION),
             vmread(VMCS_GUEST_LINEAR_ADDRESS), vmread(VMCS_GUEST_PHYSICAL_ADDRESS));
    log_line("  vectoring %08x  exit event %08x  entry event %08x  interruptibility %x  "
             "activity %u",
             vmread(VMCS_IDT_VECTORING_INFO), vmread(VMCS_EXIT_INTERRUPTION_INFO),
             vmread(VMCS_ENTRY_INTERRUPTION_INFO), vmread(VMCS_GUEST_INTERRUPTIBILITY),
             vmread(VMCS_GUEST_ACTIVITY));
    log_line("  controls: pin %08x  processor %08x  secondary %08x  entry %08x  exit %08x",
             vmread(VMCS_PIN_CONTROLS), vmread(VMCS_PROC_CONTROLS), vmread(VMCS_PROC_CONTROLS_2),
             vmread(VMCS_ENTRY_CONTROLS), vmread(VMCS_EXIT_CONTROLS));
}

void vmx_dump(struct vmx_vcpu *v, const char *name)
{
    log_line("%s: state of vCPU %u:", name, v->index);
    dump_registers(v);
    dump_control(v);
    dump_segments(v);
    dump_exit(v);
}
