"""The log of a run: in a file, on the console, and what ended the run."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text

from textcls.errors import TextclsError, first_line

log = logging.getLogger("textcls")


@contextlib.contextmanager
def log_to(path: Path, console: Console | None) -> Iterator[None]:
    """Within the block the log goes to the file, and to the console if there is one."""
    handlers: list[logging.Handler] = [_LogFile(path, encoding="utf-8")]
    handlers[0].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    if console is not None:
        handlers.append(_ConsoleHandler(console))
    log.setLevel(logging.INFO)
    log.propagate = False
    for handler in handlers:
        log.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()


class _LogFile(logging.FileHandler):
    """Lacks what a full disk had no room for: the same disk tells of itself where it matters."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


class _ConsoleHandler(logging.Handler):
    """Prints above the live line, if there is one."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:
            text = Text(f"warning: {record.getMessage()}", style="yellow")
            self.console.print(text, soft_wrap=True)
        elif record.levelno < logging.WARNING:  # errors are told on stderr, at the very end
            self.console.print(Text(record.getMessage()), soft_wrap=True)


@contextlib.contextmanager
def faults_told() -> Iterator[None]:
    """Log what ends a training; memory that has run out becomes a ``TextclsError``."""
    try:
        yield
    except (TextclsError, OSError) as error:
        log.error(error)
        raise
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            log.exception("a fault in textcls")
            raise
        log.info(first_line(error))
        reason = (
            "out of memory: lower model.dim, tokenizer.max_size, tokenizer.buckets or "
            "trainer.batch_size"
        )
        log.error(reason)
        raise TextclsError(reason) from None


def _is_out_of_memory(error: Exception) -> bool:
    # torch's allocators: that of CUDA has a class for it, that of the CPU has not.
    return (
        isinstance(error, MemoryError | torch.OutOfMemoryError)
        or "can't allocate memory" in str(error)
        or "Storage size calculation overflowed" in str(error)
    )
