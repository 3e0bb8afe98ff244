/* Packet commands that tell about the drive and its medium (MMC-3; SFF-8020i; SPC-2). */
#include "devices/ide.h"
#include "lib/string.h"

#define DEVICE_CDROM    0x05
#define REMOVABLE       0x80
#define RESPONSE_FORMAT 0x21 /* ATAPI, in SPC's format */

#define TRACK_DATA     0x14 /* ADR 1; control: a data track */
#define LEAD_OUT       0xaa
#define MSF_OFFSET     150 /* frames before block 0 */
#define FRAMES_SECOND  75
#define SECONDS_MINUTE 60

#define PROFILE_CDROM 0x0008

/* ------------------------------------------------------------------ INQUIRY */

#define INQUIRY_SIZE 36

static void put_text(uint8_t *to, const char *text, unsigned bytes)
{
    size_t n = MIN(strlen(text), bytes);

    memset(to, ' ', bytes);
    memcpy(to, text, n);
}

/* SPC-2, 7.3. There are no vital product data pages. */
void atapi_inquiry(struct ide_drive *d)
{
    uint8_t *b = d->buffer;

    if ((d->s.packet[1] & 3) != 0 || d->s.packet[2] != 0) {
        atapi_check(d, SENSE_ILLEGAL, ASC_BAD_FIELD);
        return;
    }
    memset(b, 0, INQUIRY_SIZE);
    b[0] = DEVICE_CDROM;
    b[1] = REMOVABLE;
    b[3] = RESPONSE_FORMAT;
    b[4] = INQUIRY_SIZE - 5;
    put_text(b + 8, "TITHE", 8);
    put_text(b + 16, "CD-ROM", 16);
    put_text(b + 32, "1", 4);
    atapi_reply(d, INQUIRY_SIZE, be16_get(d->s.packet + 3));
}

/* ------------------------------------------------------------------ MODE SENSE */

#define MODE_SENSE_6     0x1a
#define PAGE_ERRORS      0x01
#define PAGE_TIMEOUT     0x0d
#define PAGE_CAPABILITY  0x2a
#define PAGE_ALL         0x3f
#define PAGE_CODE(b)     ((b)&0x3f)
#define PAGE_CONTROL(b)  ((b) >> 6)
#define CONTROL_CHANGE   1 /* what can be changed: nothing */
#define CONTROL_SAVED    3
#define MEDIUM_DATA      0x01
#define MEDIUM_NONE      0x70
#define MEDIUM_TRAY_OPEN 0x71
#define CAN_LOCK         0x01
#define IS_LOCKED        0x02
#define CAN_EJECT        0x08
#define IS_TRAY          0x20
#define SPEED_KBS        4234 /* 24 times audio */
#define BUFFER_KB        64

static void capability_page(struct ide_drive *d, uint8_t *page)
{
    page[2] = 0x03; /* reads CD-R and CD-RW */
    page[6] = (uint8_t)(IS_TRAY | CAN_EJECT | CAN_LOCK | (d->s.locked ? IS_LOCKED : 0));
    be16_put(page + 8, SPEED_KBS);
    be16_put(page + 12, BUFFER_KB);
    be16_put(page + 14, SPEED_KBS);
}

static void error_page(struct ide_drive *d UNUSED, uint8_t *page)
{
    page[3] = 5; /* retries */
}

static void timeout_page(struct ide_drive *d UNUSED, uint8_t *page)
{
    be16_put(page + 4, SECONDS_MINUTE);
    be16_put(page + 6, FRAMES_SECOND);
}

static const struct {
    uint8_t code, size; /* with the two bytes before its own */
    void (*fill)(struct ide_drive *d, uint8_t *page);
} pages[] = {
    {PAGE_ERRORS, 8, error_page},
    {PAGE_TIMEOUT, 8, timeout_page},
    {PAGE_CAPABILITY, 20, capability_page},
};

static uint32_t put_pages(struct ide_drive *d, uint8_t wanted, uint8_t *at)
{
    uint8_t *start = at;

    for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
        if (PAGE_CODE(wanted) != pages[i].code && PAGE_CODE(wanted) != PAGE_ALL)
            continue;
        memset(at, 0, pages[i].size);
        at[0] = pages[i].code;
        at[1] = pages[i].size - 2;
        if (PAGE_CONTROL(wanted) != CONTROL_CHANGE)
            pages[i].fill(d, at);
        at += pages[i].size;
    }
    return (uint32_t)(at - start);
}

static uint8_t medium_type(const struct ide_drive *d)
{
    if (d->s.tray_open)
        return MEDIUM_TRAY_OPEN;
    return d->disk == NULL ? MEDIUM_NONE : MEDIUM_DATA;
}

