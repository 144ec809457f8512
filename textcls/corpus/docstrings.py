"""Real English text that is on every machine: the docstrings of the installed Python packages.

A text is the docstring of a module, class or function of the standard library or of an installed
package; its label is the top-level package. That makes a corpus of tens of thousands of documents
with no download, which is enough for a first run, for a tutorial and for tests.

Sources are read with ``ast``: no package is imported, none of its code runs.

The module is also a script, which `read_docstrings` starts as its workers: see `_read_in_children`.
For that it imports nothing but the standard library until the table is built.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

# Part of the fingerprint: raise it whenever the code below would read other texts from the same
# files.
_RULES = 1

# Tests say little in English, and a vendored copy carries another package's label.
_SKIPPED_FOLDERS = frozenset(
    {"test", "tests", "_tests", "idlelib", "lib2to3", "__pycache__", "site-packages"}
    | {"_vendor", "vendor", "vendored", "_vendored", "extern", "externals"}
)
# The corpus must not change with every edit of this project, nor with how it is installed.
_PASSED_OVER = re.compile(r"textcls$|__editable__")

_MIN_WORDS = 5
_WORD = re.compile(r"[^\W\d_]{2,}")
_TRIPLE_QUOTES = (b'"""', b"'''")

# Below this many bytes of source, child processes cost more than they save.
_WORTH_CHILDREN = 8_000_000


def default_roots() -> list[Path]:
    """The folders that Python packages lie in: the standard library, then the installed ones."""
    roots = [sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")]
    return [Path(root) for root in dict.fromkeys(roots)]


def source_files(roots: Sequence[Path] | None = None) -> dict[str, list[Path]]:
    """Find the Python files of every top-level package or module.

    Args:
        roots: folders to look in; `default_roots` if not given. Where two hold the same file, the
            first counts, as on ``sys.path``.

    Returns:
        Package name -> its files, sorted by name. Packages of an earlier root come first, and
        within a root they are sorted.
    """
    return {package: list(files.values()) for package, files in _scan(roots).items()}


def fingerprint(
    min_per_class: int = 200, max_per_class: int = 1500, *, roots: Sequence[Path] | None = None
) -> str:
    """Hash what `read_docstrings` depends on, without opening a file.

    Files count by relative name, size and time of change, so that a cache under this key is stale
    as soon as a package is installed, upgraded or removed.
    """
    # The Python version is part of it, because it decides which files parse.
    state = hashlib.blake2b(
        repr((_RULES, sys.version_info[:2], min_per_class, max_per_class)).encode(), digest_size=16
    )
    for files in _scan(roots).values():
        for name, path in files.items():
            try:
                stat = path.stat()
            except OSError:
                continue
            entry = f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
            state.update(entry.encode(errors="surrogateescape"))
    return state.hexdigest()


def read_docstrings(
    min_per_class: int = 200, max_per_class: int = 1500, *, roots: Sequence[Path] | None = None
) -> pa.Table:
    """Read the docstrings of the standard library and of the installed packages.

    A text has at least about five words and stands in the table once: one that several packages
    share (a copied module) belongs to the first of them, in the order of `source_files`.
    The same packages give the same table on every machine. Rows are grouped by label.

    Args:
        min_per_class: leave out packages with fewer texts than this.
        max_per_class: read at most this many texts of a package, from files all over it.
        roots: folders to look in; `default_roots` if not given.

    Returns:
        A table of two string columns, ``text`` and ``label``.
    """
    import pyarrow as pa

    if not 1 <= min_per_class <= max_per_class:
        raise ValueError(
            f"min_per_class={min_per_class} and max_per_class={max_per_class}: "
            "need 1 <= min_per_class <= max_per_class"
        )
    # Files in the order of a hash of their names: spread over the package, the same everywhere,
    # and one file more or less leaves the order of the others alone.
    packages = {
        package: [str(files[name]) for name in sorted(files, key=_shuffled)]
        for package, files in _scan(roots).items()
    }
    # A tenth more, to make up for texts that an earlier package turns out to have as well.
    found = _read_all(packages, min_per_class, max_per_class + max_per_class // 10)

    texts: list[str] = []
    labels: list[str] = []
    seen: set[str] = set()
    for package in packages:  # not `found`: workers answer in any order
        own = [text for text in found.get(package, ()) if text not in seen][:max_per_class]
        if len(own) >= min_per_class:
            seen.update(own)
            texts += own
            labels += [package] * len(own)
    return pa.table({"text": pa.array(texts, pa.string()), "label": pa.array(labels, pa.string())})


def _scan(roots: Sequence[Path] | None) -> dict[str, dict[str, Path]]:
    """Package -> relative name (with forward slashes) -> file."""
    packages: dict[str, dict[str, Path]] = {}
    for root in default_roots() if roots is None else roots:
        names = (f.relative_to(root).as_posix() for f in _python_files(root))
        for name in sorted(names):
            package = name.split("/", 1)[0].removesuffix(".py")
            if package.isidentifier() and not _PASSED_OVER.match(package):
                packages.setdefault(package, {}).setdefault(name, root / name)
    return packages


def _python_files(root: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        # What is not an identifier cannot be imported: `x.dist-info`, `lib-dynload`, `x.libs`.
        subfolders[:] = [s for s in subfolders if s.isidentifier() and s not in _SKIPPED_FOLDERS]
        for name in names:
            if name.endswith(".py"):
                yield Path(folder, name)


def _shuffled(name: str) -> bytes:
    return hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=8).digest()


def _read_all(
    packages: Mapping[str, Sequence[str]], minimum: int, maximum: int
) -> dict[str, list[str]]:
    sizes = {p: sum(_size(f) for f in files) for p, files in packages.items()}
    if sum(sizes.values()) < _WORTH_CHILDREN or not sys.executable:
        return _read_packages(packages, minimum, maximum)
    # On one core a child still pays: it parses without the garbage collector.
    workers = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return _read_in_children(packages, minimum, maximum, sizes, workers)


def _read_in_children(
    packages: Mapping[str, Sequence[str]],
    minimum: int,
    maximum: int,
    sizes: Mapping[str, int],
    workers: int,
) -> dict[str, list[str]]:
    """Read in several bare Python processes at once, each of which runs this file.

    Not multiprocessing: its workers import the caller's main module again (with torch: seconds
    each, and an endless loop where it lacks an ``if __name__ == "__main__"``), or they are forked
    from a process that has threads, which may hang. These start in 20 ms, on every system.
    """
    # More portions than workers even out the load; each gets large and small packages.
    by_size = sorted(packages, key=lambda package: -sizes[package])
    portions = [by_size[i :: 4 * workers] for i in range(4 * workers)]

    def read(portion: Sequence[str]) -> dict[str, list[str]]:
        request = [{package: packages[package] for package in portion}, minimum, maximum]
        answer = subprocess.run(
            # Isolated (-I) and without site-packages (-S): nothing but the standard library.
            [sys.executable, "-I", "-S", __file__],
            input=json.dumps(request).encode(),
            stdout=subprocess.PIPE,
            check=True,
        )
        texts: dict[str, list[str]] = json.loads(answer.stdout)
        return texts

    found: dict[str, list[str]] = {}
    with ThreadPoolExecutor(workers) as pool:
        for texts in pool.map(read, filter(None, portions)):
            found.update(texts)
    return found


def _read_packages(
    packages: Mapping[str, Sequence[str]], minimum: int, maximum: int
) -> dict[str, list[str]]:
    found = {}
    for package, files in packages.items():
        # Parsing is what takes the time, and most packages are too small to pass.
        if _may_reach(files, minimum):
            texts = _read_package(files, maximum)
            if len(texts) >= minimum:
                found[package] = texts
    return found


def _may_reach(files: Sequence[str], minimum: int) -> bool:
    """Whether there are triple quotes enough for so many docstrings (two each)."""
    quotes = 0
    for file in files:
        source = _read_bytes(file)
        quotes += sum(source.count(q) for q in _TRIPLE_QUOTES)
        if quotes >= 2 * minimum:
            return True
    return False


def _read_package(files: Sequence[str], maximum: int) -> list[str]:
    texts: dict[str, None] = {}  # a set that keeps its order
    for file in files:
        for text in _docstrings(_read_bytes(file)):
            if len(_WORD.findall(text)) >= _MIN_WORDS:
                texts[text] = None
                if len(texts) == maximum:
                    return list(texts)
    return list(texts)


def _docstrings(source: bytes) -> list[str]:
    """The cleaned docstrings of one file, outermost first; none if it is no valid UTF-8 Python."""
    if not any(q in source for q in _TRIPLE_QUOTES):
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes and the like are not ours to report
            tree = ast.parse(source.decode("utf-8-sig"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # ValueError: encoding, NUL
        return []
    texts = []
    # Not ast.walk: docstrings hang on statements, and expressions are nine tenths of a tree.
    nodes: deque[ast.AST] = deque([tree])
    while nodes:
        node = nodes.popleft()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            # "\ud800" in a source is a lone surrogate, which no UTF-8 column can hold.
            if text and not any("\ud800" <= c <= "\udfff" for c in text):
                texts.append(text)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
                nodes.append(child)
    return texts


def _read_bytes(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError:
        return b""


def _size(file: str) -> int:
    try:
        return os.stat(file).st_size
    except OSError:
        return 0


if __name__ == "__main__":
    gc.disable()  # syntax trees have no cycles: collecting them only costs time
    json.dump(_read_packages(*json.load(sys.stdin)), sys.stdout)
