"""Why a text got its class: how much each of its tokens adds to each class's score."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from textcls.arrow import Int32
from textcls.data.sources import Sources, sources_of
from textcls.data.tokenizer import OWN, Tokenizer
from textcls.errors import InputError, visible
from textcls.model.classifier import Classifier
from textcls.model.embedding_bag import EmbeddingBagClassifier, logits_of
from textcls.model.pooling import WEIGHT_SCALE

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Span = tuple[int, int]

# How many characters past where a token should stand it is looked for: far enough for what a
# tokenizer drops between two tokens, too near for the same word of another sentence. Each token
# that was not found before it widens the look by as many.
LOOK_AHEAD = 32
# What mark tokenizers put before (or after) the letters of a piece.
_PIECE_MARKS = ("##", "Ġ", "▁")

# --- what the numbers are --------------------------------------------------------------------


@dataclass(frozen=True)
class Bag:
    """The tokens of one text.

    Attributes:
        text: as the tokenizer saw it (:func:`whole`); as long as the original.
        words: in the order of the text.
        sources: which entries of the bag come from which tokens.
    """

    text: str
    words: tuple[str, ...]
    sources: Sources

    @property
    def ids(self) -> Int32:
        """The rows of the tokens; that of ``<unk>`` for unknown words."""
        return self.sources.ids

    @property
    def runs(self) -> Int32:
        """Which words each token is made of."""
        return self.sources.runs

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens by name: a word, or the words of an n-gram joined by spaces."""
        return tuple(" ".join(self.words[start:stop]) for start, stop in self.runs)


