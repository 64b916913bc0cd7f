"""S2VT against a literal zero-padded LSTM in numpy, its dropout, its loss and its gradient.

What holds for all captioners is in test_captioners.py.
"""

import keras
import numpy as np
import pytest
from keras import ops

from s2vt.captioning.captioner import caption_loss, caption_mask
from s2vt.captioning.s2vt import S2VT

B, N, T, D, H, E, V = 2, 6, 4, 3, 5, 8, 7
Y = np.array([[4, 1, 5, 0], [2, 0, 0, 0]], "int32")


def numbers(tensor):
    return ops.convert_to_numpy(ops.convert_to_tensor(tensor))


def variables(model):
    return {variable.name: numbers(variable) for variable in model.trainable_variables}


def random_model(dropout=0.5, vocabulary_size=V, kind=S2VT, **kwargs):
    rng = np.random.default_rng(5)
    model = kind(vocabulary_size, units=H, embedding_size=E, dropout=dropout, **kwargs)
    model.build({"v": (None, None, D), "y": (None, None)})
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return model


@pytest.fixture(scope="module")
def model():
    return random_model()


@pytest.fixture(scope="module")
def v():
    return np.random.default_rng(6).normal(size=(B, N, D)).astype("float32")


def zero_padded_s2vt(v, y, W_x, b_x, embedding, K_x, K_y, U, b, W_o, b_o):
    """The paper's S2VT literally, for one example: one LSTM kernel over [input ; h], inputs padded with zeros."""

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    kernel = np.concatenate([K_x, K_y, U])  # (H + E + H, 4H)
    inputs = [np.concatenate([x, np.zeros(E)]) for x in v @ W_x + b_x]
    words = [np.zeros(E), *embedding[y[:-1]]]
    inputs += [np.concatenate([np.zeros(H), word]) for word in words]
    h, c, logits = np.zeros(H), np.zeros(H), []
    for step_input in inputs:
        i, f, candidate, o = np.split(np.concatenate([step_input, h]) @ kernel + b, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(candidate)
        h = sigmoid(o) * np.tanh(c)
        logits.append(h @ W_o + b_o)
    return np.array(logits[len(v) :])


def test_one_step_of_the_lstm_by_hand():
    model = S2VT(vocabulary_size=2, units=1, embedding_size=1)
    model.build({"v": (None, None, 1)})
    for variable in model.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    model.W_x.assign([[2.0]])
    model.K_x.assign([[0.0, 0.0, 0.5, 0.0]])
    # x = 2 v = 1, gates i = f = o = sigmoid(0) = 1/2, candidate tanh(0.5) = 0.46212
    h, c = model.encode(np.array([[[0.5]]], "float32"))
    np.testing.assert_allclose(numbers(c), [[0.2310586]], rtol=1e-6)  # 0.46212 / 2
    np.testing.assert_allclose(numbers(h), [[0.1135164]], rtol=1e-6)  # tanh(0.23106) / 2


def test_two_kernels_equal_the_zero_padded_form(model, v):
    logits = numbers(model({"v": v, "y": Y}))
    expected = np.stack([zero_padded_s2vt(v[k], Y[k], **variables(model)) for k in range(B)])
    np.testing.assert_allclose(logits, expected.astype("float32"), rtol=1e-4, atol=1e-5, strict=True)


def test_y_0_is_the_zero_vector_not_a_word(model, v):
    state = model.encode(v)
    first = numbers(model.step(state, None)[0])
    for w in range(V):
        assert np.abs(first - numbers(model.step(state, np.array([w]))[0])).max() > 1e-2


def test_any_number_of_descriptors(model, v):
    for n in (1, 4):
        expected = zero_padded_s2vt(v[0, :n], Y[0], **variables(model)).astype("float32")
        logits = numbers(model({"v": v[:1, :n], "y": Y[:1]}))[0]
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5, strict=True)


def test_names_shapes_and_initial_values_of_the_variables():
    model = S2VT(V, units=H, embedding_size=E, word_log_frequencies=np.log([8.0, 4, 4, 2, 1, 1, 1]))
    model.build({"v": (None, None, 2048)})
    shapes = {name: value.shape for name, value in variables(model).items()}
    assert shapes == {
        "W_x": (2048, H), "b_x": (H,), "embedding": (V, E), "K_x": (H, 4 * H), "K_y": (E, 4 * H), "U": (H, 4 * H),
        "b": (4 * H,), "W_o": (H, V), "b_o": (V,),
    }  # fmt: skip
    np.testing.assert_allclose(numbers(model.b), np.repeat([0, 1, 0, 0], H).astype("float32"), strict=True)
    expected = -np.log([1, 2, 2, 4, 8, 8, 8]).astype("float32")
    np.testing.assert_allclose(numbers(model.b_o), expected, rtol=1e-6, atol=1e-7, strict=True)
    limit = np.sqrt(6 / (E + 4 * H))
    assert 0.8 * limit < np.abs(numbers(model.K_y)).max() <= limit


@pytest.mark.parametrize("frequencies", [np.zeros(V + 1), [-np.inf, 0, 0, 0, 0, 0, 0]])
def test_word_log_frequencies_are_checked(frequencies):
    with pytest.raises(ValueError, match="word_log_frequencies.* 7 finite"):
        S2VT(V, word_log_frequencies=frequencies)


