/*
 * Integer types, the address kinds, and the small macros that every file uses.
 *
 * An address has a type: each kind is a one-member struct, so that passing a guest-physical
 * address where a host-physical one is wanted does not compile. At -O2 the code is the same.
 */
#ifndef LIB_TYPES_H
#define LIB_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SHIFT  12
#define PAGE_SIZE   4096ul
#define PAGE_MASK   (PAGE_SIZE - 1)
#define LARGE_SHIFT 21 /* a 2 MiB page */
#define LARGE_SIZE  (1ul << LARGE_SHIFT)

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

/* Guest-virtual (linear), guest-physical and host-physical byte addresses. */
typedef struct {
    uint64_t v;
} gva_t;
typedef struct {
    uint64_t v;
} gpa_t;
typedef struct {
    uint64_t v;
} hpa_t;

/* Page numbers: what a guest believes is RAM, and what is (ESX's names; address >> 12). */
typedef struct {
    uint64_t v;
} ppn_t;
typedef struct {
    uint64_t v;
} mpn_t;

#define GVA(x) ((gva_t){(x)})
#define GPA(x) ((gpa_t){(x)})
#define HPA(x) ((hpa_t){(x)})
#define PPN(x) ((ppn_t){(x)})
#define MPN(x) ((mpn_t){(x)})

#define MPN_NONE MPN(UINT64_MAX)

static inline ppn_t gpa_ppn(gpa_t a)
{
    return PPN(a.v >> PAGE_SHIFT);
}
static inline gpa_t ppn_gpa(ppn_t p)
{
    return GPA(p.v << PAGE_SHIFT);
}
static inline mpn_t hpa_mpn(hpa_t a)
{
    return MPN(a.v >> PAGE_SHIFT);
}
static inline hpa_t mpn_hpa(mpn_t m)
{
    return HPA(m.v << PAGE_SHIFT);
}
static inline bool mpn_is_none(mpn_t m)
{
    return m.v == UINT64_MAX;
}

#define BIT(n)           (1ull << (n))
#define ARRAY_SIZE(a)    (sizeof(a) / sizeof((a)[0]))
#define ALIGN_UP(x, a)   (((x) + ((a)-1)) & ~((__typeof__(x))(a)-1))
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a)-1))
#define MIN(a, b)        ((a) < (b) ? (a) : (b))
#define MAX(a, b)        ((a) > (b) ? (a) : (b))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define NORETURN          __attribute__((noreturn))
#define MUST_CHECK        __attribute__((warn_unused_result))
#define UNUSED            __attribute__((unused))
#define likely(x)         __builtin_expect(!!(x), 1)
#define unlikely(x)       __builtin_expect(!!(x), 0)

/* Negative error codes, returned by functions that can fail; 0 is success. */
enum error {
    E_OK = 0,
    E_NOMEM = -1,   /* no memory of the kind asked for */
    E_INVAL = -2,   /* an argument makes no sense */
    E_NOENT = -3,   /* what was named is not there */
    E_EXIST = -4,   /* it is there already, or overlaps */
    E_RANGE = -5,   /* outside the allowed range */
    E_NODEV = -6,   /* the hardware is not there */
    E_BADFMT = -7,  /* a file or structure is damaged */
    E_NOSPC = -8,   /* a fixed table or area is full */
    E_TIMEOUT = -9, /* the hardware did not answer in time */
    E_PERM = -10,   /* locked or not allowed */
};

#endif
