"""The end-to-end cases. What Tithe has to say in each is in this one place."""
import os
import random
import re
import subprocess
import sys
import time

import pexpect

import disks
import display
import guests as more_guests
import netboot
import operator_console
from case import (GUEST_INITRD, GUEST_KERNEL, RESULTS, TITHE_ELF, Case, Failed, Step,
                  run_machine)
from firmware import FIRMWARE

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench"))
import exit_times  # noqa: E402

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts")

# ------------------------------------------------------------------ files that are not as usual


def head_of_kernel(size):
    def make(directory):
        path = os.path.join(directory, "short")
        with open(GUEST_KERNEL, "rb") as source, open(path, "wb") as file:
            file.write(source.read(size))
        return path
    return make


def garbage(size):
    def make(directory):
        path = os.path.join(directory, "garbage")
        with open(path, "wb") as file:
            file.write(random.Random(size).randbytes(size))
        return path
    return make


# ------------------------------------------------------------------ a guest that works

LINUX = (
    Step("uname -a", r"^Linux tithe 6\.\d+.* x86_64"),
    Step("grep -c ^processor /proc/cpuinfo", r"^1$"),
    Step("grep MemTotal /proc/meminfo", r"MemTotal: +2\d{5} kB"),
    Step("dmesg | grep -ciE 'BUG:|Oops|Call Trace'", r"^0$"),
    Step("dmesg | grep -iE 'hypervisor|tsc:|clocksource'", r"clocksource"),
    Step("cat /proc/interrupts", r"(?i)timer"),
    Step("cat /proc/consoles", r"ttyS0"),
    # Time goes on, and at the pace of the clock: a sleep of 2 is 2 by the clock, and not 4.
    Step("a=$(date +%s); sleep 2; b=$(date +%s); echo slept $((b - a))", r"^slept [23]$"),
    Step("i=0; while [ $i -lt 2000 ]; do i=$((i + 1)); done; echo $i", r"^2000$"),
    Step("dd if=/dev/urandom of=/tmp/a bs=64k count=64 2>/dev/null; cp /tmp/a /tmp/b; "
         "cmp /tmp/a /tmp/b && echo same", r"^same$"),
    Step("sleep 100 & kill $!; wait; echo jobs-$?", r"^jobs-"),
    Step("yes tithe | head -c 6000 | md5sum", r"^[0-9a-f]{32}"),
)
BRIEF = (Step("uname -r", r"^6\."), Step("echo $((6 * 7))", r"^42$"))
COUNT = "i=0; while [ $i -lt 1000 ]; do i=$((i + 1)); done"
SMP = (
    Step("grep -c ^processor /proc/cpuinfo", r"^2$"),
    Step("dmesg | grep -ciE 'BUG:|Oops|Call Trace|inconsistent|lockup|stall'", r"^0$"),
    # Both have timers, and something to do at once.
    Step("grep LOC: /proc/interrupts", r"LOC: +[1-9]\d* +[1-9]\d* "),
    Step(f"({COUNT}) & ({COUNT}) & wait; echo both-$?", r"^both-0$"),
)
MODELS = ("corei5_arrandale_m520", "corei7_sandy_bridge_2600k", "corei7_haswell_4770",
          "broadwell_ult")



def timed_exits(case, directory):
    """What `stats` says of the exits at the VM's end agrees in itself."""
    run_machine(case, directory)
    with open(os.path.join(RESULTS, case.name + ".serial"), errors="replace") as file:
        vms = exit_times.read_log(file.read())
    if not any(vm["times"] for vm in vms.values()):
        raise Failed("no exit times")
    for name, vm in vms.items():
        for problem in exit_times.problems(vm):
            raise Failed(f"{name}: {problem}")


