"""Training with fastText's arguments."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import textcls.fasttext
from tests.command import complaint
from tests.command import textcls as run
from tests.test_fasttext import fasttext

TOPICS = {"sport": "ball goal team", "food": "bread soup taste", "rain": "cloud wet storm"}
SMALL = {"dim": 12, "bucket": 2_000, "epoch": 10, "lr": 0.5}


def write(path: Path, count: int, seed: int, several: bool = False) -> Path:
    """Write texts in which a third of the words tell the topic, and mostly the right one."""
    chance = random.Random(seed)
    lines = []
    for number in range(count):
        topics = [*TOPICS][: 1 + number % 3]  # the first is the most frequent
        topic = chance.choice(topics)
        words = chance.choices(TOPICS[topic].split(), k=2) + chance.choices(
            [f"w{i}" for i in range(50)], k=4
        )
        second = f" __label__{topics[0]}" if several and topic != topics[0] else ""
        chance.shuffle(words)
        lines.append(f"__label__{topic}{second} {' '.join(words)}\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("texts")
    return write(folder / "train.txt", 400, 1), write(folder / "test.txt", 200, 2)


@pytest.mark.parametrize("loss", ["softmax", "ova"])
def test_it_learns_what_fasttext_learns(
    loss: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    settings = SMALL | {"loss": loss, "wordNgrams": 2, "minn": 2, "maxn": 3}
    source, test = map(str, files)
    ours = textcls.fasttext.train_supervised(source, **settings)
    theirs = fasttext.train_supervised(source, **settings, thread=1, verbose=0)
    assert ours.test(test)[1] >= theirs.test(test)[1] - 0.02
    assert ours.test(test)[1] > 0.9
    assert ours.get_labels(include_freq=True)[0] == theirs.get_labels()
    counts = (one.get_labels(include_freq=True)[1].tolist() for one in (ours, theirs))
    assert len({tuple(of_one) for of_one in counts}) == 1
    assert sorted(ours.words) == sorted(theirs.words)
    for name in ("dim", "epoch", "wordNgrams", "minn", "maxn", "bucket", "minCount"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.get_input_matrix().shape == theirs.get_input_matrix().shape

    # fastText reads it, and predicts as we do.
    ours.save_model(tmp_path / "model.bin")
    loaded = fasttext.load_model(str(tmp_path / "model.bin"))
    lines = [line.split(" ", 1)[1] for line in files[1].read_text("utf-8").splitlines()]
    names, values = loaded.predict(lines, k=1)
    own_names, own_values = ours.predict(lines, k=1)
    assert names == own_names
    np.testing.assert_allclose(np.ravel(own_values), np.ravel(values), atol=0.01)


def test_the_result_is_the_same_whatever_the_threads(files: tuple[Path, Path]) -> None:
    before, state = torch.get_num_threads(), torch.get_rng_state()
    found = [
        textcls.fasttext.train_supervised(str(files[0]), thread=threads, seed=seed, **SMALL)
        for threads, seed in ((1, 3), (2, 3), (2, 4))
    ]
    matrices = [one.get_input_matrix() for one in found]
    np.testing.assert_array_equal(matrices[0], matrices[1])
    assert (matrices[0] != matrices[2]).any()
    assert torch.get_num_threads() == before
    assert torch.equal(torch.get_rng_state(), state)


def test_several_labels_share_a_text(tmp_path: Path) -> None:
    source = write(tmp_path / "several.txt", 400, 1, several=True)
    model = textcls.fasttext.train_supervised(source, **SMALL)
    of_each = textcls.fasttext.train_supervised(source, loss="ova", **SMALL)
    start = "__label__rain __label__sport "
    lines = [line.removeprefix(start) for line in source.open() if line.startswith(start)]
    names, values = model.predict(lines, k=2)
    assert {frozenset(both) for both in names} == {frozenset(start.split())}
    np.testing.assert_allclose(np.mean(values, 0), 0.5, atol=0.15)
    assert np.mean(of_each.predict(lines, k=2)[1]) > 0.8


def test_a_pruned_model_is_trained_again(files: tuple[Path, Path]) -> None:
    source, test = map(str, files)
    accuracy, few = [], {"epoch": 1, "lr": 0.001}
    for retrain in (False, True):
        model = textcls.fasttext.train_supervised(source, wordNgrams=2, **SMALL | few)
        model.quantize(source, cutoff=300, retrain=retrain, epoch=10, lr=0.5, qnorm=True)
        assert model.is_quantized()
        accuracy.append(model.test(test)[1])
    assert accuracy[1] > accuracy[0] + 0.05, "nothing was learned"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "hs"}, "loss='hs': is not trained here: take one of softmax, ova"),
        ({"neg": 10}, "neg is for the loss 'ns'"),
        ({"label_prefix": "#"}, "label is not there"),
        ({"autotuneValidationFile": "x"}, "autotuneValidationFile is not there"),
        ({"dim": 0}, "dim=0: input should be greater"),
        ({"lr": -1.0}, "lr=-1.0: input should be greater"),
        ({"minCount": 10_000}, "minCount=10000 leaves no word"),
        ({"lr": 1e30}, "the training diverged: lower lr"),
    ],
)
def test_what_cannot_be_trained_is_one_line(
    arguments: dict[str, Any], message: str, files: tuple[Path, Path]
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        textcls.fasttext.train_supervised(str(files[0]), **SMALL | arguments)
    assert "\n" not in str(caught.value)


def test_arguments_that_there_are_not(files: tuple[Path, Path]) -> None:
    for arguments, message in (
        ({"size": 3}, "no argument size"), ({"lr": 0.1}, "given lr twice"),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=message):
            textcls.fasttext.train_supervised(str(files[0]), 0.2, **arguments)
    with pytest.raises(TypeError, match="needs input"):
        textcls.fasttext.train_supervised(lr=0.1)


def test_the_command_trains(
    files: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = [str(part) for name, value in SMALL.items() for part in (f"-{name}", value)]
    out = tmp_path / "model"
    given = ["fasttext", "supervised", "-input", files[0], "-output", out, *flags]
    assert "3 labels" in run(capfd, *given, "-ws", "5", "-wordNgrams", "2")
    model = textcls.fasttext.train_supervised(str(files[0]), wordNgrams=2, **SMALL)
    model.save_model(tmp_path / "other.bin")
    assert (tmp_path / "other.bin").read_bytes() == (tmp_path / "model.bin").read_bytes()
    assert "neg is for the loss" in complaint(capfd, *given, "-neg", "3")
