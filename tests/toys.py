"""Small captioners for tests."""

import numpy as np


def with_random_weights(model, D, seed=7):
    """A captioner of this project, built for descriptors of D numbers, every weight standard normal."""
    model.build({"v": (None, None, D)})
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return model


class Counted:
    """A captioner's two callables, with notes of each call.

    Attributes:
        encoded: shape of v in each call of `encode`.
        words: the word of each call of `step`, None or [w].
        rows: R of each call of `step`.
    """

    def __init__(self, captioner):
        self.captioner, self.encoded, self.words, self.rows = captioner, [], [], []

    def encode(self, v):
        self.encoded.append(tuple(v.shape))
        return self.captioner.encode(v)

    def step(self, state, word):
        self.words.append(None if word is None else np.asarray(word).tolist())
        logits, state = self.captioner.step(state, word)
        self.rows.append(logits.shape[0])
        return logits, state
