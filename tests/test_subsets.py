"""Random subsets of descriptors: their members, what is said after them, and what each descriptor adds."""

import itertools

import keras
import numpy as np
import pytest
from toys import Counted, with_random_weights

from s2vt.captioning.s2vt import S2VT
from s2vt.saliency.subsets import banzhaf, left_out_losses, random_subsets, rise, subset_values, without_each

N, D, H, E, V = 6, 3, 5, 8, 7
SENTENCES = [np.array([4, 1, 5]), np.array([4, 2])]


@pytest.fixture(scope="module")
def captioner():
    return with_random_weights(S2VT(V, units=H, embedding_size=E), D)


@pytest.fixture(scope="module")
def v():
    return np.random.default_rng(8).normal(size=(N, D)).astype("float16")


# Subsets


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_members_are_independent_and_as_many_as_asked(share):
    subsets = random_subsets(30, 4000, share, seed=3)
    assert subsets.shape == (4000, 30) and subsets.dtype == bool
    np.testing.assert_allclose(subsets.mean(axis=0), share, atol=0.04)
    correlations = np.corrcoef(subsets.T)
    assert np.abs(correlations - np.eye(30)).max() < 0.08
    np.testing.assert_allclose(subsets.sum(axis=1).var(), 30 * share * (1 - share), rtol=0.1)


