from __future__ import annotations

import copy
import dataclasses
import functools
import gc
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hypothesis import settings
from matplotlib.figure import Figure
from matplotlib.image import imsave
from omegaconf import DictConfig, OmegaConf

from tests import warm
from textcls.app.compose import to_config
from textcls.config import Config
from textcls.data.bags import Bags
from textcls.values import Mode

PROJECT = Path(__file__).resolve().parents[1]
if TYPE_CHECKING:
    from textcls import Classifier

SHARED = PROJECT.parent / "shared" / "data"
# Of the modes each part alone, all of them together, and what is learned.
MODES: tuple[Mode, ...] = (
    "mean", "sum", "sqrtn", "max", "mean+sum+sqrtn+max",
    "weighted_mean", "weighted_sum", "weighted_sqrtn",
)  # fmt: skip
# Small OpenMP regions on few, busy cores are slower with several threads than with one.
torch.set_num_threads(1)
# The machine may be busy, and a first call may import: time is no property of the code.
settings.register_profile("textcls", deadline=None)
settings.load_profile("textcls")

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def shared(path: str) -> Path:
    """Return a file of the real data, or skip where this machine has none."""
    if not (SHARED / path).exists():
        pytest.skip(f"no real data on this machine: {SHARED / path}")
    return SHARED / path


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import the tests; nothing of what this makes is garbage, nor ever searched for some."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def make_config(*overrides: str) -> Config:
    """Compose a configuration as the command line would, of a plain bag of words unless said.

    The defaults are ``experiment=null``. Absolute paths, by which alone most tests' configurations
    differ, are set in what Hydra has composed of the rest: it takes 0.2 s each time.
    """
    paths = [override for override in overrides if re.fullmatch(r"[\w.]+=/[\w./-]+", override)]
    cfg = copy.deepcopy(_composed(tuple(o for o in overrides if o not in paths)))
    for key, _, path in (override.partition("=") for override in paths):
        OmegaConf.update(cfg, key, path)
    return to_config(cfg)


@functools.cache
def _composed(overrides: tuple[str, ...]) -> DictConfig:
    GlobalHydra.instance().clear()
    named = any(override.startswith("experiment=") for override in overrides)
    with initialize_config_dir(str(PROJECT / "configs"), version_base="1.3"):
        base = [] if named else ["experiment=plain"]
        given = [override for override in overrides if override != "experiment=null"]
        return compose("config", overrides=[*base, *given])


def seed_cpu(seed: int) -> None:
    """Seed what is drawn on the CPU: ``torch.manual_seed`` takes milliseconds for other devices."""
    torch.default_generator.manual_seed(seed)


def with_options(config: Config, group: str, **changes: Any) -> Config:
    changed = dataclasses.replace(getattr(config, group), **changes)
    return dataclasses.replace(config, **{group: changed})


def bags_of(rows: list[list[int]], num_embeddings: int, labels: list[int] | None = None) -> Bags:
    """Return bags of these token ids, by default of the labels 0, 1, 2, 0, ..."""
    offsets = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    indices = torch.tensor([token for row in rows for token in row], dtype=torch.int32)
    numbers = torch.arange(len(rows)) % 3 if labels is None else torch.tensor(labels)
    return Bags(indices, offsets, numbers, num_embeddings)


def pytest_report_header() -> str | None:
    """Name the GPU, where there is one: what it passed is worth a report."""
    if not torch.cuda.is_available():
        return None
    from textcls.training.proven import machine

    return ", ".join(f"{key} {value}" for key, value in machine(torch.device("cuda")).items())


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def train_environment(cache_dir: Path) -> dict[str, str]:
    return os.environ | {
        "TEXTCLS_CACHE": str(cache_dir),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "COLUMNS": "120",
        "PYTHONUTF8": "1",
    }


def start_train(arguments: Sequence[str], cwd: Path, cache_dir: Path) -> warm.Process:
    """Start the real ``train.py``, and do not wait for it."""
    return warm.start([*warm.TRAIN, *arguments], cwd, train_environment(cache_dir))


