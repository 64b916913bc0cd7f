"""Every way to find evidence besides losses and attention: each map against a second road to its numbers.

Letters: N descriptors, D=3, T words, V=7, m=5 frames, G=2.
"""

import dataclasses
import functools
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops
from toys import Counted, with_random_weights

from s2vt.captioning.captioners import CAPTIONERS
from s2vt.config import SaliencyConfig
from s2vt.data.geometry import Geometry, Grid
from s2vt.data.phrases import Phrase
from s2vt.errors import UserError
from s2vt.saliency import gradients
from s2vt.saliency.excitation_backprop import contrast, excitation
from s2vt.saliency.gradients import word_gradients, word_weights
from s2vt.saliency.maps import KINDS, Asking, find_evidence
from s2vt.saliency.subsets import random_subsets

D, V = 3, 7
SENTENCES = [np.array([4, 1, 5]), np.array([2])]
VIDEO, PICTURE = Asking("video"), Asking("picture")
SNAKE = np.array([0, 1, 3, 2])
EVERY = ["banzhaf", "rise", "leave_one_out", "leave_one_out_kl", "gradient", "integrated", "gradcam", "eb", "ceb",
         "eb_likely"]  # fmt: skip


def captioner_of(name):
    settings = {"transformer": {"layers": 1, "heads": 2, "max_words": 4}}.get(name, {})
    settings = {"soft_attention": {"attention_size": 9}, "hard_attention": {"attention_size": 9}}.get(name, settings)
    return with_random_weights(CAPTIONERS[name](V, units=5, embedding_size=8, **settings), D)


@pytest.fixture(scope="module", params=list(CAPTIONERS))
def captioner(request):
    return captioner_of(request.param)


@pytest.fixture(scope="module")
def s2vt():
    return captioner_of("s2vt")


def picture(order=SNAKE):
    cells = np.random.default_rng(8).random(size=(1, 4, D)).astype("float32")
    return SimpleNamespace(cells=cells, v=cells[0, order], order=order, pictures=None)


def video(m=5):
    cells = np.random.default_rng(9).random(size=(m, 4, D)).astype("float32")
    return SimpleNamespace(cells=cells, v=cells.mean(axis=1, dtype="float32"), order=None, pictures=None)


MEDIA = {"picture": (picture(), PICTURE), "video": (video(), VIDEO)}


def log_p(captioner, v, y):
    """log P(y_t | y_<t, v) of each row of v (B, N, D) by teacher forcing: (B, T), float64."""
    v = np.asarray(v, "float32")
    logits = ops.convert_to_numpy(captioner({"v": v, "y": np.repeat([y], len(v), axis=0)})).astype("float64")
    logits -= logits.max(axis=-1, keepdims=True)
    return (logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True)))[:, np.arange(len(y)), y]


def of_read(evidence, descriptors):
    """Evidence in the order in which descriptors are read, (T, N)."""
    if descriptors.order is None:
        return evidence.frames
    return evidence.cells.reshape(len(evidence.cells), -1)[:, descriptors.order]


# Gradients


def test_gradients_of_every_captioner_are_finite_differences(captioner):
    v, y = picture().v, SENTENCES[0]
    (found,) = word_gradients(captioner.encode, captioner.step, v, [y])
    step = 2e-3 * np.eye(v.size, dtype="float32").reshape(-1, *v.shape)
    expected = (log_p(captioner, v + step, y) - log_p(captioner, v - step, y)) / 4e-3
    expected = expected.T.reshape(3, *v.shape)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=3e-2, atol=1e-2 * np.abs(expected).max())


@pytest.mark.parametrize("media", MEDIA)
def test_integrated_gradients_sum_to_the_difference(captioner, media):
    """Completeness. Hard attention jumps from one descriptor to the next along the way, so it has none."""
    if captioner.name.startswith("hard_attention"):
        pytest.skip("its function jumps")
    descriptors, asking = MEDIA[media]
    asking = dataclasses.replace(asking, saliency=SaliencyConfig(integration_steps=64))
    found = find_evidence(captioner, descriptors, SENTENCES, ["integrated"], asking)
    for y, of_sentence in zip(SENTENCES, found, strict=True):
        v = descriptors.v[None]
        difference = (log_p(captioner, v, y) - log_p(captioner, 0 * v, y))[0]
        np.testing.assert_allclose(
            of_sentence["integrated"].cells.sum(axis=(1, 2, 3)), difference, rtol=1e-2, atol=1e-2
        )


