"""Pictures of a guest's screen that Tithe sends on its console (monitor/picture.h says how)."""
import os
import re
import struct
import zlib

COMMAND = re.compile(rb"\x1b_tithe-(picture|row|end);([^\x1b]*)\x1b\\")
START = b"\x1b_tithe-"
LONGEST_COMMAND = 256
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
DIGIT = {c: n for n, c in enumerate(ALPHABET)}
MAX_SIDE = 4096


class PictureError(Exception):
    """What is wrong with a picture, in one line."""


def checksum(data):
    """FNV-1a, 32 bits."""
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


class Picture:
    """A picture: name of the VM, width, height, and pixels as RGB bytes, row by row."""

    def __init__(self, name, width, height):
        if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
            raise PictureError(f"a picture of {width} by {height}")
        self.name, self.width, self.height = name, width, height
        self.pixels = bytearray()

    def add(self, data):
        """Takes what one command for rows says."""
        at = 0
        while at < len(data):
            if data[at] in b"*^":
                count = self._number(data[at + 1:at + 3], 2)
                self._repeat(3 if data[at] == b"*"[0] else 3 * self.width, count)
                at += 3
            else:
                self.pixels += self._number(data[at:at + 4], 4).to_bytes(3, "big")
                at += 4
        if len(self.pixels) > 3 * self.width * self.height:
            raise PictureError("more pixels than it has")

    @staticmethod
    def _number(text, length):
        if len(text) != length or any(c not in DIGIT for c in text):
            raise PictureError("characters that mean nothing")
        value = 0
        for c in text:
            value = value << 6 | DIGIT[c]
        return value

    def _repeat(self, back, count):
        if back > len(self.pixels):
            raise PictureError("repeats what was not there")
        for _ in range(count):
            self.pixels += self.pixels[-back:len(self.pixels) - back + 3]

    def finish(self, sum_text):
        if len(self.pixels) != 3 * self.width * self.height:
            raise PictureError("it is not whole: the guest has changed its mode")
        if sum_text != b"%08x" % checksum(self.pixels):
            raise PictureError("its checksum is wrong")

    def pixel(self, x, y):
        at = 3 * (y * self.width + x)
        return tuple(self.pixels[at:at + 3])

    def png(self):
        """The bytes of a PNG file (RFC 2083)."""
        def chunk(kind, data):
            body = kind + data
            return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
        row = 3 * self.width
        raw = b"".join(b"\0" + self.pixels[n * row:(n + 1) * row] for n in range(self.height))
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
                + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))

    def save(self, path):
        with open(path, "wb") as file:
            file.write(self.png())


class PictureReader:
    """Takes the bytes of a console and picks the pictures out of them."""

    def __init__(self):
        self.rest = b""
        self.current = None
        self.done = []   # whole pictures, for the caller to take
        self.errors = []  # why others are not

    def feed(self, data):
        """Returns what is not part of a picture, to be shown."""
        data = self.rest + data
        shown, at = b"", 0
        for command in COMMAND.finditer(data):
            shown += data[at:command.start()]
            at = command.end()
            try:
                self._command(command.group(1), command.group(2))
            except (PictureError, ValueError) as error:
                self.errors.append(str(error))
                self.current = None
        data = data[at:]
        keep = self._unfinished(data)
        self.rest = data[keep:]
        return shown + data[:keep]

    @staticmethod
    def _unfinished(data):
        """Where a command begins whose end has not come yet."""
        at = data.rfind(b"\x1b")
        if at > 0 and data[at:] == b"\x1b" and START in data:
            at = data.rfind(b"\x1b", 0, at)
        if at < 0 or len(data) - at > LONGEST_COMMAND:
            return len(data)
        part = data[at:at + len(START)]
        return at if START.startswith(part) else len(data)

    def _command(self, kind, data):
        if kind == b"picture":
            name, width, height = data.decode("ascii", "replace").split(";")
            self.current = Picture(name, int(width), int(height))
        elif self.current is None:
            return
        elif kind == b"row":
            self.current.add(data)
        else:
            self.current.finish(data)
            self.done.append(self.current)
            self.current = None


def save_numbered(picture, directory):
    """Saves under the first name that is free; returns it."""
    os.makedirs(directory, exist_ok=True)
    number = 1
    while os.path.exists(path := os.path.join(directory, f"{picture.name}-{number}.png")):
        number += 1
    picture.save(path)
    return path
