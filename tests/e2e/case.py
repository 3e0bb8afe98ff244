"""What an end-to-end case is, and how one is run on a machine of its own."""
import dataclasses
import os
import re
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts"))
from tithe_iso import (BUILD, GUEST_INITRD, GUEST_KERNEL, TITHE_ELF, tithe_iso,  # noqa: E402,F401
                       vm_config)
from tithe_machine import MachineError, make_machine  # noqa: E402

RESULTS = os.path.join(BUILD, "e2e")
PROMPT = rb"tithe:[^\r\n]*# "
# What nothing of ours may ever print.
NEVER = re.compile(rb"(tithe: assertion [^\r\n]*|Kernel panic[^\r\n]*|tithe: panic[^\r\n]*)")


FATAL_STATUS = 2


class Failed(Exception):
    """Why a case failed, in one line."""


class Skipped(Exception):
    """What a case needs and this machine has not, in one line."""


@dataclasses.dataclass
class Step:
    """Types a line at the guest's prompt and wants the regular expression in the answer."""
    send: str
    expect: str = ""
    refuse: str = ""  # must not be in the answer
    timeout: int = 60


@dataclasses.dataclass
class Case:
    """One machine, booted once. fatal: the run must end with that line instead of a guest."""
    name: str
    platform: str = "bochs"
    model: str = None
    host_memory: int = 512
    host_cpus: int = 1
    memory: str = "256M"
    cpus: int = 1
    cmdline: str = "console=ttyS0 quiet"
    config: object = ""         # text instead of that of vm_config; None: no configuration
    kernel: object = None       # function(directory) that makes the kernel's file
    initrd: object = None
    modules: object = None      # function(directory) that makes more files: {module: path}
    login: str = ""             # who logs in before there is a prompt
    options: str = "exit=poweroff"
    debugger: object = None     # function() that gives the commands of Bochs' debugger
    steps: tuple = ()
    end: str = "poweroff -f"    # typed at last; "" where the steps end the guest
    fatal: str = ""
    says: str = ""              # must be on some line before the end
    status: int = 0             # with fatal: FATAL_STATUS unless it is given
    limit: int = 240            # seconds for everything
    groups: tuple = ("normal",)  # quick, normal, all
    run: object = None          # function(case, directory) instead of a machine


def run_case(case):
    """Runs one case; (None or why it failed, seconds, whether it was skipped for that)."""
    skipped = False
    start = time.monotonic()
    os.makedirs(RESULTS, exist_ok=True)
    directory = tempfile.mkdtemp(prefix=case.name + ".", dir=RESULTS)
    try:
        (case.run or run_machine)(case, directory)
        why = None
    except (Failed, MachineError, OSError) as error:
        why = str(error)
    except Skipped as error:
        why, skipped = str(error), True
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return why, time.monotonic() - start, skipped


def make_case_iso(case, directory):
    kernel = case.kernel(directory) if case.kernel else GUEST_KERNEL
    initrd = case.initrd(directory) if case.initrd else GUEST_INITRD
    config = case.config
    if config == "":
        config = vm_config("vmlinuz", "initrd.img", case.cmdline, case.memory, case.cpus)
    modules = {} if config is None else {"vmlinuz": kernel, "initrd.img": initrd}
    if case.modules:
        modules.update(case.modules(directory))
    iso = os.path.join(directory, "case.iso")
    tithe_iso(iso, config, modules, case.options)
    return iso


def run_machine(case, directory):
    iso = make_case_iso(case, directory)
    more = {"debugger": case.debugger()} if case.debugger else {}
    with make_machine(case.platform, iso, case.host_memory, case.host_cpus, case.model,
                      **more) as machine:
        machine.start(case.limit)
        try:
            if case.fatal:
                expect_fatal(case, machine)
            else:
                talk(case, machine)
            expect_end(case, machine)
        finally:
            save(case.name, machine)


def read_to_prompt(case, machine, before, timeout):
    """As read_until, up to the shell's prompt; logs in where that is asked for."""
    if not case.login:
        return machine.read_until(before + PROMPT, timeout)
    found = machine.read_until(before + rb"(?:" + PROMPT + rb"|login: )", timeout)
    if found and found.group().endswith(b"login: "):
        machine.write(case.login.encode() + b"\n")
        return found if machine.read_until(PROMPT, timeout) else None
    return found


def talk(case, machine):
    """Waits for the shell, goes through the steps, and ends the guest."""
    if not read_to_prompt(case, machine, rb"", case.limit):
        raise Failed(f"no shell: {last_words(machine)}")
    for step in case.steps:
        machine.write(step.send.encode() + b"\n")
        answer = read_to_prompt(case, machine, rb"(?s)\n(.*)", step.timeout)
        if not answer:
            raise Failed(f"'{step.send}' did not end: {last_words(machine)}")
        text = answer.group(1).decode(errors="replace").replace("\r", "")
        if step.expect and not re.search(step.expect, text, re.M):
            raise Failed(f"'{step.send}' said {short(text)}, not /{step.expect}/")
        if step.refuse and re.search(step.refuse, text, re.M):
            raise Failed(f"'{step.send}' said /{step.refuse}/: {short(text)}")
    if case.end:
        machine.write(case.end.encode() + b"\n")


def expect_fatal(case, machine):
    """Exactly one line begins "tithe: fatal: ", and it says what it should."""
    machine.read_all()
    lines = re.findall(rb"(?:^|[\r\n])(tithe: fatal: [^\r\n]*)", bytes(machine.transcript))
    if len(lines) != 1:
        raise Failed(f"{len(lines)} fatal lines: {last_words(machine)}")
    if not re.search(case.fatal, lines[0].decode(errors="replace")):
        raise Failed(f"the fatal line is {short(lines[0].decode())}, not /{case.fatal}/")


def expect_end(case, machine):
    machine.read_all()
    if machine.timed_out:
        raise Failed(f"not at its end after {case.limit} s: {last_words(machine)}")
    never = NEVER.search(bytes(machine.transcript))
    if never:
        raise Failed(never.group(1).decode(errors="replace"))
    if case.says and not re.search(case.says.encode(), machine.transcript, re.M):
        raise Failed(f"no line says /{case.says}/: {last_words(machine)}")
    status = FATAL_STATUS if case.fatal and not case.status else case.status
    if machine.exit_status != status:
        raise Failed(f"exit status {machine.exit_status}, not {status}: {last_words(machine)}")


def save(name, machine):
    for kind, data in (("serial", bytes(machine.transcript)), ("log", machine.log_text().encode())):
        with open(os.path.join(RESULTS, f"{name}.{kind}"), "wb") as file:
            file.write(data)


def last_words(machine):
    lines = [line.strip() for line in machine.transcript.decode(errors="replace").splitlines()]
    lines = [line for line in lines if line]
    return short(lines[-1]) if lines else "nothing was on the serial line"


def short(text):
    text = " / ".join(text.strip().splitlines())
    return repr(text if len(text) < 160 else text[:80] + " ... " + text[-70:])
