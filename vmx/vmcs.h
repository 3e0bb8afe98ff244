/*
 * VMCS access. A field has a type that carries its width: writing a 64-bit field with the 32-bit
 * accessor, or a value where a field belongs, does not compile. Every VMX instruction's failure
 * is checked (SDM vol. 3 section 31.2: CF VMfailInvalid, ZF VMfailValid with an error number).
 */
#ifndef VMX_VMCS_H
#define VMX_VMCS_H

#include "lib/types.h"
#include "vmx/vmcs_fields.h"

typedef struct {
    uint32_t encoding;
} vmcs16_t;
typedef struct {
    uint32_t encoding;
} vmcs32_t;
typedef struct {
    uint32_t encoding;
} vmcs64_t;
typedef struct {
    uint32_t encoding;
} vmcsn_t;

#define VMCS_WIDTH_16 0
#define VMCS_WIDTH_64 1
#define VMCS_WIDTH_32 2
#define VMCS_WIDTH_n  3

#define VMCS_DEFINE(width, name, enc)                               \
    _Static_assert(((enc) >> 13 & 3) == VMCS_WIDTH_##width, #name); \
    UNUSED static const vmcs##width##_t VMCS_##name = {enc};
VMCS_FIELDS(VMCS_DEFINE)
#undef VMCS_DEFINE

/* A VMX instruction failed where it cannot: panic with the VM-instruction error. */
NORETURN void vmcs_fail(const char *instruction, uint64_t operand);

/*
 * In the build that counts (make build/count/tithe.elf) every VMREAD and VMWRITE of all CPUs goes
 * in here; entry.asm knows that reads come first. A build of its own, as counting costs more than
 * the access.
 */
struct vmcs_accesses {
    uint64_t reads, writes;
};
#ifdef VMX_COUNT_FIELDS
extern struct vmcs_accesses vmcs_accesses;
#define VMCS_COUNT(what) ((void)__atomic_fetch_add(&vmcs_accesses.what, 1, __ATOMIC_RELAXED))
#else
#define VMCS_COUNT(what) ((void)0)
#endif
/* What has been counted so far; 0 where nothing is. */
struct vmcs_accesses vmcs_counted(void);

static inline uint64_t vmcs_read_raw(uint32_t encoding)
{
    uint64_t v;

    VMCS_COUNT(reads);
    __asm__ volatile goto("vmread %1, %0\n\tjbe %l[fail]"
                          : "=r"(v)
                          : "r"((uint64_t)encoding)
                          : "cc"
                          : fail);
    return v;
fail:
    vmcs_fail("VMREAD", encoding);
}

static inline void vmcs_write_raw(uint32_t encoding, uint64_t v)
{
    VMCS_COUNT(writes);
    __asm__ goto("vmwrite %0, %1\n\tjbe %l[fail]"
                 :
                 : "r"(v), "r"((uint64_t)encoding)
                 : "cc", "memory"
                 : fail);
    return;
fail:
    vmcs_fail("VMWRITE", encoding);
}

#define VMCS_ACCESS(width, type)                                     \
    static inline type vmcs_read_##width(vmcs##width##_t f)          \
    {                                                                \
        return (type)vmcs_read_raw(f.encoding);                      \
    }                                                                \
    static inline void vmcs_write_##width(vmcs##width##_t f, type v) \
    {                                                                \
        vmcs_write_raw(f.encoding, v);                               \
    }
VMCS_ACCESS(16, uint16_t)
VMCS_ACCESS(32, uint32_t)
VMCS_ACCESS(64, uint64_t)
VMCS_ACCESS(n, uint64_t)
#undef VMCS_ACCESS

#define vmread(f)                     \
    _Generic((f), vmcs16_t            \
             : vmcs_read_16, vmcs32_t \
             : vmcs_read_32, vmcs64_t \
             : vmcs_read_64, vmcsn_t  \
             : vmcs_read_n)(f)
#define vmwrite(f, v)                  \
    _Generic((f), vmcs16_t             \
             : vmcs_write_16, vmcs32_t \
             : vmcs_write_32, vmcs64_t \
             : vmcs_write_64, vmcsn_t  \
             : vmcs_write_n)(f, v)

/* Instructions that take the VMCS's physical address. */
void vmcs_clear(hpa_t vmcs);
void vmcs_load(hpa_t vmcs);

#endif