def test_subsets_are_those_of_the_seed():
    first, again, other = (random_subsets(8, 50, 0.5, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_no_subset_is_empty():
    assert random_subsets(3, 500, 0.05, seed=0).any(axis=1).all()
    assert random_subsets(1, 40, 0.01, seed=0).all()  # a single descriptor is in every subset


@pytest.mark.parametrize(("count", "share"), [(4, 0.0), (4, 1.0), (4, float("nan")), (0, 0.5)])
def test_shares_that_leave_nothing_to_choose_are_refused(count, share):
    with pytest.raises(ValueError, match="a share between 0 and 1; received"):
        random_subsets(count, 5, share, seed=0)


# Values


@pytest.mark.parametrize("memory_budget", [1, 2**28])
def test_values_are_the_words_after_one_subset_at_a_time(captioner, v, memory_budget):
    subsets = random_subsets(N, 9, 0.4, seed=2)
    assert len(set(subsets.sum(axis=1))) > 2  # of several sizes, not sorted by them
    counted = Counted(captioner)
    found = subset_values(counted.encode, counted.step, v, SENTENCES, subsets, memory_budget)
    most = max(np.unique(subsets.sum(axis=1), return_counts=True)[1])
    assert max(counted.rows) == (1 if memory_budget == 1 else most)  # those of one size at once
    for y, values in zip(SENTENCES, found, strict=True):
        assert values.shape == (len(y), 9) and values.dtype == np.float32
        for k, subset in enumerate(subsets):
            logits = np.asarray(captioner({"v": v[subset][None].astype("float32"), "y": y[None]}), "float64")[0]
            log_q = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
            np.testing.assert_allclose(values[:, k], log_q[np.arange(len(y)), y], rtol=1e-4, atol=1e-5)


def test_wrong_subsets_are_named(captioner, v):
    for subsets in (np.ones((4, N + 1), bool), np.ones(N, bool), np.eye(N, dtype=bool)[[0, 1]] & False):
        with pytest.raises(ValueError, match=r"subsets must be \(K, 6\), none of them empty; received"):
            subset_values(captioner.encode, captioner.step, v, SENTENCES, subsets)


# Banzhaf values


def test_banzhaf_values_by_hand():
    subsets = np.array([[1, 0, 0, 1], [1, 1, 0, 1], [0, 1, 0, 1]], bool)
    values = np.array([[-4.0, -1.0, -3.0], [0.0, 2.0, 7.0]])
    # With 0: -2.5, without: -3. With 1: -2, without: -4. Never and always members: 0.
    expected = np.array([[0.5, 2, 0, 0], [1 - 7, 4.5 - 0, 0, 0]], "float32")
    np.testing.assert_allclose(banzhaf(values, subsets), expected, rtol=1e-6, strict=True)


def test_banzhaf_values_of_all_subsets_are_the_mean_gains():
    """Two roads: means over the subsets with and without i, and the gain of adding i to each subset of the others."""
    players, rng = 4, np.random.default_rng(6)
    subsets = np.array(list(itertools.product((False, True), repeat=players)))
    values = rng.normal(size=len(subsets))
    of = {tuple(members): value for members, value in zip(subsets.tolist(), values, strict=True)}
    for i, phi in enumerate(banzhaf(values, subsets)):
        others = itertools.product((False, True), repeat=players - 1)
        gains = [of[(*rest[:i], True, *rest[i:])] - of[(*rest[:i], False, *rest[i:])] for rest in others]
        np.testing.assert_allclose(phi, np.mean(gains), rtol=1e-5)


def test_banzhaf_values_of_a_sum_are_its_parts():
    weights = np.array([3.0, -1, 0, 0.5, 2, 1, -2, 0.1, 0.2, 0])
    subsets = random_subsets(10, 20_000, 0.6, seed=4)
    found = banzhaf(subsets @ weights - 100, subsets)
    error = (subsets @ weights).std() / np.sqrt(0.6 * 0.4 * 20_000)
    np.testing.assert_allclose(found, weights, atol=4 * error)


def test_values_of_other_subsets_are_refused():
    with pytest.raises(ValueError, match=r"values \(..., K\) of subsets \(K, N\); received \(3, 4\) and \(5, 6\)"):
        banzhaf(np.zeros((3, 4)), np.ones((5, 6), bool))


# RISE, and leaving one out


def test_rise_by_hand():
    subsets = np.array([[1, 0, 0, 1], [1, 1, 0, 1], [0, 1, 0, 1]], bool)
    values = np.log([[0.2, 0.4, 0.9], [1.0, 0.5, 0.25]])
    expected = np.array([[0.3, 0.65, 0.5, 0.5], [0.75, 0.375, 1.75 / 3, 1.75 / 3]], "float32")  # the third is in none
    np.testing.assert_allclose(rise(values, subsets), expected, rtol=1e-6, strict=True)
    with pytest.raises(ValueError, match=r"values \(..., K\) of subsets \(K, N\); received \(3, 4\) and \(5, 6\)"):
        rise(np.zeros((3, 4)), np.ones((5, 6), bool))


def test_rise_and_banzhaf_agree_on_the_same_values():
    """The mean with i is the overall mean plus a share of what i adds: of log P the two would be one map."""
    subsets = random_subsets(5, 400, 0.5, seed=1)
    p = np.random.default_rng(2).uniform(0.1, 1, 400)
    inside, mean = subsets.mean(axis=0), rise(np.log(p), subsets)
    expected = p.mean() + (1 - inside) * banzhaf(p, subsets)
    np.testing.assert_allclose(mean, expected, rtol=1e-5)


@pytest.mark.parametrize("memory_budget", [1, 2**28])
def test_what_is_lost_does_not_depend_on_the_size_of_a_chunk(captioner, v, memory_budget):
    counted = Counted(captioner)
    args = counted.encode, counted.step, v, without_each(v), SENTENCES
    found = left_out_losses(*args, memory_budget=memory_budget)
    assert max(counted.rows) == (1 if memory_budget == 1 else N)
    whole, *parts = (captioner({"v": x[None].astype("float32"), "y": SENTENCES[0][None]}) for x in
                     [v, *(np.delete(v, i, axis=0) for i in range(N))])  # fmt: skip
    log_p = [np.asarray(keras.ops.log_softmax(each))[0, np.arange(3), SENTENCES[0]] for each in (whole, *parts)]
    expected = log_p[0][:, None] - np.stack(log_p[1:], axis=1)
    np.testing.assert_allclose(found[0]["nll"], expected, rtol=1e-3, atol=1e-5)
    assert [each["nll"].shape for each in found] == [(3, N), (2, N)]


def test_one_descriptor_cannot_be_left_out(v):
    with pytest.raises(ValueError, match="leaving one descriptor out needs two or more; received 1"):
        without_each(v[:1])
