"""The scorer against a second, slow implementation, written from the paper's text and the documentation alone.

"The slow way" uses nothing of `s2vt.saliency` and `s2vt.evaluation`: it has its own interpolation, Gaussians, largest
pixel, averages and intervals, and the settings of the protocols as docs/usage.md states them. It gets the same random
losses and the same boxes of small rendered pictures and clips as the Scorer, and has to give the same scores of 50
random phrases under each protocol.

Letters: T words, m frames, G=8 grid, H x W pixels.
"""

import functools
import itertools
import json
import math
import zlib
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

import cfg
from s2vt.config import PROTOCOLS
from s2vt.data import datasets
from s2vt.data.geometry import Geometry
from s2vt.data.phrases import words_of_change
from s2vt.data.text import Vocabulary
from s2vt.evaluation.mentions import ANNOTATIONS, AnnotatedCaption
from s2vt.evaluation.protocol import Protocol
from s2vt.evaluation.scorer import MapSource, Scorer
from s2vt.saliency.maps import Evidence
from s2vt.synthetic import writers

PICTURE_SIZE, CLIP_SIZE = (75, 55), (64, 48)  # width, height, pixels: small, so that loops are fast
INDICES = [0, 15, 30, 44, 59, 74]  # of the sampled frames
KINDS = {"picture": ("nll", "likelihood", "attention"), "video": ("nll", "change", "moment")}
CONFIGS = {"picture": (cfg.STILL_SHAPES,), "video": (cfg.MOVING_SHAPES, cfg.SHAPE_SEQUENCES)}
NUM_PHRASES, MAX_WORDS = 50, 9
CORRECTNESS = tuple(f"attention correctness{how}" for how in ("", ", mean of words", ", phrase"))


# --- the slow way ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """Of a protocol: sigmas in cells and frames, tolerance in pixels; see docs/usage.md."""

    sigma_cells: float = 0.0
    sigma_frames: float = 0.0
    tolerance: float = 0.0
    average: str = "phrase"
    region: str = "picture"
    release: bool = False


SETTINGS = {
    "paper": Settings(),
    "ours": Settings(sigma_cells=0.75, sigma_frames=0.75),
    "torchray": Settings(tolerance=15.0, average="class"),
    "release": Settings(release=True),
}
TABLE_2 = Settings(region="center_crop")  # the paper's text, inside the centre crop


@dataclass(frozen=True)
class View:
    """The scored pixels of a picture: the first column and row, width and height; and the network's part of it."""

    left: int
    top: int
    width: int
    height: int
    crop: tuple

    @classmethod
    def of(cls, width, height, region):
        if region == "picture":
            return cls(0, 0, width, height, (0, 0, width, height))
        side = min(width, height) * 224 / 256  # shorter side to 256, centre 224 x 224
        x1, y1 = (width - side) / 2, (height - side) / 2
        columns = [x for x in range(width) if x1 <= x + 0.5 < x1 + side]
        rows = [y for y in range(height) if y1 <= y + 0.5 < y1 + side]
        return cls(columns[0], rows[0], len(columns), len(rows), (x1, y1, x1 + side, y1 + side))

    def cut(self, boxes):
        """The parts of boxes in view, from its upper left corner."""
        parts = []
        for x1, y1, x2, y2 in boxes:
            x1, x2 = (min(max(x - self.left, 0), self.width) for x in (x1, x2))
            y1, y2 = (min(max(y - self.top, 0), self.height) for y in (y1, y2))
            if x1 < x2 and y1 < y2:
                parts.append((x1, y1, x2, y2))
        return tuple(parts)


def is_hit(x, y, boxes, tolerance):
    """Whether a point lies in a box, x2 and y2 exclusive, or no further than the tolerance from one."""
    for x1, y1, x2, y2 in boxes:
        if x1 <= x < x2 and y1 <= y < y2:
            return True
        if tolerance and math.hypot(max(x1 - x, 0, x - x2), max(y1 - y, 0, y - y2)) <= tolerance:
            return True
    return False


@functools.cache
def hitting_pixels(boxes, width, height, tolerance=0.0):
    """Whether each pixel's centre hits, (H, W)."""
    return np.array([[is_hit(x + 0.5, y + 0.5, boxes, tolerance) for x in range(width)] for y in range(height)])


@functools.cache
def pixel_weights(view, sigma, ring):
    """The weight of every cell, and of the cells of a ring around them, at every pixel: (H, W, n, n), n = G + 2 ring.

    Cell k is centred on input pixel 32 k + 37 of 299, continuous 32 k + 37.5 (the receptive fields of mixed_10).
    """
    x1, y1, x2, y2 = view.crop
    cells = np.arange(-ring, 8 + ring)
    x = [((view.left + k + 0.5 - x1) * 299 / (x2 - x1) - 37.5) / 32 for k in range(view.width)]
    y = [((view.top + k + 0.5 - y1) * 299 / (y2 - y1) - 37.5) / 32 for k in range(view.height)]
    dx, dy = (np.clip(places, 0, 7)[:, None] - cells for places in (x, y))  # constant beyond the outermost centres
    dx, dy = dx[None, :, None, :], dy[:, None, :, None]
    if sigma:
        weights = np.exp(-(dx**2 + dy**2) / (2 * sigma**2))
    else:
        weights = np.maximum(1 - abs(dx), 0) * np.maximum(1 - abs(dy), 0)
    return weights / weights.sum(axis=(2, 3), keepdims=True)


def pixel_map(cells, view, settings):
    """A map of the cells (G, G) over the pixels in view, (H, W)."""
    if settings.release:  # a ring of the minimum, bicubic interpolation to 1.2 times the picture, its middle
        padded = Image.fromarray(np.pad(cells, 1, constant_values=cells.min()).astype(np.float32))
        edge = 10 * 0.1 / 1.2
        size, box = (view.width, view.height), (edge, edge, 10 - edge, 10 - edge)
        return np.maximum(np.array(padded.resize(size, Image.Resampling.BICUBIC, box), np.float64), 0)
    ring = 6 if settings.sigma_cells else 0  # the outermost cells' values go on outside
    weights = pixel_weights(view, settings.sigma_cells, ring)
    return np.einsum("yxab,ab->yx", weights, np.pad(cells, ring, mode="edge"))


def largest_pixel(values):
    """The centre of the largest pixel; of equal ones the nearest to the picture's centre, then the first."""
    height, width = values.shape
    top, equal = values.max(), []
    for y, x in np.argwhere(values > top * (1 - 1e-6) - 1e-300):
        assert values[y, x] >= top * (1 - 1e-10), "nearly equal pixels: single precision cannot tell; change the seed"
        equal.append(((x + 0.5 - width / 2) ** 2 + (y + 0.5 - height / 2) ** 2, y, x))
    _, y, x = min(equal)
    return x + 0.5, y + 0.5


def blurred(values, sigma, reach, mode):
    """A Gaussian along the first axis; beyond the ends the values go on as `mode` of np.pad says."""
    padded = np.pad(values, [(reach, reach)] + [(0, 0)] * (values.ndim - 1), mode)
    weights = [math.exp(-(d**2) / (2 * sigma**2)) for d in range(-reach, reach + 1)]
    blurred = [sum(w * padded[i + d] for d, w in enumerate(weights)) for i in range(len(values))]
    return np.array(blurred) / sum(weights)


def zero_to_one(values):
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else 0 * values


def of_phrase(kind, losses, words, verbs):
    """What a kind of map shows of a phrase, (m, G, G) or (m,), of the losses (or attention) of all words, (T, ...)."""
    said = [verbs[t] for t in words if t in verbs] if kind == "moment" else []
    words = said[0].subject or words if said else words
    total = 0
    for t in words:  # Eq. 9
        total = total + losses[t].astype(np.float64)
    last = len(total) - 1
    fall = np.array([(total[max(i - 1, 0)] - total[min(i + 1, last)]) / 2 for i in range(last + 1)])
    if said and said[0].direction:  # the evidence of what comes rises, the evidence of what goes falls
        return np.maximum(said[0].direction * fall, 0)
    if said or kind == "change":
        return abs(fall)
    if kind == "attention":
        return total
    if kind == "likelihood":
        likelihood = np.exp(-total)
        return np.array([of_frame / of_frame.sum() for of_frame in likelihood])
    return zero_to_one(-total)  # Eq. 8


