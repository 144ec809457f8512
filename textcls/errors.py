"""The ways in which a run may end early, each with the exit status that the shell sees."""

import errno
import io
import os
import signal
import sys
import traceback
import unicodedata

# What a shell shows of a program that writes to a pipe whose reader is gone, as ``head`` is after
# its lines: 128 and the number of SIGPIPE, a signal that Windows does not have.
NO_READER = 141


class TextclsError(Exception):
    """Something went wrong that the user is told in one line (exit status 1)."""

    exit_status = 1


class InputError(TextclsError):
    """The configuration or the data is at fault; the message says what and how to mend it."""

    exit_status = 2


class TakenError(InputError):
    """The run folder is another run's; nothing in it was touched."""


class BusyError(TakenError):
    """Another process is training in the run folder."""


class Interrupted(BaseException):
    """A signal asked the run to stop.

    Like ``KeyboardInterrupt`` it is no ``Exception``, so that a sweep stops as well instead of
    going on with the next run.
    """

    def __init__(self, signum: int, message: str = "") -> None:
        super().__init__(message or f"stopped by {signal.Signals(signum).name}")
        self.signum = signum
        self.exit_status = 128 + signum


def status_and_reason(error: Exception) -> tuple[int, str]:
    """Return the exit status that an error comes to, and what the user is told of it.

    One that is a fault of ours shows where it comes from on stderr.
    """
    if isinstance(error, TextclsError):
        return error.exit_status, str(error)
    if isinstance(error, MemoryError):
        return 1, f"out of memory ({first_line(error)})"
    if isinstance(error, OSError):
        return 1, f"{error.filename or 'file'}: {error.strerror or error}"
    traceback.print_exception(error)
    return 1, f"{type(error).__name__}: {first_line(error)}"


def raise_if_out_of_memory(error: Exception) -> None:
    """Raise ``MemoryError`` where the system's error stands for it: no file is at fault then."""
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        raise MemoryError(error.strerror) from None


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type's name where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def tell(message: str) -> None:
    """Print an error on stderr, in one line whatever it holds."""
    print(f"error: {visible(' '.join(message.split()))}", file=sys.stderr)


def print_any_character() -> None:
    """Let stdout and stderr replace characters that their encoding lacks, as ASCII lacks most."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def discard_output() -> None:
    """Drop what is still to be written to stdout, whose reader is gone: it must not raise again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def visible(text: str) -> str:
    """Return a text that a terminal shows as it is: one line, without codes that it would obey."""
    return "".join(map(_visible, text))


def _visible(c: str) -> str:
    if c.isspace():
        return " "
    if c < " ":
        return chr(0x2400 + ord(c))  # Unicode's pictures of the control characters: ␀, ␛
    if c == "\x7f":
        return "␡"
    # Controls, marks that turn the direction of writing, and what is no character.
    return "�" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Cn", "Co") else c
