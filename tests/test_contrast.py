"""The contrast of a batch's pictures and captions, and `alignment`: by hand, by loops, and taught by captions alone."""

import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops
from small_runs import CONFIG, Place
from toys import with_random_weights

from s2vt.captioning import contrast
from s2vt.captioning.captioner import caption_loss
from s2vt.captioning.captioners import CAPTIONERS
from s2vt.captioning.contrast import Contrast, caption_scores, contrast_loss, cosines, picture_word_scores
from s2vt.captioning.training import TrainingRequest, train
from s2vt.config import CONTRASTED, SaliencyConfig
from s2vt.data.batches import CaptionBatches, Source
from s2vt.data.text import Vocabulary
from s2vt.errors import UserError
from s2vt.saliency import sums
from s2vt.saliency.maps import Asking, Evidence, find_evidence, kinds_of

M, N, B, T, D, H, E, V = 3, 5, 6, 4, 7, 8, 9, 12
Y = np.array([[4, 1, 5, 0], [2, 4, 0, 0], [1, 0, 0, 0], [7, 1, 9, 2], [9, 5, 0, 0], [7, 7, 1, 0]], "int32")
MEDIUM = np.array([0, 0, 1, 1, 2, 2], "int32")
PICTURE = np.array([30, 10, 30], "int32")  # rows 0 and 2 are one picture
FUNCTION_WORD = 1  # so that caption 2, "1 END", has no content word


def numbers(tensor):
    return ops.convert_to_numpy(ops.convert_to_tensor(tensor))


def inputs_of(y=Y, medium=MEDIUM, picture=PICTURE, seed=3):
    """A batch as `CaptionBatches` makes it, all words but END and FUNCTION_WORD content."""
    is_content = y > FUNCTION_WORD
    queries, positions = np.unique(y[is_content], return_inverse=True)
    query = np.full(y.shape, -1, "int32")
    query[is_content] = positions
    v = np.random.default_rng(seed).normal(size=(len(picture), N, D)).astype("float32")
    queries = np.pad(queries, (0, 3)).astype("int32")
    return {"v": v, "y": y, "medium": medium, "picture": picture, "queries": queries, "query": query}


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_scores_by_hand():
    a = np.log(3) / 10  # so that exp(10 a) = 3
    cosine = np.array([[[a, 0.0], [0.0, 0.0], [0.0, a]]])  # M = 1, N = 3, Q = 2
    np.testing.assert_allclose(numbers(picture_word_scores(cosine)), [[3 * a / 5, 3 * a / 5]], rtol=1e-6)
    s = np.log([[2.0, 4.0, 1.0], [1.0, 3.0, 8.0]]) / 5  # M = 2, Q = 3: exp(5 s) are these numbers
    query = np.array([[0, -1, 2, 1], [1, -1, -1, -1], [2, 2, -1, -1], [-1, -1, -1, -1]])
    expected = np.log([[7, 12], [4, 3], [2, 16], [1, 1]]) / 5  # 2 + 1 + 4, 1 + 8 + 3; a word said twice counts twice
    np.testing.assert_allclose(numbers(caption_scores(s, query)), expected, rtol=1e-6, atol=1e-7)


def test_contrast_loss_by_hand():
    weights = np.array([[4.0, 1.0], [2.0, 2.0], [3.0, 5.0]])  # exp(10 S) of 3 captions and 2 pictures
    medium, everyone = np.array([0, 0, 1]), np.array([True] * 3)
    loss = contrast_loss(np.log(weights) / 10, everyone, medium, np.array([7, 8]))
    of_pictures = [4 / (4 + 1), 2 / (2 + 2), 5 / (5 + 3)]
    of_captions = [4 / (4 + 3), 2 / (2 + 3), 5 / (5 + 1 + 2)]  # captions 0 and 1 are not set against each other
    np.testing.assert_allclose(numbers(loss), -np.mean(np.log(of_pictures) + np.log(of_captions)), rtol=1e-6)
    without = contrast_loss(np.log(weights) / 10, np.array([True, False, True]), medium, np.array([7, 8]))
    expected = -(np.log(4 / 5) + np.log(5 / 8) + np.log(4 / 7) + np.log(5 / 6)) / 2
    np.testing.assert_allclose(numbers(without), expected, rtol=1e-6)


