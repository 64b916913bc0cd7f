"""Why this word and not another one: the log-odds of two words that may follow the same prefix, cell by cell.

    d(i) = log q_i(y_t) - log q_i(y'_t)

Both words are scored on the same logits, so d is a difference of two logits: what all words share on a cell, the
normalisation of the softmax with it, falls out. Positive where descriptor i alone says y_t rather than y'_t.

Letters: T words, m frames (1 for a picture), G x G grid, N descriptors, A other words, R descriptors in a chunk.
"""

import math
from dataclasses import dataclass

import numpy as np

from s2vt.errors import UserError


@dataclass(frozen=True)
class Odds:
    """Log-odds of a word of a sentence against A other words, nats.

    Attributes:
        position: t of the word.
        word: y_t.   others: the A other words.
        cells: of each cell, (A, m, G, G).
        frames: of each frame, (A, m); None for a picture.
    """

    position: int
    word: str
    others: tuple[str, ...]
    cells: np.ndarray
    frames: np.ndarray | None = None


def parting(words, others):
    """The position at which two sentences part: the first at which their words differ.

    Args:
        words, others: of the two sentences.
    Raises:
        UserError: if the sentences are equal, or one ends where they would part.

    Example:
        >>> parting("a dog on a beach".split(), "a cat on a beach".split())
        1
    """
    for t, (word, other) in enumerate(zip(words, others, strict=False)):
        if word != other:
            return t
    if len(words) == len(others):
        raise UserError(f"--instead {' '.join(others)!r} is the sentence itself; change a word")
    shorter, longer = sorted((words, others), key=len)
    raise UserError(
        f"--instead: {' '.join(longer)!r} goes on where {' '.join(shorter)!r} ends; expected two sentences that differ "
        "in a word that both have"
    )


def log_odds(encode, step, v, y, others):
    """log q_i(y_t) - log q_i(w) of other words w, on the same logits.

    Args:
        encode, step, v: as of `teacher_forcing`: v (N, D) or (N, L, D).
        y: word indices of the sentence, (T,).
        others: {t: indices of the other words, (A,)}.
    Returns:
        {t: (A, N) float32, nats}.
    """
    from keras import ops

    from s2vt.saliency.teacher_forcing import teacher_forcing

    y, found = list(y), {t: np.empty((len(w), v.shape[0]), "float32") for t, w in others.items()}
    for rows, t, _, logits in teacher_forcing(encode, step, v, [y[: max(others) + 1]]):
        if t in others:
            of_words = ops.convert_to_numpy(ops.take(logits, np.array([y[t], *others[t]]), axis=1))  # (R, 1 + A)
            found[t][:, rows] = (of_words[:, :1] - of_words[:, 1:]).T
        del logits  # before the next step makes its own
    return found


def find_odds(captioner, descriptors, y, others, asking):
    """Log-odds of words of a sentence about one medium.

    Args:
        captioner: with `encode` and `step`.
        descriptors: `s2vt.features.descriptors.Descriptors`, of which `cells` (m, G G, D) are read.
        y: word indices of the sentence, (T,).   others: {t: indices of other words, (A,)}.
        asking: `s2vt.saliency.maps.Asking`; its vocabulary names the words.
    Returns:
        {t: Odds}.
    """
    from s2vt.saliency.information_loss import cell_input, frame_input

    cells, reads = descriptors.cells, asking.saliency.reads
    m, G = len(cells), math.isqrt(cells.shape[1])
    read = cell_input(cells, reads)
    alone = read.reshape(m * G * G, *read.shape[2:])
    of_cells = log_odds(captioner.encode, captioner.step, alone, y, others)
    of_frames = dict.fromkeys(others)
    if asking.frames:
        alone = frame_input(cells, asking.frames, reads)
        of_frames = log_odds(captioner.encode, captioner.step, alone, y, others)
    words = asking.vocabulary
    return {
        t: Odds(t, words[y[t]], tuple(words[w] for w in listed), of_cells[t].reshape(-1, m, G, G), of_frames[t])
        for t, listed in others.items()
    }
