#include "vm/qmp.h"

#include "lib/format.h"
#include "lib/log.h"
#include "lib/string.h"
#include "machine/interrupt.h"
#include "machine/apic.h"
#include "machine/rtc.h"
#include "machine/serial.h"
#include "machine/timer.h"
#include "monitor/json.h"
#include "vm/job.h"
#include "vm/stats.h"
#include "vm/vmctl.h"

#define INPUT_BYTES 4096 /* a power of two */
#define ROUNDS_MAX  64   /* what one interrupt handles */
#define ID_BYTES    64

/*
 * COM2's interrupts come to the boot CPU, and jobs run there with interrupts off: so neither the
 * port nor anything here needs a lock.
 */
static struct {
    uint8_t input[INPUT_BYTES];
    unsigned head, tail;
    struct job received;
    struct json json;
    bool negotiated;
    char id[ID_BYTES]; /* of the command: ", "id": ...", or nothing */
} qmp;

/* ------------------------------------------------------------------ output */

static void put(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void put(const char *fmt, ...)
{
    char text[512];
    va_list args;
    size_t n;

    va_start(args, fmt);
    n = format_text_v(text, sizeof(text), fmt, args);
    va_end(args);
    (void)serial_put(&serial_com2, text, MIN(n, sizeof(text) - 1));
    serial_pump(&serial_com2);
}

static void put_string(const char *text)
{
    char quoted[256];

    (void)json_quote(text, quoted, sizeof(quoted));
    put("%s", quoted);
}

static void end_answer(void)
{
    put("%s}\r\n", qmp.id);
}

static void put_error(const char *class, const char *text)
{
    put("{\"error\": {\"class\": \"%s\", \"desc\": ", class);
    put_string(text);
    put("}");
    end_answer();
}

/* Nothing to tell, or why it failed. */
static void put_result(const char *why)
{
    if (why != NULL) {
        put_error("GenericError", why);
        return;
    }
    put("{\"return\": {}");
    end_answer();
}

static void greet(void)
{
    put("{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 0, \"major\": 0}, "
        "\"package\": \"Tithe " TITHE_VERSION "\"}, \"capabilities\": []}}\r\n");
}

/* ------------------------------------------------------------------ commands */

typedef const char *(*action_fn)(struct vmctl *c);

static const char *run_state(const struct vmctl *c)
{
    static const char *const names[] = {
        [VMCTL_SHUT_OFF] = "shutdown",      [VMCTL_RUNNING] = "running",
        [VMCTL_PAUSED] = "paused",          [VMCTL_ENDED] = "shutdown",
        [VMCTL_CRASHED] = "guest-panicked",
    };

    return names[vmctl_state(c)];
}

static void query_status(struct vmctl *c)
{
    bool running = vmctl_state(c) == VMCTL_RUNNING;

    put("{\"return\": {\"status\": \"%s\", \"singlestep\": false, \"running\": %s}", run_state(c),
        running ? "true" : "false");
    end_answer();
}

static void query_name(struct vmctl *c)
{
    put("{\"return\": {\"name\": ");
    put_string(c->config.name);
    put("}");
    end_answer();
}

static void query_version(UNUSED struct vmctl *c)
{
    put("{\"return\": {\"qemu\": {\"micro\": 0, \"minor\": 0, \"major\": 0}, "
        "\"package\": \"Tithe " TITHE_VERSION "\"}");
    end_answer();
}

static void query_cpus(struct vmctl *c)
{
    put("{\"return\": [");
    for (unsigned i = 0; c->vm != NULL && i < c->config.cpus; i++)
        put("%s{\"cpu-index\": %u, \"thread-id\": %u, \"target\": \"x86_64\", "
            "\"qom-path\": \"/machine/cpu[%u]\"}",
            i > 0 ? ", " : "", i, c->vm->vcpus[i]->cpu, i);
    put("]");
    end_answer();
}

static void put_vm(const struct vmctl *c)
{
    put("{\"id\": %u, \"name\": ", c->number);
    put_string(c->config.name);
    put(", \"state\": \"%s\", \"cpus\": %lu, \"memory\": %lu", vmctl_state_name(vmctl_state(c)),
        c->config.cpus, c->config.memory);
    if (c->vm != NULL)
        put(", \"used\": %lu, \"cpu-ns\": %lu, \"exits\": %lu, \"resets\": %u",
            stats_memory_used(c->vm), clock_to_ns(stats_ticks_used(c->vm)), stats_exits(c->vm),
            c->vm->restarts);
    put("}");
}

static void list(UNUSED struct vmctl *c)
{
    put("{\"return\": [");
    for (unsigned i = 1; i <= vmctl_count(); i++) {
        put("%s", i > 1 ? ", " : "");
        put_vm(vmctl_at(i));
    }
    put("]");
    end_answer();
}

static void quit(UNUSED struct vmctl *c)
{
    put_result(NULL);
    serial_flush(&serial_com2);
    log_line("powered off by the operator");
    vmctl_power_off();
}

static void capabilities(UNUSED struct vmctl *c)
{
    qmp.negotiated = true;
    put_result(NULL);
}

static void query_commands(struct vmctl *c);

/* A command acts on a VM and has no more to tell, or answers by itself. */
static const struct command {
    const char *name;
    void (*answer)(struct vmctl *c);
    action_fn act;
    bool named; /* it wants the VM's name; the others take the first VM without one */
} commands[] = {
    {"qmp_capabilities", capabilities, NULL, false},
    {"query-commands", query_commands, NULL, false},
    {"query-status", query_status, NULL, false},
    {"query-name", query_name, NULL, false},
    {"query-version", query_version, NULL, false},
    {"query-cpus-fast", query_cpus, NULL, false},
    {"stop", NULL, vmctl_suspend, false},
    {"cont", NULL, vmctl_resume, false},
    {"system_reset", NULL, vmctl_reset, false},
    {"system_powerdown", NULL, vmctl_shutdown, false},
    {"quit", quit, NULL, false},
    {"x-tithe-list", list, NULL, false},
    {"x-tithe-start", NULL, vmctl_start, true},
    {"x-tithe-stop", NULL, vmctl_suspend, true},
    {"x-tithe-cont", NULL, vmctl_resume, true},
    {"x-tithe-reset", NULL, vmctl_reset, true},
    {"x-tithe-powerdown", NULL, vmctl_shutdown, true},
    {"x-tithe-destroy", NULL, vmctl_destroy, true},
};

static void query_commands(UNUSED struct vmctl *c)
{
    put("{\"return\": [");
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
        put("%s{\"name\": \"%s\"}", i > 0 ? ", " : "", commands[i].name);
    put("]");
    end_answer();
}

/* The VM that arguments.vm names, or the first one; NULL: none, and that is told. */
static struct vmctl *vm_of(const struct command *command)
{
    unsigned arguments = json_member(&qmp.json, 0, "arguments");
    unsigned index = arguments != 0 ? json_member(&qmp.json, arguments, "vm") : 0;
    char name[CONFIG_NAME_MAX];
    struct vmctl *c;

    if (index == 0 && !command->named)
        return vmctl_at(1);
    if (index == 0 || !json_string(&qmp.json, index, name, sizeof(name))) {
        put_error("GenericError", "Parameter 'vm' is missing or no VM's name");
        return NULL;
    }
    c = vmctl_find(name);
    if (c == NULL)
        put_error("DeviceNotFound", "There is no VM of that name (x-tithe-list)");
    return c;
}

static void run(const struct command *command)
{
    struct vmctl *c;

    if (!qmp.negotiated && command->answer != capabilities) {
        put_error("CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'");
        return;
    }
    c = vm_of(command);
    if (c == NULL)
        return;
    if (command->answer != NULL)
        command->answer(c);
    else
        put_result(command->act(c));
}

static void keep_id(void)
{
    unsigned id = json_member(&qmp.json, 0, "id");
    const struct json_value *v = &qmp.json.values[id];
    bool quoted = v->type == JSON_STRING;
    const char *quote = quoted ? "\"" : "";

    qmp.id[0] = '\0';
    if (id != 0 && v->end - v->start < ID_BYTES - 16)
        (void)format_text(qmp.id, sizeof(qmp.id), ", \"id\": %s%.*s%s", quote, v->end - v->start,
                          qmp.json.text + v->start, quote);
}

static void execute(void)
{
    unsigned index = json_member(&qmp.json, 0, "execute");
    char name[32] = "";

    keep_id();
    if (index == 0 || !json_string(&qmp.json, index, name, sizeof(name))) {
        put_error("GenericError", "QMP input lacks member 'execute'");
        return;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
        if (strcmp(commands[i].name, name) != 0)
            continue;
        run(&commands[i]);
        return;
    }
    put_error("CommandNotFound", "The command has not been found (query-commands)");
}

/* ------------------------------------------------------------------ events */

static void tell(struct vmctl *c, enum vmctl_event e, unsigned detail)
{
    static const char *const names[] = {
        [VMCTL_STARTED] = "RESUME",      [VMCTL_SUSPENDED] = "STOP",
        [VMCTL_RESUMED] = "RESUME",      [VMCTL_SHUTDOWN] = "SHUTDOWN",
        [VMCTL_RESET] = "RESET",         [VMCTL_CRASH] = "GUEST_PANICKED",
        [VMCTL_POWERDOWN] = "POWERDOWN",
    };
    bool guest = detail != VM_END_DESTROY && detail != VM_END_RESTART;

    if (!qmp.negotiated)
        return;
    put("{\"event\": \"%s\", \"timestamp\": {\"seconds\": %lu, \"microseconds\": 0}, \"data\": {",
        names[e], rtc_wall_clock());
    if (e == VMCTL_SHUTDOWN || e == VMCTL_RESET)
        put("\"guest\": %s, ", guest ? "true" : "false");
    if (e == VMCTL_CRASH)
        put("\"action\": \"poweroff\", ");
    put("\"x-tithe-vm\": ");
    put_string(c->config.name);
    put("}}\r\n");
}

/* ------------------------------------------------------------------ input */

static void received(UNUSED struct job *j)
{
    while (qmp.tail != qmp.head) {
        enum json_event e = json_feed(&qmp.json, qmp.input[qmp.tail++ % INPUT_BYTES]);

        if (e == JSON_DONE)
            execute();
        qmp.id[0] = '\0';
        if (e == JSON_ERROR)
            put_error("GenericError", "Invalid JSON syntax, or more than is taken");
    }
}

/* What does not fit is lost. */
static void interrupt(UNUSED unsigned vector)
{
    int byte;

    for (unsigned i = 0; i < ROUNDS_MAX && serial_pending(&serial_com2); i++) {
        while ((byte = serial_get(&serial_com2)) >= 0)
            if (qmp.head - qmp.tail < INPUT_BYTES)
                qmp.input[qmp.head++ % INPUT_BYTES] = (uint8_t)byte;
        serial_pump(&serial_com2);
    }
    job_post(&qmp.received);
}

void qmp_start(void)
{
    qmp.received.run = received;
    json_init(&qmp.json);
    if (!serial_init(&serial_com2))
        return;
    vmctl_listen(tell);
    interrupt_register(HOST_VECTOR_IRQ + SERIAL_COM2_IRQ, interrupt);
    if (!interrupt_enable_isa(SERIAL_COM2_IRQ))
        return;
    serial_enable_interrupts(&serial_com2);
    greet();
}
