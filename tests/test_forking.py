from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest
import torch

from tests.test_model import make_parts
from textcls import Classifier

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
SECONDS = 30.0


def holds_when_forked(check: Callable[[], bool]) -> bool:
    """Say what a forked process finds, or that it never ends."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            status = 0 if check() else 1
        finally:
            os._exit(status)
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


def test_forked_processes_predict_with_what_was_used_before() -> None:
    texts = ["great and warm", "dull film"] * 5_000
    parts = make_parts()
    parts.model.eval()
    classifier = Classifier(parts)
    torch.set_num_threads(2)
    try:
        expected = classifier.predict(texts)
        # As gunicorn --preload and multiprocessing's "fork" do.
        assert holds_when_forked(lambda: classifier.predict(texts) == expected)
    finally:
        torch.set_num_threads(1)