def test_nothing_is_set_against_its_own_picture():
    scores = np.random.default_rng(4).normal(size=(4, 2))
    one_picture = contrast_loss(scores, np.array([True] * 4), np.array([0, 0, 1, 1]), np.array([5, 5]))
    assert numbers(one_picture) == 0
    assert numbers(contrast_loss(scores, np.array([False] * 4), np.array([0, 0, 1, 1]), np.array([5, 6]))) == 0


# --- two roads -------------------------------------------------------------------------------------------------------


def literal(x, U, inputs):
    """The equations of `contrast` with loops, float64."""
    x, U = np.asarray(x, "float64"), np.asarray(U, "float64")
    content = [[w for w in row if w > FUNCTION_WORD] for row in inputs["y"]]

    def agreement(m, w):
        cos = [x_i @ U[w] / np.linalg.norm(x_i) / np.linalg.norm(U[w]) for x_i in x[m]]
        return sum(np.exp(10 * c) * c for c in cos) / sum(np.exp(10 * c) for c in cos)

    def score(m, b):
        return np.log(sum(np.exp(5 * agreement(m, w)) for w in content[b])) / 5

    losses = []
    for b, own in enumerate(inputs["medium"]):
        if content[b]:
            others = [m for m in range(len(x)) if inputs["picture"][m] != inputs["picture"][own]]
            rivals = [c for c, m in enumerate(inputs["medium"]) if m in others and content[c]]
            e = np.exp(10 * score(own, b))
            losses.append(-np.log(e / (e + sum(np.exp(10 * score(m, b)) for m in others))))
            losses[-1] -= np.log(e / (e + sum(np.exp(10 * score(own, c)) for c in rivals)))
    return np.mean(losses)


def test_the_layer_equals_the_equations():
    rng, inputs = np.random.default_rng(5), inputs_of()
    x = rng.normal(size=(M, N, H)).astype("float32")
    layer = Contrast(V, H)
    layer.build()
    layer.U.assign(rng.normal(size=(V, H)))
    expected = literal(x, numbers(layer.U), inputs)
    assert expected > 0.5
    np.testing.assert_allclose(numbers(layer(x, inputs)), expected, rtol=1e-5)
    apart = {**inputs, "picture": np.arange(M, dtype="int32")}
    np.testing.assert_allclose(numbers(layer(x, apart)), literal(x, numbers(layer.U), apart), rtol=1e-5)
    assert abs(numbers(layer(x, apart)) - expected) > 0.01


def test_cosines_of_zero_are_zero():
    assert numbers(cosines(np.zeros((2, N, H), "float16"), np.ones((3, H)))).tolist() == np.zeros((2, N, 3)).tolist()


# --- in a captioner --------------------------------------------------------------------------------------------------


def captioner_of(name, weight=0.25, dropout=0.0):
    return with_random_weights(CAPTIONERS[name](V, units=H, embedding_size=E, dropout=dropout, contrast=weight), D)


@pytest.mark.parametrize("name", CONTRASTED)
def test_training_adds_the_weighted_contrast_and_validation_does_not(name):
    model, inputs = captioner_of(name), inputs_of()
    x = inputs["v"] @ numbers(model.W_x) + numbers(model.b_x)
    of_batch = literal(x, numbers(model.contrast.U), inputs)
    of_captions = float(numbers(caption_loss(Y, model({key: inputs[key] for key in ("v", "y", "medium")}))))
    model.compile(keras.optimizers.SGD(0.0))
    trained = model.train_on_batch(inputs, return_dict=True)
    model.reset_metrics()
    tested = model.test_on_batch(inputs, return_dict=True)
    for found, expected in (
        (trained, {"loss": of_captions + 0.25 * of_batch, "contrast": of_batch}),
        (tested, {"loss": of_captions, "contrast": of_batch}),
    ):
        assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", CONTRASTED)
