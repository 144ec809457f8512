from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.conftest import MODES, make_config, seed_cpu
from tests.test_training import NAMES, TRAIN, Recorder
from textcls.data.bags import Bags
from textcls.data.batches import batches
from textcls.data.composition import Composition
from textcls.data.windows import in_order
from textcls.model.embedding_bag import EmbeddingBagClassifier, logits_of
from textcls.model.pooling import WEIGHT_SCALE
from textcls.training import checkpoint, loop
from textcls.training.checkpoint import Checkpoints
from textcls.training.optimizer import touches_few
from textcls.values import Mode

WORDS, ROWS, DIM, CHAR_WEIGHT = 5, 11, 3, 0.7  # 5 words, 2 n-grams of words, 4 of characters
CHARS = st.lists(st.lists(st.integers(7, 10), unique=True), min_size=WORDS, max_size=WORDS)
LISTS = st.lists(st.lists(st.integers(0, ROWS - 1), max_size=7), min_size=1, max_size=8)
Lists = list[list[int]]


def flat(lists: Lists) -> tuple[Tensor, Tensor]:
    indices = torch.tensor([i for row in lists for i in row], dtype=torch.int32)
    return indices, torch.tensor([0] + [len(row) for row in lists]).cumsum(0)


def make_composition(chars: Lists, rows: int = ROWS) -> Composition:
    """Return words of their own row and of n-grams that weigh ``CHAR_WEIGHT`` together."""
    entries = [
        {row: 1.0} | dict.fromkeys(chars[row], CHAR_WEIGHT / len(chars[row]) ** 0.5)
        if row < len(chars) and chars[row]
        else {row: 1.0}
        for row in range(rows)
    ]
    indices, offsets = flat([list(of_row) for of_row in entries])
    weights = torch.tensor([weight for of_row in entries for weight in of_row.values()])
    return Composition(Bags(indices, offsets, torch.zeros(rows).long(), rows, weights))


def make_model(mode: Mode, rows: int = ROWS, classes: int = 2) -> EmbeddingBagClassifier:
    seed_cpu(1)
    model = EmbeddingBagClassifier(rows, DIM, classes, mode)
    if model.embedding.weighing is not None:
        torch.nn.init.normal_(model.embedding.weighing)
    return model


def by_matrices(model: EmbeddingBagClassifier, bags: Bags, chars: Lists) -> Tensor:
    """Return the class scores by dense matrices: bags x rows, and rows x rows of n-grams."""
    assert bags.weights is not None
    shares = torch.eye(ROWS)
    for word, of_word in enumerate(chars):
        shares[word, of_word] += CHAR_WEIGHT / max(len(of_word), 1) ** 0.5
    table = shares @ model.embedding.weight
    if model.embedding.weighing is not None:
        table = table * (1 + WEIGHT_SCALE * model.embedding.weighing)
    parts = []
    for part in model.embedding.pooling.parts:
        vectors = []
        for row in range(len(bags)):
            bag = bags.slice(row, row + 1)
            rows, weights = table[bag.indices.long()], bag.weights
            assert weights is not None
            summed = (weights[:, None] * rows).sum(0)
            if part == "mean":
                summed = summed / weights.sum() if weights.sum() else summed
            elif part == "sqrtn":
                summed = summed / weights.square().sum().sqrt() if weights.any() else summed
            elif part == "max":
                summed = rows.amax(0) if len(rows) else torch.zeros(DIM)
            vectors.append(summed)
        parts.append(torch.stack(vectors))
    scores: Tensor = model.linear(torch.cat(parts, 1))
    return scores


@pytest.mark.parametrize("mode", MODES)
@given(lists=LISTS, chars=CHARS, sparse=st.booleans(), data=st.data())
def test_two_bags_in_a_row_are_one_product_of_matrices(
    mode: Mode, lists: Lists, chars: Lists, sparse: bool, data: st.DataObject
) -> None:
    indices, offsets = flat(lists)
    numbers = data.draw(st.lists(st.integers(0, 8), min_size=len(indices), max_size=len(indices)))
    weights = torch.tensor(numbers, dtype=torch.float32) / 4
    bags = Bags(indices, offsets, torch.zeros(len(lists), dtype=torch.int64), ROWS, weights)
    model = make_model(mode)
    model.embedding.sparse = sparse

    logits = by_matrices(model, bags, chars)
    logits.square().sum().backward()  # type: ignore[no-untyped-call]
    expected = {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in model.named_parameters()
    }
    model.zero_grad()
    found = {}

    model.composition = make_composition(chars)
    whole = in_order(bags, torch.arange(len(bags)), len(bags))
    (batch,) = batches(whole, composition=model.composition)
    made_ahead = model(indices, offsets, weights, batch.transposed, batch.items)
    torch.testing.assert_close(made_ahead, logits)
    torch.testing.assert_close(model(indices, offsets, weights), logits)
    torch.testing.assert_close(logits_of(model.composed(), bags), logits.detach())
    made_ahead.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.is_sparse == (sparse and name.startswith("embedding"))
        if parameter.grad.is_sparse:
            rows = parameter.grad._indices()[0].tolist()
            assert len(rows) == len(set(rows))  # as the optimizer needs them
        found[name] = parameter.grad.to_dense()
    torch.testing.assert_close(found, expected)


def test_what_no_composition_is() -> None:
    with pytest.raises(ValueError, match="has weights"):
        Composition(Bags(*flat([[0], [1]]), torch.zeros(2).long()))


def test_words_touch_the_rows_of_their_ngrams() -> None:
    bags = Bags(*flat([[1]]), torch.tensor([0]))
    many = make_composition([[], list(range(10, 30))], 100)
    assert touches_few(bags, torch.tensor([0]), 100)
    assert not touches_few(bags, torch.tensor([0]), 100, many)


@pytest.mark.parametrize("rows", ["touched", "all"])
def test_the_loop_trains_and_measures_composed_words(
    rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trained model, composed, is what was measured; and n-grams alone can be learned from."""
    num_words = int(TRAIN.indices.max()) + 1
    chars = [[num_words + word % 7, num_words + 7 + word % 3] for word in range(num_words)]
    model = make_model("sqrtn", num_words + 10, len(NAMES))
    torch.nn.init.zeros_(model.embedding.weight[:num_words])
    model.composition = make_composition(chars, num_words + 10)
    before = model.embedding.weight.detach().clone()
    tracker = Recorder()
    config = make_config(
        "trainer.epochs=2", f"optimizer.rows={rows}",
        "optimizer.initial_accumulator_value=1e-4",
    )  # fmt: skip
    monkeypatch.setattr(checkpoint, "SAVE_AFTER", 0)
    kept: list[EmbeddingBagClassifier] = []
    checkpoints = Checkpoints(tmp_path, kept.append)
    loop.fit(model, TRAIN, TRAIN, NAMES, config, checkpoints, tracker)
    assert (model.embedding.weight != before)[num_words:].any(1).all()
    last = tracker.records[-1]["validation"]["loss"]
    assert loop.evaluate(model, TRAIN, NAMES)["loss"] == pytest.approx(last, rel=1e-5)
    assert loop.evaluate(kept[-1], TRAIN, NAMES)["loss"] == pytest.approx(last, rel=1e-5)
