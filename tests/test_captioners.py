"""The interface of all captioners, attention against literal loops, hard attention's learning rule, and training.

`test_transformer.py` has the transformer's own equations.
"""

import importlib.util
import itertools
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

import cfg
from s2vt import config
from s2vt.captioning.captioner import caption_loss, word_losses
from s2vt.captioning.captioners import CAPTIONERS
from s2vt.captioning.decoding import beam, greedy
from s2vt.captioning.fitting import _precision
from s2vt.captioning.hard_attention import HardAttention, reinforce_loss
from s2vt.captioning.runs import new_model
from s2vt.captioning.soft_attention import SoftAttention
from s2vt.data.text import Vocabulary
from s2vt.saliency.information_loss import NLL, descriptor_losses, representativeness_measure

B, N, T, D, H, A, E, V = 2, 6, 4, 3, 5, 9, 8, 7
Y = np.array([[4, 1, 5, 0], [2, 0, 0, 0]], "int32")
ATTENTION = {"soft_attention": SoftAttention, "hard_attention": HardAttention}


def numbers(tensor):
    return ops.convert_to_numpy(ops.convert_to_tensor(tensor))


def variables(model):
    return {variable.name: numbers(variable).astype("float64") for variable in model.trainable_variables}


def random_model(name, **settings):
    rng = np.random.default_rng(5)
    settings = {"attention_size": A, **settings} if name in ATTENTION else settings
    model = CAPTIONERS[name](V, units=H, embedding_size=E, **settings)
    model.build({"v": (None, None, D)})
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return model


@pytest.fixture(scope="module", params=CAPTIONERS)
def model(request):
    return random_model(request.param)


@pytest.fixture(scope="module", params=[(name, gate) for name in ATTENTION for gate in ("none", "beta")], ids=str)
def attentive(request):
    return random_model(request.param[0], gate=request.param[1])


@pytest.fixture(scope="module")
def v():
    return np.random.default_rng(6).normal(size=(B, N, D)).astype("float32")


# --- interface -------------------------------------------------------------------------------------------------------


def test_encode_and_step_equal_call(model, v):
    state, logits = model.encode(v), []
    for t in range(T):
        step_logits, state = model.step(state, Y[:, t - 1] if t else None)
        logits.append(numbers(step_logits))
    expected = numbers(model({"v": v, "y": Y}))
    np.testing.assert_allclose(np.stack(logits, axis=1), expected, rtol=1e-5, atol=1e-6, strict=True)
    assert np.ptp(expected, axis=1).min() > 1e-3  # the previous words have an effect


def test_the_leaves_of_a_state_have_a_row_per_example(model, v):
    state = model.encode(v)
    _, after = model.step(state, np.array([4]))
    for leaves in (state, after):
        assert {leaf.shape[0] for leaf in keras.tree.flatten(leaves)} == {B}
    keras.tree.assert_same_structure(state, after)


def test_one_word_for_all_rows_equals_that_word_in_every_row(model, v):
    state = model.encode(v)
    one, one_state = model.step(state, np.array([4]))
    each, each_state = model.step(state, np.array([4, 4]))
    leaves = zip(*map(keras.tree.flatten, ((one, one_state), (each, each_state))), strict=True)
    for of_one, of_each in leaves:
        np.testing.assert_allclose(numbers(of_one), numbers(of_each), rtol=1e-5, atol=1e-6, strict=True)


def test_captions_of_one_medium_equal_captions_of_copies(model, v):
    medium = np.array([1, 0, 1], "int32")
    y = np.array([[4, 1, 5, 0], [2, 0, 0, 0], [3, 3, 1, 0]], "int32")
    shared = numbers(model({"v": v, "y": y, "medium": medium}))
    np.testing.assert_allclose(shared, numbers(model({"v": v[medium], "y": y})), rtol=1e-5, atol=1e-6, strict=True)


def test_a_batch_equals_single_examples(model, v):
    one_by_one = np.concatenate([numbers(model({"v": v[k : k + 1], "y": Y[k : k + 1]})) for k in range(B)])
    np.testing.assert_allclose(numbers(model({"v": v, "y": Y})), one_by_one, rtol=1e-5, atol=1e-6, strict=True)


def test_float16_descriptors(model, v):
    half = v.astype("float16")
    logits, expected = model({"v": half, "y": Y}), model({"v": half.astype("float32"), "y": Y})
    np.testing.assert_allclose(numbers(logits), numbers(expected), strict=True)
    numbers(model.step(model.encode(half))[0])


def test_losses_and_captions_of_every_captioner(model, v):
    log_p = np.log(np.full((3, V), 1 / V))
    measures = {**NLL, "kl": representativeness_measure([log_p], [Y[0, :3]])}
    (found,) = descriptor_losses(model.encode, model.step, v[0], [Y[0, :3]], measures, 3000)
    loss, kl = found["nll"], found["kl"]
    for i in range(N):
        logits = numbers(model({"v": v[0, i, None, None], "y": Y[:1, :3]})).astype("float64")[0]
        log_q = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        np.testing.assert_allclose(loss[:, i], -log_q[np.arange(3), Y[0, :3]], rtol=1e-4, atol=1e-5)
    assert kl.shape == loss.shape
    assert beam(model, v, 3, max_words=5) == [beam(model, row[None], 3, max_words=5)[0] for row in v]
    assert greedy(model, v, 5) == beam(model, v, 1, max_words=5)


def test_logits_are_deterministic_outside_training(model, v):
    inputs = {"v": v, "y": Y}
    np.testing.assert_array_equal(numbers(model(inputs)), numbers(model(inputs)))


def test_encode_builds_a_model(v):
    for captioner in CAPTIONERS.values():
        made = captioner(V, units=H, embedding_size=E)
        assert made.step(made.encode(v))[0].shape == (B, V)


def test_weights_survive_a_round_trip(model, v, tmp_path):
    name = next(name for name, captioner in CAPTIONERS.items() if type(model) is captioner)
    model.save_weights(tmp_path / "model.weights.h5")
    other = random_model(name)
    for variable in other.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(numbers(other({"v": v, "y": Y})), numbers(model({"v": v, "y": Y})))


def test_names_in_the_weights_file_of_s2vt(tmp_path):
    """Shipped checkpoints load by these names."""
    import h5py

    random_model("s2vt").save_weights(tmp_path / "s2vt.weights.h5")
    with h5py.File(tmp_path / "s2vt.weights.h5") as file:
        shapes = [file["vars"][str(k)].shape for k in range(8)]
        assert len(file["vars"]) == 8 and file["layers/rnn/cell/vars/0"].shape == (H, 4 * H)
    assert shapes == [(D, H), (H,), (V, E), (H, 4 * H), (E, 4 * H), (4 * H,), (H, V), (V,)]  # W_x b_x embed K_x K_y ...


# --- number of parameters, from the equations ------------------------------------------------------------------------


def test_parameters_of_s2vt_and_mean_pool():
    expected = (D * H + H) + V * E + (H + E + H) * 4 * H + 4 * H + (H * V + V)
    assert random_model("s2vt").count_params() == random_model("mean_pool").count_params() == expected


def test_parameters_of_attention():
    attention = A * H + A * D + A + A  # W_a, U_a, b_a, w
    initial = 2 * (D * H + H)  # W_h, b_h, W_c, b_c
    decoder = V * E + (D + E + H) * 4 * H + 4 * H + (H * V + V)
    expected = attention + initial + decoder
    assert random_model("soft_attention").count_params() == expected
    assert random_model("soft_attention", gate="beta").count_params() == expected + H + 1
    assert random_model("hard_attention").count_params() == expected + 1  # the baseline
    assert sum(np.prod(w.shape) for w in random_model("hard_attention").trainable_weights) == expected


@pytest.mark.parametrize("name", CAPTIONERS)
def test_model_name_of_the_config_selects_the_class(name):
    settings = ["units=5", "embedding_size=8", "attention_size=9", "gate=beta", f"name={name}"]
    changed = cfg.STILL_SHAPES.replace([*(f"model.{setting}" for setting in settings), "text.max_words=12"])
    model = new_model(changed, Vocabulary([".", "a", "b"], [4, 2, 1]))
    assert type(model) is CAPTIONERS[name] and model.units == 5 and model.b_o.shape == (3,)
    assert getattr(model, "attention_size", 9) == 9 and getattr(model, "max_words", 12) == 12
    assert set(model.SETTINGS) <= {*changed.to_json()["model"], *changed.to_json()["text"]}


