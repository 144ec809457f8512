"""The cache: folders named by a hash of all that determines their content, checked before use."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock
from safetensors import SafetensorError

from textcls.data.paths import hash_file
from textcls.errors import TextclsError
from textcls.files import whole_folder

log = logging.getLogger("textcls")

MANIFEST = "manifest.json"

_T = TypeVar("_T")
Manifest = dict[str, Any]


def find_or_make(
    cache_dir: Path,
    key: Manifest,
    make: Callable[[Path], Manifest],
    load: Callable[[Path, Manifest], _T],
) -> tuple[_T, bool]:
    """Return the content of an entry, and whether it was there.

    An entry is a folder, named by a hash of its key. It is written beside its place and renamed
    into it, so that it is there whole or not at all; a file lock lets one of several processes
    that start together do the work. Every file's hash is checked before an entry is used; one
    that fails is rebuilt.

    Args:
        cache_dir: the folder of all entries.
        key: everything that determines the entry's content, as JSON has it.
        make: fills an empty folder; returns what the manifest is to hold beside the key and the
            files' hashes.
        load: opens the files of a checked folder with such a manifest.

    Raises:
        TextclsError: the cache cannot be written.
        And whatever ``make`` raises.
    """
    entry = cache_dir / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(cache_dir / f"{entry.name}.lock"):
            found = _open(entry, key, load)
            if found is not None:
                return found, True
            _write(entry, key, make)
            found = _open(entry, key, load)
    except (OSError, SafetensorError) as error:  # the latter where safetensors finds a full disk
        reason = getattr(error, "strerror", None) or error
        raise TextclsError(
            f"cache_dir={cache_dir}: cannot be written ({reason}): make room, or name another place"
        ) from None
    if found is None:
        raise TextclsError(f"cache_dir={cache_dir}: what was just written reads back damaged")
    return found, False


def _write(entry: Path, key: Manifest, make: Callable[[Path], Manifest]) -> None:
    with whole_folder(entry) as scratch:
        more = make(scratch)
        hashes = {path.name: hash_file(path) for path in sorted(scratch.iterdir())}
        write_json(scratch / MANIFEST, {"key": key, "files": hashes} | more)


def _open(entry: Path, key: Manifest, load: Callable[[Path, Manifest], _T]) -> _T | None:
    """Open an entry; return None where there is none, or none that can be trusted."""
    if not entry.exists():
        return None
    try:
        manifest = json.loads((entry / MANIFEST).read_text(encoding="utf-8"))
        if manifest["key"] != key:
            raise ValueError("made from something else")
        for name, digest in manifest["files"].items():
            if hash_file(entry / name) != digest:
                raise ValueError(f"{name} has changed")
        return load(entry, manifest)
    except (
        OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError
    ) as error:  # fmt: skip
        log.warning("%s: damaged cache entry (%s): it is made anew", entry, error)
        return None


def write_json(path: Path, value: Any) -> None:
    """Write a value as compact JSON, a line for each item."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=0), encoding="utf-8")
