"""What all captioners share: their interface, words in and logits out, the LSTM's step, and the captions' loss.

Letters: B batch, M media, N descriptors, T words, D=2048 descriptor, H=1300 LSTM units, E=300 embedding, V vocabulary.

A captioner gives P(y_t | y_<t, v_1..v_N), for any number N of descriptors, by two roads to the same numbers:

    encode(v (B, N, D)) -> state        step(state, word) -> logits (B, V), state        one word after the other
    call({"v", "y", "medium"}) -> logits (B, T, V)                                       teacher forcing, all at once

and one that knows where it looks has `attention({"v", "y", "medium"}) -> alpha (B, T, N)` besides. The leaves of a
state have leading dimension B. Saliency calls the trained model with N = 1.
"""

import keras
import numpy as np
from keras import ops

from s2vt.data.text import END


class LSTMStep(keras.layers.Layer):
    """One step of an LSTM whose input half `g_t` of the gates is already known.

        i, f, c~, o = g_t + h_{t-1} U
        c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(c~)
        h_t = sigmoid(o) tanh(c_t)

    The order of the gates is that of Keras.
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.state_size = [units, units]
        self.output_size = units

    def build(self, input_shape=None):
        units = self.output_size
        self.U = self.add_weight(name="U", shape=(units, 4 * units), initializer="glorot_uniform")

    def call(self, gates, state):
        """gates (B, 4H) or (1, 4H), state h and c, each (B, H) -> h (B, H), [h, c]."""
        h, c = state
        i, f, candidate, o = ops.split(gates + ops.matmul(h, self.U), 4, axis=-1)
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(candidate)
        h = ops.sigmoid(o) * ops.tanh(c)
        return h, [h, c]


class Captioner(keras.Model):
    """The common part: what words do to the LSTM's gates, and what its outputs say about the next word.

    A model of its own makes, in `build`, the variables `embedding` (V, E), `K_y` (E, 4H), `b` (4H,), `W_o` (H, V) and
    `b_o` (V,), next to those it reads v with, and defines `call`, `encode` and `step`.

    Args:
        vocabulary_size: V, word END = 0 included.
        units: H.   embedding_size: E.
        dropout: share of the values dropped in training, in [0, 1).
        word_log_frequencies: (V,) finite, where b_o starts (shifted to a maximum of 0), so that training need not
            spend its first epochs on how common words are. None: zeros.
    """

    SETTINGS = ("units", "embedding_size", "dropout")  # the fields of cfg.ModelConfig that the constructor takes

    def __init__(
        self, vocabulary_size, units=1300, embedding_size=300, dropout=0.5, word_log_frequencies=None, **kwargs
    ):
        super().__init__(**kwargs)
        start = np.zeros(vocabulary_size) if word_log_frequencies is None else np.asarray(word_log_frequencies)
        if start.shape != (vocabulary_size,) or not np.all(np.isfinite(start)):
            raise ValueError(
                f"word_log_frequencies must be {vocabulary_size} finite numbers, one for each word; received shape "
                f"{start.shape}, {np.isfinite(start).sum()} of them finite"
            )
        self.initial_b_o = start - start.max()
        self.vocabulary_size = vocabulary_size
        self.units = units
        self.embedding_size = embedding_size
        self.input_dropout = keras.layers.Dropout(dropout)
        self.output_dropout = keras.layers.Dropout(dropout)

    def _kernel(self, name, *shape):
        return self.add_weight(name=name, shape=shape, initializer="glorot_uniform")

    def _bias(self, name, start):
        return self.add_weight(name=name, shape=start.shape, initializer=lambda _, dtype: ops.cast(start, dtype))

    def _bias_of_gates(self):
        return self._bias("b", np.repeat([0.0, 1.0, 0.0, 0.0], self.units))  # gates i, f, c, o: the forget bias is 1

    def _build_for(self, v):
        """Makes the variables, if a model is asked to encode before it was built."""
        if not self.built:
            self.build({"v": v.shape})

    def _gates_of_words(self, words, training=False):
        """embed(words) K_y + b: (...) -> (..., 4H)."""
        embedded = self.input_dropout(ops.take(self.embedding, words, axis=0), training=training)
        return ops.matmul(embedded, self.K_y) + self.b

    def _gates_of_word(self, word):
        """What y_{t-1} adds to the gates: (B,) or (1,) -> (B or 1, 4H); None is y_0, with embed(y_0) = 0."""
        return self.b[None] if word is None else self._gates_of_words(ops.convert_to_tensor(word))

    def _write(self, y, training=False):
        """What the words before each word add to the gates, embed(y_{t-1}) K_y + b: (B, T) -> (B, T, 4H)."""
        first = ops.broadcast_to(self.b, (ops.shape(y)[0], 1, 4 * self.units))  # embed(y_0) = 0
        return ops.concatenate([first, self._gates_of_words(y[:, :-1], training)], axis=1)

    def _logits(self, h, training=False):
        """logits = W_o h + b_o: (..., H) -> (..., V)."""
        return ops.matmul(self.output_dropout(h, training=training), self.W_o) + self.b_o


def of_sentences(leaves, inputs):
    """Rows of media -> rows of sentences: each leaf (M, ...) -> (B, ...), by inputs["medium"] where there is one."""
    if "medium" not in inputs:
        return leaves
    return keras.tree.map_structure(lambda leaf: ops.take(leaf, inputs["medium"], axis=0), leaves)


def caption_mask(y):
    """1 for the words of each sentence and its first END, 0 for the padding after: (B, T) -> (B, T) float32.

    Example:
        >>> print(ops.convert_to_numpy(caption_mask(np.array([[4, 1, 0, 0], [4, 1, 2, 3]]))))
        [[1. 1. 1. 0.]
         [1. 1. 1. 1.]]
    """
    end = ops.cast(ops.equal(y, END), "int32")
    return ops.cast(ops.equal(ops.cumsum(end, axis=-1) - end, 0), "float32")


def word_losses(y, logits):
    """-log P(y_bt | y_b<t, v_b) of each word and each sentence's END, 0 for the padding: (B, T) float32, nats.

    Args:
        y: word indices, (B, T).   logits: (B, T, V).
    """
    y = ops.cast(y, "int32")  # Keras hands targets over as floats
    loss = ops.sparse_categorical_crossentropy(y, ops.cast(logits, "float32"), from_logits=True)
    return caption_mask(y) * loss


def caption_loss(y_true, logits):
    """Mean cross entropy of a batch's words, in nats per word, END included: for `compile(loss=caption_loss)`.

        sum over (b, t) of mask(b, t) (-log P(y_bt | y_b<t, v_b)) / sum over (b, t) of mask(b, t)

    A scalar, which Keras passes on as it is: every word of the batch weighs the same, however long its sentence.

    Args:
        y_true: word indices, (B, T).   logits: (B, T, V).
    """
    return ops.sum(word_losses(y_true, logits)) / ops.sum(caption_mask(ops.cast(y_true, "int32")))
