from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.conftest import PROJECT, make_config
from textcls.cli import main
from textcls.data import cache
from textcls.data.cache import Manifest, entries, find_or_make, name_of, shrink
from textcls.data.prepare import prepare
from textcls.errors import InputError, TextclsError


@pytest.fixture(autouse=True)
def nothing_in_use(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(cache, "_in_use", {})
    logging.getLogger("textcls").propagate = True
    caplog.set_level(logging.INFO)


def made(folder: Path, number: int, num_bytes: int = 1000, limit: int | None = None) -> bool:
    """Ask for an entry; return whether it was there."""

    def make(scratch: Path) -> Manifest:
        (scratch / "data").write_bytes(bytes([number]) * num_bytes)
        return {"paths": [f"{number}.csv"]}

    def load(entry: Path, manifest: Manifest) -> bytes:
        return (entry / "data").read_bytes()

    content, was_there = find_or_make(folder, {"number": number}, make, load, limit)
    assert content == bytes([number]) * num_bytes
    return was_there


def let_go() -> None:
    """Be as a process that ended: its entries are no longer in use."""
    for file in cache._in_use.values():
        file.close()
    cache._in_use.clear()


def numbers(folder: Path) -> list[int]:
    return [entry.manifest["key"]["number"] for entry in entries(folder)]


def last_used(folder: Path, number: int, hours_ago: float) -> None:
    at = time.time() - 3600 * hours_ago
    os.utime(folder / name_of({"number": number}) / "manifest.json", (at, at))


# --- waiting ------------------------------------------------------------------------------------


def test_waiting_for_another_process_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "PATIENCE", 0.05)
    lock = FileLock(tmp_path / f"{name_of({'number': 1})}.lock", thread_local=False)
    has_it = threading.Event()

    def hold() -> None:
        with lock:
            has_it.set()
            time.sleep(0.3)

    other = threading.Thread(target=hold)
    other.start()
    has_it.wait()
    assert not made(tmp_path, 1)
    other.join()
    assert caplog.messages == ["waiting for another process that prepares the same data"]
    caplog.clear()
    assert made(tmp_path, 1)
    assert caplog.messages == []


def test_a_lock_is_given_back(tmp_path: Path) -> None:
    made(tmp_path, 1)
    FileLock(tmp_path / f"{name_of({'number': 1})}.lock", timeout=0).acquire()


# --- the limit ----------------------------------------------------------------------------------


def test_what_was_not_used_for_longest_gives_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2, 3):
        made(tmp_path, number)
        last_used(tmp_path, number, 10 - number)
    assert numbers(tmp_path) == [1, 2, 3]
    made(tmp_path, 1)  # used again: the next one is now the oldest
    let_go()
    size = entries(tmp_path)[0].num_bytes
    made(tmp_path, 4, limit=3 * size + 10)
    assert sorted(numbers(tmp_path)) == [1, 3, 4]
    (message,) = caplog.messages
    assert "removed 1 of 4 entries" in message
    let_go()
    assert made(tmp_path, 3, limit=1)  # found: nothing is written, so nothing is removed
    assert sorted(numbers(tmp_path)) == [1, 3, 4]