def test_a_captioner_without_contrast_is_as_it_was(name):
    plain, contrasted = captioner_of(name, 0.0), captioner_of(name)
    assert len(plain.weights) == len(contrasted.weights) - 1 and contrasted.contrast.U.shape == (V, H)
    contrasted.set_weights([*plain.get_weights(), numbers(contrasted.contrast.U)])  # U is the last one
    inputs = inputs_of()
    np.testing.assert_array_equal(numbers(plain(inputs)), numbers(contrasted(inputs)))
    assert "alignment" not in kinds_of(plain) and "alignment" in kinds_of(contrasted)
    assert not plain.losses and len(contrasted.losses) == 1
    plain.compile(keras.optimizers.SGD(0.0))
    assert set(plain.train_on_batch(inputs, return_dict=True)) == {"loss"}


def test_a_batch_without_content_words_cannot_train_it():
    model = captioner_of("mean_pool")
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    with pytest.raises(ValueError, match='"queries" and "query"'):
        model.train_on_batch({"v": inputs_of()["v"], "y": Y[:M]})


def test_alignment_is_the_cosine_of_each_descriptor_alone(tmp_path):
    model = captioner_of("s2vt")
    v, words = np.random.default_rng(7).normal(size=(4, D)).astype("float16"), np.array([5, 0, 3])
    found = model.alignment(v, words)
    for k, w in enumerate(words):
        for i in range(4):
            x, u = v[i].astype("float64") @ numbers(model.W_x) + numbers(model.b_x), numbers(model.contrast.U)[w]
            assert found[k, i] == pytest.approx(x @ u / np.linalg.norm(x) / np.linalg.norm(u), abs=1e-5)
    model.save_weights(tmp_path / "model.weights.h5")
    other = CAPTIONERS["s2vt"](V, units=H, embedding_size=E, contrast=0.5)
    other.build({"v": (None, None, D)})
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other.alignment(v, words), found)


def test_the_captioners_that_can_have_a_contrast():
    assert tuple(name for name, captioner in CAPTIONERS.items() if "contrast" in captioner.SETTINGS) == CONTRASTED
    assert sums.SHARPNESS == contrast.CELL_SHARPNESS


# --- batches ---------------------------------------------------------------------------------------------------------


def test_a_batch_names_its_content_words():
    captions = [["a dog and a cat", "it is a dog"], ["the cat", "it is there"]]
    media = [SimpleNamespace(captions=of_medium, number=k) for k, of_medium in enumerate(captions)]
    store = SimpleNamespace(v=lambda medium: np.full((N, D), medium.number))
    vocabulary = Vocabulary.from_captions((caption for medium in captions for caption in medium), 1)
    config = CONFIG.replace(["training.batch_size=4", "training.captions_per_medium=1", "model.contrast=0.5"])
    batch = CaptionBatches([Source(media, store)], vocabulary, config)[0]
    said = [[vocabulary.words[batch["queries"][k]] for k in row if k >= 0] for row in batch["query"]]
    assert said == [["dog", "cat"], ["dog"], ["cat"], []]
    assert (batch["query"] >= 0).tolist() == [[word in ("dog", "cat") for word in (vocabulary.words[w] for w in row)]
                                              for row in batch["y"]]  # fmt: skip
    assert batch["picture"].tolist() == [0, 0, 1, 1] and batch["medium"].tolist() == [0, 1, 2, 3]
    assert len(batch["queries"]) == 4 and batch["queries"][2:].tolist() == [0, 0]  # a multiple of B, padded by END
    plain = CaptionBatches([Source(media, store)], vocabulary, config.replace(["model.contrast=0"]))[0]
    assert set(plain) == {"v", "y", "medium", "words"}


# --- captions alone teach where --------------------------------------------------------------------------------------


