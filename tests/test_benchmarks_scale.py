"""What the benchmark of millions of documents relies on: its documents, its checks, its kills."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import dataset, parquet

from benchmarks.scale.checking import check
from benchmarks.scale.documents import write_documents

LABELS = ["good", "bad", "good", "good", "bad"]


def write(folder: Path, ids: list[int], labels: list[str], first: float = 0.5) -> None:
    folder.mkdir()
    columns = {
        "id": pa.array(ids, pa.uint64()),
        "label": labels,
        "probability": pa.array([first] + [0.75] * (len(ids) - 1), pa.float32()),
    }
    table = pa.table(columns)
    for number in range(2):
        parquet.write_table(table[2 * number : 2 + 9 * number], folder / f"{number}.parquet")


def test_the_answers_of_two_engines_are_compared_whatever_their_order(tmp_path: Path) -> None:
    write(tmp_path / "a", [0, 1, 2, 3, 4], LABELS)
    whole = check(tmp_path / "a", 5)
    assert (whole.rows, whole.lost, whole.doubled) == (5, 0, 0)
    # Spark's kind of id, other files and another order of rows.
    table = dataset.dataset(tmp_path / "a").to_table().take([3, 2, 4, 0, 1])
    ids = table["id"].cast(pa.decimal128(20, 0))
    (tmp_path / "b").mkdir()
    parquet.write_table(table.set_column(0, "id", ids), tmp_path / "b" / "part.parquet")
    assert check(tmp_path / "b", 5) == whole
    write(tmp_path / "c", [0, 1, 2, 3, 4], [*LABELS[:4], "good"])
    write(tmp_path / "d", [0, 1, 2, 3, 4], LABELS, first=0.5 + 2**-24)
    digests = {check(tmp_path / name, 5).digest for name in "acd"}
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("ids", "lost", "doubled"),
    [([0, 1, 2, 4], 1, 0), ([0, 1, 2, 3, 3], 1, 1), ([0, 1, 2, 3, 4, 4], 0, 1), ([0, 9], 4, 1)],
)
def test_rows_that_are_lost_or_doubled_are_counted(
    ids: list[int], lost: int, doubled: int, tmp_path: Path
) -> None:
    write(tmp_path / "a", ids, ["good"] * len(ids))
    found = check(tmp_path / "a", 5)
    assert (found.rows, found.lost, found.doubled) == (len(ids), lost, doubled)


def test_documents_have_ids_from_0_and_every_text_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "a").mkdir(parents=True)
    texts = ["one", "two", "long " * 500]
    parquet.write_table(pa.table({"text": texts}), tmp_path / "data" / "a" / "train.parquet")
    write_documents(tmp_path / "data", tmp_path / "shards", 11)
    assert len(list((tmp_path / "shards").iterdir())) == 4
    table = dataset.dataset(tmp_path / "shards").to_table().sort_by("id")
    assert table["id"].to_pylist() == list(range(11))
    assert table.schema.field("id").type == pa.uint64()
    assert sorted(table["text"].to_pylist()) == sorted([*texts, *texts[:2] * 4])
    write_documents(tmp_path / "data", tmp_path / "shards", 11)  # they are there
    with pytest.raises(SystemExit, match="has 11 rows"):
        write_documents(tmp_path / "data", tmp_path / "shards", 12)


def test_workers_and_commands_are_killed_and_what_they_used_is_counted(tmp_path: Path) -> None:
    pytest.importorskip("psutil")
    from benchmarks.scale.watching import Usage, watch

    worker = "import time; end = time.process_time() + {}\nwhile time.process_time() < end: pass"
    parent = (
        "import subprocess, sys\n"
        f"run = lambda: subprocess.run([sys.executable, '-c', {worker.format(0.6)!r}]).returncode\n"
        "sys.exit(run() or run())"
    )
    command, usage = [sys.executable, "-c", parent], Usage()

    def run(*kills: tuple[float, bool]) -> int:
        return watch(command, tmp_path, {}, lambda _: True, usage, iter(kills), tmp_path / "log")

    assert run((0.0, False)) != 0
    assert (usage.killed, usage.commands) == (1, 1)
    assert run((0.2, True)) == -9
    assert (usage.killed, usage.commands) == (1, 2)
    before = sum(usage.cpu.values())
    assert run() == 0
    assert 0.6 < sum(usage.cpu.values()) - before < 2.5
    assert all(later > sooner for (sooner, _), (later, _) in itertools.pairwise(usage.own))
