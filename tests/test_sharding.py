"""A corpus that is larger than memory, prepared in shards: the same bags, whatever happens."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import PROJECT, make_config
from textcls import memory
from textcls.cli import main
from textcls.config import Config
from textcls.corpus.splits import RowLabels
from textcls.data import learning
from textcls.data.counting import KeyCounter
from textcls.data.encoder import TextEncoder
from textcls.data.features import Features
from textcls.data.prepare import Prepared, prepare
from textcls.data.shard import save_shard
from textcls.data.sharded import ShardedBags, in_memory
from textcls.data.sharding import encoding, preparation, token_shard
from textcls.data.token_weights import LearnedWeights
from textcls.errors import InputError
from textcls.memory import Plan

# So little memory that a shard has 64 KiB of text.
LITTLE = Plan(200_000)
WORDS = [f"word{number}" for number in range(400)] + ["don't", "naïve", "日本", "no break", "A.B."]


def write_corpus(path: Path, rows: int, seed: int = 0, several: bool = False) -> Path:
    """Write texts of Zipf's law: words with a low number mostly, and some that few texts have."""
    rng = np.random.default_rng(seed)
    with path.open("w", encoding="utf-8") as file:
        for row in range(rows):
            label = int(rng.integers(3))
            count = int(rng.integers(0, 40)) if row % 50 else 0
            places = (len(WORDS) ** rng.random(count)).astype(int) - 1
            words = [WORDS[place] for place in places] + [f"of{label}"] * int(rng.integers(0, 3))
            words += [f"rare{rng.integers(rows)}"]
            labels = [f"label{label}"] + ["also"] * (several and row % 3 == 0)
            record = {"text": " ".join(words), "label": labels if several else labels[0]}
            file.write(json.dumps(record | {"importance": 1 + row % 4}) + "\n")
    return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for number, (split, rows) in enumerate((("train", 2_500), ("validation", 300), ("test", 400))):
        write_corpus(folder / f"{split}.jsonl", rows, number)
        write_corpus(folder / f"several-{split}.jsonl", rows, number, several=True)
    return folder


def config_of(folder: Path, *overrides: str, prefix: str = "") -> Config:
    splits = ("train", "validation", "test")
    files = [f"data.{split}={folder}/{prefix}{split}.jsonl" for split in splits]
    return make_config("data=local", *files, *overrides)


def both_ways(config: Config, cache: Path) -> tuple[Prepared, Prepared]:
    """Prepare in memory and in shards."""
    return (
        prepare(config.data, config.tokenizer, cache),
        prepare(config.data, config.tokenizer, cache, plan=LITTLE),
    )


def sharded(bags: Any) -> ShardedBags:
    assert isinstance(bags, ShardedBags)
    return bags


WEIGHED = ("tokenizer.counts=log", "tokenizer.token_weights=idf_sqrt_log_count_ratio")
CHARS = ("tokenizer.char_ngrams=[2,4]", "tokenizer.char_token_weights=idf_log_count_ratio")


@pytest.mark.parametrize(
    ("prefix", "options"),
    [
        ("", ()),
        ("", ("tokenizer.ngrams=3", "tokenizer.ngram_min_freq=2", *WEIGHED)),
        ("", ("tokenizer.ngrams=2", *WEIGHED, *CHARS)),
        ("", ("tokenizer.ngrams=2", "tokenizer.buckets=500", "tokenizer.max_size=300")),
        ("", ("tokenizer.counts=count", "tokenizer.token_weights=bm25", "data.weight=importance")),
        ("", ("tokenizer=fasttext", "tokenizer.ngrams=2", "tokenizer.buckets=1000")),
        ("several-", ("tokenizer.counts=binary", "tokenizer.token_weights=idf")),
    ],
)
def test_bags_in_shards_are_those_in_memory(
    corpus: Path, tmp_path: Path, prefix: str, options: tuple[str, ...]
) -> None:
    whole, parts = both_ways(config_of(corpus, *options, prefix=prefix), tmp_path)
    assert len(sharded(parts.train).sizes) > 3
    mine, other = whole.encoder, parts.encoder
    assert mine.vocabulary.tokens.equals(other.vocabulary.tokens)
    np.testing.assert_array_equal(mine.vocabulary.counts, other.vocabulary.counts)
    for name in ("token_weights", "char_weights"):
        if getattr(mine, name) is not None:
            np.testing.assert_allclose(getattr(mine, name), getattr(other, name), rtol=1e-6)
    for split in ("train", "validation", "test"):
        expected, found = getattr(whole, split), in_memory(getattr(parts, split))
        assert torch.equal(expected.indices, found.indices)
        assert torch.equal(expected.offsets, found.offsets)
        assert torch.equal(expected.labels, found.labels)
        for name in ("weights", "example_weights", "label_offsets"):
            if getattr(expected, name) is None:
                assert getattr(found, name) is None
            else:
                torch.testing.assert_close(getattr(expected, name), getattr(found, name))
    assert whole.test_set == parts.test_set
    for facts in (whole.facts, parts.facts):  # BM25 notes nothing; notes are in one order
        facts["files"] = json.loads(json.dumps(facts["files"]))
    assert whole.facts["splits"] == parts.facts["splits"]
    assert whole.facts["files"] == parts.facts["files"]
    assert sorted(whole.facts["notes"]) == sorted(parts.facts["notes"])


def test_a_tokenizer_learns_from_texts_of_all_of_train(corpus: Path, tmp_path: Path) -> None:
    config = config_of(corpus, "tokenizer=bpe", "tokenizer.vocab_size=300")
    whole, parts = both_ways(config, tmp_path)  # which are few enough to learn from them all
    assert whole.encoder.tokenizer.json == parts.encoder.tokenizer.json
    assert torch.equal(in_memory(whole.train).indices, in_memory(parts.train).indices)


def files_of(prepared: Prepared) -> dict[str, bytes]:
    """Return the shards of an entry by name."""
    found = sharded(prepared.train)
    folder = next(iter(found._shards)).path.parent
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.suffix == ".safetensors"
    }


class StoppedError(Exception):
    pass


