"""Explanations of models whose texts have any number of labels."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import MODES
from tests.test_explain import make_classifier
from tests.test_explain_terminal import printed
from textcls import Classifier
from textcls.report.explain import Explanation, explain
from textcls.report.explain_terminal import TOP_CLASSES, signed
from textcls.task.multi import MultiLabel
from textcls.values import Mode

TEXT = "Not a good film, zebra; not at all!"


def make_labeller(
    mode: Mode = "mean", thresholds: list[float] | None = None, **how: Any
) -> Classifier:
    """Make a classifier of random weights, of any number of labels a text."""
    task = MultiLabel(None if thresholds is None else torch.tensor(thresholds))
    return Classifier(dataclasses.replace(make_classifier(mode, **how).parts, task=task))


def labels_at(margin: float) -> tuple[Classifier, Explanation]:
    """Return a classifier whose thresholds lie so far below the probabilities of ``TEXT``."""
    probabilities = make_labeller().predict_proba([TEXT])[0].tolist()
    classifier = make_labeller(thresholds=[p - margin for p in probabilities])
    return classifier, explain(classifier, TEXT)


@pytest.mark.parametrize("mode", MODES)
def test_contributions_and_bias_are_the_log_odds_of_each_label(mode: Mode) -> None:
    classifier = make_labeller(mode, ngrams=2)
    e = explain(classifier, TEXT)
    found = classifier.predict_proba([TEXT])[0]
    np.testing.assert_allclose(e.probabilities, found, rtol=1e-6)
    for k, label in enumerate(classifier.label_names):
        total = e.margin(label).sum() + e.bias[k]
        np.testing.assert_allclose(total, e.logits[k], atol=1e-5)
        assert 1 / (1 + math.exp(-total)) == pytest.approx(found[k], abs=1e-5)
        # No other label has a part in it.
        np.testing.assert_array_equal(e.margin(label), e.contributions[:, k])
        np.testing.assert_array_equal(e.standing(e.logits, label), e.logits[k])


def test_by_default_the_labels_that_are_predicted_are_explained() -> None:
    for thresholds in ([0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 1.0], None):
        classifier = make_labeller(thresholds=thresholds)
        e = explain(classifier, TEXT)
        assert set(e.predicted) == set(classifier.predict([TEXT])[0])
        of_predicted = [e.probabilities[e.index(name)] for name in e.predicted]
        assert of_predicted == sorted(of_predicted, reverse=True)
        names, best = classifier.label_names, int(e.probabilities.argmax())
        assert e.label == (e.predicted[0] if e.predicted else names[best])
        assert e.thresholds is not None
        assert e.thresholds.tolist() == (thresholds or [0.5] * 3)
        assert explain(classifier, TEXT, "neg").label == "neg"


def test_a_label_at_its_threshold_is_told_as_it_is_predicted() -> None:
    classifier, e = labels_at(0.0)
    assert set(e.predicted) == set(classifier.predict([TEXT])[0]) == set(classifier.label_names)
    assert labels_at(1e-3)[1].predicted == e.predicted
    assert labels_at(-1e-3)[1].predicted == ()


def test_the_terminal_shows_labels_with_thresholds_and_log_odds() -> None:
    names = [f"label-{i}-of-a-very-long-name" for i in range(9)]
    classifier = make_labeller("sum", [0.9] * 8 + [0.0], ngrams=2, labels=names)
    e = explain(classifier, TEXT)
    assert names[8] in e.predicted
    k = e.index()
    text = printed(e)
    assert all(len(line) <= 80 for line in text.splitlines())
    rows = [line.split() for line in text.splitlines() if "┃" in line]
    shown = {*np.argsort(-e.probabilities)[:TOP_CLASSES].tolist(), 8}
    assert [row[0][6] for row in rows] == [
        str(i) for i in np.argsort(-e.probabilities) if i in shown
    ]
    for name, probability, threshold, decided, *bar in rows:
        i = int(name[6])
        assert "…" not in "".join(bar)
        assert probability == f"{e.probabilities[i]:.3f}"
        assert threshold == ("0.000" if i == 8 else "0.900")
        assert decided == ("yes" if names[i] in e.predicted else "no")
    total, bias = e.contributions[:, k].sum(), e.bias[k]
    sums = f"contributions {signed(total)} + bias {signed(bias)} = log-odds {signed(e.logits[k])}"
    assert sums in " ".join(text.split())
    assert "lead" not in text
    cells = [line.replace("−", "-").split() for line in text.splitlines() if line.endswith("% ")]
    assert sum(int(row[-3]) for row in cells) == len(e.tokens)
    assert sum(float(row[-2]) for row in cells) == pytest.approx(total, abs=0.001 * len(cells))
    assert f"= {e.probabilities[k]:.3f}; predicted from" in text


def test_the_terminal_explains_label_after_label() -> None:
    classifier = make_labeller(thresholds=[0.0, 1.0, 0.0], labels=("neg", "pos", "mid"))
    e = explain(classifier, TEXT)
    text = printed(e, labels=e.predicted)
    assert [f"speaks for {name}" in text for name in ("neg", "pos", "mid")] == [True, False, True]
    assert text.count("predicted from") == 2
    assert "(not predicted)" not in text
    assert "(not predicted)" in printed(explain(classifier, TEXT, "pos"))
