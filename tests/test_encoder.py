"""Texts to bags: counts, token weights, character n-grams, and what is written and read again."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from textcls import Classifier
from textcls.config import TokenizerConfig
from textcls.corpus.splits import RowLabels
from textcls.data import char_ngrams as char_module
from textcls.data import ngrams as ngrams_module
from textcls.data.char_ngrams import CharNgrams
from textcls.data.encoder import TextEncoder
from textcls.data.stored import load, save
from textcls.data.words import composition_of
from textcls.errors import InputError
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.export import export_numpy
from textcls.model.folder import load_model, save_model
from textcls.model.numpy_predictor import Predictor
from textcls.model.parts import ModelParts

TRAIN = [
    "a film, a good film", "not a good film at all", "dull dull dull", "", "good and not dull",
    "a banana is a banana", "naïve café — naïve", "film film film good", "bad", "bad dull café",
]  # fmt: skip
OTHER = ["a good banana", "goodness, unheard", "dullness dulls", "", "zzz", "film café a a a"]
LABELS = np.array([1, 1, 0, 2, 1, 2, 2, 1, 0, 0])
OWN = RowLabels(LABELS)


def config(**options: Any) -> TokenizerConfig:
    return TokenizerConfig("basic_english", 1, None, None, **options)


def arrow(texts: list[str]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts, pa.string())])


def dense(encoder: TextEncoder, texts: list[str]) -> np.ndarray:
    """Return the sum of the weights of each id in each text."""
    bags = encoder.encode(arrow(texts).chunks)
    table = np.zeros((len(texts), encoder.num_embeddings))
    assert bags.weights is not None
    rows = np.repeat(np.arange(len(texts)), bags.lengths.numpy())
    np.add.at(table, (rows, bags.indices.numpy()), bags.weights.numpy())
    return table


def counted(encoder: TextEncoder, texts: list[str]) -> np.ndarray:
    """Return scikit-learn's counts of the encoder's own features."""
    names = encoder.vocabulary.tokens.to_pylist()
    vectorizer = CountVectorizer(
        vocabulary=names, ngram_range=(1, encoder.config.ngrams), lowercase=False,
        analyzer="word", tokenizer=lambda text: arrow_words(encoder, text), token_pattern=None,
    )  # fmt: skip
    table: np.ndarray = vectorizer.transform(texts).toarray()
    return table


def arrow_words(encoder: TextEncoder, text: str) -> list[str]:
    return encoder.tokenizer(arrow([text])).to_lists()[0]


# --- counts and weights ----------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize("counts", ["count", "log", "binary"])
def test_distinct_features_weigh_by_their_counts(
    counts: Any, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ngrams_module, "PIECE", piece)
    encoder = TextEncoder.fit(arrow(TRAIN), config(ngrams=2, counts=counts, ngram_weight=0.5))
    bags = encoder.encode(arrow(OTHER).chunks)
    for i in range(len(OTHER)):
        ids = bags.slice(i, i + 1).indices.tolist()
        assert ids == sorted(set(ids))
    expected = counted(encoder, OTHER).astype(float)
    if counts == "log":
        expected[expected > 0] = 1 + np.log(expected[expected > 0])
    elif counts == "binary":
        expected = np.minimum(expected, 1)
    expected[:, [" " in name for name in encoder.vocabulary.tokens.to_pylist()]] *= 0.5
    np.testing.assert_allclose(dense(encoder, OTHER), expected, rtol=1e-6)


def test_idf_is_that_of_scikit_learn() -> None:
    encoder = TextEncoder.fit(
        arrow(TRAIN), config(ngrams=2, counts="log", token_weights="idf"), OWN
    )
    transformer = TfidfTransformer(norm=None, smooth_idf=True, sublinear_tf=True)
    transformer.fit(counted(encoder, TRAIN))
    expected = transformer.transform(counted(encoder, OTHER)).toarray()
    np.testing.assert_allclose(dense(encoder, OTHER), expected, rtol=1e-6)


@pytest.mark.parametrize("buckets", [None, 50])
def test_log_count_ratios_are_those_of_the_formula(buckets: int | None) -> None:
    how = config(ngrams=2, counts="binary", buckets=buckets)
    plain = TextEncoder.fit(arrow(TRAIN), how)
    has = dense(plain, TRAIN)[:, 2:] > 0
    encoder = TextEncoder.fit(
        arrow(TRAIN), replace(how, token_weights="log_count_ratio"), RowLabels(LABELS)
    )
    ratios = []
    for label in range(3):
        p = has[label == LABELS].sum(0) + 1
        q = sum(has[other == LABELS].sum(0) + 1 for other in {0, 1, 2} - {label})
        assert isinstance(q, np.ndarray)
        ratios.append(np.log(p / p.sum()) - np.log(q / q.sum()))
        ratios[-1] = np.append([0, 0], ratios[-1])
    expected = np.sqrt((np.stack(ratios) ** 2).mean(0))
    expected[:2] = expected[2:][has.sum(0) == 1].mean()  # as words of a single text weigh
    assert encoder.token_weights is not None
    np.testing.assert_allclose(encoder.token_weights, expected, rtol=1e-5)
    idf = TextEncoder.fit(arrow(TRAIN), replace(how, token_weights="idf")).token_weights
    assert idf is not None
    names: dict[Any, float] = {"idf_log_count_ratio": 1, "idf_sqrt_log_count_ratio": 0.5}
    for name, power in names.items():
        both = TextEncoder.fit(
            arrow(TRAIN), replace(how, token_weights=name), RowLabels(LABELS)
        ).token_weights
        assert both is not None
        np.testing.assert_allclose(both, idf * expected**power, rtol=1e-5)


def test_bm25_is_that_of_the_formula() -> None:
    encoder = TextEncoder.fit(arrow(TRAIN), config(counts="count", token_weights="bm25"))
    counts = counted(encoder, TRAIN)
    lengths = np.array([len(arrow_words(encoder, text)) for text in TRAIN])
    idf = np.log((1 + len(TRAIN)) / (1 + (counts > 0).sum(0))) + 1
    bound = 1.2 * (1 - 0.75 + 0.75 * lengths / lengths.mean())
    expected = idf * counts * 2.2 / (counts + bound[:, None])
    np.testing.assert_allclose(dense(encoder, TRAIN), expected, rtol=1e-5)


# --- character n-grams -----------------------------------------------------------------------


def grams(word: str, low: int, high: int) -> set[str]:
    marked = f"<{word}>"
    if len(word) < 2:
        return set()
    return {marked[i : i + n] for n in range(low, high + 1) for i in range(len(marked) - n + 1)}


WORDS = st.lists(st.text(st.characters(codec="utf-8"), max_size=8), unique=True, max_size=12)


@settings(max_examples=60)
@given(words=WORDS, other=WORDS, low=st.integers(1, 4), more=st.integers(0, 3),
       min_freq=st.integers(1, 4), piece=st.sampled_from([1, 30, 1 << 17]))  # fmt: skip
def test_character_ngrams_are_those_of_plain_python(
    words: list[str], other: list[str], low: int, more: int, min_freq: int, piece: int
) -> None:
    counts = np.arange(1, len(words) + 1)
    expected: Counter[str] = Counter()
    for word, count in zip(words, counts.tolist(), strict=True):
        expected.update(dict.fromkeys(grams(word, low, low + more), count))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(char_module, "PIECE", piece)
        chars, distinct = CharNgrams.fit(
            pa.array(words, pa.string()), counts, (low, low + more), min_freq, None
        )
        assert distinct == len(expected)
        kept = {gram for gram, count in expected.items() if count >= min_freq}
        assert len(chars) == len(kept)
        place: dict[str, int] = {}
        both = words + other
        offsets, found = chars.of_words(pa.array(both, pa.string()))
        patch.setattr(char_module, "FEW", 0)  # by distinct keys, however few there are
        for words_again in [pa.array(both, pa.string()), *([both] if both else [])]:
            again = chars.of_words(words_again)
            assert [part.tolist() for part in again] == [offsets.tolist(), found.tolist()]
    # Each n-gram has the same place in every word that has it, and none other has that place.
    for i, word in enumerate(both):
        own = found[offsets[i] : offsets[i + 1]].tolist()
        wanted = grams(word, low, low + more) & kept
        assert own == sorted(set(own))
        assert len(own) == len(wanted)
        if len(wanted) == 1:
            place.setdefault(wanted.pop(), own[0])
    for i, word in enumerate(both):
        own = set(found[offsets[i] : offsets[i + 1]].tolist())
        for gram, at in place.items():
            assert (at in own) == (gram in grams(word, low, low + more))


def test_hashes_of_character_ngrams_stay() -> None:
    """Saved models depend on them."""
    chars, _ = CharNgrams.fit(pa.array(["añ", "日本"]), np.array([1, 1]), (2, 4), 1, None)
    assert len(chars) == 12
    assert chars.keys[[0, 11]].tolist() == HASHES
    few, _ = CharNgrams.fit(pa.array(["añ", "日本"]), np.array([1, 1]), (2, 4), 1, 5)
    assert few.keys.tolist() == sorted({(int(k) >> 32) * 5 >> 32 for k in chars.keys})


# By plain Python's integers.
HASHES = [1_022_044_914_475_229_815, 17_426_747_648_192_372_251]


def chars_of(encoder: TextEncoder, word: str) -> np.ndarray:
    """Return the rows of a word's character n-grams, as places behind the other features."""
    assert encoder.chars is not None
    return encoder.chars.of_words(pa.array([word]))[1]


@pytest.mark.parametrize("learn", ["idf", "idf_log_count_ratio"])
def test_weights_of_character_ngrams_are_those_of_the_texts_that_have_them(learn: Any) -> None:
    """As if each n-gram of the words of a text were a word of it."""
    how = config(char_ngrams=(2, 4), char_min_freq=1, counts="log")
    plain = TextEncoder.fit(arrow(TRAIN), how)
    texts = []
    for words in plain.tokenizer(arrow(TRAIN)).to_lists():
        places = sorted({int(place) for word in words for place in chars_of(plain, word)})
        texts.append(" ".join(f"g{place:04d}" for place in places))
    as_words = TextEncoder.fit(
        arrow(texts), config(counts="log", token_weights=learn), RowLabels(LABELS)
    )
    assert as_words.token_weights is not None
    names = as_words.vocabulary.tokens.to_pylist()
    expected = dict(zip(names, as_words.token_weights, strict=True))

    weighed = replace(how, char_token_weights=learn, char_weight=0.5)
    encoder = TextEncoder.fit(arrow(TRAIN), weighed, OWN)
    assert encoder.char_weights is not None
    assert len(encoder.char_weights) == len(names) - 2
    np.testing.assert_allclose(
        encoder.char_weights,
        [0.5 * expected[f"g{place:04d}"] for place in range(len(names) - 2)],
        rtol=1e-6,
    )


