/*
 * Instructions that the CPU cannot carry out for us: accesses to device registers, string I/O.
 * The emulator does the work; here is what it reads and writes through.
 */
#include "emulate/emulate.h"
#include "lib/assert.h"
#include "lib/format.h"
#include "lib/string.h"
#include "machine/frame.h"
#include "vm/vm.h"
#include "vmx/vmcs.h"

/* One exit does at most so much of a REP instruction, so that interrupts get their turn. */
#define REP_LIMIT 1024

_Static_assert((int)EMU_R15 == (int)REG_R15, "the same numbering");
_Static_assert((int)EMU_GS == (int)SEG_GS, "the same numbering");

/* The emulator's context, and what we know of the access that led here. */
struct emulation {
    struct emu_ctx ctx;
    struct vcpu *vcpu;
    bool known;          /* the two pages below belong together */
    uint64_t known_page; /* linear page number of the device access */
    uint64_t known_gpa;  /* its guest-physical page number */
};

static struct emulation *emulation_of(struct emu_ctx *c)
{
    return container_of(c, struct emulation, ctx);
}

/* ------------------------------------------------------------------ memory */

static enum emu_result page_fault(struct emu_ctx *c, gva_t addr, uint32_t error)
{
    c->fault = (struct emu_fault){VECTOR_PF, true, error, addr.v};
    return EMU_FAULT;
}

static enum emu_result translate(struct emulation *e, gva_t addr, enum walk_access access,
                                 gpa_t *gpa)
{
    struct walk_fault fault;

    /* The CPU has walked this page already, with the rights that the access needs. */
    if (e->known && addr.v >> PAGE_SHIFT == e->known_page) {
        *gpa = GPA(e->known_gpa << PAGE_SHIFT | addr.v % PAGE_SIZE);
        return EMU_OK;
    }
    if (!walk_translate(e->vcpu, addr, access, false, gpa, &fault))
        return page_fault(&e->ctx, addr, fault.error);
    return EMU_OK;
}

static bool is_lapic_page(const struct vcpu *c, gpa_t gpa)
{
    return lapic_enabled(c->lapic) && !lapic_x2apic(c->lapic) &&
           gpa.v >> PAGE_SHIFT == c->lapic->base_msr >> PAGE_SHIFT;
}

/* Registers are 32 bits wide, 16 bytes apart; a part of one is read out of the whole. */
static uint64_t lapic_page_read(struct vcpu *c, unsigned offset, unsigned size)
{
    uint64_t v = lapic_read(c->lapic, offset & ~0xfu) >> 8 * (offset & 3);

    return (offset & 0xc) != 0 ? 0 : size >= 8 ? v : v & (BIT(8 * size) - 1);
}

uint64_t vm_device_read(struct vcpu *c, gpa_t gpa, unsigned size)
{
    uint64_t v;

    spin_lock(&c->vm->lock);
    if (is_lapic_page(c, gpa))
        v = lapic_page_read(c, gpa.v % PAGE_SIZE, size);
    else
        v = bus_memory_read(c->vm->machine.bus, gpa, size);
    spin_unlock(&c->vm->lock);
    return v;
}

void vm_device_write(struct vcpu *c, gpa_t gpa, unsigned size, uint64_t value)
{
    unsigned offset = gpa.v % PAGE_SIZE;

    spin_lock(&c->vm->lock);
    if (!is_lapic_page(c, gpa))
        bus_memory_write(c->vm->machine.bus, gpa, size, value);
    else if (offset % 16 == 0 && size >= 4)
        lapic_write(c->lapic, offset, (uint32_t)value);
    spin_unlock(&c->vm->lock);
}

/* The largest aligned power of two, at most 8, that fits. */
static unsigned device_unit(gpa_t gpa, unsigned n)
{
    unsigned unit = 8;

    while (unit > n || gpa.v % unit != 0)
        unit /= 2;
    return unit;
}

static void copy_from_device(struct vcpu *c, gpa_t gpa, uint8_t *data, unsigned n)
{
    while (n > 0) {
        unsigned unit = device_unit(gpa, n);
        uint64_t v = vm_device_read(c, gpa, unit);

        memcpy(data, &v, unit);
        gpa.v += unit;
        data += unit;
        n -= unit;
    }
}