def test_an_interrupted_preparation_goes_on_with_the_first_shard_that_is_missing(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(corpus, *WEIGHED)
    undisturbed = prepare(config.data, config.tokenizer, tmp_path / "a", plan=LITTLE)
    done: list[str] = []
    left = 0

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            if not left:
                raise StoppedError
            left -= 1
            done.append(name)
            return function(*args, **kwargs)

        return run

    monkeypatch.setattr(
        token_shard.TokenShard, "save", counted("read", token_shard.TokenShard.save)
    )
    monkeypatch.setattr(encoding, "save_shard", counted("encoded", save_shard))
    monkeypatch.setattr(TextEncoder, "learn", counted("learned", TextEncoder.learn))
    for _ in range(100):
        for place in (".", "shards"):  # as a kill leaves them
            for folder in (tmp_path / "b").glob(f"*.parts/{place}"):
                (folder / ".test-00000.safetensors.123").write_bytes(b"half")
        left = 2
        try:
            resumed = prepare(config.data, config.tokenizer, tmp_path / "b", plan=LITTLE)
            break
        except StoppedError:
            continue
    assert files_of(undisturbed) == files_of(resumed)
    manifests = [tmp_path / name / resumed.key / "manifest.json" for name in "ab"]
    assert manifests[0].read_bytes() == manifests[1].read_bytes()
    shards = len(sharded(undisturbed.train).sizes)
    assert done.count("read") == shards + 2  # those of validation and test, once each
    assert done.count("learned") == 1
    assert sorted(path.name for path in (tmp_path / "b").iterdir() if path.is_dir()) == [
        resumed.key
    ]


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        ("flip", "tokens-00001.safetensors"),
        ("cut", "tokens-00001.safetensors"),
        ("gone", "tokens-00001.safetensors"),
        ("cut", "read.json"),
        ("flip", "piece-train-00000.safetensors"),
        ("cut", "encoder/encoder.safetensors"),
        ("cut", "encoder/learned.json"),
    ],
)
def test_damage_to_an_unfinished_preparation_begins_it_anew(
    damage: str,
    name: str,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = config_of(corpus)
    undisturbed = prepare(config.data, config.tokenizer, tmp_path / "a", plan=LITTLE)

    def stop(job: encoding.EncodeJob) -> None:
        if job.number:
            raise StoppedError
        encoding.encode_shard(job)

    with monkeypatch.context() as patched:
        patched.setattr(preparation, "encode_shard", stop)
        with pytest.raises(StoppedError):
            prepare(config.data, config.tokenizer, tmp_path / "b", plan=LITTLE)
    (folder,) = (tmp_path / "b").glob("*.parts")
    path = folder / name
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage == "flip":
        content[-1] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(content[:-9])
    logging.getLogger("textcls").propagate = True
    resumed = prepare(config.data, config.tokenizer, tmp_path / "b", plan=LITTLE)
    assert "begins anew" in caplog.text
    assert "damaged" in caplog.text
    assert files_of(undisturbed) == files_of(resumed)


def test_rows_are_held_out_by_a_hash_of_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_corpus(tmp_path / "all.jsonl", 3_000)
    config = make_config("data=local", f"data.train={path}", "data.test_fraction=0.2")
    first = prepare(config.data, config.tokenizer, tmp_path / "a", plan=LITTLE)
    monkeypatch.setattr(memory, "SHARDS", 2)
    again = prepare(config.data, config.tokenizer, tmp_path / "b", plan=Plan(400_000))
    assert len(sharded(first.train).sizes) > len(sharded(again.train).sizes) > 1
    sizes = [len(split) for split in (first.train, first.validation, first.test)]
    assert sum(sizes) == 3_000
    assert sizes[2] == pytest.approx(600, abs=100)
    assert sizes[1] == pytest.approx(240, abs=70)
    assert first.test_set == again.test_set  # whatever the shards are like
    assert torch.equal(in_memory(first.test).indices, in_memory(again.test).indices)
    assert any("held out by a hash" in note for note in first.facts["notes"])
    assert [first.facts["splits"][split]["rows"] for split in ("train", "validation", "test")] == (
        sizes
    )
    joined = first.joined()
    assert joined is not None
    assert len(joined.train) == sizes[0] + sizes[1]


def test_rows_that_are_sorted_are_spread(tmp_path: Path) -> None:
    lines = write_corpus(tmp_path / "mixed.jsonl", 3_000).read_text().splitlines()
    lines.sort(key=lambda line: json.loads(line)["label"])
    (tmp_path / "sorted.jsonl").write_text("\n".join(lines))
    shares = {}
    for name in ("mixed", "sorted"):
        config = make_config("data=local", f"data.train={tmp_path}/{name}.jsonl")
        found = prepare(config.data, config.tokenizer, tmp_path / "cache", plan=LITTLE)
        assert any("are sorted (" in n for n in found.facts["notes"]) == (name == "sorted")
        counts = [bags.labels.bincount(minlength=3) for bags in sharded(found.train).shards()]
        shares[name] = torch.stack(counts).double()
        assert int(shares[name].sum()) == len(found.train)
    of_shards = shares["sorted"] / shares["sorted"].sum(1, keepdim=True)
    assert of_shards.std(0).max() < 0.06


def test_pieces_of_few_rows_are_spread_over_all_shards(tmp_path: Path) -> None:
    lines = [
        json.dumps(
            {"text": " ".join(f"w{i % 2}{i * j % 97}" for j in range(1_500)), "label": i % 2}
        )
        for i in sorted(range(200), key=lambda i: i % 2)
    ]
    (tmp_path / "long.jsonl").write_text("\n".join(lines))
    config = make_config("data=local", f"data.train={tmp_path}/long.jsonl")
    found = prepare(config.data, config.tokenizer, tmp_path / "cache", plan=LITTLE)
    assert any("are sorted (" in note for note in found.facts["notes"])
    rows = [num_bags for num_bags, _ in sharded(found.train).sizes]
    assert len(rows) > 15
    assert max(rows) <= 3 * np.mean(rows)


def test_what_memory_is_free_changes_nothing_that_was_prepared(
    corpus: Path, tmp_path: Path
) -> None:
    config = config_of(corpus)
    first = prepare(config.data, config.tokenizer, tmp_path, plan=Plan(200_000, is_given=False))
    assert isinstance(first.train, ShardedBags)
    for budget in (150_000, 10**7, 10**12):
        plan = Plan(budget, is_given=False)
        again = prepare(config.data, config.tokenizer, tmp_path, plan=plan)
        assert (again.key, again.from_cache) == (first.key, True)
    given = prepare(config.data, config.tokenizer, tmp_path, plan=Plan(10**12))
    assert not isinstance(given.train, ShardedBags)
    for budget, before in ((10**12, first.key), (1_000, given.key)):
        plan = Plan(budget)
        again = prepare(config.data, config.tokenizer, tmp_path, plan=plan, expected=before)
        assert again.key == before
    joined = prepare(config.data, config.tokenizer, tmp_path, joined=True, plan=Plan(1_000))
    assert len(joined.train) == len(first.train) + len(first.validation)


def test_classes_that_were_held_out_whole_are_named(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "all.jsonl", 1_500)
    with path.open("a") as file:
        for number in range(40):
            file.write(json.dumps({"text": "word1", "label": f"rare{number}"}) + "\n")
    config = make_config("data=local", f"data.train={path}", "data.test_fraction=0.3")
    found = prepare(config.data, config.tokenizer, tmp_path / "cache", plan=LITTLE)
    assert any("train has no row of 'rare" in note for note in found.facts["notes"])


def test_a_row_without_label_is_named(corpus: Path, tmp_path: Path) -> None:
    lines = (corpus / "train.jsonl").read_text().splitlines()
    record = json.loads(lines[2_000]) | {"label": None}
    (tmp_path / "train.jsonl").write_text("\n".join([*lines[:2_000], json.dumps(record)]))
    config = make_config("data=local", f"data.train={tmp_path}/train.jsonl")
    with pytest.raises(InputError, match=r"train.jsonl: line 2,001 has no label"):
        prepare(config.data, config.tokenizer, tmp_path / "cache", plan=LITTLE)


def test_a_warm_start_reads_no_shard_and_verify_reads_all(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of(corpus)
    first = prepare(config.data, config.tokenizer, tmp_path, plan=LITTLE)
    path = tmp_path / first.key / "train-00001.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert prepare(config.data, config.tokenizer, tmp_path, plan=LITTLE).from_cache
    main(["cache", "--verify", "--dir", str(tmp_path)])
    said = capsys.readouterr().out
    assert "train-00001.safetensors" in said
    assert "1 of 1 damaged" in said
    path.write_bytes(content[:-1])  # of another size
    assert not prepare(config.data, config.tokenizer, tmp_path, plan=LITTLE).from_cache


def test_what_is_left_of_a_preparation_is_removed_with_the_cache(tmp_path: Path) -> None:
    name = "0" * 32
    (tmp_path / f"{name}.parts").mkdir()
    (tmp_path / f"{name}.parts" / "tokens-00000.safetensors").write_bytes(b"x")
    main(["cache", "--max-size", "1GB", "--dir", str(tmp_path)])
    assert (tmp_path / f"{name}.parts").exists()  # it may be continued
    main(["cache", "--clear", "--dir", str(tmp_path)])
    assert not (tmp_path / f"{name}.parts").exists()


@given(
    st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=40), min_size=1, max_size=20),
    st.integers(2, 20),
)
def test_counts_of_a_table_that_is_full_are_low_by_no_more_than_it_says(
    pieces: list[list[int]], capacity: int
) -> None:
    counter, exact = KeyCounter(capacity), np.zeros(61, np.int64)
    for piece in pieces:
        keys, counts = np.unique(np.array(piece, np.uint64), return_counts=True)
        counter.add(keys, counts)
        counter.total()  # so that it is full sooner than after millions of keys
        exact[keys.astype(np.int64)] += counts
    keys, counts = counter.total()
    assert len(keys) <= capacity
    found = np.zeros(61, np.int64)
    found[keys.astype(np.int64)] = counts
    assert (found <= exact).all()
    assert (exact - found <= counter.error).all()
    if len(np.unique(np.concatenate(pieces))) <= capacity:
        assert counter.error == 0


