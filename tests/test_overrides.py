"""Options as a user types them: what is meant is what the configuration gets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from tests.conftest import make_config
from textcls.app.arguments import prepare
from textcls.app.overrides import quoted, split, unquoted
from textcls.config import Config, parse
from textcls.errors import InputError
from textcls.run_folder import plain

# What a file may be called, but for names that are a sign of the option's own.
CHARACTERS = st.characters(exclude_characters="/\0", exclude_categories=["Cs"])
LIKELY = st.sampled_from([*"ab '\"\\,()[]{}$#~=:;!*?%&|<>+-.@0", "${a}", "null", "ö", "日"])
NAMES = st.lists(st.one_of(LIKELY, CHARACTERS), min_size=1, max_size=12).map("".join)
ODD = [
    "train (1).csv", "a=b.csv", "it's.csv", "größe 日本.csv", "x[1].csv", "a,b.csv", "$x.csv",
    "~/x.csv", "C:\\data\\x.csv", "#1.csv", "a;b.csv", "a&b.csv", "'x'.csv", "x.csv'", "{a}.csv",
    "a:b.csv", "100%.csv", "null.csv", "true", "1_000", "007.csv", "-x.csv", "[a].csv", "a  b.csv",
    "choice(a)", "range(1,3)", "+x", "x\\", "\\", "*.csv", "data/**/*.csv", "x\ty.csv", "@x", "\n",
    " x.csv", "1e5", "inf", "!x.csv", "🙂.csv", "a\\'b", "${x.csv", "x}.csv", "a'b\"c.csv",
]  # fmt: skip


def composed(*arguments: str) -> Config:
    """Return the configuration that a command line without flags comes to."""
    return make_config(*(word for word in prepare(arguments) if not word.startswith("-")))


def read_by_hydra(arguments: list[str]) -> list[object]:
    """Return the values that the last option of a command line gets, one or those of a sweep."""
    last = OverridesParser.create().parse_override(prepare(arguments)[-1])
    values = list(last.sweep_iterator()) if last.is_sweep_override() else [last.value()]
    return [_text(value) for value in values]


def _text(value: object) -> object:
    text = getattr(value, "text", value)  # of what stood in quotes
    return OmegaConf.create({"it": text}).it if isinstance(text, str) else text


# --- text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_what_they_are(name: str) -> None:
    for key in ("data.train", "data.text", "data.label", "tokenizer.file", "run_dir", "resume"):
        assert read_by_hydra([f"{key}={name}"]) == [name]


@pytest.mark.parametrize("name", ["x'y\\ ${a.csv", "größe 日本, (1).csv", "[a]=#\n.csv"])
def test_odd_names_reach_the_run_folder(name: str) -> None:
    keys = ("data.train", "data.test", "data.text", "data.label", "cache_dir")
    config = composed(*(f"{key}={name}" for key in keys))
    data = config.data
    assert (data.train, data.test, data.text, data.label) == (name, name, (name,), (name,))
    assert config.cache_dir == name
    again = yaml.safe_load(yaml.safe_dump(plain(config.to_dict()), allow_unicode=True))
    assert parse(again) == config


def plain_is_meant(name: str) -> bool:
    return (
        name not in ("null", "???") and "${" not in name and name[0] + name[-1] not in ("''", '""')
    )


@given(NAMES)
@example("a\\${b}")
@example("'")
@example("\\'")
def test_any_text_survives_hydra(name: str) -> None:
    [value] = read_by_hydra([f"data.train={quoted(name)}"])
    assert unquoted(quoted(name)) == (name if name != "???" else "./???")
    if plain_is_meant(name):
        assert read_by_hydra([f"data.train={name}"]) == [name]
        assert read_by_hydra([f"data.label={name}"]) == [name]
    if "${" not in name and name != "???":
        assert value == name


@given(NAMES.filter(lambda name: name not in (".", "..", "null")))
@example("'x'")
@example("${x}")
@example("\\${x}")
@example("???")
@example("a,b")
@example("choice(a,b)")
def test_the_name_of_a_file_that_is_there_is_that_file(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "names"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        try:
            Path(name).write_text("")
        except OSError:  # too long for this file system
            return
        for flags in ([], ["-m"]):
            [value] = read_by_hydra([*flags, f"data.train={name}"])
            assert Path(str(value)) == Path(name)
        Path(name).unlink()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("null", None),
        ("'null'", "null"),
        ("'a, b'", "a, b"),
        ('"it\'s"', "it's"),
        ("${data.name}.csv", "local.csv"),
        ("größe/${data.name}.csv", "größe/local.csv"),
    ],
)
def test_exceptions_for_text(typed: str, meant: str | None) -> None:
    assert composed("data.train=x.csv", f"data.validation={typed}").data.validation == meant


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("文本", ("文本",)),
        ("0", ("0",)),
        ("1e3", ("1e3",)),
        ("[title,größe]", ("title", "größe")),
        ("[title, body text]", ("title", "body text")),
        ("['a, b',\"c\",0,True]", ("a, b", "c", "0", "True")),
        ("[x[1],it's,d]", ("x[1]", "it's", "d")),
        ("title,body", ("title,body",)),
        ("null", None),
    ],
)
def test_columns(typed: str, meant: tuple[str, ...] | None) -> None:
    assert composed("data.train=x.csv", f"data.text={typed}").data.text == meant


@pytest.mark.parametrize(
    ("typed", "meant"),
    [(";", ";"), ("\\t", "\t"), ("\t", "\t"), ("|", "|"), (",", ","), ("';'", ";")],
)
@pytest.mark.parametrize("flags", [[], ["-m"]])
def test_delimiters(flags: list[str], typed: str, meant: str) -> None:
    assert composed(*flags, "data.train=x.csv", f"data.delimiter={typed}").data.delimiter == meant


def test_a_delimiter_is_one_character() -> None:
    with pytest.raises(InputError, match=r"data\.delimiter=.*a delimiter is one character"):
        composed("data.delimiter=;;")


def test_a_name_that_is_no_utf_8_is_refused() -> None:
    with pytest.raises(InputError, match=r"data\.train='\\udcff\.csv': this is not valid UTF-8"):
        prepare(["data.train=\udcff.csv"])


# --- Hydra's grammar -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argument",
    [
        "seed=3", "model.mode=mean+max", "optimizer.betas=[0.9,0.99]", "trainer.patience=null",
        "~tune.space.tokenizer", "+tune.space.trainer.batch_size=[64,256]", "optimizer.lr=1e-3",
        "+tune.space={model: {mode: [mean,max]}, optimizer: {lr: {low: 0.1, high: 1, log: true}}}",
        "hydra.launcher.n_jobs=2", "hydra/launcher=joblib", "data=imdb", "experiment=null",
        "trainer.profile=true", "data.train=/a/b-c.csv", "run_dir=runs/x_1", "hydra.job.name='a b'",
    ],
)  # fmt: skip
def test_what_hydra_reads_right_stays(argument: str) -> None:
    assert prepare(["data=local", argument])[-1] == argument


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("seed=1,2,3", [1, 2, 3]),
        ("seed=range(1,4)", [1, 2, 3]),
        ("model.mode=choice(mean,max)", ["mean", "max"]),
        ("data=reviews,headlines", ["reviews", "headlines"]),
        ("data.train=a b.csv,it's.csv", ["a b.csv", "it's.csv"]),
        ("data.train=x[1,2].csv,größe.csv", ["x[1,2].csv", "größe.csv"]),
        ("data.train=choice('a b.csv',c.csv)", ["a b.csv", "c.csv"]),
        ("data.delimiter=',',';'", [",", ";"]),
        ("data.text=[a,b],c", [["a", "b"], "c"]),
        ("data.label='a, b',c", ["a, b", "c"]),
        ("trainer.class_weights=null,{好: 2}", [None, '{"好": 2.0}']),
    ],
)
def test_a_sweep(typed: str, values: list[object]) -> None:
    read = read_by_hydra(["-m", "data=local", typed])
    assert read == values


def test_experiments_that_sweep_make_commas_a_sweep() -> None:
    for way in ("experiment=pooling", "hydra.mode=MULTIRUN"):
        assert prepare([way, "data.train=a.csv,b.csv"])[-1] == "data.train=a.csv,b.csv"
    assert prepare(["experiment=quick", "data.train=a.csv,b.csv"])[-1] == "data.train='a.csv,b.csv'"


def test_flags_may_stand_anywhere() -> None:
    assert prepare(["seed=1,2", "-m", "model.dim=8"]) == ["-m", "seed=1,2", "model.dim=8"]
    assert prepare(["--cfg", "job", "seed=1"]) == ["--cfg", "job", "seed=1"]


@given(st.lists(st.text("ab,'\"[](){}\\ ", max_size=8), min_size=1, max_size=3))
def test_quoted_values_are_separated_again(values: list[str]) -> None:
    pieces = split(",".join(map(quoted, values)))
    assert [unquoted(piece) for piece in pieces] == values


# --- which corpus --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [[], ["-m", "seed=1,2"], ["experiment=quick"], ["experiment=pooling"], ["tune=default"],
     ["debug=fast"], ["launcher=joblib"]],
)  # fmt: skip
@pytest.mark.parametrize("key", ["data.train", "data.test", "data.validation"])
def test_files_that_are_named_are_the_corpus(key: str, more: list[str]) -> None:
    assert "data=local" in prepare([*more, f"{key}=mine.csv"])


@pytest.mark.parametrize(
    "arguments",
    [["data=imdb", "data.train=train"], ["data.train=null"], ["seed=1"], ["experiment=probes"]],
)
def test_a_corpus_that_is_chosen_stays(arguments: list[str]) -> None:
    assert "data=local" not in prepare(arguments)


def test_nothing_of_the_demo_is_left_when_a_file_is_named() -> None:
    data = composed("data.train=mine.csv").data
    assert (data.name, data.train, data.validation, data.test) == ("mine", "mine.csv", None, None)
    assert composed("data.repo=a/b", "data.source=hub", "data.train=t").data.test is None
    with pytest.raises(InputError, match=r"data\.train is missing"):
        composed("data.test=mine.csv")


@pytest.mark.parametrize(
    ("train", "name"),
    [("reviews.csv", "reviews"), ("a/My Reviews (1).csv.gz", "My-Reviews-1"),
     ("train.csv", "local"), ("imdb/train.parquet", "imdb"),
     ("parts/*.csv", "parts"), ("größe 日本.tsv", "größe-日本")],
)  # fmt: skip
def test_a_corpus_is_called_by_its_file(train: str, name: str) -> None:
    assert composed(f"data.train={train}").data.name == name
    assert composed(f"data.train={train}", "data.name=mine").data.name == "mine"


def test_a_demo_corpus_takes_no_other_train_file() -> None:
    """Its test split would be scored, which says nothing of the user's file."""
    with pytest.raises(InputError, match=r"leave it out to train on data\.train=mine\.csv"):
        prepare(["data=reviews", "data.train=mine.csv"])
    assert prepare(["data=reviews", "data.test=mine.csv"]) == ["data=reviews", "data.test=mine.csv"]


