"""Words and phrases of a sentence: where they stand, which are function words, which make a noun phrase."""

from dataclasses import dataclass

from s2vt.errors import UserError

FUNCTION_WORDS = frozenset(
    "is are was were be been being am has have had does do did not and or but while that which who with without of in"
    " on at to"
    " from by for near next above below behind under over into onto through between against there it its".split()
)
_ARTICLES = frozenset("a an the this that these those".split())


@dataclass(frozen=True)
class Phrase:
    """Words of a sentence that are shown as one map (Eq. 9).

    Attributes:
        name: what stands above the map.
        words: their positions in the sentence.
    """

    name: str
    words: tuple[int, ...]


def phrases_at(words, groups):
    """Groups of positions in a sentence as a list of Phrase.

    Example:
        >>> phrases_at("a red car".split(), [(0,), (1, 2)])
        [Phrase(name='a', words=(0,)), Phrase(name='red car', words=(1, 2))]
    """
    return [Phrase(" ".join(words[k] for k in group), tuple(group)) for group in groups]


def find_phrases(words, names):
    """Where phrases stand in a sentence, each as often as it occurs.

    Args:
        words: the sentence's, (n,).
        names: phrases as lists of words; words that follow each other in the sentence.
    Returns:
        list of Phrase.
    Raises:
        UserError: if one of them does not occur.

    Example:
        >>> find_phrases("a red car passes a red house".split(), [["red"], ["a", "red", "car"]])
        [Phrase(name='red', words=(1,)), Phrase(name='red', words=(5,)), Phrase(name='a red car', words=(0, 1, 2))]
    """
    words, found = list(words), []
    for name in map(list, names):
        starts = [k for k in range(len(words) - len(name) + 1) if name and words[k : k + len(name)] == name]
        if not starts:
            raise UserError(f"{' '.join(name)!r} does not occur in the sentence {' '.join(words)!r}")
        found += phrases_at(words, [range(k, k + len(name)) for k in starts])
    return found


def noun_phrases(words):
    """Groups of words to show as one map (Eq. 9), by a rule: a group starts at an article and ends before the next
    article or function word; function words belong to none. Verbs stay with the noun before them.

    Returns:
        list of tuples of positions.

    Example:
        >>> noun_phrases("a red circle is to the left of a star".split())
        [(0, 1, 2), (5, 6), (8, 9)]
    """
    groups, group = [], []
    for k, word in enumerate([*words, "."]):
        ends = word in _ARTICLES or word in FUNCTION_WORDS or word == "."
        if ends:
            if any(words[j] not in _ARTICLES for j in group):
                groups.append(tuple(group))
            group = []
        if word in _ARTICLES or not ends:
            group.append(k)
    return groups
