"""Words and phrases of a sentence: where they stand, which are function words, verbs of change, a noun phrase."""

from dataclasses import dataclass
from typing import NamedTuple

from s2vt.errors import UserError

ARTICLES = frozenset("a an the this that these those".split())

# The paper's Fig. 5 leaves out "articles, helper verbs and prepositions"; conjunctions, pronouns, "not" and the full
# stop (END) are ours. Particles that carry a verb's meaning (up, down, off, out) count as content.
FUNCTION_WORDS = ARTICLES | frozenset(
    # helper verbs, negation
    "am is are was were be been being has have had having do does did can could will would shall should may might must "
    "not "
    # prepositions
    "about above across after against along alongside amid among around as at before behind below beneath beside "
    "besides between beyond by during for from in inside into near next of on onto outside over past through "
    "throughout to toward towards under underneath until upon via while with within without "
    # conjunctions, pronouns, END
    "and but or nor which who it its there .".split()
)

# Verbs that say that something comes or goes, begins or ends, opens or closes, breaks or falls: a video changes there.
# Forms that are nouns or adjectives as often (open, closed, leaves, stop, end) are left out. {form: direction}: its
# subject comes into view (1), goes out of view (-1), or is in view before and after (0).
VERBS_OF_CHANGE = {
    form: direction
    for direction, forms in (
        (
            1,
            "appear appears appearing appeared reappear reappears reappearing reappeared emerge emerges emerging "
            "emerged arrive arrives arriving arrived enter enters entering entered",
        ),
        (
            -1,
            "disappear disappears disappearing disappeared vanish vanishes vanishing vanished exits exiting exited "
            "leaving departs departing departed escapes escaping escaped",
        ),
        (
            0,
            "opens opening opened closes closing shuts shutting begins beginning began starts starting started stops "
            "stopping stopped ends ending ended finishes finishing finished explodes exploding exploded bursts "
            "bursting burst erupts erupting erupted collapses collapsing collapsed breaks breaking broke shatters "
            "shattering shattered falls falling fell drops dropping dropped",
        ),
    )
    for form in forms.split()
}
# Verbs that do so with a particle: {form: {particle: direction}}.
PARTICLES_OF_CHANGE = {
    form: {particle: direction for direction, listed in particles.items() for particle in listed.split(", ")}
    for forms, particles in (
        ("show shows showing showed", {1: "up"}),
        ("pop pops popping popped", {1: "up, out"}),
        ("light lights lighting lit", {0: "up"}),
        ("come comes coming came", {1: "into view, into sight, in, out, back"}),
        ("go goes going went", {-1: "out of view, out of sight, out, away", 0: "off"}),
        ("move moves moving moved", {1: "into view, into sight", -1: "out of view, out of sight"}),
        ("fade fades fading faded", {1: "in, into view", -1: "out, away, out of view"}),
        ("turn turns turning turned switch switches switching switched", {0: "on, off"}),
        ("take takes taking took", {0: "off"}),
        ("blow blows blowing blew", {0: "up, out"}),
        ("sit sits sat lie lies lay", {0: "down"}),
        ("stand stands stood get gets getting got wake wakes waking woke", {0: "up"}),
    )
    for form in forms.split()
}


# Content words that stand between a verb of change and its subject.
BEFORE_VERBS = frozenset("that then first now again also suddenly slowly quickly finally".split())


class Change(NamedTuple):
    """What a verb of change says.

    Attributes:
        subject: positions of the words that name what changes, by a rule; (): not known.
        direction: 1, it comes into view; -1, it goes out of view; 0, neither, or not known.
    """

    subject: tuple[int, ...] = ()
    direction: int = 0


@dataclass(frozen=True)
class Phrase:
    """Words of a sentence that are explained together (Eq. 9).

    Attributes:
        name: the words as read: "a red circle".
        words: their positions in the sentence, from 0.
        categories: what they name, where that is annotated: "people", "clothing", ...
        boxes: (K, 4) of it in a picture, source pixels, x2 and y2 exclusive, where annotated.
    """

    name: str
    words: tuple[int, ...]
    categories: tuple[str, ...] = ()
    boxes: tuple[tuple[float, float, float, float], ...] = ()


def content_words(words):
    """Positions of the words that are not function words; of all words if there are no others.

    Example:
        >>> content_words("a man is talking about a phone".split())
        [1, 3, 6]
    """
    return [t for t, word in enumerate(words) if word.lower() not in FUNCTION_WORDS] or list(range(len(words)))


def words_of_change(words):
    """Positions of a sentence's verbs of change, with the particles that make them one: {position: Change}.

    The subject is, by a rule, the noun phrase that precedes the verb most closely.

    Example:
        >>> found = words_of_change("a star comes into view while a box disappears and a car comes closer".split())
        >>> sorted(found), found[2], found[8]
        ([2, 3, 4, 8], Change(subject=(0, 1), direction=1), Change(subject=(6, 7), direction=-1))
    """
    verbs = {}  # position of a verb: (number of its words, direction)
    for k, word in enumerate(word.lower() for word in words):
        if word in VERBS_OF_CHANGE:
            verbs[k] = 1, VERBS_OF_CHANGE[word]
        for particle, direction in PARTICLES_OF_CHANGE.get(word, {}).items():
            length = 1 + len(particle.split())
            if " ".join(words[k + 1 : k + length]) == particle and length > verbs.get(k, (1,))[0]:
                verbs[k] = length, direction
    spans = {k: range(k, k + length) for k, (length, _) in verbs.items()}
    taken = {position for span in spans.values() for position in span}
    names = [k for k, word in enumerate(words) if k not in taken and word.lower() not in BEFORE_VERBS]
    groups = [[k for k in group if k in names] for group in noun_phrases(words)] if verbs else []
    found = {}
    for k, span in spans.items():
        before = [group for group in ([j for j in group if j < k] for group in groups) if group]
        change = Change(tuple(before[-1]) if before else (), verbs[k][1])
        found.update(dict.fromkeys(span, change))
    return found


def phrases_at(words, groups):
    """Groups of positions in a sentence as a list of Phrase.

    Example:
        >>> [phrase.name for phrase in phrases_at("a red car".split(), [(0,), (1, 2)])]
        ['a', 'red car']
    """
    return [Phrase(" ".join(words[k] for k in group), tuple(group)) for group in groups]


def find_phrases(words, names):
    """All occurrences of phrases in a sentence.

    Args:
        words: the sentence's, (T,).
        names: phrases as lists of words, each a run of consecutive words of the sentence.
    Returns:
        list of Phrase.
    Raises:
        UserError: if one of them does not occur.

    Example:
        >>> found = find_phrases("a red car passes a red house".split(), [["red"], ["a", "red", "car"]])
        >>> [(phrase.name, phrase.words) for phrase in found]
        [('red', (1,)), ('red', (5,)), ('a red car', (0, 1, 2))]
    """
    words, found = list(words), []
    for name in map(list, names):
        starts = [k for k in range(len(words) - len(name) + 1) if name and words[k : k + len(name)] == name]
        if not starts:
            raise UserError(f"{' '.join(name)!r} does not occur in the sentence {' '.join(words)!r}")
        found += phrases_at(words, [range(k, k + len(name)) for k in starts])
    return found


def noun_phrases(words):
    """Groups of words to explain together, by a rule.

    A group starts at an article or a content word and ends before the next function word; function words other than
    articles belong to no group. A verb stays with the noun before it.

    Returns:
        list of tuples of positions.

    Example:
        >>> noun_phrases("a red circle is to the left of a star".split())
        [(0, 1, 2), (5, 6), (8, 9)]
    """
    groups, group = [], []
    for k, word in enumerate([*words, "."]):
        if word in FUNCTION_WORDS:
            if any(words[j] not in ARTICLES for j in group):
                groups.append(tuple(group))
            group = [k] if word in ARTICLES else []
        else:
            group.append(k)
    return groups
