"""Which steps a GPU trains by: what its kernels have, and what they have shown. None is needed."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from tests.conftest import PROJECT, bags_of, make_config, with_options, write_files
from tests.interpreter import DEVICE, HAS_GPU
from textcls import run
from textcls.data.bags import Bags
from textcls.errors import InputError
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.pooling import TransposedEmbeddingBag
from textcls.task.objective import Objective
from textcls.training import cases, choice, proof, proven
from textcls.training.cases import Case
from textcls.training.checkpoint import Checkpoints
from textcls.training.loop import fit
from textcls.training.proof import Finding
from textcls.training.steps import Steps
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
        (
            "wrong",
            r"gave something else: embedding\.weight is off by \d\.\de.\d\d of its change",
        ),
        ("raises", r"failed here \(RuntimeError: an illegal memory access was encountered\)"),
        ("hangs", r"did not return within 2 s"),
        ("dies", r"ended by SIGSEGV \(it said nothing\)"),
    ],
)
def test_kernels_at_fault_leave_training_to_torchs_operators(
    fault: str, says: str, gpu: pytest.MonkeyPatch, log: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    command = (sys.executable, FAULTY, fault)
    if fault == "dies":
        command = (sys.executable, "-c", "import os; os.kill(os.getpid(), 11)")
    if fault == "hangs":
        gpu.setattr(proven, "LONGEST", 2.0)
    gpu.setattr(proven, "COMMAND", command)
    found = trained(cache_dir=tmp_path)
    ((level, line),) = lines(log)
    assert level == logging.WARNING
    assert line.startswith("training by torch's own operators: ")
    assert re.search(says, line)

    for name, value in trained(kernels="torch").items():
        torch.testing.assert_close(found[name], value, rtol=1e-5 * HAS_GPU, atol=1e-7 * HAS_GPU)

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
    assert "6 steps were those of torch's operators" in line
    assert line.endswith("2.5 times as fast")
    expected = trained(kernels="torch")
    assert any(not torch.equal(found[name], value) for name, value in expected.items())
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


# The command of one that is proven, which says each time that it ran.
PROVEN = Finding(steps=3, tokens=1.0, seconds={"triton": 1.0, "torch": 2.0})
TELLING = """
import pathlib, sys
with pathlib.Path(sys.argv[1]).open("a") as file:
    file.write(sys.stdin.read() + "\\n")
print("Triton may say something before")
print(sys.argv[2])
"""


@pytest.fixture
def told(gpu: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that has a line of each time that something is tried."""
    path = tmp_path / "told.txt"
    gpu.setattr(proven, "COMMAND", (sys.executable, "-c", TELLING, str(path), as_json(PROVEN)))
    return path


def as_json(found: Finding) -> str:
    return json.dumps(dataclasses.asdict(found))


