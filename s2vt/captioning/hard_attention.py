"""Hard attention: each word is predicted from one descriptor, sampled from alpha (Xu et al. 2015, section 4.1).

Letters: as in `soft_attention`.
"""

import keras
from keras import ops

from s2vt.captioning.captioner import caption_mask, word_losses
from s2vt.captioning.soft_attention import SoftAttention


class HardAttention(SoftAttention):
    """A captioner that attends to one location per word.

        s_t ~ Multinoulli(alpha_t),  z_t = v_{s_t};  all else as `SoftAttention`

    The expectation of log P(y | s, v) over sequences s of locations is a lower bound of log P(y | v). Its gradient is
    estimated with one sample s~ (REINFORCE), a moving-average baseline b and an entropy term:

        dL/dW = d log P(y | s~, v)/dW + lambda_r (log P(y | s~, v) - b) d log P(s~ | v)/dW + lambda_e dH[s~]/dW
        b <- 0.9 b + 0.1 mean over the batch of log P(y | s~, v)

    The first term is the cross entropy of all captioners. The other two are the loss that this model adds in training,
    also divided by the batch's number of words. For a share `soft_share` of the captions s~ is replaced by its
    expectation alpha; these have no second term.

    Outside training the location is argmax_i alpha_ti, so captions and q_i are deterministic.

    Parameters: those of `SoftAttention`, and b, which is not trained.

    Args:
        reinforce: lambda_r.   entropy: lambda_e.   soft_share: share of the captions, in [0, 1] (Xu 2015: 0.5).
        others: as `SoftAttention`.
    """

    SETTINGS = (*SoftAttention.SETTINGS, "reinforce", "entropy", "soft_share")

    def __init__(self, vocabulary_size, units=1300, reinforce=1.0, entropy=0.002, soft_share=0.5, **kwargs):
        super().__init__(vocabulary_size, units, **kwargs)
        self.reinforce, self.entropy, self.soft_share = reinforce, entropy, soft_share
        self.locations = keras.random.SeedGenerator()

    def build(self, input_shape):
        super().build(input_shape)
        self.baseline = self.add_weight(
            name="baseline",
            shape=(),
            initializer="zeros",
            trainable=False,
            autocast=False,  # float32, as the losses
        )

    def _draws(self, zeros, training):
        """From zeros (B, T, N): 1 for captions that use alpha itself, (B, T, 1), and Gumbel noise, (B, T, N)."""
        if not training:
            return ()
        uniform = keras.random.uniform(ops.shape(zeros), 1e-7, 1, seed=self.locations)
        soft = keras.random.uniform((ops.shape(zeros)[0], 1, 1), seed=self.locations) < self.soft_share
        per_word = ops.sum(zeros, axis=-1, keepdims=True)  # zeros (B, T, 1), for any N, known or not
        return ops.cast(soft, zeros.dtype) + per_word, ops.cast(-ops.log(-ops.log(uniform)), zeros.dtype)

    def _choose(self, log_alpha, draw):
        """s (B, N): one-hot at argmax_i (log alpha_i + noise_i), with Gumbel noise a sample of alpha; or alpha."""
        soft, noise = draw or (0.0, 0.0)
        location = ops.argmax(log_alpha + noise, axis=-1)
        one_hot = ops.equal(ops.arange(ops.shape(log_alpha)[-1])[None], ops.cast(location, "int32")[:, None])
        return (1 - soft) * ops.cast(one_hot, log_alpha.dtype) + soft * ops.exp(log_alpha)

    def _training_loss(self, inputs, logits, log_alpha, s):
        """The second and third term and the penalty, added to the cross entropy in training; updates the baseline."""
        y, words = inputs["y"], inputs.get("words")
        losses = word_losses(y, logits, words)  # (B, T) or (P,)
        if words is not None:
            B, T = ops.shape(y)
            losses = ops.segment_sum(losses, ops.maximum(words, 0) // T, B)[:, None]
        log_p = -ops.sum(losses, axis=-1)  # (B,)
        mask = caption_mask(y)
        loss = reinforce_loss(log_p, log_alpha, s, mask, self.baseline, self.reinforce, self.entropy)
        mean = ops.sum(ops.stop_gradient(log_p)) / ops.sum(mask[:, 0])  # over captions: each has a first word
        self.baseline.assign(0.9 * self.baseline + 0.1 * mean)
        return loss + super()._training_loss(inputs, logits, log_alpha, s)


def reinforce_loss(log_p, log_alpha, s, mask, baseline, reinforce=1.0, entropy=0.0):
    """The loss whose negative gradient is the second and third term of the learning rule.

        -(sum_b lambda_r (log P(y_b | s~_b) - b) sum_t log alpha_{t, s~_t} + lambda_e sum_bt H[alpha_bt]) / words

    Args:
        log_p: log P(y | s~, v) of whole captions, (B,); no gradient passes through it.
        log_alpha: (B, T, N).
        s: (B, T, N), one-hot; rows that are not one-hot count in the entropy only.
        mask: 1 for words, 0 for padding, (B, T).
        baseline: b.   reinforce: lambda_r.   entropy: lambda_e.
    Returns:
        A scalar, nats per word.
    """
    advantage = ops.stop_gradient(log_p - baseline)
    sampled = ops.cast(ops.equal(ops.max(s, axis=-1), 1), mask.dtype)  # (B, T)
    log_p_s = ops.sum(mask * sampled * ops.sum(ops.stop_gradient(s) * log_alpha, axis=-1), axis=-1)  # (B,)
    H = -ops.sum(ops.exp(log_alpha) * log_alpha, axis=-1)  # (B, T)
    return -(reinforce * ops.sum(advantage * log_p_s) + entropy * ops.sum(mask * H)) / ops.sum(mask)
