"""The interface of all captioners, the parts that they share, and the loss of captions.

Letters: B captions of M media in a batch, N descriptors, T words, P words whose logits are asked for, D=2048
descriptor, H=1300 LSTM units, E=300 word embedding, G numbers that a step reads of a word (the LSTM's gates: 4H), V
vocabulary.

A captioner computes P(y_t | y_<t, v_1..v_N) for any number N of descriptors, in two ways that agree:

    encode(v (B, N, D)) -> state        step(state, word) -> logits (B, V), state        one word at a time
    call({"v", "y", "medium", "words"}) -> logits (B, T, V), or (P, V)                   teacher forcing, all words

The leaves of a state have leading dimension B. Captioners with attention also have `attention({"v", "y", "medium"}) ->
alpha (B, T, N)`, and captioners with a contrast `alignment(v (N, D), words (W,)) -> cosines (W, N)`. Saliency calls the
trained model with N = 1.
"""

import functools

import keras
import numpy as np
from keras import ops

from s2vt.captioning.contrast import Contrast, cosines
from s2vt.captioning.distillation import distillation_loss
from s2vt.captioning.lstm import RNN
from s2vt.data.text import END
from s2vt.precision import Graphs, RoundedGraphs, precision, product


class Captioner(keras.Model):
    """Base class: what a step reads of a word (an LSTM: its half of the gates), the output layer and the loss.

    A subclass creates in `build` the variables `embedding` (V, E), `K_y` (E, G), `b` (G,), `W_o` (H, V), `b_o` (V,) and
    those of its encoder, and defines `call`, `_encode` and `_step`.

    Args:
        vocabulary_size: V, including END = 0.
        units: H.   embedding_size: E.
        dropout: share of the values dropped in training, in [0, 1).
        word_log_frequencies: initial value of b_o, (V,), finite; shifted to a maximum of 0. None: zeros.
    Raises:
        ValueError: if word_log_frequencies has another shape or a value that is not finite.
    """

    # The fields of config.ModelConfig and TextConfig that the constructor takes.
    SETTINGS = ("units", "embedding_size", "dropout")
    INPUT = ("W_x", "b_x")  # names of the variables that project a descriptor, whatever is done with it then

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
        # TensorFlow's XLA compiles once per batch shape, is slower on a CPU than TensorFlow's own graphs, and has no
        # gradient of a loop of unknown length.
        self.supports_jit = keras.backend.backend() != "tensorflow"
        self._graphs = functools.cache(self._graphs_in)

    def encode(self, v):
        """The state before the first word: descriptors v (B, N, D), any float type -> leaves (B, ...)."""
        self._build_for(v)
        return self._graphs(precision()).encode(v)

    def step(self, state, word=None):
        """Logits of the next word.

        Args:
            state: leaves (B, ...), from `encode` or the previous step.
            word: y_{t-1}, word indices (B,), or (1,) if it is the same in every row, which takes less time. None: y_0,
                before the first word.
        Returns:
            Logits of y_t (B, V) and the new state.
        """
        return self._graphs(precision()).step(state, word)

    def from_the_top(self):
        """The trained variables by their place between the words and the descriptors, for checks of maps.

        Returns:
            {"output": W_o, b_o and what else scores words; "decoder": the layers between, for an LSTM its kernels;
            "input": the projection of descriptors, W_x and b_x; "embedding": that of words}, lists of variables.
        """
        places = {"W_o": "output", "b_o": "output", "embedding": "embedding", **dict.fromkeys(self.INPUT, "input")}
        found = {"output": [], "decoder": [], "input": [], "embedding": []}
        for variable in self.trainable_variables:
            found[places.get(variable.name, "decoder")].append(variable)
        return found

    def _graphs_in(self, precision):
        """`encode` and `step` with the large products in a precision, "float32" or "bfloat16"."""

        def step(state, word):
            return self._step(state, self._gates_of_word(word))

        if precision == "bfloat16":
            return RoundedGraphs(self, self._encode, step, self._large_kernels())
        return Graphs(self, self._encode, step)

    def _large_kernels(self):
        """The kernels that `product` is called with."""
        return [self.W_o]

    def _encode(self, v):
        """`encode`, after `build`."""
        raise NotImplementedError

    def _step(self, state, gates):
        """`step`, given what it reads of the word, embed(y_{t-1}) K_y + b, (B or 1, G)."""
        raise NotImplementedError

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """`caption_loss` of a batch plus the model's own losses; called by Keras' `fit` and `evaluate`.

        Args:
            x: the inputs; x["y"] holds the targets.   y: unused.   y_pred: the logits.
        """
        return caption_loss(x["y"], y_pred, x.get("words")) + self._own_losses(x, training)

    def _own_losses(self, inputs, training):
        """Losses besides the captions', as they count in training or validation: a scalar."""
        return sum(self.losses)

    def _kernel(self, name, *shape):
        return self.add_weight(name=name, shape=shape, initializer="glorot_uniform")

    def _bias(self, name, start):
        return self.add_weight(name=name, shape=start.shape, initializer=lambda _, dtype: ops.cast(start, dtype))

    def _bias_of_gates(self):
        return self._bias("b", np.repeat([0.0, 1.0, 0.0, 0.0], self.units))  # gates i, f, c, o: the forget bias is 1

    def _build_for(self, v):
        """Creates the variables of a model that is called before it was built."""
        if not self.built:
            self.build({"v": v.shape})

    def _gates_of_words(self, words, training=False):
        """embed(words) K_y + b: (...) -> (..., G)."""
        embedded = self.input_dropout(ops.take(self.embedding, words, axis=0), training=training)
        return ops.matmul(embedded, self.K_y) + self.b

    def _gates_of_word(self, word):
        """What a step reads of a word: y_{t-1}, (B,) or (1,) -> (B or 1, G); None is y_0, with embed(y_0) = 0."""
        return self.b[None] if word is None else self._gates_of_words(word)

    def _write(self, y, training=False):
        """What all steps read of the words, embed(y_{t-1}) K_y + b: (B, T) -> (B, T, G)."""
        first = ops.broadcast_to(self.b, (ops.shape(y)[0], 1, *self.b.shape))  # embed(y_0) = 0
        words = ops.maximum(y[:, :-1], END)  # rows of padding are -1
        return ops.concatenate([first, self._gates_of_words(words, training)], axis=1)

    def _logits(self, h, training=False):
        """logits = W_o h + b_o: (..., H) -> (..., V)."""
        return product(self.output_dropout(h, training=training), self.W_o, self.b_o)

    def _logits_of(self, inputs, h, training=False):
        """The result of `call`: h (B, T, H) -> (B, T, V), or (P, V) of the words in inputs["words"]."""
        return self._logits(at_words(h, inputs.get("words")), training)


