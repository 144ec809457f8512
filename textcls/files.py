"""Files and folders that are there whole or not at all; the record that grows line by line."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from textcls.errors import InputError, first_line

# Of safetensors' messages, which name no file.
_NUMBER = re.compile(r"os error (\d+)")

# A run folder has the first once its run is finished: its result, written last. The second says
# why a run of a sweep failed. The third makes a folder that of a search (see textcls/tuning/).
FINISHED = "metrics.json"
FAILED = "failed.json"
SEARCH = "tune.yaml"
BEST = "best"  # in a search's folder: the run of its best settings
# What was read, in full (see textcls/data/facts.py).
DATA = "data.json"


@contextmanager
def named(path: Path, scratch: Path | None = None) -> Iterator[None]:
    """Have what the system says against writing name the file.

    Args:
        path: the file or folder.
        scratch: its name meanwhile, which the user does not know.

    Raises:
        OSError: of the block; also where it comes as safetensors' own.
    """
    try:
        yield
    except SafetensorError as error:  # a full disk comes as this
        number = _NUMBER.search(str(error))
        code = int(number[1]) if number else errno.EIO
        reason = os.strerror(code) if number else first_line(error)
        raise OSError(code, reason, str(path)) from None
    except OSError as error:
        known = str(path if error.filename is None else error.filename)
        error.filename = known if scratch is None else known.replace(str(scratch), str(path), 1)
        raise


@contextmanager
def whole_file(path: Path, synced: bool = False) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; leaving the block well renames it into place.

    A link stays one: what it points to is replaced. A device or a pipe is written to as it is.
    The file can be read by whom the umask says, whatever wrote it.

    Args:
        path: the file.
        synced: have it on the disk before it takes the place of what was there, and its name after:
            a power cut leaves the one or the other.

    Raises:
        OSError: it cannot be written; what was at ``path`` stays.
    """
    place = Path(os.path.realpath(path))
    if place.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if place.exists() and not place.is_file():
        yield place
        return
    scratch = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with named(path, scratch):
            mode = _mode_of_new(scratch)
            yield scratch
            _settle(scratch, mode, synced)
            os.replace(scratch, place)
            if synced:
                sync(place.parent)
    finally:
        scratch.unlink(missing_ok=True)


def remove_scratch(paths: Iterable[Path]) -> None:
    """Remove what processes left that were killed while they wrote these files.

    Only where no other process is writing them.
    """
    wanted = {Path(os.path.realpath(path)) for path in paths}
    for folder in {path.parent for path in wanted}:
        names = os.listdir(folder) if folder.is_dir() else []
        for name in names:
            written, _, number = name.rpartition(".")
            if number.isdecimal() and name[0] == "." and folder / written[1:] in wanted:
                (folder / name).unlink(missing_ok=True)


def write_whole(path: Path, text: str, synced: bool = False) -> None:
    """Write a text file whole or not at all; see :func:`whole_file`."""
    with whole_file(path, synced) as scratch:
        scratch.write_text(text, encoding="utf-8")


@contextmanager
def whole_folder(folder: Path, synced: bool = False) -> Iterator[Path]:
    """Yield a folder beside ``folder`` to fill; leaving the block well puts it into its place.

    It and its files can be read by whom the umask says.

    Args:
        folder: the folder.
        synced: see :func:`whole_file`.

    Raises:
        OSError: it cannot be written; what was at ``folder`` stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    scratch.mkdir()
    try:
        with named(folder, scratch):
            yield scratch
            _settle_all(scratch, synced)
            _put(scratch, folder)
            if synced:
                sync(folder.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _put(scratch: Path, folder: Path) -> None:
    """Rename a folder into its place; what was there is put out of the way, then removed."""
    if not folder.exists():
        os.replace(scratch, folder)
        return
    old = folder.with_name(f"{scratch.name}-old")
    os.replace(folder, old)
    try:
        os.replace(scratch, folder)
    except OSError:
        os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _mode_of_new(path: Path) -> int:
    """Return the permissions that a new file at a path gets; no file is left there.

    (The umask alone does not say it, and can only be asked for by changing it, for all threads.)
    """
    path.unlink(missing_ok=True)
    path.touch(exist_ok=False)
    mode = stat.S_IMODE(path.stat().st_mode)
    path.unlink()
    return mode


def _settle_all(folder: Path, synced: bool) -> None:
    """Do for all files of a folder what :func:`_settle` does for one."""
    mode = _mode_of_new(folder / ".mode")
    for place, _, names in os.walk(folder):
        for name in names:
            _settle(Path(place, name), mode, synced)
        if synced:
            sync(Path(place))


def _settle(path: Path, mode: int, synced: bool) -> None:
    """Give a file the permissions of new files, beside its own; have it on the disk if wanted."""
    own = stat.S_IMODE(path.stat().st_mode)
    if own | mode != own:  # safetensors makes its files 0600
        path.chmod(own | mode)
    if synced:
        sync(path)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    try:
        file = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders
        return
    try:
        os.fsync(file)
    except OSError as error:  # some file systems sync no folders
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(file)


@contextmanager
def filled_folder(folder: Path, own: Collection[str], synced: bool = False) -> Iterator[Path]:
    """Yield a folder to fill; leaving the block well puts what is in it into ``folder``.

    Where ``folder`` has files of other names than ``own``, they stay, and the new ones are put
    among them one by one; else it is replaced whole. ``synced``: see :func:`whole_file`.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    folder = Path(os.path.realpath(folder))
    if not folder.is_dir() or set(os.listdir(folder)) <= set(own):
        with whole_folder(folder, synced) as scratch:
            yield scratch
        return
    with tempfile.TemporaryDirectory(prefix=".textcls-", dir=folder) as name:
        yield Path(name)
        _settle_all(Path(name), synced)
        for path in sorted(Path(name).iterdir()):
            os.replace(path, folder / path.name)
        if synced:
            sync(folder)


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """Return the records of ``epochs.jsonl``, one for each epoch from the first on.

    A last line that a kill cut short is left out.

    Raises:
        InputError: another line is damaged.
    """
    path = folder / "epochs.jsonl"
    if not path.exists():
        return []
    # Not splitlines(): a label may hold one of the other characters that it splits at.
    *lines, _ = path.read_bytes().split(b"\n")
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        fault = ""
        try:
            record = json.loads(line)
            if record["epoch"] != number or not isinstance(record["train"], dict):
                fault = f"is not that of epoch {number}"
        except ValueError as error:
            if number == len(lines):
                break
            fault = f"is damaged ({first_line(error)})"
        except (KeyError, TypeError):
            fault = "is no record of an epoch"
        if fault:
            raise InputError(
                f"{path}: line {number} {fault}: put back what was there, or start a new run"
            )
        records.append(record)
    return records
