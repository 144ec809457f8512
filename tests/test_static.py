"""Pretrained vectors beside the table: what is trained, and that it folds into the table."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import Tensor

from tests.conftest import Run, make_config, one_line, write_files
from tests.test_direct import CHARS, CLASSES, WORDS, make_bags, make_composition
from textcls import Classifier, run, run_corpus
from textcls.config import parse, read_config
from textcls.data.bags import Bags
from textcls.data.sampler import Epoch
from textcls.data.word_vectors import WordRows
from textcls.defaults import CorpusFacts
from textcls.errors import InputError
from textcls.model.embedding_bag import OF_VECTORS, EmbeddingBagClassifier, hold_scores, logits_of
from textcls.model.static import LENGTH, MANY, StaticVectors
from textcls.sklearn import TextClassifier
from textcls.task.objective import Objective
from textcls.training.checkpoint import Progress
from textcls.training.direct import DirectSteps, is_direct
from textcls.training.optimizer import Optimizer
from textcls.training.steps import Steps
from textcls.tuning.optuna_space import fitting
from textcls.values import Mode

ROWS, WIDTH = WORDS + CHARS, 5


def make_words() -> WordRows:
    """Return vectors of every third word."""
    ids = np.arange(2, WORDS, 3, dtype=np.int32)
    rng = np.random.default_rng(4)
    return WordRows(ids, rng.normal(size=(len(ids), WIDTH)).astype(np.float32))


def make_model(mode: Mode, composed: bool) -> EmbeddingBagClassifier:
    torch.manual_seed(5)
    model = EmbeddingBagClassifier(ROWS, CLASSES, CLASSES, mode)
    hold_scores(model)
    model.composition = make_composition() if composed else None
    model.vectors = StaticVectors(make_words(), ROWS, CLASSES, mode)
    model.vectors.scale(make_bags())
    model.embedding.sparse = True
    return model


def pooled(table: Tensor, bags: Bags, mode: Mode) -> Tensor:
    """Pool by plain torch, bag by bag."""
    assert bags.weights is not None
    vectors = []
    for start, stop in zip(bags.offsets[:-1].tolist(), bags.offsets[1:].tolist(), strict=True):
        weights = bags.weights[start:stop]
        summed = weights @ table[bags.indices[start:stop].long()]
        divisors = {"sum": 1.0, "mean": float(weights.sum()), "sqrtn": float(weights.norm())}
        vectors.append(summed / (divisors[mode] or 1.0))
    return torch.stack(vectors)


@pytest.mark.parametrize("composed", [False, True])
@pytest.mark.parametrize("mode", ["mean", "sum", "sqrtn"])
def test_a_folded_model_is_the_sum_of_its_two_parts(mode: Mode, composed: bool) -> None:
    model, bags = make_model(mode, composed), make_bags()
    assert model.vectors is not None
    with torch.no_grad():
        for parameter in (model.embedding.weight, model.vectors.weight, model.linear.bias):
            torch.nn.init.normal_(parameter)
    raw = EmbeddingBagClassifier(ROWS, CLASSES, CLASSES, mode)
    raw.load_state_dict({k: v for k, v in model.state_dict().items() if k != OF_VECTORS})
    raw.composition = model.composition
    vectors = torch.zeros(ROWS, WIDTH)
    vectors[torch.from_numpy(make_words().ids).long()] = model.vectors.rows
    expected = logits_of(raw, bags) + pooled(vectors, bags, mode) @ model.vectors.weight.T
    torch.testing.assert_close(logits_of(model, bags), expected.detach(), rtol=1e-4, atol=1e-4)

    flat = model.composed()
    assert flat.vectors is None
    assert flat.state_dict().keys() == raw.state_dict().keys()
    torch.testing.assert_close(logits_of(flat, bags), expected.detach(), rtol=1e-4, atol=1e-4)
    # A model of other weights has its own part of the vectors.
    other = model.holding(
        {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    )
    assert not logits_of(other.composed(), bags).any()
    assert logits_of(model, bags).any()


def test_vectors_are_brought_to_one_length() -> None:
    model, bags = make_model("sqrtn", composed=False), make_bags()
    assert model.vectors is not None
    found = model.vectors.pool(bags.indices, bags.offsets, bags.weights)
    assert found.square().sum(1).mean().sqrt().item() == pytest.approx(LENGTH, rel=1e-4)
    few = bags.slice(100, 100 + MANY // 4)
    model.vectors.scale(few)
    found = model.vectors.pool(few.indices, few.offsets, few.weights)
    assert found.square().sum(1).mean().sqrt().item() == pytest.approx(2 * LENGTH, rel=1e-4)
    assert model.vectors.length == 2 * LENGTH


@pytest.mark.parametrize("composed", [False, True])
def test_steps_without_autograd_are_those_with_it(composed: bool) -> None:
    learned, bags = [], make_bags()
    for kind in (Steps, DirectSteps):
        model = make_model("sqrtn", composed)
        options = make_config("optimizer.initial_accumulator_value=1e-4").optimizer
        optimizer = Optimizer(options, model.named_parameters(), {OF_VECTORS: LENGTH})
        objective = Objective(label_smoothing=0.1)
        assert is_direct(model, bags, objective)
        steps = kind(model, optimizer, bags, 8, objective, lambda _: 0.3)
        progress = Progress(tally=torch.zeros(len(bags)).long())
        assert sum(steps.epoch(Epoch.of(torch.arange(len(bags)), 8), progress)) == bags.num_tokens
        learned.append(model.state_dict())
    assert learned[0][OF_VECTORS].any()
    for name, value in learned[0].items():
        torch.testing.assert_close(learned[1][name], value, rtol=1e-4, atol=1e-5)


# Words of two kinds, of which train has the first half.
SEEN = {"good": ["great", "lovely", "superb"], "bad": ["dull", "awful", "weak"]}
UNSEEN = {"good": ["moving", "warm"], "bad": ["cold", "broken"]}


def write_vectors(path: Path, seed: int = 0) -> Path:
    """Write vectors in which words of a kind are alike."""
    rng = np.random.default_rng(seed)
    lines = [f"filler{i} " + " ".join(map(str, rng.normal(size=4))) for i in range(20)]
    lines += [f"item {' '.join(map(str, rng.normal(size=4)))}"]
    for sign, label in ((1, "good"), (-1, "bad")):
        for word in SEEN[label] + UNSEEN[label]:
            vector = rng.normal(size=4) / 4 + [3 * sign, 0, 0, 0]
            lines.append(f"{word} {' '.join(map(str, vector))}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def make_texts(words: dict[str, list[str]]) -> tuple[list[str], list[str]]:
    labels = ["good", "bad"] * 15
    return [f"item {words[label][i % len(words[label])]}" for i, label in enumerate(labels)], labels


def test_words_that_train_lacks_have_scores(tmp_path: Path) -> None:
    estimator = TextClassifier(vectors=str(write_vectors(tmp_path / "v.txt")), char_ngrams=None)
    estimator = clone(estimator).fit(*make_texts(SEEN))
    (tmp_path / "v.txt").unlink()  # a model needs none
    assert estimator.score(*make_texts(UNSEEN)) == 1
    plain = clone(estimator).set_params(vectors=None).fit(*make_texts(SEEN))
    assert plain.score(*make_texts(UNSEEN)) == 0.5
    estimator.classifier_.save_pretrained(tmp_path / "model")
    again = Classifier.load(tmp_path / "model")
    texts, _ = make_texts(UNSEEN)
    np.testing.assert_allclose(again.predict_proba(texts), estimator.predict_proba(texts))


def test_an_estimator_tells_what_is_wrong_in_its_own_terms() -> None:
    with pytest.raises(ValueError, match=r"^vectors=nowhere: there is no such file"):
        TextClassifier(vectors="nowhere").fit(*make_texts(SEEN))
    with pytest.raises(ValueError, match="set dim=classes"):
        TextClassifier(vectors="nowhere", dim=8).fit(*make_texts(SEEN))


def test_words_of_the_vectors_alone_are_no_vocabulary(tmp_path: Path) -> None:
    vectors = str(write_vectors(tmp_path / "v.txt"))
    with pytest.raises(ValueError, match="min_freq=1000 leaves no token"):
        TextClassifier(vectors=vectors, min_freq=1000).fit(*make_texts(SEEN))


def test_a_run_keeps_where_its_vectors_lie(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is that of the folder in which the run was started."""
    files = write_files(tmp_path)
    write_vectors(tmp_path / "v.txt")
    monkeypatch.chdir(tmp_path)
    config = make_config("experiment=null", *files, "model.vectors=v.txt", "trainer.epochs=1")
    run.start(dataclasses.replace(config, cache_dir=str(cache_dir)), tmp_path / "run")
    assert read_config(tmp_path / "run").model.vectors == str(tmp_path / "v.txt")
    monkeypatch.chdir("/")
    assert len(run_corpus.validation_split(tmp_path / "run")) == 12


