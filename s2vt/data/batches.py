"""Descriptors and captions as training batches. B captions, N descriptors, D=2048, T words."""

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

    The same class serves training and validation. Descriptors are read from their files when a batch is made, so
    the set need not fit in memory.
    """

    def __init__(self, media, store, vocabulary, config, seed=0, shuffle=True, epoch=0):
        """Args:
        media: list of Medium, each with captions. store: a DescriptorStore.
        epoch: the first epoch's number (not 0 when training goes on).
        """
        super().__init__()
        self.store, self.batch_size, self.seed, self.shuffle = store, config.training.batch_size, seed, shuffle
        pairs = [(medium, vocabulary.known(caption)) for medium in media for caption in medium.captions]
        self.media = [medium for medium, words in pairs if words]
        self.y = caption_matrix([words for _, words in pairs if words], config.text.max_words)
        self._start(epoch)

    def _start(self, epoch):
        self.epoch = epoch
        self.order = np.arange(len(self.media))
        if self.shuffle:
            np.random.default_rng([self.seed, epoch]).shuffle(self.order)

    def __len__(self):
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, k):
        rows = self.order[k * self.batch_size : (k + 1) * self.batch_size]
        y = self.y[rows]
        return {"v": np.stack([self.store.v(self.media[i]) for i in rows]).astype(np.float32), "y": y}, y

    def on_epoch_end(self):
        self._start(self.epoch + 1)
