from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textcls.config import TokenizerConfig
from textcls.corpus.splits import RowLabels
from textcls.data.checks import find_mistakes
from textcls.data.duplicates import Compared, Texts, compare, hash_texts
from textcls.data.encoder import TextEncoder
from textcls.data.facts import PieceFacts, lengths_of, moved
from textcls.data.tokenizer import Tokenizer

CONFIG = TokenizerConfig("basic_english", 1, None, None)
LABELS = ("a", "b", "c")
Rows = list[tuple[str | None, int]]

# Few different texts, so that rows repeat, some of them empty in one way or another.
TEXTS = st.sampled_from(
    [None, "", " ", "\u3000\n", "x", "x ", "X", "great film", "größe 日本", ";;", "x y x", "schÃ¶n"]
)
SPLIT = st.lists(st.tuples(TEXTS, st.integers(0, 2)), min_size=1, max_size=25)


def chunked(texts: list[str | None], cut: int) -> list[pa.Array]:
    """Return Arrow arrays of the texts: in two pieces, one of them a slice, of different types."""
    whole = pa.array(["before", *texts], pa.string())
    return [whole.slice(1, cut), pa.array(texts[cut:], pa.large_string())]


def count(
    splits: dict[str, Rows], config: TokenizerConfig = CONFIG, shares: int = 1
) -> dict[str, dict[str, Any]]:
    """Count as preparation does, each split in two pieces."""
    tokenizer, encoder = Tokenizer(config), None
    facts: dict[str, dict[str, Any]] = {}
    compared: dict[str, Compared] = {}
    for split, rows in splits.items():
        cut = len(rows) // 3
        chunks = chunked([text for text, _ in rows], cut)
        labels = RowLabels(np.array([label for _, label in rows], np.int64))
        texts = Texts.of(chunks, labels)
        tokens = tokenizer.use_up(chunks)
        if encoder is None:
            encoder = TextEncoder.learn(tokenizer, tokens)
        pieces = [
            PieceFacts.of(
                texts.slice(start, stop),
                some := tokens.slice(start, stop),
                encoder,
                encoder.encode_tokens(some),
                len(LABELS),
            )
            for start, stop in ((0, cut), (cut, len(rows)))
        ]
        facts[split] = (pieces[0] + pieces[1]).ready(LABELS)
        compared[split] = Compared.concatenate(
            [Compared.of(texts.slice(0, cut)), Compared.of(texts.slice(cut, len(rows)), cut)]
        )
    found = compare(
        {split: texts.share(number, shares) for split, texts in compared.items()}
        for number in range(shares)
    )
    return {split: own | found[split] for split, own in facts.items()}


@given(SPLIT, SPLIT, SPLIT, st.sampled_from([1, 2]), st.sampled_from([1, 3]))
def test_facts_are_those_that_plain_python_counts(
    train: Rows, validation: Rows, test: Rows, ngrams: int, shares: int
) -> None:
    config = TokenizerConfig("basic_english", 1, None, None, ngrams=ngrams)
    splits = {"train": train, "validation": validation, "test": test}
    facts = count(splits, config, shares)
    tokenizer = Tokenizer(config)
    words = {
        split: tokenizer(pa.chunked_array([[text for text, _ in rows]], pa.string())).to_lists()
        for split, rows in splits.items()
    }
    vocabulary = {word for row in words["train"] for word in row}
    labels_of: dict[str, defaultdict[str, set[int]]] = {}
    for split, rows in splits.items():
        own = facts[split]
        full = [(text, label) for text, label in rows if text is not None and text.strip()]
        labels_of[split] = defaultdict(set)
        for text, label in full:
            labels_of[split][text].add(label)
        counts = Counter(label for _, label in rows)
        assert own["rows"] == len(rows)
        assert own["by_class"] == {name: counts[i] for i, name in enumerate(LABELS)}
        assert own["empty"] == len(rows) - len(full)
        assert own["duplicates"] == len(full) - len({text for text, _ in full})
        assert own["contradicting"] == sum(len(labels_of[split][text]) > 1 for text, _ in full)
        for other in list(splits)[: list(splits).index(split)]:
            numbered = [
                (i + 1, label not in labels_of[other][text])
                for i, (text, label) in enumerate(rows)
                if text is not None and text in labels_of[other]
            ]
            assert own[f"in_{other}"] == {
                "rows": len(numbered),
                "other_label": sum(differs for _, differs in numbered),
                "first": [number for number, _ in numbered[:5]],
            }
        assert own["tokens"] == sum(map(len, words[split]))
        assert own["no_tokens"] == sum(not row for row in words[split])
        assert own["unknown_tokens"] == sum(
            w not in vocabulary for row in words[split] for w in row
        )
        assert own["all_unknown"] == sum(
            bool(row) and vocabulary.isdisjoint(row) for row in words[split]
        )
        assert own["misread_tokens"] == sum(text == "schÃ¶n" for text, _ in full)
        assert (own["ngrams"] > 0) <= (ngrams > 1)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=50))
