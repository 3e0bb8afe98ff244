; Interrupt windows: where exactly an interrupt that is pending comes in. Each routine is called
; with interrupts off and one pending; the handler notes the RIP that was interrupted.

bits 64
section .text
global window_sti, window_sti_at
window_sti:
    sti
    nop                                 ; in the shadow of STI
window_sti_at:
    nop
    cli
    ret

global window_sti_cli
window_sti_cli:
    sti
    cli                                 ; never open
    nop
    ret

global window_mov_ss, window_mov_ss_at
window_mov_ss:
    mov eax, ss
    pushfq
    or qword [rsp], 0x200
    mov ecx, eax
    popfq                               ; opens at once: no shadow
window_mov_ss_at:
    nop
    cli
    ret

global window_sti_twice, window_sti_twice_at
window_sti_twice:
    sti
    sti                                 ; the second one shadows nothing more
window_sti_twice_at:
    nop
    cli
    ret

global window_hlt, window_hlt_at
window_hlt:
    sti
    hlt
window_hlt_at:
    cli
    ret

; MOV SS after STI is two shadows one after another: only the first holds for sure
global window_sti_mov_ss
window_sti_mov_ss:
    mov eax, ss
    sti
    mov ss, eax
    nop
    nop
    cli
    ret

; void window_hlt_only(void): interrupts stay off; only an NMI gets out
global window_hlt_only, window_hlt_only_at
window_hlt_only:
    hlt
window_hlt_only_at:
    ret

; CPUID and IN in the shadow: they exit, and the shadow must outlive neither less nor more
global window_sti_cpuid, window_sti_cpuid_at
window_sti_cpuid:
    push rbx
    xor eax, eax
    xor ecx, ecx
    sti
    cpuid
window_sti_cpuid_at:
    nop
    cli
    pop rbx
    ret

global window_sti_in, window_sti_in_at
window_sti_in:
    sti
    in al, 0x80
window_sti_in_at:
    nop
    cli
    ret