class LSTMCaptioner(Captioner):
    """Base class of captioners whose LSTM reads descriptors through x = W_x v + b_x.

    The LSTM's input kernel is stored as two, `K_x` for x and `K_y` for words.

    With contrast > 0 there are embeddings of words beside x, and training adds contrast times the loss of
    `s2vt.captioning.contrast`. The captioner then has one method more, `alignment`. With distillation > 0, training
    adds distillation times the loss of `s2vt.captioning.distillation`.

    Args:
        contrast: weight of the contrast of a batch's pictures and captions, >= 0.
        distillation: weight of the distillation of `alignment` into single descriptors' likelihood, >= 0; needs
            contrast > 0.
        others: as `Captioner`.
    """

    SETTINGS = (*Captioner.SETTINGS, "contrast", "distillation")

    def __init__(self, vocabulary_size, units=1300, embedding_size=300, contrast=0.0, distillation=0.0, **kwargs):
        super().__init__(vocabulary_size, units, embedding_size, **kwargs)
        self.lstm = RNN(units)
        self.contrast_weight, self.distillation_weight = contrast, distillation
        if contrast:
            self.contrast = Contrast(vocabulary_size, units)
            self.alignment = self._alignment  # maps are offered by the methods that a captioner has
        if distillation:
            self.distilled = keras.metrics.Mean(name="distillation")

    def build(self, input_shape):
        """Creates the variables. `input_shape`: {"v": (B, N, D), ...}."""
        D = input_shape["v"][-1]
        H, E, V = self.units, self.embedding_size, self.vocabulary_size
        self.W_x, self.b_x = self._kernel("W_x", D, H), self._bias("b_x", np.zeros(H))
        self.embedding = self._kernel("embedding", V, E)
        self.K_x, self.K_y = self._kernel("K_x", H, 4 * H), self._kernel("K_y", E, 4 * H)
        self.b = self._bias_of_gates()
        self.W_o, self.b_o = self._kernel("W_o", H, V), self._bias("b_o", self.initial_b_o)
        self.lstm.build()
        if self.contrast_weight:
            self.contrast.build()

    def from_the_top(self):
        """As `Captioner.from_the_top`; the contrast's embeddings of words are a part of the output."""
        found = super().from_the_top()
        if self.contrast_weight:
            U = self.contrast.U
            found["decoder"] = [variable for variable in found["decoder"] if variable is not U]
            found["output"].append(U)
        return found

    def _large_kernels(self):
        return [self.W_o, self.K_x, self.lstm.cell.U]

    def _alignment(self, v, words):
        """Agreement of single descriptors with words: cos(W_x v_i + b_x, u_w), numpy.

        Args:
            v: descriptors, (N, D), any float type.   words: word indices, (W,).
        Returns:
            (W, N) float32, in [-1, 1].
        """
        self._build_for(v[None])
        u = ops.take(self.contrast.U, ops.convert_to_tensor(words), axis=0)
        return ops.convert_to_numpy(cosines(self._project(ops.convert_to_tensor(v)), u)).T

    def _project(self, v):
        """x = W_x v + b_x: (..., D), any float type -> (..., H)."""
        return ops.matmul(ops.cast(v, self.compute_dtype), self.W_x) + self.b_x

    def _set_against_others(self, x, inputs):
        """Adds the contrast of x (M, N, H) to the losses, if there is one and the batch names its content words."""
        if self.contrast_weight and "queries" in inputs:
            self.contrast(x, inputs)

    def _own_losses(self, inputs, training):
        """Weighted contrast and distillation in training; in validation only noted, so that losses can be compared."""
        if not self.contrast_weight:
            return 0.0
        if not self.losses:
            raise ValueError(
                'training with contrast needs batches with "medium", "picture", "queries" and "query", those that '
                "CaptionBatches makes of a config with model.contrast"
            )
        (contrast,) = self.losses
        self.contrast.seen.update_state(contrast)
        loss = self.contrast_weight * contrast
        if self.distillation_weight:
            distillation = self._distillation(inputs, training)
            self.distilled.update_state(distillation)
            loss += self.distillation_weight * distillation
        return loss if training else 0.0

    def _distillation(self, inputs, training):
        """`distillation_loss` of a batch of `CaptionBatches` with "alone" (M, K), "caption" (M,) and "asked" (M, Q)."""
        alone, asked = inputs["alone"], inputs["asked"]
        M, K, T = ops.shape(alone)[0], alone.shape[1], ops.shape(inputs["y"])[1]
        v = ops.take_along_axis(inputs["v"][:M], alone[..., None], axis=1)  # (M, K, D)
        y = ops.take(inputs["y"], inputs["caption"], axis=0)  # (M, T)
        u = ops.take(self.contrast.U, ops.take_along_axis(y, ops.maximum(asked, 0), axis=1), axis=0)  # (M, Q, H)
        y, steps = ops.repeat(y, K, axis=0), ops.repeat(asked, K, axis=0)  # a caption for every descriptor, (M K, ...)
        words = ops.where(steps >= 0, ops.arange(M * K, dtype="int32")[:, None] * T + steps, -1)
        one = {"v": ops.reshape(v, (-1, 1, v.shape[-1])), "y": y, "words": ops.reshape(words, (-1,))}
        log_q = -word_losses(y, self(one, training=training), one["words"])
        return distillation_loss(cosines(self._project(v), u), ops.reshape(log_q, (M, K, -1)), asked >= 0)


