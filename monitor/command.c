#include "monitor/command.h"

#include "lib/format.h"
#include "lib/string.h"

/* ------------------------------------------------------------------ words */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The word at *at, which is ended there; moves *at behind it. NULL: a quote does not end. */
static char *next_word(char **at)
{
    char quote = **at == '"' || **at == '\'' ? *(*at)++ : '\0';
    char *start = *at;

    while (**at != '\0' && (quote != '\0' ? **at != quote : !is_blank(**at)))
        (*at)++;
    if (quote != '\0' && **at == '\0')
        return NULL;
    if (**at != '\0')
        *(*at)++ = '\0';
    return start;
}

int command_split(char *line, const char *words[COMMAND_MAX_WORDS])
{
    int n = 0;

    for (;;) {
        while (is_blank(*line))
            line++;
        if (*line == '\0')
            return n;
        if (n == COMMAND_MAX_WORDS)
            return -1;
        words[n] = next_word(&line);
        if (words[n++] == NULL)
            return -1;
    }
}

/* ------------------------------------------------------------------ running */

const struct command *command_find(const struct command_table *t, const char *name, bool *several)
{
    const struct command *found = NULL;
    size_t n = strlen(name);

    *several = false;
    for (unsigned i = 0; i < t->count; i++) {
        const struct command *c = &t->commands[i];

        if (strcmp(c->name, name) == 0) {
            *several = false;
            return c;
        }
        if (strncmp(c->name, name, n) != 0)
            continue;
        *several = found != NULL;
        found = c;
    }
    return *several ? NULL : found;
}

bool command_run(const struct command_table *t, char *line, char *error, size_t size)
{
    const char *words[COMMAND_MAX_WORDS];
    int n = command_split(line, words);
    const struct command *c;
    bool several;

    if (n == 0)
        return true;
    if (n < 0) {
        (void)format_text(error, size, "too many words, or a quote that does not end");
        return false;
    }
    c = n > 0 && words[0][0] != '\0' ? command_find(t, words[0], &several) : NULL;
    if (c == NULL) {
        (void)format_text(error, size, "unknown command: '%.40s' (`help` lists what there is)",
                          words[0]);
        return false;
    }
    if ((unsigned)n - 1 < c->min || (unsigned)n - 1 > c->max) {
        (void)format_text(error, size, "usage: %s %s", c->name, c->usage);
        return false;
    }
    c->run(t->opaque, (unsigned)n, words);
    return true;
}

/* ------------------------------------------------------------------ Tab */

/* One more name, if it begins as the word does. */
static void candidate(struct command_completion *c, const char *name, size_t name_len)
{
    size_t used = strlen(c->list), common = 0;
    const char *rest = name + c->start_len;

    if (name_len < c->start_len || memcmp(name, c->start, c->start_len) != 0)
        return;
    name_len -= c->start_len;
    if (c->count++ == 0) {
        name_len = MIN(name_len, sizeof(c->add) - 2);
        memcpy(c->add, rest, name_len);
        c->add[name_len] = '\0';
    } else {
        while (common < name_len && c->add[common] == rest[common] && c->add[common] != '\0')
            common++;
        c->add[common] = '\0';
    }
    name_len = (size_t)(rest - name) + name_len;
    if (used + name_len + 3 < sizeof(c->list))
        (void)format_text(c->list + used, sizeof(c->list) - used, "%s%.*s", used == 0 ? "" : "  ",
                          (int)name_len, name);
}

static void complete_choice(const char *choices, struct command_completion *c)
{
    while (choices != NULL && *choices != '\0') {
        const char *end = strchr(choices, ' ');
        size_t n = end != NULL ? (size_t)(end - choices) : strlen(choices);

        candidate(c, choices, n);
        choices += n + (end != NULL);
    }
}

static void complete_as(const struct command_table *t, const struct command *command,
                        enum command_argument what, struct command_completion *c)
{
    const char *name;

    if (what == COMMAND_COMMAND)
        for (unsigned i = 0; i < t->count; i++)
            candidate(c, t->commands[i].name, strlen(t->commands[i].name));
    if (what == COMMAND_NAME)
        for (unsigned i = 0; (name = t->vm_name(t->opaque, i)) != NULL; i++)
            candidate(c, name, strlen(name));
    if (what == COMMAND_CHOICE)
        complete_choice(command->choices, c);
}

/* The line's first word, as a command; *number gets how many words are before the cursor's. */
static const struct command *command_of(const struct command_table *t, const char *text, size_t n,
                                        unsigned *number)
{
    char name[32] = "";
    size_t len = 0;
    bool in_word = false, several;

    *number = 0;
    for (size_t i = 0; i < n; i++) {
        if (is_blank(text[i]) && in_word)
            (*number)++;
        in_word = !is_blank(text[i]);
        if (in_word && *number == 0 && len < sizeof(name) - 1)
            name[len++] = text[i];
    }
    name[len] = '\0';
    return len > 0 ? command_find(t, name, &several) : NULL;
}

void command_complete(const struct command_table *t, const char *text, size_t cursor,
                      struct command_completion *c)
{
    const struct command *command;
    unsigned number;
    size_t at = cursor;

    memset(c, 0, sizeof(*c));
    while (at > 0 && !is_blank(text[at - 1]))
        at--;
    c->start = text + at;
    c->start_len = cursor - at;
    command = command_of(t, text, cursor, &number);
    if (number == 0)
        complete_as(t, NULL, COMMAND_COMMAND, c);
    else if (command != NULL && number <= ARRAY_SIZE(command->arguments))
        complete_as(t, command, command->arguments[number - 1], c);
    if (c->count == 1)
        (void)format_text(c->add + strlen(c->add), 2, " ");
}
