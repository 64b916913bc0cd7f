"""Flickr30k Entities: the phrases of a caption and the boxes of what they name, in the files of the data set's owners.

`Sentences/<image id>.txt` has one caption a line, tokens separated by spaces, phrases in brackets:

    [/EN#283585/people A young boy] throws [/EN#283586/other/toy a ball] .

The number is the phrase's chain: all mentions of one thing in a picture's captions have the same chain. A phrase has
one or several types; `notvisual` phrases have chain 0 and no annotation.

`Annotations/<image id>.xml` resembles PASCAL VOC: the picture's <size>, then <object>s, each with one or several
chains (<name>) and either one box (<bndbox>) or the flags <scene> and <nobndbox>. A chain that is named in several
objects has several boxes.

Published coordinates count pixels from 1 and include xmax and ymax, as PASCAL VOC's do (the owners' readers also
subtract 1). Here boxes are (x1, y1, x2, y2) in source pixels, continuous, x2 and y2 exclusive:

    (x1, y1, x2, y2) = (xmin - 1, ymin - 1, xmax, ymax), cut to the picture

so that <xmin>1</xmin> ... <xmax>W</xmax> is the whole width, 0 to W.
"""

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass
from xml.parsers import expat

from s2vt.data.phrases import Phrase
from s2vt.errors import UserError

# The categories of the paper's Table 1, in its order.
CATEGORIES = ("bodyparts", "animals", "people", "instruments", "vehicles", "scene", "other", "clothing")

_HEADER = re.compile(r"\[/EN#(?P<chain>[^/\s\]]+)(?P<types>(/[^/\s\]]+)+)(?P<end>\]?)")


@dataclass(frozen=True)
class EntityPhrase:
    """A bracketed phrase of a sentence."""

    first: int  # position of its first word in the sentence's tokens, from 0
    words: tuple[str, ...]  # as published
    chain: str  # "0" if not visual
    types: tuple[str, ...]


@dataclass(frozen=True)
class EntitySentence:
    """A caption as published: its tokens, punctuation among them, and the phrases bracketed in it."""

    tokens: tuple[str, ...]
    phrases: tuple[EntityPhrase, ...]


@dataclass(frozen=True)
class Entities:
    """Annotations of one picture."""

    width: int  # pixels
    height: int  # pixels
    boxes: dict[str, tuple[tuple[float, float, float, float], ...]]  # chain: its boxes, source pixels, exclusive
    scene: frozenset[str]  # chains that are the scene as a whole


# --- sentences ------------------------------------------------------------------------------------------------------


def read_sentences(path, num_captions=None):
    """The captions of one picture, with their phrases.

    Args:
        path: a file of `Sentences/`.
        num_captions: how many captions the picture has; None: as many as the file has lines.
    Returns:
        list of EntitySentence, in the file's order. An empty line between others is a sentence without tokens:
        sentence i is always caption i.
    Raises:
        UserError: naming file and line, if the file cannot be read, a bracket is malformed, or there are fewer lines
            than captions.
    """
    lines = _text(path).split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if num_captions is not None and len(lines) < num_captions:
        raise UserError(
            f"{path}:{len(lines) + 1}: the file ends after {len(lines)} of the picture's {num_captions} captions; "
            "expected one line for each, in their order; restore the published file"
        )
    return [parse_sentence(line, f"{path}:{number}") for number, line in enumerate(lines, start=1)]


def parse_sentence(line, place="sentence"):
    """One line of a sentence file.

    Args:
        line: text with phrases as [/EN#chain/type/... words].
        place: the line's "file:line", for messages.
    Raises:
        UserError: if a bracket is malformed.

    Example:
        >>> sentence = parse_sentence("[/EN#7/people A boy] throws [/EN#8/other/toy a ball] .")
        >>> sentence.tokens
        ('A', 'boy', 'throws', 'a', 'ball', '.')
        >>> sentence.phrases[1]
        EntityPhrase(first=3, words=('a', 'ball'), chain='8', types=('other', 'toy'))
    """
    tokens, found, phrase = [], [], None  # phrase: (first, chain, types) while inside brackets
    for token in line.split():
        if token.startswith("[/EN#"):
            header = _HEADER.fullmatch(token)
            if phrase or not header:
                problem = "a phrase opens inside another" if phrase else "not the start of a phrase"
                raise UserError(
                    f"{place}: {token!r}: {problem}; expected [/EN#<chain>/<type> words]; restore the published file"
                )
            phrase = len(tokens), header["chain"], tuple(header["types"][1:].split("/"))
            word, closes = "", bool(header["end"])
        else:
            closes = phrase is not None and token.endswith("]")
            word = token[:-1] if closes else token
        if word:
            tokens.append(word)
        if closes:
            first, chain, types = phrase
            found.append(EntityPhrase(first, tuple(tokens[first:]), chain, types))
            phrase = None
    if phrase:
        raise UserError(
            f"{place}: the phrase of chain {phrase[1]} never closes; expected ] after its last word; "
            "restore the published file"
        )
    return EntitySentence(tuple(tokens), tuple(found))


def words(sentence, tokenize):
    """The sentence's words as the captioner reads them: the words of each published token, in order.

    Args:
        sentence: EntitySentence.
        tokenize: str -> list of words; may drop punctuation and split a token.
    Returns:
        list of str; `phrases` gives positions in it.

    Example:
        >>> words(parse_sentence("[/EN#7/people A boy] , laughing ."), lambda text: text.lower().strip(",.").split())
        ['a', 'boy', 'laughing']
    """
    return [word for token in sentence.tokens for word in tokenize(token)]


def phrases(sentence, entities, tokenize):
    """The sentence's phrases that have boxes, and the number of those that have none, by reason.

    A phrase that is repeated in the sentence counts each time, at its own words. Reasons to drop one, in the order in
    which they are checked:

        notvisual   chain 0 or type notvisual: never annotated
        no word     no word is left of it after tokenising
        scene       its chain has no box but is flagged as the whole scene
        no box      its chain has no box

    Args:
        sentence: EntitySentence.   entities: Entities of the same picture.
        tokenize: str -> list of words, as for `words`.
    Returns:
        (list of Phrase, {reason: count}).

    Example:
        >>> entities = Entities(5, 4, {"8": ((0, 0, 2, 2),)}, frozenset())
        >>> sentence = parse_sentence("[/EN#7/people A boy] , [/EN#8/other/toy a ball] .")
        >>> phrases(sentence, entities, lambda text: text.lower().strip(",.").split())  # doctest: +NORMALIZE_WHITESPACE
        ([Phrase(name='a ball', words=(2, 3), categories=('other', 'toy'), boxes=((0, 0, 2, 2),))],
         {'no box': 1})
    """
    tokenised = [tokenize(token) for token in sentence.tokens]
    start = [0]  # start[k]: position of published token k's first word among our words
    for token_words in tokenised:
        start.append(start[-1] + len(token_words))
    caption = [word for token_words in tokenised for word in token_words]

    scored, dropped = [], Counter()
    for phrase in sentence.phrases:
        first, end = start[phrase.first], start[phrase.first + len(phrase.words)]
        boxes = entities.boxes.get(phrase.chain)
        if phrase.chain == "0" or "notvisual" in phrase.types:
            dropped["notvisual"] += 1
        elif first == end:
            dropped["no word"] += 1
        elif boxes:
            scored.append(Phrase(" ".join(caption[first:end]), tuple(range(first, end)), phrase.types, boxes))
        else:
            dropped["scene" if phrase.chain in entities.scene else "no box"] += 1
    return scored, dict(dropped)


# --- annotations ----------------------------------------------------------------------------------------------------


def read_annotations(path):
    """The boxes of one picture's chains.

    A chain named in several objects has several boxes; an object that names several chains gives its box to each.

    Args:
        path: a file of `Annotations/`. Document type and entity declarations are refused.
    Returns:
        Entities.
    Raises:
        UserError: naming file and line, if the file cannot be read or is not such an annotation.
    """
    file = _Annotation(path)
    width, height = file.size()
    boxes, scene = {}, set()
    for element in file.root.findall("object"):
        chains = [(name.text or "").strip() for name in element.findall("name")]
        if not chains or not all(chains):
            raise file.wrong(element, "an <object> names no chain", "<name> with the chain's number")
        for bndbox in element.findall("bndbox"):
            box = file.box(bndbox, width, height)
            for chain in chains:
                boxes.setdefault(chain, []).append(box)
        if any(file.number(value) for value in element.findall("scene")):
            scene.update(chains)
    return Entities(width, height, {chain: tuple(found) for chain, found in boxes.items()}, frozenset(scene))


class _Annotation:
    """An annotation file's elements, whose errors name file and line."""

    def __init__(self, path):
        self.path = path
        self.root, self.line_of = _parse(path)

    def wrong(self, element, problem, expected):
        place = f"{self.path}:{self.line_of[element]}"
        return UserError(f"{place}: {problem}; expected {expected}; restore the published file")

    def number(self, element):
        """An element's whole number."""
        if not re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", element.text or ""):
            raise self.wrong(element, f"<{element.tag}> is {element.text!r}", "a whole number")
        return int(element.text)

    def child(self, element, tag):
        found = element.find(tag)
        if found is None:
            raise self.wrong(element, f"<{element.tag}> has no <{tag}>", "one")
        return found

    def size(self):
        """(width, height) of the picture, pixels."""
        element = self.child(self.root, "size")
        width, height = (self.number(self.child(element, tag)) for tag in ("width", "height"))
        if width < 1 or height < 1:
            raise self.wrong(element, f"the picture's size is {width}x{height}", "at least one pixel")
        return width, height

    def box(self, element, width, height):
        """A <bndbox> as (x1, y1, x2, y2), cut to the picture."""
        tags = ("xmin", "ymin", "xmax", "ymax")
        xmin, ymin, xmax, ymax = (self.number(self.child(element, tag)) for tag in tags)
        x1, y1, x2, y2 = max(xmin - 1, 0), max(ymin - 1, 0), min(xmax, width), min(ymax, height)
        if x1 >= x2 or y1 >= y2:
            problem = f"the box {xmin}, {ymin}, {xmax}, {ymax} (xmin, ymin, xmax, ymax) holds no pixel"
            raise self.wrong(element, problem, f"xmin <= xmax and ymin <= ymax inside {width}x{height}")
        return float(x1), float(y1), float(x2), float(y2)


def _parse(path):
    """Root of an XML file's tree, and the line on which each element starts."""
    builder, line_of = ElementTree.TreeBuilder(), {}
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def start(tag, attributes):
        line_of[builder.start(tag, attributes)] = parser.CurrentLineNumber

    def refuse(name, *_):
        raise UserError(
            f"{path}:{parser.CurrentLineNumber}: the file declares a document type ({name}); expected plain elements, "
            "without DOCTYPE or ENTITY; restore the published file"
        )

    parser.StartElementHandler, parser.EndElementHandler = start, builder.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, refuse
    try:
        parser.Parse(_bytes(path), True)
    except UserError:
        raise
    except (expat.ExpatError, LookupError, ValueError) as error:  # the latter two: an unknown encoding
        line = getattr(error, "lineno", 1)
        raise UserError(f"{path}:{line}: not well-formed XML ({error}); restore the published file") from None
    return builder.close(), line_of


# --- captions to leave out ------------------------------------------------------------------------------------------


def read_unrelated_captions(path):
    """Captions that do not describe their picture (the published UNRELATED_CAPTIONS); they are not scored.

    Args:
        path: lines of `image_id caption_number`, numbers from 1; lines that start with # are comments.
    Returns:
        frozenset of (image id, caption index from 0).
    Raises:
        UserError: naming file and line, if the file cannot be read or a line is something else.
    """
    unrelated = set()
    for number, line in enumerate(_text(path).split("\n"), start=1):
        fields = line.split()
        if not fields or line.lstrip().startswith("#"):
            continue
        if len(fields) != 2 or not re.fullmatch(r"[1-9][0-9]{0,5}", fields[1]):
            raise UserError(
                f"{path}:{number}: {line.strip()!r} is not an unrelated caption; expected an image id and a caption "
                "number from 1; restore the published file"
            )
        unrelated.add((fields[0], int(fields[1]) - 1))
    return frozenset(unrelated)


# --- files ----------------------------------------------------------------------------------------------------------


def _bytes(path):
    """A file's bytes."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); expected a file of Flickr30k Entities; check the data folder"
        ) from None


def _text(path):
    """A UTF-8 file's text, line ends as \\n."""
    data = _bytes(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not UTF-8 text; expected captions; restore the published file") from None
    return text.replace("\r\n", "\n")
