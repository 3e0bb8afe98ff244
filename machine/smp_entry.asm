; Where a started CPU begins: in real mode, at the start of a page below 1 MiB to which this code
; has been copied. machine/smp.c fills in the words marked so. All 32 GDT and page table bits that
; follow are read from that copy: EBX holds its address.

CR0_PE       equ 1 << 0
CR0_MP       equ 1 << 1
CR0_NE       equ 1 << 5
CR0_WP       equ 1 << 16
CR0_PG       equ 1 << 31
CR4_PAE      equ 1 << 5
MSR_EFER     equ 0xc0000080
EFER_LME_NXE equ (1 << 8) | (1 << 11)

%define AT(label) (label - smp_code_start)

global smp_code_start, smp_code_end, smp_gdtr_base, smp_jump_32, smp_jump_64, smp_protected
global smp_long, smp_gdt, smp_cr3, smp_stack, smp_percpu, smp_next

section .rodata

align 16
smp_code_start:
bits 16
    cli
    cld
    mov ax, cs
    mov ds, ax
    xor ebx, ebx
    mov bx, ax
    shl ebx, 4
    o32 lgdt [AT(gdtr)]
    mov eax, CR0_PE
    mov cr0, eax
    o32 jmp far [AT(smp_jump_32)]

bits 32
smp_protected:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov eax, CR4_PAE
    mov cr4, eax
    mov eax, [ebx + AT(smp_cr3)]
    mov cr3, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME_NXE
    wrmsr
    mov eax, CR0_PG | CR0_WP | CR0_NE | CR0_MP | CR0_PE
    mov cr0, eax
    jmp far [ebx + AT(smp_jump_64)]

bits 64
smp_long:
    mov ebx, ebx
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov rsp, [rbx + AT(smp_stack)]
    mov rdi, [rbx + AT(smp_percpu)]
    xor ebp, ebp                        ; backtraces end here
    push rbp                            ; as if called: the stack is aligned as C wants it
    jmp [rbx + AT(smp_next)]

align 8
smp_gdt:
    dq 0
    dq 0x00cf9b000000ffff               ; 0x08: 32-bit code
    dq 0x00cf93000000ffff               ; 0x10: data
    dq 0x00af9b000000ffff               ; 0x18: 64-bit code
gdt_end:
gdtr:
    dw gdt_end - smp_gdt - 1
smp_gdtr_base:
    dd 0                                ; filled in
align 8
smp_jump_32:
    dd 0                                ; filled in
    dw 0x08
align 8
smp_jump_64:
    dd 0                                ; filled in
    dw 0x18
align 8
smp_cr3:
    dq 0                                ; filled in, as all below
smp_stack:
    dq 0
smp_percpu:
    dq 0
smp_next:
    dq 0
smp_code_end:
