"""Wrong command lines: one line each, which says what was meant, and which works as printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from tests.conftest import Run, one_line, write_csv
from textcls.app.main import main
from textcls.app.options import OPTIONS, groups


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    for name in ("x.csv", "my reviews (1).csv", "y.csv"):
        write_csv(tmp_path / name, 40)


def train(*arguments: str) -> int:
    GlobalHydra.instance().clear()
    return main(arguments)


WRONG: list[tuple[list[str], str]] = [
    # No KEY=VALUE.
    (["x.csv"], "to train on a file, write data.train=x.csv"),
    (["my reviews (1).csv"], "to train on a file, write 'data.train=my reviews (1).csv'"),
    (["data.train"], "data.train has no value: write data.train=VALUE"),
    (["data.train", "=", "x.csv"], "data.train has no value"),
    (["data.train =x.csv"], "write data.train=x.csv, without spaces around the ="),
    (["train"], "'train' is no option: options are written KEY=VALUE"),
    (["=x"], "has no option before the ="),
    (["--epochs", "3"], "there is no option 'epochs': did you mean trainer.epochs=3?"),
    (["--batch-size=8"], "did you mean trainer.batch_size=8?"),
    (["--multirn"], "there is no such flag: did you mean --multirun?"),
    (["-x"], "-x: there is no such flag: see --help"),
    (["--cfg", "foo"], "--cfg foo: choose job, hydra or all"),
    (["--multirun=3"], "--multirun takes no value"),
    (["--cfg"], "--cfg needs a value after it"),
    (["--info=foo"], "--info=foo: choose one of all, config"),
    (["run_dir="], "run_dir= names no folder: write run_dir=FOLDER, or leave it out"),
    (["resume="], "resume= names no folder"),
    (["~seed=4"], "The value of 'seed' is 1 and not 4"),
    # No such option.
    (["trainer.epoch=3"], "there is no option 'trainer.epoch': did you mean trainer.epochs=3?"),
    (["mode=max"], "did you mean model.mode=max?"),
    (["train=x"], "did you mean data.train=x?"),
    (["lr=0.1"], "did you mean optimizer.lr=0.1?"),
    (["learning_rate=0.1"], "did you mean optimizer.lr=0.1?"),
    (["data.txt=my text"], "did you mean 'data.text=my text'?"),
    (["data.separator=;"], "did you mean 'data.delimiter=;'?"),
    (["csv=y.csv"], "did you mean data.train=y.csv?"),
    (["name=x"], "did you mean data.name, tokenizer.name or optimizer.name?"),
    (["größe=1"], "there is no option 'größe': see --help"),
    (["spam=1"], "spam=1: there is no option 'spam': see --help"),
    (["~foo"], "~foo: there is no option 'foo'"),
    (["data.train.x=3"], "there is no option 'data.train.x'"),
    (["hydra.foo=1"], "there is no option 'hydra.foo'"),
    (["trainer.class_weights.a b=2"], "write 'trainer.class_weights={a b: 2}'"),
    (["tokenizer.file=x"], "it belongs to tokenizer=file"),
    (["optimizer=sgd", "optimizer.betas=[0,0]"], "belongs to optimizer=adam or optimizer=adamw"),
    (["tune.seconds=3"], "tune.seconds=3 is for a search: add tune=default"),
    (["+seed=3"], "+seed: it is there already: write seed=3"),
    (["+data=imdb"], "+data: it is there already: write data=imdb"),
    # No such choice.
    (["data=x.csv"], "to train on a file, write data.train=x.csv"),
    (["data=gone/my file.csv"], "to train on a file, write 'data.train=gone/my file.csv'"),
    (["data=imbd"], "there is no such choice: did you mean data=imdb?"),
    (["optimizer=Adam"], "did you mean optimizer=adam?"),
    (["model=max"], "did you mean model.mode=max?"),
    (["schedule=step"], "choose one of constant, cosine, linear"),
    (["trainer=10"], "trainer=10: there is no such choice: choose one of default"),
    (["hydra/launcher=foo"], "choose one of basic"),
    (["model=null"], "model=null: choose one of embedding_bag"),
    (["data="], "data=: choose one of ag_news"),
    (["data.train=imdb"], "there is no such file: did you mean data=imdb?"),
    (["~data"], "every run needs data"),
    (["model=[a]"], "choose one of embedding_bag"),
    (["-m", "data=imdb,imbd"], "did you mean data=imdb?"),
    # Several values.
    (["seed=1,2"], "seed=1,2 has several values: add -m to train with each of them"),
    (["seed=range(1,3)"], "add -m"),
    (["data=imdb,reviews"], "add -m"),
    (
        ["optimizer=adam", "optimizer.betas=0.9,0.99"],
        "add -m to train with each of them; for a list, write 'optimizer.betas=[0.9,0.99]'",
    ),
    (["data.train=x.csv,y.csv"], "names several files: add -m"),
    (["data.train=[x.csv,y.csv]"], "names several files: add -m"),
    # Wrong values.
    (["seed="], "seed=: input should be a valid integer"),
    (["model.dim=[1"], "model.dim=[1: input should be a valid integer"),
    (["optimizer.lr=0.1=3"], "optimizer.lr=0.1=3: input should be a valid number"),
    (["model.mode=größe"], "model.mode=größe: input should be 'mean'"),
    (["model.dim=" + "9" * 400], "…: input should be less than or equal to 65536"),
    (["seed=1;2"], "seed=1;2: input should be a valid integer"),
    (["data.train=${foo}"], "data.train: Interpolation key 'foo' not found"),
    (["tokenizer=file"], "tokenizer.file is missing: add tokenizer.file=VALUE"),
    (["data.test=x.csv"], "data.train is missing"),
    (["data.delimiter=;;"], "a delimiter is one character, such as ';', or"),
    (["trainer.class_weights={x}"], "'x' has no weight: write {LABEL: 1, LABEL: 2}"),
    (["trainer.class_weights={x: 1, x: 2}"], "there are two weights for 'x'"),
    (["--config-name=foo"], "Cannot find primary config 'foo'"),
    (["hydra.mode=x"], "hydra.mode=x"),
    (["resume=nowhere", "seed=3"], "leave out seed=3"),
    (["-m", "resume=nowhere"], "leave out -m"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_one_line_says_what_is_wrong(
    arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert train(*arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch(r"error: [^\n]*\n", err)
    assert message in err
    assert len(err) < 300
    for jargon in ("Could not", "Lexer", "override", "viable", "EOF", "struct", "key='"):
        assert jargon not in err


def test_many_faults_have_room_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    options = ["model.dim=a", "model.mode=b", "optimizer.lr=c", "seed=d", "trainer.epochs=e"]
    assert train(*options) == 2
    err = capfd.readouterr().err
    assert len(err) < 300
    assert re.search(r"; and \d more\n$", err)


MENDS = [
    arguments
    for arguments, message in WRONG
    if re.search("did you mean [^-]|write [^{]*=", message) and "VALUE" not in message
]


@pytest.mark.parametrize("arguments", MENDS, ids=lambda value: str(value)[:40])
def test_what_is_printed_works_when_it_is_typed(
    arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert train(*arguments) == 2
    said = re.search(r"(?:did you mean|write) (.*?)\??$", capfd.readouterr().err.strip())
    assert said is not None
    typed = said[1].split(", ")[0]
    if "=" not in typed:  # one of several options
        typed = f"{typed}=3"
    words = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {typed}"], capture_output=True, text=True, check=True
    ).stdout.split("\0")[:-1]
    others = [word for word in arguments[:-1] if not word.startswith("-")]
    assert train("--cfg", "job", *others, *words) == 0, capfd.readouterr().err


def test_every_option_and_group_is_known(capfd: pytest.CaptureFixture[str]) -> None:
    """What the suggestions are made from is what there is."""
    assert train("--cfg", "job", "tune=default") == 0
    composed = capfd.readouterr().out
    for key in OPTIONS:
        name = key.rsplit(".", 1)[-1]
        chosen_else = key in ("tokenizer.file", "tokenizer.language", "tokenizer.vocab_size",
                              "optimizer.momentum", "optimizer.betas")  # fmt: skip
        assert chosen_else or re.search(rf"^ *{name}:", composed, re.MULTILINE), key
    assert set(groups()) >= {"data", "experiment", "launcher", "tune"}


@pytest.mark.slow
def test_hydra_does_not_show_through_in_a_process_of_its_own(run_train: Run) -> None:
    result = run_train("trainer.epoch=3")
    assert result.returncode == 2
    assert one_line(result).endswith("did you mean trainer.epochs=3?")
