/*
 * Copy on write over an image. Chunks are found by a table of two levels, the second of which is
 * made with the first chunk in its reach: a disk that is only read costs eight bytes for 2 MiB.
 */
#include "devices/disk_cow.h"

#include "lib/format.h"
#include "lib/string.h"

#define CHUNK_SECTORS  (DISK_COW_CHUNK / DISK_SECTOR_SIZE)
#define LEAF_CHUNKS    512u /* a leaf is a page */
#define LEAF_SECTORS   (LEAF_CHUNKS * CHUNK_SECTORS)
#define LOG_LINE_SPACE 96

/* NULL: as in the image; chunk_discarded: zeroes, in no memory. */
typedef uint8_t *chunk_t;

struct leaf {
    chunk_t chunk[LEAF_CHUNKS];
};

struct disk_cow {
    struct disk disk;
    struct device_host *host;
    const uint8_t *image;
    uint64_t bytes;
    struct leaf **leaves;
    uint64_t nr_leaves;
    uint64_t nr_chunks; /* that take memory */
    bool told_full;     /* the line about memory is in the log */
};

#define chunk_discarded ((chunk_t)(uintptr_t)1)

static struct disk_cow *to_cow(struct disk *d)
{
    return container_of(d, struct disk_cow, disk);
}

/* ------------------------------------------------------------------ chunks */

static bool has_memory(chunk_t c)
{
    return c != NULL && c != chunk_discarded;
}

/* Where the chunk of a sector is noted, or NULL when there is no leaf for it. */
static chunk_t *find_chunk(const struct disk_cow *c, uint64_t sector)
{
    struct leaf *leaf = c->leaves[sector / LEAF_SECTORS];

    return leaf == NULL ? NULL : &leaf->chunk[sector / CHUNK_SECTORS % LEAF_CHUNKS];
}

/* n bytes of the image from a byte on, zeroes behind its end. */
static void copy_image(const struct disk_cow *c, uint64_t at, uint8_t *to, size_t n)
{
    size_t there = at >= c->bytes ? 0 : MIN(n, c->bytes - at);

    memcpy(to, c->image + at, there);
    memset(to + there, 0, n - there);
}

/* Memory for the chunk of a sector, which holds what the disk has there; NULL: there is none. */
static uint8_t *make_chunk(struct disk_cow *c, uint64_t sector)
{
    struct leaf **leaf = &c->leaves[sector / LEAF_SECTORS];
    uint64_t start = ALIGN_DOWN(sector, (uint64_t)CHUNK_SECTORS) << DISK_SECTOR_SHIFT;
    chunk_t *chunk, made;

    if (*leaf == NULL)
        *leaf = c->host->ops->alloc(c->host, sizeof(struct leaf));
    chunk = find_chunk(c, sector);
    if (chunk == NULL || has_memory(*chunk))
        return chunk == NULL ? NULL : *chunk;
    made = c->host->ops->alloc(c->host, DISK_COW_CHUNK);
    if (made == NULL)
        return NULL;
    if (*chunk == NULL)
        copy_image(c, start, made, DISK_COW_CHUNK);
    c->nr_chunks++;
    return *chunk = made;
}

uint64_t disk_cow_written(const struct disk *d)
{
    return to_cow((struct disk *)d)->nr_chunks * DISK_COW_CHUNK;
}

/* ------------------------------------------------------------------ requests */

/* How many sectors from there on, at most count, are in the same chunk. */
static uint32_t sectors_in_chunk(uint64_t sector, uint32_t count)
{
    return MIN(count, CHUNK_SECTORS - (uint32_t)(sector % CHUNK_SECTORS));
}

static size_t offset_in_chunk(uint64_t sector)
{
    return (sector % CHUNK_SECTORS) << DISK_SECTOR_SHIFT;
}

static bool read_part(struct disk_cow *c, uint64_t sector, uint32_t count, uint8_t *data)
{
    const chunk_t *chunk = find_chunk(c, sector);
    size_t n = (size_t)count << DISK_SECTOR_SHIFT;

    if (chunk == NULL || *chunk == NULL)
        copy_image(c, sector << DISK_SECTOR_SHIFT, data, n);
    else if (*chunk == chunk_discarded)
        memset(data, 0, n);
    else
        memcpy(data, *chunk + offset_in_chunk(sector), n);
    return true;
}

