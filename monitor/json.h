/*
 * JSON (RFC 8259) from a line that never ends: bytes come in one by one, and each complete object
 * is taken apart into a table of its values. Size, depth and number of values are bounded. Pure.
 */
#ifndef MONITOR_JSON_H
#define MONITOR_JSON_H

#include "lib/types.h"

#define JSON_BYTES  1024 /* of an object */
#define JSON_VALUES 48   /* in it, member names included */
#define JSON_DEPTH  8
/* A byte that no JSON has: what came before it is forgotten. For lines that lose bytes. */
#define JSON_RESET 0xff

enum json_type {
    JSON_OBJECT,
    JSON_ARRAY,
    JSON_STRING,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL
};

struct json_value {
    enum json_type type;
    uint16_t start, end; /* in the text; of a string, without its quotes */
    uint16_t next;       /* the value behind it and all that is in it */
};

struct json {
    char text[JSON_BYTES];
    size_t len;
    unsigned depth;
    bool in_string, escaped;
    bool skipping; /* what came is wrong: until the end of its line */
    /* Of the last complete object; value 0 is the object itself. */
    struct json_value values[JSON_VALUES];
    unsigned count;
};

enum json_event {
    JSON_MORE,  /* nothing yet */
    JSON_DONE,  /* values are there, until the next byte comes */
    JSON_ERROR, /* what came is no object of JSON, or too large; the rest of its line is ignored */
};

void json_init(struct json *j);
enum json_event json_feed(struct json *j, uint8_t byte);
/* The member of that name in the object at index; 0: there is none (0 is nobody's member). */
unsigned json_member(const struct json *j, unsigned object, const char *name);
/* The string at index, with its escapes undone; false: it is none, or does not fit. */
bool json_string(const struct json *j, unsigned index, char *buf, size_t size);
/* Writes text as a string with quotes; returns the length, at most size - 1 (cut if need be). */
size_t json_quote(const char *text, char *buf, size_t size);

#endif
