"""Deletion and insertion: orders, curves and areas by hand; an oracle on additive evidence has the best areas."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from s2vt.config import Config, FeatureConfig
from s2vt.data.geometry import Grid
from s2vt.evaluation.faithfulness import Asked, Curves, Spoken, Substitute
from s2vt.evaluation.question_tables import CurveTable
from s2vt.features.descriptors import Descriptors, descriptors_of, scan_order
from s2vt.saliency import deletion
from s2vt.saliency.deletion import PRESETS, Preset, Replaced, ReplacedPixels, kept_cells

RNG = np.random.default_rng(3)
PICTURE = Config("A", "coco", "picture", "none", "", features=FeatureConfig(layer="mixed_10", scan="snake"))
CLIP = Config("A", "msr_vtt", "video", "none", "", features=FeatureConfig(num_frames=5))


class AdditiveCaptioner:
    """The logit of word w is the sum over descriptors of v_i . U_w: evidence adds up, whatever is read beside it."""

    U = np.random.default_rng(5).normal(size=(4, 3)).astype("float32")  # V, D

    def encode(self, v):
        return np.asarray(v).sum(axis=1)

    def step(self, state, word):
        return np.asarray(state) @ self.U.T * [0, 1, 0, 0], state  # word 1 against words without evidence


def asked(descriptors, substitute=(0, 0, 0)):
    return Asked(AdditiveCaptioner(), descriptors, None, None, Substitute(np.array(substitute, "float32"), "none"))


def picture(side=4):
    cells = RNG.normal(size=(1, side * side, 3)).astype("float32")
    return descriptors_of(cells, PICTURE)


def curves(descriptors, preset, domain="space"):
    tables = [CurveTable(curve, domain, "descriptors", "", "") for curve in ("deletion", "insertion")]
    shape = descriptors.cells.shape[:2]
    n = deletion.num_items(domain, *shape)
    return Curves(preset, shape, tables, {each: np.arange(n) for each in deletion.DOMAINS})


def effects(descriptors, substitute):
    """log P lost when one cell alone is replaced: the true effect of each cell, (m, C)."""
    m, C = descriptors.cells.shape[:2]
    alone = np.concatenate([np.ones((1, m * C), bool), ~np.eye(m * C, dtype=bool)]).reshape(-1, m, C)
    ((log_p,),) = asked(descriptors, substitute).log_p("descriptors", alone, [np.array([1])], ["mean"])
    return (log_p[0] - log_p[1:]).reshape(m, C)


@pytest.mark.parametrize("preset", [Preset("one at a time"), PRESETS["xplique"]], ids=lambda preset: preset.name)
@pytest.mark.parametrize(("config", "m", "domain"), [(PICTURE, 1, "space"), (CLIP, 5, "both"), (CLIP, 5, "time")])
def test_an_oracle_has_the_best_areas_of_all_orders(config, m, domain, preset):
    preset = dataclasses.replace(preset, descriptors="mean")
    descriptors = descriptors_of(RNG.normal(size=(m, 16, 3)).astype("float32"), config)
    substitute = RNG.normal(size=3).astype("float32")
    of_cells = effects(descriptors, substitute)

    def both(cells):
        cells = cells.reshape(m, 4, 4)
        return cells, cells.sum(axis=(1, 2))

    maps = {"oracle": both(of_cells), "worst": both(-of_cells), "center": deletion.from_centre(m, 4)}
    maps |= {f"random {k}": both(RNG.normal(size=of_cells.shape)) for k in range(20)}
    drawn = curves(descriptors, preset, domain)
    (found,) = drawn.values(asked(descriptors, substitute), "descriptors", [Spoken(np.array([1, 2]), [[0]], [maps])])
    for curve, best in (("deletion", min), ("insertion", max)):
        areas = {row: drawn.area(v, domain) for row, v in found[0, curve, domain, "descriptors"].items()}
        assert best(areas, key=areas.get) == "oracle"
        assert sorted(areas, key=areas.get)[0 if curve == "insertion" else -1] == "worst"


def test_a_curve_by_hand():
    """Two words of equal evidence but for the cells': P = e^s / (e^s + 3), s = 4, 1, 0 after 0, 1 and 2 of 4 cells."""
    cells = np.zeros((1, 4, 3), "float32")
    cells[0, :, 0] = 0, 3, 1, 0
    captioner = AdditiveCaptioner()
    captioner.U = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]], "float32")
    descriptors = Descriptors(cells, cells[0], np.arange(4))
    drawn = curves(descriptors, Preset("half", share=0.5))
    asks = dataclasses.replace(asked(descriptors), captioner=captioner)
    maps = {"nll": (cells[:, :, 0].reshape(1, 2, 2), None)}
    (found,) = drawn.values(asks, "descriptors", [Spoken(np.array([1, 2]), [[0]], [maps])])
    deleted, inserted = (found[0, curve, "space", "descriptors"]["nll"] for curve in ("deletion", "insertion"))
    log_p = [s - np.log(np.exp(s) + 3) for s in (4, 1, 0)]
    np.testing.assert_allclose(deleted, log_p, rtol=1e-6)
    np.testing.assert_allclose(inserted, [log_p[2], 3 - np.log(np.exp(3) + 3), log_p[0]], rtol=1e-6)
    assert drawn.area(deleted, "space") == pytest.approx((log_p[0] / 2 + log_p[1] + log_p[2] / 2) / 2)