static void tell_full(struct disk_cow *c)
{
    char line[LOG_LINE_SPACE];

    if (c->told_full)
        return;
    c->told_full = true;
    (void)format_text(line, sizeof(line),
                      "%.32s: no memory left for what is written: I/O error for the guest",
                      c->disk.name);
    c->host->ops->log(c->host, line);
}

static bool write_part(struct disk_cow *c, uint64_t sector, uint32_t count, uint8_t *data)
{
    uint8_t *chunk = make_chunk(c, sector);

    if (chunk == NULL) {
        tell_full(c);
        return false;
    }
    memcpy(chunk + offset_in_chunk(sector), data, (size_t)count << DISK_SECTOR_SHIFT);
    return true;
}

/* Frees whole chunks. Nothing is gained where nothing was written, so the image shows there. */
static bool discard_part(struct disk_cow *c, uint64_t sector, uint32_t count, uint8_t *data UNUSED)
{
    chunk_t *chunk = find_chunk(c, sector);

    if (count != CHUNK_SECTORS || chunk == NULL || !has_memory(*chunk))
        return true;
    c->host->ops->free(c->host, *chunk);
    c->nr_chunks--;
    *chunk = chunk_discarded;
    return true;
}

typedef bool part_fn(struct disk_cow *c, uint64_t sector, uint32_t count, uint8_t *data);

static part_fn *const parts[] = {
    [DISK_READ] = read_part,
    [DISK_WRITE] = write_part,
    [DISK_DISCARD] = discard_part,
};

static void cow_submit(struct disk *d, struct disk_request *r)
{
    struct disk_cow *c = to_cow(d);
    enum disk_status status = DISK_OK;

    while (r->op != DISK_FLUSH && r->finished < r->count) {
        uint64_t sector = r->sector + r->finished;
        uint32_t n = sectors_in_chunk(sector, r->count - r->finished);
        size_t offset = (size_t)r->finished << DISK_SECTOR_SHIFT;
        uint8_t *data = r->data == NULL ? NULL : (uint8_t *)r->data + offset;

        if (!parts[r->op](c, sector, n, data)) {
            status = DISK_BAD_MEDIUM;
            break;
        }
        r->finished += n;
    }
    disk_done(r, status);
}

/* No request is ever pending. */
static void cow_cancel(struct disk *d UNUSED, struct disk_request *r UNUSED) {}

/* ------------------------------------------------------------------ the disk */

static void free_leaf(struct disk_cow *c, struct leaf *leaf)
{
    for (unsigned i = 0; i < LEAF_CHUNKS; i++)
        if (has_memory(leaf->chunk[i]))
            c->host->ops->free(c->host, leaf->chunk[i]);
    c->host->ops->free(c->host, leaf);
}

static void cow_destroy(struct disk *d)
{
    struct disk_cow *c = to_cow(d);

    for (uint64_t i = 0; i < c->nr_leaves; i++)
        if (c->leaves[i] != NULL)
            free_leaf(c, c->leaves[i]);
    c->host->ops->free(c->host, c->leaves);
    c->host->ops->free(c->host, c);
}

static const struct disk_ops cow_ops = {cow_submit, cow_cancel, cow_destroy};

struct disk *disk_cow_create(struct device_host *host, const char *name, const void *image,
                             uint64_t bytes, bool read_only)
{
    uint64_t sectors = bytes / DISK_SECTOR_SIZE + (bytes % DISK_SECTOR_SIZE != 0);
    struct disk_cow *c;

    if (bytes == 0)
        return NULL;
    c = host->ops->alloc(host, sizeof(*c));
    if (c == NULL)
        return NULL;
    c->nr_leaves = (sectors + LEAF_SECTORS - 1) / LEAF_SECTORS;
    c->leaves = host->ops->alloc(host, c->nr_leaves * sizeof(c->leaves[0]));
    if (c->leaves == NULL) {
        host->ops->free(host, c);
        return NULL;
    }
    c->host = host;
    c->image = image;
    c->bytes = bytes;
    c->disk = (struct disk){
        .ops = &cow_ops,
        .name = name,
        .sectors = sectors,
        .geometry = disk_guess_geometry(bytes < DISK_SECTOR_SIZE ? NULL : image, sectors),
        .read_only = read_only,
    };
    return &c->disk;
}
