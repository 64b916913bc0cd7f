"""The Explainer: what captioners find in a medium.

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
from s2vt.errors import UserError
from s2vt.rendering.drawing import thumbnail
from s2vt.saliency.explanation import Explanation
from s2vt.saliency.instead import find_odds
from s2vt.saliency.maps import KINDS, Asking, find_evidence


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
class SentenceEvidence:
    """What a captioner finds for one sentence.

    Attributes:
        explanation: the Explanation.
        odds: {t: indices of other words} -> {t: Odds} of the sentence's words against them, `instead.find_odds`.
    """

    explanation: Explanation
    odds: Callable


class Seen:
    """A medium as a network sees it: sampled and described once, for all captioners that see it alike.

    Args:
        captioner: one of these.   job: about the medium.   request: an ExplanationRequest.
        progress: (iterable of a video's frames, their number) -> iterable, where every frame is read.
    """

    def __init__(self, captioner, job, request, progress):
        self.captioner, self.job, self.request, self.progress = captioner, job, request, progress

    @functools.cached_property
    def sampled(self):
        """SampledMedium whose frames have `input`, as the captioner's network sees them, and `shown`.

        `shown` is as drawn: (h, w, 3) uint8, a picture as it is, a video's frame small.

        Raises:
            MediaError: if it cannot be decoded.
        """
        job, excerpt = self.job, self.request.excerpt

        def convert(frame):
            prepared = self.captioner.prepare(frame)
            return together(input=prepared, shown=thumbnail(frame) if job.moving else frame)

        kind, num_frames = "video" if job.moving else "picture", self.captioner.config.features.num_frames
        return job.source.sample(kind, num_frames, excerpt.start, excerpt.end, convert)

    @functools.cached_property
    def cells(self):
        """Cells, (m, G*G, D): from the descriptor file of a whole medium of the data set, else by the network."""
        cells = None
        if self.job.medium.split and self.request.excerpt.whole:
            cells = self.captioner.stored_cells(self.job.medium, self.request.data_dir)
        return self.captioner.cells(self.sampled.frames["input"]) if cells is None else cells

    @functools.cached_property
    def explained(self):
        """The frames that are explained.

        Returns:
            SampledMedium of the m' frames; which of those whose cells are given each one is, (m',); the cells of every
            frame, None if they are those of the sampled frames.
        """
        if not (self.job.moving and self.request.look.of_release):
            return *self.sampled.distinct(), None
        excerpt, thumbnails = self.request.excerpt, Thumbnails()
        frames = self.progress(self.job.source.frames(excerpt.start, excerpt.end), self.sampled.num_frames)
        every = self.captioner.every_frame(frames, thumbnails.append)
        explained = dataclasses.replace(
            self.sampled,
            frames={"shown": thumbnails},
            indices=every.indices,
            times=every.times,
            num_frames=len(every.times),
        )
        return explained, every.indices, every.cells


class Explainer:
    """Explains media with the captioners of a request.

    Args:
        request: an ExplanationRequest.
    """

    def __init__(self, request):
        self.request = request

    def explain(self, jobs, progress=lambda frames, total: frames):
        """What each captioner finds for each job's sentence, or for the first captioner's own caption.

        Prints a warning on stderr if the medium is unlike those that a captioner was trained on.

        Args:
            jobs: of one medium; their sentences are explained in one call.
            progress: (iterable of a video's frames, their number) -> iterable, where every frame is read.
        Returns:
            SampledMedium of the m' frames that are explained, with `frames["shown"]`: the distinct ones, or every one
            (`saliency.normalize=release`); for each job a SentenceEvidence of each of `request.captioners`, None for an
            empty caption.
        Raises:
            MediaError: if the medium cannot be decoded.
            UserError: if a captioner does not know a word of the first one's own caption.
        """
        seen, found, sentences = {}, [], None
        for captioner in self.request.captioners:
            if captioner.sees not in seen:
                seen[captioner.sees] = Seen(captioner, jobs[0], self.request, progress)
                _ = seen[captioner.sees].sampled  # a medium that cannot be decoded fails before the engine is loaded
            asked = _Asked(self.request, captioner, seen[captioner.sees])
            if sentences is None:
                sentences = asked.sentences(jobs)
                if not any(sentence.words for sentence in sentences):
                    return asked.seen.sampled, [None] * len(jobs)
            found.append(asked.find(jobs, [asked.reads(sentence) for sentence in sentences if sentence.words]))
        explained, _, _ = seen[self.request.captioner.sees].explained
        of_sentences = zip(*found, strict=True)
        return explained, [next(of_sentences) if sentence.words else None for sentence in sentences]


class _Asked:
    """One captioner, asked about one medium.

    Args:
        request: an ExplanationRequest.   captioner: one of its captioners.   seen: the medium, a Seen.
    """

    def __init__(self, request, captioner, seen):
        self.request, self.captioner, self.seen = request, captioner, seen
        self.config, self.vocabulary = captioner.config, captioner.vocabulary

    @functools.cached_property
    def descriptors(self):
        """Descriptors of the m sampled frames; warns if the medium is unlike those of the captioner's training."""
        descriptors = self.captioner.read(self.seen.cells)
        if warning := self.captioner.warning(self.seen.job.source.name, descriptors.v):
            print(warning, file=sys.stderr)
        return dataclasses.replace(descriptors, pictures=lambda: self.seen.sampled.frames["input"])

    def sentences(self, jobs):
        """The Sentence of each job, else the captioner's own caption, which may have no words."""
        max_words = self.config.text.max_words
        return [
            self._caption(max_words) if job.sentence is None else self.vocabulary.read(job.sentence, max_words)
            for job in jobs
        ]

    def _caption(self, max_words):
        """The captioner's own caption."""
        model, v = self.captioner.model, self.descriptors.v
        from s2vt.captioning import decoding  # imports the engine

        return self.vocabulary.said(decoding.greedy(model, v[None], max_words)[0])

    def reads(self, sentence):
        """A Sentence of the request's first captioner, as this one reads it.

        Raises:
            UserError: if the captioner does not know a word of the other one's caption.
        """
        first = self.request.captioner
        if self.captioner is first:
            return sentence
        try:
            return self.vocabulary.read(" ".join(sentence.words), self.config.text.max_words)
        except UserError as error:
            raise UserError(
                f"{self.captioner.name} cannot read {first.name}'s own caption {' '.join(sentence.words)!r}: {error}; "
                "or give a sentence that both know with --sentence"
            ) from None

    def find(self, jobs, sentences):
        """What the captioner finds for each sentence, list of SentenceEvidence.

        Args:
            jobs: of the medium: whether it moves, and whether a page is made of it.
            sentences: of `data.text.Sentence`, each with at least one word.
        """
        explained, first, of_every_frame = self.seen.explained
        descriptors = self.descriptors
        if of_every_frame is not None:
            descriptors = dataclasses.replace(descriptors, cells=of_every_frame, pictures=None)
        evidence = self._evidence(jobs, descriptors, first, sentences)
        log_p = [None] * len(sentences)
        if self.vocabulary.whole_words and (any(job.has_page for job in jobs) or self.request.every_kind):
            from s2vt.saliency.information_loss import sentence_log_probabilities  # imports the engine

            model = self.captioner.model
            log_p = sentence_log_probabilities(model.encode, model.step, descriptors.v, [y.indices for y in sentences])
        cells = descriptors.cells  # a memory map if they are of every frame
        distinct = descriptors if len(first) == len(cells) else dataclasses.replace(descriptors, cells=cells[first])
        geometry = self.captioner.geometry(*self.seen.sampled.size, cells.shape[1])

        def of_sentence(y, maps, log_p):
            explanation = Explanation(y.words, maps, geometry, explained.indices, explained.times, log_p)
            odds = functools.partial(find_odds, self.captioner.model, distinct, y.indices, asking=self._asking(jobs[0]))
            return SentenceEvidence(explanation, odds)

        return list(map(of_sentence, sentences, evidence, log_p))

    def _evidence(self, jobs, descriptors, first, sentences):
        """{kind: Evidence} of each sentence, of the m' frames that are explained.

        Args:
            first: which of the frames whose cells the descriptors have each one is, (m',).
            sentences: of `data.text.Sentence`.
        """
        moving, asking = jobs[0].moving, self._asking(jobs[0])
        chosen = self.request.kinds(self.captioner)
        has_page = self.request.every_kind or any(job.has_page for job in jobs)
        kinds = [kind for kind in self.captioner.kinds if kind in chosen or has_page and KINDS[kind].quick]
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
        return Asking(media, self.request.saliency(self.captioner), words, self.request.seed, layers)


def _of_distinct(evidence, first):
    """Evidence whose values are of the distinct frames: a share of the whole is the sum over a frame's repeats."""
    alone = KINDS[evidence.kind].alone

    def of_distinct(values):
        if values is None or values.shape[1] == len(first):
            return values
        return values[:, first] if alone else np.add.reduceat(values, first, axis=1)

    return dataclasses.replace(evidence, cells=of_distinct(evidence.cells), frames=of_distinct(evidence.frames))
