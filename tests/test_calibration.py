"""Temperature, calibration error, reliability diagram."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.conftest import make_config, with_options
from textcls import run, run_corpus
from textcls.model.embedding_bag import logits_of
from textcls.model.folder import load_model
from textcls.task.calibration import HIGHEST, LOWEST, fit_temperature, reliability


def test_bins_are_those_of_the_definition() -> None:
    confidence = torch.tensor([0.2, 0.5, 0.5001, 0.6, 0.61, 1.0, 1.0, 0.99])
    right = torch.tensor([True, False, True, True, False, True, True, False])
    found = reliability(confidence, right)
    error = 0.0
    for i in range(15):
        inside = (confidence.double() > i / 15) & (confidence.double() <= (i + 1) / 15)
        assert found.counts[i] == inside.sum()
        if inside.any():
            gap = right[inside].double().mean() - confidence[inside].double().mean()
            error += float(inside.sum() / 8 * gap.abs())
    assert found.error == pytest.approx(error)


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_of_drawn_labels_is_found_again(true: float) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(20_000, 5, generator=generator) * 2
    labels = (logits / true).softmax(1).multinomial(1, generator=generator).flatten()
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(true, rel=0.05)
    losses = [F.cross_entropy(logits / t, labels) for t in (found, found * 0.98, found * 1.02)]
    assert losses[0] == min(losses)


def test_few_rows_and_odd_ones_have_a_temperature_too() -> None:
    logits = torch.tensor([[4.0, 0.0], [0.0, 4.0]])
    # Right twice: not certain. Wrong twice: not certain either.
    assert LOWEST < fit_temperature(logits, torch.tensor([0, 1])) < HIGHEST
    assert fit_temperature(logits, torch.tensor([1, 0])) == pytest.approx(HIGHEST)
    assert fit_temperature(torch.zeros(2, 2), torch.tensor([0, 1])) == 1
    many = logits.repeat(1000, 1)
    assert fit_temperature(many, torch.arange(2000) % 2) < 1


@pytest.mark.parametrize("refit", [False, True])
def test_a_run_is_calibrated_on_validation(refit: bool, tmp_path: Path, cache_dir: Path) -> None:
    given = make_config("data=headlines", f"cache_dir={cache_dir}", "trainer.epochs=20")
    given = with_options(given, "trainer", refit=refit)
    given = with_options(given, "optimizer", lr=0.5)
    plain = run.start(given, tmp_path / "plain")
    found = run.start(with_options(given, "trainer", calibrate=True), tmp_path / "calibrated")
    assert plain["temperature"] is None
    temperature = found["temperature"]
    assert found["validation"]["loss"] < plain["validation"]["loss"]
    assert found["test"]["loss"] < plain["test"]["loss"]
    assert found["test"]["ece"] < plain["test"]["ece"]
    assert found["test"]["accuracy"] == plain["test"]["accuracy"]
    test = run_corpus.corpus(given, joined=refit).test
    scores = [
        logits_of(load_model(tmp_path / name).model, test) for name in ("plain", "calibrated")
    ]
    assert torch.allclose(scores[0] / temperature, scores[1], atol=1e-5)
    config = json.loads((tmp_path / "calibrated" / "model" / "config.json").read_text())
    assert config["temperature"] == load_model(tmp_path / "calibrated").temperature == temperature
    assert (tmp_path / "calibrated" / "calibration.png").stat().st_size > 10_000
    assert np.isfinite(found["validation"]["ece"])
