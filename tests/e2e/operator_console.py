"""The operator's console: two VMs are listed, suspended, reset, destroyed, started again."""
import json
import os
import re
import select
import subprocess
import threading
import time
import tty

from case import BUILD, Case, Failed, expect_end, last_words, save
from tithe_iso import tithe_iso
from tithe_machine import make_machine

KERNEL = os.path.join(BUILD, "guests", "steady.elf")
VM = '[vm "{name}"]\nmemory = 8M\nkernel = steady.elf\ncmdline = "{name}"\n{more}'
CONFIG = (VM.format(name="one", more="") + VM.format(name="two", more="") +
          VM.format(name="three", more="start = no\n"))
TITHECTL = os.path.join(BUILD, "..", "scripts", "tithectl")
MONITOR, SECOND = b"\x1em", b"\x1e2"
PROMPT = rb"tithe> \x1b\[K"


class Operator:
    """Who types at the monitor."""

    def __init__(self, machine):
        self.machine = machine
        self.at = 0  # what of the transcript has been looked at

    def expect(self, pattern, seconds=60):
        """What comes next, or has come since the last look."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, bytes(self.machine.transcript[self.at:]))):
            if time.monotonic() > end or self.machine.read(1) == b"":
                raise Failed(f"/{pattern.decode()}/ did not come: {last_words(self.machine)}")
        self.at += found.end()
        return found

    def command(self, text, answer=rb""):
        """Types a command, and wants its answer before the next prompt."""
        self.machine.write(text.encode() + b"\r")
        return self.expect(rb"(?s)" + re.escape(text.encode()) + rb"\x1b\[K\r\n(.*?" + answer +
                           rb".*?)" + PROMPT).group(1)

    def state(self, name):
        answer = self.command("list", rb"three").decode()
        return re.search(rf"\b{name} +(running|paused|shut off|crashed|ended)", answer).group(1)

    def wait_state(self, name, state):
        for _ in range(100):
            if self.state(name) == state:
                return
            time.sleep(0.1)
        raise Failed(f"{name} is not {state}")

    def monitor(self):
        self.machine.write(MONITOR)
        self.expect(PROMPT)

    def beats(self, number):
        """What the guest itself says about its beats: (so far, too fast, too slow)."""
        self.machine.write(b"\x1e%d" % number + b"?")
        found = self.expect(rb"(\d+) beats, (\d+) fast, (\d+) slow")
        self.monitor()
        return tuple(int(n) for n in found.groups())


def suspend_and_resume(user):
    """Who is suspended makes no progress, and goes on as if nothing had been."""
    before = user.beats(2)[0]
    user.command("suspend two")
    user.wait_state("two", "paused")
    user.command("suspend two", b"suspended already")
    user.command("shutdown two", b"resume. first")
    user.command("dump two", rb"state of vCPU 0")
    here = user.beats(1)[0]
    while user.beats(1)[0] < here + 15:
        time.sleep(0.2)
    user.command("resume two")
    user.wait_state("two", "running")
    beats, fast, slow = user.beats(2)
    if not before <= beats < before + 10:
        raise Failed(f"two had {before} beats before it was suspended, and {beats} after")
    if fast or slow > 1:
        raise Failed(f"of two's {beats} beats {fast} were too fast, {slow} too slow")


def missed(user):
    """A console that is shown again begins with what was missed."""
    user.machine.write(SECOND)
    last = int(user.expect(rb"two beat (\d+)\r?\n").group(1))
    user.monitor()
    while user.beats(1)[0] < last + 15:
        time.sleep(0.2)
    user.machine.write(SECOND)
    user.expect(rb"(?s)two: console.*two beat %d\r?\n" % (last + 3))
    user.monitor()


def talk(user):
    user.expect(rb"(?s)\[one\] one beat 3\r.*\[two\] two beat 5\r", 120)
    user.machine.write(MONITOR)
    user.expect(PROMPT)
    user.command("list", rb"one +running(?s:.)*two +running(?s:.)*three +shut off")
    user.command("nonsense", rb"error: unknown command: 'nonsense' \(`help`")
    user.command("info four", rb"error: no VM is named 'four'")
    user.command("exits", rb"error: usage: exits VM\|on\|off")
    user.command("help", rb"suspend +VM")
    user.machine.write(b"inf\ttw\t\r")
    user.expect(rb"Name: +two\r\n(?s:.)*State: +running")
    suspend_and_resume(user)
    missed(user)
    user.command("reset two", rb"two: reset")
    user.machine.write(SECOND)
    user.expect(rb"two: here I am")
    user.monitor()
    user.command("suspend one")
    user.wait_state("one", "paused")
    user.command("reset one", rb"one: reset")
    user.wait_state("one", "paused")
    user.command("resume one", rb"resumed")
    user.command("destroy two")
    user.wait_state("two", "shut off")
    user.command("resume two", rb"error: two: it is not running")
    user.command("start two", rb"two: starting")
    user.command("start three", rb"three: starting")
    user.command("start three", rb"error: three: it is running already")
    user.wait_state("three", "running")
    user.command("set three shares 2000")
    user.command("info three", rb"shares: +2000")
    user.command("set three limit 5000x", rb"error: '5000x' is not a number")
    user.command("exits on")
    user.command("exits three", rb"I/O +\d+")
    user.command("mem", rb"guests \d+")
    user.command("audit", rb"tables of 3 VMs agree")
    user.command("log 5", rb"tithe: ")
    user.machine.write(SECOND)
    user.expect(rb"two: here I am")
    user.machine.write(b"x")
    user.expect(rb"two: key 78")
    user.monitor()
    user.command("shutdown three")
    user.wait_state("three", "shut off")
    user.command("destroy one")
    user.wait_state("one", "shut off")


def run(case, directory):
    iso = os.path.join(directory, "case.iso")
    tithe_iso(iso, CONFIG, {"steady.elf": KERNEL}, case.options)
    with make_machine(case.platform, iso, case.host_memory, case.host_cpus) as machine:
        machine.start(case.limit)
        user = Operator(machine)
        try:
            talk(user)
            machine.write(b"shutdown two\r")
            expect_end(case, machine)
        finally:
            save(case.name, machine)


def talk_from_start(case, directory):
    """With console=monitor the monitor is there from the start, and stays when no VM runs."""
    iso = os.path.join(directory, "case.iso")
    tithe_iso(iso, CONFIG.replace("memory = 8M\n", "memory = 8M\nstart = no\n", 2),
              {"steady.elf": KERNEL}, case.options)
    with make_machine(case.platform, iso, case.host_memory, case.host_cpus) as machine:
        machine.start(case.limit)
        user = Operator(machine)
        try:
            user.expect(PROMPT, 120)
            user.command("list", rb"one +shut off(?s:.)*two +shut off")
            user.command("start one", rb"one: starting")
            user.beats(1)
            machine.write(b"\x1e1q")
            user.expect(rb"one: powered off(?s:.)*not running any more(?s:.)*" + PROMPT)
            user.command("list", rb"one +shut off")
            machine.write(b"power\t\r")
            expect_end(case, machine)
        finally:
            save(case.name, machine)


def tithectl(where, *words, status=0):
    done = subprocess.run([TITHECTL, where, *words], capture_output=True, text=True, timeout=60)
    if done.returncode != status:
        raise Failed(f"tithectl {' '.join(words)}: {done.stdout} {done.stderr.strip()[-200:]}")
    return done.stdout + done.stderr


def wait_for(what, condition):
    for _ in range(60):
        if condition():
            return
        time.sleep(0.2)
    raise Failed(f"{what} did not come")


def talk_qmp(where):
    """The commands and errors of QMP, as scripts/tithectl has them."""
    def state(name):
        vms = json.loads(tithectl(where, "--json", "list"))
        return next(vm["state"] for vm in vms if vm["name"] == name)

    def status():
        return json.loads(tithectl(where, "--json", "query-status"))["status"]

    if not re.search(r"1 +one +running +1 +8(?s:.)*3 +three +shut off", tithectl(where, "list")):
        raise Failed("tithectl list says something else")
    tithectl(where, "stop")
    wait_for("paused", lambda: status() == "paused")
    if "already" not in tithectl(where, "stop", "one", status=1):
        raise Failed("tithectl stop of a paused VM says something else")
    tithectl(where, "cont")
    wait_for("running", lambda: status() == "running")
    tithectl(where, "start", "three")
    wait_for("three", lambda: state("three") == "running")
    tithectl(where, "reset", "two")
    wait_for("a reset", lambda: 'resets_total{vm="two"} 1' in tithectl(where, "metrics"))
    tithectl(where, "powerdown", "three")
    wait_for("the power button", lambda: state("three") == "shut off")
    tithectl(where, "destroy", "two")
    wait_for("the end of two", lambda: state("two") == "shut off")
    for words, said in ((("nonsense",), "has not been found"), (("stop", "four"), "no VM of that"),
                        (("stop", "two"), "not running")):
        if said not in tithectl(where, *words, status=1):
            raise Failed(f"tithectl {words}: another error")


def run_qmp(case, directory):
    iso = os.path.join(directory, "case.iso")
    tithe_iso(iso, CONFIG, {"steady.elf": KERNEL}, case.options)
    (ours, theirs), (ours2, theirs2) = os.openpty(), os.openpty()
    tty.setraw(theirs)
    tty.setraw(theirs2)
    relay = Relay(ours, ours2)
    with make_machine(case.platform, iso, case.host_memory, case.host_cpus,
                      com2=os.ttyname(theirs)) as machine:
        machine.start(case.limit)
        user = Operator(machine)
        try:
            user.expect(rb"(?s)\[one\] one beat 2\b.*\[two\] two beat 3\b", 120)
            relay.start()
            reading = threading.Thread(target=machine.read_all, daemon=True)
            reading.start()
            talk_qmp(os.ttyname(theirs2))
            os.write(ours, b'{"execute": "quit"}\n')
            reading.join(60)
            expect_end(case, machine)
        finally:
            save(case.name, machine)
            relay.stop()
            for descriptor in (ours, theirs, ours2, theirs2):
                os.close(descriptor)


class Relay(threading.Thread):
    """Joins two terminals: the far ends are the machine's port and the client's."""

    def __init__(self, one, other):
        super().__init__(daemon=True)
        self.ends = {one: other, other: one}
        self.stopped = False

    def run(self):
        while not self.stopped:
            for end in select.select(list(self.ends), [], [], 0.1)[0]:
                os.write(self.ends[end], os.read(end, 4096))

    def stop(self):
        self.stopped = True
        if self.is_alive():
            self.join()


CASES = [
    Case("operator-qmp", run=run_qmp),
    Case("operator", run=run, groups=("quick", "normal")),
    Case("operator-smp", run=run, host_cpus=2, limit=400),
    Case("operator-monitor", run=talk_from_start, options="exit=poweroff console=monitor"),
]
