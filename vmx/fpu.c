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

static void save(struct vmx_vcpu *v)
{
    if (has_xsave())
        __asm__ volatile("xsave64 (%0)" ::"r"(v->xsave), "a"(-1), "d"(-1) : "memory");
    else
        __asm__ volatile("fxsave64 (%0)" ::"r"(v->xsave) : "memory");
}

static void restore(struct vmx_vcpu *v)
{
    if (has_xsave())
        __asm__ volatile("xrstor64 (%0)" ::"r"(v->xsave), "a"(-1), "d"(-1) : "memory");
    else
        __asm__ volatile("fxrstor64 (%0)" ::"r"(v->xsave) : "memory");
}

/*
 * All components that a guest could ever have used are moved, not only those enabled at the
 * moment: it may turn one off and on again.
 */
static void enable_all(struct vmx_vcpu *v)
{
    if (has_xsave())
        xsetbv(0, cpuid_xcr0_allowed(v->vm));
}

void fpu_switch_in(struct vmx_vcpu *v)
{
    enable_all(v);
    restore(v);
    if (has_xsave())
        xsetbv(0, v->xcr0);
}

void fpu_switch_out(struct vmx_vcpu *v)
{
    enable_all(v);
    save(v);
}

void fpu_reset(struct vmx_vcpu *v)
{
    uint8_t *area = v->xsave;

    memset(area, 0, PAGE_SIZE << area_order());
    *(uint16_t *)(area + LEGACY_FCW) = FCW_RESET;
    *(uint32_t *)(area + LEGACY_MXCSR) = MXCSR_RESET;
    if (has_xsave())
        *(uint64_t *)(area + XSTATE_BV) = 3; /* x87 and SSE are as written here */
    v->xcr0 = 1;
    if (v->current)
        fpu_switch_in(v);
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

/* The guest's XCR0 may hide what the area holds: XRSTOR refuses that. */
static void save_all(struct vmx_vcpu *v)
{
    enable_all(v);
    save(v);
    if (has_xsave())
        xsetbv(0, v->xcr0);
}

bool vmx_vector_get(struct vmx_vcpu *v, unsigned n, void *data, unsigned size)
{
    struct piece p[3];
    unsigned count = vector_pieces(n, p), done = 0;

    save_all(v);
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

    save_all(v);
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
    fpu_switch_in(v);
    return true;
}
