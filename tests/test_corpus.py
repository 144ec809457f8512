from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import make_config, shared, with_options
from textcls.config import DataConfig, Reading
from textcls.corpus import delimited
from textcls.corpus.corpus import Corpus, Source
from textcls.corpus.reading import read_texts
from textcls.corpus.splits import RowLabels, Split, stratified_cut
from textcls.errors import InputError

Write = Callable[..., str]
ROWS = [("what a film", "good"), ("never again", "bad"), ("fine", "good"), ("no", "bad")] * 5
TEXTS, LABELS = [text for text, _ in ROWS], [label for _, label in ROWS]


def data_config(**changes: Any) -> DataConfig:
    config = make_config("data=local", "data.train=x")
    return with_options(config, "data", **changes).data


def read(**changes: Any) -> Corpus:
    return Source(data_config(**changes)).read()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(content: str | bytes, name: str) -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return _write


def contents(suffix: str) -> str | bytes:
    pairs = list(zip(TEXTS, LABELS, strict=True))
    if suffix in ("csv", "tsv"):
        tab = {"csv": ",", "tsv": "\t"}[suffix]
        return f"text{tab}label\n" + "".join(f"{t}{tab}{y}\n" for t, y in pairs)
    if suffix in ("jsonl", "ndjson"):
        return "".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in pairs)
    if suffix == "json":
        return json.dumps([{"text": t, "label": y} for t, y in pairs])
    if suffix == "txt":
        return "".join(f"__label__{y} {t}\n" for t, y in pairs)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": TEXTS, "label": LABELS}), sink)
    return bytes(sink.getvalue())


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl", "ndjson", "txt", "parquet"])
def test_every_format_gives_the_same_corpus(suffix: str, write: Write) -> None:
    train = write(contents(suffix), f"train.{suffix}")
    corpus = read(train=train, validation=train, test=train)
    assert corpus.label_names == ("bad", "good")
    for split in corpus.splits.values():
        assert split.texts.to_pylist() == TEXTS
        assert split.labels.ids.tolist() == [["bad", "good"].index(y) for y in LABELS]
        assert split.labels.ids.dtype == np.int64


def test_compressed_files_globs_and_odd_names(write: Write, tmp_path: Path) -> None:
    whole = contents("csv")
    assert isinstance(whole, str)
    packed = write(gzip.compress(whole.encode()), "all.csv.gz")
    odd = write(whole, "a [b] {c}*.csv")
    lines = whole.splitlines(keepends=True)
    write("".join(lines[:8]), "part-0.csv")
    write(lines[0] + "".join(lines[8:]), "part-1.csv")
    corpus = read(train=packed, validation=odd, test=str(tmp_path / "part-*.csv"))
    assert [split.texts.to_pylist() for split in corpus.splits.values()] == [TEXTS] * 3


@pytest.mark.parametrize("as_dict", [True, False])
def test_folders_of_save_to_disk(as_dict: bool, tmp_path: Path) -> None:
    names = ["negative", "positive"]  # not in the order of the alphabet's labels, nor of the rows
    features = datasets.Features(
        {"body": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    )
    rows = {"body": TEXTS, "label": [1, 0] * 10}
    dataset = datasets.Dataset.from_dict(rows, features=features)
    if as_dict:
        splits = {"train": dataset, "validation": dataset, "test": dataset.select(range(4))}
        datasets.DatasetDict(splits).save_to_disk(tmp_path / "data")
    else:
        dataset.save_to_disk(tmp_path / "data")
    corpus = read(train=str(tmp_path / "data"))
    assert corpus.label_names == ("negative", "positive")
    if as_dict:
        assert [len(split) for split in corpus.splits.values()] == [20, 20, 4]
        assert corpus.test.texts.to_pylist() == TEXTS[:4]
        assert corpus.test.labels.ids.tolist() == [1, 0, 1, 0]
    else:  # cut: test is 10 % of 20, validation 10 % of the rest, by class
        assert [len(split) for split in corpus.splits.values()] == [16, 2, 2]


def test_a_hub_dataset_with_class_names(tmp_path: Path) -> None:
    # load_dataset takes a local folder for a repository: the same code as for the hub.
    features = datasets.Features(
        {
            "title": datasets.Value("string"),
            "content": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["1", "2"]),
        }
    )
    rows: dict[str, list[Any]] = {"title": ["a", None], "content": ["b", "c"], "label": [1, 0]}
    for split in ("train", "test"):
        table = datasets.Dataset.from_dict({k: v * 10 for k, v in rows.items()}, features=features)
        table.to_parquet(tmp_path / f"{split}.parquet")
    hub = {"source": "hub", "repo": str(tmp_path), "train": "train", "test": "test"}
    corpus = read(**hub, text=("title", "content"), label="label")
    assert corpus.label_names == ("1", "2")
    assert corpus.test.texts.to_pylist()[:2] == ["a b", "c"]
    assert corpus.test.labels.ids.tolist()[:2] == [1, 0]
    named = read(
        **hub, text=("title", "content"), label="label", label_names=("negative", "positive")
    )
    assert named.label_names == ("negative", "positive")
    assert Source(data_config(**hub)).fingerprint == Source(data_config(**hub)).fingerprint


