"""The prefix tree, its states, and the memory bound, on a captioner of three matrices."""

import weakref

import numpy as np
import pytest
from keras import ops
from toys import Counted

from s2vt.saliency.teacher_forcing import (
    bytes_per_row,
    bytes_per_row_along,
    decode_prefixes,
    prefixes,
    states_held,
    teacher_forcing,
)

N, L, D, H, V = 11, 2, 3, 5, 7
SENTENCES = [[4, 1, 5, 2], [4, 1], [4, 1, 6], [3], [4, 1, 5, 2], [4, 5, 5, 2, 1]]
WORDS = [None, [4], [1], [5], [5], [5], [2]]  # the last words of (), 4, 4 1, 4 1 5, 4 5, 4 5 5, 4 5 5 2


class Toy:
    """h = tanh(sum_i v_i W_x); then h = tanh(h + word's row of W_y), logits = h W_o."""

    def __init__(self):
        rng = np.random.default_rng(1)
        self.W_x, self.W_y, self.W_o = (rng.normal(size=s).astype("float32") for s in ((D, H), (V, H), (H, V)))

    def encode(self, v):
        return ops.tanh(ops.matmul(ops.sum(v, axis=1), self.W_x))

    def step(self, h, word):
        h = ops.tanh(h if word is None else h + self.W_y[word])
        return ops.matmul(h, self.W_o), h


class InOnePass(Toy):
    """The toy, whose `step` also scores the words of a whole sentence; `passes` has the words of each time it does."""

    def __init__(self):
        super().__init__()
        self.passes, self.rows = [], []
        self.step = type("Step", (), {"__call__": self._not_called, "along": staticmethod(self._along)})()

    def _not_called(self, *_):
        raise AssertionError("word by word")

    def _along(self, h, words):
        self.passes.append(list(words))
        self.rows.append(len(h))
        logits = []
        for word in [None, *words]:
            of_word, h = super().step(h, None if word is None else [word])
            logits.append(of_word)
        return np.stack(logits, axis=1)


def logits_alone(v, y):
    """Of one sentence from one group of descriptors (L, D), in numpy: (T, V)."""
    toy, logits = Toy(), []
    h = np.tanh(v.sum(axis=0) @ toy.W_x)
    for word in [None, *y[:-1]]:
        h = np.tanh(h if word is None else h + toy.W_y[word])
        logits.append(h @ toy.W_o)
    return np.stack(logits)


def bytes_of_a_row(length=1, states=0):
    """Of the toy, whose state has H numbers."""
    return 4 * (length * D + 4 * (length - 1) * H + 2 * V + (4 + states) * H)


def descriptors(*shape):
    return np.random.default_rng(8).normal(size=shape).astype("float32")


# The tree


def test_prefix_tree_by_hand():
    tree = prefixes([tuple(y) for y in SENTENCES])
    assert list(tree) == [(), (4,), (4, 1), (4, 1, 5), (4, 5), (4, 5, 5), (4, 5, 5, 2)]
    assert tree[()] == [0, 1, 2, 3, 4, 5] and tree[4,] == [0, 1, 2, 4, 5] and tree[4, 1] == [0, 2, 4]
    assert states_held(tree) == 1  # after 4, for (4, 5), while (4, 1, 5) is stepped


class Numbered:
    """A leaf of a state; counts those that are still referenced."""

    alive = 0

    def __init__(self):
        Numbered.alive += 1

    def __del__(self):
        Numbered.alive -= 1


def test_no_more_states_are_held_than_stated(monkeypatch):
    monkeypatch.setattr(ops, "stop_gradient", lambda leaf: leaf)
    rng = np.random.default_rng(3)
    for _ in range(20):
        tree = prefixes([tuple(rng.integers(1, 3, size=rng.integers(1, 8)).tolist()) for _ in range(9)])
        most = max(Numbered.alive for _ in decode_prefixes(lambda state, word: (0, Numbered()), Numbered(), tree))
        assert most <= states_held(tree) + 2  # those stated, the one before the step and the one after


# The stream


@pytest.mark.parametrize("kind", [Toy, InOnePass])
@pytest.mark.parametrize("memory_budget", [1, 3000, 2**28])
@pytest.mark.parametrize("shape", [(N, D), (N, L, D)])
def test_logits_are_those_of_one_sentence_from_one_descriptor(shape, memory_budget, kind):
    v = descriptors(*shape)
    found = [np.full((len(y), N, V), np.nan, "float32") for y in SENTENCES]
    toy = kind()
    for rows, t, which, logits in teacher_forcing(toy.encode, toy.step, v, SENTENCES, memory_budget):
        for s in which:
            assert np.isnan(found[s][t, rows]).all()  # each once
            found[s][t, rows] = ops.convert_to_numpy(logits)
    for y, of_sentence in zip(SENTENCES, found, strict=True):
        expected = np.stack([logits_alone(np.atleast_2d(of_row), y) for of_row in v], axis=1)
        np.testing.assert_allclose(of_sentence, expected, rtol=1e-4, atol=1e-5, strict=True)