/* MODE SENSE (6) and (10) (SPC-2, 7.8 and 7.9): a header, no block descriptors, pages. */
void atapi_mode_sense(struct ide_drive *d)
{
    const uint8_t *p = d->s.packet;
    bool six = p[0] == MODE_SENSE_6;
    uint32_t header = six ? 4 : 8, n = put_pages(d, p[2], d->buffer + header);

    if (n == 0) {
        atapi_check(d, SENSE_ILLEGAL, ASC_BAD_FIELD);
        return;
    }
    if (PAGE_CONTROL(p[2]) == CONTROL_SAVED) {
        atapi_check(d, SENSE_ILLEGAL, ASC_NO_SAVED);
        return;
    }
    n += header;
    memset(d->buffer, 0, header);
    if (six)
        d->buffer[0] = (uint8_t)(n - 1);
    else
        be16_put(d->buffer, n - 2);
    d->buffer[six ? 1 : 2] = medium_type(d);
    atapi_reply(d, n, six ? p[4] : be16_get(p + 7));
}

/* ------------------------------------------------------------------ READ TOC */

#define TOC_TRACKS   0
#define TOC_SESSIONS 1
#define TOC_FULL     2
#define FIRST_TRACK  0xa0
#define LAST_TRACK   0xa1
#define FULL_LEADOUT 0xa2

static void put_msf(uint8_t *to, uint32_t block)
{
    uint32_t frames = block + MSF_OFFSET;

    to[0] = (uint8_t)(frames / FRAMES_SECOND / SECONDS_MINUTE);
    to[1] = (uint8_t)(frames / FRAMES_SECOND % SECONDS_MINUTE);
    to[2] = (uint8_t)(frames % FRAMES_SECOND);
}

static bool wants_msf(const struct ide_drive *d)
{
    return d->s.packet[1] & 2;
}

/* A track or the lead-out, as formats 0 and 1 describe it. */
static uint8_t *put_track(struct ide_drive *d, uint8_t *at, uint8_t number, uint32_t block)
{
    memset(at, 0, 8);
    at[1] = TRACK_DATA;
    at[2] = number;
    if (wants_msf(d))
        put_msf(at + 5, block);
    else
        be32_put(at + 4, block);
    return at + 8;
}

static uint8_t *toc_tracks(struct ide_drive *d, uint8_t *at)
{
    if (d->s.packet[6] <= 1)
        at = put_track(d, at, 1, 0);
    return put_track(d, at, LEAD_OUT, atapi_blocks(d));
}

static uint8_t *toc_sessions(struct ide_drive *d, uint8_t *at)
{
    return put_track(d, at, 1, 0);
}

/* An entry of the lead-in as it is on the disc: session 1, a point, and what it says. */
static uint8_t *put_point(uint8_t *at, uint8_t point)
{
    memset(at, 0, 11);
    at[0] = 1;
    at[1] = TRACK_DATA;
    at[3] = point;
    return at + 11;
}

static uint8_t *toc_full(struct ide_drive *d, uint8_t *at)
{
    put_point(at, FIRST_TRACK)[-3] = 1;
    at += 11;
    put_point(at, LAST_TRACK)[-3] = 1;
    at += 11;
    put_msf(put_point(at, FULL_LEADOUT) - 3, atapi_blocks(d));
    at += 11;
    put_msf(put_point(at, 1) - 3, 0);
    return at + 11;
}

/* MMC-3, 5.1.23. SFF-8020i has the format in the last byte. */
void atapi_read_toc(struct ide_drive *d)
{
    static uint8_t *(*const formats[])(struct ide_drive *, uint8_t *) = {
        [TOC_TRACKS] = toc_tracks,
        [TOC_SESSIONS] = toc_sessions,
        [TOC_FULL] = toc_full,
    };
    const uint8_t *p = d->s.packet;
    unsigned format = (p[2] & 0xf) != 0 ? p[2] & 0xf : p[9] >> 6;
    uint32_t n;

    if (format >= ARRAY_SIZE(formats) || (format == TOC_TRACKS && p[6] > 1 && p[6] != LEAD_OUT)) {
        atapi_check(d, SENSE_ILLEGAL, ASC_BAD_FIELD);
        return;
    }
    n = (uint32_t)(formats[format](d, d->buffer + 4) - d->buffer);
    be16_put(d->buffer, n - 2);
    d->buffer[2] = 1; /* first and last track or session */
    d->buffer[3] = 1;
    atapi_reply(d, n, be16_get(p + 7));
}

/* MMC-3, 5.1.19: one finished session with one track. */
void atapi_read_disc_information(struct ide_drive *d)
{
    uint8_t *b = d->buffer;

    memset(b, 0, 34);
    be16_put(b, 32);
    b[2] = 0x0e; /* not erasable, last session complete, disc complete */
    b[3] = 1;    /* first track */
    b[4] = 1;    /* sessions */
    b[5] = 1;    /* first and last track of the last session */
    b[6] = 1;
    b[7] = 0x20;             /* for unrestricted use */
    memset(b + 16, 0xff, 8); /* there is no next session to start */
    atapi_reply(d, 34, be16_get(d->s.packet + 7));
}

