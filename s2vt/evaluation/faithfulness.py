"""Faithfulness: are the most salient cells and frames those that the captioner needs to say a phrase?

Curves of log P(phrase | the words before it) while the cells that a map ranks first are deleted, or inserted, one
after the other (`s2vt.saliency.deletion`), of the phrases that `localization` scores. Beside the maps stand a random
order and the order from the centre outwards. Seconds and passes that each kind of map takes are noted on the way.

Letters: m frames (1 for a picture), C cells of a frame, K+1 points of a curve, R sets of cells, T words, D channels.
"""

import dataclasses
import functools
import time
import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from keras import ops

from s2vt.data import datasets
from s2vt.data.phrases import Phrase
from s2vt.errors import UserError
from s2vt.evaluation.localization import refuse_other_cells, score_maps
from s2vt.evaluation.pixels import Pixels
from s2vt.evaluation.question_tables import COSTS, SCALES, cost_tally, curve_name, curve_tables
from s2vt.evaluation.scorer import ReadScorer, absent_rows
from s2vt.saliency import deletion
from s2vt.saliency.information_loss import descriptor_losses
from s2vt.saliency.maps import find_evidence
from s2vt.workers import here

ORDERS = ("random", "center")  # rows beside the maps
MAX_MEDIA = 500  # of which the mean descriptor is the mean


def faithfulness(request, progress=iter, workers=here):
    """Scores deletion and insertion, as `localization.score_maps`.

    Args:
        request: a LocalizationRequest with runs. With `pixels`, pixels are blurred or blackened too.
    Raises:
        UserError: as `score_maps`, and under protocol release.
    """
    refuse_other_cells(request.protocols, "--faithfulness")

    def scorers(ground):
        mean, of = mean_descriptor(ground.store, ground.all_media, ground.media)
        pixels = Pixels(ground.config) if request.pixels else None
        return [FaithfulnessScorer(ground, protocol, Substitute(mean, of), pixels) for protocol in request.protocols]

    return score_maps(request, "faithfulness", scorers, progress, workers, beside=ORDERS)


@dataclass(frozen=True)
class Substitute:
    """The descriptor that stands for "nothing to be seen".

    Attributes:
        mean: the mean descriptor, (D,).   of: of which media it is the mean, in words.
    """

    mean: np.ndarray
    of: str

    def descriptor(self, how):
        """The substitute of a Preset's `descriptors`, (D,)."""
        return self.mean if how == "mean" else np.zeros_like(self.mean)

    def text(self, how):
        """The same in words."""
        return f"the mean descriptor of {self.of}" if how == "mean" else "zeros"


def mean_descriptor(store, all_media, media):
    """The mean descriptor of the training media, of cells or else of frames, as far as their files are there.

    Where no training medium has descriptors, as in a clone with a shipped run, that of the media at hand.

    Args:
        store: DescriptorStore of the cells.   all_media: {id: Medium}.   media: those that are scored.
    Returns:
        (D,) float32, and what it is the mean of, in words.
    """
    training = datasets.select(all_media, "train")
    for chosen, name, layer in ((training, "train", "mixed_10"), (training, "train", "pool_3"), (media, "those scored",
                                "mixed_10")):  # fmt: skip
        of_layer = store.of_layer(layer)
        present = [medium for medium in chosen if medium.id in of_layer]
        if present:
            of_layer.check()
            picked = np.linspace(0, len(present) - 1, min(len(present), MAX_MEDIA)).round().astype(int)
            means = [of_layer.load(present[k]).reshape(-1, of_layer.shape[-1]).mean(0, "float64") for k in picked]
            return np.mean(means, axis=0).astype("float32"), f"{len(picked)} media of {name}"
    raise UserError(f"no descriptors in {store.folder}; run: {store.command()}")


# --- scores -----------------------------------------------------------------------------------------------------------


