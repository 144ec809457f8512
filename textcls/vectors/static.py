"""Vectors of words from a model of static embeddings: a table of pieces of words, and a tokenizer.

Such models are what model2vec and sentence-transformers (``StaticEmbedding``) write. The vector of
a word is the mean of those of its pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from textcls.errors import InputError, first_line
from textcls.vectors.pieces import Float32, PieceVectors, WordPieces
from textcls.vectors.rows import WordVectors

MODEL, TOKENIZER = "model.safetensors", "tokenizer.json"
# The folder that sentence-transformers puts it into.
INNER = "0_StaticEmbedding"
# What the first piece of a word begins with, and what those after it do.
_FIRST, _LATER = ("▁", "Ġ"), "##"


def files_of(folder: Path) -> tuple[Path, Path]:
    """Return the table and the tokenizer of a folder.

    Raises:
        InputError: it has none.
    """
    for place in (folder, folder / INNER):
        files = place / MODEL, place / TOKENIZER
        if all(file.is_file() for file in files):
            return files
    raise InputError(f"model.vectors={folder}: the folder has no {MODEL} with a {TOKENIZER}")


def read_static(folder: Path, words: Sequence[str], more: int) -> WordVectors:
    """Return the vectors of words, and of words that are one piece each.

    Those of the pieces themselves are returned as well.

    Args:
        folder: of the model.
        words: whose vectors are wanted.
        more: so many words of one piece are returned besides.

    Raises:
        InputError: the folder's files are none that can be used.
    """
    model, path = files_of(folder)
    table = _table(model)
    try:
        pieces = WordPieces.all_of(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: is no usable tokenizer.json ({first_line(error)})") from None
    numbers = pieces.tokenizer.get_vocab()
    if max(numbers.values()) >= len(table):
        raise InputError(f"{path}: has {len(numbers):,} tokens, {model} rows for {len(table):,}")
    wanted = list(dict.fromkeys([*words, *_words_of_one_piece(numbers)[:more]]))
    offsets, places, _ = pieces.of_words(wanted)
    of_pieces = table[pieces.ids]
    (has_one,) = np.diff(offsets).nonzero()
    vectors = np.empty((len(has_one), table.shape[1]), np.float32)
    for row, number in enumerate(has_one.tolist()):
        vectors[row] = of_pieces[places[offsets[number] : offsets[number + 1]]].mean(0)
    return WordVectors(
        [wanted[number] for number in has_one.tolist()], vectors, PieceVectors(pieces, of_pieces)
    )


def _words_of_one_piece(pieces: dict[str, int]) -> list[str]:
    """Return the words that are one piece, in the order of their numbers."""
    names = sorted(pieces, key=pieces.__getitem__)
    for mark in _FIRST:
        marked = [name[len(mark) :] for name in names if name.startswith(mark)]
        if len(marked) > len(names) / 10:
            return [name for name in marked if name]
    return [name for name in names if not name.startswith(_LATER)]


def _table(path: Path) -> Float32:
    """Return the vectors of pieces, float32 ``[num_pieces, width]``."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: is no safetensors file ({first_line(error)})") from None
    tables = [name for name, tensor in tensors.items() if tensor.ndim == 2]
    if len(tables) != 1:
        raise InputError(
            f"{path}: has {len(tables)} tables, where a model of static embeddings has one"
        )
    table: Float32 = tensors[tables[0]].float().numpy()
    # model2vec may have a row for several pieces, and a weight for each piece.
    if "mapping" in tensors:
        mapping = tensors["mapping"].long().numpy()
        if mapping.ndim != 1 or mapping.min(initial=0) < 0 or mapping.max(initial=0) >= len(table):
            raise InputError(f"{path}: its mapping is none to the {len(table):,} rows of its table")
        table = table[mapping]
    if "weights" in tensors:
        weights = tensors["weights"].float().numpy()
        if weights.shape != (len(table),):
            raise InputError(f"{path}: its weights are not one for each of {len(table):,} tokens")
        table = table * weights[:, None]
    if not np.isfinite(table).all():
        raise InputError(f"{path}: has numbers that are not finite")
    return table
