"""What is compared: the rows of the tables and their settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# textcls with other than default settings, as options of train.py. What is compared with loops over
# nn.EmbeddingBag and with fastText without n-grams has their features: words, all alike.
PLAIN = ["experiment=plain"]
QUICK = ["experiment=quick"]
ONE_EPOCH = [*QUICK, "trainer.epochs=1"]
BIGRAMS = ["tokenizer.ngrams=2", "tokenizer.min_freq=2"]
HASHED_BIGRAMS = ["tokenizer.ngrams=2", "tokenizer.buckets=2000000"]

# Seconds of both searches, textcls's and fastText's autotune, and the corpora that they are run on.
TUNE_SECONDS = 60
TUNE_CORPORA = ("imdb", "ag_news", "sst2", "reviews", "headlines")

# fastText's: the rate is chosen on a validation split, by corpus.
FASTTEXT_RATES = [0.1, 0.25, 0.5]
FASTTEXT_THREADS = 2

# Small models: textcls's within each of so many bytes, fastText's within the first alone: the
# codebooks of its 100 dimensions take more than the second. Its rates are those that validation
# chose in the part "corpora".
BUDGETS = [1_000_000, 100_000]
COMPRESS_RATES = {
    "imdb": {"fasttext": 0.25, "fasttext-bigrams": 0.5},
    "ag_news": {"fasttext": 0.1, "fasttext-bigrams": 0.25},
}
COMPRESSED = ("textcls", "textcls-bigrams", "fasttext", "fasttext-bigrams")


@dataclass(frozen=True)
class Peer:
    """A row of the tables.

    Attributes:
        label: its name there.
        kind: ``textcls``, ``plain``, ``torchtext``, ``fasttext`` or ``tfidf``: how it is run.
        options: of ``train.py``, or arguments of the function in ``benchmarks/peers``.
        needs: the module without which it is skipped.
        seeded: whether a seed changes anything; else it runs once.
    """

    label: str
    kind: str
    options: Any = field(default_factory=list)
    needs: str = "textcls"
    seeded: bool = True


PEERS = {
    "textcls": Peer("textcls plain", "textcls", PLAIN),
    "textcls-default": Peer("textcls", "textcls"),
    "textcls-quick": Peer("textcls quick", "textcls", QUICK),
    "textcls-one-epoch": Peer("textcls quick, one epoch", "textcls", ONE_EPOCH),
    "textcls-bigrams": Peer("textcls plain bigrams", "textcls", PLAIN + BIGRAMS),
    "textcls-quick-bigrams": Peer("textcls quick bigrams", "textcls", QUICK + BIGRAMS),
    "textcls-quick-hashed": Peer("textcls quick hashed bigrams", "textcls", QUICK + HASHED_BIGRAMS),
    "plain": Peer("plain EmbeddingBag", "plain"),
    "torchtext-style": Peer("torchtext style", "torchtext", needs="torchtext"),
    "fasttext": Peer("fastText", "fasttext", {"ngrams": 1}, "fasttext"),
    "fasttext-bigrams": Peer("fastText bigrams", "fasttext", {"ngrams": 2}, "fasttext"),
    "linear-svc": Peer(
        "TF-IDF + LinearSVC", "tfidf", {"classifier": "svc"}, "sklearn", seeded=False
    ),
    "logistic-regression": Peer(
        "TF-IDF + LogisticRegression", "tfidf", {"classifier": "logistic"}, "sklearn", seeded=False
    ),
}

# Text to bags: function of benchmarks/peers, arguments, label.
TOKENIZING: dict[str, tuple[str, dict[str, Any], str]] = {
    "textcls": ("ours.text_to_bags", {}, "textcls"),
    "textcls-one-core": ("ours.text_to_bags", {"cores": 1}, "textcls, one core"),
    "torchtext": ("tokenizing.torchtext", {}, "torchtext basic_english"),
    "hugging-face": ("tokenizing.hugging_face", {}, "Hugging Face tokenizers, all threads"),
}

# Models at work: function of benchmarks/peers, arguments, label.
SERVING: dict[str, tuple[str, dict[str, Any], str]] = {
    "textcls": ("serving.textcls", {}, "textcls"),
    "textcls-numpy": ("serving.numpy_predictor", {}, "textcls, exported to NumPy"),
    "fasttext": ("serving.fasttext", {"tokenizer": "basic_english"}, "fastText, basic_english"),
    "fasttext-split": ("serving.fasttext", {"tokenizer": "split"}, "fastText, split at spaces"),
    "tfidf": ("serving.tfidf", {}, "TF-IDF + LogisticRegression"),
}
# Rows that the command line labels: in constant memory, many take what few take.
SHORT_ROWS = (100_000, 1_000_000)
