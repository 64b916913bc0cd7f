"""Eq. 6 and 7 by hand and against the unstreamed road; video, picture, other engines, and a toy task."""

import importlib.util
import os
import subprocess
import sys
import weakref
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from s2vt.captioning.s2vt import S2VT
from s2vt.saliency.heatmaps import phrase_loss, scale
from s2vt.saliency.information_loss import (
    frames_alone,
    image_saliency,
    information_loss,
    log_partition,
    query_loss,
    representativeness,
    sentence_log_probabilities,
    video_saliency,
)
from s2vt.saliency.teacher_forcing import bytes_per_row, decode_prefixes, prefixes, states_held

N, T, D, H, E, V = 11, 4, 3, 5, 8, 7
Y = np.array([4, 1, 5, 2])
SENTENCES = [Y, Y[:2], np.array([4, 1, 6]), np.array([3]), Y, np.array([4, 5, 5, 2, 1])]


class Counted:
    """A captioner that notes the shapes of what it is given."""

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


@pytest.fixture(scope="module")
def captioner():
    rng = np.random.default_rng(7)
    model = S2VT(V, units=H, embedding_size=E)
    model.build({"v": (None, None, D)})
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return model


@pytest.fixture(scope="module")
def v():
    return np.random.default_rng(8).normal(size=(N, D)).astype("float32")


def log_softmax(logits):
    logits = np.asarray(ops.convert_to_numpy(logits), "float64")
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def literal_losses(captioner, v, y):
    """Eq. 6 and 7 as they stand, one descriptor at a time by teacher forcing -> loss (T, N), kl (T, N)."""
    log_p = log_softmax(captioner({"v": v[None], "y": y[None]}))[0]  # (T, V)
    log_q = np.stack([log_softmax(captioner({"v": v[i, None, None], "y": y[None]}))[0] for i in range(len(v))], 1)
    loss = -log_q[np.arange(len(y)), :, y]
    kl = np.sum(np.exp(log_p)[:, None] * (log_p[:, None] - log_q), axis=-1)
    return loss.astype("float32"), kl.astype("float32")


# By hand


def test_query_loss_by_hand():
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.125, 0.125, 0.75]], "float32")) - 2
    loss = ops.convert_to_numpy(query_loss(logits, ops.logsumexp(logits, axis=-1), [1, 1, 0]))
    np.testing.assert_allclose(loss, np.log([[4, 4, 2], [8, 8, 8]]).astype("float32"), rtol=1e-6, strict=True)


def test_representativeness_by_hand():
    # KL = 1/2 log(1/2 / 1/4) + 1/2 log(1/2 / 1/2) = 0.5 log 2 for the first, 0 for the second; log 0 counts as 0.
    logits = np.log(np.array([[0.25, 0.5, 0.25], [0.5, 0.5, 1e-30]], "float32")) + 5
    log_p = np.array([np.log(0.5), np.log(0.5), -np.inf], "float32")
    kl = ops.convert_to_numpy(representativeness(logits, ops.logsumexp(logits, axis=-1), log_p))
    np.testing.assert_allclose(kl, np.array([0.5 * np.log(2), 0], "float32"), rtol=1e-5, atol=1e-6, strict=True)


# Two roads


def test_losses_are_the_equations_one_descriptor_at_a_time(captioner, v):
    (log_p,) = sentence_log_probabilities(captioner.encode, captioner.step, v, [Y])
    ((loss, kl),) = information_loss(captioner.encode, captioner.step, v, [Y], [log_p])
    expected_loss, expected_kl = literal_losses(captioner, v, Y)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-4, atol=1e-5, strict=True)
    np.testing.assert_allclose(kl, expected_kl, rtol=1e-3, atol=2e-5, strict=True)
    assert (loss >= 0).all() and (kl >= 0).all()
    assert np.ptp(loss, axis=1).min() > 0.01  # the descriptors do differ


def test_log_p_is_teacher_forcing_on_all_descriptors(captioner, v):
    (log_p,) = sentence_log_probabilities(captioner.encode, captioner.step, v, [Y])
    expected = log_softmax(captioner({"v": v[None], "y": Y[None]}))[0].astype("float32")
    np.testing.assert_allclose(log_p, expected, rtol=1e-4, atol=1e-5, strict=True)


def test_a_descriptor_represents_itself(captioner, v):
    (log_p,) = sentence_log_probabilities(captioner.encode, captioner.step, v[2:3], [Y])
    ((loss, kl),) = information_loss(captioner.encode, captioner.step, v, [Y], [log_p])
    np.testing.assert_allclose(kl[:, 2], np.zeros(T, "float32"), atol=1e-6, strict=True)
    np.testing.assert_allclose(loss[:, 2], -log_p[np.arange(T), Y], rtol=1e-5, strict=True)


def test_without_log_p_there_is_no_kl(captioner, v):
    (found,) = information_loss(captioner.encode, captioner.step, v, [Y])
    assert found.kl is None


def test_streamed_is_unstreamed_in_as_many_calls_as_stated(captioner, v):
    (log_p,) = sentence_log_probabilities(captioner.encode, captioner.step, v, [Y])
    row = 4 * (D + 2 * V + 4 * 2 * H)
    state = captioner.encode(v[:1, None])
    assert bytes_per_row((D,), captioner.step(state, None)[0], state) == row
    words = [None, [4], [1], [5]]
    whole = Counted(captioner)
    ((loss, kl),) = information_loss(whole.encode, whole.step, v, [Y], [log_p])
    assert whole.encoded == [(1, 1, D), (N, 1, D)]  # the trial of one row, then all in one batch: n + 1 LSTM steps
    assert whole.words == [None, *words] and whole.rows == [1, *[N] * T]
    for budget, chunks in (
        (1, [1] * 11),
        (row * 2, [1, 2, 2, 2, 2, 2]),
        (row * 5 - 1, [3, 4, 4]),
        (row * 10, [5, 6]),
        (row * 11, [11]),
    ):
        streamed = Counted(captioner)
        ((streamed_loss, streamed_kl),) = information_loss(streamed.encode, streamed.step, v, [Y], [log_p], budget)
        np.testing.assert_allclose(streamed_loss, loss, rtol=1e-5, atol=1e-6, strict=True)
        np.testing.assert_allclose(streamed_kl, kl, rtol=1e-5, atol=1e-6, strict=True)
        assert streamed.encoded == [(1, 1, D), *((n, 1, D) for n in chunks)]
        assert streamed.words == [None, *words * len(chunks)]
        assert streamed.rows == [1, *np.repeat(chunks, T)]


def test_no_chunk_is_larger_than_a_clip_of_the_paper(captioner):
    counted = Counted(captioner)
    many = np.zeros((1691, D), "float32")
    information_loss(counted.encode, counted.step, many, [Y])
    assert counted.encoded == [(1, 1, D), (845, 1, D), (846, 1, D)]  # 26 (64 + 1) = 1690 at most


def test_logits_are_let_go_before_the_next_step(captioner, v):
    (log_p,) = sentence_log_probabilities(captioner.encode, captioner.step, v, [Y])
    of_chunks = []

    def step(state, word):
        assert all(logits() is None for logits in of_chunks)
        logits, state = captioner.step(state, word)
        if logits.shape[0] > 1:  # not the trial's
            of_chunks.append(weakref.ref(logits))
        return logits, state

    information_loss(captioner.encode, step, v, [Y], [log_p])
    assert len(of_chunks) == T


def test_a_memory_map_of_halves_is_read_by_chunks(captioner, v, tmp_path):
    np.save(tmp_path / "v.npy", v.astype("float16"))
    counted = Counted(captioner)
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    ((loss, _),) = information_loss(counted.encode, counted.step, mapped, [Y], memory_budget=1)
    ((expected, _),) = information_loss(captioner.encode, captioner.step, v.astype("float16").astype("float32"), [Y])
    np.testing.assert_allclose(loss, expected, rtol=1e-5, strict=True)
    assert max(shape[0] for shape in counted.encoded) == 1


# The tree of sentences


def test_the_tree_by_hand():
    tree = prefixes([tuple(y.tolist()) for y in SENTENCES])
    assert list(tree) == [(), (4,), (4, 1), (4, 1, 5), (4, 5), (4, 5, 5), (4, 5, 5, 2)]
    assert tree[()] == [0, 1, 2, 3, 4, 5] and tree[4,] == [0, 1, 2, 4, 5] and tree[4, 1] == [0, 2, 4]
    assert states_held(tree) == 1  # after 4, for (4, 5), while (4, 1, 5) is stepped


@pytest.mark.parametrize("memory_budget", [3000, 2**28])
def test_all_sentences_at_once_are_each_by_itself(captioner, v, memory_budget):
    encode, step = captioner.encode, captioner.step
    log_p = sentence_log_probabilities(encode, step, v, SENTENCES)
    together = information_loss(encode, step, v, SENTENCES, log_p, memory_budget)
    assert len(together) == len(SENTENCES)
    for y, p, (loss, kl) in zip(SENTENCES, log_p, together, strict=True):
        expected_loss, expected_kl = literal_losses(captioner, v, y)
        np.testing.assert_allclose(loss, expected_loss, rtol=1e-4, atol=1e-5, strict=True)
        np.testing.assert_allclose(kl, expected_kl, rtol=1e-3, atol=2e-5, strict=True)
        expected_p = log_softmax(captioner({"v": v[None], "y": y[None]}))[0].astype("float32")
        np.testing.assert_allclose(p, expected_p, rtol=1e-4, atol=1e-5, strict=True)


def test_each_distinct_prefix_is_stepped_once_and_none_beyond_the_last_word(captioner, v):
    words = [None, [4], [1], [5], [5], [5], [2]]  # (), 4, 4 1, 4 1 5, 4 5, 4 5 5, 4 5 5 2: in the order of the tree
    counted = Counted(captioner)
    information_loss(counted.encode, counted.step, v, SENTENCES)
    assert counted.encoded == [(1, 1, D), (N, 1, D)] and counted.words == [None, *words]
    counted = Counted(captioner)
    sentence_log_probabilities(counted.encode, counted.step, v, SENTENCES)
    assert counted.encoded == [(1, N, D)] and counted.words == words


class Numbered:
    """A leaf of a state; how many of them are still held by anyone."""

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


def test_the_held_states_are_in_the_budget(captioner, v):
    tree = prefixes([tuple(y.tolist()) for y in SENTENCES])
    row = 4 * (D + 2 * V + (4 + states_held(tree)) * 2 * H)
    counted = Counted(captioner)
    information_loss(counted.encode, counted.step, v, SENTENCES, memory_budget=row * 6 - 1)
    assert counted.encoded == [(1, 1, D), (3, 1, D), (4, 1, D), (4, 1, D)]  # 5 at most


# Video and picture


@pytest.mark.parametrize("memory_budget", [3000, 2**28])
def test_video_saliency_is_each_frame_and_each_cell_alone(captioner, memory_budget):
    m, r = 3, 4
    cells = np.random.default_rng(9).normal(size=(m, r, D)).astype("float16")
    pooled = cells.mean(axis=1)
    (log_p,) = sentence_log_probabilities(captioner.encode, captioner.step, pooled, [Y])
    (video,) = video_saliency(captioner.encode, captioner.step, cells, pooled, [Y], [log_p], memory_budget)
    assert video.loss_pooled.shape == video.kl_pooled.shape == (T, m)
    assert video.loss.shape == video.kl.shape == (T, m, 2, 2)
    for i in range(m):
        (of_frame,) = information_loss(captioner.encode, captioner.step, pooled[i : i + 1], [Y], [log_p])
        (of_cells,) = information_loss(captioner.encode, captioner.step, cells[i], [Y], [log_p])
        np.testing.assert_allclose(video.loss_pooled[:, i], of_frame.loss[:, 0], rtol=1e-5, atol=1e-6, strict=True)
        np.testing.assert_allclose(video.kl_pooled[:, i], of_frame.kl[:, 0], rtol=1e-4, atol=2e-6, strict=True)
        np.testing.assert_allclose(video.loss[:, i].reshape(T, r), of_cells.loss, rtol=1e-5, atol=1e-6, strict=True)
        np.testing.assert_allclose(video.kl[:, i].reshape(T, r), of_cells.kl, rtol=1e-4, atol=2e-6, strict=True)


@pytest.mark.parametrize("memory_budget", [3000, 2**28])
def test_a_frame_seen_alone_as_its_cells_is_a_picture(captioner, memory_budget):
    cells = np.random.default_rng(9).normal(size=(5, 4, D)).astype("float16")
    log_p = sentence_log_probabilities(captioner.encode, captioner.step, cells.mean(axis=1), SENTENCES)
    frames = frames_alone(cells, "cells")
    counted = Counted(captioner)
    found = video_saliency(counted.encode, counted.step, cells, frames, SENTENCES, log_p, memory_budget)
    pooled = video_saliency(captioner.encode, captioner.step, cells, frames_alone(cells, "pooled"), SENTENCES, log_p)
    assert sum(shape[1] == 4 for shape in counted.encoded) == (3 if memory_budget == 3000 else 2)  # a trial among them
    for y, p, video, other in zip(SENTENCES, log_p, found, pooled, strict=True):
        for i, picture in enumerate(cells):
            log_q = log_softmax(captioner({"v": picture[None].astype("float32"), "y": y[None]}))[0]  # (T, V)
            np.testing.assert_allclose(video.loss_pooled[:, i], -log_q[np.arange(len(y)), y], rtol=1e-4, atol=1e-5)
            kl = np.sum(np.exp(p) * (p - log_q), axis=-1)
            np.testing.assert_allclose(video.kl_pooled[:, i], kl, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(video.loss, other.loss, rtol=1e-5, atol=1e-6)  # cells know nothing of it
        assert np.abs(video.loss_pooled - other.loss_pooled).max() > 0.1


def test_video_saliency_is_one_batch(captioner):
    cells, pooled = np.ones((2, 64, D), "float16"), np.ones((2, D), "float16")
    counted = Counted(captioner)
    (video,) = video_saliency(counted.encode, counted.step, cells, pooled, [Y])
    assert counted.encoded == [(1, 1, D), (2 * 64 + 2, 1, D)]  # r m + m
    assert len(counted.words) == 1 + T
    assert video.loss.shape == (T, 2, 8, 8) and video.kl is None and video.kl_pooled is None


def test_image_saliency_is_row_by_row(captioner):
    cells = np.random.default_rng(10).normal(size=(64, D)).astype("float16")
    (log_p,) = sentence_log_probabilities(captioner.encode, captioner.step, cells, [Y])
    ((loss, kl),) = image_saliency(captioner.encode, captioner.step, cells, [Y], [log_p])
    (alone,) = information_loss(captioner.encode, captioner.step, cells[8 * 2 + 5][None], [Y], [log_p])
    assert loss.shape == kl.shape == (T, 8, 8)
    np.testing.assert_allclose(loss[:, 2, 5], alone.loss[:, 0], rtol=1e-5, strict=True)
    np.testing.assert_allclose(kl[:, 2, 5], alone.kl[:, 0], rtol=1e-4, atol=2e-6, strict=True)
    assert image_saliency(captioner.encode, captioner.step, cells, [Y])[0].kl is None


# Errors


def test_wrong_shapes_are_named(captioner, v):
    encode, step = captioner.encode, captioner.step
    with pytest.raises(
        ValueError, match=r"v must be \(N, D\) or \(N, L, D\) and y \(T,\), neither empty; received \(1, 1, 11, 3\)"
    ):
        information_loss(encode, step, v[None, None], [Y])
    with pytest.raises(ValueError, match=r"neither empty; received \(11, 3\) and \(0,\)"):
        information_loss(encode, step, v, [Y, Y[:0]])
    with pytest.raises(ValueError, match=r"neither empty; received \(11, 3\) and \(\)"):
        information_loss(encode, step, v, Y)
    with pytest.raises(ValueError, match=r"words of y must be 0\.\.6, .* received \[4, 7\]"):
        information_loss(encode, step, v, [Y, [4, 7]])
    with pytest.raises(ValueError, match=r"log_p must be .* \[\(4, 7\)\]; received \[\(3, 7\)\]"):
        information_loss(encode, step, v, [Y], [np.zeros((3, V))])
    with pytest.raises(ValueError, match="square grid, received 11"):
        image_saliency(encode, step, v, [Y])
    with pytest.raises(ValueError, match=r"cells must be \(m, G G, D\) and frames \(m, D\)"):
        video_saliency(encode, step, np.zeros((2, 4, D)), np.zeros((3, D)), [Y])


def test_log_partition_of_any_size():
    rng = np.random.default_rng(3)
    logits = rng.normal(scale=20, size=(6, 9)) + np.array([[0, 1e3, -1e3, 80, -80, 3e4]]).T
    logits[5, 1:] = -3e4  # one word takes all
    top = logits.max(axis=-1, keepdims=True)
    expected = top[:, 0] + np.log(np.exp(logits - top).sum(axis=-1))
    found = ops.convert_to_numpy(log_partition(logits.astype("float32")))
    np.testing.assert_allclose(found, expected.astype("float32"), rtol=1e-6, atol=1e-5, strict=True)


# Engines

SCRIPT = """
import sys
import keras
import numpy as np
from s2vt.captioning.s2vt import S2VT
from s2vt.saliency.information_loss import sentence_log_probabilities, video_saliency

given = np.load(sys.argv[1])
captioner = S2VT(vocabulary_size=7, units=5, embedding_size=8)
sentences, functions = [given["y"], given["y"][:2]], (captioner.encode, captioner.step)
sentence_log_probabilities(*functions, given["pooled"], sentences)  # its graphs must not keep these weights
captioner.load_weights(sys.argv[2])
log_p = sentence_log_probabilities(*functions, given["pooled"], sentences)
video, _ = video_saliency(*functions, given["cells"], given["pooled"], sentences, log_p, 20_000)
np.savez(sys.argv[3], engine=keras.backend.backend(), **video._asdict())
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax, a test dependency")
def test_tensorflow_and_jax_agree(captioner, tmp_path):
    cells = np.random.default_rng(11).normal(size=(2, 9, D)).astype("float16")
    pooled = cells.mean(axis=1)
    np.savez(tmp_path / "given.npz", cells=cells, pooled=pooled, y=Y)
    captioner.save_weights(tmp_path / "s2vt.weights.h5")
    other = {"tensorflow": "jax", "jax": "tensorflow"}.get(keras.backend.backend(), "tensorflow")
    subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "given.npz", tmp_path / "s2vt.weights.h5", tmp_path / "found.npz"],
        env={**os.environ, "KERAS_BACKEND": other, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=Path(__file__).parents[1],
        check=True,
        timeout=120,
    )
    found = np.load(tmp_path / "found.npz")
    (log_p,) = sentence_log_probabilities(captioner.encode, captioner.step, pooled, [Y])
    (video,) = video_saliency(captioner.encode, captioner.step, cells, pooled, [Y], [log_p])
    assert set(found) == {"loss_pooled", "loss", "kl_pooled", "kl", "engine"} and found["engine"] == other
    for name, value in video._asdict().items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5, strict=True)


# Toy task: a picture of four cells; one holds a shape, or none does, and the sentence is "a <shape>" or "a ground".


def test_after_seconds_of_training_the_right_cell_is_hit():
    rng = np.random.default_rng(12)
    num_shapes, num_cells, ground = 3, 4, 3

    def pictures(count, kinds):
        shape, place = rng.integers(kinds, size=count), rng.integers(num_cells, size=count)
        kind = np.full((count, num_cells), ground)
        kind[np.arange(count), place] = shape
        v = np.eye(5)[kind] + rng.normal(scale=0.1, size=(count, num_cells, 5))
        y = np.stack([np.full(count, 1), 2 + shape, np.zeros(count, int)], axis=1)  # "a", the shape's word, END
        return v.astype("float32"), y.astype("int32"), place

    keras.utils.set_random_seed(0)
    captioner = S2VT(vocabulary_size=2 + num_shapes + 1, units=16, embedding_size=6, dropout=0.1)
    captioner.compile(optimizer=keras.optimizers.Adam(0.02))
    v, y, _ = pictures(512, num_shapes + 1)
    captioner.fit({"v": v, "y": y}, batch_size=64, epochs=12, verbose=0)

    v, y, place = pictures(20, num_shapes)
    found = []
    for picture, sentence in zip(v, y, strict=True):
        ((loss, _),) = image_saliency(captioner.encode, captioner.step, picture, [sentence[:2]])
        e = scale(phrase_loss(loss, [1]))  # the shape's word, (2, 2)
        found.append(np.ravel(e).argmax())
    np.testing.assert_array_equal(found, place)