def test_a_videos_cells_have_the_gradient_of_the_frame_that_they_are_the_mean_of(s2vt):
    """The other road: each number of each cell is changed, and the frame pooled again."""
    clip, y = video(), SENTENCES[0]
    (found,) = find_evidence(s2vt, clip, [y], ["gradient", "gradcam"], VIDEO)
    step = 4e-2 * np.eye(clip.cells.size, dtype="float32").reshape(-1, *clip.cells.shape)
    pooled = [(clip.cells + sign * step).mean(axis=2) for sign in (1, -1)]
    g = (log_p(s2vt, pooled[0], y) - log_p(s2vt, pooled[1], y)) / 8e-2
    g = g.T.reshape(3, *clip.cells.shape)  # (T, m, r, D)
    mean = g.mean(axis=(1, 2), keepdims=True)
    values = {"gradient": (g * clip.cells).sum(axis=-1), "gradcam": (mean * clip.cells).sum(axis=-1)}
    for kind, expected in values.items():
        scale = 2e-2 * np.abs(expected).max()
        np.testing.assert_allclose(found[kind].cells.reshape(3, 5, 4), expected, rtol=3e-2, atol=scale)
        np.testing.assert_allclose(found[kind].frames, found[kind].cells.sum(axis=(2, 3)), rtol=1e-5, atol=1e-6)


def test_grad_cam_of_a_phrase_by_hand(captioner):
    descriptors, (y, _) = picture(), SENTENCES
    (found,) = find_evidence(captioner, descriptors, [y], ["gradcam"], PICTURE)
    (g,) = word_gradients(captioner.encode, captioner.step, descriptors.v, [y])
    for words in ([0], [1], [0, 2]):
        of_phrase = sum(g[t] for t in words).mean(axis=0)  # of log P of its words
        expected = np.zeros((2, 2))
        for k, cell in enumerate(descriptors.order):
            expected[divmod(cell, 2)] = descriptors.v[k] @ of_phrase
        signed = found["gradcam"].cells[words].sum(axis=0)[0]
        np.testing.assert_allclose(signed, expected, rtol=1e-4, atol=1e-4)
        shown, _ = found["gradcam"].of_phrases([Phrase("x", tuple(words))])
        np.testing.assert_allclose(shown[0, 0], np.maximum(expected, 0), rtol=1e-4, atol=1e-4)


def test_gradients_do_not_depend_on_the_size_of_a_batch_or_on_other_sentences(captioner, monkeypatch):
    """Equal beginnings are computed once; sentences of any length stand in one batch."""
    v, sentences = video().v, [[4, 1, 5], [2], [4, 1, 5, 5, 2], [4, 3], [2]]
    encode, step = captioner.encode, captioner.step
    integrated = functools.partial(gradients.integrated_gradients, steps=5)
    together = [of_words(encode, step, v, sentences) for of_words in (word_gradients, integrated)]
    monkeypatch.setattr(gradients, "MAX_ROWS", 1)
    counted = Counted(captioner)
    alone = [of_words(counted.encode, counted.step, v, sentences) for of_words in (word_gradients, integrated)]
    assert counted.encoded.count((1, 5, D)) == 7 + 7 * 5 and max(counted.rows) == 1
    for of_batch, one_by_one in zip(together, alone, strict=True):
        for y, here, there in zip(sentences, of_batch, one_by_one, strict=True):
            assert here.shape == (len(y), 5, D)
            np.testing.assert_allclose(here, there, rtol=1e-3, atol=1e-5)
    for of_sentence, y in zip(together[0], sentences, strict=True):
        np.testing.assert_allclose(of_sentence, word_gradients(encode, step, v, [y])[0], rtol=1e-3, atol=1e-5)


# Leaving out


def test_what_a_picture_loses_with_each_cell(captioner):
    descriptors, order = picture(), SNAKE
    found = find_evidence(captioner, descriptors, SENTENCES, ["leave_one_out"], PICTURE)
    for y, of_sentence in zip(SENTENCES, found, strict=True):
        without = log_p(captioner, [np.delete(descriptors.v, k, axis=0) for k in range(4)], y)
        expected = log_p(captioner, descriptors.v[None], y) - without
        for k, cell in enumerate(order):
            value = of_sentence["leave_one_out"].cells[(slice(None), 0, *divmod(int(cell), 2))]
            np.testing.assert_allclose(value, expected[k], rtol=1e-3, atol=1e-4)


