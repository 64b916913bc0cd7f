"""Eq. 6, 7 and 13 by hand and one descriptor at a time; video, picture, another engine, and a toy task."""

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
from toys import Counted, with_random_weights

from s2vt.captioning.s2vt import S2VT
from s2vt.saliency.heatmaps import phrase_sum, scale
from s2vt.saliency.information_loss import (
    NLL,
    cell_input,
    descriptor_losses,
    frame_input,
    information_loss,
    log_partition,
    query_loss,
    relative_loss,
    relative_measure,
    representativeness,
    representativeness_measure,
    sentence_log_probabilities,
)

N, T, D, H, E, V = 11, 4, 3, 5, 8, 7
Y = np.array([4, 1, 5, 2])
SENTENCES = [Y, Y[:2], np.array([4, 1, 6]), np.array([3]), Y, np.array([4, 5, 5, 2, 1])]


@pytest.fixture(scope="module")
def captioner():
    return with_random_weights(S2VT(V, units=H, embedding_size=E), D)


@pytest.fixture(scope="module")
def v():
    return np.random.default_rng(8).normal(size=(N, D)).astype("float32")


def log_softmax(logits):
    logits = np.asarray(ops.convert_to_numpy(logits), "float64")
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def literal_log_q(captioner, v, y):
    """log q of one sentence after one reading of v (L, D): the whole model's call, (T, V)."""
    return log_softmax(captioner({"v": v[None].astype("float32"), "y": y[None]}))[0]


def literal_losses(captioner, v, y):
    """Eq. 6 and 7 as written, one descriptor at a time: nll (T, N), kl (T, N)."""
    log_p = literal_log_q(captioner, v, y)
    log_q = np.stack([literal_log_q(captioner, v[i, None], y) for i in range(len(v))], axis=1)
    nll = -log_q[np.arange(len(y)), :, y]
    kl = np.sum(np.exp(log_p)[:, None] * (log_p[:, None] - log_q), axis=-1)
    return nll.astype("float32"), kl.astype("float32")


def both(log_p, sentences):
    """The measures nll and kl."""
    return {**NLL, "kl": representativeness_measure(log_p, sentences)}


# By hand


def test_query_loss_by_hand():
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.125, 0.125, 0.75]], "float32")) - 2
    loss = ops.convert_to_numpy(query_loss(logits, ops.logsumexp(logits, axis=-1), [1, 1, 0]))
    np.testing.assert_allclose(loss, np.log([[4, 4, 2], [8, 8, 8]]).astype("float32"), rtol=1e-6, strict=True)


def test_representativeness_by_hand():
    # KL = 1/2 log(1/2 / 1/4) + 1/2 log(1/2 / 1/2) = 0.5 log 2 for the first, 0 for the second; 0 log 0 = 0.
    logits = np.log(np.array([[0.25, 0.5, 0.25], [0.5, 0.5, 1e-30]], "float32")) + 5
    log_p = np.array([np.log(0.5), np.log(0.5), -np.inf], "float32")
    kl = ops.convert_to_numpy(representativeness(logits, ops.logsumexp(logits, axis=-1), log_p))
    np.testing.assert_allclose(kl, np.array([0.5 * np.log(2), 0], "float32"), rtol=1e-5, atol=1e-6, strict=True)


def test_relative_loss_by_hand():
    # Of two words with logits 1 and 5, and of all four: means 3 and 2; the logits of word 3 are 5 and 1.
    logits = np.array([[0.0, 2, 1, 5], [4, -2, 9, 1]], "float32")
    two = ops.convert_to_numpy(relative_loss(logits, [3, 0, 3], np.array([0, 0, 0.5, 0.5])))
    np.testing.assert_allclose(two, np.array([[-2, 3, -2], [4, 1, 4]], "float32"), strict=True)
    every = ops.convert_to_numpy(relative_loss(logits + 7, [3], np.full(4, 0.25)))  # a constant has no effect
    np.testing.assert_allclose(every, np.array([[-3], [2]], "float32"), strict=True)


