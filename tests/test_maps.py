"""Maps behind one interface: evidence of losses and of attention, each value at its own cell or frame."""

import dataclasses
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from toys import Counted, with_random_weights

from s2vt.captioning.captioners import CAPTIONERS
from s2vt.captioning.soft_attention import SoftAttention
from s2vt.config import SaliencyConfig
from s2vt.data.phrases import Change, Phrase, words_of_change
from s2vt.data.tracks import PASSING
from s2vt.errors import UserError
from s2vt.saliency.heatmaps import scale
from s2vt.saliency.information_loss import (
    NLL,
    frame_input,
    information_loss,
    relative_measure,
    representativeness_measure,
    sentence_log_probabilities,
)
from s2vt.saliency.maps import KINDS, Asking, Evidence, find_evidence, kinds_of, parse_kinds
from s2vt.saliency.subsets import banzhaf, random_subsets, subset_values
from s2vt.synthetic.captions import VERBS

D, V = 3, 7
SENTENCES = [np.array([4, 1, 5]), np.array([2]), np.array([3, 3, 1, 6])]
VIDEO, PICTURE = Asking("video"), Asking("picture")
WORDS = (".", "a", "appears", "fades", "star", "away", "left")
RASTER = np.arange(64)
SNAKE = np.concatenate([row if k % 2 == 0 else row[::-1] for k, row in enumerate(RASTER.reshape(8, 8))])


@pytest.fixture(scope="module")
def captioner():
    return with_random_weights(SoftAttention(V, units=5, embedding_size=8, attention_size=9), D)


def picture(order=RASTER, num_cells=64):
    cells = np.random.default_rng(8).normal(size=(1, num_cells, D)).astype("float16")
    return SimpleNamespace(cells=cells, v=cells[0, order], order=order)


def video(m=6, num_cells=4):
    cells = np.random.default_rng(9).normal(size=(m, num_cells, D)).astype("float16")
    return SimpleNamespace(cells=cells, v=cells.mean(axis=1, dtype="float32"), order=None)


# Evidence


def test_evidence_of_losses_by_hand():
    loss = np.array([[[[3.0, 1.0], [2.0, 3.0]]], [[[0.0, 0.0], [2.0, 1.0]]]])  # (T=2, m=1, 2, 2)
    evidence = Evidence("nll", -loss, -np.array([[1.0, 2.0], [4.0, 0.5]]))
    np.testing.assert_allclose(evidence.space([0, 1]), [[[1 / 3, 1], [0, 0]]])  # e of 3 1 / 4 4
    np.testing.assert_allclose(evidence.time([0, 1]), [-5, -2.5])
    assert evidence.is_loss and Evidence("kl", -loss, None).time([0]) is None


def test_evidence_of_attention_by_hand():
    alpha = np.arange(8.0).reshape(2, 1, 2, 2)
    of_cells = Evidence("attention", alpha, None)
    assert of_cells.space([1]).tolist() == alpha[1].tolist()  # as it is
    assert of_cells.space([0, 1]).tolist() == (alpha[0] + alpha[1]).tolist() and of_cells.time([0]) is None
    assert of_cells.space_of_words([1, 0]).tolist() == alpha[::-1].tolist()
    of_frames = Evidence("attention", None, np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]))
    np.testing.assert_allclose(of_frames.time([0, 1]), [0.6, 0.4, 1.0])
    assert of_frames.space([0]) is None and not of_frames.is_loss


def test_evidence_of_phrases_is_summed_where_there_is_any():
    phrases = [Phrase("b", (1,)), Phrase("a c", (0, 2))]
    cells, frames = np.arange(3.0).reshape(3, 1, 1, 1), np.array([[1.0, 2], [10, 20], [100, 200]])
    of_cells, of_frames = Evidence("nll", cells, frames).of_phrases(phrases)
    assert of_cells.shape == (2, 1, 1, 1) and of_cells.ravel().tolist() == [1, 2]
    assert of_frames.tolist() == [[10, 20], [101, 202]]
    of_cells, of_frames = Evidence("attention", None, frames).of_phrases(phrases)
    assert of_cells is None and of_frames.tolist() == [[10, 20], [101, 202]]


