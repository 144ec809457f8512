"""The data sets and the systems that are compared on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataSet:
    """A data set with one label per text.

    Attributes:
        title: its name in the tables.
        train, test: file names below its folder.
        validation: the same; None: textcls cuts a tenth of train by label, for all systems.
        spaced: whether words are separated by blanks.
        large: whether peers are tuned on fewer settings, since each takes minutes.
    """

    title: str
    train: str
    test: str
    validation: str | None = None
    spaced: bool = True
    large: bool = False

    def files(self, folder: Path) -> dict[str, str]:
        """Return the path of each split that has a file."""
        names = {"train": self.train, "validation": self.validation, "test": self.test}
        return {split: str(folder / name) for split, name in names.items() if name}


# In the order in which they are measured: small ones first. SST-2's own test labels are withheld:
# its validation split is the usual test split.
DATA_SETS = {
    "cr": DataSet("Customer reviews", "train.csv", "test.csv"),
    "emotion": DataSet("TweetEval emotion", "train.csv", "test.csv"),
    "trec": DataSet("TREC", "train.csv", "test.csv"),
    "sms_spam": DataSet("SMS spam", "train.csv", "test.csv"),
    "jrte_pn": DataSet(
        "Hotel reviews (ja)", "train.csv", "test.csv", "validation.csv", spaced=False
    ),
    "germeval2018_coarse": DataSet("GermEval 2018 (de)", "train.tsv", "test.tsv"),
    "chn_hotel": DataSet("Hotel reviews (zh)", "train.parquet", "test.parquet", spaced=False),
    "r52": DataSet("R52", "train.csv", "test.csv"),
    "banking77": DataSet("Banking77", "train.csv", "test.csv"),
    "wisesight": DataSet("Wisesight (th)", "train.parquet", "test.parquet", spaced=False),
    "langid_django": DataSet("78 locales", "train.tsv", "test.tsv", large=True),
    "sst2": DataSet("SST-2", "train.tsv", "validation.tsv"),
    "tweet_emoji": DataSet(
        "TweetEval emoji", "train.jsonl", "test.jsonl", "validation.jsonl", large=True
    ),
    "ag_news": DataSet("AG News (51 %)", "train.parquet", "test.parquet", large=True),
    "20newsgroups": DataSet("20 Newsgroups", "train.parquet", "test.parquet", large=True),
    "imdb": DataSet("IMDb", "train.parquet", "test.parquet", large=True),
}
# Where nothing else is found: the project's demo corpora.
DEMO_SETS = {
    "reviews": DataSet("Demo reviews", "train.csv", "test.csv"),
    "headlines": DataSet("Demo headlines", "train.csv", "test.csv"),
}
MULTI_LABEL = ("cooking", "goemotions", "semeval2018_ec")


@dataclass(frozen=True)
class System:
    """A row of the tables.

    Attributes:
        label: its name there.
        options: of ``train.py``; None: a peer, in ``benchmarks/accuracy/peers.py``.
        needs: the module without which it is left out.
        seeded: whether a seed changes anything; else it is run once.
        features: peers of one set of features are fitted in one process, which makes them once.
    """

    label: str
    options: tuple[str, ...] | None = None
    needs: str = "sklearn"
    seeded: bool = False
    features: str = ""


def _textcls(label: str, *options: str) -> System:
    return System(label, options, needs="textcls", seeded=True)


SYSTEMS = {
    "textcls": _textcls("textcls"),
    "textcls-ensemble": _textcls("textcls, 5 seeds in one", "trainer.ensemble=5"),
    "textcls-tune": _textcls("textcls, 60 s of search", "tune=default", "tune.seconds=60"),
    "textcls-quick": _textcls("textcls quick", "experiment=quick"),
    "tfidf-lr": System("TF-IDF(1) + LR", features="words"),
    "tfidf2-svc": System("TF-IDF(1,2) + SVC", features="words 1-2"),
    "nb-svm": System("NB-SVM(1,2)", features="binary 1-2"),
    "nb-lr": System("NB-LR(1,2)", features="binary 1-2"),
    "vectors-lr": System("static vectors + LR", needs="wordllama", features="vectors"),
    "fasttext": System("fastText", needs="fasttext", seeded=True, features="fastText"),
    "char-lr": System("TF-IDF(1,2; char 2-5) + LR", features="words and characters"),
    "char-svc": System("TF-IDF(1,2; char 2-5) + SVC", features="words and characters"),
}
