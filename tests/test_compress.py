from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from torch import nn

from benchmarks.figures import Figures
from benchmarks.measure import Results
from benchmarks.tables import compression
from tests.conftest import MODES
from tests.test_tokens import config
from textcls import Classifier
from textcls.data.bags import Bags
from textcls.data.encoder import TextEncoder
from textcls.data.targets import Targets
from textcls.data.tokenizer import Tokenizer
from textcls.errors import InputError
from textcls.model.compress import Candidate, Shrunk, compress, shrink
from textcls.model.embedding_bag import EmbeddingBagClassifier, logits_of
from textcls.model.exact import exact
from textcls.model.folder import load_model, save_model
from textcls.model.parts import ModelParts
from textcls.model.prune import prune, renumber
from textcls.model.quantize import KINDS, Kind, fit_codebooks, quantize
from textcls.model.table import CODEBOOKS, CODES, INT8, SCALE
from textcls.report.shrinkage import best, curve_picture, curve_table
from textcls.values import Mode

NGRAMS: dict[str, dict[str, Any]] = {
    "words": {},
    "exact": {"ngrams": 3, "min_freq": 2},
    "hashed": {"ngrams": 3, "buckets": 400},
}
WEIGHTED: dict[str, dict[str, Any]] = {
    "characters": {"char_ngrams": (2, 4)},
    "counted": {"counts": "log", "ngrams": 2, "ngram_weight": 0.5, "token_weights": "idf"},
    "all": {
        "counts": "log", "ngrams": 2, "buckets": 400, "ngram_weight": 0.5, "char_weight": 0.7,
        "token_weights": "bm25", "char_ngrams": (2, 4), "char_token_weights": "idf",
    },
}  # fmt: skip
DIM = 8


def make_texts(count: int, seed: int) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return texts of words as rare as in a language, the signs of their class among them."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, count)
    texts = []
    for label in labels:
        words = [f"w{i}" for i in np.minimum(generator.zipf(1.4, generator.integers(0, 30)), 900)]
        signs = [f"sign{label}{i}" for i in generator.integers(0, 12, 2)]
        words += signs if generator.random() < 0.8 else []
        generator.shuffle(words)
        texts.append(" ".join(words))
    return texts, labels


def bags_of(parts: ModelParts, texts: list[str], labels: npt.NDArray[np.int64]) -> Bags:
    tokens = parts.encoder.tokenizer(pa.chunked_array([pa.array(texts, pa.string())]))
    return parts.encoder.bags(
        parts.encoder.encode_tokens(tokens), Targets(torch.from_numpy(labels))
    )


