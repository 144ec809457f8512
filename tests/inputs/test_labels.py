"""Labels: what looks alike is one class, and every class that can be in a cut split is in it."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.inputs.cases import (
    Case,
    check,
    check_notes,
    data_config,
    jsonl_text,
    plain_text,
    read,
    reads,
    refusal,
    refused,
    rows_of,
)
from textcls.corpus.corpus import Corpus, Source
from textcls.corpus.splits import stratified_cut

NFC, NFD = unicodedata.normalize("NFC", "Größe"), unicodedata.normalize("NFD", "Größe")

ALIKE = [
    *(
        reads(f"{what} at the end", f"text,label\na,x\nb,x{blank}\nc,y\nd,{blank}y\n",
              [("a", "x"), ("b", "x"), ("c", "y"), ("d", "y")], note=r"\b2\b.*(label|blank|space)")
        for what, blank in [("blank", " "), ("no-break space", "\u00a0"), ("tab", "\t"),
                            ("narrow space", "\u202f"), ("ideographic space", "\u3000")]
    ),
    reads("composed and decomposed (macOS)", f"text,label\na,{NFC}\nb,{NFD}\nc,y\nd,{NFD}\n",
          [("a", NFC), ("b", NFC), ("c", "y"), ("d", NFC)], note=r"\b2\b.*(NFC|normali)"),
    reads("decomposed throughout", f"text,label\na,{NFD}\nb,y\n", [("a", NFC), ("b", "y")],
          note=r"\b1\b.*(NFC|normali)"),
    reads("composed throughout says nothing", f"text,label\na,{NFC}\nb,y\n",
          [("a", NFC), ("b", "y")]),
    reads("a file whose lines end in a blank", "text,label\na,x \nb,y \nc,x \n",
          [("a", "x"), ("b", "y"), ("c", "x")], note=r"\b3\b"),
    reads("jsonl", jsonl_text([("a", "x"), ("b", "x\u00a0"), ("c", NFD), ("d", NFC)]),
          [("a", "x"), ("b", "x"), ("c", NFC), ("d", NFC)], "train.jsonl", note=r"label"),
    reads("letters that differ stay apart", "text,label\na,Pos\nb,pos\nc,POS\n",
          [("a", "Pos"), ("b", "pos"), ("c", "POS")]),
    reads("blanks inside", "text,label\na,very good\nb,very  good\nc,y\n",
          [("a", "very good"), ("b", "very good"), ("c", "y")], note=r"\b1\b.*label"),
    reads("letters of no width", "text,label\na,\ufeffx\nb,x\u200b\nc,y\nd,x\n",
          [("a", "x"), ("b", "x"), ("c", "y"), ("d", "x")], note=r"\b2\b.*label"),
    reads("texts stay as they are", f"text,label\n{NFD} ,x\n\u00a0b,y\n",
          [(f"{NFD} ", "x"), ("\u00a0b", "y")]),
    refused("a no-break space alone",
            "text,label\na,x\nb,\u00a0\nc,y\n", r"(line|row) [23]\b.*label"),
    refused("one class", "text,label\na,x\nb,x\n", r"every row has the label 'x'"),
    refused("one class but for blanks", "text,label\na,x\nb,x \n", r"every row has the label 'x'"),
    refused("a class a text", "text,label\n" + "".join(f"t{i},y{i}\n" for i in range(3_000)),
            r"label|class", label="nothing"),
]  # fmt: skip


@pytest.mark.parametrize("case", ALIKE)
def test_labels_that_look_alike(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


def test_test_labels_are_normalised_as_those_of_train(tmp_path: Path) -> None:
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text(f"text,label\na,{NFC}\nb,y\n", encoding="utf-8")
    test.write_text(f"text,label\na,{NFD}\nb, y\n", encoding="utf-8")
    corpus = read(train, {}, validation=str(train), test=str(test))
    assert rows_of(corpus, "test") == [("a", NFC), ("b", "y")]
    assert any("test.csv" in note for note in corpus.notes)


def test_a_label_that_train_never_has_names_file_and_row(tmp_path: Path) -> None:
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text("text,label\na,x\nb,y\n")
    test.write_text('text,label\n"a\nb",x\n\nc,z\n')
    message = refusal(train, {}, "test.csv", validation=str(train), test=str(test))
    assert "test.csv" in message
    assert "'z'" in message
    assert "line 5" in message or "row 2" in message


@pytest.mark.parametrize("labels", ["0,1", "1,2", "0.0,1.0", "-1,1", "True,False", "10,9"])
def test_numbers_keep_their_order_and_their_form(labels: str, tmp_path: Path) -> None:
    one, two = labels.split(",")
    path = tmp_path / "train.csv"
    path.write_text(plain_text([("a", two), ("b", one), ("c", two)]))
    names = read(path, {}).label_names
    assert set(names) == {one, two}
    if "a" not in labels:
        assert [float(name) for name in names] == sorted(float(name) for name in names)


# --- the cut -----------------------------------------------------------------------------------


def cut(path: Path, counts: list[int], **options: float) -> Corpus:
    """Write a file of so many rows a class, and let it be cut."""
    labels = np.repeat(np.arange(len(counts)), counts)
    np.random.default_rng(0).shuffle(labels)
    path.write_text(plain_text([(f"text {i}", f"c{y}") for i, y in enumerate(labels)]))
    corpus = Source(data_config(train=str(path), **options)).read()
    check_notes(corpus.notes, None)
    texts = [text for split in corpus.splits.values() for text in split.texts.to_pylist()]
    assert len(texts) == len(set(texts)) == sum(counts)
    return corpus


def classes(corpus: Corpus, split: str) -> set[str]:
    return {corpus.label_names[i] for i in corpus.splits[split].labels.ids}


@pytest.mark.parametrize(
    "counts",
    [[100, *[4] * 50], [4] * 50, [5] * 3_000, [1000, 2, 2, 3], [10_000, 3, 1, 1, 2]],
)
def test_every_class_that_can_be_is_in_test(counts: list[int], tmp_path: Path) -> None:
    corpus = cut(tmp_path / "train.csv", counts)
    assert classes(corpus, "test") == {f"c{i}" for i, n in enumerate(counts) if n > 1}
    assert classes(corpus, "train") == {f"c{i}" for i, n in enumerate(counts)}
    assert len(corpus.validation)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_classes_of_one_row_stay_in_train(fraction: float, tmp_path: Path) -> None:
    corpus = cut(tmp_path / "train.csv", [50, 50, 1, 1, 2], test_fraction=fraction)
    assert classes(corpus, "train") >= {"c0", "c1", "c2", "c3"}
    assert not classes(corpus, "test") & {"c2", "c3"}


def test_two_rows_are_too_few(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("text,label\na,x\nb,y\n")
    with pytest.raises(Exception, match=r"2 rows.*(data\.test|data\.validation)"):
        Source(data_config(train=str(path))).read()


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=12), st.floats(0.01, 0.99), st.integers(0, 9)
)
def test_a_cut_takes_of_every_class_and_leaves_of_every_class(
    counts: list[int], fraction: float, seed: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    held = stratified_cut(labels, fraction, np.random.default_rng(seed))
    taken = np.bincount(labels[held], minlength=len(counts))
    assert held.dtype == np.bool_
    assert held.shape == labels.shape
    for count, number in zip(counts, taken, strict=True):
        assert number == 0 if count == 1 else 0 < number < count
        if count > 2:
            assert abs(number - count * fraction) <= 1
