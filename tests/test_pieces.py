"""Unknown words consist of the pieces that static embeddings have vectors of."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from torch import nn

from tests.conftest import make_config
from tests.test_encoder import config
from textcls import Classifier, run, run_corpus
from textcls.continuing import adopted, read_start
from textcls.corpus.splits import RowLabels
from textcls.data.bags import Bags
from textcls.data.encoder import TextEncoder
from textcls.data.stored import load, save
from textcls.data.tokenizer import Tokenizer
from textcls.data.word_vectors import read_vectors, word_rows
from textcls.data.words import composition_of
from textcls.defaults import resolve
from textcls.errors import InputError
from textcls.model import compress
from textcls.model.classifier import to_arrow
from textcls.model.embedding_bag import EmbeddingBagClassifier, logits_of, untrained
from textcls.model.export import export_numpy
from textcls.model.folder import load_model, save_model
from textcls.model.numpy_predictor import Predictor
from textcls.model.parts import ModelParts
from textcls.model.prune import most_important, prune, renumber
from textcls.report.explain import explain
from textcls.report.steps import render_steps
from textcls.sklearn import TextClassifier
from textcls.trainings import build
from textcls.values import Mode
from textcls.vectors.found import PretrainedVectors
from textcls.vectors.pieces import WordPieces

PIECES = [
    "[UNK]",
    "great",
    "dull",
    "item",
    "un",
    "##believ",
    "##able",
    "Par",
    "##is",
    "bore",
    "##d",
]
TRAIN = ["great item", "dull item item", "great great thing", "dull thing", "item", "great stories"]
LABELS = np.array([1, 0, 1, 0, 0, 1])
# Their words are pieces, of several, in Capitals, with none, known, or twice there.
TEXTS = [
    "unbelievable", "bored bored paris", "zzz", "", "great unbelievable item zzz", "unbored",
    "unbelievable unbelievable bored paris", "item",
]  # fmt: skip
WEIGHTED = {"counts": "log", "token_weights": "idf", "ngrams": 2}
CHARS = WEIGHTED | {"char_ngrams": (2, 3), "char_weight": 0.5}


def make_static(folder: Path) -> Path:
    """Write a model of static embeddings."""
    folder.mkdir(exist_ok=True)
    numbers = {piece: i for i, piece in enumerate(PIECES)}
    tokenizer = HuggingFaceTokenizer(WordPiece(numbers, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.enable_truncation(2)  # which words are not to know of
    tokenizer.save(str(folder / "tokenizer.json"))
    table = torch.randn(len(PIECES), 4, generator=torch.Generator().manual_seed(3))
    save_file({"embeddings": table}, folder / "model.safetensors")
    return folder


def make_model(
    folder: Path, how: dict[str, Any], mode: Mode = "sqrtn"
) -> tuple[EmbeddingBagClassifier, TextEncoder]:
    """Return a model with vectors beside its table, and numbers that are drawn."""
    options = config(**how)
    tokenizer = Tokenizer(options)
    tokens = tokenizer.use_up([pa.array(TRAIN)])
    found = read_vectors(PretrainedVectors.find(str(make_static(folder))), tokenizer, tokens)
    encoder, _ = TextEncoder.learn_and_encode(tokenizer, tokens, RowLabels(LABELS), vectors=found)
    shape = make_config("model.dim=classes", "model.dropout=0", f"model.mode={mode}").model
    words = word_rows(encoder, found)
    torch.manual_seed(0)
    model = untrained(encoder, 3, shape, composition_of(encoder), words)
    assert model.vectors is not None
    with torch.no_grad():
        for parameter in (model.vectors.weight, model.linear.bias):
            nn.init.normal_(parameter)
        # Train has no pieces, whose rows therefore stay as they are.
        nn.init.normal_(model.embedding.weight[2 : encoder.first_piece])
    return model.eval(), encoder


def make_classifier(folder: Path, how: dict[str, Any], mode: Mode = "sqrtn") -> Classifier:
    model, encoder = make_model(folder, how, mode)
    kept = model.composed().requires_grad_(False)
    return Classifier(ModelParts(kept, encoder, ("a", "b", "c")))


def bags_of(parts: ModelParts, texts: list[str]) -> Bags:
    bags = parts.encoder.encode([to_arrow(texts)])
    labels = torch.arange(len(bags)) % 3
    return dataclasses.replace(bags, labels=labels)


def split(tokenizer: HuggingFaceTokenizer, word: str) -> list[int]:
    """Return a word's pieces, of the spelling that has the fewest."""
    found = []
    for spelled in (word, word.capitalize(), word.upper()):
        ids = tokenizer.encode(spelled, add_special_tokens=False).ids
        found += [ids] if 0 not in ids else []
    return min(found, key=len, default=[])


