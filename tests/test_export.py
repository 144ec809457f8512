from __future__ import annotations

import ast
import dataclasses
import json
import subprocess
import sys
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.conftest import MODES, seed_cpu, shared
from tests.test_tokens import MIXED, RULES, config, tokenize, torchtext_basic_english
from textcls import Classifier, __version__
from textcls.data.encoder import TextEncoder
from textcls.data.tokenizer import Tokenizer
from textcls.data.vocabulary import PADDING, UNKNOWN, Vocabulary
from textcls.errors import InputError
from textcls.model import export as export_module
from textcls.model import numpy_predictor
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.export import export_numpy, export_onnx, export_torch
from textcls.model.folder import load_model
from textcls.model.numpy_predictor import Predictor, basic, basic_english
from textcls.model.onnx_graph import IR_VERSION, OPSET
from textcls.model.parts import ModelParts
from textcls.model.table import dequantize
from textcls.values import Mode

Float32 = npt.NDArray[np.float32]

LABELS = ("a", "b\u2028", "ç 🎄")
LEARN_FROM = [
    "What a good, good film! It isn't long.",
    "a bad film: never again? What a bad film.",
    "Good <br /> film, a long one; a bad one.",
]
TEXTS: list[str | None] = [
    "What a good film!", None, "", "never seen it", "🎄", "\0", "a\ud800 good\ud83c?", "<pad>",
    "<pad> film <pad>", '"Good"<br />film', "what\x1ca\x85bad\u2028film\ufeff", "İ ΑΣ a",
    "a bad film. " * 1_000, " ", "one one one one one", "good",
]  # fmt: skip


def make_parts(
    mode: Mode = "mean", name: str = "basic_english", dim: int = 8, **options: Any
) -> ModelParts:
    """Return a model of random weights; its table has what must not count in padding's row."""
    train = pa.chunked_array([pa.array(LEARN_FROM * 3)])
    tokenizer = Tokenizer(config(name, vocab_size=60, **options), train)
    return with_model(TextEncoder.learn(tokenizer, tokenizer(train)), mode, dim)


def with_model(encoder: TextEncoder, mode: Mode = "mean", dim: int = 8) -> ModelParts:
    seed_cpu(3)
    rows = encoder.num_embeddings
    model = EmbeddingBagClassifier(rows, dim, len(LABELS), mode, padding_id=1, dropout=0.5)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return ModelParts(model.eval().requires_grad_(False), encoder, LABELS)


