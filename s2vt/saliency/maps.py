"""Maps behind one interface: where and when the evidence for each word lies, whichever way it was found.

Letters: T words, m frames (1 for a picture), G=8 grid, D=2048, N descriptors that the captioner reads, S sentences.

`KINDS` lists every kind of map. A new one is an entry there: what it needs of a captioner, the function that finds the
evidence of words, and what is done with a phrase's sum. Scripts, tables, figures, videos and pages take all kinds from
this list. Those functions import the engine when they are called, so that a script can check the names of maps without
it.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from s2vt.config import SaliencyConfig
from s2vt.data.phrases import Change, content_words, words_of_change
from s2vt.errors import UserError
from s2vt.saliency import release
from s2vt.saliency.heatmaps import phrase_sum, scale


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
    """

    kind: str
    cells: np.ndarray | None
    frames: np.ndarray | None
    of_change: dict[int, Change] = field(default_factory=dict)
    content: tuple[int, ...] | None = None

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


# --- from a phrase's summed evidence to what is shown -----------------------------------------------------------------

SHARPNESS = 10.0  # of `sharpened`, that of the contrast in training (ours)


def evidence_itself(evidence):
    """The sum as it is: -Loss (Eq. 9), or the attention of several words."""
    return evidence


def likelihood(evidence):
    """Likelihood of the phrase, normalised to sum 1 over the cells of each frame, or over the frames.

        exp(-Loss_i) / sum_k exp(-Loss_k),    exp(-Loss_i) = prod_j q_i(y_tj)

    Args:
        evidence: -Loss of the phrase, (m, G, G) or (m,).
    Returns:
        share, of the same shape.

    Example:
        >>> likelihood(np.log([0.5, 0.25, 0.25]))
        array([0.5 , 0.25, 0.25])
    """
    from scipy.special import softmax  # not at the top, for `--help`

    return softmax(evidence, axis=tuple(range(1, evidence.ndim)) or 0)


def sharpened(evidence):
    """`likelihood` of 10 times the evidence: the contrast's own softmax over cells (`s2vt.captioning.contrast`).

    Args:
        evidence: sum of the cosines of the phrase's words, (m, G, G) or (m,).
    Returns:
        share, of the same shape.

    Example:
        >>> sharpened(np.log([2.0, 1.0]) / 10).round(6)
        array([0.666667, 0.333333])
    """
    return likelihood(SHARPNESS * evidence)


def change(evidence, direction=0):
    """Change of the phrase's loss from frame to frame: large where its evidence comes or goes.

        |Loss(i + 1) - Loss(i - 1)| / 2

    Args:
        evidence: -Loss of the phrase, (m, G, G) or (m,). Edge values are repeated.
        direction: 1, the evidence's rise alone; -1, its fall alone; 0, both.
    Returns:
        nats a sampled frame, >= 0, of the same shape.

    Example:
        >>> change(np.array([-4.0, -4.0, -1.0, 0.0])).tolist()
        [0.0, 1.5, 2.0, 0.5]
        >>> change(np.array([-4.0, 0.0, -4.0]), direction=-1).tolist()
        [0.0, 0.0, 2.0]
    """
    first, last = evidence[:1], evidence[-1:]
    rise = (np.concatenate([evidence[1:], last]) - np.concatenate([first, evidence[:-1]])) / 2
    return np.maximum(direction * rise, 0) if direction else np.abs(rise)


# --- kinds ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A kind of map.

    Attributes:
        title: what it is, for legends.
        unit: of what is shown: "nats", -Loss; "nats of others", -Loss less the mean of other words' -Loss; "nats
            gained"; "share", a distribution over cells or frames; "nats a frame".
        needs: the captioner's methods that it calls.
        find: (captioner, descriptors, sentences, Asking, kinds) -> for each sentence {kind: Evidence}; called once for
            all `kinds` that share it.
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
    loss: str | None = None
    of_sum: Callable = evidence_itself
    of_change: Callable | None = None
    beside: str | None = None
    content: bool = False
    media: tuple[str, ...] = ("picture", "video")
    alone: bool = True
    quick: bool = True

    @property
    def curve(self):
        """What its curve over time is, drawn beside another's of a phrase with a verb of change, for legends."""
        return "change of the subject's loss" if self.of_change else self.title


