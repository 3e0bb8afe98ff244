/* Memory of a device, such as a framebuffer, put into the guest's address space. */
#include "lib/assert.h"
#include "machine/frame.h"
#include "vm/vm.h"

/* The largest page that both sides are aligned for. */
static unsigned best_order(const struct vm *vm, gpa_t gpa, const void *page, uint64_t left)
{
    bool large = vm->ept.caps.large_2m && left >= LARGE_SIZE && gpa.v % LARGE_SIZE == 0 &&
                 ptr_hpa(page).v % LARGE_SIZE == 0;

    return large ? EPT_ORDER_2M : EPT_ORDER_4K;
}

/* Takes away what is mapped in [gpa, end), all of it by map_range. */
static void unmap_range(struct vm *vm, gpa_t gpa, uint64_t end)
{
    while (gpa.v < end) {
        struct ept_mapping m = ept_lookup(&vm->ept, gpa);

        ASSERT(m.kind == EPT_DEVICE);
        ept_unmap(&vm->ept, gpa, m.order, EPT_ABSENT, 0);
        gpa.v += PAGE_SIZE << m.order;
    }
}

static int map_range(struct vm *vm, gpa_t start, uint8_t *pages, uint64_t bytes, unsigned access)
{
    for (uint64_t done = 0; done < bytes;) {
        gpa_t gpa = GPA(start.v + done);
        unsigned order = best_order(vm, gpa, pages + done, bytes - done);
        int error = E_EXIST;

        if (!vm_is_ram(vm, gpa))
            error = ept_map(&vm->ept, gpa, hpa_mpn(ptr_hpa(pages + done)), order, EPT_DEVICE,
                            access, EPT_TYPE_WB);
        if (error != 0) {
            unmap_range(vm, start, gpa.v);
            return error;
        }
        done += PAGE_SIZE << order;
    }
    return 0;
}

/* What was mapped may be in a CPU's TLB: those that run the guest come out and flush. */
static void flush(struct vm *vm)
{
    ept_bump(&vm->ept);
    for (unsigned i = 0; i < vm->vmx.nr_vcpus; i++)
        if (vm->vcpus[i] != NULL)
            vcpu_request(vm->vcpus[i], REQUEST_EVENTS);
}

int vm_map_pages(struct device_host *h, gpa_t gpa, void *pages, uint64_t bytes, bool writable)
{
    struct vm *vm = vm_of_host(h);
    int error;

    ASSERT(gpa.v % PAGE_SIZE == 0 && (uintptr_t)pages % PAGE_SIZE == 0 && bytes % PAGE_SIZE == 0);
    spin_lock(&vm->ept.lock);
    error = map_range(vm, gpa, pages, bytes, writable ? EPT_RW : EPT_READ);
    spin_unlock(&vm->ept.lock);
    return error;
}

void vm_unmap_pages(struct device_host *h, gpa_t gpa, uint64_t bytes)
{
    struct vm *vm = vm_of_host(h);

    spin_lock(&vm->ept.lock);
    unmap_range(vm, gpa, gpa.v + bytes);
    spin_unlock(&vm->ept.lock);
    flush(vm);
}
