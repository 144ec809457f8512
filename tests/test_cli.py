"""The command ``textcls``: streams, signals, completion, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command import complaint, start, textcls
from tests.conftest import PROJECT, make_config, train_environment
from textcls import run as running
from textcls.cli.options import Size


def test_a_line_in_a_pipe_is_answered_before_the_next(trained: Path, cache_dir: Path) -> None:
    with start(cache_dir, "predict", trained) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for text, label in ((b"superb\n", b"good"), (b"awful\n", b"bad")):
            process.stdin.write(text)
            process.stdin.flush()
            line = process.stdout.readline()
            if line.startswith(b"label"):
                line = process.stdout.readline()
            assert line.startswith(label)
        process.send_signal(signal.SIGINT)
        process.stdin.close()
        assert process.wait() == 130
        assert process.stderr is not None
        assert process.stderr.read() == b"error: stopped by SIGINT\n"


def test_a_reader_that_goes_away_is_no_fault_to_tell(trained: Path, cache_dir: Path) -> None:
    with start(cache_dir, "predict", trained) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"superb\n")
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        for _ in range(100):  # the pipe's end is noticed at some write
            try:
                process.stdin.write(b"dull\n" * 1_000)
                process.stdin.flush()
            except BrokenPipeError:
                break
            time.sleep(0.01)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        assert process.wait() == 141
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["inspect", "RUN"], marks=pytest.mark.slow),
        ["inspect", "RUN", "--json"],
        ["-h"],
    ],
)
def test_a_pipe_that_nobody_reads_is_no_fault_to_tell(
    arguments: list[str], trained: Path, cache_dir: Path
) -> None:
    # By rich, by click within a verb, by click before one.
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "textcls", *[str(trained) if a == "RUN" else a for a in arguments]],
        env=train_environment(cache_dir), stdout=writer, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_an_output_that_is_no_file_is_written_to_as_it_is(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("superb\n")
    (tmp_path / "target.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to(tmp_path / "target.csv")
    textcls(capfd, "predict", trained, tmp_path / "a.txt", "--out", tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "target.csv").read_text().startswith("label,")
    os.mkfifo(tmp_path / "pipe.csv")
    reader = subprocess.Popen(["cat", tmp_path / "pipe.csv"], stdout=subprocess.PIPE)
    textcls(capfd, "predict", trained, tmp_path / "a.txt", "--out", tmp_path / "pipe.csv")
    assert reader.communicate()[0].startswith(b"label,probability\ngood,")
    assert (tmp_path / "pipe.csv").is_fifo()


@pytest.mark.parametrize(
    ("redirected", "status", "out"),
    [
        ("predict RUN <&-", 0, "label,probability\n"),
        pytest.param("inspect RUN >&-", 0, "", marks=pytest.mark.slow),
        ("predict RUN a.txt --out o.csv >&-", 0, ""),
        pytest.param(
            "explain RUN -t superb >/dev/full",
            1,
            "",
            marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here"),
        ),
        ("PYTHONIOENCODING=ascii explain RUN -t superb | wc -l | tr -d '0-9 '", 0, "\n"),
    ],
)
def test_closed_full_and_narrow_streams(
    redirected: str, status: int, out: str, trained: Path, tmp_path: Path, cache_dir: Path
) -> None:
    (tmp_path / "a.txt").write_text("superb\n")
    setting, _, rest = redirected.rpartition("PYTHONIOENCODING=ascii ")
    command = f"{sys.executable} -m textcls {rest}".replace("RUN", str(trained))
    environment = train_environment(cache_dir) | {"PYTHONPATH": str(PROJECT)}
    if setting or rest != redirected:
        environment |= {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, env=environment,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (status, out), done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == bool(status)


def test_what_is_stopped_leaves_no_half_a_file(
    trained: Path, cache_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    out.write_text("an older one")
    with start(cache_dir, "predict", trained, "--out", out) as process:
        assert process.stdin is not None
        process.stdin.write(b"superb\n" * 100_000)
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) == 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 143
    assert out.read_text() == "an older one"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_the_shell_completes_verbs_and_help_needs_no_torch(cache_dir: Path) -> None:
    words = {"_TEXTCLS_COMPLETE": "bash_complete", "COMP_WORDS": "textcls pre", "COMP_CWORD": "1"}
    program = "import sys; from textcls.cli import main; main(sys.argv[1:])"
    code = f"{program}; print('torch' in sys.modules)"
    environment = train_environment(cache_dir)
    completed = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | words, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert completed.stdout == "plain,predict\n"
    shown = subprocess.run(
        [sys.executable, "-c", code, "predict", "--help"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "one row out for each row in" in shown.stdout
    assert shown.stdout.endswith("False\n")


def test_names_do_not_speak_to_the_terminal(
    tmp_path: Path, cache_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [{"text": "superb", "label": "\x1b[31mred"}, {"text": "dull", "label": "a\nb"}] * 20
    (tmp_path / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    config = make_config("data=local", f"data.train={tmp_path / 'a.jsonl'}",
                         f"cache_dir={cache_dir}", "trainer.epochs=1")  # fmt: skip
    running.start(config, tmp_path / "run")
    capfd.readouterr()
    run = tmp_path / "run"
    for arguments in (["evaluate", run, tmp_path / "a.jsonl"], ["inspect", run],
                      ["explain", run, "-t", "superb"]):  # fmt: skip
        assert "\x1b" not in textcls(capfd, *arguments)
    for arguments in (["explain", run, "-t", "x", "--label", "\x1b[1m"],
                      ["neighbors", run, "\x1b[31mzebra"]):  # fmt: skip
        assert "\x1b" not in complaint(capfd, *arguments)


# --- what is wrong is told in one line --------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'MODEL'"),
        (["nowhere"], "nowhere: is no model or run folder"),
        (["RUN", "nofile.csv"], "nofile.csv: there is no such file"),
        (["RUN", "FOLDER"], "is a folder without text files: name the files in it"),
        (["RUN", "test.csv", "--text-column", "x"], "--text-column x: there is no such column"),
        (["RUN", "two.csv"], r"is the text\? .*say --text-column one, or "),
        (["RUN", "test.csv", "--out", "x.xml"], r"--out x.xml: name it .csv, .tsv, .jsonl or"),
        (["RUN", "test.csv", "--out", "test.csv"], "--out .*test.csv: is one of the files to read"),
        (["RUN", "test.csv", "--threshold", "2"], "Invalid value for '--threshold'"),
        (["RUN", "test.csv", "--device", "cuda:99"], "--device=cuda:99: is not to be had here"),
        (["RUN", "broken.parquet"], "broken.parquet: is no parquet file, or a damaged one"),
        (["RUN", "test.csv", "--encoding", "klingon"], "klingon: there is no such encoding"),
        (["RUN", "-", "--encoding", "klingon"], "klingon: there is no such encoding"),
        (["RUN", "test.csv", "--out", "folder.csv"], "folder.csv: Is a directory"),
        (["RUN", "test.csv", "--delimiter", ";;"], "a delimiter is one character"),
        (["RUN", "test.csv", "--threshold", "nan"], "nan is no number"),
        (["RUN", "empty.jsonl"], "empty.jsonl: is empty"),
    ],
)  # fmt: skip
def test_what_predict_refuses(
    arguments: list[str], message: str, trained: Path, tmp_path: Path,
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test.csv").write_text("text,label\nfine,good\n")
    (tmp_path / "two.csv").write_text("one,two\na,b\n")
    (tmp_path / "broken.parquet").write_text("PAR1")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "folder.csv").mkdir()
    named = {"RUN": str(trained), "FOLDER": str(tmp_path)}
    line = complaint(capfd, "predict", *[named.get(a, a) for a in arguments])
    assert re.search(message, line), line
    assert (tmp_path / "test.csv").read_text() == "text,label\nfine,good\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "RUN", "labels.csv"], "line 3 has the label 'ugly'"),
        (
            ["evaluate", "RUN", "texts.csv"],
            r"is the label\?.*-column two --label-column one",
        ),
        (["evaluate", "RUN", "no ne.csv"], "error: 'no ne.csv': there is no such file"),
        (["evaluate", "RUN", ""], "'': names no file"),
        (["evaluate", "RUN", "labels.csv", "--out", "RUN"], "is a run or a model"),
        (["evaluate", "RUN", "labels.csv", "--out", "MODEL"], "is a run or a model"),
        (["evaluate", "RUN", "labels.csv", "--out", "labels.csv"], "is no folder"),
        (["explain", "--label", "good", "--html", "page.html"], "--label needs a MODEL"),
        (["neighbors", "RUN", "zebra"], "'zebra': the model knows none of its tokens"),
        (["inspect", "nowhere"], "nowhere: is no model or run folder"),
        (["explain"], "name a MODEL"),
        (["explain", "RUN"], "give a text to explain"),
        (["explain", "RUN", "--text", "x", "--label", "ugly"], "the model's labels are bad, good"),
        (["export", "RUN", "--to", "numpy", "--out", "."], "is there already"),
        (["compress", "RUN", "--out", "."], "is there already"),
        (["compress", "MODEL", "--out", "new"], "is no run folder, so name a labelled file"),
        (["compress", "RUN", "--out", "new", "--max-size", "tiny"], "'tiny' is no size"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["pred"], "No such command 'pred'. Did you mean 'predict'?"),
        (["evaluate", "RUN", "labels.csv", "x.csv"], "several by a pattern in quotes: 'data/"),
        (["predict", "RUN", "--frob"], "No such option"),
    ],
)
def test_what_other_verbs_refuse(
    arguments: list[str], message: str, trained: Path, tmp_path: Path,
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.csv").write_text("text,label\nfine,good\nodd,ugly\n")
    (tmp_path / "texts.csv").write_text("one,two,three\na,b,c\n")
    named = {"RUN": str(trained), "MODEL": str(trained / "model")}
    line = complaint(capfd, *[named.get(a, a) for a in arguments])
    assert re.search(message, line), line
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("text", "size"),
    [("500000", 500_000), ("500kB", 500_000), ("1MB", 10**6), ("1.5 M", 1_500_000),
     ("1MiB", 1 << 20), ("2gb", 2 * 10**9)],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert Size().convert(text, None, None) == size


def test_the_command_can_be_imported_where_there_is_no_sigpipe() -> None:
    # As on Windows.
    code = "import signal; del signal.SIGPIPE; import textcls.cli, textcls.app.main"
    subprocess.run([sys.executable, "-c", code], check=True)
