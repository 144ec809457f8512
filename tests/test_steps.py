from __future__ import annotations

import base64
import json
import random
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.test_compare import browser as browser
from tests.test_compare import requested
from tests.test_explain import TRAIN, make_classifier
from textcls import Classifier
from textcls.data.bags import Bags
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.report import steps
from textcls.report.contributions import Float64
from textcls.report.explain import bag_of, explain
from textcls.report.steps import render_steps

TEXTS = ["Not a GOOD film <br /> zebra; not at all!", "dull film", "</script><b>dull</b>"]


def data_of(page: str) -> dict[str, Any]:
    found = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert len(found) == 1
    data: dict[str, Any] = json.loads(found[0])
    return data


def floats(text: str) -> Float64:
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float64)


# --- what is in the page ---------------------------------------------------------------------


def test_without_models_the_page_has_the_ten_by_four_example() -> None:
    data = data_of(render_steps([], []))
    (model,) = data["models"]
    assert (model["numEmbeddings"], model["dim"], len(model["labels"])) == (10, 4, 2)
    ids = {name: i for i, name in enumerate(data["vocabularies"][0])}
    assert [[ids[word] for word in text.split()] for text in data["texts"]] == [
        [1, 2, 4], [4, 3, 2, 9],
    ]  # fmt: skip
    assert len(floats(model["rows"])) == 40
    assert data_of(render_steps([], ["mine"]))["texts"] == ["mine"]


def test_the_page_has_the_models_numbers_and_each_vocabulary_once() -> None:
    models = [
        ("mean", make_classifier("mean")),
        ("weighted", make_classifier("weighted_sqrtn", dim=3)),
        ("bigrams", make_classifier("mean+max", ngrams=2)),
    ]
    data = data_of(render_steps(models, TEXTS))
    assert [model["vocabulary"] for model in data["models"]] == [0, 0, 1]
    assert data["whyNotTyped"] is None
    for (_, classifier), model in zip(models, data["models"], strict=True):
        names = data["vocabularies"][model["vocabulary"]]
        assert names == classifier.parts.encoder.vocabulary.tokens.to_pylist()
        network = classifier.parts.model
        assert (model["kept"], model["more"]) == (len(names), [])
        for key, tensor in (
            ("rows", network.embedding.weight), ("linear", network.linear.weight),
            ("bias", network.linear.bias),
        ):  # fmt: skip
            np.testing.assert_array_equal(floats(model[key]), tensor.double().flatten())
    assert data["models"][0]["weights"] is None
    weighing = models[1][1].parts.model.embedding.weighing
    assert weighing is not None
    np.testing.assert_allclose(
        floats(data["models"][1]["weights"]), 1 + 0.3 * weighing.double().flatten(), rtol=1e-6
    )


def test_rows_beyond_the_budget_are_left_out_but_not_those_of_the_texts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    large = make_classifier("mean", train=[*TRAIN, " ".join(f"w{i}" for i in range(900))])
    small = make_classifier("mean")
    texts = ["w7 film w899", "w80"]
    rows = len(small.parts.encoder.vocabulary)
    # So much that the small one has all its rows, and the large one the rest.
    monkeypatch.setattr(steps, "ROWS_BUDGET", 16 * (rows + 50 + 20))
    data = data_of(render_steps([("large", large), ("small", small)], texts))
    first, second = data["models"]
    assert (second["kept"], second["more"]) == (rows, [])
    names = data["vocabularies"][0]
    assert 50 <= first["kept"] < 70
    assert {"w7", "w899", "w80"} <= {*names[: first["kept"]], *(names[i] for i in first["more"])}
    table = large.parts.model.embedding.weight.double().numpy()
    places = [*range(first["kept"]), *first["more"]]
    np.testing.assert_array_equal(floats(first["rows"]).reshape(-1, 4), table[places])
    assert len(floats(first["rows"])) + len(floats(second["rows"])) <= steps.ROWS_BUDGET / 4


