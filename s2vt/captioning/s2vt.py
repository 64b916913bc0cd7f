"""S2VT: one LSTM reads the descriptors, then writes the sentence (paper section 3; Eq. 1-3).

Letters: B batch, M media, N descriptors, T words, P words of a batch, D=2048 descriptor, H=1300 LSTM units, E=300 word
embedding, V vocabulary.

The paper's single LSTM reads `[x_i ; 0]` and then writes from `[0 ; embed(y_{t-1})]`. The zeros switch half of the
input kernel off, so that kernel is kept as two, K_x for descriptors and K_y for words: the same function at two thirds
of the arithmetic. The input halves of the gates, which depend on no state, are one GEMM over all time steps.
"""

import numpy as np
from keras import ops

from s2vt.captioning.captioner import Captioner, of_sentences
from s2vt.captioning.lstm import RNN


class S2VT(Captioner):
    """The captioner of the paper: z is the state of an LSTM that has read all descriptors.

        x_i = W_x v_i + b_x
        g = x_i K_x + b  while reading,  embed(y_{t-1}) K_y + b  while writing,  embed(y_0) = 0
        h = LSTM(g, h),  logits_t = W_o h_t + b_o

    In training, dropout falls on the LSTM's inputs (x_i, embed(y)) and on its outputs before W_o, with a fresh mask at
    every time step, and never on the recurrent state.

    N is the length of `v`, never a property of the model: saliency calls the trained model with N = 1.

    Parameters: (D + 1) H + V E + (2 H + E + 1) 4H + (H + 1) V.

    Args: as `Captioner`.

    Example:
        >>> captioner = S2VT(vocabulary_size=7, units=5, embedding_size=4)
        >>> logits = captioner({"v": np.ones((2, 6, 3), "float32"), "y": np.array([[4, 1, 0], [2, 0, 0]])})
        >>> tuple(logits.shape)  # B, T, V
        (2, 3, 7)
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
        """Teacher forcing: the logits of every word of y, given the true words before it.

        Args:
            inputs: {"v": (M, N, D) descriptors, any float type, "y": (B, T) word indices, "medium": (B,) which row of
                v each sentence is about}. Each medium is read once, however many of its sentences are in the batch.
                Without "medium", sentence b is about v_b. "words": (P,) the positions b T + t of the words whose
                logits are wanted, -1 filling up the P; without it, those of all, padding included.
        Returns:
            Logits, (B, T, V), or (P, V) with "words".
        """
        _, z = self.lstm(self._read(inputs["v"], training))  # h and c, each (M, H)
        z = of_sentences(z, inputs)  # (B, H)
        h, _ = self.lstm(self._write(inputs["y"], training), z)  # (B, T, H)
        return self._logits_of(inputs, h, training)

    def _encode(self, v):
        """Descriptors v (B, N, D), any float type, from the zero state -> state z = (h, c), each (B, H)."""
        _, (h, c) = self.lstm(self._read(v))
        return h, c

    def _step(self, state, gates):
        h, (_, c) = self.lstm.cell(gates, list(state))
        return self._logits(h), (h, c)

    def _read(self, v, training=False):
        """Input half of the gates while reading [x_i ; 0]: (B, N, D) -> (B, N, 4H)."""
        x = ops.matmul(ops.cast(v, self.compute_dtype), self.W_x) + self.b_x
        return ops.matmul(self.input_dropout(x, training=training), self.K_x) + self.b