def onnx_session(parts: ModelParts, path: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    export_onnx(parts, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run_onnx(
    session: onnxruntime.InferenceSession,
    indices: Tensor,
    offsets: Tensor,
    weights: Tensor | None = None,
) -> Float32:
    inputs = {"indices": indices.long().numpy(), "offsets": offsets.numpy()}
    if weights is not None:
        inputs["weights"] = weights.numpy()
    probabilities, logits = session.run(["probabilities", "logits"], inputs)
    np.testing.assert_allclose(probabilities, torch.tensor(logits).softmax(1), atol=1e-6)
    found: Float32 = probabilities
    return found


def predictor_of(parts: ModelParts, folder: Path) -> Predictor:
    export_numpy(parts, folder)
    return Predictor(folder)


# --- ONNX and torch.export -------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dim", [2, 8])  # fewer dimensions than classes, and more
def test_all_exports_predict_as_the_classifier(mode: Mode, dim: int, tmp_path: Path) -> None:
    parts = make_parts(mode, dim=dim)
    classifier = Classifier(parts)
    expected = classifier.predict_proba(TEXTS)
    bags = classifier.bags(TEXTS)
    assert not (bags.indices == 1).any()  # "<pad>" in a text is no padding

    by_onnx = run_onnx(onnx_session(parts, tmp_path / "m.onnx"), bags.indices, bags.offsets)
    export_torch(parts, tmp_path / "m.pt2")
    program = torch.export.load(tmp_path / "m.pt2").module()
    by_torch = program(bags.indices.long(), bags.offsets)
    by_numpy = predictor_of(parts, tmp_path / "folder").predict_proba(TEXTS)
    for found in (by_onnx, by_torch.numpy(), by_numpy):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("counts", [None, "log"])
@pytest.mark.parametrize("mode", ["mean+sum+sqrtn+max", "weighted_sum", "weighted_sqrtn"])
def test_any_number_of_bags_tokens_and_weights(
    mode: Mode, counts: str | None, tmp_path: Path
) -> None:
    parts = make_parts(mode, counts=counts)
    predictor = predictor_of(parts, tmp_path / "folder")
    session = onnx_session(parts, tmp_path / "m.onnx")
    export_torch(parts, tmp_path / "m.pt2")
    program = torch.export.load(tmp_path / "m.pt2").module()
    for lengths in ([], [0], [1], [2], [0, 0], [0, 1], [16, 0, 17, 256, 257], [0, 5000]):
        offsets = torch.tensor([0, *lengths]).cumsum(0)
        indices = torch.arange(int(offsets[-1])) % parts.model.embedding.num_embeddings
        weights = None if counts is None else torch.arange(len(indices)) % 5 / 4
        expected = np.zeros((0, 3), np.float32)
        pooled = np.zeros((0, parts.model.embedding.pooled_dim))
        if lengths:
            expected = parts.model(indices, offsets, weights).softmax(1).numpy()
            pooled = parts.model.embed(indices, offsets, weights).numpy()
        by_onnx = run_onnx(session, indices, offsets, weights)
        np.testing.assert_allclose(by_onnx, expected, atol=1e-5)
        more = () if weights is None else (weights,)
        np.testing.assert_allclose(program(indices, offsets, *more), expected, atol=1e-5)
        for bag, (start, stop) in enumerate(pairwise(offsets.tolist())):
            entries = indices[start:stop].numpy()
            counted = entries != 1  # bags of predict.py have no padding
            own = None if weights is None else weights[start:stop].numpy()[counted]
            if counted.any():
                found = predictor._pool(predictor.table[entries[counted]], own)
                np.testing.assert_allclose(found, pooled[bag], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["mean+sum", "max"])
def test_a_padding_id_is_optional(mode: Mode, tmp_path: Path) -> None:
    parts = make_parts(mode)
    model = EmbeddingBagClassifier(parts.model.embedding.num_embeddings, 4, 3, mode)
    parts = dataclasses.replace(parts, model=model.eval().requires_grad_(False))
    indices, offsets = torch.tensor([1, 2, 1]), torch.tensor([0, 1, 3])
    expected = model(indices, offsets).softmax(1)
    found = run_onnx(onnx_session(parts, tmp_path / "m.onnx"), indices, offsets)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    export_torch(parts, tmp_path / "m.pt2")
    program = torch.export.load(tmp_path / "m.pt2").module()
    torch.testing.assert_close(program(indices, offsets), expected)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("dim", [2, 8])
def test_onnx_is_exact_and_repeatable_with_threads_and_long_bags(
    mode: Mode, dim: int, tmp_path: Path
) -> None:
    # Few bags of many tokens are where threads would meet in one row.
    parts = make_parts(mode, dim=dim)
    model = parts.model
    model.embedding.weight *= 1e-2
    session = onnx_session(parts, tmp_path / "m.onnx", threads=4)
    generator = torch.Generator().manual_seed(0)
    indices = torch.randint(2, model.embedding.num_embeddings, (200_000,), generator=generator)
    offsets = torch.tensor([0, 150_000, 150_001, 200_000])
    table = model.embedding.weight.double()
    pool = {"sum": lambda x: x.sum(0), "mean": lambda x: x.mean(0), "max": lambda x: x.amax(0)}
    pooled = [pool[mode](table[indices[a:b]]) for a, b in pairwise(offsets.tolist())]
    linear = model.linear
    expected = torch.stack(pooled) @ linear.weight.double().T + linear.bias.double()
    for _ in range(4):
        inputs = {"indices": indices.numpy(), "offsets": offsets.numpy()}
        (found,) = session.run(["logits"], inputs)
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)


def test_an_onnx_file_says_what_it_is(tmp_path: Path) -> None:
    export_onnx(make_parts("mean+max"), tmp_path / "m.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
    model = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", OPSET)]
    assert (model.ir_version, model.producer_name) == (IR_VERSION, "textcls")
    values = {one.key: one.value for one in model.metadata_props}
    assert json.loads(values.pop("labels")) == list(LABELS)
    assert values == {"mode": "mean+max", "textcls_version": __version__}
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert {(one.name, one.type) for one in session.get_inputs()} == {
        ("indices", "tensor(int64)"),
        ("offsets", "tensor(int64)"),
    }
    assert [(one.name, one.type, one.shape) for one in session.get_outputs()] == [
        ("probabilities", "tensor(float)", ["num_bags", 3]),
        ("logits", "tensor(float)", ["num_bags", 3]),
    ]


def test_a_table_of_few_classes_is_stored_by_class(tmp_path: Path) -> None:
    parts = make_parts("mean", dim=64)
    export_onnx(parts, tmp_path / "m.onnx")
    shapes = {tuple(one.dims) for one in onnx.load(tmp_path / "m.onnx").graph.initializer}
    rows = parts.model.embedding.num_embeddings
    assert (rows, 3) in shapes
    assert not any(64 in shape for shape in shapes)


def test_without_onnx_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"pip install 'textcls\[onnx\]'"):
        export_onnx(make_parts(), tmp_path / "m.onnx")


def test_a_model_too_large_for_onnx_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "ONNX_BYTES", 100)
    with pytest.raises(InputError, match=r"m.onnx: .* 0.0 GB of weights are more than") as caught:
        export_onnx(make_parts("max"), tmp_path / "m.onnx")
    assert "\n" not in str(caught.value)
    assert not [*tmp_path.iterdir()]