def run(v, sentences=SENTENCES, **settings):
    """The calls that teacher forcing makes."""
    counted = Counted(Toy())
    for _ in teacher_forcing(counted.encode, counted.step, v, sentences, **settings):
        pass
    return counted


def test_each_distinct_prefix_is_stepped_once_and_none_beyond_the_last_word():
    counted = run(descriptors(N, D))
    assert counted.encoded == [(1, 1, D), (N, 1, D)]  # a trial of one row, then all in one batch
    assert counted.words == [None, *WORDS] and counted.rows == [1, *[N] * 7]


def test_one_row_needs_no_trial():
    counted = run(descriptors(1, N, D))
    assert counted.encoded == [(1, N, D)] and counted.words == WORDS


@pytest.mark.parametrize("budget, chunks", [
    (1, [1] * 11),
    (2 * bytes_of_a_row(states=1), [1, 2, 2, 2, 2, 2]),
    (5 * bytes_of_a_row(states=1) - 1, [3, 4, 4]),
    (10 * bytes_of_a_row(states=1), [5, 6]),
    (11 * bytes_of_a_row(states=1), [11]),
])  # fmt: skip
def test_chunks_are_what_the_budget_holds(budget, chunks):
    counted = run(descriptors(N, D), memory_budget=budget)
    assert counted.encoded == [(1, 1, D), *((n, 1, D) for n in chunks)]
    assert counted.words == [None, *WORDS * len(chunks)]
    assert counted.rows == [1, *np.repeat(chunks, 7)]


def test_all_words_of_a_sentence_are_scored_in_one_pass():
    toy = InOnePass()
    of_a_row = 4 * (2 * D + 4 * H + 3 * 5 * V)  # the longest sentence has 5 words
    for _ in teacher_forcing(toy.encode, toy.step, descriptors(N, D), SENTENCES, memory_budget=6 * of_a_row):
        pass
    passes = [[4, 1, 5], [4, 5, 5, 2]]  # of the words before a last one; that of [3] is among them
    assert toy.passes == [[4, 5, 5, 2], *passes, *passes] and toy.rows == [1, 5, 5, 6, 6]  # a trial, then two chunks
    assert bytes_per_row_along((D,), np.zeros((1, 5, V)), np.zeros((1, H))) == of_a_row


def test_bytes_of_a_row_by_hand():
    toy = Toy()
    logits, state = toy.step(toy.encode(np.zeros((1, 1, D), "float32")), None)
    assert bytes_per_row((D,), logits, state) == bytes_of_a_row() == 4 * (3 + 14 + 20)
    assert bytes_per_row((L, D), logits, state, 3) == bytes_of_a_row(L, 3) == 4 * (6 + 20 + 14 + 35)
    read = np.zeros((1, L, 4))  # what attention looks at counts once, not once more for each of L
    assert bytes_per_row((L, D), logits, (state, read), 3) == 4 * (6 + 20 + 14 + 7 * (5 + 8))


def test_no_chunk_is_larger_than_a_clip_of_the_paper():
    counted = run(np.zeros((1691, D), "float32"), [[4]])
    assert counted.encoded == [(1, 1, D), (845, 1, D), (846, 1, D)]  # 26 (64 + 1) = 1690 at most


def test_v_is_read_by_slices_of_a_chunk():
    class Mapped:
        shape, read = (N, D), []

        def __getitem__(self, rows):
            self.read.append(rows)
            return np.zeros((rows.stop - rows.start, D), "float16")

    run(Mapped(), memory_budget=5 * bytes_of_a_row(states=1))
    assert Mapped.read == [slice(0, 1), slice(0, 3), slice(3, 7), slice(7, 11)]


def test_logits_are_freed_before_the_next_step():
    toy, of_steps = Toy(), []

    def step(state, word):
        assert all(logits() is None for logits in of_steps)
        logits, state = toy.step(state, word)
        of_steps.append(weakref.ref(logits))
        return logits, state

    for *_, logits in teacher_forcing(toy.encode, step, descriptors(N, D), SENTENCES):
        del logits
    assert len(of_steps) == 1 + 7


# Errors


@pytest.mark.parametrize("shape, sentences, facts", [
    ((1, 1, N, D), [[4]], r"\(1, 1, 11, 3\) and \(1,\)"),
    ((0, D), [[4]], r"\(0, 3\) and \(1,\)"),
    ((N, D), [[4], []], r"\(11, 3\) and \(0,\)"),
    ((N, D), [4, 1], r"\(11, 3\) and \(\)"),
])  # fmt: skip
def test_wrong_shapes_are_named_before_any_call(shape, sentences, facts):
    with pytest.raises(ValueError, match=rf"\(N, D\) or \(N, L, D\) .* received {facts}"):
        teacher_forcing(None, None, np.zeros(shape), sentences)


@pytest.mark.parametrize("word", [7, -1])
def test_words_outside_the_vocabulary_are_named(word):
    with pytest.raises(ValueError, match=rf"0\.\.6, .* received \[{word}\]"):
        run(descriptors(N, D), [[4, 1], [4, 2, word]])
