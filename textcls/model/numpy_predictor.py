"""A text classifier that textcls trained, put to use with NumPy and the standard library alone.

    python predict.py [FOLDER] < texts.txt      a label, a tab and its probability per line
    Predictor(FOLDER).predict(["a text"])       in a program

Of a model that predicts any number of labels a text, a line has all that reach their threshold, the
most probable first, a tab between label, probability, label, …; none is an empty line.

FOLDER has the model: config.json, labels.json, vocabulary.json and model.safetensors. Without it,
it is the folder of this file. All of it is data; nothing in it is run but this file. A tokenizer in
tokenizer.json or pieces.json needs the package tokenizers besides, hashed n-grams need xxhash.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Split = Callable[[Sequence[str]], list[list[str]]]

FORMAT = 6
TOKENIZERS = ("basic_english", "basic", "split", "bpe", "wordpiece", "file")
# Texts that are worked on at one go: they bound the memory that is needed beside the model.
BLOCK_TEXTS = 1_000
BLOCK_CHARACTERS = 1 << 20
# A token of a weighted sum weighs 1 + WEIGHT_SCALE * what it learned.
WEIGHT_SCALE = 0.3
UNKNOWN_ID, PADDING_ID = 0, 1
# Halves of characters, which Python strings may hold, and no UTF-8 text does.
SURROGATES = re.compile("[\ud800-\udfff]")
# What a line may begin with in fastText's format: it is no part of the text.
LABELS = re.compile(r"^\s*(__label__\S+(\s+|$))+")
# A character of a script without spaces between words (Chinese, Japanese, Thai, …) or of such
# scripts' punctuation, and its marks: textcls/data/scripts.py says which.
UNSPACED = (
    "\u2e80-\u2fd5\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufad9"
    "\U00016fe2-\U00016fe3\U00016ff0-\U00016ff6\U00020000-\U00033479\u02ea-\u02eb\u3105-\u312f"
    "\u31a0-\u31bf\u3041-\u3096\u309d-\u309f\U0001b001-\U0001b11f\U0001b123\U0001b132-\U0001b152"
    "\U0001f200\u30a1-\u30fa\u30fd-\u30ff\u31f0-\u31ff\u32d0-\u32fe\u3300-\u3357\uff66-\uff6f"
    "\uff71-\uff9d\U0001aff0-\U0001b000\U0001b120-\U0001b122\U0001b124-\U0001b128"
    "\U0001b155-\U0001b168\u0e01-\u0e3a\u0e40-\u0e5b\u0e81-\u0edf\u0f00-\u0fd4\u0fd9-\u0fda"
    "\u1000-\u109f\ua9e0-\ua9fe\uaa60-\uaa7f\U000116d0-\U000116e3\u1780-\u17f9\u19e0-\u19ff"
    "\u1950-\u1974\u1980-\u19df\u1a20-\u1aad\uaa80-\uaadf"
    "\u3001-\u303f\u3099-\u309c\u30a0\u30fb\u30fc\ufe10-\ufe19\ufe30-\ufe52\ufe54-\ufe66"
    "\ufe68-\ufe6b\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uff70\uff9e\uff9f"
    "\uffe0-\uffe6"
)
MARKS = (
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u0f18-\u0f19\u0f35\u0f37"
    "\u0f39\u0f3e-\u0f3f\u0f71-\u0f84\u0f86-\u0f87\u0f8d-\u0fbc\u0fc6\u102b-\u103e\u1056-\u1059"
    "\u105e-\u1060\u1062-\u1064\u1067-\u106d\u1071-\u1074\u1082-\u108d\u108f\u109a-\u109d"
    "\u17b4-\u17d3\u17dd\u1a55-\u1a7f\u302a-\u302f\u3099-\u309a\ua9e5\uaa7b-\uaa7d\uaab0"
    "\uaab2-\uaab4\uaab7-\uaab8\uaabe-\uaabf\uaac1\ufe00-\ufe0f\uff9e\uff9f\U00016ff0-\U00016ff1"
    "\U000e0100-\U000e01ef"
)
UNSPACED_TOKEN = re.compile(f"([{UNSPACED}][{MARKS}]*)")
DTYPES = {"F32": "<f4", "I8": "i1", "U8": "u1", "I32": "<i4", "I64": "<i8"}
# Constants of BM25.
K1, B = 1.2, 0.75
# An n-gram's hash is that of its beginning, one word shorter, times this, plus its last word's.
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
HALF = np.uint64(32)


class Predictor:
    """A trained model.

    Args:
        folder: of the model.

    Attributes:
        label_names: of class 0, 1, 2, …: the columns of :meth:`predict_proba`.
        thresholds: float32 ``[num_classes]``, the probability from which on each label is
            predicted, where a text has any number of labels; None where it has one.

    Raises:
        OSError: a file is missing.
        ValueError: the folder was written by a newer textcls, or has a tokenizer not known here.
        ImportError: a package is missing that the model's tokenizer or its n-grams need.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        config = read_json(folder / "config.json")
        if config["format"] > FORMAT:
            raise ValueError(f"{folder}: was written by a newer textcls, with a newer predict.py")
        tensors = read_safetensors(folder / "model.safetensors")
        self.label_names: list[str] = read_json(folder / "labels.json")
        self.thresholds: Array | None = None
        if config.get("task") == "multi":
            even = np.full(len(self.label_names), 0.5, np.float32)
            self.thresholds = tensors.get("thresholds", even)
        # The rows of a weighted pooling have their weights.
        mode: str = config["model"]["mode"]
        self.parts = mode.removeprefix("weighted_").split("+")
        self.split = splitter(config["tokenizer"]["name"], folder / "tokenizer.json")
        self.max_tokens: int | None = config["tokenizer"]["max_tokens"]
        self.ngrams: int = config["tokenizer"]["ngrams"]
        self.buckets: int | None = config["tokenizer"]["buckets"]
        self.kept_buckets = tensors.get("embedding.buckets")
        names = read_json(folder / "vocabulary.json")["tokens"]
        # Bags have no padding: "<pad>" in a text is a word that the vocabulary does not have.
        self.ids = {name: UNKNOWN_ID if i == PADDING_ID else i for i, name in enumerate(names)}
        # An n-gram of n words is named by them, joined by spaces. One of a word with a space of its
        # own has more of these, so that it is not looked for.
        self.ids_by_spaces: dict[int, dict[str, int]] = {n: {} for n in range(1, self.ngrams)}
        if self.buckets is None:
            for name, i in self.ids.items():
                self.ids_by_spaces.get(name.count(" "), {})[name] = i
        else:
            self.hash_of = word_hash()
        self.table = embedding_table(tensors)
        # Of configurations older than these options there are none of them.
        options: dict[str, Any] = {"counts": None, "char_buckets": None, "char_weight": 1.0}
        options |= {"char_ngrams": (), "ngram_weight": 1.0} | config["tokenizer"]
        self.counts: str | None = options["counts"]
        self.char_ngrams: tuple[int, int] = options["char_ngrams"]
        self.char_buckets: int | None = options["char_buckets"]
        self.char_weight: float = options["char_weight"]
        self.char_weights = tensors.get("encoder.char_weights")  # not in formats before 4
        keys = tensors.get("encoder.char_keys")
        self.char_keys = None if keys is None else keys.view("<u8")
        mean_length = tensors.get("encoder.mean_length")
        self.mean_length = None if mean_length is None else float(mean_length[0])
        ids = tensors.get("encoder.piece_ids", np.zeros(0, np.int64)).tolist()
        num_features = len(self.table) - len(ids) - (0 if keys is None else len(keys))
        self.piece_rows = {i: row for row, i in enumerate(ids, len(self.table) - len(ids))}
        self.pieces = hugging_face(folder / "pieces.json") if ids else None
        weights = tensors.get("encoder.token_weights", np.ones(num_features)).astype(np.float64)
        weights[len(names) :] *= options["ngram_weight"]
        if self.buckets is None and self.ngrams > 1:
            weights[: len(names)][[" " in name for name in names]] *= options["ngram_weight"]
        self.token_weights = weights
        self.weight, self.bias = tensors["linear.weight"], tensors["linear.bias"]

    def predict(self, texts: Iterable[str | None]) -> list[Any]:
        """Return the most probable label of each text.

        Where a text has any number of labels: a tuple of all whose probability reaches their
        threshold, in the order of ``label_names``.
        """
        names, probabilities = self.label_names, self.predict_proba(texts)
        if self.thresholds is None:
            return [names[i] for i in probabilities.argmax(1)]
        found = probabilities >= self.thresholds
        return [tuple(names[i] for i in np.flatnonzero(row)) for row in found]

    def predict_proba(self, texts: Iterable[str | None]) -> npt.NDArray[np.float32]:
        """Return the probability of each class, float32 ``[num_texts, num_classes]``.

        Those of a text sum to 1 where it has one label, else each stands by itself. None is an
        empty text. One without a known token gets what the linear layer's bias says.
        """
        if isinstance(texts, (str, bytes)):
            raise TypeError("texts are a list, ['…'], not a single text")
        blocks = [self._probabilities(block) for block in blocks_of(texts)]
        return np.concatenate([np.zeros((0, len(self.bias)), np.float32), *blocks])

    def _probabilities(self, texts: list[str]) -> Array:
        rows = [row[: self.max_tokens] for row in self.split(texts)]
        pooled = np.zeros((len(rows), self.weight.shape[1]))  # an empty bag stays zero
        for i, (ids, weights) in enumerate(self._encode(rows)):
            if len(ids):
                pooled[i] = self._pool(self.table[ids], weights)
        scores = pooled @ self.weight.T.astype(np.float64) + self.bias
        if self.thresholds is None:
            powers = np.exp(scores - scores.max(1, keepdims=True))
            probabilities: Array = powers / powers.sum(1, keepdims=True)
        else:
            probabilities = np.exp(-np.logaddexp(0, -scores))  # a sigmoid that never overflows
        return probabilities.astype(np.float32)

    def _pool(self, vectors: Array, weights: Array | None) -> Array:
        """Return the vector of a bag, of one row at least; ``weights`` is a number for each."""
        weights = np.ones(len(vectors)) if weights is None else weights.astype(np.float64)
        summed = weights @ vectors
        pooled = []
        for part in self.parts:
            if part == "max":
                pooled.append(vectors.max(0))
            elif part == "sum":
                pooled.append(summed)
            else:
                norm = weights.sum() if part == "mean" else np.sqrt((weights**2).sum())
                pooled.append(summed / (norm or 1))
        return np.concatenate(pooled)

    def _encode(self, rows: list[list[str]]) -> Iterator[tuple[Array, Array]]:
        """Yield for each text the ids of its bag, and their weights."""
        words = [word for row in rows for word in row]
        numbers, chars = self._numbered(words)
        # One row a word: its id, then those of the n-grams that begin there; -1 for none.
        grid = np.full((len(words), self.ngrams), -1, np.int64)
        grid[:, 0] = np.fromiter((numbers[word] for word in words), np.int64, len(words))
        text = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        find = self._exact if self.buckets is None else self._hashed
        for n, found in enumerate(find(words), start=2):
            in_one_text = text[: len(found)] == text[n - 1 :]
            grid[: len(found), n - 1] = np.where(in_one_text, found, -1)
        start = 0
        for row in rows:
            own = grid[start : start + len(row)]
            ids = own[own >= 0]
            start += len(row)
            weights = np.ones(len(ids))
            if self.counts is not None:
                ids, weights = self._counted(ids, len(row))
            known = ids < len(self.token_weights)
            weights[known] *= self.token_weights[ids[known]]
            yield flattened(ids, weights, chars, len(self.table))

    def _numbered(self, words: list[str]) -> tuple[dict[str, int], list[tuple[Array, Array]]]:
        """Return the id of each word, and what ids past the table's stand for.

        These are unknown words: rows of character n-grams and pieces, and how much each weighs.
        """
        numbers: dict[str, int] = {}
        chars: list[tuple[Array, Array]] = []
        for word in words:
            if word not in numbers:
                numbers[word] = self.ids.get(word, UNKNOWN_ID)
                if numbers[word] == UNKNOWN_ID:
                    rows, (pieces, shares) = self._chars(word), self._pieces(word)
                    if len(rows) + len(pieces):
                        numbers[word] = len(self.table) + len(chars)
                        weights = np.append(self._weights_of_chars(rows), shares)
                        chars.append((np.append(rows, pieces).astype(np.int64), weights))
                    elif self.counts is not None:
                        numbers[word] = -1
        return numbers, chars

    def _chars(self, word: str) -> Array:
        """Return the rows of a word's character n-grams."""
        if self.char_keys is None:
            return np.zeros(0, np.int64)
        hashes = char_hashes(word, *self.char_ngrams)
        if self.char_buckets is not None:
            hashes = {(one >> 32) * self.char_buckets >> 32 for one in hashes}
        keys = np.array(sorted(hashes), np.uint64)
        place = np.searchsorted(self.char_keys, keys)
        there = place < len(self.char_keys)
        there[there] = self.char_keys[place[there]] == keys[there]
        rows: Array = place[there] + len(self.token_weights)
        return rows

    def _weights_of_chars(self, rows: Array) -> Array:
        """Return what the character n-grams of a word weigh, of which these are the rows."""
        if self.char_weights is not None:
            weights: Array = self.char_weights[rows - len(self.token_weights)].astype(np.float64)
            return weights
        share = self.token_weights[UNKNOWN_ID] * self.char_weight / max(len(rows), 1) ** 0.5
        return np.full(len(rows), share)

    def _pieces(self, word: str) -> tuple[list[int], list[float]]:
        """Return the rows of a word's pieces, in the case of the fewest, and their weights."""
        if self.pieces is None:
            return [], []
        unknown = [self.pieces.token_to_id(name) for name in ("[UNK]", "<unk>")]
        cases = [word, word.capitalize(), word.upper()]
        split = self.pieces.encode_batch(cases, add_special_tokens=False)
        found = [[i for i in one.ids if i not in unknown] for one in split]
        ids: list[int] = min(filter(None, found), key=len, default=[])
        rows = [self.piece_rows[i] for i in ids if i in self.piece_rows]
        return rows, [1 / max(len(ids), 1)] * len(rows)

    def _counted(self, ids: Array, num_words: int) -> tuple[Array, Array]:
        """Return the distinct ids of a text, and what the count of each weighs."""
        ids, counts = np.unique(ids, return_counts=True)
        weights = counts.astype(np.float64)
        if self.counts == "log":
            weights = 1 + np.log(weights)
        elif self.counts == "binary":
            weights = np.ones(len(ids))
        if self.mean_length is not None:
            bound = K1 * (1 - B + B * num_words / self.mean_length)
            weights = weights * (K1 + 1) / (weights + bound)
        return ids, weights

    def _exact(self, words: list[str]) -> Iterator[Array]:
        """Yield the ids of the 2-grams that begin at each word, of the 3-grams, …; -1 for none."""
        for n in range(2, min(self.ngrams, len(words)) + 1):
            ids, count = self.ids_by_spaces[n - 1], len(words) - n + 1
            found = (ids.get(" ".join(words[i : i + n]), -1) for i in range(count))
            yield np.fromiter(found, np.int64, count)

    def _hashed(self, words: list[str]) -> Iterator[Array]:
        """Yield the same of hashed n-grams, whose ids follow those of the vocabulary."""
        hash_by_word = {word: self.hash_of(word.encode()) for word in set(words)}
        word_hashes = np.array([hash_by_word[word] for word in words], np.uint64)
        hashes = word_hashes
        for n in range(2, min(self.ngrams, len(words)) + 1):
            hashes = hashes[:-1] * MULTIPLIER + word_hashes[n - 1 :]
            bucket = ((hashes >> HALF) * np.uint64(self.buckets or 0) >> HALF).astype(np.int64)
            if self.kept_buckets is None:
                yield bucket + len(self.ids)
            else:
                place = np.searchsorted(self.kept_buckets, bucket)
                kept = np.append(self.kept_buckets, -1)[place] == bucket
                yield np.where(kept, place + len(self.ids), -1)


