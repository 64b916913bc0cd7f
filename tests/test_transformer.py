"""The transformer captioner against its equations with loops; what an earlier word can see; positions; its state.

`test_captioners.py` has what it shares with all captioners.
"""

import math

import keras
import numpy as np
import pytest
from keras import ops
from toys import Counted, with_random_weights

from s2vt.captioning.transformer import Transformer, sinusoids
from s2vt.saliency.information_loss import descriptor_losses
from s2vt.saliency.teacher_forcing import bytes_per_row

B, N, T, S, D, H, E, V, LAYERS, HEADS = 2, 6, 8, 5, 3, 7, 4, 11, 2, 3  # T > S: the first words are forgotten
C = 3  # ceil(H / HEADS)
Y = np.random.default_rng(1).integers(0, V, size=(B, T)).astype("int32")


def numbers(tensor):
    return ops.convert_to_numpy(tensor)


@pytest.fixture(scope="module")
def model():
    return with_random_weights(
        Transformer(V, units=H, embedding_size=E, layers=LAYERS, heads=HEADS, max_words=S), D, seed=2
    )


@pytest.fixture(scope="module")
def v():
    return np.random.default_rng(6).normal(size=(B, N, D)).astype("float32")


# --- the equations ---------------------------------------------------------------------------------------------------


class Literal:
    """One caption of one medium, a word at a time with all words before it in a list; float64 numpy."""

    def __init__(self, model):
        self.p = {variable.name: numbers(variable).astype("float64") for variable in model.variables}
        of_norms = [model.norm_of_memory, model.norm, *(norm for block in model.blocks for norm in block.norms)]
        self.norms = {norm.name: (numbers(norm.gamma), numbers(norm.beta)) for norm in of_norms}

    def norm(self, x, label):
        gain, bias = self.norms[f"norm_{label}"]
        return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * gain + bias

    def attend(self, query, keys, values, label):
        """What is read (H,), and alpha of each head (HEADS, number of keys)."""
        q, k, v = (
            [x @ self.p[f"{name}_{label}"] for x in of]
            for name, of in (("W_q", [query]), ("W_k", keys), ("W_v", values))
        )
        read, alphas = [], []
        for head in range(HEADS):
            part = slice(head * C, (head + 1) * C)
            scores = np.exp([q[0][part] @ k_j[part] / math.sqrt(C) for k_j in k])
            alphas.append(scores / scores.sum())
            read.append(sum(a * v_j[part] for a, v_j in zip(alphas[-1], v, strict=True)))
        return np.concatenate(read) @ self.p[f"W_o_{label}"], np.array(alphas)

    def place(self, t):
        half = math.ceil(H / 2)
        angles = [t / 10_000 ** (k / half) for k in range(half)]
        return np.array([*map(math.sin, angles), *map(math.cos, angles)][:H])

    def read(self, v, y):
        """Logits (T, V), the last layer's alpha (T, N), and the rollout (T, N)."""
        memory = [self.norm(v_i @ self.p["W_x"] + self.p["b_x"], "memory") for v_i in v]
        keys = [m + self.place(i) for i, m in enumerate(memory)]
        heard, logits, attention = [[] for _ in range(LAYERS)], [], []
        flow = [np.zeros((len(y), len(v)))]  # shares of the descriptors after each half of a layer
        flow += [np.zeros_like(flow[0]) for _ in range(2 * LAYERS)]
        for t in range(len(y)):
            x = (self.p["embedding"][y[t - 1]] @ self.p["K_y"] if t else 0) + self.p["b"] + self.place(t)
            for layer in range(LAYERS):
                heard[layer].append(self.norm(x, f"to_words_{layer}"))
                before = heard[layer][-S:]
                read, alpha = self.attend(before[-1], before, before, f"words_{layer}")
                x = x + read
                shares = flow[2 * layer]
                seen = sum(a * shares[t - len(before) + 1 + k] for k, a in enumerate(alpha.mean(axis=0)))
                flow[2 * layer + 1][t] = (shares[t] + seen) / 2
                read, alpha = self.attend(self.norm(x, f"to_memory_{layer}"), keys, memory, f"memory_{layer}")
                x = x + read
                flow[2 * layer + 2][t] = (flow[2 * layer + 1][t] + alpha.mean(axis=0)) / 2
                hidden = self.norm(x, f"alone_{layer}") @ self.p[f"W_1_{layer}"] + self.p[f"b_1_{layer}"]
                x = x + np.maximum(hidden, 0) @ self.p[f"W_2_{layer}"] + self.p[f"b_2_{layer}"]
            logits.append(self.norm(x, "output") @ self.p["W_o"] + self.p["b_o"])
            attention.append(alpha.mean(axis=0))
        return np.array(logits), np.array(attention), flow[-1] / flow[-1].sum(axis=1, keepdims=True)


@pytest.mark.parametrize("n", [N, 1])
def test_logits_attention_and_rollout_equal_the_equations(model, v, n):
    inputs = {"v": v[:, :n], "y": Y}
    literal = Literal(model)
    expected = zip(*(literal.read(v[b, :n].astype("float64"), Y[b]) for b in range(B)), strict=True)
    logits, attention, rollout = (np.stack(of_captions).astype("float32") for of_captions in expected)
    np.testing.assert_allclose(numbers(model(inputs)), logits, rtol=1e-4, atol=1e-4, strict=True)
    np.testing.assert_allclose(model.attention(inputs), attention, rtol=1e-4, atol=1e-5, strict=True)
    np.testing.assert_allclose(model.rollout(inputs), rollout, rtol=1e-4, atol=1e-5, strict=True)
    assert n == 1 or np.abs(attention - rollout).max() > 0.05


