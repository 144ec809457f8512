"""``textcls doctor``: what it reports of a machine, with a GPU and without."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch

from tests.command import complaint, textcls
from tests.test_proof import PROVEN, TELLING, as_json
from textcls import machine
from textcls.device import no_gpu
from textcls.training import choice, proof, proven
from textcls.training.cases import Case
from textcls.training.proof import Finding


@pytest.fixture(autouse=True)
def little(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Measure next to nothing."""
    for module, name, value in (
        (machine, "PLAIN", Case("mean", 4)), (machine, "CPU_COPY", 1 << 16),
        (machine, "GPU_COPY", 1 << 16), (machine, "STEPS", 2), (proof, "STEPS", 2),
        (proof, "TIMED", 1),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    return monkeypatch


def rows(report: str) -> dict[str, str]:
    """Return the first table, whose rows have two cells."""
    return dict(re.findall(r"^\| (.*?) \| (.*) \|$", report.partition("\n\n")[0], re.MULTILINE))


def test_a_machine_without_a_gpu(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    found = rows(textcls(capfd, "doctor", "--dir", tmp_path))
    assert f"torch {torch.__version__.replace('_', chr(92) + '_')}" in found["versions"]
    assert found["threads of torch"] == "1"
    assert float(found["CPU, copying"].split()[0].replace(",", "")) > 0
    assert re.match(r"\d+\.\d\d M tokens/s \(mean, dim 4, 1,024 rows", found["CPU, training"])
    assert found["GPU"] == f"none is used: {no_gpu()}"
    assert not list(tmp_path.iterdir())
    message = complaint(capfd, "doctor", "--device", "cuda")
    assert message.startswith("error: --device=cuda: is not to be had here (")


def test_a_gpu_is_tried_anew_with_all_that_it_was_tried_with(
    little: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    device = torch.device("cpu")
    little.setattr(machine, "is_gpu", lambda device: True)
    little.setattr(machine, "no_triton", lambda device: None)
    failed = Case("weighted_sum", 8, optimizer="adam", clips=True)
    here, path = proven.machine(device), tmp_path / "told.txt"
    proven.remember(failed, here, Finding("Triton's kernels did not return"), tmp_path)
    proven.remember(failed, here | {"torch": "1.0"}, Finding("too old"), tmp_path)
    command = (sys.executable, "-c", TELLING, str(path), as_json(PROVEN))
    little.setattr(proven, "COMMAND", command)
    report = textcls(capfd, "doctor", "--dir", tmp_path, "--device", "cpu")
    asked = [json.loads(line)["case"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert [case["mode"] for case in asked] == ["mean", "weighted_sum"]
    first, second = report.strip().splitlines()[-2:]
    assert first.startswith("| mean, dim 4, 1,024 rows, 32 bags of 16 tokens, 2 classes, adagrad")
    assert second.startswith("| weighted\\_sum, dim 8")
    assert "adam, touched, clips | as on the CPU |" in second
    assert proven.proven(failed, device, tmp_path).fault is None  # from now on

    little.setattr(choice, "find_spec", lambda name: None)
    little.setattr(machine, "no_triton", choice.no_triton)
    found = rows(textcls(capfd, "doctor", "--dir", tmp_path, "--device", "cpu"))
    assert found["Triton's kernels"] == "not used: Triton is not installed"
