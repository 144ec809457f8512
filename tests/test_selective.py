"""Risk by coverage, texts without a label, and the share of unknown tokens."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests import warm
from tests.command import complaint, main, textcls
from tests.conftest import bags_of, train_environment
from tests.test_export import make_parts
from textcls import Classifier
from textcls.data.targets import Targets
from textcls.errors import InputError
from textcls.model.compress import compress
from textcls.model.folder import WEIGHTS, load_model
from textcls.task.multi import MultiLabel
from textcls.task.scores import Scores
from textcls.task.selective import MOST_POINTS, RISK_COVERAGE, RiskCoverage, risk_coverage
from textcls.task.single import SingleLabel

# Confidences of which several are alike, right or wrong, and what rows weigh.
ROWS = st.lists(
    st.tuples(st.integers(0, 8), st.booleans(), st.integers(0, 3)), min_size=1, max_size=30
)


def lower_bound(share: float, rows: float) -> float:
    """Return from which true share on so large a one is found in 5 % of cases or more."""
    low, high = 0.0, share
    for _ in range(60):
        middle = (low + high) / 2
        error = math.sqrt(middle * (1 - middle) / rows)
        low, high = (middle, high) if share - middle > 1.645 * error else (low, middle)
    return low


@given(ROWS, st.booleans())
def test_a_curve_takes_all_rows_that_are_as_confident(
    rows: list[tuple[int, bool, int]], weighed: bool
) -> None:
    confidence, right, weights = map(np.array, zip(*rows, strict=True))
    weights = weights if weighed and weights.any() else np.ones(len(rows))
    effective = weights.sum() ** 2 / (weights**2).sum()
    found = risk_coverage(
        torch.tensor(confidence / 8, dtype=torch.float32),
        torch.tensor(right),
        torch.tensor(weights, dtype=torch.float32) if weighed else None,
    )
    risks, points = [], {}
    for one, weight in zip(confidence, weights, strict=True):
        taken = confidence >= one
        if weight:
            accuracy = weights[taken & right].sum() / weights[taken].sum()
            risks.append((1 - accuracy) * weight)
            points[one / 8] = weights[taken].sum() / weights.sum(), accuracy
    assert found.confidence.tolist() == sorted(points, reverse=True)
    expected = np.array([points[one] for one in found.confidence.tolist()])
    np.testing.assert_allclose(found.coverage, expected[:, 0])
    np.testing.assert_allclose(found.accuracy, expected[:, 1], atol=1e-12)
    assert found.area == pytest.approx(sum(risks) / weights.sum())
    bounds = [lower_bound(share, part * effective) for part, share in expected]
    np.testing.assert_allclose(found.assured, bounds, atol=1e-9)


def draw(rows: int, seed: int = 0) -> RiskCoverage:
    """Return the curve of a model that is right as often as its confidences say."""
    generator = torch.Generator().manual_seed(seed)
    confidence = torch.rand(rows, generator=generator).sqrt()
    return risk_coverage(confidence, torch.rand(rows, generator=generator) < confidence)


@pytest.mark.parametrize("rows", [1, 7, 500, 20_000])
def test_few_points_give_the_limits_of_all(rows: int) -> None:
    whole = draw(rows)
    stored = RiskCoverage.of_tensor(whole.compact().tensor())
    assert len(stored.rows) <= MOST_POINTS
    # Where points are left out that could be limits, the next is near.
    near = 0 if rows <= 500 else 2 / (MOST_POINTS - 1)
    highest = whole.assured.amax().item()
    for accuracy in np.linspace(0, highest - 1e-6, 200).tolist():
        (enough,) = np.nonzero(whole.assured.numpy() >= accuracy)
        exact, found = whole.coverage[enough[-1]].item(), stored.limit(accuracy)
        assert exact - near - 1e-6 <= found.coverage <= exact + 1e-6
        kept = whole.at(found.confidence)
        assert kept.coverage == pytest.approx(found.coverage)
        assert kept.accuracy == pytest.approx(found.accuracy)
        assert (found.confidence == 0) == (found.coverage == 1)
    with pytest.raises(InputError, match=f"{math.floor(highest * 1e4) / 1e4:g} is the highest"):
        stored.limit(highest + 1e-3)


def test_what_is_assured_holds_for_other_rows() -> None:
    kept = []
    for seed in range(200):
        # Confidences above c have the density 2x: this is their mean, and so the true accuracy.
        c = draw(400, seed).limit(0.8).confidence
        kept.append(2 / 3 * (1 - c**3) / (1 - c**2) >= 0.8)
    assert np.mean(kept) > 0.88


@pytest.mark.parametrize(
    "points",
    [
        [], [[0.5, 0, 0]], [[0.5, 2, 3]], [[1.5, 2, 1]], [[0.5, 2, 1], [0.6, 3, 2]],
        [[0.5, 3, 1], [0.4, 2, 1]], [[0.5, 2, 1], [0.4, 3, 0]], [[math.nan, 2, 1]],
        [[0.5, math.inf, 1]],
    ],
)  # fmt: skip
def test_a_damaged_curve_is_refused(points: list[list[float]], tmp_path: Path) -> None:
    Classifier(make_parts()).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    curve = torch.tensor(points, dtype=torch.float32).reshape(-1, 3)
    save_file(tensors | {RISK_COVERAGE: curve}, tmp_path / WEIGHTS)
    with pytest.raises(InputError, match=f"damaged model folder .*{RISK_COVERAGE}"):
        Classifier.load(tmp_path)


def test_a_curve_that_is_too_long_or_of_several_labels_is_refused(tmp_path: Path) -> None:
    Classifier(make_parts()).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    save_file(tensors | {RISK_COVERAGE: torch.ones(MOST_POINTS + 1, 3)}, tmp_path / WEIGHTS)
    with pytest.raises(InputError, match=RISK_COVERAGE):
        Classifier.load(tmp_path)
    Classifier(dataclasses.replace(make_parts(), task=MultiLabel())).save_pretrained(tmp_path)
    save_file(tensors | {RISK_COVERAGE: torch.tensor([[0.5, 3, 2.0]])}, tmp_path / WEIGHTS)
    with pytest.raises(InputError, match=f"{RISK_COVERAGE}, which no 'multi' model has"):
        Classifier.load(tmp_path)


# --- of a model ------------------------------------------------------------------------------

TEXTS = ["great and warm", "dull item", "zyx great", "zyx wvu", "", "item 3", "cold and great"]
# Of the texts above, of words that train has: great and warm dull item 3 cold.
UNKNOWN = [0, 0, 1 / 2, 1, 1, 0, 0]


@pytest.fixture
def sure(classifier: Classifier) -> Classifier:
    """A model whose validation split assures 0.9 from a probability on that some texts reach."""
    probabilities = classifier.predict_proba(TEXTS).max(1)
    limit = float(np.sort(probabilities)[3])
    curve = RiskCoverage(
        torch.tensor([limit, 0.1]),
        torch.tensor([800.0, 1000.0]).double(),
        torch.tensor([760.0, 800.0]).double(),
    )
    return Classifier(dataclasses.replace(classifier.parts, task=SingleLabel(curve)))


def test_a_text_of_which_the_model_is_not_sure_has_no_label(sure: Classifier) -> None:
    probabilities = sure.predict_proba(TEXTS).max(1)
    limit = sure.task.limit(0.93).confidence
    expected = [
        label if p >= limit else None
        for label, p in zip(sure.predict(TEXTS), probabilities, strict=True)
    ]
    assert expected.count(None) == 3
    assert sure.predict(TEXTS, abstain=0.93) == expected
    assert None not in sure.predict(TEXTS, abstain=0.7)
    with pytest.raises(InputError, match=r"0\.9357 is the highest"):
        sure.predict(TEXTS, abstain=0.97)
    with pytest.raises(InputError, match="restricted to some labels"):
        sure.predict(TEXTS, abstain=0.93, labels=["good"])
    with pytest.raises(InputError, match="threshold"):
        Classifier(dataclasses.replace(sure.parts, task=MultiLabel())).predict([], abstain=0.9)


def test_the_share_of_unknown_tokens(classifier: Classifier) -> None:
    found = classifier.unknown([*TEXTS, None])
    assert found.dtype == np.float32
    assert found.tolist() == [*UNKNOWN, 1]
    assert classifier.unknown([]).shape == (0,)
    # An unknown word is one, whatever is known of its parts.
    parts = make_parts(char_ngrams=(2, 4), char_buckets=50)
    assert Classifier(parts).unknown(["wxyz"]).tolist() == [1]


def test_labels_are_left_out_in_each_format(
    sure: Classifier, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sure.save_pretrained(tmp_path / "model")
    (tmp_path / "new.jsonl").write_text("".join(f"{json.dumps({'text': t})}\n" for t in TEXTS))
    options = ["--abstain", 0.93, "--unknown", "--top", 2]
    for kind in ("csv", "jsonl", "parquet"):
        out = tmp_path / f"out.{kind}"
        assert (
            main("predict", tmp_path / "model", tmp_path / "new.jsonl", *options, "--out", out) == 0
        )
        note = capfd.readouterr().err
        assert "note: 3 of 7 texts are left without a label; of validation 80.0% are" in note
        assert "95.0% of these right" in note
    rows = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    labels = sure.predict(TEXTS, abstain=0.93)
    assert [row["label"] for row in rows] == labels
    for row in rows:
        assert list(row) == ["label", "probability", "label_2", "probability_2", "unknown"]
        empty = [row[name] is None for name in list(row)[:4]]
        assert all(empty) if row["label"] is None else not any(empty)
    assert [row["unknown"] for row in rows] == UNKNOWN
    as_json = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert as_json == [pytest.approx(row, abs=1e-6) for row in rows]
    as_csv = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [row["label"] or None for row in as_csv] == labels
    assert [float(row["unknown"]) for row in as_csv] == UNKNOWN


def test_what_cannot_be_assured_is_refused_in_a_line(
    sure: Classifier, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sure.save_pretrained(tmp_path / "model")
    (tmp_path / "new.txt").write_text("great\n")
    verb = ["predict", tmp_path / "model", tmp_path / "new.txt", "--abstain"]
    assert "0.9357 is the highest" in complaint(capfd, *verb, 0.97)
    assert "leave out --labels" in complaint(capfd, *verb, 0.9, "--labels", "good")
    assert "--abstain" in complaint(capfd, *verb, 95)
    several = dataclasses.replace(sure.parts, task=MultiLabel())
    Classifier(several).save_pretrained(tmp_path / "several")
    verb[1] = tmp_path / "several"
    assert "--threshold" in complaint(capfd, *verb, 0.9)
    old = dataclasses.replace(sure.parts, task=SingleLabel())
    Classifier(old).save_pretrained(tmp_path / "old")
    verb[1] = tmp_path / "old"
    assert "earlier textcls" in complaint(capfd, *verb, 0.9)


def test_evaluate_says_what_abstaining_comes_to(
    sure: Classifier, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sure.save_pretrained(tmp_path / "model")
    labels = ["good", "bad", "bad", "good", "bad", "bad", "good"]
    rows = [json.dumps({"text": t, "label": y}) for t, y in zip(TEXTS, labels, strict=True)]
    (tmp_path / "test.jsonl").write_text("\n".join(rows) + "\n")
    found = textcls(
        capfd, "evaluate", tmp_path / "model", tmp_path / "test.jsonl", "--abstain", 0.93,
        "--out", tmp_path / "out",
    )  # fmt: skip
    predicted = sure.predict(TEXTS, abstain=0.93)
    pairs = [(p, y) for p, y in zip(predicted, labels, strict=True) if p is not None]
    right = np.mean([p == y for p, y in pairs])
    assert f"of test.jsonl {len(pairs) / 7:.1%} are at least" in found
    assert f"{right:.1%} of these right; of validation 80.0% are" in found
    of_file = json.loads((tmp_path / "out" / "metrics.json").read_text())["abstain"]
    assert of_file["coverage"] == pytest.approx(len(pairs) / 7)
    assert of_file["accuracy"] == pytest.approx(right)


def test_a_trained_model_knows_its_curve(trained: Path, cache_dir: Path, tmp_path: Path) -> None:
    found = json.loads((trained / "metrics.json").read_text())
    stored = load_file(trained / "predictions.safetensors")
    right = stored["labels"] == stored["predictions"]
    area = risk_coverage(stored["confidence"], right).area
    assert found["test"]["aurc"] == pytest.approx(area, abs=1e-6)
    curve = Classifier.load(trained).task
    assert isinstance(curve, SingleLabel)
    assert curve.curve is not None
    assert curve.curve.accuracy[-1].item() == pytest.approx(found["validation"]["accuracy"])
    with safe_open(trained / "model" / WEIGHTS, "pt") as file:
        assert file.get_slice(RISK_COVERAGE).get_shape()[1] == 3
    # Compressed, saved again, and in the real command.
    test = trained.parent / "test.csv"
    env = train_environment(cache_dir)
    model = load_model(trained)
    parts = compress(model, bags_of([[2, 3]], model.model.embedding.num_embeddings), 1.0)
    Classifier(parts).save_pretrained(tmp_path / "copy")
    copied = load_file(tmp_path / "copy" / WEIGHTS)[RISK_COVERAGE]
    assert torch.equal(copied, load_file(trained / "model" / WEIGHTS)[RISK_COVERAGE])
    verb = [*warm.TEXTCLS, "predict", "copy", str(test), "--abstain", "0.5", "--unknown"]
    result = warm.finish(warm.start(verb, tmp_path, env))
    assert result.returncode == 0, result.stderr
    assert "note: 0 of 40 texts are left without a label" in result.stderr
    assert result.stdout.splitlines()[0] == "label,probability,unknown"
    assert len(result.stdout.splitlines()) == 41


def test_the_task_fits_what_it_assesses() -> None:
    torch.manual_seed(1)
    logits = torch.randn(200, 3)
    targets = Targets(torch.randint(3, (200,)), weights=torch.rand(200))
    found = SingleLabel().assess(Scores.of(logits), targets, ("a", "b", "c"))
    fitted = SingleLabel().fitted(logits, targets)
    assert found.curve is not None
    assert fitted.curve is not None
    assert found.metrics["aurc"] == found.curve.area
    assert fitted.curve.accuracy[-1].item() == pytest.approx(found.metrics["accuracy"])
    assert fitted.restricted(torch.tensor([0, 1])).tensors() == {}
