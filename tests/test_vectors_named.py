"""Vectors as NumPy's files, from the hub, and of character n-grams."""

from __future__ import annotations

import io
import socket
import ssl
import tarfile
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from torchtext.vocab import CharNGram

from tests.test_vectors import VECTORS, WORDS, make_static, read_all
from textcls.errors import InputError
from textcls.vectors import named
from textcls.vectors.found import PretrainedVectors


def write_array(folder: Path) -> Path:
    """Write vectors of NumPy with their words; return the file of the numbers."""
    np.save(folder / "a.npy", VECTORS)
    (folder / "a.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return folder / "a.npy"


# --- NumPy -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
def test_an_array_has_its_words_in_a_file_beside_it(tmp_path: Path, dtype: str) -> None:
    path = write_array(tmp_path)
    np.save(path, VECTORS.astype(dtype))
    found = read_all(PretrainedVectors.find(str(path)))
    assert found.words == WORDS
    assert found.vectors.dtype == np.float32
    np.testing.assert_array_equal(found.vectors, VECTORS.astype(dtype).astype("f4"))


def test_of_an_array_only_the_wanted_vectors_are_kept(tmp_path: Path) -> None:
    path = write_array(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"the\r\ncat\r\nDog\r\nDog\r\nrare")
    found = PretrainedVectors.find(str(path)).read(["rare", "dog", "missing", "Dog"], 1)
    assert found.words == ["the", "Dog", "rare"]  # the first counts, as in other files
    np.testing.assert_array_equal(found.vectors, VECTORS[[0, 2, 4]])
    assert not PretrainedVectors.find(str(path)).read(["missing"], 0).words


def test_a_mark_of_utf8_is_no_part_of_the_first_word(tmp_path: Path) -> None:
    path = write_array(tmp_path)
    (tmp_path / "a.txt").write_text("\n".join(WORDS), encoding="utf-8-sig")
    assert read_all(PretrainedVectors.find(str(path))).words == WORDS


@pytest.mark.parametrize("name", ["vectors/mine.ftz", "vectors/mine.npy", "vectors/mine.vec"])
def test_who_names_a_file_does_not_ask_the_hub(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("asked"))
    with pytest.raises(InputError, match="there is no such file or folder"):
        PretrainedVectors.find(name)


def test_the_fingerprint_of_an_array_is_of_its_words_as_well(tmp_path: Path) -> None:
    path = write_array(tmp_path)
    before = PretrainedVectors.find(str(path)).fingerprint
    (tmp_path / "a.txt").write_text("\n".join(reversed(WORDS)))
    assert PretrainedVectors.find(str(path)).fingerprint != before


def save(values: object) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / "a.npy", np.asarray(values))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "a.txt").unlink(), r"a\.npy: there is no a\.txt beside it"),
        (lambda folder: (folder / "a.txt").write_text("the\n"), "has 1 words, a.npy 5 vectors"),
        (lambda folder: (folder / "a.npy").write_bytes(b""), r"is no \.npy file of numbers"),
        (lambda folder: (folder / "a.npy").write_text("the 1 2"), r"is no \.npy file of numbers"),
        (save(["a"]), r"has <U1 \[1\], where vectors are floats"),
        (save(np.full((5, 3), 1e300)), "vector 1: a number of it is not finite"),
        (save([{"a": 1}]), r"is no \.npy file of numbers"),
        (save(VECTORS[0]), r"has float32 \[3\], where vectors are floats"),
        (save(np.zeros((5, 0))), r"has float64 \[5, 0\], where"),
        (save(VECTORS.astype(int)), r"has int64 \[5, 3\], where"),
        (save(np.where(np.eye(5, 3)[:, [2]] > 0, np.inf, VECTORS)), "vector 3: a number of it is"),
    ],
)
def test_a_damaged_array_is_told_in_one_line(
    spoil: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    path = write_array(tmp_path)
    spoil(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        read_all(PretrainedVectors.find(str(path)))
    assert len(str(caught.value).splitlines()) == 1


def test_an_array_that_is_cut_off_is_told(tmp_path: Path) -> None:
    path = write_array(tmp_path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"a\.npy: is no \.npy file of numbers"):
        read_all(PretrainedVectors.find(str(path)))


# --- the hub ---------------------------------------------------------------------------------


def test_a_model_of_the_hub_is_read_from_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(name: str, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        return str(tmp_path / "0a1b2c")

    make_static(tmp_path / "0a1b2c")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    found = PretrainedVectors.find("someone/static-8M")
    assert (found.title, found.path.name) == ("someone/static-8M", "0a1b2c")
    assert found.read(["cat"], 0).words == ["cat"]
    files = ["model.safetensors", "tokenizer.json"]
    inner = [f"0_StaticEmbedding/{file}" for file in files]
    assert asked == [("someone/static-8M", files + inner)]
    # What lies on the disk goes before; and who names a file wants no model.
    make_static(tmp_path / "someone")
    with pytest.raises(InputError, match="no such file or folder, and the names are"):
        PretrainedVectors.find("someone/vectors.txt")
    (tmp_path / "someone").rename(tmp_path / "static-8M")
    (tmp_path / "someone").mkdir()
    (tmp_path / "static-8M").rename(tmp_path / "someone" / "static-8M")
    assert PretrainedVectors.find("someone/static-8M").title == "static-8M"
    assert len(asked) == 1


def test_a_hub_that_cannot_be_reached_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise socket.gaierror(-2, "no network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(InputError, match=r"cannot be loaded from the hub \(.*: name a f") as caught:
        PretrainedVectors.find("someone/static-that-nobody-has")
    assert len(str(caught.value).splitlines()) == 1


# --- character n-grams -----------------------------------------------------------------------

NGRAMS = ["2gram-#BEGIN#c", "2gram-ca", "2gram-an", "3gram-#BEGIN#ca", "3gram-ana", "4gram-t#END#",
          "2gram-t#END#", "2gram-ç#END#", "4gram-anan", "2gram-zz"]  # fmt: skip


def write_ngrams() -> Path:
    """Write vectors of n-grams where torchtext has them."""
    rng = np.random.default_rng(2)
    lines = [f"{name} {' '.join(map(str, rng.normal(size=4)))}" for name in NGRAMS]
    named.CACHE.mkdir(exist_ok=True)
    path = named.CACHE / str(CharNGram.name)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_word_is_the_mean_of_its_ngrams_as_torchtext_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_ngrams()
    # It has https unverified from then on, for the whole process.
    monkeypatch.setattr(ssl, "_create_default_https_context", ssl._create_default_https_context)
    oracle = CharNGram(cache=str(named.CACHE))
    words = ["cat", "banana", "canç", "t", "", "nothing", "Cat"]
    for name in ("charngram.100d", str(path.absolute())):
        found = PretrainedVectors.find(name).read(words, 1_000)
        assert sorted(found.words) == ["Cat", "banana", "canç", "cat", "t"]
        for word, vector in zip(found.words, found.vectors, strict=True):
            np.testing.assert_allclose(vector, oracle[word][0], rtol=1e-5, atol=1e-6)


def test_ngrams_come_out_of_torchtexts_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = write_ngrams().read_bytes()
    (named.CACHE / CharNGram.name).unlink()
    packed = named.CACHE / CharNGram.url.rsplit("/", 1)[1]
    with tarfile.open(packed, "w:gz") as archive:
        for name, inside in (("word.txt", b"a 1"), (f"./{CharNGram.name}", content)):
            entry = tarfile.TarInfo(name)
            entry.size = len(inside)
            archive.addfile(entry, io.BytesIO(inside))
    assert PretrainedVectors.find("charngram.100d").path.read_bytes() == content
    (named.CACHE / CharNGram.name).unlink()
    whole = packed.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"x" * 600):
        packed.write_bytes(damaged)
        with pytest.raises(InputError, match=r"embeddings\.tar\.gz: is damaged, or has no charN"):
            PretrainedVectors.find("charngram.100d")
        assert not (named.CACHE / CharNGram.name).exists()


def test_a_file_without_ngrams_is_refused(tmp_path: Path) -> None:
    (tmp_path / CharNGram.name).write_text("cat 1 2\n")
    with pytest.raises(InputError, match=r"charNgram\.txt: has no vectors of n-grams, such as 2"):
        PretrainedVectors.find(str(tmp_path / CharNGram.name)).read(["cat"], 0)
