/* Accesses to device registers by MOV, in short. */
#include "vm/device_mov.h"

#include "emulate/decode.h"
#include "lib/string.h"
#include "vm/vm.h"
#include "vmx/vmcs.h"

#define PTE_PRESENT BIT(0)
#define PTE_LARGE   BIT(7)
#define PTE_ADDR    0x000ffffffffff000ull
#define LEVELS      4

/* Firmware's memory is mapped anew as it likes; code there goes the long way. */
#define LOWEST_CODE MIB(1)

enum mov_kind {
    MOV_LOAD,
    MOV_LOAD_SIGNED,
    MOV_LOAD_HIGH,
    MOV_STORE,
    MOV_STORE_HIGH,
    MOV_STORE_IMM
};

/* ------------------------------------------------------------------ finding the instruction */

/* Four-level paging and a code segment with the L bit. */
static inline bool long_mode(const struct vcpu *c)
{
    return c->vmx.long_mode && (vmread(VMCS_GUEST_CS_ACCESS) & ACCESS_LONG);
}

/* Whether what was decoded is still what is at RIP. */
static inline bool still_there(const struct vcpu *c, const struct mov_site *s, uint64_t rip)
{
    if (unlikely(s->rip != rip) || unlikely(s->generation != c->vm->ept.generation) ||
        unlikely(s->cr3 != vmread(VMCS_GUEST_CR3)) || unlikely(!long_mode(c)))
        return false;
    return likely(s->code[0] == s->bytes[0]) && likely(s->code[1] == s->bytes[1]) &&
           likely(*s->slot[0] == s->entry[0]) && likely(*s->slot[1] == s->entry[1]) &&
           likely(*s->slot[2] == s->entry[2]) && likely(*s->slot[3] == s->entry[3]);
}

/* One entry on the way, for its own level and, as it may be the last one, for those below. */
static bool note_entry(struct mov_site *s, unsigned level, const uint64_t *slot)
{
    uint64_t entry = slot == NULL ? 0 : __atomic_load_n(slot, __ATOMIC_RELAXED);

    for (unsigned i = 0; i <= level; i++) {
        s->slot[i] = slot;
        s->entry[i] = entry;
    }
    return entry & PTE_PRESENT;
}

/* The way to the code at rip, noted in the site. False: it is not an ordinary one. */
static bool walk_to_code(struct vcpu *c, struct mov_site *s, uint64_t rip)
{
    uint64_t table = s->cr3 & PTE_ADDR, within;

    for (unsigned level = LEVELS - 1;; level--) {
        unsigned shift = PAGE_SHIFT + 9 * level;

        if (table < LOWEST_CODE ||
            !note_entry(s, level, vm_pointer(c->vm, GPA(table + (rip >> shift & 511) * 8))))
            return false;
        table = s->entry[level] & PTE_ADDR;
        if (level > 0 && (level > 2 || !(s->entry[level] & PTE_LARGE)))
            continue;
        within = BIT(shift) - 1;
        table = (table & ~within) | (rip & within);
        s->code = table < LOWEST_CODE ? NULL : vm_pointer(c->vm, GPA(table));
        return s->code != NULL;
    }
}

static bool is_register(const struct emu_operand *o)
{
    return (o->kind == EMU_OPERAND_REG && o->reg != EMU_RSP) || o->kind == EMU_OPERAND_REG_HIGH;
}

static bool note_load(struct mov_site *s, const struct emu_insn *i)
{
    if (!is_register(&i->dst) || i->src.kind != EMU_OPERAND_MEM)
        return false;
    s->kind = i->dst.kind == EMU_OPERAND_REG_HIGH ? MOV_LOAD_HIGH
              : i->op == EMU_OP_MOVSX             ? MOV_LOAD_SIGNED
                                                  : MOV_LOAD;
    s->size = i->src.size;
    s->width = i->dst.size;
    s->reg = i->dst.reg;
    return true;
}

static bool note_store(struct mov_site *s, const struct emu_insn *i)
{
    if (i->dst.kind != EMU_OPERAND_MEM || i->op != EMU_OP_MOV)
        return false;
    s->size = i->dst.size;
    s->imm = (uint64_t)i->imm;
    s->reg = i->src.kind == EMU_OPERAND_IMM ? 0 : i->src.reg;
    s->kind = i->src.kind == EMU_OPERAND_IMM        ? MOV_STORE_IMM
              : i->src.kind == EMU_OPERAND_REG_HIGH ? MOV_STORE_HIGH
                                                    : MOV_STORE;
    return s->kind == MOV_STORE_IMM || is_register(&i->src);
}

