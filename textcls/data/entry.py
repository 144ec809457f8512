"""What a cache entry has beside bags: the encoder, what words are composed of, their vectors."""

from __future__ import annotations

from pathlib import Path

import safetensors.numpy
import safetensors.torch

from textcls.config import TokenizerConfig
from textcls.data.bags import Bags
from textcls.data.composition import Composition
from textcls.data.encoder import TextEncoder
from textcls.data.stored import load, save
from textcls.data.train_tokens import TrainTokens
from textcls.data.word_vectors import TokenVectors, WordRows, word_rows
from textcls.data.words import composition_of
from textcls.errors import InputError

COMPOSITION = "composition.safetensors"
WORDS = "words.safetensors"


def check_vocabulary(encoder: TextEncoder, tokens: TrainTokens, where: str) -> None:
    """Raise InputError where an encoder that was learned from tokens knows none of them.

    Args:
        encoder: that was learned.
        tokens: of train.
        where: they come from.
    """
    vocabulary = encoder.vocabulary
    if not vocabulary.counts[len(vocabulary.specials) :].any():
        raise InputError(
            f"tokenizer.min_freq={encoder.config.min_freq} leaves no token of {where}: "
            f"the most frequent stands {tokens.counts().max():,} times"
        )


def save_encoder(encoder: TextEncoder, vectors: TokenVectors | None, folder: Path) -> None:
    """Write an encoder, and the rows of pretrained vectors, into a folder.

    Raises:
        OSError, SafetensorError: a file cannot be written.
    """
    save(encoder, folder)
    composition = composition_of(encoder)
    if composition is not None:
        safetensors.torch.save_file(
            {
                name: getattr(composition.bags, name)
                for name in ("indices", "offsets", "labels", "weights")
            },
            folder / COMPOSITION,
        )
    if vectors is not None:
        words = word_rows(encoder, vectors)
        safetensors.numpy.save_file({"ids": words.ids, "rows": words.rows}, folder / WORDS)


def load_encoder(
    folder: Path, config: TokenizerConfig
) -> tuple[TextEncoder, Composition | None, WordRows | None]:
    """Return what :func:`save_encoder` wrote: encoder, composition, and rows of vectors, if any.

    Raises:
        OSError, SafetensorError, ValueError, KeyError, TypeError, InputError: it is missing or
            something else.
    """
    encoder = load(folder, config)
    composition = words = None
    if (folder / COMPOSITION).exists():
        tensors = safetensors.torch.load_file(folder / COMPOSITION)
        parts = Bags(**tensors, num_embeddings=encoder.num_embeddings, ordered=False)
        composition = Composition(parts)
    if (folder / WORDS).exists():
        words = WordRows(**safetensors.numpy.load_file(folder / WORDS))
    return encoder, composition, words
