; Where a second CPU begins: in real mode at SMP_PAGE, to which this code has been copied, and on
; to 64-bit mode with the page tables of the first CPU.

SMP_PAGE  equ 0x8000
SEL_CODE64 equ 0x08                     ; as in lib/segment.h
SEL_DATA   equ 0x10
SEL_CODE32 equ 0x18
CR0_PE   equ 1 << 0
CR0_MP   equ 1 << 1
CR0_NE   equ 1 << 5
CR0_WP   equ 1 << 16
CR0_PG   equ 1 << 31
CR4_PAE  equ 1 << 5
CR4_OSFXSR equ 1 << 9
CR4_OSXMMEXCPT equ 1 << 10
MSR_EFER equ 0xc0000080
EFER_SCE equ 1 << 0
EFER_LME equ 1 << 8
EFER_NXE equ 1 << 11

%define AT(label) (SMP_PAGE + label - smp_code)

extern boot_pml4, smp_ap_main
global smp_code, smp_code_end

section .rodata
align 16
smp_code:
bits 16
    cli
    cld
    xor eax, eax
    mov ds, ax
    o32 lgdt [AT(.gdt_pointer)]
    mov eax, CR0_PE
    mov cr0, eax                        ; INIT has left the caches off: on again
    jmp dword SEL_CODE32:AT(.protected)
bits 32
.protected:
    mov eax, SEL_DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov eax, CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT
    mov cr4, eax
    mov eax, boot_pml4
    mov cr3, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME | EFER_NXE | EFER_SCE
    wrmsr
    mov eax, CR0_PG | CR0_WP | CR0_NE | CR0_MP | CR0_PE
    mov cr0, eax
    jmp SEL_CODE64:AT(.long)
bits 64
.long:
    mov rsp, smp_stack_top
    xor ebp, ebp
    mov rax, smp_ap_main
    call rax
align 8
.gdt:
    dq 0
    dq 0x00af9b000000ffff
    dq 0x00cf93000000ffff
    dq 0x00cf9b000000ffff
.gdt_pointer:
    dw $ - .gdt - 1
    dd AT(.gdt)
smp_code_end:

section .bss
alignb 16
smp_stack:
    resb 16384
smp_stack_top:
