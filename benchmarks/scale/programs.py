"""The programs that label: those of docs/scoring.md as they stand there, and the shell's."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.corpora import PROJECT
from benchmarks.scale.documents import MODEL, SHARDS

if TYPE_CHECKING:
    import psutil

OURS, PEER = "textcls", "fasttext"
# Two tasks at a time, each tried four times.
_SPARK = "--master local[2,4] --driver-memory 2g pyspark-shell"


@dataclass(frozen=True)
class Engine:
    """What labels a folder of files with several processes.

    Attributes:
        title: what tables call it.
        out: the folder of its answers.
        is_worker: whether a process is one of those that label.
        package: that it needs.
        block: the heading of its program in docs/scoring.md, and which of the blocks below it;
            None: the shell.
    """

    title: str
    out: str
    is_worker: Callable[[psutil.Process], bool]
    package: str = "textcls"
    block: tuple[str, int] | None = None

    def missing(self) -> str | None:
        """Return what has to be installed for it."""
        if importlib.util.find_spec(self.package) is None:
            return self.package
        return "java" if self.package == "pyspark" and shutil.which("java") is None else None

    def command(self, work: Path, system: str, processes: int) -> list[str]:
        """Return what is to be run in the folder of work."""
        pattern = f"{SHARDS}/*.parquet"
        if self.block is not None:
            source = program(*self.block)
            if system == PEER:
                source = source.replace("from textcls import", "from benchmarks.scale.peer import")
            (work / "program.py").write_text(source, encoding="utf-8")
            return [sys.executable, "program.py"]
        if system == PEER:
            given = [MODEL, pattern, self.out, str(processes)]
            return [sys.executable, "-m", "benchmarks.scale.peer", *given]
        options = ["--out", f"{self.out}/", "--keep", "id", "--processes", str(processes)]
        return [sys.executable, "-m", "textcls", "predict", MODEL, pattern, *options]


def _is_any(_: psutil.Process) -> bool:
    """Whether it is of the shell: the command has no other processes than its workers."""
    return True


def _is_of_ray(process: psutil.Process) -> bool:
    """Whether it is a task or an actor of Ray Data, by the title it gives itself."""
    title = " ".join(process.cmdline())
    return title.startswith("ray::") and any(part in title for part in ("Map", "Read", "Write"))


def _is_of_spark(process: psutil.Process) -> bool:
    """Whether the daemon that Spark starts has forked it."""
    parent = process.parent()
    return parent is not None and all("pyspark.daemon" in p.cmdline() for p in (process, parent))


ENGINES = {
    "shell": Engine("textcls predict", "scored_shell", _is_any),
    "ray": Engine("Ray Data", "scored_ray", _is_of_ray, "ray", ("Ray Data", 0)),
    "spark-batch": Engine(
        "Spark, predict_batch_udf", "scored_spark", _is_of_spark, "pyspark", ("Spark", 0)
    ),
    "spark-pandas": Engine(
        "Spark, pandas_udf", "scored_pandas", _is_of_spark, "pyspark", ("Spark", 1)
    ),
    "spark-arrow": Engine(
        "Spark, arrow_udf", "scored_arrow", _is_of_spark, "pyspark", ("Spark", 2)
    ),
}


def program(heading: str, number: int) -> str:
    """Return one of the Python blocks below a heading of docs/scoring.md."""
    page = (PROJECT / "docs" / "scoring.md").read_text(encoding="utf-8")
    _, _, below = page.partition(f"\n## {heading}\n")
    section = below.partition("\n## ")[0]
    return section.split("```python\n")[1 + number].partition("```")[0]


def environment(folder: Path) -> dict[str, str]:
    """Return the variables that programs are run with.

    Args:
        folder: whose modules they may import.
    """
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_SUBMIT_ARGS": _SPARK,
        "PYTHONPATH": os.pathsep.join(paths),
    }
    return os.environ | own