def test_what_a_video_loses_with_each_frame_and_each_cell(captioner):
    clip, y = video(), SENTENCES[0]
    (found,) = find_evidence(captioner, clip, [y], ["leave_one_out"], VIDEO)
    whole, evidence = log_p(captioner, clip.v[None], y), found["leave_one_out"]
    without = log_p(captioner, [np.delete(clip.v, i, axis=0) for i in range(5)], y)
    np.testing.assert_allclose(evidence.frames.T, whole - without, rtol=1e-3, atol=1e-4)
    changed = np.repeat(clip.v[None], 20, axis=0)
    for i, k in np.ndindex(5, 4):
        changed[4 * i + k, i] = np.delete(clip.cells[i], k, axis=0).mean(axis=0)
    expected = (whole - log_p(captioner, changed, y)).T.reshape(3, 5, 2, 2)
    np.testing.assert_allclose(evidence.cells, expected, rtol=1e-3, atol=1e-4)


def test_how_all_words_change_without_a_cell(s2vt):
    """KL(p || p without the cell), from the log-probabilities of every word after each prefix."""
    descriptors, y = picture(), SENTENCES[0]
    (found,) = find_evidence(s2vt, descriptors, [y], ["leave_one_out_kl"], PICTURE)

    def of_vocabulary(v):
        logits = ops.convert_to_numpy(s2vt({"v": v[None], "y": y[None]}))[0].astype("float64")
        return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))  # (T, V)

    p = of_vocabulary(descriptors.v)
    for k, expected in enumerate(of_read(found["leave_one_out_kl"], descriptors).T):
        q = of_vocabulary(np.delete(descriptors.v, k, axis=0))
        np.testing.assert_allclose(expected, (np.exp(p) * (p - q)).sum(axis=-1), rtol=1e-3, atol=1e-5)


def test_rise_is_the_mean_probability_with_a_descriptor(s2vt):
    settings = SaliencyConfig(subsets=9, subset_share=0.4)
    for descriptors, asking in MEDIA.values():
        asking = Asking(asking.media, settings, seed=3)
        found = find_evidence(s2vt, descriptors, SENTENCES, ["rise", "banzhaf"], asking)
        members = random_subsets(len(descriptors.v), 9, 0.4, seed=3)
        for y, of_sentence in zip(SENTENCES, found, strict=True):
            p = np.array([np.exp(log_p(s2vt, descriptors.v[row][None], y)[0]) for row in members])  # (K, T)
            for i, value in enumerate(of_read(of_sentence["rise"], descriptors).T):
                np.testing.assert_allclose(value, p[members[:, i]].mean(axis=0), rtol=1e-3, atol=1e-6)


# Excitation Backprop


def test_excitation_backprop_at_the_cells_by_hand(captioner):
    """x w+ over its sum, w the gradients of the logits; a frame hands down to its cells in proportion."""
    y = SENTENCES[0]
    for descriptors, asking in MEDIA.values():
        (found,) = find_evidence(captioner, descriptors, [y], ["eb", "ceb"], asking)
        x = descriptors.v
        (w,) = word_weights(captioner.encode, captioner.step, x, [y])
        parts = [x * np.maximum(sign * w, 0) for sign in (1, -1)]
        won, lost = (part / np.maximum(part.sum(axis=(1, 2), keepdims=True), 1e-30) for part in parts)
        for kind, expected in (("eb", won), ("ceb", won - lost)):
            np.testing.assert_allclose(of_read(found[kind], descriptors), expected.sum(axis=-1), rtol=1e-3, atol=1e-5)
        excited, opposed = (part.sum(axis=(1, 2)) > 0 for part in parts)
        assert excited[1:].all()  # the first word of a captioner with attention is said whatever it reads here
        np.testing.assert_allclose(found["eb"].cells.sum(axis=(1, 2, 3)), excited, rtol=1e-5)
        total = excited.astype("float32") - opposed
        np.testing.assert_allclose(found["ceb"].cells.sum(axis=(1, 2, 3)), total, atol=1e-5)


