"""Machines that boot by PXE from a directory of scripts/make-netboot. The emulators themselves are
the DHCP and TFTP servers of a network that ends at the machine."""
import os
import tempfile

from tithe_iso import TITHE_ELF, check_file, check_space, make
from tithe_machine import BOCHS_MODEL, Bochs, MachineError, Qemu, make_machine

BIOS_IMAGE = "tithe.pxe"
UEFI_IMAGE = "tithe.efi"
# Bochs' firmware has no PXE. QEMU gives its card this ROM by itself, or the one for UEFI.
IPXE_ROM = "/usr/lib/ipxe/qemu/pxe-e1000.rom"
CARD_MAC = "52:54:00:12:34:56"
# iPXE waits for keys and answers by the clock: a second of few instructions is over soon.
NETBOOT_IPS = 20_000_000


class NetBochs(Bochs):
    """Bochs with an e1000 on its network `vnet`; instead of an ISO it is given the directory."""

    def __init__(self, directory, memory=512, cpus=1, model=BOCHS_MODEL, ips=NETBOOT_IPS,
                 **options):
        check_file(IPXE_ROM, "iPXE (Debian's package ipxe-qemu)")
        super().__init__(directory, memory, cpus, model, ips, **options)

    def medium(self):
        if '"' in self.iso:
            raise MachineError(f"Bochs cannot be given a path with quotation marks: {self.iso}")
        network = self._path("vnet.conf")
        with open(network, "w") as file:
            file.write(f"# vnet config\nbootfile = {BIOS_IMAGE}\n")
        return f"""\
plugin_ctrl: e1000=1
e1000: enabled=1, mac={CARD_MAC}, ethmod=vnet, ethdev="{self.iso}", script="{network}", \
bootrom="{IPXE_ROM}"
pci: enabled=1, chipset=i440fx, slot1=e1000
boot: network"""


class NetQemu(Qemu):
    """QEMU with an e1000 on its user network; instead of an ISO it is given the directory."""

    def medium(self):
        image = UEFI_IMAGE if self.uefi else BIOS_IMAGE
        directory = self.iso.replace(",", ",,")
        return ["-netdev", f"user,id=net,restrict=on,tftp={directory},bootfile={image}",
                "-device", f"e1000,netdev=net,mac={CARD_MAC}", "-boot", "n"]


def make_net_machine(platform, directory, memory, cpus, model=None, **options):
    """The machine of a platform's name, booted from the directory; options go to Bochs."""
    image = UEFI_IMAGE if platform.endswith("uefi") else BIOS_IMAGE
    if not os.path.isfile(os.path.join(directory, image)):
        raise MachineError(f"{directory}: no {image} there (scripts/make-netboot makes it)")
    return make_machine(platform, directory, memory, cpus, model, (NetBochs, NetQemu), **options)


def tithe_netboot(out, config, modules, options="", elf=TITHE_ELF):
    """What tithe_iso makes, as a directory to boot from over the network."""
    check_file(elf, "Tithe (`make` builds it)")
    for name, path in modules.items():
        check_file(path, name)
    os.makedirs(out, exist_ok=True)
    check_space(out, list(modules.values()) + [elf])
    with tempfile.NamedTemporaryFile("w", prefix="tithe-", suffix=".conf") as file:
        file.write(config or "")
        file.flush()
        given = [] if config is None else [file.name]
        given += [f"{name}={path}" for name, path in modules.items()]
        make("make-netboot", "the directory for PXE", ["--cmdline", options, out, elf] + given)
