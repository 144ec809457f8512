from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torchtext.data.utils import ngrams_iterator
from torchtext.vocab import Vocab

from tests.conftest import Run, make_config, one_line, python_calls, write_csv
from textcls import Classifier
from textcls.app.options import choices
from textcls.config import TokenizerConfig
from textcls.data import ngram_tree
from textcls.data import ngrams as ngrams_module
from textcls.data.ngrams import NgramIds, build_vocabulary, describe_load
from textcls.data.prepare import prepare
from textcls.data.tokenizer import Tokenizer
from textcls.data.tokens import Tokens, join_blocks
from textcls.data.vocabulary import PADDING, UNKNOWN, Vocabulary
from textcls.errors import InputError
from textcls.model.embedding_bag import logits_of

Texts = list[list[str]]
# Few words, so that n-grams repeat; empty texts and ones shorter than n among them.
TEXTS = st.lists(
    st.lists(st.sampled_from(["a", "b", "c", "Ä", UNKNOWN, PADDING]), max_size=9),
    min_size=1,
    max_size=7,
)


def config(**changes: Any) -> TokenizerConfig:
    values: dict[str, Any] = {"name": "basic_english", "min_freq": 1}
    values |= {"max_size": None, "max_tokens": None}
    return TokenizerConfig(**values | changes)


def tokens_of(texts: Texts) -> Tokens:
    flat = pa.array([word for text in texts for word in text], pa.string())
    return join_blocks([(flat.dictionary_encode(), np.array([*map(len, texts)], np.int64))])


def bags_of(found: tuple[Any, Any]) -> list[list[int]]:
    indices, offsets = found
    assert (indices.dtype, offsets.dtype) == (np.int32, np.int64)
    assert offsets[-1] == len(indices)
    return [indices[a:b].tolist() for a, b in pairwise(offsets)]


def grams(text: list[str], n: int) -> list[str]:
    return list(ngrams_iterator(text, n))


# --- exact -----------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [3, 1 << 20])
@given(
    train=TEXTS,
    other=TEXTS,
    n=st.integers(2, 5),
    min_freq=st.integers(1, 3),
    max_size=st.one_of(st.none(), st.integers(1, 9)),
)
def test_exact_ngrams_are_torchtexts(
    piece: int, train: Texts, other: Texts, n: int, min_freq: int, max_size: int | None
) -> None:
    train = [*train, ["z"] * min_freq]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngrams_module, "PIECE", piece)
        patch.setattr(ngram_tree, "PIECE", piece)
        patch.setattr(ngram_tree, "SORTED_KEYS", piece)
        options = config(ngrams=n, min_freq=min_freq, max_size=max_size)
        vocabulary, _ = build_vocabulary(tokens_of(train), options)
        counter = Counter(gram for text in train for gram in grams(text, n))
        oracle = Vocab(counter, max_size, min_freq, specials=[UNKNOWN, PADDING])
        assert vocabulary.tokens.to_pylist() == oracle.itos
        assert vocabulary.counts[2:].tolist() == [counter[gram] for gram in oracle.itos[2:]]
        known = set(oracle.itos)
        lost = [word for text in train for word in text if word not in known or word[0] == "<"]
        assert vocabulary.counts[0] == len(lost)

        encode = NgramIds(vocabulary, options)
        # One that was read knows the n-grams by their names alone.
        from_names = NgramIds(Vocabulary(vocabulary.tokens, vocabulary.counts), options)
        oracle.stoi[PADDING] = 0  # bags have no padding: the word is as unknown as any other
        for texts in (train, other):
            bags = bags_of(encode(tokens_of(texts)))
            assert bags_of(from_names(tokens_of(texts))) == bags
            assert [Counter(bag) for bag in bags] == [
                Counter(
                    oracle.stoi[gram]
                    for gram in grams(text, n)
                    # Words are known or <unk>; n-grams are known or left out.
                    if " " not in gram or gram in known
                )
                for text in texts
            ]


def test_each_word_is_followed_by_the_ngrams_that_begin_with_it() -> None:
    tokens = tokens_of([["a", "b", "c"], [], ["c"], ["c", "a"]])
    vocabulary, notes = build_vocabulary(tokens, config(ngrams=3))
    names = vocabulary.tokens.to_pylist()
    bags = bags_of(NgramIds(vocabulary, config(ngrams=3))(tokens))
    assert [[names[i] for i in bag] for bag in bags] == [
        ["a", "a b", "a b c", "b", "b c", "c"],
        [],
        ["c"],
        ["c", "c a", "a"],
    ]
    assert notes == [
        "n-grams: 4 kept of 4 distinct in train (past 2 words: where their beginning is kept)"
    ]


def test_new_ngrams_are_left_out_and_new_words_are_not() -> None:
    options = config(ngrams=2, min_freq=2)
    vocabulary, notes = build_vocabulary(tokens_of([["a", "b"], ["a", "b"], ["b", "a"]]), options)
    assert vocabulary.tokens.to_pylist() == [UNKNOWN, PADDING, "a", "b", "a b"]
    assert notes == ["n-grams: 1 kept of 2 distinct in train"]
    found = NgramIds(vocabulary, options)(tokens_of([["a", "new", "b"], ["b", "a", "b"]]))
    assert bags_of(found) == [[2, 0, 3], [3, 2, 4, 3]]


