"""The callable that labels tables: what it answers, of which kinds, and in which process."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.command import textcls
from tests.test_predict_several import make
from textcls import Classifier, Scorer
from textcls.errors import InputError

TEXTS = ["what a great film", "dull and cold", None, "never seen", "\u0130stanbul warm"]
IDS = [3, 1, 4, 1, 5]
TABLE = pa.table({"id": IDS, "text": TEXTS})


@pytest.mark.parametrize(
    "options",
    [{}, {"top": 2}, {"threshold": 0.7}, {"labels": ["good"]}, {"probabilities": True},
     {"top": 2, "threshold": 0.6, "probabilities": True, "unknown": True}],
)  # fmt: skip
def test_it_answers_as_the_command_does(
    options: dict[str, Any], trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    parquet.write_table(TABLE, tmp_path / "in.parquet")
    typed: list[object] = []
    for name, value in options.items():
        typed += [f"--{name}"] if value is True else [f"--{name}", value]
    typed = [",".join(value) if isinstance(value, list) else value for value in typed]
    out = tmp_path / "out.parquet"
    textcls(capfd, "predict", trained, tmp_path / "in.parquet", *typed, "--keep", "all",
            "--out", out)  # fmt: skip
    scorer = Scorer(trained, **options)
    found = scorer(TABLE)
    assert found.column_names[:2] == ["id", "text"]
    expected = parquet.read_table(out)
    assert found.drop_columns("text").equals(expected)
    assert [field.name for field in scorer.schema] == expected.column_names[1:]


def as_frame(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas().set_index(pd.Index([9, 8, 7, 6, 5]))


KINDS: dict[str, tuple[Callable[[pa.Table], Any], Callable[[Any], dict[str, list[Any]]]]] = {
    "table": (lambda table: table, lambda found: found.to_pydict()),
    "chunks": (
        lambda table: pa.concat_tables([table.slice(0, 2), table.slice(2)]),
        lambda found: found.to_pydict(),
    ),
    "batch": (lambda table: table.to_batches()[0], lambda found: found.to_pydict()),
    "frame": (as_frame, lambda found: found.to_dict("list")),
    "arrays": (
        lambda table: {name: table[name].to_numpy() for name in table.column_names},
        lambda found: {name: column.tolist() for name, column in found.items()},
    ),
    "lists": (
        lambda table: table.to_pydict(),
        lambda found: {name: list(column) for name, column in found.items()},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_of_each_kind_has_the_same_answers(
    kind: str, trained: Path, classifier: Classifier
) -> None:
    to_kind, from_kind = KINDS[kind]
    rows = to_kind(TABLE)
    before = list(rows) if isinstance(rows, dict | pd.DataFrame) else rows.schema
    scored = Scorer(trained, threshold=0.7)(rows)
    assert type(scored) is type(rows)
    assert (list(rows) if isinstance(rows, dict | pd.DataFrame) else rows.schema) == before
    found = from_kind(scored)
    assert list(found) == ["id", "text", "label", "probability"]
    assert found["id"] == IDS
    best = [row[0] if row else (None, None) for row in classifier.predict_top(TEXTS, 1, 0.7)]
    assert {label for label, _ in best} >= {None, "good"}
    assert [None if pd.isna(label) else label for label in found["label"]] == [a for a, _ in best]
    values = [None if pd.isna(p) else p for p in found["probability"]]
    assert values == [None if p is None else pytest.approx(p, abs=1e-6) for _, p in best]
    if kind == "frame":
        assert scored.index.tolist() == [9, 8, 7, 6, 5]


def test_lists_of_labels(tmp_path: Path) -> None:
    several = make()
    several.save_pretrained(tmp_path / "model")
    texts = ["b a c", "c c d", "a"]
    scorer = Scorer(tmp_path / "model", "body")
    expected = [[label for label, _ in row] for row in several.predict_top(texts)]
    assert scorer(pa.table({"body": texts}))["labels"].to_pylist() == expected
    of_arrays = scorer({"body": np.array(texts)})
    assert [list(row) for row in of_arrays["labels"]] == expected
    assert list(map(len, of_arrays["probabilities"])) == list(map(len, expected))


@pytest.mark.parametrize("kind", ["table", "batch", "arrays"])
def test_no_rows_have_the_columns_nevertheless(kind: str, trained: Path) -> None:
    table = pa.table({"text": pa.array([], pa.string())})
    rows = pa.RecordBatch.from_arrays([table["text"].combine_chunks()], ["text"])
    given = {"table": table, "batch": rows, "arrays": {"text": np.array([], object)}}[kind]
    found = Scorer(trained)(given)
    names = list(found) if isinstance(found, dict) else found.schema.names
    assert names == ["text", "label", "probability"]
    assert len(found["label"]) == 0


def test_it_is_pickled_as_its_path_and_options(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained.parent)
    scorer = Scorer(trained.name, labels=["good"])
    before = pickle.dumps(scorer)
    assert len(before) < 1000
    found = scorer(TABLE)
    assert pickle.dumps(scorer) == before  # though it is loaded now
    monkeypatch.chdir(tmp_path)  # as other processes have other ones
    loaded = pickle.loads(before)
    assert loaded == scorer
    assert loaded(TABLE).equals(found)


def test_the_tasks_of_a_process_load_a_model_once_until_it_is_another(
    classifier: Classifier, tmp_path: Path
) -> None:
    classifier.save_pretrained(tmp_path / "model")
    pickled = pickle.dumps(Scorer(tmp_path / "model"))
    first, second = pickle.loads(pickled), pickle.loads(pickled)
    assert first.classifier is second.classifier
    table = first.classifier.parts.model.embedding.weight
    of_one = Scorer(tmp_path / "model", labels=["good"]).classifier
    assert of_one.parts.model.embedding.weight.data_ptr() == table.data_ptr()
    assert first.classifier.label_names == classifier.label_names
    make().save_pretrained(tmp_path / "model")
    assert pickle.loads(pickled).classifier.label_names == make().label_names
    assert first.classifier.label_names == classifier.label_names


def test_nothing_is_read_before_the_first_use(tmp_path: Path, trained: Path) -> None:
    scorer = Scorer(tmp_path / "later")
    with pytest.raises(InputError, match="no model or run folder"):
        scorer(TABLE)
    shutil.copytree(trained / "model", tmp_path / "later")
    assert scorer(TABLE)["label"].to_pylist()[0] == "good"


def test_a_table_in_its_file_is_the_same_and_outlasts_a_new_model(
    classifier: Classifier, tmp_path: Path
) -> None:
    classifier.save_pretrained(tmp_path / "model")
    mapped = Classifier.load(tmp_path / "model", mapped=True)
    table, copied = mapped.parts.model.embedding.weight, classifier.parts.model.embedding.weight
    assert table.equal(copied)
    make().save_pretrained(tmp_path / "model")  # of other sizes
    np.testing.assert_array_equal(mapped.predict_proba(TEXTS), classifier.predict_proba(TEXTS))


# --- columns ----------------------------------------------------------------------------------


def test_columns_of_the_names_of_answers_are_renamed(trained: Path) -> None:
    rows = {"text": ["superb"], "label": ["mine"], "input_label": [1]}
    of_arrow: dict[str, Any] = Scorer(trained)(pa.table(rows)).to_pydict()
    for found in (of_arrow, Scorer(trained)(dict[str, Any](rows))):
        assert list(found) == ["text", "input_input_label", "input_label", "label", "probability"]
        assert found["input_input_label"] == ["mine"]
        assert list(found["label"]) == ["good"]


@pytest.mark.parametrize("as_rows", [pa.table, dict])
def test_where_the_text_is(as_rows: Callable[[Any], Any], trained: Path) -> None:
    # The model's own column, else the one named like a text, else the only one of strings.
    good, bad = ["superb"], ["dull"]
    for rows in ({"text": good, "body": bad}, {"review": good, "x": bad}, {"n": [1], "x": good}):
        assert next(iter(Scorer(trained)(as_rows(rows))["label"])) in ("good", pa.scalar("good"))
    joined = Scorer(trained, ["a", "b"], probabilities=True)(
        as_rows({"a": ["dull", None], "b": ["great", "warm"]})
    )
    expected = Classifier.load(trained).predict_proba(["dull great", "warm"])[:, 0]
    np.testing.assert_allclose(np.array(joined["p(bad)"]), expected, atol=1e-6)


@pytest.mark.parametrize("as_rows", [pa.table, dict])
def test_columns_that_are_not_there_or_not_plain_are_refused(
    as_rows: Callable[[Any], Any], trained: Path
) -> None:
    with pytest.raises(InputError, match="no column 'boddy', the columns are id, body"):
        Scorer(trained, "boddy")(as_rows({"id": [1], "body": ["x"]}))
    with pytest.raises(InputError, match="which column is the text\\? The columns are a, b"):
        Scorer(trained)(as_rows({"a": ["x"], "b": ["y"]}))
    with pytest.raises(InputError, match="which column is the text"):
        Scorer(trained)(as_rows({"a": [1]}))
    with pytest.raises(InputError, match=r"'a' holds .*, not text"):
        Scorer(trained, "a")(as_rows({"a": [[1, 2]]}))


def test_what_python_and_pandas_have_for_no_text(trained: Path, classifier: Classifier) -> None:
    texts = ["great", None, float("nan"), "half \ud800 dull"]
    found = Scorer(trained)({"text": np.array(texts, object)})
    expected = classifier.predict_proba(["great", "", "", "half \ufffd dull"]).max(1)
    np.testing.assert_allclose(found["probability"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"top": 0}, "top=0"), ({"threshold": 1.5}, "threshold=1.5"), ({"abstain": -1}, "abstain=-1")],
)
def test_options_that_mean_nothing_are_refused_at_once(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Scorer("model", **options)


def test_what_is_no_table_is_refused(trained: Path) -> None:
    with pytest.raises(TypeError, match="rows are a list"):
        Scorer(trained)(["superb"])
    with pytest.raises(TypeError, match="labels are a list"):
        Scorer(trained, labels="good")
