"""Maps behind one interface: where and when the evidence for each word lies, whichever way it was found.

Letters: T words, m frames (1 for a picture), G=8 grid, D=2048, N descriptors that the captioner reads, S sentences.

`KINDS` lists every kind of map. A new one is an entry there: what it needs of a captioner, the function that finds the
evidence of words (`finding` has its contract, `finders` has those of the kinds here), and what is done with a phrase's
sum (`sums`). Scripts, tables, figures, videos and pages take all kinds from this list. The functions import the engine
when they are called, so that a script can check the names of maps without it.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from s2vt.data.geometry import Grid
from s2vt.data.phrases import Change, content_words, words_of_change
from s2vt.errors import UserError
from s2vt.saliency import release
from s2vt.saliency.finders.attention import find_alignment, find_attention
from s2vt.saliency.finders.excitation import find_excitation, find_likely
from s2vt.saliency.finders.gradients import find_gradients, find_integrated
from s2vt.saliency.finders.losses import find_losses
from s2vt.saliency.finders.subsets import find_left_out, find_subsets
from s2vt.saliency.finding import Asking, Values
from s2vt.saliency.heatmaps import phrase_sum, scale
from s2vt.saliency.sums import change, evidence_itself, likelihood, positive_part, sharpened


@dataclass(frozen=True)
class Evidence:
    """Evidence for each word of a sentence by one kind of map: larger where there is more.

    Attributes:
        kind: name of the kind of map, a key of KINDS.
        cells: of each cell, (T, m, G, G): -Loss, or a share of attention; None for a kind that has no values in space.
        frames: of each frame, (T, m); None for a picture, and for a kind that has no values in time.
        of_change: the sentence's verbs of change, {position: Change}, from `s2vt.data.phrases.words_of_change`.
        content: positions of the sentence's content words, from `s2vt.data.phrases.content_words`, if a phrase's sum
            leaves out its other words (a phrase without content words keeps them); None: every word is summed.
        grid: the Grid on which the cells lie; None: that of the network that made the descriptors.
    """

    kind: str
    cells: np.ndarray | None
    frames: np.ndarray | None
    of_change: dict[int, Change] = field(default_factory=dict)
    content: tuple[int, ...] | None = None
    grid: Grid | None = None

    def placed(self, geometry):
        """A medium's Geometry with the grid on which these cells lie: maps, figures and scores place them by it."""
        return geometry if self.grid is None else dataclasses.replace(geometry, grid=self.grid)

    def of_phrases(self, phrases):
        """What is drawn of phrases: cells (K, m, G, G) and frames (K, m), either None where this one is.

        Args:
            phrases: K of `s2vt.data.phrases.Phrase`.
        """
        return tuple(
            None if values is None else np.stack([self._of_phrase(values, phrase.words) for phrase in phrases])
            for values in (self.cells, self.frames)
        )

    def space(self, words):
        """The map of a phrase in each frame, (m, G, G), >= 0; None where there are no values in space.

        Of the words' sum (Eq. 9): of losses and gains, e = scale(-Loss) in each frame (Eq. 8); of shares and changes,
        the values themselves.
        """
        if self.cells is None:
            return None
        values = self._of_phrase(self.cells, words)
        return scale(values, axes=(-2, -1)) if KINDS[self.kind].unit in SCALED else values

    def space_of_words(self, words):
        """The map of each of K words by itself, (K, m, G, G), >= 0; None where there are no values in space."""
        return None if self.cells is None else np.stack([self.space([t]) for t in words])

    def of_release(self, words):
        """Saliency of a phrase in the 2017 release's steps, beside the sentence's other words: (m, G, G), in [0, 1].

        The release knows single words only. A phrase (Eq. 9) takes the place of its words, so that a phrase of one word
        has that word's map.
        """
        others = [[t] for t in range(len(self.cells)) if t not in words]
        rows = [self._of_phrase(self.cells, positions) for positions in (words, *others)]
        return release.saliency(np.stack(rows), rows=slice(1))[0]

    def time(self, words):
        """Evidence for a phrase in each frame, (m,); None where there are no values in time."""
        return None if self.frames is None else self._of_phrase(self.frames, words)

    def beside(self, words):
        """A second curve to draw beside `time`, (m,), of the kind `Kind.beside`; None: there is none.

        A phrase with a verb of change has one, and so has every phrase where its change is shown.
        """
        kind = KINDS[self.kind]
        if self.frames is None or not kind.beside or not (kind.of_sum is change or self.has_change(words)):
            return None
        return dataclasses.replace(self, kind=kind.beside).time(words)

    def has_change(self, words):
        """Whether one of these words is a verb of change, or a particle of one."""
        return self._said(words) is not None

    def _said(self, words):
        """The Change that these words say first; None if they have no verb of change."""
        return next((self.of_change[t] for t in words if t in self.of_change), None)

    @property
    def is_loss(self):
        """Whether values are negated losses, each of one descriptor alone."""
        return KINDS[self.kind].loss is not None

    def _of_phrase(self, values, words):
        """The words' values, summed (Eq. 9), as this kind of map shows the sum."""
        kind, said = KINDS[self.kind], self._said(words)
        if kind.of_change and said:
            return kind.of_change(phrase_sum(values, self._summed(said.subject or words)), said.direction)
        return kind.of_sum(phrase_sum(values, self._summed(words)))

    def _summed(self, words):
        """Those of a phrase's words whose evidence is summed."""
        return [t for t in words if self.content is None or t in self.content] or words


