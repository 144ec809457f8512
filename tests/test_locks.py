"""Locks on file systems that have none, as flock's answers there say."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_config, write_csv
from tests.test_cache import made
from textcls import locks, run
from textcls.data import cache
from textcls.errors import BusyError
from textcls.locks import Timeout, acquire, locked
from textcls.run_folder import alone

NO_LOCKS = [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP]


@pytest.fixture(params=NO_LOCKS, ids=[errno.errorcode[number] for number in NO_LOCKS])
def without_locks(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def flock(file: Any, operation: int) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(locks, "_told", set())
    monkeypatch.setattr(cache, "_in_use", {})
    monkeypatch.setattr(logging.getLogger("textcls"), "propagate", True)
    caplog.set_level(logging.INFO)


def markers(folder: Path) -> list[str]:
    """Return the files that stand for locks: of those that filelock makes itself, with content."""
    return [
        p.name for p in folder.rglob("*") if p.name.endswith((".held", ".lock")) and p.read_text()
    ]


@pytest.mark.filterwarnings("error")
@pytest.mark.usefixtures("without_locks")
def test_a_file_stands_for_a_lock(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with locked(tmp_path / "a.lock", timeout=0):
        assert len(markers(tmp_path)) == 1
        with pytest.raises(Timeout):
            acquire(tmp_path / "a.lock", timeout=0)
    assert markers(tmp_path) == []
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path}: its file system has no locks: files take their place")


@pytest.mark.usefixtures("without_locks")
def test_the_lock_of_a_process_that_was_killed_is_taken(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with locked(tmp_path / "a.lock"):
        (name,) = markers(tmp_path)
    (tmp_path / name).write_text(f"{child.pid}\n{socket.gethostname()}\n")
    old = (tmp_path / name).stat().st_mtime - 60
    os.utime(tmp_path / name, (old, old))
    with locked(tmp_path / "a.lock", timeout=5):
        pass


@pytest.mark.usefixtures("without_locks")
def test_a_cache_without_locks_is_used_and_never_made_smaller(tmp_path: Path) -> None:
    """It cannot be known which of its entries other processes have mapped into their memory."""
    assert not made(tmp_path, 1)
    assert made(tmp_path, 1)
    assert not made(tmp_path, 2, limit=1)
    assert len(cache.entries(tmp_path)) == 2


@pytest.mark.usefixtures("without_locks", "undrawn")
def test_a_run_without_locks(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "train.csv", 60)
    config = make_config(f"data.train={file}", "data=local", f"cache_dir={tmp_path / 'cache'}")
    with alone(tmp_path / "run"), pytest.raises(BusyError, match="another process is training"):
        run.start(config, tmp_path / "run")
    run.start(config, tmp_path / "run")
    assert (tmp_path / "run" / "metrics.json").exists()
    assert markers(tmp_path) == []


def test_other_faults_of_a_lock_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., None] = fcntl.flock
    for code in (errno.EIO, errno.ESTALE):

        def flock(file: Any, operation: int, code: int = code) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(fcntl, "flock", flock)
        with pytest.raises(OSError, match=os.strerror(code)):
            acquire(tmp_path / "a.lock", timeout=0)
    monkeypatch.setattr(fcntl, "flock", real)
    acquire(tmp_path / "a.lock", timeout=0).release()