static void copy_to_device(struct vcpu *c, gpa_t gpa, const uint8_t *data, unsigned n)
{
    while (n > 0) {
        unsigned unit = device_unit(gpa, n);
        uint64_t v = 0;

        memcpy(&v, data, unit);
        vm_device_write(c, gpa, unit, v);
        gpa.v += unit;
        data += unit;
        n -= unit;
    }
}

/* A piece of an access that lies within one page, translated. */
struct piece {
    gpa_t gpa;
    unsigned size;
    void *ram; /* NULL: a device */
};

#define MAX_PIECES 2

/* Where RAM, or for reading ROM, is; NULL: a device. */
static void *memory_pointer(struct vm *vm, gpa_t gpa, bool write)
{
    return write ? vm_pointer(vm, gpa) : (void *)vm_pointer_read(vm, gpa);
}

/* Translates the whole access before anything of it is done. write: what is about to happen. */
static enum emu_result pieces(struct emulation *e, gva_t addr, unsigned size,
                              enum walk_access access, bool write, struct piece p[MAX_PIECES],
                              unsigned *count)
{
    for (*count = 0; size > 0; ++*count) {
        struct piece *next = &p[*count];
        enum emu_result r = translate(e, addr, access, &next->gpa);

        if (r != EMU_OK)
            return r;
        next->size = MIN(size, (unsigned)(PAGE_SIZE - addr.v % PAGE_SIZE));
        next->ram = memory_pointer(e->vcpu->vm, next->gpa, write);
        addr.v += next->size;
        if (e->ctx.mode != EMU_LONG64)
            addr.v = (uint32_t)addr.v;
        size -= next->size;
    }
    return EMU_OK;
}

static enum emu_result op_read(struct emu_ctx *c, gva_t addr, void *data, unsigned size,
                               enum emu_access access)
{
    struct emulation *e = emulation_of(c);
    struct piece p[MAX_PIECES];
    unsigned count;
    enum emu_result r =
        pieces(e, addr, size, access == EMU_READ ? WALK_READ : WALK_WRITE, false, p, &count);

    if (r != EMU_OK)
        return r;
    for (unsigned i = 0; i < count; i++) {
        if (p[i].ram != NULL)
            memcpy(data, p[i].ram, p[i].size);
        else
            copy_from_device(e->vcpu, p[i].gpa, data, p[i].size);
        data = (uint8_t *)data + p[i].size;
    }
    return EMU_OK;
}

static enum emu_result op_write(struct emu_ctx *c, gva_t addr, const void *data, unsigned size)
{
    struct emulation *e = emulation_of(c);
    struct piece p[MAX_PIECES];
    unsigned count;
    enum emu_result r = pieces(e, addr, size, WALK_WRITE, true, p, &count);

    if (r != EMU_OK)
        return r;
    for (unsigned i = 0; i < count; i++) {
        if (p[i].ram != NULL)
            memcpy(p[i].ram, data, p[i].size);
        else
            copy_to_device(e->vcpu, p[i].gpa, data, p[i].size);
        data = (const uint8_t *)data + p[i].size;
    }
    return EMU_OK;
}

