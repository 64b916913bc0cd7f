"""Captions of scenes, and what their tokens name."""

import numpy as np

# A caption is built from pieces: a word; ("object", k), which names object k; ("event", k), which names its event;
# ("ground",), which names the background. Pieces other than words become phrases.

SYNONYMS = {"circle": ("circle", "circle", "circle", "disc"), "ring": ("ring", "ring", "ring", "hoop"),
            "square": ("square", "square", "square", "box"), "moon": ("moon", "moon", "moon", "crescent")}  # fmt: skip
VERBS = {
    "still": ("stays still", "does not move", "is not moving", "stands still"),
    "left": ("moves to the left", "is moving left", "slides to the left", "slides left"),
    "right": ("moves to the right", "is moving right", "slides to the right", "slides right"),
    "up": ("moves up", "is moving up", "rises", "slides up"),
    "down": ("moves down", "is moving down", "sinks", "slides down"),
    "spin": ("spins", "is spinning", "rotates", "turns around"),
    "grow": ("grows", "is growing", "gets bigger", "becomes larger"),
    "shrink": ("shrinks", "is shrinking", "gets smaller", "becomes smaller"),
    "appear": ("appears", "shows up", "comes into view", "fades in"),
    "disappear": ("disappears", "vanishes", "goes out of view", "fades away"),
}
GROUNDS = {
    "grass": ("the grass", "grass", "a green lawn"), "sand": ("the sand", "sand", "a beach"),
    "water": ("the water", "water", "a pond"), "wood": ("the wood", "wood", "a wooden floor"),
    "bricks": ("the bricks", "bricks", "a brick wall"), "stones": ("the stones", "stones", "a stone floor"),
}  # fmt: skip


def _relation(a, b):
    """Position of object a relative to b during the whole clip ("above", ...); None if it changes or is unclear."""
    times = np.linspace(0, 1, 9)
    dx, dy = np.transpose([np.subtract(a.at(t)[:2], b.at(t)[:2]) for t in times])
    for word, gap, across in (("to the left of", -dx, dy), ("to the right of", dx, dy), ("above", -dy, dx),
                              ("below", dy, dx)):  # fmt: skip
        if (gap > 0.22).all() and (gap > np.abs(across)).all():
            return word
    return None


def caption(scene, rng, kind="moving"):
    """One sentence about a scene, and what its tokens name.

    Args:
        rng: numpy Generator.   kind: a key of SENTENCES.
    Returns:
        tokens: lower-case words; phrases: [{"tokens": [first, past the last], "kind": "object" | "event" | "ground",
        "object": index of the object in the scene, or None}].
    """
    order = [int(k) for k in rng.permutation(len(scene.shapes))]
    sentences = SENTENCES[kind](scene, order)
    tokens, phrases = [], []
    for piece in sentences[int(rng.integers(len(sentences)))]:
        if isinstance(piece, str):
            tokens.append(piece)
            continue
        words = _words_of(piece, scene, rng)
        names, k = piece[0], (piece[1] if len(piece) > 1 else None)
        phrases.append({"tokens": [len(tokens), len(tokens) + len(words)], "kind": names, "object": k})
        tokens += words
    return tokens, phrases


def _still(scene, order):
    """Sentences about objects that do nothing."""
    return (_about_one if len(order) == 1 else _about_two)(scene, order, moving=False)


def _moving(scene, order):
    """Sentences about objects and their events."""
    return (_about_one if len(order) == 1 else _about_two)(scene, order, moving=True)


def _sequence(scene, order):
    """Sentences about objects that appear or disappear one after the other: of two or three, in which order.

    The order is that among the events named: "first" does not say that no unnamed event comes earlier.
    """
    named = [[("object", k), ("event", k)] for k in sorted(order[:2], key=lambda k: scene.shapes[k].moment)]
    (first, second), ground = named, ["on", ("ground",)]
    sentences = 2 * [[*first, "and", "then", *second], ["first", *first, "and", "then", *second]]
    sentences += [[*first, "before", *second], [*second, "after", *first], ["after", *first, *second]]
    sentences += [[*first, "and", "then", *second, *ground], [*ground, *first, "before", *second]]
    for k in order[:2]:
        sentences += [[("object", k), ("event", k)], ["there", "is", ("object", k), "that", ("event", k)]]
    if len(order) > 2:
        in_time = sorted(order[:3], key=lambda k: scene.shapes[k].moment)
        one, two, three = ([("object", k), ("event", k)] for k in in_time)
        sentences += 4 * [[*one, "then", *two, "and", "then", *three]]
    return sentences


def _about_one(scene, order, moving):
    """The sentences, as lists of pieces, about the only object of a scene; a likelier one is listed twice."""
    named, ground = ("object", order[0]), ["on", ("ground",)]
    event = ("event", order[0])
    sentences = [["there", "is", named, *ground], [named, *ground]]
    if moving:
        sentences += 2 * [[named, event], [named, event, *ground], ["there", "is", named, "that", event]]
        return [*sentences, [*ground, named, event]]
    return [*sentences, [named, "lies", *ground], ["we", "see", named, *ground]]


def _about_two(scene, order, moving):
    """The sentences, as lists of pieces, about the first two objects in an order."""
    first, second = order[:2]
    ground, pair = ["on", ("ground",)], [("object", first), "and", ("object", second)]
    relation = _relation(scene.shapes[first], scene.shapes[second])
    sentences = [[*pair, *ground], ["there", "are", *pair]]
    if relation:
        related = [*relation.split(), ("object", second)]
        sentences += 2 * [[("object", first), "is", *related], [("object", first), *related, *ground]]
    if moving:
        events, others = ([("object", k), ("event", k)] for k in (first, second))
        sentences += 2 * [[*events, "and", *others], [*events, "while", *others], [*events, *ground]]
        sentences += [events, ["there", "is", ("object", first), "that", ("event", first)]]
        return sentences + ([[("object", first), *related, ("event", first)]] if relation else [])
    return [*sentences, [("object", first), "next", "to", ("object", second)], [("object", first), *ground]]


def _words_of(piece, scene, rng):
    """Words for a piece that names an object, an event or the background."""

    def pick(options):
        return str(options[int(rng.integers(len(options)))])

    if piece[0] == "event":
        return pick(VERBS[scene.shapes[piece[1]].event]).split()
    if piece[0] == "ground":
        return pick(GROUNDS[scene.background]).split()
    shape = scene.shapes[piece[1]]
    noun = pick(SYNONYMS.get(shape.shape, (shape.shape,)))
    size = "big" if shape.radius > 0.19 else "small" if shape.radius < 0.145 else None
    size = size if size and shape.event not in ("grow", "shrink") and rng.random() < 0.35 else None
    colour_alone = sum(s.colour == shape.colour for s in scene.shapes) == 1 and rng.random() < 0.06
    return ["a", *([size] if size else []), shape.colour, "shape" if colour_alone else noun]


SENTENCES = {"still": _still, "moving": _moving, "sequence": _sequence}  # of each kind of scene


def captions(scene, rng, count, kind="moving"):
    """At most `count` different sentences about a scene: [(sentence, phrases as of `caption`)]."""
    found, tries = {}, 0
    while len(found) < count and tries < 20 * count:
        tokens, phrases = caption(scene, rng, kind)
        found.setdefault(" ".join(tokens), phrases)
        tries += 1
    return list(found.items())