def of_release(kind, losses, words, verbs):
    """The release's maps: each word over the clip, less its mean; each frame over all words; a Gaussian."""
    rows = [words, *([t] for t in range(len(losses)) if t not in words)]
    e = []
    for row in rows:
        of_row = zero_to_one(of_phrase(kind, losses, row, verbs))
        e.append(np.maximum(of_row - of_row.mean(), 0))
    e = np.array(e)
    for i in range(e.shape[1]):
        e[:, i] = zero_to_one(e[:, i])
    (first, *_) = e
    for axis, sigma in enumerate((2, 1, 1)):  # cut off after 4 sigma
        first = np.moveaxis(blurred(np.moveaxis(first, axis, 0), sigma, 4 * sigma, "symmetric"), 0, axis)
    return first


@dataclass(frozen=True)
class Question:
    """What is known of a phrase: boxes in each frame in view, and right frames, None where they are not asked about."""

    boxes: tuple | None
    in_view: tuple | None = None
    happens: tuple | None = None
    elsewhere: tuple | None = None  # frames of other objects' events, where this one does not happen


def slow_scores(question, media, maps, words, verbs, view, settings):
    """{table: {row: score}} of one phrase.

    Args:
        maps: {kind: (losses of cells (T, m, G, G), of frames (T, m) or None)}.
        words: positions of the words that are read.
    """
    found = {}

    def grids(kind, positions):
        cells = maps[kind][0]
        return (of_release if settings.release else of_phrase)(kind, cells, positions, verbs)

    def frame_maps(kind, positions):
        return [pixel_map(grid, view, settings) for grid in grids(kind, positions)]

    if question.boxes is not None:
        frames = [i for i, boxes in enumerate(question.boxes) if boxes]

        def is_hit_in(i, x, y):
            return is_hit(x, y, question.boxes[i], settings.tolerance)

        found["space"] = space = {}
        for kind in maps:
            of_frames = frame_maps(kind, words) if words else []
            space[kind] = sum(is_hit_in(i, *largest_pixel(of_frames[i])) for i in frames if words) / len(frames)
        shares = [hitting_pixels(question.boxes[i], view.width, view.height, settings.tolerance) for i in frames]
        space["random"] = sum(share.sum() / share.size for share in shares) / len(frames)
        space["center"] = sum(is_hit_in(i, view.width / 2, view.height / 2) for i in frames) / len(frames)
    if media == "picture":
        inside = hitting_pixels(question.boxes[0], view.width, view.height)

        def share(values):
            return (values * inside).sum() / values.sum() if values.sum() > 0 else inside.mean()

        tables = [found.setdefault(name, {}) for name in CORRECTNESS]
        for kind in maps:
            of_words = [share(frame_maps(kind, [t])[0]) for t in words] or [0.0]
            of_all = share(frame_maps(kind, words)[0]) if words else 0.0
            for table, value in zip(tables, (max(of_words), sum(of_words) / len(of_words), of_all), strict=True):
                table[kind] = value
        for table in tables:
            table["uniform"] = inside.mean()
    happens, elsewhere = question.happens, question.elsewhere
    moments = {"time: object": question.in_view, "time: event": happens}
    if elsewhere is not None:
        moments |= {"time: right event": happens, "time: wrong event": elsewhere}
        moments["time: no event"] = tuple(not a and not b for a, b in zip(happens, elsewhere, strict=True))
    for name, right in moments.items():
        if right is None:
            continue
        table = found[name] = {}
        for kind in maps:
            table[kind] = float(bool(words) and right[most_salient(kind, maps[kind], words, verbs, settings)])
        table["random"] = sum(right) / len(right)
        table["middle"] = float(right[len(right) // 2])
    return found


def most_salient(kind, losses, words, verbs, settings):
    """The most salient frame, the first of equal ones. losses: of cells and of frames."""
    cells, frames = losses
    if settings.release:
        e = np.array([of_frame.mean() for of_frame in of_release(kind, cells, words, verbs)])
    else:
        e = of_phrase(kind, frames, words, verbs)
    if settings.sigma_frames and e.any():
        e = blurred(e, settings.sigma_frames, 10, "edge")
    equal = [i for i, value in enumerate(e) if value >= e.max() * (1 - 1e-10)]
    assert len(equal) == sum(e >= e.max() * (1 - 1e-6)), "nearly equal frames; change the seed"
    return equal[0]


def slow_average(scored, average):
    """The average of [(score, categories)] over phrases, or the mean of the categories' averages."""
    if average == "phrase":
        return sum(score for score, _ in scored) / len(scored)
    of_categories = {}
    for score, categories in scored:
        for category in set(categories):
            of_categories.setdefault(category, []).append(score)
    return sum(sum(scores) / len(scores) for scores in of_categories.values()) / len(of_categories)


# --- the phrases ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writers, "PICTURE_SIZE", PICTURE_SIZE)
        patch.setattr(writers, "CLIP_SIZE", CLIP_SIZE)
        writers.write_still_shapes(folder / "StillShapes", {"train": 1, "val": 1, "test": 8}, "test", processes=1)
        sizes = {"train": 1, "validate": 1, "test": 3}
        writers.write_moving_shapes(folder / "MovingShapes", sizes, "test", processes=1)
        sizes = {"train": 5, "validate": 5, "test": 4}  # other numbers than those of MovingShapes
        writers.write_shape_sequences(folder / "ShapeSequences", sizes, "test", processes=1)
    return folder


def varied(boxes):
    """Boxes, some shifted by half a pixel, so that pixels' centres lie on edges, some with a second one across them."""
    found = []
    for x1, y1, x2, y2 in boxes:
        s = 0.5 * (int(x1) % 2)
        found.append((x1 + s, y1 + s, x2 + s, y2 + s))
        if int(x1) % 3 == 0:
            found.append((x1 + 3, y1 + 2, x2 + 3, y2 + 2))
    return tuple(found)


def picture_questions(folder, medium):
    """(tokens, Mention, Question) of the phrases of a picture."""
    for caption in ANNOTATIONS["entities"](folder, medium, ()):
        for mention in caption.mentions:
            mention = replace(mention, boxes=(varied(mention.phrase.boxes),))
            yield caption.tokens, mention, Question(mention.boxes)


def frames_of_event(track):
    """Whether the event happens in each sampled frame; if in none, it is the nearest one."""
    first, last = track["happens"]
    right = [first <= f <= last for f in INDICES]
    if not any(right):
        right[int(np.argmin([abs(f - (first + last) / 2) for f in INDICES]))] = True
    return tuple(right)


def clip_questions(folder, medium):
    """(tokens, Mention, Question) of the phrases of a clip; the question is read from the file once more."""
    truth = json.loads((folder / "truth" / f"{medium.id}.json").read_text())
    for k, caption in enumerate(ANNOTATIONS["tracks"](folder, medium, INDICES)):
        spoken = {(*phrase["tokens"], phrase["kind"]): phrase["object"] for phrase in truth["captions"][k]["phrases"]}
        for mention in caption.mentions:
            first, end = mention.phrase.words[0], mention.phrase.words[-1] + 1
            track = truth["objects"][spoken[first, end, "event" if mention.boxes is None else "object"]]
            passing = track["event"] in ("appear", "disappear")
            if mention.boxes is None and passing:
                happens, others = frames_of_event(track), [o for o in truth["objects"] if o is not track]
                others = [frames_of_event(o) for o in others if o["event"] in ("appear", "disappear")]
                elsewhere = tuple(not happens[i] and any(o[i] for o in others) for i in range(len(INDICES)))
                question = Question(None, happens=happens, elsewhere=elsewhere if any(elsewhere) else None)
                yield caption.tokens, mention, question
            elif mention.boxes is not None:
                boxes = [[track["boxes"][f]] if track["seen"][f] >= 0.5 else [] for f in INDICES]
                mention = replace(mention, boxes=tuple(map(varied, mention.boxes)))
                in_view = tuple(map(bool, boxes)) if passing else None
                yield caption.tokens, mention, Question(tuple(map(varied, boxes)), in_view)


@functools.cache
def random_maps(media, medium, y):
    """{kind: (losses or attention of cells, of frames)} of a sentence; in some sentences all equal, or whole nats."""
    seed = zlib.crc32(f"2 {medium} {y}".encode())
    rng, m = np.random.default_rng(seed), 1 if media == "picture" else len(INDICES)
    cells = rng.gamma(2, 1.5, (len(y), m, 8, 8)).astype(np.float32)
    frames = rng.gamma(2, 1.5, (len(y), m)).astype(np.float32)
    if seed % 6 == 0:
        cells[:], frames[:] = 2, 2
    if seed % 6 == 1:
        cells, frames = cells.round(), frames.round()
    attention = rng.dirichlet(np.ones(64), (len(y), m)).reshape(len(y), m, 8, 8).astype(np.float32)
    return {
        kind: (attention if kind == "attention" else cells, None if media == "picture" else frames)
        for kind in KINDS[media]
    }


class Case:
    """50 random phrases of one kind of media under one protocol, scored both ways."""

    def __init__(self, data, media, protocol, settings, resize="squash"):
        self.media, self.settings = media, settings
        questions = picture_questions if media == "picture" else clip_questions
        everything = [
            (medium, *each)
            for config in CONFIGS[media]
            for medium in datasets.select(datasets.read_media(config, data), "test")
            for each in questions(data / config.dataset, medium)
        ]
        rng = np.random.default_rng(5)
        self.phrases = [everything[k] for k in sorted(rng.permutation(len(everything))[:NUM_PHRASES])]
        words = sorted({word for _, tokens, _, _ in everything for word in tokens})
        self.vocabulary = Vocabulary(
            [".", *words[1::2]], np.ones(1 + len(words[1::2]))
        )  # half of all words are unknown
        self.geometry = Geometry.of(*(PICTURE_SIZE if media == "picture" else CLIP_SIZE), resize)
        self.view = View.of(self.geometry.width, self.geometry.height, settings.region)
        self.scorer = Scorer([MapSource({k: k for k in KINDS[media]}, self.vocabulary, MAX_WORDS, self.find)], media,
                             protocol)  # fmt: skip

    def find(self, medium, sentences):
        found = []
        for y in sentences:
            maps, words = random_maps(self.media, medium.id, tuple(y.tolist())), [self.vocabulary.words[w] for w in y]
            sign = {kind: 1 if kind == "attention" else -1 for kind in maps}
            found.append({
                kind: Evidence(kind, sign[kind] * cells, None if frames is None else sign[kind] * frames,
                               words_of_change(words))
                for kind, (cells, frames) in maps.items()
            })  # fmt: skip
        return found

    def fast(self, medium, tokens, mention, unknown="miss"):
        """{table: {row: score}} of one phrase by the Scorer, which keeps it in its sums."""
        tallies = self.scorer.add(medium, self.geometry, [AnnotatedCaption(tokens, [mention], {})])
        averages = {name: tally.averages(unknown) for name, tally in tallies.items()}
        return {name: {row: overall for row, (overall, _) in rows.items()} for name, rows in averages.items() if rows}

    def slow(self, medium, tokens, mention, question):
        """({table: {row: score}}, whether a word is read) of one phrase; no table where it is out of view."""
        if question.boxes is not None:
            question = replace(question, boxes=tuple(map(self.view.cut, question.boxes)))
            if not any(question.boxes):
                return {}, True
        known = [t for t, token in enumerate(tokens) if token in self.vocabulary.words][: MAX_WORDS - 1]
        y = tuple(self.vocabulary.words.index(tokens[t]) for t in known) or (0,)
        words = [known.index(t) for t in mention.phrase.words if t in known]
        verbs = words_of_change([self.vocabulary.words[w] for w in y])
        maps = random_maps(self.media, medium.id, y)
        return slow_scores(question, self.media, maps, words, verbs, self.view, self.settings), bool(words)


def protocol_of(media, name):
    return Protocol.of(CONFIGS[media][0].with_settings(PROTOCOLS[name]), name)


CASES = [(media, name) for name in PROTOCOLS for media in ("picture", "video")]


@pytest.fixture(scope="module")
def scored(data):
    """(media, protocol or "table 2") -> (Case, [(medium, categories, read, fast, slow)]), computed once."""

    @functools.cache
    def find(media, name):
        if name == "table 2":
            cropped = cfg.STILL_SHAPES.replace(["features.resize=center_crop"])
            protocol = Protocol.of(cropped.with_settings(PROTOCOLS["paper"]), "paper")
            case = Case(data, media, protocol, TABLE_2, "center_crop")
        else:
            case = Case(data, media, protocol_of(media, name), SETTINGS[name])
        found = []
        for medium, tokens, mention, question in case.phrases:
            slow, read = case.slow(medium, tokens, mention, question)
            found.append((medium.id, mention.phrase.categories, read, case.fast(medium, tokens, mention), slow))
        return case, found

    return find


# --- both ways ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("media, name", [*CASES, ("picture", "table 2")])
def test_every_score_of_50_random_phrases_agrees(scored, media, name):
    _, found = scored(media, name)
    assert len(found) == NUM_PHRASES
    for medium, _, _, fast, slow in found:
        assert fast.keys() == slow.keys(), medium
        for table, expected in slow.items():
            assert list(fast[table]) == list(expected), (medium, table)
            for row, value in expected.items():
                assert fast[table][row] == pytest.approx(value, abs=1e-6), (medium, table, row)


@pytest.mark.parametrize("media, num_tables", [("picture", 4), ("video", 6)])
def test_the_phrases_reach_every_table_with_hits_and_misses(scored, media, num_tables):
    _, found = scored(media, "paper")
    of_maps = {}  # {table: the scores of all maps}
    for *_, slow in found:
        for table, values in slow.items():
            of_maps.setdefault(table, set()).update(values[kind] for kind in KINDS[media])
    assert len(of_maps) == num_tables
    assert all(len(scores) > 1 for scores in of_maps.values())


@pytest.mark.parametrize("unknown", ["drop", "miss"])
@pytest.mark.parametrize("media, name", CASES)
def test_averages_agree(scored, media, name, unknown):
    case, found = scored(media, name)
    assert 0 < sum(not read for _, _, read, _, _ in found) < NUM_PHRASES / 2
    for table, tally in case.scorer.ordered_tallies().items():
        slow = [(of[table], cats) for _, cats, read, _, of in found if table in of and (read or unknown == "miss")]
        averages = tally.averages(unknown)
        assert set(averages) == set(slow[0][0])
        for row, (overall, by_category) in averages.items():
            pairs = [(values[row], categories) for values, categories in slow]
            assert overall == pytest.approx(slow_average(pairs, SETTINGS[name].average), abs=1e-6), (table, row)
            for category, average in by_category.items():
                of_category = [pair for pair in pairs if category in pair[1]]
                assert average == pytest.approx(slow_average(of_category, "phrase"), abs=1e-6), (table, row, category)


@pytest.mark.parametrize("media, name", CASES)
def test_intervals_agree_with_every_possible_draw_of_media(scored, media, name):
    """The bootstrap's percentiles lie beside those of all draws of media, each equally likely."""
    case, found = scored(media, name)
    table, average = "space", SETTINGS[name].average
    by_medium = {}
    for medium, categories, read, _, slow in found:
        if read and table in slow:
            by_medium.setdefault(medium, []).append((slow[table], categories))
    draws = list(itertools.combinations_with_replacement(by_medium, len(by_medium)))
    chances = [
        math.factorial(len(draw)) / math.prod(math.factorial(draw.count(medium)) for medium in by_medium)
        for draw in draws
    ]
    assert sum(chances) == len(by_medium) ** len(by_medium)

    def averages(*rows):
        """Of each draw: the average of a row, or the difference of two."""
        return [
            [slow_average([(v[row], c) for medium in draw for v, c in by_medium[medium]], average) for draw in draws]
            for row in rows
        ]

    tally = case.scorer.ordered_tallies()[table]
    nll, random = map(np.array, averages("nll", "random"))
    for values, (low, high) in (
        (nll, tally.intervals("drop")["nll"]),
        (random, tally.intervals("drop")["random"]),
        (nll - random, tally.differences("drop")["nll", "random"][1]),
    ):
        order = np.argsort(values)
        reached = np.cumsum(np.array(chances)[order]) / sum(chances)
        near = {share: values[order][np.searchsorted(reached, share)] for share in (0.018, 0.032, 0.968, 0.982)}
        assert near[0.018] - 1e-6 <= low <= near[0.032] + 1e-6
        assert near[0.968] - 1e-6 <= high <= near[0.982] + 1e-6


def test_every_protocol_has_a_slow_version():
    assert set(PROTOCOLS) <= set(SETTINGS)
