"""The cache: folders named by a hash of all that determines their content, checked before use."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from filelock import BaseFileLock
from safetensors import SafetensorError

from textcls.checksum import check_file
from textcls.corpus.paths import hash_file
from textcls.errors import TextclsError, first_line
from textcls.files import whole_folder
from textcls.locks import Timeout, acquire
from textcls.sizes import size_in_words

if sys.platform != "win32":
    import fcntl

log = logging.getLogger("textcls")

MANIFEST = "manifest.json"
# Another process that prepares the same data may be done within these seconds: said is it after.
PATIENCE = 1.0
# An entry's name; a user who cannot read another's has one of the same name and a number.
_NAME = re.compile(r"[0-9a-f]{32}(-\w+)?")
# What the folder of an unfinished preparation is called: its entry's name, and this.
UNFINISHED = ".parts"
# Shards have checksums of their own, and are many: they are checked when they are written, and when
# somebody asks for it, but for their size.
_SHARD = re.compile(r".*-\d{5}\.safetensors")
# What is left of one whose writer was killed: see :func:`~textcls.files.whole_folder`.
_LEFTOVER = re.compile(rf"\.({_NAME.pattern})-[0-9a-f]{{8}}(-old)?")
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)

_T = TypeVar("_T")
Manifest = dict[str, Any]
# The manifests of the entries that this process has opened, locked as long as it lives: their
# files may be mapped into its memory.
_in_use: dict[Path, IO[bytes]] = {}


@dataclass(frozen=True)
class Entry:
    """An entry that there is.

    Attributes:
        folder: where.
        num_bytes: of all its files.
        last_use: seconds since 1970.
        manifest: what it says of itself; empty where it cannot be read.
    """

    folder: Path
    num_bytes: int
    last_use: float
    manifest: Manifest


def name_of(key: Manifest) -> str:
    """Return the name of the entry with such a key."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]


def find_or_make(
    cache_dir: Path,
    key: Manifest,
    make: Callable[[Path], Manifest],
    load: Callable[[Path, Manifest], _T],
    limit: int | None = None,
) -> tuple[_T, bool]:
    """Return the content of an entry, and whether it was there.

    An entry is a folder, named by a hash of its key. It is written beside its place and renamed
    into it, so that it is there whole or not at all; a file lock lets one of several processes
    that start together do the work. Every file's hash is checked before an entry is used; one
    that fails is rebuilt. One that another user keeps to himself is left alone: there is a copy of
    one's own beside it then.

    Args:
        cache_dir: the folder of all entries.
        key: everything that determines the entry's content, as JSON has it.
        make: fills an empty folder; returns what the manifest is to hold beside the key and the
            files' hashes.
        load: opens the files of a checked folder with such a manifest.
        limit: bytes that all entries may take together: where a new one makes it more, those that
            were not used for longest are removed. None: no limit.

    Raises:
        TextclsError: the cache cannot be written.
        And whatever ``make`` raises.
    """
    entry = cache_dir / name_of(key)
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        try:
            found, was_there = _find_or_make(entry, key, make, load)
        except OSError as error:
            if not _is_denied(error, cache_dir):
                raise
            own = entry.with_name(f"{entry.name}-{_user()}")
            found, was_there = _find_or_make(own, key, make, load)
            log.info("%s: is another user's, and not readable: %s takes its place", entry, own.name)
        _remove_leftovers(cache_dir)
        if limit is not None and not was_there:
            shrink(cache_dir, limit)
    except (OSError, SafetensorError) as error:  # the latter where safetensors finds a full disk
        reason = getattr(error, "strerror", None) or error
        raise TextclsError(
            f"cache_dir={cache_dir}: cannot be written ({reason}): make room, or name another place"
        ) from None
    return found, was_there


def _find_or_make(
    entry: Path,
    key: Manifest,
    make: Callable[[Path], Manifest],
    load: Callable[[Path, Manifest], _T],
) -> tuple[_T, bool]:
    try:
        lock = _acquire(entry)
    except OSError as error:
        if error.errno not in _DENIED:
            raise
        found = _open(entry, key, load)  # a folder is there whole or not at all, lock or not
        if found is None:
            raise
        return found, True
    try:
        found = _open(entry, key, load)
        if found is not None:
            return found, True
        with whole_folder(entry) as scratch:
            more = make(scratch)
            paths = sorted(scratch.iterdir())
            shards = [path for path in paths if _SHARD.fullmatch(path.name)]
            hashes = {path.name: hash_file(path) for path in paths if path not in shards}
            sizes = {path.name: path.stat().st_size for path in shards}
            write_json(scratch / MANIFEST, {"key": key, "files": hashes, "sizes": sizes} | more)
        found = _open(entry, key, load)
        if found is None:
            raise TextclsError(f"cache_dir={entry.parent}: what was just written is damaged")
        return found, False
    finally:
        lock.release()


def _acquire(entry: Path) -> BaseFileLock:
    """Take an entry's lock, and say so where that takes a while."""
    path = entry.with_name(f"{entry.name}.lock")
    try:
        return acquire(path, PATIENCE)
    except Timeout:
        log.info("waiting for another process that prepares the same data")
        return acquire(path)


def _is_denied(error: OSError, cache_dir: Path) -> bool:
    """Say whether permissions in the cache are at fault, rather than those of the data."""
    name = error.filename
    return (
        error.errno in _DENIED and isinstance(name, str | Path) and cache_dir in Path(name).parents
    )


def _user() -> str:
    return str(os.getuid()) if sys.platform != "win32" else os.environ.get("USERNAME", "user")


