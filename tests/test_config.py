from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from tests.conftest import PROJECT, Run, make_config, one_line
from textcls.config import Config, parse
from textcls.errors import InputError
from textcls.run_folder import plain

CONFIGS = PROJECT / "configs"
# Launchers are of no run: tests/test_sweep.py composes those that are installed.
GROUPS = sorted(
    path.name for path in CONFIGS.iterdir() if path.is_dir() and path.name != "launcher"
)
NEEDED = {"data=local": ["data.train=x.csv"], "tokenizer=file": ["tokenizer.file=tokenizer.json"]}
CHOICES = [
    f"{group}={path.stem}"
    for group in GROUPS
    for path in sorted((CONFIGS / group).glob("*.yaml"))
    if path.stem != "base"
]


@pytest.mark.parametrize("choice", CHOICES)
def test_every_config_composes_and_survives_the_run_folder(choice: str) -> None:
    config = make_config(choice, *NEEDED.get(choice, ()))
    again = yaml.safe_load(yaml.safe_dump(plain(config.to_dict())))
    assert parse(again) == config


def test_all_groups_of_the_design_are_there() -> None:
    assert GROUPS == [
        "data", "debug", "experiment", "model", "optimizer", "schedule", "tokenizer", "trainer",
        "tune",
    ]  # fmt: skip


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_begins_with_what_it_is(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")


@pytest.mark.parametrize(
    "path",
    [CONFIGS / "data/base.yaml", CONFIGS / "tokenizer/base.yaml"]
    + [p for g in ("model", "optimizer", "schedule", "trainer")
       for p in sorted((CONFIGS / g).glob("*.yaml"))],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)  # fmt: skip
def test_every_key_is_commented(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if line and not line.startswith("#") and not line.startswith("name:"):
            above = lines[number - 1].startswith("#")
            neighbour = number > 0 and lines[number - 1][:1].isalpha() and not above
            assert "#" in line or above or neighbour, f"{path}:{number + 1}: {line}"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.dim=abc", "model.dim=abc: input should be a valid integer"),
        ("model.dim=0", "model.dim=0: input should be greater than or equal to 1"),
        ("model.mode=median", "model.mode=median: input should be 'mean', 'sum', 'sqrtn', 'max', "),
        ("optimizer.lr=-1", "optimizer.lr=-1: input should be greater than 0"),
        ("optimizer.lr=nan", "optimizer.lr=nan: input should be a finite number"),
        ("trainer.epochs=1.5", "trainer.epochs=1.5"),
        ("trainer.monitor=bleu", "trainer.monitor=bleu"),
        ("trainer.class_weights=even", "trainer.class_weights"),
        ("schedule.warmup=2", "schedule.warmup=2"),
        ("+model.depth=3", "model.depth: there is no such option"),
        ("+spam=3", "spam: there is no such option"),
        ("seed=-1", "seed=-1"),
        ("data=local", "data.train is missing"),
        ("tokenizer.file=x", "tokenizer.file"),
        ("data.text=[]", "data.text names no column"),
        ("data.label_names=[a,a]", "gives one name to two labels"),
        ("trainer.batch_size=99999999999", "trainer.batch_size=99999999999"),
        ("data.repo=a/b", "data.repo is for hub datasets"),
    ],
)
def test_a_wrong_value_names_its_key(override: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        make_config(override) if override != "tokenizer.file=x" else make_config(f"+{override}")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        make_config("model.dim=0", "optimizer.lr=0")
    assert "model.dim=0" in str(caught.value)
    assert "optimizer.lr=0" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "weights"),
    [
        ("trainer.class_weights=balanced", "balanced"),
        ("trainer.class_weights={a: 2, b: 1}", {"a": 2.0, "b": 1.0}),
        ("trainer.class_weights={1: 2, 2: 1}", {"1": 2.0, "2": 1.0}),
    ],
)
def test_class_weights_come_by_rule_or_by_label(given: str, weights: object) -> None:
    assert make_config(given).trainer.class_weights == weights


def test_text_may_be_one_column_or_several() -> None:
    local = ["data=local", "data.train=x.csv"]
    assert make_config(*local, "data.text=a").data.text == ("a",)
    assert make_config(*local, "data.text=[a,b]").data.text == ("a", "b")


def test_a_config_cannot_be_changed() -> None:
    config = make_config()
    with pytest.raises(AttributeError):
        config.seed = 2  # type: ignore[misc]
    assert isinstance(config, Config)


def test_overrides_of_an_experiment_reach_the_groups() -> None:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        cfg = compose("config", ["experiment=pooling"], return_hydra_config=True)
    assert cfg.hydra.sweeper.params["model.mode"] == "mean,sum,sqrtn,max"
    assert make_config("debug=overfit").trainer.overfit == 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.depth=3"], "depth"),
        (["model.dim=abc"], "model.dim=abc"),
        (["data=nothing"], "nothing"),
        (["data=local"], "data.train is missing"),
        (["optimizer=sgd", "optimizer.betas=[0,0]"], "betas"),
        (["model.dim"], "model.dim"),
        (["trainer.overfit=4", "trainer.patience=2"], "trainer.patience=null"),
    ],
)
def test_a_wrong_command_line_fails_fast_in_one_line(
    arguments: list[str], message: str, run_train: Run
) -> None:
    result = run_train(*arguments)
    assert result.returncode == 2
    assert message in one_line(result)


def test_a_configuration_error_does_not_wait_for_torch(run_train: Run, tmp_path: Path) -> None:
    # A torch that cannot be imported: the error is found before it is asked for.
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    result = run_train("model.dim=0", env={"PYTHONPATH": str(tmp_path)})
    assert "model.dim=0" in one_line(result)
    help_ = run_train("--help", env={"PYTHONPATH": str(tmp_path)})
    assert help_.returncode == 0
    assert "python train.py data.train=train.csv" in help_.stdout


def test_how_a_csv_is_read_is_null_or_said() -> None:
    reading = make_config().data.reading
    assert (reading.header, reading.quoting) == (None, None)
    reading = make_config("data.header=false", "data.quoting=none").data.reading
    assert (reading.header, reading.quoting) == (False, "none")
    with pytest.raises(InputError, match=r"data\.quoting=single: input should be 'double'"):
        make_config("data.quoting=single")
    assert make_config("data.delimiter=tab").data.delimiter == "\t"
    with pytest.raises(InputError, match=r"data\.delimiter=ab: a delimiter is one character"):
        make_config("data.delimiter=ab")
    older = make_config().to_dict()
    del older["data"]["header"], older["data"]["quoting"]
    assert parse(older) == make_config()
