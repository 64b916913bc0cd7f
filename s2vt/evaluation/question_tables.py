"""The tables of faithfulness, of sanity checks and of a classifier's classes: their names in result files, and what
their values are, in words.

Those of captioners are asked about the same mentions as the tables of localization (`tables.TABLES`).
"""

from dataclasses import dataclass

import numpy as np

from s2vt.data.entities import CATEGORIES
from s2vt.evaluation.tables import TABLES
from s2vt.evaluation.tally import Tally
from s2vt.saliency import deletion


class OfEveryMention:
    """Base of tables of other questions than TABLES, about every mention that is scored in any of those.

    A subclass has the `name`, `domain`, `media` and `tally` of a `Table`.
    """

    def asks(self, mention):
        """Whether a mention is scored in any of TABLES."""
        return any(table.asks(mention) and not table.reason_to_drop(mention) for table in TABLES)

    def reason_to_drop(self, mention):
        """No reason: what is not asked is not counted."""
        return ""


# --- faithfulness: areas under curves ---------------------------------------------------------------------------------

SCALES = {"": ("log P", np.asarray), ", probability": ("P", np.exp)}
MEDIA = {"space": ("picture", "video"), "time": ("video",), "both": ("video",)}  # of each of `deletion.DOMAINS`
COSTS = {  # tables with a value a medium instead of a phrase
    "seconds": "seconds that one kind of map takes for all captions of a medium, by itself, descriptors given.",
    "passes": "sequences of descriptors that the encoder reads for them.",
    "backward passes": "those of them that a gradient goes back through.",
}


@dataclass(frozen=True)
class CurveTable(OfEveryMention):
    """The areas under the curves of one sort.

    Attributes:
        curve: "deletion" or "insertion".
        domain: what is ordered, a key of `deletion.DOMAINS`.
        where: what is replaced: "descriptors" or "pixels".
        scale: a key of SCALES.
        text: Protocol -> how the curve is drawn, in words.
    """

    curve: str
    domain: str
    where: str
    scale: str
    text: str

    @property
    def name(self):
        """In result files."""
        return curve_name(self.curve, self.domain, self.where, self.scale)

    @property
    def media(self):
        """The kinds of media asked about."""
        return MEDIA[self.domain]

    def tally(self, protocol):
        """An empty Tally."""
        unit = SCALES[self.scale][0]
        better = "less" if self.curve == "deletion" else "more"
        text = (
            f"{protocol.name}; the area under {unit}(phrase | the words before it), of which {better} is better, while "
            f"{deletion.DOMAINS[self.domain]} are {'replaced' if self.curve == 'deletion' else 'put in'}, the most "
            f"salient first, before any smoothing. {self.text} random: a seeded order of each medium, which also "
            "orders what is equally salient; center: from the middle of the grid, or clip, outwards."
        )
        return Tally(self.name, text, protocol.evaluation.average, CATEGORIES)


def curve_name(curve, domain, where="descriptors", scale=""):
    """The name of a table in result files.

    Example:
        >>> curve_name("deletion", "space", scale=", probability"), curve_name("insertion", "time", "pixels")
        ('deletion: space, probability', 'insertion: time, pixels')
    """
    return f"{curve}: {domain}{', pixels' if where == 'pixels' else ''}{scale}"


def curve_tables(preset, substitute, pixels):
    """The CurveTables of a Preset. pixels: whether pixels are replaced, too."""
    share = "" if preset.share == 1 else f", until {preset.share:.1%} of them are done"
    tables = []
    for where, most in (("descriptors", preset.steps), ("pixels", preset.pixel_steps))[: 2 if pixels else 1]:
        steps = f"{most} steps, or one a cell where that is fewer" if most else "one at a time"
        for curve in preset.curves:
            by = substitute.text(preset.descriptors)
            if where == "pixels":
                by = f"the pixels nearest its centre become {preset.deleted if curve == 'deletion' else preset.missing}"
            text = f"Definition {preset.name}: {steps}{share}; a cell is replaced: {by}."
            for domain in deletion.DOMAINS:
                tables += [CurveTable(curve, domain, where, scale, text) for scale in SCALES]
    return tables


def cost_tally(name):
    """An empty Tally of a cost, a key of COSTS, with a value a medium instead of a phrase."""
    return Tally(f"{name} a medium", COSTS[name])


# --- sanity: similarity of maps ---------------------------------------------------------------------------------------

# Stages after `Captioner.from_the_top`, from the first on, and in words; NETWORK is the last of the feature network's.
NETWORK = "network"
STAGES = {
    "output": "the output layer",
    "decoder": "the decoder, too",
    "input": "the projection of descriptors, too",
    "embedding": "the embedding of words, too: the whole captioner",
    NETWORK: "the whole feature network, too",
}
OTHER = "another sentence"
MEASURES = ("Spearman", "SSIM")
DRAWN = 64  # pixels, the side of the maps that SSIM compares


def similarity_name(domain, stage, measure):
    """The name of a table in result files.

    Example:
        >>> similarity_name("space", "output", "SSIM")
        'space: output, SSIM'
    """
    return f"{domain}: {stage}, {measure}"


def network_stages(blocks):
    """The stages of a feature network, from the top.

    Args:
        blocks: names of its blocks, such as "17x17", from the top.

    Example:
        >>> network_stages(["8x8", "17x17", "149x149"])
        ['network 8x8', 'network 17x17', 'network']
    """
    return [*(f"{NETWORK} {block}" for block in blocks[:-1]), NETWORK]


@dataclass(frozen=True)
class SimilarityTable(OfEveryMention):
    """The similarity to the map before, at one stage.

    Attributes:
        domain: "space", the cells of all frames, or "time".
        stage: a key of STAGES, one of `network_stages`, or OTHER.
        measure: one of MEASURES.
    """

    domain: str
    stage: str
    measure: str

    @property
    def name(self):
        """In result files."""
        return similarity_name(self.domain, self.stage, self.measure)

    @property
    def media(self):
        """The kinds of media asked about."""
        return ("picture", "video") if self.domain == "space" else ("video",)

    def tally(self, protocol):
        """An empty Tally."""
        if self.stage == OTHER:
            after = "the map of the words that a caption of the next medium has at the phrase's places"
        else:
            block = self.stage.removeprefix(NETWORK).strip()
            permuted = STAGES.get(self.stage) or f"the feature network's layers of {block} units, too"
            after = f"the map after the values of every variable were permuted: {permuted}"
        how = {
            "Spearman": f"rank correlation of the values of {'cells' if self.domain == 'space' else 'frames'}",
            "SSIM": f"structural similarity of the maps as drawn, at {DRAWN} x {DRAWN} pixels",
        }[self.measure]
        text = f"{protocol.name}; {how} between the phrase's map and {after}. 1: nothing changed."
        return Tally(self.name, text, protocol.evaluation.average, CATEGORIES)


# --- maps of a classifier's classes -----------------------------------------------------------------------------------

CLASSES = "classes"  # of all kinds


def classes_name(kind):
    """The name of the table of the classes of one kind.

    Example:
        >>> classes_name("colour")
        'classes: colour'
    """
    return f"{CLASSES}: {kind}"
