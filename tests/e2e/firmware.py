"""Guests that start from firmware: SeaBIOS, and what it boots from floppies and disks."""
import os
import re
import shutil
import subprocess
import time

from case import (BUILD, Case, Failed, Skipped, last_words, make_machine, save, short,
                  tithe_iso)

SEABIOS = "/usr/share/seabios/bios-256k.bin"
# An image that a user, CI or the directory beside the checkout has; none is part of this project.
FREEDOS_PLACES = (os.environ.get("FREEDOS_IMG", ""),
                  os.path.join(BUILD, "..", "..", "shared", "guests", "freedos-1440k.img"))
ESCAPES = re.compile(rb"\x1b(\[[0-9;?]*[A-Za-z]|c)")


def config(*lines, memory="32M", name="pc"):
    return "\n".join((f'[vm "{name}"]', f"memory = {memory}", "firmware = bios.bin", *lines)) + "\n"


def boot(talk, lines, modules=None, memory="32M", host_memory=256, **more):
    """What runs a case: boots SeaBIOS with these configuration lines, then talk(Talk, case).
    modules is a dictionary, or a function(directory) that makes one."""
    def run(case, directory):
        files = {"bios.bin": SEABIOS}
        files.update(modules(directory) if callable(modules) else modules or {})
        iso = os.path.join(directory, "case.iso")
        tithe_iso(iso, config(*lines, memory=memory), files, case.options)
        with make_machine(case.platform, iso, host_memory, case.host_cpus, case.model,
                          **more) as machine:
            machine.start(case.limit)
            try:
                talk(Talk(machine), case)
            finally:
                save(case.name, machine)
    return run


class Talk:
    """A machine's serial line, read from where the last answer ended."""

    def __init__(self, machine):
        self.machine = machine
        self.position = 0

    def wait(self, pattern, timeout, what=None):
        """Waits for the pattern; the text up to its end, without terminal escapes."""
        machine, end = self.machine, time.monotonic() + timeout
        while True:
            text = bytes(machine.transcript[self.position:])
            found = re.search(pattern, text)
            if found:
                self.position += found.end()
                return ESCAPES.sub(b"", text[:found.end()]).decode(errors="replace")
            left = end - time.monotonic()
            if left <= 0 or machine.read(left) in (None, b""):
                raise Failed(f"{what or pattern.decode()}: not seen: {last_words(machine)}")

    def see(self, pattern, timeout):
        """Waits until the pattern was drawn on the screen since it settled. Blanks are moves of the
        cursor there, so that any number of them is one."""
        machine, end = self.machine, time.monotonic() + timeout
        while True:
            drawn = ESCAPES.sub(b" ", bytes(machine.transcript[self.position:]))
            if re.search(pattern, re.sub(rb" +", b" ", drawn)):
                return
            left = end - time.monotonic()
            if left <= 0 or machine.read(left) in (None, b""):
                raise Failed(f"the screen did not show /{pattern.decode()}/")

    def settle(self, seconds=2):
        """Passes over what comes until nothing has for so long."""
        while self.machine.read(seconds):
            pass
        self.position = len(self.machine.transcript)

    def type(self, text):
        """Types a line as people do: the BIOS keeps only 15 keys for who does not read them."""
        for start in range(0, len(text), 8):
            piece = text[start:start + 8].encode()
            self.machine.write(piece)
            if start + 8 < len(text):
                self.wait(re.escape(piece), 30, f"echo of {piece!r}")


def finish(machine, status=0):
    """The guest ends the VM, and Tithe ends with that status."""
    machine.read_all()
    if machine.timed_out or machine.exit_status != status:
        raise Failed(f"exit status {machine.exit_status}, not {status}: {last_words(machine)}")


# ------------------------------------------------------------------ SeaBIOS alone