def test_a_word_that_weighs_nothing_is_its_own_row() -> None:
    how = config(char_ngrams=(2, 3), char_min_freq=1, counts="binary",
                 token_weights="log_count_ratio", char_token_weights="log_count_ratio")  # fmt: skip
    encoder = TextEncoder.fit(arrow(["good film", "good plot"]), how, RowLabels(np.array([0, 1])))
    (good,) = np.flatnonzero(np.array(encoder.vocabulary.tokens.to_pylist()) == "good")
    assert encoder.token_weights is not None
    assert encoder.token_weights[good] == 0
    composition = composition_of(encoder)
    assert composition is not None
    parts = composition.bags.slice(int(good), int(good) + 1)
    assert parts.weights is not None
    assert parts.indices[parts.weights > 0].tolist() == [good]
    assert parts.weights.sum() == 1


@pytest.mark.parametrize("counts", [None, "log"])
@pytest.mark.parametrize("buckets", [None, 40])
def test_a_bag_of_words_is_a_bag_of_their_character_ngrams(
    counts: Any, buckets: int | None
) -> None:
    how = config(
        ngrams=2, char_ngrams=(2, 4), counts=counts, char_buckets=buckets, char_weight=0.7,
        token_weights=counts and "idf", ngram_weight=1 if counts is None else 0.7,
        char_token_weights="idf",
    )  # fmt: skip
    encoder = TextEncoder.fit(arrow(TRAIN), how, OWN)
    without = TextEncoder.fit(arrow(TRAIN), replace(how, char_ngrams=None, char_buckets=None))
    assert encoder.chars is not None
    assert encoder.char_weights is not None
    assert without.num_features == encoder.num_features
    rows = encoder.num_features + len(encoder.chars)
    assert encoder.num_embeddings == rows
    # The features of the words and word n-grams, and those of the n-grams of each word.
    texts = [*TRAIN, *OTHER, "good goodness dull goodness"]
    expected = np.zeros((len(texts), rows))
    if counts:
        expected[:, : without.num_features] = dense(without, texts)
    for text, words in enumerate(encoder.tokenizer(arrow(texts)).to_lists()):
        for word, count in Counter(words).items():
            amount = count if counts is None else 1 + np.log(count)
            chars = chars_of(encoder, word)
            expected[text, chars + encoder.num_features] += amount * encoder.char_weights[chars]
    if not counts:
        bags = without.encode(arrow(texts).chunks)
        text_of = np.repeat(np.arange(len(texts)), bags.lengths.numpy())
        np.add.at(expected, (text_of, bags.indices.numpy()), 1)
    # The row of an unknown word is learned by none of these.
    found, composition = dense(encoder, texts), composition_of(encoder)
    assert composition is not None
    assert composition.bags.weights is not None
    matrix = np.zeros((rows, rows))
    own = np.repeat(np.arange(rows), composition.bags.lengths.numpy())
    matrix[own, composition.bags.indices.numpy()] = composition.bags.weights.numpy()
    np.testing.assert_allclose((matrix**2).sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose((found @ matrix)[:, 1:], expected[:, 1:], rtol=1e-4, atol=1e-6)
    # A text alone, and among others with other unknown words, is the same bag.
    among = encoder.encode([pa.array(["zoodness film zoodness", texts[-1], "film goodne"])])
    assert among.slice(1, 2) == encoder.encode([pa.array(texts[-1:])])


def test_a_word_without_a_character_ngram_is_unknown_or_left_out() -> None:
    for counts, expected in ((None, [0]), ("log", [])):
        how = config(char_ngrams=(2, 4), counts=counts)
        encoder = TextEncoder.fit(arrow(TRAIN), how)
        assert encoder.encode([pa.array(["ж"])]).indices.tolist() == expected


# --- kept ------------------------------------------------------------------------------------

EVERYTHING = config(
    ngrams=2, buckets=30, counts="log", token_weights="bm25", char_ngrams=(2, 3), ngram_weight=0.5,
    char_token_weights="idf_log_count_ratio",
)  # fmt: skip


def test_an_encoder_comes_back_as_it_was(tmp_path: Path) -> None:
    for how in (config(), config(ngrams=2, counts="count"), EVERYTHING):
        encoder = TextEncoder.fit(arrow(TRAIN), how, OWN)
        save(encoder, tmp_path)
        again = load(tmp_path, how)
        assert again.num_embeddings == encoder.num_embeddings
        assert again.encode(arrow(OTHER).chunks) == encoder.encode(arrow(OTHER).chunks)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"token_weights": "idf"}, "set tokenizer.counts=log"),
        ({"ngram_weight": 0.5}, "set tokenizer.counts=log"),
        ({"char_buckets": 9}, "tokenizer.char_buckets is for character n-grams"),
        ({"char_ngrams": (5, 2)}, "is the shortest and the longest"),
    ],
)
def test_options_that_say_nothing_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**options)


