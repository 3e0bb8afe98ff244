/*
 * VMX capability MSRs and the control bits they describe. Source: SDM vol. 3 appendix A and
 * section 25.6 to 25.8.
 */
#ifndef VMX_MSRS_H
#define VMX_MSRS_H

#include "lib/types.h"

#define MSR_VMX_BASIC        0x480
#define MSR_VMX_PIN          0x481
#define MSR_VMX_PROC         0x482
#define MSR_VMX_EXIT         0x483
#define MSR_VMX_ENTRY        0x484
#define MSR_VMX_MISC         0x485
#define MSR_VMX_CR0_FIXED0   0x486
#define MSR_VMX_CR0_FIXED1   0x487
#define MSR_VMX_CR4_FIXED0   0x488
#define MSR_VMX_CR4_FIXED1   0x489
#define MSR_VMX_PROC2        0x48b
#define MSR_VMX_EPT_VPID_CAP 0x48c
#define MSR_VMX_TRUE_PIN     0x48d
#define MSR_VMX_TRUE_PROC    0x48e
#define MSR_VMX_TRUE_EXIT    0x48f
#define MSR_VMX_TRUE_ENTRY   0x490
#define MSR_VMX_LAST         0x491

#define VMX_BASIC_REVISION      0x7fffffffull
#define VMX_BASIC_MEM_TYPE(v)   ((v) >> 50 & 0xf)
#define VMX_BASIC_STRING_IO     BIT(54) /* instruction information of INS and OUTS */
#define VMX_BASIC_TRUE_CONTROLS BIT(55)
#define VMX_MISC_PREEMPT_RATE   0x1full
#define VMX_MISC_ACTIVITY_HLT   BIT(6)

#define FEATURE_CONTROL_LOCK BIT(0)
#define FEATURE_CONTROL_VMX  BIT(2) /* outside SMX */

/* Pin-based controls. */
#define PIN_EXTERNAL_INTERRUPT BIT(0)
#define PIN_NMI                BIT(3)
#define PIN_VIRTUAL_NMI        BIT(5)
#define PIN_PREEMPTION_TIMER   BIT(6)
#define PIN_POSTED_INTERRUPTS  BIT(7)

/* Primary processor-based controls. */
#define PROC_INTERRUPT_WINDOW BIT(2)
#define PROC_TSC_OFFSET       BIT(3)
#define PROC_HLT              BIT(7)
#define PROC_INVLPG           BIT(9)
#define PROC_MWAIT            BIT(10)
#define PROC_RDPMC            BIT(11)
#define PROC_RDTSC            BIT(12)
#define PROC_CR3_LOAD         BIT(15)
#define PROC_CR3_STORE        BIT(16)
#define PROC_CR8_LOAD         BIT(19)
#define PROC_CR8_STORE        BIT(20)
#define PROC_TPR_SHADOW       BIT(21)
#define PROC_NMI_WINDOW       BIT(22)
#define PROC_MOV_DR           BIT(23)
#define PROC_UNCONDITIONAL_IO BIT(24)
#define PROC_IO_BITMAPS       BIT(25)
#define PROC_MSR_BITMAPS      BIT(28)
#define PROC_MONITOR          BIT(29)
#define PROC_PAUSE            BIT(30)
#define PROC_SECONDARY        BIT(31)

/* Secondary processor-based controls. */
#define PROC2_APIC_ACCESS      BIT(0)
#define PROC2_EPT              BIT(1)
#define PROC2_DESCRIPTOR_TABLE BIT(2)
#define PROC2_RDTSCP           BIT(3)
#define PROC2_X2APIC           BIT(4)
#define PROC2_VPID             BIT(5)
#define PROC2_WBINVD           BIT(6)
#define PROC2_UNRESTRICTED     BIT(7)
#define PROC2_APIC_REGISTERS   BIT(8)
#define PROC2_VIRTUAL_DELIVERY BIT(9)
#define PROC2_PAUSE_LOOP       BIT(10)
#define PROC2_INVPCID          BIT(12)
#define PROC2_PML              BIT(17)
#define PROC2_XSAVES           BIT(20)
#define PROC2_TSC_SCALING      BIT(25)

/* VM-exit controls. */
#define EXIT_SAVE_DEBUG      BIT(2)
#define EXIT_HOST_64         BIT(9)
#define EXIT_ACK_INTERRUPT   BIT(15)
#define EXIT_SAVE_PAT        BIT(18)
#define EXIT_LOAD_PAT        BIT(19)
#define EXIT_SAVE_EFER       BIT(20)
#define EXIT_LOAD_EFER       BIT(21)
#define EXIT_SAVE_PREEMPTION BIT(22)

/* VM-entry controls. */
#define ENTRY_LOAD_DEBUG BIT(2)
#define ENTRY_GUEST_64   BIT(9)
#define ENTRY_LOAD_PAT   BIT(14)
#define ENTRY_LOAD_EFER  BIT(15)

