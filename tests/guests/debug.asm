; Instructions to step over, with the address after each: debug.c sets TF and compares.

bits 64
RFLAGS_TF equ 0x100

%macro STEP 0
%assign step_count step_count + 1
.step_ %+ step_count:
%endmacro

section .text
; void debug_steps(void *memory): TF is on from the first instruction after POPF.
global debug_steps
%assign step_count 0
debug_steps:
    push rbx
    mov r8, cr3
    mov rsi, rdi
    pushfq
    or qword [rsp], RFLAGS_TF
    popfq
    nop
    STEP
    xor eax, eax
    STEP
    xor ecx, ecx
    STEP
    cpuid                               ; always an exit
    STEP
    mov edx, 0x80
    STEP
    in al, dx                           ; a port: an exit
    STEP
    out 0x80, al
    STEP
    mov ecx, 0x1b                       ; IA32_APIC_BASE: an exit, too
    STEP
    rdmsr
    STEP
    wrmsr
    STEP
    mov cr3, r8
    STEP
    rdtsc
    STEP
    mov rax, cr0
    STEP
    mov cr0, rax
    STEP
    mov ecx, 3
    STEP
    mov rdi, rsi
    STEP
    rep stosb                           ; one step an iteration: RIP stays, then goes on
.stos_again equ .step_16
    STEP
    mov eax, ss
    STEP
    mov ss, eax                         ; no trap after this instruction
    nop                                 ; but after this one
    STEP
    push rax
    STEP
    pop rax
    STEP
    pushfq
    STEP
    and qword [rsp], ~RFLAGS_TF
    STEP
    popfq                               ; TF was on before it: traps still
    STEP
    nop
    pop rbx
    ret

section .rodata
align 8
; REP STOSB's own address comes twice, before it is done.
global debug_step_labels, debug_step_labels_end
debug_step_labels:
%assign i 1
%rep step_count
    dq debug_steps.step_ %+ i
%if i = 16
    dq debug_steps.stos_again, debug_steps.stos_again
%endif
%assign i i + 1
%endrep
debug_step_labels_end:

section .text
; MOV SS with a breakpoint on its operand: the trap comes after the next instruction.
global debug_mov_ss, debug_mov_ss_after
debug_mov_ss:
    mov ss, [rdi]
    nop
debug_mov_ss_after:
    nop
    ret

global debug_execute, debug_execute_here
debug_execute:
    xor eax, eax
debug_execute_here:
    inc eax
    ret

global debug_icebp, debug_icebp_after
debug_icebp:
    db 0xf1
debug_icebp_after:
    ret

global debug_write, debug_write_after
debug_write:
    mov dword [rdi], 1
debug_write_after:
    mov eax, [rdi]
    ret
