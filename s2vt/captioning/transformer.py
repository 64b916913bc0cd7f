"""The transformer captioner: each word attends to the words before it and to the descriptors (Vaswani et al. 2017).

Letters: B captions of M media in a batch, N descriptors, T words, S words remembered, L layers, K heads of C numbers
each, D=2048 descriptor, H width, E word embedding, V vocabulary.

The decoder of Vaswani et al., pre-norm (Xiong et al. 2020), without their encoder: descriptors do not read one another,
so what a word takes from a descriptor is the same whether that one is read alone or among others.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from s2vt.captioning.captioner import Captioner, repeat_per_caption

NEVER = -1e9  # added to the score of what is not attended to; finite, so that its gradient is 0 and not NaN


class State(NamedTuple):
    """What a step needs of the words before it and of the descriptors; its shapes are the same at every step.

    Attributes:
        words: keys and values of the last S words, for each layer a pair of (B, K, S, C); word t is in slot t mod S.
        memory: keys and values of the descriptors, for each layer a pair of (B, K, N, C).
        t: number of words so far, (B,) int32, the same in every row.
    """

    words: Any
    memory: Any
    t: Any


class Transformer(Captioner):
    """A captioner of L layers with attention over words and over descriptors.

        m_i = norm(W_x v_i + b_x)                                                            memory
        x_t = embed(y_{t-1}) K_y + b + P(t),  embed(y_0) = 0
        x_t += attend(norm(x_t), norm(x_{<=t}), norm(x_{<=t}))                               in each layer: words,
        x_t += attend(norm(x_t), m_i + P(i), m_i)                                            descriptors,
        x_t += W_2 relu(W_1 norm(x_t) + b_1) + b_2                                           each place alone
        logits_t = W_o norm(x_t) + b_o

    attend(queries, keys, values) is `Attention`, P are the `sinusoids` of a position. A word attends to the last
    S = max_words words, itself among them.

    Descriptors have their positions in the keys alone (as in DETR, Carion et al. 2020): where or when something is
    decides what is attended to, but what is read of it is its content. Attention over one key is 1 whatever the key,
    so a descriptor that is read alone (N = 1) has no position: its losses do not depend on the cell or frame that it
    would be counted as. With positions in the values, every cell alone would be read as the upper left one.

    In training, dropout is applied to embed(y) and m, to what is added to x, and to the last norm.

    Departs from Vaswani et al.: no encoder; norms before the sublayers; heads of ceil(H / K) numbers, so that K need
    not divide H; no biases in attention, as the keys' has no effect; word embeddings start with variance 1 instead of
    being scaled.

    Parameters: (D + 3) H + (V + H) E + H + L (8 H K C + 8 H^2 + 11 H) + 2 H + (H + 1) V.

    Args:
        units: H.   layers: L.   heads: K.   max_words: S, the largest number of words of a caption, END included.
        others: as `Captioner`.

    Example:
        >>> captioner = Transformer(vocabulary_size=7, units=8, embedding_size=4, heads=2)
        >>> v = np.random.default_rng(0).normal(size=(1, 6, 3)).astype("float32")
        >>> inputs = {"v": v, "y": np.array([[4, 1, 0]])}
        >>> captioner.attention(inputs)[0].shape  # T, N
        (3, 6)
        >>> logits, state = captioner.step(captioner.encode(v))
        >>> bool(np.allclose(logits, captioner(inputs)[:, 0], atol=1e-5))
        True
    """

    SETTINGS = (*Captioner.SETTINGS, "layers", "heads", "max_words")

    def __init__(self, vocabulary_size, units=1300, layers=2, heads=4, dropout=0.5, max_words=25, **kwargs):
        super().__init__(vocabulary_size, units, dropout=dropout, **kwargs)
        self.max_words = max_words
        self.norm_of_memory, self.norm = layer_norm("memory"), layer_norm("output")
        self.blocks = [Block(units, heads, dropout, number) for number in range(layers)]

    def build(self, input_shape):
        """Creates the variables. `input_shape`: {"v": (B, N, D), ...}."""
        D = input_shape["v"][-1]
        H, E, V = self.units, self.embedding_size, self.vocabulary_size
        self.W_x, self.b_x = self._kernel("W_x", D, H), self._bias("b_x", np.zeros(H))
        self.embedding = self.add_weight(name="embedding", shape=(V, E), initializer=keras.initializers.RandomNormal(1))
        self.K_y, self.b = self._kernel("K_y", E, H), self._bias("b", np.zeros(H))
        self.W_o, self.b_o = self._kernel("W_o", H, V), self._bias("b_o", self.initial_b_o)
        for layer in (self.norm_of_memory, *self.blocks, self.norm):
            layer.build((None, None, H))

    def call(self, inputs, training=False):
        """Teacher forcing; inputs and result as `S2VT.call`."""
        x, _ = self._all_steps(inputs, training)
        return self._logits_of(inputs, x, training)

    def attention(self, inputs):
        """Attention of each word of y over the descriptors in the last layer, the mean of its heads.

        Args:
            inputs: as `S2VT.call`.
        Returns:
            alpha, (B, T, N) numpy, in the order of v; sums to 1 over N.
        """
        return ops.convert_to_numpy(self._weights(inputs)[-1][1])

    def rollout(self, inputs):
        """Share of each descriptor in each word's x after all layers, by attention rollout (Abnar and Zuidema 2020).

        What is added to x counts as much as what it is added to. With A, the mean alpha of the heads over words, and C,
        that over descriptors, the descriptors' shares R (T, N) start as 0, and each layer does

            R <- (R + A R) / 2  for attention over words,  then  R <- (R + C) / 2  for attention over descriptors

        Departs from Abnar and Zuidema, whose shares are of one sequence: the words' own are left out, so R is
        normalised to sum 1 over N.

        Args and Returns: as `attention`.
        """
        weights = self._weights(inputs)
        R = ops.zeros_like(weights[0][1])
        for A, C in weights:
            R = ((R + ops.matmul(A, R)) / 2 + C) / 2
        return ops.convert_to_numpy(R / ops.sum(R, axis=-1, keepdims=True))

    def _encode(self, v):
        """Descriptors v (B, N, D), any float type -> State before the first word."""
        B = ops.shape(v)[0]
        slots = ops.zeros((B, *self.blocks[0].of_words.shape_of(self.max_words)), self.variable_dtype)
        return State(
            words=tuple((slots, slots) for _ in self.blocks),
            memory=self._memory(v),
            t=ops.zeros((B,), "int32"),
        )

    def _step(self, state, x):
        """One word: x (B or 1, H), its embedding without position. Rows stay one as long as they are equal."""
        t, slot = state.t[:1], ops.arange(self.max_words)
        fresh = ops.equal(slot, ops.mod(t, self.max_words))[:, None]  # (S, 1)
        remembered = ops.where(slot <= t, 0.0, NEVER)  # (S,): all slots once they are full
        x, words = self._with_positions(x, t)[:, None], []
        for block, before, memory in zip(self.blocks, state.words, state.memory, strict=True):
            pairs = zip(block.keys_and_values(x), before, strict=True)
            words.append(tuple(ops.where(fresh, new, old) for new, old in pairs))
            x, _ = block(x, words[-1], memory, remembered)
        return self._logits(self.norm(x[:, 0])), state._replace(words=tuple(words), t=state.t + 1)

    def _all_steps(self, inputs, training=False):
        """Teacher forcing of all captions -> norm(x) (B, T, H), and for each layer alpha over words and descriptors."""
        memory = repeat_per_caption(self._memory(inputs["v"], training), inputs)
        t = ops.arange(ops.shape(inputs["y"])[1])
        ago = t[:, None] - t  # (T, T)
        remembered = ops.where(ops.logical_and(ago >= 0, ago < self.max_words), 0.0, NEVER)
        x, weights = self._with_positions(self._write(inputs["y"], training), t), []
        for block, of_memory in zip(self.blocks, memory, strict=True):
            x, alphas = block(x, block.keys_and_values(x), of_memory, remembered, training=training)
            weights.append(alphas)
        return self.norm(x), weights

    def _with_positions(self, x, t):
        """x (..., T, H) with the `sinusoids` of its positions t (T,) added."""
        return x + ops.cast(sinusoids(t, self.units), x.dtype)

    def _memory(self, v, training=False):
        """Keys and values of descriptors v (B, N, D), for each layer a pair of (B, K, N, C)."""
        m = self.norm_of_memory(ops.matmul(ops.cast(v, self.compute_dtype), self.W_x) + self.b_x)
        m = self.input_dropout(m, training=training)
        with_position = self._with_positions(m, ops.arange(ops.shape(v)[1]))
        return tuple(block.of_memory.keys_and_values(with_position, m) for block in self.blocks)

    def _weights(self, inputs):
        """For each layer the mean alpha of its heads over words, (B, T, T), and over descriptors, (B, T, N)."""
        self._build_for(inputs["v"])
        _, weights = self._all_steps({name: ops.convert_to_tensor(value) for name, value in inputs.items()})
        return [tuple(ops.mean(alpha, axis=1) for alpha in of_layer) for of_layer in weights]


class Block(keras.layers.Layer):
    """One layer of the decoder: words attend to words, then to descriptors, then each is transformed alone.

    Args:
        units: H.   heads: K.   dropout: share dropped of what is added to x, in training.
        number: of the layer, part of its variables' names.
    """

    def __init__(self, units, heads, dropout, number, **kwargs):
        super().__init__(**kwargs)
        self.units, self.number = units, number
        self.of_words = Attention(units, heads, f"words_{number}")
        self.of_memory = Attention(units, heads, f"memory_{number}")
        self.norms = [layer_norm(f"{place}_{number}") for place in ("to_words", "to_memory", "alone")]
        self.dropout = keras.layers.Dropout(dropout)

    def build(self, input_shape=None):
        H = self.units
        for layer in (self.of_words, self.of_memory, *self.norms):
            layer.build((None, None, H))
        self.W_1 = self.add_weight(name=f"W_1_{self.number}", shape=(H, 4 * H), initializer="glorot_uniform")
        self.b_1 = self.add_weight(name=f"b_1_{self.number}", shape=(4 * H,), initializer="zeros")
        self.W_2 = self.add_weight(name=f"W_2_{self.number}", shape=(4 * H, H), initializer="glorot_uniform")
        self.b_2 = self.add_weight(name=f"b_2_{self.number}", shape=(H,), initializer="zeros")

    def keys_and_values(self, x):
        """Keys and values of words: x (B, T, H) -> a pair of (B, K, T, C)."""
        a = self.norms[0](x)
        return self.of_words.keys_and_values(a, a)

    def call(self, x, words, memory, remembered, training=False):
        """One layer.

        Args:
            x: (B, T, H).
            words: keys and values of the words attended to, a pair of (B, K, S, C).
            memory: keys and values of the descriptors, a pair of (B, K, N, C).
            remembered: 0 for each word that is attended to, else NEVER; (T, S) or (S,).
        Returns:
            x (B, T, H), and alpha over words (B, K, T, S) and over descriptors (B, K, T, N).
        """
        read, over_words = self.of_words(self.norms[0](x), *words, remembered)
        x = x + self.dropout(read, training=training)
        read, over_memory = self.of_memory(self.norms[1](x), *memory)
        x = x + self.dropout(read, training=training)
        hidden = ops.relu(ops.matmul(self.norms[2](x), self.W_1) + self.b_1)
        return x + self.dropout(ops.matmul(hidden, self.W_2) + self.b_2, training=training), (over_words, over_memory)


class Attention(keras.layers.Layer):
    """Scaled dot-product attention of K heads, each with its own part of q, k and v, (Vaswani et al. 2017, Eq. 1).

        alpha_tj = softmax_j(q_t . k_j / sqrt(C)),  q, k, v = W_q query, W_k key, W_v value
        attend_t = W_o [sum_j alpha_tj v_j of all heads]

    Args:
        units: H.   heads: K; C = ceil(H / K).   label: part of its variables' names.
    """

    def __init__(self, units, heads, label, **kwargs):
        super().__init__(**kwargs)
        self.units, self.heads, self.label = units, heads, label
        self.head_size = -(-units // heads)

    def build(self, input_shape=None):
        H, KC = self.units, self.heads * self.head_size
        self.W_q, self.W_k, self.W_v, self.W_o = (
            self.add_weight(name=f"{name}_{self.label}", shape=shape, initializer="glorot_uniform")
            for name, shape in (("W_q", (H, KC)), ("W_k", (H, KC)), ("W_v", (H, KC)), ("W_o", (KC, H)))
        )

    def keys_and_values(self, keys, values):
        """W_k keys and W_v values by head: (B, N, H) each -> a pair of (B, K, N, C)."""
        return self._by_head(ops.matmul(keys, self.W_k)), self._by_head(ops.matmul(values, self.W_v))

    def shape_of(self, N):
        """The shape of one row's keys or values of N places: (K, N, C)."""
        return self.heads, N, self.head_size

    def call(self, x, k, v, mask=0.0):
        """Queries x (B, T, H); k, v (B, K, N, C); mask (T, N), (N,) or 0 is added to the scores.

        Returns:
            What is read (B, T, H), and alpha (B, K, T, N).
        """
        q = self._by_head(ops.matmul(x, self.W_q))
        scores = ops.matmul(q, ops.swapaxes(k, -1, -2)) / self.head_size**0.5 + mask
        alpha = ops.exp(ops.log_softmax(scores, axis=-1))  # Keras' softmax warns of a single key, N = 1
        read = ops.swapaxes(ops.matmul(alpha, v), 1, 2)  # (B, T, K, C)
        return ops.matmul(ops.reshape(read, (*ops.shape(read)[:2], self.heads * self.head_size)), self.W_o), alpha

    def _by_head(self, a):
        """(B, N, K C) -> (B, K, N, C)."""
        return ops.swapaxes(ops.reshape(a, (*ops.shape(a)[:2], self.heads, self.head_size)), 1, 2)


def layer_norm(label):
    """Keras' layer norm (Ba et al. 2016) with the epsilon of other transformers.   label: the end of its name."""
    return keras.layers.LayerNormalization(epsilon=1e-5, name=f"norm_{label}")


def sinusoids(position, size):
    """Positions as sines and cosines of wavelengths from 2 pi to 10,000 times that (Vaswani et al. 2017, section 3.5).

    Args:
        position: whole numbers, (T,).   size: H.
    Returns:
        P, (T, H).

    Example:
        >>> print(ops.convert_to_numpy(sinusoids(np.array([0, 3]), 2)).round(3))  # sin, cos
        [[ 0.     1.   ]
         [ 0.141 -0.99 ]]
    """
    half = -(-size // 2)
    wavelength = 10_000 ** (np.arange(half) / half)  # over 2 pi
    angle = ops.cast(position, "float32")[:, None] / wavelength.astype("float32")
    return ops.concatenate([ops.sin(angle), ops.cos(angle)], axis=-1)[:, :size]
