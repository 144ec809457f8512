"""Which steps a GPU trains by: what its kernels have, and what they have shown. None is needed."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from tests.conftest import PROJECT, bags_of, make_config, with_options, write_files
from tests.interpreter import DEVICE, HAS_GPU
from textcls import run
from textcls.config import Config, OptimizerConfig, TrainerConfig
from textcls.data.bags import Bags
from textcls.data.composition import Composition
from textcls.errors import InputError
from textcls.model.embedding_bag import EmbeddingBagClassifier, hold_scores
from textcls.pooling import KERNEL_MODES
from textcls.task.objective import Objective
from textcls.training import cases, choice, proof, proven
from textcls.training.cases import Case
from textcls.training.checkpoint import Checkpoints
from textcls.training.choice import LACKING, Training, lacking
from textcls.training.loop import fit
from textcls.training.optimizer import Optimizer
from textcls.training.proof import Finding
from textcls.training.sampling import ClassSampler
from textcls.training.tracking import Listener
from textcls.values import Mode, OptimizerName

if sys.platform != "linux":
    pytest.skip("Triton is for Linux", allow_module_level=True)

NAMES = ("a", "b", "c")
ROWS = [[2 + i % 7, 2 + i % 5, 2 + i % 11][: 1 + i % 3] for i in range(24)]
BAGS = bags_of(ROWS, 16)
FAULTY = str(PROJECT / "tests" / "faulty_kernels.py")
PLENTY = 1 << 30


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Take this device for a GPU, on which tiny cases are tried."""
    monkeypatch.setattr(choice, "is_gpu", lambda device: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * PLENTY, 4 * PLENTY))
    for name, size in (("_BAGS", 4), ("_ROWS", 64), ("_TOKENS", 64), ("_CLASSES", 3)):
        monkeypatch.setattr(cases, name, (size,))
    return monkeypatch


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    logging.getLogger("textcls").propagate = True
    caplog.set_level(logging.INFO)
    return caplog


def trained(kernels: str = "auto", cache_dir: Path | None = None) -> dict[str, Tensor]:
    """Return the weights of a short training."""
    config = make_config("trainer.epochs=1", "trainer.batch_size=8", "model.dropout=0")
    config = with_options(config, "trainer", kernels=kernels, monitor="loss")
    torch.manual_seed(1)
    model = EmbeddingBagClassifier(16, 4, 3, "mean").to(DEVICE)
    fit(model, BAGS, None, NAMES, config, Checkpoints(), Listener(), cache_dir)
    return model.state_dict()


def lines(log: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """Return what the log says of the choice."""
    return [(r.levelno, r.getMessage()) for r in log.records if "training by" in r.getMessage()]


# --- what is proven at the first training --------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("wrong", r"gave something else: embedding\.weight is off by \d\.\de[-+]\d\d of its change"),
        ("raises", r"failed here \(RuntimeError: an illegal memory access was encountered\)"),
        ("hangs", r"did not return within 2 s"),
        ("dies", r"ended by exit status 1 \(Segmentation fault\)"),
        ("slower", r"are slower: a step takes .* ms, by torch's operators .* ms"),
    ],
)
def test_kernels_at_fault_leave_training_to_torchs_operators(
    fault: str, says: str, gpu: pytest.MonkeyPatch, log: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    gpu.setattr(proven, "COMMAND", (sys.executable, FAULTY, fault))
    if fault == "hangs":
        gpu.setattr(proven, "LONGEST", 2.0)
    found = trained(cache_dir=tmp_path)
    ((level, line),) = lines(log)
    assert level == logging.WARNING
    assert line.startswith("training by torch's own operators: ")
    assert re.search(says, line)

    expected = trained(kernels="torch")
    for name, value in expected.items():
        assert torch.equal(found[name], value)

    # It is remembered: nothing is tried again.
    gpu.setattr(proven, "COMMAND", ("no program",))
    log.clear()
    trained(cache_dir=tmp_path)
    assert lines(log) == [(level, line)]


def test_proven_kernels_are_taken(
    gpu: pytest.MonkeyPatch, log: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    gpu.setattr(proven, "COMMAND", (sys.executable, FAULTY, "none"))
    found = trained(cache_dir=tmp_path)
    ((level, line),) = lines(log)
    assert level == logging.INFO
    assert line.startswith("training by Triton's kernels: on 2")
    assert "3 steps were those of torch's operators" in line
    assert line.endswith("2.5 times as fast")
    expected = trained(kernels="torch")
    assert any(not torch.equal(found[name], value) for name, value in expected.items())
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)
