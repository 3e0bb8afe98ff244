; Jumps to tasks that trap before their first instruction, one case after the other.

%include "lib/mode32.inc"
extern trap32_frame, trap32_esp, trap32_resume
extern wide, wide_begin, narrow, narrow_begin

TSS32_DWORDS equ 26
TSS16_DWORDS equ 11

SEL_A     equ 0x68
MAX_CASES equ 32

FRAME_EAX    equ 7 * 4                  ; struct trap32
FRAME_CS     equ 11 * 4
FRAME_EFLAGS equ 12 * 4
FRAME_GS     equ 18 * 4

struc CASE                              ; struct load_case
.field:    resd 2
.value:    resd 2
.selector: resd 1
.got:      resd 1
.eax:      resd 1
.cs:       resd 1
.eflags:   resd 1
.gs:       resd 1
.dr6:      resd 1
endstruc

%macro PATCH 1                          ; a field of the TSS
    mov edx, [ebx + CASE.field + 4 * %1]
    test edx, edx
    jz %%none
    mov eax, [ebx + CASE.value + 4 * %1]
    mov [edx], eax
%%none:
%endmacro

%macro RENEW 3                          ; the state that a task left: %3 dwords as they were
    mov edi, %1
    mov esi, %2
    mov ecx, %3
    rep movsd
%endmacro

%macro KEEP 2                           ; of the trap's frame
    mov eax, [trap32_frame + %1]
    mov [ebx + %2], eax
%endmacro

section .text
bits 32
global taskload_run
taskload_run:
    pushad
    mov ax, SEL_A
    ltr ax
    clts
    xor ebp, ebp
    mov ebx, load_cases
.next:
    RENEW wide, wide_begin, TSS32_DWORDS
    RENEW narrow, narrow_begin, TSS16_DWORDS
    PATCH 0
    PATCH 1
    xor eax, eax
    mov dr6, eax
    mov eax, [ebx + CASE.selector]
    mov [target + 4], eax
    mov [current], ebx
    TRY32 .trapped
    jmp far [target]
    add ebx, CASE_size                  ; here again, by the jump below
    inc ebp
    cmp ebp, [load_count]
    jb .next
    popad
    ret

; In the new task, at CPL 0.
.trapped:
    mov ebx, [current]
    TRAPPED32 got
    mov eax, [got]
    mov [ebx + CASE.got], eax
    KEEP FRAME_EAX, CASE.eax
    KEEP FRAME_CS, CASE.cs
    KEEP FRAME_EFLAGS, CASE.eflags
    KEEP FRAME_GS, CASE.gs
    mov eax, dr6
    mov [ebx + CASE.dr6], eax
    jmp SEL_A:0

section .bss
alignb 4
global load_cases, load_count
load_cases: resb MAX_CASES * CASE_size
load_count: resd 1
current:    resd 1
got:        resd 1
target:     resd 2
