"""A model says the same wherever it is asked: of all of IMDb's test split, and of odd rows."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import parquet

from tests.command import ODD, as_texts
from tests.conftest import make_config, shared
from textcls import Classifier, cli
from textcls.model.export import export_numpy, export_onnx
from textcls.run import start

pytestmark = pytest.mark.slow


def test_python_command_line_onnx_and_numpy_agree(
    tmp_path: Path, cache_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train, test = shared("imdb/train.parquet"), shared("imdb/test.parquet")
    config = make_config(
        "data=local", f"data.train={train}", f"data.test={test}", f"cache_dir={cache_dir}",
        "trainer.epochs=1",
    )  # fmt: skip
    start(config, tmp_path / "run")
    capfd.readouterr()

    reviews = parquet.read_table(test)["text"].cast(pa.large_string()).combine_chunks()
    texts = [*reviews.to_pylist(), *as_texts(ODD), None]
    classifier = Classifier.load(tmp_path / "run")
    expected = classifier.predict_proba(texts)
    assert expected.shape == (25_000 + len(ODD) + 1, 2)

    classifier.save_pretrained(tmp_path / "again")
    again = Classifier.load(tmp_path / "again").predict_proba(texts)
    np.testing.assert_array_equal(again, expected)

    # The odd rows go in as the bytes that they are.
    column = pa.concat_arrays(
        [pc.cast(reviews, pa.large_binary()), pa.array([*ODD, None], pa.large_binary())]
    )
    raw = pa.LargeStringArray.from_buffers(len(column), *column.buffers()[1:], column.buffers()[0])
    parquet.write_table(pa.table({"text": raw}), tmp_path / "texts.parquet")
    arguments = ["predict", str(tmp_path / "run"), str(tmp_path / "texts.parquet")]
    out = tmp_path / "predictions.parquet"
    assert cli.main([*arguments, "--probabilities", "--out", str(out)]) == 0
    table = parquet.read_table(out)
    assert table["label"].to_pylist() == classifier.predict(texts)
    columns = [table[f"p({name})"].to_numpy() for name in classifier.label_names]
    np.testing.assert_allclose(np.stack(columns, 1), expected, atol=1e-5)

    export_onnx(classifier.parts, tmp_path / "model.onnx")
    bags = classifier.bags(texts)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    inputs = {"indices": bags.indices.long().numpy(), "offsets": bags.offsets.numpy()}
    (by_onnx,) = session.run(["probabilities"], inputs)
    np.testing.assert_allclose(by_onnx, expected, atol=1e-5)

    export_numpy(classifier.parts, tmp_path / "numpy")
    spec = importlib.util.spec_from_file_location("predict", tmp_path / "numpy" / "predict.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    by_numpy = module.Predictor(tmp_path / "numpy").predict_proba(texts)
    np.testing.assert_allclose(by_numpy, expected, atol=1e-5)
