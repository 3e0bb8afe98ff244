"""The machines that Tithe runs on, started without a window and with COM1 in our hands.

    with Bochs("build/tithe.iso", memory=512) as machine:
        machine.start(time_limit=60)
        while data := machine.read(timeout=1) ...

A machine is one child process of ours. It ends with us, whatever happens: by stop(), by its time
limit, or because the kernel kills it when we die. Its files live in a directory that goes with it.
"""
import ctypes
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time
import tty

BOCHS_MODEL = "corei7_skylake_x"
BOCHS_IPS = 100_000_000
OVMF = "/usr/share/ovmf/OVMF.fd"
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
PR_SET_PDEATHSIG = 1
EXIT_LINE = re.compile(rb"tithe: exit status (-?\d+)\r?\n")
OWN_TERMINAL = re.compile(rb'connected to screen "(/dev/pts/\d+)"')
FATAL_LINE = re.compile(rb"(tithe: fatal: [^\r\n]*)\r?\n")


class MachineError(Exception):
    """What went wrong, in one line for the user."""


def _die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _raw_pty(rows=25, columns=80):
    """A pseudo terminal that passes every byte as it is: (our end, the child's end)."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    return ours, theirs


class Machine:
    """What all machines share. A subclass gives _launch(), which sets process and serial."""

    name = "machine"

    def __init__(self, iso, memory=512, cpus=1):
        self.iso = os.path.abspath(iso)
        self.memory = memory
        self.cpus = cpus
        self.directory = tempfile.mkdtemp(prefix="tithe-")
        self.log = os.path.join(self.directory, "log")
        self.serial = None
        self.process = None
        self.timed_out = False
        self.exit_status = None  # what Tithe said on COM1 before it powered off
        self.transcript = bytearray()
        self._outgoing = bytearray()
        self._timer = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ------------------------------------------------------------- life and death

    def start(self, time_limit):
        """Starts the machine; after time_limit seconds it is killed and timed_out is set."""
        self._launch()
        os.set_blocking(self.serial, False)
        self._timer = threading.Timer(time_limit, self._out_of_time)
        self._timer.daemon = True
        self._timer.start()

    def _popen(self, command, **options):
        try:
            self.process = subprocess.Popen(command, start_new_session=True, close_fds=True,
                                            preexec_fn=_die_with_parent, **options)
        except FileNotFoundError:
            raise MachineError(f"the program '{command[0]}' is not installed") from None
        except OSError as error:
            raise MachineError(f"cannot start {command[0]}: {error.strerror}") from None

    def _out_of_time(self):
        if self.running():
            self.timed_out = True
            self.stop()

    def running(self):
        return self.process is not None and self.process.poll() is None

    def wait(self, timeout):
        """Waits for the end of the process; False where it has not ended by then."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self):
        """Ends the process, at once and only this one."""
        if self.running():
            self.process.kill()
            self.process.wait()

    def close(self):
        """Ends the process and removes every file of the machine."""
        if self._timer:
            self._timer.cancel()
        self.stop()
        if self.serial is not None:
            os.close(self.serial)
            self.serial = None
        shutil.rmtree(self.directory, ignore_errors=True)

    # ------------------------------------------------------------- the serial line

    def read(self, timeout):
        """Bytes from COM1; None where none came in time, b"" at the end of the machine."""
        end = time.monotonic() + timeout
        while True:
            left = max(0, end - time.monotonic())
            writing = [self.serial] if self._outgoing else []
            readable, writable, _ = select.select([self.serial], writing, [], left)
            if readable:
                return self._receive()
            if writable:
                self._flush()
            elif not self.running():
                return b""
            if left == 0:
                return None

    def _receive(self):
        try:
            data = os.read(self.serial, 65536)
        except OSError:
            data = b""
        self.transcript += data
        found = EXIT_LINE.findall(bytes(self.transcript[-len(data) - 64:]))
        if found:
            self.exit_status = int(found[-1])
        return data

    def write(self, data):
        """Types data on COM1. Never waits: what the machine does not take yet is sent by read()."""
        self._outgoing += data
        self._flush()

    def _flush(self):
        try:
            del self._outgoing[:os.write(self.serial, self._outgoing)]
        except BlockingIOError:
            pass
        except OSError:
            self._outgoing.clear()

    def read_until(self, pattern, timeout):
        """Reads until the regular expression is in what came since the call; None if never."""
        start = len(self.transcript)
        end = time.monotonic() + timeout
        while True:
            found = re.search(pattern, bytes(self.transcript[start:]))
            if found:
                return found
            left = end - time.monotonic()
            if left <= 0 or self.read(left) in (None, b""):
                return None

    def read_all(self):
        """Reads until the machine has ended."""
        while self.read(1) != b"":
            pass
        return bytes(self.transcript)

    def fatal(self):
        """The line with which Tithe gave up, or None."""
        found = FATAL_LINE.search(bytes(self.transcript))
        return found.group(1).decode(errors="replace") if found else None

    def log_text(self):
        try:
            with open(self.log, errors="replace") as file:
                return file.read()
        except OSError:
            return ""


