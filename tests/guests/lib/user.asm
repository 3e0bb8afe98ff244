; The way into ring 3. Out again is a trap: what the code there does is caught by TRAP_CATCH.

bits 64
SEL_USER_DATA   equ 0x20 | 3
SEL_USER_CODE64 equ 0x28 | 3
SEL_USER_CODE32 equ 0x18 | 3
RFLAGS_FIXED    equ 2
USER_BASE       equ 1 << 39

section .text
; void user_enter(void *code, uint64_t rflags, uint64_t arg): 64-bit ring 3; rdi there is arg
global user_enter
user_enter:
    mov rax, user_stack_top
    mov rcx, USER_BASE
    add rax, rcx
    or rsi, RFLAGS_FIXED
    push qword SEL_USER_DATA
    push rax
    push rsi
    push qword SEL_USER_CODE64
    push rdi
    mov rdi, rdx
    iretq

; void user_enter32(uint32_t code, uint64_t rflags): compatibility mode in ring 3; the code must
; be mapped for ring 3 below 4 GiB
global user_enter32
user_enter32:
    or rsi, RFLAGS_FIXED
    push qword SEL_USER_DATA
    push qword user_stack_top
    push rsi
    push qword SEL_USER_CODE32
    push rdi
    iretq

section .bss
alignb 16
user_stack:
    resb 4096
user_stack_top:
