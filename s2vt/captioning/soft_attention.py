"""Soft attention: each word is predicted from a weighted sum of the descriptors (paper Eq. 4, 5; Yao 2015, Xu 2015).

Letters: B captions of M media in a batch, N descriptors, T words, D descriptor, H=1300 LSTM units, A=512
attention units, E=300 word embedding, V vocabulary. Over the frames of a video this is Yao et al.'s model, over the
cells of a picture Xu et al.'s.
"""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from s2vt.captioning.captioner import Captioner, caption_mask, repeat_per_caption
from s2vt.captioning.lstm import LSTMStep, scan
from s2vt.precision import product

GATES = ("none", "beta")


class State(NamedTuple):
    """Decoder state h and c, (B, H); descriptors v, (B, N, D), and their keys U_a v_i + b_a, (B, N, A)."""

    h: Any
    c: Any
    v: Any
    U_v: Any


class SoftAttention(Captioner):
    """A captioner with a soft attention layer.

        alpha_ti = exp(e_ti) / sum_k exp(e_tk),  e_ti = w^T tanh(W_a h_{t-1} + U_a v_i + b_a)        (Eq. 5)
        z_t = sum_i alpha_ti v_i                                                                      (Eq. 4)
        h_t = LSTM([z_t ; embed(y_{t-1})], h_{t-1}),  embed(y_0) = 0,  logits_t = W_o h_t + b_o
        h_0 = tanh(W_h mean(v) + b_h),  c_0 = tanh(W_c mean(v) + b_c)                                 (Xu 2015)

    With gate="beta", z_t is scaled by beta_t = sigmoid(w_beta h_{t-1} + b_beta), a scalar (Xu 2015, section 4.2.1).
    With doubly_stochastic = lambda > 0, training adds Xu's penalty (Eq. 14) for unequal attention over a whole
    caption, divided by the batch's number of words like the cross entropy:

        lambda sum_b sum_i (1 - sum_t alpha_bti)^2 / number of words

    The LSTM's input kernel is stored as two, K_z for z and K_y for words. In training, dropout is applied to the LSTM's
    inputs (z_t, embed(y)) and outputs, with a fresh mask at every step.

    Departs from Xu et al. and Yao et al., whose output layer also reads z_t and y_{t-1}: it is S2VT's, so that the
    captioners differ in their encoders only.

    Parameters: (D + H + 2) A + 2 (D + 1) H + V E + (D + H + E + 1) 4H + (H + 1) V, and H + 1 with the gate.

    Args:
        attention_size: A.   gate: "none" or "beta".   doubly_stochastic: lambda, >= 0.
        others: as `Captioner`.

    Example:
        >>> captioner = SoftAttention(vocabulary_size=7, units=5, embedding_size=4, attention_size=6)
        >>> inputs = {"v": np.ones((1, 4, 3), "float32"), "y": np.array([[4, 1, 0]])}
        >>> captioner.attention(inputs)[0].shape  # T, N
        (3, 4)
        >>> print(captioner.attention(inputs)[0, 0].round(3))  # equal descriptors, equal weights
        [0.25 0.25 0.25 0.25]
    """

    SETTINGS = (*Captioner.SETTINGS, "attention_size", "gate", "doubly_stochastic")
    INPUT = ("W_h", "b_h", "W_c", "b_c", "U_a", "K_z")

    def __init__(self, vocabulary_size, units=1300, attention_size=512, gate="none", doubly_stochastic=0.0, **kwargs):
        super().__init__(vocabulary_size, units, **kwargs)
        if gate not in GATES:
            raise ValueError(f"gate must be one of {', '.join(GATES)}; received {gate!r}")
        self.attention_size, self.gate, self.doubly_stochastic = attention_size, gate, doubly_stochastic
        self.lstm = LSTMStep(units)

    def build(self, input_shape):
        """Creates the variables. `input_shape`: {"v": (B, N, D), ...}."""
        D = input_shape["v"][-1]
        H, A, E, V = self.units, self.attention_size, self.embedding_size, self.vocabulary_size
        self.W_a, self.U_a = self._kernel("W_a", H, A), self._kernel("U_a", D, A)
        self.b_a, self.w = self._bias("b_a", np.zeros(A)), self._kernel("w", A, 1)
        self.W_h, self.b_h = self._kernel("W_h", D, H), self._bias("b_h", np.zeros(H))
        self.W_c, self.b_c = self._kernel("W_c", D, H), self._bias("b_c", np.zeros(H))
        self.embedding = self._kernel("embedding", V, E)
        self.K_z, self.K_y = self._kernel("K_z", D, 4 * H), self._kernel("K_y", E, 4 * H)
        self.b = self._bias_of_gates()
        self.W_o, self.b_o = self._kernel("W_o", H, V), self._bias("b_o", self.initial_b_o)
        if self.gate == "beta":
            self.w_beta, self.b_beta = self._kernel("w_beta", H, 1), self._bias("b_beta", np.zeros(1))
        self.lstm.build()

    def _large_kernels(self):
        return [self.W_o, self.K_z, self.lstm.U]

    def call(self, inputs, training=False):
        """Teacher forcing; inputs and result as `S2VT.call`."""
        h, log_alpha, s = self._all_steps(inputs, training)
        logits = self._logits_of(inputs, h, training)
        if training:
            log_alpha, s = ops.cast(log_alpha, "float32"), ops.cast(s, "float32")  # losses are float32
            self.add_loss(self._training_loss(inputs, logits, log_alpha, s))
        return logits

    def attention(self, inputs):
        """Attention weights of each word of y: alpha, (B, T, N) numpy, in the order of v; they sum to 1 over N.

        Args:
            inputs: as `S2VT.call`.
        """
        self._build_for(inputs["v"])
        _, log_alpha, _ = self._all_steps({name: ops.convert_to_tensor(value) for name, value in inputs.items()})
        return ops.convert_to_numpy(ops.exp(log_alpha))

    def _encode(self, v):
        """Descriptors v (B, N, D), any float type -> State."""
        v = ops.cast(v, self.compute_dtype)
        mean = ops.mean(v, axis=1)
        h = ops.tanh(ops.matmul(mean, self.W_h) + self.b_h)
        c = ops.tanh(ops.matmul(mean, self.W_c) + self.b_c)
        return State(h, c, v, ops.matmul(v, self.U_a) + self.b_a)

    def _step(self, state, gates):
        h, c, _, _ = self._advance(state, gates)
        return self._logits(h), state._replace(h=h, c=c)

    def _advance(self, state, gates, mask=1.0, draw=()):
        """One step -> h, c (B, H), log alpha (B, N), and s (B, N), the weights in z_t = sum_i s_ti v_i.

        gates: the word's half, (B or 1, 4H). mask: of dropout on z_t, (B, D). draw: see `_choose`.
        """
        h, c, v, U_v = state
        e = ops.matmul(ops.tanh(ops.matmul(h, self.W_a)[:, None] + U_v), self.w)[..., 0]  # (B, N)
        log_alpha = ops.log_softmax(e, axis=-1)
        s = self._choose(log_alpha, draw)
        z = ops.einsum("bn,bnd->bd", s, v)
        if self.gate == "beta":
            z = ops.sigmoid(ops.matmul(h, self.w_beta) + self.b_beta) * z
        h, (_, c) = self.lstm(gates + product(mask * z, self.K_z), [h, c])
        return h, c, log_alpha, s

    def _all_steps(self, inputs, training=False):
        """Teacher forcing of all captions -> h (B, T, H), log alpha and s (B, T, N)."""
        state, y = repeat_per_caption(self._encode(inputs["v"]), inputs), inputs["y"]
        gates = self._write(y, training)  # (B, T, 4H)
        ones = ops.ones_like(gates[..., :1]) * ops.ones_like(state.v[:, :1])  # (B, T, D)
        mask = self.input_dropout(ones, training=training)
        draws = self._draws(gates[..., :1] * ops.zeros_like(state.U_v[:, None, :, 0]), training)  # of (B, T, N)

        def advance(carry, inputs):
            (h, c, *_), (gates, mask, *draw) = carry, inputs
            carry = self._advance(state._replace(h=h, c=c), gates, mask, draw)
            return carry, carry

        zeros = ops.zeros_like(state.U_v[..., 0])  # (B, N)
        inputs = [_time_first(a) for a in (gates, mask, *draws)]
        _, (h, _, log_alpha, s) = scan(advance, (state.h, state.c, zeros, zeros), inputs)
        return _time_first(h), _time_first(log_alpha), _time_first(s)

    def _draws(self, zeros, training):
        """Random numbers for `_choose`, of all steps; zeros (B, T, N) give the shape. None in soft attention."""
        return ()

    def _choose(self, log_alpha, draw):
        """The weights s of the descriptors in z_t, (B, N): alpha."""
        return ops.exp(log_alpha)

    def _training_loss(self, inputs, logits, log_alpha, s):
        """The doubly stochastic penalty, added to the cross entropy in training: a scalar."""
        mask = caption_mask(inputs["y"])
        attended = ops.sum(mask[..., None] * ops.exp(log_alpha), axis=1)  # (B, N)
        return self.doubly_stochastic * ops.sum(mask[:, :1] * (1 - attended) ** 2) / ops.sum(mask)


def _time_first(a):
    """(B, T, ...) <-> (T, B, ...)."""
    return ops.swapaxes(a, 0, 1)
