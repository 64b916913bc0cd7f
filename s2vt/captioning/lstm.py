"""The LSTM of all captioners: one step, or all steps of a batch.

Letters: B batch, T steps, H units.

The input half of the gates does not depend on the state: the caller computes it for all steps in one GEMM. The layers
here compute the recurrent half.
"""

import keras
import numpy as np
from keras import ops

from s2vt.engine import fused
from s2vt.precision import product


class LSTMStep(keras.layers.Layer):
    """One step of an LSTM, given the input half `g_t` of its gates.

        i, f, c~, o = g_t + h_{t-1} U
        c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(c~)
        h_t = sigmoid(o) tanh(c_t)

    The gates have Keras' order.
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape=None):
        self.U = self.add_weight(name="U", shape=(self.units, 4 * self.units), initializer="glorot_uniform")

    def call(self, gates, state):
        """gates (B, 4H) or (1, 4H), state h and c, each (B, H) -> h (B, H), [h, c]."""
        h, c = lstm_update(gates, product(state[0], self.U), state[1])
        return h, [h, c]


class RNN(keras.layers.Layer):
    """All steps of an LSTM; `cell` is its `LSTMStep`.

    The class name RNN is part of the HDF5 path; renaming it breaks shipped checkpoints.
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.cell = LSTMStep(units)

    def build(self, input_shape=None):
        self.cell.build()

    def call(self, gates, state=None):
        """gates (B, T, 4H), state [h_0, c_0], each (B, H); None: zeros -> h (B, T, H), [h_T, c_T]."""
        if state is None and gates.shape[1] == 1:  # one step from the zero state: h_0 U = 0
            zero = ops.zeros((1, 1), gates.dtype)
            h, c = lstm_update(gates[:, 0], zero, zero)
            return h[:, None], [h, c]
        zeros = ops.zeros_like(gates[:, 0, : self.cell.units])
        h, c = state or [zeros, zeros]
        # ops.copy: a function with a custom gradient takes tensors, not variables.
        states = _states(ops.swapaxes(gates, 0, 1), h, c, ops.copy(self.cell.U))
        h, _ = ops.split(states, 2, axis=-1)
        return ops.swapaxes(h, 0, 1), ops.split(states[-1], 2, axis=-1)


def scan(advance, start, inputs, reverse=False):
    """`ops.scan` over several tensors, concatenated on their last axis: with unknown T, TensorFlow takes only one.

    Args:
        advance: (carry, [one step's inputs]) -> carry, carry.
        start: the first carry.
        inputs: tensors (T, B, ...); all but the last need a known last dimension.
        reverse: from the last step to the first.
    Returns:
        The last carry, and the carries of all steps, (T, ...).
    """
    ends = [int(end) for end in np.cumsum([a.shape[-1] for a in inputs[:-1]])]
    parts = [slice(*bounds) for bounds in zip([0, *ends], [*ends, None], strict=True)]

    def unpack_and_advance(carry, packed):
        return advance(carry, [packed[..., part] for part in parts])

    return ops.scan(unpack_and_advance, start, ops.concatenate(inputs, axis=-1), reverse=reverse)


def _advance(gates, c):
    """gates (B, 4H), c_{t-1} -> h_t, c_t, and the four activated gates, each (B, H)."""
    i, f, candidate, o = ops.split(gates, 4, axis=-1)
    i, f, candidate, o = ops.sigmoid(i), ops.sigmoid(f), ops.tanh(candidate), ops.sigmoid(o)
    c = f * c + i * candidate
    return o * ops.tanh(c), c, (i, f, candidate, o)


@fused
def lstm_update(gates, recurrent, c):
    """State after one step: input half (B or 1, 4H) and recurrent half (B, 4H) of the gates, c_{t-1} -> h_t, c_t."""
    h, c, _ = _advance(gates + recurrent, c)
    return h, c


@ops.custom_gradient
def _states(gates, h_0, c_0, U):
    """h_t and c_t of all steps: gates (T, B, 4H), h_0 and c_0 (B, H), U (H, 4H) -> (T, B, 2H).

    The custom gradient computes dU in one GEMM over all steps; automatic differentiation adds one GEMM per step. With
    dg_t, dh_t and dc_t the gradients of the loss by the gates, h and c of step t:

        dh_t += dg_{t+1} U^T        dc_t += f_{t+1} dc_{t+1} + dh_t o_t (1 - tanh^2 c_t)
        dg_t = [dc_t c~_t i_t (1 - i_t), dc_t c_{t-1} f_t (1 - f_t), dc_t i_t (1 - c~_t^2), dh_t tanh c_t o_t (1 - o_t)]
        dU = sum_t h_{t-1}^T dg_t
    """

    def forward(carry, inputs):
        (h, c, _), (gates,) = carry, inputs
        h, c, activated = _advance(gates + ops.matmul(h, U), c)
        carry = h, c, ops.concatenate(activated, axis=-1)
        return carry, carry

    _, (h, c, activated) = scan(forward, (h_0, c_0, ops.zeros_like(gates[0])), [gates])

    def gradient(*args, upstream=None):
        d_states = args[0] if upstream is None else upstream
        h_before, c_before = (ops.concatenate([first[None], a[:-1]]) for first, a in ((h_0, h), (c_0, c)))
        U_T = ops.transpose(U)  # once: twice as fast as a product that transposes U at every step

        def backward(carry, inputs):
            (d_gates, d_c), (d_state, activated, c, c_before) = carry, inputs
            d_h_here, d_c_here = ops.split(d_state, 2, axis=-1)
            i, f, candidate, o = ops.split(activated, 4, axis=-1)
            tanh_c = ops.tanh(c)
            d_h = d_h_here + ops.matmul(d_gates, U_T)
            d_c = d_c_here + d_c + d_h * o * (1 - tanh_c**2)
            d_gates = [
                d_c * candidate * i * (1 - i), d_c * c_before * f * (1 - f), d_c * i * (1 - candidate**2),
                d_h * tanh_c * o * (1 - o),
            ]  # fmt: skip
            carry = (ops.concatenate(d_gates, axis=-1), d_c * f)
            return carry, carry

        start = ops.zeros_like(gates[0]), ops.zeros_like(c_0)
        (d_first, d_c), (d_gates, _) = scan(backward, start, [d_states, activated, c, c_before], reverse=True)
        return d_gates, ops.matmul(d_first, U_T), d_c, ops.einsum("tbi,tbj->ij", h_before, d_gates)

    return ops.concatenate([h, c], axis=-1), gradient
