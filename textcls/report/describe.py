"""What is in a model folder: sizes, vocabulary, classes, settings, scores."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from safetensors import safe_open

from textcls.errors import InputError, first_line, visible
from textcls.fasttext_models.format import is_model_file, read_model_file
from textcls.fasttext_models.matrices import Quantised
from textcls.files import FINISHED
from textcls.model.folder import FILES, WEIGHTS, model_folder
from textcls.model.parts import ModelParts
from textcls.report.confusion import scores_in_words
from textcls.task.multi import EVEN, THRESHOLDS, MultiLabel
from textcls.task.names import HEADLINE, names_of

MAX_CLASSES = 40
FREQUENT_TOKENS = 12
# Of a run, those that are shown: where a text has one label, and where it may have several.


def describe(path: Path, parts: ModelParts) -> dict[str, Any]:
    """Return what ``textcls inspect`` shows, ready for JSON.

    Args:
        path: a run folder or a model folder.
        parts: what was loaded from it.
    """
    folder, number, sizes, tensors = _stored(path)
    vocabulary, model = parts.encoder.vocabulary, parts.model
    first = len(vocabulary.specials)
    known: dict[str, Any] = {
        "folder": str(folder),
        "format": number,
        "bytes": sizes | {"total": sum(sizes.values())},
        "tensors": tensors,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "task": parts.task.name,
        "mode": model.embedding.mode,
        "num_embeddings": model.embedding.num_embeddings,
        "embedding_dim": model.embedding.embedding_dim,
        "pooled_dim": model.embedding.pooled_dim,
        "classes": list(parts.label_names),
        "vocabulary": {
            "tokens": len(vocabulary) - first,
            "ngrams": pc.sum(pc.match_substring(vocabulary.tokens, " ")).as_py() or 0,
            "frequent": vocabulary.tokens.slice(first, FREQUENT_TOKENS).to_pylist(),
        },
        "tokenizer": dataclasses.asdict(parts.encoder.config),
    }
    if parts.task.several:
        thresholds = parts.task.tensors().get(THRESHOLDS)
        if thresholds is not None:
            known["thresholds"] = dict(zip(parts.label_names, thresholds.tolist(), strict=True))
    if parts.encoder.config.num_buckets:
        rows = parts.encoder.num_features - len(vocabulary)
        known["buckets"] = {"hashed_into": parts.encoder.config.num_buckets, "rows": rows}
    if (path / FINISHED).exists():
        try:
            metrics = json.loads((path / FINISHED).read_text(encoding="utf-8"))
            shown = [score for score in names_of(metrics["test"]) if score in HEADLINE]
            known["metrics"] = {
                split: {score: metrics[split][score] for score in shown}
                for split in ("validation", "test")
            }
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path / FINISHED}: is damaged ({first_line(error)}): inspect {path / 'model'}"
            ) from None
    return known


def _stored(path: Path) -> tuple[Path, int | str, dict[str, int], dict[str, Any]]:
    """Return where a model lies, in which format, the sizes of its files, and its tensors."""
    if is_model_file(path):
        file = read_model_file(path)
        stored = {}
        for name, matrix in (("input", file.input), ("output", file.output)):
            dtype = "codes" if isinstance(matrix, Quantised) else "F32"
            stored[name] = {"dtype": dtype, "shape": matrix.shape}
        sizes = {path.name: path.stat().st_size}
        return path, f"fastText's, loss {file.arguments.loss}", sizes, stored
    folder = model_folder(path)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    sizes = {name: (folder / name).stat().st_size for name in FILES if (folder / name).exists()}
    with safe_open(folder / WEIGHTS, "numpy") as weights:
        tensors = {
            name: {"dtype": part.get_dtype(), "shape": part.get_shape()}
            for name in sorted(weights.keys())
            for part in [weights.get_slice(name)]
        }
    return folder, config["format"], sizes, tensors


def as_table(known: dict[str, Any]) -> RenderableType:
    """Return what :func:`describe` found, for the terminal."""
    vocabulary, sizes = known["vocabulary"], dict(known["bytes"])
    total = sizes.pop("total")
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")

    def add(name: str, value: str) -> None:
        facts.add_row(name, Text(value))

    add("folder", f"{known['folder']} (format {known['format']})")
    add("pooling", known["mode"])
    rows, dim = known["num_embeddings"], known["embedding_dim"]
    add("embeddings", f"{rows:,} x {dim}, pooled to {known['pooled_dim']} numbers a text")
    add("parameters", f"{known['parameters']:,}")
    ngrams = f", {vocabulary['ngrams']:,} of them n-grams" if vocabulary["ngrams"] else ""
    add("vocabulary", f"{vocabulary['tokens']:,} tokens{ngrams}")
    if "buckets" in known:
        buckets = known["buckets"]
        add("hashed n-grams", f"{buckets['rows']:,} rows of {buckets['hashed_into']:,} buckets")
    add("most frequent", " ".join(visible(token) for token in vocabulary["frequent"]))
    settings = {k: v for k, v in known["tokenizer"].items() if v is not None}
    add("tokenizer", ", ".join(f"{key}={value}" for key, value in settings.items()))
    names = [visible(name) for name in known["classes"]]
    more = f", … ({len(names)} in all)" if len(names) > MAX_CLASSES else ""
    several = known["task"] == MultiLabel.name
    add(f"{len(names)} {'labels' if several else 'classes'}", ", ".join(names[:MAX_CLASSES]) + more)
    if several:
        reached = known.get("thresholds", {"": EVEN}).values()
        thresholds = f"{min(reached):.3f} to {max(reached):.3f}"
        add("predicted", f"any number of labels a text, from probabilities of {thresholds} on")
    for split, scores in known.get("metrics", {}).items():
        add(split, scores_in_words(scores, list(scores)))

    files = Table("file", box=SIMPLE_HEAD, pad_edge=False)
    files.add_column("bytes", justify="right")
    files.add_column("holds")
    for name, size in sizes.items():
        holds = (
            "   ".join(
                f"{tensor} {part['dtype']} {'x'.join(map(str, part['shape']))}"
                for tensor, part in known["tensors"].items()
            )
            if name == WEIGHTS or len(sizes) == 1
            else ""
        )
        files.add_row(name, f"{size:,}", Text(holds))
    files.add_row("total", f"{total:,}", "", style="bold")
    return Group(facts, files)
