from __future__ import annotations

import json
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import safetensors.torch
import torch
from torch import nn

from tests.conftest import MODES, seed_cpu
from tests.test_tokens import config
from textcls import Classifier
from textcls.checksum import check, with_checksum
from textcls.data.encoder import TextEncoder
from textcls.data.tokenizer import Tokenizer
from textcls.data.vocabulary import Vocabulary
from textcls.errors import InputError, TextclsError
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.folder import WEIGHTS, load_model, save_model
from textcls.model.parts import ModelParts
from textcls.model.table import CODEBOOKS, CODES, INT8, SCALE, dequantize
from textcls.model.weights import load_weights, save_weights
from textcls.values import Mode

TEXTS = ["Good, good film!", "bad film", "a good good bad thing"]
DIM = 4
BUCKETS_IN_ALL = 40


def make_parts(
    mode: Mode = "mean", store: str = "float32", name: str = "basic_english"
) -> ModelParts:
    """Return a small model whose table is stored one way or another; hashed n-grams in buckets."""
    seed_cpu(3)
    hashed = {"ngrams": 2, "buckets": BUCKETS_IN_ALL} if "buckets" in store else {}
    train = pa.chunked_array([pa.array(TEXTS * 9)])
    tokenizer = Tokenizer(config(name, vocab_size=40, **hashed), train)
    vocabulary = Vocabulary.build(tokenizer(train))
    kept = np.arange(1, BUCKETS_IN_ALL, 3, dtype=np.int32) if hashed else None
    encoder = TextEncoder(tokenizer, vocabulary, kept)
    rows = encoder.num_embeddings
    model = EmbeddingBagClassifier(rows, DIM, 3, mode, padding_id=1, dropout=0.5)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    quantized = None
    if "int8" in store:
        numbers = torch.randint(-127, 128, (rows, DIM), dtype=torch.int8)
        quantized = {INT8: numbers, SCALE: torch.rand(DIM)}
    elif "codes" in store:
        codes = torch.randint(0, 256, (rows, 2), dtype=torch.uint8)
        quantized = {CODES: codes, CODEBOOKS: torch.randn(2, 256, DIM // 2)}
    if quantized is not None:
        model.embedding.weight.data = dequantize(quantized)
    model.eval().requires_grad_(False)
    labels = ("a", "b", "ç 🎄")
    return ModelParts(model, encoder, labels, "# A card\n", quantized)


STORES = ("float32", "int8", "codes", "int8 buckets", "float32 buckets")


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("mode", MODES)
def test_a_stored_model_comes_back_as_it_was(mode: Mode, store: str, tmp_path: Path) -> None:
    parts = make_parts(mode, store)
    save_model(parts, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.model.embedding.mode == mode
    assert not loaded.model.training
    for name, tensor in loaded.model.named_parameters():
        assert tensor.dtype == torch.float32
        assert tensor.device.type == "cpu"
        assert not tensor.requires_grad
        assert torch.equal(tensor, parts.model.state_dict()[name])
    assert loaded.encoder.vocabulary.tokens.equals(parts.encoder.vocabulary.tokens)
    assert loaded.encoder.vocabulary.counts.tolist() == parts.encoder.vocabulary.counts.tolist()
    assert (loaded.label_names, loaded.card) == (parts.label_names, parts.card)
    np.testing.assert_array_equal(
        Classifier(loaded).predict_proba(TEXTS), Classifier(parts).predict_proba(TEXTS)
    )
    # What was loaded is stored as it was before.
    save_model(loaded, tmp_path / "again")
    for path in (tmp_path / "model").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
        assert path.stat().st_mode & 0o444 == 0o444


def test_the_table_is_what_the_format_says() -> None:
    parts = make_parts(store="codes")
    assert parts.quantized is not None
    codes, codebooks = parts.quantized[CODES], parts.quantized[CODEBOOKS]
    for row, of_row in zip(parts.model.embedding.weight, codes.tolist(), strict=True):
        expected = [number for m, code in enumerate(of_row) for number in codebooks[m, code]]
        assert row.tolist() == [float(number) for number in expected]
    parts = make_parts(store="int8")
    assert parts.quantized is not None
    expected_table = parts.quantized[INT8].numpy() * parts.quantized[SCALE].numpy()
    np.testing.assert_array_equal(parts.model.embedding.weight.numpy(), expected_table)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -2e9])
def test_what_could_not_be_read_is_not_written(wrong: float, tmp_path: Path) -> None:
    parts = make_parts()
    save_model(parts, tmp_path / "model")
    before = (tmp_path / "model" / WEIGHTS).read_bytes()
    parts.model.linear.bias[1] = wrong
    message = r"linear\.bias is not finite, or beyond 1e\+09"
    with pytest.raises(TextclsError, match=message):
        save_model(parts, tmp_path / "model")
    with pytest.raises(TextclsError, match=message):
        save_weights(parts.model.state_dict(), tmp_path / "model" / WEIGHTS)
    assert (tmp_path / "model" / WEIGHTS).read_bytes() == before


def test_a_folder_of_format_1_is_read(tmp_path: Path) -> None:
    parts = make_parts("weighted_sum")
    save_model(parts, tmp_path)
    change_json(lambda values: values.update(format=1))(tmp_path)
    (tmp_path / "README.md").unlink()
    loaded = load_model(tmp_path)
    assert loaded.card is None
    assert torch.equal(loaded.model.embedding.weight, parts.model.embedding.weight)


def test_loading_draws_no_random_numbers(tmp_path: Path) -> None:
    save_model(make_parts(), tmp_path)
    seed_cpu(5)
    state = torch.get_rng_state()
    load_model(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_loaded_model_does_not_change_with_its_file(tmp_path: Path) -> None:
    save_model(make_parts(), tmp_path)
    loaded = load_model(tmp_path)
    before = loaded.model.embedding.weight.clone()
    with (tmp_path / WEIGHTS).open("r+b") as file:
        file.write(bytes(os.path.getsize(tmp_path / WEIGHTS)))
    assert torch.equal(loaded.model.embedding.weight, before)


def test_tensors_of_any_shape_have_a_checksum() -> None:
    tensors = {
        "empty": torch.empty_strided((0,), (0,), dtype=torch.int64),
        "number": torch.tensor(1.5),
        "turned": torch.arange(6).reshape(2, 3).T,
    }
    metadata = with_checksum(tensors, {"a": "b"})
    check(tensors, metadata)
    check(tensors, {"a": "b"})  # of an earlier release
    for changed in ({"number": torch.tensor(1.25)}, {"empty": torch.zeros(0)}):
        with pytest.raises(ValueError, match="checksum"):
            check(tensors | changed, metadata)
    with pytest.raises(ValueError, match="checksum"):
        check(tensors, metadata | {"a": "c"})


def test_a_bit_that_turned_over_is_seen(tmp_path: Path) -> None:
    save_model(make_parts(), tmp_path)
    path, model = tmp_path / WEIGHTS, make_parts().model
    written = path.read_bytes()
    save_weights(model.state_dict(), best := tmp_path / "best.safetensors")
    header = 8 + int.from_bytes(written[:8], "little")
    for place in range(header, len(written), 97):  # the lowest bits of a weight change no shape
        damaged = bytearray(written)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"damaged model folder \(.*checksum"):
            load_model(tmp_path)
    best.write_bytes(best.read_bytes()[:-1] + b"\x01")
    with pytest.raises(InputError, match=r"best\.safetensors: is missing, damaged .*checksum"):
        load_weights(model, best)
    # Earlier releases wrote no checksum.
    path.write_bytes(written)
    of_weights()(tmp_path)
    load_model(tmp_path)


# --- what is refused --------------------------------------------------------------------------

Spoil = Callable[[Path], Any]


def write(name: str, content: str | bytes) -> Spoil:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def remove(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def change_json(change: Callable[[Any], Any], name: str = "config.json") -> Spoil:
    def spoil(folder: Path) -> None:
        values = json.loads((folder / name).read_text(encoding="utf-8"))
        change(values)
        (folder / name).write_text(json.dumps(values), encoding="utf-8")

    return spoil


def of_model(**values: Any) -> Spoil:
    return change_json(lambda config: config["model"].update(values))


def of_words(key: str, change: Callable[[list[Any]], Any]) -> Spoil:
    return change_json(lambda values: values.update({key: change(values[key])}), "vocabulary.json")


def of_weights(**tensors: torch.Tensor | None) -> Spoil:
    """Set tensors by name ("__" for a dot), or drop them."""

    def spoil(folder: Path) -> None:
        state = safetensors.torch.load_file(folder / WEIGHTS)
        for name, tensor in tensors.items():
            state.pop(name.replace("__", "."), None)
            if tensor is not None:
                state[name.replace("__", ".")] = tensor
        safetensors.torch.save_file(state, folder / WEIGHTS)

    return spoil


class Bomb:
    """Whoever unpickles it makes a file."""

    def __reduce__(self) -> Any:
        return (os.mkdir, ("unpickled",))


def torch_save(folder: Path) -> None:
    torch.save({"linear.weight": Bomb()}, folder / WEIGHTS)


DEEP = "[" * 100_000
ROWS = len(make_parts().encoder.vocabulary)
WITH_BUCKETS = len(range(1, BUCKETS_IN_ALL, 3))


@pytest.mark.parametrize(
    ("store", "spoil", "message"),
    [
        # what it is
        ("float32", remove("config.json"), "is no model or run folder (it has no config.json)"),
        ("float32", write("config.json", "{"), "config.json: Invalid JSON"),
        ("float32", write("config.json", "[]"), "config.json: Input should be"),
        ("float32", write("config.json", pickle.dumps(Bomb())), "config.json: Invalid JSON"),
        ("float32", write("config.json", b'{"format": "\xff"}'), "config.json: Invalid JSON"),
        ("float32", write("config.json", DEEP), "config.json: Invalid JSON"),
        ("float32", write("config.json", '{"architectures": ["Bert"]}'), "is no model of textcls"),
        ("float32", write("config.json", '{"format": 99}'), "written by a newer textcls"),
        ("float32", write("config.json", '{"format": "2"}'), "'format': Input should be a valid"),
        ("float32", write("config.json", '{"format": true}'), "'format': Input should be a valid"),
        ("float32", write("config.json", '{"format": 0}'), "'format': Input should be greater"),
        ("float32", write("config.json", '{"format": 2}'), "'model': Field required"),
        # the shape
        ("float32", of_model(num_embeddings=10**12), "'num_embeddings': Input should be less"),
        ("float32", of_model(num_embeddings=2**31 - 1), "the table in config.json of 2147483647"),
        ("float32", of_model(embedding_dim=2**16), "linear.weight is missing, or is not"),
        ("float32", of_model(embedding_dim=2**40), "'embedding_dim': Input should be less"),
        ("float32", of_model(num_classes=2), "labels.json: 3 labels for 2 classes"),
        ("float32", of_model(mode="mean+max"), "linear.weight is missing, or is not F32 [3, 8]"),
        ("float32", of_model(mode="weighted_sum"), "embedding.weighing is missing"),
        ("float32", of_model(mode="median"), "'mode': Input should be 'mean', 'sum', 'sqrtn'"),
        ("float32", of_model(dropout="no"), "'dropout': Input should be a valid number"),
        ("float32", of_model(padding_id=10**6), "no padding_id 1000000"),
        ("float32", of_model(padding_id=-1), "'padding_id': Input should be greater"),
        ("float32", of_model(**{"x\n" * 99: 1}), "Unexpected keyword argument"),
        # tokenizer, labels, vocabulary
        ("float32", change_json(lambda c: c["tokenizer"].update(name="x")), "'tokenizer': 'name'"),
        ("float32", change_json(lambda c: c["tokenizer"].update(ngrams=9)), "'ngrams'"),
        (
            "float32",
            change_json(lambda c: c["tokenizer"].update(name="file", file="/etc/hostname")),
            "tokenizer.json: No such file",
        ),
        ("float32", write("labels.json", '["a", "b"]'), "labels.json: 2 labels for 3 classes"),
        ("float32", write("labels.json", '["a", "b", "a"]'), "labels.json: a label stands twice"),
        ("float32", write("labels.json", '["a", "b", 3]'), "labels.json: 2: Input should be"),
        ("float32", write("labels.json", '{"a": 1}'), "labels.json: Input should be a"),
        ("float32", write("labels.json", '["a", "b", "\\ud800"]'), "labels.json: Invalid JSON"),
        ("float32", remove("labels.json"), "labels.json: No such file"),
        ("float32", write("vocabulary.json", DEEP), "vocabulary.json: Invalid JSON"),
        ("float32", write("vocabulary.json", '{"tokens": ["<unk>"], "counts": [0]}'), "specials"),
        ("float32", of_words("tokens", lambda t: [*t[:-1], t[2]]), "each token must stand once"),
        ("float32", of_words("tokens", lambda t: [*t[:-1], None]), "Input should be a valid"),
        ("float32", of_words("tokens", lambda t: t[:-1]), f"{ROWS - 1} tokens but {ROWS} counts"),
        ("float32", of_words("counts", lambda t: [*t[:-1], -1]), "'counts'"),
        ("float32", of_words("counts", lambda t: [*t[:-1], 2**63]), "'counts'"),
        ("float32", of_words("counts", lambda t: [*t[:-1], [1]]), "'counts'"),
        (
            "float32",
            change_json(lambda v: [v["tokens"].pop(), v["counts"].pop()], "vocabulary.json"),
            f"vocabulary.json: is of {ROWS - 1} rows, the table in config.json of {ROWS}",
        ),
        # the weights
        ("float32", remove(WEIGHTS), "model.safetensors"),
        ("float32", write(WEIGHTS, b""), "header"),
        ("float32", write(WEIGHTS, "garbage" * 99), "header"),
        ("float32", torch_save, "header"),
        ("float32", of_weights(linear__bias=None), "linear.bias is missing"),
        ("float32", of_weights(linear__bias=torch.zeros(3, 1)), "is not F32 [3]"),
        ("float32", of_weights(linear__bias=torch.zeros(())), "is not F32 [3]"),
        ("float32", of_weights(more=torch.zeros(1)), "holds what this model has not: 'more'"),
        ("float32", of_weights(embedding__weight=torch.zeros(ROWS, DIM).long()), "is not F32"),
        ("float32", of_weights(embedding__weight=torch.zeros(ROWS, DIM).bool()), "is not F32"),
        ("float32", of_weights(embedding__weight=torch.zeros(ROWS, DIM).half()), "is not F32"),
        ("float32", of_weights(embedding__weight=torch.zeros(ROWS - 1, DIM)), "is not F32"),
        ("float32", of_weights(embedding__weight=torch.full((ROWS, DIM), torch.nan)), "not finite"),
        ("float32", of_weights(linear__bias=torch.tensor([0, 0, torch.inf])), "is not finite"),
        ("float32", of_weights(linear__bias=torch.tensor([0, 0, 1e30])), "beyond all measure"),
        ("int8", of_weights(embedding__scale=None), "embedding.scale is missing"),
        ("int8", of_weights(embedding__scale=torch.zeros(1)), "is not F32 [4]"),
        ("int8", of_weights(embedding__scale=torch.full((DIM,), torch.nan)), "is not finite"),
        ("int8", of_weights(embedding__int8=torch.zeros(ROWS, DIM)), "embedding.int8 is missing"),
        ("int8", of_weights(embedding__weight=torch.zeros(ROWS, DIM)), "this model has not"),
        ("codes", of_weights(embedding__codes=torch.zeros(ROWS, 2)), "embedding.codes is missing"),
        ("codes", of_weights(embedding__codes=torch.zeros(ROWS, 0).byte()), "codes is missing"),
        ("codes", of_weights(embedding__codes=torch.zeros(()).byte()), "codes is missing"),
        ("codes", of_weights(embedding__codes=torch.zeros(ROWS, 3).byte()), "not F32 [3, 256, 1]"),
        ("codes", of_weights(embedding__codebooks=torch.zeros(2, 255, 2)), "not F32 [2, 256, 2]"),
        ("codes", of_weights(embedding__codebooks=torch.zeros(2, 256, 9)), "not F32 [2, 256, 2]"),
        ("int8 buckets", of_weights(embedding__buckets=None), "the table in config.json of"),
        (
            "int8 buckets",
            of_weights(embedding__buckets=torch.zeros(WITH_BUCKETS).int()),
            "embedding.buckets must ascend, from 0 to below 40",
        ),
        (
            "int8 buckets",
            of_weights(embedding__buckets=torch.arange(40 - WITH_BUCKETS + 1, 41).int()),
            "embedding.buckets must ascend, from 0 to below 40",
        ),
        ("int8", of_weights(embedding__buckets=torch.zeros(0).int()), ""),
        ("float32", write("README.md", b"\xff"), "README.md: is no UTF-8"),
    ],
)  # fmt: skip
def test_a_bad_model_folder_is_refused_in_one_line(
    store: str, spoil: Spoil, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(make_parts(store=store), tmp_path / "model")
    spoil(tmp_path / "model")
    if not message:  # no bucket kept of none: nothing to object to
        assert load_model(tmp_path / "model").encoder.kept_buckets is not None
        return
    with pytest.raises(InputError) as caught:
        load_model(tmp_path / "model")
    said = str(caught.value)
    assert message in said
    assert str(tmp_path / "model") in said
    assert "\n" not in said
    assert len(said) < 400 + len(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]  # nothing was run


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "config.json").mkdir()
    for path in (
        tmp_path / "file",
        tmp_path / "none",
        tmp_path,
        tmp_path / "a\0b",
        tmp_path / ("x" * 999),
    ):
        with pytest.raises(InputError, match="is no model or run folder"):
            load_model(path)


def test_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(make_parts(), tmp_path)

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputError, match=r"\(config\.json: Permission denied\)"):
        load_model(tmp_path)


def test_a_tokenizer_that_cannot_be_had_is_refused(tmp_path: Path) -> None:
    save_model(make_parts(name="bpe"), tmp_path)
    whole = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    whole["model"]["vocab"] |= {"x": 2**32 - 1}
    for text, words in (
        ('{"model": "none"}', "is no usable tokenizer.json"),
        (json.dumps(whole), "a token has the id 4,294,967,295"),
    ):
        (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=f"model folder .tokenizer.json: .*{words}"):
            load_model(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"tokenizer\.json: No such file"):
        load_model(tmp_path)


@pytest.mark.parametrize("store", [*STORES, "bpe"])
def test_any_damage_is_refused_or_harmless(store: str, tmp_path: Path) -> None:
    """Whatever bytes a folder holds: an InputError, or a model that predicts finite numbers."""
    parts = make_parts(name="bpe") if store == "bpe" else make_parts("mean+max", store)
    save_model(parts, tmp_path)
    randomness = random.Random(store)
    refused = 0
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        # The beginning of a file says what the rest is: most of the damage is done there.
        places = [*range(min(60, len(whole)))] + [
            randomness.randrange(len(whole)) for _ in range(60)
        ]
        for at in places:
            damaged = bytearray(whole)
            kind = randomness.randrange(4)
            if kind == 0:
                damaged[at] ^= 1 << randomness.randrange(8)
            elif kind == 1:
                damaged[at] = randomness.randrange(256)
            elif kind == 2:
                del damaged[at:]
            else:
                damaged[at:at] = randomness.choice([b"9", b"\0", b"[", b'"', b"-", b"\xff" * 4])
            path.write_bytes(damaged)
            try:
                classifier = Classifier.load(tmp_path, "cpu")
            except InputError as error:
                assert "\n" not in str(error)  # noqa: PT017
                refused += 1
            else:
                assert np.isfinite(classifier.predict_proba(TEXTS)).all()
        path.write_bytes(whole)
    assert refused > 200
    load_model(tmp_path)