class Bochs(Machine):
    """Bochs 2.7 with VT-x, headless: its text display draws into a terminal nobody sees."""

    name = "Bochs"

    def __init__(self, iso, memory=512, cpus=1, model=BOCHS_MODEL, ips=BOCHS_IPS,
                 deterministic=False, error_action="ignore", debugger=("c",), com2=None):
        super().__init__(iso, memory, cpus)
        self.model = model
        self.ips = ips
        self.deterministic = deterministic
        self.error_action = error_action
        self.debugger = debugger
        self.com2 = com2  # a terminal's name
        self.debugger_log = self._path("debugger.log")
        self.screen = bytearray()

    def _path(self, name):
        return os.path.join(self.directory, name)

    def medium(self):
        """The lines of the configuration for what the machine boots from."""
        return f"""\
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path="{self.iso}", status=inserted
pci: enabled=1, chipset=i440fx
boot: cdrom"""

    def configuration(self, com1):
        return f"""\
plugin_ctrl: unmapped=1, biosdev=1, speaker=0, extfpuirq=1, parallel=1, serial=1, iodebug=1
config_interface: textconfig
display_library: term
memory: guest={self.memory}, host={self.memory}
romimage: file="/usr/share/bochs/BIOS-bochs-latest"
vgaromimage: file="/usr/share/vgabios/vgabios.bin"
cpu: model={self.model}, count={self.cpus}, ips={self.ips}, reset_on_triple_fault=0
clock: sync=none, time0=1700000000
{self.medium()}
com1: enabled=1, mode=term, dev={com1}
com2: enabled={int(bool(self.com2))}{f", mode=term, dev={self.com2}" if self.com2 else ""}
log: {self.log}
debugger_log: {self.debugger_log}
panic: action=fatal
error: action={self.error_action}
info: action=ignore
debug: action=ignore
"""

    def _environment(self):
        """Bochs seeds its random numbers with the time: a fixed time makes two runs the same."""
        if not self.deterministic:
            return dict(os.environ, TERM="linux")
        if not os.path.exists(FAKETIME):
            raise MachineError("deterministic runs need the Debian package 'faketime'")
        return dict(os.environ, TERM="linux", LD_PRELOAD=FAKETIME,
                    FAKETIME="2023-11-14 22:13:20", FAKETIME_DONT_FAKE_MONOTONIC="1")

    def _launch(self):
        self.serial, com1 = _raw_pty()
        screen, display = _raw_pty()
        with open(self._path("bochsrc"), "w") as file:
            file.write(self.configuration(os.ttyname(com1)))
        with open(self._path("commands"), "w") as file:
            file.write("\n".join(self.debugger) + "\n")
        command = ["bochs", "-q", "-f", self._path("bochsrc"), "-rc", self._path("commands")]
        self._popen(command, cwd=self.directory, env=self._environment(), stdin=display,
                    stdout=display, stderr=display)
        os.close(display)
        # A terminal whose far end nobody has open gives errors: ours stays open until Bochs, which
        # opens it some time later, has ended and closed its display.
        threading.Thread(target=self._drain, args=(screen, com1), daemon=True).start()

    def _drain(self, screen, com1):
        """Reads the display away, so that Bochs never waits for it, and keeps the last of it."""
        terminal = None
        try:
            while data := os.read(screen, 65536):
                self.screen = (self.screen + data)[-65536:]
                found = OWN_TERMINAL.search(self.screen)
                if found and terminal is None:
                    terminal = os.open(found.group(1), os.O_RDWR | os.O_NOCTTY)
                    threading.Thread(target=self._drain_terminal, args=(terminal,),
                                     daemon=True).start()
        except OSError:
            pass
        os.close(com1)
        os.close(screen)

    def _drain_terminal(self, terminal):
        """With its debugger Bochs draws into a terminal that it makes itself. Nobody sees that one
        either, but a long run fills it, and then Bochs would wait."""
        try:
            tty.setraw(terminal)
            while os.read(terminal, 65536):
                pass
        except OSError:
            pass
        os.close(terminal)

    def end_reason(self):
        """Why Bochs ended, in the words of its log."""
        lines = [line.strip() for line in self.log_text().splitlines()]
        said = [line for line in lines if "PANIC" in line or ">>" in line and "quit" not in line]
        return said[0] if said else (lines[-1] if lines else "nothing in its log")