class Scenes:
    """Media of 16 cells: noise, but for two of them with two different objects, which the captions name."""

    KINDS = "ball bed box cup hat jar key pen star tie".split()
    D = 128

    def __init__(self, count, seed):
        self.rng = np.random.default_rng(seed)
        looks = np.random.default_rng(0).normal(size=(len(self.KINDS), self.D))
        self.media = []
        for k in range(count):
            kinds = self.rng.choice(len(self.KINDS), 2, replace=False)
            cells = self.rng.choice(16, 2, replace=False)
            v = self.rng.normal(size=(16, self.D)).astype("float32")
            v[cells] = looks[kinds] + 0.3 * v[cells]
            first, second = (self.KINDS[kind] for kind in kinds)
            captions = [f"a {first} and a {second}", f"there is a {second} beside the {first}"]
            self.media.append(SimpleNamespace(id=k, captions=captions, v=v, truth={first: cells[0], second: cells[1]}))

    def v(self, medium):
        return medium.v


def test_captions_alone_teach_where_each_word_is():
    scenes, unseen = Scenes(96, seed=1), Scenes(40, seed=2)
    vocabulary = Vocabulary.from_captions((caption for medium in scenes.media for caption in medium.captions), 1)
    config = CONFIG.replace(["training.batch_size=32", "training.captions_per_medium=2", "model.contrast=0.5"])
    keras.utils.set_random_seed(1)
    model = CAPTIONERS["mean_pool"](len(vocabulary), units=128, embedding_size=E, contrast=0.5)
    model.build({"v": (None, None, Scenes.D)})
    model.compile(keras.optimizers.Adam(0.005))
    model.fit(CaptionBatches([Source(scenes.media, scenes)], vocabulary, config, seed=1), epochs=10, verbose=0)
    hits = []
    for medium in unseen.media:
        for word, cell in medium.truth.items():
            (agreement,) = model.alignment(medium.v, np.array([vocabulary.index[word]]))
            hits.append(agreement.argmax() == cell)
    # By chance 1/16. Not 1: a word whose object has a small cosine at first, beside other cells, may never learn it.
    assert np.mean(hits) > 0.35


# --- the map ---------------------------------------------------------------------------------------------------------

WORDS = [".", "a", "dog", "runs", "the", "cat"] + [f"w{k}" for k in range(6, V)]


def descriptors_of(m, num_cells=4, order=None):
    cells = np.random.default_rng(8).normal(size=(m, num_cells, D)).astype("float16")
    return SimpleNamespace(cells=cells, v=cells.mean(axis=1, dtype="float32"), order=order)


def test_map_alignment_at_each_cell_and_frame():
    model, descriptors, m = captioner_of("mean_pool"), descriptors_of(3), 3
    sentences = [np.array([1, 2, 3]), np.array([2])]
    for frames in ("pooled", "cells"):
        asking = Asking("video", SaliencyConfig(frame_input=frames), tuple(WORDS))
        first, second = find_evidence(model, descriptors, sentences, ["alignment"], asking)
        for t, w in enumerate(sentences[0]):
            for i in range(m):
                expected = model.alignment(descriptors.cells[i], np.array([w]))[0]
                np.testing.assert_allclose(first["alignment"].cells[t, i].ravel(), expected, rtol=1e-5)
                pooled = descriptors.cells[i].mean(axis=0, dtype="float32")[None]
                expected = model.alignment(pooled, np.array([w]))[0, 0]
                assert first["alignment"].frames[t, i] == pytest.approx(expected, rel=1e-5)
        np.testing.assert_array_equal(second["alignment"].cells[0], first["alignment"].cells[1])
    assert first["alignment"].content == (1, 2)  # not the article
    (of_picture,) = find_evidence(
        model, descriptors_of(1), sentences[:1], ["alignment", "nll"], Asking("picture", vocabulary=tuple(WORDS))
    )
    assert of_picture["alignment"].frames is None and of_picture["alignment"].cells.shape == (3, 1, 2, 2)
    assert of_picture["nll"].content is None