def test_log_partition_of_logits_of_any_size():
    rng = np.random.default_rng(3)
    logits = rng.normal(scale=20, size=(6, 9)) + np.array([[0, 1e3, -1e3, 80, -80, 3e4]]).T
    logits[5, 1:] = -3e4  # one word takes all
    top = logits.max(axis=-1, keepdims=True)
    expected = top[:, 0] + np.log(np.exp(logits - top).sum(axis=-1))
    found = ops.convert_to_numpy(log_partition(logits.astype("float32")))
    np.testing.assert_allclose(found, expected.astype("float32"), rtol=1e-6, atol=1e-5, strict=True)


# One batch and one descriptor at a time


def test_losses_are_the_equations_one_descriptor_at_a_time(captioner, v):
    log_p = sentence_log_probabilities(captioner.encode, captioner.step, v, [Y])
    (found,) = descriptor_losses(captioner.encode, captioner.step, v, [Y], both(log_p, [Y]))
    nll, kl = found["nll"], found["kl"]
    expected_nll, expected_kl = literal_losses(captioner, v, Y)
    np.testing.assert_allclose(nll, expected_nll, rtol=1e-4, atol=1e-5, strict=True)
    np.testing.assert_allclose(kl, expected_kl, rtol=1e-3, atol=2e-5, strict=True)
    assert (nll >= 0).all() and (kl >= 0).all()
    assert np.ptp(nll, axis=1).min() > 0.01  # the descriptors do differ


def test_log_p_is_teacher_forcing_on_all_descriptors_read_once(captioner, v):
    counted = Counted(captioner)
    log_p = sentence_log_probabilities(counted.encode, counted.step, v, SENTENCES)
    assert counted.encoded == [(1, N, D)] and counted.words == [None, [4], [1], [5], [5], [5], [2]]
    for y, of_sentence in zip(SENTENCES, log_p, strict=True):
        expected = literal_log_q(captioner, v, y).astype("float32")
        np.testing.assert_allclose(of_sentence, expected, rtol=1e-4, atol=1e-5, strict=True)


def test_kl_of_a_descriptor_that_is_all_there_is_is_zero(captioner, v):
    log_p = sentence_log_probabilities(captioner.encode, captioner.step, v[2:3], [Y])
    (found,) = descriptor_losses(captioner.encode, captioner.step, v, [Y], both(log_p, [Y]))
    nll, kl = found["nll"], found["kl"]
    np.testing.assert_allclose(kl[:, 2], np.zeros(T, "float32"), atol=1e-6, strict=True)
    np.testing.assert_allclose(nll[:, 2], -log_p[0][np.arange(T), Y], rtol=1e-5, strict=True)


def test_only_what_is_asked_for_is_found_and_by_default_the_query_loss(captioner, v):
    (found,) = descriptor_losses(captioner.encode, captioner.step, v, [Y])
    assert list(found) == ["nll"] and found["nll"].shape == (T, N)


@pytest.mark.parametrize("memory_budget", [700, 2**28])
def test_all_measures_of_one_pass_are_the_equations_one_descriptor_at_a_time(captioner, v, memory_budget):
    """nll less the mean of -log q_i over other words, all of them or three, from the model's whole call."""
    others = [1, 4, 5]
    log_p = sentence_log_probabilities(captioner.encode, captioner.step, v, SENTENCES)
    measures = {"logit": relative_measure(), "contrast": relative_measure(others), **both(log_p, SENTENCES)}
    counted = Counted(captioner)
    together = descriptor_losses(counted.encode, counted.step, v, SENTENCES, measures, memory_budget)
    assert sum(shape[0] for shape in counted.encoded) == 1 + N  # a trial of one row; one pass
    for y, found in zip(SENTENCES, together, strict=True):
        log_q = np.stack([literal_log_q(captioner, v[i, None], y) for i in range(N)], axis=1)  # (T, N, V)
        nll = -log_q[np.arange(len(y)), :, y]
        for name, words in (("logit", range(V)), ("contrast", others)):
            expected = (nll - np.mean([-log_q[..., k] for k in words], axis=0)).astype("float32")
            np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=2e-5, strict=True)
        (alone,) = descriptor_losses(captioner.encode, captioner.step, v, [y], memory_budget=memory_budget)
        np.testing.assert_allclose(found["nll"], alone["nll"], rtol=1e-5, atol=1e-6, strict=True)
        assert list(found) == ["logit", "contrast", "nll", "kl"]


