/*
 * One virtual CPU as VMX sees it: its VMCS, its registers, and the way in and out of the guest.
 * It knows no devices: what an exit needs from above it asks of its client.
 */
#ifndef VMX_VCPU_H
#define VMX_VCPU_H

#include "ept/ept.h"
#include "lib/types.h"
#include "machine/cpu.h"
#include "vmx/msrs.h"

/* General registers in the hardware's numbering. */
enum vmx_reg {
    REG_RAX,
    REG_RCX,
    REG_RDX,
    REG_RBX,
    REG_RSP,
    REG_RBP,
    REG_RSI,
    REG_RDI,
    REG_R8,
    REG_R9,
    REG_R10,
    REG_R11,
    REG_R12,
    REG_R13,
    REG_R14,
    REG_R15,
    REG_COUNT,
};

enum vmx_seg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, SEG_COUNT };

struct vmx_segment {
    uint16_t selector;
    uint32_t limit;
    uint32_t access; /* SDM table 25-2 */
    uint64_t base;
};

#define ACCESS_UNUSABLE BIT(16)
#define ACCESS_LONG     BIT(13)
#define ACCESS_DB       BIT(14)
#define ACCESS_DPL(a)   ((a) >> 5 & 3)

struct vmx_vcpu;

struct vmx_io {
    uint16_t port;
    uint8_t size; /* 1, 2 or 4 */
    bool in, string, rep;
};

/* What VMX asks of the code above it. All are called between an exit and the next entry. */
struct vmx_client {
    /* More bits than those of the size may be set. */
    uint32_t (*port_read)(struct vmx_vcpu *v, uint16_t port, unsigned size);
    void (*port_write)(struct vmx_vcpu *v, uint16_t port, unsigned size, uint32_t value);
    /* INS or OUTS: to be emulated whole; RIP has not been advanced. */
    void (*port_string)(struct vmx_vcpu *v, const struct vmx_io *io);
    /*
     * access: EPT_READ, EPT_WRITE, EPT_EXEC as attempted; linear: by an instruction, to gpa itself
     * and not to a page table on the way. RIP has not been advanced.
     */
    void (*ept_fault)(struct vmx_vcpu *v, gpa_t gpa, unsigned access, bool linear);
    /*
     * The short ways of ept_fault and of apic_access: of the registers only those in
     * VMX_QUICK_REGISTERS are stored. False: nothing was done.
     */
    bool (*ept_quick)(struct vmx_vcpu *v, gpa_t gpa, bool linear);
    bool (*apic_quick)(struct vmx_vcpu *v, unsigned offset);
    /* The same of the APIC page, for what the CPU does not virtualise. */
    void (*apic_access)(struct vmx_vcpu *v, unsigned offset, bool linear);
    void (*apic_written)(struct vmx_vcpu *v, unsigned offset);
    void (*apic_eoi)(struct vmx_vcpu *v, uint8_t vector);
    void (*apic_tpr_lowered)(struct vmx_vcpu *v);
    /* MSRs of the APIC (base, deadline, x2APIC); false: #GP. */
    bool (*apic_msr_read)(struct vmx_vcpu *v, uint32_t msr, uint64_t *value);
    bool (*apic_msr_write)(struct vmx_vcpu *v, uint32_t msr, uint64_t value);
    /* Those that are written all the time: the TSC deadline and x2APIC's ICR (false: #GP). */
    void (*apic_deadline)(struct vmx_vcpu *v, uint64_t tsc);
    bool (*apic_icr)(struct vmx_vcpu *v, uint64_t value);
    /* CR8, where the CPU has no TPR shadow: the task priority's upper four bits. */
    uint64_t (*cr8_read)(struct vmx_vcpu *v);
    void (*cr8_write)(struct vmx_vcpu *v, uint64_t value);
    /* The guest's TSC was moved by delta: timers that hang on it must follow. */
    void (*tsc_moved)(struct vmx_vcpu *v, uint64_t delta);
    void (*halt)(struct vmx_vcpu *v);
    void (*interrupt)(struct vmx_vcpu *v, unsigned host_vector);
    /* The preemption timer ran out. */
    void (*timer)(struct vmx_vcpu *v);
    /* The guest can take an interrupt (or an NMI) now, as was asked for. */
    void (*window)(struct vmx_vcpu *v);
    void (*pause)(struct vmx_vcpu *v);
    /* Returns false when there is no such call: #UD. */
    bool (*vmcall)(struct vmx_vcpu *v);
    void (*task_switch)(struct vmx_vcpu *v, uint64_t qualification);
    void (*triple_fault)(struct vmx_vcpu *v);
    /* The VM cannot go on; why says what happened. Its state is still loaded. */
    void (*broken)(struct vmx_vcpu *v, const char *why);
};

