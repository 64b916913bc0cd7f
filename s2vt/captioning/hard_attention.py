"""Hard attention: with every word one descriptor, drawn at random (Xu et al. 2015, section 4.1).

Letters: B batch, N descriptors, T words, as in `soft_attention`, of which this is the stochastic form.
"""

import keras
from keras import ops

from s2vt.captioning.captioner import caption_mask, word_losses
from s2vt.captioning.soft_attention import SoftAttention


class HardAttention(SoftAttention):
    """The captioner that looks at one location per word.

        s_t ~ Multinoulli(alpha_t),  z_t = v_{s_t}                       and else as `SoftAttention`

    log P(y | v) is bounded from below by the mean of log P(y | s, v) over the locations' sequences s. The bound's
    gradient is estimated with one sample s~ (REINFORCE), with a moving-average baseline b and an entropy term:

        dL/dW = d log P(y | s~, v)/dW + lambda_r (log P(y | s~, v) - b) d log P(s~ | v)/dW + lambda_e dH[s~]/dW
        b <- 0.9 b + 0.1 mean over the batch of log P(y | s~, v)

    The first term is the captions' cross entropy, as for every captioner; the two others are the loss that this model
    adds in training, divided as it is by the batch's number of words. For a share `expected` of the sentences s~ is
    replaced by its expectation alpha (Xu 2015: 0.5), and these have no second term.

    Outside training the location is the likeliest, argmax_i alpha_ti: captions and q_i are no matter of chance.

    Parameters: those of `SoftAttention`, and b, which is not trained.

    Args:
        reinforce: lambda_r.   entropy: lambda_e.   expected: share of the sentences, in [0, 1].
        others: as `SoftAttention`.
    """

    SETTINGS = (*SoftAttention.SETTINGS, "reinforce", "entropy", "expected")

    def __init__(self, vocabulary_size, units=1300, reinforce=1.0, entropy=0.002, expected=0.5, **kwargs):
        super().__init__(vocabulary_size, units, **kwargs)
        self.reinforce, self.entropy, self.expected = reinforce, entropy, expected
        self.locations = keras.random.SeedGenerator()

    def build(self, input_shape=None):
        super().build(input_shape)
        self.baseline = self.add_weight(name="baseline", shape=(), initializer="zeros", trainable=False)

    def _draws(self, zeros, training):
        """From zeros (B, T, N): 1 where a sentence takes the expectation, (B, T, 1), and Gumbel noise (B, T, N)."""
        if not training:
            return ()
        uniform = keras.random.uniform(ops.shape(zeros), 1e-7, 1, seed=self.locations)
        expected = keras.random.uniform((ops.shape(zeros)[0], 1, 1), seed=self.locations) < self.expected
        every_word = ops.sum(zeros, axis=-1, keepdims=True)  # (B, T, 1), also where N is not known
        return ops.cast(expected, zeros.dtype) + every_word, -ops.log(-ops.log(uniform))

    def _choose(self, log_alpha, draw):
        """s (B, N): 1 at argmax_i (log alpha_i + noise_i), which with Gumbel noise is a sample of alpha; or alpha."""
        expected, noise = draw or (0.0, 0.0)
        location = ops.argmax(log_alpha + noise, axis=-1)
        one = ops.equal(ops.arange(ops.shape(log_alpha)[-1])[None], ops.cast(location, "int32")[:, None])
        return (1 - expected) * ops.cast(one, log_alpha.dtype) + expected * ops.exp(log_alpha)

    def _training_loss(self, inputs, logits, log_alpha, s):
        """Added to the captions' cross entropy in training; also moves the baseline."""
        y, words = inputs["y"], inputs.get("words")
        losses = word_losses(y, logits, words)  # (B, T) or (P,)
        if words is not None:
            B, T = ops.shape(y)
            losses = ops.segment_sum(losses, ops.maximum(words, 0) // T, B)[:, None]
        log_p = -ops.sum(losses, axis=-1)  # (B,)
        loss = reinforce_loss(log_p, log_alpha, s, caption_mask(y), self.baseline, self.reinforce, self.entropy)
        self.baseline.assign(0.9 * self.baseline + 0.1 * ops.mean(ops.stop_gradient(log_p)))
        return loss + super()._training_loss(inputs, logits, log_alpha, s)


def reinforce_loss(log_p, log_alpha, s, mask, baseline, reinforce=1.0, entropy=0.0):
    """The loss whose gradient is that of the learning rule's second and third term, with the sign turned.

        -(sum_b lambda_r (log P(y_b | s~_b) - b) sum_t log alpha_{t, s~_t} + lambda_e sum_bt H[alpha_bt]) / words

    Args:
        log_p: log P(y | s~, v) of the whole sentences, (B,), taken as given numbers.
        log_alpha: (B, T, N).
        s: (B, T, N), one location each; rows that are no single location count in the entropy only.
        mask: 1 for the words, 0 for the padding, (B, T).
        baseline: b.   reinforce: lambda_r.   entropy: lambda_e.
    """
    advantage = ops.stop_gradient(log_p - baseline)
    sampled = ops.cast(ops.equal(ops.max(s, axis=-1), 1), mask.dtype)  # (B, T)
    log_p_s = ops.sum(mask * sampled * ops.sum(ops.stop_gradient(s) * log_alpha, axis=-1), axis=-1)  # (B,)
    H = -ops.sum(ops.exp(log_alpha) * log_alpha, axis=-1)  # (B, T)
    return -(reinforce * ops.sum(advantage * log_p_s) + entropy * ops.sum(mask * H)) / ops.sum(mask)