static bool note_instruction(struct mov_site *s)
{
    struct emu_insn i;

    memcpy(s->bytes, s->code, sizeof(s->bytes));
    if (emu_decode(EMU_LONG64, (const uint8_t *)s->bytes, EMU_MAX_INSN, &i) != EMU_DECODED ||
        (i.op != EMU_OP_MOV && i.op != EMU_OP_MOVZX && i.op != EMU_OP_MOVSX) ||
        (i.prefixes & ~EMU_PREFIX_OPSIZE))
        return false;
    s->length = i.len;
    return note_load(s, &i) || note_store(s, &i);
}

/* The instruction and what is compared of it must lie within one page. */
static bool learn(struct vcpu *c, struct mov_site *s, uint64_t rip)
{
    s->rip = UINT64_MAX; /* empty: not canonical */
    if (!long_mode(c) || rip % PAGE_SIZE > PAGE_SIZE - sizeof(s->bytes))
        return false;
    s->generation = c->vm->ept.generation;
    s->cr3 = vmread(VMCS_GUEST_CR3);
    if (!walk_to_code(c, s, rip) || !note_instruction(s))
        return false;
    s->rip = rip;
    return true;
}

/* ------------------------------------------------------------------ doing it */

static inline uint64_t sign_extended(uint64_t value, unsigned size)
{
    unsigned shift = 64 - 8 * size;

    return (uint64_t)((int64_t)(value << shift) >> shift);
}

/* As with any register write, 32 bits clear the upper half, fewer leave the rest. */
static inline void set_register(struct vcpu *c, const struct mov_site *s, uint64_t value)
{
    uint64_t *reg = &c->vmx.regs[s->reg];

    if (s->kind == MOV_LOAD_HIGH)
        ((uint8_t *)reg)[1] = (uint8_t)value;
    else if (likely(s->width == 4))
        *reg = (uint32_t)value;
    else if (s->width == 8)
        *reg = value;
    else if (s->width == 2)
        *(uint16_t *)reg = (uint16_t)value;
    else
        *(uint8_t *)reg = (uint8_t)value;
}

static inline void loaded(struct vcpu *c, const struct mov_site *s, uint64_t value)
{
    set_register(c, s, s->kind == MOV_LOAD_SIGNED ? sign_extended(value, s->size) : value);
}

static inline uint64_t to_store(const struct vcpu *c, const struct mov_site *s)
{
    uint64_t value = c->vmx.regs[s->reg];

    if (s->kind == MOV_STORE_IMM)
        value = s->imm;
    else if (s->kind == MOV_STORE_HIGH)
        value >>= 8;
    return value & (UINT64_MAX >> (64 - 8 * s->size));
}

static inline void go_on(struct vcpu *c, uint64_t next)
{
    uint64_t rflags = vmx_rflags(&c->vmx);

    if (unlikely(rflags & RFLAGS_RF))
        vmx_set_rflags(&c->vmx, rflags & ~RFLAGS_RF);
    vmx_finish(&c->vmx, next, rflags);
}

/* The instruction at rip, if it is one of ours and goes to a naturally aligned register. */
static inline const struct mov_site *find_site(struct vcpu *c, uint64_t rip, uint64_t address,
                                               uint32_t registers)
{
    struct mov_site *s = &c->mov_sites[rip % MOV_SITES];

    if (unlikely(!still_there(c, s, rip)) && !learn(c, s, rip))
        return NULL;
    return likely(registers & BIT(s->reg)) && likely((address & (s->size - 1u)) == 0) ? s : NULL;
}

bool device_mov(struct vcpu *c, gpa_t gpa, uint32_t registers)
{
    uint64_t rip = vmread(VMCS_GUEST_RIP);
    const struct mov_site *s = find_site(c, rip, gpa.v, registers);

    if (unlikely(s == NULL))
        return false;
    if (s->kind < MOV_STORE)
        loaded(c, s, vm_device_read(c, gpa, s->size));
    else
        vm_device_write(c, gpa, s->size, to_store(c, s));
    go_on(c, rip + s->length);
    return true;
}

/* What nearly all accesses are: one whole register. Reading one's own APIC needs no lock. */
bool device_mov_apic(struct vcpu *c, unsigned offset, uint32_t registers)
{
    uint64_t rip = vmread(VMCS_GUEST_RIP);
    const struct mov_site *s = find_site(c, rip, offset, registers);

    if (unlikely(s == NULL) || s->size != 4)
        return false;
    if (s->kind < MOV_STORE)
        loaded(c, s, offset % 16 == 0 ? lapic_read(c->lapic, offset) : 0);
    else
        vm_device_write(c, GPA(GUEST_LAPIC_BASE + offset), 4, to_store(c, s));
    go_on(c, rip + s->length);
    return true;
}
