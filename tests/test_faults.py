"""Faults that docs/reliability.md lists and no other test injects; and kills at random moments."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.command import complaint, main
from tests.conftest import PROJECT, make_config, write_csv
from tests.test_cache import last_used, made
from tests.test_files import Disk, needs_proc
from tests.test_predict_shards import write_shards
from textcls import run
from textcls.corpus.paths import hash_file
from textcls.data import cache
from textcls.data.cache import name_of, shrink
from textcls.files import whole_file, whole_folder
from textcls.scoring.shards import RECORD
from textcls.training import checkpoint


@pytest.fixture
def logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[pytest.LogCaptureFixture]:
    monkeypatch.setattr(cache, "_in_use", {})
    monkeypatch.setattr(logging.getLogger("textcls"), "propagate", True)
    caplog.set_level(logging.INFO)
    yield caplog
    for file in cache._in_use.values():
        file.close()


# --- what the system refuses ---------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.EIO])
@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_the_system_refuses_names_the_file_and_changes_nothing(
    what: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    content = target / "a" if what == "folder" else target
    content.parent.mkdir(exist_ok=True)
    content.write_text("before")

    def replace(source: Path, target: Path) -> None:
        raise OSError(code, os.strerror(code))

    def write() -> None:
        opened: AbstractContextManager[Path] = (
            whole_folder(target) if what == "folder" else whole_file(target)
        )
        with opened as scratch:
            (scratch / "a" if what == "folder" else scratch).write_text("after")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", replace)
        with pytest.raises(OSError, match=os.strerror(code)) as caught:
            write()
    assert caught.value.filename == str(target)
    assert os.listdir(tmp_path) == ["target"]
    assert content.read_text() == "before"
    write()
    assert content.read_text() == "after"


def test_an_entry_whose_file_is_gone_on_its_server_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: pytest.LogCaptureFixture
) -> None:
    made(tmp_path, 1)
    real = hash_file
    failed: list[Path] = []

    def stale(path: Path) -> Any:
        if not failed:
            failed.append(path)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        return real(path)

    monkeypatch.setattr(cache, "hash_file", stale)
    assert not made(tmp_path, 1)
    assert made(tmp_path, 1)
    assert "damaged cache entry" in logged.messages[0]


# --- clocks and power ----------------------------------------------------------------------------


@pytest.mark.usefixtures("logged")
def test_entries_of_machines_with_other_clocks_are_used(tmp_path: Path) -> None:
    """Times say in which order entries give way, and nothing else."""
    for number, hours_ago in ((1, -100_000.0), (2, 100_000.0)):
        made(tmp_path, number)
        last_used(tmp_path, number, hours_ago)
        assert made(tmp_path, number)
    for number, hours_ago in ((1, -100_000.0), (2, 100_000.0)):
        last_used(tmp_path, number, hours_ago)
        left = tmp_path / f".{name_of({'number': number})}-0123abcd"
        left.mkdir()
        os.utime(left, (2e10 * (number == 1), 2e10 * (number == 1)))
    for file in cache._in_use.values():
        file.close()
    cache._in_use.clear()
    size = cache.entries(tmp_path)[0].num_bytes
    _, stay = shrink(tmp_path, size + 10)
    assert [entry.manifest["key"]["number"] for entry in stay] == [1]
    assert not list(tmp_path.glob(".*-0123abcd"))


@needs_proc
def test_a_checkpoint_is_on_the_disk_after_the_record_of_its_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undrawn: None
) -> None:
    """After a power cut a checkpoint of more epochs than the record has could not go on."""
    monkeypatch.setattr(checkpoint, "SAVE_AFTER", 0.0)
    monkeypatch.setattr(checkpoint, "SAVE_EVERY", 0)
    file = write_csv(tmp_path / "train.csv", 60)
    options = ["data=local", f"data.train={file}", f"cache_dir={tmp_path / 'cache'}"]
    disk = Disk(monkeypatch)
    run.start(make_config(*options, "trainer.epochs=3", "trainer.refit=false"), tmp_path / "run")
    saved = [i for i, did in enumerate(disk.did) if did == ("rename", "last.safetensors")]
    assert len(saved) >= 3
    for before, at in zip([0, *saved], saved, strict=False):
        assert ("sync", "epochs.jsonl") in disk.did[before:at]
    # And the result last of all that it is a result of.
    result = disk.did.index(("rename", "metrics.json"))
    synced = {
        name.split(".")[1] for what, name in disk.did[:result] if what == "sync" and "." in name
    }
    assert synced >= {"predictions", "config", "README", "metrics"}


# --- kills ---------------------------------------------------------------------------------------


def test_what_a_kill_after_the_result_has_left_is_removed(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.safetensors").write_bytes(b"0")
    (folder / ".calibration.png.12345").write_bytes(b"half")
    before = {path: path.read_bytes() for path in trained.rglob("*.safetensors")}
    run.resume(folder)
    assert not (folder / "checkpoints").exists()
    assert not (folder / ".calibration.png.12345").exists()
    for path, content in before.items():
        assert (folder / path.relative_to(trained)).read_bytes() == content


def test_a_damaged_record_of_labels_is_told(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_shards(tmp_path / "in", ["0.parquet"])
    command = ["predict", trained, tmp_path / "in" / "*", "--out", f"{tmp_path}/out/"]
    assert main(*command) == 0
    record = tmp_path / "out" / RECORD
    whole = record.read_bytes()
    for damaged in (b"", whole[:30], b"\xff" + whole[1:]):
        record.write_bytes(damaged)
        capfd.readouterr()
        assert f"{record}: is damaged: name another folder" in complaint(capfd, *command)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_kills_at_random_moments_lose_nothing() -> None:
    command = [sys.executable, "-m", "benchmarks.kills", "--times", "5", "--seed", "7"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines()[2:]]
    assert [(int(row[3]), int(row[6])) for row in rows] == [(1, 0)] * 5
