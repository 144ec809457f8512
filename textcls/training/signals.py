"""Ctrl-C and SIGTERM end a run in order: at once where nothing is at stake, else after saving."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from textcls.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def _handled_by(handler: Any) -> Iterator[None]:
    try:
        previous = {signum: signal.signal(signum, handler) for signum in SIGNALS}
    except ValueError:  # not the main thread: signals are another's business
        yield
        return
    try:
        yield
    finally:
        for signum, old in previous.items():
            signal.signal(signum, old)


class Received:
    """The signal that came, if one did."""

    signum: int | None = None


@contextmanager
def raising() -> Iterator[Received]:
    """Within the block a signal raises :class:`Interrupted` where it strikes.

    It is noted as well: library code (an import, a parser) may turn what strikes it into an error
    of its own, or swallow it.
    """
    received = Received()

    def note_and_raise(signum: int, frame: FrameType | None) -> None:
        received.signum = signum
        raise Interrupted(signum)

    with _handled_by(note_and_raise):
        yield received


@contextmanager
def deferred() -> Iterator[Received]:
    """Within the block a first signal is only noted, for the loop to save and stop.

    A second one raises :class:`Interrupted` at once.
    """
    received = Received()

    def note(signum: int, frame: FrameType | None) -> None:
        if received.signum is not None:
            raise Interrupted(signum)
        received.signum = signum

    with _handled_by(note):
        yield received
