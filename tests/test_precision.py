"""Saliency with bfloat16 products: the rounding by hand, every captioner's losses, and where it is not faster.

Letters: R rows, H inputs and J outputs of a kernel; D=3, V=7.
"""

import keras
import numpy as np
import pytest
from keras import ops
from test_finders import MEDIA, SENTENCES, D, captioner, s2vt  # noqa: F401
from toys import with_random_weights

from s2vt import precision
from s2vt.captioning.s2vt import S2VT
from s2vt.config import SaliencyConfig
from s2vt.precision import RoundedKernels, bfloat16_gain, product, products_in
from s2vt.saliency.maps import Asking, find_evidence

R, H, J = 6, 5, 4


@pytest.fixture(autouse=True)
def gain(monkeypatch):
    """A machine on which bfloat16 is twice as fast; set `gain[0]` for another."""
    of_machine = [2.0]
    monkeypatch.setattr(precision, "bfloat16_gain", lambda: of_machine[0])
    precision._gains.cache_clear()
    yield of_machine
    precision._gains.cache_clear()


def rounded(x):
    """The nearest bfloat16, by the bits of float32: round half to even at the 16th of them."""
    bits = np.asarray(x, "float32").view("uint32").astype("uint64")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16).astype("uint32").view("float32")


def test_a_product_is_rounded_about_the_mean_of_its_rows():
    rng, layer = np.random.default_rng(3), keras.layers.Layer()
    x, W, b = (rng.normal(size=shape).astype("float32") for shape in ((R, H), (H, J), (J,)))
    x += 100  # what all rows share is large
    kernel = layer.add_weight((H, J), "zeros")
    kernel.assign(W)
    of_copies = RoundedKernels(layer, [kernel])
    of_copies.refresh()

    def numbers(function):
        return ops.convert_to_numpy(function(ops.convert_to_tensor(x), kernel, b))

    exact, mean = x.astype("float64") @ W + b, x.mean(axis=0, keepdims=True)
    np.testing.assert_allclose(numbers(product), exact, rtol=1e-5, strict=False)
    found = numbers(of_copies.rounding(product))
    assert found.dtype == np.float32
    by_hand = rounded(x - mean) @ rounded(W)
    np.testing.assert_allclose(found, by_hand + (mean @ W + b), rtol=1e-5, atol=np.abs(by_hand).max() / 256)
    np.testing.assert_allclose(found, exact, atol=0.05)  # about 0, not about the mean, it would be off by 0.3
    assert np.abs(found - exact).max() > 1e-4
    np.testing.assert_array_equal(numbers(product), numbers(lambda *args: product(*args)))  # outside: as before


def losses(captioner, media, precision):  # noqa: F811
    descriptors, asking = MEDIA[media]
    asking = Asking(asking.media, SaliencyConfig(precision=precision), tuple("abcdefg"))
    found = find_evidence(captioner, descriptors, SENTENCES, ["nll", "kl"], asking)
    return np.concatenate([of[kind].cells.ravel() for of in found for kind in ("nll", "kl")])


@pytest.mark.parametrize("media", MEDIA)
def test_losses_of_every_captioner_differ_by_rounding_alone(captioner, media):  # noqa: F811
    variables = [variable.path for variable in captioner.variables]
    expected = losses(captioner, media, "float32")
    found = losses(captioner, media, "bfloat16")
    assert found.dtype == np.float32 and not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, atol=0.02 * np.ptp(expected))
    np.testing.assert_array_equal(losses(captioner, media, "float32"), expected)
    assert [variable.path for variable in captioner.variables] == variables  # nothing more in a checkpoint


def test_weights_that_change_are_rounded_anew():
    captioner = with_random_weights(S2VT(7, 5, 8), D, seed=2)  # noqa: F811
    before = losses(captioner, "video", "bfloat16")
    for variable in captioner.trainable_variables:
        variable.assign(variable * 0.5)
    expected = losses(captioner, "video", "float32")
    assert np.abs(expected - before).max() > 0.5
    np.testing.assert_allclose(losses(captioner, "video", "bfloat16"), expected, atol=0.02 * np.ptp(expected))


def test_one_row_alone_is_exact(s2vt):  # noqa: F811
    v = np.random.default_rng(1).normal(size=(1, 4, D)).astype("float32")
    expected, _ = s2vt.step(s2vt.encode(v))
    with products_in("bfloat16"):
        found, _ = s2vt.step(s2vt.encode(v))
    np.testing.assert_allclose(ops.convert_to_numpy(found), ops.convert_to_numpy(expected), rtol=1e-6, strict=True)


def test_float32_is_used_where_bfloat16_is_not_faster(s2vt, gain, capsys):  # noqa: F811
    gain[0] = 0.8
    expected = losses(s2vt, "picture", "float32")
    assert not capsys.readouterr().err
    for _ in range(2):
        np.testing.assert_array_equal(losses(s2vt, "picture", "bfloat16"), expected)
    (line,) = capsys.readouterr().err.splitlines()  # once
    assert line.startswith("saliency.precision=bfloat16: its products are 0.80 times as fast as float32's on this")
    assert line.endswith("; float32 is used")


def test_the_gain_is_a_ratio_of_times():
    assert 0.01 < bfloat16_gain(R=16, H=8, J=4, repeats=1) < 100