class FaithfulnessScorer(ReadScorer):
    """Sums up the areas under the curves of each mention.

    Args:
        ground: a `localization.Ground`.   protocol: a Protocol.
        substitute: a Substitute.   pixels: `Pixels` if pixels are replaced, too, else None.
    """

    def __init__(self, ground, protocol, substitute, pixels=None):
        preset = deletion.PRESETS[protocol.evaluation.faithfulness]
        super().__init__(
            ground.sources(protocol), ground.config.media, protocol, curve_tables(preset, substitute, pixels)
        )
        self.preset, self.substitute, self.pixels = preset, substitute, pixels
        self.seed, self.warm = ground.request.seed, False
        self.groups = _groups(self.tables)

    @property
    def file_name(self):
        """The protocol, the preset, and whether pixels are replaced."""
        return f"{self.protocol.file_name}_{self.preset.name}{'_pixels' if self.pixels else ''}"

    def settings(self):
        """As `Scorer.settings`, with the preset and what replaces descriptors."""
        how = dataclasses.asdict(self.preset) | {"replaced by": self.substitute.text(self.preset.descriptors)}
        return super().settings() | {"faithfulness": how, "pixels": self.pixels is not None}

    def score(self, medium, geometry, captions):
        """As `Scorer.score`; the costs of the maps are tables of their own."""
        self.costs = {name: {} for name in COSTS}
        tallies = super().score(medium, geometry, captions)
        costs = {name: cost_tally(name) for name, values in self.costs.items() if values}
        for name, tally in costs.items():
            tally.add(self.costs[name], medium=medium.id)
        return tallies | costs

    def merge(self, tallies):
        """Adds the tallies of a medium, {name of a table: Tally}."""
        super().merge(tallies)
        for name in COSTS:
            if name in tallies:
                self.tallies.setdefault(name, cost_tally(name)).merge(tallies[name])

    def ordered_tallies(self):
        """The tallies in the order of the tables, the costs last."""
        return super().ordered_tallies() | {name: self.tallies[name] for name in COSTS if name in self.tallies}

    def absent(self, rows):
        """As `Scorer.absent`, of maps."""
        return absent_rows(self.ordered_tallies(), [row for row in rows if row["map"] not in ORDERS])

    def scores(self, medium, window, asked):
        """As `Scorer.scores`."""
        pictures = self.pixels.inputs(medium) if self.pixels else None
        found = [{} for _ in asked]
        for s, source in enumerate(self.sources):
            descriptors = source.describe(medium)
            sentences = [encoded[s].y for encoded, _ in asked]
            evidence = self._evidence(source, descriptors, sentences)
            shape = descriptors.cells.shape[:2]
            tables = [table for table in self.tables if not table.scale]
            curves = Curves(self.preset, shape, tables, self._ties(medium, shape))
            captions = [
                self._spoken(source, y, encoded[s], questions, of_caption, shape)
                for y, (encoded, questions), of_caption in zip(sentences, asked, evidence, strict=True)
            ]
            asks = Asked(source.captioner, descriptors, pictures, self.pixels, self.substitute)
            for where in dict.fromkeys(table.where for table in self.tables):
                for of_caption, more in zip(found, curves.values(asks, where, captions), strict=True):
                    for key, values in more.items():
                        of_caption.setdefault(key, {}).update(values)
        for of_caption, (_, questions) in zip(found, asked, strict=True):
            for q, question in enumerate(questions):
                for table in question.tables:
                    rows, convert = of_caption[q, table.curve, table.domain, table.where], SCALES[table.scale][1]
                    areas = {row: curves.area(convert(v), table.domain, table.where) for row, v in rows.items()}
                    yield question, table, areas

    def _evidence(self, source, descriptors, sentences):
        """Evidence of each kind of map, by itself, with its costs noted: [{kind: Evidence}] of each sentence."""
        found = [{} for _ in sentences]
        for kind, row in source.rows.items():
            counted = Counted(source.captioner)
            if not self.warm:  # graphs are compiled at their first use
                find_evidence(source.captioner, descriptors, sentences, [kind], source.asking)
            start = time.perf_counter()
            for of_sentence, more in zip(
                found, find_evidence(counted, descriptors, sentences, [kind], source.asking), strict=True
            ):
                of_sentence.update(more)
            self.costs["seconds"][row] = time.perf_counter() - start
            self.costs["passes"][row], self.costs["backward passes"][row] = counted.forward, counted.backward
        self.warm |= source is self.sources[-1]
        return found

    def _spoken(self, source, y, encoded, questions, evidence, shape):
        """A caption as Spoken, with what orders cells and frames for each of its phrases."""
        m, side = shape[0], round(shape[1] ** 0.5)
        equal = np.zeros((m, side, side)), np.zeros(m)
        others = {"random": equal, "center": deletion.from_centre(m, side)}
        others = {source.label(name): values for name, values in others.items()}
        words, maps = [encoded.positions(question.mention.phrase.words) for question in questions], []
        for positions in words:
            phrase = Phrase("", tuple(positions))
            of_phrase = {source.rows[kind]: of_kind.of_phrases([phrase]) for kind, of_kind in evidence.items()}
            of_phrase = {row: [v if v is None else v[0] for v in values] for row, values in of_phrase.items()}
            maps.append(of_phrase | others)
        return Spoken(y, words, maps)

    def _ties(self, medium, shape):
        """{domain: permutation of its items} of a medium, the same in every run with this seed."""
        rng = np.random.default_rng((self.seed, zlib.crc32(medium.id.encode())))
        return {domain: rng.permutation(deletion.num_items(domain, *shape)) for domain in deletion.DOMAINS}


