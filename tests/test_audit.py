"""What continuous integration makes of pip-audit's answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT

FINE = {"name": "a", "version": "1", "vulns": []}
UNKNOWN = {"name": "b", "skip_reason": "Dependency not found on PyPI"}


def of(*mended: str) -> dict[str, Any]:
    return {"name": "c", "version": "2", "vulns": [{"id": "X-1", "fix_versions": list(mended)}]}


@pytest.mark.parametrize(
    ("packages", "status", "last"),
    [
        (
            [FINE, UNKNOWN],
            0,
            "pip-audit: 1 of 2 pinned packages are audited, 0 vulnerabilities are",
        ),
        (
            [FINE, of("3")],
            1,
            "pip-audit: 2 of 2 pinned packages are audited, 1 vulnerabilities are",
        ),
        ([FINE, of()], 0, "pip-audit: 2 of 2 pinned packages are audited, 1 vulnerabilities are"),
        ([UNKNOWN], 0, "pip-audit: skipped, since no service here knows these packages"),
        (None, 0, "pip-audit: skipped, since no service of vulnerabilities answers: no route"),
    ],
)
def test_a_build_fails_of_what_can_be_mended_and_not_of_the_network(
    packages: list[Any] | None, status: int, last: str, tmp_path: Path
) -> None:
    found, said = tmp_path / "found.json", tmp_path / "said"
    said.write_text("Traceback\nno route to host\n")
    if packages is not None:
        found.write_text(json.dumps({"dependencies": packages, "fixes": []}))
    command = [sys.executable, "-I", str(PROJECT / ".ci" / "audited.py"), str(found), str(said)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, "")
    *lines, end = done.stdout.splitlines()
    assert end.startswith(last)
    assert lines == (
        ["c 2: X-1, mended in " + ("3" if status else "no release")] if "1 v" in end else []
    )
