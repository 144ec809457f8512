"""What is compared: the rows of the tables and their settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# textcls with other than default settings, as options of train.py.
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
    "textcls": Peer("textcls", "textcls"),
    "textcls-quick": Peer("textcls quick", "textcls", QUICK),
    "textcls-one-epoch": Peer("textcls quick, one epoch", "textcls", ONE_EPOCH),
    "textcls-bigrams": Peer("textcls bigrams", "textcls", BIGRAMS),
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