def test_where_the_page_cannot_split_texts_it_has_those_that_were_given() -> None:
    hashed = make_classifier("mean", ngrams=2, buckets=1000)
    pieces = make_classifier("max", name="bpe", vocab_size=60)
    weighed = make_classifier("sqrtn", ngrams=2, counts="log", token_weights="idf")
    chars = make_classifier("sum", counts="count", char_ngrams=(2, 3), min_freq=2)
    for name, classifier, why in (
        ("w", weighed, "the model w weighs features"),
        ("c", chars, "the model c has character n-grams"),
        ("h", hashed, "the model h has hashed n-grams"),
        ("p", pieces, "the model p has another tokenizer (bpe)"),
    ):
        data = data_of(render_steps([("plain", make_classifier()), (name, classifier)], TEXTS))
        assert why in data["whyNotTyped"]
        assert "--text" in data["whyNotTyped"]
        assert data["vocabularies"] == []
        model = data["models"][1]
        table = classifier.parts.model.embedding.weight.double().numpy()
        rows = dict(zip(model["more"], floats(model["rows"]).reshape(-1, 4), strict=True))
        for text, bag in zip(TEXTS, model["given"], strict=True):
            own = classifier.bags([text])
            assert bag["ids"] == own.indices.tolist()
            assert bag["weights"] == (None if own.weights is None else own.weights.tolist())
            of_words = [" ".join(bag["words"][start:stop]) for start, stop in bag["runs"]]
            for i, (name, words) in enumerate(zip(bag["names"], of_words, strict=True)):
                is_char = bag["ids"][i] >= classifier.parts.encoder.num_features
                assert name in f"<{words}>" if is_char else name == words
            for i in bag["ids"]:
                np.testing.assert_array_equal(rows[i], table[i])
        assert len(rows) < len(table)


