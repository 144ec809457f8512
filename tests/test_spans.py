from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_explain import TRAIN, make_classifier
from tests.test_tokens import RULES, config, tokenize
from textcls.data.tokenizer import Tokenizer
from textcls.report.explain import bag_of, explain, whole
from textcls.report.spans import align


@given(
    text=st.lists(
        st.one_of(RULES, st.sampled_from(["br", "/>", 'b"r', "<br", ";;"]), st.characters()),
        max_size=14,
    ).map("".join)
)
def test_the_words_of_basic_english_stand_where_they_were(text: str) -> None:
    text = whole(text)
    words = tokenize([text]).to_lists()[0]
    spans = align(text, words, Tokenizer(config()))
    end = 0
    for word, span in zip(words, spans, strict=True):
        assert span is not None
        assert end <= span[0] < span[1] <= len(text)
        end = span[1]
        here = text[span[0] : end].lower().replace('"', "").replace("ς", "σ")
        assert here == word.replace("ς", "σ")


@pytest.mark.parametrize("name", ["basic", "jieba"])
@pytest.mark.parametrize(
    "text",
    [
        "我爱Python 3，我 爱 Ｐython！🎄🎄漢字\u3000かな",
        '今日は「良い」天気 — \ud83dÅΣ\U00020bb7で"す"。ｶﾞｶﾞ',
        "ภาษาไทยที่ 100฿ นี่ดี🎄. It's ที่ GOOD<br />นี่",
    ],
)
def test_characters_of_unspaced_scripts_stand_where_they_were(name: str, text: str) -> None:
    pytest.importorskip("jieba") if name == "jieba" else None
    text = whole(text)
    tokenizer = Tokenizer(config(name))
    words = tokenize([text], tokenizer).to_lists()[0]
    spans = align(text, words, tokenizer)
    end = 0
    for word, span in zip(words, spans, strict=True):
        assert span is not None
        assert not text[end : span[0]].replace("<br />", "").strip(' "\u3000')
        end = span[1]
        here = text[span[0] : end].lower()
        assert here.replace("ς", "σ") == word.replace("ς", "σ")
    assert end == len(text.rstrip('"'))


def test_a_line_break_is_no_place_of_a_word() -> None:
    text = 'İ<BR />br <br" />/;b"R:' + ";" * 99 + "Σ"
    words = tokenize([text]).to_lists()[0]
    assert words == ["i̇", "br", "/", "br", "σ"]
    spans = [span for span in align(text, words, Tokenizer(config())) if span]
    assert spans == [(0, 1), (7, 9), (17, 18), (19, 22), (122, 123)]
    assert [text[a:b] for a, b in spans] == ["İ", "br", "/", 'b"R', "Σ"]


@pytest.mark.parametrize("name", ["bpe", "wordpiece", "split", "toktok"])
def test_pieces_of_other_tokenizers_are_found(name: str) -> None:
    classifier = make_classifier(name=name, vocab_size=50, train=[*TRAIN, "ﬁlm ÅΣ dulls"])
    text = "Not\n dulls, a  GOOD ﬁlm: notably 'good' ΑΣ\u2003dull " + "x" * 50 + " film"
    bag = bag_of(classifier, text)
    e = explain(classifier, text)
    found = [
        (word, text[span[0] : span[1]])
        for word, span in zip(bag.words, e.word_spans, strict=True)
        if span
    ]
    assert len(found) >= 8
    for word, here in found:
        bare, here = (
            s.lower().replace("ﬁ", "fi").replace("ς", "σ") for s in (word.removeprefix("##"), here)
        )
        assert here == bare
    missing = [w for w, span in zip(bag.words, e.word_spans, strict=True) if span is None]
    assert set(missing) <= {"<unk>"}


def test_a_token_that_stands_nowhere_moves_no_other() -> None:
    tokenizer = Tokenizer(config("split"))
    text = "a b " + "c " * 40 + "z"
    spans = align(text, ["a", "<unk>", "z", "b"], tokenizer)
    assert spans == ((0, 1), None, None, (2, 3))