@pytest.mark.parametrize("memory_budget", [1, 700, 3000, 2**28])
def test_all_sentences_in_chunks_are_one_sentence_and_one_descriptor_at_a_time(captioner, v, memory_budget):
    encode, step = captioner.encode, captioner.step
    log_p = sentence_log_probabilities(encode, step, v, SENTENCES)
    together = descriptor_losses(encode, step, v, SENTENCES, both(log_p, SENTENCES), memory_budget)
    for y, found in zip(SENTENCES, together, strict=True):
        nll, kl = found["nll"], found["kl"]
        expected_nll, expected_kl = literal_losses(captioner, v, y)
        np.testing.assert_allclose(nll, expected_nll, rtol=1e-4, atol=1e-5, strict=True)
        np.testing.assert_allclose(kl, expected_kl, rtol=1e-3, atol=2e-5, strict=True)


def test_logits_are_freed_before_the_next_step(captioner, v):
    log_p = sentence_log_probabilities(captioner.encode, captioner.step, v, [Y])
    of_steps = []

    def step(state, word):
        assert all(logits() is None for logits in of_steps)
        logits, state = captioner.step(state, word)
        of_steps.append(weakref.ref(logits))
        return logits, state

    descriptor_losses(captioner.encode, step, v, [Y], {**both(log_p, [Y]), "logit": relative_measure()})
    assert len(of_steps) == 1 + T


def test_a_memory_map_of_halves_is_read_by_chunks(captioner, v, tmp_path):
    np.save(tmp_path / "v.npy", v.astype("float16"))
    counted = Counted(captioner)
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    (found,) = descriptor_losses(counted.encode, counted.step, mapped, [Y], memory_budget=1)
    (expected,) = descriptor_losses(captioner.encode, captioner.step, v.astype("float16").astype("float32"), [Y])
    np.testing.assert_allclose(found["nll"], expected["nll"], rtol=1e-5, strict=True)
    assert max(shape[0] for shape in counted.encoded) == 1


# Video and picture


@pytest.mark.parametrize("memory_budget", [700, 2**28])
def test_a_video_is_each_frame_and_each_cell_alone(captioner, memory_budget):
    m, r = 3, 4
    cells = np.random.default_rng(9).normal(size=(m, r, D)).astype("float16")
    pooled = cells.mean(axis=1)
    encode, step = captioner.encode, captioner.step
    log_p = sentence_log_probabilities(encode, step, pooled, [Y])
    measures = both(log_p, [Y])
    (video,) = information_loss(encode, step, cells, [Y], pooled, measures, memory_budget)
    for name in ("nll", "kl"):
        assert video.frames[name].shape == (T, m) and video.cells[name].shape == (T, m, 2, 2)
    for i in range(m):
        (of_frame,) = descriptor_losses(encode, step, pooled[i : i + 1], [Y], measures)
        (of_cells,) = descriptor_losses(encode, step, cells[i], [Y], measures)
        for name in ("nll", "kl"):
            close = {"rtol": 1e-4, "atol": 2e-6, "strict": True}
            np.testing.assert_allclose(video.frames[name][:, i], of_frame[name][:, 0], **close)
            np.testing.assert_allclose(video.cells[name][:, i].reshape(T, r), of_cells[name], **close)


