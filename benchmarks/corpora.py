"""The corpora of the benchmark: where their files are and how the peers read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Corpus:
    """A labelled corpus with its canonical test split."""

    name: str
    title: str
    train: Path
    test: Path
    validation: Path | None = None

    def overrides(self) -> list[str]:
        """Return what names the corpus on the command line of ``train.py``."""
        files = {"train": self.train, "validation": self.validation, "test": self.test}
        return ["data=local", *(f"data.{split}={file}" for split, file in files.items() if file)]


# The first is the one that single figures (text to bags, size, prediction) are taken on.
# SST-2's own test labels are withheld: its validation split is the usual test split.
Files = tuple[str, str, str, str | None]  # title, train, test, validation
REAL: dict[str, Files] = {
    "imdb": ("IMDb", "train.parquet", "test.parquet", None),
    "ag_news": ("AG News (51 %)", "train.parquet", "test.parquet", None),
    "20newsgroups": ("20 Newsgroups", "train.parquet", "test.parquet", None),
    "sst2": ("SST-2", "train.tsv", "validation.tsv", None),
    "tweet_emoji": ("TweetEval emoji", "train.jsonl", "test.jsonl", "validation.jsonl"),
}
DEMO: dict[str, Files] = {
    "reviews": ("Demo reviews", "train.csv", "test.csv", None),
    "headlines": ("Demo headlines", "train.csv", "test.csv", None),
}
TITLES = {name: row[0] for name, row in (REAL | DEMO).items()}


def find(data: Path, known: dict[str, Files]) -> dict[str, Corpus]:
    """Return the known corpora whose files are below ``data``, by name."""
    found = {}
    for name, (title, train, test, validation) in known.items():
        folder = data / name
        if (folder / train).exists() and (folder / test).exists():
            held_out = folder / validation if validation else None
            found[name] = Corpus(name, title, folder / train, folder / test, held_out)
    return found


def read(path: str | Path) -> tuple[list[str], list[str]]:
    """Return the texts and labels of a file with the columns text and label."""
    # Not at the top: the process that measures must stay small (see measure.py).
    import pyarrow as pa
    from pyarrow import csv, json, parquet

    path = Path(path)
    strings = {"text": pa.string(), "label": pa.string()}
    if path.suffix == ".parquet":
        table = parquet.read_table(path)
    elif path.suffix == ".jsonl":
        table = json.read_json(
            path, parse_options=json.ParseOptions(explicit_schema=pa.schema(strings))
        )
    else:
        table = csv.read_csv(
            path,
            parse_options=csv.ParseOptions(
                delimiter="\t" if path.suffix == ".tsv" else ",", newlines_in_values=True
            ),
            convert_options=csv.ConvertOptions(column_types=strings),
        )
    return [text or "" for text in table["text"].to_pylist()], table["label"].to_pylist()
