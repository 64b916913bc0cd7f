"""Captions of scenes, and which of their tokens name what."""

import numpy as np

# A caption is built from pieces: a word; ("object", k) naming object k; ("event", k) saying what it does;
# ("ground",) naming the background. The builder notes which tokens came from which piece.

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
    """How object a lies to object b over the whole clip ("above", ...), or None if that changes or is unclear."""
    times = np.linspace(0, 1, 9)
    dx, dy = np.transpose([np.subtract(a.at(t)[:2], b.at(t)[:2]) for t in times])
    for word, gap, across in (("to the left of", -dx, dy), ("to the right of", dx, dy), ("above", -dy, dx),
                              ("below", dy, dx)):  # fmt: skip
        if (gap > 0.22).all() and (gap > np.abs(across)).all():
            return word
    return None


def caption(scene, rng, moving=True):
    """One sentence about a scene, and what its tokens name.

    Returns:
        tokens: lower-case words; phrases: [{"tokens": [first, past the last], "kind": "object" | "event" | "ground",
        "object": index of the object in the scene, or None}].
    """
    pick = lambda options: str(options[int(rng.integers(len(options)))])  # noqa: E731
    order = [int(k) for k in rng.permutation(len(scene.shapes))]
    first, second = order[0], (order[1] if len(order) > 1 else None)
    ground = ["on", ("ground",)]
    events = [("object", first), ("event", first)]
    if second is None:
        sentences = [["there", "is", ("object", first), *ground], [("object", first), *ground]]
        if moving:
            sentences += 2 * [events, [*events, *ground], ["there", "is", ("object", first), "that", ("event", first)]]
            sentences += [[*ground, *events]]
        else:
            sentences += [[("object", first), "lies", *ground], ["we", "see", ("object", first), *ground]]
    else:
        relation = _relation(scene.shapes[first], scene.shapes[second])
        pair = [("object", first), "and", ("object", second)]
        sentences = [[*pair, *ground], ["there", "are", *pair]]
        if relation:
            related = [*relation.split(), ("object", second)]
            sentences += 2 * [[("object", first), "is", *related], [("object", first), *related, *ground]]
        if moving:
            others = [("object", second), ("event", second)]
            sentences += 2 * [[*events, "and", *others], [*events, "while", *others], [*events, *ground]]
            sentences += [events, ["there", "is", ("object", first), "that", ("event", first)]]
            if relation:
                sentences += [[("object", first), *related, ("event", first)]]
        else:
            sentences += [[("object", first), "next", "to", ("object", second)], [("object", first), *ground]]
    pieces = sentences[int(rng.integers(len(sentences)))]

    tokens, phrases = [], []
    for piece in pieces:
        if isinstance(piece, str):
            tokens.append(piece)
            continue
        kind, k = piece[0], (piece[1] if len(piece) > 1 else None)
        if kind == "object":
            shape = scene.shapes[k]
            noun = pick(SYNONYMS.get(shape.shape, (shape.shape,)))
            size = "big" if shape.radius > 0.19 else "small" if shape.radius < 0.145 else None
            size = size if size and shape.event not in ("grow", "shrink") and rng.random() < 0.35 else None
            colour_alone = sum(s.colour == shape.colour for s in scene.shapes) == 1 and rng.random() < 0.06
            words = ["a", *([size] if size else []), shape.colour, "shape" if colour_alone else noun]
        elif kind == "event":
            words = pick(VERBS[scene.shapes[k].event]).split()
        else:
            words = pick(GROUNDS[scene.background]).split()
        phrases.append({"tokens": [len(tokens), len(tokens) + len(words)], "kind": kind, "object": k})
        tokens += words
    return tokens, phrases


def captions(scene, rng, count, moving=True):
    """`count` sentences, as different from one another as the scene allows."""
    found, tries = {}, 0
    while len(found) < count and tries < 20 * count:
        tokens, phrases = caption(scene, rng, moving)
        found.setdefault(" ".join(tokens), phrases)
        tries += 1
    return list(found.items())
