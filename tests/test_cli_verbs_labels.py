"""The verbs of ``textcls`` with a model whose texts have any number of labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import logit
from sklearn.metrics import f1_score
from sklearn.preprocessing import MultiLabelBinarizer

from tests.command import textcls
from tests.conftest import make_config, write_labelled
from textcls import Classifier, run

TEXT = "item 4 lovely superb dull awful"


def test_explain_shows_the_labels_that_are_predicted(
    labelled: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    classifier = Classifier.load(labelled, "cpu")
    (found,) = classifier.predict([TEXT])
    assert {"good", "bad"} <= set(found)
    printed = textcls(capfd, "explain", labelled, "-t", TEXT)
    for name in classifier.label_names:
        assert (f"speaks for {name}" in printed) == (name in found)
    only = textcls(capfd, "explain", labelled, "-t", TEXT, "--label", "bad")
    assert only.count("speaks for") == only.count("speaks for bad") == 1
    page = tmp_path / "steps.html"
    textcls(capfd, "explain", labelled, "-t", TEXT, "--html", page)
    assert '"thresholds":[' in page.read_text(encoding="utf-8")


def test_inspect_tells_thresholds_and_scores(
    labelled: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    known = json.loads(textcls(capfd, "inspect", labelled, "--json"))
    assert known["task"] == "multi"
    thresholds = Classifier.load(labelled, "cpu").task.tensors()["thresholds"].tolist()
    assert known["thresholds"] == dict(zip(("bad", "good", "odd"), thresholds, strict=True))
    of_run = json.loads((labelled / "metrics.json").read_text(encoding="utf-8"))["test"]
    assert known["metrics"]["test"]["micro_f1"] == of_run["micro_f1"]
    shown = textcls(capfd, "inspect", labelled)
    assert "3 labels" in shown
    assert f"micro F1 {of_run['micro_f1']:.4f}" in shown
    assert f"{min(thresholds):.3f} to {max(thresholds):.3f}" in shown


def test_neighbors_of_a_token_have_its_labels(
    labelled: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    printed = textcls(capfd, "neighbors", labelled, "superb", "-k", 2)
    found = [line.split() for line in printed.splitlines() if line.strip()[:2] in ("0.", "1.")]
    assert len(found) == 2
    assert {token for _, _, token in found} < {"great", "lovely", "moving", "warm"}


def test_where_scores_stand_in_place_of_vectors_their_distance_says_what_is_near(
    cache_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The oracle: the probabilities of texts of one token each, as scores again."""
    options = ("model.dim=classes", "optimizer.lr=1", "trainer.epochs=3", f"cache_dir={cache_dir}")
    run.start(make_config(*write_labelled(tmp_path), *options), tmp_path / "run")
    capfd.readouterr()  # the log
    classifier = Classifier.load(tmp_path / "run", "cpu")
    vocabulary = classifier.parts.encoder.vocabulary
    tokens = [token for token in vocabulary.tokens.to_pylist()[2:] if token != "superb"]
    kept = logit(classifier.predict_proba(["superb", *tokens]))
    distances = dict(zip(tokens, np.linalg.norm(kept[1:] - kept[0], axis=1), strict=True))
    nearest = sorted(tokens, key=distances.__getitem__)[:3]

    arguments = ["neighbors", tmp_path / "run", "superb", "-k", 3]
    printed = textcls(capfd, *arguments, "--min-count", 0)
    head, _, *rows = (line for line in printed.splitlines() if line.strip())
    assert head.split() == ["distance", "count", "token"]
    assert [row.split(maxsplit=2)[2].strip() for row in rows] == nearest
    found = [float(row.split()[0]) for row in rows]
    assert found == pytest.approx([distances[token] for token in nearest], rel=1e-2, abs=2e-3)

    (tmp_path / "tokens.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    printed = textcls(capfd, *arguments, "--in", tmp_path / "tokens.txt")
    rows = [line for line in printed.splitlines() if line.strip()][2:]
    assert [row.split(maxsplit=2)[2].strip() for row in rows] == nearest


def test_compress_keeps_the_decisions(
    labelled: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The oracle: what both models predict of the raw texts, by scikit-learn."""
    test = labelled.parent / "test.jsonl"
    small = tmp_path / "small"
    printed = textcls(capfd, "compress", labelled, "--data", test, "--out", small)
    assert "micro F1" in printed
    figures = json.loads((small / "compression.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in test.read_text(encoding="utf-8").splitlines()]
    binarizer = MultiLabelBinarizer(classes=["bad", "good", "odd"])
    wanted = binarizer.fit_transform([row["labels"] for row in rows])
    for which, folder in (("original", labelled), ("chosen", small)):
        predicted = Classifier.load(folder, "cpu").predict([row["text"] for row in rows])
        score = f1_score(wanted, binarizer.transform(predicted), average="micro")
        assert figures[which]["micro_f1"] == pytest.approx(score)
    assert figures["chosen"]["bytes"] < figures["original"]["bytes"]
