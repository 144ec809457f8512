from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence

import pytest
import torch
from rich.console import Console

from tests.test_explain import make_classifier
from textcls.errors import visible
from textcls.report.explain import Explanation, explain
from textcls.report.explain_terminal import terminal


def printed(
    explanation: Explanation, width: int = 80, colour: bool = False, labels: Sequence[str] = ()
) -> str:
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=colour, color_system="truecolor" if colour else None
    )
    console.print(terminal(explanation, width, labels))
    return out.getvalue()


def test_the_terminal_shows_numbers_that_add_up() -> None:
    classifier = make_classifier("sum", ngrams=2)
    e = explain(classifier, "Not good at all, a film " + "zebra " * 3)
    text = printed(e)
    assert all(len(line) <= 80 for line in text.splitlines())
    k = e.index()
    total = e.contributions[:, k].sum()
    line = f"contributions {total:+.3f} + bias {e.bias[k]:+.3f} = score {e.logits[k]:+.3f}"
    assert line.replace("-", "−") in text
    cells = [line.replace("−", "-").split() for line in text.splitlines() if line.endswith("% ")]
    assert sum(int(row[-4]) for row in cells) == len(e.tokens)
    assert sum(float(row[-3]) for row in cells) == pytest.approx(total, abs=0.001 * len(cells))
    leads = [float(row[-2]) for row in cells]
    assert sum(leads) == pytest.approx(e.margin().sum(), abs=0.001 * len(cells))
    assert leads == sorted(leads, reverse=True)
    assert sum(float(row[-1].rstrip("%")) for row in cells) == pytest.approx(100, abs=1)
    assert next(row for row in cells if row[:2] == ["zebra", "(unknown)"])[-4] == "3"
    assert f"{e.probabilities[k]:.3f}" in text


def test_the_terminal_obeys_no_text() -> None:
    names = ("[red]a[/red]", "b\x1b]0;x\x07", "c\u202e")
    classifier = make_classifier(labels=names)
    text = "\x1b[31mfilm\x00 [bold]good[/bold] [/] \u202egood\x9b1m\r\nbad\ud800 \x7f"
    for label in names:
        shown = printed(explain(classifier, text, label))
        assert not set(shown) & {"\x1b", "\x00", "\x07", "\u202e", "\x9b", "\r", "\x7f", "\ud800"}
        assert "␛[31mfilm" in shown
        assert "[bold]good" in shown
        assert "[/bold]" in shown
        assert "[red]a[/red]" in shown
    assert visible("a\tb\u2028c\u3000d") == "a b c d"
    coloured = printed(explain(classifier, text), colour=True)
    assert "\x1b[31mfilm" not in coloured
    assert "48;2;" in coloured


@pytest.mark.parametrize("words", [0, 1, 5000])
def test_a_long_text_is_cut_around_what_counts(words: int) -> None:
    classifier = make_classifier("sum", labels=("neg", "pos"))
    model = classifier.parts.model
    names = classifier.parts.encoder.vocabulary.tokens.to_pylist()
    with torch.no_grad():
        model.embedding.weight.zero_()
        model.embedding.weight[names.index("dull")] = 1.0
        model.linear.weight[0] = 1.0
        model.linear.weight[1] = -1.0
    text = "film " * words + "so very dull indeed " + "film " * words
    e = explain(classifier, text, "neg")
    shown = printed(e)
    assert "very dull⁺⁺ indeed" in shown
    assert len(shown.splitlines()) < 30
    assert ("…" in shown) == (words > 1)
    assert len(printed(explain(classifier, "film " * words)).splitlines()) < 30


def test_an_ngrams_share_is_split_over_its_words() -> None:
    classifier = make_classifier("sum", ngrams=2, labels=("neg", "pos"))
    model, names = classifier.parts.model, classifier.parts.encoder.vocabulary.tokens.to_pylist()
    with torch.no_grad():
        model.embedding.weight.zero_()
        model.embedding.weight[names.index("not good")] = 1.0
        model.embedding.weight[names.index("film")] = 1.5
        model.linear.weight[0] = 1.0
        model.linear.weight[1] = -1.0
    e = explain(classifier, "film not good at", "neg")
    assert "film⁺⁺ not⁺ good⁺ at" in printed(e)
    assert "film⁻⁻ not⁻ good⁻ at" in printed(dataclasses.replace(e, label="pos"))
