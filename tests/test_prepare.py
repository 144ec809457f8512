from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from tests.conftest import PROJECT, make_config, write_csv
from textcls.config import Config
from textcls.corpus.corpus import Corpus, Source
from textcls.data.key import key_of
from textcls.data.prepare import Prepared, prepare
from textcls.data.sharded import in_memory
from textcls.defaults import resolve
from textcls.errors import InputError, TextclsError


@pytest.fixture
def config(tmp_path: Path) -> Config:
    train = write_csv(tmp_path / "train.csv", 60)
    test = write_csv(tmp_path / "test.csv", 20, shift=1)
    return make_config("data=local", f"data.train={train}", f"data.test={test}")


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Config], Prepared]:
    return lambda config: prepare(config.data, config.tokenizer, tmp_path / "cache")


Run = Callable[[Config], Prepared]


def entries(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "cache").iterdir() if path.is_dir())


def changed(config: Config, *overrides: str) -> Config:
    data = config.data
    return make_config(
        "data=local", f"data.train={data.train}", f"data.test={data.test}", *overrides
    )


def test_bags_hold_the_tokens_of_the_texts(config: Config, run: Run) -> None:
    prepared = run(config)
    words = prepared.encoder.vocabulary.tokens.to_pylist()
    bags = in_memory(prepared.test)
    first = [words[i] for i in bags.indices[: bags.offsets[1]].tolist()]
    assert first == ["item", "0", "was", "lovely", "and", "lovely"]
    assert prepared.label_names == ("bad", "good")
    assert bags.labels[:2].tolist() == [1, 0]
    assert len(prepared.train) == 54
    assert len(prepared.validation) == 6


def test_the_vocabulary_sees_the_train_split_only(config: Config, run: Run) -> None:
    assert config.data.test is not None
    with open(config.data.test, "a") as file:
        file.write("onlytest onlytest onlytest,good\n")
    prepared = run(config)
    assert "onlytest" not in prepared.encoder.vocabulary.tokens.to_pylist()
    assert in_memory(prepared.test).indices[-3:].tolist() == [0, 0, 0]
    # Nor does it see the rows that are held out for validation: the counts say so.
    assert prepared.encoder.vocabulary.counts.sum() == prepared.train.num_tokens


def test_an_entry_is_found_again(config: Config, run: Run, tmp_path: Path) -> None:
    first = run(config)
    again = run(config)
    assert (first.from_cache, again.from_cache) == (False, True)
    for split in ("train", "validation", "test"):
        a, b = getattr(first, split), getattr(again, split)
        assert torch.equal(a.indices, b.indices)
        assert torch.equal(a.offsets, b.offsets)
        assert torch.equal(a.labels, b.labels)
    assert len(entries(tmp_path)) == 1