def test_a_search_for_a_dimension_beside_vectors_is_refused() -> None:
    given = make_config("experiment=null", "model.vectors=v.txt")
    with pytest.raises(InputError, match=r"^tune\.space\.model\.dim: model\.vectors adds to"):
        fitting({"model.dim": (8, 16)}, given, CorpusFacts(100, 2, 9.0, 0.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 8}, "set model.dim=classes"),
        ({"mode": "max"}, "set model.mode=sqrtn"),
        ({"mode": "weighted_sqrtn"}, "set model.mode=sqrtn"),
    ],
)
def test_what_does_not_go_with_vectors_is_refused(options: dict[str, object], message: str) -> None:
    values = make_config("experiment=null").to_dict()
    values["model"] |= {"vectors": "a.txt"} | options
    with pytest.raises(InputError, match=message):
        parse(values)


@pytest.mark.slow
def test_the_command_trains_with_vectors(tmp_path: Path, run_train: Run) -> None:
    vectors = write_vectors(tmp_path / "v.vec")
    (tmp_path / "unseen.txt").write_text("\n".join(make_texts(UNSEEN)[0][:4]) + "\n")
    options = [*write_files(tmp_path), f"model.vectors={vectors}", "trainer.ensemble=2"]
    done = run_train(*options, "run_dir=a")
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "a" / "train.log").read_text()
    assert "distinct tokens of train have one" in log
    facts = json.loads((tmp_path / "a" / "data.json").read_text())
    assert any("most frequent without: " in note for note in facts["notes"])
    assert json.loads((tmp_path / "a" / "metrics.json").read_text())["test"]["accuracy"] == 1
    # A cache knows vectors by their content.
    assert "(cached)" in run_train(*options, "run_dir=b").stdout
    write_vectors(vectors, seed=1)
    again = run_train(*options, "run_dir=c")
    assert "(cached)" not in again.stdout
    vectors.unlink()
    model = Classifier.load(tmp_path / "a")
    assert model.parts.vectors is not None
    assert model.parts.vectors["name"] == "v.vec"
    assert model.predict(make_texts(UNSEEN)[0]) == make_texts(UNSEEN)[1]
    assert "v.vec: there is no such file" in one_line(run_train(*options, "run_dir=d"))