# --- kinds ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A kind of map.

    Attributes:
        title: what it is, for legends.
        unit: of what is shown: "nats", -Loss; "nats of others", -Loss less the mean of other words' -Loss; "nats
            gained"; "nats a frame"; "probability", a word's, summed over a phrase; "share", a distribution over cells
            or frames; "share won", of the winning probability.
        needs: the captioner's methods that it calls.
        find: (captioner, descriptors, sentences, Asking, names) -> for each sentence {name: Values}, see `finding`;
            called once for all kinds that share it. A name is that of the kind, or of its loss.
        cost: passes through the captioner of a picture of N cells and a sentence of T words, in words; a pass reads
            some of the cells and says the sentence. N, T, and K (`saliency.subsets`), A (`saliency.integration_steps`).
        loss: the loss of each descriptor alone that it is made of, a measure of `information_loss`; None: it is of
            none.
        of_sum: evidence of a phrase, the sum over its words (Eq. 9), (m, G, G) or (m,) -> what is shown, of the same
            shape.
        of_change: of a phrase with a verb of change, (evidence of the verb's subject, `Change.direction`) -> what is
            shown, in the place of `of_sum`; None: no such phrase is an exception.
        beside: the kind, made of the same loss, whose curve over time is drawn beside this one's, see
            `Evidence.beside`; None: none.
        content: whether a phrase's sum always leaves out function words, whatever `saliency.words` says.
        media: the kinds of media that have it.
        alone: whether values are of each cell and frame alone; else they are shares of one whole.
        quick: whether it takes one pass over the descriptors; a page has other kinds only if they are asked for.
    """

    title: str
    unit: str
    needs: tuple[str, ...]
    find: Callable
    cost: str = ""
    loss: str | None = None
    of_sum: Callable = evidence_itself
    of_change: Callable | None = None
    beside: str | None = None
    content: bool = False
    media: tuple[str, ...] = ("picture", "video")
    alone: bool = True
    quick: bool = True

    def source(self, name):
        """The name under which its values are found and kept: that of its loss, else its own, `name`."""
        return self.loss or name

    @property
    def curve(self):
        """What its curve over time is, drawn beside another's of a phrase with a verb of change, for legends."""
        return "change of the subject's loss" if self.of_change else self.title


def _of_whole(title, unit, find, cost, of_sum=evidence_itself):
    """A kind whose values are parts of what is said after all descriptors are read, and that takes many passes."""
    return Kind(title, unit, LOSSES, find, cost, of_sum=of_sum, alone=False, quick=False)


LOSSES = ("encode", "step")
SCALED = ("nats", "nats of others", "nats gained", "probability")  # units whose maps are scaled to [0, 1] (Eq. 8)
ALONE, ALL_AND_ALONE, GRADIENT = "N of one cell", "N of one cell, 1 of all", "T of all, forward and backward"
KINDS = {
    "nll": Kind("query loss (Eq. 7)", "nats", LOSSES, find_losses, ALONE, "nll", beside="moment"),
    "kl": Kind("representativeness (Eq. 6)", "nats", LOSSES, find_losses, ALL_AND_ALONE, "kl"),
    "likelihood": Kind("likelihood exp(-Loss)", "share", LOSSES, find_losses, ALONE, "nll", likelihood),
    "change": Kind(
        "change of the loss", "nats a frame", LOSSES, find_losses, ALONE, "nll", change, beside="nll", media=("video",)
    ),
    "moment": Kind(
        "query loss (Eq. 7), of verbs of change the change of their subject's",
        "nats",
        LOSSES,
        find_losses,
        ALONE,
        "nll",
        of_change=change,
        beside="nll",
        media=("video",),
    ),
    "logit": Kind("logit minus the mean logit of all words", "nats of others", LOSSES, find_losses, ALONE, "logit"),
    "contrast": Kind(
        "query loss minus the mean of content words", "nats of others", LOSSES, find_losses, ALONE, "contrast"
    ),
    "banzhaf": _of_whole("gain by adding to random subsets (Banzhaf)", "nats gained", find_subsets, "K of N/2 cells"),
    "rise": _of_whole("probability over random subsets (RISE)", "probability", find_subsets, "K of N/2 cells"),
    "leave_one_out": _of_whole("log P lost when left out", "nats gained", find_left_out, "N of N-1 cells, 1 of all"),
    "leave_one_out_kl": _of_whole(
        "KL of all words when left out", "nats gained", find_left_out, "N of N-1 cells, 2 of all"
    ),
    "gradient": _of_whole("gradient x input of log P", "nats gained", find_gradients, GRADIENT),
    "integrated": _of_whole("integrated gradients of log P", "nats gained", find_integrated, f"A x {GRADIENT}"),
    "gradcam": _of_whole("Grad-CAM of log P on cells", "nats gained", find_gradients, GRADIENT, positive_part),
    "eb": _of_whole("Excitation Backprop", "share won", find_excitation, GRADIENT),
    "ceb": _of_whole("contrastive Excitation Backprop", "share won", find_excitation, GRADIENT, positive_part),
    "eb_likely": Kind("Excitation Backprop from likely cells", "share won", LOSSES, find_likely, ALONE, quick=False),
    "attention": Kind("attention (Eq. 5)", "share", ("attention",), find_attention, "1 of all", alone=False),
    "rollout": Kind("rollout of attention", "share", ("rollout",), find_attention, "1 of all", alone=False),
    "alignment": Kind(
        "alignment of cell and word",
        "share",
        ("alignment",),
        find_alignment,
        "none: a product of cells and words",
        of_sum=sharpened,
        content=True,
    ),
}


def kinds_of(captioner, media="video"):
    """The kinds of map that a captioner, or its class, can give of a "picture" or "video".

    Example:
        >>> class WithoutAttention:
        ...     def encode(self): ...
        ...     def step(self): ...
        >>> kinds_of(WithoutAttention)[:8]
        ['nll', 'kl', 'likelihood', 'change', 'moment', 'logit', 'contrast', 'banzhaf']
    """
    return kinds_with(dir(captioner), media)


def kinds_with(methods, media="video"):
    """The kinds of map that a captioner with these methods can give of a "picture" or "video".

    Example:
        >>> kinds_with(("attention", "rollout"), "picture")
        ['attention', 'rollout']
    """
    return [name for name, kind in KINDS.items() if set(kind.needs) <= set(methods) and media in kind.media]


def parse_kinds(text):
    """Names of kinds of map from a flag: "nll,kl", or "all".

    Raises:
        UserError: if one is unknown or named twice.
    """
    names = list(KINDS) if text == "all" else text.split(",")
    if not set(names) <= set(KINDS) or len(set(names)) < len(names):
        raise UserError(f"--map {text}: expected all, or some of {', '.join(KINDS)}, each once")
    return names


def find_evidence(captioner, descriptors, sentences, kinds, asking: Asking, spelled=None):
    """Evidence for all sentences about one medium; what kinds of map share is computed once.

    Args:
        captioner: anything with the methods that the kinds need.
        descriptors: `s2vt.features.descriptors.Descriptors`: `cells` (m, G G, D), row by row from the upper left; `v`
            (N, D), what the captioner reads; `order` (N,), the cell that each v_i is, None if v_i are frames;
            `pictures`, asked only for a layer below mixed_10.
        sentences: S of them, each word indices (T,).
        kinds: names in KINDS.
        asking: an Asking.
        spelled: of a captioner that says words in pieces, for each sentence its `s2vt.data.text.Sentence`: the pieces'
            evidence is summed to that of the words. None: each index is a word of the vocabulary.
    Returns:
        list of S {kind: Evidence}.
    Raises:
        ValueError: if the captioner lacks what a kind needs, such a medium has none, or content words are asked for
            without a vocabulary.
        UserError: if a layer of the network is asked for that is not to be had.
    """
    possible = kinds_of(captioner, asking.media)
    missing = [kind for kind in kinds if kind not in possible]
    if missing:
        of = f"of a {asking.media}, only {', '.join(possible)}"
        raise ValueError(f"this captioner gives no {', '.join(missing)} maps {of}")
    content = [kind for kind in kinds if KINDS[kind].content or asking.saliency.words == "content"]
    if not asking.vocabulary and (content or "contrast" in kinds):
        raise ValueError("content words are known by the words of a vocabulary; received none")
    found = [{} for _ in sentences]
    for find in dict.fromkeys(KINDS[kind].find for kind in kinds):
        names = list(dict.fromkeys(KINDS[kind].source(kind) for kind in kinds if KINDS[kind].find is find))
        for of_sentence, more in zip(found, find(captioner, descriptors, sentences, asking, names), strict=True):
            of_sentence.update(more)
    if spelled is None:
        texts = [[asking.vocabulary[w] for w in y] if asking.vocabulary else [] for y in sentences]
    else:
        texts = [sentence.words for sentence in spelled]
        found = [
            {name: values.of_words(sentence.starts) for name, values in of_sentence.items()}
            for of_sentence, sentence in zip(found, spelled, strict=True)
        ]

    def evidence(kind, values: Values, words):
        kept = tuple(content_words(words)) if kind in content else None
        return Evidence(kind, values.cells, values.frames, words_of_change(words), kept, values.grid)

    return [
        {kind: evidence(kind, of_sentence[KINDS[kind].source(kind)], words) for kind in kinds}
        for of_sentence, words in zip(found, texts, strict=True)
    ]