def no_bootable_device(talk, case):
    """Every step that SeaBIOS tells of, and its words at the end."""
    del case
    for line in (rb"Running on QEMU \(i440fx\)", rb"fw_cfg DMA interface supported",
                 rb"qemu/e820: addr 0x0000000000000000 len 0x0000000002000000 \[RAM\]",
                 rb"Moving pm_base to 0x600", rb"init bdf=00:01\.0 id=8086:7000",
                 rb"Using pmtimer, ioport 0x608", rb"Found 2 cpu\(s\) max supported 2 cpu\(s\)",
                 rb"ACPI: parse DSDT", rb"PS2 keyboard initialized",
                 rb"No bootable device"):
        talk.wait(line, 60)


def needs_unrestricted_guest(talk, case):
    del case
    talk.wait(rb"pc: not started: firmware needs a CPU with the VT-x feature unrestricted "
                  rb"guest", 60)
    finish(talk.machine, status=2)


def not_firmware(talk, case):
    del case
    talk.wait(rb"pc: not started: bios\.bin: 12345 bytes are no PC firmware", 60)
    finish(talk.machine, status=2)


def small_file(directory):
    path = os.path.join(directory, "small")
    with open(path, "wb") as file:
        file.write(bytes(12345))
    return {"bios.bin": path}


# ------------------------------------------------------------------ FreeDOS

PROMPT = rb"A:\\>"
# Programs of DOS' simplest kind, put on a copy of the floppy.
PROGRAMS = {
    # Off, by APM: connect, then set all devices to off.
    "off.com": "mov ax,0x5301\nxor bx,bx\nint 0x15\nmov ax,0x5307\nmov bx,1\nmov cx,3\nint 0x15\n"
               "ret\n",
    # CPU reset by the keyboard controller, to go on at 0040:0067 (shutdown code 0Ah).
    "resume.com": "cli\nxor ax,ax\nmov ds,ax\nmov word [0x467],back\nmov [0x469],cs\n"
                  "mov [cs:stack],sp\nmov al,0x0f\nout 0x70,al\nmov al,0x0a\nout 0x71,al\n"
                  "mov al,0xfe\nout 0x64,al\nhang: hlt\njmp hang\n"
                  "back: mov ax,cs\nmov ds,ax\nmov es,ax\nmov ss,ax\nmov sp,[stack]\nsti\n"
                  "mov ah,9\nmov dx,text\nint 0x21\nret\n"
                  "text: db 'resumed after a reset',13,10,'$'\nstack: dw 0\n",
    # The whole machine, by the reset control register.
    "reset.com": "mov dx,0xcf9\nmov al,2\nout dx,al\nmov al,6\nout dx,al\nhang: hlt\njmp hang\n",
    # The A20 gate, off and on by the BIOS, as the chip set then says.
    "a20.com": "mov ax,0x2400\nint 0x15\nmov ax,0x2402\nint 0x15\nadd al,'0'\nmov [state],al\n"
               "mov ax,0x2401\nint 0x15\nmov ax,0x2402\nint 0x15\nadd al,'0'\nmov [state+2],al\n"
               "mov ah,9\nmov dx,text\nint 0x21\nret\ntext: db 'a20='\nstate: db '?/?',13,10,'$'\n",
    # What int 15h, E820h says of the first range.
    "e820.com": "push cs\npop es\nmov di,buffer\nmov eax,0xe820\nxor ebx,ebx\nmov ecx,20\n"
                "mov edx,0x534d4150\nint 0x15\nmov dx,bad\njc say\ncmp dword [buffer+8],0x9fc00\n"
                "jne say\nmov dx,good\nsay: mov ah,9\nint 0x21\nret\n"
                "good: db 'e820 begins right',13,10,'$'\nbad: db 'e820 is wrong',13,10,'$'\n"
                "buffer: times 20 db 0\n",
}


def freedos_image():
    for path in FREEDOS_PLACES:
        if path and os.path.isfile(path):
            return path
    raise Skipped("no FreeDOS floppy image (FREEDOS_IMG=FILE names one)")


