"""The package by itself: built, installed and used in an empty folder, without the repository."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import PROJECT, one_line, train_environment, write_csv

pytestmark = pytest.mark.slow

pytest.importorskip("hatchling", reason="hatchling builds the package")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", str(folder), str(PROJECT))
    return next(folder.glob("*.whl"))


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_wheel_holds_the_configs_and_all_that_they_name(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if "dist-info" not in name}
    expected = {
        str(path.relative_to(PROJECT))
        for pattern in ("*.py", "py.typed", "*.html")
        for path in (PROJECT / "textcls").rglob(pattern)
    }
    for folder, pattern in (("configs", "*.yaml"), ("data", "*.csv")):
        for path in (PROJECT / folder).rglob(pattern):
            expected.add(f"textcls/{path.relative_to(PROJECT)}")
    assert held == expected


def test_the_package_is_enough(wheel: Path, tmp_path: Path, cache_dir: Path) -> None:
    site, work = tmp_path / "site", tmp_path / "empty"
    work.mkdir()
    pip("install", "--no-deps", "--no-index", "--target", str(site), str(wheel))
    environment = train_environment(cache_dir) | {"PYTHONPATH": str(site)}

    def textcls(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(site / "bin" / "textcls"), *arguments],
            cwd=work, env=environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    write_csv(work / "my reviews (1).csv", 120)
    trained = textcls("train", "data.train=my reviews (1).csv", "trainer.epochs=2", "run_dir=run")
    assert trained.returncode == 0, trained.stderr
    (work / "new.txt").write_text("a superb and lovely item\nawful and dull\n")
    predicted = textcls("predict", "run", "new.txt")
    assert [row.split(",")[0] for row in predicted.stdout.splitlines()[1:]] == ["good", "bad"]

    # A run of the demo corpus, in a process of a launcher, and the same again.
    sweep = ["-m", "launcher=joblib", "hydra.launcher.n_jobs=1", "trainer.epochs=1"]
    swept = textcls("train", *sweep, "model.dim=8", "run_dir=sweep")
    assert swept.returncode == 0, swept.stderr
    assert str(site) in (work / "sweep" / "0" / "config.yaml").read_text()
    again = textcls("train", "resume=sweep/0")
    assert "sweep/0 is finished: there is nothing to resume" in again.stdout, again.stderr

    wrong = subprocess.run(
        [sys.executable, "-m", "textcls", "train", "trainer.epoch=3"],
        cwd=work, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert wrong.returncode == 2
    assert one_line(wrong).endswith("did you mean trainer.epochs=3?")
