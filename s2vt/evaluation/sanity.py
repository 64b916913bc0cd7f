"""Sanity checks of maps: do they change when the captioner forgets what it learned, or hears another sentence?

Adebayo et al. 2018: the weights are scrambled from the top down, stage by stage, all earlier stages staying scrambled
(`s2vt.saliency.sanity.Cascade`), and each phrase's map is compared with the one before: first the captioner's layers,
then, with `pixels`, the blocks of the feature network. A last stage leaves both alone and asks about the words that
another medium's caption has at the phrase's places.

Letters: m frames (1 for a picture), G x G grid, T words.
"""

import functools
import itertools

import numpy as np

from s2vt.data import datasets
from s2vt.data.geometry import Geometry
from s2vt.data.phrases import Phrase
from s2vt.data.text import tokenize
from s2vt.evaluation.localization import refuse_other_cells, score_maps
from s2vt.evaluation.pixels import Pixels
from s2vt.evaluation.question_tables import (
    DRAWN,
    MEASURES,
    NETWORK,
    OTHER,
    STAGES,
    SimilarityTable,
    network_stages,
    similarity_name,
)
from s2vt.evaluation.scorer import EncodedCaption, ReadScorer
from s2vt.saliency.heatmaps import upsample
from s2vt.saliency.maps import find_evidence
from s2vt.saliency.sanity import Cascade, spearman, ssim
from s2vt.workers import here


def sanity(request, progress=iter, workers=here):
    """Compares maps before and after scrambling, as `localization.score_maps`.

    Args:
        request: a LocalizationRequest with runs. With `pixels`, the feature network is scrambled after the captioner,
            block by block.
    Raises:
        UserError: as `score_maps`, and under protocol release.
    """
    refuse_other_cells(request.protocols, "--sanity")

    def scorers(ground):
        scrambling = Scrambling(request.seed, Pixels(ground.config) if request.pixels else None)
        return [SanityScorer(ground, protocol, scrambling) for protocol in request.protocols]

    return score_maps(request, "sanity", scorers, progress, workers)


class Scrambling:
    """Captioners and a feature network on their way to losing what they learned, for the scorers of all protocols.

    Args:
        seed: of the permutations.
        pixels: `Pixels` if the feature network is scrambled after the captioner, else None.
    """

    def __init__(self, seed, pixels=None):
        self.seed, self.pixels = seed, pixels
        self.captioner = functools.cache(self._captioner)
        self.descriptors = functools.lru_cache(1)(self._descriptors)

    @property
    def stages(self):
        """All stages, from the top: those that a captioner may have, then those of the feature network."""
        of_captioner = [stage for stage in STAGES if stage != NETWORK]
        return of_captioner + (list(self.network.stages) if self.pixels else [])

    @functools.cached_property
    def network(self):
        """The Cascade of the feature network's blocks."""
        blocks = self.pixels.extractor.from_the_top()
        return Cascade(dict(zip(network_stages(list(blocks)), blocks.values(), strict=True)), self.seed)

    def _captioner(self, captioner):
        """The Cascade of a captioner."""
        return Cascade({stage: found for stage, found in captioner.from_the_top().items() if found}, self.seed)

    def _descriptors(self, medium):
        """{stage of the feature network: the medium's Descriptors}; the medium is decoded once."""
        if not self.pixels:
            return {}
        inputs, found = self.pixels.inputs(medium), {}
        with self.network as cascade:
            for stage in cascade.stages:
                cascade.scramble(stage)
                found[stage] = self.pixels.describe(self.pixels.extractor.cells(inputs))
        return found