/* What all vCPUs of a VM share. Filled by the owner, then vmx_vm_init. */
struct vmx_vm {
    const struct vmx_client *client;
    struct ept *ept;
    uint64_t tsc_hz;     /* guest TSC ticks per second */
    unsigned apic_shift; /* the APIC timer's clock is the TSC >> shift */
    unsigned nr_vcpus;
    uint32_t *io_bitmaps; /* two pages: all ports trapped, but those opened */
    hpa_t apic_access;    /* the APIC-access page, if virtual_apic */
    bool virtual_apic;    /* APIC virtualisation is in use */
    struct cpuid_table *cpuid;
};

#define VMX_QUICK_REGISTERS                                                                   \
    (BIT(REG_RAX) | BIT(REG_RCX) | BIT(REG_RDX) | BIT(REG_RSI) | BIT(REG_RDI) | BIT(REG_R8) | \
     BIT(REG_R9) | BIT(REG_R10) | BIT(REG_R11))

#define MTRR_VARIABLE 8
#define MTRR_FIXED    11

/* MSRs that are the guest's while it is loaded: switched with it, not at every exit. */
enum vmx_switched_msr {
    SWITCHED_STAR,
    SWITCHED_LSTAR,
    SWITCHED_CSTAR,
    SWITCHED_SFMASK,
    SWITCHED_TSC_AUX,
    SWITCHED_RARE, /* those above are seldom written */
    SWITCHED_KERNEL_GS_BASE = SWITCHED_RARE,
    SWITCHED_COUNT,
};

/* An event for the next entry: VMCS entry-interruption format; info 0: none. */
struct vmx_event {
    uint32_t info, error, length;
};

/* Leaves that the exit path answers by itself: basic ones, and extended ones from 80000000h on. */
#define VMX_CPUID_BASIC    0x17
#define VMX_CPUID_EXTENDED 9

/* Exit reasons are below; the table's size is a power of two. */
#define EXIT_TABLE_SIZE 128

/* Where the time between exit and entry went, in TSC ticks, while vmx_accounting is on. */
#define VMX_TIME_BINS 32
struct vmx_times {
    uint64_t count, total, max;
    uint64_t histogram[VMX_TIME_BINS]; /* by the position of the highest bit */
};

struct vmx_vcpu {
    uint64_t regs[REG_COUNT]; /* first: the exit path stores them here. RSP: see vmx_reg */
    uint64_t host_rsp;        /* of the entry path */
    uint32_t launched;
    /*
     * What the owner wants looked at before the guest goes on: bits of his. Anything but 0 ends
     * vmx_vcpu_run. Set by the vCPU's own CPU; or atomically by another, with an interrupt after.
     */
    uint32_t attention;
    int32_t turns;          /* exits left until vmx_vcpu_run returns by itself */
    uint32_t exit_reason;   /* basic reason of the exit being handled, if it is a full one */
    struct vmx_event event; /* injected at the next entry */
    struct cpuid_regs cpuid_leaves[VMX_CPUID_BASIC + VMX_CPUID_EXTENDED];
    uint32_t cpuid_subleaf_masks[VMX_CPUID_BASIC + VMX_CPUID_EXTENDED]; /* must be 0 in ECX */
    struct vmx_vm *vm;
    const struct vmx_client *client; /* the VM's */
    unsigned index;                  /* in its VM; also the initial APIC ID */
    hpa_t vmcs;
    uint16_t vpid;
    int loaded_on;             /* CPU whose VMCS cache holds it, or -1 */
    bool current;              /* loaded: FPU, MSRs and VMCS are on its CPU now */
    bool long_mode;            /* EFER.LMA */
    bool io_breakpoints;       /* CR4.DE: DR7 may ask for them */
    bool nmi_pending;          /* one NMI waits (further ones merge, as on hardware) */
    uint32_t proc, proc2, pin; /* current control words */
    uint64_t tsc_offset;       /* guest TSC = host TSC + this */
    uint64_t tsc_adjust;
    const uint64_t *apic_base; /* what RDMSR of IA32_APIC_BASE gives; the owner's */
    uint64_t preempt_deadline; /* what the preemption timer is set for (host TSC) */
    bool timed;                /* exits go through vmx_exit_timed */
    uint64_t exit_tsc;         /* while accounting: host TSC at the last exit */
    uint64_t host_ticks;       /* spent between exit and entry, while accounting */
    struct vmx_times *times;   /* by exit reason, EXIT_NR_TIMES; NULL until it was on */
    uint64_t exits[EXIT_TABLE_SIZE];
    /* State that VMX does not switch. */
    uint64_t switched_msrs[SWITCHED_COUNT];
    uint64_t cr2, dr[4], dr6;
    bool breakpoints; /* dr[] are not all 0 */
    bool msrs_open;   /* it writes the rare ones without exits, for now */
    uint64_t xcr0;
    uint64_t components; /* XCR0's bits: what it may have used; always x87 and SSE */
    void *xsave;         /* 64-byte aligned */
    /* MSRs that exist only here. */
    uint64_t mtrr_def_type, mtrr_fixed[MTRR_FIXED], mtrr_base[MTRR_VARIABLE],
        mtrr_mask[MTRR_VARIABLE];
    uint64_t misc_enable, debugctl, ucode_rev, mcg_status;
    uint64_t *msr_bitmap;      /* one page */
    uint16_t interrupt_status; /* as last written: RVI and SVI */
    uint64_t eoi_exit_bitmap[4];
};

