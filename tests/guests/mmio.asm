; One instruction form each, on a register at [rdi] that holds rsi's low half: returns in eax what
; the instruction left in its register. mmio.c compares with the same code run on RAM.

bits 64
section .text

; eax, ecx and the flags are the same before each form.
%macro BEGIN 1
align 8
%1:
    mov eax, 0x11223344
    mov ecx, 0x0f0f1e2d
    xor edx, edx
    clc
%endmacro

; Each ends by putting the flags that all forms define into edx: ZF, SF, CF.
%macro END 0
    pushfq
    pop rdx
    and edx, 0xc1
    ret
%endmacro

BEGIN f_mov_load
    mov eax, [rdi]
    END
BEGIN f_mov_store
    mov [rdi], ecx
    END
BEGIN f_mov_imm
    mov dword [rdi], 0x00765432
    END
BEGIN f_mov_disp8
    mov [rdi - 8 + 8], ecx
    mov eax, [rdi + 0]
    END
BEGIN f_mov_sib
    mov ecx, 4
    mov rdx, rdi
    sub rdx, 16
    mov eax, [rdx + rcx * 4]
    END
BEGIN f_mov_r15
    mov r15d, r15d
    push r15
    mov r15d, [rdi]
    mov eax, r15d
    pop r15
    END
BEGIN f_movsxd
    movsxd rax, dword [rdi]
    END
BEGIN f_movnti
    movnti [rdi], ecx
    END
BEGIN f_add_store
    add [rdi], ecx
    END
BEGIN f_add_load
    add ecx, [rdi]
    mov eax, ecx
    END
BEGIN f_adc
    stc
    adc [rdi], ecx
    END
BEGIN f_sbb
    stc
    sbb [rdi], ecx
    END
BEGIN f_sub_imm8
    sub dword [rdi], 17
    END
BEGIN f_sub_load
    sub ecx, [rdi]
    mov eax, ecx
    END
BEGIN f_and_store
    and [rdi], ecx
    END
BEGIN f_or_store
    or [rdi], ecx
    END
BEGIN f_or_lock
    lock or dword [rdi], 0x40
    END
BEGIN f_xor_store
    xor [rdi], ecx
    END
BEGIN f_cmp_store
    cmp [rdi], ecx
    END
BEGIN f_cmp_imm
    cmp dword [rdi], 0x1000
    END
BEGIN f_test
    test [rdi], ecx
    END
BEGIN f_test_imm
    test dword [rdi], 0x10000
    END
BEGIN f_inc
    inc dword [rdi]
    END
BEGIN f_dec_lock
    lock dec dword [rdi]
    END
BEGIN f_not
    not dword [rdi]
    cmp eax, eax
    END
BEGIN f_neg
    neg dword [rdi]
    END
BEGIN f_xchg
    xchg [rdi], eax
    END
BEGIN f_xadd
    xadd [rdi], eax
    END
BEGIN f_cmpxchg_same
    mov eax, esi
    cmpxchg [rdi], ecx
    END
BEGIN f_cmpxchg_other
    cmpxchg [rdi], ecx
    END
BEGIN f_bt_imm
    bt dword [rdi], 4
    cmovc eax, ecx
    END
BEGIN f_bts
    mov edx, 9
    bts [rdi], edx
    setc al
    cmp ecx, ecx
    END
BEGIN f_btr_lock
    lock btr dword [rdi], 2
    setc al
    cmp ecx, ecx
    END
BEGIN f_btc
    btc dword [rdi], 12
    setc al
    cmp ecx, ecx
    END
BEGIN f_shl
    shl dword [rdi], 3
    cmp eax, eax
    END
BEGIN f_ror
    mov cl, 5
    ror dword [rdi], cl
    cmp eax, eax
    END
BEGIN f_imul
    imul eax, [rdi], 3
    cmp eax, eax
    END
BEGIN f_mul
    mul dword [rdi]
    add eax, edx
    cmp eax, eax
    END
BEGIN f_bsf
    bsf eax, [rdi]
    cmp eax, eax
    END
BEGIN f_cmov
    stc
    cmovc eax, [rdi]
    END
BEGIN f_popcnt
    popcnt eax, [rdi]
    cmp eax, eax
    END
BEGIN f_stosd
    mov eax, ecx
    stosd
    END
BEGIN f_stosd_down
    std
    mov eax, ecx
    stosd
    cld
    END
BEGIN f_lodsd
    mov rsi, rdi
    lodsd
    END
BEGIN f_scasd
    scasd
    END
BEGIN f_movsd_from
    mov rsi, rdi
    lea rdi, [rel scratch]
    movsd
    mov eax, [rel scratch]
    END
BEGIN f_movsd_to
    mov [rel scratch], ecx
    lea rsi, [rel scratch]
    movsd
    END
BEGIN f_cmpsd
    mov [rel scratch], ecx
    lea rsi, [rel scratch]
    cmpsd
    END
BEGIN f_addr32
    mov eax, [edi]
    END
BEGIN f_fs
    mov eax, [fs:rdi]
    END
BEGIN f_movd
    movd xmm0, [rdi]
    movd eax, xmm0
    END
BEGIN f_movd_store
    movd xmm0, ecx
    movd [rdi], xmm0
    END
BEGIN f_movss
    movss xmm1, [rdi]
    movd eax, xmm1
    END

section .data
scratch: dd 0, 0

; struct mmio_form of mmio.c: name, code, what is there before
section .rodata align=8
global mmio_forms, mmio_forms_end
%macro ROWS 2-*
%assign value %1
%rotate 1
%rep %0 - 1
%defstr %%s %1
    dq %%n_ %+ %1, f_ %+ %1, value
section .rodata.names
%%n_ %+ %1: db %%s, 0
section .rodata
%rotate 1
%endrep
%endmacro
mmio_forms:
ROWS 0x00345678, mov_load, mov_store, mov_imm, mov_disp8, mov_sib, mov_r15, movnti
ROWS 0x00345678, add_store, add_load, adc, sbb, sub_imm8, sub_load, and_store, or_store, or_lock
ROWS 0x00345678, xor_store, cmp_store, cmp_imm, test, test_imm, inc, dec_lock, not, neg, xchg
ROWS 0x00345678, xadd, cmpxchg_same, cmpxchg_other, bt_imm, bts, btr_lock, btc, shl, ror, imul, mul
ROWS 0x00345678, bsf, cmov, popcnt, stosd, stosd_down, lodsd, scasd, movsd_from, movsd_to, cmpsd
ROWS 0x00345678, addr32, fs, movd, movd_store, movss
ROWS 0x80345678, movsxd
mmio_forms_end:
