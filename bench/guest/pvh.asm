; Entry of a PVH guest (Xen, docs/misc/pvh.pandoc): 32-bit protected mode without paging, as
; multiboot has it, but EBX points to struct hvm_start_info.

XEN_ELFNOTE_PHYS32_ENTRY equ 18

extern _start

section .note.Xen note alloc align=4
    dd 4, 4, XEN_ELFNOTE_PHYS32_ENTRY
    db "Xen", 0
    dd pvh_start

section .text
bits 32
pvh_start:
    mov [pvh_info], ebx
    xor eax, eax                        ; no multiboot loader
    jmp _start

section .data
align 8
global pvh_info
pvh_info: dq 0
