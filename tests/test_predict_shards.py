"""``textcls predict --out DIR``: a file of labels for each, whatever becomes of the workers."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from filelock import FileLock
from pyarrow import parquet

from tests.command import complaint, main, start
from tests.conftest import WORDS
from tests.test_predict_several import make
from textcls import Classifier, Scorer, threads
from textcls.config import Reading
from textcls.scoring.files import FileScorer
from textcls.scoring.shards import RECORD, shards_of, undone
from textcls.scoring.workers import Workers

ROWS = 40
ALL_WORDS = [word for words in WORDS.values() for word in words]


def write_shards(folder: Path, names: list[str], rows: int = ROWS) -> dict[str, list[int]]:
    """Write Parquet files of ids and texts; return the ids of each, by name."""
    ids = {}
    for number, name in enumerate(names):
        ids[name] = list(range(number * rows, (number + 1) * rows))
        texts = [f"item {i} {ALL_WORDS[i % 10]} {ALL_WORDS[i // 7 % 10]}" for i in ids[name]]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table({"id": ids[name], "text": texts}), folder / name)
    return ids


def check_whole(out: Path, ids: dict[str, list[int]]) -> None:
    """Check that a folder has each row once, in its place, and nothing else."""
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert found == {*ids, RECORD, ".textcls.lock"}
    for name, expected in ids.items():
        assert parquet.read_table(out / name)["id"].to_pylist() == expected


def label(*arguments: Any, processes: int = 2, status: int = 0) -> None:
    assert main("predict", *arguments, "--keep", "id", "--processes", processes) == status


@pytest.fixture
def names() -> list[str]:
    return ["0.parquet", "a/0.parquet", "a/1.parquet", "b/c/2.snappy.parquet", "b/3.parquet"]


def test_each_file_has_one_at_its_place(
    names: list[str], trained: Path, classifier: Classifier, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    ids, out = write_shards(tmp_path / "shards", names), tmp_path / "out"
    label(trained, tmp_path / "shards" / "**" / "*.parquet", "--out", out)
    assert capfd.readouterr().err == f"note: 200 rows of 5 files labelled into {out}\n"
    check_whole(out, ids)
    for name in names:
        texts = parquet.read_table(tmp_path / "shards" / name)["text"]
        table = parquet.read_table(out / name)
        assert table["label"].to_pylist() == classifier.predict(texts)
        expected = classifier.predict_proba(texts).max(1)
        assert table["probability"].to_pylist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_files_of_other_formats(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("id,text\n1,superb\n2,dull\n")
    (tmp_path / "b.txt").write_text("warm\n")
    files = [tmp_path / "a.csv", tmp_path / "b.txt"]
    # Of a name without an ending, a folder is made for several files.
    assert main("predict", trained, *files, "--out", tmp_path / "out", "--format", "csv") == 0
    with (tmp_path / "out" / "a.csv").open() as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["good", "bad"]
    assert (tmp_path / "out" / "b.csv").read_text().startswith("label,probability\ngood,")
    # Of one file it is made where the name says so.
    assert main("predict", trained, files[0], "--out", f"{tmp_path}/one/") == 0
    assert parquet.read_table(tmp_path / "one" / "a.parquet").num_rows == 2


def test_what_is_done_is_left_and_what_is_older_than_its_texts_is_done_again(
    names: list[str], trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ids, out = write_shards(tmp_path / "shards", names), tmp_path / "out"
    pattern = tmp_path / "shards" / "**" / "*.parquet"
    label(trained, pattern, "--out", out)
    before = {name: (out / name).stat() for name in names}
    (out / names[1]).unlink()
    later = before[names[2]].st_mtime + 10
    os.utime(tmp_path / "shards" / names[2], (later, later))
    (out / "a" / ".0.parquet.99999999").touch()  # of a process that was killed
    capfd.readouterr()
    label(trained, pattern, "--out", out)
    err = capfd.readouterr().err
    assert "note: 1 file of labels older than their texts: labelled again" in err
    assert f"note: 80 rows of 2 files labelled into {out}, 3 were there already" in err
    check_whole(out, ids)
    for name in names:
        same = (out / name).stat().st_ino == before[name].st_ino
        assert same == (name not in names[1:3])


def test_one_folder_has_labels_of_one_model_and_of_the_same_options(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_shards(tmp_path, ["0.parquet"])
    out, verb = tmp_path / "out", ["predict", trained, tmp_path / "*.parquet", "--out"]
    assert main(*verb, f"{out}/", "--top", 2, "--keep", "id") == 0
    capfd.readouterr()
    refused = complaint(capfd, *verb, out, "--keep", "id")
    assert refused.endswith("with another --top (2 there, nothing now): name another folder")
    assert "another --keep" in complaint(capfd, *verb, out, "--top", 2)
    options = ["--top", 2, "--keep", "id"]
    assert "another --encoding" in complaint(capfd, *verb, out, *options, "--encoding", "latin-1")
    make().save_pretrained(tmp_path / "other")
    verb[1] = tmp_path / "other"
    refused = complaint(capfd, *verb, out, *options)
    assert "by another model" in refused
    assert str(trained) in refused
    # The same model, elsewhere, is the same.
    Classifier.load(trained).save_pretrained(tmp_path / "copy")
    verb[1] = tmp_path / "copy"
    assert main(*verb, out, *options) == 0


def test_folders_and_files_that_do_not_fit_are_refused(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_shards(tmp_path, ["0.parquet", "a/0.parquet", "a/1.parquet"])
    verb, pattern = ["predict", trained], tmp_path / "a" / "*.parquet"
    for own in (tmp_path, tmp_path / "a"):
        assert "name another folder" in complaint(capfd, *verb, pattern, "--out", own)
    (tmp_path / "b.parquet").write_bytes((tmp_path / "0.parquet").read_bytes())
    two = [tmp_path / "0.parquet", tmp_path / "a" / "0.parquet"]
    refused = complaint(capfd, *verb, *two, "--out", f"{tmp_path}/out/")
    assert "the labels of both would be" in refused
    assert all(str(path) in refused for path in two)
    assert "standard input" in complaint(capfd, *verb, "--out", f"{tmp_path}/out/")
    assert "--out DIR/" in complaint(capfd, *verb, two[0], "--processes", 2)
    assert "no such file" in complaint(capfd, *verb, tmp_path / "*.csv", "--out", f"{tmp_path}/o/")
    # A pattern that finds the labels as well: they are no texts.
    for _ in range(2):
        label(trained, tmp_path / "a" / "**" / "*.parquet", "--out", f"{tmp_path}/a/out/")
        capfd.readouterr()
    assert len(list((tmp_path / "a" / "out").rglob("*.parquet"))) == 2


def test_two_commands_do_not_write_into_one_folder(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write_shards(tmp_path, ["0.parquet"])
    monkeypatch.setattr("textcls.scoring.shards._PATIENCE", 0)
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".textcls.lock", is_singleton=False):
        verb = ["predict", trained, tmp_path / "0.parquet", "--out", tmp_path / "out"]
        assert "another process is writing there" in complaint(capfd, *verb)
    assert main(*verb) == 0


def test_files_that_cannot_be_labelled_are_named_and_the_others_are_done(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ids = write_shards(tmp_path / "in", ["0.parquet", "1.parquet", "2.parquet", "3.parquet"])
    broken = tmp_path / "in" / "1.parquet"
    broken.write_bytes(broken.read_bytes()[:-9])
    parquet.write_table(pa.table({"n": [1]}), tmp_path / "in" / "2.parquet")
    label(trained, tmp_path / "in" / "*.parquet", "--out", tmp_path / "out", status=1)
    *lines, last = capfd.readouterr().err.splitlines()
    failed = sorted(line for line in lines if line.startswith("failed: "))
    assert len(failed) == 2
    assert failed[0].startswith(f"failed: {broken}: ")
    assert failed[1].startswith(f"failed: {tmp_path / 'in' / '2.parquet'} has the column n")
    assert last.startswith("error: 2 of 4 files could not be labelled: ")
    assert "1.parquet" in last
    assert "2.parquet" in last
    check_whole(tmp_path / "out", {name: ids[name] for name in ("0.parquet", "3.parquet")})


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_long_files_and_long_texts_are_labelled_piece_by_piece(
    kind: str, trained: Path, classifier: Classifier, tmp_path: Path
) -> None:
    rows = [(i, f"{ALL_WORDS[i % 10]} " * (1 + 5_000 * (i % 5_000 == 0))) for i in range(30_000)]
    path, told = tmp_path / f"long.{kind}", list[int]()
    if kind == "csv":
        path.write_text("id,text\n" + "".join(f"{i},{text}\n" for i, text in rows))
    elif kind == "jsonl":
        lines = [json.dumps({"id": i, "text": text}) for i, text in rows]
        path.write_text("\n".join(lines))
    else:
        ids, texts = zip(*rows, strict=True)
        parquet.write_table(pa.table({"id": ids, "text": texts}), path)
    files = FileScorer(Scorer(trained), Reading(), ("id",), "parquet")
    done = files.score_whole(path, tmp_path / "out.parquet", told.append)
    assert done.counts["rows"] == sum(told) == 30_000
    assert max(told) <= 1 << 14
    table = parquet.read_table(tmp_path / "out.parquet")
    assert [int(id) for id in table["id"].to_pylist()] == list(range(30_000))
    assert table["label"].to_pylist() == classifier.predict([text for _, text in rows])


# --- workers that are killed -------------------------------------------------------------------


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, int], None]:
    """Return a function that has the workers of a file die while they write it."""
    whole = FileScorer.score_whole

    def at(name: str, times: int) -> None:
        def score_whole(self: FileScorer, source: Path, target: Path, tell: Any) -> Any:
            def tell_or_die(rows: int) -> None:
                tell(rows)
                died = len(list(tmp_path.glob("died-*")))
                if source.name == name and died < times:
                    (tmp_path / f"died-{died}").touch()
                    os.kill(os.getpid(), signal.SIGKILL)

            return whole(self, source, target, tell_or_die)

        monkeypatch.setattr(FileScorer, "score_whole", score_whole)

    return at


forked = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")


@forked
@pytest.mark.parametrize("processes", [1, 3])
def test_the_file_of_a_killed_worker_is_done_again(
    processes: int, names: list[str], killed: Callable[[str, int], None], trained: Path,
    tmp_path: Path, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    ids, out = write_shards(tmp_path / "in", names), tmp_path / "out"
    killed("1.parquet", 1)
    label(trained, tmp_path / "in" / "**" / "*", "--out", f"{out}/", processes=processes)
    note, last = capfd.readouterr().err.splitlines()
    assert note.endswith("a/1.parquet: its worker was killed by SIGKILL: labelled again")
    assert last == f"note: 200 rows of 5 files labelled into {out}"
    check_whole(out, ids)


@forked
def test_a_file_that_kills_its_workers_is_named(
    names: list[str], killed: Callable[[str, int], None], trained: Path, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    ids, out = write_shards(tmp_path / "in", names), tmp_path / "out"
    killed("1.parquet", 9)
    pattern = tmp_path / "in" / "**" / "*"
    label(trained, pattern, "--out", f"{out}/", status=1)
    err = capfd.readouterr().err
    assert "failed: " in err
    assert "a/1.parquet: its worker was killed by SIGKILL, 2 times" in err
    assert "note: 160 rows of 4 files" in err
    assert "error: 1 of 5 files could not be labelled" in err
    check_whole(out, {name: rows for name, rows in ids.items() if name != "a/1.parquet"})
    killed("1.parquet", 0)  # the cause is mended: the same command does the rest
    label(trained, pattern, "--out", f"{out}/")
    assert "note: 40 rows of 1 file labelled" in capfd.readouterr().err
    check_whole(out, ids)


@pytest.mark.slow
def test_processes_that_load_the_model_themselves(
    names: list[str], trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, out = write_shards(tmp_path / "in", names), tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr("textcls.scoring.workers.sys.platform", "darwin")
    files = FileScorer(Scorer(trained), Reading(), ("id",), "parquet")
    ended: list[str | None] = []
    made = Workers(files, 2, lambda _: None, lambda _, fault: ended.append(fault), print)
    assert made._context.get_start_method() == "spawn"
    shards, _ = undone(shards_of([str(tmp_path / "in" / "**" / "*")], out, "parquet"))
    made.run(shards)
    assert ended == [None] * 5
    assert made.done.counts["rows"] == 200
    for name, expected in ids.items():
        assert parquet.read_table(out / name)["id"].to_pylist() == expected


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


@forked
@pytest.mark.slow
@pytest.mark.parametrize("stop", ["worker", "Ctrl-C", "SIGTERM", "all", "parent"])
def test_whatever_is_killed_when_the_same_command_goes_on(
    stop: str, trained: Path, cache_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ids = write_shards(tmp_path / "in", [f"{i}.parquet" for i in range(12)], 60_000)
    pattern, out = tmp_path / "in" / "*.parquet", tmp_path / "out"
    arguments = [trained, pattern, "--out", f"{out}/", "--keep", "id"]
    child = start(cache_dir, "predict", *arguments, "--processes", 2, start_new_session=True)
    while not any(out.glob("*.parquet")):
        assert child.poll() is None, child.communicate()
        time.sleep(0.02)
    made = children(child.pid)
    assert len(made) == 2
    if stop == "worker":
        os.kill(made[0], signal.SIGKILL)
    elif stop == "parent":
        child.kill()
    else:
        kind = {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM, "all": signal.SIGKILL}[stop]
        os.killpg(child.pid, kind)
    _, err = child.communicate(timeout=120)
    expected = {"worker": 0, "Ctrl-C": 130, "SIGTERM": 143}
    assert child.returncode == expected.get(stop, -signal.SIGKILL)
    for path in out.glob("*.parquet"):  # whatever is there is whole
        assert parquet.read_table(path)["id"].to_pylist() == ids[path.name]
    if stop == "worker":
        assert b"its worker was killed by SIGKILL: labelled again" in err
        check_whole(out, ids)
        return
    if stop in ("Ctrl-C", "SIGTERM"):
        assert not any(
            path.name.startswith(".") and "parquet" in path.name for path in out.iterdir()
        )
        assert not any(Path(f"/proc/{pid}").exists() for pid in made)
    assert len(list(out.glob("*.parquet"))) < 12
    label(*arguments)
    assert "were there already" in capfd.readouterr().err
    check_whole(out, ids)


def test_a_worker_computes_with_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_alone", False)
    threads.take_one_cpu()
    assert threads.usable_cpus() == 1


def test_the_record_says_what_made_the_folder(trained: Path, tmp_path: Path) -> None:
    write_shards(tmp_path / "in", ["0.parquet"])
    label(trained, tmp_path / "in" / "*", "--out", f"{tmp_path}/out/", processes=1)
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    assert record["model"] == str(trained)
    assert record["options"]["keep"] == ["id"]
    assert record["options"]["format"] == "parquet"