def whole(text: str) -> str:
    """Return a text as a classifier takes it: halves of characters (lone surrogates) replaced."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def bag_of(classifier: Classifier, text: str) -> Bag:
    """Split a text as in serving, and say which words each of its tokens is made of."""
    clean = whole(text)
    encoder = classifier.parts.encoder
    tokens = encoder.tokenizer(pa.chunked_array([pa.array([clean], pa.large_string())]))
    return Bag(clean, tuple(tokens.to_lists()[0]), sources_of(encoder, tokens))


@dataclass(frozen=True)
class Explanation:
    """The scores of one text, taken apart by token.

    A class's score (logit) is ``bias + contributions.sum(0)``, up to float rounding: the numbers
    are exact parts of the score, not estimates. A part of one score alone says little, though:
    softmax compares scores, and a token that raises all of them alike changes nothing.
    :meth:`margin` is what it does for one class *against the others*; colours and order go by it.

    Attributes:
        text: as given.
        tokens: by name, words and n-grams; a hashed n-gram too has the name of its words.
        ids: int32 ``[num_tokens]``, rows of the embedding.
        unknown: bool ``[num_tokens]``: not in the vocabulary: the row of ``<unk>`` counts, or those
            of character n-grams, or nothing.
        contributions: float64 ``[num_tokens, num_classes]``.
        bias: float64 ``[num_classes]``.
        logits: float64 ``[num_classes]``, the model's own scores.
        probabilities: float64 ``[num_classes]``.
        label_names: of the classes.
        label: the one explained.
        spans: where each token stands in ``text``, an n-gram from its first word to its last; None
            where that cannot be told.
        word_spans: those of the words alone, in order.
        runs: int32 ``[num_tokens, 2]``: which words each token is made of.
        mode: of the pooling.
    """

    text: str
    tokens: tuple[str, ...]
    ids: Int32
    unknown: Bools
    contributions: Float64
    bias: Float64
    logits: Float64
    probabilities: Float64
    label_names: tuple[str, ...]
    label: str
    spans: tuple[Span | None, ...]
    word_spans: tuple[Span | None, ...]
    runs: Int32
    mode: str

    def index(self, label: str | None = None) -> int:
        """Return the class number of a label, by default of the one explained.

        Raises:
            InputError: the model has no such label.
        """
        return _index(self.label_names, self.label if label is None else label)

    def margin(self, label: str | None = None) -> Float64:
        """Return what each token adds to a label's lead, float64 ``[num_tokens]``.

        The lead is the label's score less the mean score of the other classes. These are exact sums
        too: with :func:`lead` of the bias they add up to the lead of the scores.

        Raises:
            InputError: the model has no such label.
        """
        return lead(self.contributions, self.index(label))


def lead(scores: Float64, label: int) -> Float64:
    """Return the score of one class less the mean of the others' (the score, where there is none).

    Args:
        scores: float64 ``[..., num_classes]``.
        label: the class number.

    Returns:
        float64 ``[...]``.
    """
    others = np.delete(scores, label, axis=-1)
    own: Float64 = scores[..., label]
    return own - others.mean(-1) if others.shape[-1] else own


def explain(classifier: Classifier, text: str, label: str | None = None) -> Explanation:
    """Take the scores of a text apart.

    Per pooling, with W_k the linear layer's row of class k and e_t the row of token t:

    - mean: ``W_k·e_t / length``; sum: ``W_k·e_t``;
    - sqrtn: ``W_k·e_t / √length``; weighted_sum and so on: times the token's learned weight;
    - max: ``W_kd max_d`` of each dimension d goes to the token that has the largest number there
      (the first of equals, as torch chooses);
    - several side by side: the sum over the parts, each with its columns of W.

    Where features are counted and weighed, the sums above are over distinct features, with their
    weights; the tokens that are one feature share its part evenly. What an unknown word adds is the
    sum over its character n-grams. Padding contributes nothing and has no part in the length.

    Args:
        classifier: whose prediction it is.
        text: to classify.
        label: which class to explain; by default the most probable.

    Raises:
        InputError: the model has no such label.
    """
    names = classifier.label_names
    if label is not None:
        _index(names, label)
    bag = bag_of(classifier, text)
    logits = logits_of(classifier.parts.model, classifier.bags([text]))[0].double()
    probabilities = logits.softmax(0).numpy()
    encoder = classifier.parts.encoder
    words = align(bag.text, bag.words, encoder.tokenizer)
    return Explanation(
        text=text,
        tokens=bag.tokens,
        ids=bag.ids,
        unknown=bag.ids == encoder.vocabulary.unknown_id,
        contributions=_by_token(classifier.parts.model, bag.sources),
        bias=classifier.parts.model.linear.bias.detach().double().cpu().numpy(),
        logits=logits.numpy(),
        probabilities=probabilities,
        label_names=names,
        label=names[int(probabilities.argmax())] if label is None else label,
        spans=tuple(_joined(words[start:stop]) for start, stop in bag.runs),
        word_spans=words,
        runs=bag.runs,
        mode=classifier.parts.model.embedding.mode,
    )


def _by_token(model: EmbeddingBagClassifier, sources: Sources) -> Float64:
    """Return what each token adds to each class's score, float64 ``[num_tokens, num_classes]``.

    Tokens that have entries in common share what these add, evenly. Character n-grams of an unknown
    word add up to what the word adds.
    """
    encoded, feature = sources.encoded, sources.feature
    entries = contributions_of(model, encoded.indices, encoded.weights)
    if encoded.weights is None:
        return entries
    by_feature = np.zeros((sources.num_features + 1, entries.shape[1]))
    np.add.at(by_feature, sources.feature_of_entry, entries)
    by_feature /= np.maximum(np.bincount(feature, minlength=len(by_feature)), 1)[:, None]
    return by_feature[feature]


def _index(names: Sequence[str], label: str) -> int:
    if label not in names:
        shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
        raise InputError(f"label '{label}': the model has none of that name; take one of {shown}")
    return names.index(label)


def contributions_of(
    model: EmbeddingBagClassifier, ids: Int32, weights: Float32 | None = None
) -> Float64:
    """Return what each token adds to each class's score, float64 ``[num_tokens, num_classes]``.

    Args:
        model: whose table is flat.
        ids: ``[num_tokens]``, a bag.
        weights: ``[num_tokens]``, those of its tokens; None: each weighs 1.
    """
    embedding = model.embedding
    weight = model.linear.weight.detach().double().cpu().numpy()
    contributions = np.zeros((len(ids), len(weight)))
    places = np.flatnonzero(ids != (-1 if embedding.padding_idx is None else embedding.padding_idx))
    if not len(places):
        return contributions
    # A row's part is the same wherever its token stands: each distinct one once, in the order of
    # the text, so that the first of equals is the first to come.
    distinct, first, which = np.unique(ids[places], return_index=True, return_inverse=True)
    order = np.argsort(first)
    which = np.argsort(order)[which]
    wanted = distinct[order].tolist()
    rows = embedding.weight.detach()[wanted].double().cpu().numpy()
    entries = np.ones(len(places)) if weights is None else weights[places].astype(np.float64)
    parts = embedding.pooling.parts
    for part, columns in zip(parts, np.split(weight, len(parts), axis=1), strict=True):
        if part == "max":
            winners = rows.argmax(0)
            won = np.zeros((len(rows), len(weight)))
            np.add.at(won, winners, (columns * rows.max(0)).T)
            contributions[places[first[order]]] += won
            continue
        share = rows @ columns.T
        if part == "mean":
            share /= entries.sum() or 1
        elif part == "sqrtn":
            share /= np.sqrt(np.square(entries).sum()) or 1
        if embedding.weighing is not None:
            learned = embedding.weighing.detach()[wanted].double().cpu().numpy()
            share *= 1 + WEIGHT_SCALE * learned
        contributions[places] += share[which] * entries[:, None]
    return contributions


# --- where the tokens stand ------------------------------------------------------------------


def align(text: str, words: Sequence[str], tokenizer: Tokenizer) -> tuple[Span | None, ...]:
    """Find each word of a text in it, one after the other; None for one that is not found.

    For ``basic_english`` and ``basic`` it is exact: their words are the text's own letters,
    lower-cased, less the quotes. Other tokenizers may rewrite what they split (Unicode forms,
    bytes): their words are looked for a little way ahead, whatever their case.
    """
    basic = tokenizer.config.name in OWN
    folded, places = _fold_basic_english(text) if basic else _fold(text)
    spans: list[Span | None] = []
    at = missed = 0
    for word in words:
        reach = LOOK_AHEAD * (1 + missed)
        while at < len(folded) and folded[at].isspace():
            at += 1
        start = length = 0
        for letters in [word] if basic else _spellings(word):
            start, length = folded.find(letters, at, at + len(letters) + reach), len(letters)
            if start >= 0:
                break
        if start < 0 or not length:
            spans.append(None)
            missed += 1
            continue
        at, missed = start + length, 0
        spans.append((places[start], places[at - 1] + 1))
    return tuple(spans)


def _fold(text: str) -> tuple[str, list[int]]:
    """Return the text in one spelling for all its cases and forms, and where each letter stood."""
    folded = [unicodedata.normalize("NFKC", c).lower().replace("ς", "σ") for c in text]
    return "".join(folded), [i for i, letters in enumerate(folded) for _ in letters]


def _fold_basic_english(text: str) -> tuple[str, list[int]]:
    """Return the text as ``basic_english`` splits it, and where each letter stood."""
    lowered = text.lower()
    # The final sigma depends on its neighbours, but no length does: İ is two letters anywhere.
    places = [i for i, c in enumerate(text) for _ in c.lower()]
    kept = [(c, i) for c, i in zip(lowered, places, strict=True) if c != '"']
    folded = "".join(c for c, _ in kept).replace("<br />", " " * len("<br />"))
    return folded.replace(";", " ").replace(":", " "), [i for _, i in kept]


def _spellings(word: str) -> list[str]:
    bare = [word.removeprefix(mark) for mark in _PIECE_MARKS if word.startswith(mark)]
    return [_fold(spelling)[0] for spelling in (word, *bare) if spelling]


def _joined(spans: Sequence[Span | None]) -> Span | None:
    """Return from where the first of the spans begins to where the last ends."""
    known = [span for span in spans if span is not None]
    return (known[0][0], known[-1][1]) if len(known) == len(spans) and known else None


# --- on the terminal -------------------------------------------------------------------------

TEXT_LINES = 10  # of a long text, that are shown
TOP_TOKENS = 8  # for the label, and as many against it
TOP_CLASSES = 5
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


def terminal(explanation: Explanation, width: int) -> RenderableType:
    """Return an explanation for a terminal of so many columns.

    The text with its words coloured by their margin (an n-gram's is split evenly over its words),
    the classes, and the tokens that count most, whose numbers add up to the score. Signs and
    numbers say what colours say.
    """
    e = explanation
    shown = Text(" ").join(_coloured(e, width))
    other = e.label_names[int(e.probabilities.argmax())]
    aside = "" if other == e.label else f" (the prediction is {visible(other)})"
    legend = Text(f"⁺ speaks for {visible(e.label)}, ⁻ against it{aside}", style="dim")
    return Group(shown, legend, Text(), _bars(e), _table(e), *_sums(e))


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
            Text("█" * round(24 * probability)),
            style="bold" if i == e.index() else "",
        )
    left = len(order) - len(shown)
    return Group(grid, *([Text(f"and {left} more classes", style="dim")] if left else []))


def _table(e: Explanation) -> RenderableType:
    """Return the tokens that count most for the label and against it, down to the score."""
    times: dict[str, int] = defaultdict(int)
    scores: dict[str, float] = defaultdict(float)
    leads: dict[str, float] = defaultdict(float)
    score = e.contributions[:, e.index()]
    for name, unknown, own, margin in zip(
        e.tokens, e.unknown.tolist(), score.tolist(), e.margin().tolist(), strict=True
    ):
        name = f"{visible(name)} (unknown)" if unknown else visible(name)
        times[name] += 1
        scores[name] += own
        leads[name] += margin
    ranked = sorted(leads, key=lambda name: -leads[name])
    for_it = [name for name in ranked if leads[name] > 0][:TOP_TOKENS]
    against = [name for name in ranked if leads[name] < 0][-TOP_TOKENS:]
    rest = [name for name in ranked if name not in {*for_it, *against}]
    total = sum(map(abs, leads.values())) or 1.0

    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("token", no_wrap=True, overflow="ellipsis", max_width=34)
    for head in ("times", "score", "lead", "share"):
        table.add_column(head, justify="right", no_wrap=True)

    def add(name: str, of: Sequence[str], style: str = "") -> None:
        share = sum(abs(leads[n]) for n in of) / total
        table.add_row(
            Text(name), f"{sum(times[n] for n in of):,}", signed(sum(scores[n] for n in of)),
            signed(sum(leads[n] for n in of)), f"{share:.1%}", style=style,
        )  # fmt: skip

    for name in for_it:
        add(name, [name], "green")
    for name in against:
        add(name, [name], "red")
    if rest:
        add(f"{len(rest):,} other token{'s' if len(rest) > 1 else ''}", rest)
    bias, ahead = float(e.bias[e.index()]), float(lead(e.bias, e.index()))
    table.add_row("bias", "", signed(bias), signed(ahead), "")
    return table


def _sums(e: Explanation) -> Iterator[Text]:
    """Yield how the contributions add up, and what the columns mean."""
    k, name = e.index(), visible(e.label)
    others = [visible(other) for i, other in enumerate(e.label_names) if i != k]
    yield Text(
        f"{name}: contributions {signed(e.contributions[:, k].sum())} "
        f"+ bias {signed(e.bias[k])} = score {signed(e.logits[k])}"
    )
    if others:
        against = f"that of {others[0]}" if len(others) == 1 else "the mean of the others'"
        yield Text(
            f"lead: the score less {against}; "
            f"{signed(e.margin().sum())} + bias {signed(float(lead(e.bias, k)))} "
            f"= {signed(float(lead(e.logits, k)))}"
        )


def signed(value: float) -> str:
    """Return a number with its sign and three decimals, as it is summed."""
    text = f"{value:+.3f}"
    return "0.000" if float(text) == 0 else text.replace("-", "−")