def blocks_of(texts: Iterable[str | None]) -> Iterator[list[str]]:
    """Cut texts into blocks of bounded size (or of one text)."""
    block: list[str] = []
    characters = 0
    for text in texts:
        text = SURROGATES.sub("\ufffd", text or "")
        if len(block) == BLOCK_TEXTS or (block and characters + len(text) > BLOCK_CHARACTERS):
            yield block
            block, characters = [], 0
        block.append(text)
        characters += len(text)
    if block:
        yield block


def flattened(
    ids: Array, weights: Array, chars: list[tuple[Array, Array]], num_rows: int
) -> tuple[Array, Array]:
    """Put the rows of character n-grams in the place of ids that stand for unknown words."""
    known = ids < num_rows
    rows, parts = [ids[known]], [weights[known]]
    for i, weight in zip(ids[~known], weights[~known], strict=True):
        own, share = chars[i - num_rows]
        rows.append(own)
        parts.append(weight * share)
    return np.concatenate(rows), np.concatenate(parts)


def char_hashes(word: str, shortest: int, longest: int) -> set[int]:
    """Return the hashes, of 64 bits, of the character n-grams of a word with its ends marked."""
    if len(word) < 2:
        return set()
    numbers = [mix(ord(character) + 1) for character in f"<{word}>"]
    found = set()
    for start in range(len(numbers)):
        rolling = 0
        for length, number in enumerate(numbers[start : start + longest], start=1):
            rolling = (rolling * int(MULTIPLIER) + number) % 2**64
            if length >= shortest:
                found.add(mix(rolling))
    return found


