from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from huggingface_hub import ModelCard

from tests.conftest import make_config
from tests.test_model import TEXTS, make_parts
from textcls import Classifier
from textcls import run as running
from textcls.errors import InputError
from textcls.model import classifier as predicting
from textcls.model.card import model_card
from textcls.model.classifier import top
from textcls.model.folder import save_model


@pytest.fixture
def classifier() -> Classifier:
    parts = make_parts(mode="mean+max")
    parts.model.eval()
    return Classifier(parts)


def test_embed_gives_what_the_linear_layer_sees(classifier: Classifier) -> None:
    texts = [*TEXTS, None, "never seen"]
    vectors = classifier.embed(texts)
    assert vectors.shape == (4, 8)
    assert vectors.dtype == np.float32
    assert not vectors[2].any()
    linear = classifier.parts.model.linear
    probabilities = linear(torch.from_numpy(vectors)).softmax(1).detach().numpy()
    np.testing.assert_allclose(probabilities, classifier.predict_proba(texts), rtol=1e-6)
    assert classifier.embed([]).shape == (0, 8)


def test_the_most_probable_labels(classifier: Classifier) -> None:
    texts = [*TEXTS, None]
    probabilities = classifier.predict_proba(texts)
    best = classifier.predict_top(texts, k=2)
    for row, of_row in zip(best, probabilities, strict=True):
        order = sorted(range(3), key=lambda i: -of_row[i])[:2]
        assert row == [(classifier.label_names[i], float(of_row[i])) for i in order]
    assert [row[0][0] for row in best] == classifier.predict(texts)
    # More than there are: all; below the threshold: none.
    assert [len(row) for row in classifier.predict_top(texts, k=99)] == [3, 3, 3]
    assert classifier.predict_top(texts, threshold=1.0) == [[], [], []]
    with pytest.raises(ValueError, match="k=0"):
        classifier.predict_top(texts, k=0)


def test_of_equal_probabilities_the_first_class_wins_as_in_predict() -> None:
    rows = np.array([[0.25, 0.5, 0.25], [1 / 3] * 3], np.float32)
    assert top(rows, 3)[0].tolist() == [[1, 0, 2], [0, 1, 2]]


@pytest.mark.parametrize("k", [1, 3, 39, 40, 99])
def test_the_best_of_many_classes_are_those_of_sorting_all(
    k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(1).integers(0, 12, (30, 40)).astype(np.float32)  # with ties
    expected = top(rows, k)
    monkeypatch.setattr(predicting, "MAX_SORTED", 10)
    np.testing.assert_array_equal(top(rows, k)[0], expected[0])
    np.testing.assert_array_equal(top(rows, k)[1], expected[1])


def test_many_texts_are_predicted_piece_by_piece(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [*TEXTS, None, *TEXTS]
    ways: tuple[Callable[..., Any], ...] = (
        classifier.predict, classifier.predict_top, classifier.predict_proba,
    )  # fmt: skip
    whole = [way(texts) for way in ways]
    monkeypatch.setattr(predicting, "AT_ONCE", 3)  # a text at a time
    for way, expected in zip(ways, whole, strict=True):
        np.testing.assert_array_equal(way(texts), expected)


@pytest.mark.parametrize(
    "texts",
    ["one text", b"bytes", [1], [b"a"], {"a": "b"}, pa.array([[1]]), pd.DataFrame({"text": ["a"]})],
)
def test_what_is_no_list_of_texts_is_refused(texts: Any, classifier: Classifier) -> None:
    with pytest.raises(TypeError, match=r"texts are a|texts\[\d\] is .*: give strings"):
        classifier.predict(texts)


def test_whatever_has_texts_one_after_another(classifier: Classifier) -> None:
    texts = [*TEXTS, None, "Good"]
    expected = classifier.predict_proba(texts)
    for same in (
        iter(texts), (text for text in texts), tuple(texts), np.array(texts, object),
        pd.Series([*TEXTS, float("nan"), "Good"]), pa.array(texts).dictionary_encode(),
        pa.chunked_array([texts[:1], texts[1:]]), pa.array(texts).cast(pa.binary()),
    ):  # fmt: skip
        np.testing.assert_array_equal(classifier.predict_proba(same), expected)
    empty = classifier.predict_proba([None, None])
    np.testing.assert_array_equal(classifier.predict_proba(pa.array([None, None])), empty)


def test_an_arrow_array_is_as_good_as_a_list(classifier: Classifier) -> None:
    texts = [*TEXTS, None, "good \N{CHRISTMAS TREE}"]
    expected = classifier.predict_proba(texts)
    for kind in (pa.string(), pa.large_string()):
        whole = pa.array(["bad", *texts], kind)
        np.testing.assert_array_equal(classifier.predict_proba(whole.slice(1)), expected)


def test_half_characters_are_what_undecodable_bytes_are(classifier: Classifier) -> None:
    raw = b"good \xff film"
    as_escape, as_mark = raw.decode("utf-8", "surrogateescape"), raw.decode("utf-8", "replace")
    assert "\ufffd" in as_mark
    first, second = classifier.bags([as_escape]), classifier.bags([as_mark])
    assert torch.equal(first.indices, second.indices)
    assert first.num_tokens == 3


# --- the hub ----------------------------------------------------------------------------------


def read_card(folder: Path) -> Any:
    return ModelCard((folder / "README.md").read_text(encoding="utf-8"))


def test_saved_and_loaded_as_the_hub_does(classifier: Classifier, tmp_path: Path) -> None:
    classifier.save_pretrained(tmp_path / "model")
    again = Classifier.from_pretrained(tmp_path / "model")
    expected = classifier.predict_proba(TEXTS)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), expected)
    card = read_card(tmp_path / "model")
    assert card.data.library_name == "textcls"
    assert "mean+max pooling" in card.content


