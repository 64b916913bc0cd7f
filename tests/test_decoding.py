"""Greedy decoding and beam search, on captioners of known probabilities and against a search over lists."""

import numpy as np
import pytest

from s2vt.captioning.decoding import beam, greedy
from s2vt.captioning.s2vt import S2VT

END, A, B, C, D = range(5)


class Markov:
    """A captioner of given probabilities, P(next | word), those of the first word under START; counts its steps."""

    START = -1

    def __init__(self, next_words):
        self.log_p = np.full((6, 5), -50.0, "float32")
        for word, row in next_words.items():
            for following, probability in row.items():
                self.log_p[word, following] = np.log(probability)
        self.steps = 0

    def encode(self, v):
        return np.zeros((len(v), 1), "float32")

    def step(self, state, word):
        self.steps += 1
        return self.log_p[np.full(len(state), self.START) if word is None else word], state


class WithMemory:
    """A captioner whose next word depends on all previous words, so that a state of another sentence has an effect."""

    table = np.random.default_rng(13).normal(size=(997, 5)).astype("float32") * 2

    def encode(self, v):
        return {"history": np.asarray(v)[:, 0, :1].astype("int64")}

    def step(self, state, word):
        history = np.asarray(state["history"])
        history = (history * 31 + (7 if word is None else np.asarray(word)[:, None])) % 997
        return self.table[history[:, 0]], {"history": history}


@pytest.fixture(scope="module")
def captioner():
    rng = np.random.default_rng(20)
    model = S2VT(vocabulary_size=7, units=5, embedding_size=4)
    model.build({"v": (None, None, 3)})
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return model


@pytest.fixture(scope="module")
def v():
    return np.random.default_rng(4).normal(size=(5, 6, 3)).astype("float32") * 3


def reference_beam(captioner, v, width, max_words):
    """Beam search for one row of descriptors, with a list of sentences."""

    def log_probabilities(sentence):
        state = captioner.encode(v[None])
        for word in [None, *sentence]:
            logits, state = captioner.step(state, None if word is None else np.array([word]))
        logits = np.asarray(logits, "float64")[0]
        return logits - np.log(np.exp(logits).sum())

    kept = [((), 0.0)]
    for _ in range(max_words):
        grown = []
        for sentence, log_p in kept:
            if sentence and sentence[-1] == END:
                grown.append((sentence, log_p))
            else:
                grown += [((*sentence, w), log_p + step) for w, step in enumerate(log_probabilities(sentence))]
        kept = sorted(grown, key=lambda item: -item[1] / len(item[0]))[:width]
    return [w for w in kept[0][0] if w != END]


def test_greedy_by_hand():
    captioner = Markov({Markov.START: {A: 0.6, B: 0.4}, A: {C: 0.4, B: 0.3, D: 0.3}, B: {C: 1.0}, C: {END: 1.0}})
    assert greedy(captioner, np.zeros((2, 3, 4))) == [[A, C], [A, C]]
    assert captioner.steps == 3  # all sentences ended


def test_beam_finds_a_more_probable_sentence_than_greedy():
    # Greedy: A C END, 0.6 x 0.4 = 0.24; better: B C END, 0.4.
    captioner = Markov({Markov.START: {A: 0.6, B: 0.4}, A: {C: 0.4, B: 0.3, D: 0.3}, B: {C: 1.0}, C: {END: 1.0}})
    assert beam(captioner, np.zeros((2, 3, 4)), width=2) == [[B, C], [B, C]]
    assert captioner.steps <= 4


def test_beam_scores_are_per_word():
    # END alone is the most probable (0.45 > 0.55 x 0.9 x 0.9 = 0.4455), but not per word (0.45 < 0.4455 ^ 1/3).
    captioner = Markov({Markov.START: {A: 0.55, END: 0.45}, A: {B: 0.9, C: 0.1}, B: {END: 0.9, C: 0.1}, C: {END: 1.0}})
    assert beam(captioner, np.zeros((1, 3, 4)), width=3) == [[A, B]]


def test_beam_counts_end_as_a_word():
    # A END: 0.5 ^ 1/2 = 0.707 > B C END: 0.34 ^ 1/3 = 0.698; without END it would be 0.5 < 0.34 ^ 1/2 = 0.583.
    captioner = Markov(
        {Markov.START: {A: 0.5, B: 0.34, D: 0.16}, A: {END: 1.0}, B: {C: 1.0}, C: {END: 1.0}, D: {A: 0.1, D: 0.9}}
    )
    assert beam(captioner, np.zeros((1, 3, 4)), width=2, max_words=3) == [[A]]


def test_beam_equals_a_search_over_lists(captioner, v):
    expected = [reference_beam(captioner, row, width=3, max_words=5) for row in v]
    assert beam(captioner, v, width=3, max_words=5) == expected
    assert len({tuple(sentence) for sentence in expected}) > 2  # the rows differ


def test_beam_moves_the_state_with_its_sentence():
    v = np.arange(24.0).reshape(24, 1, 1)
    for width in (2, 4):
        expected = [reference_beam(WithMemory(), row, width, max_words=6) for row in v]
        assert beam(WithMemory(), v, width, max_words=6) == expected


def test_beam_of_width_1_equals_greedy(captioner, v):
    sentences = greedy(captioner, v, max_words=9)
    assert len({len(sentence) for sentence in sentences}) > 1
    assert beam(captioner, v, width=1, max_words=9) == sentences


def test_greedy_takes_the_argmax_of_teacher_forcing(captioner, v):
    sentences = greedy(captioner, v, max_words=8)
    y = np.array([[*sentence, *[END] * (8 - len(sentence))] for sentence in sentences])
    predicted = np.asarray(captioner({"v": v, "y": y})).argmax(axis=-1)
    for sentence, words in zip(sentences, predicted, strict=True):
        n = min(len(sentence) + 1, 8)
        assert [*sentence, END][:n] == words[:n].tolist()


def test_a_batch_equals_single_examples(captioner, v):
    assert greedy(captioner, v, 7) == [greedy(captioner, row[None], 7)[0] for row in v]
    assert beam(captioner, v, 3, max_words=7) == [beam(captioner, row[None], 3, max_words=7)[0] for row in v]


def test_sentences_are_cut_at_max_words():
    captioner = Markov({Markov.START: {A: 1.0}, A: {B: 1.0}, B: {A: 0.9, END: 0.1}})
    assert greedy(captioner, np.zeros((1, 3, 4)), max_words=5) == [[A, B, A, B, A]]
    assert beam(captioner, np.zeros((1, 3, 4)), width=1, max_words=5) == [[A, B, A, B, A]]
    assert greedy(captioner, np.zeros((1, 3, 4)), max_words=1) == [[A]]
    assert beam(captioner, np.zeros((1, 3, 4)), width=2, max_words=1) == [[A]]


@pytest.mark.parametrize("width", [0, 6])
def test_width_is_between_1_and_the_vocabulary(width):
    with pytest.raises(ValueError, match=f"width.*5.*{width}"):
        beam(Markov({}), np.zeros((1, 3, 4)), width)
