"""Descriptors and captions as training batches. B captions of M media, N descriptors, D=2048, T words."""

import keras
import numpy as np

from s2vt.data.text import END


def caption_matrix(captions, max_words):
    """Word indices of captions, each ended and padded by END: lists -> (B, T) int32.

    T is the longest caption and its END, at most max_words; longer captions are cut and keep no END.

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
    a group; the groups, of all media, are shuffled. The same class serves training and validation. Descriptors are
    read from their files when a batch is made, so the set need not fit in memory.

    A batch reads its media whole, or, in a share of the batches, in one of the other `readings`.
    """

    def __init__(self, media, store, vocabulary, config, seed=0, shuffle=True, epoch=0, readings=()):
        """Args:
        media: list of Medium, each with captions. store: a DescriptorStore.
        epoch: the first epoch's number (not 0 when training goes on).
        readings: pairs (share of the batches, (Medium, random generator) -> descriptors (N, D)); the whole medium is
            read in the batches that are left.
        """
        super().__init__()
        self.store, self.seed, self.shuffle = store, seed, shuffle
        self.shares = [share for share, _ in readings]
        self.readings = [*(reading for _, reading in readings), lambda medium, rng: store.v(medium)]
        self.group_size = config.training.captions_per_medium
        self.groups_a_batch = max(1, config.training.batch_size // self.group_size)
        captions, self.media, self.rows = [], [], []
        for medium in media:
            known = [words for words in map(vocabulary.known, medium.captions) if words]
            if known:
                self.media.append(medium)
                self.rows.append(np.arange(len(captions), len(captions) + len(known)))
                captions += known
        self.y = caption_matrix(captions, config.text.max_words)
        self._start(epoch)

    def _start(self, epoch):
        self.epoch = epoch
        rng = np.random.default_rng([self.seed, epoch])
        groups = []  # (index into media, rows of y)
        for k, rows in enumerate(self.rows):
            rows = rng.permutation(rows) if self.shuffle else rows
            groups += [(k, rows[i : i + self.group_size]) for i in range(0, len(rows), self.group_size)]
        order = rng.permutation(len(groups)) if self.shuffle else range(len(groups))
        self.groups = [groups[i] for i in order]
        ends = np.round(np.cumsum(self.shares) * len(self))
        kinds = rng.permutation(np.searchsorted(ends, np.arange(len(self)), side="right"))  # index into readings
        different = np.flatnonzero(kinds != kinds[0])
        if len(different):  # Keras takes the shapes from the first two batches
            kinds[[1, different[0]]] = kinds[[different[0], 1]]
        self.kinds = kinds

    def __len__(self):
        return -(-len(self.groups) // self.groups_a_batch)

    def __getitem__(self, k):
        groups = self.groups[k * self.groups_a_batch : (k + 1) * self.groups_a_batch]
        y = self.y[np.concatenate([rows for _, rows in groups])]
        medium = np.repeat(np.arange(len(groups), dtype=np.int32), [len(rows) for _, rows in groups])
        rng = np.random.default_rng([self.seed, self.epoch, k])
        v = [self.readings[self.kinds[k]](self.media[m], rng) for m, _ in groups]
        v = np.stack(v).astype(np.float32)  # (M, N, D)
        return {"v": v, "y": y, "medium": medium}, y

    def on_epoch_end(self):
        self._start(self.epoch + 1)
