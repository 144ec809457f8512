"""fastText's Python interface: the same tests for fastText's package and for textcls.fasttext."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import textcls.fasttext
from tests.test_fasttext import LABELS, LINES, MODELS, fasttext, texts, train
from textcls.errors import InputError
from textcls.fasttext_models.format import read_model_file
from textcls.fasttext_models.quantising import pruned
from textcls.fasttext_models.writing import write_model_file

both = pytest.mark.parametrize("module", [fasttext, textcls.fasttext], ids=["fasttext", "textcls"])
DENSE = [kind for kind, (*_, quantised) in MODELS.items() if quantised is None]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("models")
    made: dict[str, Path] = {}

    def path_of(kind: str) -> Path:
        if kind not in made:
            (folder / str(len(made))).mkdir()
            made[kind] = train(folder / str(len(made)), kind)
        return made[kind]

    return path_of


@pytest.fixture(scope="module")
def small(trained: Callable[[str], Path]) -> Path:
    return trained("softmax, characters")


def test_every_public_name_is_there(small: Path) -> None:
    theirs = {name for name in dir(fasttext) if not name.startswith("_")}
    futures = {"absolute_import", "division", "print_function", "unicode_literals"}
    assert theirs - futures <= set(dir(textcls.fasttext))
    pairs: list[tuple[Any, Any]] = [
        (fasttext.load_model(str(small)), textcls.fasttext.load_model(small))
    ]
    source = str(small.parent / "train.txt")
    pairs += [(pairs[0][0].get_meter(source), pairs[0][1].get_meter(source))]
    for one, other in pairs:
        assert {name for name in dir(one) if not name.startswith("_")} - {"f", "m"} <= {*dir(other)}


@both
@pytest.mark.parametrize("name", ["cbow", "skipgram", "supervised"])
def test_what_fasttext_refuses_is_refused(module: Any, name: str) -> None:
    with pytest.raises(Exception, match=f"{name}. is not supported|{name} is not supported"):
        getattr(module, name)("train.txt", dim=10)


def test_vectors_of_words_are_not_trained() -> None:
    with pytest.raises(ValueError, match="train_unsupervised: vectors of words"):
        textcls.fasttext.train_unsupervised("train.txt", model="cbow")


def test_settings_of_a_training_are_attributes(small: Path) -> None:
    model = textcls.fasttext.load_model(small)
    model.set_args()
    assert (model.wordNgrams, model.bucket, hasattr(model, "lr")) == (3, 2_000, False)
    model.set_args(SimpleNamespace(lr=0.5, thread=2))
    assert (model.lr, model.thread) == (0.5, 2)


# --- quantisation ------------------------------------------------------------------------------

WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "norms": {"qnorm": True},
    "cutoff": {"cutoff": 300, "qnorm": True},
    "words alone": {"cutoff": 256},
    "parts": {"dsub": 3},
    "wide parts": {"dsub": 100},
}


@both
@pytest.mark.parametrize("way", WAYS)
def test_models_are_quantised(module: Any, way: str, small: Path, tmp_path: Path) -> None:
    model = module.load_model(str(small))
    before = model.predict([*texts(200, 3)])[0]
    matrix, size = model.get_input_matrix(), small.stat().st_size
    assert model.quantize(str(small.parent / "train.txt"), **WAYS[way]) is None
    assert model.is_quantized()
    with pytest.raises(ValueError, match="quantized Matrix"):
        model.get_input_matrix()
    with pytest.raises(ValueError, match="already quantized"):
        model.quantize()
    cutoff = WAYS[way].get("cutoff")
    if not cutoff:
        rows = np.array([model.get_input_vector(row) for row in range(len(matrix))])
        error = np.square(rows - matrix).sum() / np.square(matrix).sum()
        assert error < {"plain": 0.02, "norms": 0.01, "parts": 0.1, "wide parts": 0.7}[way]
        found = model.predict([*texts(200, 3)])[0]
        agree = np.mean([one == other for one, other in zip(before, found, strict=True)])
        assert agree > (0.5 if way == "wide parts" else 0.85)
    else:
        assert "</s>" in model
        assert len(model.words) <= cutoff
    path = tmp_path / "model.ftz"
    model.save_model(str(path))
    assert path.stat().st_size < size / 2
    # Each reads what the other has written, and predicts the same.
    lines = [*LINES, *texts(200, 4)]
    names, values = model.predict(lines, k=3)
    for reader in (fasttext, textcls.fasttext):
        again = reader.load_model(str(path))
        assert again.is_quantized()
        assert again.words == model.get_words()
        found, probabilities = again.predict(lines, k=3)
        assert found == names
        for one, other in zip(probabilities, values, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", DENSE)
def test_models_of_every_loss_are_read_by_fasttext(
    kind: str, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    model = textcls.fasttext.load_model(trained(kind))
    model.quantize(cutoff=0 if "softmax" in kind else 400, qnorm=kind != "hs")
    model.save_model(tmp_path / "model.ftz")
    theirs = fasttext.load_model(str(tmp_path / "model.ftz"))
    lines = [*LINES, *texts(200, 5)]
    (names, values), (own_names, own_values) = (one.predict(lines, k=-1) for one in (theirs, model))
    table = MODELS[kind][0] in ("ova", "ns")  # see test_fasttext.py
    for pairs in zip(names, values, own_names, own_values, strict=True):
        theirs_of, ours_of = (dict(zip(pairs[at], pairs[at + 1], strict=True)) for at in (0, 2))
        assert theirs_of == pytest.approx(ours_of, abs=0.01 if table else 1e-5)
        if not table:
            assert pairs[0] == pairs[2]


def test_an_output_of_many_labels_is_quantised(tmp_path: Path) -> None:
    with (tmp_path / "train.txt").open("w") as file:
        for number, text in enumerate(texts(600, 1)):
            file.write(f"__label__{number % 300} {text}\n")
    path = tmp_path / "model.bin"
    fasttext.train_supervised(
        str(tmp_path / "train.txt"), dim=7, epoch=5, lr=1.0, thread=1, verbose=0
    ).save_model(str(path))
    lines = [*texts(200, 6)]
    for module in (fasttext, textcls.fasttext):
        model = module.load_model(str(path))
        model.quantize(qout=True, qnorm=True)
        model.save_model(str(tmp_path / "model.ftz"))
        names, values = model.predict(lines, k=3)
        for reader in (fasttext, textcls.fasttext):
            found, probabilities = reader.load_model(str(tmp_path / "model.ftz")).predict(lines, 3)
            assert found == names
            np.testing.assert_allclose(np.ravel(probabilities), np.ravel(values), atol=1e-5)


@both
@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"cutoff": 100}, "at least 256 rows"),
        ({"qout": True}, "at least 256 rows"),
        ({"retrain": True}, "Need input file path if retraining"),
    ],
)
def test_what_cannot_be_quantised(
    module: Any, settings: dict[str, Any], reason: str, small: Path
) -> None:
    with pytest.raises(ValueError, match=reason):
        module.load_model(str(small)).quantize(**settings)


def test_a_refused_quantisation_changes_nothing(small: Path, tmp_path: Path) -> None:
    model = textcls.fasttext.load_model(small)
    for settings in (
        {"qout": True}, {"cutoff": 20}, {"dsub": 0}, {"retrain": True, "input": "nowhere"}
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"qout|cutoff|dsub|nowhere") as caught:
            model.quantize(**settings)
        assert "\n" not in str(caught.value)
    assert not model.is_quantized()
    model.save_model(tmp_path / "model.bin")
    assert (tmp_path / "model.bin").read_bytes() == small.read_bytes()


def test_numbers_that_are_not_finite_are_refused(small: Path) -> None:
    model = textcls.fasttext.load_model(small)
    matrix = model.get_input_matrix()
    matrix[7, 3] = np.nan
    model.set_matrices(matrix, model.get_output_matrix())
    for cutoff in (0, 300):
        with pytest.raises(ValueError, match="not finite"):
            model.quantize(cutoff=cutoff)


def test_the_same_model_is_quantised_the_same(small: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        model = textcls.fasttext.load_model(small)
        model.quantize(cutoff=700, qnorm=True)
        model.save_model(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_rows_of_largest_norm_are_kept(small: Path) -> None:
    file = read_model_file(small)
    kept = pruned(file, 500)
    everything = file.input.rows(np.arange(file.input.shape[0]))
    norms = np.linalg.norm(everything, axis=1)
    norms[file.words.index(b"</s>")] = np.inf
    chosen = set(np.argsort(-norms)[:500].tolist())
    assert kept.kept_buckets is not None
    rows = [file.words.index(word) for word in kept.words]
    rows += (kept.kept_buckets + len(file.words)).tolist()
    assert set(rows) == chosen
    np.testing.assert_array_equal(kept.input.rows(np.arange(500)), everything[rows])
    with pytest.raises(ValueError, match="pruned buckets"):
        write_model_file(kept, small.parent / "no.bin")
    assert not (small.parent / "no.bin").exists()


# --- writing -----------------------------------------------------------------------------------


@both
def test_a_model_is_saved_over_its_own_file(module: Any, small: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(small.read_bytes())
    model = module.load_model(str(path))
    expected = model.predict([*texts(50, 7)], k=2)
    model.save_model(str(path))
    assert path.read_bytes() == small.read_bytes()
    model.quantize()
    model.save_model(str(path))
    assert module.load_model(str(path)).is_quantized()
    model = module.load_model(str(small))
    found = model.predict([*texts(50, 7)], k=2)
    assert found[0] == expected[0]


def test_quantised_files_are_written_as_they_were_read(
    trained: Callable[[str], Path], tmp_path: Path
) -> None:
    for kind in ("softmax, quantised", "ns, quantised", "ova, pruned"):
        path = trained(kind)
        textcls.fasttext.load_model(path).save_model(tmp_path / "again.ftz")
        assert len(path.read_bytes()) == (tmp_path / "again.ftz").stat().st_size
        if kind != "ova, pruned":  # fastText writes the pairs of buckets in no order
            assert path.read_bytes() == (tmp_path / "again.ftz").read_bytes()


def test_models_in_memory_are_pickled(small: Path) -> None:
    model = textcls.fasttext.load_model(small)
    model.quantize(cutoff=300)
    again = pickle.loads(pickle.dumps(model))
    assert again.is_quantized()
    assert again.get_nearest_neighbors("word1") == model.get_nearest_neighbors("word1")
    np.testing.assert_array_equal(again.predict([*LINES])[1], model.predict([*LINES])[1])


@both
def test_matrices_are_replaced(module: Any, small: Path, tmp_path: Path) -> None:
    model = module.load_model(str(small))
    source, output = model.get_input_matrix()[:, :3], model.get_output_matrix()[:, :3]
    model.set_matrices(source.astype(np.float64), output)
    assert model.get_dimension() == 3
    np.testing.assert_array_equal(model.get_input_matrix(), source)
    mean = np.mean([source[row] for row in model.get_subwords("word1")[1]], 0)
    vector = model.get_word_vector("word1")
    np.testing.assert_allclose(vector / np.linalg.norm(vector), mean / np.linalg.norm(mean), 1e-4)
    model.save_model(str(tmp_path / "model.bin"))
    for reader in (fasttext, textcls.fasttext):
        again = reader.load_model(str(tmp_path / "model.bin"))
        assert again.predict("word1 x2") == model.predict("word1 x2")


def test_matrices_of_a_pruned_model_are_replaced(
    trained: Callable[[str], Path], tmp_path: Path
) -> None:
    model = textcls.fasttext.load_model(trained("hs, pruned"))
    lines = [*texts(50, 8)]
    names, values = model.predict(lines)
    rows = [model.get_input_vector(row) for row in range(600)]
    own = model._model.file.output
    model.set_matrices(np.array(rows), own.rows(np.arange(own.shape[0])))
    assert not model.is_quantized()
    assert model.predict(lines)[0] == names
    np.testing.assert_allclose(model.predict(lines)[1], values, atol=1e-6)
    with pytest.raises(ValueError, match="already pruned"):
        model.quantize(cutoff=300)
    with pytest.raises(ValueError, match="pruned buckets"):
        model.save_model(tmp_path / "model.bin")
    model.quantize()
    model.save_model(tmp_path / "model.ftz")
    names, values = fasttext.load_model(str(tmp_path / "model.ftz")).predict(lines)
    assert model.predict(lines)[0] == names
    np.testing.assert_allclose(model.predict(lines)[1], values, atol=1e-5)


def test_matrices_of_other_shapes_are_refused(small: Path) -> None:
    model = textcls.fasttext.load_model(small)
    source, output = model.get_input_matrix(), model.get_output_matrix()
    for pair in ((source[1:], output), (source, output[:, :2]), (source[:, :0], output[:, :0])):
        with pytest.raises(ValueError, match="matrices of shapes"):
            model.set_matrices(*pair)
    with pytest.raises(ValueError, match="matrices of shapes"):
        model.set_matrices(source[0], output)


# --- words -------------------------------------------------------------------------------------


@both
def test_words_are_near_to_words(module: Any, small: Path) -> None:
    model = module.load_model(str(small))
    units = np.array([model.get_word_vector(word) for word in model.words])
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    for word in ("word1", "wordly", "你好7"):
        query = model.get_word_vector(word)
        cosines = units @ (query / np.linalg.norm(query))
        expected = sorted(
            ((cosine, name) for cosine, name in zip(cosines, model.words, strict=True)),
            reverse=True,
        )
        expected = [pair for pair in expected if pair[1] != word][:5]
        found = model.get_nearest_neighbors(word, k=5)
        assert [name for _, name in found] == [name for _, name in expected]
        assert [value for value, _ in found] == pytest.approx(
            [one for one, _ in expected], abs=1e-5
        )
    assert len(model.get_nearest_neighbors("word1")) == 10
    assert len(model.get_nearest_neighbors("word1", k=10_000)) == len(model.words) - 1


def test_analogies_are_fasttexts(trained: Callable[[str], Path]) -> None:
    for kind in ("softmax, characters", "hs, pruned"):
        path = trained(kind)
        theirs, ours = fasttext.load_model(str(path)), textcls.fasttext.load_model(path)
        for words in (("word1", "word2", "x3"), ("unheard-of", "x1", "x1"), ("a", "b", "你好1")):
            expected, found = (one.get_analogies(*words, k=7) for one in (theirs, ours))
            assert [name for _, name in found] == [name for _, name in expected]
            values = [value for value, _ in expected]
            assert [value for value, _ in found] == pytest.approx(values, abs=1e-4)
    for k in (0, -2):
        with pytest.raises(ValueError, match="k needs to be 1 or higher"):
            ours.get_analogies("a", "b", "c", k=k)


@both
def test_lines_are_words_and_labels(module: Any, small: Path) -> None:
    model = module.load_model(str(small))
    assert model.get_line("__label__bad x1 __label__none") == (["x1", "</s>"], ["__label__bad"])
    many = model.get_line(["__label__good a", "", "b"])
    assert many == ([["a", "</s>"], ["</s>"], ["b", "</s>"]], [["__label__good"], [], []])


# --- the meter ---------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("k", [-1, 2])
def test_a_meter_counts(module: Any, k: int, small: Path) -> None:
    source = small.parent / "train.txt"
    model = module.load_model(str(small))
    meter = model.get_meter(str(source), k=k)
    scores, is_true = meter.score_vs_true("__label__good")
    assert (
        len(scores) == len(is_true) == (400 if k == -1 else (scores > 0).sum() + (scores < 0).sum())
    )
    assert (np.diff(scores) >= 0).all()
    lines = source.read_text(encoding="utf-8").splitlines()
    assert is_true.sum() == sum(line.startswith("__label__good") for line in lines)
    assert set(is_true[scores < 0]) <= {1.0}
    for label in (None, "__label__deep"):
        precision, recall = meter.precision_recall_curve(label)
        assert (precision[-1], recall[-1]) == (1, 0)
        assert (np.diff(recall[:-1]) >= 0).all()
        for value in (0.1, 0.5, 0.9):
            best = max(
                [one for one, at in zip(precision, recall, strict=True) if at >= value] or [0]
            )
            assert meter.precision_at_recall(value, label) == pytest.approx(best)
            best = max([at for one, at in zip(precision, recall, strict=True) if one >= value])
            assert meter.recall_at_precision(value, label=label) == pytest.approx(best)


def test_curves_are_fasttexts(small: Path, trained: Callable[[str], Path]) -> None:
    source = str(small.parent / "train.txt")
    for kind in ("softmax, characters", "ova", "hs, pruned"):
        path = trained(kind)
        pair = fasttext.load_model(str(path)), textcls.fasttext.load_model(path)
        for k in (-1, 1):
            theirs, ours = (one.get_meter(source, k) for one in pair)
            for label in (None, *(f"__label__{one}" for one in LABELS)):
                for value in (0.05, 0.3, 0.7):
                    expected = theirs.precision_at_recall(value, label)
                    assert ours.precision_at_recall(value, label) == pytest.approx(
                        expected, abs=0.02
                    )
                    expected = theirs.recall_at_precision(value, label)
                    assert ours.recall_at_precision(value, label) == pytest.approx(
                        expected, abs=0.02
                    )
                if label:
                    expected, found = (one.score_vs_true(label) for one in (theirs, ours))
                    np.testing.assert_allclose(found[0], expected[0], atol=0.01)
                    assert found[1].sum() == expected[1].sum()
    with pytest.raises(ValueError, match="no label '__label__none'"):
        ours.score_vs_true("__label__none")


@both
def test_texts_without_a_row_are_not_counted(module: Any, tmp_path: Path) -> None:
    """A model that knows one word, and not even the end of a line."""
    source, path = tmp_path / "train.txt", tmp_path / "model.bin"
    source.write_text("".join(f"__label__{one} {'x ' * 50}\n" for one in LABELS))
    fasttext.train_supervised(
        str(source), dim=4, minCount=100, epoch=1, thread=1, verbose=0
    ).save_model(str(path))
    source.write_text("__label__good x\n__label__good y\n__label__none x\n__label__bad x y")
    model = module.load_model(str(path))
    assert model.words == ["x"]
    assert model.test(str(source))[0] == 2
    assert len(model.get_meter(str(source)).score_vs_true("__label__good")[0]) == 2