@dataclass(frozen=True)
class Asking:
    """How the evidence of words is asked for, whatever the kind of map.

    Attributes:
        media: "picture" or "video".
        saliency: the settings of maps. Evidence depends on `SaliencyConfig.of_evidence` of them alone.
        vocabulary: the word of each index, to tell content words and verbs of change; empty: no word is known to be
            one.
        seed: of random subsets.

    Example:
        >>> Asking("video").frames, Asking("picture").frames
        ('pooled', None)
    """

    media: str = "picture"
    saliency: SaliencyConfig = SaliencyConfig()
    vocabulary: tuple[str, ...] = ()
    seed: int = 0

    @property
    def frames(self):
        """Encoder input for one frame of a video in isolation, `saliency.frame_input`; None: a picture."""
        return self.saliency.frame_input if self.media == "video" else None


def find_losses(captioner, descriptors, sentences, asking, kinds):
    """Evidence of the paper's maps, and of those made of them: -Loss of each descriptor alone (Eq. 6, 7, 13)."""
    from s2vt.saliency.information_loss import cell_input, frame_input, information_loss

    measures = _measures(dict.fromkeys(KINDS[kind].loss for kind in kinds), captioner, descriptors.v, sentences, asking)
    cells, reads = descriptors.cells, asking.saliency.reads
    alone = asking.frames and frame_input(cells, asking.frames, reads)
    found = information_loss(captioner.encode, captioner.step, cell_input(cells, reads), sentences, alone, measures)

    def evidence(kind, of_sentence):
        name = KINDS[kind].loss
        return Evidence(kind, -of_sentence.cells[name], of_sentence.frames and -of_sentence.frames[name])

    return [{kind: evidence(kind, of_sentence) for kind in kinds} for of_sentence in found]


def _measures(names, captioner, v, sentences, asking):
    """The measures of `information_loss` that have these names: {name: measure}."""
    from s2vt.saliency import information_loss as losses

    def kl():
        log_p = losses.sentence_log_probabilities(captioner.encode, captioner.step, v, sentences)
        return losses.representativeness_measure(log_p, sentences)

    makers = {
        "nll": lambda: losses.query_measure,
        "kl": kl,
        "logit": losses.relative_measure,
        "contrast": lambda: losses.relative_measure(content_words(asking.vocabulary)),
    }
    return {name: makers[name]() for name in names}


def find_attention(captioner, descriptors, sentences, asking, kinds):
    """Evidence of a captioner's own attention (Eq. 5): over a picture's cells, or over a video's frames, never both.

    Each kind is the captioner's method of the same name.
    """
    from keras.utils import pad_sequences

    v = np.asarray(descriptors.v, np.float32)[None]
    y = pad_sequences(sentences, padding="post")

    def of_sentences(kind):
        alpha = getattr(captioner, kind)({"v": v, "y": y, "medium": np.zeros(len(y), np.int32)})  # (S, T, N)
        found = (of_sentence[: len(y)] for of_sentence, y in zip(alpha, sentences, strict=True))
        return [_of_read(kind, values, descriptors.order) for values in found]

    of_kinds = [of_sentences(kind) for kind in kinds]
    return [dict(zip(kinds, of_sentence, strict=True)) for of_sentence in zip(*of_kinds, strict=True)]


def find_banzhaf(captioner, descriptors, sentences, asking, kinds):
    """Evidence by random subsets of what the captioner reads: a picture's cells, or a video's frames, never both."""
    from s2vt.saliency.subsets import banzhaf, random_subsets, subset_values

    settings, v = asking.saliency, descriptors.v
    subsets = random_subsets(len(v), settings.subsets, settings.subset_share, asking.seed)
    found = subset_values(captioner.encode, captioner.step, v, sentences, subsets)
    return [{"banzhaf": _of_read("banzhaf", banzhaf(values, subsets), descriptors.order)} for values in found]


def _of_read(kind, values, order):
    """Evidence of values (T, N) of the descriptors that the captioner reads, of a video's frames if order is None."""
    if order is None:
        return Evidence(kind, None, frames=values)
    G = math.isqrt(len(order))  # v_i is cell order[i] of a picture
    return Evidence(kind, values[:, np.argsort(order)].reshape(len(values), 1, G, G), frames=None)