def test_what_else_lies_in_a_folder_stays(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    for _ in range(2):
        classifier.save_pretrained(tmp_path)
        assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
        again = Classifier.load(tmp_path).predict_proba(TEXTS)
        np.testing.assert_array_equal(again, classifier.predict_proba(TEXTS))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_pushing_sends_a_model_folder(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: dict[str, Any] = {}

    class Api:
        def __init__(self, token: str | None) -> None: ...

        def create_repo(self, repo_id: str, **_: Any) -> Any:
            return type("Url", (), {"repo_id": repo_id})

        def upload_folder(self, repo_id: str, folder_path: Path, **_: Any) -> str:
            sent[repo_id] = {path.name for path in folder_path.iterdir()}
            save_model(Classifier.load(folder_path).parts, tmp_path / "uploaded")
            return "a commit"

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Api)
    assert classifier.push_to_hub("somebody/model") == "a commit"
    assert sent == {
        "somebody/model": {
            "config.json", "labels.json", "vocabulary.json", "model.safetensors", "README.md"
        }
    }  # fmt: skip
    again = Classifier.load(tmp_path / "uploaded")
    np.testing.assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))


def test_a_repository_is_loaded_from_what_the_hub_gives(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier.save_pretrained(tmp_path / "model")
    asked: dict[str, Any] = {}

    def download(repo_id: str, **options: Any) -> str:
        asked.update(options, repo_id=repo_id)
        return str(tmp_path / "model")

    monkeypatch.setattr("textcls.model.classifier.snapshot_download", download)
    monkeypatch.setattr(
        "huggingface_hub.hub_mixin.hf_hub_download",
        lambda **_: str(tmp_path / "model" / "config.json"),
    )
    again = Classifier.from_pretrained("somebody/model", revision="v2")
    np.testing.assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    assert (asked["repo_id"], asked["revision"]) == ("somebody/model", "v2")
    assert "model.safetensors" in asked["allow_patterns"]
    assert not any("*" in pattern for pattern in asked["allow_patterns"])  # no code comes along


@pytest.mark.parametrize("name", ["somebody/model", "no/such/folder", ""])
def test_what_cannot_be_had_from_the_hub_is_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="is no folder here, and cannot be loaded") as caught:
        Classifier.from_pretrained(name)
    assert "\n" not in str(caught.value)


def test_a_damaged_folder_is_refused_by_from_pretrained_too(tmp_path: Path) -> None:
    save_model(make_parts(), tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text("[")
    with pytest.raises(InputError, match="damaged model folder"):
        Classifier.from_pretrained(tmp_path / "model")


# --- the card ---------------------------------------------------------------------------------


def test_a_run_writes_its_card(files: list[str], tmp_path: Path, cache_dir: Path) -> None:
    config = make_config(*files, f"cache_dir={cache_dir}", "trainer.epochs=2", "seed=7")
    metrics = running.start(config, tmp_path / "run")
    card = read_card(tmp_path / "run" / "model")
    assert card.data.pipeline_tag == "text-classification"
    values = {found.metric_type: found.metric_value for found in card.data.eval_results}
    assert values == {
        "accuracy": round(metrics["test"]["accuracy"], 4),
        "f1": round(metrics["test"]["macro_f1"], 4),
    }
    test = metrics["test"]
    row = f"| test | 40 | {test['accuracy']:.4f} | {test['macro_f1']:.4f} | {test['loss']:.4f} |"
    assert row in card.content
    environment = json.loads((tmp_path / "run" / "environment.json").read_text(encoding="utf-8"))
    assert environment["command"] in card.content
    for said in (
        "| train | 108 |",
        "| validation | 12 |",
        "| seed | 7 |",
        "not calibrated",
    ):
        assert said in card.content
    # It travels with the model.
    classifier = Classifier.load(tmp_path / "run")
    classifier.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "README.md").read_text(encoding="utf-8") == str(card)


def test_names_cannot_break_the_card() -> None:
    names = ["a|b", "<script>", "# c", "`d`", "e\nf"]
    card: Any = ModelCard(model_card("x: [y]\n---", "mean", names, {"a*b": "|"}))
    assert card.data.library_name == "textcls"
    lines = [line for line in card.text.splitlines() if line.startswith("| ")]
    assert {len(line.replace("\\|", "").split("|")) for line in lines} == {4}
    assert "<script>" not in card.text


def test_many_classes_are_cut() -> None:
    card = model_card("x", "sum", [f"class {i}" for i in range(100)], {})
    assert "class 29" in card
    assert "class 30 " not in card
    assert "70 more" in card


def test_a_card_that_somebody_wrote_stays(tmp_path: Path) -> None:
    parts = dataclasses.replace(make_parts(), card="---\nlicense: mit\n---\nmine")
    Classifier(parts).save_pretrained(tmp_path / "model")
    assert Classifier.load(tmp_path / "model").parts.card == parts.card
