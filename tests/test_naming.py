"""What a message tells the user to type is what the program then reads."""

from __future__ import annotations

import shlex
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from textcls.cli.options import with_reading
from textcls.naming import command_names, option

NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("'\"\\,;[] $"), min_size=1
)


@pytest.mark.parametrize(
    ("key", "values", "of_train", "of_command"),
    [
        ("text", [], "data.text", "--text-column"),
        ("text", ["COLUMN"], "data.text=COLUMN", "--text-column COLUMN"),
        ("text", ["a", "b"], "'data.text=[a,b]'", "--text-column a --text-column b"),
        ("label", ["my class"], "data.label='my class'", "--label-column 'my class'"),
        ("columns", ["text", "label"], "'data.columns=[text,label]'", "--columns text,label"),
        ("columns", ["a,b", "1"], "'data.columns=[\"a,b\",\"1\"]'", "--columns '\"a,b\",1'"),
        ("label_names", ["no", "true"], "'data.label_names=[no,\"true\"]'",
         "--label-names no,true"),
        ("header", ["false"], "data.header=false", "--no-header"),
        ("header", ["true"], "data.header=true", "--header"),
        ("quoting", ["none"], "data.quoting=none", "--quoting none"),
        ("delimiter", [";"], "data.delimiter=';'", "--delimiter ';'"),
        ("delimiter", ["\t"], "data.delimiter=tab", "--delimiter tab"),
        ("encoding", ["latin-1"], "data.encoding=latin-1", "--encoding latin-1"),
        ("train", ["my file.csv"], "data.train='my file.csv'", "'my file.csv'"),
        ("test", ["x.csv"], "data.test=x.csv", "--test x.csv"),
    ],
)  # fmt: skip
def test_options_are_named_as_the_program_has_them(
    key: str, values: list[str], of_train: str, of_command: str
) -> None:
    assert option(key, *values) == of_train
    with command_names():
        assert option(key, *values) == of_command
    assert option(key, *values) == of_train


@given(st.lists(NAMES, min_size=2))
def test_a_list_is_read_by_hydra_as_it_was_meant(names: list[str]) -> None:
    (typed,) = shlex.split(option("columns", *names))
    assert OverridesParser.create().parse_override(typed).value() == names


def _given(*typed: str) -> dict[str, Any]:
    """Return what a verb gets of options that are typed in a shell."""
    found: dict[str, Any] = {}

    @click.command()
    @with_reading(labelled=True)
    def verb(given: dict[str, Any]) -> None:
        found.update(given)

    done = CliRunner().invoke(verb, [word for part in typed for word in shlex.split(part)])
    assert done.exit_code == 0, done.output
    return found


@given(st.lists(NAMES, min_size=1, max_size=4), NAMES, st.sampled_from("\t;|, "))
def test_the_command_reads_its_options_as_they_were_meant(
    names: list[str], label: str, delimiter: str
) -> None:
    with command_names():
        typed = [
            option("text", *names), option("label", label), option("columns", *names),
            option("label_names", *names), option("delimiter", delimiter),
            option("header", "false"), option("quoting", "backslash"),
        ]  # fmt: skip
    assert _given(*typed) == {
        "text": tuple(names), "label": (label,), "columns": tuple(names), "header": False,
        "label_names": tuple(names), "delimiter": delimiter, "quoting": "backslash",
    }  # fmt: skip
