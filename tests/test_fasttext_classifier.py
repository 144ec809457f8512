"""fastText's models in the rest of textcls: Classifier, the verbs, training and export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import textcls.fasttext
from tests.command import complaint
from tests.command import textcls as run
from tests.test_fasttext import LINES, MODELS, fasttext, texts, train
from textcls.config import TokenizerConfig
from textcls.errors import InputError
from textcls.fasttext_models.format import read_model_file
from textcls.fasttext_models.matrices import Dense
from textcls.fasttext_models.model import FastTextModel
from textcls.model.classifier import Classifier
from textcls.model.export import export_onnx, export_torch
from textcls.model.folder import save_model
from textcls.model.to_fasttext import export_fasttext
from textcls.report.explain import explain

TEXTS = [*LINES, *texts(100, 3)]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: train(tmp_path_factory.mktemp("model"), kind) for kind in MODELS}


@pytest.mark.parametrize("kind", MODELS)
def test_a_classifier_of_a_model_of_fasttext(
    kind: str, paths: dict[str, Path], tmp_path: Path
) -> None:
    classifier, model = Classifier.load(paths[kind]), FastTextModel(paths[kind])
    encoded = [text.encode() for text in TEXTS]
    ids, offsets = model.encode(encoded)
    bags = classifier.bags(TEXTS)
    np.testing.assert_array_equal(bags.offsets.numpy(), offsets)
    table = classifier.parts.model.embedding.weight
    np.testing.assert_array_equal(table[bags.indices.long()].numpy(), model.file.input.rows(ids))
    assert not table[:2].any()

    found = classifier.predict_proba(TEXTS)
    # fastText's sigmoids are of a table of 512 steps, ours are exact; and it adds 1e-5 to all
    # probabilities, or at each node of a tree.
    atol = 0.008 if MODELS[kind][0] in ("ova", "ns") else 5e-5 if "hs" in kind else 1.1e-5
    ranked = textcls.fasttext.load_model(paths[kind]).predict(TEXTS, k=-1)
    for names, values, own in zip(*ranked, found, strict=True):
        places = [classifier.label_names.index(name.removeprefix("__label__")) for name in names]
        np.testing.assert_allclose(own[places], values, atol=atol, rtol=0)
    names, _ = fasttext.load_model(str(paths[kind])).predict(TEXTS, k=1)
    agree = [
        f"__label__{best[0][0]}" == name[0]
        for best, name in zip(classifier.predict_top(TEXTS, 1), names, strict=True)
        if name
    ]
    assert np.mean(agree) > (0.95 if atol > 1e-3 else 0.999)

    # A folder of textcls' has all of it.
    save_model(classifier.parts, tmp_path / "model")
    again = Classifier.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(TEXTS), found)
    two = sorted(classifier.label_names)[:2]
    if not classifier.task.several and MODELS[kind][0] != "ns":
        both = found[:, [classifier.label_names.index(name) for name in two]]
        chosen = classifier.predict_proba(TEXTS, two)
        order = [two.index(name) for name in classifier.restricted(two).label_names]
        expected = (both / both.sum(1, keepdims=True))[:, order]
        np.testing.assert_allclose(chosen, expected, atol=1e-5)


def test_rows_stay_in_the_mapped_file(paths: dict[str, Path]) -> None:
    path = paths["softmax, pairs"]
    before, matrix = path.read_bytes(), read_model_file(path).input
    assert isinstance(matrix, Dense)
    table = root = matrix.with_zeros(2)
    np.testing.assert_array_equal(table[2:], matrix.rows(np.arange(len(table) - 2)))
    while isinstance(root.base, np.ndarray):
        root = root.base
    assert isinstance(root, np.memmap)
    assert path.read_bytes() == before
    # Of what is not in a file, or at its beginning, it is a copy.
    rows = matrix.rows(np.arange(3))
    np.testing.assert_array_equal(Dense(rows).with_zeros(2), np.vstack([np.zeros((2, 8)), rows]))


@pytest.mark.parametrize("kind", ["softmax, characters", "hs, pruned", "ova", "softmax, quantised"])
@pytest.mark.parametrize("text", ["word1 unheard-of x2", "</s>", "你好 😀 word1 word1"])
def test_an_explanation_adds_up(kind: str, text: str, paths: dict[str, Path]) -> None:
    classifier = Classifier.load(paths[kind])
    found = explain(classifier, text)
    np.testing.assert_allclose(found.contributions.sum(0) + found.bias, found.logits, atol=1e-5)
    assert "</s>" in found.tokens
    own = found.own()
    for number in np.flatnonzero(found.unknown):  # only its character n-grams say something
        np.testing.assert_allclose(own[number], 0, atol=1e-9)
    # A token adds what the scores lose without its rows.
    model, bags = classifier.parts.model, classifier.bags([text])
    rows = model.embedding.weight[bags.indices.long()].double() / len(bags.indices)
    of_rows = classifier.task.class_scores(rows @ model.linear.weight.double().T)
    np.testing.assert_allclose(of_rows.sum(0), found.contributions.sum(0), atol=1e-6)
    names = [name for name in found.chars.names if name.startswith("<")]
    assert names or MODELS[kind][2] == 0 or text == "</s>" or "pruned" in kind


@pytest.mark.parametrize("kind", ["hs", "ns", "softmax, pairs"])
def test_exports_of_a_model_of_fasttext(kind: str, paths: dict[str, Path], tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    classifier = Classifier.load(paths[kind])
    bags, expected = classifier.bags(TEXTS), classifier.predict_proba(TEXTS)
    export_onnx(classifier.parts, tmp_path / "model.onnx")
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"))
    given = {"indices": bags.indices.long().numpy(), "offsets": bags.offsets.numpy()}
    (found,) = session.run(["probabilities"], given)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    if kind == "hs":
        with pytest.raises(InputError, match="its labels are a tree"):
            export_fasttext(classifier.parts, tmp_path / "model.bin")
        return
    export_fasttext(classifier.parts, tmp_path / "model.bin")
    theirs = fasttext.load_model(str(tmp_path / "model.bin"))
    ours = fasttext.load_model(str(paths[kind]))
    assert theirs.predict(TEXTS, k=-1)[0] == ours.predict(TEXTS, k=-1)[0]


@pytest.mark.slow  # torch.export takes ten seconds to import
def test_a_tree_of_labels_as_a_torch_program(paths: dict[str, Path], tmp_path: Path) -> None:
    classifier = Classifier.load(paths["hs"])
    bags = classifier.bags(TEXTS)
    export_torch(classifier.parts, tmp_path / "model.pt2")
    module = torch.export.load(tmp_path / "model.pt2").module()
    found = module(bags.indices.long(), bags.offsets).detach()
    np.testing.assert_allclose(found, classifier.predict_proba(TEXTS), atol=1e-6)


def test_the_verbs_take_a_model_of_fasttext(
    paths: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, source = paths["hs, pruned"], paths["hs, pruned"].parent / "train.txt"
    model = textcls.fasttext.load_model(path)
    _, precision, _ = model.test(source)
    out = tmp_path / "small"
    run(capfd, "compress", path, "--data", source, "--out", out, "--max-loss", 0.02)
    figures = json.loads((out / "compression.json").read_text(encoding="utf-8"))
    assert figures["original"]["accuracy"] == pytest.approx(precision)
    known = json.loads(run(capfd, "inspect", path, "--json"))
    assert known["tensors"]["input"]["dtype"] == "codes"
    assert known["vocabulary"]["tokens"] == len(model.words)
    found = run(capfd, "neighbors", path, "word1", "--min-count", "1", "-k", "3")
    assert "word1 " not in found
    assert f"{precision:.4f}" in run(capfd, "evaluate", path, source)
    lines = [line.split(" ", 1)[1] for line in source.read_text("utf-8").splitlines()]
    predicted = [line.split(",")[0] for line in run(capfd, "predict", path, source).splitlines()]
    assert predicted[1:] == [name[0].removeprefix("__label__") for name in model.predict(lines)[0]]
    assert "no model or run folder" in complaint(capfd, "inspect", source)
    page = ("explain", path, "--html", tmp_path / "page.html", "-t", "word1")
    assert "a tree of labels or negative sampling" in complaint(capfd, *page)
    arguments = ("export", path, "--to", "numpy", "--out", tmp_path / "numpy")
    assert "export to fasttext" in complaint(capfd, *arguments)


def test_nearest_words_are_by_the_means_of_their_rows(
    paths: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = paths["softmax, characters"]
    model = textcls.fasttext.load_model(path)
    vectors = {word: model[word] for word in model.words}
    query = vectors.pop("word1")
    cosines = {
        word: vector @ query / np.linalg.norm(vector) / np.linalg.norm(query)
        for word, vector in vectors.items()
    }
    expected = sorted(cosines, key=lambda word: -cosines[word])[:3]
    found = run(capfd, "neighbors", path, "word1", "--min-count", "0", "-k", "3")
    assert [line.split()[-1] for line in found.splitlines()[3:6]] == expected


SETTINGS = ("tokenizer.ngrams=2", "tokenizer.char_ngrams=[2,3]", "tokenizer.buckets=3000")


def test_what_is_trained_is_what_fasttext_predicts(
    paths: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = paths["softmax"].parent / "train.txt"
    run_dir, path = tmp_path / "run", tmp_path / "model.bin"
    given = [f"data.train={source}", f"cache_dir={tmp_path}", "data.label_delimiter=null"]
    run(capfd, "train", "experiment=fasttext", *given, *SETTINGS, f"run_dir={run_dir}")
    run(capfd, "export", run_dir, "--to", "fasttext", "--out", path)
    classifier, theirs = Classifier.load(run_dir), fasttext.load_model(str(path))
    probabilities = classifier.predict_proba(TEXTS)
    for names, values, expected in zip(*theirs.predict(TEXTS, k=-1), probabilities, strict=True):
        found = dict(zip(names, values, strict=True))
        own = [found[f"__label__{name}"] for name in classifier.label_names]
        np.testing.assert_allclose(own, expected + 1e-5, atol=2e-6)
    # Read back, it is the same model, but for the dimension that is its bias.
    np.testing.assert_allclose(Classifier.load(path).predict_proba(TEXTS), probabilities, atol=1e-6)


def test_a_training_starts_from_a_model_of_fasttext(
    paths: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new.csv"
    rows = [f"{word} thing,{label}" for label in ("good", "novel") for word in ("word1", "fresh")]
    new.write_text("text,label\n" + "\n".join(rows * 20), encoding="utf-8")
    given = [f"data.train={new}", f"cache_dir={tmp_path}"]
    still = ("optimizer.lr=1e-9", "trainer.calibrate=false")
    start, out = paths["softmax, characters"], tmp_path / "run"
    run(capfd, "train", *given, f"init_from={start}", f"run_dir={out}", *still)
    old, continued = Classifier.load(start), Classifier.load(out)
    assert continued.label_names[:5] == old.label_names
    assert "novel" in continued.label_names
    assert continued.parts.encoder.vocabulary.tokens.to_pylist()[-1] in ("fresh", "thing")
    # Hardly a step was made: texts without new words have the scores that they had.
    known = list(texts(50, 4))
    np.testing.assert_allclose(
        continued.predict_proba(known, old.label_names), old.predict_proba(known), atol=1e-4
    )
    message = complaint(capfd, "train", *given, f"init_from={paths['hs']}")
    assert "a tree of labels or negative sampling" in message


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"ngrams": 2}, "set tokenizer.buckets=2000000"),
        ({"counts": "log"}, "tokenizer.counts is nothing that fastText has"),
        ({"max_tokens": 5}, "tokenizer.max_tokens is nothing that fastText has"),
    ],
)
def test_options_that_fasttext_has_not(options: dict[str, object], reason: str) -> None:
    rest: dict[str, Any] = {"max_tokens": None} | options
    with pytest.raises(ValueError, match=reason):
        TokenizerConfig(name="fasttext", min_freq=1, max_size=None, **rest)