def test_an_entry_in_use_stays(tmp_path: Path) -> None:
    made(tmp_path, 1)
    code = (
        "import sys; from pathlib import Path; from tests.test_cache import made\n"
        "print(made(Path(sys.argv[1]), 1), flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as other:  # fmt: skip
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        let_go()
        removed, stay = shrink(tmp_path, 0)
        assert (removed, len(stay)) == ([], 1)
        other.communicate("\n")
    assert [entry.manifest["paths"] for entry in shrink(tmp_path, 0)[0]] == [["1.csv"]]
    assert entries(tmp_path) == []
    assert not made(tmp_path, 1)
    assert shrink(tmp_path, 0)[0] == []  # used by this process


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    made(tmp_path, 1)
    name = name_of({"number": 1})
    for left in (f".{name}-0123abcd", f".{name}-0123abcd-old", ".mine-0123abcd", "mine"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "data").write_text("half")
    with FileLock(tmp_path / f"{name}.lock"):  # being written
        shrink(tmp_path, 10**9)
        assert (tmp_path / f".{name}-0123abcd").exists()
    shrink(tmp_path, 10**9)
    folders = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert folders == {name, ".mine-0123abcd", "mine"}
    (tmp_path / f".{name}-0123abcd").mkdir()
    made(tmp_path, 1)  # as well where an entry is there, and whatever the limit
    assert not (tmp_path / f".{name}-0123abcd").exists()


@pytest.mark.parametrize(
    ("given", "size"),
    [("cache_size=5MB", 5 * 10**6), ("cache_size=7", 7), ("cache_size=null", None)],
)
def test_the_limit_is_an_option(given: str, size: int | None) -> None:
    assert make_config(given).cache_size == size
    assert make_config().cache_size == 20 * 10**9
    for wrong in ("much", "-1"):
        with pytest.raises(InputError, match="cache_size"):
            make_config(f"cache_size={wrong}")


# --- other users --------------------------------------------------------------------------------


def deny(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let a folder be one that only another user may read. (Root may read everything.)"""
    real: Callable[..., Any] = Path.open

    def denied(place: Path, *rest: Any, **options: Any) -> Any:
        if folder in place.parents:
            raise PermissionError(13, "Permission denied", str(place))
        return real(place, *rest, **options)

    monkeypatch.setattr(Path, "open", denied)


def test_another_users_entry_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made(tmp_path, 1)
    let_go()
    theirs = tmp_path / name_of({"number": 1})
    before = {path: path.stat() for path in theirs.iterdir()}
    deny(monkeypatch, theirs)
    assert not made(tmp_path, 1)
    assert made(tmp_path, 1)
    monkeypatch.undo()
    assert {path: path.stat() for path in theirs.iterdir()} == before
    assert len(entries(tmp_path)) == 2
    assert "damaged" not in caplog.text
    assert "is another user's" in caplog.messages[0]


def test_an_entry_is_read_though_its_lock_is_another_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, 1)

    def refuse(entry: Path) -> None:
        raise PermissionError(13, "Permission denied", str(entry.with_name(f"{entry.name}.lock")))

    monkeypatch.setattr(cache, "_acquire", refuse)
    assert made(tmp_path, 1)
    with pytest.raises(TextclsError, match=r"cache_dir=.*cannot be written \(Permission denied\)"):
        made(tmp_path, 2)


def test_data_that_cannot_be_read_is_not_taken_for_the_cache(tmp_path: Path) -> None:
    tries = 0

    def make(scratch: Path) -> Manifest:
        nonlocal tries
        tries += 1
        raise PermissionError(13, "Permission denied", "/elsewhere/train.csv")

    with pytest.raises(TextclsError):
        find_or_make(tmp_path, {"number": 1}, make, lambda entry, manifest: None)
    assert tries == 1


@pytest.mark.skipif(not hasattr(os, "seteuid") or os.geteuid() != 0, reason="needs root")
def test_two_users_share_a_cache(tmp_path: Path) -> None:
    """With real users: the first keeps his entry to himself, then does not."""
    for place in (tmp_path, *tmp_path.parents):  # so that the second gets there
        if stat.S_IMODE(place.stat().st_mode) & 0o001 == 0:
            place.chmod(place.stat().st_mode | 0o011)
    shared = tmp_path / "cache"
    shared.mkdir()
    shared.chmod(0o777)
    before = os.umask(0o077)
    try:
        made(shared, 1)
        os.umask(0o022)
        made(shared, 2)
        let_go()
        os.seteuid(65534)
        assert not made(shared, 1)
        assert made(shared, 1)
        assert made(shared, 2)
    finally:
        os.seteuid(0)
        os.umask(before)
    theirs = shared / name_of({"number": 1})
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o700
    assert sorted(entry.folder.name for entry in entries(shared)) == sorted(
        [theirs.name, f"{theirs.name}-{os.getuid()}", name_of({"number": 2})]
    )


# --- the command --------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["cache", *arguments]) == 0
    return capsys.readouterr().out


def test_the_command_shows_and_removes_entries(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    monkeypatch.setenv("TEXTCLS_CACHE", str(folder))
    assert "0 entries, 0 bytes" in run(capsys)
    for number in (1, 2, 3):
        made(folder, number)
        last_used(folder, number, number)
    shown = run(capsys)
    assert "3 entries" in shown
    assert shown.index("1.csv") < shown.index("2.csv") < shown.index("3.csv")
    assert "removed 0 of 3 (0 bytes)" in run(capsys, "--clear")
    assert "3 stay: they are in use" in run(capsys, "--clear")
    let_go()
    assert "removed 1 of 3" in run(capsys, "--max-size", str(entries(folder)[0].num_bytes * 2 + 1))
    assert numbers(folder) == [2, 1]
    assert "removed 2 of 2" in run(capsys, "--clear", "--dir", str(folder))
    assert "0 entries" in run(capsys)


def test_the_command_names_the_files_of_a_corpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "text,label\n" + 5 * "what a film,pos\nnever again,neg\n"
    for name in "abcd":
        Path(f"{name}.csv").write_text(rows)
    config = make_config("data=local", "data.train=?.csv")
    prepare(config.data, config.tokenizer, tmp_path / "cache")
    assert "basic_english   a.csv, b.csv, c.csv and 1 more" in run(capsys, "--dir", "cache")


def test_wrong_use_of_the_command_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for arguments in (["--clear", "--max-size", "1"], ["--dir", str(tmp_path / "file")]):
        assert main(["cache", *arguments]) == 2
        assert capsys.readouterr().err.count("\n") == 1
