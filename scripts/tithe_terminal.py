"""The user's terminal on a machine's serial line."""
import os
import re
import select
import signal
import sys
import termios
import time
import tty

from tithe_picture import PictureReader, save_numbered

ESCAPE_KEY = 0x1D  # Ctrl-]
# What a guest that waits for a command has written last; some ask the terminal for the cursor.
PROMPT = re.compile(rb"([#$>]|ogin:|assword:) ?(\x1b\[6n)?\Z")
PROMPT_QUIET = 1
SILENCE = 60


class Ended(Exception):
    """A signal asks us to end."""

    def __init__(self, number):
        super().__init__(number)
        self.number = number


SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def _on_signal(number, _):
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise Ended(number)


def catch_signals():
    """Makes the signals that end us an Ended, once, so that everything is tidied up."""
    for number in SIGNALS:
        signal.signal(number, _on_signal)


class RawTerminal:
    """Passes keys through unread while it lasts, and puts the terminal back on every way out."""

    def __enter__(self):
        self.saved = None
        if sys.stdin and sys.stdin.isatty():
            self.saved = termios.tcgetattr(0)
            tty.setraw(0)
        return self

    def __exit__(self, *_):
        if self.saved:
            try:
                termios.tcsetattr(0, termios.TCSADRAIN, self.saved)
            except termios.error:
                pass  # the terminal is gone


class Progress:
    """Seconds on the terminal while a machine says nothing yet."""

    def __init__(self, text):
        self.text = text
        self.start = time.monotonic()
        self.shown = -1
        self.active = sys.stderr.isatty()

    def tick(self):
        seconds = int(time.monotonic() - self.start)
        if self.active and seconds != self.shown:
            self.shown = seconds
            os.write(2, f"\r{self.text}: {seconds} s \x1b[K".encode())

    def clear(self):
        if self.active and self.shown >= 0:
            os.write(2, b"\r\x1b[K")
        self.active = False


class Script:
    """Lines that do not come from a keyboard: each is typed when the guest has shown a prompt, or
    has been silent for long; a UART that nobody reads yet would lose them."""

    def __init__(self):
        self.pending = bytearray()
        self.ended = False

    def next_line(self, machine, quiet):
        if not self.pending or not (b"\n" in self.pending or self.ended):
            return b""
        at_prompt = PROMPT.search(bytes(machine.transcript[-16:])) and quiet >= PROMPT_QUIET
        if not at_prompt and (quiet < SILENCE or not machine.transcript):
            return b""
        end = self.pending.find(b"\n") + 1 or len(self.pending)
        line = bytes(self.pending[:end])
        del self.pending[:end]
        return line


class Session:
    """Runs a machine's serial line on stdin and stdout until one of them ends."""

    def __init__(self, machine, progress, pictures="."):
        self.machine = machine
        self.pictures = PictureReader()
        self.picture_directory = pictures
        self.progress = progress
        self.keyboard = sys.stdin.isatty()
        self.script = Script()
        self.stdin_open = True
        self.quiet_since = time.monotonic()

    def run(self):
        """Returns "machine" where the machine ended, "user" for Ctrl-], "output" where nobody
        reads our output any more."""
        while True:
            data = self.machine.read(0.02)
            if data == b"":
                return "machine"
            if data and not self._show(data):
                return "output"
            if data is None:
                self.progress.tick()
            if not self._stdin():
                return "user"
            self._type_script()
            if self.machine.exit_status is not None:
                return self._last_words()

    def _show(self, data):
        self.progress.clear()
        self.quiet_since = time.monotonic()
        data = self.pictures.feed(data)
        self._save_pictures()
        try:
            while data:
                data = data[os.write(1, data):]
        except BrokenPipeError:
            return False
        return True

    def _save_pictures(self):
        """Saves pictures that have come; the terminal's title says so, as its screen is taken."""
        while self.pictures.done:
            path = save_numbered(self.pictures.done.pop(0), self.picture_directory)
            os.write(2, f"\x1b]2;tithe: saved {os.path.relpath(path)}\x07".encode())

    def _stdin(self):
        """Takes what was typed; False where it was the escape key."""
        if not self.stdin_open or not select.select([0], [], [], 0)[0]:
            return True
        data = os.read(0, 4096)
        if not data:
            self.stdin_open = False
            self.script.ended = True
        elif not self.keyboard:
            self.script.pending += data
        else:
            if ESCAPE_KEY in data:
                return False
            self.machine.write(data)
        return True

    def _type_script(self):
        line = self.script.next_line(self.machine, time.monotonic() - self.quiet_since)
        if line:
            self.machine.write(line)
            self.quiet_since = time.monotonic()

    def _last_words(self):
        """Tithe has said its status: what comes until the power is off is still shown."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            data = self.machine.read(0.2)
            if data == b"":
                break
            if data:
                self._show(data)
        return "machine"
