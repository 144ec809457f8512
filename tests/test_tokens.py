from __future__ import annotations

import re
import sys
import threading
import time
import tracemalloc
import unicodedata
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchtext.data.utils import get_tokenizer
from torchtext.vocab import Vocab

from tests.conftest import shared
from textcls.arrow import Int64
from textcls.config import TokenizerConfig
from textcls.data import long_texts
from textcls.data import tokenizer as tokenizer_module
from textcls.data import tokens as tokens_module
from textcls.data.counting import places_of_keys
from textcls.data.scripts import MARKS, PATTERN, PUNCTUATION, SCRIPTS
from textcls.data.tokenizer import Tokenizer
from textcls.data.tokens import FEW, Index, Tokens, alphabetical, blocks
from textcls.data.vocabulary import PADDING, UNKNOWN, Vocabulary
from textcls.errors import InputError
from textcls.model import numpy_predictor

torchtext_basic_english = get_tokenizer("basic_english")


@pytest.fixture(autouse=True, scope="module")
def _no_text_is_split_by_itself() -> Iterator[None]:
    """Have even a single text go the way of many."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tokens_module, "FEW_TEXTS", 0)
        yield


def config(name: str = "basic_english", **changes: object) -> TokenizerConfig:
    values = {"name": name, "min_freq": 1, "max_size": None, "max_tokens": None} | changes
    return TokenizerConfig(**values)  # type: ignore[arg-type]


def tokenize(texts: list[str | None], tokenizer: Tokenizer | None = None) -> Tokens:
    array = pa.chunked_array([pa.array(texts, pa.large_string())])
    return (tokenizer or Tokenizer(config()))(array)


# What the rules are about, so that hypothesis meets it often; then any character at all.
RULES = st.sampled_from(
    [
        *"'\".,()!?;: \n\t\x1c\x85\xa0\u3000\0İΣßẞKÅéa\u0301",
        *(
            "<br />",
            "<BR />",
            '<br" />',
            "<br\n/>",
            "<br\u2003/>",
            "\r\n",
            "word",
            "Word",
            "日本",
            "🎄",
        ),
    ]
)
TEXTS = st.lists(
    st.one_of(
        st.none(),
        st.lists(st.one_of(RULES, st.characters(codec="utf-8")), max_size=12).map("".join),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=150)
@given(TEXTS)
def test_basic_english_is_torchtexts(texts: list[str | None]) -> None:
    expected = [torchtext_basic_english(text or "") for text in texts]
    assert tokenize(texts).to_lists() == expected


@pytest.mark.slow
def test_basic_english_is_torchtexts_for_every_character() -> None:
    texts: list[str | None] = [
        # Alone, within a word, next to a sigma (whose lower case depends on its neighbours), and
        # within a line break.
        f"a{c}B {c} Σ{c} {c}Σ.<br{c}/>{c}'{c}"
        for c in map(chr, range(sys.maxunicode + 1))
        if not "\ud800" <= c <= "\udfff"
    ]
    found = tokenize(texts).to_lists()
    different = [
        text
        for text, tokens in zip(texts, found, strict=True)
        if torchtext_basic_english(text) != tokens
    ]
    assert not different


@pytest.mark.parametrize("file", ["imdb/test.parquet", "20newsgroups/train.parquet"])
def test_basic_english_is_torchtexts_on_real_text(file: str) -> None:
    texts = pq.read_table(shared(file))["text"].slice(0, 4000).to_pylist()
    assert tokenize(texts).to_lists() == [torchtext_basic_english(text) for text in texts]


@given(TEXTS, st.none() | st.integers(1, 5))
def test_few_texts_are_split_as_many_are(texts: list[str | None], max_tokens: int | None) -> None:
    tokenizer = Tokenizer(config(max_tokens=max_tokens))
    expected = tokenize(texts, tokenizer).to_lists()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tokens_module, "FEW_TEXTS", len(texts))
        patched.setattr(tokens_module, "basic_english", None)
        assert tokenize(texts, tokenizer).to_lists() == expected


@pytest.mark.slow
def test_every_character_is_split_alike_in_few_texts_and_in_many() -> None:
    characters = [c for i in range(sys.maxunicode + 1) if not 0xD800 <= i < 0xE000 for c in chr(i)]
    texts: list[str | None] = [f"a{c}B {c}" for c in characters]
    one_by_one = tokens_module.basic_english_one_by_one([text or "" for text in texts], None)
    many = tokenize(texts)
    np.testing.assert_array_equal(one_by_one.offsets, many.offsets)
    words = [tokens.dictionary.take(pa.array(tokens.codes)) for tokens in (one_by_one, many)]
    assert words[0].equals(words[1])


def test_block_borders_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"Text {i}, of words{i % 5}!" * (i % 4) for i in range(100)]
    whole = tokenize([*texts]).to_lists()
    monkeypatch.setattr(tokens_module, "BLOCK_ROWS", 7)
    monkeypatch.setattr(tokens_module, "BLOCK_BYTES", 60)
    assert tokenize([*texts]).to_lists() == whole
    cut = list(blocks([pa.array(texts)]))
    assert pa.chunked_array(cut).to_pylist() == texts
    assert all(len(block) <= 7 for block in cut)
    assert all(len("".join(block.to_pylist())) <= 60 or len(block) == 1 for block in cut)


@given(st.lists(st.one_of(RULES, st.sampled_from(["a b", "x", " "])), max_size=60), st.booleans())
def test_a_long_text_is_split_in_parts_alike(parts: list[str], unspaced: bool) -> None:
    name = "basic" if unspaced else "basic_english"
    text = "".join(parts)
    whole = tokenize([text], Tokenizer(config(name)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(long_texts, "LONG", 0)
        patched.setattr(long_texts, "BLOCK_BYTES", 3)
        cut = tokenize([text], Tokenizer(config(name)))
        again = " ".join(p[0].as_py() for p in long_texts.parts(pa.array([text])))
    assert cut.to_lists() == whole.to_lists()
    assert cut.codes.tolist() == whole.codes.tolist()
    assert again.split() == text.split()


def test_a_long_text_takes_little_memory() -> None:
    text = pa.array(["great, and WARM " * (1 << 19)], pa.large_string())  # 8 MB
    tokenizer = Tokenizer(config("basic"))
    tracemalloc.start()
    try:
        tokens = tokenizer.use_up([text])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(tokens.codes) == 4 << 19
    assert peak < 4 * text.nbytes  # of which two are the tokens'


def test_rows_beyond_ascii_do_not_touch_their_neighbours() -> None:
    # Only such rows are lowered exactly. Rows of both kinds stand side by side in one block, and
    # what ends one (a capital sigma, half a line break, white space) meets what begins the next.
    parts: list[str | None] = [
        "ΑΣ", "ABC", "İstanbul Is", "<br", "/> <BR />é", None, "a\x85b\xa0c", "\u3000", "Σ",
        "ASCII\nonly", "", "caf\u00c9\n<br\n/>", "\u2003end", 'q"uo"te', 'Ä"<br" />Ö', "K",
        "\ufeffbom", "日本 語。", "\0", "x\u1680y\u2028z", "\u0085", "last",
    ]  # fmt: skip
    texts = [*parts, *parts[::-1], *(parts[i * 5 % len(parts)] for i in range(len(parts)))]
    assert tokenize(texts).to_lists() == [torchtext_basic_english(text or "") for text in texts]
    # A slice of an array begins in the middle of its buffers.
    array = pa.array(texts, pa.string()).slice(3, 30)
    found = Tokenizer(config())(pa.chunked_array([array]))
    assert found.to_lists() == [torchtext_basic_english(text or "") for text in texts[3:33]]


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_change_nothing(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str | None] = [f"Row {i} {'é' * (i % 3)} {i % 11}." * (i % 5) for i in range(300)]
    monkeypatch.setattr(tokens_module, "BLOCK_ROWS", 16)
    monkeypatch.setattr(tokenizer_module, "BLOCK_BYTES", 16)
    monkeypatch.setattr(tokenizer_module, "usable_cpus", lambda: threads)
    used = set()
    split = long_texts.split

    def watched(block: pa.Array, unspaced: bool) -> tuple[pa.DictionaryArray, Int64]:
        used.add(threading.get_ident())
        return split(block, unspaced)

    monkeypatch.setattr(long_texts, "split", watched)
    tokens = tokenize(texts)
    assert threading.get_ident() not in used
    assert len(used) <= threads
    assert tokens.to_lists() == [torchtext_basic_english(text or "") for text in texts]
    words = Counter(word for row in tokens.to_lists() for word in row)
    names = tokens.dictionary.to_pylist()
    assert dict(zip(names, tokens.counts().tolist(), strict=True)) == words
    # The codes too are the same, not the words alone: in order of first appearance.
    assert names == list(dict.fromkeys(word for row in tokens.to_lists() for word in row))


def test_texts_are_let_go_of_as_they_are_used() -> None:
    chunks = [pa.array(["a b"] * 3), pa.array([], pa.string()), pa.array(["c"], pa.large_string())]
    tokens = Tokenizer(config()).use_up(chunks)
    assert chunks == []
    assert tokens.to_lists() == [["a", "b"]] * 3 + [["c"]]


def test_a_text_beyond_two_gigabytes_of_others_is_read() -> None:
    # Zeros that are never touched take no memory.
    offsets = np.array([0, 2**31 + 7, 2**31 + 12], np.int64)
    data = np.zeros(offsets[-1], np.uint8)
    data[-5:] = np.frombuffer(b"far .", np.uint8)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    array = pa.Array.from_buffers(pa.large_string(), 2, buffers).slice(1)
    assert Tokenizer(config())(pa.chunked_array([array])).to_lists() == [["far", "."]]


@pytest.mark.parametrize("few", [FEW, 0])
@given(
    values=st.lists(st.sampled_from("abcdefghij"), max_size=6),
    among=st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), max_size=26, unique=True),
)
def test_positions_are_a_dictionarys(few: int, values: list[str], among: list[str]) -> None:
    places = {value: i for i, value in enumerate(among)}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("textcls.data.tokens.FEW", few)
        index = Index(pa.array(among, pa.string()))
        found = index.positions(pa.array(values, pa.string()))
    assert found.tolist() == [places.get(value, -1) for value in values]
    assert found.dtype == np.int32


@pytest.mark.parametrize("few", [FEW, 0])
@given(
    words=st.lists(st.text(st.characters(codec="utf-8"), max_size=3), max_size=9, unique=True),
    data=st.data(),
)
def test_words_in_alphabetical_order_are_pythons(
    few: int, words: list[str], data: st.DataObject
) -> None:
    places = [place for place in range(len(words)) if data.draw(st.booleans())]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("textcls.data.tokens.FEW", few)
        names, order = alphabetical(pa.array(words, pa.string()), np.array(places, np.int64))
    expected = sorted(places, key=words.__getitem__)
    assert order.tolist() == expected
    assert pa.array(names, pa.string()).to_pylist() == [words[place] for place in expected]


@pytest.mark.parametrize("few", [FEW, 0])
@given(
    keys=st.sets(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 9), max_size=9),
    wanted=st.lists(st.integers(0, 9), max_size=20),
)
def test_places_of_keys_are_a_dictionarys(few: int, keys: set[int], wanted: list[int]) -> None:
    places = {key: i for i, key in enumerate(sorted(keys))}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("textcls.data.counting.FEW", few)
        found = places_of_keys(np.array(sorted(keys), np.int64), np.array(wanted, np.int64))
    assert found.tolist() == [places.get(key, -1) for key in wanted]
    assert found.dtype == np.int32


def test_no_texts_no_tokens() -> None:
    assert tokenize([]).to_lists() == []


@given(TEXTS, st.integers(1, 5))
def test_max_tokens_keeps_the_first(texts: list[str | None], max_tokens: int) -> None:
    cut = tokenize(texts, Tokenizer(config(max_tokens=max_tokens))).to_lists()
    assert cut == [row[:max_tokens] for row in tokenize(texts).to_lists()]


# --- scripts without spaces ------------------------------------------------------------------

UNSPACED = st.sampled_from([
    *"漢字々〆𠮷ひらがなーカﾞｶﾞゝㄅ、。「」（），！？：；＂～Ａ７ไทยภาษำ่๑฿ລາວខ្មែរမြန်မာᥑᦀᨠᩣꪀꪴབོད་",
    "\u3099", "葛\U000e0100", "ｱ\ufe0f", "\u200b", "한국어", "“", "”", "…", "Σ", '"', "ſ", "🎄",
])  # fmt: skip
MIXED = st.lists(
    st.none() | st.lists(st.one_of(RULES, UNSPACED, st.characters(codec="utf-8"))).map("".join),
    min_size=1, max_size=6,
)  # fmt: skip


def basic_by_hand(text: str) -> list[str]:
    """Go through a text by character, and leave the rest to torchtext."""
    pieces = [""]
    in_token = False
    for c in text.lower():
        if in_token and re.match(f"[{MARKS}]", c):
            pieces[-1] += c
        elif re.match(f"[{SCRIPTS}{PUNCTUATION}]", c):
            pieces.append(c)
            in_token = True
        else:
            pieces += [""] * in_token
            pieces[-1] += c
            in_token = False
    tokens: list[str] = torchtext_basic_english(" ".join(pieces))
    return tokens


@pytest.mark.parametrize("few", [0, 99])
@given(texts=MIXED)
def test_basic_sets_characters_apart(few: int, texts: list[str | None]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tokens_module, "FEW_TEXTS", few)
        found = tokenize(texts, Tokenizer(config("basic"))).to_lists()
    assert found == [basic_by_hand(text or "") for text in texts]


@given(TEXTS)
def test_basic_is_basic_english_on_other_texts(texts: list[str | None]) -> None:
    other = [re.sub(PATTERN, "é", text or "") for text in texts]
    found = tokenize([*other], Tokenizer(config("basic"))).to_lists()
    assert found == [torchtext_basic_english(text) for text in other]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("我爱Python 3，真的！", "我 爱 python 3 ， 真 的 ！"),
        ("東京タワーへ行った。ﾃﾞｰﾀ", "東 京 タ ワ ー へ 行 っ た 。 ﾃﾞ ｰ ﾀ"),
        ("ภาษาไทยที่นี่", "ภ า ษ า ไ ท ย ที่ นี่"),
        ("한국어 텍스트", "한국어 텍스트"),
    ],
)
def test_basic_by_example(text: str, tokens: str) -> None:
    assert tokenize([text], Tokenizer(config("basic"))).to_lists() == [tokens.split()]


def test_ranges_are_unicodes() -> None:
    from fontTools.unicodedata import script

    scripts = {
        "Hani", "Bopo", "Hira", "Kana", "Thai", "Laoo", "Tibt", "Mymr", "Khmr", "Tale", "Talu",
        "Lana", "Tavt",
    }  # fmt: skip
    assigned = [
        c for c in map(chr, range(0x80, 0x40000)) if unicodedata.category(c) not in ("Cn", "Cs")
    ]
    of_scripts = [c for c in assigned if script(c) in scripts]
    assert re.findall(f"[{SCRIPTS}]", "".join(assigned)) == of_scripts
    marks = {c for c in of_scripts if unicodedata.category(c) in ("Mn", "Mc")}
    others = set(re.findall(f"[{MARKS}]", "".join(assigned))) - marks
    assert marks <= set(re.findall(f"[{MARKS}]", "".join(of_scripts)))
    assert others == set("〪〭〮〯〫〬\u3099\u309aﾞﾟ") | set(map(chr, range(0xFE00, 0xFE10)))
    wide = [c for c in assigned if c > "〈" and unicodedata.east_asian_width(c) in "WFH"]
    punctuation = {c for c in wide if unicodedata.category(c)[0] == "P"}
    assert punctuation <= set(re.findall(f"[{SCRIPTS}{PUNCTUATION}]", "".join(wide)))
    # Full-width letters and digits are those of words.
    assert not re.search(f"[{SCRIPTS}{PUNCTUATION}]", "Ａ７ｚ가한é")
    assert numpy_predictor.UNSPACED_TOKEN.pattern == PATTERN


def test_jieba_finds_words() -> None:
    pytest.importorskip("jieba")
    found = tokenize(["我来到北京清华大学 GitHub。", None, ""], Tokenizer(config("jieba")))
    assert found.to_lists() == [["我", "来到", "北京", "清华大学", "github", "。"], [], []]


def test_a_missing_jieba_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(InputError, match=r"jieba: pip install 'textcls\[chinese\]'$"):
        Tokenizer(config("jieba"))


# --- other tokenizers ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["split", "toktok"])
def test_torchtext_tokenizers_by_name(name: str) -> None:
    pytest.importorskip("nltk", reason="toktok needs nltk") if name == "toktok" else None
    texts = ["It's a film, isn't it?", None, "", "plain words"]
    oracle = get_tokenizer(None if name == "split" else name)
    expected = [oracle(text or "") for text in texts]
    assert tokenize(texts, Tokenizer(config(name))).to_lists() == expected


def test_a_missing_tokenizer_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(InputError, match=r"tokenizer.name=spacy needs its own package"):
        Tokenizer(config("spacy"))


LEARN_FROM = [f"unhappily {word} happiness unlikely" for word in ("run", "running", "runner")] * 9


@pytest.mark.parametrize("name", ["bpe", "wordpiece"])
def test_hugging_face_tokenizers_learn_and_reload(name: str) -> None:
    import tokenizers

    train = pa.chunked_array([pa.array([*LEARN_FROM, None])])
    tokenizer = Tokenizer(config(name, vocab_size=60), train)
    assert tokenizer.json is not None
    texts: list[str | None] = ["Unlikely running", None, "", "happily"]
    found = tokenize(texts, tokenizer).to_lists()
    oracle = tokenizers.Tokenizer.from_str(tokenizer.json)
    assert found == [oracle.encode(text or "", add_special_tokens=False).tokens for text in texts]
    assert found[0]
    assert oracle.get_vocab_size() <= 60
    again = Tokenizer(config(name, vocab_size=60), json=tokenizer.json)
    assert tokenize(texts, again).to_lists() == found


def test_a_tokenizer_file_is_read_and_its_padding_and_cut_are_not(tmp_path: object) -> None:
    import tokenizers

    learned = Tokenizer(config("bpe", vocab_size=60), pa.chunked_array([pa.array(LEARN_FROM)]))
    assert learned.json is not None
    oracle = tokenizers.Tokenizer.from_str(learned.json)
    oracle.enable_truncation(2)
    oracle.enable_padding(length=9)
    path = f"{tmp_path}/tokenizer.json"
    oracle.save(path)
    texts: list[str | None] = ["unhappily running", "run"]
    assert (
        tokenize(texts, Tokenizer(config("file", file=path))).to_lists()
        == tokenize(texts, learned).to_lists()
    )


def test_a_broken_tokenizer_file_is_said(tmp_path: object) -> None:
    path = f"{tmp_path}/tokenizer.json"
    with pytest.raises(InputError, match=r"tokenizer.file=.*cannot be read"):
        Tokenizer(config("file", file=path))
    with open(path, "w") as file:
        file.write("{}")
    with pytest.raises(InputError, match=r"is no usable tokenizer.json"):
        Tokenizer(config("file", file=path))


def test_few_blocks_are_there_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of large_string are copies: all of them would be the corpus once more."""
    made, done, most = [0], [0], [0]
    real = tokens_module.blocks

    def counted(chunks: list[pa.Array]) -> Iterator[pa.Array]:
        for block in real(chunks):
            made[0] += 1
            most[0] = max(most[0], made[0] - done[0])
            yield block

    def cut(self: Tokenizer, block: pa.Array) -> object:
        time.sleep(0.001)
        try:
            return real_cut(self, block)
        finally:
            done[0] += 1

    real_cut = Tokenizer._cut
    monkeypatch.setattr(tokenizer_module, "blocks", counted)
    monkeypatch.setattr(tokenizer_module, "usable_cpus", lambda: 2)
    monkeypatch.setattr(Tokenizer, "_cut", cut)
    monkeypatch.setattr("textcls.data.tokens.BLOCK_ROWS", 10)
    texts = pa.array(["a lovely film " * 50] * 2000, pa.large_string())
    tokens = Tokenizer(config())(pa.chunked_array([texts]))
    assert len(tokens.codes) == 2000 * 150
    assert made[0] == 200
    assert most[0] <= 12


# --- vocabulary ------------------------------------------------------------------------------


@given(TEXTS, st.integers(1, 3), st.one_of(st.none(), st.integers(1, 6)))
def test_vocabulary_is_torchtexts(
    texts: list[str | None], min_freq: int, max_size: int | None
) -> None:
    texts = [*texts, f"{PADDING} {UNKNOWN} b a a"]  # specials in the text count for nothing
    tokens = tokenize(texts)
    vocabulary = Vocabulary.build(tokens, min_freq, max_size)
    counter = Counter(token for row in tokens.to_lists() for token in row)
    # torchtext 0.6 takes max_size as the number of tokens beside the specials.
    oracle = Vocab(counter, max_size, min_freq, specials=[UNKNOWN, PADDING])
    assert vocabulary.tokens.to_pylist() == oracle.itos

    ids = vocabulary.encode(tokens)
    oracle.stoi[PADDING] = 0  # bags have no padding: the word is as unknown as any other
    flat = [token for row in tokens.to_lists() for token in row]
    assert ids.tolist() == [oracle.stoi[token] for token in flat]
    assert ids.dtype.name == "int32"
    counts = Counter(ids.tolist())
    assert vocabulary.counts[2:].tolist() == [counts[i] for i in range(2, len(vocabulary))]


def test_unknown_tokens_of_another_split_get_the_unknown_id() -> None:
    vocabulary = Vocabulary.build(tokenize(["a b b"]))
    assert vocabulary.tokens.to_pylist() == [UNKNOWN, PADDING, "b", "a"]
    assert vocabulary.encode(tokenize(["c a", "b"])).tolist() == [0, 3, 2]


@pytest.mark.parametrize(
    ("tokens", "counts", "message"),
    [
        ([UNKNOWN, PADDING, "a", "a"], [0, 0, 1, 1], "stand once"),
        ([UNKNOWN, "a", PADDING], [0, 0, 1], "first tokens must be the specials"),
        ([UNKNOWN, PADDING, "a"], [0, 0], "3 tokens but 2 counts"),
    ],
)
def test_a_vocabulary_that_is_none_is_refused(
    tokens: list[str], counts: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Vocabulary(tokens, counts)