def freedos_floppy(directory):
    """A copy of the image with our programs on it."""
    copy = os.path.join(directory, "freedos.img")
    shutil.copyfile(freedos_image(), copy)
    os.chmod(copy, 0o644)
    for name, source in PROGRAMS.items():
        path = os.path.join(directory, name)
        with open(path + ".asm", "w") as file:
            file.write("bits 16\norg 0x100\ncpu 386\n" + source)
        subprocess.run(["nasm", "-f", "bin", "-o", path, path + ".asm"], check=True)
        subprocess.run(["mcopy", "-o", "-i", copy, path, "::" + name.upper()], check=True)
    return {"freedos.img": copy}


def dos(talk, command, expect="", timeout=60, prompt=PROMPT):
    """Types a command; the answer up to the next prompt, which has to match expect."""
    talk.type(command + "\r")
    talk.wait(rb"\n", timeout, f"echo of '{command}'")
    answer = talk.wait(prompt, timeout, f"the prompt after '{command}'")
    if not re.search(expect, answer, re.M):
        raise Failed(f"'{command}' said {short(answer)}, not /{expect}/")
    return answer


def freedos_commands(talk):
    dos(talk, "ver", r"FreeCom version")
    dos(talk, "dir", r"KERNEL +SYS +45[.,]?450")
    dos(talk, "memory", r"Environment segment")
    dos(talk, "echo one two three > a.txt")
    dos(talk, "copy a.txt b.txt", r"b\.txt|B\.TXT")
    dos(talk, "type b.txt", r"^one two three")
    dos(talk, "copy /b kernel.sys k.sys", r"(?i)k\.sys")
    dos(talk, "dir k.sys", r"K +SYS +45[.,]?450")
    dos(talk, "for %i in (1 2 3 4 5 6 7 8) do echo item-%i", r"item-1(?s:.*)item-7",
        prompt=rb"\nitem-8\s+A:\\>")
    dos(talk, "md sub")
    dos(talk, "copy b.txt sub", r"(?i)b\.txt")
    dos(talk, "type sub\\b.txt", r"^one two three")
    dos(talk, "del a.txt")
    dos(talk, "type a.txt", r"(?i)not found|no such|cannot|error")
    for n in range(6):
        dos(talk, f"echo round {n} >> log.txt")
    dos(talk, "type log.txt", r"round 0(?s:.*)round 5")


def freedos(talk, case):
    """A session at the prompt, the CPU and machine resets that DOS programs use, and off."""
    talk.wait(rb"FreeDOS kernel", case.limit)
    talk.wait(PROMPT, 60)
    talk.settle()
    freedos_commands(talk)
    dos(talk, "e820", r"e820 begins right")
    dos(talk, "a20", r"a20=0/1")
    dos(talk, "resume", r"resumed after a reset")
    dos(talk, "ver", r"FreeCom version")
    talk.type("reset\r")
    talk.wait(rb"pc: reset", 60)
    talk.wait(rb"FreeDOS kernel", 60)
    talk.wait(PROMPT, 60)
    talk.settle()
    dos(talk, "dir", r"KERNEL +SYS")  # from a fresh copy of the image
    talk.type("off\r")
    finish(talk.machine)


VGABIOS = "/usr/share/seabios/vgabios-stdvga.bin"
SCREEN = ("vgabios = vgabios.bin", "screen = console", "com1 = null")


def freedos_screen_files(directory):
    return dict(freedos_floppy(directory), **{"vgabios.bin": VGABIOS})


def freedos_screen(talk, case):
    """FreeDOS on the VGA's screen and the PS/2 keyboard: what the screen shows is what is drawn."""
    talk.see(PROMPT, case.limit)
    talk.settle()
    talk.type("ver\r")
    talk.see(rb"FreeCom version", 60)
    talk.settle()
    talk.type("dir\r")
    talk.see(rb"KERNEL SYS 45[.,]?450", 60)
    talk.settle()
    talk.type("off\r")
    finish(talk.machine)