class Noting(AdditiveCaptioner):
    """Notes how many sequences are read each time, in `read`."""

    def __init__(self):
        self.read = []

    def encode(self, v):
        self.read.append(len(v))
        return super().encode(v)


def test_a_phrase_is_the_sum_of_its_words_and_equal_sets_are_read_once():
    descriptors, captioner = picture(), Noting()
    drawn = curves(descriptors, Preset("whole"))
    asks = dataclasses.replace(asked(descriptors), captioner=captioner)
    maps = {row: (RNG.normal(size=(1, 4, 4)), None) for row in ("a", "b")}
    maps["same as a"] = maps["a"]
    y = np.array([1, 2, 1])

    def values(words):
        (found,) = drawn.values(asks, "descriptors", [Spoken(y, words, [maps] * len(words))])
        return found

    found = values([[0, 2], [1]])
    assert sum(captioner.read) - 1 == 2 * 2 * 15 + 2  # curves x orders x inner points, nothing, everything; a trial row
    key = 0, "deletion", "space", "descriptors"
    np.testing.assert_allclose(found[key]["a"], values([[0]])[key]["a"] + values([[2]])[key]["a"], rtol=1e-5)


def test_orders_that_captions_share_are_read_once_for_all_and_others_for_their_own():
    descriptors, captioner = picture(), Noting()
    drawn = curves(descriptors, Preset("whole"))
    asks = dataclasses.replace(asked(descriptors), captioner=captioner)
    shared = {"random": (RNG.normal(size=(1, 4, 4)), None)}
    own = [{"a": (RNG.normal(size=(1, 4, 4)), None)} for _ in range(3)]
    captions = [Spoken(np.array([w, 1, 2]), [[1]], [maps | shared]) for w, maps in enumerate(own)]
    found = drawn.values(asks, "descriptors", captions)
    orders = 3 + 1
    assert sum(captioner.read) == orders * 2 * 15 + 2 + orders  # and a trial row for those of each set of captions
    for caption, of_caption in zip(captions, found, strict=True):
        (alone,) = drawn.values(asks, "descriptors", [caption])
        assert of_caption.keys() == alone.keys()
        for key, rows in alone.items():
            assert list(of_caption[key]) == ["a", "random"]
            for row, values in rows.items():
                np.testing.assert_allclose(of_caption[key][row], values, rtol=1e-5)


@pytest.mark.parametrize(("config", "m"), [(PICTURE, 1), (CLIP, 5)], ids=["picture", "clip"])
@pytest.mark.parametrize("domain", deletion.DOMAINS)
def test_what_is_read_equals_descriptors_of_replaced_cells(config, m, domain):
    cells, substitute = RNG.normal(size=(m, 9, 3)).astype("float32"), RNG.normal(size=3).astype("float32")
    n = deletion.num_items(domain, m, 9)
    values = RNG.normal(size=(m,) if domain == "time" else (m, 3, 3))
    kept = kept_cells(values, domain, 9, deletion.step_counts(n, Preset("all")), "deletion", np.arange(n))
    read = Replaced(descriptors_of(cells, config), kept, substitute)
    expected = [descriptors_of(np.where(k[..., None], cells, substitute), config).v for k in kept]
    np.testing.assert_allclose(read[0 : len(kept)], expected, rtol=1e-5, atol=1e-6)
    assert read.shape == np.shape(expected)
    if config is PICTURE:
        assert not np.array_equal(scan_order("snake", 3), np.arange(9))


def test_cells_of_frames_are_deleted_by_frame_by_time_or_together():
    cells = np.array([[[4.0, 3], [2, 1]], [[8, 5], [6, 7]]])  # m=2, 2 x 2

    def deleted(domain, count):
        n = deletion.num_items(domain, 2, 4)
        values = cells.sum(axis=(1, 2)) if domain == "time" else cells
        kept = kept_cells(values, domain, 4, np.array([0, count]), "deletion", np.arange(n))
        return np.argwhere(~kept[1]).tolist()

    assert deleted("space", 1) == [[0, 0], [1, 0]]
    assert deleted("time", 1) == [[1, 0], [1, 1], [1, 2], [1, 3]]
    assert deleted("both", 3) == [[1, 0], [1, 2], [1, 3]]


