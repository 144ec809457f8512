"""How far the labelling of files is, on a terminal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import Progress, ProgressColumn, TextColumn, TimeElapsedColumn

# Seconds between two looks of the line where nobody else redraws it.
_PAUSE = 0.1


@contextlib.contextmanager
def counted(
    is_shown: bool, files: int | None = None
) -> Iterator[tuple[Callable[[int], None], Callable[[], None]]]:
    """Show the number of rows and their pace, on a terminal.

    Args:
        is_shown: whether to, where stderr is one.
        files: that there are, to show how many are done with as well. No thread draws the line
            then: a process that is to be forked has none.

    Yields:
        A function that is told of so many more rows, and one that is told of the end of a file.
    """
    console = Console(stderr=True)
    columns: list[ProgressColumn] = [
        TextColumn("{task.completed:,.0f} rows"),
        TextColumn("{task.fields[pace]}"),
        TimeElapsedColumn(),
    ]
    if files is not None:
        columns.insert(0, TextColumn("{task.fields[ended]:,} of " + f"{files:,} files"))
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not (is_shown and console.is_terminal),
        auto_refresh=files is None,
    ) as progress:
        task = progress.add_task("", total=None, pace="", ended=0)
        ended, drawn = 0, 0.0

        def show(rows: int) -> None:
            nonlocal drawn
            speed = progress.tasks[0].speed
            pace = f"{speed:,.0f} rows/s" if speed else ""
            progress.update(task, advance=rows, pace=pace, ended=ended)
            if files is not None and time.monotonic() - drawn > _PAUSE:
                drawn = time.monotonic()
                progress.refresh()

        def end() -> None:
            nonlocal ended
            ended += 1
            show(0)

        yield show, end
