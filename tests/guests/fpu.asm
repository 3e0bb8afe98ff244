; Fills and compares the vector registers; in between, instructions that exit.

bits 64
section .text

%macro EACH16 2                         ; instruction with register and 64-byte slot
%assign r 0
%rep 16
    %1 %2 %+ r, [rdi + r * 64]
%assign r r + 1
%endrep
%endmacro

%macro STORE16 2
%assign r 0
%rep 16
    %1 [rdi + r * 64], %2 %+ r
%assign r r + 1
%endrep
%endmacro

; void fpu_load_sse(const void *slots), fpu_store_sse(void *slots), and for AVX
global fpu_load_sse, fpu_store_sse, fpu_load_avx, fpu_store_avx
fpu_load_sse:
    EACH16 movups, xmm
    ret
fpu_store_sse:
    STORE16 movups, xmm
    ret
fpu_load_avx:
    EACH16 vmovups, ymm
    ret
fpu_store_avx:
    STORE16 vmovups, ymm
    ret

; AVX-512: 32 registers in 32 slots, then k1 to k7 in the 33rd
global fpu_load_avx512, fpu_store_avx512
fpu_load_avx512:
%assign r 0
%rep 32
    vmovups zmm %+ r, [rdi + r * 64]
%assign r r + 1
%endrep
%assign r 1
%rep 7
    kmovw k %+ r, [rdi + 32 * 64 + r * 8]
%assign r r + 1
%endrep
    ret
fpu_store_avx512:
%assign r 0
%rep 32
    vmovups [rdi + r * 64], zmm %+ r
%assign r r + 1
%endrep
%assign r 1
%rep 7
    kmovw [rdi + 32 * 64 + r * 8], k %+ r
%assign r r + 1
%endrep
    ret

; void fpu_many_exits(uint64_t n): CPUID, IN, OUT and an APIC read, n times
global fpu_many_exits
fpu_many_exits:
    push rbx
    mov r8, rdi
    mov r9d, 0xfee00020
.again:
    xor eax, eax
    xor ecx, ecx
    cpuid
    in al, 0x80
    out 0x80, al
    mov eax, [r9]
    dec r8
    jnz .again
    pop rbx
    ret

; void fpu_load_x87(const double values[8]), fpu_store_x87(double values[8])
global fpu_load_x87, fpu_store_x87
fpu_load_x87:
    fninit
%assign r 0
%rep 8
    fld qword [rdi + r * 8]
%assign r r + 1
%endrep
    ret
fpu_store_x87:
%assign r 7
%rep 8
    fstp qword [rdi + r * 8]
%assign r r - 1
%endrep
    ret