def test_what_users_write_is_data_on_the_page() -> None:
    evil = "</script><script>alert(1)</script><!--"
    classifier = make_classifier(labels=[evil, "b"], train=[f"x {evil} \u2028 y"])
    page = render_steps([(evil, classifier)], [evil, "\ud800"])
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    assert "<!--" not in page
    data = data_of(page)
    assert data["texts"] == [evil, "\ufffd"]
    assert data["models"][0]["name"] == data["models"][0]["labels"][0] == evil
    page.encode()  # as it is written to a file


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    page = render_steps([], [])
    assert "default-src 'none'" in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:,)""", page)
    assert not re.findall(r"https?://|@import|url\(|fetch\(|innerHTML|eval\(", page)


# --- the page in a browser -------------------------------------------------------------------

STATE = """
const values = (selector) => [...document.querySelectorAll(selector)].map((e) => Number(e.dataset.value));
return {
  ids: values("#step-1 .token"), scores: values("#classes td.score"),
  probabilities: values("#classes td.probability"),
  lead: values("#total-lead")[0], score: values("#total-score")[0],
  tokens: [...document.querySelectorAll("#contributions tbody tr")].map((row) => [
    row.cells[0].textContent, ...[...row.querySelectorAll("td[data-value]")].map((e) => Number(e.dataset.value))]),
  rows: [...document.querySelectorAll("#step-3 tbody tr")].map((row) =>
    [...row.querySelectorAll("td.value")].map((e) => Number(e.dataset.value))),
  wins: [...document.querySelectorAll("#step-3 tbody tr")].map((row) =>
    [...row.querySelectorAll("td.value")].flatMap((e, d) => e.classList.contains("wins") ? [d] : [])),
  words: values("#plain span"),
  bags: [...document.querySelectorAll("#step-2 .bag")].map((bag) =>
    [...bag.querySelectorAll(".ids span")].map((e) => Number(e.textContent))),
  offsets: document.getElementById("offsets").dataset.value,
  chosen: document.querySelector("#choose-mode [aria-pressed=true]").dataset.key,
  prediction: [...document.querySelectorAll(".prediction")].map((e) => e.textContent).join(", "),
  label: document.querySelector("#classes [aria-pressed=true]").textContent,
  cards: [...document.querySelectorAll("#models article")].map((card) =>
    [...card.querySelectorAll("td.probability")].map((e) => Number(e.dataset.value))),
  note: [...document.querySelectorAll("main .note")].filter((e) => e.offsetParent).map((e) => e.textContent).join(" "),
  focus: document.activeElement.dataset.key,
};
"""  # noqa: E501
SPLIT = """
return JSON.parse(arguments[0]).map((text) => {
  const most = (model) => model.maxTokens ?? undefined;
  const words = (model) => basicEnglish(text, model.unspaced).slice(0, most(model));
  const ids = (model) => encode(model, words(model)).map((t) => t.id);
  return [[words(page.models[2]), words(page.models[3])], ...page.models.map(ids)];
});
"""


def as_if(classifier: Classifier, mode: str) -> Classifier:
    """Return the classifier as it would pool in another mode, or in one part of its own."""
    trained = classifier.parts.model
    old, linear = trained.embedding, trained.linear
    if mode == old.mode:
        return classifier
    model = EmbeddingBagClassifier(
        old.num_embeddings, old.embedding_dim, linear.out_features, mode, old.padding_idx  # type: ignore[arg-type]
    )  # fmt: skip
    parts = old.mode.split("+")
    part = parts.index(mode) if len(parts) > 1 else 0
    columns = slice(part * old.embedding_dim, (part + 1) * old.embedding_dim)
    with torch.no_grad():
        model.embedding.weight.copy_(old.weight)
        model.linear.weight.copy_(linear.weight[:, columns])
        model.linear.bias.copy_(linear.bias)
    return Classifier(
        type(classifier.parts)(
            **{**vars(classifier.parts), "model": model.eval().requires_grad_(False)}
        )
    )


def close(seen: Any, expected: Any) -> None:
    assert np.shape(seen) == np.shape(expected)
    np.testing.assert_allclose(np.asarray(seen, np.float64), expected, rtol=1e-4, atol=1e-4)


def check(seen: dict[str, Any], classifier: Classifier, text: str, mode: str) -> None:
    """Compare all numbers on the page with the Python model's."""
    e = explain(as_if(classifier, mode), text)
    assert seen["chosen"] == f"mode-{mode}"
    assert seen["ids"] == e.ids.tolist()
    assert seen["prediction"] == ", ".join(e.predicted)
    close(seen["scores"], e.logits)
    close(seen["probabilities"], e.probabilities)
    k = e.index(seen["label"])
    assert (seen["score"] is None) == e.several  # or it would stand there twice
    if not e.several:
        close(seen["score"], e.logits[k])
    close(seen["lead"], e.standing(e.logits, seen["label"]))
    by_name: dict[str, list[float]] = {}
    for name, unknown, margin, own in zip(
        e.tokens, e.unknown, e.margin(seen["label"]), e.contributions[:, k], strict=True
    ):
        entry = by_name.setdefault(name + " (unknown)" * bool(unknown), [0.0, 0.0])
        entry[0] += margin
        entry[1] += own
    rest = [0.0, 0.0]
    for name, *numbers in seen["tokens"]:
        both = numbers * 2 if e.several else numbers  # the log-odds are the score
        if name in by_name:
            close(both, by_name.pop(name))
        elif "other token" in name:
            rest = both
    close(rest, np.sum([[0.0, 0.0], *by_name.values()], 0))
    shares = np.zeros(len(e.word_spans))
    for (start, stop), margin in zip(e.runs, e.margin(seen["label"]), strict=True):
        shares[start:stop] += margin / (stop - start)
    close(seen["words"], shares)
    table = classifier.parts.model.embedding.weight.double().numpy()
    if seen["ids"]:
        close(seen["rows"], table[e.ids])
    if "max" in mode and seen["ids"]:
        winners = table[e.ids].argmax(0)
        expected = [[d for d, w in enumerate(winners) if w == i] for i in range(len(e.ids))]
        assert seen["wins"] == expected
    else:
        assert not any(seen["wins"])


