"""A guest with disks and a CD-ROM: Linux' own drivers read, write and read back."""
import hashlib
import os
import random
import subprocess

from case import BUILD, Case, Failed, Step
from guests import prepare
from tithe_iso import vm_config

INITRD_DISK = os.path.join(BUILD, "guest", "initrd-disk.img")
DISK_SIZE = "24M"


def command(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          env=dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin"))
    if done.returncode:
        raise Failed(f"{arguments[0]}: {done.stderr.strip()[-150:]}")


class Images:
    """An ext4 disk and a CD with a file of so many bytes, and a raw disk of twice as many."""

    def __init__(self, size):
        self.size = size
        self.pattern = random.Random(1).randbytes(size)
        self.raw = random.Random(2).randbytes(2 * size + 512 * 3)
        self.sum = hashlib.md5(self.pattern).hexdigest()

    def make(self, directory):
        """The files, by their module's names."""
        tree = os.path.join(directory, "tree")
        os.mkdir(tree)
        with open(os.path.join(tree, "pattern"), "wb") as file:
            file.write(self.pattern)
        disk, raw, cdrom = (os.path.join(directory, name) for name in ("disk", "raw", "cd"))
        command("mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0", "-d", tree, disk,
                DISK_SIZE)
        with open(raw, "wb") as file:
            file.write(self.raw)
        command("xorriso", "-report_about", "SORRY", "-as", "mkisofs", "-o", cdrom, "-r", tree)
        return {"disk.img": disk, "raw.img": raw, "cd.iso": cdrom}

    def count_files(self):
        return f"md5sum /mnt/* 2>/dev/null | grep -c {self.sum}"

    def steps(self):
        """Reads all three, writes both disks and reads that back."""
        return (
            Step("mkdir -p /mnt; md5sum /dev/sdb", hashlib.md5(self.raw).hexdigest()),
            Step(f"mount -t iso9660 -o ro /dev/sr0 /mnt; {self.count_files()}; umount /mnt",
                 r"^1$"),
            Step("mount /dev/sda /mnt && " + self.count_files(), r"^1$"),
            Step("cp /mnt/pattern /mnt/second && " + AGAIN, r"^mounted$"),
            Step(self.count_files(), r"^2$"),
            Step("dd if=/mnt/pattern of=/dev/sdb bs=7k seek=3 conv=fsync 2>/dev/null; dd "
                 f"if=/dev/sdb bs=512 skip=42 count={self.size // 512} 2>/dev/null | md5sum",
                 self.sum),
        )


def config(more=""):
    return (vm_config("vmlinuz", "initrd.img", "console=ttyS0 quiet " + more, "128M", 1) +
            "disk = disk.img\ndisk2 = raw.img\ncdrom = cd.iso\n")


AGAIN = "umount /mnt && echo 3 > /proc/sys/vm/drop_caches && mount /dev/sda /mnt && echo mounted"
MODE = "cat /sys/class/ata_device/dev1.0/xfer_mode"
NO_ERRORS = Step("dmesg | grep -ciE 'error|exception|timeout|frozen|lost interrupt|segfault'",
                 r"^0$")
LARGE = Images(3 << 20)
SMALL = Images(256 << 10)
DMA = LARGE.steps() + (
    Step(MODE, r"XFER_.*DMA"),
    Step("dmesg | grep 'Attached SCSI'", r"\[sda\] Attached"),
    Step("rm /mnt/second && fstrim -v /mnt", r"trimmed"),
    Step(AGAIN, r"^mounted$"),
    Step(LARGE.count_files(), r"^1$"),
    Step("cp /mnt/pattern /mnt/third && umount /mnt && echo unmounted", r"^unmounted$"),
    NO_ERRORS,
    # A reset of the machine leaves the disks as they are.
    Step("reboot -f", r"Linux 6\.", timeout=200),
    Step("mkdir -p /mnt; mount /dev/sda /mnt && " + LARGE.count_files(), r"^2$"),
    NO_ERRORS,
    Step("umount /mnt"),
)
PIO = SMALL.steps() + (Step(MODE, r"XFER_PIO"), NO_ERRORS)


def initrd(directory):
    del directory
    return INITRD_DISK


# ------------------------------------------------------------------ a disk that boots by itself

FIRMWARE = "/usr/share/seabios/bios-256k.bin"
BOOT_CONFIG = """[vm "disk"]
memory = 256M
firmware = bios.bin
disk = disk.img
"""
KEPT = "cat /bin/dash /bin/dash > /root/kept; sync; cat /bin/dash /bin/dash | cmp - /root/kept && "
KEPT += "md5sum < /root/kept > /root/sum; echo kept-$?"
SAME = 'test "$(md5sum < /root/kept)" = "$(cat /root/sum)"; echo same-$?'
BOOT = (
    Step("uname -a", r"^Linux tithe 6\.\d+.* x86_64"),
    Step("cat /proc/cmdline", r"BOOT_IMAGE=/boot/vmlinuz root=/dev/sda1"),
    Step("mount | grep ' / '", r"/dev/sda1 on / type ext4 \(rw"),
    # A small Debian: its release, its package list, init.
    Step("cat /etc/debian_version; dpkg-query -W sysvinit-core; cat /proc/1/comm",
         r"^12\.\d+\n(?s:.*)sysvinit-core\t.*\n(?s:.*)init$"),
    Step(KEPT, r"^kept-0$"),
    NO_ERRORS,
    # Not -f: init unmounts, and the firmware starts from the changed disk. The shell is kept from
    # showing its prompt until init ends it.
    Step("reboot; sleep 999", r"GRUB starts Linux from the disk", timeout=900),
    Step(SAME, r"^same-0$"),
    Step("dmesg | grep -ciE 'recover|orphan'", r"^0$"),
    NO_ERRORS,
)


def bootable(directory):
    disk = os.path.join(directory, "disk")
    prepare(os.path.join(os.path.dirname(BUILD), "scripts", "make-disk"), disk)
    return {"bios.bin": FIRMWARE, "disk.img": disk}


CASES = [
    Case("disk-boot", config=BOOT_CONFIG, modules=bootable, steps=BOOT, login="root",
         end="poweroff", limit=1800, groups=("all",)),
    Case("disk-dma", config=config(), initrd=initrd, modules=LARGE.make, steps=DMA, limit=400),
    Case("disk-pio", config=config("libata.dma=0"), initrd=initrd, modules=SMALL.make, steps=PIO,
         limit=400),
]
