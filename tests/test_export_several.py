"""Exports of models that predict any number of labels a text: probabilities and decisions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch

from tests.conftest import MODES
from tests.test_export import LABELS, make_parts, onnx_session, predictor_of, run_predict
from tests.test_export import TEXTS as MANY
from textcls import Classifier
from textcls.model.embedding_bag import logits_of
from textcls.model.export import export_numpy, export_onnx, export_torch
from textcls.model.parts import ModelParts
from textcls.task.multi import MultiLabel
from textcls.values import Mode

# Without the one of thousands of tokens, for which torch's own sum of floats has four digits.
TEXTS = [text for text in MANY if len(text or "") < 1000]


def several(parts: ModelParts) -> ModelParts:
    """Return a model that predicts each of its labels for about a third of the texts."""
    scores = Classifier(dataclasses.replace(parts, task=MultiLabel())).predict_proba(TEXTS)
    distinct = [np.unique(column.round(4)) for column in scores.T]
    middles = [values[len(values) * 2 // 3 :][:2].mean() for values in distinct]
    return dataclasses.replace(parts, task=MultiLabel(torch.tensor(middles).float()))


def decided(probabilities: npt.NDArray[np.float32], metadata: str) -> list[tuple[str, ...]]:
    """Decide as a program does that knows a file's metadata alone."""
    thresholds = json.loads(metadata)
    return [
        tuple(name for name, p, least in zip(LABELS, row, thresholds, strict=True) if p >= least)
        for row in probabilities
    ]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dim", [2, 8])  # fewer dimensions than classes, and more
def test_all_exports_decide_as_the_classifier(mode: Mode, dim: int, tmp_path: Path) -> None:
    parts = several(make_parts(mode, dim=dim))
    classifier = Classifier(parts)
    bags, expected = classifier.bags(TEXTS), classifier.predict_proba(TEXTS)
    decisions = classifier.predict(TEXTS)
    assert len(set(decisions)) > 2
    inputs = {"indices": bags.indices.long(), "offsets": bags.offsets}

    session = onnx_session(parts, tmp_path / "m.onnx")
    of_onnx, logits = session.run(
        ["probabilities", "logits"], {name: value.numpy() for name, value in inputs.items()}
    )
    np.testing.assert_allclose(logits, logits_of(parts.model, bags), atol=1e-5)
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["task"] == "multi"

    export_torch(parts, tmp_path / "m.pt2")
    extra = {"labels": "", "thresholds": ""}
    program = torch.export.load(tmp_path / "m.pt2", extra_files=extra).module()
    assert json.loads(extra["labels"]) == list(LABELS)
    of_torch = program(*inputs.values()).numpy()

    predictor = predictor_of(parts, tmp_path / "folder")
    assert predictor.predict(TEXTS) == decisions
    for found in (of_onnx, of_torch, predictor.predict_proba(TEXTS)):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-5)
    for found, said in ((of_onnx, metadata["thresholds"]), (of_torch, extra["thresholds"])):
        assert decided(found, said) == decisions


def test_without_fitted_thresholds_they_are_one_half(tmp_path: Path) -> None:
    parts = dataclasses.replace(make_parts(), task=MultiLabel())
    export_onnx(parts, tmp_path / "m.onnx")
    values = {one.key: one.value for one in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert json.loads(values["thresholds"]) == [0.5] * 3
    predictor = predictor_of(parts, tmp_path / "folder")
    assert predictor.predict(TEXTS) == Classifier(parts).predict(TEXTS)


def test_a_model_of_one_label_a_text_has_no_thresholds(tmp_path: Path) -> None:
    export_torch(make_parts(), tmp_path / "m.pt2")
    extra = {"labels": "", "thresholds": "none"}
    torch.export.load(tmp_path / "m.pt2", extra_files=extra)
    assert json.loads(extra["labels"]) == list(LABELS)
    assert extra["thresholds"] in ("none", None)
    assert predictor_of(make_parts(), tmp_path / "folder").thresholds is None


def test_class_scores_beyond_exp_are_probabilities(tmp_path: Path) -> None:
    parts = several(make_parts("sum"))
    parts.model.linear.weight *= 1e4
    classifier, predictor = Classifier(parts), predictor_of(parts, tmp_path / "folder")
    with np.errstate(all="raise", under="ignore"):
        found = predictor.predict_proba(TEXTS)
    expected = classifier.predict_proba(TEXTS)
    assert (expected == 0).any()
    assert (expected == 1).any()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_script_prints_all_that_reach_their_threshold(tmp_path: Path) -> None:
    parts = several(make_parts("mean+max"))
    export_numpy(parts, tmp_path / "folder")
    texts = [text or "" for text in TEXTS if not text or text.isprintable()]
    result = run_predict(tmp_path / "folder" / "predict.py", texts="\n".join(texts).encode())
    assert result.returncode == 0, result.stderr
    lines = result.stdout.decode().removesuffix("\n").split("\n")
    best = Classifier(parts).predict_top(texts)
    assert {len(row) for row in best} >= {0, 1, 2}
    assert len(lines) == len(texts)
    for line, expected in zip(lines, best, strict=True):
        values = line.split("\t") if line else []
        assert values[::2] == [label for label, _ in expected]
        probabilities = [p for _, p in expected]
        assert [float(p) for p in values[1::2]] == pytest.approx(probabilities, abs=1e-5)
