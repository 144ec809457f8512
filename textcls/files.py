"""Files and folders that are there whole or not at all; the record that grows line by line."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

# A run folder has the first once its run is finished: its result, written last. The second says
# why a run of a sweep failed. The third makes a folder that of a search (see textcls/tune.py).
FINISHED = "metrics.json"
FAILED = "failed.json"
SEARCH = "tune.yaml"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; leaving the block well renames it into place.

    A link stays one: what it points to is replaced. A device or a pipe is written to as it is.

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
        yield scratch
        os.replace(scratch, place)
    except SafetensorError as error:  # a full disk comes as this
        raise OSError(str(error)) from None
    except OSError as error:
        if error.filename == str(scratch):  # whoever is told of it does not know that name
            error.filename = str(path)
        raise
    finally:
        scratch.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with whole_file(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder beside ``folder`` to fill; leaving the block well puts it into its place.

    Raises:
        OSError: it cannot be written; what was at ``folder`` stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield scratch
        scratch.chmod(0o755)  # mkdtemp's 0700 would shut out others
        if folder.exists():  # out of the way, then gone
            old = folder.with_name(f"{scratch.name}-old")
            os.replace(folder, old)
            os.replace(scratch, folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def filled_folder(folder: Path, own: Collection[str]) -> Iterator[Path]:
    """Yield a folder to fill; leaving the block well puts what is in it into ``folder``.

    Where ``folder`` has files of other names than ``own``, they stay, and the new ones are put
    among them one by one; else it is replaced whole.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    folder = Path(os.path.realpath(folder))
    if not folder.is_dir() or set(os.listdir(folder)) <= set(own):
        with whole_folder(folder) as scratch:
            yield scratch
        return
    with tempfile.TemporaryDirectory(prefix=".textcls-", dir=folder) as name:
        yield Path(name)
        for path in sorted(Path(name).iterdir()):
            os.replace(path, folder / path.name)


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """Return the records of ``epochs.jsonl``; a last line that a kill cut short is left out."""
    path = folder / "epochs.jsonl"
    records: list[dict[str, Any]] = []
    if path.exists():
        # Not splitlines(): a label may hold one of the other characters that it splits at.
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return records
