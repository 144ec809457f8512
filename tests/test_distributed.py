"""Training by several processes: to what one process comes, and what happens when one is gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tests.conftest import write_files
from tests.distributed_cases import CASES, NOT_BY_COLUMNS, losses, trained
from tests.test_training import without_times
from textcls.distributed import Place, Team, place
from textcls.errors import InputError
from textcls.training.by_columns import ByColumns

ROOT = Path(__file__).parent.parent


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        port: int = found.getsockname()[1]
        return port


def as_ranks(size: int) -> list[dict[str, str]]:
    """Return the environments that a launcher would give so many processes."""
    common = {
        **os.environ,
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    return [common | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)]


@pytest.mark.parametrize("size", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_several_processes_come_to_what_one_comes_to(size: int, tmp_path: Path) -> None:
    # Three of what is exchanged in different ways, empty parts among it.
    names = list(CASES) if size == 2 else ["direct", "sampled by autograd", "weights", "learned"]
    command = [sys.executable, "-m", "tests.distributed_cases", str(tmp_path), *names]
    ranks = [subprocess.Popen(command, cwd=ROOT, env=env) for env in as_ranks(size)]
    expected = {name: trained(CASES[name], None) for name in names}
    assert [rank.wait(120) for rank in ranks] == [0] * size
    first, *others = (
        safetensors.torch.load_file(tmp_path / f"{rank}.safetensors") for rank in range(size)
    )
    for other in others:  # bit for bit
        for key, value in other.items():
            assert torch.equal(value, first[key]), key
    for way in ("data", "columns"):
        for name, (weights, records) in expected.items():
            for key, value in (weights | {"records": losses(records)}).items():
                found = first[f"{way}/{name}/{key}"]
                assert torch.allclose(found, value, rtol=1e-4, atol=1e-5), (way, name, key)


# --- the command -------------------------------------------------------------------------------

EPOCHS = 60


def start_ranks(
    folder: Path, size: int, *arguments: str, stdout: Any = subprocess.PIPE
) -> list[subprocess.Popen[str]]:
    """Start ``textcls train`` as so many processes, as a launcher does."""
    command = [sys.executable, "-m", "textcls", "train", *arguments]
    return [
        subprocess.Popen(
            command, cwd=folder, env=env, stdout=stdout, stderr=subprocess.PIPE, text=True
        )
        for env in as_ranks(size)
    ]


def ended(ranks: list[subprocess.Popen[str]]) -> tuple[list[int], list[str], list[str]]:
    """Return the exit statuses of processes, and what each has printed and complained of."""
    texts = [rank.communicate(timeout=120) for rank in ranks]
    return (
        [rank.returncode for rank in ranks],
        [out for out, _ in texts],
        [
            "\n".join(line for line in err.splitlines() if line.startswith("error"))
            for _, err in texts
        ],
    )


def options_of(folder: Path, run: str, cache_dir: Path) -> list[str]:
    files = write_files(folder) if not (folder / "train.csv").exists() else []
    files = files or [f"data.train={folder}/train.csv", f"data.test={folder}/test.csv"]
    return [
        *files, f"cache_dir={cache_dir}", f"run_dir={folder / run}", f"trainer.epochs={EPOCHS}",
        "trainer.refit=false", "model.dim=6",
    ]  # fmt: skip


def records_of(run: Path) -> list[dict[str, Any]]:
    lines = (run / "epochs.jsonl").read_text().splitlines()
    return without_times([json.loads(line) for line in lines])


def wait_for_epoch(run: Path, rank: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60
    path = run / "epochs.jsonl"
    while not path.exists() or path.read_text().count("\n") < 2:
        assert rank.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)


def nearly(found: Sequence[dict[str, Any]], expected: Sequence[dict[str, Any]]) -> bool:
    assert len(found) == len(expected)
    return torch.allclose(losses(list(found)), losses(list(expected)), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_a_run_that_is_stopped_or_loses_a_process_goes_on(tmp_path: Path, cache_dir: Path) -> None:
    statuses, printed, errors = ended(
        start_ranks(tmp_path, 2, *options_of(tmp_path, "whole", cache_dir))
    )
    assert statuses == [0, 0]
    assert errors == ["", ""]
    assert "2 processes share the training: data" in printed[0]
    assert printed[1] == ""
    expected = records_of(tmp_path / "whole")

    # A signal to any of them stops all at one step; the same processes go on to the same bits.
    run = tmp_path / "stopped"
    ranks = start_ranks(tmp_path, 2, *options_of(tmp_path, run.name, cache_dir))
    wait_for_epoch(run, ranks[0])
    ranks[1].send_signal(signal.SIGTERM)
    statuses, _, errors = ended(ranks)
    assert statuses == [143, 143]
    assert errors == [f"error: stopped by SIGTERM: go on with resume={run}", ""]
    assert ended(start_ranks(tmp_path, 2, f"resume={run}"))[0] == [0, 0]
    assert records_of(run) == expected

    # One is killed: what all had before that step is kept, and one process goes on from it.
    run = tmp_path / "lost"
    ranks = start_ranks(tmp_path, 2, *options_of(tmp_path, run.name, cache_dir))
    wait_for_epoch(run, ranks[0])
    ranks[1].kill()
    statuses, _, errors = ended(ranks)
    assert statuses[0] == 1
    assert errors[0].startswith("error: another process of the training is lost (")
    assert errors[0].endswith(f"): go on with resume={run}")
    assert errors[0].count("\n") == 0
    assert (run / "checkpoints" / "last.safetensors").exists()
    before = records_of(run)
    again = [sys.executable, "-m", "textcls", "train", f"resume={run}"]
    done = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = records_of(run)
    assert after[: len(before)] == before == expected[: len(before)]
    assert nearly(after, expected)


def test_bad_input_is_told_once(tmp_path: Path, cache_dir: Path) -> None:
    options = [*options_of(tmp_path, "run", cache_dir), "data.label=nothing"]
    statuses, _, errors = ended(start_ranks(tmp_path, 2, *options))
    assert statuses == [2, 2]
    assert "nothing" in errors[0]
    assert errors[1] == ""


@pytest.mark.slow
def test_the_launcher_starts_again_and_the_run_goes_on_by_itself(
    tmp_path: Path, cache_dir: Path
) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += ["--nproc-per-node", "2", "--max-restarts", "2", "-m", "textcls", "train"]
    whole = options_of(tmp_path, "whole", cache_dir)
    subprocess.run([*launcher, *whole], cwd=tmp_path, check=True, capture_output=True)
    # Without a name of its own: the launcher's store knows the folder.
    options = [option for option in whole if not option.startswith("run_dir=")]
    launched = subprocess.Popen(
        [*launcher, *options], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    while not (runs := list(tmp_path.glob("runs/*"))):
        time.sleep(0.01)
    (run,) = runs
    wait_for_epoch(run, launched)
    children = subprocess.run(
        ["pgrep", "-P", str(launched.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    for child in children:
        environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        if b"RANK=1" in environment:
            os.kill(int(child), signal.SIGKILL)
    output, _ = launched.communicate(timeout=200)
    assert launched.returncode == 0, output
    assert output.count("error: another process of the training is lost") == 1
    assert list(tmp_path.glob("runs/*")) == [run]
    assert records_of(run) == records_of(tmp_path / "whole")
    first, second = (
        safetensors.torch.load_file(each / "model" / "model.safetensors")
        for each in (run, tmp_path / "whole")
    )
    assert all(torch.equal(first[key], second[key]) for key in second)


# --- what is refused ---------------------------------------------------------------------------


class _Alone(Team):
    """Two processes, of which nobody hears the other."""

    def __init__(self) -> None:
        self.here = Place(0, 2, 0, 2, 0)


def test_what_columns_cannot_be_shared_is_refused() -> None:
    case = NOT_BY_COLUMNS["max by momentum"]
    with pytest.raises(InputError, match=r"set optimizer\.rows=all, or trainer\.parallel=data"):
        trained(case, ByColumns(_Alone(), torch.device("cpu")))


def test_a_process_that_no_launcher_started_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert place() is None
    for name, value in (("RANK", "2"), ("MASTER_ADDR", "here"), ("MASTER_PORT", "1")):
        monkeypatch.setenv(name, value)
    assert place() == Place(2, 4, 2, 4, 0)
