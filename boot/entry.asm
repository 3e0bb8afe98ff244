; The way in: multiboot headers, and from 32-bit protected mode to C in 64-bit mode.
;
; The image is linked at IMAGE_BASE + physical address and loaded at 1 MiB. Until the final page
; tables exist, the first 4 GiB are mapped three times with 2 MiB pages: one to one (for the
; switch itself), at the direct map, and (the first GiB) at IMAGE_BASE.

IMAGE_BASE equ 0xffffffff80000000
%define PHYS(symbol) (symbol - IMAGE_BASE)

MB1_MAGIC       equ 0x1badb002
MB1_ALIGN       equ 1 << 0              ; modules on page boundaries
MB1_MEMORY      equ 1 << 1              ; give us a memory map
MB1_ADDRESSES   equ 1 << 16             ; load by the address fields below, not as an ELF file
MB1_FLAGS       equ MB1_ALIGN | MB1_MEMORY | MB1_ADDRESSES

MB2_MAGIC       equ 0xe85250d6
MB2_TAG_END     equ 0
MB2_TAG_ENTRY   equ 3
MB2_TAG_SCREEN  equ 5                   ; a frame buffer is welcome: UEFI has nothing else
MB2_TAG_ALIGN   equ 6                   ; modules on page boundaries
MB2_OPTIONAL    equ 1

CR0_PE          equ 1 << 0
CR0_MP          equ 1 << 1
CR0_NE          equ 1 << 5
CR0_WP          equ 1 << 16
CR0_PG          equ 1 << 31
CR4_PAE         equ 1 << 5
EFLAGS_ID       equ 1 << 21
MSR_EFER        equ 0xc0000080
EFER_LME        equ 1 << 8
EFER_NXE        equ 1 << 11
MSR_GS_BASE     equ 0xc0000101
CPUID_EXT       equ 0x80000001
CPUID_EXT_NX    equ 20                  ; bits of EDX
CPUID_EXT_LM    equ 29

PTE_P           equ 1 << 0
PTE_RW          equ 1 << 1
PTE_LARGE       equ 1 << 7

PAGE            equ 4096
EARLY_PDS       equ 4                   ; page directories: 4 GiB
EARLY_STACK     equ 4 * PAGE

COM1            equ 0x3f8
COM1_LSR        equ COM1 + 5
LSR_THRE        equ 1 << 5
VGA_TEXT        equ 0xb8000

extern image_start, image_data_end, image_end, main, boot_cpu
global entry, early_tables, early_gdt

; ---------------------------------------------------------------- headers, first in the image

section .multiboot progbits alloc noexec nowrite align=8

align 8
mb1_header:
    dd MB1_MAGIC
    dd MB1_FLAGS
    dd -(MB1_MAGIC + MB1_FLAGS)
    dd PHYS(mb1_header)                 ; header_addr
    dd PHYS(image_start)                ; load_addr
    dd PHYS(image_data_end)             ; load_end_addr
    dd PHYS(image_end)                  ; bss_end_addr
    dd PHYS(entry)                      ; entry_addr

align 8
mb2_header:
    dd MB2_MAGIC
    dd 0                                ; 32-bit protected mode
    dd mb2_header_end - mb2_header
    dd -(MB2_MAGIC + (mb2_header_end - mb2_header))
    dw MB2_TAG_ENTRY, 0
    dd 12
    dd PHYS(entry)
    dd 0                                ; to a multiple of 8
    dw MB2_TAG_SCREEN, MB2_OPTIONAL
    dd 20
    dd 0, 0, 0                          ; of any size and depth
    dd 0                                ; to a multiple of 8
    dw MB2_TAG_ALIGN, 0
    dd 8
    dw MB2_TAG_END, 0
    dd 8
mb2_header_end:

; ---------------------------------------------------------------- 32-bit protected mode

section .text

bits 32
entry:                                  ; EAX: the loader's magic, EBX: its information
    cli
    cld
    mov esp, PHYS(early_stack_top)
    mov edi, eax                        ; main's arguments, kept through the switch
    mov esi, ebx
    call check_cpu
    call fill_early_tables

    mov eax, CR4_PAE
    mov cr4, eax
    mov eax, PHYS(early_tables)
    mov cr3, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME
    or eax, ebp                         ; EFER_NXE, if check_cpu has found it
    wrmsr
    mov eax, CR0_PG | CR0_WP | CR0_NE | CR0_MP | CR0_PE
    mov cr0, eax
    lgdt [PHYS(early_gdtr_low)]
    jmp 0x08:PHYS(entry64_low)

