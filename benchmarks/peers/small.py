"""Small models: textcls's compression, and fastText's ``quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.corpora import read
from benchmarks.peers import scores, timed
from benchmarks.peers.fast_text import ACCURACY_THREADS, EPOCHS, train_file, training_settings

# fastText keeps the rows of the largest norms, as many as it is told: so many bytes are about one.
# A number that comes out too large is lowered, and all is done again, at most so often.
BYTES_PER_ROW = 70
ATTEMPTS = 5


def ours(run: str, test: str, work: str, budgets: list[int]) -> dict[str, Any]:
    """Compress a finished run; its own validation split is all that the choice sees."""
    from textcls import Classifier
    from textcls.data.sharded import in_memory
    from textcls.model.compress import shrink
    from textcls.model.folder import load_model, save_model
    from textcls.run_corpus import validation_split

    texts, labels = read(test)
    parts = load_model(Path(run))
    bags = in_memory(validation_split(Path(run)))
    before = {"bytes": _size(Path(run) / "model")} | scores(
        labels, Classifier.load(run).predict(texts)
    )
    after = {}
    for budget in budgets:
        folder = Path(work) / str(budget)
        times: dict[str, Any] = {}
        with timed(times, "compress_seconds"):
            small = shrink(parts, bags, max_bytes=budget)
            save_model(small.parts, folder)
        chosen = {"rows": small.chosen.rows, "kind": small.chosen.kind}
        found = scores(labels, Classifier.load(folder).predict(texts))
        after[str(budget)] = times | {"bytes": _size(folder)} | chosen | found
    return {"before": before, "after": after}


def fasttext(
    train: str, test: str, work: str, ngrams: int, lr: float, seed: int, budget: int
) -> dict[str, Any]:
    """Train, quantize with retraining and normed rows, as fastText.zip's authors advise."""
    import fasttext
    from torchtext.data.utils import get_tokenizer

    tokenize = get_tokenizer("basic_english")
    file, names = train_file(train, Path(work), tokenize)
    whole, small = Path(work) / "model.bin", Path(work) / "model.ftz"
    texts, test_labels = read(test)
    rows = [" ".join(tokenize(text)) for text in texts]
    true = [names.get(label, -1) for label in test_labels]

    def judge(model: Any) -> dict[str, float]:
        predicted, _ = model.predict(rows)
        return scores(true, [int(found[0].removeprefix("__label__")) for found in predicted])

    model = fasttext.train_supervised(
        str(file), **training_settings(ngrams, seed), lr=lr, epoch=EPOCHS, thread=ACCURACY_THREADS
    )
    model.save_model(str(whole))
    before = {"bytes": whole.stat().st_size} | judge(model)
    cutoff = budget // BYTES_PER_ROW
    for _ in range(ATTEMPTS):
        model = fasttext.load_model(str(whole))
        times: dict[str, Any] = {"cutoff": cutoff}
        with timed(times, "compress_seconds"):
            model.quantize(
                input=str(file), cutoff=cutoff, retrain=True, qnorm=True, epoch=EPOCHS, lr=lr,
                thread=ACCURACY_THREADS,
            )  # fmt: skip
            model.save_model(str(small))
        size = small.stat().st_size
        if size <= budget:
            break
        cutoff = int(cutoff * budget / size * 0.98)
    after = times | {"bytes": size} | judge(model)
    return {"before": before, "after": {str(budget): after}}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
