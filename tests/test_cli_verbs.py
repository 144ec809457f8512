"""The verbs of ``textcls`` but predict, in this process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from tests.command import ODD, as_texts, complaint, textcls
from textcls import Classifier
from textcls.model.embedding_bag import logits_of

# --- evaluate, inspect, neighbors -------------------------------------------------------------


def test_evaluate_finds_what_the_run_found(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    test = trained.parent / "test.csv"
    printed = textcls(capfd, "evaluate", trained, test, "--out", tmp_path / "report")
    of_run = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))["test"]
    found = json.loads((tmp_path / "report" / "metrics.json").read_text(encoding="utf-8"))
    assert found["rows"] == 40
    for name in ("accuracy", "macro_f1", "loss"):
        assert found[name] == pytest.approx(of_run[name])
    assert found["confusion"] == of_run["confusion"]
    assert f"test.csv accuracy {of_run['accuracy']:.4f}" in printed
    assert (tmp_path / "report" / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")


def test_evaluate_takes_numbers_with_names_and_fasttexts_lines(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "numbers.tsv").write_text("sentence\tclass\nsuperb\t1\ndull\t0\n")
    options = ["--label-names", "bad,good"]
    printed = textcls(capfd, "evaluate", trained, tmp_path / "numbers.tsv", *options)
    assert "accuracy 1.0000" in printed
    (tmp_path / "lines.txt").write_text("__label__good superb\n__label__good dull\n")
    assert "accuracy 0.5000" in textcls(capfd, "evaluate", trained, tmp_path / "lines.txt")


def test_inspect(trained: Path, classifier: Classifier, capfd: pytest.CaptureFixture[str]) -> None:
    known = json.loads(textcls(capfd, "inspect", trained, "--json"))
    table = classifier.parts.model.embedding.weight
    assert known["tensors"]["embedding.weight"] == {"dtype": "F32", "shape": list(table.shape)}
    assert known["classes"] == ["bad", "good"]
    files = [path for path in (trained / "model").iterdir() if path.is_file()]
    assert known["bytes"]["total"] == sum(path.stat().st_size for path in files)
    assert known["vocabulary"]["tokens"] == len(classifier.parts.encoder.vocabulary) - 2
    assert known["metrics"]["test"]["accuracy"] > 0.9
    # The model folder alone is a model as well, without the scores of a run.
    alone = json.loads(textcls(capfd, "inspect", trained / "model", "--json"))
    assert alone == {key: value for key, value in known.items() if key != "metrics"}
    shown = textcls(capfd, "inspect", trained)
    assert "2 classes" in shown
    assert "bad, good" in shown


def test_the_nearest_tokens_by_brute_force(
    trained: Path, classifier: Classifier, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["-k", 3, "--min-count", 1]
    printed = textcls(capfd, "neighbors", trained, "Superb", *options)
    vocabulary = classifier.parts.encoder.vocabulary
    words = vocabulary.tokens.to_pylist()
    table = classifier.parts.model.embedding.weight
    cosines = {
        word: float(F.cosine_similarity(table[i], table[words.index("superb")], dim=0))
        for i, word in enumerate(words)
        if i >= 2 and word != "superb"
    }
    expected = sorted(cosines, key=lambda word: -cosines[word])[:3]
    found = [line.split() for line in printed.splitlines() if line.strip()][2:]
    assert [row[2] for row in found] == expected
    assert [float(row[0]) for row in found] == pytest.approx(
        [cosines[word] for word in expected], abs=6e-4
    )
    assert [int(row[1]) for row in found] == [
        vocabulary.counts[words.index(word)] for word in expected
    ]


def test_the_nearest_texts_of_a_file(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("awful\n\x1b[31msuperb\nlovely moving\n\ncold\n")
    arguments = ["neighbors", trained, "superb", "--in", tmp_path / "a.txt", "-k", 2]
    rows = [line for line in textcls(capfd, *arguments).splitlines() if line.strip()][2:]
    assert [row.split()[1] for row in rows] == ["3", "2"] or [row.split()[1] for row in rows] == [
        "2",
        "3",
    ]
    assert "\x1b" not in "".join(rows)  # a text does not speak to the terminal


def test_a_pattern_is_evaluated_as_one(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("new/deep").mkdir(parents=True)
    for name, text in (("new/a.csv", "superb"), ("new/deep/b.csv", "dull")):
        Path(name).write_text(f"text,label\n{text},good\n")
    shown = textcls(capfd, "evaluate", trained, "new/**/*.csv")
    assert "accuracy 0.5000" in shown
    judged = ["--data", "new/**/*.csv", "--max-size", "7kB", "--out", "small"]
    assert "chosen" in textcls(capfd, "compress", trained, *judged)
    for arguments in (
        ["evaluate", trained, "no/*.csv"],
        ["neighbors", trained, "superb", "--in", "no/*.csv"],
        ["compress", trained, "--data", "no/*.csv", "--out", "new2"],
    ):
        assert "there is no such file" in complaint(capfd, *arguments)


def test_the_nearest_texts_of_several_files(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("awful\nsuperb\n")
    Path("b.txt").write_text("")
    Path("c.txt").write_text("superb\ncold\n")
    printed = textcls(capfd, "neighbors", trained, "superb", "--in", "*.txt", "-k", 2)
    rows = [line.split()[1:] for line in printed.splitlines() if line.strip()]
    assert rows[0] == ["row", "file", "text"]
    assert rows[2:] == [["2", "a.txt", "superb"], ["1", "c.txt", "superb"]]


# --- explain, export, compress ----------------------------------------------------------------


def test_explain_adds_up_and_writes_the_page(
    trained: Path, classifier: Classifier, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    printed = textcls(capfd, "explain", trained, "-t", "superb but dull", "--label", "bad")
    bags = classifier.bags(["superb but dull"])
    score = logits_of(classifier.parts.model, bags)[0, classifier.label_names.index("bad")]
    assert f"{abs(float(score)):.3f}" in printed
    for word in ("superb", "dull"):
        assert word in printed
    page = tmp_path / "steps.html"
    for arguments in ([], [trained, trained / "model", "-t", "superb"]):
        assert str(page) in textcls(capfd, "explain", *arguments, "--html", page)
        assert "<!doctype html>" in page.read_text(encoding="utf-8").lower()


def test_export_writes_what_predicts_the_same(
    trained: Path, classifier: Classifier, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bags = classifier.bags(as_texts(ODD))
    indices, offsets = bags.indices.long(), bags.offsets
    expected = classifier.predict_proba(as_texts(ODD))
    textcls(capfd, "export", trained, "--to", "onnx", "--out", tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    given = {"indices": indices.numpy(), "offsets": offsets.numpy()}
    (found,) = session.run(["probabilities"], given)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    textcls(capfd, "export", trained, "--to", "torch", "--out", tmp_path / "model.pt2")
    module = torch.export.load(tmp_path / "model.pt2").module()
    np.testing.assert_allclose(module(indices, offsets), expected, atol=1e-5)
    textcls(capfd, "export", trained, "--to", "numpy", "--out", tmp_path / "numpy")
    lines = subprocess.run(
        [sys.executable, "-I", tmp_path / "numpy" / "predict.py"],
        input=b"superb\n\ndull\n", capture_output=True, check=True,
    ).stdout.decode().splitlines()  # fmt: skip
    assert [line.split("\t")[0] for line in lines] == classifier.predict(["superb", "", "dull"])


def test_compress_writes_a_model_that_every_verb_takes(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    small = tmp_path / "small"
    printed = textcls(capfd, "compress", trained, "--out", small, "--max-size", "7kB")
    assert "chosen" in printed
    figures = json.loads((small / "compression.json").read_text(encoding="utf-8"))
    size = sum(path.stat().st_size for path in (small / "model").iterdir())
    assert size == figures["chosen"]["bytes"] <= 7_000
    assert figures["chosen"] in figures["curve"]
    assert (small / "compression.png").read_bytes().startswith(b"\x89PNG")
    evaluated = textcls(capfd, "evaluate", small, trained.parent / "test.csv")
    assert "test.csv accuracy 1.0000" in evaluated
    card = (small / "model" / "README.md").read_text(encoding="utf-8")
    assert "## Compressed" in card
    assert "--max-size 7kB" in card
    # Judged by a file, it needs no run.
    judged = ["--data", trained.parent / "test.csv", "--out", tmp_path / "smaller"]
    assert "chosen" in textcls(capfd, "compress", small, *judged)
