"""The contrast of a batch's pictures and captions: captions alone teach where each word's evidence lies.

Letters: B captions of M pictures in a batch, N descriptors (a picture's cells), T words, Q distinct content words of
the batch, D=2048 descriptor, H=1300 units, V vocabulary. A "picture" is any medium; of a video, cells are its frames.

A word's embedding u_w is compared with every cell of every picture of the batch, and the comparisons must tell which
caption belongs to which picture. Cells that look like a word's pictures, and like no others, then agree with the word
most. x_i = W_x v_i + b_x is what the captioner itself reads of a cell: the contrast trains W_x together with the
captions' likelihood.

    cos(i, w) = x_i . u_w / (|x_i| |u_w|)                                   agreement of a cell and a word
    s(w) = sum_i a_i cos(i, w),  a_i = exp(10 cos(i, w)) / sum_k exp(10 cos(k, w))     of a picture and a word
    S(m, b) = 1/5 log sum_w exp(5 s_m(w)), over the content words of caption b         of a picture and a caption
    loss = - mean_b log P(picture of b | b) + log P(b | picture of b),  P a softmax of 10 S

After Akbari et al. (CVPR 2019, "Multi-level Multimodal Common Semantic Space for Image-Phrase Grounding"), whose
attention over cells, sum over words and softmax over the batch these are. Departs from it: content words instead of
all, one level of descriptors, the captioner's W_x instead of a network of its own, and captions of the same picture
are not set against one another.
"""

import keras
from keras import ops

CELL_SHARPNESS = 10.0  # inverse temperature of the softmax over cells, and of maps (ours)
WORD_SHARPNESS = 5.0  # of the log-sum-exp over words: the larger, the more the best word counts (ours)
BATCH_SHARPNESS = 10.0  # inverse temperature of the softmax over the batch (ours)
NEVER = -1e9  # logit of what a softmax must leave out; finite, so that its gradient is 0 and not NaN


def cosines(x, u):
    """Cosine of every descriptor's x_i and every word's embedding, in [-1, 1].

    Args:
        x: (..., N, H).   u: (Q, H), or (..., Q, H) where every picture has words of its own.
    Returns:
        (..., N, Q), float32.

    Example:
        >>> import numpy as np
        >>> print(ops.convert_to_numpy(cosines(np.array([[3.0, 4.0]]), np.array([[1.0, 0.0], [0.0, -2.0]]))).round(3))
        [[ 0.6 -0.8]]
    """
    return ops.matmul(_unit(x), ops.swapaxes(_unit(u), -2, -1))


def picture_word_scores(cosine):
    """s(w): how much a picture agrees with each word, mostly that of its best cells: (M, N, Q) -> (M, Q)."""
    share = ops.softmax(CELL_SHARPNESS * cosine, axis=-2)
    return ops.sum(share * cosine, axis=-2)


def caption_scores(scores, query):
    """S: how much each picture agrees with each caption, mostly by the caption's best words.

    Args:
        scores: s, (M, Q).
        query: column of `scores` of each word of the captions, (B, T); -1 for words that do not count.
    Returns:
        (B, M); 0 for captions in which no word counts.
    """
    counts = query >= 0
    s = ops.take(ops.transpose(scores), ops.maximum(query, 0), axis=0)  # (B, T, M)
    found = ops.logsumexp(ops.where(counts[..., None], WORD_SHARPNESS * s, NEVER), axis=1) / WORD_SHARPNESS
    return ops.where(ops.any(counts, axis=1)[:, None], found, 0.0)


def contrast_loss(scores, counts, medium, picture):
    """Mean cross entropy of each caption's picture among the batch's, and of each caption among the batch's: nats.

    Other captions of a caption's own picture are never among them, nor are other rows of the same picture.

    Args:
        scores: S, (B, M).
        counts: whether a caption has words that count, (B,) bool; others are left out everywhere.
        medium: the row of each caption's picture, (B,).
        picture: which picture each row is, (M,): rows with the same number are one picture; -1: padding.
    Returns:
        A scalar, >= 0: the sum of both means; 0 if there is only one picture.
    """
    logits = BATCH_SHARPNESS * scores
    own = ops.equal(medium[:, None], ops.arange(ops.shape(scores)[1], dtype=medium.dtype))  # (B, M)
    other = ops.logical_and(ops.not_equal(ops.take(picture, medium)[:, None], picture), picture >= 0)  # (B, M)
    of_own = ops.sum(ops.where(own, logits, 0.0), axis=1)  # (B,)
    pictures = ops.logsumexp(ops.where(other, logits, NEVER), axis=1)  # (B,): of all other pictures
    captions = ops.logsumexp(ops.where(ops.logical_and(other, counts[:, None]), logits, NEVER), axis=0)  # (M,)
    captions = ops.take(captions, medium)
    # -log(e^own / (e^own + e^others)) = softplus(others - own)
    losses = ops.softplus(pictures - of_own) + ops.softplus(captions - of_own)
    counts = ops.cast(counts, losses.dtype)
    return ops.sum(counts * losses) / ops.maximum(ops.sum(counts), 1.0)


class Contrast(keras.layers.Layer):
    """Word embeddings U (V, H) beside a captioner's x = W_x v + b_x, and the loss that trains both.

    Its loss is added to the model's `losses`, unweighted, in training and validation; `seen` is its mean over batches.

    Args:
        vocabulary_size: V.   units: H.
    """

    def __init__(self, vocabulary_size, units, **kwargs):
        super().__init__(**kwargs)
        self.shape = vocabulary_size, units
        self.seen = keras.metrics.Mean(name="contrast")

    def build(self, input_shape=None):
        self.U = self.add_weight(name="U", shape=self.shape, initializer="glorot_uniform")

    def call(self, x, inputs):
        """Adds the batch's contrast to the losses.

        Args:
            x: W_x v + b_x, without dropout, (M, N, H).
            inputs: a batch of `CaptionBatches` with "medium" (B,), "picture" (M,), "queries" (Q,) and "query" (B, T).
        Returns:
            The loss, a scalar.
        """
        u = ops.take(self.U, inputs["queries"], axis=0)
        scores = caption_scores(picture_word_scores(cosines(x, u)), inputs["query"])
        counts = ops.any(inputs["query"] >= 0, axis=1)
        loss = contrast_loss(scores, counts, inputs["medium"], inputs["picture"])
        self.add_loss(loss)
        return loss


def _unit(a):
    """a / |a| over the last axis; 0 stays 0."""
    a = ops.cast(a, "float32")
    return a * ops.rsqrt(ops.maximum(ops.sum(ops.square(a), axis=-1, keepdims=True), 1e-12))
