"""The mean-pooling captioner (Venugopalan et al. 2015; the paper's section 3): z is the mean of the descriptors.

Letters: B batch, N descriptors, T words, D=2048 descriptor, H=1300 LSTM units, E=300 word embedding, V vocabulary.
"""

import numpy as np
from keras import ops

from s2vt.captioning.captioner import Captioner, of_sentences
from s2vt.captioning.lstm import RNN


class MeanPool(Captioner):
    """The LSTM sees the mean of all descriptors again with every word, and nothing of their order.

        z = 1/N sum_i v_i,  x = W_x z + b_x
        h_t = LSTM([x ; embed(y_{t-1})], h_{t-1}),  h_0 = c_0 = 0,  embed(y_0) = 0
        logits_t = W_o h_t + b_o

    The LSTM's input kernel is kept as two, K_x for x and K_y for words. In training, dropout falls on the LSTM's
    inputs and on its outputs, with a fresh mask at every step.

    Departs from Venugopalan et al., whose LSTM has two layers: one, as in the captioners it is compared with.

    Parameters: (D + 1) H + V E + (2 H + E + 1) 4H + (H + 1) V, as many as S2VT has.

    Args: as `Captioner`.

    Example:
        >>> captioner = MeanPool(vocabulary_size=7, units=5, embedding_size=4)
        >>> v = np.random.default_rng(0).normal(size=(1, 6, 3)).astype("float32")
        >>> state = captioner.encode(v)
        >>> logits, _ = captioner.step(state)
        >>> again, _ = captioner.step(captioner.encode(v[:, ::-1]))
        >>> bool(np.allclose(logits, again, atol=1e-5))  # the order of the descriptors does not matter
        True
    """

    def __init__(self, vocabulary_size, units=1300, embedding_size=300, **kwargs):
        super().__init__(vocabulary_size, units, embedding_size, **kwargs)
        self.lstm = RNN(units)

    def build(self, input_shape=None):
        """Makes the variables; `input_shape` {"v": (B, N, D), ...} gives D, which is 2048 without it."""
        D = 2048 if input_shape is None else input_shape["v"][-1]
        H, E, V = self.units, self.embedding_size, self.vocabulary_size
        self.W_x, self.b_x = self._kernel("W_x", D, H), self._bias("b_x", np.zeros(H))
        self.embedding = self._kernel("embedding", V, E)
        self.K_x, self.K_y = self._kernel("K_x", H, 4 * H), self._kernel("K_y", E, 4 * H)
        self.b = self._bias_of_gates()
        self.W_o, self.b_o = self._kernel("W_o", H, V), self._bias("b_o", self.initial_b_o)
        self.lstm.build()

    def call(self, inputs, training=False):
        """Teacher forcing; inputs and result as `S2VT.call`."""
        y = inputs["y"]
        x = of_sentences(self._mean(inputs["v"]), inputs)[:, None]  # (B, 1, H)
        x = ops.broadcast_to(x, (*ops.shape(y), self.units))  # at every step, so that each has a mask of its own
        gates = ops.matmul(self.input_dropout(x, training=training), self.K_x) + self._write(y, training)
        return self._logits_of(inputs, self.lstm(gates)[0], training)

    def _encode(self, v):
        """Descriptors v (B, N, D), any float type -> state (h_0, c_0, x K_x), (B, H), (B, H), (B, 4H)."""
        gates_of_x = ops.matmul(self._mean(v), self.K_x)
        zero = ops.zeros_like(gates_of_x[:, : self.units])
        return zero, zero, gates_of_x

    def _step(self, state, gates):
        h, c, gates_of_x = state
        h, (_, c) = self.lstm.cell(gates_of_x + gates, [h, c])
        return self._logits(h), (h, c, gates_of_x)

    def _mean(self, v):
        """x = W_x mean(v) + b_x: (B, N, D) -> (B, H)."""
        return ops.matmul(ops.mean(ops.cast(v, self.compute_dtype), axis=1), self.W_x) + self.b_x