/* ------------------------------------------------------------------ GET CONFIGURATION */

#define REQUEST_ALL     0
#define REQUEST_CURRENT 1
#define REQUEST_ONE     2
#define IS_CURRENT      0x01
#define IS_PERSISTENT   0x02

/* MMC-3, 5.3: code, flags, and the bytes after the length. */
static const struct feature {
    uint16_t code;
    uint8_t flags;
    uint8_t size;
    bool with_medium; /* current only with a medium */
    uint8_t data[8];
} features[] = {
    {0x0000, IS_PERSISTENT | IS_CURRENT, 4, false, {0x00, PROFILE_CDROM, 0, 0}},
    {0x0001, IS_PERSISTENT | IS_CURRENT, 4, false, {0, 0, 0, 2}},    /* core: ATAPI */
    {0x0003, IS_PERSISTENT | IS_CURRENT, 4, false, {0x29, 0, 0, 0}}, /* tray, eject, lock */
    {0x0010, 0, 8, true, {0, 0, 8, 0, 0, 1, 0, 0}}, /* blocks of 2048 can be read */
    {0x001e, 0, 4, true, {0, 0, 0, 0}},             /* READ CD, READ TOC */
};

static uint8_t *put_feature(struct ide_drive *d, const struct feature *f, uint8_t *at)
{
    bool medium = atapi_blocks(d) != 0;

    be16_put(at, f->code);
    at[2] = (uint8_t)(f->flags | (f->with_medium && medium ? IS_CURRENT : 0));
    at[3] = f->size;
    memcpy(at + 4, f->data, f->size);
    if (f->code == 0x0000 && medium)
        at[6] |= IS_CURRENT; /* the profile */
    return at + 4 + f->size;
}

static bool feature_wanted(struct ide_drive *d, const struct feature *f)
{
    unsigned request = d->s.packet[1] & 3, from = be16_get(d->s.packet + 2);

    if (request == REQUEST_ONE)
        return f->code == from;
    if (request == REQUEST_CURRENT && f->with_medium && atapi_blocks(d) == 0)
        return false;
    return f->code >= from;
}

void atapi_get_configuration(struct ide_drive *d)
{
    uint8_t *at = d->buffer + 8;
    uint32_t n;

    if ((d->s.packet[1] & 3) > REQUEST_ONE) {
        atapi_check(d, SENSE_ILLEGAL, ASC_BAD_FIELD);
        return;
    }
    memset(d->buffer, 0, 8);
    for (unsigned i = 0; i < ARRAY_SIZE(features); i++)
        if (feature_wanted(d, &features[i]))
            at = put_feature(d, &features[i], at);
    n = (uint32_t)(at - d->buffer);
    be32_put(d->buffer, n - 4);
    be16_put(d->buffer + 6, atapi_blocks(d) != 0 ? PROFILE_CDROM : 0);
    atapi_reply(d, n, be16_get(d->s.packet + 7));
}

/* ------------------------------------------------------------------ events, mechanism */

#define EVENT_POLLED      0x01
#define EVENT_CLASS_MEDIA 4
#define EVENT_NONE        0x80
#define STATUS_TRAY_OPEN  0x01
#define STATUS_MEDIUM     0x02
#define MECHANISM_DOOR    0x10

/* MMC-3, 5.1.6: only polled, and only the media class. An event is told once. */
void atapi_get_event(struct ide_drive *d)
{
    const uint8_t *p = d->s.packet;
    uint8_t *b = d->buffer;
    bool media = p[4] & BIT(EVENT_CLASS_MEDIA);
    uint32_t n = media ? 8 : 4;

    if (!(p[1] & EVENT_POLLED)) {
        atapi_check(d, SENSE_ILLEGAL, ASC_BAD_FIELD);
        return;
    }
    memset(b, 0, 8);
    be16_put(b, n - 2);
    b[2] = media ? EVENT_CLASS_MEDIA : EVENT_NONE;
    b[3] = (uint8_t)BIT(EVENT_CLASS_MEDIA); /* supported classes */
    if (media && be16_get(p + 7) >= 8) {
        b[4] = d->s.media_event;
        d->s.media_event = 0;
    }
    b[5] = (uint8_t)((d->s.tray_open ? STATUS_TRAY_OPEN : 0) |
                     (atapi_blocks(d) != 0 ? STATUS_MEDIUM : 0));
    atapi_reply(d, n, be16_get(p + 7));
}

/* MMC-3, 5.1.10: no changer, so no slots. */
void atapi_mechanism_status(struct ide_drive *d)
{
    memset(d->buffer, 0, 8);
    d->buffer[1] = d->s.tray_open ? MECHANISM_DOOR : 0;
    atapi_reply(d, 8, be16_get(d->s.packet + 8));
}
