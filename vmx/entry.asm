; Into the guest and out of it (SDM vol. 3 sections 27 and 28).
;
; The guest's registers live at the start of struct vmx_vcpu and HOST_RSP points just above them,
; so that an exit finds its vCPU by RSP alone. Three ways lead back into the guest, each saving
; only what it needs:
;   in assembly  CPUID and the empty VMCALL, a few scratch registers
;   quick        a C function of vmx_quick_exits[], what a C function may clobber
;   full         all registers are stored and vmx_enter returns to vmx_vcpu_run
; The first two go straight back as long as nobody wants the vCPU's attention. A request from
; another CPU comes with an interrupt, which is a full exit; so only what a quick handler has done
; itself must be looked at. After VCPU_TURNS such exits the full way is taken, so that the
; preemption timer, which stands still outside of the guest, is set again.
;
; Each exit is there twice: vmx_exit, and vmx_exit_timed, which also measures the time between exit
; and entry. HOST_RIP chooses.

%include "offsets.inc"

bits 64
default rel

; Register n of the vCPU, while RSP is HOST_RSP.
%define GUEST(n) rsp - 128 + 8 * (n)
%define FIELD(f) rsp - 128 + f
%define RAX 0
%define RCX 1
%define RDX 2
%define RBX 3
%define RBP 5
%define RSI 6
%define RDI 7

extern vmx_quick_exits
extern vmx_account_exit
extern vmx_skip
extern vmx_instruction_failed

section .text

; enum vmx_left vmx_enter(struct vmx_vcpu *v)
global vmx_enter
vmx_enter:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    push rdi                        ; the exit path finds the vCPU here, too
    mov [rdi + VCPU_HOST_RSP], rsp
    cmp dword [rdi + VCPU_LAUNCHED], 0
    mov rax, [rdi + 0 * 8]          ; MOV leaves the flags alone
    mov rcx, [rdi + 1 * 8]
    mov rdx, [rdi + 2 * 8]
    mov rbx, [rdi + 3 * 8]
    mov rbp, [rdi + 5 * 8]
    mov rsi, [rdi + 6 * 8]
    mov r8,  [rdi + 8 * 8]
    mov r9,  [rdi + 9 * 8]
    mov r10, [rdi + 10 * 8]
    mov r11, [rdi + 11 * 8]
    mov r12, [rdi + 12 * 8]
    mov r13, [rdi + 13 * 8]
    mov r14, [rdi + 14 * 8]
    mov r15, [rdi + 15 * 8]
    mov rdi, [rdi + 7 * 8]
    je .launch
    vmresume
    jmp entry_failed
.launch:
    vmlaunch
; RSP is still the stack of vmx_enter; the quick ways come here with RSP at the registers.
entry_failed:
    mov eax, VMX_ENTRY_FAILED
    jmp leave
quick_entry_failed:
    mov rsp, [FIELD(VCPU_HOST_RSP)]
    jmp entry_failed

; Back to the caller of vmx_enter with EAX.
leave:
    pop rdi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret

; A VMX instruction failed on the way. RSP may be the registers' end: any stack will do.
failed:
    mov rsp, [gs:PERCPU_STACK_TOP]
    call vmx_instruction_failed

; ---- building blocks, with RSP at the registers ----

; struct vmcs_accesses (vmcs.h); the flags' old values are lost
%ifdef VMX_COUNT_FIELDS
extern vmcs_accesses
%define COUNT_READ  lock inc qword [vmcs_accesses]
%define COUNT_WRITE lock inc qword [vmcs_accesses + 8]
%else
%define COUNT_READ
%define COUNT_WRITE
%endif

