/* Which disks a VM has, from its configuration. */
#include "vm/vm.h"

struct disk_image vm_disk_image(const char *name, bool cdrom)
{
    struct disk_image d = {.name = name, .read_only = cdrom, .cdrom = cdrom};

    d.data = vm_module(name, &d.size);
    return d;
}

/* The CD-ROM is where it is on most PCs, or in the next place that is free. */
void vm_disks_config(struct vm *vm, struct machine_config *config)
{
    const struct vm_config *c = &vm->config;
    static const uint8_t cdrom_places[DISK_IMAGES] = {2, 3, 1, 0};

    for (unsigned i = 0; i < DISK_IMAGES; i++)
        config->disk[i] = vm_disk_image(c->disk[i], false);
    for (unsigned i = 0; i < DISK_IMAGES && c->cdrom[0] != '\0'; i++)
        if (config->disk[cdrom_places[i]].data == NULL) {
            config->disk[cdrom_places[i]] = vm_disk_image(c->cdrom, true);
            break;
        }
}