def test_an_experiment_with_corpora_of_its_own_takes_no_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="trains on corpora of its own: leave out one of the two"):
        prepare(["experiment=probes", "data.train=mine.csv"])
    (tmp_path / "experiment").mkdir()
    own = tmp_path / "experiment" / "own.yaml"
    own.write_text("# @package _global_\ndefaults:\n  - override /data: imdb\n")
    arguments = ["--config-dir", str(tmp_path), "experiment=own", "data.train=train[:9]"]
    assert "data=local" not in prepare(arguments)


# --- class weights -------------------------------------------------------------------------------

WEIGHTS = {"好": 2.0, "a, b": 0.5, "True": 1.0, "1": 3.0, "it's": 1.0, "a: b": 1.0, 'say "x"': 2.0}


@pytest.mark.parametrize(
    ("typed", "weights"),
    [
        ("balanced", "balanced"),
        ("null", None),
        ("{spam: 2, ham: 1}", {"spam": 2.0, "ham": 1.0}),
        ("{spam:2,ham:1}", {"spam": 2.0, "ham": 1.0}),
        ("{好: 2, 'a, b': 1, True: 3}", {"好": 2.0, "a, b": 1.0, "True": 3.0}),
        ("{not spam: 1, a: b: 2, 1.0: 3}", {"not spam": 1.0, "a: b": 2.0, "1.0": 3.0}),
        (json.dumps(WEIGHTS, ensure_ascii=False), WEIGHTS),
    ],
)
def test_class_weights(typed: str, weights: object) -> None:
    assert composed(f"trainer.class_weights={typed}").trainer.class_weights == weights


