"""The Explainer: a captioner and its network, each loaded once, and what they find in a medium.

Letters: m sampled frames (1 for a picture), m' distinct ones of them; S input side, G*G cells and D channels of the
network; N descriptors that the captioner reads, T words.
"""

import dataclasses
import functools
import io
import sys

import numpy as np
from PIL import Image

from s2vt.data.geometry import Geometry, resize
from s2vt.data.sampling import sample_medium, together
from s2vt.data.video import iterate_frames
from s2vt.explaining.usual import naming_others
from s2vt.features import networks
from s2vt.features.descriptors import DescriptorStore, descriptors_of
from s2vt.features.every_frame import every_frame
from s2vt.features.middle_layer import middle_layer
from s2vt.rendering.drawing import thumbnail
from s2vt.saliency.explanation import Explanation
from s2vt.saliency.maps import KINDS, Asking, find_evidence


def sample(job, request):
    """A job's medium: SampledMedium whose frames have `input`, as the network sees them, and `shown`, as drawn.

    `input` is (S, S, 3) uint8; `shown` is (h, w, 3) uint8, a picture as it is, a video's frame small.

    Raises:
        MediaError: if it cannot be decoded.
    """
    features, excerpt = request.config.features, request.excerpt
    grid = networks.network_of(features.weights).grid

    def convert(frame):
        geometry = Geometry.of(frame.shape[1], frame.shape[0], features.resize, grid)
        return together(input=resize(frame, geometry), shown=thumbnail(frame) if job.moving else frame)

    kind = "video" if job.moving else "picture"
    return sample_medium(job.medium.path, kind, features.num_frames, excerpt.start, excerpt.end, convert)


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


class Explainer:
    """Explains media with one trained captioner.

    Args:
        request: an ExplanationRequest.
    """

    def __init__(self, request):
        self.request, self.config = request, request.config
        self.vocabulary = request.run.vocabulary()

    @functools.cached_property
    def captioner(self):
        """The trained captioner."""
        return self.request.run.captioner(self.request.checkpoint)[0]

    @functools.cached_property
    def network(self):
        """The network that makes descriptors.

        Raises:
            UserError: if its weights cannot be read.
            MissingWeights: if they cannot be had; names the runs whose network is at hand.
        """
        with naming_others(self.request.run):
            return networks.FeatureExtractor(self.config.features)

    def explain(self, jobs, sampled, progress=lambda frames, total: frames):
        """What the captioner finds for each job's sentence, or for its own caption.

        Prints a warning on stderr if the medium is unlike those that the captioner was trained on.

        Args:
            jobs: of one medium; their sentences are explained in one call.
            sampled: their SampledMedium, of `sample`.
            progress: (iterable of a video's frames, their number) -> iterable, where every frame is read.
        Returns:
            SampledMedium of the m' frames that are explained, with `frames["shown"]`: the distinct ones, or every one
            (`saliency.normalize=release`); list of Explanation of these, None for an empty caption.
        """
        from s2vt.saliency.information_loss import sentence_log_probabilities  # imports the engine

        job = jobs[0]
        descriptors = descriptors_of(self._cells(job, sampled), self.config)
        descriptors = dataclasses.replace(descriptors, pictures=lambda: sampled.frames["input"])
        if warning := self.request.run.warning(job.medium.path.name, descriptors.v):
            print(warning, file=sys.stderr)
        sentences = [self._indices(job, descriptors.v) for job in jobs]
        asked = [y for y in sentences if y]
        if not asked:
            return sampled, [None] * len(jobs)
        explained, first, descriptors = self._explained(job, sampled, descriptors, progress)
        evidence = self._evidence(jobs, descriptors, first, asked)
        log_p = [None] * len(asked)
        if any(job.has_page for job in jobs):
            captioner = self.captioner
            log_p = sentence_log_probabilities(captioner.encode, captioner.step, descriptors.v, asked)
        features = self.config.features
        geometry = sampled.geometry(features.resize, networks.network_of(features.weights).grid)

        def explanation(y, maps, of_sentence):
            words = tuple(self.vocabulary.words[i] for i in y)
            return Explanation(words, maps, geometry, explained.indices, explained.times, of_sentence)

        found = map(explanation, asked, evidence, log_p)
        return explained, [next(found) if y else None for y in sentences]

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
        path, excerpt = job.medium.path, self.request.excerpt
        thumbnails = Thumbnails()
        frames = progress(iterate_frames(path, excerpt.start, excerpt.end), sampled.num_frames)
        every = every_frame(frames, self.network, self.config.features, thumbnails.append)
        explained = dataclasses.replace(
            sampled, frames={"shown": thumbnails}, indices=every.indices, times=every.times, num_frames=len(every.times)
        )
        return explained, every.indices, dataclasses.replace(descriptors, cells=every.cells, pictures=None)

    def _cells(self, job, sampled):
        """Cells, (m, G*G, D): from the descriptor file of a whole medium of the data set, else by the network."""
        store = DescriptorStore(self.config, self.request.data_dir, layer="mixed_10")
        if job.medium.split and self.request.excerpt.whole and job.medium.id in store:
            store.check()
            return store.descriptors(job.medium).cells
        return self.network.cells(sampled.frames["input"])

    def _indices(self, job, v):
        """Word indices of the sentence to explain."""
        from s2vt.captioning import decoding  # imports the engine

        max_words = self.config.text.max_words
        if job.sentence is None:
            return decoding.greedy(self.captioner, v[None], max_words)[0]
        return self.vocabulary.encode(job.sentence, max_words).tolist()

    def _evidence(self, jobs, descriptors, first, sentences):
        """{kind: Evidence} of each sentence, of the m' frames that are explained.

        Args:
            first: which of the frames whose cells the descriptors have each one is, (m',).
        """
        moving = jobs[0].moving
        media, words = "video" if moving else "picture", tuple(self.vocabulary.words)
        chosen, has_page = self.request.look.kind, any(job.has_page for job in jobs)
        kinds = [kind for kind in self.request.kinds if kind == chosen or has_page and KINDS[kind].quick]
        kinds = [kind for kind in kinds if media in KINDS[kind].media]
        # Attention over equal frames says nothing about a picture, attention over a video's mean cells nothing about
        # its frames; attention over every frame would be another one.
        over_frames = descriptors.order is None
        if over_frames != moving or over_frames and self.request.look.of_release:
            kinds = [kind for kind in kinds if KINDS[kind].alone]
        layers = functools.partial(middle_layer, self.config.features.weights)
        asking = Asking(media, self.config.saliency, words, self.request.seed, layers)
        found = find_evidence(self.captioner, descriptors, sentences, kinds, asking)
        return [{kind: _of_distinct(evidence, first) for kind, evidence in maps.items()} for maps in found]


def _of_distinct(evidence, first):
    """Evidence whose values are of the distinct frames: a share of the whole is the sum over a frame's repeats."""
    alone = KINDS[evidence.kind].alone

    def of_distinct(values):
        if values is None or values.shape[1] == len(first):
            return values
        return values[:, first] if alone else np.add.reduceat(values, first, axis=1)

    return dataclasses.replace(evidence, cells=of_distinct(evidence.cells), frames=of_distinct(evidence.frames))