@pytest.mark.parametrize("how", [{}, WEIGHTED])
@pytest.mark.parametrize("mode", ["sum", "mean", "sqrtn"])
def test_an_unknown_word_is_an_embedding_bag_of_its_pieces(
    mode: Mode, how: dict[str, Any], tmp_path: Path
) -> None:
    model, encoder = make_model(tmp_path / "static", how, mode)
    assert model.vectors is not None
    tokenizer = HuggingFaceTokenizer.from_file(str(tmp_path / "static" / "tokenizer.json"))
    tokenizer.no_truncation()
    table = load_file(tmp_path / "static" / "model.safetensors")["embeddings"]
    # What is taken off: the mean over the words of train that have a vector.
    of_train = [split(tokenizer, word) for text in TRAIN for word in text.split()]
    mean = torch.stack([table[ids].mean(0) for ids in of_train if ids]).mean(0)
    bag = nn.EmbeddingBag.from_pretrained(table - mean, mode="sum", include_last_offset=True)
    for text in ("unbelievable", "bored bored paris", "unbored unbored zzz"):
        ids, weights, norms = [], [], []
        words = text.split()
        for word, count in Counter(words).items() if how else [(word, 1) for word in words]:
            pieces = split(tokenizer, word)
            ids += pieces
            weights += [(1 + np.log(count)) / len(pieces)] * len(pieces) if pieces else []
            # Without counts, a word without pieces has the row of <unk>, which is zero here.
            norms += [1.0] if not pieces and not how else []
        entries, each = torch.tensor(ids, dtype=torch.long), torch.tensor(weights).float()
        summed = bag(entries, torch.tensor([0, len(ids)]), each)
        norm = torch.cat([each, torch.tensor(norms).float()])
        divisor = {"sum": 1.0, "mean": float(norm.sum()), "sqrtn": float(norm.norm())}[mode] or 1.0
        expected = summed / divisor @ model.vectors.weight.T + model.linear.bias
        bags = encoder.encode([pa.array([text])])
        for one in (model, model.composed()):
            torch.testing.assert_close(
                logits_of(one, bags), expected.detach(), rtol=1e-4, atol=1e-5
            )


