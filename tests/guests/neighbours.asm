; Fills the vector registers from slots of 64 bytes, and stores them there.

bits 64
section .text

; %1: name, %2: instruction, %3: register, %4: how many
%macro LOAD_STORE 4
global neighbours_load_%1, neighbours_store_%1
neighbours_load_%1:
%assign r 0
%rep %4
    %2 %3 %+ r, [rdi + r * 64]
%assign r r + 1
%endrep
    ret
neighbours_store_%1:
%assign r 0
%rep %4
    %2 [rdi + r * 64], %3 %+ r
%assign r r + 1
%endrep
    ret
%endmacro

LOAD_STORE sse, movups, xmm, 16
LOAD_STORE avx, vmovups, ymm, 16
LOAD_STORE avx512, vmovups, zmm, 32
