"""``textcls predict --out DIR``: a file of labels for each file of texts, by several processes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from textcls.cli.progress import counted
from textcls.corpus.tables import plural
from textcls.errors import TextclsError, visible
from textcls.scoring.files import Done, FileScorer
from textcls.scoring.shards import Shard, claimed, shards_of, undone
from textcls.scoring.workers import Workers, device_of
from textcls.threads import usable_cpus

# Of those that failed, as many are named in the last line; each has its own line before.
_NAMED = 10


def predict_shards(
    files: FileScorer, patterns: Sequence[str], out: Path, processes: int | None
) -> tuple[Done, TextclsError | None]:
    """Label files that are not labelled yet, and say how it went.

    Args:
        files: labels a file.
        patterns: of the files.
        out: the folder of the labels.
        processes: how many work on it; None: one for each CPU, or one where the model is on a GPU.

    Returns:
        What became of their texts; and which could not be labelled, None: all could.

    Raises:
        InputError: as of :func:`~textcls.scoring.shards.shards_of` and
            :func:`~textcls.scoring.shards.claimed`.
    """
    shards = shards_of(patterns, out, files.format)
    if processes is None:
        processes = usable_cpus() if device_of(files) == "cpu" else 1
    failed: list[Shard] = []

    def tell(line: str) -> None:
        click.echo(visible(line), err=True)

    with claimed(out, files):
        wanted, old = undone(shards)
        if old:
            tell(f"note: {plural(old, 'file')} of labels older than their texts: labelled again")
        with counted(True, len(wanted)) as (count, end):

            def ended(shard: Shard, fault: str | None) -> None:
                if fault is not None:
                    failed.append(shard)
                    named = fault if str(shard.source) in fault else f"{shard.source}: {fault}"
                    tell(f"failed: {named}")
                end()

            def again(shard: Shard, reason: str) -> None:
                tell(f"note: {shard.source}: its worker {reason}: labelled again")

            workers = Workers(files, min(processes, max(len(wanted), 1)), count, ended, again)
            workers.run(wanted)
    rows, there = workers.done.counts["rows"], len(shards) - len(wanted)
    tell(
        f"note: {plural(rows, 'row')} of {plural(len(wanted) - len(failed), 'file')} labelled into "
        f"{out}" + (f", {there:,} were there already" if there else "")
    )
    if not failed:
        return workers.done, None
    sources = [shlex.quote(str(shard.source)) for shard in failed]
    more = f" and {len(sources) - _NAMED} more" if len(sources) > _NAMED else ""
    return workers.done, TextclsError(
        f"{len(failed)} of {plural(len(shards), 'file')} could not be labelled: "
        f"{', '.join(sources[:_NAMED])}{more}; the others are in {out}"
    )
