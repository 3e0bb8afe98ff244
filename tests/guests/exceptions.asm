; Code that faults at known addresses, in 64-bit, compatibility and user mode.

bits 64
SEL_CODE64 equ 0x08
SEL_DATA   equ 0x10
SEL_CODE32 equ 0x40

section .text
; Each: the label NAME_rip is the instruction that traps (or, for traps, the one after it).
global fault_divide, fault_divide_rip
fault_divide:
    xor edx, edx
    xor ecx, ecx
    mov eax, 1
fault_divide_rip:
    div ecx
    ret

global fault_breakpoint, fault_breakpoint_rip
fault_breakpoint:
    int3
fault_breakpoint_rip:
    ret

global fault_invalid, fault_invalid_rip
fault_invalid:
fault_invalid_rip:
    ud2
    ret

; void compat_call(uint32_t code): runs 32-bit code that ends with a far return; ring 0
global compat_call
compat_call:
    push rbx
    push rbp
    mov rbp, rsp
    mov eax, edi
    lea rcx, [rel .there]
    push qword SEL_CODE32
    push rcx
    retfq
bits 32
.there:
    mov ecx, SEL_DATA
    mov ss, ecx
    push dword SEL_CODE64
    push dword .back
    jmp eax
bits 64
.back:
    mov rsp, rbp
    pop rbp
    pop rbx
    ret

bits 32
global compat_into, compat_into_rip
compat_into:
    mov eax, 0x7fffffff
    add eax, 1
    into
compat_into_rip:
    retf

global compat_bound, compat_bound_rip
compat_bound:
    mov eax, 11
compat_bound_rip:
    bound eax, [bounds]
    retf

global compat_in_range
compat_in_range:
    mov eax, 10
    bound eax, [bounds]
    retf
bits 64

; Ring 3: position independent.
global user_privileged, user_syscall, user_sysenter, user_int80, user_unaligned, user_read
user_privileged:
    hlt
user_syscall:
    mov ebx, 0x1111
    syscall
    inc ebx                             ; SYSRET comes back here, with what the kernel put there
    ud2
user_sysenter:
    lea rdx, [rel .back]                ; SYSEXIT: RDX to RIP, RCX to RSP
    mov rcx, rsp
    mov ebx, 0x3333
    sysenter
.back:
    inc ebx
    ud2
user_int80:
    int 0x80
    ud2
user_unaligned:
    push rsp
    mov eax, [rsp + 1]
    ud2
user_read:
    mov rax, [rdi]
    ud2

; void syscall_entry: notes how SYSCALL arrived, then goes back.
global syscall_entry, sysenter_entry, entry_seen
syscall_entry:
    mov [entry_seen], rcx
    mov [entry_seen + 8], r11
    mov rax, cs
    mov [entry_seen + 16], rax
    mov rax, ss
    mov [entry_seen + 24], rax
    pushfq
    pop rax
    mov [entry_seen + 32], rax
    mov ebx, 0x2222
    o64 sysret
sysenter_entry:
    mov [entry_seen], rsp
    mov rax, cs
    mov [entry_seen + 16], rax
    mov rax, ss
    mov [entry_seen + 24], rax
    pushfq
    pop rax
    mov [entry_seen + 32], rax
    mov ebx, 0x4444
    o64 sysexit

section .bss
alignb 8
entry_seen: resq 5

section .data
align 8
bounds: dd 1, 10
