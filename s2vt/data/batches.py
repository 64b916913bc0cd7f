"""Descriptors and captions as training batches.

Letters: B captions of M media in a batch, N descriptors, D=2048, T words of the longest caption, P words of them all.
"""

from dataclasses import dataclass

import keras
import numpy as np

from s2vt.data.phrases import FUNCTION_WORDS
from s2vt.data.text import END

# What distillation samples of a batch (ours): 20 media x 8 descriptors, so that 160 single descriptors are read.
SINGLE_MEDIA, SINGLE_DESCRIPTORS, SINGLE_WORDS = 20, 8, 4
STEPS = 4  # T is rounded up to a multiple of it, and P to one of B: engines compile a graph for every shape


def caption_matrix(captions, max_words):
    """Word indices of captions, each ended and padded by END: lists -> (B, T) int32.

    T is the length of the longest caption with its END, at most max_words; longer captions are cut and have no END.

    Example:
        >>> caption_matrix([[3, 1], [2]], max_words=25).tolist()
        [[3, 1, 0], [2, 0, 0]]
    """
    longest = max((len(words) for words in captions), default=0)
    y = np.full((len(captions), min(longest + 1, max_words)), END, np.int32)
    for row, words in zip(y, captions, strict=True):
        words = words[: len(row)]
        row[: len(words)] = words
    return y


# What fills the rows that a batch is padded by; 0 where nothing is named. A caption's -1 marks a row of padding.
PADDING = {"y": -1, "words": -1, "picture": -1, "query": -1, "asked": -1}