def test_model_folders_keep_the_encoder_and_older_ones_stay_readable(tmp_path: Path) -> None:
    for i, how in enumerate((EVERYTHING, config(ngrams=2))):
        encoder = TextEncoder.fit(arrow(TRAIN), how, OWN)
        model = EmbeddingBagClassifier(encoder.num_embeddings, 4, 3, "sum")
        folder = tmp_path / str(i)
        save_model(ModelParts(model.eval(), encoder, ("a", "b", "c")), folder)
        if how is not EVERYTHING:  # as the format before had it
            path = folder / "config.json"
            written = json.loads(path.read_text())
            written["format"] = 2
            for key in [*written["tokenizer"]]:
                if key.startswith(("char", "counts", "token_w", "ngram_")):
                    del written["tokenizer"][key]
            path.write_text(json.dumps(written))
        again = load_model(folder).encoder
        assert again.encode(arrow(OTHER).chunks) == encoder.encode(arrow(OTHER).chunks)
    assert encoder.token_weights is None
    path = tmp_path / "0" / "model.safetensors"
    tensors = load_file(path)
    for name, wrong in (
        ("encoder.char_keys", tensors["encoder.char_keys"].flip(0)),
        ("encoder.token_weights", -tensors["encoder.token_weights"]),
        ("encoder.char_weights", -tensors["encoder.char_weights"]),
        ("encoder.mean_length", tensors["encoder.mean_length"] * float("nan")),
    ):
        save_file(tensors | {name: wrong}, path)
        with pytest.raises(InputError, match=name):
            load_model(tmp_path / "0")


def test_a_model_of_format_3_has_unknown_words_as_before(tmp_path: Path) -> None:
    """Their character n-grams share the weight of a word, as trained models of it expect."""
    how = config(char_ngrams=(2, 3), counts="log", token_weights="idf", char_weight=0.7)
    encoder = TextEncoder.fit(arrow(TRAIN), how, OWN)
    model = EmbeddingBagClassifier(encoder.num_embeddings, 4, 3, "sum").eval()
    folder = tmp_path / "model"
    save_model(ModelParts(model, encoder, ("a", "b", "c")), folder)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["encoder.char_weights"]
    save_file(tensors, path)
    path = folder / "config.json"
    written = json.loads(path.read_text()) | {"format": 3}
    del written["tokenizer"]["char_token_weights"]
    path.write_text(json.dumps(written))

    old = load_model(folder)
    assert old.encoder.token_weights is not None
    bags = old.encoder.encode([pa.array(["goodness goodness"])])
    assert bags.weights is not None
    count = len(chars_of(encoder, "goodness"))
    share = (1 + np.log(2)) * old.encoder.token_weights[0] * 0.7 / np.sqrt(count)
    np.testing.assert_allclose(bags.weights, [share] * count, rtol=1e-6)
    export_numpy(old, tmp_path / "numpy")
    texts = ["goodness goodness", "a dullish film"]
    expected = Classifier(old).predict_proba(texts)
    found = Predictor(tmp_path / "numpy").predict_proba(texts)
    np.testing.assert_allclose(found, expected, atol=1e-6)
