"""Maps behind one interface: evidence of losses and of attention, each value at its own cell or frame."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from toys import Counted, with_random_weights

from s2vt.captioning.captioners import CAPTIONERS
from s2vt.captioning.soft_attention import SoftAttention
from s2vt.config import SaliencyConfig
from s2vt.data.phrases import Phrase
from s2vt.errors import UserError
from s2vt.saliency.information_loss import frame_input, information_loss, sentence_log_probabilities
from s2vt.saliency.maps import KINDS, Evidence, find_evidence, kinds_of, parse_kinds

D, V = 3, 7
SENTENCES = [np.array([4, 1, 5]), np.array([2]), np.array([3, 3, 1, 6])]
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
    np.testing.assert_allclose(evidence.space([0, 1]), [[[[1 / 3, 1], [0, 0]]]])  # e of 3 1 / 4 4
    np.testing.assert_allclose(evidence.time([0, 1]), [-5, -2.5])
    assert evidence.nats and Evidence("kl", -loss, None).time([0]) is None


def test_evidence_of_attention_by_hand():
    alpha = np.arange(8.0).reshape(2, 1, 2, 2)
    of_cells = Evidence("attention", alpha, None)
    assert of_cells.space([1]).tolist() == alpha[1:].tolist()  # a map of each word, as it is
    assert of_cells.space([0, 1]).shape == (2, 1, 2, 2) and of_cells.time([0]) is None
    of_frames = Evidence("attention", None, np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]))
    np.testing.assert_allclose(of_frames.time([0, 1]), [0.6, 0.4, 1.0])
    assert of_frames.space([0]) is None and not of_frames.nats


def test_evidence_of_phrases_is_summed_where_there_is_any():
    phrases = [Phrase("b", (1,)), Phrase("a c", (0, 2))]
    cells, frames = np.arange(3.0).reshape(3, 1, 1, 1), np.array([[1.0, 2], [10, 20], [100, 200]])
    of_cells, of_frames = Evidence("nll", cells, frames).of_phrases(phrases)
    assert of_cells.shape == (2, 1, 1, 1) and of_cells.ravel().tolist() == [1, 2]
    assert of_frames.tolist() == [[10, 20], [101, 202]]
    of_cells, of_frames = Evidence("attention", None, frames).of_phrases(phrases)
    assert of_cells is None and of_frames.tolist() == [[10, 20], [101, 202]]


# Losses


@pytest.mark.parametrize("how", ["pooled", "cells"])
def test_evidence_of_a_video_is_the_negated_loss_of_each_sentence(captioner, how):
    encode, step, descriptors = captioner.encode, captioner.step, video()
    found = find_evidence(captioner, descriptors, SENTENCES, ["nll", "kl"], how)
    for y, of_sentence in zip(SENTENCES, found, strict=True):
        log_p = sentence_log_probabilities(encode, step, descriptors.v, [y])
        frames = frame_input(descriptors.cells, how)
        (loss,) = information_loss(encode, step, descriptors.cells, [y], frames, log_p)
        assert list(of_sentence) == ["nll", "kl"]
        for kind, evidence in of_sentence.items():
            assert evidence.kind == kind and evidence.cells.shape == (len(y), 6, 2, 2)
            np.testing.assert_allclose(evidence.cells, -getattr(loss, kind), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(evidence.frames, -getattr(loss, f"frame_{kind}"), rtol=1e-4, atol=1e-5)


def test_evidence_of_a_picture_is_in_space_alone(captioner):
    encode, step, descriptors = captioner.encode, captioner.step, picture(SNAKE)
    found = find_evidence(captioner, descriptors, SENTENCES, ["kl", "nll"], None)
    for y, of_sentence in zip(SENTENCES, found, strict=True):
        log_p = sentence_log_probabilities(encode, step, descriptors.v, [y])
        (loss,) = information_loss(encode, step, descriptors.cells, [y], log_p=log_p)
        for kind, expected in (("kl", loss.kl), ("nll", loss.nll)):
            np.testing.assert_allclose(of_sentence[kind].cells, -expected, rtol=1e-4, atol=1e-5)
            assert of_sentence[kind].frames is None


def test_all_sentences_and_both_losses_take_one_pass(captioner):
    counted = Counted(captioner)
    found = find_evidence(counted, video(), SENTENCES, ["kl", "nll"], "pooled")
    assert [list(of_sentence) for of_sentence in found] == [["kl", "nll"]] * 3  # in the order asked for
    assert counted.encoded == [(1, 6, D), (1, 1, D), (6 * 4 + 6, 1, D)]  # p; the trial of one row; q
    counted = Counted(captioner)
    find_evidence(counted, video(), SENTENCES, ["nll"], "pooled")
    assert counted.encoded == [(1, 1, D), (6 * 4 + 6, 1, D)]  # p is not needed


# Attention


@pytest.mark.parametrize("order", [RASTER, SNAKE, np.random.default_rng(1).permutation(64)],
                         ids=["raster", "snake", "any"])  # fmt: skip
def test_attention_lies_on_the_cell_that_was_read(captioner, order):
    descriptors = picture(order)
    v = descriptors.v[None].astype("float32")
    for y, found in zip(SENTENCES, find_evidence(captioner, descriptors, SENTENCES, ["attention"], None), strict=True):
        alpha = captioner.attention({"v": v, "y": y[None]})[0]
        cells = found["attention"].cells
        assert cells.shape == (len(y), 1, 8, 8) and found["attention"].frames is None
        for k, cell in enumerate(order):
            row, column = divmod(int(cell), 8)
            np.testing.assert_allclose(cells[:, 0, row, column], alpha[:, k], rtol=1e-4, atol=1e-7)


def test_attention_of_a_video_is_over_frames(captioner):
    found = [f["attention"] for f in find_evidence(captioner, video(), SENTENCES, ["attention"], "pooled")]
    assert [evidence.frames.shape for evidence in found] == [(3, 6), (1, 6), (4, 6)]
    np.testing.assert_allclose([evidence.frames.sum(axis=-1).mean() for evidence in found], 1, rtol=1e-5)
    assert all(evidence.cells is None for evidence in found)


def test_losses_and_attention_can_be_asked_for_together(captioner):
    (found,) = find_evidence(captioner, video(), SENTENCES[:1], ["attention", "nll"], "pooled")
    assert list(found) == ["attention", "nll"]
    assert found["attention"].cells is None and found["nll"].cells is not None


# Kinds


def test_kinds_of_each_captioner():
    found = {name: kinds_of(captioner) for name, captioner in CAPTIONERS.items()}
    assert found == {
        "s2vt": ["nll", "kl"], "mean_pool": ["nll", "kl"],
        "soft_attention": ["nll", "kl", "attention"], "hard_attention": ["nll", "kl", "attention"],
    }  # fmt: skip


def test_a_kind_that_the_captioner_cannot_give_is_named():
    with pytest.raises(ValueError, match="no attention maps, only nll, kl"):
        find_evidence(CAPTIONERS["s2vt"], video(), SENTENCES, ["nll", "attention"], "pooled")


def test_names_of_kinds():
    assert parse_kinds("all") == list(KINDS) and parse_kinds("kl,nll") == ["kl", "nll"]
    for text in ("", "nll,", "nll,nll", "NLL", "nll, kl"):
        with pytest.raises(UserError, match="--map .* nll, kl, attention"):
            parse_kinds(text)


def test_the_defaults_of_the_config_are_kinds_and_inputs_that_exist():
    assert SaliencyConfig().map in KINDS
    cells = video().cells
    assert frame_input(cells, SaliencyConfig().frame_input).shape == (6, D)


def test_names_are_checked_without_the_engine():
    script = "import s2vt.saliency.maps, sys; sys.exit('keras' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0