def test_all_captioners_are_choices_of_the_config():
    assert tuple(CAPTIONERS) == config.choices("model.name")


# --- mean pooling ----------------------------------------------------------------------------------------------------


def test_mean_pool_reads_only_the_mean(v):
    model = random_model("mean_pool")
    mean = np.repeat(v.mean(axis=1, keepdims=True), 3, axis=1)
    np.testing.assert_allclose(numbers(model({"v": mean, "y": Y})), numbers(model({"v": v, "y": Y})), atol=1e-5)
    state = model.encode(v)
    assert not numbers(state[0]).any() and not numbers(state[1]).any()


# --- attention against the equations ---------------------------------------------------------------------------------


def literal_attention(v, y, p, choose):
    """Eq. 4 and 5 with loops, one sentence -> logits (T, V), alpha (T, N)."""

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    h, c = np.tanh(v.mean(axis=0) @ p["W_h"] + p["b_h"]), np.tanh(v.mean(axis=0) @ p["W_c"] + p["b_c"])
    all_logits, alphas = [], []
    for t in range(len(y)):
        e = [np.tanh(h @ p["W_a"] + v_i @ p["U_a"] + p["b_a"]) @ p["w"][:, 0] for v_i in v]
        alpha = [np.exp(e_i) / sum(np.exp(e_k) for e_k in e) for e_i in e]
        z = choose(alpha, v)
        if "w_beta" in p:
            z = sigmoid(h @ p["w_beta"][:, 0] + p["b_beta"]) * z
        word = p["embedding"][y[t - 1]] if t else np.zeros(E)
        gates = np.concatenate([z, word, h]) @ np.concatenate([p["K_z"], p["K_y"], p["U"]]) + p["b"]
        i, f, candidate, o = np.split(gates, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(candidate)
        h = sigmoid(o) * np.tanh(c)
        all_logits.append(h @ p["W_o"] + p["b_o"])
        alphas.append(alpha)
    return np.array(all_logits), np.array(alphas)


def weighted_sum(alpha, v):
    return sum(a * v_i for a, v_i in zip(alpha, v, strict=True))


def likeliest(alpha, v):
    return v[int(np.argmax(alpha))]


def test_attention_equals_equations_4_and_5(attentive, v):
    choose = likeliest if isinstance(attentive, HardAttention) else weighted_sum
    for n in (N, 1):
        found = [literal_attention(v[k, :n].astype("float64"), Y[k], variables(attentive), choose) for k in range(B)]
        logits, alpha = (np.stack(values) for values in zip(*found, strict=True))
        inputs = {"v": v[:, :n], "y": Y}
        np.testing.assert_allclose(numbers(attentive(inputs)), logits.astype("float32"), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(attentive.attention(inputs), alpha.astype("float32"), rtol=1e-4, atol=1e-5)
    assert np.ptp(alpha if n > 1 else attentive.attention({"v": v, "y": Y}), axis=-1).min() > 0.01


def test_attention_of_captions_of_one_medium(attentive, v):
    medium = np.array([1, 0, 1], "int32")
    y = np.array([[4, 1, 5, 0], [2, 0, 0, 0], [3, 3, 1, 0]], "int32")
    alpha = attentive.attention({"v": v, "y": y, "medium": medium})
    assert alpha.shape == (3, T, N)
    np.testing.assert_allclose(alpha.sum(axis=-1), np.ones((3, T), "float32"), rtol=1e-5, strict=True)
    np.testing.assert_allclose(alpha, attentive.attention({"v": v[medium], "y": y}), rtol=1e-4, atol=1e-6)


def test_only_attention_models_have_attention_weights():
    found = [name for name, captioner in CAPTIONERS.items() if hasattr(captioner, "attention")]
    assert found == [*ATTENTION, "transformer"]


def test_gate_is_checked():
    with pytest.raises(ValueError, match="gate.*none, beta.*gamma"):
        SoftAttention(V, gate="gamma")


# --- dropout: a fresh mask at every step, on the LSTM's inputs and outputs, never on its state -----------------------


def shares_kept(kept):
    """Share of values kept; at two successive steps; in two units."""
    return kept.mean(), (kept[:, 1:] & kept[:, :-1]).mean(), (kept[..., 1:] & kept[..., :-1]).mean()


@pytest.mark.parametrize("name", CAPTIONERS)
def test_a_fresh_mask_on_the_outputs_none_on_the_state(name):
    settings = {"attention_size": A} if name in ATTENTION else {}
    model = CAPTIONERS[name](H, units=H, embedding_size=E, **settings)  # V = H: logits = h after dropout
    model.build({"v": (None, None, D)})
    for variable in model.trainable_variables:
        variable.assign(np.random.default_rng(5).normal(size=variable.shape))
        if variable.name in ("K_x", "K_y", "K_z", "b_o"):  # no input, so only the state could carry dropout on
            variable.assign(np.zeros(variable.shape))
        if variable.name.startswith(("W_o_", "W_2_", "b_2_")):  # the transformer's sublayers add nothing
            variable.assign(np.zeros(variable.shape))
    model.W_o.assign(np.eye(H))
    inputs = {"v": np.ones((40, N, D), "float32"), "y": np.ones((40, 10), "int32")}
    h, seen = numbers(model(inputs)), numbers(model(inputs, training=True))
    kept = seen != 0
    np.testing.assert_allclose(seen, np.where(kept, 2 * h, 0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(shares_kept(kept), (0.5, 0.25, 0.25), atol=0.06)


@pytest.mark.parametrize("name", ["mean_pool", *ATTENTION])
def test_a_fresh_mask_on_the_inputs(name):
    """Gate o reads one unit of the input each and the cell holds 1, so h shows which units were dropped."""
    units = 4
    settings = {"attention_size": A, "soft_share": 1.0} if name == "hard_attention" else {}
    model = CAPTIONERS[name](units, units=units, embedding_size=E, **settings)
    model.build({"v": (None, None, units)})
    for variable in model.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    if name == "mean_pool":
        model.W_x.assign(np.eye(units))
    reader = model.K_x if name == "mean_pool" else model.K_z
    reader.assign(np.concatenate([np.zeros((units, 3 * units)), np.eye(units)], axis=1))
    model.b.assign(np.concatenate([np.full(units, 50.0), np.full(units, -50.0), np.full(units, 50.0), np.zeros(units)]))
    model.W_o.assign(np.eye(units))
    model.output_dropout.rate = 0.0
    inputs = {"v": np.full((40, N, units), 9.0, "float32"), "y": np.ones((40, 20), "int32")}
    h = numbers(model(inputs, training=True))  # sigmoid(0) or sigmoid(18), times tanh(1)
    kept = h > 0.75 * np.tanh(1)
    np.testing.assert_allclose(h, np.where(kept, 1, 0.5) * np.tanh(1), rtol=1e-4)
    np.testing.assert_allclose(shares_kept(kept), (0.5, 0.25, 0.25), atol=0.06)
    assert (numbers(model(inputs)) > 0.75 * np.tanh(1)).all()


# --- losses of the attention models ----------------------------------------------------------------------------------


def test_the_doubly_stochastic_penalty_by_hand(v):
    model = random_model("soft_attention", dropout=0.0, doubly_stochastic=0.5)
    model({"v": v, "y": Y}, training=True)
    alpha = model.attention({"v": v, "y": Y}).astype("float64")
    penalty = 0.0
    for b, words in enumerate((4, 2)):  # END counts, the padding after it does not
        for i in range(N):
            penalty += (1 - sum(alpha[b, t, i] for t in range(words))) ** 2
    np.testing.assert_allclose(sum(map(numbers, model.losses)), 0.5 * penalty / 6, rtol=1e-4)
    model({"v": v, "y": Y})
    assert not model.losses or not sum(map(numbers, model.losses))  # in training only


def test_reinforce_loss_by_hand():
    alpha = np.array([[[0.5, 0.25, 0.25], [0.125, 0.125, 0.75], [0.5, 0.25, 0.25]]])
    s = np.array([[[0, 1, 0], [0.125, 0.125, 0.75], [1, 0, 0]]])  # one-hot, alpha itself, padding
    mask = np.array([[1, 1, 0]], "float32")
    log2 = np.log(2)
    first, second = 1.5 * log2, -(0.25 * np.log(0.125) + 0.75 * np.log(0.75))  # entropies
    alpha, s, log_p = alpha.astype("float32"), s.astype("float32"), np.array([-3.0], "float32")
    found = reinforce_loss(log_p, np.log(alpha), s, mask, -5.0, reinforce=0.5, entropy=0.1)
    expected = -(0.5 * (-3 + 5) * -2 * log2 + 0.1 * (first + second)) / 2
    np.testing.assert_allclose(numbers(found), expected, rtol=1e-5)


def test_locations_are_drawn_from_alpha(v):
    model = random_model("hard_attention", dropout=0.0, soft_share=0.0)
    y = np.repeat(Y[:1], 4000, axis=0)
    h, log_alpha, s = (
        numbers(a) for a in model._all_steps({"v": v[:1], "y": y, "medium": np.zeros(4000, int)}, training=True)
    )
    assert set(np.unique(s)) == {0, 1} and (s.sum(axis=-1) == 1).all()
    alpha = np.exp(log_alpha[0, 0])  # the first word's alpha is the same for all samples
    np.testing.assert_allclose(s[:, 0].mean(axis=0), alpha, atol=4 * np.sqrt(0.25 / 4000))
    model.soft_share = 1.0
    _, log_alpha, s = (numbers(a) for a in model._all_steps({"v": v[:1], "y": Y[:1]}, training=True))
    np.testing.assert_allclose(s, np.exp(log_alpha), rtol=1e-5)


def test_the_baseline_is_a_moving_average_of_log_p(v):
    model = random_model("hard_attention", dropout=0.0, soft_share=1.0)
    log_p = -numbers(word_losses(Y, random_model("soft_attention", dropout=0.0)({"v": v, "y": Y}))).sum(axis=1)
    expected = 0.0
    for _ in range(3):
        model({"v": v, "y": Y}, training=True)
        expected = 0.9 * expected + 0.1 * log_p.mean()
        np.testing.assert_allclose(numbers(model.baseline), expected, rtol=1e-4)
    model({"v": v, "y": Y})
    np.testing.assert_allclose(numbers(model.baseline), expected, rtol=1e-4)


class GivenLocations(HardAttention):
    """Hard attention with given locations s, T of them."""

    s = ()

    def _draws(self, zeros, training):
        noise = np.full((1, len(self.s), 3), -1e9, "float32")
        noise[0, range(len(self.s)), self.s] = 0
        return zeros[..., :1], zeros + noise


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="takes gradients with TensorFlow's tape")
@pytest.mark.parametrize("baseline", [0.0, -3.0])
def test_the_expected_estimate_equals_the_gradient_of_the_bound(v, baseline):
    """All 9 sequences of 2 locations out of 3: sum_s P(s) [one sample's gradient] = d/dW sum_s P(s) log P(y | s)."""
    import tensorflow as tf

    model = GivenLocations(V, units=H, embedding_size=E, attention_size=A, dropout=0.0, entropy=0.0)
    model.build({"v": (None, None, D)})
    rng = np.random.default_rng(5)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    y = np.array([[4, 0]], "int32")
    inputs = {"v": v[:1, :3], "y": y}

    estimate, bound_gradient, total = 0.0, 0.0, 0.0
    for s in itertools.product(range(3), repeat=2):
        model.s = s
        model.baseline.assign(baseline)
        with tf.GradientTape(persistent=True) as tape:
            logits = model(inputs, training=True)
            learned = -2 * (caption_loss(y, logits) + sum(model.losses))  # the loss is divided by the words, two
            _, log_alpha, _ = model._all_steps(inputs, training=True)
            log_p_s = log_alpha[0, 0, s[0]] + log_alpha[0, 1, s[1]]
            bound = tf.exp(log_p_s) * -tf.reduce_sum(word_losses(y, logits))

        def gradient(value, tape=tape):
            found = tape.gradient(value, model.trainable_variables)
            pairs = zip(found, model.trainable_variables, strict=True)
            return np.concatenate([np.ravel(numbers(tf.zeros(w.shape) if g is None else g)) for g, w in pairs])

        p_s = float(tf.exp(log_p_s))
        total += p_s
        estimate, bound_gradient = estimate + p_s * gradient(learned), bound_gradient + gradient(bound)
    np.testing.assert_allclose(total, 1, rtol=1e-5)
    np.testing.assert_allclose(estimate, bound_gradient, rtol=1e-3, atol=1e-4)
    assert np.abs(bound_gradient).max() > 0.1


# --- training --------------------------------------------------------------------------------------------------------


def shapes_task(count, rng, num_shapes=3, num_cells=4):
    """Pictures of four cells, one of which holds a shape; captions "a <shape>"; the place of each shape."""
    shape, place = rng.integers(num_shapes, size=count), rng.integers(num_cells, size=count)
    kind = np.full((count, num_cells), num_shapes)
    kind[np.arange(count), place] = shape
    v = np.eye(num_shapes + 1)[kind] + rng.normal(scale=0.1, size=(count, num_cells, num_shapes + 1))
    y = np.stack([np.full(count, 1), 2 + shape, np.zeros(count, int)], axis=1)
    return v.astype("float32"), y.astype("int32"), place


@pytest.mark.parametrize("name", CAPTIONERS)
def test_every_captioner_learns(name):
    rng = np.random.default_rng(12)
    keras.utils.set_random_seed(0)
    settings = {"attention_size": 8} if name in ATTENTION else {}
    captioner = CAPTIONERS[name](5, units=16, embedding_size=6, dropout=0.1, **settings)
    captioner.compile(optimizer=keras.optimizers.Adam(0.02))
    v, y, _ = shapes_task(512, rng)
    before = float(caption_loss(y, captioner({"v": v, "y": y})))
    captioner.fit({"v": v, "y": y}, batch_size=64, epochs=12, verbose=0)
    assert float(caption_loss(y, captioner({"v": v, "y": y}))) < 0.1 < before
    v, y, place = shapes_task(40, rng)
    assert [words[:2] for words in greedy(captioner, v, 3)] == y[:, :2].tolist()
    if hasattr(captioner, "attention"):
        alpha = captioner.attention({"v": v, "y": y})[:, 1]  # (40, N), of the shape's word
        assert (alpha.argmax(axis=-1) == place).mean() > 0.9
        cells = v.reshape(-1, v.shape[-1])  # each alone
        found = descriptor_losses(captioner.encode, captioner.step, cells, [[1, 2 + shape] for shape in range(3)])
        nll = np.stack([losses["nll"][1] for losses in found]).reshape(3, len(v), -1)[y[:, 1] - 2, np.arange(len(v))]
        assert (nll.argmin(axis=-1) == place).mean() > 0.9


@pytest.mark.parametrize("name", CAPTIONERS)
def test_batches_may_differ_in_descriptors_and_words(name):
    class Batches(keras.utils.PyDataset):
        shapes = [(4, 3), (6, 5), (5, 4)]  # N, T: neither is fixed by the first batches

        def __len__(self):
            return len(self.shapes)

        def __getitem__(self, k):
            N, T = self.shapes[k]
            return {"v": np.ones((2, N, 3), np.float32), "y": np.full((2, T), 1, np.int32)}

    captioner = random_model(name)
    captioner.compile(keras.optimizers.Adam())
    assert np.isfinite(captioner.fit(Batches(), verbose=0).history["loss"]).all()


def one_step_of_training(name, inputs, **settings):
    """The loss, and the variables after one deterministic step of gradient descent."""
    settings |= {"doubly_stochastic": 0.1} if name in ATTENTION else {}
    settings |= {"soft_share": 1.0} if name == "hard_attention" else {}
    model = random_model(name, dropout=0.0, **settings)
    model.compile(keras.optimizers.SGD(0.1))
    loss = float(model.train_on_batch(inputs))
    return loss, variables(model) | {"baseline": numbers(getattr(model, "baseline", 0.0))}


@pytest.mark.parametrize("name", CAPTIONERS)
def test_shared_media_and_listed_words_train_like_padded_copies(name, v):
    medium = np.array([1, 0, 1], "int32")
    y = np.array([[4, 1, 5, 0], [2, 0, 0, 0], [3, 3, 1, 0]], "int32")
    words = np.array([0, 1, 2, 3, 4, 5, 8, 9, 10, 11, -1, -1], "int32")
    expected_loss, expected = one_step_of_training(name, {"v": v[medium], "y": np.pad(y, ((0, 0), (0, 5)))})
    loss, found = one_step_of_training(name, {"v": v, "y": y, "medium": medium, "words": words})
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    for variable, value in expected.items():
        np.testing.assert_allclose(found[variable], value, rtol=1e-4, atol=1e-5, err_msg=variable)
    start = variables(random_model(name))
    assert all(np.abs(expected[variable] - value).max() > 1e-4 for variable, value in start.items())


@pytest.mark.parametrize("name", CAPTIONERS)
def test_a_step_in_bfloat16_differs_by_rounding_alone(name, v):
    inputs = {"v": v, "y": Y}
    expected_loss, expected = one_step_of_training(name, inputs)
    with _precision("mixed_bfloat16"):
        loss, found = one_step_of_training(name, inputs)
    assert loss != expected_loss and loss == pytest.approx(expected_loss, rel=0.05)
    start = variables(random_model(name))
    for variable, value in start.items():
        moved, of_rounded = expected[variable] - value, found[variable] - value
        assert np.linalg.norm(of_rounded - moved) < 0.2 * np.linalg.norm(moved) + 0.01, variable


@pytest.mark.parametrize("name", CAPTIONERS)
def test_a_captioner_decodes_while_it_is_trained_in_bfloat16(name, v):
    """As after every epoch: `encode` and `step`, outside of `call`, where Keras casts no variables."""

    def logits_of_words():
        model = random_model(name)
        state, found = model.encode(v), []
        for word in (None, *Y.T[:-1]):
            logits, state = model.step(state, word)
            found.append(numbers(logits))
        return np.stack(found)

    expected = logits_of_words()
    with _precision("mixed_bfloat16"):
        found = logits_of_words()
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())


def test_logits_of_listed_words(model, v):
    words = np.array([6, 0, 3, -1], "int32")
    logits = numbers(model({"v": v, "y": Y, "words": words}))
    assert logits.shape == (4, V)
    expected = numbers(model({"v": v, "y": Y}))[[1, 0, 0], [2, 0, 3]]
    np.testing.assert_allclose(logits[:3], expected, rtol=1e-5, atol=1e-6, strict=True)


# --- engines ---------------------------------------------------------------------------------------------------------

SCRIPT = """
import sys
import keras
import numpy as np
from keras import ops
from s2vt.captioning.captioners import CAPTIONERS

inputs = dict(np.load(sys.argv[1]))
found = {}
for name, captioner in CAPTIONERS.items():
    settings = {"attention_size": 9, "gate": "beta", "doubly_stochastic": 0.1} if "attention" in name else {}
    settings |= {"soft_share": 1.0} if name == "hard_attention" else {}
    model = captioner(7, units=5, embedding_size=8, dropout=0.0, **settings)
    model.build({"v": (None, None, 3)})
    model.load_weights(f"{sys.argv[2]}/{name}.weights.h5")
    found[name] = ops.convert_to_numpy(model(inputs))
    model.compile(keras.optimizers.SGD(0.1))
    model.train_on_batch(inputs)
    found |= {f"{name} {variable.name}": ops.convert_to_numpy(variable) for variable in model.trainable_variables}
    found[f"{name} baseline"] = ops.convert_to_numpy(getattr(model, "baseline", 0.0))
np.savez(sys.argv[3], engine=keras.backend.backend(), **found)
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax, a test dependency")
def test_tensorflow_and_jax_agree(v, tmp_path):
    inputs = {"v": v, "y": Y, "medium": np.array([1, 1], "int32"), "words": np.array([0, 1, 2, 3, 4, 5, -1], "int32")}
    np.savez(tmp_path / "given.npz", **inputs)
    expected = {}
    for name in CAPTIONERS:
        settings = {"gate": "beta"} if name in ATTENTION else {}
        model = random_model(name, **settings)
        model.save_weights(tmp_path / f"{name}.weights.h5")
        expected[name] = numbers(model(inputs))
        _, after = one_step_of_training(name, inputs, **settings)
        expected |= {f"{name} {variable}": value for variable, value in after.items()}
    other = {"tensorflow": "jax", "jax": "tensorflow"}.get(keras.backend.backend(), "tensorflow")
    subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "given.npz", tmp_path, tmp_path / "found.npz"],
        env={**os.environ, "KERAS_BACKEND": other, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=Path(__file__).parents[1],
        check=True,
        timeout=240,
    )
    found = np.load(tmp_path / "found.npz")
    assert found["engine"] == other and found["hard_attention baseline"] < 0
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