/* Makes what a VM's vCPUs share: I/O bitmaps, CPUID table. 0 or E_NOMEM. */
MUST_CHECK int vmx_vm_init(struct vmx_vm *vm);
void vmx_vm_destroy(struct vmx_vm *vm);
/* Ports that the guest may touch without an exit. */
void vmx_open_port(struct vmx_vm *vm, uint16_t port);

/*
 * v is zeroed memory. apic_page: the virtual-APIC page; posted: the posted-interrupt descriptor.
 * 0 or E_NOMEM. Ends with the state after RESET, not loaded.
 */
MUST_CHECK int vmx_vcpu_init(struct vmx_vcpu *v, struct vmx_vm *vm, unsigned index, hpa_t apic_page,
                             hpa_t posted);
void vmx_vcpu_destroy(struct vmx_vcpu *v);
/* The state after RESET or INIT (SDM table 10-1). The vCPU must be loaded. */
void vmx_vcpu_reset(struct vmx_vcpu *v, bool init);

/* Makes v the guest of this CPU (VMCS, FPU, MSRs, debug registers); another one is put first. */
void vmx_vcpu_load(struct vmx_vcpu *v);
/* Takes v off this CPU, so that any CPU may load it. */
void vmx_vcpu_put(struct vmx_vcpu *v);
/* The vCPU that is loaded on this CPU, or NULL. */
struct vmx_vcpu *vmx_vcpu_loaded(void);

/*
 * Runs the guest and handles its exits until there is something for the owner: attention is not
 * 0, or some dozens of exits have gone by (VMX_TURNS).
 */
void vmx_vcpu_run(struct vmx_vcpu *v);
/* Measures the time between exits and entries. May be changed at any time. */
extern bool vmx_accounting;
/* The hypervisor works for v from here on, or no longer. */
static inline void vmx_account_begin(struct vmx_vcpu *v)
{
    if (unlikely(v->timed))
        v->exit_tsc = rdtsc();
}
/* Adds up where the time since exit_tsc went: to the last exit, or to EXIT_NONE if that has been.
 */
void vmx_account_exit(struct vmx_vcpu *v);
static inline void vmx_account_end(struct vmx_vcpu *v)
{
    if (unlikely(v->timed))
        vmx_account_exit(v);
}