def mix(number: int) -> int:
    """Return a number of 64 bits in which each bit depends on every bit: SplitMix64's end."""
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ number >> 27) * 0x94D049BB133111EB % 2**64
    return number ^ number >> 31


def basic_english(text: str) -> list[str]:
    """Split as torchtext's tokenizer of this name: lower case, punctuation by itself."""
    return split_english(text.lower())


def basic(text: str) -> list[str]:
    """Split so, and into characters where the script has no spaces between words."""
    return split_english(" ".join(UNSPACED_TOKEN.split(text.lower())))


def split_english(text: str) -> list[str]:
    """Split a text in lower case at spaces and punctuation."""
    text = text.replace('"', "").replace("<br />", " ")
    for mark in "'.,()!?":
        text = text.replace(mark, f" {mark} ")
    return text.replace(";", " ").replace(":", " ").split()


def splitter(name: str, file: Path) -> Split:
    """Return what splits each of several texts into its tokens."""
    if name == "basic_english":
        return lambda texts: [basic_english(text) for text in texts]
    if name == "basic":
        return lambda texts: [basic(text) for text in texts]
    if name == "split":
        return lambda texts: [text.split() for text in texts]
    if name not in TOKENIZERS:
        raise ValueError(f"tokenizer {name}: predict.py has {', '.join(TOKENIZERS)}")
    tokenizer = hugging_face(file)
    ids = tokenizer.get_vocab(with_added_tokens=True).values()
    tokens = {i: tokenizer.id_to_token(i) or "" for i in ids}
    return lambda texts: [
        [tokens[i] for i in encoding.ids]
        for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)
    ]


