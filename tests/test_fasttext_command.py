"""``textcls fasttext``: what fastText's command line prints of a model, and quantisation."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import textcls.fasttext
from tests.command import complaint
from tests.command import textcls as command
from tests.test_fasttext import LABELS, fasttext, train


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("fasttext"), "softmax, characters")


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that gives bytes to the standard input."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))


def test_a_model_is_quantised(model: Path, tmp_path: Path, capfd: Any) -> None:
    name = tmp_path / "model"
    name.with_suffix(".bin").write_bytes(model.read_bytes())
    flags = ("-qnorm", "-cutoff", "500", "-dsub", "4", "-input", model.parent / "train.txt")
    assert not command(capfd, "fasttext", "quantize", "-output", name, *flags)
    expected = textcls.fasttext.load_model(model)
    expected.quantize(qnorm=True, cutoff=500, dsub=4)
    expected.save_model(tmp_path / "expected.ftz")
    written = name.with_suffix(".ftz")
    assert written.read_bytes() == (tmp_path / "expected.ftz").read_bytes()
    lines = "word1 x2\nunheard-of\n"
    (tmp_path / "texts.txt").write_text(lines)
    found = command(capfd, "fasttext", "predict", written, tmp_path / "texts.txt")
    theirs = fasttext.load_model(str(written)).predict(lines.splitlines())[0]
    assert found.split() == [names[0] for names in theirs]


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("-cutoff", "20"), "model.bin: the input matrix has 20 rows"),
        (("-qout",), "leave out qout"),
        (("-dsub", "0"), "dsub=0"),
        (("-retrain", "-input", "nowhere.txt"), "nowhere.txt: there is no such file"),
        (("-dim", "3"), "No such option"),
    ],
)
def test_what_cannot_be_quantised_is_one_line(
    flags: tuple[str, ...], reason: str, model: Path, tmp_path: Path, capfd: Any
) -> None:
    (tmp_path / "model.bin").write_bytes(model.read_bytes())
    line = complaint(capfd, "fasttext", "quantize", "-output", tmp_path / "model", *flags)
    assert reason in line
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]


def test_a_quantised_model_is_not_quantised_again(model: Path, tmp_path: Path, capfd: Any) -> None:
    path = tmp_path / "model.bin"
    own = textcls.fasttext.load_model(model)
    own.quantize()
    own.save_model(path)
    line = complaint(capfd, "fasttext", "quantize", "-output", path.with_suffix(""))
    assert "already quantized" in line
    assert "is quantized" in complaint(capfd, "fasttext", "dump", path, "input")


def test_words_near_to_those_of_the_standard_input(model: Path, say: Any, capfd: Any) -> None:
    theirs = fasttext.load_model(str(model))
    say("word1 unheard-of\n\n你好7".encode())
    found = command(capfd, "fasttext", "nn", model, 3)
    expected = "Query word? "
    for word in ("word1", "unheard-of", "你好7"):
        pairs = theirs.get_nearest_neighbors(word, k=3)
        expected += "".join(f"{name} {value:.6g}\n" for value, name in pairs) + "Query word? "
    assert _rounded(found) == _rounded(expected)
    assert "K is 0" in complaint(capfd, "fasttext", "nn", model, 0)


def test_words_that_are_to_a_third_as_two_are(model: Path, say: Any, capfd: Any) -> None:
    say(b"word1 word2\nword3 x1 x2 \xff x4 x5")
    found = command(capfd, "fasttext", "analogies", model).split("Query triplet (A - B + C)? ")
    assert found[0] == f"Loading model {model}\n"
    pairs = fasttext.load_model(str(model)).get_analogies("word1", "word2", "word3")
    expected = "".join(f"{name} {value:.6g}\n" for value, name in pairs)
    assert _rounded(found[1]) == _rounded(expected)
    assert [len(part.splitlines()) for part in found[1:]] == [10, 10, 0]


def _rounded(text: str) -> list[str]:
    """Return words, and numbers without the digits that the order of a sum decides."""
    return [f"{float(one):.4f}" if one.startswith("0.") else one for one in text.split()]


def test_what_a_model_holds_is_shown(model: Path, capfd: Any) -> None:
    theirs = fasttext.load_model(str(model))
    arguments = theirs.f.getArgs()
    lines = command(capfd, "fasttext", "dump", model, "args").splitlines()
    shown = dict(line.split(" ") for line in lines)
    assert list(shown) == [
        "dim", "ws", "epoch", "minCount", "neg", "wordNgrams", "loss", "model", "bucket", "minn",
        "maxn", "lrUpdateRate", "t",
    ]  # fmt: skip
    assert (shown.pop("loss"), shown.pop("model")) == ("softmax", "sup")
    assert {name: float(value) for name, value in shown.items()} == {
        name: getattr(arguments, name) for name in shown
    }
    words, counts = theirs.get_words(include_freq=True)
    labels, label_counts = theirs.get_labels(include_freq=True)
    lines = [str(len(words) + len(labels))]
    lines += [f"{word} {count} word" for word, count in zip(words, counts, strict=True)]
    lines += [f"{name} {count} label" for name, count in zip(labels, label_counts, strict=True)]
    assert command(capfd, "fasttext", "dump", model, "dict").splitlines() == lines
    for name, matrix in (
        ("input", theirs.get_input_matrix()),
        ("output", theirs.get_output_matrix()),
    ):
        first, *rows = command(capfd, "fasttext", "dump", model, name).splitlines()
        assert first == f"{len(matrix)} 8"
        assert rows == [" ".join(f"{one:.6g}" for one in row) for row in matrix]
    assert "is not one of" in complaint(capfd, "fasttext", "dump", model, "words")


def test_vectors_are_printed(model: Path, say: Any, capfd: Any) -> None:
    own = textcls.fasttext.load_model(model)
    say("x1\tunheard-of\u00a0word".encode())  # white space of ASCII alone
    lines = command(capfd, "fasttext", "print-word-vectors", model).splitlines()
    for word, line in zip(("x1", "unheard-of\u00a0word"), lines, strict=True):
        assert line == f"{word} " + "".join(f"{one:.5g} " for one in own.get_word_vector(word))
    say(b"word1 x1\n\nx2")
    lines = command(capfd, "fasttext", "print-sentence-vectors", model).splitlines()
    for text, line in zip(("word1 x1", "", "x2"), lines, strict=True):
        assert line == "".join(f"{one:.5g} " for one in own.get_sentence_vector(text))
    lines = command(capfd, "fasttext", "print-ngrams", model, "x1").splitlines()
    names, ids = own.get_subwords("x1")
    for name, number, line in zip(names, ids.tolist(), lines, strict=True):
        vector = own.get_input_vector(number)
        assert line == f"{name} " + "".join(f"{one:.5g} " for one in vector)


def test_ngrams_of_a_pruned_model_are_those_that_it_kept(model: Path, tmp_path: Path) -> None:
    from textcls.fasttext.similar import ngram_vectors
    from textcls.fasttext_models.model import FastTextModel
    from textcls.fasttext_models.quantising import pruned

    whole = FastTextModel(model)
    kept = ngram_vectors(FastTextModel(pruned(whole.file, 800)), b"word17")
    everything = ngram_vectors(whole, b"word17")
    assert 0 < len(kept) < len(everything)
    for name, vector in kept:
        assert any(
            name == other and np.array_equal(vector, expected) for other, expected in everything
        )


def test_measures_of_each_label_end_with_those_of_all(model: Path, capfd: Any) -> None:
    source = model.parent / "train.txt"
    lines = command(capfd, "fasttext", "test-label", model, source, 2).splitlines()
    assert [line.split()[-1] for line in lines[: len(LABELS)]] == fasttext.load_model(
        str(model)
    ).get_labels()
    _, precision, recall = fasttext.load_model(str(model)).test(str(source), 2)
    assert lines[len(LABELS) :] == ["N\t400", f"P@2\t{precision:.3f}", f"R@2\t{recall:.3f}"]
