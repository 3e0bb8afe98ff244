; Every mode but long mode: 32-bit protected, 16-bit protected, real, big real, 32-bit paging, PAE.
; Each routine leaves dwords that modes.c compares.

%include "lib/mode32.inc"
extern trap32_frame, trap32_esp, trap32_resume, idt32_pointer
extern modes_page_dir, modes_pdpt, modes_bad_pdpt, modes_buffer

LOW       equ 0x8000                    ; where modes.c copies the real-mode code
SEL_SMALL equ 0x60                      ; 4 KiB of modes_buffer
SEL_GATE  equ 0x68                      ; a call gate to gate_target
SEL_C16   equ 0x70                      ; 16-bit code at code16
VIRTUAL   equ 0x80000000                ; where the paging tests look
CR0_PE    equ 1
CR0_WP    equ 1 << 16
CR0_PG    equ 1 << 31
CR4_PSE   equ 1 << 4
CR4_PAE   equ 1 << 5
HEADER    equ 0x100000                  ; this kernel's multiboot header begins there

%macro RESULT 1
global %1
%1: resd 1
%endmacro

section .text
bits 32
global protected32
protected32:
    mov eax, cr0
    and eax, CR0_PG | CR0_PE
    mov [r_cr0], eax
    mov ecx, esp
    push 0x12345678
    sub ecx, esp
    mov [r_push], ecx
    pop eax
    mov [r_pop], eax
    TRY32 .divided
    xor ecx, ecx
    div ecx
.divided:
    TRAPPED32 r_divide
    TRY32 .selected
    mov eax, 0x4008
    mov fs, ax
.selected:
    TRAPPED32 r_selector
    mov eax, SEL_SMALL
    mov fs, ax
    mov dword [fs:0xffc], 0xcafe
    mov eax, [modes_buffer + 0xffc]
    mov [r_base], eax
    TRY32 .limited
    mov eax, [fs:0xffd]
.limited:
    TRAPPED32 r_limit
    TRY32 .nullified
    xor eax, eax
    mov fs, ax
    mov eax, [fs:0]
.nullified:
    TRAPPED32 r_null
    call SEL_GATE:0
    mov [r_gate], eax
    call SEL_C16:0
    mov [r_code16], eax
    TRY32 .software
    int 0x30
.software:
    TRAPPED32 r_int
    ret

gate_target:
    global gate_target
    mov eax, 0x9a7e
    retf

bits 16
global code16
code16:
    mov cx, sp
    push ax
    sub cx, sp
    pop ax
    movzx eax, cx                       ; a push is two bytes
    mov ax, 0xffff
    inc ax                              ; wraps
    add ax, cx
    o32 retf

bits 32
global paging32
paging32:
    mov eax, cr4
    or eax, CR4_PSE
    mov cr4, eax
    mov eax, modes_page_dir
    mov cr3, eax
    call paging_checks
    mov eax, [r_paged]
    mov [r_paged32], eax
    mov eax, [r_protect]
    mov [r_protect32], eax
    mov eax, [r_absent]
    mov [r_absent32], eax
    mov eax, cr4
    and eax, ~CR4_PSE
    mov cr4, eax
    ret

global paging_pae
paging_pae:
    mov eax, cr4
    or eax, CR4_PAE
    mov cr4, eax
    mov eax, modes_pdpt
    mov cr3, eax
    call paging_checks
    mov eax, cr0                        ; paging again, and a PDPTE with reserved bits
    or eax, CR0_PG
    mov cr0, eax
    TRY32 .loaded
    mov eax, modes_bad_pdpt
    mov cr3, eax
.loaded:
    TRAPPED32 r_bad_pdpte
    mov eax, [VIRTUAL]                  ; the old tables are still in use
    mov [r_old_pdpte], eax
    mov eax, cr0
    and eax, ~CR0_PG
    mov cr0, eax
    mov eax, cr4
    and eax, ~CR4_PAE
    mov cr4, eax
    ret

; VIRTUAL is mapped read-only to modes_buffer, the page after it is not.
paging_checks:
    mov dword [modes_buffer], 0x1234abcd
    mov eax, cr0
    or eax, CR0_PG | CR0_WP
    mov cr0, eax
    mov eax, [VIRTUAL]
    mov [r_paged], eax
    TRY32 .protected
    mov dword [VIRTUAL], 0
.protected:
    TRAPPED32 r_protect
    TRY32 .absent
    mov dword [VIRTUAL + 4096], 0
.absent:
    TRAPPED32 r_absent
    mov eax, cr0
    and eax, ~CR0_PG
    mov cr0, eax
    ret

global real_mode
real_mode:
    pushad
    mov [real_esp], esp
    jmp SEL_CODE16:LOW + (.pm16 - real_start)

section .text
global real_start, real_end
%define AT(label) (LOW + ((label) - real_start))
real_start:
bits 16
real_mode.pm16:
    mov ax, SEL_DATA16
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    mov eax, cr0
    and al, ~CR0_PE
    mov cr0, eax
    jmp 0:AT(.real)