def hugging_face(file: Path) -> Any:
    """Return the tokenizer that a file has, without limits: max_tokens is applied here."""
    try:
        import tokenizers
    except ImportError:
        raise ImportError(f"{file.name} needs tokenizers: pip install tokenizers") from None
    tokenizer = tokenizers.Tokenizer.from_str(file.read_text(encoding="utf-8"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def word_hash() -> Callable[[bytes], int]:
    """Return XXH3, of 64 bits."""
    try:
        import xxhash
    except ImportError:
        raise ImportError("the model's hashed n-grams need xxhash: pip install xxhash") from None
    return xxhash.xxh3_64_intdigest


def embedding_table(tensors: dict[str, Array]) -> Array:
    """Return a row per token id, float32 ``[num_embeddings, dim]``, of any kind of table."""
    if "embedding.weight" in tensors:
        table = tensors["embedding.weight"]
    elif "embedding.int8" in tensors:
        table = tensors["embedding.int8"] * tensors["embedding.scale"]
    else:  # a row is pieces, each out of its own book of 256
        codes, books = tensors["embedding.codes"], tensors["embedding.codebooks"]
        table = np.concatenate([book[codes[:, m]] for m, book in enumerate(books)], axis=1)
    if "embedding.weighing" in tensors:
        table = table * (1 + np.float32(WEIGHT_SCALE) * tensors["embedding.weighing"])
    return table.astype(np.float32, copy=False)


def read_json(path: Path) -> Any:
    """Return the values in a file."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_safetensors(path: Path) -> dict[str, Array]:
    """Return the tensors of a file by name.

    It is the length of a header, 8 bytes, the header, JSON, and the numbers: see
    https://huggingface.co/docs/safetensors/index#format.
    """
    tensors: dict[str, Array] = {}
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        begin = file.tell()
        for name, entry in header.items():
            if name != "__metadata__":
                start, stop = entry["data_offsets"]
                file.seek(begin + start)
                values = np.frombuffer(file.read(stop - start), DTYPES[entry["dtype"]])
                tensors[name] = values.reshape(entry["shape"])
    return tensors


def main() -> None:
    """Print the label, or labels, and their probabilities for each line of standard input."""
    try:
        predictor = Predictor(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
    except (OSError, ValueError, KeyError, ImportError) as error:
        sys.exit(f"error: {error}")
    file = io.TextIOWrapper(sys.stdin.buffer, "utf-8-sig", errors="replace")
    lines = (LABELS.sub("", line.removesuffix("\n")) for line in file)
    for block in blocks_of(lines):
        for row in predictor.predict_proba(block):
            best: Iterable[int] = [int(row.argmax())]
            if predictor.thresholds is not None:
                order = np.argsort(-row, kind="stable")
                best = order[row[order] >= predictor.thresholds[order]]
            shown = "\t".join(f"{predictor.label_names[i]}\t{row[i]:.6f}" for i in best)
            sys.stdout.buffer.write(f"{shown}\n".encode())
        sys.stdout.flush()


if __name__ == "__main__":
    main()