; Long mode or a clear word about it. Leaves EFER_NXE or 0 in EBP: main complains about NX, it
; has a console.
check_cpu:
    push edi
    push esi
    pushfd                              ; CPUID is there if the ID flag can be changed
    pop eax
    mov ecx, eax
    xor eax, EFLAGS_ID
    push eax
    popfd
    pushfd
    pop eax
    cmp eax, ecx
    je .no_long_mode
    mov eax, 0x80000000
    cpuid
    cmp eax, CPUID_EXT
    jb .no_long_mode
    mov eax, CPUID_EXT
    cpuid
    bt edx, CPUID_EXT_LM
    jnc .no_long_mode
    xor ebp, ebp
    bt edx, CPUID_EXT_NX
    jnc .done
    mov ebp, EFER_NXE
.done:
    pop esi
    pop edi
    ret
.no_long_mode:
    mov esi, PHYS(text_no_long_mode)
    mov edi, VGA_TEXT
.next:
    lodsb
    test al, al
    jz .halt
    mov [edi], al
    mov byte [edi + 1], 0x07
    add edi, 2
    mov ah, al
    mov dx, COM1_LSR
    mov ecx, 100000                     ; there may be no serial port
.wait:
    in al, dx
    test al, LSR_THRE
    loopz .wait
    mov al, ah
    mov dx, COM1
    out dx, al
    jmp .next
.halt:
    cli
    hlt
    jmp .halt

; early_tables: PML4, PDPT of the low 4 GiB and the direct map, PDPT of the image, 4 PDs.
fill_early_tables:
    mov eax, PHYS(early_tables)
    lea ecx, [eax + PAGE + PTE_P + PTE_RW]
    mov [eax], ecx                      ; one to one
    mov [eax + 256 * 8], ecx            ; DIRECT_MAP_BASE
    add ecx, PAGE
    mov [eax + 511 * 8], ecx
    add ecx, PAGE
    mov [eax + 2 * PAGE + 510 * 8], ecx ; IMAGE_BASE: the first PD again
    xor edx, edx
.pdpt:
    mov [eax + PAGE + edx * 8], ecx
    add ecx, PAGE
    inc edx
    cmp edx, EARLY_PDS
    jb .pdpt
    add eax, 3 * PAGE
    mov ecx, PTE_P | PTE_RW | PTE_LARGE
    xor edx, edx
.pd:
    mov [eax + edx * 8], ecx
    add ecx, 1 << 21
    inc edx
    cmp edx, EARLY_PDS * 512
    jb .pd
    ret

; ---------------------------------------------------------------- 64-bit mode

bits 64
entry64_low:
    mov rax, entry64
    jmp rax

entry64:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    lgdt [early_gdtr]
    mov rsp, early_stack_top

    mov rax, boot_cpu                   ; this_cpu() works from the first line of C
    mov rdx, rax
    shr rdx, 32
    mov ecx, MSR_GS_BASE
    wrmsr

    mov edi, edi                        ; the upper halves are undefined after the switch
    mov esi, esi
    xor ebp, ebp                        ; backtraces end here
    call main
.halt:
    cli
    hlt
    jmp .halt

; void stack_switch(void *top, void (*next)(void)): goes on in next on another stack.
global stack_switch
stack_switch:
    mov rsp, rdi
    xor ebp, ebp
    call rsi
    ud2

; ---------------------------------------------------------------- data

section .rodata

text_no_long_mode:
    db "tithe: fatal: this CPU has no 64-bit mode", 13, 10, 0

align 8
early_gdt:
    dq 0
    dq 0x00af9b000000ffff               ; 0x08: 64-bit code
    dq 0x00cf93000000ffff               ; 0x10: data
early_gdt_end:

early_gdtr:
    dw early_gdt_end - early_gdt - 1
    dq early_gdt
early_gdtr_low:
    dw early_gdt_end - early_gdt - 1
    dd PHYS(early_gdt)

section .bss

alignb PAGE
early_tables:
    resb (3 + EARLY_PDS) * PAGE
early_stack:
    resb EARLY_STACK
early_stack_top:
