"""Processes that are forked: servers and loaders of data load a model, then fork to use it."""

from __future__ import annotations

import functools
import os

import torch


@functools.cache
def compute_alone_after_fork() -> None:
    """Have each process that is forked from here on compute with one thread, as torch's loaders do.

    The threads that torch computes with do not come along: whoever hands them work waits for ever.
    """
    if hasattr(os, "register_at_fork"):  # Windows does not fork
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