; %1, %2 (one register's 32- and 64-bit name) = VMCS field %3
%macro READ_FIELD 3
    COUNT_READ
    mov %1, %3
    vmread %2, %2
    jbe failed
%endmacro

; VMCS field %3 = %4, with %1, %2 as scratch
%macro WRITE_FIELD 4
    COUNT_WRITE
    mov %1, %3
    vmwrite %2, %4
    jbe failed
%endmacro

; Stores what a C function may clobber; RAX is stored at every exit's beginning.
%macro SAVE_VOLATILE 0
    mov [GUEST(RCX)], rcx
    mov [GUEST(RDX)], rdx
    mov [GUEST(RSI)], rsi
    mov [GUEST(RDI)], rdi
    mov [GUEST(8)], r8
    mov [GUEST(9)], r9
    mov [GUEST(10)], r10
    mov [GUEST(11)], r11
%endmacro

; RIP past the instruction, with %1, %2 and %3, %4 as scratch. What needs more care goes to %5
; before anything is changed: a single-step trap is due, STI or MOV SS shadows the next instruction,
; or RIP crosses 4 GiB, where it wraps outside of 64-bit mode.
%macro SKIP_INSTRUCTION 5
    READ_FIELD %1, %2, VMCS_GUEST_RIP
    READ_FIELD %3, %4, VMCS_EXIT_INSTRUCTION_LENGTH
    add %4, %2
    cmp %3, 15                      ; the longest instruction
    jbe %5
    READ_FIELD %1, %2, VMCS_GUEST_RFLAGS
    test %1, RFLAGS_TF
    jnz %5
    READ_FIELD %1, %2, VMCS_GUEST_INTERRUPTIBILITY
    test %1, BLOCKING_SHADOWS
    jnz %5
    WRITE_FIELD %1, %2, VMCS_GUEST_RIP, %4
%endmacro

; Calls the C side of the accounting; keeps RBX, RBP, R12 to R15 and the register area as stored.
%macro ACCOUNT 0
    mov [GUEST(RSI)], rsi
    mov [GUEST(RDI)], rdi
    mov [GUEST(8)], r8
    mov [GUEST(9)], r9
    mov [GUEST(10)], r10
    mov [GUEST(11)], r11
    lea rdi, [GUEST(RAX)]
    mov rsp, [FIELD(VCPU_HOST_RSP)]
    call vmx_account_exit
    mov rsp, [rsp]
    add rsp, 128
    mov rsi, [GUEST(RSI)]
    mov rdi, [GUEST(RDI)]
    mov r8, [GUEST(8)]
    mov r9, [GUEST(9)]
    mov r10, [GUEST(10)]
    mov r11, [GUEST(11)]
%endmacro

; %1: the entry point's name; %2: whether time is measured
%macro EXIT_PATH 2
global %1
%1:
    mov [GUEST(RAX)], rax
%if %2
    mov [GUEST(RDX)], rdx
    rdtsc
    shl rdx, 32
    or rax, rdx
    mov [FIELD(VCPU_EXIT_TSC)], rax
    mov rdx, [GUEST(RDX)]
%endif
    READ_FIELD eax, rax, VMCS_EXIT_REASON
    and eax, EXIT_REASON_MASK
%if %2
    mov [FIELD(VCPU_EXIT_REASON)], eax
%endif
    inc qword [FIELD(VCPU_EXITS) + rax * 8]
    dec dword [FIELD(VCPU_TURNS)]
    js %%full
    jmp [%%ways + rax * 8]

; CPUID takes RAX and RCX and overwrites RBX and RDX, so these are free to use.
%%cpuid:
    mov eax, [GUEST(RAX)]
    cmp eax, CPUID_BASIC_LEAVES
    jae %%extended
%%known:
    test ecx, [FIELD(VCPU_CPUID_SUBLEAF_MASKS) + rax * 4]
    jnz %%full
    SKIP_INSTRUCTION edx, rdx, ebx, rbx, %%full
    shl eax, 4
%if %2
    mov ebx, eax
    ACCOUNT
    mov eax, ebx
%endif
    mov ebx, [FIELD(VCPU_CPUID_LEAVES) + rax + 4]
    mov ecx, [FIELD(VCPU_CPUID_LEAVES) + rax + 8]
    mov edx, [FIELD(VCPU_CPUID_LEAVES) + rax + 12]
    mov eax, [FIELD(VCPU_CPUID_LEAVES) + rax]
    vmresume
    jmp quick_entry_failed
%%extended:
    btr eax, 31
    jnc %%full
    add eax, CPUID_BASIC_LEAVES
    cmp eax, CPUID_QUICK_LEAVES
    jb %%known
    jmp %%full

; Call 0 is there to measure the way in and out: it returns 0, and that is all.
%%vmcall:
    cmp qword [GUEST(RAX)], 0
    jne %%full
    mov [GUEST(RCX)], rcx
    mov [GUEST(RDX)], rdx
    SKIP_INSTRUCTION edx, rdx, ecx, rcx, %%reload_full
%if %2
    ACCOUNT
%endif
    mov rcx, [GUEST(RCX)]
    mov rdx, [GUEST(RDX)]
    xor eax, eax
    vmresume
    jmp quick_entry_failed
%%reload_full:
    mov rcx, [GUEST(RCX)]
    mov rdx, [GUEST(RDX)]
    jmp %%full

%%quick:
    SAVE_VOLATILE
    lea rdi, [GUEST(RAX)]
    mov rsp, [FIELD(VCPU_HOST_RSP)]
    call [vmx_quick_exits + rax * 8]
    mov rdi, [rsp]
    cmp eax, VMX_QUICK_SKIP
    jne %%no_skip
    SKIP_INSTRUCTION eax, rax, ecx, rcx, %%skip_with_care
%%done:
    cmp dword [rdi + VCPU_ATTENTION], 0
    jne leave_handled
%if %2
    call vmx_account_exit
    mov rdi, [rsp]
%endif
    mov rax, [rdi + 8 * RAX]
    mov rcx, [rdi + 8 * RCX]
    mov rdx, [rdi + 8 * RDX]
    mov rsi, [rdi + 8 * RSI]
    mov r8, [rdi + 8 * 8]
    mov r9, [rdi + 8 * 9]
    mov r10, [rdi + 8 * 10]
    mov r11, [rdi + 8 * 11]
    mov rdi, [rdi + 8 * RDI]
    vmresume
    jmp entry_failed

%%no_skip:
    test eax, eax                   ; VMX_QUICK_NOT
    jnz %%done
    jmp leave_exit
%%skip_with_care:
    call vmx_skip
    mov rdi, [rsp]
    jmp %%done

%%full:
    SAVE_VOLATILE
    lea rdi, [GUEST(RAX)]
    mov rsp, [FIELD(VCPU_HOST_RSP)]
    jmp leave_exit

section .rodata
align 8
; The way of each exit reason.
%%ways:
%assign %%reason 0
%rep EXIT_REASON_MASK + 1
%if %%reason == EXIT_CPUID
    dq %%cpuid
%elif %%reason == EXIT_VMCALL
    dq %%vmcall
%elif %%reason == EXIT_IO || %%reason == EXIT_RDMSR || %%reason == EXIT_WRMSR || \
      %%reason == EXIT_EPT_VIOLATION || %%reason == EXIT_PREEMPTION_TIMER || \
      %%reason == EXIT_APIC_WRITE || %%reason == EXIT_APIC_ACCESS
    dq %%quick
%else
    dq %%full
%endif
%assign %%reason %%reason + 1
%endrep
section .text
%endmacro

; ---- out of the quick ways, with RSP on the stack and RDI the vCPU ----

leave_exit:
    mov eax, VMX_LEFT_EXIT
    jmp store_rest
leave_handled:
    mov eax, VMX_LEFT_HANDLED
; What a C function keeps is still the guest's.
store_rest:
    mov [rdi + 8 * RBX], rbx
    mov [rdi + 8 * RBP], rbp
    mov [rdi + 8 * 12], r12
    mov [rdi + 8 * 13], r13
    mov [rdi + 8 * 14], r14
    mov [rdi + 8 * 15], r15
    mov dword [rdi + VCPU_LAUNCHED], 1
    jmp leave

EXIT_PATH vmx_exit, 0
EXIT_PATH vmx_exit_timed, 1