def test_percentiles_of_lengths(lengths: list[int]) -> None:
    found = lengths_of(*np.unique(np.array(lengths, np.int64), return_counts=True))
    for name, percent in (("median", 50), ("p95", 95), ("longest", 100)):
        enough = [
            value
            for value in sorted(lengths)
            if 100 * sum(other <= value for other in lengths) >= percent * len(lengths)
        ]
        assert found[name] == enough[0]


@given(st.lists(st.text()))
def test_equal_texts_and_no_others_have_equal_hashes(texts: list[str]) -> None:
    hashes = hash_texts(chunked([text.encode("utf-8", "replace").decode() for text in texts], 1))
    assert len(hashes) == len(texts)
    assert len(set(hashes.tolist())) == len({text.encode("utf-8", "replace") for text in texts})


def test_many_texts_are_hashed_in_pieces() -> None:
    texts = [f"text {i % 70_000}" for i in range(140_000)]
    hashes = hash_texts([pa.array(texts)])
    assert np.array_equal(hashes[:70_000], hashes[70_000:])
    assert len(np.unique(hashes)) == 70_000


def test_files_that_moved_have_their_new_names() -> None:
    notes = ["a.csv: 1 row of d/a.csv, x/d/a.csv, d/a.csv.gz", "d: b d", "d-2, (d/a.csv)"]
    facts = {
        "files": {"train": [{"path": "d/a.csv", "notes": ["d/a.csv"], "rows": 1}]},
        "notes": notes,
        "splits": {"d": 1},
    }
    assert moved(facts, ["d/a.csv", "d"], ["new (1).csv", "\\1"]) == {
        "files": {"train": [{"path": "new (1).csv", "notes": ["new (1).csv"], "rows": 1}]},
        "notes": [
            "a.csv: 1 row of new (1).csv, x/d/a.csv, d/a.csv.gz",
            "\\1: b d",
            "d-2, (new (1).csv)",
        ],
        "splits": {"d": 1},
    }
    assert moved(facts, ["d"], ["d"]) == facts


# --- mistakes --------------------------------------------------------------------------------

GOOD: dict[str, Rows] = {
    split: [(f"item {i % 40} {word} number {i + start}", i % 3) for i in range(120)]
    for split, start, word in (
        ("train", 0, "was"),
        ("validation", 200, "was"),
        ("test", 400, "was"),
    )
}


def mistakes(columns: tuple[str, str] = ("text", "label"), **changes: Any) -> list[str]:
    """Return the warnings for a good corpus with some splits, or names of classes, replaced."""
    names = changes.pop("names", LABELS)
    config = changes.pop("config", CONFIG)
    splits = count(GOOD | changes, config)
    for own in splits.values():
        own["by_class"] = dict(zip(names, own["by_class"].values(), strict=True))
    return find_mistakes(
        {
            "columns": {"text": [columns[0]], "label": [columns[1]], "left": []},
            "files": {"train": [{"path": "a.csv"}], "test": [{"path": "b.csv"}]},
            "splits": splits,
        },
        config,
    )