def test_a_phrase_is_summed_before_contrastive_maps_are_cut_at_0(s2vt):
    (found,) = find_evidence(s2vt, video(), SENTENCES[:1], ["ceb"], VIDEO)
    evidence = found["ceb"]
    assert evidence.cells.min() < 0
    expected = np.maximum(evidence.cells[0] + evidence.cells[2], 0)
    np.testing.assert_array_equal(evidence.space([0, 2]), expected)
    np.testing.assert_array_equal(evidence.of_phrases([Phrase("x", (0, 2))])[0][0], expected)
    np.testing.assert_array_equal(evidence.time([1]), np.maximum(evidence.frames[1], 0))


def test_likely_cells_at_the_captioners_cells_are_their_likelihood(captioner):
    for descriptors, asking in MEDIA.values():
        for maps in find_evidence(captioner, descriptors, SENTENCES, ["eb_likely", "likelihood"], asking):
            for t in range(len(maps["likelihood"].cells)):
                np.testing.assert_allclose(maps["eb_likely"].space([t]), maps["likelihood"].space([t]), rtol=1e-4)
                if asking is VIDEO:
                    np.testing.assert_allclose(maps["eb_likely"].time([t]), maps["likelihood"].time([t]), rtol=1e-4)


def small_layer():
    """A network of 5x5 units under 2x2 cells of D=3, and the pictures of a clip's frames."""
    from s2vt.features.middle_layer import MiddleLayer

    x = keras.Input((11, 11, 3))
    below = keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="below")(x)
    network = keras.Model(x, keras.layers.Conv2D(D, 2, strides=3, activation="relu")(below))
    rng = np.random.default_rng(2)
    network.set_weights([rng.normal(0.05, 0.3, each.shape) for each in network.get_weights()])
    return MiddleLayer(network, lambda pictures: pictures / 255, "below", Grid(5, 2, 1, 11))


def test_below_the_cells_evidence_lies_on_the_layers_own_grid(s2vt):
    layer = small_layer()
    pictures = np.random.default_rng(1).integers(0, 256, (5, 11, 11, 3)).astype("uint8")
    cells = layer.network.predict_on_batch(pictures / 255).reshape(5, 4, D)
    clip = SimpleNamespace(cells=cells, v=cells.mean(axis=1), order=None, pictures=lambda: pictures)
    asked = []
    asking = Asking("video", SaliencyConfig(eb_layer="17x17"), layers=lambda where: asked.append(where) or layer)
    found = find_evidence(s2vt, clip, SENTENCES, ["eb", "ceb", "eb_likely", "nll"], asking)
    assert set(asked) == {"17x17"}
    weights = word_weights(s2vt.encode, s2vt.step, clip.v, SENTENCES)[0]
    kernel = np.maximum(layer.network.layers[-1].get_weights()[0], 0)  # (2, 2, 4, D)
    for kind, rule in (("eb", excitation), ("ceb", contrast)):
        p = rule(cells, weights[:, :, None]).reshape(3, 5, 2, 2, D)  # straight to the cells
        x = keras.Model(layer.network.input, layer.network.get_layer("below").output).predict_on_batch(pictures / 255)
        expected = np.zeros((3, 5, 5, 5))
        for row, column in np.ndindex(2, 2):  # each cell reads 2 x 2 units, 3 apart
            where = (slice(None), slice(3 * row, 3 * row + 2), slice(3 * column, 3 * column + 2))
            share = x[where][..., None] * kernel  # (m, 2, 2, 4, D)
            share = share / np.maximum(share.sum(axis=(1, 2, 3), keepdims=True), 1e-30)
            expected[(slice(None), *where)] += np.einsum("myxcd,tmd->tmyx", share, p[:, :, row, column])
        np.testing.assert_allclose(found[0][kind].cells, expected, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(found[0][kind].frames, expected.sum(axis=(2, 3)), rtol=1e-3, atol=1e-5)
    geometry = Geometry.of(40, 30)
    for kind in ("eb", "ceb", "eb_likely"):
        assert found[1][kind].grid == layer.grid and found[1][kind].placed(geometry).grid == layer.grid
    assert found[1]["nll"].grid is None and found[1]["nll"].placed(geometry) is geometry


def test_a_layer_that_cannot_be_read_is_named(s2vt):
    asking = Asking("video", SaliencyConfig(eb_layer="35x35"))
    with pytest.raises(UserError, match="eb_layer=35x35 needs the network and the pictures .* choose .*=mixed_10"):
        find_evidence(s2vt, video(), SENTENCES, ["eb"], asking)


# All of them


@pytest.mark.parametrize("media", MEDIA)
def test_sentences_together_are_sentences_one_by_one(captioner, media):
    descriptors, asking = MEDIA[media]
    asking = Asking(asking.media, SaliencyConfig(subsets=20, integration_steps=4), seed=4)
    together = find_evidence(captioner, descriptors, SENTENCES, EVERY, asking)
    for y, of_sentence in zip(SENTENCES, together, strict=True):
        (alone,) = find_evidence(captioner, descriptors, [y], EVERY, asking)
        for kind in EVERY:
            evidence, expected = of_sentence[kind], alone[kind]
            assert (evidence.frames is None) == (media == "picture")
            assert (evidence.cells is None) == (media == "video" and kind in ("banzhaf", "rise"))
            for here, there in ((evidence.cells, expected.cells), (evidence.frames, expected.frames)):
                if here is not None:
                    assert (
                        here.shape
                        == ((len(y), 1, 2, 2), (len(y), 5, 2, 2), (len(y), 5))[
                            (media == "video") * (1 + (here.ndim == 2))
                        ]
                    )
                    np.testing.assert_allclose(here, there, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "passes"),
    [  # {sequences read: how many} of a picture of N=4 cells and T=3 words, K=9, A=5
        ("nll", {1: 4}), ("kl", {1: 4, 4: 1}), ("rise", {None: 9}), ("banzhaf", {None: 9}),
        ("leave_one_out", {3: 4, 4: 1}), ("leave_one_out_kl", {3: 4, 4: 2}), ("gradient", {4: 3}), ("gradcam", {4: 3}),
        ("integrated", {4: 15}), ("eb", {4: 3}), ("ceb", {4: 3}), ("eb_likely", {1: 4}),
    ],
)  # fmt: skip
def test_the_passes_that_a_kind_takes_are_those_that_its_cost_says(s2vt, kind, passes):
    counted = Counted(s2vt)
    settings = SaliencyConfig(subsets=9, integration_steps=5)
    find_evidence(counted, picture(), SENTENCES[:1], [kind], Asking("picture", settings))
    for length, number in passes.items():
        rows = [R for R, L, _ in counted.encoded if length in (None, L)]
        assert number <= sum(rows) <= number + sum(R == 1 for R in rows)  # and trials of one row, for the memory
    symbols = {1: "one cell", 3: "N-1 cells", 4: "all", None: "N/2 cells"}
    assert all(f"of {symbols[length]}" in KINDS[kind].cost for length in passes)