class Qemu(Machine):
    """QEMU, with KVM or with its own emulation (TCG, which has no VT-x), by BIOS or by UEFI."""

    name = "QEMU"

    def __init__(self, iso, memory=512, cpus=1, accel="tcg", uefi=False, cpu=None):
        super().__init__(iso, memory, cpus)
        self.accel = accel
        self.uefi = uefi
        self.cpu = cpu or ("host,migratable=no" if accel == "kvm" else "qemu64")

    def medium(self):
        """The options for what the machine boots from."""
        return ["-cdrom", self.iso, "-boot", "d"]

    def command(self):
        command = ["qemu-system-x86_64", "-machine", "q35", "-accel", self.accel, "-cpu", self.cpu,
                   "-m", str(self.memory), "-smp", str(self.cpus), *self.medium(),
                   "-no-reboot", "-nodefaults", "-display", "none", "-vga", "std",
                   "-chardev", "stdio,id=com1,signal=off", "-serial", "chardev:com1"]
        return command + (["-bios", OVMF] if self.uefi else [])

    def _launch(self):
        ours, theirs = socket.socketpair()
        with open(self.log, "w") as log:
            self._popen(self.command(), cwd=self.directory, stdin=theirs, stdout=theirs, stderr=log)
        theirs.close()
        self.serial = ours.detach()

    def end_reason(self):
        lines = self.log_text().strip().splitlines()
        return lines[-1] if lines else f"exit code {self.process.returncode}"


# ----------------------------------------------------------------- choosing one

def kvm_obstacle():
    """Why QEMU with nested KVM cannot be used here, or None where it can."""
    if not os.path.exists("/dev/kvm"):
        return "there is no /dev/kvm"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "/dev/kvm is not open to this user"
    with open("/proc/cpuinfo") as file:
        if not re.search(r"^flags\s*:.*\bvmx\b", file.read(), re.M):
            return "this CPU shows no VT-x"
    try:
        with open("/sys/module/kvm_intel/parameters/nested") as file:
            if file.read().strip() not in ("Y", "1"):
                return "nested virtualization is off (kvm_intel nested=1 turns it on)"
    except OSError:
        return "the kvm_intel module is not loaded"
    return None


PLATFORMS = ("bochs", "qemu-kvm", "qemu-kvm-uefi", "qemu-tcg", "qemu-tcg-uefi")


def make_machine(platform, iso, memory, cpus, model=None, kinds=(Bochs, Qemu), **options):
    """The machine of a platform's name; options go to Bochs. kinds: the classes to take."""
    bochs, qemu = kinds
    if platform == "bochs":
        return bochs(iso, memory, cpus, model=model or BOCHS_MODEL, **options)
    accel = "kvm" if "kvm" in platform else "tcg"
    return qemu(iso, memory, cpus, accel=accel, uefi=platform.endswith("uefi"), cpu=model)
