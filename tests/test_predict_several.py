"""Predictions of any number of labels a text, and of some of the labels alone."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from tests.command import complaint, textcls
from tests.test_export import TEXTS as MANY
from tests.test_export import make_parts
from textcls import Classifier
from textcls.config import Reading
from textcls.corpus.reading import read_labelled
from textcls.errors import InputError
from textcls.model.classifier import reaching
from textcls.task.multi import MultiLabel

LABELS = ("joy", "deep anger", "fear")
TEXTS = [text for text in MANY if text is None or (text.isprintable() and text.strip())]
# Of the model that is made here: so that some texts have none of the labels, others several.
THRESHOLDS, FOR_ALL = (0.75, 0.8, 0.7), 0.67


def make(
    labels: tuple[str, ...] = LABELS, delimiter: str | None = None, several: bool = True
) -> Classifier:
    parts = make_parts("mean+max")
    changes: dict[str, Any] = {"task": MultiLabel(torch.tensor(THRESHOLDS))} if several else {}
    reading = Reading(label_delimiter=delimiter)
    return Classifier(dataclasses.replace(parts, label_names=labels, reading=reading, **changes))


@pytest.fixture
def classifier() -> Classifier:
    return make()


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"text": text, "labels": ["mine"]}) for text in TEXTS]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture
def model(classifier: Classifier, tmp_path: Path) -> Path:
    classifier.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def expected(
    classifier: Classifier, thresholds: tuple[float, ...] = THRESHOLDS
) -> list[list[tuple[str, float]]]:
    """Return what is predicted, one label after another."""
    found = []
    for row in classifier.predict_proba(TEXTS).tolist():
        pairs = zip(classifier.label_names, row, thresholds, strict=True)
        reached = [(label, p) for label, p, least in pairs if p >= least]
        found.append(sorted(reached, key=lambda pair: -pair[1]))
    assert {len(pairs) for pairs in found} >= {0, 1, 2}  # else little would be tested
    return found


# --- all that reach their threshold -----------------------------------------------------------


def test_labels_that_reach_their_threshold_the_most_probable_first(classifier: Classifier) -> None:
    best = classifier.predict_top(TEXTS)
    assert best == expected(classifier)
    for labels, pairs in zip(classifier.predict(TEXTS), best, strict=True):
        assert set(labels) == {label for label, _ in pairs}
    assert classifier.predict_top(TEXTS, threshold=FOR_ALL) == expected(classifier, (FOR_ALL,) * 3)
    assert [len(row) for row in classifier.predict_top(TEXTS, k=2)] == [2] * len(TEXTS)
    assert classifier.predict_top([]) == []


def test_of_equal_probabilities_the_first_class_comes_first() -> None:
    rows = np.array([[0.5, 0.7, 0.5], [0.1, 0.1, 0.1], [0.9, 0.9, 1.0]], np.float32)
    classes, values, offsets = reaching(MultiLabel(), rows)
    assert classes.tolist() == [1, 0, 2, 2, 0, 1]
    assert values.tolist() == pytest.approx([0.7, 0.5, 0.5, 1.0, 0.9, 0.9])
    assert offsets.tolist() == [0, 3, 3, 6]


def test_csv_jsonl_and_parquet_hold_lists(
    classifier: Classifier, model: Path, rows: Path, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    options = ["--probabilities", "--keep", "labels"]
    for kind in ("csv", "tsv", "jsonl", "parquet"):
        textcls(capfd, "predict", model, rows, *options, "--out", tmp_path / f"o.{kind}")
    table = parquet.read_table(tmp_path / "o.parquet")
    probabilities = [f"p({label})" for label in LABELS]
    assert table.column_names == ["input_labels", "labels", "probabilities", *probabilities]
    assert table.schema.field("labels").type == pa.list_(pa.string())
    assert table.schema.field("probabilities").type == pa.list_(pa.float32())
    best, of_parquet = expected(classifier), table.to_pylist()
    for row, pairs, every in zip(of_parquet, best, classifier.predict_proba(TEXTS), strict=True):
        assert list(zip(row["labels"], row["probabilities"], strict=True)) == pairs
        assert [row[name] for name in probabilities] == every.tolist()
    of_json = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    for row, as_json in zip(of_parquet, of_json, strict=True):
        assert as_json.pop("input_labels") == ["mine"]
        assert as_json.pop("labels") == row["labels"]
        assert as_json.pop("probabilities") == pytest.approx(row["probabilities"], rel=1e-6)
    for kind, between in (("csv", ","), ("tsv", "\t")):
        with (tmp_path / f"o.{kind}").open(newline="") as file:
            of_csv = list(csv.DictReader(file, delimiter=between))
        for row, pairs in zip(of_csv, best, strict=True):
            found = [row["labels"].split(","), row["probabilities"].split(",")]
            assert found == [[label for label, _ in pairs], [f"{p:.7g}" for _, p in pairs]] or (
                not pairs and found == [[""], [""]]
            )


@pytest.mark.parametrize(
    ("labels", "delimiter", "cell"),
    [
        (("b", "a", "c"), "|", "b|a|c"),
        (("b", "a", "c"), None, "b,a,c"),
        (("b", "a", "c"), " ; ", "b ; a ; c"),
        # What is in a label, or in a number, cannot delimit.
        (("b", "a, d", "c"), None, '["b", "a, d", "c"]'),
        (
            ("b", 'a "d" \N{CHRISTMAS TREE}', "c|"),
            "|",
            '["b", "a \\"d\\" \N{CHRISTMAS TREE}", "c|"]',
        ),
        (("b", "a", "c"), ".", '["b", "a", "c"]'),
        (("b", "a", "c"), "e-", '["b", "a", "c"]'),
    ],
)
def test_what_is_written_is_read_as_labels_again(
    labels: tuple[str, ...], delimiter: str | None, cell: str, rows: Path, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    classifier = make(labels, delimiter)
    classifier.save_pretrained(tmp_path / "model")
    out = tmp_path / "out.csv"
    textcls(capfd, "predict", tmp_path / "model", rows, "--keep", "text", "--out", out)
    with out.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert cell in [row["labels"] for row in found]
    is_json = cell.startswith("[")
    for row, pairs in zip(found, classifier.predict_top(TEXTS), strict=True):
        joined = row["probabilities"]
        of_row = json.loads(joined) if is_json else joined.split(delimiter or ",") if joined else []
        assert list(map(float, of_row)) == pytest.approx([p for _, p in pairs], rel=1e-6)
    reading = Reading(label="labels", label_delimiter=None if is_json else delimiter or ",")  # type: ignore[arg-type]
    split = read_labelled(str(out), reading, Reading(), labels, several=True)
    again = [tuple(labels[i] for i in row) for row in split.labels.lists()]
    own = zip(TEXTS, classifier.predict(TEXTS), strict=True)
    # A row of neither text nor label is none.
    assert again == [labels for text, labels in own if text or labels or is_json]


def test_one_threshold_for_all_labels_and_the_best_labels(
    classifier: Classifier, model: Path, rows: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    printed = textcls(
        capfd, "predict", model, rows, "--threshold", FOR_ALL, "--format", "jsonl"
    ).splitlines()
    best = expected(classifier, (FOR_ALL,) * 3)
    assert [json.loads(x)["labels"] for x in printed] == [[a for a, _ in pairs] for pairs in best]
    table = textcls(capfd, "predict", model, rows, "--top", 2, "--threshold", FOR_ALL)
    found = list(csv.DictReader(io.StringIO(table)))
    assert list(found[0]) == ["label", "probability", "label_2", "probability_2"]
    for row, pairs in zip(found, best, strict=True):
        assert [a for a in (row["label"], row["label_2"]) if a] == [a for a, _ in pairs[:2]]


@pytest.mark.parametrize(
    ("options", "printed"),
    [
        ([], "labels,probabilities\n"),
        (["--top", "1"], "label,probability\n"),
        (["--format", "jsonl"], ""),
    ],
)
def test_no_rows_are_no_rows(
    options: list[str], printed: str, model: Path, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "empty.csv").write_text("text\n")
    assert textcls(capfd, "predict", model, tmp_path / "empty.csv", *options) == printed


# --- some of the labels -----------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [("fear", "joy"), ("joy", "fear", "joy"), ("  fear ", "joy")])
def test_of_one_label_a_text_the_chosen_sum_to_one(wanted: tuple[str, ...]) -> None:
    classifier = make(several=False)
    every = classifier.predict_proba(TEXTS)
    chosen = every[:, [0, 2]] / every[:, [0, 2]].sum(1, keepdims=True)
    found = classifier.predict_proba(TEXTS, labels=wanted)
    np.testing.assert_allclose(found, chosen, rtol=1e-5)
    names = [("joy", "fear")[i] for i in chosen.argmax(1)]
    assert classifier.predict(TEXTS, labels=wanted) == names
    best = classifier.predict_top(TEXTS, labels=wanted)
    assert [row[0][0] for row in best] == names
    assert {len(row) for row in best} == {2}
    # The classifier itself has all of them still.
    np.testing.assert_array_equal(classifier.predict_proba(TEXTS), every)


def test_of_several_labels_a_text_probabilities_and_thresholds_stay(
    classifier: Classifier,
) -> None:
    wanted = ["fear", "deep anger"]
    found = classifier.predict_proba(TEXTS, labels=wanted)
    np.testing.assert_allclose(found, classifier.predict_proba(TEXTS)[:, 1:], rtol=1e-6)
    labels = [tuple(label for label in row if label != "joy") for row in classifier.predict(TEXTS)]
    assert classifier.predict(TEXTS, labels=wanted) == labels
    best = [[pair for pair in pairs if pair[0] != "joy"] for pairs in expected(classifier)]
    for row, pairs in zip(classifier.predict_top(TEXTS, labels=wanted), best, strict=True):
        assert [label for label, _ in row] == [label for label, _ in pairs]


def test_a_restricted_classifier_is_one_of_its_labels(
    classifier: Classifier, tmp_path: Path
) -> None:
    restricted = classifier.restricted(["fear", "joy"])
    assert restricted.label_names == ("joy", "fear")
    restricted.save_pretrained(tmp_path / "small")
    again = Classifier.load(tmp_path / "small")
    assert again.label_names == ("joy", "fear")
    assert again.predict(TEXTS) == classifier.predict(TEXTS, labels=["joy", "fear"])


@pytest.mark.parametrize("several", [False, True])
def test_the_command_writes_the_chosen_labels_in_the_models_order(
    several: bool, rows: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    classifier = make(("joy", "anger, deep", "fear"), several=several)
    classifier.save_pretrained(tmp_path / "model")
    options = ["--labels", '"anger, deep",joy', "--probabilities", "--format", "jsonl"]
    printed = textcls(capfd, "predict", tmp_path / "model", rows, *options)
    found = [json.loads(line) for line in printed.splitlines()]
    wanted = ["joy", "anger, deep"]
    assert list(found[0])[2:] == ["p(joy)", "p(anger, deep)"]
    probabilities = [list(row.values())[2:] for row in found]
    expected = classifier.predict_proba(TEXTS, labels=wanted)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-6)
    best = classifier.predict_top(TEXTS, labels=wanted)
    if several:
        assert [row["labels"] for row in found] == [[a for a, _ in pairs] for pairs in best]
    else:
        assert [row["label"] for row in found] == [pairs[0][0] for pairs in best]


def test_an_unknown_label_is_refused_with_the_nearest(
    classifier: Classifier, model: Path, rows: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = complaint(capfd, "predict", model, rows, "--labels", "joy,Angr")
    assert line == "error: the model has no label 'Angr': did you mean 'deep anger'?"
    with pytest.raises(InputError, match="no label 'FEAR': did you mean 'fear'"):
        classifier.predict(TEXTS, labels=["FEAR"])
    with pytest.raises(InputError, match="no label '2': did you mean"):
        classifier.predict_proba(TEXTS, labels=[2])  # type: ignore[list-item]
    with pytest.raises(InputError, match="name one or more"):
        classifier.predict_top(TEXTS, labels=[])
    with pytest.raises(TypeError, match="labels are a list"):
        classifier.predict_proba(TEXTS, labels="joy")
