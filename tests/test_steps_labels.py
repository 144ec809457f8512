"""The page of the five steps for models whose texts have any number of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.test_compare import browser as browser
from tests.test_explain_labels import make_labeller
from tests.test_steps import STATE, TEXTS, _nothing_but, _open, check, close, data_of
from textcls.report.explain import explain
from textcls.report.steps import render_steps

THRESHOLDS = """
return [...document.querySelectorAll("#classes tbody tr")].map((row) => [
  row.cells[0].textContent, Number(row.querySelector(".threshold").dataset.value),
  row.querySelector(".track i").style.left, row.querySelector(".decided").textContent]);
"""


def test_the_page_has_the_thresholds() -> None:
    data = data_of(render_steps([("m", make_labeller(thresholds=[0.25, 0.5, 0.75]))], TEXTS))
    assert data["models"][0]["thresholds"] == [0.25, 0.5, 0.75]
    assert data_of(render_steps([("m", make_labeller())], TEXTS))["models"][0]["thresholds"] == [
        0.5, 0.5, 0.5,
    ]  # fmt: skip
    assert data_of(render_steps([], TEXTS))["models"][0]["thresholds"] is None


def test_each_label_stands_by_itself(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    given = {
        "some": make_labeller("mean", [0.25, 0.75, 0.0], ngrams=2),
        "none": make_labeller("max", [1.0, 1.0, 1.0]),
        "parts": make_labeller("mean+max"),
    }
    url = _open(browser, tmp_path / "page.html", list(given.items()), TEXTS)

    def press(key: str) -> dict[str, Any]:
        button = browser.find_element(By.CSS_SELECTOR, f'[data-key="{key}"]')
        browser.execute_script("arguments[0].focus()", button)
        button.send_keys(Keys.ENTER)
        state: dict[str, Any] = browser.execute_script(STATE)
        return state

    for i, (name, classifier) in enumerate(given.items()):
        mode = classifier.parts.model.embedding.mode
        seen = press(f"model-{i}")
        e = explain(classifier, TEXTS[0])
        assert seen["label"] == e.label, name
        check(seen, classifier, TEXTS[0], mode)
        assert e.thresholds is not None
        for label, threshold, left, decided in browser.execute_script(THRESHOLDS):
            at = e.thresholds[e.index(label)]
            assert threshold == pytest.approx(at)
            assert float(left.rstrip("%")) == pytest.approx(100 * at, abs=0.01)
            assert decided == ("yes" if label in e.predicted else "no")
        for k in range(3):
            check(press(f"class-{k}"), classifier, TEXTS[0], mode)
        says = browser.find_element(By.ID, "says").text
        assert ("no label" in says) == (not e.predicted)
        browser.execute_script("choose({ label: null })")
    for card, classifier in zip(seen["cards"], given.values(), strict=True):
        close(card, classifier.predict_proba([TEXTS[0]])[0])
    shown = browser.find_element(By.TAG_NAME, "main").text
    assert "log-odds" in shown
    assert "lead" not in shown
    assert "Softmax" not in shown
    browser.set_window_size(500, 900)
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    browser.set_window_size(1280, 900)
    _nothing_but(browser, url)
