from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.conftest import MODES, make_config, seed_cpu
from tests.test_tokens import config
from textcls import Classifier
from textcls.data.bags import Bags
from textcls.data.encoder import TextEncoder
from textcls.data.tokenizer import Tokenizer
from textcls.device import to_device
from textcls.errors import InputError
from textcls.model import embedding_bag
from textcls.model.embedding_bag import EmbeddingBagClassifier, logits_of, scores_of, untrained
from textcls.model.folder import save_model
from textcls.model.parts import ModelParts
from textcls.model.pooling import WEIGHT_SCALE
from textcls.values import Mode

INDICES = torch.tensor([1, 2, 4, 4, 3, 2, 9], dtype=torch.int32)
OFFSETS = torch.tensor([0, 3, 7])
# Row i of the seed example's table: i, -i, i squared, 10 - i.
TABLE = torch.tensor([[i, -i, i * i, 10 - i] for i in range(10)], dtype=torch.float32)
POOLED = {
    "mean": [[7 / 3, -7 / 3, 7.0, 23 / 3], [4.5, -4.5, 27.5, 5.5]],
    "sum": [[7.0, -7.0, 21.0, 23.0], [18.0, -18.0, 110.0, 22.0]],
    "max": [[4.0, -1.0, 16.0, 9.0], [9.0, -2.0, 81.0, 8.0]],
    "sqrtn": [[7 / 3**0.5, -7 / 3**0.5, 21 / 3**0.5, 23 / 3**0.5], [9.0, -9.0, 55.0, 11.0]],
}
# Token i weighs i.
WEIGHED = torch.tensor([[21.0, -21.0, 73.0, 49.0], [110.0, -110.0, 828.0, 70.0]])
POOLED |= {
    "weighted_mean": (WEIGHED / torch.tensor([[3.0], [4.0]])).tolist(),
    "weighted_sum": WEIGHED.tolist(),
    "weighted_sqrtn": (WEIGHED / torch.tensor([[3.0], [4.0]]).sqrt()).tolist(),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_the_seed_example(mode: Mode, dtype: torch.dtype) -> None:
    model = EmbeddingBagClassifier(10, 4, 2, mode)
    with torch.no_grad():
        model.embedding.weight.copy_(TABLE)
        if model.embedding.weighing is not None:
            model.embedding.weighing.copy_((TABLE[:, :1] - 1) / WEIGHT_SCALE)
    pooled = model.embed(INDICES.to(dtype), OFFSETS)
    expected = [torch.tensor(POOLED[part]) for part in mode.split("+")]
    torch.testing.assert_close(pooled, torch.cat(expected, 1))
    logits = pooled @ model.linear.weight.T + model.linear.bias
    torch.testing.assert_close(model(INDICES.to(dtype), OFFSETS), logits)


@pytest.mark.parametrize("mode", MODES)
@given(
    lists=st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=6),
)
def test_pooling_is_a_loop_over_bags_without_padding(mode: Mode, lists: list[list[int]]) -> None:
    model = EmbeddingBagClassifier(10, 3, 2, mode, padding_id=1)
    with torch.no_grad():
        model.embedding.weight[1] = 99.0  # would show, if it counted
        if model.embedding.weighing is not None:
            model.embedding.weighing[1] = 99.0
    indices = torch.tensor([i for row in lists for i in row], dtype=torch.int32)
    offsets = torch.tensor([0] + [len(row) for row in lists]).cumsum(0)
    reduce = {
        "mean": lambda x: x.mean(0),
        "sum": lambda x: x.sum(0),
        "max": lambda x: x.amax(0),
        "sqrtn": lambda x: x.sum(0) / len(x) ** 0.5,
    }
    expected = []
    for row in lists:
        vectors = model.embedding.weight[[i for i in row if i != 1]]
        parts = [
            reduce[part](vectors) if len(vectors) else torch.zeros(3)
            for part in mode.removeprefix("weighted_").split("+")  # whose tokens all weigh 1
        ]
        expected.append(torch.cat(parts))
    torch.testing.assert_close(model.embed(indices, offsets), torch.stack(expected))


@pytest.mark.parametrize("mode", MODES)
def test_padding_never_learns(mode: Mode) -> None:
    seed_cpu(0)
    model = EmbeddingBagClassifier(10, 4, 2, mode, padding_id=1)
    model(INDICES, OFFSETS).sum().backward()
    assert not model.embedding.weight[1].any()
    for parameter in model.embedding.parameters():
        assert parameter.grad is not None
        assert not parameter.grad[1].any()
        assert parameter.grad[4].any()


def test_dropout_is_for_training_only() -> None:
    model = EmbeddingBagClassifier(10, 64, 2, dropout=0.5)
    model.eval()
    assert torch.equal(model(INDICES, OFFSETS), model(INDICES, OFFSETS))
    model.train()
    assert not torch.equal(model(INDICES, OFFSETS), model(INDICES, OFFSETS))


def test_logits_do_not_depend_on_how_bags_are_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    seed_cpu(0)
    model = EmbeddingBagClassifier(50, 8, 3, "mean")
    lengths = torch.randint(0, 9, (40,))
    bags = Bags(
        torch.randint(0, 50, (int(lengths.sum()),), dtype=torch.int32),
        torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]),
        torch.zeros(40, dtype=torch.int64),
    )
    whole = logits_of(model, bags)
    monkeypatch.setattr("textcls.data.batches.runs_of_bags.__defaults__", (10, 3))
    torch.testing.assert_close(logits_of(model, bags), whole)
    assert model.training
    # Nor on whether they are held, or made as they are asked for; the model may change meanwhile.
    monkeypatch.setattr(embedding_bag, "SAMPLED", 10)
    scores = scores_of(model, bags)
    with torch.no_grad():
        model.linear.weight.mul_(2)
        model.linear.bias.fill_(9)
    torch.testing.assert_close(torch.cat(list(scores.pieces(12))), whole)


