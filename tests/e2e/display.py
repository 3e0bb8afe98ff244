"""A guest's screen and keyboard on the console, and pictures of it: tests/guests/display.c."""
import os
import re
import time

from case import BUILD, Case, Failed, expect_end, save, short
from tithe_iso import tithe_iso
from tithe_machine import make_machine
from tithe_picture import PictureReader

KERNEL = os.path.join(BUILD, "guests", "display.elf")
CONFIG = '[vm "display"]\nmemory = 16M\nkernel = display.elf\nscreen = console\n'
PICTURE_KEY = b"\x1ep"
SEQUENCE = re.compile(rb"\x1b\[(\??)([\d;]*)([A-Za-z])")


class Terminal:
    """As much of a terminal as monitor/screen.c uses: a dictionary from (row, column) to text."""

    def __init__(self):
        self.cells = {}
        self.row = self.column = 0

    def feed(self, data):
        """Takes what is complete of data; returns the rest."""
        while data:
            if data.startswith(b"\x1b"):
                found = SEQUENCE.match(data)
                if not found:
                    return data
                self._sequence(*found.groups())
                data = data[found.end():]
                continue
            text = re.match(rb"[^\x1b]+", data).group()
            for char in text.decode(errors="replace"):
                self._show(char)
            data = data[len(text):]
        return b""

    def _sequence(self, private, numbers, final):
        if private:
            return
        values = [int(n or 0) for n in numbers.split(b";")]
        if final == b"H":
            self.row, self.column = (values + [1, 1])[:2] if numbers else (1, 1)
        elif final == b"J":
            self.cells.clear()

    def _show(self, char):
        if char == "\r":
            self.column = 1
        elif char == "\n":
            self.row += 1
        else:
            self.cells[self.row, self.column] = char
            self.column += 1

    def line(self, row):
        return "".join(self.cells.get((row, column), " ") for column in range(1, 81)).rstrip()


class Console:
    """The machine's console: what the terminal shows, and the pictures that came."""

    def __init__(self, machine):
        self.machine = machine
        self.reader = PictureReader()
        self.terminal = Terminal()
        self.rest = b""

    def wait(self, what, condition, seconds=60):
        end = time.monotonic() + seconds
        while not (result := condition()):
            data = self.machine.read(1)
            if data == b"" or time.monotonic() > end:
                raise Failed(f"{what} did not come; the screen has "
                             + short(" / ".join(self.terminal.line(n) for n in range(1, 5))))
            if data:
                self.rest = self.terminal.feed(self.rest + self.reader.feed(data))
        return result

    def wait_line(self, row, text, seconds=60):
        self.wait(f"'{text}' on line {row}", lambda: text in self.terminal.line(row), seconds)

    def type(self, keys):
        self.machine.write(keys)

    def picture(self, width, height):
        self.type(PICTURE_KEY)
        self.wait("a picture", lambda: self.reader.done or self.reader.errors)
        if self.reader.errors:
            raise Failed(f"a picture is wrong: {self.reader.errors[0]}")
        picture = self.reader.done.pop()
        if (picture.width, picture.height) != (width, height):
            raise Failed(f"the picture is {picture.width} by {picture.height}")
        return picture


def check_pixels(picture, what, colour):
    for y in range(picture.height):
        for x in range(picture.width):
            if picture.pixel(x, y) != colour(x, y):
                raise Failed(f"{what}: pixel {x},{y} is {picture.pixel(x, y)}, not {colour(x, y)}")


def wide(component):
    """Six bits of the DAC to eight."""
    return component << 2 | component >> 4


def colour_13h(x, y):
    n = y // 16 * 20 + x // 16 & 255
    return wide(n // 4), wide(63 - n // 4), wide(n % 64)


def colour_true(x, y):
    return x // 16 * 12, y // 16 * 16, x // 16 ^ y // 16


def talk(console, limit):
    console.wait_line(1, "display: ready", limit)
    # Set 1, as the controller translates: a; B with Shift; the cursor key.
    console.type(b"aB\x1b[A")
    console.wait_line(3, "1e 9e 2a 30 b0 aa e0 48 e0 c8")
    console.type(b"\x1bOQ")
    console.wait_line(1, "graphics, 320x200, 8 bits per pixel")
    check_pixels(console.picture(320, 200), "mode 13h", colour_13h)
    console.type(b"\x1bOR")
    console.wait_line(1, "graphics, 320x240, 32 bits per pixel")
    check_pixels(console.picture(320, 240), "true colour", colour_true)
    console.type(b"\x1bOP")
    console.wait_line(1, "display: ready")
    background = console.picture(720, 400).pixel(30 * 9, 0)  # of the title: colour 1
    if background != (wide(0), wide(63), wide(1)):
        raise Failed(f"the text's background is {background}")
    console.type(b"\x1er")
    console.terminal.cells.clear()
    console.wait_line(1, "display: ready")
    console.type(b"\x1b")  # Esc, once it is clear that it begins nothing


def run(case, directory):
    iso = os.path.join(directory, "case.iso")
    tithe_iso(iso, CONFIG, {"display.elf": KERNEL}, case.options)
    with make_machine(case.platform, iso, case.host_memory, case.host_cpus) as machine:
        machine.start(case.limit)
        try:
            talk(Console(machine), case.limit)
            expect_end(case, machine)
        finally:
            save(case.name, machine)


CASES = [Case("display", run=run, groups=("quick", "normal"))]
