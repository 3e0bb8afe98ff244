/*
 * Inside the configuration's reader: the text (vm/config_text.c), its values (vm/config_value.c),
 * and the keys with the sections around them (vm/config.c).
 */
#ifndef VM_CONFIG_INTERNAL_H
#define VM_CONFIG_INTERNAL_H

#include "vm/config.h"

#define CONFIG_MAX_KEYS 32 /* room for so many kinds */

enum key_type {
    KEY_SIZE,   /* uint64_t, with a unit */
    KEY_NUMBER, /* uint64_t */
    KEY_BOOL,   /* bool */
    KEY_CHOICE, /* an enum whose values are the indices of choices[] */
    KEY_LIST,   /* uint8_t[room], indices of choices[] + 1 */
    KEY_CPUS,   /* uint64_t, a bit for each */
    KEY_TEXT,   /* char[room] */
    KEY_MODULE, /* char[room], the name of a boot module */
};

struct key {
    const char *name;
    enum key_type type;
    size_t offset;              /* of its field in struct vm_config */
    size_t room;                /* for texts and lists: bytes there */
    uint64_t min, max;          /* for sizes and numbers */
    const char *const *choices; /* ends with NULL */
};

struct parser {
    const char *text;
    size_t n, pos;
    const char *file;
    unsigned line;
    unsigned reports;
    const struct config_ops *ops;
    struct vm_config *vms;
    unsigned nr_vms, max_vms;
    struct vm_config *vm;           /* the section that we are in, or NULL */
    bool skipping;                  /* in a section that is not kept: its keys are passed over */
    unsigned seen[CONFIG_MAX_KEYS]; /* the line where this section gave each key, or 0 */
};

/* ---- config_text.c ---- */

#define END_OF_LINE (-1) /* a newline or the end of the file */

/* One error, at that line; the section that we are in becomes invalid. */
void config_report(struct parser *p, unsigned line, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* An error in a key's value, at the line being read. */
void config_report_value(struct parser *p, const char *key, const char *value, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* The character at pos as unsigned, or END_OF_LINE. A carriage return before a newline is none. */
int config_peek(const struct parser *p);
int config_next(struct parser *p);
bool config_is_comment(int c);
char config_lower(char c);
void config_skip_blanks(struct parser *p);
void config_skip_line(struct parser *p);
/* Steps over the end of a line, if it is not the file's end. */
void config_skip_newline(struct parser *p);
/* Reads a name of letters, digits and "_-."; returns its length, which may be more than fits. */
size_t config_read_name(struct parser *p, char *name, size_t size);

/* A value being read. len counts what the value has, size says what buf can hold of it. */
struct value {
    char *buf;
    size_t size, len;
    size_t kept; /* up to where blanks at the end were quoted, or are no blanks */
    bool blank;  /* the last character was a blank: a comment may start */
};

/*
 * Reads a value up to the end of the line, without the quotes, the comment after it, and the blanks
 * around it. Returns what is wrong with it, or NULL.
 */
const char *config_read_value(struct parser *p, struct value *v);

/* ---- config_value.c ---- */

/* Sets the key's field of the section from its value's text; texts are there already. */
void config_set_key(struct parser *p, const struct key *k, const char *text);

#endif
