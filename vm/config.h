/*
 * The VMs of this machine, as its administrator writes them down: the first boot module is a text
 * file in the INI syntax of git-config and systemd. docs/configuration.md is its manual.
 */
#ifndef VM_CONFIG_H
#define VM_CONFIG_H

#include "lib/types.h"

#define CONFIG_NAME_MAX    32   /* bytes, with the terminating zero: so are all of these */
#define CONFIG_MODULE_MAX  128  /* the name of a boot module */
#define CONFIG_CMDLINE_MAX 2048 /* what Linux takes at most on x86 */
#define CONFIG_MAX_CPUS    16
#define CONFIG_MIN_MEMORY  MIB(2)
#define CONFIG_MAX_MEMORY  GIB(256)
#define CONFIG_MAX_SHARES  1000000
#define CONFIG_DISKS       4 /* on IDE: two channels with two each */

/* What happens to a VM that ended; the names are those of xl. */
enum config_action {
    CONFIG_DESTROY,  /* it goes away and its memory is freed */
    CONFIG_RESTART,  /* it is started anew */
    CONFIG_PRESERVE, /* it stays as it was, for looking at */
};

/* Where a guest's serial port goes. */
enum config_serial {
    CONFIG_SERIAL_CONSOLE, /* to the operator's console, both ways */
    CONFIG_SERIAL_NULL,    /* nowhere */
    CONFIG_SERIAL_LOG,     /* to the VM's log, no input */
};

/* How the kernel is started. */
enum config_boot {
    CONFIG_BOOT_AUTO, /* as the file says that it wants */
    CONFIG_BOOT_LINUX,
    CONFIG_BOOT_MULTIBOOT,
};

/* Where firmware looks for a system; the names are those of boot_order. */
enum config_boot_device {
    CONFIG_BOOT_FLOPPY,
    CONFIG_BOOT_DISK,
    CONFIG_BOOT_CDROM,
    CONFIG_BOOT_NETWORK,
    CONFIG_BOOT_DEVICES,
};

/* Whether the VM has a display adapter. */
enum config_vga {
    CONFIG_VGA_AUTO, /* when something shows its screen, or firmware starts it */
    CONFIG_VGA_NO,
    CONFIG_VGA_YES,
};

/* Where its screen is shown and its keyboard is typed on. */
enum config_screen {
    CONFIG_SCREEN_NONE,
    CONFIG_SCREEN_CONSOLE, /* the operator's console */
};

struct vm_config {
    bool valid;    /* false: something was wrong with it, and that was reported */
    unsigned line; /* of its section header */
    char name[CONFIG_NAME_MAX];
    uint64_t memory; /* bytes, whole pages */
    uint64_t cpus;
    char kernel[CONFIG_MODULE_MAX];
    char initrd[CONFIG_MODULE_MAX]; /* "": none */
    char cmdline[CONFIG_CMDLINE_MAX];
    enum config_boot boot;
    char firmware[CONFIG_MODULE_MAX]; /* "": none, a kernel is started */
    char vgabios[CONFIG_MODULE_MAX];  /* these are "" for none too */
    char floppy[CONFIG_MODULE_MAX];
    char disk[CONFIG_DISKS][CONFIG_MODULE_MAX];
    char cdrom[CONFIG_MODULE_MAX];
    /* enum config_boot_device + 1, in the order in which they are tried; 0: the list ends. */
    uint8_t boot_order[CONFIG_BOOT_DEVICES];
    bool boot_menu; /* firmware offers to choose another one */
    enum config_serial com1;
    enum config_vga vga;
    enum config_screen screen;
    enum config_action on_poweroff, on_reboot, on_crash;
    /* Its part of the CPUs: sched/group.h. */
    uint64_t cpu_shares, cpu_reservation, cpu_limit, cpu_affinity;
    bool acpi;          /* the guest gets ACPI tables */
    bool start;         /* started when the host comes up */
    bool debug_console; /* ports 0xE9 and 0x402 write to the VM's log */
    bool debug_exit;    /* a write to port 0x501 turns the VM off */
};

struct config_ops {
    /* One error, as one line without newline: "tithe.conf:12: memory = 3X: not a size (...)". */
    void (*report)(void *opaque, const char *line);
    /* Whether there is a boot module of that name. NULL: names are not checked. */
    bool (*module_exists)(void *opaque, const char *name);
    void *opaque;
};

/*
 * Parses text[n], whatever is in it; file is its name for messages. Fills vms[max] in the file's
 * order and returns how many sections were found (at most max; more are reported). Those with an
 * error have valid unset; errors outside of any section are only reported.
 */
unsigned config_parse(const char *text, size_t n, const char *file, struct vm_config *vms,
                      unsigned max, const struct config_ops *ops);

#endif
