from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from tests.conftest import seed_cpu
from tests.test_compare import browser as browser
from tests.test_explain import TRAIN, make_classifier
from tests.test_explain_terminal import printed
from tests.test_steps import as_if, data_of, floats
from tests.test_tokens import config
from textcls import Classifier
from textcls.config import ModelConfig
from textcls.corpus.splits import RowLabels
from textcls.data.encoder import TextEncoder
from textcls.data.words import composition_of
from textcls.model.embedding_bag import untrained
from textcls.model.exact import exact
from textcls.model.fold import fold
from textcls.model.folder import save_model
from textcls.model.parts import ModelParts
from textcls.model.pooling import WEIGHT_SCALE
from textcls.model.prune import prune
from textcls.report.contributions import Float64
from textcls.report.explain import Explanation, explain, lead
from textcls.report.explain_terminal import TOP_CHARS, TOP_WORDS
from textcls.report.steps import render_steps
from textcls.values import Mode

TEXT = "good goodness, not a good film dulls zebra goodness ж"
LABELS = np.array([0, 1, 2])


def trained(mode: Mode, how: dict[str, Any], seed: int = 0) -> tuple[Classifier, Tensor]:
    """Train a model a little, and return it with the raw table that it was composed of."""
    seed_cpu(seed)
    texts = pa.chunked_array([pa.array(TRAIN, pa.large_string())])
    encoder = TextEncoder.fit(texts, config(**how), RowLabels(LABELS))
    model = untrained(encoder, 3, ModelConfig(mode, 5, dropout=0), composition_of(encoder))
    bags = encoder.encode(texts.chunks)
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    for _ in range(9):
        scores = model(bags.indices, bags.offsets, bags.weights)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(scores, torch.from_numpy(LABELS)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    raw = model.embedding.weight.detach().clone()
    return Classifier(ModelParts(model.composed(), encoder, ("neg", "pos", "so"))), raw


def parts_of(e: Explanation, token: int) -> dict[str, Float64]:
    return {
        name: e.chars.contributions[part]
        for part, name in enumerate(e.chars.names)
        if e.chars.tokens[part] == token
    }


# --- the numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["mean", "sqrtn", "sum", "weighted_sqrtn", "mean+sum", "sum+max"])
@pytest.mark.parametrize("how", [
    {"char_ngrams": (2, 4)},
    {"char_ngrams": (1, 3), "counts": "log", "token_weights": "idf", "ngrams": 2,
     "char_token_weights": "idf_log_count_ratio", "char_weight": 0.7},
    {"char_ngrams": (2, 3), "counts": "binary", "ngrams": 2, "buckets": 50, "char_buckets": 30,
     "min_freq": 2},
])  # fmt: skip
def test_a_word_consists_of_its_own_row_and_those_of_its_ngrams(
    mode: Mode, how: dict[str, Any], tmp_path: Path
) -> None:
    made, raw = trained(mode, how)
    save_model(made.parts, tmp_path / "model")
    classifier = Classifier.load(tmp_path / "model", "cpu")
    encoder, model = classifier.parts.encoder, classifier.parts.model
    e, bag = explain(classifier, TEXT), classifier.bags([TEXT])
    np.testing.assert_allclose(e.contributions.sum(0) + e.bias, e.logits, atol=1e-5)

    # What the words weigh by themselves, of an encoder without character n-grams.
    plain = {**how, "char_ngrams": None, "char_buckets": None}
    texts = pa.chunked_array([pa.array(TRAIN, pa.large_string())])
    weights = TextEncoder.fit(texts, config(**plain), RowLabels(LABELS)).token_weights
    alone = np.ones(encoder.num_features) if weights is None else weights.astype(np.float64)
    assert encoder.chars is not None
    assert encoder.char_weights is not None
    assert encoder.token_weights is not None
    assert bag.weights is not None
    entry = bag.weights.double().numpy()
    poolings = [part.removeprefix("weighted_") for part in mode.split("+")]
    norms = {"mean": entry.sum(), "sqrtn": np.sqrt((entry**2).sum()), "sum": 1.0}
    columns = model.linear.weight.double().chunk(len(poolings), 1)
    scores = sum(
        (raw.double() @ part.T / norms[pooling]).numpy()
        for pooling, part in zip(poolings, columns, strict=True)
        if pooling != "max"
    )
    learned = np.ones(len(raw))
    if model.embedding.weighing is not None:
        learned += WEIGHT_SCALE * model.embedding.weighing[:, 0].double().numpy()
        assert np.ptp(learned) > 0
    times = {name: e.tokens.count(name) if how.get("counts") else 1 for name in e.tokens}
    amount = {name: 1 + np.log(n) if how.get("counts") == "log" else 1 for name, n in times.items()}

    divided = set()
    for token, name in enumerate(e.tokens):
        row, found, factor = int(e.ids[token]), parts_of(e, token), amount[name] / times[name]
        chars = {} if e.runs[token, 1] > e.runs[token, 0] + 1 else encoder.chars.names(name)
        assert set(found) == set(chars.values())
        for place, char in chars.items():
            if e.unknown[token] and mode == "sum+max":
                continue
            of_row = learned[encoder.num_features + place if e.unknown[token] else row]
            weight = factor * encoder.char_weights[place] * of_row
            expected = weight * scores[encoder.num_features + place]
            np.testing.assert_allclose(found[char], expected, atol=1e-5)
        own = e.own()[token]
        np.testing.assert_allclose(
            own + sum(found.values()), e.contributions[token], rtol=1e-12, atol=1e-12
        )
        if e.unknown[token] and chars:
            np.testing.assert_allclose(own, 0, atol=1e-12)
        elif mode != "sum+max" and row < len(encoder.vocabulary) and not e.unknown[token]:
            expected = factor * alone[row] * learned[row] * scores[row]
            np.testing.assert_allclose(own, expected, atol=1e-5)
        divided |= {(name, bool(e.unknown[token]))} if chars else set()
    assert {("good", False), ("goodness", True)} <= divided


def test_max_pooling_divides_unknown_words_alone() -> None:
    e = explain(make_classifier("max", char_ngrams=(2, 3)), TEXT)
    assert {e.tokens[token] for token in e.chars.tokens} == {"goodness", "dulls"}
    sums = np.zeros_like(e.contributions)
    np.add.at(sums, e.chars.tokens, e.chars.contributions)
    np.testing.assert_allclose(sums[e.unknown], e.contributions[e.unknown], atol=1e-12)


def test_the_parts_in_folded_models_are_the_means_of_theirs() -> None:
    how = {"char_ngrams": (2, 4), "counts": "binary"}
    (one, _), (other, _) = (trained("sqrtn", how, seed) for seed in (0, 1))
    model = fold([one.parts.model, other.parts.model])
    folded = explain(Classifier(dataclasses.replace(one.parts, model=model)), TEXT)
    of_each = [explain(classifier, TEXT) for classifier in (one, other)]
    mean = np.mean([e.chars.contributions for e in of_each], 0)
    np.testing.assert_allclose(folded.chars.contributions, mean, atol=1e-6)
    np.testing.assert_allclose(folded.own(), np.mean([e.own() for e in of_each], 0), atol=1e-6)


def test_what_has_no_row_any_more_counts_for_the_word_itself() -> None:
    classifier, _ = trained("sum", {"char_ngrams": (2, 4)})
    encoder, text = classifier.parts.encoder, "not a good film"
    rows = torch.cat([torch.arange(encoder.num_features),
                      torch.arange(encoder.num_features, encoder.num_embeddings, 2)])  # fmt: skip
    pruned, _ = prune(exact(classifier.parts), rows)
    before, after = explain(classifier, text, "pos"), explain(Classifier(pruned), text, "pos")
    np.testing.assert_allclose(after.margin(), before.margin(), atol=1e-5)
    assert 0 < len(after.chars.names) < len(before.chars.names)
    for token in range(len(before.tokens)):
        of_all = parts_of(before, token)
        for name, part in parts_of(after, token).items():
            np.testing.assert_allclose(lead(part, 1), lead(of_all[name], 1), atol=1e-5)


def test_models_of_older_formats_are_not_divided() -> None:
    classifier = make_classifier("sqrtn", char_ngrams=(2, 4), min_freq=2)
    encoder = dataclasses.replace(classifier.parts.encoder, char_weights=None)
    older = Classifier(dataclasses.replace(classifier.parts, encoder=encoder))
    e = explain(older, TEXT)
    assert e.chars.names == ()
    assert e.chars.contributions.shape == (0, 3)
    np.testing.assert_array_equal(e.own(), e.contributions)
    assert "n-grams" not in printed(e)


# --- what is shown ---------------------------------------------------------------------------


def test_the_terminal_divides_the_words_that_count_most() -> None:
    classifier, _ = trained("sqrtn", {"char_ngrams": (2, 4), "counts": "binary", "ngrams": 2})
    e = explain(classifier, "not good goodness but bad, a dull film stands for padding")
    tokens, words = printed(e, 120).split("lead of")
    leads = {}
    for line in tokens.replace("−", "-").splitlines():
        if line.rstrip().endswith("%"):
            *words_of, _, _, margin, _ = line.split()
            leads[" ".join(words_of)] = float(margin)
    cells = [re.split(r"\s{2,}", line.strip()) for line in words.replace("−", "-").splitlines()]
    rows = [row for row in cells[1:] if len(row) == 4]
    assert len(rows) == TOP_WORDS
    sizes = [abs(leads[name]) for name, *_ in rows]
    assert sizes == sorted(sizes, reverse=True)
    assert "goodness (unknown)" in leads
    margins, own = lead(e.chars.contributions, e.index()), lead(e.own(), e.index())
    for name, itself, of_chars, largest in rows:
        assert float(itself) + float(of_chars) == pytest.approx(leads[name], abs=0.0016)
        token = e.tokens.index(name.removesuffix(" (unknown)"))
        assert float(itself) == pytest.approx(own[token], abs=0.0006)
        named = [part.rsplit(" ", 1) for part in largest.split(", ")]
        expected = sorted(margins[e.chars.tokens == token], key=abs, reverse=True)[:TOP_CHARS]
        np.testing.assert_allclose([float(part) for _, part in named], expected, atol=0.0006)
        assert {char for char, _ in named} <= set(parts_of(e, token))


def test_the_terminal_obeys_no_ngram() -> None:
    classifier = make_classifier(char_ngrams=(1, 2), train=["\x1b[31mfilm\u202e", *TRAIN])
    shown = printed(explain(classifier, "\x1b[31mfilm\u202e"))
    assert "lead of" in shown
    assert not set(shown) & {"\x1b", "\u202e"}


def test_the_page_has_the_rows_and_shares_of_the_ngrams() -> None:
    classifier, raw = trained("sqrtn", {"char_ngrams": (2, 3), "counts": "binary"})
    encoder = classifier.parts.encoder
    (model,) = data_of(render_steps([("chars", classifier)], ["good film dulls"]))["models"]
    rows = dict(zip(model["more"], floats(model["rows"]).reshape(-1, 5), strict=True))
    (given,) = model["given"]
    chars = given["chars"]
    first = encoder.num_features
    good = given["names"].index("good")
    composed = np.zeros(5)
    for entry, i, share, name in zip(
        chars["entries"], chars["ids"], chars["shares"], chars["names"], strict=True
    ):
        np.testing.assert_array_equal(rows[i], raw[i].double())
        if given["ids"][entry] == i:
            assert (share, name) == (1, given["names"][entry])
        elif entry == good:
            composed += share * rows[i]
    assert encoder.token_weights is not None
    own = raw[given["ids"][good]].double().numpy() / encoder.token_weights[given["ids"][good]]
    np.testing.assert_allclose(rows[given["ids"][good]], composed + own, atol=1e-6)
    assert any(i >= first for i in given["ids"])


PARTS = """
return Object.fromEntries([...document.querySelectorAll("#contributions tbody tr")].flatMap((row) => {
  const values = (selector) => [...row.querySelectorAll(selector)].map((e) => Number(e.dataset.value));
  const names = [...row.querySelectorAll(".parts span")].map((e) => e.textContent.replace(/ \\S+$/, ""));
  return names.length ? [[row.cells[0].textContent, {
    times: Number(row.cells[1].textContent), lead: values("td.lead")[0], totals: values(".parts b"),
    names, values: values(".parts span") }]] : [];
}));
"""  # noqa: E501


@pytest.mark.parametrize("counts", [None, "binary"])
def test_the_page_divides_words(counts: str | None, browser: Any, tmp_path: Path) -> None:
    mode: Mode = "weighted_sqrtn" if counts else "mean+max"
    classifier, _ = trained(mode, {"char_ngrams": (2, 3), "counts": counts, "ngrams": 2})
    text = "good goodness film dulls zebra not goodness"
    page = tmp_path / "page.html"
    page.write_text(render_steps([("chars", classifier)], [text]), encoding="utf-8")
    browser.get(page.as_uri())
    for pooling in [mode, "mean", "max"]:
        browser.execute_script(f"document.querySelector('[data-key=\"mode-{pooling}\"]').click()")
        seen = browser.execute_script(PARTS)
        e = explain(as_if(classifier, pooling), text)
        assert "dulls (unknown)" in seen
        # A word that wins no maximum adds nothing, and is not among those that are shown.
        assert ({"good", "goodness (unknown)"} <= set(seen)) == (pooling != "max")
        assert pooling != "max" or "good" not in seen
        for name, shown in seen.items():
            word = name.removesuffix(" (unknown)")
            tokens = [i for i, token in enumerate(e.tokens) if token == word]
            assert shown["times"] == (1 if counts else len(tokens))
            expected: dict[str, float] = {}
            for token in tokens:
                for char, part in parts_of(e, token).items():
                    expected[char] = expected.get(char, 0) + float(lead(part, e.index()))
            own = float(lead(e.own()[tokens].sum(0), e.index()))
            np.testing.assert_allclose(
                [shown["lead"], *shown["totals"]],
                [e.margin()[tokens].sum(), own, sum(expected.values())],
                atol=1e-4,
            )
            assert len(shown["names"]) == len(expected)
            of_names = [expected[char] for char in shown["names"]]
            np.testing.assert_allclose(shown["values"], of_names, atol=1e-4)
            sizes = np.abs(shown["values"])
            assert (np.diff(sizes) <= 0).all()
    assert browser.get_log("browser") == []
