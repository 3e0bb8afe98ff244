; The second CPU's way from its start-up IPI to smp_ap_main: 16-bit code that is copied to
; AP_PAGE, straight to long mode with the page tables of boot.asm, and its interrupt handler.

AP_PAGE  equ 0x8000
CR4_PAE  equ 1 << 5
CR0_PE   equ 1 << 0
CR0_NE   equ 1 << 5
CR0_WP   equ 1 << 16
CR0_PG   equ 1 << 31
MSR_EFER equ 0xc0000080
EFER_LME equ 1 << 8
EFER_NXE equ 1 << 11
SEL_CODE equ 0x08
SEL_DATA equ 0x10

MSR_X2APIC_EOI equ 0x80b
MSR_X2APIC_ICR equ 0x830

extern boot_pml4, smp_ap_main, smp_pong_icr

section .text
bits 16
global ap_start, ap_start_end
ap_start:
    cli
    xor ax, ax
    mov ds, ax
    mov eax, CR4_PAE
    mov cr4, eax
    mov eax, boot_pml4
    mov cr3, eax
    mov ecx, MSR_EFER
    mov eax, EFER_LME | EFER_NXE
    xor edx, edx
    wrmsr
    mov eax, CR0_PE | CR0_NE | CR0_WP | CR0_PG
    mov cr0, eax
    o32 lgdt [AP_PAGE + ap_gdt_pointer - ap_start]
    jmp dword SEL_CODE:ap_long

align 8
ap_gdt:
    dq 0
    dq 0x00af9b000000ffff               ; 64-bit code
    dq 0x00cf93000000ffff               ; data
ap_gdt_pointer:
    dw $ - ap_gdt - 1
    dd AP_PAGE + ap_gdt - ap_start
ap_start_end:

bits 64
ap_long:
    mov ax, SEL_DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov rsp, ap_stack_top
    xor ebp, ebp
    call smp_ap_main
.halt:
    cli
    hlt
    jmp .halt

; The answer to an IPI: EOI, and an IPI back.
global stub_ping
stub_ping:
    push rax
    push rcx
    push rdx
    mov ecx, MSR_X2APIC_EOI
    xor eax, eax
    xor edx, edx
    wrmsr
    mov ecx, MSR_X2APIC_ICR
    mov eax, [smp_pong_icr]
    mov edx, [smp_pong_icr + 4]
    wrmsr
    pop rdx
    pop rcx
    pop rax
    iretq

section .bss
alignb 16
ap_stack: resb 8192
ap_stack_top:
