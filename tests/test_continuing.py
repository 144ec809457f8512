"""A training that starts from a trained model."""

from __future__ import annotations

import csv
import functools
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from tests.command import main
from tests.conftest import Run, make_config, one_line, with_options, write_files, write_labelled
from textcls import Classifier, run, run_corpus
from textcls.config import Config
from textcls.continuing import Start, adopted, read_start
from textcls.data.prepare import Prepared
from textcls.defaults import resolve
from textcls.errors import InputError
from textcls.model.embedding_bag import EmbeddingBagClassifier, logits_of
from textcls.model.folder import load_model
from textcls.trainings import build

pytestmark = pytest.mark.usefixtures("undrawn")

Old = Callable[..., Path]
# Texts of words that the first corpus has.
OLD_TEXTS = ["item 3 was great and dull", "item 1 was superb and warm", "", "was was cold"]
# Features of every kind, in a table of class scores, in one of vectors, and of others.
MODELS: dict[str, Sequence[str]] = {
    "scores": ("experiment=null",),
    "vectors": ("experiment=null", "model.dim=5"),
    "words and pairs": ("experiment=null", "tokenizer.char_ngrams=null", "model.dim=5"),
    "hashed": ("experiment=null", "tokenizer.buckets=50", "tokenizer.char_buckets=60"),
    "learned": ("experiment=null", "model.mode=weighted_sum", "model.dim=4"),
    "bm25": ("experiment=null", "tokenizer.token_weights=bm25", "model.mode=mean"),
    "words": ("model.mode=mean+max",),
}


def write_new(folder: Path, label: str = "meh", rows: int = 60) -> list[str]:
    """Write rows with new words, of the two classes that are known and a new one; as options."""
    path = folder / "new.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for i in range(rows):
            name = (label, "good", "bad")[i % 3]
            sign = {"good": "fantastic", "bad": "horrid"}.get(name, "middling")
            writer.writerow([f"gadget {i % 5} felt {sign} and {('great', 'dull')[i % 2]}", name])
    return ["data=local", f"data.train={path}"]


@pytest.fixture(scope="module")
def old_run(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Old:
    """Train models that divide scores by nothing, once of each kind, for tests that only read."""

    @functools.cache
    def trained(*options: str) -> Path:
        folder = tmp_path_factory.mktemp("old")
        given = (*options, *write_files(folder), f"cache_dir={cache_dir}", "trainer.epochs=2")
        run.start(make_config(*given, "trainer.calibrate=false"), folder / "run")
        return folder / "run"

    return trained


def begin(config: Config) -> tuple[EmbeddingBagClassifier, Prepared, Start]:
    """Return the model that a training starts with, as it would be kept."""
    start = read_start(config)
    assert start is not None
    prepared = run_corpus.corpus(config, start=start)
    resolved = resolve(config, prepared.about)
    model = build(resolved, prepared, torch.device("cpu"), start)
    return model.composed(), prepared, start


def scores(model: EmbeddingBagClassifier, parts: Any, texts: Sequence[str]) -> Tensor:
    return logits_of(model, parts.encoder.encode([pa.array(texts, pa.string())]))


def continued(cache_dir: Path, files: Sequence[str], old: Path, *options: str) -> Config:
    given = (*files, f"init_from={old}", f"cache_dir={cache_dir}", *options)
    return adopted(make_config("experiment=null", *given), ())


@pytest.mark.parametrize("kind", MODELS)
def test_the_scores_of_the_old_classes_are_kept(
    old_run: Old, kind: str, tmp_path: Path, cache_dir: Path
) -> None:
    """The oracle: the model that it starts from."""
    old = old_run(*MODELS[kind])
    model, prepared, start = begin(continued(cache_dir, write_new(tmp_path), old))
    parts = start.parts
    assert prepared.label_names == ("bad", "good", "meh")
    known, now = parts.encoder.vocabulary, prepared.encoder.vocabulary
    assert now.tokens.slice(0, len(known)).equals(known.tokens)
    assert "fantastic" in now.tokens.to_pylist()
    expected = scores(parts.model, parts, OLD_TEXTS)
    found = scores(model, prepared, OLD_TEXTS)
    if parts.encoder.chars is None:
        assert torch.equal(found[:, :2], expected)
    else:  # words are taken apart into what they are composed of
        torch.testing.assert_close(found[:, :2], expected, rtol=1e-5, atol=1e-6)
    assert not found[:, 2].any()
    # The bags of such texts are the very same.
    texts = [pa.array(OLD_TEXTS)]
    before, after = parts.encoder.encode(texts), prepared.encoder.encode(texts)
    assert torch.equal(before.offsets, after.offsets)
    if before.weights is not None and after.weights is not None:
        assert torch.equal(before.weights, after.weights)


def test_labels_are_dropped_by_starting_from_a_restricted_model(
    old_run: Old, tmp_path: Path, cache_dir: Path
) -> None:
    old = old_run("experiment=null")
    files = write_new(tmp_path)
    run.start(continued(cache_dir, files, old, "trainer.calibrate=false"), tmp_path / "three")
    restricted = Classifier.load(tmp_path / "three").restricted(["meh", "bad"])
    restricted.save_pretrained(tmp_path / "two")
    place = Path(files[1].partition("=")[2])
    place.write_text(re.sub(".*,good\n", "", place.read_text()))
    model, prepared, _ = begin(continued(cache_dir, files, tmp_path / "two"))
    assert prepared.label_names == ("bad", "meh")
    expected = scores(restricted.parts.model, restricted.parts, OLD_TEXTS)
    torch.testing.assert_close(scores(model, prepared, OLD_TEXTS), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["scores", "vectors"])
def test_a_new_label_changes_no_bit_of_the_scores_of_others(
    old_run: Old, kind: str, tmp_path: Path, cache_dir: Path
) -> None:
    """The oracle: the same rows without that label."""
    old = old_run(*MODELS[kind])
    files = write_new(tmp_path)
    with_label, more, _ = begin(continued(cache_dir, files, old))
    place = Path(files[1].partition("=")[2])
    place.write_text(place.read_text().replace(",meh", ",bad"))
    without, fewer, _ = begin(continued(cache_dir, files, old))
    assert (more.label_names, fewer.label_names) == (("bad", "good", "meh"), ("bad", "good"))
    assert torch.equal(
        scores(with_label, more, OLD_TEXTS)[:, :2], scores(without, fewer, OLD_TEXTS)
    )


def test_the_temperature_is_undone(tmp_path: Path, cache_dir: Path) -> None:
    files = write_files(tmp_path)
    config = make_config("experiment=null", *files, f"cache_dir={cache_dir}", "trainer.epochs=2")
    run.start(config, tmp_path / "old")
    temperature = load_model(tmp_path / "old").temperature
    assert temperature is not None
    assert temperature != 1
    model, prepared, start = begin(continued(cache_dir, files, tmp_path / "old"))
    expected = scores(start.parts.model, start.parts, OLD_TEXTS) * temperature
    torch.testing.assert_close(scores(model, prepared, OLD_TEXTS), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(model.linear.weight, torch.eye(2))


@pytest.mark.parametrize("counts", [("good", "bad"), ("bad",)])
def test_labels_that_the_new_rows_lack_are_kept(
    old_run: Old, counts: Sequence[str], tmp_path: Path, cache_dir: Path
) -> None:
    old = old_run()
    path = tmp_path / "new.csv"
    lines = [f"item {i % 7} was {'dull' if i % 2 else 'great'},{counts[i % len(counts)]}"
             for i in range(40)]  # fmt: skip
    path.write_text("\n".join(["text,label", *lines]) + "\n")
    config = continued(cache_dir, ["data=local", f"data.train={path}"], old, "trainer.epochs=1")
    run.start(config, tmp_path / "run")
    assert Classifier.load(tmp_path / "run").label_names == ("bad", "good")


def test_of_several_labels_those_that_are_absent_do_not_move(
    tmp_path: Path, cache_dir: Path
) -> None:
    files, cache = write_labelled(tmp_path), f"cache_dir={cache_dir}"
    options = ("experiment=null", cache, "trainer.epochs=2", "trainer.calibrate=false")
    run.start(make_config(*files, *options), tmp_path / "old")
    for name in ("train", "validation", "test"):
        path = tmp_path / f"{name}.jsonl"
        path.write_text(path.read_text().replace('"odd"', '"rare"'))
    config = continued(cache_dir, files, tmp_path / "old", "trainer.calibrate=false")
    assert config.data.task == "multi"
    run.start(with_options(config, "trainer", epochs=2), tmp_path / "new")
    old, new = load_model(tmp_path / "old"), load_model(tmp_path / "new")
    assert new.label_names == ("bad", "good", "odd", "rare")
    before = scores(old.model, old, OLD_TEXTS)
    after = scores(new.model, new, OLD_TEXTS)
    torch.testing.assert_close(after[:, 2], before[:, 2], rtol=1e-5, atol=1e-5)
    assert not torch.isclose(after[:, :2], before[:, :2], atol=1e-3).all()
    # The bias of the new label begins with its log-odds in train.
    model, prepared, _ = begin(config)
    targets = prepared.train.targets
    share = (int((targets.ids == 3).sum()) + 1) / (targets.num_bags + 2)
    assert float(model.linear.bias[3]) == pytest.approx(np.log(share / (1 - share)), abs=1e-5)


def test_a_known_label_that_validation_alone_has_is_learned_of_all_rows(
    tmp_path: Path, cache_dir: Path
) -> None:
    def write(name: str, **words: str) -> str:
        rows = [
            {"text": f"item {i % 7} {word}", "labels": [label]}
            for i in range(20)
            for label, word in words.items()
        ]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    old = write("old", a="ape", b="bear", c="cat")
    options = ("experiment=null", f"cache_dir={cache_dir}", "trainer.epochs=3")
    given = ("data=local", "data.task=multi", f"data.train={old}", f"data.test={old}")
    run.start(make_config(*given, *options), tmp_path / "old")
    files = [
        "data=local",
        f"data.train={write('train', a='ape', b='bear')}",
        f"data.validation={write('validation', a='ape', c='zebra')}",
        f"data.test={old}",
    ]
    config = continued(cache_dir, files, tmp_path / "old", "trainer.epochs=3", "optimizer.lr=1")
    run.start(config, tmp_path / "new")
    scored = Classifier.load(tmp_path / "new").predict_proba(["zebra", "item 9"])
    assert scored[0, 2] > max(0.9, scored[1, 2])


def test_classes_in_an_order_have_their_rank(tmp_path: Path, cache_dir: Path) -> None:
    rows = [f"so {('awful', 'fair', 'great')[i % 3]} {i % 5},{(1, 3, 5)[i % 3]}" for i in range(60)]
    path = tmp_path / "stars.csv"
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    files = ["data=local", f"data.train={path}", "data.task=ordered"]
    options = ("trainer.epochs=2", "trainer.calibrate=false", f"cache_dir={cache_dir}")
    run.start(make_config("experiment=null", *files, *options), tmp_path / "old")
    more = [*rows, *(f"so decent {i % 5},4" for i in range(20))]
    path.write_text("\n".join(["text,label", *more]) + "\n")
    model, prepared, start = begin(continued(cache_dir, files[:2], tmp_path / "old"))
    assert prepared.label_names == ("1", "3", "4", "5")
    found = scores(model, prepared, ["so great 1"])[:, [0, 1, 3]]
    torch.testing.assert_close(found, scores(start.parts.model, start.parts, ["so great 1"]))
    path.write_text("\n".join(["text,label", *more, *(["so odd,odd"] * 20)]) + "\n")
    config = continued(cache_dir, files[:2], tmp_path / "old")
    with pytest.raises(InputError, match="is new to the model, and 'odd' is no number"):
        begin(config)


def test_new_features_weigh_what_the_new_rows_say(
    old_run: Old, tmp_path: Path, cache_dir: Path
) -> None:
    """The oracle: an encoder of the new rows alone, of the same labels."""
    options = ("experiment=null", "tokenizer.char_ngrams=null", "tokenizer.token_weights=idf")
    old = old_run(*options)
    files = write_new(tmp_path)
    _, prepared, start = begin(continued(cache_dir, files, old))
    alone = run_corpus.corpus(make_config(*options, *files, f"cache_dir={cache_dir}")).encoder
    known, now = start.parts.encoder, prepared.encoder
    names = now.vocabulary.tokens.to_pylist()
    by_name = dict(zip(alone.vocabulary.tokens.to_pylist(), alone.token_weights, strict=True))  # type: ignore[arg-type]
    assert now.token_weights is not None
    before = len(known.vocabulary)
    assert np.array_equal(now.token_weights[:before], known.token_weights)  # type: ignore[arg-type]
    assert len(names) > before
    for name, weight in zip(names[before:], now.token_weights[before:], strict=True):
        if " " not in name:
            assert weight == pytest.approx(by_name[name])
    counts = dict(zip(names, now.vocabulary.counts.tolist(), strict=True))
    apart = [dict(zip(e.vocabulary.tokens.to_pylist(), e.vocabulary.counts.tolist(), strict=True))
             for e in (known, alone)]  # fmt: skip
    assert counts["great"] == apart[0]["great"] + apart[1]["great"]


def test_a_run_learns_the_new_and_says_where_it_began(
    old_run: Old, tmp_path: Path, cache_dir: Path
) -> None:
    old = old_run("experiment=null")
    files = write_new(tmp_path)
    config = continued(cache_dir, files, old, "trainer.ensemble=2", "trainer.epochs=10")
    metrics = run.start(config, tmp_path / "new")
    assert metrics["test"]["accuracy"] == 1
    assert metrics["chosen"]["optimizer.lr"] == pytest.approx(0.3)  # of 1, that of a new training
    weights = (old / "model" / "model.safetensors").read_bytes()
    digest = hashlib.sha256(weights).hexdigest()
    assert metrics["init_from"] == {"model": str(old / "model"), "sha256": digest}
    assert digest in (tmp_path / "new" / "model" / "README.md").read_text()
    assert Classifier.load(tmp_path / "new").predict(["item 1 was awful and weak"]) == ["bad"]
    # What was folded can be continued, too; and from the same start comes the same model.
    again = continued(cache_dir, files, tmp_path / "new", "trainer.epochs=1")
    found = [run.start(again, tmp_path / name)["test"]["loss"] for name in ("a", "b")]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("tokenizer=basic_english", "tokenizer.name=basic_english: init_from=.* has basic: leave"),
        ("tokenizer.ngrams=3", "tokenizer.ngrams=3: init_from=.* has 2"),
        ("tokenizer.char_ngrams=[3,6]", r"tokenizer.char_ngrams=\[3,6\]: .* has \[2,5\]"),
        ("tokenizer.buckets=100", "tokenizer.buckets=100: .* has null"),
        ("model.dim=32", "model.dim=32: .* has classes"),
        ("model.mode=max", "model.mode=max: .* has sqrtn"),
        ("experiment=plain", "tokenizer.name=basic_english: "),
        ("model.vectors=words.vec", "model.vectors=words.vec: init_from=.* leave"),
        ("data.task=multi", "data.task=multi: .* has auto"),
        ("tune=default tune.space.model.mode=[sum]", "tune.space.model.mode: is that of the"),
    ],
)
def test_what_contradicts_the_model_is_one_line(
    old_run: Old, options: str, message: str, tmp_path: Path, run_train: Run
) -> None:
    old = old_run("experiment=null")
    result = run_train(*write_new(tmp_path), f"init_from={old}", *options.split())
    assert result.returncode == 2
    assert re.search(message, one_line(result)), result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_the_command_continues_resumes_and_sweeps(
    old_run: Old, tmp_path: Path, cache_dir: Path, run_train: Run
) -> None:
    old = tmp_path / "old"  # of plain features
    shutil.copytree(old_run("tokenizer.ngrams=2"), old)
    files = write_new(tmp_path)
    given = (*files, f"init_from={old.relative_to(tmp_path)}", "trainer.epochs=2")
    result = run_train(
        *given, "run_dir=new", "tokenizer.min_freq=2", "tokenizer.name=basic_english"
    )
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "new" / "metrics.json").read_text())
    assert found["init_from"]["model"] == str(old / "model")
    model = json.loads((tmp_path / "new" / "model" / "config.json").read_text())
    assert (model["tokenizer"]["name"], model["tokenizer"]["ngrams"]) == ("basic_english", 2)
    assert (model["tokenizer"]["min_freq"], model["model"]["mode"]) == (2, "mean")
    (tmp_path / "new" / "metrics.json").unlink()  # as if it had been stopped
    resumed = run_train("resume=new")
    assert resumed.returncode == 0, resumed.stderr
    again = json.loads((tmp_path / "new" / "metrics.json").read_text())
    assert again["test"] == found["test"]
    swept = run_train("-m", *given, "run_dir=sweep", f"init_from={old},new", "seed=1")
    assert swept.returncode == 0, swept.stderr
    assert len(list((tmp_path / "sweep").glob("*/metrics.json"))) == 2
    # From another model, the same run is no continuation of itself.
    weights = old / "model" / "labels.json"
    (tmp_path / "new" / "metrics.json").unlink()
    weights.write_text(weights.read_text() + " ")
    assert "has changed since this run began" in one_line(run_train("resume=new"))
    assert "init_from=gone: is no model or run folder" in one_line(
        run_train(*files, "init_from=gone")
    )
    assert "write init_from=FOLDER" in one_line(run_train(*files, "init_from="))