def test_a_phrases_alignment_is_the_share_of_its_content_words_sum():
    cells = np.random.default_rng(9).uniform(-1, 1, size=(4, 2, 2, 2))
    evidence = Evidence("alignment", cells, cells[..., 0, 0], content=(1, 2))

    def shares(of_words, axis):
        e = np.exp(10 * sum(of_words))
        return e / e.sum(axis=axis, keepdims=True)

    np.testing.assert_allclose(evidence.space([0, 1, 2]), shares(cells[[1, 2]], (1, 2)), rtol=1e-9)
    np.testing.assert_allclose(evidence.time([0, 1, 2]), shares(cells[[1, 2], :, 0, 0], 0), rtol=1e-9)
    np.testing.assert_allclose(evidence.space([0, 3]), shares(cells[[0, 3]], (1, 2)), rtol=1e-9)  # no content word
    every = dataclasses.replace(evidence, content=None)
    np.testing.assert_allclose(every.space([0, 1]), shares(cells[[0, 1]], (1, 2)), rtol=1e-9)


# --- training a run --------------------------------------------------------------------------------------------------


def test_a_run_with_contrast_resumes_bit_for_bit(training_place):
    names = training_place.train_whole_and_in_parts("model.contrast=0.5", "model.name=mean_pool")
    assert names == ["epoch", "contrast", "loss", "val_METEOR", "val_contrast", "val_loss"]


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        (["model.name=soft_attention"], ["soft_attention", "--model s2vt or mean_pool", "model.contrast=0.5"]),
        (["model.name=hard_attention"], ["hard_attention", "--model s2vt or mean_pool"]),
        (["training.batch_size=7", "training.captions_per_medium=4"], ["training.batch_size=8", "two of them"]),
    ],
)
def test_what_cannot_have_a_contrast_is_refused(settings, facts, tmp_path):
    config = CONFIG.replace(["model.contrast=0.5", *settings])
    with pytest.raises(UserError) as caught:
        train(TrainingRequest(config, Place(tmp_path).run("x"), tmp_path))
    assert all(fact in str(caught.value) for fact in facts) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


# --- engines ---------------------------------------------------------------------------------------------------------

SCRIPT = """
import sys
import keras
import numpy as np
from s2vt.captioning.captioners import CAPTIONERS

given, found = dict(np.load(sys.argv[1])), {}
for name in sys.argv[3:]:
    model = CAPTIONERS[name](12, units=8, embedding_size=9, dropout=0.0, contrast=0.25)
    model.build({"v": (None, None, 7)})
    model.load_weights(f"{sys.argv[2]}/{name}.weights.h5")
    model.compile(keras.optimizers.SGD(0.1))
    logs = model.train_on_batch(given, return_dict=True)
    found |= {f"{name} {key}": value for key, value in logs.items()}
    found |= {f"{name} {k}": weights for k, weights in enumerate(model.get_weights())}
    found[f"{name} alignment"] = model.alignment(given["v"][0], np.array([4, 0, 5]))
np.savez(f"{sys.argv[2]}/{keras.backend.backend()}.npz", **found)
"""


@pytest.mark.slow  # imports both engines in processes of their own
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax, a test dependency")
def test_tensorflow_and_jax_agree(tmp_path):
    np.savez(tmp_path / "given.npz", **inputs_of())
    for name in CONTRASTED:
        captioner_of(name).save_weights(tmp_path / f"{name}.weights.h5")
    for engine in ("tensorflow", "jax"):
        subprocess.run(
            [sys.executable, "-c", SCRIPT, tmp_path / "given.npz", tmp_path, *CONTRASTED],
            env={**os.environ, "KERAS_BACKEND": engine, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"},
            cwd=Path(__file__).parents[1],
            check=True,
            timeout=240,
        )
    found, expected = np.load(tmp_path / "jax.npz"), np.load(tmp_path / "tensorflow.npz")
    assert set(found) == set(expected) and "s2vt contrast" in expected
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