def run_cold(
    arguments: Sequence[str], cwd: Path, cache_dir: Path, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run ``train.py`` as a shell would, which takes seconds more than :func:`start_train`."""
    return subprocess.run(
        [*warm.TRAIN, *arguments],
        cwd=cwd,
        env=train_environment(cache_dir) | options.pop("env", {}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **options,
    )


def wait_for_epochs(run: Path, child: warm.Process) -> None:
    """Wait until two epochs of the run are over."""
    log = run / "epochs.jsonl"
    for _ in range(1200):
        if log.exists() and log.read_text().count("\n") >= 2:
            return
        assert child.poll() is None, child.communicate()
        time.sleep(0.05)
    raise AssertionError(f"{run} never got as far")


@pytest.fixture
def run_train(tmp_path: Path, cache_dir: Path) -> Run:
    """Run the real ``train.py`` in a shell's stead, in an empty folder.

    With options of ``subprocess.run`` it is :func:`run_cold`.
    """

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        if options:
            return run_cold(arguments, tmp_path, cache_dir, **options)
        return warm.finish(start_train(arguments, tmp_path, cache_dir))

    return run


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    """Return the one line of an error, after checking that there is nothing else."""
    assert "Traceback" not in result.stdout + result.stderr, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


WORDS: dict[str, Sequence[str]] = {
    "good": ("great", "lovely", "superb", "moving", "warm"),
    "bad": ("dull", "awful", "weak", "cold", "broken"),
}


def write_csv(path: Path, rows: int, header: str = "text,label", shift: int = 0) -> Path:
    """Write rows of two classes that a bag model learns at once."""
    lines = [header]
    for i in range(rows):
        label = ("good", "bad")[i % 2]
        words = WORDS[label]
        text = f"item {i % 7} was {words[(i + shift) % 5]} and {words[(i // 3 + shift) % 5]}"
        lines.append(f"{text},{label}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_files(folder: Path) -> list[str]:
    """Write a train and a test file; return the options that name them."""
    train = write_csv(folder / "train.csv", 120)
    test = write_csv(folder / "test.csv", 40, shift=1)
    return ["data=local", f"data.train={train}", f"data.test={test}"]


# Rows of a small corpus of several labels a text.
SIZES = {"train": 210, "validation": 70, "test": 63}


def write_labelled(folder: Path) -> list[str]:
    """Write files of any number of three labels a row; return the options that name them."""
    options = ["data=local"]
    for name, rows in SIZES.items():
        lines = []
        for i in range(rows):
            has = {"bad": i % 2 > 0, "good": i % 3 < 2, "odd": i % 7 > 2}
            labels = [label for label in has if has[label]]
            signs = [word for label in labels for word in WORDS.get(label, ())[i % 4 :][:2]]
            lines.append(json.dumps({"text": f"item {i % 7} {' '.join(signs)}", "labels": labels}))
        path = folder / f"{name}.jsonl"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        options.append(f"data.{name}={path}")
    return options


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """A run folder of any number of labels a text, for tests that only read it; with its files."""
    from textcls import run

    folder = tmp_path_factory.mktemp("labelled")
    files = write_labelled(folder)
    run.start(make_config(*files, f"cache_dir={cache_dir}", "trainer.epochs=10"), folder / "run")
    return folder / "run"


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return write_files(tmp_path)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """A run folder, for tests that only read it; its files are beside it."""
    from textcls import run

    folder = tmp_path_factory.mktemp("trained")
    config = make_config(*write_files(folder), f"cache_dir={cache_dir}", "trainer.epochs=3")
    run.start(config, folder / "run")
    return folder / "run"


@pytest.fixture(scope="session")
def classifier(trained: Path) -> Classifier:
    from textcls import Classifier

    return Classifier.load(trained)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of this process write blank pictures: to draw them takes most of a small run's time."""

    def blank(figure: Figure, path: Path) -> npt.NDArray[np.uint8]:
        pixels = np.zeros((2, 2, 3), np.uint8)
        imsave(path, pixels)
        return pixels

    monkeypatch.setattr("textcls.result._pixels", blank)


def python_calls(function: Callable[[], Any]) -> int:
    """Count the functions that are called, Python's and C's."""
    calls: Counter[str] = Counter()

    def count(frame: Any, event: str, argument: Any) -> None:
        calls[event] += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls.total()
