"""S2VT: one LSTM reads the descriptors, then writes the sentence (paper section 3; Eq. 1-3).

Letters: B captions of M media in a batch, N descriptors, T words, P words whose logits are asked for, D=2048
descriptor, H=1300 LSTM units, E=300 word embedding, V vocabulary.

The paper's single LSTM reads `[x_i ; 0]` and then writes from `[0 ; embed(y_{t-1})]`. Half of the input kernel is
multiplied by zeros at every step, so it is stored as two kernels, K_x for descriptors and K_y for words: the same
function at two thirds of the arithmetic. The input half of the gates is one GEMM over all time steps.
"""

from s2vt.captioning.captioner import LSTMCaptioner, repeat_per_caption
from s2vt.precision import product


class S2VT(LSTMCaptioner):
    """The paper's captioner: z is the state of an LSTM that has read all descriptors.

        x_i = W_x v_i + b_x
        g = x_i K_x + b  while reading,  embed(y_{t-1}) K_y + b  while writing,  embed(y_0) = 0
        h = LSTM(g, h),  logits_t = W_o h_t + b_o

    In training, dropout is applied to the LSTM's inputs (x_i, embed(y)) and to its outputs before W_o, with a fresh
    mask at every time step, and never to the recurrent state.

    N is the length of `v`, not a property of the model: saliency calls the trained model with N = 1.

    Parameters: (D + 1) H + V E + (2 H + E + 1) 4H + (H + 1) V.

    Args: as `LSTMCaptioner`.

    Example:
        >>> import numpy as np
        >>> captioner = S2VT(vocabulary_size=7, units=5, embedding_size=4)
        >>> logits = captioner({"v": np.ones((2, 6, 3), "float32"), "y": np.array([[4, 1, 0], [2, 0, 0]])})
        >>> tuple(logits.shape)  # B, T, V
        (2, 3, 7)
    """

    def call(self, inputs, training=False):
        """Teacher forcing: the logits of every word of y, given the words of y before it.

        Args:
            inputs: a dict of
                "v": descriptors, (M, N, D), any float type;
                "y": word indices, (B, T);
                "medium": the row of v that each caption describes, (B,); without it, caption b describes v_b. Each
                    medium is encoded once, whatever the number of its captions;
                "words": positions b T + t of the words whose logits are asked for, (P,), padded by -1; without it, all
                    words, padding included;
                "picture" (M,), "queries" (Q,), "query" (B, T): see `CaptionBatches`; with them and contrast > 0, the
                    contrast is added to the losses.
        Returns:
            Logits, (B, T, V), or (P, V) with "words".
        """
        x = self._project(inputs["v"])  # (M, N, H)
        self._set_against_others(x, inputs)
        _, z = self.lstm(self._read(x, training))  # h and c, each (M, H)
        z = repeat_per_caption(z, inputs)  # (B, H)
        h, _ = self.lstm(self._write(inputs["y"], training), z)  # (B, T, H)
        return self._logits_of(inputs, h, training)

    def _encode(self, v):
        """Descriptors v (B, N, D), any float type -> state z = (h, c), each (B, H), from the zero state."""
        _, (h, c) = self.lstm(self._read(self._project(v)))
        return h, c

    def _step(self, state, gates):
        h, (_, c) = self.lstm.cell(gates, list(state))
        return self._logits(h), (h, c)

    def _read(self, x, training=False):
        """Input half of the gates while reading [x_i ; 0]: (B, N, H) -> (B, N, 4H)."""
        return product(self.input_dropout(x, training=training), self.K_x, self.b)
