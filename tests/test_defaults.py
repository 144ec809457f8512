"""Settings that are left to the corpus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from tests.conftest import make_config, with_options, write_files
from textcls import defaults, run, run_corpus
from textcls.config import Config, flatten, read_config
from textcls.defaults import CorpusFacts, choose, measure
from textcls.errors import InputError
from textcls.model.folder import load_model
from textcls.tuning import search
from textcls.tuning.space import Range, TuneConfig
from textcls.values import CLASSES

pytestmark = pytest.mark.usefixtures("undrawn")

AUTO = [
    "tokenizer.ngrams=auto", "model.dim=auto", "model.dropout=auto", "optimizer.lr=auto",
    "trainer.epochs=auto", "trainer.batch_size=auto", "tokenizer.char_ngrams=auto",
    "tokenizer.counts=auto", "tokenizer.token_weights=auto",
    "tokenizer.char_token_weights=auto",
]  # fmt: skip
FACTS = CorpusFacts(108, 2, 7.0, 0.0)


@pytest.fixture
def config(tmp_path: Path, cache_dir: Path) -> Config:
    return make_config(*write_files(tmp_path), f"cache_dir={cache_dir}", *AUTO)


def test_facts_are_counted_over_all_chunks() -> None:
    chunks = [pa.array(["a b c", None, "  "]), pa.array([]).cast("string"), pa.array(["漢字 x"])]
    assert measure(chunks, 2) == CorpusFacts(4, 2, (3 + 2 + 2) / 4, 2 / 11)


def test_some_of_many_texts_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "COUNTED_TEXTS", 4)
    texts = ["a", "b b", "c c c"] * 4
    whole = measure([pa.array(texts)], 2)
    assert whole == CorpusFacts(12, 2, 1.0, 0.0)  # every third
    assert measure([pa.array(texts[:5]), pa.array(texts[5:6]), pa.array(texts[6:])], 2) == whole


def test_values_stand_in_the_place_of_auto(config: Config, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    found = run.start(with_options(config, "model", dim=7), folder)
    wanted = choose(FACTS, {"model.mode": "mean"})
    expected = {option.partition("=")[0] for option in AUTO} - {"model.dim"}
    assert found["chosen"] == {option: wanted[option] for option in expected}
    assert found["epochs"] == wanted["trainer.epochs"]
    kept = flatten(read_config(folder).to_dict())
    assert (kept["model.dim"], kept["trainer.epochs"]) == (7, "auto")
    parts = load_model(folder)
    assert parts.encoder.config.ngrams == wanted["tokenizer.ngrams"]
    assert parts.model.embedding.embedding_dim == 7
    epochs = wanted["trainer.epochs"]
    assert f"trainer.epochs={epochs}" in (folder / "train.log").read_text(encoding="utf-8")
    card = (folder / "model" / "README.md").read_text(encoding="utf-8")
    assert f"| trainer.epochs | {epochs} |" in card


def test_the_vocabulary_of_both_splits_is_made_alike(config: Config, tmp_path: Path) -> None:
    """With the rows of validation train may be large enough for other values."""
    config = with_options(config, "trainer", refit=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            defaults,
            "choose",
            lambda facts, given: (
                choose(facts, given) | {"tokenizer.ngrams": 1 + (facts.documents > 110)}
            ),
        )
        run.start(config, tmp_path / "run")
    assert load_model(tmp_path / "run").encoder.config.ngrams == 1


def test_a_corpus_is_tokenized_anew_when_the_rule_has_changed(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_corpus.corpus(config)
    assert run_corpus.corpus(config).from_cache
    monkeypatch.setattr(defaults, "VERSION", defaults.VERSION + 1)
    monkeypatch.setattr("textcls.data.key.VERSION", defaults.VERSION)
    assert run_corpus.corpus(config).key != first.key


def test_what_only_adagrad_has_is_refused_elsewhere() -> None:
    with pytest.raises(InputError, match=r"optimizer\.lr=auto is for Adagrad: give adam a number"):
        make_config("optimizer=adam", "optimizer.lr=auto")


@pytest.mark.parametrize("facts", [FACTS, CorpusFacts(10**6, 9, 300.0, 0.0)])
def test_what_is_given_goes_before_what_is_chosen(facts: CorpusFacts) -> None:
    given = make_config(*AUTO, "tokenizer.char_buckets=64", "tokenizer.buckets=64")
    found = defaults.resolve(given, facts).tokenizer
    assert (found.char_ngrams, found.ngrams) == (defaults.CHAR_NGRAMS, 2)
    given = make_config(*AUTO, "tokenizer.counts=null")
    found = defaults.resolve(given, facts).tokenizer
    assert (found.counts, found.token_weights) == (None, None)


def test_the_rate_of_a_table_of_class_scores_goes_with_it() -> None:
    """A dimension that is given has the rate of vectors, whatever the rule would have taken."""
    facts = CorpusFacts(12_000, 700, 10.0, 0.0, several=True)
    by_rule, given, asked = (
        defaults.resolve(make_config(*AUTO, f"model.dim={dim}", "model.mode=sqrtn"), facts)
        for dim in ("auto", "64", "classes")
    )
    assert by_rule == asked
    assert (given.model.dim, given.optimizer.lr) == (64, 0.3)
    assert given.optimizer.lr < asked.optimizer.lr
    assert choose(CorpusFacts(10**7, 700, 10.0, 0.0, several=True))["model.dim"] == 256


def test_classes_that_are_few_or_large_have_scores_in_place_of_vectors() -> None:
    def dim(documents: int, classes: int, **given: Any) -> int | str:
        found: int | str = choose(CorpusFacts(documents, classes, 10.0, 0.0), given)["model.dim"]
        return found

    assert dim(100, 10) == dim(11_000, 11) == dim(32_000, 32) == CLASSES
    assert dim(10_999, 11) == dim(33_000, 33) == 32
    assert dim(100, 10, **{"model.mode": "max"}) == 16


def test_steps_of_class_scores_are_longer_and_fewer() -> None:
    facts = CorpusFacts(12_000, 2, 10.0, 0.0)
    scores, vectors = choose(facts), choose(facts, {"model.dim": 16})
    assert (scores["optimizer.lr"], scores["trainer.batch_size"]) == (1.0, 64)
    assert (vectors["optimizer.lr"], vectors["trainer.batch_size"]) == (0.2, 32)
    large = choose(CorpusFacts(50_000, 2, 10.0, 0.0))
    assert (large["optimizer.lr"], large["trainer.batch_size"]) == (1.5, 128)
    several = choose(CorpusFacts(12_000, 2, 10.0, 0.0, several=True))
    assert (several["optimizer.lr"], several["trainer.batch_size"]) == (1.0, 32)


def test_what_needs_vectors_or_all_scores_has_them() -> None:
    """Sampled classes need vectors; errors that count by distance need the scores of all."""
    facts = CorpusFacts(12_000, 700, 10.0, 0.0, several=True)
    for count, dim in ((100, 256), (700, CLASSES)):
        given = make_config(*AUTO, f"trainer.sampled_classes={count}", "model.mode=sqrtn")
        assert defaults.resolve(given, facts).model.dim == dim
    ordered = CorpusFacts(300_000, 6_000, 12.0, 0.0)
    given = make_config(*AUTO, "trainer.ordinal=1", "trainer.sampled_classes=auto")
    assert defaults.resolve(given, ordered).trainer.sampled_classes is None


def test_weights_of_classes_leave_labels_as_sharp_as_they_are() -> None:
    """Smoothed labels would say of each text that it is a bit of the rarest, heaviest class."""
    auto = "trainer.label_smoothing=auto"
    for option in ("trainer.class_weights=balanced", "trainer.logit_adjustment=0.5"):
        assert defaults.resolve(make_config(auto, option), FACTS).trainer.label_smoothing == 0
        given = make_config("trainer.label_smoothing=0.2", option)
        assert defaults.resolve(given, FACTS).trainer.label_smoothing == 0.2
    plain = make_config(auto, "trainer.logit_adjustment=0")
    assert defaults.resolve(plain, FACTS).trainer.label_smoothing == 0.1


def test_a_run_of_class_scores_ends_with_a_table_of_them(config: Config, tmp_path: Path) -> None:
    run.start(with_options(config, "model", dim="classes"), tmp_path / "run")
    model = load_model(tmp_path / "run").model
    assert model.embedding.embedding_dim == model.linear.out_features == 2
    scale = model.linear.weight[0, 0]
    torch.testing.assert_close(model.linear.weight, scale * torch.eye(2))


def test_a_search_begins_with_the_chosen_values(config: Config, tmp_path: Path) -> None:
    space: dict[str, Any] = {"model.dim": (8, 16, 32), "optimizer.lr": Range(0.05, 0.5)}
    config = with_options(config, "trainer", refit=True, epochs=2)
    search.start(config, TuneConfig(60, 2, space), tmp_path / "search", [])
    folder = tmp_path / "search"
    first = read_config(folder / "trials" / "0000")
    wanted = choose(FACTS, {"model.mode": "mean"})
    assert first.optimizer.lr == wanted["optimizer.lr"]
    assert first.model.dim == wanted["model.dim"]
    assert "outside" not in (folder / "tune.log").read_text(encoding="utf-8")
    assert not (folder / "trials" / "0000" / "refit").exists()
    metrics = json.loads((folder / "best" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["fitted_on"]["validation"] == 12


def test_the_space_of_a_learning_rate_that_is_left_open_is_about_that_of_adagrad() -> None:
    from textcls.app.compose import _times

    assert _times("auto", 3) == pytest.approx(3 * defaults.LEARNING_RATE)


def test_of_very_many_classes_some_are_sampled() -> None:
    few, many = (CorpusFacts(300_000, classes, 12.0, 0.0) for classes in (5_000, 5_001))
    assert choose(few)["trainer.sampled_classes"] is None
    assert choose(many)["trainer.sampled_classes"] == 2_000
    assert choose(many, {"model.dim": CLASSES})["trainer.sampled_classes"] is None