STATS = "exit=poweroff stats"
guests = [
    Case("linux", steps=LINUX, groups=("quick", "normal")),
    Case("linux-exit", end="exit", steps=BRIEF),
    Case("linux-exit-times", steps=BRIEF, options=STATS, run=timed_exits),
    Case("linux-smp-exit-times", steps=BRIEF, options=STATS, run=timed_exits, cpus=2, host_cpus=2,
         limit=400, groups=("all",)),
    Case("linux-verbose", cmdline="console=ttyS0", steps=BRIEF),
    Case("linux-plain-vtx", steps=BRIEF, options="exit=poweroff without=TPR_shadow,VPID,"
         "preemption_timer,EPT_2M_pages,EPT_accessed/dirty,RDTSCP,INVPCID,XSAVES"),
    Case("linux-smp", steps=SMP + BRIEF, cpus=2, host_cpus=2, limit=400),
    Case("linux-96M", memory="96M", steps=BRIEF, groups=("all",)),
    Case("linux-1G", memory="1G", host_memory=1536, steps=BRIEF, groups=("all",)),
] + [Case(f"model-{model}", model=model, steps=BRIEF, groups=("normal",))
     for model in MODELS]

# ------------------------------------------------------------------ machines that will not do

NO_VTX = r"VT-x"
NO_EPT = r"EPT"
NO_MEMORY = r"memory"
NO_VM = r"no VM could be started"



def lock_vtx():
    """No emulator's firmware locks VT-x off, so the debugger changes what Tithe reads."""
    code = subprocess.run(["objdump", "-d", "--no-show-raw-insn",
                           "--disassemble=vmx_feature_control", TITHE_ELF],
                          capture_output=True, text=True, check=True).stdout
    end = re.search(r"^\s*([0-9a-f]+):\s+ret", code, re.M)[1]
    return (f"lb 0x{end}", "c", "set rax = 1", "bpd 1", "c")


machines = [
    Case(f"tcg-{firmware}-{cpus}cpu-{memory}M", platform=platform, host_cpus=cpus,
         host_memory=memory, fatal=NO_VTX, limit=60,
         groups=("quick", "normal") if memory == 256 and cpus == 1 else ("normal",))
    for firmware, platform in (("bios", "qemu-tcg"), ("uefi", "qemu-tcg-uefi"))
    for cpus in (1, 4) for memory in (256, 6144)
] + [
    Case("no-vtx-intel", model="p4_prescott_celeron_336", fatal=NO_VTX),
    Case("no-vtx-amd", model="athlon64_clawhammer", fatal=NO_VTX, groups=("all",)),
    Case("vtx-locked", debugger=lock_vtx, fatal=r"locked off by the firmware"),
    Case("no-ept", model="core2_penryn_t9600", fatal=NO_EPT),
    Case("little-memory", host_memory=32, fatal=NO_MEMORY),
]

# ------------------------------------------------------------------ input that is wrong


def config(*lines):
    return "\n".join(('[vm "debian"]', *lines)) + "\n"


KERNEL = "kernel = vmlinuz"
inputs = [
    Case("no-config", config=None, fatal=r"no configuration"),
    Case("kernel-truncated", kernel=head_of_kernel(1 << 20), fatal=NO_VM,
         says=r"kernel: truncated, it has"),
    Case("kernel-header-only", kernel=head_of_kernel(600), fatal=NO_VM,
         says=r"debian: not started: ", groups=("all",)),
    Case("kernel-garbage", kernel=garbage(1 << 20), fatal=NO_VM,
         says=r"neither a Linux bzImage nor a multiboot kernel"),
    Case("kernel-empty", kernel=garbage(0), fatal=NO_VM,
         says=r"debian: not started: ", groups=("all",)),
    Case("initrd-too-large", memory="96M", initrd=garbage(40 << 20), fatal=NO_VM,
         says=r"debian: not started: .*initrd"),
    Case("config-empty", config="\n", fatal=r"describes no VM"),
    Case("config-unknown-key", config=config(KERNEL, "memroy = 1G"), fatal=NO_VM,
         says=r"tithe\.conf:3: memroy: unknown key"),
    Case("config-bad-size", config=config(KERNEL, "memory = lots"),
         fatal=NO_VM, says=r"tithe\.conf:3: memory = lots: not a size", groups=("all",)),
    Case("config-no-module", config=config("kernel = nowhere", "memory = 64M"),
         fatal=NO_VM, says=r"tithe\.conf:2: kernel = nowhere: no such boot module"),
    Case("config-no-kernel", config=config("memory = 64M"), fatal=NO_VM,
         says=r"no kernel", groups=("all",)),
    Case("config-garbage", config="\x01\x02[[[\x7f" * 50,
         fatal=r"describes no VM|no VM could be started", says=r"tithe\.conf:1: "),
]

