/*
 * The guest's x87, SSE, AVX and AVX-512 state. The hypervisor uses none of it, so it stays in the
 * registers from exit to exit and moves only when a CPU changes its vCPU. Source: SDM vol. 1
 * chapter 13.
 */
#include "lib/assert.h"
#include "lib/string.h"
#include "machine/frame.h"
#include "vmx/internal.h"

#define CPUID_1_ECX_XSAVE BIT(26)

#define XSTATE_X87       BIT(0)
#define XSTATE_SSE       BIT(1)
#define XSTATE_AVX       BIT(2)
#define XSTATE_ZMM_UPPER BIT(6)
#define XSTATE_ZMM_HIGH  BIT(7)

/* Offsets in the legacy area. */
#define LEGACY_FCW   0
#define LEGACY_MXCSR 24
#define LEGACY_XMM   160
#define LEGACY_SIZE  512
#define XSTATE_BV    512

#define FCW_RESET   0x40
#define MXCSR_RESET 0x1f80

static bool has_xsave(void)
{
    return cpuid(1, 0).ecx & CPUID_1_ECX_XSAVE;
}

static unsigned area_order(void)
{
    size_t size = has_xsave() ? cpuid(0xd, 0).ecx : LEGACY_SIZE;
    unsigned order = 0;

    while ((PAGE_SIZE << order) < size)
        order++;
    return order;
}

void fpu_destroy(struct vmx_vcpu *v)
{
    if (v->xsave != NULL)
        frame_free(hpa_mpn(ptr_hpa(v->xsave)), area_order());
}

/*
 * What a guest has never enabled in XCR0 is in its initial state while it runs: so it need not be
 * saved, and nobody else's is left there. x87 and SSE need no XCR0.
 */
#define COMPONENTS_LEGACY (XSTATE_X87 | XSTATE_SSE)

static void set_xcr0(struct vmx_registers *r, uint64_t xcr0)
{
    if (likely(r->xcr0 == xcr0))
        return;
    r->xcr0 = xcr0;
    xsetbv(0, xcr0);
}

/* Leaves XCR0 with all that the guest has ever enabled, which may be more than it has now. */
void fpu_switch_out(struct vmx_vcpu *v, struct vmx_registers *r)
{
    if (v->components == COMPONENTS_LEGACY) {
        __asm__ volatile("fxsave64 (%0)" ::"r"(v->xsave) : "memory");
        return;
    }
    set_xcr0(r, v->components);
    __asm__ volatile("xsave64 (%0)" ::"r"(v->xsave), "a"(-1), "d"(-1) : "memory");
}

/* What the last guest has used and this one has not goes back to its initial state. */
void fpu_switch_in(struct vmx_vcpu *v, struct vmx_registers *r)
{
    uint64_t components = v->components | r->components;

    if (components == COMPONENTS_LEGACY) {
        __asm__ volatile("fxrstor64 (%0)" ::"r"(v->xsave) : "memory");
    } else {
        set_xcr0(r, components);
        __asm__ volatile("xrstor64 (%0)" ::"r"(v->xsave), "a"(-1), "d"(-1) : "memory");
        r->components = v->components;
    }
    set_xcr0(r, v->xcr0);
}

void fpu_set_xcr0(struct vmx_vcpu *v, uint64_t xcr0)
{
    struct vmx_registers *r = switch_registers();

    v->xcr0 = xcr0;
    v->components |= xcr0;
    r->components |= xcr0;
    set_xcr0(r, xcr0);
}

/* All VMs are offered the same components. */
void fpu_learn(const struct vmx_vcpu *v, struct vmx_registers *r)
{
    r->xcr0 = has_xsave() ? xgetbv(0) : XSTATE_X87;
    r->components = has_xsave() ? cpuid_xcr0_allowed(v->vm) | COMPONENTS_LEGACY : COMPONENTS_LEGACY;
}

void fpu_reset(struct vmx_vcpu *v)
{
    uint8_t *area = v->xsave;

    memset(area, 0, PAGE_SIZE << area_order());
    *(uint16_t *)(area + LEGACY_FCW) = FCW_RESET;
    *(uint32_t *)(area + LEGACY_MXCSR) = MXCSR_RESET;
    if (has_xsave())
        *(uint64_t *)(area + XSTATE_BV) = COMPONENTS_LEGACY; /* as written here, or by FXSAVE */
    v->xcr0 = XSTATE_X87;
    v->components = COMPONENTS_LEGACY;
    if (v->current)
        fpu_switch_in(v, switch_registers());
}

int fpu_init(struct vmx_vcpu *v)
{
    mpn_t area = frame_alloc(area_order(), FRAME_HYPERVISOR, FRAME_ZERO);

    if (mpn_is_none(area))
        return E_NOMEM;
    v->xsave = mpn_ptr(area);
    fpu_reset(v);
    return 0;
}

/* One piece of a vector register: which state component holds it, and where. */
struct piece {
    uint64_t component;
    unsigned offset, size;
};

static unsigned component_offset(unsigned n)
{
    return cpuid(0xd, n).ebx;
}

/* The pieces of register n, low to high; returns how many of them there are on this CPU. */
static unsigned vector_pieces(unsigned n, struct piece p[3])
{
    if (n >= 16) {
        p[0] = (struct piece){XSTATE_ZMM_HIGH, component_offset(7) + 64 * (n - 16), 64};
        return 1;
    }
    p[0] = (struct piece){XSTATE_SSE, LEGACY_XMM + 16 * n, 16};
    p[1] = (struct piece){XSTATE_AVX, component_offset(2) + 16 * n, 16};
    p[2] = (struct piece){XSTATE_ZMM_UPPER, component_offset(6) + 32 * n, 32};
    return 3;
}

static void save(struct vmx_vcpu *v)
{
    struct vmx_registers *r = switch_registers();

    fpu_switch_out(v, r);
    set_xcr0(r, v->xcr0);
}

bool vmx_vector_get(struct vmx_vcpu *v, unsigned n, void *data, unsigned size)
{
    struct piece p[3];
    unsigned count = vector_pieces(n, p), done = 0;

    save(v);
    for (unsigned i = 0; i < count && done < size; i++) {
        unsigned part = MIN(size - done, p[i].size);

        if (p[i].component != XSTATE_SSE && !(v->xcr0 & p[i].component))
            return false;
        memcpy((uint8_t *)data + done, (uint8_t *)v->xsave + p[i].offset, part);
        done += part;
    }
    return done == size;
}

bool vmx_vector_set(struct vmx_vcpu *v, unsigned n, const void *data, unsigned size,
                    bool clear_upper)
{
    struct piece p[3];
    unsigned count = vector_pieces(n, p), done = 0;
    uint8_t *area = v->xsave;
    uint64_t touched = 0;

    save(v);
    for (unsigned i = 0; i < count; i++) {
        unsigned part = MIN(size - done, p[i].size);

        if (p[i].component != XSTATE_SSE && !(v->xcr0 & p[i].component)) {
            if (part > 0)
                return false;
            continue;
        }
        memcpy(area + p[i].offset, (const uint8_t *)data + done, part);
        if (clear_upper)
            memset(area + p[i].offset + part, 0, p[i].size - part);
        touched |= p[i].component;
        done += part;
    }
    if (has_xsave())
        *(uint64_t *)(area + XSTATE_BV) |= touched;
    fpu_switch_in(v, switch_registers());
    return true;
}
