"""A user's first files, through the real commands, and what they print typed as it is printed."""

from __future__ import annotations

import csv
import re
import subprocess
from pathlib import Path

import pytest

from tests import warm
from tests.conftest import Run, one_line, train_environment
from tests.inputs.cases import LIMIT, MANY, OPTION, plain_text

# As little training as there can be.
SHORT = ["trainer.epochs=1", "run_dir=run"]


def typed(arguments: str, folder: Path, cache_dir: Path) -> subprocess.CompletedProcess[str]:
    """Train with the arguments that a shell makes of what is typed."""
    print_words = ["bash", "-c", rf"printf '%s\0' {arguments}"]
    words = subprocess.check_output(print_words, cwd=folder, text=True)
    command = [*warm.TRAIN, *words.split("\0")[:-1]]
    return warm.finish(warm.start(command, folder, train_environment(cache_dir)))


@pytest.mark.slow
def test_what_is_printed_can_be_typed(tmp_path: Path, cache_dir: Path) -> None:
    rows = [(f"{text} für 5 €", label) for text, label in MANY]
    (tmp_path / "my file.csv").write_bytes(plain_text(rows, "the text~label", "~").encode("cp1252"))
    arguments = f"data=local 'data.train=my file.csv' {' '.join(SHORT)}"
    for wanted in ("data.encoding=", "data.delimiter="):
        refused = typed(arguments, tmp_path, cache_dir)
        assert refused.returncode == 2
        message = one_line(refused)
        assert len(message) < LIMIT
        assert "my file.csv" in message
        printed = OPTION.search(message[message.index(wanted) - 1 :])
        assert printed, message
        arguments += f" {printed.group().rstrip(',.;:)')}"
    done = typed(arguments, tmp_path, cache_dir)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_from_a_strange_table_to_labels(run_train: Run, tmp_path: Path, cache_dir: Path) -> None:
    # Excel's "CSV UTF-8" in a German Windows, with empty columns, two blank rows and a lone quote.
    rows = [('"' + MANY[0][0], MANY[0][1]), *MANY[1:]] * 3
    table = ";;\r\n;;\r\n Text ; Label;\r\n" + "".join(f"{t};{y};\r\n" for t, y in rows)
    (tmp_path / "mine.csv").write_bytes(b"\xef\xbb\xbf" + table.encode())
    done = run_train("data=local", "data.train=mine.csv", *SHORT)
    assert done.returncode == 0, done.stderr
    environment = train_environment(cache_dir)
    predicted = warm.finish(
        warm.start([*warm.TEXTCLS, "predict", "run", "mine.csv"], tmp_path, environment)
    )
    assert predicted.returncode == 0, predicted.stderr
    assert len(list(csv.DictReader(predicted.stdout.splitlines()))) == len(rows)
    (tmp_path / "other.csv").write_text("id,label\n1,x\n")
    refused = warm.finish(
        warm.start([*warm.TEXTCLS, "predict", "run", "other.csv"], tmp_path, environment)
    )
    assert refused.returncode == 2
    assert re.search(r"other\.csv.*id", one_line(refused))