def test_there_is_no_pickle_in_a_torch_file(tmp_path: Path) -> None:
    export_torch(make_parts("mean+max"), tmp_path / "m.pt2")
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt2"]
    with zipfile.ZipFile(tmp_path / "m.pt2") as archive:
        files = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    assert not files.pop("data/sample_inputs/model.pt")
    for name, content in files.items():
        assert content[:2] not in (b"\x80\x02", b"PK") or "weight_" in name, name
    weights = json.loads(files["data/weights/model_weights_config.json"])["config"]
    assert len(weights) == 3
    assert not any(one["use_pickle"] for one in weights.values())
    assert not json.loads(files["data/constants/model_constants_config.json"])["config"]


# --- NumPy -----------------------------------------------------------------------------------

ODD = st.sampled_from([*"\x1c\x1d\x1e\x1f\x85\u2028\u2029\ufeff\u200bΣσςİ\ufffd", "ΑΣ", "<br"])


@settings(max_examples=100)
@given(st.lists(st.one_of(RULES, ODD, st.characters(codec="utf-8")), max_size=12).map("".join))
def test_the_tokenizer_is_torchtexts(text: str) -> None:
    assert basic_english(text) == torchtext_basic_english(text)


@given(MIXED)
def test_the_tokenizer_of_characters_is_the_packages(texts: list[str | None]) -> None:
    expected = tokenize(texts, Tokenizer(config("basic"))).to_lists()
    assert [basic(text or "") for text in texts] == expected


def test_the_tokenizer_is_torchtexts_for_every_space_and_case() -> None:
    for c in map(chr, range(sys.maxunicode + 1)):
        if c.isspace() or c.lower() != c:
            text = f"a{c}B {c} Σ{c} {c}Σ.<br{c}/>{c}'{c}"
            assert basic_english(text) == torchtext_basic_english(text)


