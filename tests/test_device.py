"""A GPU that was asked for and is not there, on machines that are made up."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.conftest import Run, one_line
from textcls import device
from textcls.device import check_gpu, to_device
from textcls.errors import InputError
from textcls.training.checkpoint import random_states, set_random_states

# As torch says it, its further lines left out.
NO_DRIVER = "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and…"
TOO_OLD = "The NVIDIA driver on your system is too old (found version 12020). Please update your…"
NO_GPUS = "No CUDA GPUs are available"
VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.08  Sat Feb 24 2024\n"
DOCKER, PODMAN = ".dockerenv", "run/.containerenv"
KERNEL, DEVICE = "proc/driver/nvidia/version", "dev/nvidia0"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine with torch for CUDA 13.0, two GPUs and nothing at fault."""
    monkeypatch.setattr(device, "ROOT", tmp_path)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return monkeypatch


def refusal(name: str = "cuda") -> str:
    with pytest.raises(InputError) as raised:
        check_gpu(name)
    message = str(raised.value)
    assert message.startswith(f"trainer.device={name}: is not to be had here (")
    assert "\n" not in message
    return message


def fails_with(machine: pytest.MonkeyPatch, message: str) -> None:
    def init() -> None:
        raise RuntimeError(f"{message}\nmore")

    machine.setattr(torch.cuda, "init", init)


@pytest.mark.parametrize("name", ["auto", "cpu", "mps", "cuda", "cuda:1", "cuda:x", "other"])
def test_what_is_there_or_is_no_gpu_passes(machine: pytest.MonkeyPatch, name: str) -> None:
    if not name.startswith("cuda"):  # CUDA is not even asked
        fails_with(machine, NO_DRIVER)
    check_gpu(name)


def test_a_number_too_high(machine: pytest.MonkeyPatch) -> None:
    assert "of 2 visible GPUs the last is cuda:1" in refusal("cuda:2")


def test_a_torch_without_cuda(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(torch.version, "cuda", None)
    assert f"torch {torch.__version__} is a build without CUDA" in refusal()


@pytest.mark.parametrize("has_kernel", [True, False])
def test_a_driver_too_old(machine: pytest.MonkeyPatch, tmp_path: Path, has_kernel: bool) -> None:
    fails_with(machine, TOO_OLD)
    if has_kernel:
        make(tmp_path, KERNEL)
    driver = "driver 535.161.08 is" if has_kernel else "driver is"
    expected = f"the NVIDIA {driver} too old: it knows CUDA 12.2, and torch is built for 13.0"
    assert expected in refusal()


@pytest.mark.parametrize("value", ["", "-1", "7"])
def test_a_variable_that_hides_them(machine: pytest.MonkeyPatch, value: str) -> None:
    fails_with(machine, NO_GPUS)
    machine.setenv("CUDA_VISIBLE_DEVICES", value)
    assert f"CUDA_VISIBLE_DEVICES={value!r} hides every GPU" in refusal()


@pytest.mark.parametrize(
    ("files", "cause"),
    [
        ([], "no NVIDIA driver is loaded"),
        ([DEVICE], "there is a GPU, but not the driver's library"),
        ([DOCKER], "no NVIDIA driver is seen: the host needs one and the NVIDIA container toolkit"),
        ([PODMAN, KERNEL], "the host has an NVIDIA driver 535.161.08, but the container was given"),
        ([DOCKER, KERNEL, DEVICE], "NVIDIA_DRIVER_CAPABILITIES needs compute"),
        ([DOCKER, "dev/dxg"], "NVIDIA_DRIVER_CAPABILITIES needs compute"),  # Windows' WSL
    ],
)
def test_where_the_driver_got_lost(
    machine: pytest.MonkeyPatch, tmp_path: Path, files: list[str], cause: str
) -> None:
    fails_with(machine, NO_DRIVER)
    machine.setenv("CUDA_VISIBLE_DEVICES", "")  # without a driver it is not at fault
    for file in files:
        make(tmp_path, file)
    assert cause in refusal()


def test_what_torch_says_of_other_faults(machine: pytest.MonkeyPatch) -> None:
    fails_with(machine, "Error 802: system not yet initialized")
    assert "(Error 802: system not yet initialized)" in refusal()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_training_is_refused_before_it_begins(run_train: Run, tmp_path: Path) -> None:
    result = run_train("trainer.device=cuda", "run_dir=run")
    assert result.returncode == 2
    assert "trainer.device=cuda: is not to be had here (" in one_line(result)
    assert not (tmp_path / "run").exists()
    assert result.stdout == ""


def make(root: Path, file: str) -> None:
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(VERSION, encoding="utf-8")


# --- mps ----------------------------------------------------------------------------------------


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine that says it has mps. (Here every operator fails on it, as some do there.)"""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    device._best_device.cache_clear()
    return monkeypatch


def test_auto_leaves_mps_where_it_cannot_pool(
    mac: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        assert to_device("auto", "device") == torch.device("cpu")
    (record,) = caplog.records
    assert "device=auto takes the CPU: torch cannot pool on mps (" in record.getMessage()
    assert "\n" not in record.getMessage()
    mac.setattr(device, "_cannot_pool", lambda device: None)
    device._best_device.cache_clear()
    assert to_device("auto") == torch.device("mps")
    device._best_device.cache_clear()


def test_mps_that_cannot_pool_is_refused_by_name(mac: pytest.MonkeyPatch) -> None:
    mac.setattr(torch, "empty", lambda *_, **__: None)
    with pytest.raises(InputError, match=r"trainer.device=mps: is not to be had here") as raised:
        to_device("mps")
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


def test_the_cpu_pools() -> None:
    assert device._cannot_pool(torch.device("cpu")) is None


def test_the_random_state_of_mps_is_kept(mac: pytest.MonkeyPatch) -> None:
    state = torch.arange(9, dtype=torch.uint8)
    back: list[torch.Tensor] = []
    mac.setattr(torch.mps, "get_rng_state", lambda: state)
    mac.setattr(torch.mps, "set_rng_state", back.append)
    states = random_states(torch.device("mps"))
    assert torch.equal(states["random.mps"], state)
    set_random_states(states)
    assert torch.equal(back[0], state)
    set_random_states(random_states(torch.device("cpu")))
    assert len(back) == 1