# --- dropout ---------------------------------------------------------------------------------------------------------


def identity_model():
    """A model whose gate i equals its input, x_i = 1, 2, .. or the embedding: K_x and K_y are identity matrices."""
    model = random_model()
    model.W_x.assign(np.zeros((D, H)))
    model.b_x.assign(np.arange(1, H + 1))
    model.embedding.assign(np.ones((V, E)))
    model.K_x.assign(np.eye(H, 4 * H))
    model.K_y.assign(np.eye(E, 4 * H))
    model.b.assign(np.zeros(4 * H))
    return model


@pytest.mark.parametrize("half, width", [("_read", H), ("_write", E)])
def test_inputs_have_a_fresh_dropout_mask_at_every_step(half, width):
    model = identity_model()
    steps = 200
    inputs = np.ones((B, steps, H), "float32") if half == "_read" else np.ones((B, steps), "int32")
    seen = numbers(getattr(model, half)(inputs, training=True))[:, 1:, :width]  # y_0 is zero, dropped or not
    full = numbers(getattr(model, half)(inputs))[:, 1:, :width]
    kept = seen != 0
    np.testing.assert_allclose(seen, np.where(kept, 2 * full, 0), strict=True)
    assert (full > 0).all()
    # Independent masks keep one half; one quarter at two successive steps, in two units, and in both examples.
    assert abs(kept.mean() - 0.5) < 0.06
    assert abs((kept[:, 1:] & kept[:, :-1]).mean() - 0.25) < 0.06
    assert abs((kept[..., 1:] & kept[..., :-1]).mean() - 0.25) < 0.06
    assert abs((kept[0] & kept[1]).mean() - 0.25) < 0.06


def test_no_dropout_outside_training(v):
    with_dropout, without = random_model(dropout=0.5), random_model(dropout=0)
    inputs = {"v": v, "y": Y}
    np.testing.assert_allclose(numbers(with_dropout(inputs)), numbers(without(inputs, training=True)), strict=True)


# --- loss ------------------------------------------------------------------------------------------------------------


def test_caption_mask_ends_with_the_first_end():
    y = np.array([[3, 0, 0, 0], [3, 2, 1, 5], [0, 0, 0, 0], [1, 0, 2, 0]])
    expected = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]], "float32")
    np.testing.assert_allclose(numbers(caption_mask(y)), expected, strict=True)


def test_caption_loss_by_hand():
    # P = 1/2, 1/4 for the first sentence's word and END, 1/8, 1/2, 1/4 for the second's; padding does not count.
    y = np.array([[1, 0, 0], [2, 1, 0]])
    p = np.array([[[0.25, 0.5, 0.25], [0.25, 0.25, 0.5], [0.01, 0.01, 0.98]],
                  [[0.5, 0.375, 0.125], [0.25, 0.5, 0.25], [0.25, 0.5, 0.25]]])  # fmt: skip
    expected = np.log(2) * (1 + 2 + 3 + 1 + 2) / 5
    logits = np.log(p).astype("float32") + 3  # a constant changes nothing
    np.testing.assert_allclose(numbers(caption_loss(y, logits)), np.float32(expected), rtol=1e-6)


def test_fit_and_evaluate_use_the_mean_over_words(v):
    model = random_model(dropout=0)
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    logits = numbers(model({"v": v, "y": Y})).astype("float64")
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    words = [log_p[0, 0, 4], log_p[0, 1, 1], log_p[0, 2, 5], log_p[0, 3, 0], log_p[1, 0, 2], log_p[1, 1, 0]]
    expected = -np.mean(words)
    assert abs(expected - np.mean([-np.mean(words[:4]), -np.mean(words[4:])])) > 0.01  # not the mean over sentences
    history = model.fit({"v": v, "y": Y}, validation_data=({"v": v, "y": Y},), verbose=0).history
    np.testing.assert_allclose([history["loss"][0], history["val_loss"][0]], [expected] * 2, rtol=1e-5)


class StepByStep(S2VT):
    """S2VT by single LSTM steps, whose gradient is automatic."""

    def call(self, inputs, training=False):
        gates, logits = self._read(self._project(inputs["v"])), []
        h = c = ops.zeros_like(gates[:, 0, : self.units])
        for i in range(gates.shape[1]):
            h, (_, c) = self.lstm.cell(gates[:, i], [h, c])
        state = h, c
        for t in range(inputs["y"].shape[1]):
            word = inputs["y"][:, t - 1] if t else None  # `step` is a graph, with no gradient of the variables
            step_logits, state = self._step(state, self._gates_of_word(word))
            logits.append(step_logits)
        return ops.stack(logits, axis=1)


def test_the_custom_gradient_equals_that_of_single_steps(v):
    trained = []
    for kind in (S2VT, StepByStep):
        model = random_model(dropout=0, kind=kind)
        model.compile(keras.optimizers.SGD(0.3))
        model.train_on_batch({"v": v, "y": Y})
        trained.append(variables(model))
    start = variables(random_model())
    for name, value in trained[1].items():
        np.testing.assert_allclose(trained[0][name], value, rtol=1e-4, atol=1e-5, err_msg=name)
        assert np.abs(value - start[name]).max() > 1e-3, name
