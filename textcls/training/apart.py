"""A training within another program: it leaves random states and threads as they were."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# torch's random state and number of threads are the process's: of trainings in several threads, one
# runs at a time.
_TRAINING = threading.Lock()


@contextmanager
def apart(seed: int, num_threads: int = 1) -> Iterator[None]:
    """Give the block a random state and a number of threads (see "Threads" in docs/training.md)."""
    with _TRAINING, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs as well
        threads = torch.get_num_threads()
        torch.set_num_threads(num_threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
