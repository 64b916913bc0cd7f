"""S2VT: one LSTM reads the descriptors, then writes the sentence (paper section 3; Eq. 1-3).

Letters: B batch, N descriptors, T words, D=2048 descriptor, H=1300 LSTM units, E=300 word embedding, V vocabulary.

The paper's single LSTM reads `[x_i ; 0]` and then writes from `[0 ; embed(y_{t-1})]`. The zeros switch half of the
input kernel off, so that kernel is kept as two, K_x for descriptors and K_y for words: the same function at two thirds
of the arithmetic. The input halves of the gates, which depend on no state, are one GEMM over all time steps.
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


class S2VT(keras.Model):
    """The captioner: P(y_t | y_<t, v_1..v_N), for any number N of descriptors.

        x_i = W_x v_i + b_x
        g = x_i K_x + b  while reading,  embed(y_{t-1}) K_y + b  while writing,  embed(y_0) = 0
        h = LSTM(g, h),  logits_t = W_o h_t + b_o

    In training, dropout falls on the LSTM's inputs (x_i, embed(y)) and on its outputs before W_o, with a fresh mask at
    every time step, and never on the recurrent state.

    N is the length of `v`, never a property of the model: saliency calls the trained model with N = 1.

    Args:
        vocabulary_size: V, word END = 0 included.
        units: H.   embedding_size: E.
        dropout: share of the values dropped in training, in [0, 1).
        word_log_frequencies: (V,) finite, where b_o starts (shifted to a maximum of 0), so that training need not
            spend its first epochs on how common words are. None: zeros.

    Example:
        >>> captioner = S2VT(vocabulary_size=7, units=5, embedding_size=4)
        >>> logits = captioner({"v": np.ones((2, 6, 3), "float32"), "y": np.array([[4, 1, 0], [2, 0, 0]])})
        >>> tuple(logits.shape)  # B, T, V
        (2, 3, 7)
    """

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
        self.lstm = keras.layers.RNN(LSTMStep(units), return_sequences=True, return_state=True)

    def build(self, input_shape=None):
        """Makes the variables; `input_shape` {"v": (B, N, D), ...} gives D, which is 2048 without it."""
        D = 2048 if input_shape is None else input_shape["v"][-1]
        H, E, V = self.units, self.embedding_size, self.vocabulary_size

        def kernel(name, *shape):
            return self.add_weight(name=name, shape=shape, initializer="glorot_uniform")

        def bias(name, start):
            return self.add_weight(name=name, shape=start.shape, initializer=lambda _, dtype: ops.cast(start, dtype))

        self.W_x, self.b_x = kernel("W_x", D, H), bias("b_x", np.zeros(H))
        self.embedding = kernel("embedding", V, E)
        self.K_x, self.K_y = kernel("K_x", H, 4 * H), kernel("K_y", E, 4 * H)
        self.b = bias("b", np.repeat([0.0, 1.0, 0.0, 0.0], H))  # gates i, f, c, o: the forget bias is 1
        self.W_o, self.b_o = kernel("W_o", H, V), bias("b_o", self.initial_b_o)
        self.lstm.build((None, None, 4 * H))

    def call(self, inputs, training=False):
        """Teacher forcing: the logits of every word of y, given the true words before it.

        Args:
            inputs: {"v": (M, N, D) descriptors, any float type, "y": (B, T) word indices, "medium": (B,) which row of
                v each sentence is about}. Each medium is read once, however many of its sentences are in the batch.
                Without "medium", sentence b is about v_b.
        Returns:
            Logits, (B, T, V).
        """
        v, y = inputs["v"], inputs["y"]
        _, *z = self.lstm(self._read(v, training))  # h and c, each (M, H)
        if "medium" in inputs:
            z = [ops.take(leaf, inputs["medium"], axis=0) for leaf in z]  # (B, H)
        h, *_ = self.lstm(self._write(y, training), initial_state=z)  # (B, T, H)
        return ops.matmul(self.output_dropout(h, training=training), self.W_o) + self.b_o

    def encode(self, v):
        """Reads descriptors v (B, N, D), any float type, from the zero state -> state z = (h, c), each (B, H)."""
        if not self.built:
            self.build({"v": v.shape})
        _, h, c = self.lstm(self._read(ops.convert_to_tensor(v)))
        return h, c

    def step(self, state, word=None):
        """Writes one word more.

        Args:
            state: (h, c), each (B, H), from `encode` or the step before.
            word: y_{t-1}, word indices (B,), or (1,) for one word in every row, whose half of the gates is then
                computed once. None: y_0, before the first word.
        Returns:
            Logits of y_t (B, V) and the new state.
        """
        gates = self.b[None] if word is None else self._gates_of_words(ops.convert_to_tensor(word))  # (B or 1, 4H)
        h, (_, c) = self.lstm.cell(gates, list(state))
        return ops.matmul(h, self.W_o) + self.b_o, (h, c)

    def _read(self, v, training=False):
        """Input half of the gates while reading [x_i ; 0]: (B, N, D) -> (B, N, 4H)."""
        x = ops.matmul(ops.cast(v, self.compute_dtype), self.W_x) + self.b_x
        return ops.matmul(self.input_dropout(x, training=training), self.K_x) + self.b

    def _write(self, y, training=False):
        """Input half of the gates while writing from [0 ; embed(y_{t-1})]: (B, T) -> (B, T, 4H)."""
        first = ops.broadcast_to(self.b, (ops.shape(y)[0], 1, 4 * self.units))  # embed(y_0) = 0
        return ops.concatenate([first, self._gates_of_words(y[:, :-1], training)], axis=1)

    def _gates_of_words(self, words, training=False):
        """embed(words) K_y + b: (...) -> (..., 4H)."""
        embedded = self.input_dropout(ops.take(self.embedding, words, axis=0), training=training)
        return ops.matmul(embedded, self.K_y) + self.b


def caption_mask(y):
    """1 for the words of each sentence and its first END, 0 for the padding after: (B, T) -> (B, T) float32.

    Example:
        >>> print(ops.convert_to_numpy(caption_mask(np.array([[4, 1, 0, 0], [4, 1, 2, 3]]))))
        [[1. 1. 1. 0.]
         [1. 1. 1. 1.]]
    """
    end = ops.cast(ops.equal(y, END), "int32")
    return ops.cast(ops.equal(ops.cumsum(end, axis=-1) - end, 0), "float32")


def caption_loss(y_true, logits):
    """Mean cross entropy of a batch's words, in nats per word, END included: for `compile(loss=caption_loss)`.

        sum over (b, t) of mask(b, t) (-log P(y_bt | y_b<t, v_b)) / sum over (b, t) of mask(b, t)

    A scalar, which Keras passes on as it is: every word of the batch weighs the same, however long its sentence.

    Args:
        y_true: word indices, (B, T).   logits: (B, T, V).
    """
    y = ops.cast(y_true, "int32")  # Keras hands targets over as floats
    mask = caption_mask(y)
    loss = ops.sparse_categorical_crossentropy(y, ops.cast(logits, "float32"), from_logits=True)  # (B, T)
    return ops.sum(mask * loss) / ops.sum(mask)
