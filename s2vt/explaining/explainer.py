"""The Explainer: what a captioner finds in a medium.

Letters: m sampled frames (1 for a picture), m' distinct ones of them; S input side, G*G cells and D channels of the
network; N descriptors that the captioner reads, T words.
"""

import dataclasses
import functools
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from s2vt.data.sampling import together
from s2vt.rendering.drawing import thumbnail
from s2vt.saliency.explanation import Explanation
from s2vt.saliency.instead import find_odds
from s2vt.saliency.maps import KINDS, Asking, find_evidence


def sample(job, request):
    """A job's medium: SampledMedium whose frames have `input`, as the captioner's network sees them, and `shown`.

    `shown` is as drawn: (h, w, 3) uint8, a picture as it is, a video's frame small.

    Raises:
        MediaError: if it cannot be decoded.
    """
    captioner, excerpt = request.captioner, request.excerpt

    def convert(frame):
        return together(input=captioner.prepare(frame), shown=thumbnail(frame) if job.moving else frame)

    kind = "video" if job.moving else "picture"
    return job.source.sample(kind, request.config.features.num_frames, excerpt.start, excerpt.end, convert)


class Thumbnails:
    """Small copies of a video's frames, (h, w, 3) uint8 by index, kept as JPEGs: some 20 kB a frame."""

    def __init__(self):
        self.files = []

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        return np.asarray(Image.open(io.BytesIO(self.files[index])))

    def append(self, frame):
        """Keeps a frame, (H, W, 3) uint8."""
        file = io.BytesIO()
        Image.fromarray(thumbnail(frame)).save(file, "JPEG", quality=92)
        self.files.append(file.getvalue())


@dataclass(frozen=True)
class Found:
    """What a captioner finds for one sentence.

    Attributes:
        explanation: the Explanation.
        odds: {t: indices of other words} -> {t: Odds} of the sentence's words against them, `instead.find_odds`.
    """

    explanation: Explanation
    odds: Callable


