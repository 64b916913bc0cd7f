"""Maps behind one interface: losses and attention, put where they belong."""

import numpy as np
import pytest

import run_s2vt
from s2vt.captioning.captioners import CAPTIONERS
from s2vt.captioning.soft_attention import SoftAttention
from s2vt.features.descriptors import scan_order
from s2vt.saliency.information_loss import image_saliency, sentence_log_probabilities, video_saliency
from s2vt.saliency.maps import MAPS, NEEDS, AttentionMap, LossMap, names_of

D, V = 3, 7
SENTENCES = [np.array([4, 1, 5]), np.array([2]), np.array([3, 3, 1, 6])]


@pytest.fixture(scope="module")
def captioner():
    model = SoftAttention(V, units=5, embedding_size=8, attention_size=9)
    model.build({"v": (None, None, D)})
    rng = np.random.default_rng(7)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return model


def test_loss_maps_by_hand():
    loss = np.array([[[[3.0, 1.0], [2.0, 3.0]]], [[[0.0, 0.0], [2.0, 1.0]]]])  # (n=2, m=1, 2, 2)
    saliency = LossMap(loss, np.array([[1.0, 2.0], [4.0, 0.5]]))
    np.testing.assert_allclose(saliency.space([0, 1]), [[[[1 / 3, 1], [0, 0]]]])  # of 3 1 / 4 4
    np.testing.assert_allclose(saliency.time([0, 1]), [-5, -2.5])
    assert LossMap(loss, None).time([0]) is None


def test_attention_maps_by_hand():
    alpha = np.arange(8.0).reshape(2, 1, 2, 2)
    assert AttentionMap(alpha).space([1]).tolist() == alpha[1:].tolist()
    assert AttentionMap(alpha).space([0, 1]).shape == (2, 1, 2, 2) and AttentionMap(alpha).time([0]) is None
    frames = AttentionMap(np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]))
    np.testing.assert_allclose(frames.time([0, 1]), [0.6, 0.4, 1.0])
    assert frames.space([0]) is None


ORDERS = [scan_order("raster"), scan_order("snake"), np.random.default_rng(1).permutation(64)]  # snake undoes itself


@pytest.mark.parametrize("order", ORDERS, ids=["raster", "snake", "any"])
def test_a_pictures_attention_lies_on_its_own_cells(captioner, order):
    cells = np.random.default_rng(8).normal(size=(64, D)).astype("float16")
    maps = MAPS["attention"](captioner, cells, cells[order], order, SENTENCES, "pooled")
    for y, found in zip(SENTENCES, maps, strict=True):
        alpha = captioner.attention({"v": cells[order][None].astype("float32"), "y": y[None]})[0]
        assert found.alpha.shape == (len(y), 1, 8, 8)
        for k, cell in enumerate(order):
            row, column = divmod(int(cell), 8)
            np.testing.assert_allclose(found.alpha[:, 0, row, column], alpha[:, k], rtol=1e-4, atol=1e-7)


def test_a_videos_attention_is_over_frames(captioner):
    v = np.random.default_rng(8).normal(size=(6, D)).astype("float32")
    maps = MAPS["attention"](captioner, None, v, None, SENTENCES, "pooled")
    assert [found.alpha.shape for found in maps] == [(3, 6), (1, 6), (4, 6)]
    np.testing.assert_allclose([found.alpha.sum(axis=-1).mean() for found in maps], 1, rtol=1e-5)


@pytest.mark.parametrize("name", ["information_loss", "kl"])
def test_several_sentences_at_once_are_one_by_one(captioner, name):
    rng = np.random.default_rng(9)
    encode, step = captioner.encode, captioner.step
    cells = rng.normal(size=(16, D)).astype("float16")
    for y, found in zip(
        SENTENCES, MAPS[name](captioner, cells, cells, np.arange(16), SENTENCES, "pooled"), strict=True
    ):
        log_p = sentence_log_probabilities(encode, step, cells, [y])
        ((loss, kl),) = image_saliency(encode, step, cells, [y], log_p)
        expected = loss if name == "information_loss" else kl
        np.testing.assert_allclose(found.loss[:, 0], expected, rtol=1e-4, atol=1e-5)
        assert found.loss_pooled is None
    cells = rng.normal(size=(2, 4, D)).astype("float16")
    v = cells.mean(axis=1, dtype="float32")
    for y, found in zip(SENTENCES, MAPS[name](captioner, cells, v, None, SENTENCES, "pooled"), strict=True):
        (video,) = video_saliency(encode, step, cells, v, [y], sentence_log_probabilities(encode, step, v, [y]))
        expected = video[:2] if name == "information_loss" else video[2:]
        np.testing.assert_allclose(found.loss_pooled, expected[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.loss, expected[1], rtol=1e-4, atol=1e-5)


def test_descriptors_are_read_once_for_all_sentences(captioner):
    class Counted:
        encoded = []
        step = captioner.step

        def encode(self, v):
            self.encoded.append(len(v))
            return captioner.encode(v)

    MAPS["information_loss"](Counted(), np.ones((16, D), "float16"), None, None, SENTENCES, "pooled")
    assert Counted.encoded == [1, 16]  # the trial of one row, and all of them


def test_what_each_captioner_can_give():
    found = {name: names_of(captioner) for name, captioner in CAPTIONERS.items()}
    losses = ["information_loss", "kl"]
    assert found == {
        "s2vt": losses, "mean_pool": losses,
        "soft_attention": [*losses, "attention"], "hard_attention": [*losses, "attention"],
    }  # fmt: skip
    assert list(MAPS) == list(NEEDS) == list(run_s2vt.KINDS)