# ------------------------------------------------------------------ `make run` as users have it


def terminal(case, directory):
    """scripts/run in a terminal: keys, Ctrl-C in the guest, the terminal put back at the end."""
    del directory
    environment = dict(os.environ, PLATFORM="bochs", TIME_LIMIT=str(case.limit))
    child = pexpect.spawn("/bin/sh", ["-c", 'stty -a | cksum; "$0"; echo "status=$?"; '
                                            "stty -a | cksum",
                                      os.path.join(SCRIPTS, "run")],
                          env=environment, timeout=case.limit, dimensions=(30, 100))
    try:
        child.expect(r"(\d+ \d+)\r\n")
        before = child.match.group(1)
        child.expect(r"Ctrl-\] ends")
        child.expect("tithe:[^\r\n]*# ")
        child.send("sleep 1000\r")
        time.sleep(2)
        child.send("\x03")
        child.expect(r"\^C")
        child.send("echo interrupted=$?\r")
        child.expect("interrupted=130")
        if "ctrl-]" in case.name:
            child.send("\x1d")
        else:
            child.send("poweroff -f\r")
        child.expect(r"status=(\d+)\r\n")
        if child.match.group(1) != b"0":
            raise Failed(f"exit status {child.match.group(1).decode()}")
        child.expect(r"(\d+ \d+)\r\n")
        if child.match.group(1) != before:
            raise Failed("the terminal was not put back as it had been")
    except (pexpect.TIMEOUT, pexpect.EOF):
        raise Failed(f"not seen: {child.searcher}, the last was "
                     f"{(child.before or b'')[-120:]!r}") from None
    finally:
        child.close(force=True)


def piped(case, directory):
    """Commands by a pipe, as from another program."""
    del directory
    environment = dict(os.environ, PLATFORM="bochs", TIME_LIMIT=str(case.limit))
    done = subprocess.run([os.path.join(SCRIPTS, "run")], input="echo $((6 * 7))\npoweroff -f\n",
                          capture_output=True, text=True, errors="replace", env=environment,
                          timeout=case.limit + 30)
    if done.returncode or "\n42" not in done.stdout:
        raise Failed(f"exit status {done.returncode}: {done.stderr.strip()[-200:]}")


def mistakes(case, directory):
    """Wrong values end in one line that names them, at once."""
    del case
    empty = os.path.join(directory, "nothing")
    for variables, said in (({"PLATFORM": "vax"}, "PLATFORM=vax: must be one of"),
                            ({"MEM": "12"}, "MEM=12: must be a size"),
                            ({"CPUS": "0"}, "CPUS=0: must be a number"),
                            ({"KERNEL": empty}, "no such file"),
                            ({"KERNEL": directory}, "not a file"),
                            ({"KERNEL": GUEST_KERNEL, "INITRD": empty}, "no such file"),
                            ({"CONFIG": empty}, "no such file"),
                            ({"OPTIONS": "a;b"}, "has a character GRUB reads")):
        done = subprocess.run([os.path.join(SCRIPTS, "run")], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=60,
                              env=dict(os.environ, TIME_LIMIT="1", **variables))
        if (done.returncode != 1 or said not in done.stderr or
                len(done.stderr.splitlines()) != 1):
            raise Failed(f"{variables}: status {done.returncode}, {done.stderr.strip()[-200:]}")


users = [
    Case("run-mistakes", run=mistakes, limit=60, groups=("quick", "normal")),
    Case("run-piped", run=piped),
    Case("run-terminal", run=terminal),
    Case("run-terminal-ctrl-]", run=terminal),
]

CASES = guests + disks.CASES + machines + inputs + users + FIRMWARE + display.CASES + \
    more_guests.CASES + netboot.CASES + operator_console.CASES
assert len({case.name for case in CASES}) == len(CASES), "two cases have one name"
assert os.path.basename(GUEST_INITRD) == "initrd.img" and sys.version_info >= (3, 9)