class Explainer:
    """Explains media with one captioner.

    Args:
        request: an ExplanationRequest.
    """

    def __init__(self, request):
        self.request, self.captioner, self.config = request, request.captioner, request.config
        self.vocabulary = request.captioner.vocabulary

    def explain(self, jobs, sampled, progress=lambda frames, total: frames):
        """What the captioner finds for each job's sentence, or for its own caption.

        Prints a warning on stderr if the medium is unlike those that the captioner was trained on.

        Args:
            jobs: of one medium; their sentences are explained in one call.
            sampled: their SampledMedium, of `sample`.
            progress: (iterable of a video's frames, their number) -> iterable, where every frame is read.
        Returns:
            SampledMedium of the m' frames that are explained, with `frames["shown"]`: the distinct ones, or every one
            (`saliency.normalize=release`); for each job a Found of these, None for an empty caption.
        """
        job = jobs[0]
        descriptors = self.captioner.read(self._cells(job, sampled))
        descriptors = dataclasses.replace(descriptors, pictures=lambda: sampled.frames["input"])
        if warning := self.captioner.warning(job.source.name, descriptors.v):
            print(warning, file=sys.stderr)
        sentences = [self._sentence(job, descriptors.v) for job in jobs]
        asked = [sentence for sentence in sentences if sentence.words]
        if not asked:
            return sampled, [None] * len(jobs)
        explained, first, descriptors = self._explained(job, sampled, descriptors, progress)
        evidence = self._evidence(jobs, descriptors, first, asked)
        log_p = [None] * len(asked)
        if self.vocabulary.whole_words and (any(job.has_page for job in jobs) or self.request.every_kind):
            from s2vt.saliency.information_loss import sentence_log_probabilities  # imports the engine

            model = self.captioner.model
            log_p = sentence_log_probabilities(model.encode, model.step, descriptors.v, [y.indices for y in asked])
        cells = descriptors.cells  # a memory map if they are of every frame
        distinct = descriptors if len(first) == len(cells) else dataclasses.replace(descriptors, cells=cells[first])
        geometry = self.captioner.geometry(*sampled.size, cells.shape[1])

        def of_sentence(y, maps, log_p):
            explanation = Explanation(y.words, maps, geometry, explained.indices, explained.times, log_p)
            odds = functools.partial(find_odds, self.captioner.model, distinct, y.indices, asking=self._asking(job))
            return Found(explanation, odds)

        found = map(of_sentence, asked, evidence, log_p)
        return explained, [next(found) if y.words else None for y in sentences]

    def _explained(self, job, sampled, descriptors, progress):
        """The frames that are explained.

        Args:
            descriptors: of the m sampled frames.
        Returns:
            SampledMedium of the m' frames; which of those whose cells the descriptors have each one is, (m',);
            Descriptors with the cells of the sampled frames, or of every frame.
        """
        if not (job.moving and self.request.look.of_release):
            return *sampled.distinct(), descriptors
        excerpt, thumbnails = self.request.excerpt, Thumbnails()
        frames = progress(job.source.frames(excerpt.start, excerpt.end), sampled.num_frames)
        every = self.captioner.every_frame(frames, thumbnails.append)
        explained = dataclasses.replace(
            sampled, frames={"shown": thumbnails}, indices=every.indices, times=every.times, num_frames=len(every.times)
        )
        return explained, every.indices, dataclasses.replace(descriptors, cells=every.cells, pictures=None)

    def _cells(self, job, sampled):
        """Cells, (m, G*G, D): from the descriptor file of a whole medium of the data set, else by the network."""
        cells = None
        if job.medium.split and self.request.excerpt.whole:
            cells = self.captioner.stored_cells(job.medium, self.request.data_dir)
        return self.captioner.cells(sampled.frames["input"]) if cells is None else cells

    def _sentence(self, job, v):
        """The Sentence to explain: the one that is asked for, or the captioner's own caption."""
        from s2vt.captioning import decoding  # imports the engine

        max_words = self.config.text.max_words
        if job.sentence is None:
            return self.vocabulary.said(decoding.greedy(self.captioner.model, v[None], max_words)[0])
        return self.vocabulary.read(job.sentence, max_words)

    def _evidence(self, jobs, descriptors, first, sentences):
        """{kind: Evidence} of each sentence, of the m' frames that are explained.

        Args:
            first: which of the frames whose cells the descriptors have each one is, (m',).
            sentences: of `data.text.Sentence`.
        """
        moving, asking = jobs[0].moving, self._asking(jobs[0])
        chosen, has_page = self.request.look.kind, self.request.every_kind or any(job.has_page for job in jobs)
        kinds = [kind for kind in self.captioner.kinds if kind == chosen or has_page and KINDS[kind].quick]
        kinds = [kind for kind in kinds if asking.media in KINDS[kind].media]
        # Attention over equal frames says nothing about a picture, attention over a video's mean cells nothing about
        # its frames; attention over every frame would be another one.
        over_frames = descriptors.order is None
        if over_frames != moving or over_frames and self.request.look.of_release:
            kinds = [kind for kind in kinds if KINDS[kind].alone]
        indices = [sentence.indices for sentence in sentences]
        found = find_evidence(self.captioner.model, descriptors, indices, kinds, asking, sentences)
        return [{kind: _of_distinct(evidence, first) for kind, evidence in maps.items()} for maps in found]

    def _asking(self, job):
        media = "video" if job.moving else "picture"
        words, layers = tuple(self.vocabulary.words), self.captioner.middle_layer
        return Asking(media, self.config.saliency, words, self.request.seed, layers)


def _of_distinct(evidence, first):
    """Evidence whose values are of the distinct frames: a share of the whole is the sum over a frame's repeats."""
    alone = KINDS[evidence.kind].alone

    def of_distinct(values):
        if values is None or values.shape[1] == len(first):
            return values
        return values[:, first] if alone else np.add.reduceat(values, first, axis=1)

    return dataclasses.replace(evidence, cells=of_distinct(evidence.cells), frames=of_distinct(evidence.frames))