# Likelihood and change


def test_likelihood_of_a_phrase_is_the_normalised_product_of_its_words():
    q = np.random.default_rng(2).uniform(0.01, 1, size=(3, 4, 2, 2))  # q_i(y_t), T = 3 words, m = 4 frames
    evidence = Evidence("likelihood", np.log(q), np.log(q[..., 0, 0]))
    product = q[0] * q[2]
    found = evidence.space([0, 2])  # one map, of the phrase
    np.testing.assert_allclose(found, product / product.sum(axis=(1, 2), keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(evidence.time([0, 2]), product[:, 0, 0] / product[:, 0, 0].sum(), rtol=1e-12)
    of_words = evidence.space_of_words([0, 2])  # two maps, each of a word by itself
    np.testing.assert_allclose(of_words, q[[0, 2]] / q[[0, 2]].sum(axis=(2, 3), keepdims=True), rtol=1e-12)


def test_a_likelihood_too_small_for_floats_is_normalised():
    loss = np.array([[[[1000.0, 1000 + np.log(3)]]]])
    np.testing.assert_allclose(Evidence("likelihood", -loss, None).space([0]), [[[0.75, 0.25]]])


def test_change_of_a_phrase_by_a_loop():
    loss = np.random.default_rng(3).gamma(2, size=(3, 5, 2, 2))
    evidence = Evidence("change", -loss, -loss[..., 1, 0])
    found, of_time = evidence.space([1, 2]), evidence.time([1, 2])
    for i in range(5):
        before, after = max(i - 1, 0), min(i + 1, 4)
        expected = np.abs(sum(loss[t, after] - loss[t, before] for t in (1, 2))) / 2
        np.testing.assert_allclose(found[i], expected, rtol=1e-12)
        np.testing.assert_allclose(of_time[i], expected[1, 0], rtol=1e-12)


def test_change_is_that_of_the_sum_not_the_sum_of_changes():
    frames = -np.array([[0.0, 0, 4, 4], [4.0, 4, 0, 0]])  # one word's loss rises as much as the other's falls
    evidence = Evidence("change", None, frames)
    assert evidence.time([0]).tolist() == evidence.time([1]).tolist() == [0, 2, 2, 0]
    assert evidence.time([0, 1]).tolist() == [0, 0, 0, 0]
    assert evidence.of_phrases([Phrase("a b", (0, 1)), Phrase("b", (1,))])[1].tolist() == [[0, 0, 0, 0], [0, 2, 2, 0]]
    assert Evidence("change", None, frames[:, :1]).time([0]).tolist() == [0]  # a clip of one frame


def test_maps_of_single_words_are_scaled_as_those_of_phrases():
    values = -np.random.default_rng(4).gamma(2, size=(3, 4, 2, 2))
    for kind in KINDS:
        evidence = Evidence(kind, values, None)
        found = evidence.space_of_words([2, 0])
        assert found.shape == (2, 4, 2, 2) and (KINDS[kind].loss is None or found.min() >= 0)
        np.testing.assert_array_equal(found, np.stack([evidence.space([2]), evidence.space([0])]))
        assert Evidence(kind, None, values[..., 0, 0]).space_of_words([0]) is None


# Content words


def test_function_words_are_left_out_of_a_phrases_sum():
    """Words 0 and 2 are function words; 3 and 4 a verb of change whose subject is words 0 and 1."""
    values = -np.array([[[[1.0, 9], [4, 2]]], [[[2.0, 5], [7, 1]]], [[[8.0, 3], [3, 1]]]] * 2)[:5]  # (5, 1, 2, 2)
    frames = values[:, 0, :, 0]  # of two frames
    said = {3: Change((0, 1), 1), 4: Change((0, 1), 1)}
    for kind in KINDS:
        content = Evidence(kind, values, frames, said, content=(1, 3, 4))
        every = Evidence(kind, values, frames, said)
        for words, kept in (([0, 1], [1]), ([1, 2, 3], [1, 3]), ([0], [0]), ([0, 2], [0, 2]), ([4], [4])):
            if KINDS[kind].of_change and {3, 4} & set(words):
                continue
            np.testing.assert_array_equal(content.space(words), every.space(kept))
            np.testing.assert_array_equal(content.time(words), every.time(kept))
            drawn, expected = (e.of_phrases([Phrase("x", tuple(w))]) for e, w in ((content, words), (every, kept)))
            np.testing.assert_array_equal(drawn[0], expected[0])
        np.testing.assert_array_equal(content.of_release([0, 1])[0].shape, (2, 2))
    moment = Evidence("moment", values, frames, said, content=(1, 3, 4)).time([3])
    np.testing.assert_allclose(moment, np.maximum(np.diff(frames[1])[[0, 0]] / 2, 0))  # the rise of word 1 alone


def test_content_words_are_found_by_the_words_of_the_vocabulary(captioner):
    sentences = [np.array([1, 4, 5]), np.array([1, 0])]  # "a star away", "a ."
    asked = {words: Asking("video", SaliencyConfig(words=words), WORDS) for words in ("all", "content")}
    every, content = (find_evidence(captioner, video(), sentences, ["kl", "attention"], a) for a in asked.values())
    for kind in ("kl", "attention"):
        assert [maps[kind].content for maps in every] == [None, None]
        assert [maps[kind].content for maps in content] == [(1, 2), (0, 1)]
        np.testing.assert_array_equal(every[0][kind].frames, content[0][kind].frames)


def test_a_kind_can_leave_out_function_words_always(captioner, monkeypatch):
    monkeypatch.setitem(KINDS, "logit", dataclasses.replace(KINDS["logit"], content=True))
    (found,) = find_evidence(captioner, picture(), SENTENCES[:1], ["nll", "logit"], Asking("picture", vocabulary=WORDS))
    assert found["nll"].content is None and found["logit"].content == (0, 2)


# Verbs of change


def test_moment_is_the_change_of_the_subject_of_a_verb_of_change():
    """Words 2 and 3 are a verb that says that words 0 and 1 come into view; 4 is a verb without a known subject."""
    loss = np.random.default_rng(5).gamma(2, size=(5, 6, 2, 2))
    comes = Change((0, 1), 1)
    pair = -loss, -loss[..., 0, 1], {2: comes, 3: comes, 4: Change()}
    moment, level, changing = (Evidence(kind, *pair) for kind in ("moment", "nll", "change"))
    for words, same in (([1], level), ([0, 1], level), ([4], changing)):
        np.testing.assert_array_equal(moment.time(words), same.time(words))
        drawn, expected = (evidence.of_phrases([Phrase("x", tuple(words))]) for evidence in (moment, same))
        np.testing.assert_array_equal(drawn[0], expected[0])
    np.testing.assert_array_equal(moment.space([1]), level.space([1]))
    of_subject = loss[0] + loss[1]
    for words in ([2], [2, 3], [0, 1, 3]):
        for i in range(6):
            fall = of_subject[max(i - 1, 0)] - of_subject[min(i + 1, 5)]  # of its loss, where it comes into view
            np.testing.assert_allclose(moment.time(words)[i], max(fall[0, 1] / 2, 0), rtol=1e-12)
    goes = Evidence("moment", *pair[:2], {2: Change((0, 1), -1)})
    np.testing.assert_allclose(moment.time([2]) + goes.time([2]), changing.time([0, 1]), rtol=1e-12)
    assert not (moment.time([2]) * goes.time([2])).any()


def test_a_second_curve_stands_beside_verbs_of_change_and_beside_every_change():
    frames = -np.array([[5.0, 5, 1, 1], [2.0, 2, 3, 4]])
    said = {1: Change((0,), 1)}
    nll, change, moment, kl = (Evidence(k, None, frames, said) for k in ("nll", "change", "moment", "kl"))
    assert nll.beside([0]) is None and kl.beside([1]) is None and moment.beside([0]) is None
    assert nll.beside([1]).tolist() == nll.beside([0, 1]).tolist() == [0, 2, 2, 0]  # the fall of word 0's loss
    assert change.beside([0]).tolist() == [-5, -5, -1, -1] and moment.beside([1]).tolist() == [-2, -2, -3, -4]
    assert Evidence("nll", -np.ones((1, 1, 8, 8)), None, {0: Change()}).beside([0]) is None  # a picture


def test_verbs_of_change_are_found_by_the_words_of_the_vocabulary(captioner):
    sentences = [np.array([1, 4, 2]), np.array([4, 3, 5]), np.array([3, 6])]
    kinds = ["nll", "moment", "attention"]
    found = find_evidence(captioner, video(), sentences, kinds, Asking("video", vocabulary=WORDS))
    for kind in kinds:
        assert [set(of_sentence[kind].of_change) for of_sentence in found] == [{2}, {1, 2}, set()]
    assert not find_evidence(captioner, video(), sentences, ["nll"], VIDEO)[0]["nll"].of_change


@pytest.mark.parametrize("verbs", [VERBS["appear"], VERBS["disappear"]])
def test_events_of_moving_shapes_are_verbs_of_change(verbs):
    for verb in verbs:
        words = ["a", "star", *verb.split(), "on", "grass"]
        assert set(words_of_change(words)) == set(range(2, 2 + len(verb.split())))
        direction = 1 if verb in VERBS["appear"] else -1
        assert set(words_of_change(words).values()) == {Change((0, 1), direction)}


def test_events_that_last_and_nouns_are_no_verbs_of_change():
    lasting = [verb for event, verbs in VERBS.items() if event not in PASSING for verb in verbs]
    for text in (
        *lasting,
        "an open door",
        "a stop sign",
        "a view of a street",
        "comes closer",
        "fades",
        "green leaves",
    ):
        assert not words_of_change(text.split()), text
    assert set(words_of_change("The door OPENS and a light turns on".split())) == {2, 6, 7}


def test_the_subject_of_a_verb_of_change_is_the_noun_phrase_before_it():
    for text, verb, subject, direction in (
        ("there is a red ring that fades in", "fades", "a red ring", 1),
        ("after a star goes out of view a big box comes into view", "comes", "a big box", 1),
        ("after a star goes out of view a big box comes into view", "out", "a star", -1),
        ("on the sand a moon vanishes before a cross appears", "vanishes", "a moon", -1),
        ("first a moon vanishes and then a cross appears", "appears", "a cross", 1),
        ("a man goes out of sight and vanishes", "vanishes", "a man", -1),
        ("the door opens", "opens", "the door", 0),
        ("vanishes", "vanishes", "", -1),
    ):
        words = text.split()
        change = words_of_change(words)[words.index(verb)]
        assert (" ".join(words[t] for t in change.subject), change.direction) == (subject, direction), text


# Losses


@pytest.mark.parametrize("how", ["pooled", "cells"])
def test_evidence_of_a_video_is_the_negated_loss_of_each_sentence(captioner, how):
    encode, step, descriptors = captioner.encode, captioner.step, video()
    asking = Asking("video", SaliencyConfig(frame_input=how))
    found = find_evidence(captioner, descriptors, SENTENCES, ["nll", "kl"], asking)
    for y, of_sentence in zip(SENTENCES, found, strict=True):
        log_p = sentence_log_probabilities(encode, step, descriptors.v, [y])
        frames = frame_input(descriptors.cells, how)
        measures = {**NLL, "kl": representativeness_measure(log_p, [y])}
        (loss,) = information_loss(encode, step, descriptors.cells, [y], frames, measures)
        assert list(of_sentence) == ["nll", "kl"]
        for kind, evidence in of_sentence.items():
            assert evidence.kind == kind and evidence.cells.shape == (len(y), 6, 2, 2)
            np.testing.assert_allclose(evidence.cells, -loss.cells[kind], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(evidence.frames, -loss.frames[kind], rtol=1e-4, atol=1e-5)


def test_evidence_of_a_picture_is_in_space_alone(captioner):
    encode, step, descriptors = captioner.encode, captioner.step, picture(SNAKE)
    found = find_evidence(captioner, descriptors, SENTENCES, ["kl", "nll"], PICTURE)
    for y, of_sentence in zip(SENTENCES, found, strict=True):
        log_p = sentence_log_probabilities(encode, step, descriptors.v, [y])
        measures = {**NLL, "kl": representativeness_measure(log_p, [y])}
        (loss,) = information_loss(encode, step, descriptors.cells, [y], measures=measures)
        for kind, expected in loss.cells.items():
            np.testing.assert_allclose(of_sentence[kind].cells, -expected, rtol=1e-4, atol=1e-5)
            assert of_sentence[kind].frames is None


def test_all_sentences_and_both_losses_take_one_pass(captioner):
    counted = Counted(captioner)
    kinds = ["change", "contrast", "kl", "nll", "likelihood", "logit"]
    found = find_evidence(counted, video(), SENTENCES, kinds, Asking("video", vocabulary=WORDS))
    assert [list(of_sentence) for of_sentence in found] == [kinds] * 3  # in the order asked for
    assert counted.encoded == [(1, 6, D), (1, 1, D), (6 * 4 + 6, 1, D)]  # p; the trial of one row; q
    counted = Counted(captioner)
    find_evidence(counted, video(), SENTENCES, ["logit", "nll", "likelihood", "change"], VIDEO)
    assert counted.encoded == [(1, 1, D), (6 * 4 + 6, 1, D)]  # p is not needed


def test_contrast_is_against_the_content_words_of_the_vocabulary(captioner):
    encode, step, descriptors = captioner.encode, captioner.step, picture()
    kinds = ["contrast", "logit"]
    found = find_evidence(captioner, descriptors, SENTENCES, kinds, Asking("picture", vocabulary=WORDS))
    measures = {"contrast": relative_measure([2, 3, 4, 5, 6]), "logit": relative_measure()}  # without "." and "a"
    for of_sentence, loss in zip(
        found, information_loss(encode, step, descriptors.cells, SENTENCES, measures=measures), strict=True
    ):
        for kind in kinds:
            np.testing.assert_allclose(of_sentence[kind].cells, -loss.cells[kind], rtol=1e-5, atol=1e-6)
            assert of_sentence[kind].frames is None and of_sentence[kind].is_loss


def test_cells_and_pooled_frames_are_read_as_often_as_asked(captioner):
    counted = Counted(captioner)
    find_evidence(counted, video(), SENTENCES, ["nll"], Asking("video", SaliencyConfig(reads=3)))
    assert counted.encoded == [(1, 3, D), (6 * 4 + 6, 3, D)]


# Random subsets


@pytest.mark.parametrize("order", [RASTER, SNAKE], ids=["raster", "snake"])
def test_what_a_cell_adds_lies_on_the_cell_that_was_read(captioner, order):
    descriptors, asking = picture(order), Asking("picture", SaliencyConfig(subsets=20, subset_share=0.3), seed=5)
    found = find_evidence(captioner, descriptors, SENTENCES, ["banzhaf"], asking)
    subsets = random_subsets(64, 20, 0.3, 5)
    values = subset_values(captioner.encode, captioner.step, descriptors.v, SENTENCES, subsets)
    for of_sentence, of_subsets in zip(found, values, strict=True):
        evidence, phi = of_sentence["banzhaf"], banzhaf(of_subsets, subsets)
        assert evidence.frames is None and not evidence.is_loss
        for k, cell in enumerate(order):
            row, column = divmod(int(cell), 8)
            np.testing.assert_allclose(evidence.cells[:, 0, row, column], phi[:, k], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(evidence.space([0]), scale(evidence.cells[0], axes=(-2, -1)))


def test_what_a_frame_adds_is_in_time_alone(captioner):
    found = find_evidence(captioner, video(), SENTENCES, ["nll", "banzhaf"], VIDEO)
    assert [maps["banzhaf"].frames.shape for maps in found] == [(3, 6), (1, 6), (4, 6)]
    assert all(maps["banzhaf"].cells is None for maps in found)


# Attention


@pytest.mark.parametrize("order", [RASTER, SNAKE, np.random.default_rng(1).permutation(64)],
                         ids=["raster", "snake", "any"])  # fmt: skip
def test_attention_lies_on_the_cell_that_was_read(captioner, order):
    descriptors = picture(order)
    v = descriptors.v[None].astype("float32")
    for y, found in zip(
        SENTENCES, find_evidence(captioner, descriptors, SENTENCES, ["attention"], PICTURE), strict=True
    ):
        alpha = captioner.attention({"v": v, "y": y[None]})[0]
        cells = found["attention"].cells
        assert cells.shape == (len(y), 1, 8, 8) and found["attention"].frames is None
        for k, cell in enumerate(order):
            row, column = divmod(int(cell), 8)
            np.testing.assert_allclose(cells[:, 0, row, column], alpha[:, k], rtol=1e-4, atol=1e-7)


def test_attention_of_a_video_is_over_frames(captioner):
    found = [f["attention"] for f in find_evidence(captioner, video(), SENTENCES, ["attention"], VIDEO)]
    assert [evidence.frames.shape for evidence in found] == [(3, 6), (1, 6), (4, 6)]
    np.testing.assert_allclose([evidence.frames.sum(axis=-1).mean() for evidence in found], 1, rtol=1e-5)
    assert all(evidence.cells is None for evidence in found)


def test_losses_and_attention_can_be_asked_for_together(captioner):
    (found,) = find_evidence(captioner, video(), SENTENCES[:1], ["attention", "nll"], VIDEO)
    assert list(found) == ["attention", "nll"]
    assert found["attention"].cells is None and found["nll"].cells is not None


# Kinds


def test_kinds_of_each_captioner():
    found = {name: kinds_of(captioner) for name, captioner in CAPTIONERS.items()}
    of_losses = ["nll", "kl", "likelihood", "change", "moment", "logit", "contrast", "banzhaf", "rise"]
    of_losses += ["leave_one_out", "leave_one_out_kl", "gradient", "integrated", "gradcam", "eb", "ceb", "eb_likely"]
    assert found == {
        "s2vt": of_losses, "mean_pool": of_losses,
        "soft_attention": [*of_losses, "attention"], "hard_attention": [*of_losses, "attention"],
        "transformer": [*of_losses, "attention", "rollout"],
    }  # fmt: skip
    of_picture = [kind for kind in of_losses if kind not in ("change", "moment")]  # a picture has no other frames
    assert kinds_of(CAPTIONERS["s2vt"], "picture") == of_picture


def test_a_kind_that_the_captioner_cannot_give_is_named():
    with pytest.raises(ValueError, match="no attention maps of a video, only nll, kl, .*, change, .*, eb_likely$"):
        find_evidence(CAPTIONERS["s2vt"], video(), SENTENCES, ["nll", "attention"], VIDEO)
    with pytest.raises(ValueError, match="no change maps of a picture, only nll, kl, likelihood, logit, "):
        find_evidence(CAPTIONERS["s2vt"], picture(), SENTENCES, ["change"], PICTURE)


def test_content_words_are_not_known_without_a_vocabulary(captioner):
    for kind, saliency in (("contrast", SaliencyConfig()), ("nll", SaliencyConfig(words="content"))):
        with pytest.raises(ValueError, match="words of a vocabulary; received none"):
            find_evidence(captioner, picture(), SENTENCES, [kind], Asking("picture", saliency))


def test_names_of_kinds():
    assert parse_kinds("all") == list(KINDS) and parse_kinds("kl,nll") == ["kl", "nll"]
    for text in ("", "nll,", "nll,nll", "NLL", "nll, kl"):
        with pytest.raises(
            UserError, match="--map .* nll, kl, likelihood, change, moment, logit, contrast, banzhaf, .*, attention"
        ):
            parse_kinds(text)


def test_the_defaults_of_the_config_are_kinds_and_inputs_that_exist():
    assert SaliencyConfig().map in KINDS
    cells = video().cells
    assert frame_input(cells, SaliencyConfig().frame_input).shape == (6, D)


def test_names_are_checked_without_the_engine():
    script = "import s2vt.saliency.maps, sys; sys.exit('keras' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0
