"""Labels that are probabilities of classes: every way in which files write them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from textcls.config import DataConfig
from textcls.corpus.corpus import Corpus, Source
from textcls.errors import InputError

NAMES = ("ham", "spam")
TEXTS = [f"text {i} of a mail" for i in range(6)]
SHARES = np.array([[0.9, 0.1], [0.25, 0.75], [0, 1], [0.5, 0.5], [0.125, 0.875], [1, 0]])


def config(train: Path, **options: Any) -> DataConfig:
    """Return the configuration of a corpus whose splits are all one file, but for options."""
    same = dict.fromkeys(("train", "validation", "test"), str(train))
    return DataConfig(
        **{
            "name": "x", "source": "files", "repo": None, "subset": None, "revision": None,
            "text": None, "label": None, "label_names": None, "columns": None, "delimiter": None,
            "encoding": "utf-8", "validation_fraction": 0.1, "test_fraction": 0.1, "split_seed": 0,
        } | same | options
    )  # fmt: skip


def read(train: Path, **options: Any) -> Corpus:
    """Return the corpus."""
    return Source(config(train, **options)).read()


def dense(corpus: Corpus, split: str = "train") -> np.ndarray[Any, Any]:
    """Return how probable each class is in each row."""
    labels = corpus.splits[split].labels
    assert labels.shares is not None
    found = np.zeros((len(labels), len(corpus.label_names)), np.float32)
    found[np.repeat(np.arange(len(labels)), labels.counts), labels.ids] = labels.shares
    assert (labels.shares > 0).all()  # the sparse form has no zeros
    return found


def write_csv(path: Path, heads: list[str], rows: Any) -> Path:
    """Write a csv file."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([heads, *rows])
    return path


def write(folder: Path, form: str) -> tuple[Path, dict[str, Any]]:
    """Write the rows in one of the forms; return the file and the options that it needs."""
    objects = [dict(zip(NAMES, row.tolist(), strict=True)) for row in SHARES]
    lists = SHARES.tolist()
    path = folder / f"train.{'csv' if 'csv' in form else 'jsonl' if 'json' in form else 'parquet'}"
    named: dict[str, Any] = {"label_names": NAMES}
    if form == "csv columns":
        rows = [[text, *row] for text, row in zip(TEXTS, lists, strict=True)]
        return write_csv(path, ["text", *NAMES], rows), {"label": NAMES}
    if form == "csv pattern":
        rows = [[text, *row] for text, row in zip(TEXTS, lists, strict=True)]
        write_csv(path, ["text", "prob_ham", "prob_spam"], rows)
        return path, {"label": ("prob_*",)}
    if form == "csv of predict":
        rows = [["?", 1, *row, text] for text, row in zip(TEXTS, lists, strict=True)]
        write_csv(path, ["label", "probability", "p(ham)", "p(spam)", "text"], rows)
        return path, {"task": "soft"}
    if form == "csv objects":
        return write_csv(path, ["text", "label"], zip(TEXTS, objects, strict=True)), {}
    if form == "csv lists":
        return write_csv(path, ["text", "label"], zip(TEXTS, lists, strict=True)), named
    if "json" in form:
        values = objects if "objects" in form else lists
        both = zip(TEXTS, values, strict=True)
        path.write_text("".join(json.dumps({"text": t, "label": v}) + "\n" for t, v in both))
        return path, {} if "objects" in form else named
    kinds: dict[str, Any] = {
        "arrow structs": (pa.array(objects), {}),
        "arrow maps": (
            pa.array([list(one.items()) for one in objects], pa.map_(pa.string(), pa.float32())),
            {},
        ),
        "arrow lists": (pa.array(lists), named),
        "arrow fixed lists": (pa.array(lists, pa.list_(pa.float32(), 2)), named),
    }
    column, options = kinds[form]
    table = pa.table({"text": pa.array(TEXTS), "label": column})
    pyarrow.parquet.write_table(table, path, row_group_size=4)
    return path, options


@pytest.mark.parametrize(
    "form",
    [
        "csv columns", "csv pattern", "csv of predict", "csv objects", "csv lists", "json objects",
        "json lists", "arrow structs", "arrow maps", "arrow lists", "arrow fixed lists",
    ],
)  # fmt: skip
def test_all_forms_are_recognised_and_come_to_the_same(tmp_path: Path, form: str) -> None:
    path, options = write(tmp_path, form)
    corpus = read(path, **options)
    assert corpus.label_names == NAMES
    np.testing.assert_allclose(dense(corpus), SHARES, atol=1e-6)
    assert any("4 rows have probabilities of several labels" in note for note in corpus.notes)


def test_people_s_labels_are_certain_beside_a_model_s(tmp_path: Path) -> None:
    path, options = write(tmp_path, "csv of predict")
    test = write_csv(tmp_path / "test.csv", ["text", "label"], [["a", "spam"], ["b", "ham"]])
    corpus = read(path, **options | {"test": str(test)})
    np.testing.assert_array_equal(dense(corpus, "test"), [[0, 1], [1, 0]])
    single = read(test).test.fingerprint(NAMES)
    assert corpus.test.fingerprint(corpus.label_names) == single  # so that runs can be compared