def test_a_good_corpus_has_no_warning() -> None:
    assert mistakes() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"test": [*GOOD["test"], ("item 0 was number 0", 0), ("item 1 was number 1", 0)]},
            "2 of 122 rows of test have the same texts as rows of train (rows 121, 122), 1 of "
            "them under another label",
        ),
        (
            {"test": [(f"今天{i}天气很好", i % 3) for i in range(120)]},
            "test: 100.0% of the tokens are unknown (train has none such), and 100.0% of the rows "
            "have no known token: for a language without spaces between words (Chinese, Japanese, "
            "Thai) use tokenizer=basic tokenizer.ngrams=3",
        ),
        (
            {"config": TokenizerConfig("basic_english", 99, None, None)},
            "lower tokenizer.min_freq or raise tokenizer.max_size",
        ),
        (
            {"validation": [("", i % 3) for i in range(80)] + GOOD["validation"][:40]},
            "validation: 80 of 120 texts are empty or have no token: is the text in column 'text'?",
        ),
        (
            {"train": [*GOOD["train"], *GOOD["train"], *GOOD["train"]]},
            "train: 240 of 360 texts repeat an earlier one: is the text in column 'text'?",
        ),
        (
            {"names": tuple(f"this is no label but a long text, number {i}" * 2 for i in range(3))},
            "half of the labels have 84 characters or more",
        ),
        (
            {"train": [(f"item {i} was number {i}", i) for i in range(3)]},
            "column 'label' has 3 different labels, and train 3 rows",
        ),
        (
            {"test": [(f"item {i} sch\ufffdn", i % 3) for i in range(120)]},
            "test: 120 tokens hold U+FFFD",
        ),
        (
            {"train": [(f"item {i} schÃ¶n", i % 3) for i in range(120)]},
            "train: 120 tokens look like 'schÃ¶n' for 'schön'",
        ),
        ({"names": ("Spam", "ham", "spam")}, "the labels 'Spam', 'spam' look alike"),
        ({"names": ("ｓｐａｍ", "ham", "spam")}, "the labels 'ｓｐａｍ', 'spam' look alike"),
        (
            {"train": [*((t, i % 2) for i, (t, _) in enumerate(GOOD["train"])), ("one", 2)]},
            "train has a single row of 1 of 3 classes ('c')",
        ),
        (
            {"test": [(text, label % 2) for text, label in GOOD["test"]]},
            "test has no row of 1 of 3 classes ('c'): not scored",
        ),
        (
            {"train": [*GOOD["train"], *((t, (i + 1) % 3) for t, i in GOOD["train"][:9])]},
            "18 of 129 rows of train have a text that other rows have under another label",
        ),
        (
            {"test": [(text, int(i < 6)) for i, (text, _) in enumerate(GOOD["test"])]},
            "114 of 120 rows of test are 'a'",
        ),
        (
            {"test": GOOD["test"][:30]},
            "test has 30 rows: an accuracy measured on so few may be off",
        ),
    ],
)
def test_a_mistake_is_said_in_one_line(changes: dict[str, Any], said: str) -> None:
    found = mistakes(**changes)
    assert any(said in warning for warning in found), found
    assert all(len(warning) < 300 and "\n" not in warning for warning in found)


def test_characters_are_known_where_words_are_not() -> None:
    days = "今天天气很好，明天也会下雨。"
    texts = [(days[i % 9 :] + days[: i % 7] + days[i % 5 :: i % 3 + 1], i % 3) for i in range(240)]
    splits: dict[str, Any] = {"train": texts[:120], "validation": texts[120:], "test": texts[120:]}
    assert any("tokenizer=basic" in warning for warning in mistakes(**splits))
    found = mistakes(**splits, config=TokenizerConfig("basic", 1, None, None))
    assert not any("unknown" in warning for warning in found), found


def test_names_in_warnings_cannot_steer_a_terminal() -> None:
    found = mistakes(("te\x1bxt", "la\nbel"), names=("x\x1b[1m", "X\x1b[1M", "y" * 500))
    assert found
    assert all("\x1b" not in warning and len(warning) < 300 for warning in found)