def test_a_search_leaves_the_features_as_they_are(
    old_run: Old, tmp_path: Path, cache_dir: Path, run_train: Run
) -> None:
    pytest.importorskip("optuna")
    old = old_run("experiment=null")
    result = run_train(
        *write_new(tmp_path), f"init_from={old}", "tune=default", "tune.trials=2", "run_dir=search",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    best = json.loads((tmp_path / "search" / "best" / "metrics.json").read_text())
    assert best["init_from"]["model"] == str(old / "model")
    header = (tmp_path / "search" / "trials.csv").read_text().splitlines()[0]
    assert "trainer.epochs" in header
    assert "tokenizer" not in header


def test_a_compressed_model_is_refused(old_run: Old, tmp_path: Path, cache_dir: Path) -> None:
    old = old_run("experiment=null")
    data = old.parent / "test.csv"
    assert main("compress", old, "--out", tmp_path / "small", "--data", data) == 0
    with pytest.raises(InputError, match="small: is a compressed model: name the one that"):
        continued(cache_dir, write_new(tmp_path), tmp_path / "small")


def test_what_was_continued_goes_through_export_explain_and_compress(
    old_run: Old, tmp_path: Path, cache_dir: Path
) -> None:
    old = old_run("experiment=null")
    files = write_new(tmp_path)
    run.start(continued(cache_dir, files, old, "trainer.epochs=10"), tmp_path / "new")
    text = "gadget 1 felt horrid and dull"
    classifier = Classifier.load(tmp_path / "new")
    page = tmp_path / "page.html"
    assert main("explain", tmp_path / "new", "--text", text, "--html", page) == 0
    assert main("export", tmp_path / "new", "--out", tmp_path / "numpy", "--to", "numpy") == 0
    assert main("compress", tmp_path / "new", "--out", tmp_path / "small") == 0
    small = Classifier.load(tmp_path / "small")
    assert small.predict([text]) == classifier.predict([text]) == ["bad"]
