"""Vectors by the names that torchtext has for them: in its cache, or downloaded into it."""

from __future__ import annotations

import http.client
import io
import logging
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path
from typing import IO

from textcls.errors import InputError, first_line
from textcls.files import whole_file

log = logging.getLogger("textcls")

# Where torchtext keeps them, in the current folder.
CACHE = Path(".vector_cache")
_TIMEOUT = 30.0


def names() -> tuple[str, ...]:
    """Return the names of vectors of words, such as ``glove.6B.100d``."""
    return tuple(_addresses())


def file_of(name: str) -> Path:
    """Return the file of one of the names.

    Raises:
        InputError: it is not in the cache, and cannot be downloaded.
        OSError: it cannot be written.
    """
    address, member = _addresses()[name]
    path = CACHE / member
    if path.is_file():
        return path
    CACHE.mkdir(exist_ok=True)
    packed = path if address.endswith(member) else CACHE / address.rsplit("/", 1)[1]
    try:
        if not packed.is_file():
            _download(address, packed)
        if packed != path:
            _unpack(packed, member, path)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
        raise InputError(
            f"model.vectors={name}: {address} cannot be downloaded ({first_line(error)}): put "
            f"{member} into {CACHE}, or name a file"
        ) from None
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, KeyError, EOFError) as error:
        raise InputError(
            f"{packed}: is damaged, or has no {member} ({first_line(error)}): delete it"
        ) from None
    return path


def _addresses() -> dict[str, tuple[str, str]]:
    """Return by name what to download, and the file in it."""
    from torchtext.vocab import CharNGram, FastText, GloVe, pretrained_aliases

    found = {}
    for name, made in pretrained_aliases.items():
        options = made.keywords
        if made.func is GloVe:
            found[name] = GloVe.url[options["name"]], f"{name}.txt"
        elif made.func is CharNGram:
            found[name] = CharNGram.url, CharNGram.name
        elif made.func is FastText:
            address = FastText.url_base.format(options["language"])
            found[name] = address, address.rsplit("/", 1)[1]
    return found


def _download(address: str, path: Path) -> None:
    log.info("downloading %s", address)
    with urllib.request.urlopen(address, timeout=_TIMEOUT) as source:
        _write(source, path)


def _unpack(packed: Path, member: str, path: Path) -> None:
    if packed.suffix == ".zip":
        with zipfile.ZipFile(packed) as archive, archive.open(member) as source:
            _write(source, path)
        return
    with tarfile.open(packed) as tar:
        for one in tar:
            if one.isfile() and Path(one.name).name == member:
                with tar.extractfile(one) or io.BytesIO() as content:
                    _write(content, path)
                return
    raise KeyError(member)


def _write(source: IO[bytes] | http.client.HTTPResponse, path: Path) -> None:
    with whole_file(path) as scratch, scratch.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
