"""The command ``textcls`` in this process or as one of its own, as tests run it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import PROJECT, train_environment
from textcls import cli

# Whatever comes: each is a row. (As bytes; 0xff is no UTF-8, 0x85 neither.)
ODD = [
    b"great and warm", b"", b"\xf0\x9f\x98\x80 superb", b"nul \x00 inside dull",
    b"bad \xff\xfe bytes awful", b"great " * 200_000, b'quote " and , comma dull',
    "\u0130stanbul \u039f\u0394\u039f\u03a3 great".encode(), b"   ", b"\xe2\x80\xa8 weak \xc2\x85",
    b"cut short \xe2\x82", b"never seen before", b"last dull",
]  # fmt: skip


def main(*arguments: Any) -> int:
    """Run the command in this process; return its status. Torch's threads stay as they were."""
    before = torch.get_num_threads()
    try:
        return cli.main([str(argument) for argument in arguments])
    finally:
        torch.set_num_threads(before)


def textcls(capfd: pytest.CaptureFixture[str], *arguments: Any) -> str:
    """Run the command in this process; return what it printed."""
    status = main(*arguments)
    out, err = capfd.readouterr()
    assert status == 0, err
    return out


def complaint(capfd: pytest.CaptureFixture[str], *arguments: Any) -> str:
    """Run a command that is wrong; return its one line, after checking that there is no other."""
    assert main(*arguments) in (1, 2)
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
    assert err.startswith("error: ")
    assert not out
    return err.strip()


def as_texts(rows: Sequence[bytes]) -> list[str]:
    return [row.decode("utf-8", "replace") for row in rows]


def start(cache_dir: Path, *arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "textcls", *map(str, arguments)],
        cwd=PROJECT,
        env=train_environment(cache_dir) | options.pop("env", {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )
