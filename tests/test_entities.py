"""Flickr30k Entities: files as published, malformed files, and the real ones where they are available."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2vt.data import entities as entities_module
from s2vt.data.entities import (
    CATEGORIES,
    Entities,
    parse_sentence,
    phrases,
    read_annotations,
    read_sentences,
    read_unrelated_captions,
    words,
)
from s2vt.data.phrases import Phrase
from s2vt.errors import UserError

REAL = Path(os.environ.get("S2VT_REAL", Path(__file__).resolve().parents[1] / ".." / "shared" / "real"))
REAL_ENTITIES = REAL / "Flickr30k" / "Entities"
needs_real = pytest.mark.skipif(
    not REAL_ENTITIES.is_dir(), reason=f"no real Entities at {REAL_ENTITIES} (set S2VT_REAL to have them read)"
)


def tokenize(text):
    """Lower case; letters, digits, inner apostrophes and hyphens; no punctuation."""
    return re.findall(r"[a-z0-9]+(?:['-][a-z0-9]+)*", text.lower())


# --- sentences ------------------------------------------------------------------------------------------------------

SENTENCES = """\
[/EN#1/people Two men] in [/EN#2/clothing/other green shirts] , [/EN#1/people both] with [/EN#0/notvisual it] .
No phrase here .
[/EN#3/scene/other/vehicles A " well-known " street]
"""


def test_sentences_by_hand(tmp_path):
    path = tmp_path / "17.txt"
    path.write_text(SENTENCES)
    first, second, third = read_sentences(path, num_captions=3)
    assert first.tokens == ("Two", "men", "in", "green", "shirts", ",", "both", "with", "it", ".")
    assert [(p.first, p.words, p.chain, p.types) for p in first.phrases] == [
        (0, ("Two", "men"), "1", ("people",)),
        (3, ("green", "shirts"), "2", ("clothing", "other")),
        (6, ("both",), "1", ("people",)),
        (8, ("it",), "0", ("notvisual",)),
    ]
    assert second.tokens == ("No", "phrase", "here", ".") and second.phrases == ()
    assert third.phrases[0].types == ("scene", "other", "vehicles")
    assert third.tokens == ("A", '"', "well-known", '"', "street")


def test_a_phrase_repeated_in_a_sentence_keeps_its_own_place():
    sentence = parse_sentence("[/EN#1/people a man] and [/EN#2/people a man] and a man")
    assert [phrase.first for phrase in sentence.phrases] == [0, 3]


def test_ordinary_brackets_are_ordinary_tokens():
    sentence = parse_sentence("a sign [ sic ] reads [/EN#1/other [ stop ]")
    assert sentence.tokens == ("a", "sign", "[", "sic", "]", "reads", "[", "stop")
    assert sentence.phrases[0].words == ("[", "stop")


@pytest.mark.parametrize("line", ["[/EN#4/other ] x", "[/EN#4/other] x"])
def test_a_phrase_may_be_empty(line):
    sentence = parse_sentence(line)
    assert sentence.tokens == ("x",) and sentence.phrases[0].words == ()


def test_empty_lines_do_not_shift_sentences(tmp_path):
    path = tmp_path / "17.txt"
    path.write_bytes(b"\xef\xbb\xbfone two\r\n\r\n three\xe2\x80\xa8four \r\n\n  \n")
    assert [s.tokens for s in read_sentences(path)] == [("one", "two"), (), ("three", "four")]


def test_fewer_lines_than_captions(tmp_path):
    path = tmp_path / "17.txt"
    path.write_text(SENTENCES + "\n\n")
    with pytest.raises(UserError, match=r"17\.txt:4: the file ends after 3 of the picture's 5 captions"):
        read_sentences(path, num_captions=5)
    path.write_text("")
    with pytest.raises(UserError, match=r"17\.txt:1: the file ends after 0 of"):
        read_sentences(path, num_captions=1)
    assert read_sentences(path) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[/EN#1/people a man", "chain 1 never closes"),
        ("[/EN#1/people a [/EN#2/other b] c]", "opens inside another"),
        ("[/EN#1 a man]", "not the start of a phrase"),
        ("[/EN#/people a man]", "not the start of a phrase"),
        ("[/EN#1/ a man]", "not the start of a phrase"),
        ("[/EN#1/people/ a man]", "not the start of a phrase"),
    ],
)
def test_malformed_brackets_name_file_and_line(tmp_path, line, message):
    path = tmp_path / "17.txt"
    path.write_text(f"fine .\n{line}\n")
    with pytest.raises(UserError, match=rf"17\.txt:2: .*{message}") as error:
        read_sentences(path)
    assert "\n" not in str(error.value)


def test_text_in_another_encoding_names_file_and_line(tmp_path):
    path = tmp_path / "17.txt"
    path.write_bytes(b"one\ntwo\nca\xf1on\n")
    with pytest.raises(UserError, match=r"17\.txt:3: not UTF-8"):
        read_sentences(path)


def test_files_that_are_not_there(tmp_path):
    for read in (read_sentences, read_annotations, read_unrelated_captions):
        with pytest.raises(UserError, match="17.*cannot be read"):
            read(tmp_path / "17")
        with pytest.raises(UserError, match="cannot be read"):
            read(tmp_path)


TOKEN = st.text(st.characters(codec="utf-8", exclude_categories=("Z", "C"), exclude_characters="[]"), min_size=1)
PIECE = st.one_of(
    TOKEN,  # an ordinary token, or a phrase: chain, types, words
    st.tuples(
        st.integers(0, 999).map(str),
        st.lists(st.sampled_from(CATEGORIES), min_size=1, max_size=3),
        st.lists(TOKEN, max_size=4),
    ),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(PIECE, max_size=6))
def test_what_is_written_is_read_back(pieces):
    line, tokens, expected = [], [], []
    for piece in pieces:
        if isinstance(piece, str):
            line.append(piece)
            tokens.append(piece)
        else:
            chain, types, phrase_words = piece
            line.append(f"[/EN#{chain}/{'/'.join(types)} {' '.join(phrase_words)}]")
            expected.append((len(tokens), tuple(phrase_words), chain, tuple(types)))
            tokens += phrase_words
    sentence = parse_sentence(" ".join(line))
    assert sentence.tokens == tuple(tokens)
    assert [(p.first, p.words, p.chain, p.types) for p in sentence.phrases] == expected


# --- annotations ----------------------------------------------------------------------------------------------------

ANNOTATION = """\
<annotation>
  <filename>17.jpg</filename>
  <size>
    <width>50</width>
    <height>40</height>
    <depth>3</depth>
  </size>
  <object>
    <name>1</name>
    <name>2</name>
    <bndbox>
      <xmin>1</xmin> <ymin>11</ymin> <xmax>20</xmax> <ymax>40</ymax>
    </bndbox>
  </object>
  <object>
    <name>1</name>
    <bndbox>
      <xmin>31</xmin> <ymin>1</ymin> <xmax>50</xmax> <ymax>1</ymax>
    </bndbox>
  </object>
  <object>
    <name>3</name>
    <scene>1</scene>
    <nobndbox>0</nobndbox>
  </object>
  <object>
    <name>4</name>
    <name>5</name>
    <scene>0</scene>
    <nobndbox>1</nobndbox>
  </object>
</annotation>
"""


def annotation(tmp_path, *changes):
    """The annotation file with some of its text replaced."""
    text = ANNOTATION
    for old, new in changes:
        if old not in text:
            raise ValueError(old)
        text = text.replace(old, new, 1)
    path = tmp_path / "17.xml"
    path.write_text(text)
    return path


def test_annotations_by_hand(tmp_path):
    assert read_annotations(annotation(tmp_path)) == Entities(
        width=50,
        height=40,
        boxes={"1": ((0, 10, 20, 40), (30, 0, 50, 1)), "2": ((0, 10, 20, 40),)},
        scene=frozenset({"3"}),
    )


def test_boxes_are_cut_to_the_picture(tmp_path):
    path = annotation(tmp_path, ("<xmin>1<", "<xmin>0<"), ("<xmax>20<", "<xmax>51<"))
    assert read_annotations(path).boxes["2"] == ((0, 10, 50, 40),)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("</size>", "</sise>"), r"17\.xml:7: not well-formed XML \(mismatched tag"),
        (("</annotation>", ""), r"17\.xml:3\d: not well-formed XML"),
        ((ANNOTATION, ""), r"17\.xml:1: not well-formed XML \(no element found"),
        (("17.jpg", "&unknown;"), r"17\.xml:2: not well-formed XML \(undefined entity"),
        (("<annotation>", '<?xml version="1.0" encoding="klingon"?><annotation>'), r"17\.xml:1: not well-formed"),
        (("<annotation>", "<!DOCTYPE annotation>\n<annotation>"), r"17\.xml:1: the file declares a document type"),
        (
            ("<annotation>", '\n<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>\n<annotation>'),
            r"17\.xml:2: the file declares a document type \(a\)",
        ),
        (("<width>50", "<width>fifty"), r"17\.xml:4: <width> is 'fifty'"),
        (("<width>50", "<width>0"), r"17\.xml:3: the picture's size is 0x40"),
        (("<height>40</height>", ""), r"17\.xml:3: <size> has no <height>"),
        (("<xmin>1<", "<xmin>1.5<"), r"17\.xml:12: <xmin> is '1\.5'"),
        (("<xmin>1<", "<xmin><"), r"17\.xml:12: <xmin> is None"),
        (("<xmin>1</xmin>", ""), r"17\.xml:11: <bndbox> has no <xmin>"),
        (("<xmin>1<", "<xmin>21<"), r"17\.xml:11: the box 21, 11, 20, 40 .*holds no pixel"),
        (("<ymax>1<", "<ymax>-1<"), r"17\.xml:17: the box .*inside 50x40"),
        (("<xmin>31<", "<xmin>51<"), r"17\.xml:17: the box 51"),
        (("<name>3</name>", ""), r"17\.xml:21: an <object> names no chain"),
        (("<name>3</name>", "<name> </name>"), r"17\.xml:21: an <object> names no chain"),
        (("<scene>1<", "<scene>yes<"), r"17\.xml:23: <scene> is 'yes'"),
    ],
)
def test_malformed_annotations_name_file_and_line(tmp_path, change, message):
    path = annotation(tmp_path, change)
    with pytest.raises(UserError, match=message) as error:
        read_annotations(path)
    assert "\n" not in str(error.value)


def test_entities_are_never_expanded(tmp_path):
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "ha"}">' for i in range(12))
    path = annotation(tmp_path, ("<annotation>", f"<!DOCTYPE lolz [{laughs}]><annotation>"), ("17.jpg", "&l11;"))
    with pytest.raises(UserError, match="document type"):
        read_annotations(path)


# --- both together --------------------------------------------------------------------------------------------------

PICTURE = Entities(
    width=50,
    height=40,
    boxes={"1": ((0, 10, 20, 40), (30, 0, 50, 1)), "2": ((0, 10, 20, 40),)},
    scene=frozenset({"3"}),
)


def test_positions_count_our_words():
    sentence = parse_sentence(
        '" Hey , " says [/EN#1/people/other a " well-known " man] in [/EN#2/clothing T-shirts / jeans] .'
    )
    scored, dropped = phrases(sentence, PICTURE, tokenize)
    caption = words(sentence, tokenize)
    assert caption == ["hey", "says", "a", "well-known", "man", "in", "t-shirts", "jeans"]
    assert scored == [
        Phrase("a well-known man", (2, 3, 4), ("people", "other"), PICTURE.boxes["1"]),
        Phrase("t-shirts jeans", (6, 7), ("clothing",), PICTURE.boxes["2"]),
    ]
    assert dropped == {}


def test_a_token_that_becomes_two_words_shifts_what_follows():
    sentence = parse_sentence("black/white [/EN#1/people man/woman] , [/EN#2/clothing jeans]")
    scored, _ = phrases(sentence, PICTURE, tokenize)
    assert [(phrase.words, phrase.name) for phrase in scored] == [((2, 3), "man woman"), ((4,), "jeans")]


def test_repeated_phrases_are_each_scored_at_their_own_words():
    scored, _ = phrases(parse_sentence("[/EN#1/people a man] and [/EN#1/people a man]"), PICTURE, tokenize)
    assert [phrase.words for phrase in scored] == [(0, 1), (3, 4)]


def test_dropped_phrases_are_counted_with_their_reason():
    line = (
        "[/EN#0/notvisual it] [/EN#9/notvisual this] [/EN#0/other that] [/EN#3/scene a park] [/EN#4/other music] "
        "[/EN#77/other chain of nobody] [/EN#1/other ...] [/EN#2/other ] [/EN#1/people man]"
    )
    scored, dropped = phrases(parse_sentence(line), PICTURE, tokenize)
    assert [phrase.name for phrase in scored] == ["man"]
    assert dropped == {"notvisual": 3, "scene": 1, "no box": 2, "no word": 2}


def test_a_scene_with_a_box_is_scored():
    park = Entities(50, 40, {"3": ((0, 0, 50, 20),)}, frozenset({"3"}))
    scored, dropped = phrases(parse_sentence("[/EN#3/scene a park]"), park, tokenize)
    assert scored == [Phrase("a park", (0, 1), ("scene",), ((0, 0, 50, 20),))] and dropped == {}


# --- captions to leave out ------------------------------------------------------------------------------------------


def test_unrelated_captions_by_hand(tmp_path):
    path = tmp_path / "UNRELATED_CAPTIONS"
    path.write_text("# format: <imageID> <sentence number>\n129 5\n\n4671 1\n")
    assert read_unrelated_captions(path) == {("129", 4), ("4671", 0)}


@pytest.mark.parametrize("line", ["129", "129 0", "129 five", "129 5 1", "129 -1"])
def test_malformed_unrelated_captions_name_file_and_line(tmp_path, line):
    path = tmp_path / "UNRELATED_CAPTIONS"
    path.write_text(f"# format\n1 1\n{line}\n")
    with pytest.raises(UserError, match="UNRELATED_CAPTIONS:3: .*caption number from 1"):
        read_unrelated_captions(path)


# --- the real files -------------------------------------------------------------------------------------------------


@needs_real
def test_counts_of_the_real_files():
    captions = {}
    for line in (REAL / "Flickr30k" / "results_20130124.token").read_text(encoding="utf-8").split("\n"):
        if line:
            name, text = line.split("\t")
            captions[name] = text
    num_boxes, rows, dropped_total = 0, [], {}
    for annotation_path in sorted((REAL_ENTITIES / "Annotations").glob("*.xml")):
        image = annotation_path.stem
        annotated = read_annotations(annotation_path)
        num_boxes += sum(map(len, annotated.boxes.values()))
        for index, sentence in enumerate(read_sentences(REAL_ENTITIES / "Sentences" / f"{image}.txt", 5)):
            assert " ".join(sentence.tokens) == captions[f"{image}.jpg#{index}"].strip()
            scored, dropped = phrases(sentence, annotated, tokenize)
            for reason, count in dropped.items():
                dropped_total[reason] = dropped_total.get(reason, 0) + count
            caption = words(sentence, tokenize)
            for phrase in scored:
                assert " ".join(caption[position] for position in phrase.words) == phrase.name
                for x1, y1, x2, y2 in phrase.boxes:
                    assert 0 <= x1 < x2 <= annotated.width and 0 <= y1 < y2 <= annotated.height
            rows += scored
    assert num_boxes == 11_461 and len(rows) == 21_830
    assert dropped_total == {"no box": 1825, "notvisual": 1307, "scene": 472}


def test_categories_are_the_papers_columns():
    assert entities_module.CATEGORIES[0] == "bodyparts" and len(set(CATEGORIES)) == 8