def test_a_tokenizer_of_pieces_is_refused(tmp_path: Path, run_train: Run) -> None:
    vectors = write_vectors(tmp_path / "v.vec")
    refused = run_train(*write_files(tmp_path), f"model.vectors={vectors}", "tokenizer=bpe")
    assert "tokenizer=bpe makes tokens of other kinds: set tokenizer=basic" in one_line(refused)


def test_a_packages_static_embeddings_know_words_that_train_lacks(tmp_path: Path) -> None:
    found = importlib.util.find_spec("wordllama")
    if found is None or found.origin is None:
        pytest.skip("wordllama, which ships static embeddings, is not installed")
    package = Path(found.origin).parent
    (tmp_path / "model.safetensors").symlink_to(package / "weights" / "l2_supercat_256.safetensors")
    (tmp_path / "tokenizer.json").symlink_to(
        package / "tokenizers" / "l2_supercat_tokenizer_config.json"
    )
    texts = ["a dog and its puppy", "the cat eats a mouse", "stocks and shares fell", "a bank loan"]
    labels = ["animals", "animals", "money", "money"]
    estimator = TextClassifier(vectors=str(tmp_path)).fit(texts * 4, labels * 4)
    assert estimator.predict(["horse", "investor", "rabbit", "credit"]).tolist() == [
        "animals", "money", "animals", "money",
    ]  # fmt: skip
