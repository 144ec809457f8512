"""Letters: marks at the beginning of a file, encodings that are said or have to be suggested."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.inputs.cases import ROWS, Case, Row, check, csv_text, jsonl_text, reads, refused

GERMAN: list[Row] = [("Größe paßt", "gut"), ("zu groß", "schlecht"), ("für 5 Äpfel", "gut")]
EURO: list[Row] = [("5 € – “ok”", "gut"), ("zu groß", "schlecht"), ("für 5 Äpfel", "gut")]
RUSSIAN: list[Row] = [
    ("Очень хороший фильм, советую", "да"),
    ("Плохой и скучный фильм", "нет"),
    ("Мне понравилось, спасибо", "да"),
] * 4
JAPANESE: list[Row] = [
    ("とても良いホテルでした。また来たいです。", "良"),
    ("部屋が狭くて汚いです。", "悪"),
    ("朝食が美味しかった。", "良"),
] * 4
CHINESE: list[Row] = [
    ("这个酒店非常好，下次还会来。", "好"),
    ("房间太小了，很脏。", "差"),
    ("早餐很好吃。", "好"),
] * 4
KOREAN: list[Row] = [
    ("정말 좋은 호텔이었습니다.", "긍정"),
    ("방이 너무 작고 더러워요.", "부정"),
    ("아침 식사가 맛있었어요.", "긍정"),
] * 4


def fasttext(rows: list[Row]) -> str:
    return "".join(f"__label__{label} {text}\n" for text, label in rows)


MARKS = [
    *(
        reads(f"{encoding}, csv", ("\ufeff" + csv_text(ROWS)).encode(encoding), ROWS)
        for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
    ),
    *(
        reads(f"{encoding}, fastText", ("\ufeff" + fasttext(JAPANESE)).encode(encoding), JAPANESE,
              "train.txt")
        for encoding in ("utf-8", "utf-16-le", "utf-16-be")
    ),
    reads("Unicode Text (Excel)",
          ("\ufeff" + csv_text(ROWS, "text\tlabel", "\t", "\r\n")).encode("utf-16-le"), ROWS),
    reads("Unicode Text (Excel), .tsv",
          ("\ufeff" + csv_text(ROWS, "text\tlabel", "\t", "\r\n")).encode("utf-16-le"), ROWS,
          "train.tsv"),
    reads("the mark wins over what is said",
          ("\ufeff" + csv_text(ROWS)).encode("utf-16-le"), ROWS, encoding="latin-1"),
    reads("utf-16 said", csv_text(ROWS).encode("utf-16"), ROWS, encoding="utf-16"),
    reads("utf-16 said, no mark", csv_text(ROWS).encode("utf-16-le"), ROWS, encoding="utf-16-le"),
    reads("utf-8-sig said, no mark", csv_text(ROWS), ROWS, encoding="utf-8-sig"),
    reads("a letter over two blocks", "text,label\n" + "é" * 3_000_001 + ",x\nno,y\n",
          [("é" * 3_000_001, "x"), ("no", "y")]),
    reads("utf-16 over two blocks",
          ("text,label\n" + "a😀" * 700_001 + ",x\nno,y\n").encode("utf-16"),
          [("a😀" * 700_001, "x"), ("no", "y")]),
]  # fmt: skip

SAID = [
    *(
        reads(f"{encoding}, csv", csv_text(rows).encode(encoding), rows, encoding=encoding)
        for encoding, rows in [
            ("latin-1", GERMAN), ("cp1252", EURO), ("cp1251", RUSSIAN), ("koi8-r", RUSSIAN),
            ("shift_jis", JAPANESE), ("euc-jp", JAPANESE), ("gb18030", CHINESE), ("big5hkscs",
            [("這個酒店非常好", "好"), ("房間太小了", "差")]), ("euc-kr", KOREAN),
            ("cp437", GERMAN), ("mac-roman", GERMAN), ("iso-8859-15", GERMAN),
        ]
    ),
    reads("cp932, jsonl", jsonl_text(JAPANESE, ensure_ascii=False).encode("cp932"), JAPANESE,
          "train.jsonl", encoding="cp932"),
    reads("gbk, fastText", fasttext(CHINESE).encode("gbk"), CHINESE, "train.txt", encoding="gbk"),
    reads("a second byte that looks like a delimiter",
          "text,label\n表|ソ\\十,x\nno,y\n".encode("shift_jis"), [("表|ソ\\十", "x"), ("no", "y")],
          encoding="shift_jis"),
]  # fmt: skip

SUGGESTED = [
    refused("latin-1", csv_text(GERMAN).encode("latin-1"), r"line 2\b.*data\.encoding=",
            mended=GERMAN),
    refused("cp1252 (Excel)", csv_text(EURO).encode("cp1252"), r"line 2\b.*data\.encoding=",
            mended=EURO),
    refused("cp1252 far down", csv_text([("fine", "gut"), ("no", "schlecht")] * 30_000
                                        + EURO).encode("cp1252"),
            r"line 60,?002\b.*data\.encoding=",
            mended=[("fine", "gut"), ("no", "schlecht")] * 30_000 + EURO),
    refused("Shift-JIS", csv_text(JAPANESE).encode("shift_jis"), r"line 2\b.*data\.encoding=",
            mended=JAPANESE),
    refused("GBK", csv_text(CHINESE).encode("gbk"), r"line 2\b.*data\.encoding=", mended=CHINESE),
    refused("utf-16 without a mark", csv_text(ROWS).encode("utf-16-le"), r"data\.encoding=",
            mended=ROWS),
    refused("utf-16 without a mark, big end first", csv_text(ROWS).encode("utf-16-be"),
            r"data\.encoding=", mended=ROWS),
    refused("ascii said", csv_text(ROWS), r"line 6\b.*data\.encoding=utf-8", mended=ROWS,
            encoding="ascii"),
    refused("one line of latin-1 in UTF-8", b"text,label\ncaf\xc3\xa9,x\ncaf\xe9,y\n", r"line 3\b"),
    refused("after a text that spans lines", b'text,label\n"a\nb",x\n"c\n\nd",y\ncaf\xe9,y\n',
            r"line 7\b"),
    refused("a letter cut short at the end", csv_text(GERMAN).encode() + b"caf\xc3", r"line 5\b"),
    refused("half a pair in UTF-8", b"text,label\nok,x\n\xed\xa0\x80,y\n", r"line 3\b"),
    refused("no such encoding", csv_text(ROWS), r"data\.encoding=utf-99", encoding="utf-99"),
    refused("an encoding that is none for letters", csv_text(ROWS), r"data\.encoding=rot13",
            encoding="rot13"),
    refused("utf-16 said of UTF-8", csv_text(GERMAN) + "x", r"data\.encoding|line",
            encoding="utf-16"),
    refused("fastText", fasttext(GERMAN).encode("latin-1"), r"line 1\b.*data\.encoding=",
            "train.txt", mended=GERMAN),
    refused("a .tsv", csv_text(GERMAN, "text\tlabel", "\t").encode("latin-1"), r"line 2\b",
            "train.tsv", mended=GERMAN),
]  # fmt: skip


@pytest.mark.parametrize("case", MARKS)
def test_a_mark_at_the_beginning_decides(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.parametrize("case", SAID)
def test_an_encoding_that_is_said(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.parametrize("case", SUGGESTED)
def test_an_encoding_is_suggested_that_works(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)