# Another engine

SCRIPT = """
import sys
import numpy as np
import test_finders as tests
np.savez(sys.argv[2], engine=tests.keras.backend.backend(), **tests.found_by_this_engine(sys.argv[1]))
"""


def found_by_this_engine(weights):
    captioner = captioner_of("soft_attention")
    captioner.load_weights(weights)
    found = {}
    for media, (descriptors, asking) in MEDIA.items():
        (maps,) = find_evidence(captioner, descriptors, SENTENCES[:1], EVERY, asking)
        for kind, evidence in maps.items():
            values = {"cells": evidence.cells, "frames": evidence.frames}
            found |= {f"{media} {kind} {name}": value for name, value in values.items() if value is not None}
    return found


@pytest.mark.slow
@pytest.mark.skipif(find_spec("jax") is None, reason="needs jax, a test dependency")
def test_tensorflow_and_jax_agree(tmp_path):
    captioner_of("soft_attention").save_weights(tmp_path / "some.weights.h5")
    other = {"tensorflow": "jax", "jax": "tensorflow"}.get(keras.backend.backend(), "tensorflow")
    paths = os.pathsep.join(map(str, [Path(__file__).parent, Path(__file__).parents[1]]))
    environment = {**os.environ, "KERAS_BACKEND": other, "JAX_PLATFORMS": "cpu", "PYTHONPATH": paths}
    subprocess.run([sys.executable, "-c", SCRIPT, tmp_path / "some.weights.h5", tmp_path / "found.npz"],
                   env=environment, check=True, timeout=240)  # fmt: skip
    found, expected = np.load(tmp_path / "found.npz"), found_by_this_engine(tmp_path / "some.weights.h5")
    assert found["engine"] == other and set(found) == {*expected, "engine"}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-2, atol=1e-4, err_msg=name)
