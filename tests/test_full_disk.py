"""A disk that is full, a small one of its own for each test: one line, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from safetensors import SafetensorError

from tests import warm
from tests.conftest import start_train, train_environment, write_csv
from textcls.files import whole_file, whole_folder

# Mounts a disk of $1 bytes at $2, runs the rest there, and copies what was written to $3.
SMALL_DISK = """
size=$1 disk=$2 kept=$3; shift 3
mount -t tmpfs -o size=$size none "$disk" && cd "$disk" || exit 99
"$@"; status=$?
cp -r "$disk" "$kept"; exit $status
"""
_AS_ROOT = ["unshare", "--user", "--map-root-user", "--mount"]


def can_mount() -> bool:
    try:
        tried = [*_AS_ROOT, "mount", "-t", "tmpfs", "none", "/mnt"]
        return subprocess.run(tried, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


needs_disk = pytest.mark.skipif(
    not can_mount(), reason="the system lets no user mount a small disk (unshare --user --mount)"
)


def run_on(size: int, command: list[str], tmp_path: Path, cache: Path) -> tuple[int, str, Path]:
    """Run a command on a disk of so many bytes; return status, stderr and what it left."""
    disk, kept = tmp_path / "disk", tmp_path / f"kept-{size}"
    disk.mkdir(exist_ok=True)
    done = subprocess.run(
        [*_AS_ROOT, "bash", "-c", SMALL_DISK, "-", str(size), str(disk), str(kept), *command],
        env=train_environment(cache), capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return done.returncode, done.stderr, kept


def scratch(folder: Path) -> list[Path]:
    known = (".lock", ".study.lock", ".best.lock", ".textcls.lock")
    return [path for path in folder.rglob(".*") if path.name not in known]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_write_without_room_names_the_file(tmp_path: Path) -> None:
    target = tmp_path / "target"

    def write(place: Path, by_safetensors: bool) -> None:
        if by_safetensors:  # its own words
            raise SafetensorError("Error while serializing: I/O error: … (os error 28)")
        place.symlink_to("/dev/full")
        place.write_text("a")

    def write_file(by_safetensors: bool) -> None:
        with whole_file(target) as scratch:
            write(scratch, by_safetensors)

    def write_folder(by_safetensors: bool) -> None:
        with whole_folder(target) as scratch:
            write(scratch / "file", by_safetensors)

    for write_whole in (write_file, write_folder):
        for by_safetensors in (False, True):
            with pytest.raises(OSError, match="No space left on device") as caught:
                write_whole(by_safetensors)
            assert str(caught.value.filename).startswith(str(target))
            assert os.listdir(tmp_path) == []


# The cache; the record of epochs; the model; what is drawn at the end, which alone may be missing.
@needs_disk
@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "what"),
    [
        (24_000, "cannot be written (No space left on device)"),
        (12_000, "No space left on device: mend it, and"),
        (32_000, "No space left on device: mend it, and"),
        (100_000, None),
    ],
)
def test_a_training_on_a_full_disk(
    size: int, what: str | None, tmp_path: Path, cache_dir: Path
) -> None:
    file = write_csv(tmp_path / "train.csv", 600)
    of_cache = what is not None and what.startswith("cannot")
    options = ["experiment=plain", f"data.train={file}", "run_dir=run", "trainer.epochs=2"]
    given = [*warm.TRAIN, *options, *(["cache_dir=cache"] if of_cache else [])]
    if not of_cache:
        prepare = [*options[:2], f"run_dir={tmp_path / 'first'}", "trainer.epochs=2"]
        assert warm.finish(start_train(prepare, tmp_path, cache_dir)).returncode == 0
    status, err, kept = run_on(size, given, tmp_path, cache_dir)
    assert scratch(kept) == []
    if what is None:
        assert (status, err) == (0, "")
        assert (kept / "run" / "metrics.json").exists()
        return
    assert status == 1
    assert what in err
    assert len(err.splitlines()) == 1
    resumed = warm.finish(start_train(["resume=run"], kept, tmp_path / "cache"))
    assert resumed.returncode == 0, resumed.stderr


@needs_disk
@pytest.mark.slow
@pytest.mark.parametrize("size", [60_000, 150_000, 200_000])
def test_a_search_on_a_full_disk(size: int, tmp_path: Path, cache_dir: Path) -> None:
    file = write_csv(tmp_path / "train.csv", 600)
    space = "+tune.space={model: {mode: [sqrtn, mean]}}"
    options = ["experiment=plain", f"data.train={file}", "trainer.epochs=1", "run_dir=search",
               "tune=default", "~tune.space", space]  # fmt: skip
    status, err, kept = run_on(size, [*warm.TRAIN, *options], tmp_path, cache_dir)
    assert status in (1, 2)
    assert len(err.splitlines()) == 1
    assert "disk is full" in err or "No space left" in err
    again = ["resume=search"] if (kept / "search" / "tune.yaml").exists() else options
    resumed = warm.finish(start_train(again, kept, cache_dir))
    assert resumed.returncode == 0, resumed.stderr
    assert (kept / "search" / "best" / "metrics.json").exists()


@needs_disk
@pytest.mark.slow
def test_labels_on_a_full_disk(trained: Path, tmp_path: Path, cache_dir: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(4):
        words = [f"{number} {i * 7919 % 10007} dull" for i in range(2000)]
        parquet.write_table(pa.table({"text": words}), tmp_path / "in" / f"{number}.parquet")
    command = [sys.executable, "-m", "textcls", "predict", str(trained),
               f"{tmp_path}/in/*.parquet", "--out", "out/", "--processes", "2"]  # fmt: skip
    status, err, kept = run_on(12_000, command, tmp_path, cache_dir)
    assert status == 1
    assert "No space left on device" in err
    assert err.splitlines()[-1].startswith("error: ")
    assert scratch(kept) == []
    done = {path.name: path.read_bytes() for path in (kept / "out").glob("*.parquet")}
    again = subprocess.run(
        command, cwd=kept, env=train_environment(cache_dir), capture_output=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert len(list((kept / "out").glob("*.parquet"))) == 4
    for name, content in done.items():
        assert (kept / "out" / name).read_bytes() == content


@needs_disk
@pytest.mark.slow
def test_a_cache_and_a_run_folder_that_are_read_only(tmp_path: Path, cache_dir: Path) -> None:
    file = write_csv(tmp_path / "train.csv", 60)
    read_only = ["bash", "-c", 'mount -o remount,ro "$PWD" && cd "$PWD" && exec "$@"', "-"]
    for options, what in (
        (["run_dir=run"], "run: Read-only file system"),
        (["cache_dir=cache", f"run_dir={tmp_path / 'run'}"],
         "cache_dir=cache: cannot be written (Read-only file system): make room, or name another"),
    ):  # fmt: skip
        command = [*read_only, *warm.TRAIN, "experiment=plain", f"data.train={file}", *options]
        status, err, _ = run_on(1 << 20, command, tmp_path, cache_dir)
        assert status == 1
        assert what in err
        assert len(err.splitlines()) == 1
