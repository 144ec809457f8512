"""Several models folded into one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from tests.conftest import bags_of, make_config, with_options, write_files, write_labelled
from textcls import run, run_corpus
from textcls.errors import InputError
from textcls.files import read_epochs
from textcls.model.embedding_bag import EmbeddingBagClassifier, logits_of
from textcls.model.fold import fold
from textcls.model.folder import load_model
from textcls.pooling import Pooling
from textcls.task.multi import MultiLabel
from textcls.task.thresholds import fit_thresholds
from textcls.values import Mode

pytestmark = pytest.mark.usefixtures("undrawn")

BAGS = bags_of([[2, 3, 3], [], [4], [1, 5, 2, 2, 6], [7, 8, 9, 1]], 10)
MODES = get_args(Mode)


def models_of(mode: Mode, num_classes: int, count: int) -> list[EmbeddingBagClassifier]:
    models = []
    for seed in range(count):
        torch.manual_seed(seed)
        model = EmbeddingBagClassifier(10, 4, num_classes, mode, padding_id=1, dropout=0.3)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter)
        with torch.no_grad():
            model.embedding.weight[1] = 0
        models.append(model.eval())
    return models


@pytest.mark.parametrize("weights", [None, torch.linspace(0.2, 2, 13)])
@pytest.mark.parametrize("num_classes", [3, 40])
@pytest.mark.parametrize("mode", [mode for mode in MODES if Pooling.parse(mode).is_linear])
def test_it_says_the_mean_of_what_the_models_say(
    mode: Mode, num_classes: int, weights: Tensor | None
) -> None:
    bags = dataclasses.replace(BAGS, weights=weights)
    models = models_of(mode, num_classes, 3)
    folded = fold(models)
    expected = torch.stack([logits_of(model, bags) for model in models]).mean(0)
    assert torch.allclose(logits_of(folded, bags), expected, atol=1e-5)
    parts = len(Pooling.parse(mode).parts)
    assert folded.embedding.embedding_dim == min(parts * num_classes, 3 * 4)


@pytest.mark.parametrize("mode", [mode for mode in MODES if not Pooling.parse(mode).is_linear])
def test_what_is_not_linear_is_refused(mode: Mode) -> None:
    with pytest.raises(ValueError, match="cannot be folded"):
        fold(models_of(mode, 3, 2))


@pytest.mark.parametrize("refit", [False, True])
def test_a_run_keeps_the_mean_of_its_models(refit: bool, tmp_path: Path, cache_dir: Path) -> None:
    """The oracle: a run from each seed."""
    given = make_config(*write_files(tmp_path), f"cache_dir={cache_dir}", "trainer.epochs=2")
    config = with_options(given, "trainer", refit=refit, batch_size=32)
    for seed in (1, 2):
        run.start(dataclasses.replace(config, seed=seed), tmp_path / str(seed))
    found = run.start(with_options(config, "trainer", ensemble=2), tmp_path / "both")
    models = [load_model(tmp_path / name).model for name in ("1", "2", "both")]
    test = run_corpus.corpus(config, joined=refit).test
    logits = [logits_of(model, test) for model in models]
    assert torch.allclose(logits[2], (logits[0] + logits[1]) / 2, atol=1e-5)
    assert models[2].embedding.embedding_dim == 2
    place = tmp_path / "both" / ("refit/seed=2" if refit else "seed=2")
    assert len(read_epochs(place)) == 2
    assert found["ensemble"] == 2
    card = (tmp_path / "both" / "model" / "README.md").read_text(encoding="utf-8")
    assert "the mean of 2, folded into one" in card


def test_a_run_of_several_labels_keeps_the_mean_of_its_models(
    tmp_path: Path, cache_dir: Path
) -> None:
    """The oracle: a run from each seed; thresholds suit the mean of what these say."""
    given = make_config(*write_labelled(tmp_path), f"cache_dir={cache_dir}", "trainer.epochs=3")
    config = with_options(given, "trainer", refit=False, calibrate=False)
    for seed in (1, 2):
        run.start(dataclasses.replace(config, seed=seed), tmp_path / str(seed))
    run.start(with_options(config, "trainer", ensemble=2), tmp_path / "both")
    models = [load_model(tmp_path / name) for name in ("1", "2", "both")]
    prepared = run_corpus.corpus(config)
    for bags in (prepared.test, prepared.validation):
        logits = [logits_of(parts.model, bags) for parts in models]
        mean = (logits[0] + logits[1]) / 2
        assert torch.allclose(logits[2], mean, atol=1e-5)
        assert not torch.allclose(logits[0], mean, atol=1e-3)
    assert isinstance(models[2].task, MultiLabel)
    assert models[2].task.thresholds is not None
    expected = fit_thresholds(mean.sigmoid(), prepared.validation.targets)
    assert torch.allclose(models[2].task.thresholds, expected, atol=1e-5)


def test_a_run_whose_models_cannot_be_folded_is_refused(tmp_path: Path) -> None:
    config = make_config("model.mode=mean+max", "trainer.ensemble=3")
    with pytest.raises(InputError, match=r"trainer.ensemble=3: .* set trainer.ensemble=1"):
        run.start(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
