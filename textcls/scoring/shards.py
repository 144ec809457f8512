"""A folder of labels, a file for each file of texts: where each goes, and which are done.

Files are written under another name and renamed, so that one that is there is complete. A record
beside them says what made them, and what is made otherwise is not mixed with them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textcls.corpus.formats import stem_of
from textcls.corpus.paths import find_files, folder_of, hash_files
from textcls.errors import BusyError, InputError
from textcls.files import remove_scratch, write_whole
from textcls.locks import Timeout, acquire
from textcls.model.folder import files_of
from textcls.naming import option
from textcls.scoring.files import STANDARD_INPUT, FileScorer

# What reads a folder of data leaves out names that begin so.
RECORD = "_textcls.json"
_LOCK = ".textcls.lock"
# Workers of a run that was killed notice it between two pieces of a file.
_PATIENCE = 10.0


@dataclass(frozen=True)
class Shard:
    """A file of texts, and the file of its labels."""

    source: Path
    target: Path


def shards_of(patterns: Sequence[str], out: Path, format: str) -> list[Shard]:
    """Return where the labels of each file go: to the same place and name below ``out``.

    A file of a pattern is placed as it lies below the folder before the first ``*``: of
    ``shards/**/*.parquet``, ``shards/a/0.parquet`` goes to ``a/0.parquet``.

    Args:
        patterns: as of :func:`~textcls.corpus.paths.find_files`.
        out: the folder; files in it are none to read if it has a record.
        format: of the labels, which is their files' ending.

    Raises:
        InputError: there is no such file, or two would have one place.
    """
    known = (out / RECORD).is_file()
    shards: dict[Path, Shard] = {}
    for pattern in patterns:
        if pattern == str(STANDARD_INPUT):
            raise InputError(f"--out {out}: is a folder, and lines on standard input have no name")
        folder = folder_of(pattern)
        for source in find_files(pattern, "train"):
            if known and source.resolve().is_relative_to(out.resolve()):
                continue
            below = source.relative_to(folder).parent
            target = out / below / f"{stem_of(source)}.{format}"
            first = shards.setdefault(target, Shard(source, target)).source
            if first.resolve() != source.resolve():
                raise InputError(
                    f"{first} and {source}: the labels of both would be {target}: label them into "
                    "two folders"
                )
    if not shards:
        raise InputError(f"--out {out}: holds the very files to read: name another folder")
    return list(shards.values())


@contextlib.contextmanager
def claimed(out: Path, files: FileScorer) -> Iterator[None]:
    """Make the folder, or go on with it, while no other process does.

    Raises:
        InputError: it holds something else, or what another model or other options made.
        BusyError: another process is writing there.
    """
    out.mkdir(parents=True, exist_ok=True)
    try:
        lock = acquire(out / _LOCK, _PATIENCE)
    except Timeout:
        raise BusyError(f"--out {out}: another process is writing there") from None
    try:
        _check_record(out, files)
        yield
    finally:
        lock.release()


def undone(shards: Sequence[Shard]) -> tuple[list[Shard], int]:
    """Return the shards that are to be made, the largest first; remove what was left of them.

    Returns:
        The shards, and how many of them are there, but older than their files of texts.
    """
    missing = [shard for shard in shards if not shard.target.exists()]
    there = [shard for shard in shards if shard.target.exists()]
    old = [s for s in there if s.target.stat().st_mtime_ns < s.source.stat().st_mtime_ns]
    wanted = sorted(missing + old, key=lambda shard: -shard.source.stat().st_size)
    remove_scratch(shard.target for shard in wanted)
    return wanted, len(old)


def _check_record(out: Path, files: FileScorer) -> None:
    """Compare the record with what is wanted; write it where the folder is empty."""
    wanted = _made_by(files)
    path = out / RECORD
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        names = sorted(name for entry in out.iterdir() if (name := entry.name)[0] != ".")
        if names:
            raise InputError(
                f"--out {out}: holds {names[0]:.60}, and no {RECORD}, the record of what made it: "
                "name another folder"
            ) from None
        write_whole(path, json.dumps(wanted, ensure_ascii=False, indent=2), synced=True)
        return
    except (OSError, ValueError):
        raise InputError(f"{path}: is damaged: name another folder as --out") from None
    for key in wanted["options"]:
        old, new = (record.get("options", {}).get(key) for record in (there, wanted))
        if old != new:
            raise InputError(
                f"--out {out}: was labelled with another {option(key)} ({_shown(old)} there, "
                f"{_shown(new)} now): name another folder"
            )
    if there.get("hash") != wanted["hash"]:
        raise InputError(
            f"--out {out}: was labelled by another model ({there.get('model')!s:.200}, or as that "
            "was before): name another folder"
        )


def _made_by(files: FileScorer) -> dict[str, Any]:
    """Return what decides what is written, as JSON has it."""
    scorer = files.scorer
    options = {
        **dataclasses.asdict(files.reading),
        "keep": "all" if files.keep is None else files.keep,
        "format": files.format,
        **{
            name: getattr(scorer, name)
            for name in ("top", "threshold", "labels", "probabilities", "abstain", "unknown")
        },
    }
    parts = hash_files(files_of(Path(scorer.model)))
    record = {"model": str(scorer.model), "hash": [digest for _, digest in parts]}
    result: dict[str, Any] = json.loads(json.dumps(record | {"options": options}))
    return result


def _shown(value: Any) -> str:
    return f"{'nothing' if value is None else json.dumps(value, ensure_ascii=False):.60}"