def test_words_that_hold_a_space_leave_the_vocabulary_sound() -> None:
    texts = [["a b", "a", "b"], ["a", "b c"], ["a b", "c"], ["x y"], ["x", "y"]]
    options = config(ngrams=3)
    vocabulary, _ = build_vocabulary(tokens_of(texts), options)  # raises where one stands twice
    names = vocabulary.tokens.to_pylist()
    assert sorted(names[2:]) == ["a", "a b", "b", "b c", "c", "x", "x y", "y"]
    bags = bags_of(NgramIds(vocabulary, options)(tokens_of(texts)))
    assert [[names[i] for i in bag] for bag in bags] == [
        ["a b", "a", "a b", "b"],
        ["a", "b c"],
        ["a b", "c"],
        ["x y"],
        ["x", "x y", "y"],
    ]
    assert vocabulary.counts[0] == 0


# --- hashed ----------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [3, 1 << 20])
@given(train=TEXTS, other=TEXTS, n=st.integers(2, 5), buckets=st.integers(1, 50))
def test_hashed_ngrams_stand_where_torchtexts_do(
    piece: int, train: Texts, other: Texts, n: int, buckets: int
) -> None:
    options = config(ngrams=n, buckets=buckets)
    vocabulary, _ = build_vocabulary(tokens_of(train), options)
    assert vocabulary.tokens.equals(Vocabulary.build(tokens_of(train)).tokens)
    first = len(vocabulary)
    encode = NgramIds(vocabulary, options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngrams_module, "PIECE", piece)
        bags = bags_of(encode(tokens_of(other)))
    words = vocabulary.encode(tokens_of(other)).tolist()
    assert [i for bag in bags for i in bag if i < first] == words
    rows: dict[str, int] = {}
    for text, bag in zip(other, bags, strict=True):
        assert all(0 <= i < first + buckets for i in bag)
        assert len(bag) == len(grams(text, n))
        # One and the same n-gram has one and the same row, in whatever text: taken one at a time,
        # from a text of its own, each gives what it gives here.
        hashed = Counter(i for i in bag if i >= first)
        for gram in grams(text, n)[len(text) :]:
            if gram not in rows:
                length = gram.count(" ") + 1
                alone = NgramIds(vocabulary, config(ngrams=length, buckets=buckets))
                rows[gram] = bags_of(alone(tokens_of([gram.split(" ")])))[0][length - 1]
            hashed[rows[gram]] -= 1
        assert not any(hashed.values())


def plain_row(words: list[str], buckets: int) -> int:
    import xxhash

    value = 0
    for word in words:
        value = (value * 0x9E3779B97F4A7C15 + xxhash.xxh3_64_intdigest(word.encode())) % 2**64
    return (value >> 32) * buckets >> 32


def test_rows_of_hashed_ngrams_never_change() -> None:
    """Saved models depend on them."""
    vocabulary = Vocabulary([UNKNOWN, PADDING, "not"], [0, 0, 1])
    encode = NgramIds(vocabulary, config(ngrams=3, buckets=1_000_000))
    found = bags_of(encode(tokens_of([["not", "très", "bon"], ["très", "bon"]])))
    assert found == [[2, 437_362, 633_600, 0, 995_686, 0], [0, 995_686, 0]]
    assert found[1][1] == 3 + plain_row(["très", "bon"], 1_000_000)
    assert found[0][2] == 3 + plain_row(["not", "très", "bon"], 1_000_000)


@pytest.mark.parametrize("buckets", [1 << 10, 1_000])
def test_buckets_fill_evenly(buckets: int) -> None:
    words = [f"w{i}" for i in range(300)]
    pairs = [[a, b] for a in words for b in words]
    options = config(ngrams=2, buckets=buckets)
    vocabulary, _ = build_vocabulary(tokens_of(pairs), options)
    indices, _ = NgramIds(vocabulary, options)(tokens_of(pairs))
    fill = np.bincount(indices[indices >= len(vocabulary)] - len(vocabulary), minlength=buckets)
    expected = len(pairs) / buckets
    # Chi-squared, whose mean is the degrees of freedom, with a deviation of their double's root.
    chi = ((fill - expected) ** 2).sum() / expected
    assert abs(chi - (buckets - 1)) < 6 * np.sqrt(2 * buckets)


def test_the_load_is_told_and_what_to_do() -> None:
    texts = [["a", "b", "c"], ["a", "b"], [], ["d", "e"]]
    assert describe_load(tokens_of(texts), 2, 1 << 30) == (
        "n-grams: 3 distinct in train, in 1,073,741,824 buckets (0.00 each); "
        "0.0% share their bucket"
    )
    assert describe_load(tokens_of(texts), 3, 1) == (
        "n-grams: 4 distinct in train, in 1 buckets (4.00 each); 100.0% share their bucket"
        ": raise tokenizer.buckets or lower tokenizer.ngrams"
    )