def test_words_beyond_the_memory_are_stepped_like_all_others(model, v):
    """Words 5 to 7 are written over words 0 to 2."""
    state, logits = model.encode(v), []
    for t in range(T):
        of_word, state = model.step(state, Y[:, t - 1] if t else None)
        logits.append(numbers(of_word))
    expected = numbers(model({"v": v, "y": Y}))
    np.testing.assert_allclose(np.stack(logits, axis=1), expected, rtol=1e-4, atol=1e-4, strict=True)


def test_sinusoids_by_hand():
    found = numbers(
        sinusoids(np.array([0, 1, 5]), 3)
    )  # wavelengths of 2 pi and 2 pi 100; the second cosine is left out
    expected = [[0, 0, 1], [math.sin(1), math.sin(0.01), math.cos(1)], [math.sin(5), math.sin(0.05), math.cos(5)]]
    np.testing.assert_allclose(found, np.array(expected, "float32"), rtol=1e-5, atol=1e-7, strict=True)


@pytest.mark.parametrize(("units", "heads", "size"), [(8, 2, 4), (7, 3, 3), (5, 4, 2), (4, 9, 1)])
def test_parameters(units, heads, size):
    captioner = Transformer(V, units=units, embedding_size=E, layers=3, heads=heads)
    captioner.build({"v": (None, None, D)})
    attention = 4 * units * heads * size  # W_q, W_k, W_v, W_o
    block = 2 * attention + 3 * 2 * units + units * 4 * units + 4 * units + 4 * units * units + units
    memory, words, output = D * units + units + 2 * units, V * E + E * units + units, 2 * units + units * V + V
    assert captioner.count_params() == memory + words + 3 * block + output
    formula = (D + 3) * units + (V + units) * E + units + 2 * units + (units + 1) * V
    assert captioner.count_params() == formula + 3 * (8 * units * heads * size + 8 * units**2 + 11 * units)


# --- who sees what ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t", range(T - 1))
def test_a_word_changes_no_logit_before_it(model, v, t):
    other = Y.copy()
    other[:, t] = (other[:, t] + 1) % V  # y_t is read at step t + 1
    logits, changed = numbers(model({"v": v, "y": Y})), numbers(model({"v": v, "y": other}))
    np.testing.assert_array_equal(logits[:, : t + 1], changed[:, : t + 1])
    assert np.abs(logits - changed)[:, t + 1].max() > 1e-3


def test_positions_of_descriptors_decide_attention_alone(model, v):
    inputs, backwards = {"v": v, "y": Y}, {"v": v[:, ::-1], "y": Y}
    assert np.abs(numbers(model(inputs)) - numbers(model(backwards))).max() > 0.1
    same = np.repeat(v[:, :1], N, axis=1)  # equal contents at six places: what is read is the same as from one
    assert np.ptp(model.attention({"v": same, "y": Y}), axis=-1).max() > 0.01
    one = numbers(model({"v": v[:, :1], "y": Y}))
    np.testing.assert_allclose(numbers(model({"v": same, "y": Y})), one, rtol=1e-4, atol=1e-4)


# --- the state -------------------------------------------------------------------------------------------------------


def test_the_state_keeps_its_shapes_and_their_size_is_as_documented(model, v):
    before = model.encode(v)
    shapes = [(B, HEADS, S, C)] * 2 * LAYERS + [(B, HEADS, N, C)] * 2 * LAYERS + [(B,)]
    for word in (None, Y[:, 0], np.array([4], "int32"), *Y.T):
        assert [tuple(leaf.shape) for leaf in keras.tree.flatten(before)] == shapes
        logits, after = model.step(before, word)
        keras.tree.assert_same_structure(before, after)
        before = after
    assert numbers(after.t).tolist() == [3 + T] * B
    of_row = keras.tree.map_structure(lambda leaf: leaf[:1], after)
    Z = 2 * LAYERS * HEADS * (S + N) * C + 1
    assert bytes_per_row((D,), logits, of_row, states=1) == 4 * (D + 2 * V + 5 * Z)


def test_a_chunk_holds_what_the_budget_holds(model):
    """The cache is part of a row's memory, and states that wait for a branch of the prefix tree keep their words."""
    cells = np.random.default_rng(3).normal(size=(9, D)).astype("float32")
    sentences = [[4, 1, 5, 2], [4, 1, 6], [3, 7], [4, 5, 5, 2, 1]]
    Z = 2 * LAYERS * HEADS * (S + 1) * C + 1
    counted = Counted(model)
    found = descriptor_losses(counted.encode, counted.step, cells, sentences, memory_budget=4 * 4 * (D + 2 * V + 6 * Z))
    assert counted.encoded == [(1, 1, D), (3, 1, D), (3, 1, D), (3, 1, D)]
    for y, losses in zip(sentences, found, strict=True):
        alone = numbers(model({"v": cells[:, None], "y": np.tile(np.array(y, "int32"), (9, 1))})).astype("float64")
        log_q = alone - np.log(np.exp(alone).sum(axis=-1, keepdims=True))
        np.testing.assert_allclose(losses["nll"], -log_q[:, np.arange(len(y)), y].T, rtol=1e-4, atol=1e-4)
