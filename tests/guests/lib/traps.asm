; The 256 interrupt entries, and the way back to where a trap is expected (trap_arm).

bits 64
extern trap_dispatch

section .text

%assign vector 0
%rep 256
trap_entry_ %+ vector:
%if vector = 8 || (vector >= 10 && vector <= 14) || vector = 17 || vector = 21
    push qword vector                   ; the CPU pushed an error code
%else
    push qword 0
    push qword vector
%endif
    jmp trap_common
%assign vector vector + 1
%endrep

; The stack now is struct trap_frame of lib/trap.h from vector on.
trap_common:
    push rax
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    push rbp
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    mov rdi, rsp
    mov rbp, rsp
    and rsp, -16
    cld
    call trap_dispatch
    mov rsp, rbp
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rbp
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rbx
    pop rax
    add rsp, 16
    iretq

; int trap_save(struct trap_context *c): 0 now, 1 when trap_return comes back to it.
global trap_save
trap_save:
    pop rdx                             ; return address
    mov [rdi], rbx
    mov [rdi + 8], rbp
    mov [rdi + 16], r12
    mov [rdi + 24], r13
    mov [rdi + 32], r14
    mov [rdi + 40], r15
    mov [rdi + 48], rsp
    mov [rdi + 56], rdx
    xor eax, eax
    jmp rdx

; void trap_return(struct trap_context *c): unwinds to the trap_save that filled it.
global trap_return
trap_return:
    mov ax, 0x10                        ; the trap may have come from ring 3
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov rbx, [rdi]
    mov rbp, [rdi + 8]
    mov r12, [rdi + 16]
    mov r13, [rdi + 24]
    mov r14, [rdi + 32]
    mov r15, [rdi + 40]
    mov rsp, [rdi + 48]
    mov eax, 1
    jmp [rdi + 56]

section .rodata
align 8
global trap_entries
trap_entries:
%assign vector 0
%rep 256
    dq trap_entry_ %+ vector
%assign vector vector + 1
%endrep