def fuzz(count: int) -> list[str]:
    """Make texts of what the rules of basic_english are about, and of any characters at all."""
    draw = random.Random(7)
    # Letters that Python's Unicode does not have yet may be letters to the browser's.
    assigned = [
        c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in ("Cn", "Cs", "Co")
    ]
    rules = [*"'\".,()!?;: \n\t\v\x1c\x1f\x85\xa0\u2028\u3000\ufeff\u180e\0İΣßẞKÅéa\u0301", *"ab"]
    rules += [
        "<br />",
        "<BR />",
        '<br" />',
        "<br\n/>",
        "\r\n",
        "good",
        "not",
        "film",
        "🎄",
        "\ud800",
    ]
    rules += ["<pad>", "<unk>", "__proto__", "constructor"]
    rules += [*"漢字𠮷カﾞｶﾞー、。（！；＂Ａไท่ำ๑฿မြᨠꪀབོ་한\u200b", "漢字", "ที่", "葛\U000e0100"]
    return [
        "".join(
            draw.choice(rules) if draw.random() < 0.7 else draw.choice(assigned)
            for _ in range(draw.randrange(14))
        )
        for _ in range(count)
    ]


def test_the_page_computes_what_the_models_compute(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    names = ["bigrams", "parts", "weighted <i>", "max"]
    models = [
        make_classifier("mean", ngrams=2, max_tokens=7, dim=5),
        make_classifier("mean+max"),
        make_classifier("weighted_sqrtn", dim=3),
        make_classifier("max", name="basic", train=[*TRAIN, "漢字 good ที่"], ngrams=2),
    ]
    url = _open(browser, tmp_path / "page.html", list(zip(names, models, strict=True)), TEXTS)

    def press(key: str) -> dict[str, Any]:
        button = browser.find_element(By.CSS_SELECTOR, f'[data-key="{key}"]')
        browser.execute_script("arguments[0].focus()", button)
        button.send_keys(Keys.ENTER)
        return shown()

    def shown() -> dict[str, Any]:
        state: dict[str, Any] = browser.execute_script(STATE)
        return state

    check(shown(), models[0], TEXTS[0], "mean")

    # Each model in each of its modes, and another bag: by the keyboard, which keeps its place.
    plain = ["mean", "sum", "max"]
    for i, modes in enumerate(
        [plain, ["mean+max", "mean", "max"], ["weighted_sqrtn", *plain], plain]
    ):
        classifier, trained = models[i], models[i].parts.model.embedding.mode
        seen = press(f"model-{i}")
        check(seen, classifier, TEXTS[0], trained)
        assert seen["focus"] == f"model-{i}"
        for mode in modes:
            seen = press(f"step-4-{mode}" if mode == "max" else f"mode-{mode}")
            check(seen, classifier, TEXTS[0], mode)
            beware = f"One part of {trained}" if "+" in trained else f"Trained with {trained}: its"
            assert (beware in seen["note"]) == (mode != trained)
    seen = press("step-2-bag-2")
    check(seen, models[3], TEXTS[2], "max")
    bags = [bag_of(models[3], text).ids.tolist() for text in TEXTS]
    assert seen["bags"] == bags
    assert seen["offsets"] == ",".join(map(str, np.cumsum([0, *map(len, bags)])))
    for card, classifier in zip(seen["cards"], models, strict=True):
        close(card, classifier.predict_proba([TEXTS[2]])[0])
    assert press("class-2")["label"] == models[0].label_names[2]
    check(shown(), models[3], TEXTS[2], "max")
    check(press("card-0"), models[0], TEXTS[2], "mean")
    check(press("twice-1"), models[0], "dull film dull film", "mean")

    # A text that is typed, and one that is emptied.
    area = browser.find_element(By.ID, "text-0")
    area.send_keys(Keys.CONTROL, "a")
    area.send_keys("Dull, not GOOD: a zebra")
    check(shown(), models[0], "Dull, not GOOD: a zebra", "mean")
    area.send_keys(Keys.CONTROL, "a")
    area.send_keys(Keys.DELETE)
    seen = shown()
    check(seen, models[0], "", "mean")
    close(seen["scores"], models[0].parts.model.linear.bias)
    check(press("mode-max"), models[0], "", "max")
    press("mode-mean")
    browser.find_element(By.ID, "add").send_keys(Keys.ENTER)
    browser.switch_to.active_element.send_keys("<pad> film <unk>")
    check(shown(), models[0], "<pad> film <unk>", "mean")

    # Numbers are read with the arrow keys.
    (cell, *_) = browser.find_elements(By.CSS_SELECTOR, "#step-3 td.value")
    browser.execute_script("arguments[0].focus()", cell)
    cell.send_keys(Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    row = explain(models[0], "<pad> film <unk>")
    value = models[0].parts.model.embedding.weight[row.ids[1], 2]
    told = browser.execute_script(
        "return document.activeElement.closest('section').querySelector('.readout').textContent"
    )
    assert told == f"film · dimension 2: {value:+.4f}".replace("-", "−")

    # Any text is split as Python splits it, and gets the same ids.
    texts = fuzz(400)
    found = browser.execute_script(SPLIT, json.dumps(texts))  # no driver takes a lone surrogate
    for text, (words, *ids) in zip(texts, found, strict=True):
        for classifier, own in zip(models[2:], words, strict=True):
            assert tuple(own) == bag_of(classifier, text).words, ascii(text)
        for classifier, of_model in zip(models, ids, strict=True):
            assert of_model == _ids(classifier.bags([text])), ascii(text)

    # Narrow, the page itself does not scroll sideways.
    browser.set_window_size(500, 900)
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    browser.set_window_size(1280, 900)
    _nothing_but(browser, url)

    # The example.
    url = _open(browser, tmp_path / "example.html", [], [])
    seen = shown()
    assert (seen["ids"], seen["offsets"]) == ([1, 2, 4], "0,3,7")
    close(seen["scores"], [-2.6 / 3, 2.6 / 3])
    close(press("mode-sum")["scores"], [-2.6, 2.6])
    press("mode-max")
    assert (press("bag-1")["prediction"], press("mode-mean")["prediction"]) == (
        "positive", "negative",
    )  # fmt: skip
    _nothing_but(browser, url)

    # Tokens that only Python can find: the texts stand as they were given.
    hashed = make_classifier("sum", ngrams=2, buckets=1000)
    pieces = make_classifier("mean", name="bpe", vocab_size=60)
    url = _open(browser, tmp_path / "given.html", [("h", hashed), ("p", pieces)], TEXTS)
    check(shown(), hashed, TEXTS[0], "sum")
    check(press("model-1"), pieces, TEXTS[0], "mean")
    check(press("bag-1"), pieces, TEXTS[1], "mean")
    area = browser.find_element(By.ID, "text-1")
    area.send_keys("x")
    assert area.get_attribute("value") == TEXTS[1]
    assert "the model h has hashed n-grams" in shown()["note"]
    _nothing_but(browser, url)

    # A row that was left out is told of.
    large = make_classifier("mean", train=[*TRAIN, " ".join(f"w{i}" for i in range(900))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "ROWS_BUDGET", 16 * 100)
        url = _open(browser, tmp_path / "large.html", [("large", large)], ["w899 film"])
    check(shown(), large, "w899 film", "mean")
    assert "approximate" not in shown()["note"]
    area = browser.find_element(By.ID, "text-0")
    area.send_keys(" w898")
    assert "1 token of this bag has a row that was left out" in shown()["note"]
    assert "row not in this page" in browser.find_element(By.ID, "step-1").text
    _nothing_but(browser, url)


def _ids(bags: Bags) -> list[int]:
    ids: list[int] = bags.indices.tolist()
    return ids


def _open(
    browser: Any, path: Path, models: Sequence[tuple[str, Classifier]], texts: Sequence[str]
) -> str:
    path.write_text(render_steps(models, texts), encoding="utf-8")
    requested(browser)
    browser.get(path.as_uri())
    return path.as_uri()


def _nothing_but(browser: Any, url: str) -> None:
    assert browser.get_log("browser") == []
    assert [u for u in requested(browser) if not u.startswith("data:")] == [url]
