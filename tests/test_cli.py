"""The verbs of the command ``textcls``, most in-process, those about processes as processes."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
from pyarrow import parquet

from tests.conftest import PROJECT, WORDS, make_config, train_environment, write_files
from textcls import Classifier, cli
from textcls import run as running
from textcls.cli.options import Size
from textcls.config import Reading
from textcls.data.reading import read_lines, read_texts
from textcls.model.embedding_bag import logits_of

# Whatever comes: each is a row. (As bytes; 0xff is no UTF-8, 0x85 neither.)
ODD = [
    b"great and warm", b"", b"\xf0\x9f\x98\x80 superb", b"nul \x00 inside dull",
    b"bad \xff\xfe bytes awful", b"great " * 200_000, b'quote " and , comma dull',
    "\u0130stanbul \u039f\u0394\u039f\u03a3 great".encode(), b"   ", b"\xe2\x80\xa8 weak \xc2\x85",
    b"cut short \xe2\x82", b"never seen before", b"last dull",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """A run folder."""
    folder = tmp_path_factory.mktemp("trained")
    config = make_config(*write_files(folder), f"cache_dir={cache_dir}", "trainer.epochs=3")
    running.start(config, folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def classifier(trained: Path) -> Classifier:
    return Classifier.load(trained)


@pytest.fixture(autouse=True)
def _threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def textcls(capfd: pytest.CaptureFixture[str], *arguments: Any) -> str:
    """Run the command in this process; return what it printed."""
    status = cli.main([str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    assert status == 0, err
    return out


def complaint(capfd: pytest.CaptureFixture[str], *arguments: Any) -> str:
    """Run a command that is wrong; return its one line, after checking that there is no other."""
    assert cli.main([str(argument) for argument in arguments]) in (1, 2)
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
    assert err.startswith("error: ")
    assert not out
    return err.strip()


def as_texts(rows: Sequence[bytes]) -> list[str]:
    return [row.decode("utf-8", "replace") for row in rows]


def write_odd(folder: Path, kind: str) -> Path:
    """Write the odd rows as a file of a kind; a line cannot hold a line break, all else can."""
    path = folder / f"odd.{kind}"
    if kind == "csv":
        quoted = [b'"' + row.replace(b'"', b'""') + b'",x\n' for row in ODD]
        path.write_bytes(b"text,label\n" + b"".join(quoted))
    elif kind == "jsonl":
        escaped = [row.replace(b'"', b'\\"').replace(b"\x00", b"\\u0000") for row in ODD]
        path.write_bytes(b"".join(b'{"text": "' + row + b'"}\n' for row in escaped))
    elif kind == "parquet":
        rows = pa.array(ODD, pa.binary())
        texts = pa.StringArray.from_buffers(len(rows), *rows.buffers()[1:])
        parquet.write_table(pa.table({"text": texts, "label": ["x"] * len(ODD)}), path)
    elif kind == "txt":
        path.write_bytes(b"".join(row + b"\n" for row in ODD))
    else:
        path.write_bytes(gzip.compress(b"".join(row + b"\r\n" for row in ODD)))
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "txt", "txt.gz"])
def test_a_row_out_for_each_row_in_whatever_it_holds(
    kind: str, trained: Path, classifier: Classifier, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    printed = textcls(capfd, "predict", trained, write_odd(tmp_path, kind), "--probabilities")
    rows = list(csv.DictReader(io.StringIO(printed)))
    expected = classifier.predict_proba(as_texts(ODD))
    assert [row["label"] for row in rows] == classifier.predict(as_texts(ODD))
    for i, name in enumerate(classifier.label_names):
        found = [float(row[f"p({name})"]) for row in rows]
        np.testing.assert_allclose(found, expected[:, i], atol=1e-6)
    np.testing.assert_allclose([float(r["probability"]) for r in rows], expected.max(1), atol=1e-6)


def test_csv_jsonl_and_parquet_say_the_same(
    trained: Path, classifier: Classifier, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file, texts = write_odd(tmp_path, "txt"), as_texts(ODD)
    options = ["--top", 5, "--threshold", 0.4, "--probabilities"]
    for kind in ("csv", "jsonl", "parquet"):
        textcls(capfd, "predict", trained, file, *options, "--out", tmp_path / f"out.{kind}")
    table = parquet.read_table(tmp_path / "out.parquet")
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    of_json = [json.loads(line) for line in lines]
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as opened:
        of_csv = list(csv.DictReader(opened))
    assert table.column_names == [
        "label", "probability", "label_2", "probability_2", "p(bad)", "p(good)"
    ]  # fmt: skip
    best = classifier.predict_top(texts, k=5, threshold=0.4)
    assert any(len(row) == 1 for row in best)  # the threshold leaves something out
    for row, as_json, as_csv, expected in zip(
        table.to_pylist(), of_json, of_csv, best, strict=True
    ):
        assert as_json == pytest.approx(row, abs=1e-6)
        assert {key: value or None for key, value in as_csv.items()} == {
            key: None if value is None else str(value) for key, value in as_json.items()
        }
        found = [(row[f"label{n}"], row[f"probability{n}"]) for n in ("", "_2")]
        assert [pair for pair in found if pair[0] is not None] == expected
        assert all((label is None) == (p is None) for label, p in found)


def test_several_files_follow_one_another(
    trained: Path, classifier: Classifier, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("superb\n\ndull")  # the last line has no end
    (tmp_path / "b.csv").write_text("id,body\n1,warm\n2,\n")
    printed = textcls(capfd, "predict", trained, tmp_path / "a.txt", tmp_path / "b.csv",
                      "--text-column", "body", "--format", "jsonl")  # fmt: skip
    found = [json.loads(line)["label"] for line in printed.splitlines()]
    assert found == classifier.predict(["superb", "", "dull", "warm", ""])


def test_text_columns_are_joined(
    trained: Path, classifier: Classifier, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "two.csv").write_text("title;body\ndull;great\nwarm;\n")
    options = ["--text-column", "title", "--text-column", "body", "--delimiter", ";"]
    printed = textcls(capfd, "predict", trained, tmp_path / "two.csv", *options)
    found = [row["probability"] for row in csv.DictReader(io.StringIO(printed))]
    expected = classifier.predict_proba(["dull great", "warm"]).max(1)
    np.testing.assert_allclose([float(p) for p in found], expected, atol=1e-6)


@pytest.mark.parametrize("name", ["empty.txt", "empty.csv"])
def test_no_rows_are_no_rows(
    name: str, trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("text\n" if name.endswith("csv") else "")
    assert textcls(capfd, "predict", trained, tmp_path / name) == "label,probability\n"


# --- columns and encodings --------------------------------------------------------------------


@pytest.fixture(scope="module")
def latin(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """A run on a file that needs to be told about, and that file."""
    folder = tmp_path_factory.mktemp("latin")
    rows = "".join(
        f"{label};sch\u00f6n {word}\n"
        for _ in range(15)
        for label, words in WORDS.items()
        for word in words
    )
    (folder / "train.csv").write_text(f"sentence;facts\n{rows}", encoding="latin-1")
    options = [f"data.train={folder / 'train.csv'}", "data.label=sentence", "data.delimiter=';'"]
    config = make_config("data=local", *options, "data.encoding=latin-1", f"cache_dir={cache_dir}",
                         "trainer.epochs=3")  # fmt: skip
    running.start(config, folder / "run")
    return folder


def test_run_model_and_compressed_model_read_a_file_as_the_training_did(
    latin: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new.csv"
    new.write_text("sentence;facts\nbad;sch\u00f6n lovely\nbad;broken\n", encoding="latin-1")
    textcls(capfd, "compress", latin / "run", "--out", tmp_path / "small", "--max-loss", 0)
    found = [
        textcls(capfd, "predict", model, new)
        for model in (latin / "run", latin / "run" / "model", tmp_path / "small")
    ]
    for printed in found:
        rows = list(csv.DictReader(io.StringIO(printed)))
        assert [row["label"] for row in rows] == ["good", "bad"]
    assert found[0] == found[1]
    for model in (latin / "run" / "model", tmp_path / "small"):
        assert "accuracy 0.5000" in textcls(capfd, "evaluate", model, new)
    # What training had is looked for, not asked for: another file may have other columns.
    (tmp_path / "other.csv").write_text("id;text\n1;lovely\n")
    assert "good" in textcls(capfd, "predict", latin / "run", tmp_path / "other.csv")


def test_bytes_that_are_no_text_are_told(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_bytes("sch\u00f6n great\ngreat\n".encode("latin-1"))
    assert cli.main(["predict", str(trained), str(tmp_path / "a.txt")]) == 0
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 3
    assert err.startswith("note: 1 texts hold U+FFFD")
    assert "--encoding" in err


def test_a_csv_without_a_header(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("superb,1\ndull,2\n")
    printed = textcls(capfd, "predict", trained, tmp_path / "a.csv", "--columns", "text,id")
    assert [line.split(",")[0] for line in printed.splitlines()] == ["label", "good", "bad"]
    # Where the first line is the very names, it is the header.
    (tmp_path / "b.csv").write_text("text,id\nsuperb,1\n")
    printed = textcls(capfd, "predict", trained, tmp_path / "b.csv", "--columns", "text,id")
    assert len(printed.splitlines()) == 2


# --- lines and pieces -------------------------------------------------------------------------


class Pieces:
    """A stream that gives what it has, as a pipe does."""

    def __init__(self, *pieces: bytes) -> None:
        self.left = list(pieces)

    def read(self, size: int) -> bytes:
        return self.left.pop(0) if self.left else b""


def test_lines_are_handed_on_as_they_come() -> None:
    stream = Pieces("\ufeffone\ntw".encode(), b"o\r\n\nthr", b"ee", b" and \xe2\x82", b"\xac\n")
    lines = read_lines(stream)
    assert next(lines).to_pylist() == ["one"]
    assert len(stream.left) == 4  # nothing was read ahead
    assert next(lines).to_pylist() == ["two", ""]
    assert [line for piece in lines for line in piece.to_pylist()] == ["three and €"]


def test_labels_in_fasttexts_format_are_no_text() -> None:
    raw = b"__label__a __label__b x y\n __label__c\nx __label__d\n__label__\n"
    found = [line for piece in read_lines(io.BytesIO(raw)) for line in piece.to_pylist()]
    assert found == ["x y", "", "x __label__d", "__label__"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_files_are_read_piece_by_piece(kind: str, tmp_path: Path) -> None:
    texts = [f"row {i}" for i in range(20_000)]
    path = tmp_path / f"many.{kind}"
    if kind == "csv":
        path.write_text("text\n" + "".join(f"{text}\n" for text in texts))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    else:
        parquet.write_table(pa.table({"text": texts}), path)
    pieces = list(read_texts(path, Reading(), Reading()))
    assert max(map(len, pieces)) <= 8_192
    assert [text for piece in pieces for text in piece.to_pylist()] == texts


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_other_encodings(
    encoding: str, trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_bytes("na\u00efve great\nwarm".encode(encoding))
    printed = textcls(capfd, "predict", trained, tmp_path / "a.txt", "--encoding", encoding)
    assert [row["label"] for row in csv.DictReader(io.StringIO(printed))] == ["good", "good"]


# --- as processes -----------------------------------------------------------------------------


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
        assert process.wait() == 1
        assert process.stderr.read() == b""


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
        ("inspect RUN >&-", 0, ""),
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


# --- evaluate, inspect, neighbors -------------------------------------------------------------


def test_evaluate_finds_what_the_run_found(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    test = trained.parent / "test.csv"
    printed = textcls(capfd, "evaluate", trained, test, "--out", tmp_path / "report")
    of_run = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))["test"]
    found = json.loads((tmp_path / "report" / "metrics.json").read_text(encoding="utf-8"))
    assert found["rows"] == 40
    for name in ("accuracy", "macro_f1", "loss"):
        assert found[name] == pytest.approx(of_run[name])
    assert found["confusion"] == of_run["confusion"]
    assert f"test.csv accuracy {of_run['accuracy']:.4f}" in printed
    assert (tmp_path / "report" / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")


def test_evaluate_takes_numbers_with_names_and_fasttexts_lines(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "numbers.tsv").write_text("sentence\tclass\nsuperb\t1\ndull\t0\n")
    options = ["--label-names", "bad,good"]
    printed = textcls(capfd, "evaluate", trained, tmp_path / "numbers.tsv", *options)
    assert "accuracy 1.0000" in printed
    (tmp_path / "lines.txt").write_text("__label__good superb\n__label__good dull\n")
    assert "accuracy 0.5000" in textcls(capfd, "evaluate", trained, tmp_path / "lines.txt")


def test_inspect(trained: Path, classifier: Classifier, capfd: pytest.CaptureFixture[str]) -> None:
    known = json.loads(textcls(capfd, "inspect", trained, "--json"))
    table = classifier.parts.model.embedding.weight
    assert known["tensors"]["embedding.weight"] == {"dtype": "F32", "shape": list(table.shape)}
    assert known["classes"] == ["bad", "good"]
    files = [path for path in (trained / "model").iterdir() if path.is_file()]
    assert known["bytes"]["total"] == sum(path.stat().st_size for path in files)
    assert known["vocabulary"]["tokens"] == len(classifier.parts.vocabulary) - 2
    assert known["metrics"]["test"]["accuracy"] > 0.9
    # The model folder alone is a model as well, without the scores of a run.
    alone = json.loads(textcls(capfd, "inspect", trained / "model", "--json"))
    assert alone == {key: value for key, value in known.items() if key != "metrics"}
    shown = textcls(capfd, "inspect", trained)
    assert "2 classes" in shown
    assert "bad, good" in shown


def test_the_nearest_tokens_by_brute_force(
    trained: Path, classifier: Classifier, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["-k", 3, "--min-count", 1]
    printed = textcls(capfd, "neighbors", trained, "Superb", *options)
    vocabulary = classifier.parts.vocabulary
    words = vocabulary.tokens.to_pylist()
    table = classifier.parts.model.embedding.weight
    cosines = {
        word: float(F.cosine_similarity(table[i], table[words.index("superb")], dim=0))
        for i, word in enumerate(words)
        if i >= 2 and word != "superb"
    }
    expected = sorted(cosines, key=lambda word: -cosines[word])[:3]
    found = [line.split() for line in printed.splitlines() if line.strip()][2:]
    assert [row[2] for row in found] == expected
    assert [float(row[0]) for row in found] == pytest.approx(
        [cosines[word] for word in expected], abs=6e-4
    )
    assert [int(row[1]) for row in found] == [
        vocabulary.counts[words.index(word)] for word in expected
    ]


def test_the_nearest_texts_of_a_file(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("awful\n\x1b[31msuperb\nlovely moving\n\ncold\n")
    arguments = ["neighbors", trained, "superb", "--in", tmp_path / "a.txt", "-k", 2]
    rows = [line for line in textcls(capfd, *arguments).splitlines() if line.strip()][2:]
    assert [row.split()[1] for row in rows] == ["3", "2"] or [row.split()[1] for row in rows] == [
        "2",
        "3",
    ]
    assert "\x1b" not in "".join(rows)  # a text does not speak to the terminal


# --- explain, export, compress ----------------------------------------------------------------


def test_explain_adds_up_and_writes_the_page(
    trained: Path, classifier: Classifier, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    printed = textcls(capfd, "explain", trained, "-t", "superb but dull", "--label", "bad")
    bags = classifier.bags(["superb but dull"])
    score = logits_of(classifier.parts.model, bags)[0, classifier.label_names.index("bad")]
    assert f"{abs(float(score)):.3f}" in printed
    for word in ("superb", "dull"):
        assert word in printed
    page = tmp_path / "steps.html"
    for arguments in ([], [trained, trained / "model", "-t", "superb"]):
        assert str(page) in textcls(capfd, "explain", *arguments, "--html", page)
        assert "<!doctype html>" in page.read_text(encoding="utf-8").lower()


def test_export_writes_what_predicts_the_same(
    trained: Path, classifier: Classifier, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bags = classifier.bags(as_texts(ODD))
    indices, offsets = bags.indices.long(), bags.offsets
    expected = classifier.predict_proba(as_texts(ODD))
    textcls(capfd, "export", trained, "--to", "onnx", "--out", tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    given = {"indices": indices.numpy(), "offsets": offsets.numpy()}
    (found,) = session.run(["probabilities"], given)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    textcls(capfd, "export", trained, "--to", "torch", "--out", tmp_path / "model.pt2")
    module = torch.export.load(tmp_path / "model.pt2").module()
    np.testing.assert_allclose(module(indices, offsets), expected, atol=1e-5)
    textcls(capfd, "export", trained, "--to", "numpy", "--out", tmp_path / "numpy")
    lines = subprocess.run(
        [sys.executable, "-I", tmp_path / "numpy" / "predict.py"],
        input=b"superb\n\ndull\n", capture_output=True, check=True,
    ).stdout.decode().splitlines()  # fmt: skip
    assert [line.split("\t")[0] for line in lines] == classifier.predict(["superb", "", "dull"])


def test_compress_writes_a_model_that_every_verb_takes(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    small = tmp_path / "small"
    printed = textcls(capfd, "compress", trained, "--out", small, "--max-size", "5kB")
    assert "chosen" in printed
    figures = json.loads((small / "compression.json").read_text(encoding="utf-8"))
    size = sum(path.stat().st_size for path in (small / "model").iterdir())
    assert size == figures["chosen"]["bytes"] <= 5_000
    assert figures["chosen"] in figures["curve"]
    assert (small / "compression.png").read_bytes().startswith(b"\x89PNG")
    evaluated = textcls(capfd, "evaluate", small, trained.parent / "test.csv")
    assert "test.csv accuracy 1.0000" in evaluated
    card = (small / "model" / "README.md").read_text(encoding="utf-8")
    assert "## Compressed" in card
    assert "--max-size 5kB" in card
    # Judged by a file, it needs no run.
    judged = ["--data", trained.parent / "test.csv", "--out", tmp_path / "smaller"]
    assert "chosen" in textcls(capfd, "compress", small, *judged)


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
        (["RUN", "FOLDER"], "is a folder: name the files in it"),
        (["RUN", "test.csv", "--text-column", "x"], "--text-column x: there is no such column"),
        (["RUN", "two.csv"], r"is the text\? .*say --text-column one, or "),
        (["RUN", "test.csv", "--out", "x.xml"], "--out x.xml: name it .csv, .jsonl or .parquet"),
        (["RUN", "test.csv", "--out", "test.csv"], "--out .*test.csv: is one of the files to read"),
        (["RUN", "test.csv", "--threshold", "2"], "Invalid value for '--threshold'"),
        (["RUN", "test.csv", "--device", "cuda:99"], "device=cuda:99: is not to be had here"),
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
