"""Ways of textcls.fasttext for few and for many texts, which have to come to the same."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_fasttext import LINES, fasttext, texts, train
from textcls.fasttext_models import encoding, known, losses, matrices, model
from textcls.fasttext_models.encoding import split
from textcls.fasttext_models.hashing import Words, char_ngram_hashes, char_ngrams_of
from textcls.fasttext_models.model import FastTextModel

PARTS = [b" ", b"\n", b"\0", b"\t", b"\x0b", b"\x1c", b"a", b"bc", b"</s>", b" </s> ", b"\xc3\xa9",
         b"\xff", b"__label__"]  # fmt: skip
LONG = "word1 great2 never-seen x3 " * 510
ALL = [*LINES[:-1], *texts(40, 5), LONG, "a", LONG + "end"]


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=["softmax, characters", "hs, pruned"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("paths"), request.param)


def predicted(path: Path, k: int = 3) -> list[tuple[list[int], list[float]]]:
    found = FastTextModel(path).predict([text.encode() for text in ALL], k, 0.0)
    return [(numbers, values.tolist()) for numbers, values in found]


def close(found: Any, expected: Any) -> None:
    for (numbers, values), (other, others) in zip(found, expected, strict=True):
        assert numbers == other
        assert values == pytest.approx(others, abs=1e-5)


def test_the_number_of_threads_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, threads: None
) -> None:
    monkeypatch.setattr(model, "BLOCK_TEXTS", 7)
    found = []
    for number in (1, 2, 5):
        torch.set_num_threads(number)
        found.append(predicted(path))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (encoding, "_FEW_BYTES", 0),  # words of few texts by Arrow
        (encoding, "_FEW_NGRAMS", -1),  # rows of few words by NumPy
        (encoding, "_MANY_BUCKETS", 0),  # pruned buckets without a table
        (known, "_KEPT_NUMBERS", 60),  # words that are forgotten soon
        (losses, "_FEW_LABELS", 0),  # a tree by its levels
        (matrices, "_FEW_NUMBERS", 0),  # quantised rows that are not kept …
        (model, "_AT_ONCE", 9),  # few probabilities at a time
        (model, "_LONG", 10),  # rows in fastText's order
    ],
)
def test_other_ways_come_to_the_same(
    path: Path, module: Any, name: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = predicted(path)
    monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(matrices, "_AT_ONCE", 999)  # … and are restored few at a time
    monkeypatch.setattr(model, "BLOCK_TEXTS", 7)
    close(predicted(path), expected)


def test_a_text_by_itself_is_that_of_a_list(path: Path) -> None:
    ours = importlib.import_module("textcls.fasttext").load_model(path)
    for k, threshold in ((1, 0.0), (-1, 0.0), (3, 0.2)):
        names, values = ours.predict(ALL, k, threshold)
        for text, *expected in zip(ALL, names, values, strict=True):
            found = ours.predict(text, k, threshold)
            assert list(found[0]) == expected[0]
            np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


def test_texts_of_many_words_are_fasttexts(path: Path) -> None:
    ours = importlib.import_module("textcls.fasttext").load_model(path)
    names, values = fasttext.load_model(str(path)).predict(ALL, k=2)
    own_names, own_values = ours.predict(ALL, k=2)
    assert own_names == names
    for found, expected in zip(own_values, values, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@settings(max_examples=50)
@given(
    st.lists(st.lists(st.sampled_from(PARTS), max_size=9).map(b"".join), max_size=6),
    st.booleans(),
)
def test_words_are_what_white_space_parts(lines: list[bytes], are_many: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "_FEW_BYTES", 0 if are_many else 10**6)
        found = split(lines)
    assert len(set(found.words)) == len(found.words)
    assert len(found.offsets) == len(lines) + 1
    for line, (start, stop) in zip(lines, pairwise(found.offsets.tolist()), strict=True):
        words = [word for word in re.split(rb"[ \n\r\t\v\f\0]+", line) if word] + [b"</s>"]
        expected = words[: words.index(b"</s>") + 1]
        assert [found.words[code] for code in found.codes[start:stop].tolist()] == expected


@settings(max_examples=50)
@given(st.lists(st.lists(st.sampled_from(PARTS[6:]), max_size=6).map(b"".join), min_size=1))
def test_character_ngrams_of_one_word_are_those_of_many(words: list[bytes]) -> None:
    for shortest, longest in ((1, 3), (2, 4), (0, 2), (3, 2)):
        hashes, offsets = char_ngrams_of(Words.of(words), shortest, longest)
        for word, (start, stop) in zip(words, pairwise(offsets.tolist()), strict=True):
            expected = char_ngram_hashes(word, shortest, longest)
            assert hashes[start:stop].tolist() == expected


def test_few_words_have_the_rows_of_many(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dictionary = FastTextModel(path).dictionary
    words = ["word1", "unheard-of", "</s>", "__label__good", "__label__new", "你好7", "x", "é"]
    encoded = [word.encode() for word in words]
    monkeypatch.setattr(encoding, "_FEW_NGRAMS", 10**6)
    few = dictionary.rows_of(encoded)
    monkeypatch.setattr(encoding, "_FEW_NGRAMS", -1)
    found: Any
    expected: Any
    for found, expected in zip(few, dictionary.rows_of(encoded), strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
