"""Learning curves: ``textcls curve``."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tests.command import complaint, start
from tests.conftest import make_config
from textcls.corpus.corpus import Source
from textcls.curve.design import drawn, num_draws, sizes_of
from textcls.curve.display import LearningCurve
from textcls.curve.forecast import Means, backtest, doubt, forecast
from textcls.curve.forms import Float64, fitted
from textcls.curve.measuring import Point
from textcls.task.names import SINGLE


@given(st.floats(0.1, 0.8), st.floats(0.1, 1.2), st.floats(0, 0.3))
def test_a_power_law_is_recovered(scale: float, power: float, floor: float) -> None:
    sizes: Float64 = np.array([10.0 * 2**i for i in range(10)])

    def curve(n: Float64) -> Float64:
        values: Float64 = 1 - floor - scale * (n / 10) ** -power * 0.8
        return values

    found = fitted("pow3", sizes, curve(sizes), np.ones_like(sizes))
    assert found(2 * sizes[-1:]) == pytest.approx(curve(2 * sizes[-1:]), abs=0.005)


def test_sizes_are_halves_down_to_a_row_a_class() -> None:
    assert sizes_of(1_000, 2) == [16, 31, 62, 125, 250, 500, 1_000]
    assert sizes_of(1_000, 100) == [125, 250, 500, 1_000]
    assert [num_draws(size) for size in (10, 1_000, 10_000, 10**5, 10**6)] == [5, 5, 3, 2, 1]


@given(st.integers(0, 9), st.integers(10, 50), st.integers(50, 100))
def test_draws_are_nested_and_reproducible(draw: int, small: int, large: int) -> None:
    few, many = (drawn(100, size, draw, 3) for size in (small, large))
    assert (few.sum(), many.sum()) == (small, large)
    assert not (few & ~many).any()
    assert (few == drawn(100, small, draw, 3)).all()
    assert (drawn(100, 50, draw, 3) != drawn(100, 50, draw + 1, 3)).any()


def _points(scores: dict[int, float], held: int = 2_000, draws: int = 3) -> list[Point]:
    """Return trainings whose right rows overlap as those of real models do."""
    rng = np.random.default_rng(0)
    hardness = rng.random(held)
    points = []
    for rows, score in scores.items():
        for draw in range(draws):
            right = (hardness + rng.normal(0, 0.05, held) < score).astype(np.float64)
            points.append(Point(rows, draw, float(right.mean()), 0.5, 0.1, right))
    return points


def test_the_band_holds_the_curve_that_goes_on() -> None:
    def curve(n: int) -> float:
        return 0.9 - 0.8 * math.pow(n, -0.4)

    means = Means.of(_points({n: curve(n) for n in sizes_of(5_120, 2)}))
    assert doubt(means) is None
    found = forecast(means, 10_240)
    assert found.low < curve(10_240) < found.high
    assert found.score == pytest.approx(curve(10_240), abs=0.01)
    assert backtest(means).score == pytest.approx(curve(5_120), abs=0.015)


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ({40: 0.5, 80: 0.6, 160: 0.7}, "3 sizes are too few"),
        (dict.fromkeys(sizes_of(1_280, 2), 0.8), "within the noise"),
        (dict(zip(sizes_of(1_280, 2), (0.5, 0.6, 0.7, 0.8, 0.8, 0.7, 0.6, 0.5), strict=True)),
         "the score falls from"),
    ],
)  # fmt: skip
def test_there_is_no_forecast_where_there_is_none(scores: dict[int, float], reason: str) -> None:
    points = _points(scores)
    found = LearningCurve(points, "corpus", "accuracy", SINGLE, max(scores), 2_000)
    (sentence,) = found.sentences()
    assert sentence.startswith("no forecast: ")
    assert reason in sentence
    assert json.loads(found.as_json())["forecast"] is None


def test_one_held_out_row_supports_no_forecast() -> None:
    points = [
        Point(rows, draw, float(right), 0.5, 0.1, np.array([float(right)]))
        for i, rows in enumerate(sizes_of(1_280, 2))
        for draw, right in enumerate((i > 1, i > 3))
    ]
    found = LearningCurve(points, "corpus", "accuracy", SINGLE, 1_280, 1)
    (sentence,) = found.sentences()
    assert "one held-out row" in sentence
    assert json.loads(found.as_json())["sizes"]


@pytest.mark.parametrize("name", ["[/b]", "$\\foo$", "a [red]b"])
def test_a_corpus_may_have_any_name(name: str, tmp_path: Path) -> None:
    found = LearningCurve(_points({40: 0.5, 80: 0.6}), name, "accuracy", SINGLE, 80, 2_000)
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(found.table())
    assert f"{name}, 2,000 validation rows" in console.export_text()
    found.picture().savefig(tmp_path / "curve.png")


def _corpus(path: Path, rows: int = 240) -> Path:
    rng = random.Random(0)
    words = {"good": ["great", "warm", "superb", "fine"], "bad": ["dull", "weak", "awful", "cold"]}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for i in range(rows):
            label = ("good", "bad")[i % 2]
            noise = [f"word{rng.randrange(200)}" for _ in range(6)]
            writer.writerow([" ".join([rng.choice(words[label]), *noise]), label])
    return path


def test_the_command_measures_and_leaves_test_alone(tmp_path: Path, cache_dir: Path) -> None:
    train = _corpus(tmp_path / "train.csv")
    (tmp_path / "test.csv").write_bytes(b"\xff\x00 no table at all")
    out = tmp_path / "out"
    options = [f"data.train={train}", f"data.test={tmp_path / 'test.csv'}", "trainer.epochs=2"]
    process = start(cache_dir, "curve", *options, "--out", out)
    printed, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    assert "24 validation rows" in printed.decode()
    whole = json.loads((out / "curve.json").read_text(encoding="utf-8"))
    assert [one["rows"] for one in whole["sizes"]] == [14, 27, 54, 108, 216]
    assert len(whole["points"]) == 25
    with (out / "curve.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 25
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert (whole["forecast"] is None) == (whole["no_forecast"] is not None)


@pytest.mark.slow
def test_an_interrupted_curve_keeps_what_it_has(tmp_path: Path, cache_dir: Path) -> None:
    out = tmp_path / "out"
    train = _corpus(tmp_path / "train.csv", 2_000)
    process = start(
        cache_dir, "curve", f"data.train={train}", "--out", out, env={"PYTHONUNBUFFERED": "1"}
    )
    assert process.stdout is not None
    process.stdout.readline()  # of the whole
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert f"trainings are in {out}" in errors.decode()
    assert json.loads((out / "curve.json").read_text(encoding="utf-8"))["points"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("init_from=runs/model", "init_from"),
        ("tune=default", "tune="),
        ("resume=runs/a", "resume="),
        ("run_dir=here", "--out"),
        ("trainer.overfit=8", "trainer.overfit"),
        ("-m", "leave out -m"),
        ("experiment=pooling", "leave out -m"),
    ],
)
def test_options_that_make_no_sense_are_told(
    option: str, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train = _corpus(tmp_path / "train.csv", 40)
    out = tmp_path / "out"
    found = complaint(capfd, "curve", f"data.train={train}", option, "--out", out)
    assert message in found
    assert not out.exists()


def test_too_few_rows_are_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train = _corpus(tmp_path / "train.csv", 20)
    found = complaint(capfd, "curve", f"data.train={train}", "--out", tmp_path / "out")
    assert "16 rows of train are too few for a learning curve: it takes 20" in found


def test_a_source_without_test_has_the_same_other_splits(tmp_path: Path) -> None:
    train, test = _corpus(tmp_path / "train.csv"), _corpus(tmp_path / "test.csv", 20)
    for named in ([], [f"data.test={test}"]):
        config = make_config("data=local", f"data.train={train}", *named).data
        whole, less = (Source(config, tested=tested).read() for tested in (True, False))
        for split in ("train", "validation"):
            assert whole.splits[split].texts == less.splits[split].texts
        assert len(less.test) == (0 if named else len(whole.test))