def test_the_load_of_many_ngrams_is_measured_on_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [f"w{i}" for i in range(200)]
    tokens = tokens_of([[a, b] for a in words for b in words] * 2)
    monkeypatch.setattr(ngrams_module, "WATCHED_NGRAMS", 20_000)
    told = describe_load(tokens, 2, 40_000)
    about, share = told.split("about ")[1].split()[0], told.split("; ")[1].split("%")[0]
    assert int(about.replace(",", "")) == pytest.approx(40_000, rel=0.03)
    assert float(share) == pytest.approx(100 * (1 - np.exp(-1)), abs=2)


# --- in place --------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"ngrams": 2, "min_freq": 2}, {"ngrams": 3, "buckets": 64}])
def test_ngrams_come_after_the_cut(options: dict[str, Any], tmp_path: Path) -> None:
    short, long = config(max_tokens=2, **options), config(**options)
    texts = pa.chunked_array([pa.array(["Never again!", "never again ; not ever", None])])
    cut = Tokenizer(short)(texts)
    vocabulary, _ = build_vocabulary(cut, short)
    by_hand = Tokenizer(long)(pa.chunked_array([pa.array(["never again", "never again", ""])]))
    assert bags_of(NgramIds(vocabulary, short)(cut)) == bags_of(NgramIds(vocabulary, long)(by_hand))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("tokenizer.buckets=99",), "tokenizer.buckets is for n-grams: set tokenizer.ngrams=2"),
        (("tokenizer.ngrams=0",), "tokenizer.ngrams=0: input should be greater than or equal to 1"),
        (("tokenizer.ngrams=6",), "tokenizer.ngrams=6: input should be less than or equal to 5"),
        (("tokenizer.ngrams=2", "tokenizer.buckets=0"), "tokenizer.buckets=0"),
        (("tokenizer.ngrams=2", "tokenizer.buckets=2000000000"), "tokenizer.buckets=2000000000"),
    ],
)
def test_bad_options_are_refused(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make_config(*overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", choices("tokenizer"))
def test_every_tokenizer_takes_ngrams(name: str) -> None:
    file = ["tokenizer.file=x.json"] if name == "file" else []
    found = make_config(f"tokenizer={name}", *file).tokenizer
    assert (found.ngrams, found.num_buckets) == (1, 0)


@pytest.mark.parametrize(
    "options",
    [("tokenizer.buckets=4096",), ("tokenizer.min_freq=2",)],
    ids=["hashed", "exact"],
)
def test_a_run_with_ngrams_is_served_as_it_was_tested(
    options: tuple[str, ...], tmp_path: Path, run_train: Run, cache_dir: Path
) -> None:
    data = ("experiment=plain", "data=reviews", "tokenizer.ngrams=2", *options)
    result = run_train(*data, "trainer.epochs=2", "run_dir=run", "model.dim=4")
    assert result.returncode == 0, result.stderr
    log = (tmp_path / "run" / "train.log").read_text()
    assert "share their bucket" in log if "buckets" in options[0] else "kept of" in log
    found = make_config(*data)
    prepared = prepare(found.data, found.tokenizer, cache_dir)
    assert prepared.from_cache
    classifier = Classifier.load(tmp_path / "run")
    model = classifier.parts.model
    assert model.embedding.num_embeddings == prepared.encoder.num_embeddings
    in_run = logits_of(model, prepared.test).softmax(1).numpy()
    from textcls.corpus.corpus import Source

    texts = Source(found.data).read().test.texts.to_pylist()
    np.testing.assert_array_equal(classifier.predict_proba(texts), in_run)
    accuracy = (in_run.argmax(1) == prepared.test.targets.ids.numpy()).mean()
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["test"]["accuracy"] == pytest.approx(accuracy)


def test_buckets_without_ngrams_end_in_one_line(run_train: Run, tmp_path: Path) -> None:
    train = write_csv(tmp_path / "train.csv", 40)
    result = run_train(
        "data=local", f"data.train={train}", "tokenizer.ngrams=1", "tokenizer.buckets=4096"
    )
    assert result.returncode == 2
    assert "set tokenizer.ngrams=2 or more" in one_line(result)


@pytest.mark.parametrize(
    "options", [{}, {"ngrams": 2}, {"ngrams": 3, "buckets": 100}], ids=["words", "exact", "hashed"]
)
def test_python_does_not_walk_the_texts(options: dict[str, Any]) -> None:
    """From text to bags, a block of 2,700 texts takes the Python calls of one of 900.

    (The tokens of fewer are looked up one by one.)
    """
    settings = config(**options)
    tokenizer = Tokenizer(settings)

    def calls(repeats: int) -> int:
        texts = pa.chunked_array(
            [pa.array(["A good, good film!", "", "ÄRGER<br />um nichts"] * repeats)]
        )

        def work() -> None:
            tokens = tokenizer(texts)
            vocabulary, _ = build_vocabulary(tokens, settings)
            NgramIds(vocabulary, settings)(tokens)

        work()  # what is imported at first use
        return python_calls(work)

    assert 50 < calls(300) == calls(900)
