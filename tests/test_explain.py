from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.conftest import MODES, seed_cpu
from tests.test_tokens import config, tokenize
from textcls import Classifier
from textcls.data.encoder import TextEncoder
from textcls.data.tokenizer import Tokenizer
from textcls.data.vocabulary import Vocabulary
from textcls.errors import InputError
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.parts import ModelParts
from textcls.model.pooling import WEIGHT_SCALE
from textcls.report.contributions import contributions_of
from textcls.report.explain import bag_of, explain, lead
from textcls.values import Mode

TRAIN = [
    "A good film, not dull at all!",
    "not good, not bad: a dull film.",
    "<pad> stands for padding <br /> even here",
]


def make_classifier(
    mode: Mode = "mean",
    labels: Sequence[str] = ("neg", "pos", "<b>ç 🎄"),
    dim: int = 4,
    train: Sequence[str] = TRAIN,
    **tokenizer: object,
) -> Classifier:
    """Make a classifier of random weights that knows the words of ``train``."""
    seed_cpu(5)
    texts = pa.chunked_array([pa.array(train, pa.large_string())])
    how = config(str(tokenizer.pop("name", "basic_english")), **tokenizer)
    split = Tokenizer(how, texts)
    encoder = TextEncoder.learn(split, split(texts))
    rows = encoder.num_embeddings
    model = EmbeddingBagClassifier(rows, dim, len(labels), mode, Vocabulary.padding_id)
    with torch.no_grad():
        for parameter in model.parameters():
            nn.init.normal_(parameter)
        model.embedding.weight[Vocabulary.padding_id] = 0
    model.eval().requires_grad_(False)
    return Classifier(ModelParts(model, encoder, tuple(labels)))


# --- the numbers -----------------------------------------------------------------------------


def by_loops(
    model: EmbeddingBagClassifier, ids: list[int], weights: list[float]
) -> list[list[float]]:
    """Take the scores apart number by number."""
    learned = model.embedding.weighing
    table, linear = model.embedding.weight.tolist(), model.linear.weight.tolist()
    dim, counted = model.embedding.embedding_dim, [p for p, i in enumerate(ids) if i != 1]
    parts = [[0.0] * len(linear) for _ in ids]
    norms = {
        "mean": sum(weights[p] for p in counted),
        "sqrtn": sum(weights[p] ** 2 for p in counted) ** 0.5,
        "sum": 1.0,
    }
    for number, pooling in enumerate(model.embedding.mode.removeprefix("weighted_").split("+")):
        for k, of_class in enumerate(linear):
            for d in range(dim):
                w = of_class[number * dim + d]
                winner = None
                for place in counted:
                    value = table[ids[place]][d]
                    if pooling == "max":
                        if winner is None or value > table[ids[winner]][d]:
                            winner = place
                        continue
                    scale = weights[place] / (norms[pooling] or 1)
                    if learned is not None:
                        scale *= 1 + WEIGHT_SCALE * float(learned[ids[place], 0])
                    parts[place][k] += scale * w * value
                if winner is not None:
                    parts[winner][k] += w * table[ids[winner]][d]
    return parts