def test_the_hub_out_of_reach_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach 'stanfordnlp/imdb' on the Hub (OfflineMode)\nmore")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(InputError) as caught:
        Source(make_config("data=imdb").data)
    message = str(caught.value)
    assert "stanfordnlp/imdb" in message
    assert "data.train=FILE data.test=FILE" in message
    assert "\n" not in message


# --- columns -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "row", "chosen", "text"),
    [
        ("text,label", "t{i},{y}", {}, "t{i}"),
        ("label,text", "{y},t{i}", {}, "t{i}"),
        ("Class,Review", "{y},t{i}", {}, "t{i}"),
        ("id,sentence,label", "{i},t{i},{y}", {}, "t{i}"),
        ("message,kind", "t{i},{y}", {}, "t{i}"),
        ("foo,label", "t{i},{y}", {}, "t{i}"),
        ("title,body,stars", "t{i},b{i},{y}", {"text": ("body",), "label": "stars"}, "b{i}"),
        ("title,body,stars", "t{i},b{i},{y}",
         {"text": ("title", "body"), "label": "stars"}, "t{i} b{i}"),
        ("a,b", "t{i},{y}", {"text": ("a",)}, "t{i}"),
        ("text,label,label2", "t{i},{y},z", {"label": "label"}, "t{i}"),
    ],
)  # fmt: skip
def test_columns_are_inferred_or_given(
    header: str, row: str, chosen: dict[str, Any], text: str, write: Write
) -> None:
    lines = [row.format(i=i, y="xy"[i % 2]) for i in range(20)]
    train = write("\n".join([header, *lines]), "train.csv")
    corpus = read(train=train, test=train, **chosen)
    assert corpus.test.texts.to_pylist() == [text.format(i=i) for i in range(20)]
    assert corpus.label_names == ("x", "y")


@pytest.mark.parametrize(
    ("header", "chosen", "message"),
    [
        ("text,label,target", {}, r"which column is the label\?.*text, label, target.*data.label="),
        ("text,review,label", {}, r"which column is the text\?.*text, review, label.*data.text="),
        ("a,b,label", {}, r"which column is the text\?"),
        ("a,b", {}, r"which column is the label\?"),
        ("text,label", {"text": ("body",)}, r"data.text=body: there is no such column"),
        ("text,label", {"label": "y"}, r"data.label=y: there is no such column"),
    ],
)  # fmt: skip
def test_missing_and_ambiguous_columns(
    header: str, chosen: dict[str, Any], message: str, write: Write
) -> None:
    row = ",".join("x" for _ in header.split(","))
    train = write(f"{header}\n{row}\n{row}\n", "train.csv")
    with pytest.raises(InputError, match=message):
        read(train=train, **chosen)


def test_a_headerless_csv_and_another_encoding(write: Write) -> None:
    rows = "".join(f'{1 + i % 2};"caf\xe9; {i}"\n' for i in range(20))
    train = write(rows.encode("latin-1"), "train.csv")
    corpus = read(
        train=train, test=train, columns=("label", "text"), delimiter=";", encoding="latin-1"
    )
    assert corpus.test.texts.to_pylist()[0] == "café; 0"
    assert corpus.label_names == ("1", "2")


