; Multiboot entry: 32-bit protected mode as GRUB or a hypervisor's loader leaves it, to 64-bit C.
;
; Memory below 4 GiB is mapped one to one for ring 0, and once more for ring 3 at USER_BASE
; (PML4 entry 1), so that kernels with SMEP and SMAP on can still run in ring 0. The top GiB,
; where APICs and BARs are, is uncached.

MULTIBOOT_MAGIC equ 0x1badb002
MULTIBOOT_FLAGS equ 3                   ; page-align modules, give memory information

PTE_P    equ 0x01
PTE_W    equ 0x02
PTE_U    equ 0x04
PTE_PWT  equ 0x08
PTE_PCD  equ 0x10
PTE_PS   equ 0x80
CR0_PG   equ 1 << 31
CR0_CD   equ 1 << 30
CR0_NW   equ 1 << 29
CR0_WP   equ 1 << 16
CR0_NE   equ 1 << 5
CR0_EM   equ 1 << 2
CR0_MP   equ 1 << 1
CR4_PAE  equ 1 << 5
CR4_OSFXSR equ 1 << 9
CR4_OSXMMEXCPT equ 1 << 10
MSR_EFER equ 0xc0000080
EFER_SCE equ 1 << 0
EFER_LME equ 1 << 8
EFER_NXE equ 1 << 11

LARGE_PAGES equ 2048                    ; of 2 MiB: 4 GiB
UNCACHED_FROM equ 1536                  ; large page at 3 GiB

extern guest_start

section .multiboot align=4
    dd MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS) & 0xffffffff

section .text
bits 32
global _start
_start:
    cli
    cld
    mov esp, boot_stack_top
    mov [boot_magic], eax
    mov [boot_info], ebx
    mov edi, boot_pd_kernel
    mov edx, PTE_P | PTE_W | PTE_PS
    call fill_large_pages
    mov edi, boot_pd_user
    mov edx, PTE_P | PTE_W | PTE_U | PTE_PS
    call fill_large_pages
    mov edi, boot_pdpt_kernel
    mov eax, boot_pd_kernel + (PTE_P | PTE_W)
    call fill_pdpt
    mov edi, boot_pdpt_user
    mov eax, boot_pd_user + (PTE_P | PTE_W | PTE_U)
    call fill_pdpt
    mov dword [boot_pml4], boot_pdpt_kernel + (PTE_P | PTE_W)
    mov dword [boot_pml4 + 8], boot_pdpt_user + (PTE_P | PTE_W | PTE_U)
    mov eax, CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT
    mov cr4, eax
    mov eax, boot_pml4
    mov cr3, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME | EFER_NXE | EFER_SCE
    wrmsr
    mov eax, cr0
    and eax, ~(CR0_EM | CR0_CD | CR0_NW) & 0xffffffff ; some firmware leaves the caches off
    or eax, CR0_PG | CR0_WP | CR0_NE | CR0_MP
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    jmp 0x08:long_mode

; edi: first page directory entry, edx: flags
fill_large_pages:
    xor ecx, ecx
.next:
    mov eax, ecx
    shl eax, 21
    or eax, edx
    cmp ecx, UNCACHED_FROM
    jb .cached
    or eax, PTE_PCD | PTE_PWT
.cached:
    mov [edi + ecx * 8], eax
    mov dword [edi + ecx * 8 + 4], 0
    inc ecx
    cmp ecx, LARGE_PAGES
    jb fill_large_pages.next
    ret

; edi: PDPT, eax: first page directory with its flags
fill_pdpt:
    mov ecx, 4
.next:
    mov [edi], eax
    add edi, 8
    add eax, 4096
    loop .next
    ret

bits 64
long_mode:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    mov rsp, boot_stack_top
    mov edi, [boot_magic]
    mov esi, [boot_info]
    xor ebp, ebp
    call guest_start
.halt:
    cli
    hlt
    jmp .halt

section .data
align 8
boot_gdt:
    dq 0
    dq 0x00af9b000000ffff               ; 64-bit code
    dq 0x00cf93000000ffff               ; data
boot_gdt_pointer:
    dw $ - boot_gdt - 1
    dq boot_gdt

section .bss
alignb 4096
global boot_pml4, boot_pd_kernel, boot_pd_user
boot_pml4:        resb 4096
boot_pdpt_kernel: resb 4096
boot_pdpt_user:   resb 4096
boot_pd_kernel:   resb 4 * 4096
boot_pd_user:     resb 4 * 4096
boot_stack:       resb 32768
boot_stack_top:
boot_magic:       resd 1
boot_info:        resd 1
