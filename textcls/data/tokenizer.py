"""Tokenizers by name: text in, :class:`Tokens` out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from textcls.arrow import Int64
from textcls.config import TokenizerConfig
from textcls.data import long_texts
from textcls.data.fasttext_features import split_lines
from textcls.data.tokens import (
    BLOCK_BYTES,
    Tokens,
    are_few,
    basic_english_one_by_one,
    blocks,
    join_blocks,
    truncate,
)
from textcls.environment import version_of
from textcls.errors import InputError, first_line
from textcls.hugging_face import tokenizer_of
from textcls.threads import made_ahead, usable_cpus

# Those that textcls/data/tokens.py has: in flat arrays, in threads, a few texts one by one.
OWN = ("basic_english", "basic")

# The package that splits texts, by the tokenizer's name; torchtext only hands on to it.
PACKAGES = {
    "spacy": "spacy", "moses": "sacremoses", "toktok": "nltk", "revtok": "revtok",
    "subword": "revtok", "jieba": "jieba", "bpe": "tokenizers", "wordpiece": "tokenizers",
    "file": "tokenizers",
}  # fmt: skip

_Split = Callable[[pa.Array], tuple[pa.DictionaryArray, Int64]]


class Tokenizer:
    """Splits texts into tokens, the same way in training and in serving.

    Args:
        config: which tokenizer, and ``max_tokens``.
        train_texts: Arrow strings of the train split, for ``bpe`` and ``wordpiece`` to learn from.
        json: the content of a tokenizer.json, in place of learning or of ``config.file``.

    Raises:
        InputError: the tokenizer's package or file is missing or unusable.
    """

    def __init__(
        self,
        config: TokenizerConfig,
        train_texts: pa.ChunkedArray | None = None,
        json: str | None = None,
    ) -> None:
        self.config = config
        self.json: str | None = None
        self._unspaced = config.name == "basic"
        if config.name in OWN:
            self._split: _Split = partial(long_texts.split, unspaced=self._unspaced)
        elif config.name in ("bpe", "wordpiece", "file"):
            if json is None:
                json = (
                    _read_json(config.file)
                    if config.file is not None
                    else _learn(config, train_texts)
                )
            self._split = _split_with_hugging_face(json, config.file)
            self.json = json
        elif config.name == "fasttext":
            self._split = split_lines
        elif config.name == "jieba":
            self._split = _split_with(_jieba())
        else:
            self._split = _split_with(_torchtext(config))

    def __call__(self, texts: pa.ChunkedArray) -> Tokens:
        """Tokenize Arrow strings (null: an empty text), one list of tokens per text."""
        return self.use_up(texts.chunks)

    def use_up(self, chunks: list[pa.Array]) -> Tokens:
        """Tokenize arrays of texts, and empty the list on the way, to let go of the texts."""
        is_own = self.config.name in OWN
        if is_own and are_few(chunks):
            few = [text or "" for chunk in chunks for text in chunk.to_pylist()]
            chunks.clear()
            return basic_english_one_by_one(few, self.config.max_tokens, self._unspaced)
        # One block needs no threads; neither do tokenizers that hold the interpreter's lock, or
        # have threads of their own.
        if not is_own or sum(chunk.nbytes for chunk in chunks) <= BLOCK_BYTES:
            return join_blocks([self._cut(block) for block in blocks(chunks)])
        # A few blocks at a time: some are copies of their texts, which are not to be there twice.
        cpus = usable_cpus()
        return join_blocks(list(made_ahead(self._cut, blocks(chunks), 4 * cpus, cpus)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Tokenizer, (self.config, None, self.json)  # the functions it holds are no data

    def _cut(self, block: pa.Array) -> tuple[pa.DictionaryArray, Int64]:
        return truncate(*self._split(block), self.config.max_tokens)


def learns(config: TokenizerConfig) -> bool:
    """Say whether a tokenizer learns from the texts of the train split how to split texts."""
    return config.name in ("bpe", "wordpiece") and config.file is None


def versions(config: TokenizerConfig) -> dict[str, str | None]:
    """Return the versions of the packages and models that decide how texts are split.

    Nothing is imported for it: spaCy alone takes seconds. None stands for what is not installed.
    """
    package = PACKAGES.get(config.name)
    found = {} if package is None else {package: version_of(package)}
    if config.name == "spacy":
        # spaCy loads a model by the name of its package, or from a folder.
        meta = Path(config.language, "meta.json")
        folder = hashlib.sha256(meta.read_bytes()).hexdigest() if meta.is_file() else None
        found["model"] = folder or version_of(config.language)
    return found


def _read_json(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"tokenizer.file={file}: cannot be read ({error})") from None


def _learn(config: TokenizerConfig, texts: pa.ChunkedArray | None) -> str:
    """Train a BPE or WordPiece tokenizer; return its tokenizer.json."""
    if texts is None:
        raise ValueError(f"{config.name} learns from the texts of the train split")
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    trainer: Any
    if config.name == "bpe":
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
        trainer = trainers.BpeTrainer
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
        tokenizer.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    def batches() -> Iterator[list[str]]:
        for block in blocks(texts.chunks):
            yield [text or "" for text in block.to_pylist()]

    tokenizer.train_from_iterator(
        batches(),
        trainer(vocab_size=config.vocab_size, special_tokens=["<unk>"], show_progress=False),
        length=len(texts),
    )
    return str(tokenizer.to_str())


def _split_with_hugging_face(json: str, file: str | None) -> _Split:
    try:
        tokenizer = tokenizer_of(json)  # max_tokens is ours to apply
    except ValueError as error:
        raise InputError(f"tokenizer.file={file}: is no usable tokenizer.json ({error})") from None
    size = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
    dictionary = pa.array([tokenizer.id_to_token(i) or "" for i in range(size)], pa.string())

    def split(texts: pa.Array) -> tuple[pa.DictionaryArray, Int64]:
        encodings = tokenizer.encode_batch_fast(
            [text or "" for text in texts.to_pylist()], add_special_tokens=False
        )
        ids = [encoding.ids for encoding in encodings]
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        flat = np.fromiter((i for row in ids for i in row), np.int32, int(lengths.sum()))
        return pa.DictionaryArray.from_arrays(flat, dictionary), lengths

    return split


def _jieba() -> Callable[[str], list[str]]:
    """Return jieba's segmentation of Chinese, with its own dictionary, into words in lower case."""
    try:
        import jieba
    except ImportError:
        raise InputError(
            "tokenizer.name=jieba needs the package jieba: pip install 'textcls[chinese]'"
        ) from None
    segmenter = jieba.Tokenizer()
    # What initialize() does, without its cache: a marshal file in a folder that all users write to.
    segmenter.FREQ, segmenter.total = segmenter.gen_pfdict(segmenter.get_dict_file())
    segmenter.initialized = True
    return lambda text: [word for word in segmenter.lcut(text.lower()) if not word.isspace()]


def _torchtext(config: TokenizerConfig) -> Callable[[str], list[str]]:
    from torchtext.data.utils import get_tokenizer

    name = None if config.name == "split" else config.name
    try:
        tokenize: Callable[[str], list[str]] = get_tokenizer(name, language=config.language)
    except (ImportError, OSError, AttributeError) as error:
        raise InputError(
            f"tokenizer.name={config.name} needs its own package or model: {first_line(error)}"
        ) from None
    return tokenize


def _split_with(tokenize: Callable[[str], list[str]]) -> _Split:
    def split(texts: pa.Array) -> tuple[pa.DictionaryArray, Int64]:
        rows = [tokenize(text or "") for text in texts.to_pylist()]
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        flat = pa.array([token for row in rows for token in row], pa.string())
        return flat.dictionary_encode(), lengths

    return split