/* A compare and exchange in RAM, which other vCPUs use at the same time. */
static bool cmpxchg_ram(void *ram, const void *expected, const void *desired, unsigned size)
{
    uint64_t old = 0, new = 0;

    memcpy(&old, expected, MIN(size, 8u));
    memcpy(&new, desired, MIN(size, 8u));
    switch (size) {
    case 1: {
        uint8_t o = (uint8_t)old;
        return __atomic_compare_exchange_n((uint8_t *)ram, &o, (uint8_t) new, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    case 2: {
        uint16_t o = (uint16_t)old;
        return __atomic_compare_exchange_n((uint16_t *)ram, &o, (uint16_t) new, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    case 4: {
        uint32_t o = (uint32_t)old;
        return __atomic_compare_exchange_n((uint32_t *)ram, &o, (uint32_t) new, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    case 8:
        return __atomic_compare_exchange_n((uint64_t *)ram, &old, new, false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST);
    default: {
        const uint64_t *e = expected, *d = desired;
        uint64_t lo = e[0], hi = e[1];
        bool done;

        __asm__ volatile("lock cmpxchg16b %1"
                         : "=@ccz"(done), "+m"(*(char(*)[16])ram), "+a"(lo), "+d"(hi)
                         : "b"(d[0]), "c"(d[1]));
        return done;
    }
    }
}

static enum emu_result op_cmpxchg(struct emu_ctx *c, gva_t addr, const void *expected,
                                  const void *desired, unsigned size, bool *done)
{
    struct emulation *e = emulation_of(c);
    struct piece p[MAX_PIECES];
    unsigned count;
    enum emu_result r = pieces(e, addr, size, WALK_WRITE, true, p, &count);

    if (r != EMU_OK)
        return r;
    if (count == 1 && p[0].ram != NULL && p[0].gpa.v % size == 0) {
        *done = cmpxchg_ram(p[0].ram, expected, desired, size);
        return EMU_OK;
    }
    /*
     * A device register, or an operand across pages: no bus lock there. The emulator has just
     * read it, and reading a device twice could change it.
     */
    *done = true;
    return op_write(c, addr, desired, size);
}

static enum emu_result op_probe(struct emu_ctx *c, gva_t addr, unsigned size,
                                enum emu_access access)
{
    struct piece p[MAX_PIECES];
    unsigned count;

    return pieces(emulation_of(c), addr, size, access == EMU_READ ? WALK_READ : WALK_WRITE,
                  access != EMU_READ, p, &count);
}

/* ------------------------------------------------------------------ ports and vectors */

static enum emu_result op_in(struct emu_ctx *c, uint16_t port, unsigned size, uint32_t *value)
{
    *value = vm_client.port_read(&emulation_of(c)->vcpu->vmx, port, size) &
             (UINT32_MAX >> (32 - 8 * size));
    return EMU_OK;
}

static enum emu_result op_out(struct emu_ctx *c, uint16_t port, unsigned size, uint32_t value)
{
    vm_client.port_write(&emulation_of(c)->vcpu->vmx, port, size, value);
    return EMU_OK;
}

static enum emu_result op_vector_get(struct emu_ctx *c, unsigned n, void *data, unsigned size)
{
    return vmx_vector_get(&emulation_of(c)->vcpu->vmx, n, data, size) ? EMU_OK : EMU_UNSUPPORTED;
}

static enum emu_result op_vector_set(struct emu_ctx *c, unsigned n, const void *data, unsigned size,
                                     bool clear_upper)
{
    return vmx_vector_set(&emulation_of(c)->vcpu->vmx, n, data, size, clear_upper)
               ? EMU_OK
               : EMU_UNSUPPORTED;
}

static const struct emu_ops ops = {
    .read = op_read,
    .write = op_write,
    .cmpxchg = op_cmpxchg,
    .in = op_in,
    .out = op_out,
    .vector_get = op_vector_get,
    .vector_set = op_vector_set,
    .probe = op_probe,
};

/* ------------------------------------------------------------------ context */

static enum emu_mode mode_of(const struct vmx_vcpu *v, uint32_t cs_access, uint64_t rflags)
{
    if (!(vmx_cr0(v) & CR0_PE))
        return EMU_REAL;
    if (rflags & RFLAGS_VM)
        return EMU_V86;
    if ((cs_access & ACCESS_LONG) && (vmx_efer(v) & EFER_LMA))
        return EMU_LONG64;
    return cs_access & ACCESS_DB ? EMU_PROT32 : EMU_PROT16;
}

static void load_segment(struct emulation *e, unsigned i)
{
    struct vmx_segment s = vmx_segment(&e->vcpu->vmx, i);

    e->ctx.seg[i] = (struct emu_segment){s.base, s.limit, s.access, s.selector};
}

static void load_context(struct emulation *e)
{
    struct vmx_vcpu *v = &e->vcpu->vmx;
    struct emu_ctx *c = &e->ctx;

    c->ops = &ops;
    memcpy(c->regs, v->regs, sizeof(c->regs));
    c->regs[EMU_RSP] = vmx_reg(v, REG_RSP);
    c->rip = vmx_rip(v);
    c->rflags = vmx_rflags(v);
    for (unsigned i = 0; i < EMU_NR_SEGS; i++)
        load_segment(e, i);
    c->mode = mode_of(v, c->seg[EMU_CS].access, c->rflags);
    c->cpl = vmx_cpl(v);
    c->wp_alignment = c->cpl == 3 && (c->rflags & RFLAGS_AC) && (vmx_cr0(v) & CR0_AM);
    c->rep_limit = REP_LIMIT;
    c->need_more = false;
}

static void store_registers(struct emulation *e)
{
    struct vmx_vcpu *v = &e->vcpu->vmx;
    uint64_t rsp = e->ctx.regs[EMU_RSP];

    memcpy(v->regs, e->ctx.regs, sizeof(v->regs));
    if (rsp != vmx_reg(v, REG_RSP))
        vmx_set_reg(v, REG_RSP, rsp);
}

/* The instruction's bytes; fewer than asked for where a page is not there. Faults are the CPU's. */
static unsigned fetch(struct emulation *e, uint8_t bytes[EMU_MAX_INSN], bool *faulted)
{
    gva_t addr = GVA(e->ctx.rip);
    unsigned done = 0;

    *faulted = false;
    if (e->ctx.mode != EMU_LONG64)
        addr = GVA((uint32_t)(e->ctx.seg[EMU_CS].base + e->ctx.rip));
    while (done < EMU_MAX_INSN) {
        unsigned part = MIN(EMU_MAX_INSN - done, (unsigned)(PAGE_SIZE - addr.v % PAGE_SIZE));
        struct walk_fault fault;
        gpa_t gpa;
        const void *ram;

        if (!walk_translate(e->vcpu, addr, WALK_FETCH, false, &gpa, &fault)) {
            if (done == 0) {
                page_fault(&e->ctx, addr, fault.error);
                *faulted = true;
            }
            break;
        }
        ram = vm_pointer_read(e->vcpu->vm, gpa);
        if (ram != NULL)
            memcpy(bytes + done, ram, part);
        else
            copy_from_device(e->vcpu, gpa, bytes + done, part);
        done += part;
        addr.v += part;
    }
    return done;
}

static void inject_fault(struct vcpu *c, const struct emu_fault *f)
{
    if (f->vector == VECTOR_PF)
        vmx_inject_page_fault(&c->vmx, f->cr2, f->error);
    else if (f->has_error)
        vmx_inject_exception_error(&c->vmx, f->vector, f->error);
    else
        vmx_inject_exception(&c->vmx, f->vector);
}

/* Cut off at the end of a page that the next one does not follow: that one's fault comes first. */
static void fetch_fault(struct emulation *e, unsigned len)
{
    gva_t next = GVA(e->ctx.rip + len);
    struct walk_fault fault;
    gpa_t gpa;

    if (e->ctx.mode != EMU_LONG64)
        next = GVA((uint32_t)(e->ctx.seg[EMU_CS].base + e->ctx.rip + len));
    if (walk_translate(e->vcpu, next, WALK_FETCH, false, &gpa, &fault))
        return; /* another vCPU has mapped it meanwhile: once more */
    page_fault(&e->ctx, next, fault.error);
    inject_fault(e->vcpu, &e->ctx.fault);
}

static void unsupported(struct emulation *e, const uint8_t *bytes, unsigned len)
{
    char text[3 * EMU_MAX_INSN + 1] = "", why[112];

    for (unsigned i = 0; i < len; i++)
        format_text(text + 3 * i, 4, " %02x", bytes[i]);
    format_text(why, sizeof(why), "an instruction on a device that is not emulated:%s", text);
    vm_crash(e->vcpu, why);
}

void emulation_run(struct vcpu *c, const gpa_t *gpa)
{
    struct emulation e = {.vcpu = c};
    uint8_t bytes[EMU_MAX_INSN];
    bool faulted;
    unsigned len;

    load_context(&e);
    if (gpa != NULL) {
        e.known = true;
        e.known_page = vmread(VMCS_GUEST_LINEAR_ADDRESS) >> PAGE_SHIFT;
        e.known_gpa = gpa->v >> PAGE_SHIFT;
    }
    len = fetch(&e, bytes, &faulted);
    if (faulted) {
        inject_fault(c, &e.ctx.fault);
        return;
    }
    switch (emu_step(&e.ctx, bytes, len)) {
    case EMU_OK:
        store_registers(&e);
        vmx_set_rflags(&c->vmx, e.ctx.rflags);
        vmx_finish(&c->vmx, e.ctx.rip, e.ctx.rflags);
        break;
    case EMU_FAULT:
        /* A REP instruction has got as far as its registers say. */
        store_registers(&e);
        inject_fault(c, &e.ctx.fault);
        break;
    case EMU_RETRY:
        break;
    case EMU_UNSUPPORTED:
        if (e.ctx.need_more)
            fetch_fault(&e, len);
        else
            unsupported(&e, bytes, len);
    }
}