def test_texts_that_look_like_other_things_stay_texts(write: Write) -> None:
    words = ["NA", "null", "123", "1e5", "true", "2020-01-01", "nan", "None"]
    lines = [f"{word},{'ab'[i % 2]}" for i, word in enumerate(words)]
    train = write("text,label\n" + "\n".join(lines), "train.csv")
    assert read(train=train, test=train, validation=train).test.texts.to_pylist() == words


# --- labels ------------------------------------------------------------------------------------


def test_numbers_are_ordered_as_numbers_and_may_be_named(write: Write) -> None:
    lines = [f"t,{i % 11}" for i in range(110)]
    train = write("text,label\n" + "\n".join(lines), "train.csv")
    assert read(train=train).label_names == tuple(str(i) for i in range(11))
    names = tuple("zyxwvutsrqp")
    named = read(train=train, test=train, label_names=names)
    assert named.label_names == names
    assert named.test.labels.ids[:3].tolist() == [0, 1, 2]
    with pytest.raises(
        InputError, match=r"line 12 has the label 10, but there are names for 0 to 9"
    ):
        read(train=train, label_names=names[:10])


def test_fasttext_takes_the_first_label_and_knows_the_others(write: Write) -> None:
    train = write("__label__a __label__c one\n__label__b two __label__z\n" * 10, "train.txt")
    test = write("__label__c three\n__label__a\n", "test.txt")
    corpus = read(train=train, validation=train, test=test, task="single")
    assert corpus.label_names == ("a", "b", "c")
    assert corpus.train.texts.to_pylist()[:2] == ["one", "two __label__z"]
    assert corpus.test.labels.ids.tolist() == [2, 0]
    assert corpus.test.texts.to_pylist() == ["three", ""]
    assert any("10 rows have several labels" in note for note in corpus.notes)


def test_the_real_multi_label_file() -> None:
    train, test = shared("cooking/train.txt"), shared("cooking/test.txt")
    corpus = read(train=str(train), test=str(test))
    lines = test.read_text(encoding="utf-8").splitlines()
    expected = [set(re.findall("(?<=__label__)[^ ]+", line)) for line in lines]
    known = set(corpus.label_names)
    found = [{corpus.label_names[i] for i in row} for row in corpus.test.labels.lists()]
    assert found == [labels & known for labels in expected]
    left_out = sum(len(labels - known) for labels in expected)
    assert any(f"{left_out} label" in note for note in corpus.notes)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("text,label\na,x\nb,x\n", "text,label\na,x\n", r"train.csv: every row has the label 'x'"),
        ("text,label\na,x\nb,y\n", "text,label\na,x\nc,q\n",
         r"test.csv: line 3 has the label 'q', which train never has \(1 such row\)"),
        ("text,label\na,x\nb,y\n", "text,label\n", r"test.csv: the test split is empty"),
        ("text,label\n", "text,label\na,x\n", r"train.csv: the train split is empty"),
        ("", "text,label\na,x\n", r"train.csv: is empty"),
        ("text,label\na,x\nb,\nc,y\n", "text,label\na,x\n", r"train.csv: line 3 has no label"),
        ("text,label\na,x\nb,y\n", "words,label\na,x\n",
         r"test.csv has the columns words, label: there is no column 'text'"),
        ("text,label\na,x\nb,y,z,w\n", "text,label\na,x\n",
         r"train.csv: line 3 has 4 fields, the first has 2: quote the text"),
        ("text,label\na,x,1\nb,y,2\n", "text,label\na,x\n",
         r"train.csv: line 2 has 3 fields, the first has 2"),
        ("text,text\na,x\n", "text,label\na,x\n", r"train.csv: two columns have one name"),
        ("text,label\na,x\nb,y\n", "text,label\na,x\n",
         r"2 rows are too few to cut a validation split: give data.validation=FILE"),
    ],
)  # fmt: skip
def test_bad_rows(train: str, test: str, message: str, write: Write) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(train=write(train, "train.csv"), test=write(test, "test.csv"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"text,label\nok,x\ncaf\xe9,y\n",
         r"a.csv: line 3 is not utf-8 \(byte 0xe9\): name its encoding"),
        ("a.jsonl", b'{"text":"ok","label":"x"}\n{"text":"caf\xe9","label":"y"}\n',
         "line 2 is not utf-8"),
        ("a.txt", b"__label__a ok\n__label__b caf\xe9\n", "line 2 is not utf-8"),
        ("a.txt", b"__label__a ok\nno label\n", "line 2 does not begin with __label__"),
        ("a.txt", b"", r"a.txt: is empty"),
        ("a.jsonl", b'{"text":"ok","label":"x"}\n{"text" "x"}\n', r"a.jsonl: line 2 is no JSON"),
        ("a.parquet", b"no parquet", "is no Parquet file"),
        ("a.xlsx", b"", r"a.xlsx: is empty"),
        ("a.csv.gz", b"not packed", "not packed only: a text and a label"),
    ],
)  # fmt: skip
def test_unreadable_files(name: str, content: bytes, message: str, write: Write) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(train=write(content, name))
    assert "\n" not in str(caught.value)