def test_shapes_that_do_not_fit_are_refused():
    descriptors = picture()
    with pytest.raises(ValueError, match=r"kept must be \(R, m, C\) of cells \(1, 16, 3\); received \(2, 1, 9\)"):
        Replaced(descriptors, np.ones((2, 1, 9), bool), np.zeros(3))
    repeated = dataclasses.replace(descriptors, order=None)
    with pytest.raises(ValueError, match="are not what the captioner reads"):
        Replaced(repeated, np.ones((2, 1, 16), bool), np.zeros(3))


def test_pixels_nearest_to_a_cell_are_replaced():
    grid = Grid(side=2, stride=10, offset=5, input_size=20)
    image = RNG.integers(1, 255, (1, 20, 20, 3)).astype(np.uint8)
    kept = np.array([[[True, True, True, True]], [[True, False, True, True]], [[False, False, False, False]]])
    substitutes = [np.stack([deletion.substitute_pixels(image[0], how)]) for how in ("black", "black", "mean")]
    seen = []

    def network(pictures):
        seen.append(pictures)
        return pictures.reshape(len(pictures), -1, 3)[:, :4].astype("float32")

    def describe(cells):
        return descriptors_of(cells, PICTURE)

    read = ReplacedPixels(image, kept, substitutes, network, grid, describe, (4, 3))
    assert read.shape == (3, 4, 3)
    trial, whole = read[0:1], read[0:3]
    assert whole.shape == (3, 4, 3) and np.array_equal(trial, whole[:1])
    (shown,) = seen  # one batch, and once
    np.testing.assert_array_equal(shown[0], image[0])
    black = (shown[1] == 0).all(axis=-1)
    assert black[:11, 11:].all() and not black[11:].any() and not black[:, :10].any()
    assert (shown[2] == 128).all()


def test_pictures_are_read_by_batches_whatever_slices_are_asked_for(monkeypatch):
    monkeypatch.setattr(deletion, "BATCH", 7)
    grid, seen = Grid(side=2, stride=10, offset=5, input_size=20), []
    images = RNG.integers(1, 255, (3, 20, 20, 3)).astype(np.uint8)
    kept = RNG.random((9, 3, 4)) < 0.5

    def network(pictures):
        seen.append(len(pictures))
        return pictures[:, 5::10, 5::10].reshape(len(pictures), 4, 3).astype("float32")

    substitutes = [np.zeros_like(images)] * 9
    read = ReplacedPixels(images, kept, substitutes, network, grid, lambda cells: descriptors_of(cells, CLIP), (3, 3))
    found = [read[rows] for rows in (slice(0, 1), slice(0, 5), slice(5, 9))]  # as `teacher_forcing` reads them
    assert seen == [6] * 4 + [3]
    middles = images[:, 5::10, 5::10].reshape(3, 4, 3) * kept[..., None]
    np.testing.assert_allclose(np.concatenate(found[1:]), middles.mean(axis=2), rtol=1e-6)
    np.testing.assert_array_equal(found[0], found[1][:1])


def test_blur_is_rise_s():
    """As in its code: a Gaussian filter of a point in 11 x 11 pixels, convolved with the input, 0 (grey) beyond it."""
    point = np.zeros((11, 11))
    point[5, 5] = 1
    kernel = gaussian_filter(point, 5)
    image = RNG.integers(0, 256, (23, 31, 3)).astype(np.uint8)
    padded = np.pad(image - 128.0, ((5, 5), (5, 5), (0, 0)))
    expected = 128 + sum(
        kernel[y, x] * padded[y : y + 23, x : x + 31] for y, x in itertools.product(range(11), range(11))
    )
    assert np.abs(deletion.blur(image) - expected).max() < 0.51


def test_presets_are_the_tools_definitions():
    rise, quantus, xplique = (PRESETS[name] for name in ("rise", "quantus", "xplique"))
    assert deletion.step_counts(64, rise).tolist() == list(range(65))
    assert len(deletion.step_counts(26 * 64, rise)) == 225
    assert deletion.step_counts(64, rise, "pixels").tolist() == list(range(0, 65, 4))
    assert deletion.step_counts(64, quantus, "pixels").tolist() == deletion.step_counts(64, quantus).tolist()
    assert deletion.step_counts(64, xplique).tolist() == np.linspace(0, 64, 11, dtype=int).tolist()
    assert (rise.deleted, rise.missing, quantus.curves) == ("mean", "blur", ("deletion",))
    assert 64 * quantus.share == pytest.approx(8.16, abs=0.01)  # 100 of 784 regions
    with pytest.raises(dataclasses.FrozenInstanceError):
        rise.steps = 7