@pytest.mark.parametrize("how", [{}, WEIGHTED, CHARS])
def test_what_is_folded_says_the_same(how: dict[str, Any], tmp_path: Path) -> None:
    model, encoder = make_model(tmp_path / "static", how)
    bags = encoder.encode([pa.array(TEXTS)])
    assert (bags.indices >= encoder.first_piece).sum() >= 15
    torch.testing.assert_close(
        logits_of(model.composed(), bags), logits_of(model, bags), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("how", [{}, WEIGHTED, CHARS])
def test_every_form_of_a_model_splits_unknown_words(how: dict[str, Any], tmp_path: Path) -> None:
    made = make_classifier(tmp_path / "static", how)
    expected = made.predict_proba(TEXTS)
    assert abs(expected[0] - expected[3]).max() > 0.01  # pieces say something
    save_model(made.parts, tmp_path / "model")
    export_numpy(made.parts, tmp_path / "numpy")
    save(made.parts.encoder, tmp_path)
    assert json.loads((tmp_path / "model" / "config.json").read_text())["format"] == 6
    for again in (Classifier.load(tmp_path / "model"), pickle.loads(pickle.dumps(made))):
        np.testing.assert_array_equal(again.predict_proba(TEXTS), expected)
    found = Predictor(tmp_path / "numpy").predict_proba(TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    cached = load(tmp_path, made.parts.encoder.config)
    assert cached.encode([to_arrow(TEXTS)]) == made.bags(TEXTS)
    np.testing.assert_allclose(made.unknown(TEXTS[4:6]), [0.5, 1])


def test_a_model_without_pieces_is_of_the_format_before(tmp_path: Path) -> None:
    made = make_classifier(tmp_path / "static", CHARS)
    encoder = TextEncoder.fit(pa.chunked_array([TRAIN]), config(), RowLabels(LABELS))
    model = EmbeddingBagClassifier(encoder.num_embeddings, 3, 3).eval()
    save_model(made.parts, tmp_path / "model")
    save_model(ModelParts(model, encoder, ("a", "b", "c")), tmp_path / "model")
    assert json.loads((tmp_path / "model" / "config.json").read_text())["format"] == 5
    assert not (tmp_path / "model" / "pieces.json").exists()


@pytest.mark.parametrize("how", [{}, WEIGHTED, CHARS])
def test_pieces_are_explained_by_name(how: dict[str, Any], tmp_path: Path) -> None:
    made = make_classifier(tmp_path / "static", how)
    for text in TEXTS:
        found = explain(made, text)
        total = found.bias + found.contributions.sum(0)
        np.testing.assert_allclose(total, found.logits, rtol=1e-5, atol=1e-5)
        if text != "zzz":
            np.testing.assert_allclose(found.own()[found.unknown & (found.ids != 0)], 0, atol=1e-6)
    names = [name for name in explain(made, "unbelievable").chars.names if name in PIECES]
    assert names == ["un", "##believ", "##able"]
    assert "##believ" in render_steps([("made", made)], ["unbelievable"])


@pytest.mark.parametrize("how", [WEIGHTED, CHARS])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_pruned_models_split_words_as_their_bags_say(
    how: dict[str, Any], share: float, tmp_path: Path
) -> None:
    parts = make_classifier(tmp_path / "static", how).parts
    bags = bags_of(parts, TEXTS + TRAIN)
    order = torch.randperm(len(parts.model.embedding.weight) - 2) + 2
    rows = torch.cat([torch.tensor([0, 1]), order[: int(share * len(order))]])
    kept, places = prune(parts, rows)
    save_model(kept, tmp_path / "model")
    again = load_model(tmp_path / "model")
    torch.testing.assert_close(
        logits_of(kept.model, renumber(bags, places)),
        logits_of(again.model, again.encoder.encode([to_arrow(TEXTS + TRAIN)])),
    )


def test_a_small_model_has_no_pieces_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compress, "FEWEST_ROWS", 2)
    parts = make_classifier(tmp_path / "static", WEIGHTED).parts
    bags = bags_of(parts, TEXTS + TRAIN)
    order = most_important(parts, bags)
    is_piece = order >= parts.encoder.first_piece
    assert is_piece[-len(PIECES) + 1 :].all()
    kept, _ = prune(parts, order[: parts.encoder.first_piece])
    save_model(kept, tmp_path / "model")
    assert kept.encoder.pieces is None
    assert not (tmp_path / "model" / "pieces.json").exists()
    small = compress.shrink(
        parts, bags, max_bytes=sum(f.stat().st_size for f in (tmp_path / "model").iterdir())
    )
    assert small.parts.encoder.pieces is None


def spoil_ids(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        tensors["encoder.piece_ids"] = change(tensors["encoder.piece_ids"])
        save_file(tensors, folder / "model.safetensors")

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "pieces.json").unlink(), r"pieces\.json: No such file"),
        (lambda folder: (folder / "pieces.json").write_text("{}"), "no usable tokenizer.json"),
        (lambda folder: (folder / "pieces.json").write_bytes(b"\xff"), "is no UTF-8 text"),
        (spoil_ids(lambda ids: ids.flip(0).contiguous()), "piece_ids must ascend"),
        (spoil_ids(lambda ids: ids - 9), "piece_ids must ascend, from 0"),
        (spoil_ids(lambda ids: ids[1:].clone()), "is of .* rows"),
        (spoil_ids(lambda ids: ids.long()), "piece_ids is missing, or is not I32"),
        (spoil_ids(lambda ids: ids[0].clone()), "is of .* rows"),
    ],
)
def test_damaged_pieces_are_told_in_one_line(
    spoil: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    save_model(make_classifier(tmp_path / "static", {}).parts, tmp_path / "model")
    spoil(tmp_path / "model")
    with pytest.raises(InputError, match=message) as caught:
        load_model(tmp_path / "model")
    assert "\n" not in str(caught.value)


def test_a_word_has_a_share_of_each_of_its_pieces_whether_kept_or_not(tmp_path: Path) -> None:
    json = (make_static(tmp_path) / "tokenizer.json").read_text()
    every = WordPieces.all_of(json)
    assert every.ids.tolist() == [*range(1, len(PIECES))]
    kept = WordPieces(every.json, every.ids[[3, 5]])  # un, ##able
    words = ["unbelievable", "zzz", "bored", "PARIS"]
    offsets, places, shares = kept.of_words(words)
    assert offsets.tolist() == [0, 2, 2, 2, 2]
    assert places.tolist() == [0, 1]
    np.testing.assert_allclose(shares, [1 / 3] * 2)
    assert every.names("bored") == {8: "bore", 9: "##d"}
    assert every.of_words([]).offsets.tolist() == [0]
    with pytest.raises(ValueError, match="EOF"):
        WordPieces.all_of("")


def test_an_estimator_knows_what_the_pieces_of_a_word_say(tmp_path: Path) -> None:
    """Words of train have the pieces that tell the classes apart, in other words."""
    texts, labels = ["unbelievable item", "bored item"] * 8, ["good", "bad"] * 8
    vectors = str(make_static(tmp_path))
    found = TextClassifier(char_ngrams=None, vectors=vectors).fit(texts, labels)
    assert found.predict(["unable", "boredd"]).tolist() == ["good", "bad"]
    assert found.classifier_.unknown(["unable"]) == 1


def test_training_goes_on_with_what_pieces_said(tmp_path: Path, cache_dir: Path) -> None:
    """A word that becomes known, and has no row yet, has the scores that it had by its pieces."""
    files = {"old": ("great", "dull"), "new": ("unbelievable", "bored")}
    for name, words in files.items():
        rows = [f"{words[i % 2]} item {i % 7},{('good', 'bad')[i % 2]}" for i in range(60)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *rows]))
    common = ("experiment=null", "data=local", f"cache_dir={cache_dir}", "trainer.epochs=2",
              "trainer.calibrate=false", "model.mode=sum")  # fmt: skip
    static = f"model.vectors={make_static(tmp_path / 'static')}"
    old = make_config(*common, f"data.train={tmp_path / 'old.csv'}", static)
    run.start(old, tmp_path / "run")
    assert run_corpus.corpus(old).from_cache
    parts = load_model(tmp_path / "run")
    assert parts.encoder.pieces is not None
    options = (*common, f"data.train={tmp_path / 'new.csv'}", f"init_from={tmp_path / 'run'}")
    given = adopted(make_config(*options), ())
    start = read_start(given)
    prepared = run_corpus.corpus(given, start=start)
    resolved = resolve(given, prepared.about)
    model = build(resolved, prepared, torch.device("cpu"), start).composed()
    texts = ["unbelievable", "bored unbelievable", "great", "unbored"]
    assert prepared.encoder.pieces is not None
    assert "unbelievable" in prepared.encoder.vocabulary.tokens.to_pylist()
    expected = logits_of(parts.model, parts.encoder.encode([pa.array(texts)]))
    found = logits_of(model, prepared.encoder.encode([pa.array(texts)]))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
