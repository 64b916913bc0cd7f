"""The mean-pooling captioner (Venugopalan et al. 2015; the paper's section 3): z is the mean of the descriptors.

Letters: B batch, N descriptors, T words, D=2048 descriptor, H=1300 LSTM units, E=300 word embedding, V vocabulary.
"""

from keras import ops

from s2vt.captioning.captioner import LSTMCaptioner, repeat_per_caption
from s2vt.precision import product


class MeanPool(LSTMCaptioner):
    """The mean of all descriptors is an input of every decoder step; their order has no effect.

        z = 1/N sum_i v_i,  x = W_x z + b_x
        h_t = LSTM([x ; embed(y_{t-1})], h_{t-1}),  h_0 = c_0 = 0,  embed(y_0) = 0
        logits_t = W_o h_t + b_o

    The LSTM's input kernel is stored as two, K_x for x and K_y for words. In training, dropout is applied to the
    LSTM's inputs and outputs, with a fresh mask at every step.

    Departs from Venugopalan et al., whose LSTM has two layers: one layer, as the other captioners here.

    Parameters: (D + 1) H + V E + (2 H + E + 1) 4H + (H + 1) V, the same number as S2VT.

    Args: as `LSTMCaptioner`.

    Example:
        >>> import numpy as np
        >>> captioner = MeanPool(vocabulary_size=7, units=5, embedding_size=4)
        >>> v = np.random.default_rng(0).normal(size=(1, 6, 3)).astype("float32")
        >>> state = captioner.encode(v)
        >>> logits, _ = captioner.step(state)
        >>> again, _ = captioner.step(captioner.encode(v[:, ::-1]))
        >>> bool(np.allclose(logits, again, atol=1e-5))  # the order of the descriptors has no effect
        True
    """

    def call(self, inputs, training=False):
        """Teacher forcing; inputs and result as `S2VT.call`."""
        y = inputs["y"]
        if self.contrast_weight:  # W_x for every descriptor, of which the mean alone is read
            self._set_against_others(self._project(inputs["v"]), inputs)
        x = repeat_per_caption(self._mean(inputs["v"]), inputs)[:, None]  # (B, 1, H)
        x = ops.broadcast_to(x, (*ops.shape(y), self.units))  # (B, T, H): a dropout mask per step
        gates = ops.matmul(self.input_dropout(x, training=training), self.K_x) + self._write(y, training)
        return self._logits_of(inputs, self.lstm(gates)[0], training)

    def _encode(self, v):
        """Descriptors v (B, N, D), any float type -> state (h_0, c_0, x K_x), (B, H), (B, H), (B, 4H)."""
        gates_of_x = product(self._mean(v), self.K_x)
        zero = ops.zeros_like(gates_of_x[:, : self.units])
        return zero, zero, gates_of_x

    def _step(self, state, gates):
        h, c, gates_of_x = state
        h, (_, c) = self.lstm.cell(gates_of_x + gates, [h, c])
        return self._logits(h), (h, c, gates_of_x)

    def _mean(self, v):
        """x = W_x mean(v) + b_x: (B, N, D) -> (B, H)."""
        return self._project(ops.mean(ops.cast(v, self.compute_dtype), axis=1))