def make_model(mode: Mode, ngrams: str = "words", classes: int = 3) -> ModelParts:
    """Return a model that has learned a little of :func:`make_texts`."""
    texts, labels = make_texts(400, seed=0)
    tokenizer = Tokenizer(config("basic_english", **(NGRAMS | WEIGHTED)[ngrams]))
    tokens = tokenizer(pa.chunked_array([pa.array(texts)]))
    encoder = TextEncoder.learn(tokenizer, tokens)
    torch.manual_seed(1)
    model = EmbeddingBagClassifier(encoder.num_embeddings, DIM, classes, mode, padding_id=1)
    names = tuple(f"class {i}" for i in range(classes))
    parts = ModelParts(model, encoder, names)
    bags = bags_of(parts, texts, np.minimum(labels, classes - 1))
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(30):
        logits = model(bags.indices, bags.offsets, bags.weights)
        loss = nn.functional.cross_entropy(logits, bags.labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.eval().requires_grad_(False)
    return parts


VALIDATION = make_texts(300, seed=1)


def judged(parts: ModelParts, on: tuple[list[str], npt.NDArray[np.int64]] = VALIDATION) -> Bags:
    texts, labels = on
    return bags_of(parts, texts, np.minimum(labels, len(parts.label_names) - 1))


# --- the steps --------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("mode", ["mean", "sum", "weighted_sum"])
def test_what_the_linear_layer_cannot_tell_apart_may_go(mode: Mode, classes: int) -> None:
    parts = make_model(mode, classes=classes)
    with torch.no_grad():
        nn.init.normal_(parts.model.linear.weight)
        nn.init.normal_(parts.model.linear.bias)
    bags = judged(parts)
    reduced = exact(parts)
    assert reduced.model.embedding.embedding_dim == classes - 1
    assert reduced.model.embedding.mode == ("mean" if mode == "mean" else "sum")
    assert reduced.model.embedding.weighing is None
    before = logits_of(parts.model, bags).softmax(1)
    assert before.std(0).min() > 0.003
    assert (bags.lengths == 0).any()
    torch.testing.assert_close(logits_of(reduced.model, bags).softmax(1), before, rtol=0, atol=2e-6)
    # Two rows are as far apart as the scores that they give.
    rows = reduced.model.embedding.weight[2:]
    scores = parts.model.embedding.weight @ parts.model.linear.weight.T
    if parts.model.embedding.weighing is not None:
        scores = scores * (1 + 0.3 * parts.model.embedding.weighing)
    scores = (scores - scores.mean(1, keepdim=True))[2:]
    distances = [torch.cdist(x.double(), x.double()) for x in (rows, scores)]
    torch.testing.assert_close(*distances, rtol=1e-4, atol=1e-4)
    assert exact(reduced) is reduced


@pytest.mark.parametrize("mode", ["max", "mean+sum", "mean+sum+max"])
def test_a_model_that_is_not_linear_stays_as_it_is(mode: Mode) -> None:
    parts = make_model(mode)
    assert exact(parts) is parts


def test_a_weighted_sum_of_few_dimensions_becomes_a_sum() -> None:
    parts = make_model("weighted_sum", classes=DIM + 1)
    bags = judged(parts)
    reduced = exact(parts)
    assert reduced.model.embedding.mode == "sum"
    assert reduced.model.embedding.embedding_dim == DIM
    torch.testing.assert_close(logits_of(reduced.model, bags), logits_of(parts.model, bags))


@pytest.mark.parametrize("ngrams", NGRAMS)
@pytest.mark.parametrize("mode", ["mean", "max", "mean+max"])
def test_pruning_keeps_rows_tokens_and_buckets_together(mode: Mode, ngrams: str) -> None:
    parts = make_model(mode, ngrams)
    total, size = parts.model.embedding.num_embeddings, len(parts.encoder.vocabulary)
    rows = torch.cat([torch.arange(2), 2 + torch.randperm(total - 2)[: total // 3]])
    pruned, places = prune(parts, rows)
    kept = sorted(rows.tolist())
    assert pruned.model.embedding.num_embeddings == len(kept)
    names, before = (
        pruned.encoder.vocabulary.tokens.to_pylist(),
        parts.encoder.vocabulary.tokens.to_pylist(),
    )
    assert names == [before[i] for i in kept if i < size]
    buckets = [i - size for i in kept if i >= size]
    assert (pruned.encoder.kept_buckets is not None) == (ngrams == "hashed")
    assert (
        [] if pruned.encoder.kept_buckets is None else pruned.encoder.kept_buckets.tolist()
    ) == buckets
    table = pruned.model.embedding.weight
    assert torch.equal(table[1:], parts.model.embedding.weight[kept[1:]])
    # <unk> is the mean of the words that it stands for, itself among them.
    gone = [0] + [i for i in range(size) if i not in set(kept) and " " not in before[i]]
    counts = parts.encoder.vocabulary.counts[gone]
    assert pruned.encoder.vocabulary.counts[0] == counts.sum()
    expected = (counts[:, None] * parts.model.embedding.weight[gone].numpy()).sum(0) / counts.sum()
    np.testing.assert_allclose(table[0].numpy(), expected, rtol=1e-4, atol=1e-6)
    for old in range(total):
        expected_place = [0] if old < size and " " not in before[old] else []
        if old in set(kept):
            expected_place = [kept.index(old)]
        assert places.slice(old, old + 1).indices.tolist() == expected_place


def entries_of(bags: Bags) -> list[tuple[int, int, float]]:
    """Return the bag, id and weight of all entries, in this order."""
    assert bags.weights is not None
    of_bag = torch.repeat_interleave(bags.lengths).tolist()
    return sorted(zip(of_bag, bags.indices.tolist(), bags.weights.tolist(), strict=True))


@pytest.mark.parametrize("ngrams", [*NGRAMS, *WEIGHTED])
@pytest.mark.parametrize("mode", MODES)
def test_renumbered_bags_are_those_of_the_reloaded_folder(
    mode: Mode, ngrams: str, tmp_path: Path
) -> None:
    """What a candidate is judged by equals predicting from raw text."""
    parts = exact(make_model(mode, ngrams))
    # Of a word that is unknown already it is not known which n-grams are its own.
    texts = VALIDATION if parts.encoder.chars is None else make_texts(400, seed=0)
    bags = judged(parts, texts)
    total = parts.model.embedding.num_embeddings
    generator = torch.Generator().manual_seed(2)
    rows = torch.cat(
        [torch.arange(2), 2 + torch.randperm(total - 2, generator=generator)[: total // 3]]
    )
    pruned, places = prune(parts, rows)
    mapped = renumber(bags, places)
    made = quantize(pruned, "int8", torch.ones(len(rows)))
    save_model(made, tmp_path)
    loaded = load_model(tmp_path)
    assert torch.equal(loaded.model.embedding.weight, made.model.embedding.weight)
    anew = judged(loaded, texts)
    assert torch.equal(anew.offsets, mapped.offsets)
    assert mapped != bags
    found = Classifier(loaded).predict_proba(texts[0])
    expected = logits_of(made.model, mapped).softmax(1).numpy()
    if anew.weights is None:
        assert torch.equal(anew.indices, mapped.indices)
        np.testing.assert_array_equal(found, expected)
    else:  # in another order
        np.testing.assert_allclose(entries_of(mapped), entries_of(anew), rtol=1e-5)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@given(
    st.lists(st.sampled_from(["a", "b", "c", "a b", "b c", "a b c", "c a"]), unique=True),
    st.lists(st.lists(st.sampled_from("abcd"), max_size=6), max_size=4),
)
def test_an_n_gram_needs_none_of_its_words(kept: list[str], rows: list[list[str]]) -> None:
    texts = ["a b c a", "b c", "a b c", "c a"]
    tokenizer = Tokenizer(config("basic_english", ngrams=3))
    tokens = tokenizer(pa.chunked_array([pa.array(texts)]))
    encoder = TextEncoder.learn(tokenizer, tokens)
    vocabulary = encoder.vocabulary
    model = EmbeddingBagClassifier(len(vocabulary), 2, 2, padding_id=1).requires_grad_(False)
    parts = ModelParts(model, encoder, ("x", "y"))
    names = vocabulary.tokens.to_pylist()
    ids = torch.tensor([0, 1, *(names.index(name) for name in kept)])
    pruned, _ = prune(parts, ids)
    bags = bags_of(pruned, [" ".join(row) for row in rows], np.zeros(len(rows), np.int64))
    names = pruned.encoder.vocabulary.tokens.to_pylist()
    for i, row in enumerate(rows):
        here = bags.slice(i, i + 1).indices.tolist()
        expected: Counter[str] = Counter()
        for start in range(len(row)):
            expected[row[start] if row[start] in kept else "<unk>"] += 1
            for stop in range(start + 2, min(start + 3, len(row)) + 1):
                name = " ".join(row[start:stop])
                expected[name] += name in kept
        assert Counter(names[j] for j in here) == +expected


def test_int8_is_within_half_a_step() -> None:
    parts = make_model("max")
    made = quantize(parts, "int8", torch.ones(parts.model.embedding.num_embeddings))
    assert made.quantized is not None
    assert made.quantized[INT8].dtype == torch.int8
    error = (made.model.embedding.weight - parts.model.embedding.weight).abs()
    assert (error <= made.quantized[SCALE] * 0.5001).all()
    largest = parts.model.embedding.weight.abs().amax(0)
    torch.testing.assert_close(made.quantized[SCALE], largest / 127)


def test_a_table_of_zeros_is_quantized() -> None:
    parts = make_model("max")
    with torch.no_grad():
        parts.model.embedding.weight.zero_()
    made = quantize(parts, "int8", torch.ones(parts.model.embedding.num_embeddings))
    assert not made.model.embedding.weight.any()


def test_the_bias_takes_back_what_rounding_shifts() -> None:
    parts = exact(make_model("mean"))
    bags = judged(parts)
    counts = torch.bincount(bags.indices, minlength=parts.model.embedding.num_embeddings)
    made = quantize(parts, "int8", counts.float())
    # Of all tokens as one bag, the scores are as before.
    one = Bags(bags.indices, torch.tensor([0, len(bags.indices)]), torch.tensor([0]))
    torch.testing.assert_close(
        logits_of(made.model, one), logits_of(parts.model, one), rtol=0, atol=1e-5
    )
    assert not torch.equal(made.model.embedding.weight, parts.model.embedding.weight)


@pytest.mark.parametrize("kind", ["pq2", "pq4", "pq8"])
def test_product_quantization_takes_the_nearest_centroid(kind: Kind) -> None:
    parts = make_model("max")
    table, width = parts.model.embedding.weight, int(kind[2:])
    made = quantize(parts, kind, torch.ones(len(table)))
    assert made.quantized is not None
    codes, codebooks = made.quantized[CODES], made.quantized[CODEBOOKS]
    assert codes.dtype == torch.uint8
    assert codes.shape == (len(table), DIM // width)
    assert codebooks.shape == (DIM // width, 256, width)
    for m, part in enumerate(table.split(width, 1)):  # type: ignore[no-untyped-call]
        nearest = torch.cdist(part.double(), codebooks[m].double()).min(1).values
        took = (codebooks[m][codes[:, m].long()] - part).double().norm(dim=1)
        torch.testing.assert_close(took, nearest, rtol=0, atol=1e-5)
    # <unk>, which stands for every unknown word, is exact; on the whole most is kept.
    assert torch.equal(made.model.embedding.weight[0], table[0])
    error = (made.model.embedding.weight - table).norm() / table.norm()
    assert error < {"pq2": 0.2, "pq4": 0.5, "pq8": 0.8}[kind]


def test_product_quantization_needs_a_shape_for_it() -> None:
    for shape, width in (((300, 3), 2), ((255, 4), 2)):
        with pytest.raises(ValueError, match=f"no pq{width} of a table of {shape[0]} rows"):
            fit_codebooks(torch.zeros(shape), width, torch.ones(shape[0]))


# --- the choice -------------------------------------------------------------------------------


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@pytest.mark.parametrize("ngrams", NGRAMS)
@pytest.mark.parametrize("mode", ["mean", "max", "weighted_sum"])
def test_budgets_are_kept(mode: Mode, ngrams: str, tmp_path: Path) -> None:
    parts = dataclasses.replace(make_model(mode, ngrams), card="# a card\n")
    bags = judged(parts)
    for i, (max_bytes, max_loss) in enumerate(((None, None), (7_000, None), (None, 0.05))):
        shrunk = shrink(parts, bags, max_bytes, max_loss)
        chosen, original = shrunk.chosen, shrunk.original
        save_model(shrunk.parts, tmp_path / str(i))
        loaded = load_model(tmp_path / str(i))
        # What is said of it holds of what is on disk, from raw text.
        assert folder_bytes(tmp_path / str(i)) == chosen.bytes
        right = logits_of(loaded.model, judged(loaded)).argmax(1) == bags.labels
        assert right.double().mean().item() == chosen.score
        assert loaded.model.embedding.num_embeddings == chosen.rows
        assert loaded.card == "# a card\n"
        assert chosen in shrunk.curve
        if max_bytes is not None:
            within = [one for one in shrunk.curve if one.bytes <= max_bytes]
            assert chosen.bytes <= max_bytes
            assert chosen.score == max(one.score for one in within)
        else:
            floor = original.score - (max_loss or 0.005) - 1e-9
            within = [one for one in shrunk.curve if one.score >= floor]
            assert chosen.score >= floor
            assert chosen.bytes == min(one.bytes for one in within) < original.bytes / 2
    save_model(parts, tmp_path / "original")
    assert shrunk.original.bytes == folder_bytes(tmp_path / "original")
    right = logits_of(parts.model, bags).argmax(1) == bags.labels
    assert shrunk.original.score == right.double().mean().item() > 0.55


def test_all_kinds_are_tried_where_they_pay() -> None:
    parts = make_model("max", "hashed")
    assert parts.model.embedding.num_embeddings < 256 * 4 + 256
    kinds = {one.kind for one in shrink(parts, judged(parts)).curve}
    assert kinds == {"float32", "int8"}  # so few rows that the codebooks would outweigh them
    wide = dataclasses.replace(parts.encoder.config, buckets=20_000)
    large = ModelParts(
        EmbeddingBagClassifier(len(parts.encoder.vocabulary) + 20_000, DIM, 3, "max", 1),
        TextEncoder(Tokenizer(wide), parts.encoder.vocabulary),
        parts.label_names,
    )
    assert {one.kind for one in shrink(large, judged(large), max_loss=1).curve} == set(KINDS)


def test_the_same_every_time() -> None:
    parts = make_model("max")
    bags = judged(parts)
    torch.manual_seed(1)
    one = shrink(parts, bags, max_loss=0.02)
    np.random.seed(7)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    two = shrink(parts, bags, max_loss=0.02)
    assert torch.equal(torch.get_rng_state(), state)
    assert (one.curve, one.chosen) == (two.curve, two.chosen)
    kinds: tuple[Kind, ...] = ("pq2", "pq8")
    for kind in kinds:
        first, second = (compress(parts, bags, 1.0, kind).model for _ in range(2))
        assert torch.equal(first.embedding.weight, second.embedding.weight)


@pytest.mark.parametrize("ngrams", NGRAMS)
def test_a_compressed_model_compresses_again(ngrams: str, tmp_path: Path) -> None:
    parts = make_model("mean", ngrams)
    bags = judged(parts)
    total = parts.model.embedding.num_embeddings
    half = compress(parts, bags, 0.5, "int8")
    assert half.model.embedding.num_embeddings == round(total / 2)
    assert (half.encoder.kept_buckets is None) == (ngrams != "hashed")
    assert compress(parts, bags, 1.0).encoder.kept_buckets is None
    save_model(half, tmp_path / "half")
    loaded = load_model(tmp_path / "half")
    again = shrink(loaded, judged(loaded), max_loss=0.05)
    assert again.original.kind == "int8"
    assert again.original.bytes == folder_bytes(tmp_path / "half")
    assert again.chosen.bytes < again.original.bytes
    save_model(again.parts, tmp_path / "again")
    small = load_model(tmp_path / "again")
    right = logits_of(small.model, judged(small)).argmax(1) == bags.labels
    assert right.double().mean().item() == again.chosen.score


def test_what_cannot_be_had_is_told_in_one_line() -> None:
    parts = make_model("mean", "hashed")
    bags = judged(parts)
    enough = shrink(parts, bags).chosen.bytes
    for max_bytes, max_loss, words in (
        (100, None, r"no model fits into 100 bytes: the smallest takes [\d,]+ \(accuracy 0"),
        (None, -0.9, "no model within reach loses at most -0.9 of accuracy: the best has 0"),
        (2_000, -0.9, "no model within 2,000 bytes loses at most -0.9 of accuracy: .*: allow more"),
        (enough - 1, 0.005, f"no model within .* loses .*; {enough:,} bytes would do: allow more"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            shrink(parts, bags, max_bytes, max_loss)
        assert "\n" not in str(caught.value)
    other = Bags(bags.indices, bags.offsets, bags.labels, 10**6)
    for wrong in (other, bags.slice(0, 0)):
        with pytest.raises(InputError, match="judged on labelled bags over the model's own"):
            shrink(parts, wrong)


# --- the report -------------------------------------------------------------------------------


def test_the_report_shows_the_chosen_one(tmp_path: Path) -> None:
    parts = make_model("mean")
    shrunk = shrink(parts, judged(parts), max_bytes=5_000, max_loss=0.1)
    console = Console(width=80, record=True, file=(tmp_path / "out").open("w"))
    console.print(curve_table(shrunk))
    text = console.export_text()
    assert f"{shrunk.original.bytes:,}" in text
    (line,) = [line for line in text.splitlines() if line.startswith("chosen: ")]
    assert f"{shrunk.chosen.rows:,} rows as {shrunk.chosen.kind}" in line
    figure = curve_picture(shrunk)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    labels = axes.get_legend_handles_labels()[1]
    assert {"original", "float32", "int8", "at most 5 kB", "at most 0.1 lost"} <= set(labels)
    marked = axes.lines[labels.index(next(x for x in labels if x.startswith("chosen")))]
    assert list(marked.get_xdata()) == [shrunk.chosen.bytes]  # type: ignore[arg-type]
    figure.savefig(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 5_000


def test_the_table_has_what_no_smaller_one_reaches() -> None:
    def one(size: int, score: float) -> Candidate:
        return Candidate(size, "int8", size, score)

    curve = (one(5, 0.8), one(1, 0.5), one(2, 0.7), one(3, 0.6), one(4, 0.7), one(5, 0.9))
    assert [(c.bytes, c.score) for c in best(curve)] == [(1, 0.5), (2, 0.7), (5, 0.9)]
    parts = make_model("mean")
    chosen = one(4, 0.7)  # beaten, but chosen: it is shown
    shrunk = Shrunk(parts, chosen, one(9, 0.9), (*curve, chosen), 4, None)
    console = Console(width=80)
    with console.capture() as capture:
        console.print(curve_table(shrunk))
    lines = [line.split() for line in capture.get().splitlines()]
    assert ["int8", "4", "4", "44.44%", "0.7000", "-0.2000"] in lines
    assert ["original", "9", "9", "100.00%", "0.9000"] in lines


def test_the_benchmark_tells_sizes_and_accuracies(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.json")
    results.begin({"seeds": [1, 2]})
    for seed, accuracy in ((1, 0.88), (2, 0.90)):
        after = {"bytes": 90_000 + seed * 1_000, "accuracy": accuracy, "compress_seconds": 0.5}
        key = {"what": "compress", "peer": "textcls", "corpus": "imdb", "seed": seed}
        before = {"bytes": 13_000_000, "accuracy": 0.9}
        results.add(key, {"result": {"before": before, "after": {"100000": after}}})
    row = compression(Figures(results)).splitlines()[-1]
    assert row == (
        "| IMDb | textcls plain | 100 | 13,000 | 92 | 0.900 ± 0.000 | 0.890 ± 0.014 | 0.5 |"
    )
