"""The programs of docs/scoring.md, run as they stand there, where their packages are installed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import dataset, parquet

from tests.conftest import PROJECT, WORDS
from textcls import Classifier

PAGE = (PROJECT / "docs" / "scoring.md").read_text(encoding="utf-8")


def program(heading: str, number: int) -> str:
    """Return one of the Python blocks below a heading."""
    _, _, below = PAGE.partition(f"\n## {heading}\n")
    section = below.partition("\n## ")[0]
    return section.split("```python\n")[1 + number].partition("```")[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "heading", "number", "out"),
    [
        ("ray.data", "Ray Data", 0, "scored_ray"),
        ("pyspark", "Spark", 0, "scored_spark"),
        ("pyspark", "Spark", 1, "scored_pandas"),
        ("datatrove", "datatrove", 0, "scored_datatrove"),
        ("nemo_curator", "NeMo Curator", 0, "scored_nemo"),
    ],
)
def test_each_row_is_labelled_once(
    package: str, heading: str, number: int, out: str, trained: Path, classifier: Classifier,
    tmp_path: Path,
) -> None:  # fmt: skip
    if importlib.util.find_spec(package.partition(".")[0]) is None:
        pytest.skip(f"{package} is not installed")
    if package == "pyspark" and shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    shutil.copytree(trained / "model", tmp_path / "runs" / "my-run")
    words = [word for of_label in WORDS.values() for word in of_label]
    texts = {f"row-{i}": f"item {i} {words[i % 10]} {words[i // 7 % 10]}" for i in range(300)}
    (tmp_path / "shards").mkdir()
    for number_of_file in range(3):
        ids = list(texts)[number_of_file::3]
        table = pa.table({"id": ids, "text": [texts[id] for id in ids]})
        parquet.write_table(table, tmp_path / "shards" / f"{number_of_file}.parquet")
    source = program(heading, number)
    wanted = {"good", "bad"}
    if '{"Business", "Sci/Tech"}' in source:  # those of a corpus of news
        source, wanted = source.replace('{"Business", "Sci/Tech"}', '{"good"}'), {"good"}
    (tmp_path / "program.py").write_text(source, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env=os.environ | {"PYSPARK_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    rows = dataset.dataset(tmp_path / out, format="parquet").to_table().to_pylist()
    found = {row["id"]: row.get("label") or row["metadata"]["label"] for row in rows}
    assert len(found) == len(rows)
    expected = dict(zip(texts, classifier.predict(list(texts.values())), strict=True))
    assert found == {id: label for id, label in expected.items() if label in wanted}