@pytest.mark.parametrize("tokenizer", ["basic", "bpe"])
def test_the_joined_entry_that_is_made_beside_is_that_which_is_made_alone(
    tokenizer: str, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = changed(config, "experiment=null", f"tokenizer={tokenizer}")
    count, read = [0], Source.read

    def counted(source: Source, *known_labels: Sequence[str]) -> Corpus:
        count[0] += 1
        return read(source, *known_labels)

    monkeypatch.setattr(Source, "read", counted)
    plain = prepare(config.data, config.tokenizer, tmp_path / "alone")
    chosen = resolve(config, plain.about).tokenizer
    alone = prepare(config.data, chosen, tmp_path / "alone", joined=True)
    assert count == [2]
    beside = prepare(config.data, config.tokenizer, tmp_path / "both", both=True)
    joined = prepare(config.data, chosen, tmp_path / "both", joined=True)
    assert len(joined.train) == len(beside.train) + len(beside.validation)
    if tokenizer == "bpe":  # learns from the texts of train, anew and not quite the same each time
        assert (count, joined.from_cache) == ([4], False)
        return
    assert (count, joined.from_cache) == ([3], True)
    for made, expected in ((beside, plain), (joined, alone)):
        assert made.key == expected.key
        assert made.facts == expected.facts
        assert made.encoder.vocabulary.tokens.equals(expected.encoder.vocabulary.tokens)
        for split in ("train", "validation", "test"):
            assert getattr(made, split) == getattr(expected, split)


def test_facts_and_notes_come_out_of_the_cache_too(
    config: Config, run: Run, tmp_path: Path
) -> None:
    train = tmp_path / "train.csv"
    train.write_text(train.read_text() + ",good\n")
    first, again = run(config), run(config)
    assert again.from_cache
    assert first.facts == again.facts
    assert any("train.csv: 1 row has no text" in note for note in again.facts["notes"])
    assert again.facts["columns"] == {"text": ["text"], "label": ["label"], "left": []}


@pytest.mark.parametrize(
    "override",
    [
        "tokenizer.min_freq=2",
        "tokenizer.max_size=5",
        "tokenizer.max_tokens=3",
        "tokenizer.ngrams=2",
        "tokenizer.ngrams=2 tokenizer.buckets=9",
        "tokenizer=torchtext",
        "tokenizer=bpe",
        "data.split_seed=1",
        "data.validation_fraction=0.2",
        "data.encoding=latin-1",
    ],
)
def test_everything_that_matters_makes_another_entry(
    override: str, config: Config, run: Run, tmp_path: Path
) -> None:
    run(config)
    assert not run(changed(config, *override.split())).from_cache
    assert len(entries(tmp_path)) == 2


def test_what_does_not_matter_does_not(config: Config, run: Run, tmp_path: Path) -> None:
    run(config)
    assert run(changed(config, "data.name=other", "seed=9", "model.mode=max")).from_cache
    moved = tmp_path / "elsewhere.csv"
    assert config.data.test is not None
    moved.write_bytes(Path(config.data.test).read_bytes())
    assert run(changed(config, f"data.test={moved}")).from_cache


def test_a_tokenizer_file_counts_by_its_content_not_its_path(
    config: Config, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(changed(config, "tokenizer=bpe"))
    made = entries(tmp_path)[0] / "tokenizer.json"
    (tmp_path / "mine.json").write_bytes(made.read_bytes())
    monkeypatch.chdir(tmp_path)
    first = run(changed(config, "tokenizer=file", "tokenizer.file=mine.json"))
    again = run(changed(config, "tokenizer=file", f"tokenizer.file={tmp_path}/mine.json"))
    assert again.from_cache
    assert again.key == first.key
    (tmp_path / "mine.json").write_bytes(made.read_bytes() + b" ")
    assert not run(changed(config, "tokenizer=file", "tokenizer.file=mine.json")).from_cache


@pytest.mark.parametrize(
    ("name", "package"),
    [("moses", "sacremoses"), ("revtok", "revtok"), ("subword", "revtok"), ("toktok", "nltk"),
     ("spacy", "spacy"), ("spacy", "en_core_web_sm"), ("bpe", "tokenizers")],
)  # fmt: skip
def test_the_versions_of_tokenizers_and_their_models_count(
    name: str, package: str, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = dataclasses.replace(config.tokenizer, name=name, language="en_core_web_sm")  # type: ignore[arg-type]
    keys = []
    for version in ("1", "2"):
        installed = {package: version}
        monkeypatch.setattr(importlib.metadata, "version", lambda name: installed.get(name, "0"))  # noqa: B023
        keys.append(key_of(config.data, options, "fingerprint"))
    assert keys[0] != keys[1]


def test_a_spacy_model_in_a_folder_counts_by_its_meta_json(config: Config, tmp_path: Path) -> None:
    options = dataclasses.replace(config.tokenizer, name="spacy", language=str(tmp_path))
    keys = []
    for version in ("1", "2"):
        (tmp_path / "meta.json").write_text(json.dumps({"version": version}))
        keys.append(key_of(config.data, options, "fingerprint"))
    assert keys[0] != keys[1]


def test_changed_data_makes_another_entry(config: Config, run: Run, tmp_path: Path) -> None:
    run(config)
    before = os.stat(tmp_path / "test.csv")
    text = (tmp_path / "test.csv").read_text().replace("lovely", "lively")
    (tmp_path / "test.csv").write_text(text)
    os.utime(tmp_path / "test.csv", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not run(config).from_cache


@pytest.mark.parametrize(
    "damage",
    ["truncate", "flip", "delete", "manifest", "foreign"],
)
def test_a_damaged_entry_is_rebuilt(damage: str, config: Config, run: Run, tmp_path: Path) -> None:
    whole = run(config)
    indices = in_memory(whole.train).indices.clone()
    entry = entries(tmp_path)[0]
    path = entry / "train.safetensors"
    if damage == "truncate":
        path.write_bytes(path.read_bytes()[:-4])
    elif damage == "flip":
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "delete":
        path.unlink()
    elif damage == "manifest":
        (entry / "manifest.json").write_text("[]")
    else:
        manifest = json.loads((entry / "manifest.json").read_text())
        manifest["key"]["fingerprint"] = "of other data"
        (entry / "manifest.json").write_text(json.dumps(manifest))
    rebuilt = run(config)
    assert not rebuilt.from_cache
    assert torch.equal(in_memory(rebuilt.train).indices, indices)
    assert run(config).from_cache
    assert len(list((tmp_path / "cache").iterdir())) == 2  # the entry and its lock


def test_nothing_is_left_of_a_failure(config: Config, run: Run, tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("text,label\n...,good\n;;;,bad\n")
    run(config)  # a lone "." is a token
    (tmp_path / "test.csv").write_text('text,label\n;;;,good\n":",bad\n')
    with pytest.raises(InputError, match=r"test.csv: the test split has no tokens"):
        run(config)
    assert len(entries(tmp_path)) == 1


def test_a_min_freq_that_leaves_nothing_is_refused(config: Config, run: Run) -> None:
    message = r"tokenizer.min_freq=999 leaves no token .*the most frequent stands \d+ times"
    with pytest.raises(InputError, match=message):
        run(changed(config, "tokenizer.min_freq=999"))


def test_a_cache_that_cannot_be_written_is_said(config: Config, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TextclsError, match=r"cache_dir=.*cannot be written") as caught:
        prepare(config.data, config.tokenizer, tmp_path / "file" / "cache")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_runs_that_start_together_share_the_work(config: Config, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.conftest import make_config\n"
        "from textcls.data.prepare import prepare\n"
        "c = make_config('data=local', f'data.train={sys.argv[1]}', f'data.test={sys.argv[2]}')\n"
        "p = prepare(c.data, c.tokenizer, Path(sys.argv[3]))\n"
        "print(p.from_cache, int(p.train.indices.sum()))"
    )
    arguments = [str(config.data.train), str(config.data.test), str(tmp_path / "cache")]
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    answers = [child.communicate(timeout=120)[0].split() for child in children]
    assert sorted(answer[0] for answer in answers) == ["False", "True", "True"]
    assert len({answer[1] for answer in answers}) == 1


def test_finding_an_entry_imports_neither_datasets_nor_pandas(
    config: Config, run: Run, tmp_path: Path
) -> None:
    """They take longer than all else that finding it does."""
    run(config)
    code = (
        "import sys; from pathlib import Path; from textcls.config import parse\n"
        "import json; c = parse(json.loads(sys.argv[1]))\n"
        "from textcls.data.prepare import prepare\n"
        "from textcls.model.classifier import Classifier\n"
        "p = prepare(c.data, c.tokenizer, Path(sys.argv[2]))\n"
        "print(p.from_cache, *{'datasets', 'pandas'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, json.dumps(config.to_dict()), str(tmp_path / "cache")],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert answer.stdout.split() == ["True"]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc to see mappings")
def test_bags_are_mapped_not_read(config: Config, run: Run, tmp_path: Path) -> None:
    prepared = run(config)
    entry = entries(tmp_path)[0]
    maps = Path("/proc/self/maps").read_text()
    for split in ("train", "validation", "test"):
        assert str(entry / f"{split}.safetensors") in maps
    assert len(prepared.train)
