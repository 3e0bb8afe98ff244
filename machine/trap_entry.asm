; Exceptions and interrupts into C: one small stub per vector, all of the same size, then the
; registers in the order of struct trap_frame (machine/trap.h).

%include "offsets.inc"

bits 64
extern trap_handle
global trap_stubs

STUB_SIZE equ 16

section .text

align STUB_SIZE
trap_stubs:
%assign vector 0
%rep 256
align STUB_SIZE
    ; #DF, #TS, #NP, #SS, #GP, #PF, #AC, #CP push an error code; for the others we do.
    %if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)
    push 0
    %endif
    push strict dword vector
    jmp trap_common
%assign vector vector + 1
%endrep

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
    cld
    mov rdi, rsp
    push qword [rsp + TRAP_RIP]         ; a stack frame that leads backtraces to what we interrupted
    push rbp
    mov rbp, rsp
    call trap_handle
    add rsp, 16
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
    add rsp, 16                         ; vector and error code
    iretq
