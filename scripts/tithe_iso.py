"""ISOs for one run: Tithe with a configuration and its modules, or a bare Linux kernel."""
import configparser
import os
import shutil
import subprocess

from tithe_machine import MachineError

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build")
TITHE_ELF = os.path.join(BUILD, "tithe.elf")
GUEST_KERNEL = os.path.join(BUILD, "guest", "vmlinuz")
GUEST_INITRD = os.path.join(BUILD, "guest", "initrd.img")
# GRUB's own images, file system tables and rounding.
ISO_OVERHEAD = 4 << 20
# The keys of a configuration whose values are files, to be loaded as modules.
FILE_KEYS = ("kernel", "initrd", "firmware", "vgabios", "floppy", "disk", "disk2", "disk3", "disk4",
             "cdrom")


def check_file(path, what):
    """Says in one line why a file cannot be used."""
    if not os.path.exists(path):
        raise MachineError(f"{what}: no such file: {path}")
    if not os.path.isfile(path):
        raise MachineError(f"{what}: not a file: {path}")
    if not os.access(path, os.R_OK):
        raise MachineError(f"{what}: cannot be read: {path}")


def check_space(directory, files):
    needed = sum(os.path.getsize(path) for path in files) + ISO_OVERHEAD
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise MachineError(f"no space: {directory} has {free >> 20} MB free, "
                           f"{(needed >> 20) + 1} MB are needed")


def make(script, what, arguments):
    """Runs one of the scripts that make something to boot from."""
    command = [os.path.join(ROOT, "scripts", script)] + arguments
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise MachineError(f"cannot make {what}: {lines[-1]}")


def _make(arguments):
    make("make-iso", "the ISO", arguments)


def tithe_iso(out, config, modules, options="", elf=TITHE_ELF):
    """Tithe with a configuration (None: without) and modules {name: path}; options is the command
    line."""
    check_file(elf, "Tithe (`make` builds it)")
    for name, path in modules.items():
        check_file(path, name)
    check_space(os.path.dirname(out), list(modules.values()) + [elf])
    arguments = ["--cmdline", options, out, elf]
    if config is None:
        return _make(arguments)
    conf = out + ".conf"
    with open(conf, "w") as file:
        file.write(config)
    _make(arguments + [conf] + [f"{name}={path}" for name, path in modules.items()])
    os.unlink(conf)


def bare_iso(out, kernel, initrd, cmdline):
    """A Linux kernel that GRUB boots directly."""
    files = [kernel] + ([initrd] if initrd else [])
    for path in files:
        check_file(path, "kernel" if path == kernel else "initrd")
    check_space(os.path.dirname(out), files)
    _make(["--bare", "--cmdline", cmdline, out] + files)


def vm_config(kernel, initrd, cmdline, memory, cpus, name="debian"):
    """The text of a configuration with one VM; kernel and initrd are module names."""
    lines = [f'[vm "{name}"]', f"memory = {memory}", f"cpus = {cpus}", f"kernel = {kernel}"]
    if initrd:
        lines.append(f"initrd = {initrd}")
    if cmdline:
        quoted = cmdline.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'cmdline = "{quoted}"')
    return "\n".join(lines) + "\n"


def read_config(path):
    """A configuration file whose files lie beside it: (text, modules by name). The text is given
    to Tithe as it is; only what is a file here is looked for, Tithe judges the rest."""
    check_file(path, "CONFIG")
    with open(path, errors="replace") as file:
        text = file.read()
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True, interpolation=None)
    modules = {}
    try:
        parser.read_string(text)
    except configparser.Error:
        return text, modules
    for section in parser.sections():
        for key, value in parser.items(section):
            value = (value or "").strip('"')
            if key in FILE_KEYS and value:
                modules[value] = _find(value, os.path.dirname(os.path.abspath(path)), path)
    return text, modules


def _find(name, beside, config):
    for directory in (beside, os.path.dirname(GUEST_KERNEL)):
        path = os.path.join(directory, name)
        if os.path.isfile(path):
            return path
    raise MachineError(f"{config} names '{name}', which is neither beside it nor in build/guest")
