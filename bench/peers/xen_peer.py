"""Xen: Debian's hypervisor, a Debian dom0 with xl, and the guest as a PVH domain."""
import glob
import gzip
import lzma
import os
import re
import shutil
import struct
import subprocess

from bench_machine import (BENCH_ELF, BUILD, GUEST_MEMORY_MB, ROOT, MachineError, grub_iso,
                           read_result)
from tithe_machine import Bochs

HERE = os.path.dirname(os.path.abspath(__file__))
FILES = os.path.join(BUILD, "bench", "xen")
TREE = os.path.join(FILES, "root")
HOST_MEMORY_MB = 1024
TIME_LIMIT = 1800
# Mitigations off, as with KVM. The guest has no COM1: its lines come by Xen's own console, which
# must not send them by interrupts while the guest measures.
XEN_CMDLINE = ("com1=115200,8n1 console=com1 sync_console dom0_mem=512M,max:512M "
               "dom0_max_vcpus=1 spec-ctrl=no guest_loglvl=all")
DOM0_CMDLINE = "console=hvc0 quiet mitigations=off"
MODULES = ("xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-privcmd", "xenfs")
PROGRAMS = ("xl", "xenstored", "xenconsoled", "xen-init-dom0")
DIRECTORIES = ("bin", "dev", "dev/pts", "etc", "etc/xen", "lib", "lib64", "proc", "run", "sys",
               "tmp", "usr", "usr/lib", "var", "var/lib", "var/lib/xen", "var/lib/xenstored",
               "var/lock", "var/log", "var/log/xen")
# Linux' boot protocol: where the header tells the size of the setup code and the payload's place.
SETUP_SECTORS = 0x1f1
PAYLOAD = 0x248
NOTE = "no PIC, PIT, UART, PCI, ACPI timer, IOAPIC there: nobody claims these accesses"
# Less than maxmem: memory is then given on first touch.
DOMAIN = f"""\
name = "bench"
type = "pvh"
kernel = "/bench.elf"
memory = {GUEST_MEMORY_MB - 1}
maxmem = {GUEST_MEMORY_MB}
vcpus = 1
on_poweroff = "destroy"
on_crash = "destroy"
"""


def _one(pattern):
    found = glob.glob(os.path.join(TREE, pattern), recursive=True)
    if not found:
        raise MachineError(f"Debian's packages have no {pattern}")
    return found[0]


def _libraries(program):
    """The shared libraries of a program as {name in the initramfs: file}."""
    directory = os.path.dirname(_one("usr/lib/**/libxenctrl.so.4.17"))
    done = subprocess.run(["ldd", program], capture_output=True, text=True,
                          env=dict(os.environ, LD_LIBRARY_PATH=directory))
    if done.returncode or "not found" in done.stdout:
        raise MachineError(f"{os.path.basename(program)}: libraries are missing")
    found = {f"lib/{name}": path for name, path in
             re.findall(r"^\s*(\S+) => (/\S+)", done.stdout, re.M)}
    for path in re.findall(r"^\s*(/\S+) \(", done.stdout, re.M):
        found[path.strip("/")] = path
    return found


def _make_initrd(work):
    config = os.path.join(work, "bench.cfg")
    with open(config, "w") as file:
        file.write(DOMAIN)
    files = {"init": os.path.join(HERE, "init.xen"), "bin/busybox": f"{BUILD}/guest/busybox",
             "bench.elf": BENCH_ELF, "bench.cfg": config}
    for name in PROGRAMS:
        files[f"bin/{name}"] = _one(f"usr/lib/xen-4.17/bin/{name}")
        files.update(_libraries(files[f"bin/{name}"]))
    for name in MODULES:
        files[f"{name}.ko"] = _one(f"lib/modules/**/{name}.ko")
    directories = [f"{name}/" for name in DIRECTORIES]
    initrd = os.path.join(work, "initrd.img")
    subprocess.run([os.path.join(ROOT, "scripts", "make-cpio"), initrd, *directories,
                    "dev/console:c:5:1", "var/run@/run",
                    *(f"{name}={path}" for name, path in files.items())], check=True)
    return initrd


def _unpack_kernel(work):
    """The ELF file within the bzImage: Xen needs thousands of millions of instructions for it."""
    with open(_one("boot/vmlinuz-*"), "rb") as file:
        image = file.read()
    start = (image[SETUP_SECTORS] + 1) * 512
    offset, length = struct.unpack_from("<II", image, PAYLOAD)
    payload = image[start + offset:start + offset + length]
    path = os.path.join(work, "vmlinux")
    with open(path, "wb") as file:
        # The last four bytes are the size once more, for the kernel's own unpacker.
        file.write(lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload))
    return path


def _versions():
    with open(os.path.join(FILES, "version")) as file:
        found = dict(line.split() for line in file)
    hypervisor = next(v for name, v in found.items() if name.startswith("xen-"))
    kernel = next(name for name in found if name.startswith("linux-"))
    kernel = kernel.removeprefix("linux-image-")
    return f"Xen {hypervisor} (dom0 {kernel}), spec-ctrl=no; PVH guest"


def run(work):
    """Returns the result, what it was measured on, and what to know about it."""
    if subprocess.run([os.path.join(HERE, "fetch"), FILES]).returncode:
        raise MachineError("no Xen to compare with")
    xen, iso = os.path.join(work, "xen.elf"), os.path.join(work, "xen.iso")
    with gzip.open(_one("boot/xen-*.gz")) as packed, open(xen, "wb") as plain:
        shutil.copyfileobj(packed, plain)
    grub_iso(iso, "multiboot", {"xen": xen, "vmlinux": _unpack_kernel(work),
                                "initrd.img": _make_initrd(work)},
             [f"multiboot (cd)/xen {XEN_CMDLINE}",
              f"module (cd)/vmlinux {DOM0_CMDLINE}",
              "module (cd)/initrd.img"])
    what = _versions()
    machine = Bochs(iso, HOST_MEMORY_MB, deterministic=True)
    return read_result(machine, "Xen", TIME_LIMIT, stop_when_done=True), what, NOTE