@pytest.mark.parametrize("memory_budget", [3000, 2**28])
def test_a_frame_read_as_its_cells_is_a_picture(captioner, memory_budget):
    cells = np.random.default_rng(9).normal(size=(5, 4, D)).astype("float16")
    log_p = sentence_log_probabilities(captioner.encode, captioner.step, cells.mean(axis=1), SENTENCES)
    counted = Counted(captioner)
    as_cells, pooled = (frame_input(cells, how) for how in ("cells", "pooled"))
    measures = both(log_p, SENTENCES)
    found = information_loss(counted.encode, counted.step, cells, SENTENCES, as_cells, measures, memory_budget)
    others = information_loss(captioner.encode, captioner.step, cells, SENTENCES, pooled, measures)
    assert sum(shape[1] == 4 for shape in counted.encoded) == (3 if memory_budget == 3000 else 2)  # a trial among them
    for y, p, video, other in zip(SENTENCES, log_p, found, others, strict=True):
        for i, picture in enumerate(cells):
            log_q = literal_log_q(captioner, picture, y)
            nll = -log_q[np.arange(len(y)), y]
            np.testing.assert_allclose(video.frames["nll"][:, i], nll, rtol=1e-4, atol=1e-5)
            kl = np.sum(np.exp(p) * (p - log_q), axis=-1)
            np.testing.assert_allclose(video.frames["kl"][:, i], kl, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(video.cells["nll"], other.cells["nll"], rtol=1e-5, atol=1e-6)  # independent of it
        assert np.abs(video.frames["nll"] - other.frames["nll"]).max() > 0.1


def test_a_descriptor_read_several_times_is_a_sequence_of_its_copies(captioner, tmp_path):
    m, r, reads = 3, 4, 5
    cells = np.random.default_rng(10).normal(size=(m, r, D)).astype("float16")
    np.save(tmp_path / "cells.npy", cells)
    mapped = cell_input(np.load(tmp_path / "cells.npy", mmap_mode="r"), reads)
    assert mapped.shape == (m, r, reads, D) and np.shares_memory(mapped[:, :, 0], mapped[:, :, 4])
    frames, counted = frame_input(cells, "pooled", reads), Counted(captioner)
    (video,) = information_loss(counted.encode, counted.step, mapped, [Y], frames)
    assert counted.encoded == [(1, reads, D), (m * r + m, reads, D)]  # one batch, as without
    (once,) = information_loss(captioner.encode, captioner.step, cells, [Y], frame_input(cells, "pooled"))
    for i in range(m):
        for v, found in ((cells[i, 2], video.cells["nll"][:, i, 1, 0]), (frames[i, 0], video.frames["nll"][:, i])):
            nll = -literal_log_q(captioner, np.stack([v] * reads), Y)[np.arange(T), Y]
            np.testing.assert_allclose(found, nll, rtol=1e-4, atol=1e-5)
    assert np.abs(video.cells["nll"] - once.cells["nll"]).max() > 0.1
    (of_cells,) = information_loss(captioner.encode, captioner.step, mapped, [Y], frame_input(cells, "cells", reads))
    np.testing.assert_allclose(of_cells.cells["nll"], video.cells["nll"], rtol=1e-5, atol=1e-6)
    (as_cells,) = information_loss(captioner.encode, captioner.step, cells, [Y], frame_input(cells, "cells"))
    np.testing.assert_array_equal(of_cells.frames["nll"], as_cells.frames["nll"])  # a sequence is read once
    assert cell_input(cells) is cells


def test_a_pooled_frame_is_the_mean_of_its_cells():
    cells = np.array([[[1.0, 2.0], [3.0, 6.0]]], "float16")
    np.testing.assert_array_equal(frame_input(cells, "pooled"), np.array([[2, 4]], "float32"), strict=True)
    assert frame_input(cells, "cells") is cells


def test_a_video_is_one_batch(captioner):
    cells, pooled = np.ones((2, 64, D), "float16"), np.ones((2, D), "float16")
    counted = Counted(captioner)
    (video,) = information_loss(counted.encode, counted.step, cells, [Y], pooled)
    assert counted.encoded == [(1, 1, D), (2 * 64 + 2, 1, D)]  # the trial of one row; r m + m
    assert len(counted.words) == 1 + T  # T steps after one reading: n + 1 LSTM steps
    assert video.cells["nll"].shape == (T, 2, 8, 8) and list(video.cells) == list(video.frames) == ["nll"]


def test_a_picture_is_row_by_row_and_has_no_frames(captioner):
    cells = np.random.default_rng(10).normal(size=(64, D)).astype("float16")
    encode, step = captioner.encode, captioner.step
    log_p = sentence_log_probabilities(encode, step, cells, [Y])
    (picture,) = information_loss(encode, step, cells[None], [Y], measures=both(log_p, [Y]))
    (found,) = descriptor_losses(encode, step, cells[8 * 2 + 5][None], [Y], both(log_p, [Y]))
    assert list(picture.cells) == ["nll", "kl"] and picture.frames is None
    for name, loss in picture.cells.items():
        assert loss.shape == (T, 1, 8, 8)
        np.testing.assert_allclose(loss[:, 0, 2, 5], found[name][:, 0], rtol=1e-4, atol=2e-6, strict=True)


# Errors


def test_wrong_shapes_are_named(captioner, v):
    encode, step = captioner.encode, captioner.step
    with pytest.raises(ValueError, match=r"log_p must be \(T, V\) .* \[4\]; received \[\(3, 7\)\]"):
        representativeness_measure([np.zeros((3, V))], [Y])
    with pytest.raises(ValueError, match=r"log_p of a word must be .* 7; received \(6,\)"):
        descriptor_losses(encode, step, v, [Y], both([np.zeros((4, V - 1))], [Y]))
    with pytest.raises(ValueError, match=r"not empty; received \(11, 3\) and \(\)"):
        descriptor_losses(encode, step, v, Y)
    for cells in (v, v[None]):
        with pytest.raises(ValueError, match=rf"square grid .* received \({'1, ' * (cells.ndim - 2)}11, 3\)"):
            information_loss(encode, step, cells, [Y])
    for frames in (np.zeros((3, D)), np.zeros((2, D + 1)), np.zeros((2, 4, D + 1))):
        with pytest.raises(ValueError, match=r"cells must be \(m, G G, D\) and frames \(m, D\)"):
            information_loss(encode, step, np.zeros((2, 4, D)), [Y], frames)


# Another engine

SCRIPT = """
import sys
import keras
import numpy as np
from s2vt.captioning.s2vt import S2VT
from s2vt.saliency import information_loss as losses

given = np.load(sys.argv[1])
captioner = S2VT(vocabulary_size=7, units=5, embedding_size=8)
sentences, functions = [given["y"], given["y"][:2]], (captioner.encode, captioner.step)
losses.sentence_log_probabilities(*functions, given["pooled"], sentences)  # its graphs must not keep these weights
captioner.load_weights(sys.argv[2])
log_p = losses.sentence_log_probabilities(*functions, given["pooled"], sentences)
kl, contrast = losses.representativeness_measure(log_p, sentences), losses.relative_measure([1, 4, 5])
measures = {**losses.NLL, "kl": kl, "logit": losses.relative_measure(), "contrast": contrast}
video, _ = losses.information_loss(*functions, given["cells"], sentences, given["pooled"], measures, 20_000)
of_frames = {f"frame_{name}": loss for name, loss in video.frames.items()}
np.savez(sys.argv[3], engine=keras.backend.backend(), **video.cells, **of_frames)
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
    log_p = sentence_log_probabilities(captioner.encode, captioner.step, pooled, [Y])
    measures = {**both(log_p, [Y]), "logit": relative_measure(), "contrast": relative_measure([1, 4, 5])}
    (video,) = information_loss(captioner.encode, captioner.step, cells, [Y], pooled, measures)
    assert set(found) == {*measures, *(f"frame_{name}" for name in measures), "engine"} and found["engine"] == other
    for name in measures:
        np.testing.assert_allclose(found[name], video.cells[name], rtol=1e-5, atol=1e-5, strict=True)
        np.testing.assert_allclose(found[f"frame_{name}"], video.frames[name], rtol=1e-5, atol=1e-5, strict=True)


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
        (loss,) = information_loss(captioner.encode, captioner.step, picture[None], [sentence[:2]])
        e = scale(phrase_sum(-loss.cells["nll"], [1]))  # the shape's word, (1, 2, 2)
        found.append(np.ravel(e).argmax())
    np.testing.assert_array_equal(found, place)