def _open(entry: Path, key: Manifest, load: Callable[[Path, Manifest], _T]) -> _T | None:
    """Open an entry; return None where there is none, or none that can be trusted.

    Raises:
        OSError: it is there, and may not be read.
    """
    if not entry.exists():
        return None
    try:
        file = (entry / MANIFEST).open("rb")
        in_use = _share(file)
        manifest = json.loads(file.read())
        if manifest["key"] != key:
            raise ValueError("made from something else")
        _check(entry, manifest)
        found = load(entry, manifest)
    except (
        OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError
    ) as error:  # fmt: skip
        if isinstance(error, OSError) and error.errno in _DENIED:
            raise
        log.warning("%s: damaged cache entry (%s): it is made anew", entry, error)
        return None
    _in_use[entry.resolve()] = in_use
    with contextlib.suppress(OSError):  # another user's
        os.utime(entry / MANIFEST)  # last used now
    return found


def _check(entry: Path, manifest: Manifest) -> None:
    """Check the files of an entry, of shards their size.

    Raises:
        OSError, ValueError, KeyError: one is missing or has changed.
    """
    for name, digest in manifest["files"].items():
        if hash_file(entry / name) != digest:
            raise ValueError(f"{name} has changed")
    for name, size in manifest.get("sizes", {}).items():
        if (entry / name).stat().st_size != size:
            raise ValueError(f"{name} has changed")


def damaged(cache_dir: Path) -> list[tuple[Entry, str]]:
    """Read all entries, their shards as well; return those that are damaged, and how."""
    found = []
    for entry in entries(cache_dir):
        try:
            _check(entry.folder, entry.manifest)
            for name in entry.manifest.get("sizes", {}):
                try:
                    check_file(entry.folder / name)
                except (SafetensorError, ValueError) as error:
                    raise ValueError(f"{name}: {error}") from None
        except (OSError, ValueError, KeyError, AttributeError) as error:
            found.append((entry, first_line(error)))
    return found


def write_json(path: Path, value: Any) -> None:
    """Write a value as compact JSON, a line for each item."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=0), encoding="utf-8")


# --- what there is, and making it less ---------------------------------------------------------


def entries(cache_dir: Path) -> list[Entry]:
    """Return all entries, the one that was not used for longest first."""
    if not cache_dir.is_dir():
        return []
    found = []
    for folder in cache_dir.iterdir():
        if _NAME.fullmatch(folder.name) and folder.is_dir():
            # It may be removed meanwhile, or be another user's.
            with contextlib.suppress(OSError):
                num_bytes = sum(path.stat().st_size for path in folder.iterdir())
                last_use = (folder / MANIFEST).stat().st_mtime
                found.append(Entry(folder, num_bytes, last_use, _manifest(folder)))
    return sorted(found, key=lambda entry: (entry.last_use, entry.folder.name))


def _manifest(folder: Path) -> Manifest:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def shrink(cache_dir: Path, limit: int) -> tuple[list[Entry], list[Entry]]:
    """Remove entries until the rest take at most ``limit`` bytes, those not used for longest first.

    One that a process uses stays. What killed processes left is removed as well.

    Returns:
        Those removed, and those that stay.
    """
    _remove_leftovers(cache_dir)
    stay = entries(cache_dir)
    total = sum(entry.num_bytes for entry in stay)
    if total > limit or not limit:
        _remove_unfinished(cache_dir)
    removed = []
    for entry in list(stay):
        if total <= limit:
            break
        if remove(entry.folder):
            total -= entry.num_bytes
            removed.append(entry)
            stay.remove(entry)
    if removed:
        log.info(
            "%s: removed %d of %d entries (%s), those not used for longest: the limit is %s",
            cache_dir,
            len(removed),
            len(removed) + len(stay),
            size_in_words(sum(entry.num_bytes for entry in removed)),
            size_in_words(limit),
        )
    return removed, stay


def remove(entry: Path) -> bool:
    """Remove an entry, unless a process uses it or its user does not allow it."""
    with _if_free(entry.with_name(f"{entry.name}.lock")) as is_free:
        if not is_free or _is_used(entry / MANIFEST):
            return False
        gone = entry.with_name(f".{entry.name}-{secrets.token_hex(4)}")
        try:
            os.replace(entry, gone)  # so that nobody finds half of it
        except OSError:
            return False
        shutil.rmtree(gone, ignore_errors=True)
        return True


def _remove_leftovers(cache_dir: Path) -> None:
    for folder in cache_dir.glob(".*-*"):
        found = _LEFTOVER.fullmatch(folder.name)
        if found is not None:
            with _if_free(folder.with_name(f"{found[1]}.lock")) as is_free:
                if is_free:  # who writes it has the lock
                    shutil.rmtree(folder, ignore_errors=True)


def _remove_unfinished(cache_dir: Path) -> None:
    for folder in cache_dir.glob(f"*{UNFINISHED}"):
        name = folder.name.removesuffix(UNFINISHED)
        if _NAME.fullmatch(name):
            with _if_free(folder.with_name(f"{name}.lock")) as is_free:
                if is_free:  # who goes on with it has the lock
                    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _if_free(path: Path) -> Iterator[bool]:
    """Take a lock for the block; yield whether it was to be had."""
    try:
        lock = acquire(path, timeout=0)
    except (Timeout, OSError):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _share(file: IO[bytes]) -> IO[bytes]:
    """Mark a file as used by this process, until it is closed."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):  # some network file systems have no such locks
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return file


def _is_used(path: Path) -> bool:
    """Say whether a process, this one included, has marked a file as used."""
    if sys.platform == "win32":
        return False  # a file that is mapped cannot be removed there
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False
