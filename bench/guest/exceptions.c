/* Exceptions that the guest handles itself: no business of a hypervisor's. */
#include "bench.h"

#define VEC_SOFTWARE 0x80

/* stubs.asm: return behind the instruction, which has two bytes. */
void stub_skip_two(void);
void stub_skip_two_error(void);
void stub_return(void);

/* Behind the last page that boot.asm maps, and not in a hole of the address space. */
#define OPS(X)                                                 \
    X(own_ud, "", "ud2")                                       \
    X(own_page_fault, "mov rbx, 0x200000000", "mov al, [rbx]") \
    X(own_int_80, "", "int 0x80")

OPS(BENCH_DEFINE)

static const struct bench_op ops[] = {OPS(BENCH_ENTRY)};

void bench_exception(void)
{
    bench_set_stub(VEC_UD, stub_skip_two);
    bench_set_stub(VEC_PF, stub_skip_two_error);
    bench_set_stub(VEC_SOFTWARE, stub_return);
    bench_run(ops, ARRAY_SIZE(ops));
    trap_set_gate(VEC_UD, 0, 0);
    trap_set_gate(VEC_PF, 0, 0);
}
