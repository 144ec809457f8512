"""Files as streams of UTF-8: compression and byte order marks are found out by content."""

from __future__ import annotations

import codecs
import contextlib
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal, NoReturn

import numpy as np
import pyarrow as pa

from textcls.errors import InputError, first_line, raise_if_out_of_memory
from textcls.naming import option

# By the bytes that such a file begins with; bzip2's first ones alone could be text.
_COMPRESSIONS = (
    (re.compile(rb"\x1f\x8b"), "gzip"),
    (re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), "bzip2"),
    (re.compile(rb"\xfd7zXZ\x00"), "xz"),
    (re.compile(rb"\x28\xb5\x2f\xfd"), "zstd"),
    (re.compile(rb"PK(\x03\x04|\x05\x06)"), "zip"),
)
_SUFFIXES = {".gz", ".gzip", ".bz2", ".xz", ".zst", ".zstd", ".zip"}
# What file managers put beside the files of an archive.
_NO_MEMBERS = re.compile(r"(^|/)(__MACOSX/|\.|Thumbs\.db$|desktop\.ini$)")
# UTF-32's before UTF-16's, which begin alike.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Encodings of many letters alike, of which charset_normalizer guesses the one; the other is the
# more frequent where both are plausible.
_COMMONER = {"cp1250": "cp1252", "cp949": "cp932"}
_PIECE_BYTES = 1 << 20
Errors = Literal["strict", "replace"]
# Another encoding is guessed from this much before and after the byte that is not of the one tried.
_GUESSED_BYTES = 1 << 14
_DAMAGED = "its compressed data are damaged, or cut short: copy or download it again"
# What is looked at to find out how a file is written.
SAMPLE_BYTES = 1 << 18


def unpacked_name(path: Path) -> str:
    """Return the name of a file without what says that it is compressed."""
    return path.stem if path.suffix.lower() in _SUFFIXES else path.name


class Unpacked:
    """A file's bytes without its compression.

    Args:
        path: the file; its compression is known by its first bytes, whatever its name.

    Attributes:
        name: of the file inside, which says its format: ``reviews.csv`` for ``reviews.csv.gz``.
        compression: gzip, bzip2, xz, zstd, zip or None.
        is_workbook: whether it is an Excel workbook (a zip archive that is read as it is).

    Raises:
        InputError: it cannot be opened, or is an archive of several files.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            raise InputError(f"{path}: is a folder, not a file")
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is no regular file: give its lines on standard input")
        with _file_errors(path), path.open("rb") as file:
            self.compression = compression_of(file.read(16))
        self.name = unpacked_name(path)
        self.is_workbook = False
        self._member = ""
        if self.compression == "zip":
            self._look_into_archive()

    def _look_into_archive(self) -> None:
        with _file_errors(self.path), zipfile.ZipFile(self.path) as archive:
            names = archive.namelist()
            if "[Content_Types].xml" in names:
                self.is_workbook = "xl/workbook.xml" in names
                self.compression = None
                return
            members = [
                item.filename
                for item in archive.infolist()
                if not item.is_dir() and not _NO_MEMBERS.search(item.filename)
            ]
        if len(members) != 1:
            found = ", ".join(members[:3]) or "nothing"
            more = f" and {len(members) - 3} more" if len(members) > 3 else ""
            raise InputError(f"{self.path}: holds {found:.120}{more}: unpack it and name the files")
        self._member = members[0]
        self.name = Path(members[0]).name

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Yield the bytes as a stream.

        Raises:
            InputError: within the block as well, where the compressed data are damaged.
        """
        import bz2
        import gzip
        import lzma

        with _file_errors(self.path), contextlib.ExitStack() as stack:
            file: Any
            if self.compression in ("gzip", "bzip2", "xz"):
                opener: Any = {"gzip": gzip, "bzip2": bz2, "xz": lzma}[self.compression]
                file = opener.open(self.path)
            elif self.compression == "zstd":
                file = pa.CompressedInputStream(pa.OSFile(str(self.path)), "zstd")
            elif self.compression == "zip":
                file = stack.enter_context(zipfile.ZipFile(self.path)).open(self._member)
            else:
                file = self.path.open("rb", buffering=0)
            yield stack.enter_context(file)


def compression_of(start: bytes) -> str | None:
    """Return how data that begin with these bytes are compressed."""
    return next((name for pattern, name in _COMPRESSIONS if pattern.match(start)), None)


@contextlib.contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    """Report a file that cannot be read, or whose compression is damaged, as an InputError."""
    import lzma

    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (
        EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowInvalid,
        UnicodeDecodeError,  # a name in an archive
    ):  # fmt: skip
        raise InputError(f"{path}: {_DAMAGED}") from None
    except (RuntimeError, NotImplementedError) as error:  # zipfile's: a password, a method
        raise InputError(f"{path}: cannot be unpacked ({first_line(error)})") from None
    except OSError as error:
        raise_if_out_of_memory(error)
        if error.errno is None:  # gzip's, bz2's and Arrow's complaints about the content
            raise InputError(f"{path}: {_DAMAGED}") from None
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


class Utf8Stream(io.RawIOBase):
    r"""A text file as UTF-8 bytes, whatever its encoding.

    What :meth:`read` returns never ends within a character, nor between ``\r`` and ``\n``.

    Args:
        file: the bytes.
        path: for messages.
        encoding: of a file that has no byte order mark; a mark decides by itself.
        errors: ``replace`` puts U+FFFD in the place of what cannot be decoded.

    Attributes:
        encoding: the file's; ``with_mark`` says whether a mark says so.

    Raises:
        InputError: an unknown encoding; in ``strict``, a line that is not of this encoding.
    """

    def __init__(
        self,
        file: IO[bytes],
        path: Path,
        encoding: str,
        errors: Errors = "strict",
    ) -> None:
        super().__init__()
        encoding = encoding_by_name(encoding)
        self._file, self._path, self._errors = file, path, errors
        start = _read_fully(file, SAMPLE_BYTES)
        if (compression := compression_of(start)) is not None:
            raise InputError(f"{path}: holds {compression} data within another archive: unpack it")
        mark = next(((m, name) for m, name in _MARKS if start.startswith(m)), None)
        self.with_mark = mark is not None
        if mark is not None:
            start, encoding = start[len(mark[0]) :], mark[1]
        elif encoding == "utf-8" and errors == "strict":
            _raise_if_utf16(start, path)
        self.encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)
        self._lines = 0
        self._pending = b""  # UTF-8 that is not whole without the next piece
        self._ended = len(start) < SAMPLE_BYTES - 4
        self._ahead = self._decoded(start, final=self._ended)  # decoded, and not yet read

    def peek(self) -> tuple[bytes, bool]:
        """Return the first bytes, and whether they are all of the file."""
        return self._ahead, self._ended

    def skip(self, size: int) -> None:
        """Pass over ``size`` bytes of UTF-8."""
        while size and (data := self.read(size)):
            size -= len(data)

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, as io.RawIOBase asks for."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        r"""Return at most ``size`` bytes (all, if negative); none at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(_PIECE_BYTES), b""))
        while not self._ended and len(self._ahead) < size:
            piece = self._file.read(_PIECE_BYTES)
            self._ended = not piece
            self._ahead += self._decoded(piece, final=self._ended)
        data = self._ahead[:size]
        if len(self._ahead) > size:
            data = data[: _whole(data)] or data
        self._ahead = self._ahead[len(data) :]
        return data

    def _decoded(self, piece: bytes, final: bool) -> bytes:
        """Return the UTF-8 of the next bytes of the file, but for what the next piece completes."""
        is_utf8 = self.encoding == "utf-8"
        try:
            if not is_utf8:
                piece = self._decoder.decode(piece, final).encode("utf-8", "replace")
            data = self._pending + piece
            stop = len(data) if final else _whole(data)
            self._pending, data = data[stop:], data[:stop]
            if is_utf8 and not _is_utf8(data):
                data = data.decode("utf-8", self._errors).encode()
        except UnicodeDecodeError as error:
            self._raise_undecodable(error)
        except UnicodeError:  # of UTF-16 and UTF-32, which begin with a mark
            encoding = _working_encoding(self._path, self.encoding, piece)
            raise InputError(
                f"{self._path}: is no {self.encoding}, which begins with a byte order mark: "
                f"say {option('encoding', encoding)}"
            ) from None
        self._lines += data.count(b"\n")
        return data

    def _raise_undecodable(self, error: UnicodeDecodeError) -> NoReturn:
        before = error.object[: error.start].decode(self.encoding, "ignore")
        line = self._lines + before.count("\n") + 1
        value = error.object[error.start]
        start = error.object.rfind(b"\n", 0, max(0, error.start - _GUESSED_BYTES)) + 1
        sample = error.object[start : error.start + _GUESSED_BYTES]
        encoding = _working_encoding(self._path, self.encoding, sample)
        raise InputError(
            f"{self._path}: line {line:,} is not {self.encoding} (byte 0x{value:02x}): "
            f"name its encoding, as in {option('encoding', encoding)}"
        ) from None


def encoding_by_name(name: str) -> str:
    """Return Python's own name of an encoding: ``utf-8`` for ``UTF8``.

    Raises:
        InputError: there is none of that name, or it is not one of text (``base64``).
    """
    try:
        b"x".decode(name, "ignore")  # fails for codecs that are not of text as well
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        raise InputError(f"{option('encoding', name)}: there is no such encoding") from None


def _read_fully(file: IO[bytes], size: int) -> bytes:
    """Read ``size`` bytes unless the file ends before; ``file.read`` may return fewer."""
    pieces, missing = [], size
    while missing and (piece := file.read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def _whole(data: bytes) -> int:
    r"""Return how many bytes there are without a character cut short, or ``\r``, at the end."""
    size = len(data)
    if data.endswith(b"\r"):
        return size - 1
    for back in range(1, min(3, size) + 1):
        byte = data[-back]
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return size - back if needed > back else size
        if byte < 0x80:
            break
    return size


def _is_utf8(data: bytes) -> bool:
    # Arrow checks several gigabytes a second, and makes no string of them.
    offsets = pa.py_buffer(np.array([0, len(data)], np.int64))
    array = pa.Array.from_buffers(pa.large_string(), 1, [None, offsets, pa.py_buffer(data)])
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _raise_if_utf16(start: bytes, path: Path) -> None:
    """Refuse what is UTF-16 without a mark: as UTF-8 it would be text with a NUL at each letter."""
    even, odd = start[0::2].count(0), start[1::2].count(0)
    for zeros, others, name in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if len(start) >= 8 and zeros > 0.3 * len(start) / 2 and others < 0.05 * len(start) / 2:
            raise InputError(f"{path}: is {name}, without a mark: say {option('encoding', name)}")


def _working_encoding(path: Path, tried: str, sample: bytes) -> str:
    """Return the most plausible encoding by which all of the file can be decoded.

    Args:
        path: the file.
        tried: the encoding that it is not of.
        sample: bytes around one that shows that, from which the encoding is guessed.
    """
    from charset_normalizer import from_bytes

    matches = list(from_bytes(sample))
    plausible = {name for match in matches for name in match.could_be_from_charset}
    guess = matches[0].encoding if matches else "cp1252"
    if _COMMONER.get(guess) in plausible:
        guess = _COMMONER[guess]
    for name in ("utf-8", guess, "cp1252", "latin-1"):
        if codecs.lookup(name).name == codecs.lookup(tried).name or name == "ascii":
            continue
        decoder = codecs.getincrementaldecoder(name)()
        try:
            with Unpacked(path).open() as file:
                while piece := file.read(_PIECE_BYTES):
                    decoder.decode(piece)
                decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            continue
        return name.replace("_", "-")
    return "latin-1"
