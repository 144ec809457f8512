"""Reading vectors: formats, damage, names, and what of a file is kept."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace

from tests.conftest import make_config
from textcls.data.tokenizer import Tokenizer
from textcls.data.tokens import Tokens
from textcls.data.word_vectors import coverage, read_vectors
from textcls.errors import InputError
from textcls.vectors import named, rows, text
from textcls.vectors.found import PretrainedVectors
from textcls.vectors.rows import WordVectors

WORDS = ["the", "cat", "Dog", "çay", "rare"]
VECTORS = np.arange(15, dtype=np.float32).reshape(5, 3) / 7


def as_text(header: bool = False, ending: str = "\n") -> str:
    lines = [f"{len(WORDS)} 3"] if header else []
    for word, vector in zip(WORDS, VECTORS.tolist(), strict=True):
        lines.append(" ".join([word, *map(repr, vector)]))
    return "".join(line + ending for line in lines)


def as_binary(separator: bytes = b"\n") -> bytes:
    rows = zip(WORDS, VECTORS, strict=True)
    vectors = [word.encode() + b" " + vector.tobytes() + separator for word, vector in rows]
    return b"5 3\n" + b"".join(vectors)


def written(path: Path, content: str | bytes) -> PretrainedVectors:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return PretrainedVectors.find(str(path))


def read_all(vectors: PretrainedVectors) -> WordVectors:
    return vectors.read([], 1_000)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("glove.txt", as_text()),
        ("fast.vec", as_text(header=True, ending=" \n")),
        ("windows.vec", as_text(header=True, ending="\r\n")),
        ("tabs.txt", as_text().replace(" ", "\t")),
        ("old.bin", as_binary()),
        ("new.bin", as_binary(b"")),
    ],
)
def test_the_formats_hold_the_same_vectors(tmp_path: Path, name: str, content: str | bytes) -> None:
    found = read_all(written(tmp_path / name, content))
    assert found.words == WORDS
    np.testing.assert_array_equal(found.vectors, VECTORS)


def test_only_wanted_vectors_are_kept(tmp_path: Path) -> None:
    for vectors in (
        written(tmp_path / "a.txt", as_text()), written(tmp_path / "a.bin", as_binary()),
    ):  # fmt: skip
        found = vectors.read(["rare", "dog", "missing"], 1)
        assert found.words == ["the", "Dog", "rare"]
        np.testing.assert_array_equal(found.vectors, VECTORS[[0, 2, 4]])


def test_a_word_may_hold_spaces_or_be_no_text(tmp_path: Path) -> None:
    content = b"a 1 2\n. . 3 4\n\xff\xfe 5 6\nb 7 8"
    found = read_all(written(tmp_path / "a.txt", content))
    assert found.words[1] == ". ."
    assert found.words[3] == "b"
    np.testing.assert_array_equal(found.vectors[:, 0], [1, 3, 5, 7])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "a 1 2\nb 1\n", "line 2: has 1 numbers after the word, not 2"),
        ("a.txt", "a 1 2\n\nb 1 2\n", "line 2: has 0 numbers"),
        ("a.txt", "a 1 2\nb 1 x2\n", "line 2: 'x2' is no number"),
        ("a.txt", "a 1 2\nb 1 inf\n", "line 2: a number of the vector is not finite"),
        ("a.txt", "3 2\na 1 2\nb 1 2\n", "line 4: the file ends after 2 of 3 vectors"),
        ("a.txt", "", "line 1: vectors of 0 numbers"),
        ("a.txt", "a\nb\n", "line 1: vectors of 0 numbers"),
        ("a.bin", as_binary()[:-9], "vector 5 of 5: the file is damaged or cut off here"),
        ("a.bin", "word 1 2\n", "line 1: does not say how many vectors"),
        ("a.bin", (793_712_314).to_bytes(4, "little"), "is damaged (it ends within a header)"),
    ],
)
def test_a_damaged_file_is_told_in_one_line(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    vectors = written(tmp_path / name, content)
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / name}: {message}")) as caught:
        read_all(vectors)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_without_lines_is_not_read_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "LONGEST_LINE", 100)
    with pytest.raises(InputError, match="line 1: is longer than 100 bytes"):
        read_all(written(tmp_path / "a.vec", b"x" * 101))


def test_a_long_reading_tells_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rows, "_SECONDS", 0.0)
    with caplog.at_level("INFO", "textcls"):
        read_all(written(tmp_path / "a.txt", as_text()))
    shares = [int(re.findall(r"(\d+) %", message)[0]) for message in caplog.messages]
    assert shares == sorted(shares)
    assert shares[-1] == 100


def test_names_are_torchtexts_and_offline_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise socket.gaierror(-2, "no network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(InputError, match=r"glove\.6B\.50d: http.*no network") as caught:
        PretrainedVectors.find("glove.6B.50d")
    assert "put glove.6B.50d.txt into .vector_cache" in str(caught.value)
    with pytest.raises(InputError, match=r"no such file or folder, and the names are .*glove\.6B"):
        PretrainedVectors.find("glove.6b.51d")
    (tmp_path / named.CACHE / "glove.6B.50d.txt").write_text(as_text())
    assert read_all(PretrainedVectors.find("glove.6B.50d")).words == WORDS


def test_what_is_packed_or_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is packed"):
        written(tmp_path / "a.vec.gz", b"")
    with pytest.raises(InputError, match=r"no model\.safetensors with a tokenizer\.json"):
        PretrainedVectors.find(str(tmp_path))


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    first = written(tmp_path / "a.txt", as_text())
    again, other = written(tmp_path / "b.txt", as_text()), written(tmp_path / "c.txt", "a 1\n")
    assert first.fingerprint == again.fingerprint != other.fingerprint


def make_static(folder: Path, **more: torch.Tensor) -> torch.Tensor:
    """Write a model of static embeddings; return its table."""
    pieces = ["[UNK]", "cat", "do", "##g", "Paris", "##s"]
    tokenizer = HuggingFaceTokenizer(
        WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = Whitespace()
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    table = torch.arange(12.0).view(6, 2)
    save_file({"embeddings": table, **more}, folder / "model.safetensors")
    return table


def test_a_word_of_static_embeddings_is_the_mean_of_its_pieces(tmp_path: Path) -> None:
    table = make_static(tmp_path / "a")
    found = PretrainedVectors.find(str(tmp_path / "a")).read(["dog", "dogs", "paris", "zebra"], 100)
    by_word = dict(zip(found.words, found.vectors, strict=True))
    np.testing.assert_allclose(by_word["dog"], table[[2, 3]].mean(0))
    np.testing.assert_allclose(by_word["dogs"], table[[2, 3, 5]].mean(0))
    np.testing.assert_allclose(by_word["paris"], table[4])  # spelled as the pieces have it
    assert "zebra" not in by_word
    assert "cat" in by_word  # a word of one piece, though nobody asked for it
    assert "##g" not in by_word


def test_static_embeddings_may_have_a_mapping_and_weights(tmp_path: Path) -> None:
    weights = torch.tensor([1.0, 2, 3, 4, 5, 6])
    mapping = torch.tensor([0, 0, 1, 1, 2, 2])
    table = make_static(tmp_path / "a", weights=weights, mapping=mapping)
    found = PretrainedVectors.find(str(tmp_path / "a")).read(["cat"], 0)
    np.testing.assert_allclose(found.vectors[0], table[0] * 2)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"mapping": torch.tensor([0, 6])}, "mapping is none to the 6 rows"),
        ({"mapping": torch.tensor([-1, 0])}, "mapping is none to the 6 rows"),
        ({"weights": torch.ones(5)}, "weights are not one for each of 6 tokens"),
    ],
)
def test_static_embeddings_that_contradict_themselves_are_refused(
    more: dict[str, torch.Tensor], message: str, tmp_path: Path
) -> None:
    make_static(tmp_path / "a", **more)
    with pytest.raises(InputError, match=rf"model\.safetensors: .*{message}"):
        PretrainedVectors.find(str(tmp_path / "a")).read(["cat"], 0)


def test_an_empty_name_is_refused_and_an_empty_line_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.vectors is empty"):
        PretrainedVectors.find(" ")
    found = written(tmp_path / "a.txt", "cat 1 2\ndog 3 4\n\n").read(["dog"], 0)
    assert found.words == ["dog"]


def tokens_of(*texts: str) -> tuple[Tokenizer, Tokens]:
    tokenizer = Tokenizer(make_config().tokenizer)
    return tokenizer, tokenizer.use_up([pa.array(list(texts))])


def test_vectors_belong_to_the_tokens_of_their_words(tmp_path: Path) -> None:
    content = "The 1 1\nnew-york! 2 2\nDOG 3 3\ndog 4 4\nCAT 5 5\n"
    tokenizer, tokens = tokens_of("the dog and the dog", "a cat")
    found = read_vectors(written(tmp_path / "a.txt", content), tokenizer, tokens)
    by_token = dict(zip(found.tokens.to_pylist(), found.vectors[:, 0].tolist(), strict=True))
    assert {t: by_token[t] for t in ("the", "dog", "cat")} == {"the": 1, "dog": 4, "cat": 5}
    said = coverage(found, tokens)
    assert "3 of 5 distinct tokens of train have one (60.0%), which are 71.4% of its" in said
    assert said.endswith(("most frequent without: and (1), a (1)", "a (1), and (1)"))


def test_vectors_of_another_language_are_refused(tmp_path: Path) -> None:
    tokenizer, tokens = tokens_of("ein hund")
    with pytest.raises(InputError, match="none of the 2 distinct tokens of train has a vector"):
        read_vectors(written(tmp_path / "a.txt", as_text()), tokenizer, tokens)
