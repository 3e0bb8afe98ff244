/*
 * Every VMCS field that we name: X(width, NAME, encoding). Source: SDM vol. 3 appendix B. The
 * encoding's bits 14:13 say the width, which vmcs.h checks.
 */
#define VMCS_FIELDS(X)                              \
    /* 16-bit control, guest state, host state */   \
    X(16, VPID, 0x0000)                             \
    X(16, POSTED_INTERRUPT_VECTOR, 0x0002)          \
    X(16, GUEST_ES_SELECTOR, 0x0800)                \
    X(16, GUEST_CS_SELECTOR, 0x0802)                \
    X(16, GUEST_SS_SELECTOR, 0x0804)                \
    X(16, GUEST_DS_SELECTOR, 0x0806)                \
    X(16, GUEST_FS_SELECTOR, 0x0808)                \
    X(16, GUEST_GS_SELECTOR, 0x080a)                \
    X(16, GUEST_LDTR_SELECTOR, 0x080c)              \
    X(16, GUEST_TR_SELECTOR, 0x080e)                \
    X(16, GUEST_INTERRUPT_STATUS, 0x0810)           \
    X(16, GUEST_PML_INDEX, 0x0812)                  \
    X(16, HOST_ES_SELECTOR, 0x0c00)                 \
    X(16, HOST_CS_SELECTOR, 0x0c02)                 \
    X(16, HOST_SS_SELECTOR, 0x0c04)                 \
    X(16, HOST_DS_SELECTOR, 0x0c06)                 \
    X(16, HOST_FS_SELECTOR, 0x0c08)                 \
    X(16, HOST_GS_SELECTOR, 0x0c0a)                 \
    X(16, HOST_TR_SELECTOR, 0x0c0c)                 \
    /* 64-bit control */                            \
    X(64, IO_BITMAP_A, 0x2000)                      \
    X(64, IO_BITMAP_B, 0x2002)                      \
    X(64, MSR_BITMAP, 0x2004)                       \
    X(64, EXIT_MSR_STORE_ADDR, 0x2006)              \
    X(64, EXIT_MSR_LOAD_ADDR, 0x2008)               \
    X(64, ENTRY_MSR_LOAD_ADDR, 0x200a)              \
    X(64, PML_ADDRESS, 0x200e)                      \
    X(64, TSC_OFFSET, 0x2010)                       \
    X(64, VIRTUAL_APIC_PAGE, 0x2012)                \
    X(64, APIC_ACCESS_ADDR, 0x2014)                 \
    X(64, POSTED_INTERRUPT_DESC, 0x2016)            \
    X(64, EPT_POINTER, 0x201a)                      \
    X(64, EOI_EXIT_BITMAP_0, 0x201c)                \
    X(64, EOI_EXIT_BITMAP_1, 0x201e)                \
    X(64, EOI_EXIT_BITMAP_2, 0x2020)                \
    X(64, EOI_EXIT_BITMAP_3, 0x2022)                \
    X(64, XSS_EXITING_BITMAP, 0x202c)               \
    X(64, TSC_MULTIPLIER, 0x2032)                   \
    /* 64-bit read-only, guest state, host state */ \
    X(64, GUEST_PHYSICAL_ADDRESS, 0x2400)           \
    X(64, LINK_POINTER, 0x2800)                     \
    X(64, GUEST_DEBUGCTL, 0x2802)                   \
    X(64, GUEST_PAT, 0x2804)                        \
    X(64, GUEST_EFER, 0x2806)                       \
    X(64, GUEST_PDPTE0, 0x280a)                     \
    X(64, GUEST_PDPTE1, 0x280c)                     \
    X(64, GUEST_PDPTE2, 0x280e)                     \
    X(64, GUEST_PDPTE3, 0x2810)                     \
    X(64, HOST_PAT, 0x2c00)                         \
    X(64, HOST_EFER, 0x2c02)                        \
    /* 32-bit control */                            \
    X(32, PIN_CONTROLS, 0x4000)                     \
    X(32, PROC_CONTROLS, 0x4002)                    \
    X(32, EXCEPTION_BITMAP, 0x4004)                 \
    X(32, PF_ERROR_MASK, 0x4006)                    \
    X(32, PF_ERROR_MATCH, 0x4008)                   \
    X(32, CR3_TARGET_COUNT, 0x400a)                 \
    X(32, EXIT_CONTROLS, 0x400c)                    \
    X(32, EXIT_MSR_STORE_COUNT, 0x400e)             \
    X(32, EXIT_MSR_LOAD_COUNT, 0x4010)              \
    X(32, ENTRY_CONTROLS, 0x4012)                   \
    X(32, ENTRY_MSR_LOAD_COUNT, 0x4014)             \
    X(32, ENTRY_INTERRUPTION_INFO, 0x4016)          \
    X(32, ENTRY_EXCEPTION_ERROR, 0x4018)            \
    X(32, ENTRY_INSTRUCTION_LENGTH, 0x401a)         \
    X(32, TPR_THRESHOLD, 0x401c)                    \
    X(32, PROC_CONTROLS_2, 0x401e)                  \
    X(32, PLE_GAP, 0x4020)                          \
    X(32, PLE_WINDOW, 0x4022)                       \
    /* 32-bit read-only */                          \
    X(32, INSTRUCTION_ERROR, 0x4400)                \
    X(32, EXIT_REASON, 0x4402)                      \
    X(32, EXIT_INTERRUPTION_INFO, 0x4404)           \
    X(32, EXIT_INTERRUPTION_ERROR, 0x4406)          \
    X(32, IDT_VECTORING_INFO, 0x4408)               \
    X(32, IDT_VECTORING_ERROR, 0x440a)              \
    X(32, EXIT_INSTRUCTION_LENGTH, 0x440c)          \
    X(32, EXIT_INSTRUCTION_INFO, 0x440e)            \
    /* 32-bit guest state, host state */            \
    X(32, GUEST_ES_LIMIT, 0x4800)                   \
    X(32, GUEST_CS_LIMIT, 0x4802)                   \
    X(32, GUEST_SS_LIMIT, 0x4804)                   \
    X(32, GUEST_DS_LIMIT, 0x4806)                   \
    X(32, GUEST_FS_LIMIT, 0x4808)                   \
    X(32, GUEST_GS_LIMIT, 0x480a)                   \
    X(32, GUEST_LDTR_LIMIT, 0x480c)                 \
    X(32, GUEST_TR_LIMIT, 0x480e)                   \
    X(32, GUEST_GDTR_LIMIT, 0x4810)                 \
    X(32, GUEST_IDTR_LIMIT, 0x4812)                 \
    X(32, GUEST_ES_ACCESS, 0x4814)                  \
    X(32, GUEST_CS_ACCESS, 0x4816)                  \
    X(32, GUEST_SS_ACCESS, 0x4818)                  \
    X(32, GUEST_DS_ACCESS, 0x481a)                  \
    X(32, GUEST_FS_ACCESS, 0x481c)                  \
    X(32, GUEST_GS_ACCESS, 0x481e)                  \
    X(32, GUEST_LDTR_ACCESS, 0x4820)                \
    X(32, GUEST_TR_ACCESS, 0x4822)                  \
    X(32, GUEST_INTERRUPTIBILITY, 0x4824)           \
    X(32, GUEST_ACTIVITY, 0x4826)                   \
    X(32, GUEST_SYSENTER_CS, 0x482a)                \
    X(32, PREEMPTION_TIMER, 0x482e)                 \
    X(32, HOST_SYSENTER_CS, 0x4c00)                 \
    /* natural-width control, read-only */          \
    X(n, CR0_MASK, 0x6000)                          \
    X(n, CR4_MASK, 0x6002)                          \
    X(n, CR0_SHADOW, 0x6004)                        \
    X(n, CR4_SHADOW, 0x6006)                        \
    X(n, EXIT_QUALIFICATION, 0x6400)                \
    X(n, GUEST_LINEAR_ADDRESS, 0x640a)              \
    /* natural-width guest state, host state */     \
    X(n, GUEST_CR0, 0x6800)                         \
    X(n, GUEST_CR3, 0x6802)                         \
    X(n, GUEST_CR4, 0x6804)                         \
    X(n, GUEST_ES_BASE, 0x6806)                     \
    X(n, GUEST_CS_BASE, 0x6808)                     \
    X(n, GUEST_SS_BASE, 0x680a)                     \
    X(n, GUEST_DS_BASE, 0x680c)                     \
    X(n, GUEST_FS_BASE, 0x680e)                     \
    X(n, GUEST_GS_BASE, 0x6810)                     \
    X(n, GUEST_LDTR_BASE, 0x6812)                   \
    X(n, GUEST_TR_BASE, 0x6814)                     \
    X(n, GUEST_GDTR_BASE, 0x6816)                   \
    X(n, GUEST_IDTR_BASE, 0x6818)                   \
    X(n, GUEST_DR7, 0x681a)                         \
    X(n, GUEST_RSP, 0x681c)                         \
    X(n, GUEST_RIP, 0x681e)                         \
    X(n, GUEST_RFLAGS, 0x6820)                      \
    X(n, GUEST_PENDING_DEBUG, 0x6822)               \
    X(n, GUEST_SYSENTER_ESP, 0x6824)                \
    X(n, GUEST_SYSENTER_EIP, 0x6826)                \
    X(n, HOST_CR0, 0x6c00)                          \
    X(n, HOST_CR3, 0x6c02)                          \
    X(n, HOST_CR4, 0x6c04)                          \
    X(n, HOST_FS_BASE, 0x6c06)                      \
    X(n, HOST_GS_BASE, 0x6c08)                      \
    X(n, HOST_TR_BASE, 0x6c0a)                      \
    X(n, HOST_GDTR_BASE, 0x6c0c)                    \
    X(n, HOST_IDTR_BASE, 0x6c0e)                    \
    X(n, HOST_SYSENTER_ESP, 0x6c10)                 \
    X(n, HOST_SYSENTER_EIP, 0x6c12)                 \
    X(n, HOST_RSP, 0x6c14)                          \
    X(n, HOST_RIP, 0x6c16)