def test_globs_of_files_that_do_not_belong_together(tmp_path: Path) -> None:
    for name, names in (("a", ["x", "y"]), ("b", ["y", "x"])):
        features = datasets.Features(
            {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
        )
        dataset = datasets.Dataset.from_dict({"text": ["t"], "label": [0]}, features=features)
        dataset.to_parquet(tmp_path / f"{name}.parquet")
        dataset.save_to_disk(tmp_path / f"folder-{name}")
    with pytest.raises(InputError, match="numbers its labels otherwise"):
        read(train=str(tmp_path / "?.parquet"))
    with pytest.raises(InputError, match="names several folders"):
        read(train=str(tmp_path / "folder-*"))


def test_fasttext_blank_lines_and_byte_order_mark_do_not_matter(write: Write) -> None:
    train = write("\ufeff__label__a one\n\n__label__b two\n \n" * 1, "train.txt")
    corpus = read(train=train, validation=train, test=train)
    assert corpus.test.texts.to_pylist() == ["one", "two"]
    assert corpus.label_names == ("a", "b")


def test_a_text_of_any_length_in_a_headerless_csv(write: Write) -> None:
    train = write(f"{'long ' * 50_000},x\nshort,y\n", "train.csv")
    corpus = read(train=train, validation=train, test=train, columns=("text", "label"))
    assert len(corpus.test) == 2


def test_invalid_utf8_inside_parquet_names_the_row(tmp_path: Path) -> None:
    texts = pa.array([b"ok", b"caf\xe9", b"x"]).view(pa.string())
    pq.write_table(pa.table({"text": texts, "label": ["a", "b", "a"]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a.parquet: row 2 is not UTF-8"):
        read(train=str(tmp_path / "a.parquet"))


def test_a_wrong_delimiter_makes_no_text_of_whole_lines(write: Write) -> None:
    path = write("id;text\n1;what a film\n2;never again\n", "new.csv")
    with pytest.raises(InputError, match=r"column id;text only, .* say data.delimiter=';'"):
        list(read_texts(Path(path), Reading(delimiter=","), Reading()))
    assert next(read_texts(Path(path), Reading(), Reading())).to_pylist()[1] == "never again"


def test_several_text_columns_of_which_some_are_empty(write: Write) -> None:
    rows = ["a,b,x", ",b,y", "a,,x", ",,y"]
    train = write("title,body,label\n" + "\n".join(rows * 5) + "\n", "train.csv")
    both = ("title", "body")
    corpus = read(train=train, test=train, validation=train, text=both)
    assert corpus.test.texts.to_pylist() == ["a b", "b", "a", None] * 5
    assert len(corpus.test.labels) == 20
    pieces = read_texts(Path(train), Reading(text=both), Reading())
    assert [text for texts in pieces for text in texts.to_pylist()] == ["a b", "b", "a", None] * 5


def test_a_line_end_on_the_edge_of_a_block(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "BATCH_BYTES", 100)
    for shift in range(12):
        texts = [f"{'x' * (shift + i % 7)}\r\n{i}\r\n" for i in range(60)]
        content = io.StringIO(newline="")
        csv.writer(content).writerows([("text", "label"), *((t, "ab"[len(t) % 2]) for t in texts)])
        train = write(content.getvalue(), "train.csv")
        assert read(train=train, test=train, validation=train).test.texts.to_pylist() == texts


def test_missing_files_and_encodings(write: Write) -> None:
    with pytest.raises(InputError, match=r"data.train=/no/such.csv: there is no such file"):
        read(train="/no/such.csv")
    train = write(contents("csv"), "train.csv")
    with pytest.raises(InputError, match=r"data.test='/no/\*.csv': there is no such file"):
        read(train=train, test="/no/*.csv")
    with pytest.raises(InputError, match=r"encoding"):
        read(train=train, encoding="utf-99")


def test_null_texts_are_kept_counted_and_said(write: Write) -> None:
    lines = [f"{'' if i % 4 == 0 else 'word'},{'ab'[i % 2]}" for i in range(40)]
    train = write("text,label\n" + "\n".join(lines), "train.csv")
    corpus = read(train=train, test=train)
    assert len(corpus.test) == 40
    assert corpus.test.texts.null_count == 10
    assert any("10 rows have no text" in note for note in corpus.notes)


def test_unlabelled_rows_of_a_class_label_column(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["a", "b"])}
    )
    rows = {"text": ["x", "y", "z"], "label": [0, 1, -1]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "data")
    with pytest.raises(InputError, match=r"row 3 has no label"):
        read(train=str(tmp_path / "data"))


def test_blank_rows_and_repeated_headers_are_left_out_and_lines_stay_true(
    write: Write, tmp_path: Path
) -> None:
    rows = "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(20))
    write(f"text,label\n{rows},\ntext,label\n{rows},\n,\n", "part-1.csv")
    write(f"text,label\n,\n{rows}one more,\n", "part-2.csv")
    with pytest.raises(InputError, match=r"part-2.csv: line 23 has no label .*\(1 such row\)"):
        read(train=str(tmp_path / "part-*.csv"))
    train = str(tmp_path / "part-1.csv")
    corpus = read(train=train, test=train, validation=train)
    assert len(corpus.test) == 40
    assert any("1 row repeats the header: left out" in note for note in corpus.notes)
    predicted = [t for texts in read_texts(Path(train), Reading(), Reading()) for t in texts]
    assert len(predicted) == 44  # there, each row has its answer
    assert any("3 rows have neither text nor label: left out" in note for note in corpus.notes)


# --- cutting -----------------------------------------------------------------------------------


def test_the_cut_keeps_proportions_and_singletons() -> None:
    labels = np.repeat([0, 1, 2, 3], [1000, 100, 5, 1])
    held = stratified_cut(labels, 0.1, np.random.default_rng(0))
    assert np.bincount(labels[held], minlength=4).tolist() == [100, 10, 1, 0]
    again = stratified_cut(labels, 0.1, np.random.default_rng(0))
    other = stratified_cut(labels, 0.1, np.random.default_rng(1))
    assert (held == again).all()
    assert (held != other).any()


def test_what_is_cut_is_not_trained_on(write: Write) -> None:
    rows = "".join(f"text number {i},{'ab'[i % 2]}\n" for i in range(100))
    corpus = read(train=write("text,label\n" + rows, "train.csv"))
    parts = [set(split.texts.to_pylist()) for split in corpus.splits.values()]
    assert [len(part) for part in parts] == [80, 10, 10]
    assert len(set.union(*parts)) == 100


@given(st.lists(st.lists(st.booleans(), max_size=4), min_size=1, max_size=5))
def test_a_cut_keeps_order_and_uses_up_what_it_cuts(chunks: list[list[bool]]) -> None:
    held = np.array([wanted for chunk in chunks for wanted in chunk], np.bool_)
    rows = iter(range(len(held)))
    split = Split(
        [pa.array([str(next(rows)) for _ in chunk], pa.string()) for chunk in chunks],
        RowLabels(np.arange(len(held))),
        "here",
    )
    inside, outside = split.cut(held)
    assert split.chunks == []
    for part, wanted in ((inside, held), (outside, ~held)):
        assert part.labels.ids.tolist() == np.flatnonzero(wanted).tolist()
        assert part.texts.to_pylist() == [str(i) for i in np.flatnonzero(wanted)]