/* IA32_VMX_EPT_VPID_CAP. */
#define EPT_CAP_EXECUTE_ONLY   BIT(0)
#define EPT_CAP_WALK_4         BIT(6)
#define EPT_CAP_WB             BIT(14)
#define EPT_CAP_2M             BIT(16)
#define EPT_CAP_1G             BIT(17)
#define EPT_CAP_INVEPT         BIT(20)
#define EPT_CAP_ACCESSED_DIRTY BIT(21)
#define EPT_CAP_INVEPT_SINGLE  BIT(25)
#define EPT_CAP_INVEPT_ALL     BIT(26)
#define VPID_CAP_INVVPID       BIT(32)
#define VPID_CAP_SINGLE        BIT(41)
#define VPID_CAP_ALL           BIT(42)

/* Interruption information, for events in both directions (SDM table 25-17). */
#define EVENT_VALID         BIT(31)
#define EVENT_NMI_UNBLOCKED BIT(12) /* exits: IRET had removed NMI blocking */
#define EVENT_ERROR_CODE    BIT(11)
#define EVENT_VECTOR        0xffu
#define EVENT_TYPE(info)    ((info) >> 8 & 7)
enum event_type {
    EVENT_EXTERNAL = 0,
    EVENT_NMI = 2,
    EVENT_EXCEPTION = 3,
    EVENT_SOFT_INT = 4,
    EVENT_PRIV_SOFT_EXCEPTION = 5, /* INT1 */
    EVENT_SOFT_EXCEPTION = 6,      /* INT3, INTO */
};

/* Guest interruptibility state. */
#define BLOCKING_STI    BIT(0)
#define BLOCKING_MOV_SS BIT(1)
#define BLOCKING_SMI    BIT(2)
#define BLOCKING_NMI    BIT(3)

enum activity { ACTIVITY_ACTIVE = 0, ACTIVITY_HLT = 1, ACTIVITY_SHUTDOWN = 2, ACTIVITY_SIPI = 3 };

/* Basic exit reasons (SDM appendix C). */
enum exit_reason {
    EXIT_EXCEPTION = 0,
    EXIT_EXTERNAL_INTERRUPT = 1,
    EXIT_TRIPLE_FAULT = 2,
    EXIT_INIT = 3,
    EXIT_SIPI = 4,
    EXIT_INTERRUPT_WINDOW = 7,
    EXIT_NMI_WINDOW = 8,
    EXIT_TASK_SWITCH = 9,
    EXIT_CPUID = 10,
    EXIT_GETSEC = 11,
    EXIT_HLT = 12,
    EXIT_INVD = 13,
    EXIT_INVLPG = 14,
    EXIT_RDPMC = 15,
    EXIT_RDTSC = 16,
    EXIT_VMCALL = 18,
    EXIT_VMCLEAR = 19,
    EXIT_VMLAUNCH = 20,
    EXIT_VMPTRLD = 21,
    EXIT_VMPTRST = 22,
    EXIT_VMREAD = 23,
    EXIT_VMRESUME = 24,
    EXIT_VMWRITE = 25,
    EXIT_VMXOFF = 26,
    EXIT_VMXON = 27,
    EXIT_CR_ACCESS = 28,
    EXIT_DR_ACCESS = 29,
    EXIT_IO = 30,
    EXIT_RDMSR = 31,
    EXIT_WRMSR = 32,
    EXIT_BAD_GUEST_STATE = 33,
    EXIT_BAD_MSR_LOAD = 34,
    EXIT_MWAIT = 36,
    EXIT_MONITOR = 39,
    EXIT_PAUSE = 40,
    EXIT_MACHINE_CHECK = 41,
    EXIT_TPR_THRESHOLD = 43,
    EXIT_APIC_ACCESS = 44,
    EXIT_EOI = 45,
    EXIT_GDTR_IDTR = 46,
    EXIT_LDTR_TR = 47,
    EXIT_EPT_VIOLATION = 48,
    EXIT_EPT_MISCONFIG = 49,
    EXIT_INVEPT = 50,
    EXIT_RDTSCP = 51,
    EXIT_PREEMPTION_TIMER = 52,
    EXIT_INVVPID = 53,
    EXIT_WBINVD = 54,
    EXIT_XSETBV = 55,
    EXIT_APIC_WRITE = 56,
    EXIT_RDRAND = 57,
    EXIT_INVPCID = 58,
    EXIT_VMFUNC = 59,
    EXIT_ENCLS = 60,
    EXIT_RDSEED = 61,
    EXIT_PML_FULL = 62,
    EXIT_XSAVES = 63,
    EXIT_XRSTORS = 64,
    EXIT_NR_REASONS = 72,
    /* Ours, in times only: the way back into the guest after the vCPU has waited for something. */
    EXIT_NONE = EXIT_NR_REASONS,
    EXIT_NR_TIMES,
};

#define EXIT_REASON_ENTRY_FAILED BIT(31)

#endif
