"""``textcls cache``: the tokenized corpora that are kept."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

from textcls.cli.options import Size
from textcls.errors import InputError, visible

DEFAULT = "~/.cache/textcls"
# How many files of a corpus are named.
LISTED_FILES = 3


DIR = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    help=f"Of the cache.  [default: $TEXTCLS_CACHE, else {DEFAULT}]",
)


def folder_of(given: Path | None) -> Path:
    """Return the folder of the cache."""
    return (given or Path(os.environ.get("TEXTCLS_CACHE") or DEFAULT)).expanduser()


@click.command()
@click.option("--clear", is_flag=True, help="Remove all entries.")
@click.option(
    "--verify",
    is_flag=True,
    help="Read all entries, and remove those that are damaged: they are made anew.",
)
@click.option("--max-size", type=Size(), help="Remove entries until the rest take so much: 5GB, …")
@DIR
def cache(clear: bool, verify: bool, max_size: int | None, folder: Path | None) -> None:
    """Show, and remove, the tokenized corpora that training keeps.

    Those not used for longest are removed first; one that a process uses stays. Nothing is lost
    but time: an entry is made anew from its data.
    """
    if clear and max_size is not None:
        raise InputError("--clear removes all entries: leave out --max-size")
    from textcls.data.cache import damaged, entries, remove, shrink
    from textcls.sizes import size_in_words

    folder = folder_of(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--dir {folder}: is no folder")
    if verify:
        count, faults = len(entries(folder)), damaged(folder)
        for entry, fault in faults:
            done = "removed" if remove(entry.folder) else "in use, or another user's: it stays"
            click.echo(f"{entry.folder}: {visible(fault)}: {done}")
        click.echo(f"{folder}: {len(faults)} of {count} damaged")
        return
    limit = 0 if clear else max_size
    if limit is not None:
        removed, stay = shrink(folder, limit)
        freed = size_in_words(sum(entry.num_bytes for entry in removed))
        click.echo(f"{folder}: removed {len(removed)} of {len(removed) + len(stay)} ({freed})")
        if sum(entry.num_bytes for entry in stay) > limit:
            click.echo(f"{len(stay)} stay: they are in use, or another user's")
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    found = entries(folder)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for head in ("last used", "size"):
        table.add_column(head, justify="right", no_wrap=True)
    for head in ("tokenizer", "corpus"):
        table.add_column(head)
    for entry in reversed(found):
        key = entry.manifest.get("key", {})
        table.add_row(
            time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.last_use)),
            size_in_words(entry.num_bytes),
            Text(str(key.get("tokenizer", {}).get("name", "?"))),
            Text(visible(_corpus(entry.manifest))),
        )
    if found:
        Console().print(table)
    total = size_in_words(sum(entry.num_bytes for entry in found))
    click.echo(f"{folder}: {len(found)} entries, {total}")


def _corpus(manifest: dict[str, Any]) -> str:
    """Say what an entry was made of: local files as they were called then, or a data set."""
    if paths := manifest.get("paths"):
        more = f" and {len(paths) - LISTED_FILES} more" if len(paths) > LISTED_FILES else ""
        return f"{', '.join(paths[:LISTED_FILES])}{more}"
    data = manifest.get("key", {}).get("data", {})
    return str(data.get("repo") or data.get("source", "?"))
