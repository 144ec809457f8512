"""What ``model.vectors`` names: a file of vectors, the folder of a model, or a name of either."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from textcls.corpus.paths import hash_file
from textcls.errors import InputError
from textcls.fasttext_models.format import is_model_file
from textcls.vectors.array import ARRAY, read_array, words_beside
from textcls.vectors.binary import read_binary
from textcls.vectors.hub import folder_of, may_be_on_hub
from textcls.vectors.named import file_of, names
from textcls.vectors.ngrams import FILE, read_ngrams
from textcls.vectors.rows import WordVectors
from textcls.vectors.static import files_of, read_static
from textcls.vectors.text import read_text
from textcls.vectors.trained import read_model

_PACKED = (".gz", ".zip", ".bz2", ".xz", ".zst", ".7z", ".tar")


@dataclass(frozen=True)
class PretrainedVectors:
    """Vectors of words that lie on the disk.

    Attributes:
        name: as it was given.
        path: a file, or the folder of a model of static embeddings.
        fingerprint: a hash of the content.
        title: what a trained model calls them.
    """

    name: str
    path: Path
    fingerprint: str
    title: str

    @classmethod
    def find(cls, name: str) -> PretrainedVectors:
        """Find vectors by what ``model.vectors`` says.

        Raises:
            InputError: there are none, or what there is cannot be used.
            OSError: a file cannot be read, or the cache not written.
        """
        if not name.strip():
            raise InputError("model.vectors is empty: name a file or folder, or set it to null")
        path = Path(name).expanduser()
        title = path.name
        if not path.exists() and may_be_on_hub(name):
            path, title = folder_of(name), name
        if path.is_dir():
            return cls(name, path, _hash(files_of(path)), title)
        if not path.is_file():
            if name not in names():
                raise InputError(
                    f"model.vectors={name}: there is no such file or folder, and the names are "
                    f"{', '.join(names())}"
                )
            path = file_of(name)
        if path.suffix.lower() in _PACKED:
            raise InputError(f"model.vectors={name}: is packed: unpack it, and name what is in it")
        files = (path, words_beside(path)) if path.suffix.lower() == ARRAY else (path,)
        return cls(name, path, _hash(files), path.name)

    def read(self, words: Collection[str], more: int) -> WordVectors:
        """Return the vectors of words, of others that differ by case alone, and the first of all.

        Args:
            words: whose vectors are wanted.
            more: so many vectors, from the first on, are returned as well.

        Raises:
            InputError: the file is damaged.
            OSError: it cannot be read.
        """
        if self.path.is_dir():
            return read_static(self.path, sorted(words), more)
        if self.path.name == FILE:
            return read_ngrams(self.path, sorted(words))
        if is_model_file(self.path):
            return read_model(self.path, words, more)
        known = frozenset(words)

        def wanted(word: str, number: int) -> bool:
            return number < more or word in known or word.lower() in known

        read = {".bin": read_binary, ARRAY: read_array}.get(self.path.suffix.lower(), read_text)
        return read(self.path, wanted)


def _hash(files: Iterable[Path]) -> str:
    return "+".join(map(hash_file, files))