def test_a_vocabulary_that_was_cut_while_counting_says_so(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_shard, "CAPACITY", 500)
    monkeypatch.setattr(token_shard, "_HELD", 1)
    config = config_of(corpus)
    found = prepare(config.data, config.tokenizer, tmp_path, plan=LITTLE)
    assert any("too low by" in note for note in found.facts["notes"])
    names = found.encoder.vocabulary.tokens.to_pylist()
    assert len(names) < 600
    assert {"word0", "word1", "of0"} <= set(names)


@pytest.mark.slow
def test_processes_make_the_same_shards(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(corpus, *WEIGHED)
    alone = prepare(config.data, config.tokenizer, tmp_path / "a", plan=LITTLE)
    monkeypatch.setattr(Plan, "processes", 2)
    together = prepare(config.data, config.tokenizer, tmp_path / "b", plan=LITTLE)
    assert files_of(alone) == files_of(together)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes below /proc")
def test_processes_end_with_the_one_that_is_killed() -> None:
    program = (
        "import time; from textcls.data.sharding.pool import done_by_processes as do\n"
        "if __name__ == '__main__': list(do(time.sleep, [60, 60, 60], 2))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def alive(pids: list[str]) -> list[str]:
        return [pid for pid in pids if _state(pid) not in ("Z", "")]

    deadline = time.monotonic() + 60
    while len(pids := children.read_text().split()) < 3:  # with that which tracks resources
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(3)  # until they have begun
    process.kill()
    process.wait()
    while alive(pids):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _state(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def test_an_option_without_a_size_is_refused_in_a_line() -> None:
    with pytest.raises(InputError, match=r"trainer.max_memory='much' is no size: write 500kB"):
        make_config("data=local", "data.train=a.csv", "trainer.max_memory=much")


def test_weights_of_character_ngrams_are_learned_from_some_texts_of_many(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("tokenizer.char_ngrams=[2,4]", "tokenizer.char_token_weights=idf")
    config = config_of(corpus, "tokenizer.counts=log", *options)
    all_texts = prepare(config.data, config.tokenizer, tmp_path / "a", plan=LITTLE)
    monkeypatch.setattr(learning, "CHARS_OF_TOKENS", 20_000)
    some = prepare(config.data, config.tokenizer, tmp_path / "b", plan=LITTLE)
    assert "weights of character n-grams: learned from one text of 3" in some.facts["notes"]
    mine, other = some.encoder.char_weights, all_texts.encoder.char_weights
    assert mine is not None
    assert other is not None
    counted = np.abs(mine / other - 1)
    assert 0 < np.median(counted) < 0.2


def test_labels_of_texts_are_found_wherever_these_begin() -> None:
    rng = np.random.default_rng(0)
    ends = np.arange(0, 301, 3)
    features = Features(rng.integers(0, 20, 300).astype(np.int32), None, ends, np.full(100, 3))
    labels = RowLabels(rng.integers(0, 3, 500))
    there = LearnedWeights("log_count_ratio", 20, 2, labels)
    there.add(features, 400)
    alone = LearnedWeights("log_count_ratio", 20, 2, labels.slice(400, 500))
    alone.add(features, 0)
    np.testing.assert_array_equal(there.weights(), alone.weights())