def find_alignment(captioner, descriptors, sentences, asking, kinds):
    """Evidence of a captioner that was trained with a contrast: the cosine of each word with each cell alone.

    In time, each frame is its pooled descriptor, whatever `asking.frames` says: the contrast knows no sequences.
    """
    from s2vt.saliency.information_loss import frame_input

    cells = descriptors.cells  # (m, G G, D)
    G = math.isqrt(cells.shape[1])
    words, where = np.unique(np.concatenate(sentences), return_inverse=True)
    of_cells = np.stack([captioner.alignment(of_frame, words) for of_frame in cells], axis=1)  # (W, m, G G)
    of_cells = of_cells.reshape(*of_cells.shape[:2], G, G)
    of_frames = None if asking.frames is None else captioner.alignment(frame_input(cells, "pooled"), words)  # (W, m)
    return [
        {"alignment": Evidence("alignment", of_cells[rows], None if of_frames is None else of_frames[rows])}
        for rows in np.split(where, np.cumsum([len(y) for y in sentences])[:-1])
    ]


LOSSES = ("encode", "step")
SCALED = ("nats", "nats of others", "nats gained")  # units whose maps are scaled to [0, 1] (Eq. 8)
KINDS = {
    "nll": Kind("query loss (Eq. 7)", "nats", LOSSES, find_losses, "nll", beside="moment"),
    "kl": Kind("representativeness (Eq. 6)", "nats", LOSSES, find_losses, "kl"),
    "likelihood": Kind("likelihood exp(-Loss)", "share", LOSSES, find_losses, "nll", likelihood),
    "change": Kind(
        "change of the loss", "nats a frame", LOSSES, find_losses, "nll", change, beside="nll", media=("video",)
    ),
    "moment": Kind(
        "query loss (Eq. 7), of verbs of change the change of their subject's",
        "nats",
        LOSSES,
        find_losses,
        "nll",
        of_change=change,
        beside="nll",
        media=("video",),
    ),
    "logit": Kind("logit minus the mean logit of all words", "nats of others", LOSSES, find_losses, "logit"),
    "contrast": Kind("query loss minus the mean of content words", "nats of others", LOSSES, find_losses, "contrast"),
    "banzhaf": Kind(
        "gain by adding to random subsets (Banzhaf)", "nats gained", LOSSES, find_banzhaf, alone=False, quick=False
    ),
    "attention": Kind("attention (Eq. 5)", "share", ("attention",), find_attention, alone=False),
    "rollout": Kind("rollout of attention", "share", ("rollout",), find_attention, alone=False),
    "alignment": Kind(
        "alignment of cell and word", "share", ("alignment",), find_alignment, of_sum=sharpened, content=True
    ),
}


def kinds_of(captioner, media="video"):
    """The kinds of map that a captioner, or its class, can give of a "picture" or "video".

    Example:
        >>> class WithoutAttention:
        ...     def encode(self): ...
        ...     def step(self): ...
        >>> kinds_of(WithoutAttention)
        ['nll', 'kl', 'likelihood', 'change', 'moment', 'logit', 'contrast', 'banzhaf']
    """
    return kinds_with(dir(captioner), media)


def kinds_with(methods, media="video"):
    """The kinds of map that a captioner with these methods can give of a "picture" or "video".

    Example:
        >>> kinds_with(("encode", "step", "attention"), "picture")
        ['nll', 'kl', 'likelihood', 'logit', 'contrast', 'banzhaf', 'attention']
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


def find_evidence(captioner, descriptors, sentences, kinds, asking):
    """Evidence for all sentences about one medium; what kinds of map share is computed once.

    Args:
        captioner: anything with the methods that the kinds need.
        descriptors: `s2vt.features.descriptors.Descriptors`: `cells` (m, G G, D), row by row from the upper left; `v`
            (N, D), what the captioner reads; `order` (N,), the cell that each v_i is, None if v_i are frames.
        sentences: S of them, each word indices (T,).
        kinds: names in KINDS.
        asking: an Asking.
    Returns:
        list of S {kind: Evidence}.
    Raises:
        ValueError: if the captioner lacks what a kind needs, such a medium has none, or content words are asked for
            without a vocabulary.
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
        together = [kind for kind in kinds if KINDS[kind].find is find]
        for of_sentence, more in zip(found, find(captioner, descriptors, sentences, asking, together), strict=True):
            of_sentence.update(more)
    texts = [[asking.vocabulary[w] for w in y] if asking.vocabulary else [] for y in sentences]
    return [
        {
            kind: dataclasses.replace(
                of_sentence[kind],
                of_change=words_of_change(words),
                content=tuple(content_words(words)) if kind in content else None,
            )
            for kind in kinds
        }
        for of_sentence, words in zip(found, texts, strict=True)
    ]
