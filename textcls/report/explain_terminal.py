"""An explanation on the terminal: the text in colours, the classes, and the tokens that count."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from textcls.errors import visible
from textcls.report.contributions import Float64
from textcls.report.explain import Explanation
from textcls.report.spans import Span

TEXT_LINES = 10  # of a long text, that are shown
TOP_TOKENS = 8  # for the label, and as many against it
TOP_WORDS = 5  # that are divided, and so many character n-grams of each
TOP_CHARS = 3
TOP_CLASSES = 5
BAR, LABEL_BAR = 24, 16  # characters of a bar that is full; of one beside a threshold
CONTEXT = 36  # characters on either side of a word that counts, in a long text
# Of the largest share of any word: from where on a word is marked, and marked twice.
_MARKED, _MARKED_TWICE = 0.15, 0.5
_STYLES = {
    2: "bold #0b2b1c on #7fd0a4",
    1: "#0b2b1c on #c9ecd9",
    -1: "#3b0d0d on #f8d3cf",
    -2: "bold #3b0d0d on #ee9c94",
}
_MARKS = {2: "⁺⁺", 1: "⁺", 0: "", -1: "⁻", -2: "⁻⁻"}


def terminal(explanation: Explanation, width: int, labels: Sequence[str] = ()) -> RenderableType:
    """Return an explanation for a terminal of so many columns.

    The text with its words coloured by their margin (an n-gram's is split evenly over its words),
    the classes, and the tokens that count most, whose numbers add up to the score. Signs and
    numbers say what colours say.

    Args:
        explanation: of a text.
        width: columns.
        labels: where a text may have several, those that are explained one after another; none:
            that of the explanation.
    """
    e = explanation
    if not e.several:
        return Group(*_text(e, width), Text(), _bars(e), *_tables(e), *_sums(e))
    shown: list[RenderableType] = [_label_bars(e)]
    for one in [dataclasses.replace(e, label=label) for label in labels] or [e]:
        shown += [Text(), *_text(one, width), *_tables(one), *_sums(one)]
    return Group(*shown)


def _text(e: Explanation, width: int) -> Iterator[RenderableType]:
    """Yield the text in colours, and what they mean."""
    yield Text(" ").join(_coloured(e, width))
    aside = ""
    if e.label not in e.predicted:
        aside = "not predicted" if e.several else f"the prediction is {visible(e.predicted[0])}"
        aside = f" ({aside})"
    yield Text(f"⁺ speaks for {visible(e.label)}, ⁻ against it{aside}", style="dim")


def _word_margins(e: Explanation) -> Float64:
    """Return the margin of each word, its part of the n-grams' included, ``[num_words]``."""
    margins = np.zeros(len(e.word_spans))
    for (start, stop), margin in zip(e.runs.tolist(), e.margin().tolist(), strict=True):
        margins[start:stop] += margin / (stop - start)
    return margins


def _coloured(e: Explanation, width: int) -> Iterator[Text]:
    """Yield the pieces of the text that are shown: one, or several of a long text."""
    margins = _word_margins(e)
    top = float(np.abs(margins).max(initial=0.0)) or 1.0
    names = {start: name for (start, stop), name in zip(e.runs.tolist(), e.tokens, strict=True)
             if stop == start + 1}  # fmt: skip
    room = TEXT_LINES * width
    whole = len(e.text) <= room
    windows = [(0, len(e.text))] if whole else _windows(e, np.abs(margins), room)
    for start, stop in windows:
        piece = Text("… " if start == windows[0][0] > 0 else "")
        at = start
        for i, (span, margin) in enumerate(zip(e.word_spans, margins.tolist(), strict=True)):
            level = _level(margin / top)
            if span is None:
                if start < at < stop or (at == start == 0):  # among the words of this piece
                    piece.append(f" ‹{visible(names[i])}›{_MARKS[level]}", _STYLES.get(level, ""))
            elif at <= span[0] and span[1] <= stop:
                piece.append(_squeezed(e.text[at : span[0]]))
                word = visible(e.text[span[0] : span[1]])
                piece.append(word + _MARKS[level], _STYLES.get(level, ""))
                at = span[1]
        piece.append(_squeezed(e.text[at:stop]))
        piece.append(" …" if stop < len(e.text) else "")
        yield piece


def _level(share: float) -> int:
    size = (abs(share) >= _MARKED) + (abs(share) >= _MARKED_TWICE)
    return size if share > 0 else -size


def _squeezed(text: str) -> str:
    """Return what stands between two words, with one space for any number of them."""
    shown = visible(text)
    while "  " in shown:
        shown = shown.replace("  ", " ")
    return shown


def _windows(e: Explanation, sizes: Float64, room: int) -> list[Span]:
    """Choose what is shown of a long text: where the words that count most stand."""
    text = e.text
    kept = np.zeros(len(text), np.bool_)
    for i in np.argsort(-sizes, kind="stable"):
        span = e.word_spans[i]
        if span is None:
            continue
        start, stop = max(span[0] - CONTEXT, 0), min(span[1] + CONTEXT, len(text))
        # Cut between words, not within them.
        while 0 < start < span[0] and not text[start - 1].isspace():
            start += 1
        while len(text) > stop > span[1] and not text[stop].isspace():
            stop -= 1
        if kept.sum() + (~kept[start:stop]).sum() > room:
            break
        kept[start:stop] = True
    if not kept.any():
        return [(0, room)]
    edges = np.flatnonzero(np.diff(kept.view(np.int8), prepend=0, append=0))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _bars(e: Explanation) -> RenderableType:
    """Return the most probable classes, each with a bar."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=30)
    grid.add_column(justify="right")
    grid.add_column(no_wrap=True)
    order = np.argsort(-e.probabilities, kind="stable")
    shown = order[:TOP_CLASSES].tolist()
    if e.index() not in shown:
        shown.append(e.index())
    for i in shown:
        probability = float(e.probabilities[i])
        grid.add_row(
            Text(visible(e.label_names[i])),
            f"{probability:.3f}",
            Text("█" * round(BAR * probability)),
            style="bold" if i == e.index() else "",
        )
    left = len(order) - len(shown)
    return Group(grid, *([Text(f"and {left} more classes", style="dim")] if left else []))


def _label_bars(e: Explanation) -> RenderableType:
    """Return the labels predicted and the most probable others, each beside its threshold."""
    assert e.thresholds is not None
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("label", no_wrap=True, overflow="ellipsis", max_width=24)
    for head in ("probability", "threshold", "predicted"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    order = np.argsort(-e.probabilities, kind="stable").tolist()
    wanted = {*order[:TOP_CLASSES], e.index(), *map(e.index, e.predicted)}
    for i in order:
        if i not in wanted:
            continue
        name, probability = e.label_names[i], float(e.probabilities[i])
        threshold = float(e.thresholds[i])
        is_predicted = name in e.predicted
        bar = ("█" * round(LABEL_BAR * probability)).ljust(LABEL_BAR + 1)
        at = round(LABEL_BAR * threshold)
        table.add_row(
            Text(visible(name)),
            f"{probability:.3f}",
            f"{threshold:.3f}",
            "yes" if is_predicted else "no",
            Text(f"{bar[:at]}┃{bar[at + 1 :]}"),
            style="bold" if is_predicted else "",
        )
    left = len(order) - len(wanted)
    return Group(table, *([Text(f"and {left} more labels", style="dim")] if left else []))


@dataclass
class _Tally:
    """What all the tokens of one name add; of character n-grams, to the lead alone.

    Where a text may have several labels, the log-odds are the score, and in place of the lead.
    """

    name: str
    times: int = 0
    score: float = 0.0
    lead: float = 0.0
    chars: dict[str, float] = field(default_factory=lambda: defaultdict(float))


def _tallies(e: Explanation) -> list[_Tally]:
    """Return the tokens by name, those that speak for the label first."""
    found: dict[str, _Tally] = {}
    of_tokens: list[_Tally] = []
    score = e.contributions[:, e.index()]
    for name, unknown, own, margin in zip(
        e.tokens, e.unknown.tolist(), score.tolist(), e.margin().tolist(), strict=True
    ):
        name = f"{visible(name)} (unknown)" if unknown else visible(name)
        tally = found.setdefault(name, _Tally(name))
        tally.times += 1
        tally.score += own
        tally.lead += margin
        of_tokens.append(tally)
    leads = e.standing(e.chars.contributions)
    for name, token, margin in zip(
        e.chars.names, e.chars.tokens.tolist(), leads.tolist(), strict=True
    ):
        of_tokens[token].chars[visible(name)] += margin
    return sorted(found.values(), key=lambda tally: -tally.lead)


def _tables(e: Explanation) -> Iterator[RenderableType]:
    """Yield the tokens that count most, and what the words among them consist of."""
    ranked = _tallies(e)
    for_it = [tally for tally in ranked if tally.lead > 0][:TOP_TOKENS]
    against = [tally for tally in ranked if tally.lead < 0][-TOP_TOKENS:]
    shown = for_it + against
    yield _table(e, shown, [tally for tally in ranked if tally not in shown])
    divided = sorted((tally for tally in shown if tally.chars), key=lambda tally: -abs(tally.lead))
    if divided:
        yield _chars_table("log-odds of" if e.several else "lead of", divided[:TOP_WORDS])


def _table(e: Explanation, shown: Sequence[_Tally], rest: Sequence[_Tally]) -> RenderableType:
    """Return the tokens that count most for the label and against it, down to the score."""
    total = sum(abs(tally.lead) for tally in [*shown, *rest]) or 1.0
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("token", no_wrap=True, overflow="ellipsis", max_width=34)
    for head in ("times", *(["log-odds"] if e.several else ["score", "lead"]), "share"):
        table.add_column(head, justify="right", no_wrap=True)

    def numbers(score: float, ahead: float) -> list[str]:
        return [signed(score)] if e.several else [signed(score), signed(ahead)]

    def add(name: str, of: Sequence[_Tally], style: str = "") -> None:
        share = sum(abs(tally.lead) for tally in of) / total
        score, ahead = sum(tally.score for tally in of), sum(tally.lead for tally in of)
        times = f"{sum(tally.times for tally in of):,}"
        table.add_row(Text(name), times, *numbers(score, ahead), f"{share:.1%}", style=style)

    for tally in shown:
        add(tally.name, [tally], _style(tally))
    if rest:
        add(f"{len(rest):,} other token{'s' if len(rest) > 1 else ''}", rest)
    table.add_row("bias", "", *numbers(e.bias[e.index()], float(e.standing(e.bias))), "")
    return table


def _chars_table(head: str, words: Sequence[_Tally]) -> RenderableType:
    """Return the lead of words as a sum of their own part and that of their n-grams."""
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column(head, no_wrap=True, overflow="ellipsis", max_width=24)
    for part in ("itself", "n-grams"):
        table.add_column(part, justify="right", no_wrap=True)
    table.add_column("the largest of these")
    for tally in words:
        of_chars = sum(tally.chars.values())
        top = sorted(tally.chars.items(), key=lambda item: -abs(item[1]))[:TOP_CHARS]
        named = ", ".join(f"{name} {signed(value)}" for name, value in top)
        own = signed(tally.lead - of_chars)
        table.add_row(Text(tally.name), own, signed(of_chars), Text(named), style=_style(tally))
    return table


def _style(tally: _Tally) -> str:
    return "green" if tally.lead > 0 else "red"


def _sums(e: Explanation) -> Iterator[Text]:
    """Yield how the contributions add up, and what the columns mean."""
    k, name = e.index(), visible(e.label)
    others = [visible(other) for i, other in enumerate(e.label_names) if i != k]
    yield Text(
        f"{name}: contributions {signed(e.contributions[:, k].sum())} + bias {signed(e.bias[k])} "
        f"= {'log-odds' if e.several else 'score'} {signed(e.logits[k])}"
    )
    if e.thresholds is not None:
        odds = "probability: 1 / (1 + exp(−log-odds))"
        yield Text(f"{odds} = {e.probabilities[k]:.3f}; predicted from {e.thresholds[k]:.3f} on")
    elif others:
        against = f"that of {others[0]}" if len(others) == 1 else "the mean of the others'"
        yield Text(
            f"lead: the score less {against}; "
            f"{signed(e.margin().sum())} + bias {signed(float(e.standing(e.bias)))} "
            f"= {signed(float(e.standing(e.logits)))}"
        )


def signed(value: float) -> str:
    """Return a number with its sign and three decimals, as it is summed."""
    text = f"{value:+.3f}"
    return "0.000" if float(text) == 0 else text.replace("-", "−")
