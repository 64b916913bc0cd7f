"""Descriptors and captions as training batches.

Letters: B captions of M media in a batch, N descriptors, D=2048, T words of the longest caption, P words of them all.
"""

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


class CaptionBatches(keras.utils.PyDataset):
    """Every caption of every medium once an epoch, in an order that depends on (seed, epoch) alone.

    Captions of one medium come in groups of `captions_per_medium`, so that the encoder reads a medium once for all of
    a group; the groups, of all media, are shuffled. Descriptors are read from their files when a batch is made, so the
    set need not fit in memory. The same class serves training and validation.

    A batch is {"v": (M, N, D), "y": (B, T), "medium": (B,), "words": (P,)}, the inputs of `S2VT.call`; `y` is both the
    decoder's input and its target. `v` holds whole media or, in a share of the batches, one of the other `readings`.
    With model.contrast it also has what the contrast sets against each other (`s2vt.captioning.contrast`):

        "picture" (M,)   number of each row's medium in the data set: rows with the same number are one medium
        "queries" (Q,)   content words of the batch, word indices, each once; padded by END
        "query" (B, T)   position of each word of y in "queries"; -1 for function words and END

    With model.distillation it has a sample of what single descriptors are asked, too (`s2vt.captioning.distillation`),
    for K = 8 descriptors and Q = 4 words of each of the batch's first M' <= 20 media:

        "alone" (M', K)   descriptors, 0 to N - 1
        "caption" (M',)   the row of y of one of the medium's captions
        "asked" (M', Q)   steps t of content words of this caption; -1 where it has no more
    """

    def __init__(self, media, store, vocabulary, config, seed=None, epoch=0, readings=()):
        """Args:
        media: list of Medium with captions.   store: a DescriptorStore.
        seed: of the order of the captions; None: the media's order.
        epoch: number of the first epoch; above 0 when training is resumed.
        readings: pairs (share of the batches, (Medium, random generator) -> descriptors (N, D)); the other batches
            read whole media.
        """
        super().__init__()
        self.store, self.seed, self.shuffle = store, seed or 0, seed is not None
        self.shares = [share for share, _ in readings]
        self.readings = [*(reading for _, reading in readings), lambda medium, rng: store.v(medium)]
        self.group_size = config.training.captions_per_medium
        self.is_content = np.array([word not in FUNCTION_WORDS for word in vocabulary.words])
        self.with_contrast, self.with_distillation = config.model.contrast > 0, config.model.distillation > 0
        self.groups_a_batch = max(1, config.training.batch_size // self.group_size)
        captions, self.media, self.rows = [], [], []
        for medium in media:
            known = [words for words in map(vocabulary.known, medium.captions) if words]
            if known:
                self.media.append(medium)
                self.rows.append(np.arange(len(captions), len(captions) + len(known)))
                captions += known
        y = caption_matrix(captions, config.text.max_words)
        self.y = np.pad(y, ((0, 0), (0, 1)), constant_values=END)  # a step more, see _vary_shapes_of_first_two
        self.num_words = np.minimum([len(words) + 1 for words in captions], config.text.max_words)  # END among them
        self._start(epoch)

    def _start(self, epoch):
        self.epoch = epoch if self.shuffle else 0  # validation is the same after every epoch
        rng = np.random.default_rng([self.seed, self.epoch])
        groups = []  # (index into media, rows of y)
        for k, rows in enumerate(self.rows):
            rows = rng.permutation(rows) if self.shuffle else rows
            groups += [(k, rows[i : i + self.group_size]) for i in range(0, len(rows), self.group_size)]
        order = rng.permutation(len(groups)) if self.shuffle else range(len(groups))
        self.groups = [groups[i] for i in order]
        ends = np.round(np.cumsum(self.shares) * len(self))
        self.kinds = rng.permutation(np.searchsorted(ends, np.arange(len(self)), side="right"))  # indices of readings
        self.num_steps = [self._num_steps(k) for k in range(len(self))]
        self._vary_shapes_of_first_two()

    def _vary_shapes_of_first_two(self):
        """Makes the first two batches differ in N and T, if any two batches do.

        Keras infers the shapes of all batches from the first two (`get_tensor_spec` in its data adapters): a dimension
        that these have in common is fixed, and a later batch of another length is an error. So the second batch takes
        a reading other than the first one's, and a padding step where both have the same T.
        """
        if len(self) < 2:
            return
        others = np.flatnonzero(self.kinds != self.kinds[0])
        if len(others):
            self.kinds[[1, others[0]]] = self.kinds[[others[0], 1]]
        self.num_steps[1] += self.num_steps[1] == self.num_steps[0]

    def __len__(self):
        return -(-len(self.groups) // self.groups_a_batch)

    def _groups_of(self, k):
        return self.groups[k * self.groups_a_batch : (k + 1) * self.groups_a_batch]

    def _num_steps(self, k):
        """T of batch k: its longest caption, rounded up."""
        longest = max(self.num_words[rows].max() for _, rows in self._groups_of(k))
        return min(-(-longest // STEPS) * STEPS, self.y.shape[1] - 1)

    def __getitem__(self, k):
        groups = self._groups_of(k)
        rows = np.concatenate([rows for _, rows in groups])
        B, T = len(rows), self.num_steps[k]
        words = np.flatnonzero(np.arange(T) < self.num_words[rows, None]).astype(np.int32)  # b T + t
        words = np.pad(words, (0, -len(words) % B), constant_values=-1)
        medium = np.repeat(np.arange(len(groups), dtype=np.int32), [len(rows) for _, rows in groups])
        rng = np.random.default_rng([self.seed, self.epoch, k])
        v = [self.readings[self.kinds[k]](self.media[m], rng) for m, _ in groups]
        v = np.stack(v).astype(np.float32)  # (M, N, D)
        batch = {"v": v, "y": self.y[rows, :T], "medium": medium, "words": words}
        if self.with_contrast:
            batch |= self._queries(groups, batch["y"])
        if self.with_distillation:
            batch |= self._asked_of_single_descriptors(groups, batch["y"], v.shape[1], rng)
        return batch

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
