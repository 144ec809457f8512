"""The programs of docs/scoring.md, run as they stand there, where their packages are installed."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import dataset, parquet

from benchmarks.scale.programs import environment, program
from tests.conftest import WORDS
from textcls import Classifier

PROGRAMS = [
    ("ray.data", "Ray Data", 0, "scored_ray"),
    ("pyspark", "Spark", 0, "scored_spark"),
    ("pyspark", "Spark", 1, "scored_pandas"),
    ("pyspark", "Spark", 2, "scored_arrow"),
    ("datatrove", "datatrove", 0, "scored_datatrove"),
    ("nemo_curator", "NeMo Curator", 0, "scored_nemo"),
]
# Of each process that labels, until two are dead: killed in the midst of its work.
KILLED = """
import os
import signal
from pathlib import Path

import textcls


class Scorer(textcls.Scorer):
    def __call__(self, rows):
        found = super().__call__(rows)
        calls = self.__dict__["calls"] = self.__dict__.get("calls", 0) + 1
        died = len(list(Path({folder!r}).glob("died-*")))
        if calls == 2 and died < 2:
            (Path({folder!r}) / f"died-{{os.getpid()}}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return found
"""


@pytest.fixture
def texts(trained: Path, tmp_path: Path) -> dict[str, str]:
    """Write what the programs read; return the text of each id."""
    shutil.copytree(trained / "model", tmp_path / "runs" / "my-run")
    words = [word for of_label in WORDS.values() for word in of_label]
    texts = {f"row-{i}": f"item {i} {words[i % 10]} {words[i // 7 % 10]}" for i in range(300)}
    (tmp_path / "shards").mkdir()
    for number_of_file in range(3):
        ids = list(texts)[number_of_file::3]
        table = pa.table({"id": ids, "text": [texts[id] for id in ids]})
        parquet.write_table(table, tmp_path / "shards" / f"{number_of_file}.parquet")
    return texts


def labelled(package: str, source: str, folder: Path, out: str) -> dict[str, str]:
    """Run a program; return the label of each id, each of which is there once."""
    if importlib.util.find_spec(package.partition(".")[0]) is None:
        pytest.skip(f"{package} is not installed")
    if package == "pyspark" and shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    (folder / "program.py").write_text(source, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "program.py"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    rows = dataset.dataset(folder / out, format="parquet").to_table().to_pylist()
    found = {row["id"]: row.get("label") or row["metadata"]["label"] for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("package", "heading", "number", "out"), PROGRAMS)
def test_each_row_is_labelled_once(
    package: str, heading: str, number: int, out: str, texts: dict[str, str],
    classifier: Classifier, tmp_path: Path,
) -> None:  # fmt: skip
    source = program(heading, number)
    wanted = {"good", "bad"}
    if '{"Business", "Sci/Tech"}' in source:  # those of a corpus of news
        source, wanted = source.replace('{"Business", "Sci/Tech"}', '{"good"}'), {"good"}
    found = labelled(package, source, tmp_path, out)
    expected = dict(zip(texts, classifier.predict(list(texts.values())), strict=True))
    assert found == {id: label for id, label in expected.items() if label in wanted}


@pytest.mark.slow
@pytest.mark.parametrize(("package", "heading", "number", "out"), PROGRAMS[:4])
def test_each_row_is_labelled_once_when_workers_are_killed(
    package: str, heading: str, number: int, out: str, texts: dict[str, str],
    classifier: Classifier, tmp_path: Path,
) -> None:  # fmt: skip
    (tmp_path / "killed.py").write_text(KILLED.format(folder=str(tmp_path)), encoding="utf-8")
    source = program(heading, number).replace("from textcls import", "from killed import")
    found = labelled(package, source.replace("16_384", "16"), tmp_path, out)
    assert len(list(tmp_path.glob("died-*"))) == 2
    assert found == dict(zip(texts, classifier.predict(list(texts.values())), strict=True))