def _groups(tables):
    """The tables side by side: the areas of log P, those of P, the costs."""
    of_scale = {
        f"area under {SCALES[scale][0]}(phrase)": {
            curve_name(table.curve, table.domain, table.where): table.name for table in tables if table.scale == scale
        }
        for scale in SCALES
    }
    return (*of_scale.items(), ("costs a medium", {name: name for name in COSTS}))


class Counted:
    """A captioner whose `encode` counts the sequences that it reads, and those that a gradient goes back through.

    Attributes:
        forward, backward: the two numbers.
    """

    def __init__(self, captioner):
        self.captioner, self.forward, self.backward = captioner, 0, 0

    def encode(self, v):
        """As the captioner's."""
        self.forward += int(v.shape[0])
        return self.captioner.encode(self._noted(v) if ops.is_tensor(v) else v)

    def _noted(self, v):
        """v itself, a tensor; its gradient is noted when it is computed."""

        @ops.custom_gradient
        def itself(v):
            def gradient(*args, upstream=None):
                d_v = args[0] if upstream is None else upstream
                self.backward += int(d_v.shape[0])
                return d_v

            return v, gradient

        return itself(v)

    def __getattr__(self, name):
        return getattr(self.captioner, name)

    def __dir__(self):
        return dir(self.captioner)


class Spoken(NamedTuple):
    """A caption whose phrases are asked about.

    Attributes:
        y: its word indices, (T,).   words: positions of each phrase's words.
        maps: what orders cells and frames for each phrase, {row: (cells (m, G, G) or None, frames (m,) or None)}.
    """

    y: np.ndarray
    words: list
    maps: list

    @property
    def asked(self):
        """The words up to the last that is asked about."""
        return self.y[: 1 + max(map(max, self.words))]


@dataclass(frozen=True)
class Asked:
    """A captioner and what it is asked about one medium.

    Attributes:
        captioner: with `encode` and `step`.
        descriptors: of the medium.   pictures: the network's input, (m, S, S, 3); None: pixels are not replaced.
        pixels: `Pixels` or None.   substitute: a Substitute.
    """

    captioner: object
    descriptors: object
    pictures: np.ndarray | None
    pixels: Pixels | None
    substitute: Substitute

    def log_p(self, where, kept, sentences, replaced):
        """log P of each word of each sentence when cells are replaced, S of (T, R).

        Args:
            where: "descriptors" or "pixels".   kept: (R, m, C) bool.   sentences: word indices, S of (T,).
            replaced: how, of each row: R values of a Preset's `descriptors`, or of its `deleted` and `missing`.
        """
        if where == "descriptors":
            v = deletion.Replaced(self.descriptors, kept, self.substitute.descriptor(replaced[0]))
        else:
            make = functools.cache(lambda how: np.stack([deletion.substitute_pixels(p, how) for p in self.pictures]))
            substitutes, read = [make(how) for how in replaced], self.descriptors.v.shape
            network, grid = self.pixels.extractor.cells, self.pixels.grid
            v = deletion.ReplacedPixels(self.pictures, kept, substitutes, network, grid, self.pixels.describe, read)
        return [
            -losses["nll"] for losses in descriptor_losses(self.captioner.encode, self.captioner.step, v, sentences)
        ]


