"""Tithe itself over the network: firmware's PXE, GRUB, and then everything by TFTP."""
import os
import re
import subprocess

from case import (BUILD, Case, Failed, expect_end, expect_fatal, last_words, save, short, vm_config)
from tithe_netboot import make_net_machine, tithe_netboot

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts")
GUEST = os.path.join(BUILD, "guests", "witness.elf")
CONFIG = vm_config("guest.elf", None, "", "64M", 1, "net")


def boot(missing=None, folder="", config=CONFIG):
    """What runs a case: boots a guest kernel from a directory in which one file is missing."""
    def run(case, directory):
        server = os.path.join(directory, folder)
        tithe_netboot(server, config, {"guest.elf": GUEST}, case.options)
        if missing:
            os.unlink(os.path.join(server, missing))
        with make_net_machine(case.platform, server, case.host_memory, case.host_cpus) as machine:
            machine.start(case.limit)
            try:
                judge(case, machine, missing)
            finally:
                save(case.name, machine)
    return run


def judge(case, machine, missing):
    if not case.fatal:
        return expect_end(case, machine)
    expect_fatal(case, machine)
    # GRUB has no exit status to tell: the machine must have ended by itself.
    if missing and machine.timed_out:
        raise Failed(f"not at its end after {case.limit} s: {last_words(machine)}")
    return None if missing else expect_end(case, machine)


def make_net_linux(case, directory):
    """`make run-pxe` as users have it, with commands by a pipe."""
    del directory
    environment = dict(os.environ, PLATFORM="bochs", TIME_LIMIT=str(case.limit))
    done = subprocess.run([os.path.join(SCRIPTS, "run-pxe")], capture_output=True, text=True,
                          input="echo $((6 * 7))\npoweroff -f\n", errors="replace",
                          env=environment, timeout=case.limit + 30)
    if done.returncode or "\n42" not in done.stdout:
        raise Failed(f"exit status {done.returncode}: {short(done.stderr)}")
    for line in ("loading vmlinuz", "loading initrd.img", "boot: by GRUB .* 3 modules"):
        if not re.search(f"tithe: {line}", done.stdout):
            raise Failed(f"no line says /{line}/")


def mistakes(case, directory):
    """What cannot be booted from is said at once, in a line of its own."""
    del case
    for platform, variables, said in (
            ("bochs", {"NETBOOT": directory}, "no tithe.pxe there"),
            ("qemu-tcg-uefi", {"NETBOOT": directory}, "no tithe.efi there"),
            ("bochs", {"KERNEL": os.path.join(directory, "nothing")}, "no such file"),
            ("bochs", {"OPTIONS": "a;b"}, "has a character GRUB reads")):
        done = subprocess.run([os.path.join(SCRIPTS, "run-pxe")], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=60,
                              env=dict(os.environ, TIME_LIMIT="1", PLATFORM=platform, **variables))
        fault = done.stderr.strip().splitlines()[-1:]
        if done.returncode != 1 or not fault or said not in fault[0]:
            raise Failed(f"{variables}: status {done.returncode}, {short(done.stderr)}")


NO_VTX = r"VT-x"
BY_GRUB = r"boot: by GRUB .*, 2 modules"

CASES = [
    # The summary of the guest kernel: everything came over the network, whole.
    Case("netboot-bochs", run=boot(), host_memory=256, says=r"^\d+ passed, 0 failed"),
    Case("netboot-linux", run=make_net_linux, limit=400, groups=("all",)),
    Case("netboot-tcg", platform="qemu-tcg", run=boot(folder="a/folder"), fatal=NO_VTX,
         says=BY_GRUB, limit=60, groups=("quick", "normal")),
    Case("netboot-tcg-uefi", platform="qemu-tcg-uefi", run=boot(), fatal=NO_VTX,
         says=BY_GRUB, limit=90),
    Case("netboot-mistakes", run=mistakes, limit=60),
] + [
    Case(f"netboot-no-{missing}-{platform}", platform=platform, run=boot(missing), limit=90,
         fatal=rf"^tithe: fatal: GRUB could not load {re.escape(missing)} from \(tftp,[\d.]+\)$",
         groups=("normal",) if missing == "guest.elf" and platform != "bochs" else ("all",))
    for missing, platform in (("guest.elf", "qemu-tcg"), ("guest.elf", "qemu-tcg-uefi"),
                              ("guest.elf", "bochs"), ("tithe.cfg", "qemu-tcg"),
                              ("tithe.elf", "qemu-tcg"))
]