def repeat_per_caption(leaves, inputs):
    """Repeats each medium's row for each of its captions: leaves (M, ...) -> (B, ...), row b from inputs["medium"][b].

    Without "medium", caption b belongs to medium b and the leaves are returned unchanged.
    """
    if "medium" not in inputs:
        return leaves
    return keras.tree.map_structure(lambda leaf: ops.take(leaf, inputs["medium"], axis=0), leaves)


def at_words(values, words=None):
    """The rows of P words of a batch: (B, T, ...) -> (P, ...).

    Args:
        words: (P,) positions b T + t; -1 is padding. None: `values` is returned unchanged.
    """
    if words is None:
        return values
    return ops.take(ops.reshape(values, (-1, *values.shape[2:])), ops.maximum(words, 0), axis=0)


def caption_mask(y):
    """1 for each word of a caption and its first END, 0 for the padding after it: (B, T) -> (B, T) float32.

    Rows of padding, which consist of -1, have none.

    Example:
        >>> print(ops.convert_to_numpy(caption_mask(np.array([[4, 1, 0, 0], [4, 1, 2, 3]]))))
        [[1. 1. 1. 0.]
         [1. 1. 1. 1.]]
    """
    end = ops.cast(ops.equal(y, END), "int32")
    return ops.cast(ops.logical_and(ops.equal(ops.cumsum(end, axis=-1) - end, 0), y >= 0), "float32")


def word_mask(y, words=None):
    """`caption_mask` (B, T); or, of P words, 1 for words and 0 for padding, (P,)."""
    return caption_mask(y) if words is None else ops.cast(words >= 0, "float32")


def word_losses(y, logits, words=None):
    """Cross entropy of each word and END, -log P(y_bt | y_b<t, v_b), 0 for padding.

    Args:
        y: word indices, (B, T).   logits: (B, T, V), or (P, V) of `words`.   words: as `at_words`.
    Returns:
        (B, T) or (P,), float32, nats.
    """
    logits = ops.cast(logits, "float32")
    loss = ops.sparse_categorical_crossentropy(at_words(y, words), logits, from_logits=True)
    return word_mask(y, words) * loss


def caption_loss(y, logits, words=None):
    """Mean cross entropy per word of a batch, END included: a scalar, nats.

        sum over (b, t) of mask(b, t) (-log P(y_bt | y_b<t, v_b)) / sum over (b, t) of mask(b, t)

    The mean is over words, not over captions. Arguments as `word_losses`.
    """
    return ops.sum(word_losses(y, logits, words)) / ops.sum(word_mask(y, words))
