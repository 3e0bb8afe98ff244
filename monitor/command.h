/*
 * A command line taken apart and handed to the command that it names: from a table, which is the
 * only place that knows a command's name, arguments and help. Pure.
 */
#ifndef MONITOR_COMMAND_H
#define MONITOR_COMMAND_H

#include "lib/types.h"

#define COMMAND_MAX_WORDS 8

/* What an argument is, for Tab. */
enum command_argument {
    COMMAND_ANYTHING,
    COMMAND_NAME,    /* a VM's */
    COMMAND_COMMAND, /* a command's */
    COMMAND_CHOICE,  /* one of choices */
};

struct command {
    const char *name;
    const char *usage; /* its arguments */
    const char *help;  /* what it does, in one line */
    unsigned min, max; /* arguments, the name not counted */
    enum command_argument arguments[2];
    const char *choices; /* separated by blanks */
    /* argv[0] is the name. */
    void (*run)(void *opaque, unsigned argc, const char *const argv[]);
};

struct command_table {
    const struct command *commands;
    unsigned count;
    void *opaque;
    /* The name of the VM with that index; NULL: there are no more. */
    const char *(*vm_name)(void *opaque, unsigned index);
};

/*
 * Splits line, which is changed, into words: separated by blanks, or in '...' or "...". Returns how
 * many, 0 to COMMAND_MAX_WORDS; -1: there are more, or a quote does not end.
 */
int command_split(char *line, const char *words[COMMAND_MAX_WORDS]);
/* The command of that name, or the only one that begins so; NULL: none, or *several. */
const struct command *command_find(const struct command_table *t, const char *name, bool *several);
/* Runs what line (which is changed) says. False: why it could not is in error, one line. */
bool command_run(const struct command_table *t, char *line, char *error, size_t size);

/* What Tab finds for the word before the cursor. */
struct command_completion {
    char add[64];      /* to be inserted: what all candidates have in common, a blank after one */
    unsigned count;    /* of candidates */
    char list[512];    /* their names, separated by blanks; those that fit */
    const char *start; /* of the word */
    size_t start_len;
};
/* text[cursor] is the line up to the cursor. */
void command_complete(const struct command_table *t, const char *text, size_t cursor,
                      struct command_completion *c);

#endif
