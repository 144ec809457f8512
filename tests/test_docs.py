"""The documentation: links and anchors resolve, every page can be found, its commands are valid."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from textcls.cli import cli

from .conftest import PROJECT, make_config

DOCS = PROJECT / "docs"
PAGES = [
    *sorted(PROJECT.glob("*.md")), PROJECT / "data" / "README.md",
    PROJECT / "benchmarks" / "README.md", *sorted(DOCS.glob("*.md")),
]  # fmt: skip


def prose(page: Path) -> str:
    """Return a page without its code: blocks indented or fenced, and code spans."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    lines = [line for line in text.splitlines() if not line.startswith("    ")]
    return re.sub(r"`[^`\n]*`", "", "\n".join(lines))


def links(page: Path) -> list[str]:
    """Return the relative targets of the links and images of a page."""
    targets = re.findall(r"\]\(\s*([^)\s]+)\s*\)", prose(page))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of the headings of a page."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: Path, program: str) -> list[str]:
    """Return the arguments of the lines in the code blocks of a page that run a program."""
    found = re.findall(
        rf"(?<!\\\n)^ {{4,}}{re.escape(program)}(?: (.*))?$", page.read_text("utf-8"), flags=re.M
    )
    lines = [re.sub(r" +[#|] .*", "", line) for line in found]
    return [line for line in lines if "…" not in line and "[KEY" not in line]


def _name(page: Path) -> str:
    return str(page.relative_to(PROJECT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_and_anchors_resolve(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{_name(page)}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{_name(page)}: {link}"


def test_the_readme_is_short_and_links_to_every_page() -> None:
    readme = PROJECT / "README.md"
    assert len(readme.read_text(encoding="utf-8").splitlines()) <= 200
    linked = {(PROJECT / link.partition("#")[0]).resolve() for link in links(readme)}
    assert linked >= {page.resolve() for page in PAGES if page != readme}


def test_every_picture_of_the_documentation_is_shown() -> None:
    shown = {(page.parent / link).resolve() for page in PAGES for link in links(page)}
    assert shown >= set(DOCS.glob("*.png"))


def test_the_readme_has_the_command_that_continuous_integration_runs() -> None:
    assert len(re.findall(r"(?m)^ {4}\S.*bin/pytest$", (PROJECT / "README.md").read_text())) == 1


# `resume=` and Hydra's flags are of the command line; everything else is composed here.
TRAININGS = sorted(
    {line for page in PAGES for line in commands(page, "python train.py") if "resume=" not in line}
)


@pytest.mark.parametrize("line", TRAININGS)
def test_documented_options_of_training_exist(line: str) -> None:
    given = [a for a in shlex.split(line) if a not in ("-m", "--help")]
    # A sweep is composed with the first of its values.
    first = (re.sub(r"^([\w.]+=[^,\[{]+),.*", r"\1", argument) for argument in given)
    make_config("experiment=null", *first)


VERBS = sorted({line for page in PAGES for line in commands(page, "textcls")})


@pytest.mark.parametrize("line", VERBS)
def test_documented_verbs_and_options_exist(line: str) -> None:
    name, *given = shlex.split(line)
    verb = cli.get_command(click.Context(cli), name)
    assert verb is not None, name
    if name == "train":
        return
    known = {option for parameter in verb.params for option in parameter.opts}
    for option in given:
        assert not option.startswith("--") or option in known, f"{name} {option}"


FAULTS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (DOCS / "reliability.md").read_text("utf-8").splitlines()
    if (line.startswith("| ") and "::" in line) or "no test" in line
]


@pytest.mark.parametrize("row", FAULTS, ids=lambda row: row[0])
def test_each_fault_names_tests_that_inject_it(row: list[str]) -> None:
    fault, _, _, tests = row
    found = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)
    assert found or tests.startswith("no test: "), fault
    for path, name in found:
        text = (PROJECT / path).read_text("utf-8")
        assert re.search(rf"^def {name}\(", text, flags=re.M), f"{path}::{name}"


def test_every_fault_of_the_table_has_its_test() -> None:
    text = (DOCS / "reliability.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| (?!fault|work)[^-]", line)]
    measured = text[text.index("## Random kills") :].splitlines()
    assert len(FAULTS) == len([row for row in rows if row not in measured]) > 20