class Curves:
    """Draws all curves of all phrases about a medium in one pass.

    A set of cells is read once, for all sentences that ask for it: the random order and that from the centre once for
    all captions and kinds of map.

    Args:
        preset: a Preset.   shape: (m, C).
        tables: CurveTables, one for each curve.
        ties: {domain: permutation of its items}.
    """

    def __init__(self, preset, shape, tables, ties):
        self.preset, self.shape, self.tables, self.ties = preset, shape, tables, ties
        self.counts = {
            (domain, where): deletion.step_counts(deletion.num_items(domain, *shape), preset, where)
            for domain in deletion.DOMAINS
            for where in ("descriptors", "pixels")
        }

    def area(self, values, domain, where="descriptors"):
        """The area under values at the points of a curve, (K+1,)."""
        return float(deletion.area(values, self.counts[domain, where]))

    def values(self, asked, where, captions):
        """log P(phrase) at each point of each curve.

        Args:
            asked: an Asked.   where: "descriptors" or "pixels".   captions: S of Spoken.
        Returns:
            list of S {(phrase, curve, domain, where): {row: (K+1,) nats}}.
        """
        places, sets = zip(*self._curves(where, captions), strict=True)
        lengths = [len(rows) for rows in sets]
        of_caption = np.repeat([c for c, *_ in places], lengths)
        log_p, read = self._log_p(asked, where, np.concatenate(sets), of_caption, [each.asked for each in captions])
        found = [{} for _ in captions]
        for (c, key, row), points in zip(places, np.split(read, np.cumsum(lengths)[:-1]), strict=True):
            of_words = log_p[c][captions[c].words[key[0]]]
            found[c].setdefault(key, {})[row] = of_words[:, points].sum(axis=0)
        return found

    def _curves(self, where, captions):
        """Each curve's place, (caption, (phrase, curve, domain, where), row), and its points as `_packed` rows."""
        for table in self.tables:
            if table.where != where:
                continue
            how = self.preset.descriptors
            if where == "pixels":
                how = self.preset.deleted if table.curve == "deletion" else self.preset.missing
            counts, ties = self.counts[table.domain, where], self.ties[table.domain]
            for c, caption in enumerate(captions):
                for q, rows in enumerate(caption.maps):
                    for row, (cells, frames) in rows.items():
                        values = frames if table.domain == "time" else cells
                        if values is None:
                            continue
                        kept = deletion.kept_cells(values, table.domain, self.shape[1], counts, table.curve, ties)
                        yield (c, (q, table.curve, table.domain, where), row), _packed(kept, how)

    def _log_p(self, asked, where, sets, of_caption, sentences):
        """log P of each word of each sentence, S of (T, R), after each of the R different sets; which of them each is.

        Args:
            sets: `_packed` rows.   of_caption: which caption asks for each.   others: as `Asked.log_p`.
        """
        sets, read = np.unique(sets, axis=0, return_inverse=True)
        read = read.reshape(-1)
        readers = np.zeros((len(sets), len(sentences)), bool)
        readers[read, of_caption] = True
        found = [np.empty((len(y), len(sets)), "float32") for y in sentences]
        for together in np.unique(readers, axis=0):
            which, rows = np.flatnonzero(together), np.flatnonzero((readers == together).all(axis=1))
            kept, hows = _unpacked(sets[rows], self.shape)
            for s, log_p in zip(which, asked.log_p(where, kept, [sentences[s] for s in which], hows), strict=True):
                found[s][:, rows] = log_p
        return found, read


def _packed(kept, how):
    """Sets of cells (K+1, m, C), and how the others are replaced, as rows of bytes: equal ones read the same."""
    ways = np.full((len(kept), 1), deletion.WAYS.index(how), np.uint8)
    return np.concatenate([ways, np.packbits(kept.reshape(len(kept), -1), axis=1)], axis=1)


def _unpacked(rows, shape):
    """The sets of cells of `_packed` rows, (R, m, C), and how the others are replaced, R names."""
    kept = np.unpackbits(rows[:, 1:], axis=1, count=shape[0] * shape[1]).astype(bool)
    return kept.reshape(-1, *shape), [deletion.WAYS[way] for way in rows[:, 0]]