def write_json(path: Path) -> None:
    path.write_text(json.dumps(WEIGHTS), encoding="utf-8")


def write_yaml(path: Path) -> None:
    path.write_text(yaml.safe_dump(WEIGHTS, allow_unicode=True), encoding="utf-8")


def write_plain_yaml(path: Path) -> None:
    path.write_text(
        "好: 2\n'a, b': 0.5\nTrue: 1\n1: 3\nit's: 1\n'a: b': 1\nsay \"x\": 2\n", "utf-8"
    )


def write_csv(path: Path) -> None:
    rows = 'Label,Weight\n好,2\n"a, b",.5\nTrue,1\n1,3\nit\'s,1\na: b,1\n"say ""x""",2\n'
    path.write_text(rows, encoding="utf-8-sig")


@pytest.mark.parametrize(
    ("name", "write"),
    [("w.json", write_json), ("w.yaml", write_yaml), ("w.yml", write_plain_yaml),
     ("my weights, (1).csv", write_csv)],
)  # fmt: skip
def test_class_weights_by_file(name: str, write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / name)
    config = composed(f"trainer.class_weights={tmp_path / name}")
    assert config.trainer.class_weights == WEIGHTS  # the run does not depend on the file


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("w.csv", 'cafe\u0301 , 2\n"two\nlines",1\nx\u2028y,3\n'),
        ("w.json", '{"cafe\u0301": 2, "two  lines ": 1, "x\u2028y": 3}'),
    ],
)
def test_labels_of_class_weights_are_normalised_as_those_of_data(
    name: str, content: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    weights = composed(f"trainer.class_weights={tmp_path / name}").trainer.class_weights
    assert weights == {"caf\u00e9": 2.0, "two lines": 1.0, "x y": 3.0}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.json", None, "there is no such file: give balanced"),
        ("w.json", "[1, 2]", "no object of weights by label"),
        ("w.json", '{"a": 1, "a": 2}', "two weights for 'a'"),
        ("w.json", '{"a": true}', "the weight of 'a' is no number"),
        ("w.json", '{"a": {"b": 1}}', "the weight of 'a' is no number"),
        ("w.json", '{"a": NaN}', "the weight of 'a' is nan"),
        ("w.json", "{}", "holds no weights"),
        ("w.json", "{", "is no valid JSON"),
        ("w.yaml", "a: -1", "the weight of 'a' is -1, not a number from 0 on"),
        ("w.yaml", "- a", "no weights by label"),
        ("w.yaml", "a: [", "is no valid YAML"),
        ("w.csv", "a,1\nb\n", "line 2 has 1 fields, not two"),
        ("w.csv", "a,heavy\n", "the weight of 'a' is no number: 'heavy'"),
        ("w.txt", "a 1\n", "as .json, .yaml or .csv"),
    ],
)
def test_wrong_files_of_class_weights(
    name: str, content: str | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as caught:
        composed(f"trainer.class_weights={tmp_path / name}")
    assert message in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
