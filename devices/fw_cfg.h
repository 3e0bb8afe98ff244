/*
 * What firmware is told about its machine: the fw_cfg device of QEMU (docs/specs/fw_cfg.rst there;
 * numbers from <linux/qemu_fw_cfg.h>). Items are bytes with a number; most are files, with a name
 * in a directory. Nothing can be written.
 */
#ifndef DEVICES_FW_CFG_H
#define DEVICES_FW_CFG_H

#include "lib/types.h"

#define FW_CFG_MAX_FILES 24
#define FW_CFG_NAME_MAX  56 /* of a name, with the terminating zero */

struct firmware_file {
    const char *name;
    const void *data; /* stays there, unchanged, as long as the machine does */
    uint32_t size;    /* of data */
    uint32_t padded;  /* of the file, which goes on with zeroes then; 0: the same */
};

#endif
