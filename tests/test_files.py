from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from tests.conftest import make_config, write_csv
from tests.test_folder import make_parts
from textcls.data.prepare import prepare
from textcls.files import filled_folder, whole_file, whole_folder, write_whole
from textcls.model.folder import save_model


@pytest.fixture(params=[0o002, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write_tensor(path: Path) -> None:
    safetensors.numpy.save_file({"a": np.zeros(3)}, path)  # makes a file of mode 0600


def test_files_follow_the_umask_whatever_writes_them(umask: int, tmp_path: Path) -> None:
    write_whole(tmp_path / "text", "a")
    with whole_file(tmp_path / "tensors") as scratch:
        write_tensor(scratch)
    with whole_folder(tmp_path / "folder") as scratch:
        (scratch / "below").mkdir()
        write_tensor(scratch / "below" / "tensors")
    with filled_folder(tmp_path / "folder", ["tensors"]) as scratch:  # among other files
        write_tensor(scratch / "tensors")
    for path in tmp_path.rglob("*"):
        assert mode(path) == (0o777 if path.is_dir() else 0o666) & ~umask, path
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "tensors", "text"]


def test_an_executable_file_stays_one(tmp_path: Path) -> None:
    with whole_file(tmp_path / "program") as scratch:
        scratch.write_text("#!/bin/sh")
        scratch.chmod(0o755)
    assert mode(tmp_path / "program") == 0o755


def test_a_cache_and_a_model_follow_the_umask(umask: int, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "train.csv", 60)
    config = make_config("data=local", f"data.train={file}")
    prepare(config.data, config.tokenizer, tmp_path / "cache")
    save_model(make_parts(), tmp_path / "model")
    for path in (*(tmp_path / "cache").rglob("*"), *(tmp_path / "model").rglob("*")):
        assert mode(path) == (0o777 if path.is_dir() else 0o666) & ~umask, path


class Disk:
    """Notes what is synced and renamed, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.did: list[tuple[str, str]] = []
        real_sync, real_replace = os.fsync, os.replace

        def fsync(file: int) -> None:
            self.did.append(("sync", Path(os.readlink(f"/proc/self/fd/{file}")).name))
            real_sync(file)

        def replace(source: Path, target: Path) -> None:
            self.did.append(("rename", Path(target).name))
            real_replace(source, target)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "replace", replace)


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")


@needs_proc
def test_a_synced_file_is_on_the_disk_before_its_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    write_whole(tmp_path / "a", "text", synced=True)
    scratch = f".a.{os.getpid()}"
    assert disk.did == [("sync", scratch), ("rename", "a"), ("sync", tmp_path.name)]
    disk.did.clear()
    write_whole(tmp_path / "a", "text")
    assert disk.did == [("rename", "a")]


@needs_proc
def test_a_model_folder_is_on_the_disk_before_its_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    save_model(make_parts(), tmp_path / "model")
    renamed = disk.did.index(("rename", "model"))
    before = {name for what, name in disk.did[:renamed] if what == "sync"}
    assert before >= {"config.json", "labels.json", "vocabulary.json", "model.safetensors"}
    assert disk.did[renamed + 1 :] == [("sync", tmp_path.name)]
