"""KVM: Debian's cloud kernel, the one of Tithe's guest, with its own kvm-intel, and kvm.c."""
import glob
import os
import re
import subprocess

from bench_machine import BENCH_ELF, BUILD, GUEST_MEMORY_MB, ROOT, MachineError, read_result
from tithe_iso import GUEST_KERNEL, bare_iso
from tithe_machine import Bochs

HERE = os.path.dirname(os.path.abspath(__file__))
HOST_MEMORY_MB = 768
TIME_LIMIT = 900
# Mitigations off: what the hypervisor costs, not what a CPU's faults do. The PIT ticks, as Linux
# is misled about the APIC timer's frequency by what CPUID says here.
CMDLINE = "console=ttyS0 quiet mitigations=off nolapic_timer"
NOTE = "UART, PCI, ACPI timer and unclaimed ports are in user space there"
MODULES = ("irqbypass", "kvm", "kvm-intel")


def _package():
    """The package that the guest's kernel is from: its modules are wanted too."""
    found = glob.glob(os.path.join(BUILD, "guest", "debs", "linux-image-*.deb"))
    if len(found) != 1:
        raise MachineError("no package of the guest's kernel in build/guest/debs (make guest)")
    return found[0]


def _unpack_modules(work):
    """Files of the modules by name."""
    package = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", _package()], stdout=subprocess.PIPE)
    names = [f"*/{name}.ko" for name in MODULES]
    done = subprocess.run(["tar", "-x", "-C", work, "--wildcards"] + names, stdin=package.stdout,
                          capture_output=True, text=True)
    package.stdout.close()
    package.wait()
    found = {name: glob.glob(f"{work}/**/{name}.ko", recursive=True) for name in MODULES}
    if done.returncode or not all(found.values()):
        raise MachineError(f"the kernel's package lacks KVM's modules: {done.stderr.strip()}")
    return {name: paths[0] for name, paths in found.items()}


def _make_init(work):
    with open(os.path.join(HERE, "init.kvm")) as file:
        text = file.read().replace("MEBIBYTES", str(GUEST_MEMORY_MB))
    path = os.path.join(work, "init")
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o755)
    return path


def run(work):
    """Returns the result, what it was measured on, and what to know about it."""
    initrd, iso = os.path.join(work, "initrd.img"), os.path.join(work, "kvm.iso")
    entries = ["bin/", "dev/", "proc/", "dev/console:c:5:1", f"init={_make_init(work)}",
               f"bin/busybox={BUILD}/guest/busybox", f"bench.elf={BENCH_ELF}",
               f"bench-kvm={BUILD}/bench/kvm"]
    entries += [f"{name}.ko={path}" for name, path in _unpack_modules(work).items()]
    subprocess.run([os.path.join(ROOT, "scripts", "make-cpio"), initrd] + entries, check=True)
    bare_iso(iso, GUEST_KERNEL, initrd, CMDLINE)
    result = read_result(Bochs(iso, HOST_MEMORY_MB, deterministic=True), "KVM", TIME_LIMIT)
    version = re.search(r"linux-image-(.*?)_(.*?)_", os.path.basename(_package()))
    what = f"KVM of Linux {version[2]} ({version[1]}), {CMDLINE.split(' ', 2)[2]}"
    return result, what, NOTE