.real:
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    mov sp, LOW - 16
    lidt [AT(ivt_pointer)]
    smsw ax
    and eax, 1
    mov [AT(v_msw)], eax
    mov ax, LOW >> 4                    ; segment * 16 + offset
    mov fs, ax
    mov eax, [fs:v_known - real_start]
    mov [AT(v_segment)], eax
    mov ax, 0xffff                      ; above 1 MiB: A20 is on
    mov fs, ax
    mov eax, [fs:0x10]
    mov [AT(v_a20)], eax
    call 0:AT(far_target)
    mov [AT(v_far)], eax

; Interrupts through the vector table, which gets its old entries back.
    mov bx, 0x80 * 4
    mov ax, AT(on_int)
    call hook
    stc
    int 0x80
    setc [AT(v_int_flags)]              ; IRET brought the flags back
    mov [AT(v_int)], eax
    call unhook
    mov bx, 0
    mov ax, AT(on_divide)
    call hook
    xor cx, cx
    xor dx, dx
    div cx                              ; two bytes, which on_divide skips
    mov [AT(v_divide)], eax
    call unhook
    mov bx, 6 * 4
    mov ax, AT(on_divide)
    call hook
    mov eax, 1
    ud2
    mov [AT(v_invalid)], eax
    call unhook
    mov bx, 13 * 4
    mov ax, AT(on_limit)
    call hook
    xor eax, eax
    mov di, 0xffff
    mov ecx, [di]                       ; four bytes over the segment's end; three bytes long
    mov [AT(v_limit)], eax
    call unhook

; Strings: eight words down, with a 16-bit count.
    mov si, AT(v_words) + 14
    mov di, AT(v_copy) + 14
    mov cx, 8
    std
    rep movsw
    cld
    mov eax, [AT(v_copy)]
    add eax, [AT(v_copy) + 12]
    mov [AT(v_string)], eax

; What exits, here too.
    xor eax, eax
    cpuid
    mov [AT(v_cpuid)], ebx
    mov al, 0x50
    out 0x70, al
    mov al, 0x3c
    out 0x71, al
    xor eax, eax
    in al, 0x71
    mov [AT(v_in)], eax
    mov bx, 0x20 * 4                    ; IRQ 0 wakes from HLT
    mov ax, AT(on_irq)
    call hook
    xor eax, eax
    sti
    hlt
    cli
    mov [AT(v_irq)], eax
    call unhook

; Big real mode: the limit that was loaded in protected mode stays.
    mov eax, cr0
    or al, CR0_PE
    mov cr0, eax
    mov bx, SEL_DATA
    mov fs, bx
    and al, ~CR0_PE
    mov cr0, eax
    mov eax, [fs:dword HEADER]
    mov [AT(v_big)], eax
    xor bx, bx
    mov fs, bx                          ; changes the base only
    mov eax, [fs:dword HEADER]
    mov [AT(v_big_again)], eax
    mov eax, cr0
    or al, CR0_PE
    mov cr0, eax
    jmp dword SEL_CODE32:real_back

; bx: offset in the vector table, ax: handler
hook:
    mov ecx, [bx]
    mov [AT(old_vector)], ecx
    mov [bx], ax
    mov word [bx + 2], 0
    ret
unhook:
    mov ecx, [AT(old_vector)]
    mov [bx], ecx
    ret

on_int:
    pushf
    pop ax
    shr ax, 9
    and eax, 1                          ; IF: off in here
    or eax, 0x100
    clc
    iret
on_divide:                              ; also #UD: both instructions are two bytes
    mov bp, sp
    add word [bp], 2
    mov eax, 0xdead
    iret
on_limit:
    mov bp, sp
    add word [bp], 3
    mov eax, 0x13
    iret
on_irq:
    mov al, 0x20
    out 0x20, al
    inc ah
    iret
far_target:
    mov eax, 0xfa4
    retf

align 4
ivt_pointer: dw 0x3ff
             dd 0
old_vector:  dd 0
v_known:     dd 0x600df00d
v_words:     dw 1, 2, 3, 4, 5, 6, 7, 8
v_copy:      times 8 dw 0
%macro VALUE 1
global %1
%1: dd 0
%endmacro
    VALUE v_msw
    VALUE v_segment
    VALUE v_a20
    VALUE v_far
    VALUE v_int
    VALUE v_int_flags
    VALUE v_divide
    VALUE v_invalid
    VALUE v_limit
    VALUE v_string
    VALUE v_cpuid
    VALUE v_in
    VALUE v_irq
    VALUE v_big
    VALUE v_big_again
real_end:

bits 32
real_back:
    mov ax, SEL_DATA
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    mov esp, [real_esp]
    lidt [idt32_pointer]
    popad
    ret

section .bss
alignb 4
real_esp: resd 1
    RESULT r_cr0
    RESULT r_push
    RESULT r_pop
    RESULT r_divide
    RESULT r_selector
    RESULT r_base
    RESULT r_limit
    RESULT r_null
    RESULT r_gate
    RESULT r_code16
    RESULT r_int
    RESULT r_paged
    RESULT r_protect
    RESULT r_absent
    RESULT r_paged32
    RESULT r_protect32
    RESULT r_absent32
    RESULT r_bad_pdpte
    RESULT r_old_pdpte
