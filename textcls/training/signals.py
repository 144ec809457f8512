"""Ctrl-C and SIGTERM end a run in order: at once where nothing is at stake, else after saving."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from textcls.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Received:
    """The signal that came, if one did."""

    signum: int | None = None


# What a process of a launcher has heard (see :func:`heed_the_first`); None in any other process.
_first: Received | None = None
# Of the innermost of the blocks below, outside of which there is none.
_innermost = Received()


def _set(handler: Any) -> dict[signal.Signals, Any]:
    """Have signals handled, but for those that a process of a launcher does not heed."""

    def heed(signum: int, frame: FrameType | None) -> None:
        if _first is not None:
            if _first.signum is not None:
                return
            _first.signum = signum
        handler(signum, frame)

    return {signum: signal.signal(signum, heed) for signum in SIGNALS}


@contextmanager
def _handled_by(handler: Any, received: Received) -> Iterator[None]:
    global _innermost
    try:
        previous = _set(handler)
    except ValueError:  # not the main thread: signals are another's business
        yield
        return
    outer, _innermost = _innermost, received
    # What library code swallowed around this block is not forgotten in it.
    if received.signum is None:
        received.signum = outer.signum
    try:
        yield
    finally:
        _innermost = outer
        for signum, old in previous.items():
            signal.signal(signum, old)


@contextmanager
def raising() -> Iterator[Received]:
    """Within the block a signal raises :class:`Interrupted` where it strikes.

    It is noted as well, here and in the blocks within this one: library code (an import, a parser)
    may turn what strikes it into an error of its own, or swallow it.
    """
    received = Received()

    def note_and_raise(signum: int, frame: FrameType | None) -> None:
        received.signum = signum
        raise Interrupted(signum)

    with _handled_by(note_and_raise, received):
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

    with _handled_by(note, received):
        yield received


@contextmanager
def handing_on() -> Iterator[Received]:
    """Like :func:`raising`, but a first signal goes to the processes that this one made, if any.

    They end in order, each in its time, and the block goes on until then: a launcher would kill
    them at an exception, whatever they are writing. A second signal raises.
    """
    received = Received()

    def hand_on(signum: int, frame: FrameType | None) -> None:
        children = multiprocessing.active_children() if received.signum is None else []
        received.signum = signum
        for child in children:
            assert child.pid is not None  # it is started
            with suppress(ProcessLookupError):
                os.kill(child.pid, signum)
        if not children:
            raise Interrupted(signum)

    with _handled_by(hand_on, received):
        yield received


def heed_no_more() -> None:
    """From here on, heed no signal: a launcher sends one to those that are left of a group."""
    global _first
    _first = Received()
    _first.signum = signal.SIGTERM


def heed_the_first() -> Received:
    """From here on, this process of a launcher heeds one signal; return whether it came.

    It comes twice where a terminal tells all processes and :func:`handing_on` this one: the echo
    is not to strike while that is saved which the first asked for. To those who are impatient the
    launcher's own process listens, and kills this one.
    """
    global _first
    if _first is None:
        _first = Received()
        _set(lambda *_: None)  # between two runs it is noted as well
    return _first