/* ---- state, while loaded ---- */
uint64_t vmx_rip(const struct vmx_vcpu *v);
void vmx_set_rip(struct vmx_vcpu *v, uint64_t rip);
uint64_t vmx_rflags(const struct vmx_vcpu *v);
void vmx_set_rflags(struct vmx_vcpu *v, uint64_t rflags);
uint64_t vmx_reg(const struct vmx_vcpu *v, unsigned n);
void vmx_set_reg(struct vmx_vcpu *v, unsigned n, uint64_t value);
struct vmx_segment vmx_segment(const struct vmx_vcpu *v, enum vmx_seg n);
void vmx_set_segment(struct vmx_vcpu *v, enum vmx_seg n, const struct vmx_segment *s);
/* As the guest sees them. */
uint64_t vmx_cr0(const struct vmx_vcpu *v);
uint64_t vmx_cr3(const struct vmx_vcpu *v);
uint64_t vmx_cr4(const struct vmx_vcpu *v);
uint64_t vmx_efer(const struct vmx_vcpu *v);
/* Set as by MOV, the checks of the SDM included; false: #GP. */
MUST_CHECK bool vmx_set_cr0(struct vmx_vcpu *v, uint64_t value);
MUST_CHECK bool vmx_set_cr3(struct vmx_vcpu *v, uint64_t value);
MUST_CHECK bool vmx_set_cr4(struct vmx_vcpu *v, uint64_t value);
MUST_CHECK bool vmx_set_efer(struct vmx_vcpu *v, uint64_t value);
/* Set without checks, for a loader's entry state; consistent values are the caller's part. */
void vmx_force_control(struct vmx_vcpu *v, uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer);
void vmx_set_table(struct vmx_vcpu *v, bool idt, uint64_t base, uint32_t limit);
unsigned vmx_cpl(const struct vmx_vcpu *v);

/* Past the instruction that caused the exit: RIP, shadows, and a single-step trap if due. */
void vmx_skip(struct vmx_vcpu *v);
/* Moves RIP there as if an instruction had been emulated. */
void vmx_finish(struct vmx_vcpu *v, uint64_t rip, uint64_t rflags);

/* ---- events ---- */
void vmx_inject_exception(struct vmx_vcpu *v, unsigned vector);
void vmx_inject_exception_error(struct vmx_vcpu *v, unsigned vector, uint32_t error);
void vmx_inject_gp(struct vmx_vcpu *v); /* error code 0 */
void vmx_inject_page_fault(struct vmx_vcpu *v, uint64_t address, uint32_t error);
void vmx_inject_interrupt(struct vmx_vcpu *v, uint8_t vector);
void vmx_inject_nmi(struct vmx_vcpu *v);
static inline bool vmx_event_queued(const struct vmx_vcpu *v)
{
    return v->event.info & EVENT_VALID;
}
/* Whether an external interrupt (or NMI) could be injected now, nothing else being queued. */
bool vmx_can_take_interrupt(const struct vmx_vcpu *v);
bool vmx_can_take_nmi(const struct vmx_vcpu *v);
/* Asks for an exit (client->window) as soon as it can be. */
void vmx_want_interrupt_window(struct vmx_vcpu *v, bool want);
void vmx_want_nmi_window(struct vmx_vcpu *v, bool want);
/* Ends the shadow of STI or MOV SS (HLT is over). */
void vmx_clear_shadow(struct vmx_vcpu *v);

/* ---- time ---- */
static inline uint64_t vmx_guest_tsc(const struct vmx_vcpu *v)
{
    return rdtsc() + v->tsc_offset;
}
void vmx_set_tsc_offset(struct vmx_vcpu *v, uint64_t offset);
/* Arms the preemption timer, which there must be, to leave the guest at this host TSC. */
void vmx_set_preemption(struct vmx_vcpu *v, uint64_t host_tsc);

/* ---- APIC virtualisation ---- */
enum vmx_apic_mode { VMX_APIC_OFF, VMX_APIC_XAPIC, VMX_APIC_X2APIC };
void vmx_set_apic_mode(struct vmx_vcpu *v, enum vmx_apic_mode mode);
/* With virtual delivery: the highest requested and in-service vectors (-1: none). */
void vmx_set_requested(struct vmx_vcpu *v, int vector);
void vmx_set_in_service(struct vmx_vcpu *v, int vector);
/* The vector becomes the highest requested one, if none is requested or in service; else false. */
bool vmx_request_alone(struct vmx_vcpu *v, uint8_t vector);
void vmx_set_eoi_exits(struct vmx_vcpu *v, const uint64_t bitmap[4]);
/* With only the TPR shadow: exit when the TPR's class falls below. */
void vmx_set_tpr_threshold(struct vmx_vcpu *v, unsigned class);

/* Everything there is to know about a vCPU, on the log. It must be loaded. */
void vmx_dump(struct vmx_vcpu *v, const char *name);
const char *vmx_exit_name(unsigned reason);

/* XMM/YMM/ZMM n of the loaded guest; only what XCR0 enables is there. */
bool vmx_vector_get(struct vmx_vcpu *v, unsigned n, void *data, unsigned size);
bool vmx_vector_set(struct vmx_vcpu *v, unsigned n, const void *data, unsigned size,
                    bool clear_upper);

#endif