class SanityScorer(ReadScorer):
    """Sums up the similarity of each mention's maps before and after each stage.

    Args:
        ground: a `localization.Ground`.   protocol: a Protocol.   scrambling: a Scrambling.
    """

    def __init__(self, ground, protocol, scrambling):
        self.scrambling = scrambling
        tables = [
            SimilarityTable(domain, stage, measure)
            for domain, measures in (("space", MEASURES), ("time", MEASURES[:1]))
            for measure in measures
            for stage in (*scrambling.stages, OTHER)
        ]
        super().__init__(ground.sources(protocol), ground.config.media, protocol, tables)
        split = datasets.select(ground.all_media, ground.request.split)
        following = itertools.chain(split[1:], split[:1])
        self.groups = tuple(
            (f"{domain}: {measure}", {each.stage: each.name for each in of_measure})
            for (domain, measure), of_measure in itertools.groupby(self.tables, lambda t: (t.domain, t.measure))
        )
        self.other = {medium.id: after.captions for medium, after in zip(split, following, strict=True)}

    def settings(self):
        """As `Scorer.settings`, and whether the network is scrambled."""
        return super().settings() | {"pixels": self._has_pixels}

    @property
    def _has_pixels(self):
        return self.scrambling.pixels is not None

    @property
    def file_name(self):
        """The protocol, and whether the network is scrambled."""
        return self.protocol.file_name + ("_pixels" if self._has_pixels else "")

    def ordered_tallies(self):
        """As `Scorer.ordered_tallies`, without stages that no captioner has."""
        return {name: tally for name, tally in super().ordered_tallies().items() if tally.rows}

    def absent(self, rows):
        """No lines: a captioner has its own stages."""
        return []

    def scores(self, medium, window, asked):
        """As `Scorer.scores`."""
        found = {}  # (caption, question, table's name): {row: similarity}
        drawn = Geometry.of(DRAWN, DRAWN, "squash", window.geometry.grid)
        for s, source in enumerate(self.sources):
            words = [
                [encoded[s].positions(question.mention.phrase.words) for question in questions]
                for encoded, questions in asked
            ]
            stages = self._stages(source, medium, [encoded[s].y for encoded, _ in asked])
            before = self._maps(source, words, next(stages)[1], drawn)
            for stage, evidence in stages:
                for place, after in self._maps(source, words, evidence, drawn).items():
                    for domain, measure, value in _similarities(before[place], after):
                        k, q, row = place
                        found.setdefault((k, q, similarity_name(domain, stage, measure)), {})[row] = value
        for k, (_, questions) in enumerate(asked):
            for q, question in enumerate(questions):
                for table in question.tables:
                    if rows := found.get((k, q, table.name)):
                        yield question, table, rows

    def _stages(self, source, medium, sentences):
        """(name of a stage, evidence of each sentence) of the captioner as it is, then of each stage, then of OTHER."""
        kinds, descriptors = list(source.rows), source.describe(medium)

        def evidence(of, of_sentences):
            return find_evidence(source.captioner, of, of_sentences, kinds, source.asking)

        yield "", evidence(descriptors, sentences)
        with self.scrambling.captioner(source.captioner) as cascade:
            for stage in cascade.stages:
                cascade.scramble(stage)
                yield stage, evidence(descriptors, sentences)
            for stage, of_network in self.scrambling.descriptors(medium).items():
                yield stage, evidence(of_network, sentences)
        yield OTHER, evidence(descriptors, self._others(source, medium, sentences))

    def _others(self, source, medium, sentences):
        """Sentences of the same lengths from the next medium's captions, each repeated where it is shorter."""
        captions = [
            EncodedCaption.of(tokenize(caption), source.vocabulary, source.max_words).y
            for caption in self.other[medium.id]
        ]
        return [np.resize(captions[k % len(captions)], len(y)) for k, y in enumerate(sentences)]

    def _maps(self, source, words, evidence, drawn):
        """{(caption, question, row): (map of cells, as drawn, over time)}, None where the kind has none."""
        found = {}
        for k, of_caption in enumerate(words):
            for (q, positions), kind in itertools.product(enumerate(of_caption), source.rows):
                cells, frames = evidence[k][kind].of_phrases([Phrase("", tuple(positions))])
                space = None if cells is None else evidence[k][kind].space(positions)
                pixels = None if space is None else upsample(space, drawn, self.protocol.saliency.sigma_cells)
                found[k, q, source.rows[kind]] = cells, pixels, frames
        return found


def _similarities(before, after):
    """Yields (domain, measure, value). before, after: from `SanityScorer._maps`."""
    for domain, measure, similarity, a, b in zip(
        ("space", "space", "time"), ("Spearman", "SSIM", "Spearman"), (spearman, ssim, spearman), before, after,
        strict=True,
    ):  # fmt: skip
        if a is not None:
            yield domain, measure, similarity(a, b)


def curves(scores):
    """The similarity over the stages, for `s2vt.rendering.similarity`.

    Args:
        scores: `localization.LocalizationScores` of `sanity`.
    Returns:
        list of panels (title, stages, {row: [(average, (low, high) or None) at each stage, or None]}).
    """
    panels = []
    for title, columns in scores.groups:
        tallies = {stage: scores.tallies[name] for stage, name in columns.items() if name in scores.tallies}
        found = [(tally.averages(), tally.intervals()) for tally in tallies.values()]
        rows = {
            row: [(averages[row][0], bounds.get(row)) if row in averages else None for averages, bounds in found]
            for row in dict.fromkeys(row for averages, _ in found for row in averages)
        }
        panels += [(title, list(tallies), rows)] if rows else []
    return panels
