/* Events on their way into the guest (SDM vol. 3 sections 27.6 and 6.15). */
#include "lib/assert.h"
#include "vmx/internal.h"
#include "vmx/vmcs.h"

/* Exceptions that make a double fault of a second one (SDM table 6-5). */
enum fault_class { BENIGN, CONTRIBUTORY, PAGE_FAULT };

static enum fault_class classify(uint32_t info)
{
    switch (info & EVENT_VECTOR) {
    case VECTOR_PF:
        return PAGE_FAULT;
    case VECTOR_DE:
    case VECTOR_TS:
    case VECTOR_NP:
    case VECTOR_SS:
    case VECTOR_GP:
        return CONTRIBUTORY;
    default:
        return BENIGN;
    }
}

static bool is_hardware_exception(uint32_t info)
{
    return (info & EVENT_VALID) && EVENT_TYPE(info) == EVENT_EXCEPTION;
}

/* Queues an exception; one that comes while another is being delivered follows the SDM's table. */
static void inject(struct vmx_vcpu *v, uint32_t info, uint32_t error)
{
    uint32_t old = v->event.info;

    if (is_hardware_exception(old)) {
        enum fault_class first = classify(old), second = classify(info);

        if ((old & EVENT_VECTOR) == VECTOR_DF && second != BENIGN) {
            v->event.info = 0;
            v->client->triple_fault(v);
            return;
        }
        if ((first == CONTRIBUTORY && second == CONTRIBUTORY) ||
            (first == PAGE_FAULT && second != BENIGN)) {
            info = EVENT_VALID | EVENT_ERROR_CODE | EVENT_EXCEPTION << 8 | VECTOR_DF;
            error = 0;
        }
    }
    v->event = (struct vmx_event){info, error, 0};
}

void vmx_inject_exception(struct vmx_vcpu *v, unsigned vector)
{
    inject(v, EVENT_VALID | EVENT_EXCEPTION << 8 | vector, 0);
}

void vmx_inject_exception_error(struct vmx_vcpu *v, unsigned vector, uint32_t error)
{
    /* In real mode no exception pushes an error code, and VM entry insists on that. */
    uint32_t code = vmx_cr0(v) & CR0_PE ? EVENT_ERROR_CODE : 0;

    inject(v, EVENT_VALID | code | EVENT_EXCEPTION << 8 | vector, error);
}

void vmx_inject_gp(struct vmx_vcpu *v)
{
    vmx_inject_exception_error(v, VECTOR_GP, 0);
}

void vmx_inject_page_fault(struct vmx_vcpu *v, uint64_t address, uint32_t error)
{
    write_cr2(address);
    vmx_inject_exception_error(v, VECTOR_PF, error);
}

void vmx_inject_interrupt(struct vmx_vcpu *v, uint8_t vector)
{
    ASSERT(!vmx_event_queued(v));
    v->event = (struct vmx_event){EVENT_VALID | EVENT_EXTERNAL << 8 | vector, 0, 0};
}

void vmx_inject_nmi(struct vmx_vcpu *v)
{
    ASSERT(!vmx_event_queued(v));
    v->nmi_pending = false;
    v->event = (struct vmx_event){EVENT_VALID | EVENT_NMI << 8 | VECTOR_NMI, 0, 0};
}

bool vmx_can_take_interrupt(const struct vmx_vcpu *v)
{
    return (vmx_rflags(v) & RFLAGS_IF) &&
           !(vmread(VMCS_GUEST_INTERRUPTIBILITY) & (BLOCKING_STI | BLOCKING_MOV_SS));
}

bool vmx_can_take_nmi(UNUSED const struct vmx_vcpu *v)
{
    return !(vmread(VMCS_GUEST_INTERRUPTIBILITY) & (BLOCKING_STI | BLOCKING_MOV_SS | BLOCKING_NMI));
}
