/*
 * The device state stream. Errors are sticky, so that a device saves or loads all its fields and
 * whoever started it looks once.
 */
#include "devices/device.h"
#include "lib/string.h"

/* The next n bytes of the stream, or NULL (and failed from now on) when they are not there. */
static uint8_t *state_take(struct device_state *s, size_t n)
{
    uint8_t *at;

    if (s->failed || s->pos > s->size || n > s->size - s->pos) {
        s->failed = true;
        return NULL;
    }
    at = s->buf + s->pos;
    s->pos += n;
    return at;
}

void device_state_put(struct device_state *s, const void *data, size_t n)
{
    uint8_t *at = state_take(s, n);

    if (at != NULL && n > 0)
        memcpy(at, data, n);
}

/* What cannot be read is zero: a device that goes on for a moment does so with known values. */
void device_state_get(struct device_state *s, void *data, size_t n)
{
    const uint8_t *at = state_take(s, n);

    if (n == 0)
        return;
    if (at != NULL)
        memcpy(data, at, n);
    else
        memset(data, 0, n);
}

void device_state_put_tag(struct device_state *s, uint32_t tag, uint16_t version)
{
    device_state_put(s, &tag, sizeof(tag));
    device_state_put(s, &version, sizeof(version));
}

bool device_state_get_tag(struct device_state *s, uint32_t tag, uint16_t version)
{
    uint32_t found_tag;
    uint16_t found_version;

    device_state_get(s, &found_tag, sizeof(found_tag));
    device_state_get(s, &found_version, sizeof(found_version));
    if (found_tag != tag || found_version != version)
        s->failed = true;
    return !s->failed;
}
