from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a git repository of one commit."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    return tmp_path


def commit_by(package: Path) -> str:
    """Return the commit that a copy of the package at this place records."""
    package.mkdir(parents=True)
    for name in ("__init__.py", "environment.py"):
        shutil.copy(PROJECT / "textcls" / name, package)
    code = "from textcls import environment; print(environment._commit(), environment.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=package.parent, capture_output=True, text=True, check=True
    )
    commit, file = done.stdout.split(maxsplit=1)
    assert file.strip() == str(package / "environment.py")
    return commit


def test_the_commit_is_that_of_our_own_repository(repository: Path) -> None:
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert commit_by(repository / "textcls") == head


def test_the_commit_of_a_repository_around_us_is_not_ours(repository: Path) -> None:
    assert commit_by(repository / ".venv" / "site-packages" / "textcls") == "None"