def test_a_test_split_of_other_columns_may_do_without_weights(tmp_path: Path) -> None:
    rows = [
        [text, *shares, 1 + i]
        for i, (text, shares) in enumerate(zip(TEXTS, SHARES.tolist(), strict=True))
    ]
    path = write_csv(tmp_path / "train.csv", ["text", "p(ham)", "p(spam)", "w"], rows)
    test = write_csv(tmp_path / "test.csv", ["text", "label"], [["a", "spam"], ["b", "ham"]])
    corpus = read(path, weight="w", task="soft", test=str(test))
    assert corpus.train.labels.weights is not None
    assert corpus.test.labels.weights is None
    with pytest.raises(InputError, match=r"test.csv .*no column 'w'"):
        read(path, weight="w", task="soft", validation=str(test))


def test_counts_of_annotators_are_divided_by_their_sum_and_that_is_said(tmp_path: Path) -> None:
    rows = [["a", 3, 1, 0], ["b", 0, 0, 2], ["c", 0.5, 0.5, 0], ["d", 0, 1, 0]]
    path = write_csv(tmp_path / "train.csv", ["text", "x", "y", "z"], rows)
    corpus = read(path, label=("x", "y", "z"), task="soft")
    wanted = np.array([[0.75, 0.25, 0], [0, 0, 1], [0.5, 0.5, 0], [0, 1, 0]])
    np.testing.assert_allclose(dense(corpus), wanted)
    said = [note for note in corpus.notes if "sum to 1" in note]
    assert len(said) == 3  # one for each split
    assert "2 rows have labels whose shares do not sum to 1: divided by their sum" in said[0]


def test_a_list_of_names_has_a_label_for_each_annotator(tmp_path: Path) -> None:
    votes: list[Any] = [["x", "y", "x", "x"], ["y"], "x"]
    lines = [json.dumps({"text": str(i), "label": vote}) for i, vote in enumerate(votes)]
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(lines))
    wanted = np.array([[0.75, 0.25], [0, 1], [1, 0]])
    np.testing.assert_allclose(dense(read(path, task="soft")), wanted)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["b", -0.5, 1.5], "line 3 has -0.5 for the label 'x': give a probability or a count"),
        (["b", "", 1], "line 3 has no number for the label 'x'"),
        (["b", "nan", 1], "line 3 has no number for the label 'x'"),
        (["b", "inf", 1], "line 3 has inf for the label 'x'"),
        (["b", "often", 1], "line 3 has no number for the label 'x'"),
        (["b", 0, 0], "line 3 has 0 for every label: give one a probability or take the row out"),
    ],
)
def test_what_is_no_probability_is_refused(tmp_path: Path, row: list[Any], message: str) -> None:
    path = write_csv(tmp_path / "train.csv", ["text", "x", "y"], [["a", 0.5, 0.5], row])
    with pytest.raises(InputError) as error:
        read(path, label=("x", "y"), task="soft")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_only_looks_like_an_object_is_a_label(tmp_path: Path) -> None:
    rows = [[text, ("{[1]: 2}", "b")[i % 2]] for i, text in enumerate(TEXTS)]
    assert set(read(write_csv(tmp_path / "train.csv", ["text", "label"], rows)).label_names) == {
        "{[1]: 2}", "b",
    }  # fmt: skip


def test_a_number_that_no_float_holds_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"text": "a", "label": {"x": 10**400, "y": 1}}))
    with pytest.raises(InputError, match="line 1 has no number for the label 'x'"):
        read(path)


def test_lists_need_the_names_of_their_labels(tmp_path: Path) -> None:
    path, options = write(tmp_path, "json lists")
    with pytest.raises(InputError, match=r"lists of numbers: name their labels.*label_names=\["):
        read(path)
    with pytest.raises(InputError, match=r"line 1 has 2 numbers .* names 3 labels"):
        read(path, label_names=("a", "b", "c"))
    path, options = write(tmp_path, "arrow lists")
    with pytest.raises(InputError, match=r"row 1 has 2 numbers .* names 3 labels"):
        read(path, **options | {"label_names": ("a", "b", "c")})


def test_a_label_of_test_that_train_lacks_is_refused(tmp_path: Path) -> None:
    path, options = write(tmp_path, "json objects")
    test = tmp_path / "test.jsonl"
    test.write_text('{"text": "a", "label": {"ham": 0.5, "eggs": 0.5}}\n')
    with pytest.raises(InputError, match=r"line 1 has the label 'eggs', which train never has"):
        read(path, **options | {"test": str(test)})


def test_ones_and_zeros_stay_labels_that_a_row_has_or_not(tmp_path: Path) -> None:
    rows = [["a", 1, 0], ["b", 0, 1], ["c", 1, 0]]
    path = write_csv(tmp_path / "train.csv", ["text", "x", "y"], rows)
    labels = read(path, label=("x", "y")).train.labels
    assert labels.several
    assert labels.shares is None
    rows[0][1] = 0.5
    write_csv(path, ["text", "x", "y"], rows)
    with pytest.raises(InputError, match=r"neither 1 nor 0.*for probabilities set data.task=soft"):
        read(path, label=("x", "y"))


def test_rows_are_held_out_by_their_most_probable_label(tmp_path: Path) -> None:
    rows = [[str(i), 0.9, 0.1] if i % 4 else [str(i), 0.2, 0.8] for i in range(80)]
    path = write_csv(tmp_path / "train.csv", ["text", "x", "y"], rows)
    corpus = read(path, label=("x", "y"), validation=None, test=None, test_fraction=0.25)
    assert np.bincount(corpus.test.labels.hard().ids).tolist() == [15, 5]


def test_labels_as_probable_as_another_come_to_the_first(tmp_path: Path) -> None:
    path, options = write(tmp_path, "arrow structs")
    assert read(path, **options).train.labels.hard().ids.tolist() == [0, 1, 1, 0, 1, 0]
