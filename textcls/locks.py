"""Locks between processes, also where the file system has none."""

from __future__ import annotations

import errno
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

log = logging.getLogger("textcls")

__all__ = ["Timeout", "acquire", "locked"]

# What a file system without locks answers: some network file systems, and FUSE's.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
_told: set[Path] = set()


def acquire(path: Path, timeout: float = -1) -> BaseFileLock:
    """Take a lock, which is given back by ``release``, or by the system when this process ends.

    On a file system without locks, a file stands for it, ``PATH.held``, which is there as long as
    it is held. One of a process that was killed is removed by the next process of the
    same machine; those of other machines wait for it until a user removes it.

    Args:
        path: of a file that is made, and stays: were it removed, two processes could hold a lock
            each, on two files.
        timeout: seconds to wait; below 0 without end.

    Raises:
        Timeout: another process has it.
        OSError: the file cannot be made.
    """
    lock: BaseFileLock = FileLock(path, timeout=timeout)
    try:
        with warnings.catch_warnings(action="ignore"):  # filelock's own, of what is told below
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        if isinstance(error, Timeout):
            raise
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        lock = SoftFileLock(path.with_name(f"{path.name}.held"), timeout=timeout)
        lock.acquire()
    if isinstance(lock, SoftFileLock) and path.parent not in _told:
        _told.add(path.parent)
        log.warning(
            "%s: its file system has no locks: files take their place; if a process is killed and "
            "others wait for it, remove %s",
            path.parent, Path(lock.lock_file).name,
        )  # fmt: skip
    return lock


@contextmanager
def locked(path: Path, timeout: float = -1) -> Iterator[None]:
    """Hold a lock for the block; see :func:`acquire`."""
    lock = acquire(path, timeout)
    try:
        yield
    finally:
        lock.release()
