"""Hashes of large files, remembered, so that a file that has not changed is not read again."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

from textcls.corpus.paths import hash_file
from textcls.files import write_whole

# Smaller files are hashed at once.
LARGE = 1 << 26
# A file that was written to less than so many seconds ago, or in the future, by a clock that is
# not this machine's, may change again without another time of change.
_SETTLED = 10.0


class Digests:
    """Remembers the hashes of files by their size and the time of their last change.

    Args:
        path: of the file that remembers; without one that can be read nothing is known.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, file: Path) -> str:
        """Return the hash of a file's content.

        Raises:
            OSError: it cannot be read.
        """
        found = file.stat()
        if found.st_size < LARGE:
            return hash_file(file)
        key, state = str(file.resolve()), [found.st_size, found.st_mtime_ns, found.st_ino]
        known = self._known()
        if isinstance(known.get(key), dict) and known[key].get("state") == state:
            return str(known[key]["digest"])
        digest = hash_file(file)
        if found.st_mtime < time.time() - _SETTLED and file.stat().st_mtime_ns == found.st_mtime_ns:
            with contextlib.suppress(OSError):  # another user's cache, or a full disk
                self._path.parent.mkdir(parents=True, exist_ok=True)
                entry = {key: {"state": state, "digest": digest}}
                write_whole(self._path, json.dumps(self._known() | entry, indent=0))
        return digest

    def _known(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}
