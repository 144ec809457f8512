"""Signals: none is forgotten, whatever library code makes of the exception that it raises."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress

import pytest

from textcls.errors import Interrupted
from textcls.training.signals import Received, deferred, handing_on, raising


@pytest.mark.parametrize("block", [raising, handing_on])
def test_a_swallowed_signal_is_known_in_the_blocks_within(
    block: Callable[[], AbstractContextManager[Received]],
) -> None:
    with block() as outer:
        with suppress(BaseException):
            signal.raise_signal(signal.SIGTERM)
        with raising() as middle, deferred() as inner:
            pass
    assert outer.signum == middle.signum == inner.signum == signal.SIGTERM
    with deferred() as later:
        pass
    assert later.signum is None


def test_a_second_signal_raises_at_once() -> None:
    with deferred() as received:
        signal.raise_signal(signal.SIGINT)
        assert received.signum == signal.SIGINT
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)
