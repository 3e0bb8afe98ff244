; Virtual-8086 mode: small pieces of 16-bit code, entered by IRET and left by a trap.

%include "lib/mode32.inc"
extern trap32_frame, trap32_esp, trap32_resume
extern v86_request

LOW        equ 0x9000                   ; where v86.c copies the 16-bit code
SEL_V86TSS equ 0x68
EFLAGS_VM  equ 1 << 17
CR4_VME    equ 1

section .text
bits 32
; Runs one piece as v86_request says: entry offset, flags, CR4 bits. The trap is in trap32_frame.
global v86_run
v86_run:
    mov ax, SEL_V86TSS
    ltr ax
    mov eax, cr4
    or eax, [v86_request + 8]
    mov cr4, eax
    pushad
    TRY32 .back
    xor eax, eax
    push eax                            ; gs
    push eax                            ; fs
    push dword LOW >> 4                 ; ds
    push dword LOW >> 4                 ; es
    push eax                            ; ss
    push dword LOW - 16                 ; esp
    mov ecx, [v86_request + 4]
    or ecx, EFLAGS_VM | 2
    push ecx
    push dword LOW >> 4                 ; cs
    push dword [v86_request]
    xor ecx, ecx
    iretd
.back:
    mov dword [trap32_resume], 0
    popad
    mov eax, cr4
    and eax, ~CR4_VME
    mov cr4, eax
    ret

; Each piece ends with HLT, which is privileged: #GP, with what it found in eax.
%macro PIECE 1
global %1
%1:
%endmacro

global v86_start, v86_end
bits 16
v86_start:
PIECE v86_segments
    mov eax, [v86_known - v86_start]    ; through DS
    cmp eax, [cs:v86_known - v86_start]
    jne .differ
    push eax
    pop ebx
    mov ecx, ebx
.differ:
    mov eax, ecx
    hlt
PIECE v86_far
    call (LOW >> 4):(.target - v86_start)
    mov ecx, eax
    hlt
.target:
    mov eax, 0xfa6
    retf
PIECE v86_cli
    cli
    mov eax, 0xc11
    hlt
PIECE v86_pushf
    pushf
    pop ax
    hlt
PIECE v86_int
    mov eax, 0x111
    int 0x80
    mov eax, 0x222
    hlt
PIECE v86_int3
    int3
    hlt
PIECE v86_in
    mov dx, 0x2340
    xor eax, eax
    in al, dx
    hlt
PIECE v86_ins
    mov dx, 0x2340
    mov di, v86_known + 4 - v86_start
    insb
    mov eax, [di - 1]
    hlt
PIECE v86_cr0
    mov eax, cr0
    hlt
PIECE v86_limit
    mov di, 0xfffe
    mov eax, [di]
    hlt
PIECE v86_divide
    xor cx, cx
    div cx
    hlt
PIECE v86_cpuid
    xor eax, eax
    cpuid
    mov eax, ebx
    hlt
PIECE v86_lgdt
    lgdt [0]
    hlt
PIECE v86_prefix
    mov eax, 0x10000
    add eax, 0x23456
    movzx ecx, ax
    lea edx, [eax + ecx * 4]
    mov eax, edx
    hlt
align 4
v86_known: dd 0x0badcafe, 0
v86_end:
