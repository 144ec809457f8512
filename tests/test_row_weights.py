"""A column that says what rows weigh in the loss: ``data.weight``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.conftest import Run, make_config
from textcls.cli.shared import labelled_bags
from textcls.corpus.corpus import Corpus, Source
from textcls.data.prepare import prepare
from textcls.data.sharded import in_memory
from textcls.errors import InputError
from textcls.model.classifier import Classifier
from textcls.model.embedding_bag import scores_of
from textcls.run import start

pytestmark = pytest.mark.usefixtures("undrawn")

# What a row weighs stands in its text as well.
ROWS = [
    {"text": f"row of {i % 4} halves", "label": "ab"[i % 2], "share": i % 4 / 2} for i in range(80)
]


def write(folder: Path, name: str = "train.csv", rows: list[dict[str, Any]] = ROWS) -> Path:
    path, table = folder / name, pd.DataFrame(rows)
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        table.to_parquet(path)
    return path


def read(path: Path, *overrides: str) -> Corpus:
    config = make_config("data=local", f"data.train={path}", "data.weight=share", *overrides)
    return Source(config.data).read()


@pytest.mark.parametrize("name", ["train.csv", "train.jsonl", "train.parquet"])
@pytest.mark.parametrize("kind", [float, str])
def test_weights_follow_their_rows_into_the_splits(tmp_path: Path, name: str, kind: Any) -> None:
    rows = [row | {"share": kind(row["share"])} for row in ROWS]
    corpus = read(write(tmp_path, name, rows))
    for split in (corpus.train, corpus.validation, corpus.test):
        said = [float(text.split()[2]) / 2 for text in split.texts.to_pylist()]
        assert split.labels.weights is not None
        assert split.labels.weights.tolist() == said
    assert (corpus.text_columns, corpus.label_columns) == (("text",), ("label",))
    assert any("rows of train weigh 0 to 1.5, by column share" in note for note in corpus.notes)
    assert read(write(tmp_path, name), "data.weight=null").train.labels.weights is None


def test_whole_numbers_and_blanks_around_numbers_are_weights(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("share,text,label\n" + " 2 ,one,a\n1e-1,two,b\n3,three,a\n+.5,four,b\n" * 5)
    weights = read(path).train.labels.weights
    assert weights is not None
    assert set(weights) <= {2, 0.1, 3, 0.5}


def test_the_column_of_weights_is_neither_text_nor_label(tmp_path: Path) -> None:
    # Without names that say it, of two columns that of few values is the label.
    rows = [{"y": "ab"[i % 2], "share": i % 2, "words": f"text {i}"} for i in range(40)]
    corpus = read(write(tmp_path, rows=rows))
    assert (corpus.text_columns, corpus.label_columns) == (("words",), ("y",))
    with pytest.raises(InputError, match=r"data.weight=share: this column is the text"):
        read(write(tmp_path, rows=rows), "data.label=share")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("-1", "has the weight '-1' in column 'share': give a number that is 0 or more"),
        ("", "has no weight in column 'share'"),
        ("nan", "has the weight 'nan'"),
        ("inf", "has the weight 'inf'"),
        ("heavy", "has the weight 'heavy'"),
    ],
)
def test_a_bad_weight_is_named_with_its_row(tmp_path: Path, value: str, message: str) -> None:
    rows = [row | {"share": value if i == 6 else "1"} for i, row in enumerate(ROWS)]
    path = write(tmp_path, rows=rows)
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: line 8 ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_weight_that_json_lacks_is_named_with_its_line(tmp_path: Path) -> None:
    rows = [row | ({"share": None} if i == 6 else {}) for i, row in enumerate(ROWS)]
    with pytest.raises(InputError, match=r"train.jsonl: line 7 has no weight"):
        read(write(tmp_path, "train.jsonl", rows))
    with pytest.raises(InputError, match=r"holds .*, not weights"):
        read(write(tmp_path, "train.parquet", [row | {"share": [1.0]} for row in ROWS]))


def test_splits_that_are_learned_from_need_the_column(tmp_path: Path) -> None:
    train = write(tmp_path)
    other = write(tmp_path, "other.csv", [{k: row[k] for k in ("text", "label")} for row in ROWS])
    with pytest.raises(InputError, match=r"data.weight=share: there is no such column"):
        read(other)
    with pytest.raises(InputError, match=r"other.csv .*there is no column 'share'"):
        read(train, f"data.validation={other}")
    assert len(read(train, f"data.test={other}").test) == 80
    with pytest.raises(InputError, match="every row of train weighs 0"):
        read(write(tmp_path, rows=[row | {"share": 0} for row in ROWS]))


@pytest.mark.parametrize("joined", [False, True])
def test_bags_of_train_have_weights(tmp_path: Path, joined: bool) -> None:
    path = write(tmp_path)
    config = make_config("data=local", f"data.train={path}", "data.weight=share")
    for _ in range(2):  # made, and out of the cache
        found = prepare(config.data, config.tokenizer, tmp_path / "cache", joined=joined)
        train, test = in_memory(found.train), in_memory(found.test)
        weights = train.example_weights
        assert weights is not None
        assert weights.mean().item() == pytest.approx(1)
        words = found.encoder.vocabulary.tokens.to_pylist()
        said = [float(words[train.indices[start + 2]]) for start in train.offsets[:-1].tolist()]
        torch.testing.assert_close(weights, torch.tensor(said) / float(np.mean(said)))
    assert test.example_weights is not None
    assert test.example_weights.mean().item() == pytest.approx(1)
    assert len(found.train) == (72 if joined else 64)


@pytest.mark.slow
@pytest.mark.parametrize("several", [False, True])
def test_a_run_learns_what_weighs_more(run_train: Run, tmp_path: Path, several: bool) -> None:
    """Half of the rows contradict the other half."""
    rows = [
        {"text": f"{['good', 'bad'][i % 2]} film {i}",
         "label": ["yes", "no"][(i % 2) ^ wrong], "right": 1 - 0.9 * wrong, "wrong": wrong}
        for i in range(60) for wrong in (0, 1)
    ]  # fmt: skip
    path = write(tmp_path, rows=rows)
    options = ["data=local", f"data.train={path}", "data.text=text", "data.label=label"]
    if several:
        options += ["data.task=multi"]
    texts, expected = ["good film", "bad film"], ["yes", "no"]
    for column, labels in (("right", expected), ("wrong", expected[::-1])):
        result = run_train(*options, f"data.weight={column}", f"run_dir={tmp_path / column}")
        assert result.returncode == 0, result.stderr
        assert f"by column {column}" in result.stdout + result.stderr
        classifier = Classifier.load(tmp_path / column, "cpu")
        names, probabilities = classifier.label_names, classifier.predict_proba(texts)
        assert [names[i] for i in probabilities.argmax(1)] == labels


def test_weights_that_are_alike_are_none(tmp_path: Path) -> None:
    path = write(tmp_path, rows=[row | {"share": 3} for row in ROWS])
    options = ["experiment=null", "data=local", f"data.train={path}", "data.text=text",
               "data.label=label", f"cache_dir={tmp_path / 'cache'}"]  # fmt: skip
    models = []
    for column in ("share", "null"):
        start(make_config(*options, f"data.weight={column}"), tmp_path / column)
        models.append((tmp_path / column / "model" / "model.safetensors").read_bytes())
    assert models[0] == models[1]


def test_metrics_count_rows_by_their_weights(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"text": f"{'good' if i % 3 else 'bad'} film {i}", "label": "yn"[i % 2], "share": i % 4}
        for i in range(80)
    ]
    train, folder = write(tmp_path, rows=rows), tmp_path / "run"
    bare = write(tmp_path, "bare.csv", [{k: row[k] for k in ("text", "label")} for row in rows])
    config = make_config(
        "experiment=null", "data=local", f"data.train={train}", "data.weight=share",
        f"data.test={train}", f"cache_dir={tmp_path / 'cache'}",
    )  # fmt: skip
    start(config, folder)
    classifier = Classifier.load(folder, "cpu")
    predicted = np.array(classifier.predict([row["text"] for row in rows]))
    right = predicted == np.array([row["label"] for row in rows])
    expected = np.average(right, weights=[row["share"] for row in rows])
    assert expected != pytest.approx(right.mean())
    metrics = json.loads((folder / "metrics.json").read_text())["test"]
    assert metrics["accuracy"] == pytest.approx(expected)
    assert sum(row["support"] for row in metrics["per_class"].values()) == 80
    # So does another verb, where a file has such a column; without it each row counts 1.
    for path, accuracy in ((train, expected), (bare, right.mean())):
        bags, _ = labelled_bags(classifier, str(path), {})
        scores = scores_of(classifier.parts.model, bags)
        found = classifier.task.assess(scores, bags.targets, classifier.label_names)
        assert found.metrics["accuracy"] == pytest.approx(accuracy)
    corpus = read(train, f"data.test={bare}")
    assert corpus.test.labels.weights is None
    assert any("has no column share: each row of test counts 1" in note for note in corpus.notes)
    with pytest.raises(InputError, match="every row of test weighs 0"):
        read(train, f"data.test={write(tmp_path, 'none.csv', [r | {'share': 0} for r in rows])}")
