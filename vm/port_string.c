/*
 * INS and OUTS, as drivers use them for blocks of data: the CPU says where the memory is (SDM vol.
 * 3 section 28.2.1, guest-linear address, and table 28-8, instruction information), so as many
 * elements as lie in one page are moved at once. What is unusual goes to the emulator.
 */
#include "machine/frame.h"
#include "vm/vm.h"
#include "vmx/caps.h"
#include "vmx/vmcs.h"

/* So many elements go in one exit, so that interrupts get their turn. */
#define MAX_ELEMENTS 1024

/* VM-exit instruction information of INS and OUTS. */
#define INFO_ADDRESS_SIZE(i) ((i) >> 7 & 7) /* 0: 16 bits, 1: 32, 2: 64 */
#define INFO_SEGMENT(i)      ((i) >> 15 & 7)

/* Access rights of a segment. */
#define TYPE_WRITABLE    BIT(1) /* of data; of code: readable */
#define TYPE_EXPAND_DOWN BIT(2) /* of data */
#define TYPE_CODE        BIT(3)

struct block {
    const struct vmx_io *io;
    uint64_t mask;      /* of the address size */
    enum vmx_reg index; /* RDI or RSI */
    uint64_t count;     /* elements wanted, and then those that are moved now */
    gva_t linear;
};

static uint64_t address_mask(uint32_t info)
{
    return INFO_ADDRESS_SIZE(info) == 2   ? UINT64_MAX
           : INFO_ADDRESS_SIZE(info) == 1 ? UINT32_MAX
                                          : UINT16_MAX;
}

static bool canonical(gva_t a)
{
    return (uint64_t)((int64_t)(a.v << 16) >> 16) == a.v;
}

/* Whether a segment lets the whole block pass; false also for what is rare. */
static bool segment_allows(const struct vmx_vcpu *v, const struct block *b, enum vmx_seg n)
{
    struct vmx_segment s = vmx_segment(v, n);
    uint64_t offset = v->regs[b->index] & b->mask;

    if ((s.access & ACCESS_UNUSABLE) || offset + b->count * b->io->size - 1 > s.limit)
        return false;
    if (b->io->in)
        return (s.access & (TYPE_CODE | TYPE_EXPAND_DOWN | TYPE_WRITABLE)) == TYPE_WRITABLE;
    return s.access & TYPE_CODE ? s.access & TYPE_WRITABLE : !(s.access & TYPE_EXPAND_DOWN);
}

/* Cuts the block to the page that it begins in; false when not even one element lies in it. */
static bool within_page(struct block *b)
{
    uint64_t left = (PAGE_SIZE - b->linear.v % PAGE_SIZE) / b->io->size;

    b->count = MIN(MIN(b->count, left), (uint64_t)MAX_ELEMENTS);
    return b->count > 0;
}

static bool block_of(const struct vcpu *c, const struct vmx_io *io, struct block *b)
{
    const struct vmx_vcpu *v = &c->vmx;
    uint32_t info = vmread(VMCS_EXIT_INSTRUCTION_INFO);

    b->io = io;
    b->mask = address_mask(info);
    b->index = io->in ? REG_RDI : REG_RSI;
    b->count = io->rep ? v->regs[REG_RCX] & b->mask : 1;
    b->linear = GVA(vmread(VMCS_GUEST_LINEAR_ADDRESS));
    if (!within_page(b))
        return false;
    if (v->long_mode && (vmread(VMCS_GUEST_CS_ACCESS) & ACCESS_LONG))
        return canonical(b->linear);
    return segment_allows(v, b, io->in ? SEG_ES : (enum vmx_seg)INFO_SEGMENT(info));
}

static void move_in(struct vm *vm, const struct block *b, uint8_t *to)
{
    unsigned size = b->io->size;

    for (uint64_t n = 0; n < b->count; n++, to += size) {
        uint32_t value = vm_port_read(vm, b->io->port, size);

        if (size == 1)
            *to = (uint8_t)value;
        else if (size == 2)
            *(uint16_t *)to = (uint16_t)value;
        else
            *(uint32_t *)to = value;
    }
}

static void move_out(struct vm *vm, const struct block *b, const uint8_t *from)
{
    unsigned size = b->io->size;

    for (uint64_t n = 0; n < b->count; n++, from += size)
        vm_port_write(vm, b->io->port, size,
                      size == 1   ? *from
                      : size == 2 ? *(const uint16_t *)from
                                  : *(const uint32_t *)from);
}

/* As the address size says: 16 bits leave the rest of the register, 32 clear its upper half. */
static void add_to_register(struct vmx_vcpu *v, enum vmx_reg n, uint64_t mask, uint64_t value)
{
    uint64_t sum = (v->regs[n] + value) & mask;

    v->regs[n] = mask == UINT16_MAX ? (v->regs[n] & ~mask) | sum : sum;
}

bool port_string_run(struct vcpu *c, const struct vmx_io *io)
{
    struct vmx_vcpu *v = &c->vmx;
    struct walk_fault fault;
    struct block b;
    uint8_t *memory;
    gpa_t gpa;

    if (!vmx_caps.string_io_info || v->io_breakpoints ||
        (vmx_rflags(v) & (RFLAGS_DF | RFLAGS_TF | RFLAGS_AC)) || !block_of(c, io, &b) ||
        !walk_translate(c, b.linear, io->in ? WALK_WRITE : WALK_READ, false, &gpa, &fault))
        return false;
    memory = vm_pointer(c->vm, gpa);
    if (memory == NULL)
        return false;
    spin_lock(&c->vm->lock);
    if (io->in)
        move_in(c->vm, &b, memory);
    else
        move_out(c->vm, &b, memory);
    spin_unlock(&c->vm->lock);
    add_to_register(v, b.index, b.mask, b.count * io->size);
    if (io->rep)
        add_to_register(v, REG_RCX, b.mask, -b.count);
    if (!io->rep || (v->regs[REG_RCX] & b.mask) == 0)
        vmx_skip(v);
    return true;
}
