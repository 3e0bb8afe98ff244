"""Runs the benchmark's guest kernel somewhere and reads what it says."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "scripts"))
from tithe_iso import BUILD, TITHE_ELF, tithe_iso  # noqa: E402
from tithe_machine import MachineError, make_machine  # noqa: E402

# Built to count accesses to VMCS fields.
COUNT_ELF = os.path.join(BUILD, "count", "tithe.elf")
BENCH_ELF = os.path.join(BUILD, "bench", "bench.elf")
# The last MiB cannot be a large page: that is where first touches of small ones are measured.
GUEST_MEMORY_MB = 129
HOST_OVERHEAD_MB = 256
TIME_LIMIT = 120
PROGRESS_SECONDS = 15
GRUB_LIB = os.environ.get("GRUB_LIB", "/usr/lib/grub")

ROW = re.compile(r"bench (\w+) (-?\d+) (-?\d+) (-|[\d.]+)(?: reason=(\d+) ticks=(\d+))?"
                 r"(?: reads=([\d.]+) writes=([\d.]+))?\s*$")
SKIP = re.compile(r"skip (\w+) (.*?)\s*$")
DONE = b"bench done"
UNDER = re.compile(r"bench under (.*?)\s*$")


class Result:
    """What runs of the guest said: rows by name, in order."""

    def __init__(self, text):
        self.rows, self.skipped, self.under, self.done = {}, {}, None, False
        for line in text.splitlines():
            self._take(line)

    def add(self, other):
        """Takes another run's rows in, behind our own."""
        self.rows.update(other.rows)
        self.skipped.update(other.skipped)

    def _take(self, line):
        line = re.sub(r"^.*?(bench |skip )", r"\1", line)
        if m := ROW.match(line):
            row = {"median": int(m[2]), "min": int(m[3])}
            if m[4] != "-":
                row.update(exits=float(m[4]), reason=int(m[5]) if m[5] else None,
                           ticks=int(m[6]) if m[6] else 0)
            if m[7]:
                row.update(reads=float(m[7]), writes=float(m[8]))
            self.rows[m[1]] = row
        elif m := SKIP.match(line):
            self.skipped[m[1]] = m[2]
        elif m := UNDER.match(line):
            self.under = m[1]
        elif line.strip() == DONE.decode():
            self.done = True


def _read_with_progress(machine, what, stop_when_done):
    """Reads until the machine has ended, and says how far it is where that takes long."""
    start = said = time.monotonic()
    while machine.read(1) != b"" and not (stop_when_done and DONE in machine.transcript):
        if time.monotonic() - said > PROGRESS_SECONDS:
            said = time.monotonic()
            rows = machine.transcript.count(b"bench ")
            print(f"  bench: {what}: {rows} lines after {said - start:.0f} s", file=sys.stderr,
                  flush=True)
    return bytes(machine.transcript).decode(errors="replace")


def read_result(machine, what, limit=TIME_LIMIT, stop_when_done=False):
    """Runs a machine to its end (or the guest's) and reads the result, which has to be whole."""
    with machine:
        machine.start(limit)
        text = _read_with_progress(machine, what, stop_when_done)
        result = Result(text)
        if not result.done:
            last = (text.strip().splitlines() or ["nothing"])[-1]
            why = "its time limit" if machine.timed_out else machine.end_reason()
            raise MachineError(f"{what}: ended too early by {why}; last line: {last}")
    return result


def _command(arguments, directory):
    done = subprocess.run(arguments, cwd=directory, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise MachineError(f"{arguments[0]}: {lines[-1]}")


def grub_iso(iso, module, files, commands):
    """Files {name: path} and GRUB, which carries out the commands at once: they are built in."""
    directory = tempfile.mkdtemp(prefix="iso-", dir=os.path.dirname(iso))
    try:
        tree = os.path.join(directory, "tree")
        os.mkdir(tree)
        for name, path in files.items():
            shutil.copy(path, os.path.join(tree, name))
        with open(os.path.join(directory, "early.cfg"), "w") as file:
            file.write("\n".join(commands + ["boot", ""]))
        _command(["grub-mkimage", "-O", "i386-pc-eltorito", "-d", f"{GRUB_LIB}/i386-pc", "-p",
                  "/boot/grub", "-c", "early.cfg", "-o", "tree/grub.img", "iso9660", "biosdisk",
                  module], directory)
        _command(["xorriso", "-report_about", "SORRY", "-as", "mkisofs", "-o", iso, "-r", "-b",
                  "grub.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table",
                  "--grub2-boot-info", "tree"], directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _machine(platform, iso, memory, cpus):
    options = {"deterministic": True} if platform == "bochs" else {}
    return make_machine(platform, iso, memory, cpus, **options)


def run_bare(work, platform, words="", cpus=1):
    """Without Tithe; words are the guest's command line."""
    iso = os.path.join(work, "bare.iso")
    grub_iso(iso, "multiboot", {"guest.elf": BENCH_ELF}, [f"multiboot (cd)/guest.elf {words}"])
    return read_result(_machine(platform, iso, GUEST_MEMORY_MB, cpus), f"{platform} without Tithe")


def _vm(name, words, cpus=1, extra=""):
    return (f'[vm "{name}"]\nmemory = {GUEST_MEMORY_MB}M\ncpus = {cpus}\nkernel = bench.elf\n'
            f"cmdline = {words}\n{extra}\n")


def _run_vms(work, platform, options, vms, cpus, elf):
    iso = os.path.join(work, "tithe.iso")
    tithe_iso(iso, "".join(vms), {"bench.elf": BENCH_ELF}, f"exit=poweroff {options}".strip(),
              elf)
    memory = GUEST_MEMORY_MB * len(vms) + HOST_OVERHEAD_MB
    return read_result(_machine(platform, iso, memory, cpus), f"Tithe in {platform}")


def run_tithe(work, platform, options, words="", cpus=1, elf=TITHE_ELF):
    """Under Tithe; options are further words of its own command line."""
    return _run_vms(work, platform, options, [_vm("bench", words, cpus)], cpus, elf)


def run_two_vms(work, platform, options, elf=TITHE_ELF):
    """Two VMs on one CPU, which they hand to each other."""
    vms = [_vm("bench", "switch"), _vm("partner", "partner", extra="com1 = null")]
    return _run_vms(work, platform, options, vms, 1, elf)
