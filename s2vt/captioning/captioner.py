"""What all captioners share: their interface, words in and logits out, and the captions' loss.

Letters: B batch, M media, N descriptors, T words, P words of a batch, D=2048 descriptor, H=1300 LSTM units, E=300
embedding, V vocabulary.

A captioner gives P(y_t | y_<t, v_1..v_N), for any number N of descriptors, by two roads to the same numbers:

    encode(v (B, N, D)) -> state        step(state, word) -> logits (B, V), state        one word after the other
    call({"v", "y", "medium", "words"}) -> logits (B, T, V), or (P, V) of P words        teacher forcing, all at once

and one that knows where it looks has `attention({"v", "y", "medium"}) -> alpha (B, T, N)` besides. The leaves of a
state have leading dimension B. Saliency calls the trained model with N = 1.
"""

import functools

import keras
import numpy as np
from keras import ops

from s2vt.data.text import END
from s2vt.engine import compiled


class Captioner(keras.Model):
    """The common part: what words do to the LSTM's gates, and what its outputs say about the next word.

    A model of its own makes, in `build`, the variables `embedding` (V, E), `K_y` (E, 4H), `b` (4H,), `W_o` (H, V) and
    `b_o` (V,), next to those it reads v with, and defines `call`, `_encode` and `_step`.

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
        # TensorFlow's XLA would compile anew for each shape of a batch, is slower on a CPU than TensorFlow without it,
        # and cannot go backwards through a loop whose length it does not know.
        self.supports_jit = keras.backend.backend() != "tensorflow"
        self._encode_graph = functools.cache(lambda N: compiled(self, self._encode))  # one descriptor is read otherwise
        self._step_graph = compiled(self, lambda state, word: self._step(state, self._gates_of_word(word)))

    def encode(self, v):
        """Reads descriptors v (B, N, D), any float type -> the state before the first word, see `_encode`."""
        self._build_for(v)
        return self._encode_graph(v.shape[1])(ops.convert_to_tensor(v))

    def step(self, state, word=None):
        """Writes one word more.

        Args:
            state: leaves (B, ...), from `encode` or the step before.
            word: y_{t-1}, word indices (B,), or (1,) for one word in every row, whose half of the gates is then
                computed once. None: y_0, before the first word.
        Returns:
            Logits of y_t (B, V) and the new state.
        """
        return self._step_graph(state, None if word is None else ops.convert_to_tensor(word))

    def _encode(self, v):
        """`encode`, the variables being made."""
        raise NotImplementedError

    def _step(self, state, gates):
        """`step`, the word's half of the gates, (B or 1, 4H), being known."""
        raise NotImplementedError

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """`caption_loss` of a batch, and what the model adds to it: for Keras' `fit` and `evaluate`.

        Args:
            x: the batch's inputs. They hold the captions, so there are no targets y.   y_pred: their logits.
        """
        return caption_loss(x["y"], y_pred, x.get("words")) + sum(self.losses)

    def _kernel(self, name, *shape):
        return self.add_weight(name=name, shape=shape, initializer="glorot_uniform")

    def _bias(self, name, start):
        return self.add_weight(name=name, shape=start.shape, initializer=lambda _, dtype: ops.cast(start, dtype))

    def _bias_of_gates(self):
        return self._bias("b", np.repeat([0.0, 1.0, 0.0, 0.0], self.units))  # gates i, f, c, o: the forget bias is 1

    def _build_for(self, v):
        """Makes the variables, if a model is asked to read before it was built."""
        if not self.built:
            self.build({"v": v.shape})

    def _gates_of_words(self, words, training=False):
        """embed(words) K_y + b: (...) -> (..., 4H)."""
        embedded = self.input_dropout(ops.take(self.embedding, words, axis=0), training=training)
        return ops.matmul(embedded, self.K_y) + self.b

    def _gates_of_word(self, word):
        """What y_{t-1} adds to the gates: (B,) or (1,) -> (B or 1, 4H); None is y_0, with embed(y_0) = 0."""
        return self.b[None] if word is None else self._gates_of_words(word)

    def _write(self, y, training=False):
        """What the words before each word add to the gates, embed(y_{t-1}) K_y + b: (B, T) -> (B, T, 4H)."""
        first = ops.broadcast_to(self.b, (ops.shape(y)[0], 1, 4 * self.units))  # embed(y_0) = 0
        return ops.concatenate([first, self._gates_of_words(y[:, :-1], training)], axis=1)

    def _logits(self, h, training=False):
        """logits = W_o h + b_o: (..., H) -> (..., V)."""
        return ops.matmul(self.output_dropout(h, training=training), self.W_o) + self.b_o

    def _logits_of(self, inputs, h, training=False):
        """What `call` gives: h (B, T, H) -> (B, T, V), or, where inputs["words"] says which, (P, V)."""
        return self._logits(at_words(h, inputs.get("words")), training)


def of_sentences(leaves, inputs):
    """Rows of media -> rows of sentences: each leaf (M, ...) -> (B, ...), by inputs["medium"] where there is one."""
    if "medium" not in inputs:
        return leaves
    return keras.tree.map_structure(lambda leaf: ops.take(leaf, inputs["medium"], axis=0), leaves)


def at_words(values, words=None):
    """What belongs to P words of a batch: (B, T, ...) -> (P, ...), or all of it as it is.

    Args:
        words: (P,) positions b T + t, -1 for what is no word and stands there to fill up the P.
    """
    if words is None:
        return values
    return ops.take(ops.reshape(values, (-1, *values.shape[2:])), ops.maximum(words, 0), axis=0)


def caption_mask(y):
    """1 for the words of each sentence and its first END, 0 for the padding after: (B, T) -> (B, T) float32.

    Example:
        >>> print(ops.convert_to_numpy(caption_mask(np.array([[4, 1, 0, 0], [4, 1, 2, 3]]))))
        [[1. 1. 1. 0.]
         [1. 1. 1. 1.]]
    """
    end = ops.cast(ops.equal(y, END), "int32")
    return ops.cast(ops.equal(ops.cumsum(end, axis=-1) - end, 0), "float32")


def word_mask(y, words=None):
    """`caption_mask` (B, T), or that of P words, (P,)."""
    return caption_mask(y) if words is None else ops.cast(words >= 0, "float32")


def word_losses(y, logits, words=None):
    """-log P(y_bt | y_b<t, v_b) of each word and each sentence's END, 0 for the padding, nats.

    Args:
        y: word indices, (B, T).   logits: (B, T, V), or (P, V) of the P words listed.   words: see `at_words`.
    Returns:
        (B, T) or (P,), float32.
    """
    logits = ops.cast(logits, "float32")
    loss = ops.sparse_categorical_crossentropy(at_words(y, words), logits, from_logits=True)
    return word_mask(y, words) * loss


def caption_loss(y, logits, words=None):
    """Mean cross entropy of a batch's words, in nats per word, END included: a scalar.

        sum over (b, t) of mask(b, t) (-log P(y_bt | y_b<t, v_b)) / sum over (b, t) of mask(b, t)

    Every word of the batch weighs the same, however long its sentence. Arguments as `word_losses`.
    """
    return ops.sum(word_losses(y, logits, words)) / ops.sum(word_mask(y, words))