# --- the model folder and the classifier ------------------------------------------------------

TEXTS = ["Good, good film!", "bad film"]


def make_parts(
    name: str = "basic_english", max_tokens: int | None = None, mode: Mode = "max"
) -> ModelParts:
    seed_cpu(3)
    train = pa.chunked_array([pa.array(TEXTS * 9)])
    tokenizer = Tokenizer(config(name, max_tokens=max_tokens, vocab_size=40), train)
    encoder = TextEncoder.learn(tokenizer, tokenizer(train))
    model = EmbeddingBagClassifier(encoder.num_embeddings, 4, 3, mode, padding_id=1, dropout=0.5)
    return ModelParts(model, encoder, ("a", "b", "ç 🎄"))


@pytest.mark.parametrize("name", ["basic_english", "bpe", "wordpiece", "split"])
def test_a_reloaded_model_predicts_the_same(name: str, tmp_path: Path) -> None:
    parts = make_parts(name)
    parts.model.eval()
    save_model(parts, tmp_path / "model")
    loaded = Classifier.load(tmp_path / "model")
    assert loaded.label_names == parts.label_names
    expected = Classifier(parts).predict_proba(TEXTS)
    np.testing.assert_array_equal(loaded.predict_proba(TEXTS), expected)
    np.testing.assert_allclose(expected.sum(1), 1, rtol=1e-6)
    # The folder replaces an older one, and leaves nothing beside it.
    save_model(parts, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("mode", MODES)
def test_a_model_of_any_mode_is_reloaded(mode: Mode, tmp_path: Path) -> None:
    parts = make_parts(mode=mode)
    with torch.no_grad():
        for parameter in parts.model.parameters():
            nn.init.normal_(parameter)
    parts.model.eval()
    save_model(parts, tmp_path)
    loaded = Classifier.load(tmp_path)
    assert loaded.parts.model.embedding.mode == mode
    expected = Classifier(parts).predict_proba(TEXTS)
    np.testing.assert_array_equal(loaded.predict_proba(TEXTS), expected)


def test_one_row_out_per_row_in() -> None:
    classifier = Classifier(make_parts())
    texts = ["Good film", None, "", "never seen", "🎄", "\0", "a\ud800b", "bad " * 100_000]
    probabilities = classifier.predict_proba(texts)
    assert probabilities.shape == (len(texts), 3)
    assert probabilities.dtype == np.float32
    assert np.isfinite(probabilities).all()
    bias = classifier.parts.model.linear.bias.softmax(0).detach().numpy()
    np.testing.assert_allclose(probabilities[1], bias, rtol=1e-6)
    np.testing.assert_array_equal(probabilities[1], probabilities[2])
    alone = np.concatenate([classifier.predict_proba([text]) for text in texts])
    np.testing.assert_allclose(probabilities, alone, rtol=1e-5)
    names = [classifier.label_names[i] for i in probabilities.argmax(1)]
    assert classifier.predict(texts) == names
    assert classifier.predict_proba([]).shape == (0, 3)


def test_max_tokens_holds_in_serving(tmp_path: Path) -> None:
    save_model(make_parts(max_tokens=2), tmp_path / "model")
    classifier = Classifier.load(tmp_path / "model")
    long, short = classifier.predict_proba(["good film bad", "good film"])
    np.testing.assert_array_equal(long, short)


def test_special_tokens_in_a_text_are_not_special() -> None:
    classifier = Classifier(make_parts())
    padded, unknown, other = classifier.predict_proba(["<pad> film", "<unk> film", "zebra film"])
    np.testing.assert_array_equal(padded, other)
    np.testing.assert_array_equal(unknown, other)


def test_no_bag_has_padding_and_no_new_model_looks_for_any() -> None:
    """torch's CPU kernel is many times slower where it has to look for it."""
    texts = pa.chunked_array([pa.array(["a b", "<pad> a <pad>"])])
    encoder = TextEncoder.fit(texts, make_config().tokenizer)
    assert encoder.encode([pa.array(["<pad> a"])]).indices.tolist() == [0, 2]
    config = make_config().model
    model = untrained(encoder, 2, config)
    assert model.embedding.padding_idx is None
    assert not model.embedding.weight[:2].any()


@pytest.mark.parametrize("mode", ["sqrtn", "mean+max"])
def test_an_embedding_of_class_scores_is_pooled_to_those_of_the_text(mode: str) -> None:
    encoder = TextEncoder.fit(pa.chunked_array([pa.array(["a b c"])]), make_config().tokenizer)
    model = untrained(encoder, 4, make_config("model.dim=classes", f"model.mode={mode}").model)
    model.eval()
    indices, offsets = torch.tensor([2, 4]), torch.tensor([0, 2])
    assert not model(indices, offsets).any()
    table = torch.nn.init.normal_(model.embedding.weight.detach())
    torch.nn.init.normal_(model.linear.bias)
    pooled = model.embed(indices, offsets).view(-1, 4).sum(0)
    torch.testing.assert_close(model(indices, offsets)[0], pooled + model.linear.bias)
    assert table.shape[1] == 4


def test_devices() -> None:
    assert to_device("cpu") == torch.device("cpu")
    assert to_device("auto").type in ("cpu", "cuda", "mps")
    for name, why in (("cuda:99", "is not to be had here"), ("nonsense", "take auto, cpu, cuda")):
        with pytest.raises(InputError, match=f"trainer.device={name}: {why}"):
            to_device(name)
