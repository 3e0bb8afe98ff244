; Out of long mode into 32-bit protected mode without paging, and back. There, traps come through
; an IDT of their own; TRY32 (mode32.inc) says where one is expected.

%include "lib/mode32.inc"

MSR_EFER equ 0xc0000080
EFER_LME equ 1 << 8
CR0_PG   equ 1 << 31

section .text
bits 64
; void mode32_enter(void (*code)(void)): code is 32-bit and ends with RET, at its entry's stack
global mode32_enter
mode32_enter:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    pushfq
    mov [saved_rsp], rsp
    mov rax, cr0
    mov [saved_cr0], eax
    mov rax, cr3
    mov [saved_cr3], eax
    mov rax, cr4
    mov [saved_cr4], eax
    mov esi, edi
    push qword SEL_CODE32
    lea rax, [rel .compat]
    push rax
    retfq
bits 32
.compat:
    mov ax, SEL_DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov eax, cr0
    and eax, ~CR0_PG
    mov cr0, eax
    mov ecx, MSR_EFER
    rdmsr
    and eax, ~EFER_LME
    wrmsr
    mov eax, cr4
    and eax, ~(1 << 5)                  ; PAE, so that code may turn on any kind of paging
    mov cr4, eax
    mov esp, stack32_top
    lidt [idt32_pointer]
    mov dword [trap32_resume], 0
    mov dword [trap32_unexpected], 0
    call esi

; Also from a trap that nobody expected.
mode32_leave:
    mov eax, [saved_cr4]
    mov cr4, eax
    mov eax, [saved_cr3]
    mov cr3, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME
    wrmsr
    mov eax, [saved_cr0]
    mov cr0, eax
    jmp SEL_CODE64:.long
bits 64
.long:
    mov ax, SEL_DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov rsp, [saved_rsp]
    popfq
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

bits 32
%macro STUB 1
stub_%1:
%if %1 = 8 || (%1 >= 10 && %1 <= 14) || %1 = 17
%else
    push dword 0
%endif
    push dword %1
    jmp trap32_common
%endmacro
%assign i 0
%rep 256
    STUB i
%assign i i + 1
%endrep

; Copies the frame, then goes where TRY32 said; from any privilege, V86 mode included.
trap32_common:
    pushad
    mov ax, SEL_DATA
    mov ds, ax
    mov es, ax
    cld
    mov esi, esp
    mov edi, trap32_frame
    mov ecx, TRAP32_DWORDS
    rep movsd
    mov eax, cr2
    mov [trap32_cr2], eax
    mov ax, SEL_DATA
    mov ss, ax
    mov eax, [trap32_resume]
    test eax, eax
    jz .unexpected
    mov dword [trap32_resume], 0
    mov esp, [trap32_esp]
    jmp eax
.unexpected:
    mov dword [trap32_unexpected], 1
    mov eax, cr0
    and eax, ~CR0_PG
    mov cr0, eax
    mov eax, cr4
    and eax, ~(1 << 4)
    mov cr4, eax
    mov esp, stack32_top
    jmp mode32_leave

section .rodata
align 8
global stubs32
stubs32:
%assign i 0
%rep 256
    dq stub_ %+ i
%assign i i + 1
%endrep

section .data
global idt32_pointer
idt32_pointer:
    dw 256 * 8 - 1
    dq idt32

section .bss
alignb 16
global idt32, trap32_frame, trap32_cr2, trap32_resume, trap32_esp, trap32_unexpected
global stack32_top
idt32:         resb 256 * 8
saved_rsp:     resq 1
saved_cr0:     resd 1
saved_cr3:     resd 1
saved_cr4:     resd 1
trap32_resume: resd 1
trap32_esp:    resd 1
trap32_cr2:    resd 1
trap32_unexpected: resd 1
trap32_frame:  resd TRAP32_DWORDS
               resb 8192
stack32_top:
