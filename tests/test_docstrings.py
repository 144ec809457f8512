import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from textcls.corpus import docstrings
from textcls.corpus.docstrings import fingerprint, read_docstrings, source_files

MARK = "imported.txt"
ALPHA = f'''"""The first module of alpha speaks about itself."""
import pathlib
pathlib.Path(__file__).with_name("{MARK}").write_text("this code must not run")

class Shape:
    """A shape has an area and a name.

        Indented text keeps its indentation.
    The margin goes.
    """
    def area(self):
        r"""Area of the shape in square \\metres."""

if True:
    try:
        async def late():
            """Functions within other statements are read too."""
            def inner():
                """And so are functions within other functions."""
    except ImportError:
        def late():
            """Even the branch for a missing package counts."""

def short():
    """Too few words."""

def symbols():
    """== == == 1 2 3 4 5 6 7 8 9"""

def text():
    x = """This string is no docstring, whatever it looks like."""
    "Nor is this one, because it does not stand first."
'''
ALPHA_TEXTS = [
    "The first module of alpha speaks about itself.",
    "A shape has an area and a name.\n\n    Indented text keeps its indentation.\nThe margin goes.",
    "Area of the shape in square \\metres.",
    "Functions within other statements are read too.",
    "And so are functions within other functions.",
    "Even the branch for a missing package counts.",
]


def write(root: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def module(*texts: str) -> str:
    return "".join(f'def f{i}():\n    """{text}"""\n' for i, text in enumerate(texts))


def texts_of(name: str, count: int) -> list[str]:
    return [f"Text number {i} of the module called {name}." for i in range(count)]


def by_label(table: pa.Table) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in table.to_pylist():
        found.setdefault(row["label"], []).append(row["text"])
    return found


@pytest.fixture
def alpha(tmp_path: Path) -> Path:
    return write(tmp_path, {"alpha/__init__.py": ALPHA})


def test_reads_module_class_and_function_docstrings(alpha: Path) -> None:
    table = read_docstrings(1, roots=[alpha])
    assert table.schema == pa.schema({"text": pa.string(), "label": pa.string()})
    found = by_label(table)
    assert list(found) == ["alpha"]
    assert sorted(found["alpha"]) == sorted(ALPHA_TEXTS)


def test_runs_nothing_of_what_it_reads(alpha: Path) -> None:
    before = set(sys.modules)
    read_docstrings(1, roots=[alpha])
    assert not (alpha / "alpha" / MARK).exists()
    assert "alpha" not in set(sys.modules) - before


def test_source_files_of_packages_and_modules(tmp_path: Path) -> None:
    kept = ["beta/__init__.py", "beta/sub/deep.py", "beta/sub/also.py", "single.py"]
    passed_over = [
        "beta/tests/test_a.py",
        "beta/_vendor/other/a.py",
        "beta/__pycache__/a.py",
        "beta/data.txt",
        "beta-1.0.dist-info/a.py",
        "site-packages/gamma/a.py",
        "idlelib/a.py",
        "lib2to3/a.py",
        "test/a.py",
        "textcls/a.py",
        "__editable___x_1_finder.py",
    ]
    root = write(tmp_path, dict.fromkeys(kept + passed_over, ""))
    assert source_files([root]) == {
        "beta": [root / name for name in sorted(kept[:3])],
        "single": [root / "single.py"],
    }


def test_roots_come_in_order_and_the_first_file_of_a_name_counts(tmp_path: Path) -> None:
    first = write(tmp_path / "1", {"zeta/a.py": ""})
    second = write(tmp_path / "2", {"zeta/a.py": "", "zeta/b.py": "", "eta.py": ""})
    files = source_files([first, second, tmp_path / "missing"])
    assert list(files.items()) == [
        ("zeta", [first / "zeta/a.py", second / "zeta/b.py"]),
        ("eta", [second / "eta.py"]),
    ]


def test_files_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    good = texts_of("good", 3)
    root = write(
        tmp_path,
        {
            "pkg/good.py": b"\xef\xbb\xbf" + module(*good).encode(),  # a byte order mark
            "pkg/broken.py": 'def f(:\n    """This file has an error in its syntax."""',
            "pkg/latin.py": '"""Une phrase en français, écrite à l\'époque."""'.encode("latin-1"),
            "pkg/nul.py": b'"""This file has a zero byte in it."""\0',
            "pkg/deep.py": f'"""This file nests too deep to be parsed."""\n{"(" * 5000}',
            "pkg/surrogate.py": r'"""This text cannot be encoded at all: \ud800."""',
        },
    )
    (root / "pkg/dangling.py").symlink_to(root / "nowhere.py")
    assert sorted(by_label(read_docstrings(1, roots=[root]))["pkg"]) == sorted(good)
    assert fingerprint(roots=[root])


@pytest.mark.filterwarnings("error")
def test_warnings_of_parsed_files_are_silenced(tmp_path: Path) -> None:
    root = write(tmp_path, {"pkg.py": '"""An escape that is \\d invalid in here."""\nx = 1 is 1\n'})
    assert read_docstrings(1, roots=[root]).num_rows == 1


def test_duplicates_stay_with_the_first_package(tmp_path: Path) -> None:
    shared, own = texts_of("shared", 4), texts_of("own", 3)
    root = write(
        tmp_path,
        {
            "a.py": module(*shared, *shared),
            "b.py": module(*shared[:2], *own),
            "c.py": module(*shared),
        },
    )
    found = by_label(read_docstrings(1, roots=[root]))
    assert found == {"a": shared, "b": own}


def test_duplicates_are_made_up_for_under_the_cap(tmp_path: Path) -> None:
    a, b = texts_of("a", 10), texts_of("b", 20)
    root = write(tmp_path, {"a.py": module(*a), "b.py": module(a[0], *b)})
    assert by_label(read_docstrings(10, 10, roots=[root])) == {"a": a, "b": b[:10]}


def test_a_package_that_is_left_out_takes_no_texts_with_it(tmp_path: Path) -> None:
    shared, own = texts_of("shared", 2), texts_of("own", 3)
    root = write(tmp_path, {"a.py": module(*shared), "b.py": module(*shared, *own)})
    assert by_label(read_docstrings(3, roots=[root])) == {"b": shared + own}


def test_caps(tmp_path: Path) -> None:
    large = {f"large/m{i:02}.py": module(*texts_of(f"m{i:02}", 2)) for i in range(20)}
    root = write(
        tmp_path,
        large | {"small.py": module(*texts_of("s", 4)), "middle.py": module(*texts_of("m", 5))},
    )
    found = by_label(read_docstrings(5, 7, roots=[root]))
    assert {label: len(texts) for label, texts in found.items()} == {"large": 7, "middle": 5}
    # Not the alphabetically first files.
    alphabetical = [text for i in range(4) for text in texts_of(f"m{i:02}", 2)]
    assert not set(found["large"]) <= set(alphabetical)


@pytest.mark.parametrize(("low", "high"), [(0, 5), (6, 5)])
def test_impossible_caps(low: int, high: int) -> None:
    with pytest.raises(ValueError, match=f"min_per_class={low}"):
        read_docstrings(low, high, roots=[])


def test_no_packages_give_an_empty_table(tmp_path: Path) -> None:
    table = read_docstrings(roots=[tmp_path])
    assert table.num_rows == 0
    assert table.column_names == ["text", "label"]


def test_child_processes_read_the_same_wherever_the_tree_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = {f"p{i}/m{j}.py": module(*texts_of(f"{i}.{j}", 3)) for i in range(9) for j in range(4)}
    here, there = write(tmp_path / "here", tree), write(tmp_path / "there", tree)
    expected = read_docstrings(2, 8, roots=[here])
    assert expected.num_rows == 9 * 8
    monkeypatch.setattr(docstrings, "_WORTH_CHILDREN", 0)
    assert read_docstrings(2, 8, roots=[there]) == expected


def test_callers_need_no_main_guard(tmp_path: Path) -> None:
    root = write(tmp_path, {"pkg.py": module(*texts_of("pkg", 3))})
    script = (
        "from pathlib import Path\n"
        "from textcls.corpus import docstrings\n"
        "docstrings._WORTH_CHILDREN = 0\n"
        f"print(docstrings.read_docstrings(1, roots=[Path({str(root)!r})]).num_rows)\n"
    )
    done = subprocess.run(
        [sys.executable, "-"],
        input=script,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(docstrings.__file__).parents[2])},
    )
    assert done.stdout == "3\n"


def test_fingerprint_follows_files_and_options(tmp_path: Path) -> None:
    root = write(tmp_path / "a", {"pkg/m.py": "x = 1", "pkg/notes.txt": ""})
    start = fingerprint(roots=[root])
    assert fingerprint(roots=[root]) == start
    assert fingerprint(201, roots=[root]) != start
    assert fingerprint(200, 1501, roots=[root]) != start

    (root / "pkg/notes.txt").write_text("not Python, so it does not count")
    assert fingerprint(roots=[root]) == start
    (root / "pkg/m.py").rename(root / "pkg/n.py")
    renamed = fingerprint(roots=[root])
    assert renamed != start
    os.utime(root / "pkg/n.py", ns=(1, 1))
    touched = fingerprint(roots=[root])
    assert touched != renamed
    (root / "pkg/n.py").write_text("x = 12")
    os.utime(root / "pkg/n.py", ns=(1, 1))
    assert fingerprint(roots=[root]) not in {start, renamed, touched}


@pytest.mark.slow
def test_the_corpus_of_this_machine() -> None:
    table = read_docstrings(max_per_class=200)
    counts = Counter(table["label"].to_pylist())
    assert len(counts) >= 10
    assert table.num_rows >= 2000
    assert set(counts.values()) == {200}
    assert {"asyncio", "numpy", "torch"} <= counts.keys()
    assert len(set(table["text"].to_pylist())) == table.num_rows
