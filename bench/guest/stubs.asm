; Interrupt handlers that do what is measured and no more.

bits 64

MSR_X2APIC_EOI equ 0x80b
XAPIC_EOI      equ 0xfee000b0
PIC_COMMAND    equ 0x20
PIC_EOI        equ 0x20

extern bench_arrived

section .text

global stub_return
stub_return:
    iretq

global stub_skip_two
stub_skip_two:
    add qword [rsp], 2
    iretq

global stub_skip_two_error
stub_skip_two_error:
    add rsp, 8
    add qword [rsp], 2
    iretq

global stub_arrived_xapic
stub_arrived_xapic:
    push rax
    mov byte [bench_arrived], 1
    mov eax, XAPIC_EOI
    mov dword [rax], 0
    pop rax
    iretq

%macro eoi_x2apic 0
    mov ecx, MSR_X2APIC_EOI
    xor eax, eax
    xor edx, edx
    wrmsr
%endmacro

global stub_arrived_x2apic
stub_arrived_x2apic:
    push rax
    push rcx
    push rdx
    mov byte [bench_arrived], 1
    eoi_x2apic
    pop rdx
    pop rcx
    pop rax
    iretq

; The time comes before anything else.
%macro note_time 0
    push rax
    push rdx
    rdtsc
    shl rdx, 32
    or rax, rdx
    mov [timers_fired], rax
%endmacro

global stub_timer_x2apic
stub_timer_x2apic:
    note_time
    push rcx
    eoi_x2apic
    pop rcx
    pop rdx
    pop rax
    iretq

global stub_timer_pic
stub_timer_pic:
    note_time
    mov al, PIC_EOI
    out PIC_COMMAND, al
    pop rdx
    pop rax
    iretq

; Until timers_fired is not 0; timers_last is then the time of the last round before it.
global timers_spin
timers_spin:
    rdtsc
    shl rdx, 32
    or rax, rdx
    cmp qword [timers_fired], 0
    jne .end
    mov [timers_last], rax
    jmp timers_spin
.end:
    ret

section .bss
alignb 8
global timers_fired, timers_last
timers_fired: resq 1
timers_last:  resq 1
