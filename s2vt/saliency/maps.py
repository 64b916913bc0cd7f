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

from s2vt.data.phrases import Change, words_of_change
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
    """

    kind: str
    cells: np.ndarray | None
    frames: np.ndarray | None
    of_change: dict[int, Change] = field(default_factory=dict)

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

        Of the words' sum (Eq. 9): in nats, e = scale(-Loss) in each frame (Eq. 8); in other units, the values
        themselves.
        """
        if self.cells is None:
            return None
        values = self._of_phrase(self.cells, words)
        return scale(values, axes=(-2, -1)) if KINDS[self.kind].unit == "nats" else values

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
        """Whether `cells` and `frames` are negated losses, nats; else they are what the captioner attends to."""
        return KINDS[self.kind].loss is not None

    def _of_phrase(self, values, words):
        """The words' values, summed (Eq. 9), as this kind of map shows the sum."""
        kind, said = KINDS[self.kind], self._said(words)
        if kind.of_change and said:
            return kind.of_change(phrase_sum(values, said.subject or words), said.direction)
        return kind.of_sum(phrase_sum(values, words))


# --- from a phrase's summed evidence to what is shown -----------------------------------------------------------------


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
        unit: of what is shown: "nats", -Loss; "share", a distribution over cells or frames; "nats a frame".
        needs: the captioner's methods that it calls.
        find: (captioner, descriptors, sentences, frame_input, kinds) -> for each sentence {kind: Evidence}; called once
            for all `kinds` that share it.
        loss: the loss that it is made of, an attribute of `information_loss.InformationLoss`; None: it is of none.
        of_sum: evidence of a phrase, the sum over its words (Eq. 9), (m, G, G) or (m,) -> what is shown, of the same
            shape.
        of_change: of a phrase with a verb of change, (evidence of the verb's subject, `Change.direction`) -> what is
            shown, in the place of `of_sum`; None: no such phrase is an exception.
        beside: the kind, made of the same loss, whose curve over time is drawn beside this one's, see
            `Evidence.beside`; None: none.
        media: the kinds of media that have it.
    """

    title: str
    unit: str
    needs: tuple[str, ...]
    find: Callable
    loss: str | None = None
    of_sum: Callable = evidence_itself
    of_change: Callable | None = None
    beside: str | None = None
    media: tuple[str, ...] = ("picture", "video")

    @property
    def curve(self):
        """What its curve over time is, drawn beside another's of a phrase with a verb of change, for legends."""
        return "change of the subject's loss" if self.of_change else self.title


def find_losses(captioner, descriptors, sentences, frames, kinds):
    """Evidence of the paper's maps, and of those made of them: -Loss of each descriptor alone (Eq. 6, 7, 13)."""
    from s2vt.saliency.information_loss import frame_input, information_loss, sentence_log_probabilities

    encode, step, cells = captioner.encode, captioner.step, descriptors.cells
    with_kl = any(KINDS[kind].loss == "kl" for kind in kinds)
    log_p = sentence_log_probabilities(encode, step, descriptors.v, sentences) if with_kl else None
    alone = None if frames is None else frame_input(cells, frames)
    found = information_loss(encode, step, cells, sentences, alone, log_p)

    def evidence(kind, of_sentence):
        name = KINDS[kind].loss
        loss, frame_loss = getattr(of_sentence, name), getattr(of_sentence, f"frame_{name}")
        return Evidence(kind, -loss, None if frame_loss is None else -frame_loss)

    return [{kind: evidence(kind, of_sentence) for kind in kinds} for of_sentence in found]


def find_attention(captioner, descriptors, sentences, frames, kinds):
    """Evidence of a captioner's own attention (Eq. 5): over a picture's cells, or over a video's frames, never both.

    Each kind is the captioner's method of the same name.
    """
    from keras.utils import pad_sequences

    v, order = np.asarray(descriptors.v, np.float32)[None], descriptors.order
    y = pad_sequences(sentences, padding="post")

    def evidence(kind):
        alpha = getattr(captioner, kind)({"v": v, "y": y, "medium": np.zeros(len(y), np.int32)})  # (S, T, N)
        if order is not None:  # v_i is cell order[i] of a picture
            G = math.isqrt(len(order))
            alpha = alpha[..., np.argsort(order)].reshape(*alpha.shape[:2], 1, G, G)
        found = (of_sentence[: len(y)] for of_sentence, y in zip(alpha, sentences, strict=True))
        if order is None:
            return [Evidence(kind, None, frames=of_frames) for of_frames in found]
        return [Evidence(kind, of_cells, frames=None) for of_cells in found]

    of_kinds = [evidence(kind) for kind in kinds]
    return [dict(zip(kinds, of_sentence, strict=True)) for of_sentence in zip(*of_kinds, strict=True)]


LOSSES = ("encode", "step")
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
    "attention": Kind("attention (Eq. 5)", "share", ("attention",), find_attention),
    "rollout": Kind("rollout of attention", "share", ("rollout",), find_attention),
}


def kinds_of(captioner, media="video"):
    """The kinds of map that a captioner, or its class, can give of a "picture" or "video".

    Example:
        >>> class WithoutAttention:
        ...     def encode(self): ...
        ...     def step(self): ...
        >>> kinds_of(WithoutAttention)
        ['nll', 'kl', 'likelihood', 'change', 'moment']
    """
    return kinds_with(dir(captioner), media)


def kinds_with(methods, media="video"):
    """The kinds of map that a captioner with these methods can give of a "picture" or "video".

    Example:
        >>> kinds_with(("encode", "step", "attention"), "picture")
        ['nll', 'kl', 'likelihood', 'attention']
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


def find_evidence(captioner, descriptors, sentences, kinds, frames, vocabulary=None):
    """Evidence for all sentences about one medium; what kinds of map share is computed once.

    Args:
        captioner: anything with the methods that the kinds need.
        descriptors: `s2vt.features.descriptors.Descriptors`: `cells` (m, G G, D), row by row from the upper left; `v`
            (N, D), what the captioner reads; `order` (N,), the cell that each v_i is, None if v_i are frames.
        sentences: S of them, each word indices (T,).
        kinds: names in KINDS.
        frames: encoder input for one frame of a video in isolation, `saliency.frame_input`; None: a picture.
        vocabulary: the word of each index, to find verbs of change; None: no word counts as one.
    Returns:
        list of S {kind: Evidence}.
    Raises:
        ValueError: if the captioner lacks what a kind needs, or such a medium has none.
    """
    media = "picture" if frames is None else "video"
    possible = kinds_of(captioner, media)
    missing = [kind for kind in kinds if kind not in possible]
    if missing:
        raise ValueError(f"this captioner gives no {', '.join(missing)} maps of a {media}, only {', '.join(possible)}")
    found = [{} for _ in sentences]
    for find in dict.fromkeys(KINDS[kind].find for kind in kinds):
        together = [kind for kind in kinds if KINDS[kind].find is find]
        for of_sentence, more in zip(found, find(captioner, descriptors, sentences, frames, together), strict=True):
            of_sentence.update(more)
    changes = [words_of_change([vocabulary[w] for w in y] if vocabulary else ()) for y in sentences]
    return [
        {kind: dataclasses.replace(of_sentence[kind], of_change=of_change) for kind in kinds}
        for of_sentence, of_change in zip(found, changes, strict=True)
    ]
