"""Guests besides Debian's cloud kernel: its 32-bit kernels."""
import os
import subprocess

from case import BUILD, Case, Failed, Skipped, Step

SCRIPTS = os.path.join(os.path.dirname(BUILD), "scripts")


def prepare(*command):
    """Runs a script that may have to download packages; without a network its case is skipped."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    said = [line for line in done.stderr.splitlines() if line.strip()]
    for line in said if done.returncode else ():
        if "cannot download" in line:
            raise Skipped(line)
    if done.returncode:
        raise Failed(f"{os.path.basename(command[0])}: {said[-1] if said else 'no message'}")


# ------------------------------------------------------------------ 32-bit kernels


class Linux32:
    """Debian's kernel linux-image-NAME of i386, and busybox of i386 in the initramfs."""

    def __init__(self, name, nx, groups):
        self.name = name
        self.groups = groups
        self.directory = os.path.join(BUILD, "guest-" + name)
        self.steps = (
            Step("uname -a", rf"^Linux tithe 6\.\d+[^ ]*-{name} .* i686"),
            # A program of 32 bits, as its ELF header says.
            Step("head -c 5 /bin/busybox | tail -c 1 | hexdump -e '1/1 \"class %d\\n\"'",
                 r"^class 1$"),
            Step("grep MemTotal /proc/meminfo", r"MemTotal: +2\d{5} kB"),
            Step("dmesg | grep 'NX (Execute'", nx),
            Step("dmesg | grep -ciE 'BUG:|Oops|Call Trace'", r"^0$"),
            Step("dd if=/dev/urandom of=/tmp/a bs=64k count=16 2>/dev/null; cp /tmp/a /tmp/b; "
                 "cmp /tmp/a /tmp/b && echo same", r"^same$"),
            Step("a=$(date +%s); sleep 2; b=$(date +%s); echo slept $((b - a))", r"^slept [23]$"),
            Step("echo $((6 * 7))", r"^42$"),
        )

    def kernel(self, directory):
        del directory
        prepare(os.path.join(SCRIPTS, "make-guest"), self.directory, "linux-image-" + self.name,
                "i386")
        return os.path.join(self.directory, "vmlinuz")

    def initrd(self, directory):
        del directory
        return os.path.join(self.directory, "initrd.img")

    def case(self):
        return Case("linux-" + self.name, kernel=self.kernel, initrd=self.initrd, steps=self.steps,
                    limit=400, groups=self.groups)


CASES = [
    Linux32("686", r"cannot be enabled: non-PAE kernel", ("all",)).case(),
    Linux32("686-pae", r"protection: active", ("normal",)).case(),
]
