; Ring 3's port accesses: position independent, as user code must be.

bits 64
section .text
; rdi: port; ends with UD2, the value read in rax
global io_user_in8, io_user_in32, io_user_outs8
io_user_in8:
    mov edx, edi
    xor eax, eax
    in al, dx
    ud2
io_user_in32:
    mov edx, edi
    in eax, dx
    ud2
io_user_outs8:
    mov edx, edi
    lea rsi, [rel io_user_in8]
    outsb
    ud2
