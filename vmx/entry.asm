; Into the guest and out of it (SDM vol. 3 sections 27 and 28). The guest's registers live at the
; start of struct vmx_vcpu; HOST_RSP points just above them, so that an exit pushes them into place.

%include "offsets.inc"

bits 64
default rel
section .text

; bool vmx_enter(struct vmx_vcpu *v): true when the entry instruction itself failed.
global vmx_enter
vmx_enter:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    push rdi                        ; for the failure path
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
    jmp .failed
.launch:
    vmlaunch
.failed:
    mov eax, 1
    jmp leave_guest

; HOST_RIP, with RSP at the end of the register area.
global vmx_exit
vmx_exit:
    push r15
    push r14
    push r13
    push r12
    push r11
    push r10
    push r9
    push r8
    push rdi
    push rsi
    push rbp
    lea rsp, [rsp - 8]              ; RSP is in the VMCS
    push rbx
    push rdx
    push rcx
    push rax
    mov rdi, rsp
    mov rsp, [rdi + VCPU_HOST_RSP]
    mov dword [rdi + VCPU_LAUNCHED], 1
    xor eax, eax
leave_guest:
    pop rdi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret
