"""Words and phrases of a sentence: where they stand, which are function words, verbs of change, a noun phrase."""

from dataclasses import dataclass

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

# Verbs that say that something comes or goes, begins or ends, opens or closes, breaks or falls: their evidence is where
# a video changes. Forms that are nouns or adjectives as often (open, closed, leaves, stop, end) are left out.
VERBS_OF_CHANGE = frozenset(
    "appear appears appearing appeared disappear disappears disappearing disappeared reappear reappears reappearing "
    "reappeared vanish vanishes vanishing vanished emerge emerges emerging emerged arrive arrives arriving arrived "
    "enter enters entering entered exits exiting exited leaving departs departing departed escapes escaping escaped "
    "opens opening opened closes closing shuts shutting begins beginning began starts starting started stops stopping "
    "stopped ends ending ended finishes finishing finished explodes exploding exploded bursts bursting burst erupts "
    "erupting erupted collapses collapsing collapsed breaks breaking broke shatters shattering shattered falls falling "
    "fell drops dropping dropped".split()
)
# Verbs that do so with a particle.
PARTICLES_OF_CHANGE = {
    form: tuple(particles.split(", "))
    for forms, particles in (
        ("show shows showing showed", "up"),
        ("pop pops popping popped", "up, out"),
        ("light lights lighting lit", "up"),
        ("come comes coming came", "into view, into sight, in, out, back"),
        ("go goes going went", "out of view, out of sight, out, away, off"),
        ("move moves moving moved", "into view, into sight, out of view, out of sight"),
        ("fade fades fading faded", "in, out, away, into view, out of view"),
        ("turn turns turning turned switch switches switching switched", "on, off"),
        ("take takes taking took", "off"),
        ("blow blows blowing blew", "up, out"),
        ("sit sits sat lie lies lay", "down"),
        ("stand stands stood get gets getting got wake wakes waking woke", "up"),
    )
    for form in forms.split()
}


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
    """Positions of a sentence's verbs of change, with the particles that make them one; a frozenset.

    Example:
        >>> sorted(words_of_change("a star comes into view while a box disappears and a car comes closer".split()))
        [2, 3, 4, 8]
    """
    found = set()
    for k, word in enumerate(words):
        particles = [p.split() for p in PARTICLES_OF_CHANGE.get(word.lower(), ())]
        lengths = [len(p) for p in particles if [*words[k + 1 : k + 1 + len(p)]] == p]
        if lengths or word.lower() in VERBS_OF_CHANGE:
            found.update(range(k, k + 1 + max(lengths, default=0)))
    return frozenset(found)


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