@pytest.mark.parametrize("name", ["basic_english", "basic", "split", "bpe", "wordpiece"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_tokens": 3},
        {"ngrams": 3},
        {"ngrams": 2, "min_freq": 4},
        {"ngrams": 3, "buckets": 11},
        {"ngrams": 2, "buckets": 5000, "max_tokens": 4},
    ],
    ids=str,
)
def test_every_tokenizer_and_ngram(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    parts = make_parts("mean+max", name, **options)
    classifier, predictor = Classifier(parts), predictor_of(parts, tmp_path / "folder")
    found = predictor.predict_proba(TEXTS)
    np.testing.assert_allclose(found, classifier.predict_proba(TEXTS), atol=1e-5)
    assert predictor.predict(TEXTS) == classifier.predict(TEXTS)
    assert predictor.label_names == list(classifier.label_names)
    assert predictor.predict_proba([]).shape == (0, 3)
    # The folder is one that textcls reads as well.
    np.testing.assert_array_equal(
        Classifier(load_model(tmp_path / "folder")).predict_proba(TEXTS),
        classifier.predict_proba(TEXTS),
    )


def spaced_tokenizer(folder: Path, words: list[str]) -> str:
    """Write a tokenizer.json that splits at "|" alone, so that words may hold spaces."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split("|", "removed")
    tokenizer.enable_truncation(2)
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder / "tokenizer.json")


WORDS = ["<unk>", "<pad>", "a", "b", "c", "a b", "b c", " ", "a ", "d"]


@pytest.fixture(scope="module")
def spaced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Classifier, Predictor]:
    folder = tmp_path_factory.mktemp("spaced")
    options = {"ngrams": 3, "file": spaced_tokenizer(folder, WORDS)}
    tokenizer = Tokenizer(config("file", **options))
    names = [UNKNOWN, PADDING, "a", "b", "a b", "b c", "a b c", "a  ", "a  b", " a", "c a", "a b b"]
    parts = with_model(TextEncoder(tokenizer, Vocabulary(names, [0] * len(names))))
    return Classifier(parts), predictor_of(parts, folder / "model")


@settings(max_examples=100)
@given(texts=st.lists(st.lists(st.sampled_from(WORDS), max_size=9), min_size=1, max_size=4))
def test_words_with_spaces_are_part_of_no_ngram(
    spaced: tuple[Classifier, Predictor], texts: list[list[str]]
) -> None:
    classifier, predictor = spaced
    joined = ["|".join(text) for text in texts]
    bags = classifier.bags(joined)
    expected = [
        [i for i in bags.indices[a:b].tolist() if i != 1] for a, b in pairwise(bags.offsets)
    ]
    found = predictor._encode(predictor.split(joined))
    assert [ids.tolist() for ids, _ in found] == expected


@pytest.mark.parametrize("mode", ["mean", "sqrtn", "weighted_sum", "sum+max"])
@pytest.mark.parametrize("options", [
    {"counts": "log", "token_weights": "idf", "ngrams": 2, "ngram_weight": 0.5},
    {"counts": "count", "token_weights": "bm25", "char_ngrams": (2, 4), "ngrams": 2,
     "char_token_weights": "idf"},
    {"char_ngrams": (2, 3), "char_buckets": 40, "char_weight": 2.0, "min_freq": 4},
    {"counts": "binary", "ngrams": 2, "buckets": 90, "ngram_weight": 0.5, "char_ngrams": (1, 3)},
])  # fmt: skip
def test_the_numpy_folder_encodes_as_the_classifier(
    mode: Mode, options: dict[str, Any], tmp_path: Path
) -> None:
    parts = make_parts(mode, name="basic", **options)
    more = ["good goodness goodness", "日本の film unheard", "x", "zoods ж 日本語"]
    texts = next(numpy_predictor.blocks_of([*TEXTS, *more]))
    predictor = predictor_of(parts, tmp_path / "folder")
    classifier = Classifier(parts)
    bags = classifier.bags(texts)
    assert bags.weights is not None
    for i, (ids, weights) in enumerate(predictor._encode(predictor.split(texts))):
        own = bags.slice(i, i + 1)
        assert own.weights is not None
        expected = sorted(zip(own.indices.tolist(), own.weights.tolist(), strict=True))
        found = sorted(zip(ids.tolist(), weights.tolist(), strict=True))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    probabilities = predictor.predict_proba(texts)
    np.testing.assert_allclose(probabilities, classifier.predict_proba(texts), atol=1e-5)


def quantized_parts(kind: str, mode: Mode = "mean") -> ModelParts:
    """Return a model whose stored table is quantized, and most of whose buckets are pruned."""
    parts = make_parts(mode, ngrams=2, buckets=300)
    old = parts.model
    kept = np.arange(1, 300, 3, dtype=np.int32)
    rows = len(parts.encoder.vocabulary) + len(kept)
    generator = torch.Generator().manual_seed(1)
    tensors = {
        "float": {"embedding.weight": torch.randn(rows, 8, generator=generator)},
        "int8": {
            "embedding.int8": torch.randint(
                -127, 128, (rows, 8), dtype=torch.int8, generator=generator
            ),
            "embedding.scale": torch.rand(8, generator=generator) / 200,
        },
        "codes": {
            "embedding.codes": torch.randint(
                0, 256, (rows, 4), dtype=torch.uint8, generator=generator
            ),
            "embedding.codebooks": torch.randn(4, 256, 2, generator=generator),
        },
    }[kind]
    model = EmbeddingBagClassifier(rows, 8, 3, mode, padding_id=1)
    model.linear = old.linear
    model.requires_grad_(False).eval()
    model.embedding.weight.copy_(dequantize(tensors))
    if model.embedding.weighing is not None:
        nn.init.normal_(model.embedding.weighing)
    return dataclasses.replace(
        parts,
        model=model,
        encoder=dataclasses.replace(parts.encoder, kept_buckets=kept),
        quantized=None if kind == "float" else tensors,
    )


@pytest.mark.parametrize("kind", ["float", "int8", "codes"])
@pytest.mark.parametrize("mode", ["mean", "weighted_sum"])
def test_small_models_are_read(kind: str, mode: Mode, tmp_path: Path) -> None:
    parts = quantized_parts(kind, mode)
    classifier, predictor = Classifier(parts), predictor_of(parts, tmp_path / "folder")
    stored = numpy_predictor.read_safetensors(tmp_path / "folder" / "model.safetensors")
    assert ("embedding.weight" in stored) == (kind == "float")
    expected = classifier.predict_proba(TEXTS)
    np.testing.assert_allclose(predictor.predict_proba(TEXTS), expected, atol=1e-5)
    bags = classifier.bags(TEXTS)
    found = run_onnx(onnx_session(parts, tmp_path / "m.onnx"), bags.indices, bags.offsets)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_blocks_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = predictor_of(make_parts("mean+max", ngrams=2), tmp_path / "folder")
    texts = [text for text in TEXTS for _ in range(3)]
    whole = predictor.predict_proba(texts)
    monkeypatch.setattr(numpy_predictor, "BLOCK_TEXTS", 7)
    monkeypatch.setattr(numpy_predictor, "BLOCK_CHARACTERS", 30)
    blocks = [*numpy_predictor.blocks_of(iter(texts))]
    assert len(blocks) > 10
    assert all(len(block) <= 7 for block in blocks)
    assert all(len("".join(block)) <= 30 or len(block) == 1 for block in blocks)
    np.testing.assert_array_equal(predictor.predict_proba(iter(texts)), whole)
    with pytest.raises(TypeError, match="texts are a list"):
        predictor.predict("one text")


# What is not there where only Python and NumPy are.
GUARD = """
import runpy, sys
for name in ("torch", "textcls", "pyarrow", "safetensors", "tokenizers", "xxhash", "pandas"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_predict(*arguments: str | Path, texts: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-I", "-c", GUARD, *map(str, arguments)],
        input=texts,
        capture_output=True,
        check=False,
        timeout=120,
    )


def test_the_script_needs_numpy_alone(tmp_path: Path) -> None:
    parts = make_parts("mean+sum+max", ngrams=2)
    export_numpy(parts, tmp_path / "folder")
    script = tmp_path / "folder" / "predict.py"
    texts = "What a good film!\r\n\nça\u2028🎄\x0c a bad film\n".encode() + b"a bad\xff film"
    result = run_predict(script, texts=texts)
    assert result.returncode == 0, result.stderr
    expected = Classifier(parts).predict_proba(
        ["What a good film!", "", "ça\u2028🎄\x0c a bad film", "a bad\ufffd film"]
    )
    lines = result.stdout.decode().split("\n")
    assert lines.pop() == ""
    assert len(lines) == len(expected)
    for line, row in zip(lines, expected, strict=True):
        label, probability = line.split("\t")
        assert label == LABELS[row.argmax()]
        assert float(probability) == pytest.approx(row.max(), abs=1e-5)
    # The folder may be another's.
    elsewhere = script.rename(tmp_path / "predict.py")
    assert run_predict(elsewhere, tmp_path / "folder", texts=texts).stdout == result.stdout
    missing = run_predict(elsewhere, tmp_path)
    assert (missing.returncode, missing.stdout) == (1, b"")
    assert b"config.json" in missing.stderr
    assert missing.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("package", "options"),
    [("tokenizers", {"name": "bpe"}), ("xxhash", {"ngrams": 2, "buckets": 9})],
)
def test_a_missing_package_is_named(
    package: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_numpy(make_parts(**options), tmp_path / "folder")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"pip install {package}"):
        Predictor(tmp_path / "folder")


def test_a_folder_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    export_numpy(make_parts(), tmp_path / "folder")
    path = tmp_path / "folder" / "config.json"
    path.write_text(path.read_text().replace('"format": ', '"format": 9'))
    with pytest.raises(ValueError, match="written by a newer textcls"):
        Predictor(tmp_path / "folder")


def test_tokenizers_of_other_packages_are_refused(tmp_path: Path) -> None:
    parts = make_parts()
    parts.encoder.tokenizer.config = config("toktok")
    with pytest.raises(InputError, match=r"tokenizer.name=toktok: .*export to ONNX") as caught:
        export_numpy(parts, tmp_path / "folder")
    assert "\n" not in str(caught.value)
    assert not [*tmp_path.iterdir()]


def test_the_script_is_for_older_pythons_too() -> None:
    ast.parse(Path(numpy_predictor.__file__).read_text(encoding="utf-8"), feature_version=(3, 9))


def test_exports_agree_on_real_text(tmp_path: Path) -> None:
    texts = pq.read_table(shared("imdb/test.parquet"))["text"].slice(0, 2000)
    tokenizer = Tokenizer(config(ngrams=2, min_freq=5))
    parts = with_model(TextEncoder.learn(tokenizer, tokenizer(texts)), "mean+max", 16)
    classifier = Classifier(parts)
    expected = classifier.predict_proba(texts.to_pylist())
    found = predictor_of(parts, tmp_path / "folder").predict_proba(texts.to_pylist())
    np.testing.assert_allclose(found, expected, atol=1e-5)
    bags = classifier.bags(texts.to_pylist())
    found = run_onnx(onnx_session(parts, tmp_path / "m.onnx"), bags.indices, bags.offsets)
    np.testing.assert_allclose(found, expected, atol=1e-5)