def test_the_runs_of_a_sweep_and_the_trials_of_a_search_prove_once(
    told: Path, gpu: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpu.setattr(choice, "no_triton", lambda device: None)
    gpu.setattr("textcls.training.captured.CapturedSteps", plain_steps)
    options = [*write_files(tmp_path), f"cache_dir={tmp_path / 'cache'}", "trainer.epochs=1"]
    for seed in (1, 2):
        run.go_on(make_config(*options, f"seed={seed}"), tmp_path / f"seed={seed}", {"seed": "1"})
    config = make_config(*options, "seed=3")
    run.try_out(config, tmp_path / "trial", DEVICE, Listener())  # type: ignore[arg-type]
    for name in ("seed=1", "seed=2", "trial"):
        text = (tmp_path / name / "train.log").read_text(encoding="utf-8")
        assert text.count("training by Triton's kernels: on 2") == 1
    (asked,) = told.read_text(encoding="utf-8").splitlines()
    assert json.loads(asked)["case"]["mode"] == "mean"


def plain_steps(model: Any, optimizer: Any, train: Bags, *arguments: Any) -> Steps:
    """Take the place of captured steps, which take seconds in the interpreter."""
    return Steps(model, optimizer, train.to(DEVICE), *arguments[:3])


def test_another_machine_and_another_case_are_tried(
    told: Path, gpu: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mean = Case("mean", 4)
    tries = 0
    for case, torch_version, again in (
        (mean, "2.8", True),
        (mean, "2.8", False),
        (mean, "2.9", True),
        (dataclasses.replace(mean, optimizer="adam"), "2.9", True),
        (dataclasses.replace(mean, mode="max"), "2.9", True),
        (mean, "2.8", False),
    ):
        gpu.setattr(torch, "__version__", torch_version)
        proven.proven(case, DEVICE, tmp_path)
        tries += again
        assert told.read_text(encoding="utf-8").count("\n") == tries
    assert len(proven.remembered(proven.machine(DEVICE), tmp_path)) == 1
    for path in (tmp_path / proven.FOLDER).glob("*.json"):
        path.write_text("{")  # damaged: it is tried again
    assert proven.proven(mean, DEVICE, tmp_path).fault is None
    assert told.read_text(encoding="utf-8").count("\n") == tries + 1


def test_nowhere_to_remember_it_is_no_fault(told: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (None, tmp_path / "file" / "cache"):
        assert proven.proven(Case("mean", 4), DEVICE, folder).fault is None
    assert told.read_text(encoding="utf-8").count("\n") == 2


# --- what is compared ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case",
    [
        Case("mean+sum+max", 5, 3, 64, 4, 64),
        pytest.param(
            Case("weighted_sum", 8, 3, 64, 4, 64, False, "sgd", True, True, True, True, True, True),
            marks=pytest.mark.slow,
        ),
    ],
    ids=str,
)
def test_a_step_of_the_kernels_is_that_of_the_reference(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("STEPS", 3), ("EPOCHS", 1), ("TIMED", 1)):
        monkeypatch.setattr(proof, name, value)
    found = proof.prove(case, DEVICE)
    assert found.weights < 1e-5
    assert found.loss < 1e-6
    assert found.steps == 6
    assert found.torch_fault is None
    if not HAS_GPU:  # the interpreter takes a hundred times as long
        assert found.fault is not None
        assert "are slower: a step takes" in found.fault


@pytest.mark.parametrize(
    ("dim", "rows", "batch_size", "sizes"),
    [
        (32, 5_000, 100, (1 << 13, 256)),
        (32, 8_192, 32, (1 << 13, 32)),
        (32, 10_000_000, 32_768, (1 << 16, 2048)),
        (300, 10_000_000, 32_768, (1 << 13, 32)),
        (65_536, 10_000_000, 32_768, (1 << 10, 32)),
    ],
)
def test_a_case_is_as_large_as_its_training_but_takes_seconds(
    dim: int, rows: int, batch_size: int, sizes: tuple[int, int]
) -> None:
    with torch.device("meta"):
        embedding = TransposedEmbeddingBag(rows, dim, "mean", sparse=True)
    optimizer = make_config("optimizer=adamw", "optimizer.weight_decay=0.1").optimizer
    case = cases.case_of(embedding, BAGS, 3, batch_size, optimizer, Objective(clip_norm=1.0))
    assert (case.rows, case.bags) == sizes
    wanted = Case("mean", dim, 16, *sizes, 16, True, "adamw", decays=True, clips=True)
    assert case == wanted


@pytest.mark.parametrize("optimizer", get_args(OptimizerName))
@pytest.mark.parametrize("mode", ["mean", "weighted_sum"])
def test_little_that_is_wrong_is_seen(mode: Mode, optimizer: OptimizerName) -> None:
    """A thousandth of one step's gradient is missing; and torch beside torch is no difference."""
    case = Case(mode, 4, 2, 64, 4, 16, touched=False, optimizer=optimizer)
    bags = cases.bags_of(case, 4)
    for missing in (0.0, 1e-3):
        one = proof.Trial(case, bags, proof.CPU, Steps)
        weight = one.model.embedding.weight
        weight.register_hook(  # type: ignore[no-untyped-call]
            lambda grad, kept=1 - missing: grad * kept
        )
        differences = proof.Differences()
        differences.add(one, 1)
        assert (differences.fault is None) == (not missing), differences.shares
    weight.register_hook(  # type: ignore[no-untyped-call]
        lambda grad: grad * torch.nan
    )
    differences.add(one, 1)
    assert "embedding.weight is off by nan" in str(differences.fault)


# --- what is chosen ------------------------------------------------------------------------------


def test_either_can_be_forced(gpu: pytest.MonkeyPatch, log: pytest.LogCaptureFixture) -> None:
    gpu.setattr(proven, "COMMAND", ("no program",))
    trained(kernels="torch")
    gpu.setattr("textcls.training.captured.CapturedSteps", plain_steps)
    trained(kernels="triton")
    assert lines(log) == [
        (logging.INFO, "training by torch's own operators: trainer.kernels=torch"),
        (logging.INFO, "training by Triton's kernels, unproven: trainer.kernels=triton"),
    ]
    gpu.setattr(choice, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="kernels=triton: Triton is not installed: set trainer"):
        trained(kernels="triton")
    gpu.setattr(choice, "lacking", lambda training: "the focal loss")
    with pytest.raises(InputError, match="kernels=triton: does not have the focal loss: set"):
        trained(kernels="triton")
    gpu.setattr(choice, "is_gpu", lambda device: False)
    with pytest.raises(InputError, match=r"kernels=triton: is for a GPU, not for .*: set trainer"):
        trained(kernels="triton")