@pytest.mark.parametrize("mode", MODES)
@given(ids=st.lists(st.integers(0, 7), max_size=9), seed=st.integers(0, 3), weighted=st.booleans())
def test_contributions_are_exact_parts_of_the_score(
    mode: Mode, ids: list[int], seed: int, weighted: bool
) -> None:
    seed_cpu(seed)
    weights = torch.randint(0, 5, (len(ids),)) / 4 if weighted else None
    model = EmbeddingBagClassifier(8, 3, 2, mode, padding_id=1).requires_grad_(False)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    model.embedding.weight.round_()  # so that max has equals to choose from
    model.embedding.weight[1] = 99.0  # padding, which would show if it counted
    given_weights = None if weights is None else weights.numpy()
    contributions = contributions_of(model, np.array(ids, np.int32), given_weights)
    assert contributions.shape == (len(ids), 2)
    assert contributions.dtype == np.float64
    expected = by_loops(model, ids, [1.0] * len(ids) if weights is None else weights.tolist())
    np.testing.assert_allclose(
        contributions, np.array(expected).reshape(-1, 2), rtol=1e-12, atol=1e-12
    )
    logits = model(torch.tensor(ids, dtype=torch.int32), torch.tensor([0, len(ids)]), weights)[0]
    np.testing.assert_allclose(
        contributions.sum(0) + model.linear.bias.numpy(), logits, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    "tokenizer",
    [
        {},
        {"ngrams": 3},
        {"ngrams": 2, "min_freq": 2, "max_tokens": 9},
        {"ngrams": 3, "buckets": 50},
        {"name": "bpe", "vocab_size": 60, "ngrams": 2},
        {"name": "wordpiece", "vocab_size": 60},
    ],
)
@pytest.mark.parametrize("mode", ["mean", "sum+max", "weighted_sum"])
def test_an_explanation_is_of_the_models_own_prediction(
    mode: Mode, tokenizer: dict[str, Any]
) -> None:
    classifier = make_classifier(mode, **tokenizer)
    text = 'A GOOD "film", not\ud800 zebra; dull <br /> <pad> not good at all!'
    e = explain(classifier, text)
    np.testing.assert_array_equal(e.probabilities.argmax(), e.index())
    np.testing.assert_allclose(e.probabilities, classifier.predict_proba([text])[0], rtol=1e-5)
    np.testing.assert_allclose(e.contributions.sum(0) + e.bias, e.logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(e.ids, classifier.bags([text]).indices)
    names = classifier.parts.encoder.vocabulary.tokens.to_pylist()
    for name, number, unknown, (start, stop) in zip(
        e.tokens, e.ids, e.unknown, e.runs, strict=True
    ):
        assert unknown == (number == 0)
        if number < len(names) and not unknown:
            assert names[number] == name
        assert name == " ".join(bag_of(classifier, text).words[start:stop])
    for label in e.label_names:
        k = e.index(label)
        others = [i for i in range(3) if i != k]
        expected = e.contributions[:, k] - e.contributions[:, others].mean(1)
        np.testing.assert_allclose(e.margin(label), expected, atol=1e-12)
        total = e.margin(label).sum() + lead(e.bias, k)
        np.testing.assert_allclose(total, e.logits[k] - e.logits[others].mean(), atol=1e-5)
    np.testing.assert_array_equal(e.margin(), e.margin(e.label))


def test_ngrams_are_named_and_placed_by_their_words() -> None:
    text = "Not  good: dull"
    exact = explain(make_classifier(ngrams=2), text)
    assert exact.tokens == ("not", "not good", "good", "dull")
    hashed = explain(make_classifier(ngrams=3, buckets=9), text)
    assert hashed.tokens == ("not", "not good", "not good dull", "good", "good dull", "dull")
    assert [text[a:b] for a, b in filter(None, hashed.spans)] == [
        "Not", "Not  good", "Not  good: dull", "good", "good: dull", "dull",
    ]  # fmt: skip
    assert not hashed.unknown.any()


def test_ngrams_of_buckets_without_a_row_are_left_out() -> None:
    parts = make_classifier(ngrams=3, buckets=9).parts
    text = "not good, dull film at all"
    whole_bag = explain(Classifier(parts), text)
    first = len(parts.encoder.vocabulary)
    kept = np.unique(whole_bag.ids[whole_bag.ids >= first])[::2] - first
    model = EmbeddingBagClassifier(first + len(kept), 4, 3, "mean", 1).requires_grad_(False)
    encoder = dataclasses.replace(parts.encoder, kept_buckets=kept.astype(np.int32))
    small = explain(Classifier(dataclasses.replace(parts, model=model, encoder=encoder)), text)
    stay = (whole_bag.ids < first) | np.isin(whole_bag.ids - first, kept)
    assert 6 < stay.sum() < len(stay)
    assert small.tokens == tuple(np.array(whole_bag.tokens)[stay])
    np.testing.assert_array_equal(small.runs, whole_bag.runs[stay])


@pytest.mark.parametrize("piece", [1, 3, 1 << 20])
@pytest.mark.parametrize("tokenizer", [{}, {"ngrams": 3}, {"ngrams": 3, "buckets": 50}])
def test_runs_are_counted_over_all_texts(
    tokenizer: dict[str, Any], piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textcls.data.ngrams.PIECE", piece)
    classifier = make_classifier(**tokenizer)
    texts = [TRAIN[0], "", TRAIN[1], "zebra", "a film"]
    bags = [bag_of(classifier, text) for text in texts]
    starts = np.cumsum([0] + [len(bag.words) for bag in bags])
    expected = np.concatenate([bag.runs + s for bag, s in zip(bags, starts, strict=False)])
    np.testing.assert_array_equal(
        classifier.parts.encoder.ids.runs(tokenize(list(texts))), expected
    )


def test_unknown_words_are_marked_and_padding_is_one() -> None:
    e = explain(make_classifier("mean"), "<pad> film zebra")
    assert e.unknown.tolist() == [True, False, True]
    assert e.contributions[2].any()
    np.testing.assert_array_equal(e.contributions[0], e.contributions[2])


def test_an_empty_text_has_the_bias_for_its_score() -> None:
    classifier = make_classifier("max", ngrams=2)
    for text in ("", ' ;: " <br />'):
        e = explain(classifier, text)
        assert e.contributions.shape == (0, 3)
        assert e.margin().shape == (0,)
        assert e.runs.shape == (0, 2)
        assert not e.spans
        assert not e.tokens
        np.testing.assert_array_equal(e.logits, e.bias)


def test_the_label_is_the_most_probable_or_the_one_asked_for() -> None:
    classifier = make_classifier()
    assert explain(classifier, "film").label == classifier.predict(["film"])[0]
    e = explain(classifier, "film", "<b>ç 🎄")
    assert (e.label, e.index()) == ("<b>ç 🎄", 2)
    with pytest.raises(InputError, match=r"label 'posh': .* take one of neg, pos, <b>"):
        explain(classifier, "film", "posh")
    with pytest.raises(InputError, match="label 'posh'"):
        e.margin("posh")
    only = explain(make_classifier(labels=["all"]), "good film")
    np.testing.assert_array_equal(only.margin(), only.contributions[:, 0])


# --- bags with weights -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["mean", "sqrtn", "weighted_sum", "sum+max"])
@pytest.mark.parametrize("options", [
    {"counts": "log", "token_weights": "idf", "ngrams": 2},
    {"char_ngrams": (2, 4), "min_freq": 2},
    {"counts": "count", "char_ngrams": (2, 4), "ngrams": 2, "buckets": 50, "ngram_weight": 0.5},
])  # fmt: skip
def test_contributions_of_weighted_bags_add_up(mode: Mode, options: dict[str, Any]) -> None:
    classifier = make_classifier(mode, **options)
    e = explain(classifier, "good goodness, good film zebra goodness ж")
    np.testing.assert_allclose(e.contributions.sum(0) + e.bias, e.logits, atol=1e-5)
    # Occurrences of one feature share what it adds; an unknown word has what its n-grams add.
    first, second = (i for i, name in enumerate(e.tokens) if name == "goodness")
    assert e.unknown[first]
    lost = "char_ngrams" not in options
    assert (not e.contributions[first].any()) == lost or mode == "sum+max"
    if options.get("counts"):
        np.testing.assert_array_equal(e.contributions[first], e.contributions[second])
    assert len(e.tokens) == len(e.ids) == len(e.spans) == len(e.runs)
