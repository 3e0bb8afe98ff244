; Task switches by hardware: JMP, CALL and IRET, INT through a task gate, and the ways to fail.

%include "lib/mode32.inc"
extern trap32_frame, trap32_esp, trap32_resume

SEL_A     equ 0x68                      ; the task that runs the tests
SEL_B     equ 0x70
SEL_SHORT equ 0x78                      ; a TSS whose limit is too small
CR0_TS    equ 1 << 3
EFLAGS_NT equ 1 << 14
GATE_INT  equ 0x31                      ; a task gate to B

%macro RESULT 1
global %1
%1: resd 1
%endmacro

%macro BUSY 2                           ; type bits of a descriptor into a dword
    movzx eax, byte [esi + %1 + 5]
    and eax, 0xf
    mov [%2], eax
%endmacro

section .text
bits 32
; esi: GDT base from here on
global tasks_run
tasks_run:
    pushad
    sub esp, 8
    sgdt [esp]
    mov esi, [esp + 2]
    add esp, 8
    mov ax, SEL_A
    ltr ax
    clts

; CALL: nested, B comes back with IRET
    mov dword [b_todo], b_iret
    mov ebx, 0xaaaa
    call SEL_B:0
    mov [t_call_ebx], ebx               ; ours again
    mov eax, [b_ebx]
    mov [t_call_b_ebx], eax
    mov eax, [b_tr]
    mov [t_call_b_tr], eax
    mov eax, [b_flags]
    and eax, EFLAGS_NT
    mov [t_call_nt], eax
    mov eax, [b_ts]
    mov [t_call_ts], eax
    mov eax, [b_busy_a]
    mov [t_call_a_busy], eax
    BUSY SEL_B, t_call_b_free
    pushfd
    pop eax
    and eax, EFLAGS_NT
    mov [t_back_nt], eax
    str ax
    movzx eax, ax
    mov [t_back_tr], eax

; JMP: not nested; B jumps back
    mov dword [b_todo], b_jump
    jmp SEL_B:0
    mov eax, [b_flags]
    and eax, EFLAGS_NT
    mov [t_jmp_nt], eax
    mov eax, [b_busy_a]
    mov [t_jmp_a_free], eax
    BUSY SEL_A, t_jmp_back_a_busy
    BUSY SEL_B, t_jmp_back_b_free

; INT through a task gate
    mov dword [b_todo], b_iret
    mov edi, 0x1d1d
    int GATE_INT
    mov [t_int_edi], edi
    mov eax, [b_count]
    mov [t_count], eax

; #NP with its error code on B's stack: B takes it off again before IRET
    mov dword [b_todo], b_iret_error
    mov ax, 0x80                        ; a descriptor that is not present
    mov fs, ax
.after_np:
    mov eax, [b_error]
    mov [t_error], eax

; A selector of a busy task; a TSS that is too small
    TRY32 .busy
    jmp SEL_A:0
.busy:
    TRAPPED32 t_busy
    TRY32 .short
    jmp SEL_SHORT:0
.short:
    TRAPPED32 t_short
    popad
    ret

; Task B: notes what it sees, then does what it is told, again and again.
global task_b
task_b:
    mov [b_ebx], ebx
    inc dword [b_count]
    str ax
    movzx eax, ax
    mov [b_tr], eax
    pushfd
    pop eax
    mov [b_flags], eax
    mov eax, cr0
    and eax, CR0_TS
    mov [b_ts], eax
    clts
    mov esi, [b_gdt]
    BUSY SEL_A, b_busy_a
    jmp [b_todo]
b_iret:
    iretd
    jmp task_b
b_jump:
    jmp SEL_A:0
    jmp task_b
b_iret_error:
    pop eax
    mov [b_error], eax
    mov edx, [b_link]                   ; past the instruction that faulted: two bytes
    add dword [edx + 32], 2
    iretd
    jmp task_b

section .bss
alignb 4
global b_gdt, b_link
b_gdt:  resd 1
b_link: resd 1                          ; A's TSS
b_todo: resd 1
b_ebx:  resd 1
b_tr:   resd 1
b_flags: resd 1
b_ts:   resd 1
b_busy_a: resd 1
b_count: resd 1
b_error: resd 1
    RESULT t_call_ebx
    RESULT t_call_b_ebx
    RESULT t_call_b_tr
    RESULT t_call_nt
    RESULT t_call_ts
    RESULT t_call_a_busy
    RESULT t_call_b_free
    RESULT t_back_nt
    RESULT t_back_tr
    RESULT t_jmp_nt
    RESULT t_jmp_a_free
    RESULT t_jmp_back_a_busy
    RESULT t_jmp_back_b_free
    RESULT t_int_edi
    RESULT t_count
    RESULT t_error
    RESULT t_busy
    RESULT t_short
