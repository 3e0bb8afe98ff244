/* QEMU's machine protocol (docs/interop/qmp-spec of QEMU) on COM2. Docs: docs/console.md. */
#ifndef VM_QMP_H
#define VM_QMP_H

/* Greets whoever is there and takes commands, if the machine has a COM2. Before VMs are made. */
void qmp_start(void);

#endif