@dataclass(frozen=True)
class Share:
    """The rows of every batch that one of several processes reads: all of them have equally many.

    Attributes:
        devices: over how many devices a batch is spread, those of all processes; a multiple of `processes`.
        processes: how many read; process k has the k-th part of the rows.   process: which one this is, from 0.

    Example:
        >>> Share(devices=4, processes=2, process=1).rows(9)  # of 12
        slice(6, 12, None)
    """

    devices: int = 1
    processes: int = 1
    process: int = 0

    def rows(self, number):
        """This process' rows of so many, after padding to a multiple of the devices: a slice."""
        each = -(-number // self.devices) * self.devices // self.processes
        return slice(self.process * each, (self.process + 1) * each)

    def of(self, whole, filling=0):
        """This process' rows of an array (R, ...), padded."""
        rows = self.rows(len(whole))
        own = whole[rows]
        missing = [(0, rows.stop - rows.start - len(own)), *[(0, 0)] * (whole.ndim - 1)]
        return np.pad(own, missing, constant_values=filling)


@dataclass(frozen=True)
class Source:
    """Media of one data set, and what the encoder reads of them in a batch.

    Attributes:
        media: list of Medium with captions.
        store: of their descriptors, a DescriptorStore: whole media are read as `store.v` gives them.
        readings: pairs (share of this source's batches, (Medium, random generator) -> descriptors (N, D)); the other
            batches read whole media. N is the same for all media of a reading.
    """

    media: list
    store: object
    readings: tuple = ()

    @property
    def all_readings(self):
        """The functions of `readings` and, last, that of whole media."""
        return [*(reading for _, reading in self.readings), lambda medium, rng: self.store.v(medium)]

    def kinds(self, num_batches):
        """Which of `all_readings` each of so many batches takes, in ascending order: (num_batches,) int."""
        ends = np.round(np.cumsum([share for share, _ in self.readings]) * num_batches)
        return np.searchsorted(ends, np.arange(num_batches), side="right")


class CaptionBatches(keras.utils.PyDataset):
    """Every caption of every medium once an epoch, in an order that depends on (seed, epoch) alone.

    Captions of one medium come in groups of `captions_per_medium`, so that the encoder reads a medium once for all of
    a group; the groups, of all media of a source, are shuffled. A batch holds media of one source, read in one way;
    the batches of all sources and readings are shuffled, too. Descriptors are read from their files when a batch is
    made, so the set need not fit in memory. The same class serves training and validation.

    A batch is {"v": (M, N, D), "y": (B, T), "medium": (B,), "words": (P,)}, the inputs of `S2VT.call`; `y` is both the
    decoder's input and its target. With model.contrast it also has what the contrast sets against each other
    (`s2vt.captioning.contrast`):

        "picture" (M,)   number of each row's medium among all media: rows with the same number are one medium
        "queries" (Q,)   content words of the batch, word indices, each once; padded by END
        "query" (B, T)   position of each word of y in "queries"; -1 for function words and END

    With model.distillation it has a sample of what single descriptors are asked, too (`s2vt.captioning.distillation`),
    for K = 8 descriptors and Q = 4 words of each of the batch's first M' <= 20 media:

        "alone" (M', K)   descriptors, 0 to N - 1
        "caption" (M',)   the row of y of one of the medium's captions
        "asked" (M', Q)   steps t of content words of this caption; -1 where it has no more

    On several devices every array is padded by rows that no loss counts (`PADDING`), to a multiple of the devices, and
    a process makes its `Share` of them: it reads the descriptors of its own rows of "v" only (but for `readings`, which
    draw random numbers: those of all rows), and numbers in "medium",
    "words", "caption" and "query" mean rows of the whole batch. Random numbers are those of one device. A batch then
    also has an array without content before all others, as Keras weighs a batch's loss by the length of its first one:

        "_" (L devices,)   zeros; L is the length of the first one, by name, before padding
    """

    def __init__(self, sources, vocabulary, config, seed=None, epoch=0, share=None):
        """Args:
        sources: list of Source, which have descriptors of one D.
        seed: of the order of the captions; None: the media's order.
        epoch: number of the first epoch; above 0 when training is resumed.
        share: what this process reads of each batch; None: all.
        """
        # With threads of its own to read, Keras turns off tf.data's autotuning, whose thread sleeps for up to a minute
        # and is waited for at the end of every epoch.
        super().__init__(workers=2, max_queue_size=4)
        self.sources, self.seed, self.shuffle = sources, seed or 0, seed is not None
        self.share = share or Share()
        self.readings = [  # (source, function, whether it draws random numbers)
            (s, reading, k < len(source.readings))
            for s, source in enumerate(sources)
            for k, reading in enumerate(source.all_readings)
        ]
        self.group_size = config.training.captions_per_medium
        self.is_content = np.array([word not in FUNCTION_WORDS for word in vocabulary.words])
        self.with_contrast, self.with_distillation = config.model.contrast > 0, config.model.distillation > 0
        self.groups_a_batch = max(1, config.training.batch_size // self.group_size)
        captions, self.media = [], []
        self.rows = [[] for _ in sources]  # of each source: (index into media, rows of y)
        for source, rows in zip(sources, self.rows, strict=True):
            for medium in source.media:
                known = [words for words in map(vocabulary.known, medium.captions) if words]
                if known:
                    rows.append((len(self.media), np.arange(len(captions), len(captions) + len(known))))
                    self.media.append(medium)
                    captions += known
        y = caption_matrix(captions, config.text.max_words)
        self.y = np.pad(y, ((0, 0), (0, 1)), constant_values=END)  # a step more, see _start
        self.num_words = np.minimum([len(words) + 1 for words in captions], config.text.max_words)  # END among them
        self._start(epoch)

    def _start(self, epoch):
        """Deals the captions of an epoch to batches.

        The first two batches differ in N and T, if any two batches do. Keras infers the shapes of all batches from them
        (`get_tensor_spec` in its data adapters): a dimension that these have in common is fixed, and a later batch of
        another length is an error. So the second one has a padding step where both have the same T.
        """
        self.epoch = epoch if self.shuffle else 0  # validation is the same after every epoch
        rng = np.random.default_rng([self.seed, self.epoch])
        batches = [self._batches_of(rows, rng) for rows in self.rows]
        kinds = [source.kinds(len(own)) for source, own in zip(self.sources, batches, strict=True)]
        starts = np.cumsum([0, *(len(source.all_readings) for source in self.sources)])
        kinds = rng.permutation(np.concatenate([start + own for start, own in zip(starts, kinds, strict=False)]))
        self.kinds = self._second_of_other_length(kinds)  # indices of readings
        waiting = [iter(own) for own in batches]
        self.batches = [next(waiting[self.readings[kind][0]]) for kind in self.kinds]
        self.num_steps = [self._num_steps(k) for k in range(len(self))]
        if len(self) > 1:
            self.num_steps[1] += self.num_steps[1] == self.num_steps[0]

    def _batches_of(self, rows, rng):
        """The groups of a source, (index into media, rows of y), in batches."""
        groups = []
        for m, of_medium in rows:
            of_medium = rng.permutation(of_medium) if self.shuffle else of_medium
            groups += [(m, of_medium[i : i + self.group_size]) for i in range(0, len(of_medium), self.group_size)]
        order = rng.permutation(len(groups)) if self.shuffle else range(len(groups))
        groups = [groups[i] for i in order]
        return [groups[i : i + self.groups_a_batch] for i in range(0, len(groups), self.groups_a_batch)]

    def _second_of_other_length(self, kinds):
        """The readings of the batches with the second one exchanged, so that its N is not that of the first."""
        present = np.unique(kinds)
        if len(present) > 1:
            N = {kind: len(self._read(kind, self.rows[self.readings[kind][0]][0][0])) for kind in present}
            others = np.flatnonzero([N[kind] != N[kinds[0]] for kind in kinds])
            if len(others):
                kinds[[1, others[0]]] = kinds[[others[0], 1]]
        return kinds

    def _read(self, kind, m, rng=None):
        """Descriptors of medium m in one of the readings: (N, D)."""
        return self.readings[kind][1](self.media[m], rng or np.random.default_rng(0))

    def __len__(self):
        return len(self.batches)

    def _num_steps(self, k):
        """T of batch k: its longest caption, rounded up."""
        longest = max(self.num_words[rows].max() for _, rows in self.batches[k])
        return min(-(-longest // STEPS) * STEPS, self.y.shape[1] - 1)

    def __getitem__(self, k):
        groups = self.batches[k]
        rows = np.concatenate([rows for _, rows in groups])
        B, T = len(rows), self.num_steps[k]
        words = np.flatnonzero(np.arange(T) < self.num_words[rows, None]).astype(np.int32)  # b T + t
        words = np.pad(words, (0, -len(words) % B), constant_values=-1)
        medium = np.repeat(np.arange(len(groups), dtype=np.int32), [len(rows) for _, rows in groups])
        rng = np.random.default_rng([self.seed, self.epoch, k])
        v = self._descriptors(k, rng)
        batch = {"y": self.y[rows, :T], "medium": medium, "words": words}
        if self.with_contrast:
            batch |= self._queries(groups, batch["y"])
        if self.with_distillation:
            batch |= self._asked_of_single_descriptors(groups, batch["y"], v.shape[1], rng)
        length = len(batch[min(batch)])
        batch = {name: self.share.of(whole, PADDING.get(name, 0)) for name, whole in batch.items()}
        if self.share.devices > 1:
            batch["_"] = self.share.of(np.zeros(length * self.share.devices, np.int8))
        return {"v": v, **batch}

    def _descriptors(self, k, rng):
        """This process' rows of batch k's descriptors, (M, N, D) float32; 0 in rows of padding."""
        kind, media = self.kinds[k], [m for m, _ in self.batches[k]]
        rows = self.share.rows(len(media))
        if self.readings[kind][2]:  # all, as the media's random numbers follow one another
            read = [self._read(kind, m, rng) for m in media][rows]
        else:
            read = [self._read(kind, m, rng) for m in media[rows]]
        if not read:  # padding alone: as much as there is of any medium
            read = [0 * self._read(kind, media[0])]
        v = np.zeros((rows.stop - rows.start, *read[0].shape), np.float32)
        v[: len(read)] = read
        return v

    def _queries(self, groups, y):
        """What a batch holds for the contrast besides v, y, medium and words."""
        content = self.is_content[y]
        queries, positions = np.unique(y[content], return_inverse=True)
        query = np.full(y.shape, -1, np.int32)
        query[content] = positions
        queries = np.pad(queries, (0, -len(queries) % len(y) or len(y) * (not len(queries))), constant_values=END)
        return {
            "picture": np.array([m for m, _ in groups], np.int32),
            "queries": queries.astype(np.int32),
            "query": query,
        }

    def _asked_of_single_descriptors(self, groups, y, N, rng):
        """What a batch holds for the distillation besides v and y."""
        sizes = np.array([len(rows) for _, rows in groups])
        caption = (np.cumsum(sizes) - sizes + rng.integers(sizes))[:SINGLE_MEDIA].astype(np.int32)
        asked = np.full((len(caption), SINGLE_WORDS), -1, np.int32)
        for row, b in zip(asked, caption, strict=True):
            steps = rng.permutation(np.flatnonzero(self.is_content[y[b]]))[:SINGLE_WORDS]
            row[: len(steps)] = steps
        alone = rng.integers(N, size=(len(caption), SINGLE_DESCRIPTORS), dtype=np.int32)
        return {"alone": alone, "caption": caption, "asked": asked}

    def on_epoch_end(self):
        self._start(self.epoch + 1)