# ------------------------------------------------------------------ GRUB, iPXE

GRUB_FILES = "/usr/lib/grub-rescue"
IPXE_ISO = "/usr/lib/ipxe/ipxe.iso"
GRUB = rb"grub> "


def rescue(name):
    """A file of Debian's grub-rescue-pc."""
    return {name: os.path.join(GRUB_FILES, name)}


def grub(disk, *functions):
    """GRUB's menu, its command line, and power-off by the ACPI tables. functions: what lspci must
    list."""
    def talk_to(talk, case):
        talk.wait(rb"for a command-line", case.limit)
        talk.settle()
        talk.type("c")
        talk.wait(GRUB, 60)
        dos(talk, "echo tithe-$grub_cpu-$grub_platform", r"^tithe-i386-pc", prompt=GRUB)
        dos(talk, "ls", re.escape(disk), prompt=GRUB)
        answer = dos(talk, "lspci", prompt=GRUB)
        for function in ("00:00.0 8086:1237", "00:01.0 8086:7000", "00:01.3 8086:7113", *functions):
            if function not in answer:
                raise Failed(f"lspci: no {function} in {short(answer)}")
        dos(talk, "set timeout=77", prompt=GRUB)
        dos(talk, "echo $timeout", r"^77", prompt=GRUB)
        talk.type("halt\r")
        finish(talk.machine)
    return talk_to


def ipxe(talk, case):
    """iPXE from a CD-ROM to its prompt; without a network card it has nothing to boot."""
    prompt = rb"iPXE>"
    talk.wait(rb"iPXE initialising devices", case.limit)
    talk.wait(rb"Ctrl-B", 60)
    talk.type("\x02")
    talk.wait(prompt, 60)
    dos(talk, "echo tithe ${buildarch} ${platform}", r"^tithe i386 pcbios", prompt=prompt)
    dos(talk, "set answer:int32 42", prompt=prompt)
    dos(talk, "echo it is ${answer:int32}", r"^it is 42", prompt=prompt)
    dos(talk, "iseq ${answer:int32} 43 || echo not 43", r"^not 43", prompt=prompt)
    talk.type("reboot\r")
    finish(talk.machine)


FIRMWARE = [
    Case("seabios", cpus=2, host_cpus=1, limit=120, groups=("quick", "normal"),
         run=boot(no_bootable_device, ("debug_console = yes", "com1 = null", "cpus = 2"))),
    Case("seabios-no-unrestricted-guest", model="corei5_lynnfield_750", limit=120,
         run=boot(needs_unrestricted_guest, ())),
    Case("seabios-bad-image", limit=120, run=boot(not_firmware, (), small_file)),
    Case("freedos", limit=400, groups=("quick", "normal"),
         run=boot(freedos, ("floppy = freedos.img",), freedos_floppy)),
    Case("freedos-screen", limit=240, groups=("normal",),
         run=boot(freedos_screen, ("floppy = freedos.img", *SCREEN), freedos_screen_files)),
    Case("grub-floppy", limit=240, groups=("normal",),
         run=boot(grub("(fd0)"), ("floppy = grub-rescue-floppy.img",),
                  rescue("grub-rescue-floppy.img"), memory="64M")),
    Case("grub-cdrom", limit=240, groups=("all",),
         run=boot(grub("(cd)", "00:01.1 8086:7010"),
                  ("cdrom = grub-rescue-cdrom.iso", "boot_order = cdrom"),
                  rescue("grub-rescue-cdrom.iso"), memory="64M")),
    Case("ipxe", limit=240, groups=("all",),
         run=boot(ipxe, ("cdrom = ipxe.iso", "on_reboot = destroy"), {"ipxe.iso": IPXE_ISO},
                  memory="64M")),
]
