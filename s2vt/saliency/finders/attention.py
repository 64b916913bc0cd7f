"""Evidence that a captioner gives itself: its attention, or its alignment of cells and words."""

import math

import numpy as np

from s2vt.saliency.finding import Values, of_read


def find_attention(captioner, descriptors, sentences, asking, names):
    """Evidence of a captioner's own attention (Eq. 5): over a picture's cells, or over a video's frames, never both.

    Args: as `finding`; each name is one of the captioner's methods.
    """
    from keras.utils import pad_sequences

    v = np.asarray(descriptors.v, np.float32)[None]
    y = pad_sequences(sentences, padding="post")

    def of_sentences(name):
        alpha = getattr(captioner, name)({"v": v, "y": y, "medium": np.zeros(len(y), np.int32)})  # (S, T, N)
        found = (of_sentence[: len(y)] for of_sentence, y in zip(alpha, sentences, strict=True))
        return [of_read(values, descriptors.order) for values in found]

    of_names = [of_sentences(name) for name in names]
    return [dict(zip(names, of_sentence, strict=True)) for of_sentence in zip(*of_names, strict=True)]


def find_alignment(captioner, descriptors, sentences, asking, names):
    """Evidence of a captioner that was trained with a contrast: the cosine of each word with each cell alone.

    In time, each frame is its pooled descriptor, whatever `asking.frames` says: the contrast knows no sequences.

    Args: as `finding`; names: "alignment".
    """
    from s2vt.saliency.information_loss import frame_input

    cells = descriptors.cells  # (m, G G, D)
    G = math.isqrt(cells.shape[1])
    words, where = np.unique(np.concatenate(sentences), return_inverse=True)
    of_cells = np.stack([captioner.alignment(of_frame, words) for of_frame in cells], axis=1)  # (W, m, G G)
    of_cells = of_cells.reshape(*of_cells.shape[:2], G, G)
    of_frames = None if asking.frames is None else captioner.alignment(frame_input(cells, "pooled"), words)  # (W, m)
    return [
        dict.fromkeys(names, Values(of_cells[rows], None if of_frames is None else of_frames[rows]))
        for rows in np.split(where, np.cumsum([len(y) for y in sentences])[:-1])
    ]
