"""Files by name, pattern or folder; hashes of their content."""

from __future__ import annotations

import glob
import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import xxhash

from textcls.errors import InputError
from textcls.naming import option

# Files that hold more text than bytes, and about how many times.
_PACKED = frozenset((".gz", ".gzip", ".bz2", ".xz", ".zst", ".zstd", ".zip", ".parquet"))
_PACKED_TIMES = 3


def find_files(pattern: str, key: str) -> list[Path]:
    """Return the files that a name or pattern means, sorted; a folder is returned as it is.

    Args:
        pattern: a path, or a pattern with ``*``, ``?``, ``[…]`` or ``**`` (any depth); ``~`` is the
            home folder.
        key: of the option that names it, for the message: ``train``, ``test``, …

    Raises:
        InputError: there is no such file.
    """
    if not pattern:
        raise InputError(f"{option(key, pattern)}: names no file")
    exact = Path(os.path.expanduser(pattern))  # unlike Path's, leaves "~nobody" as it is
    if os.path.lexists(exact):
        if not exact.exists():
            raise InputError(f"{option(key, pattern)}: is a link to a file that is not there")
        return [exact]
    # (A pattern with two "**" finds files several times.)
    files = [Path(name) for name in sorted(set(glob.glob(str(exact), recursive=True)))]
    # "data/**" names folders as well as the files in them.
    files = [file for file in files if not file.is_dir()] or files
    if not files:
        raise InputError(f"{option(key, pattern)}: there is no such file")
    return files


def folder_of(pattern: str) -> Path:
    """Return the folder that all files of a name or pattern lie in: that before its first ``*``."""
    exact = Path(os.path.expanduser(pattern))
    if os.path.lexists(exact):
        return exact.parent
    plain = itertools.takewhile(lambda part: glob.escape(part) == part, exact.parts)
    return Path(*plain)


def check_names(paths: Iterable[Path]) -> None:
    """Check that reports, which are UTF-8, can hold the names of files.

    Raises:
        InputError: one has a byte that is not of UTF-8.
    """
    for path in paths:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise InputError(f"{path}: this name is not valid UTF-8: rename it") from None


def absolute(path: str) -> str:
    """Return a path or pattern such that it names the same files from any directory."""
    path = os.path.expanduser(path)
    if os.path.isabs(path):
        return path
    here = os.getcwd()
    return os.path.join(here if os.path.exists(path) else glob.escape(here), path)


def hash_file(path: Path) -> str:
    """Return a hash of a file's content (xxh3: as fast as memory; it finds damage, not malice)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def hash_files(
    paths: Iterable[Path], hashed: Callable[[Path], str] = hash_file
) -> list[tuple[str, str]]:
    """Hash contents; of the names only the suffix counts, since it decides how a file is read.

    Args:
        paths: files and folders.
        hashed: returns the hash of a file's content.
    """
    hashes = []
    for path in paths:
        members = sorted(path.rglob("*")) if path.is_dir() else [path]
        for member in members:
            if not member.is_file():
                continue
            try:
                digest = hashed(member)
            except OSError as error:
                raise InputError(f"{member}: cannot be read ({error.strerror})") from None
            name = str(member.relative_to(path)) if path.is_dir() else "".join(member.suffixes)
            hashes.append((name, digest))
    return hashes


def size_of_texts(paths: Iterable[Path]) -> int:
    """Return about how many bytes of text files and folders have, more than their own if packed."""
    total = 0
    for path in paths:
        for member in path.rglob("*") if path.is_dir() else [path]:
            if member.is_file():
                is_packed = _PACKED.intersection(member.suffixes)
                total += member.stat().st_size * (_PACKED_TIMES if is_packed else 1)
    return total


def name_of_files(train: Any) -> str:
    """Return a short name for a corpus: the train file's without its endings.

    A folder's, where the file's own says nothing: ``imdb`` of ``imdb/train.parquet``.

    Args:
        train: a file, a folder or a pattern; None where there is none.
    """
    path = Path(str(train or ""))
    names = [path.name.split(".")[0], path.parent.name]
    plain = [re.sub(r"[^\w-]+", "-", name)[:40].strip("-") for name in names]
    telling = [name for name in plain if name.lower() not in ("", "train", "training", "data")]
    return next(iter(telling), "local")
