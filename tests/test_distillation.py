"""Distillation: single descriptors learn from the alignment where a word's evidence lies. By hand, by loops, taught."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops
from small_runs import CONFIG, Place
from test_contrast import Scenes, captioner_of, inputs_of, numbers

from s2vt.captioning.captioners import CAPTIONERS
from s2vt.captioning.distillation import distillation_loss
from s2vt.captioning.training import TrainingRequest, train
from s2vt.config import CONTRASTED
from s2vt.data.batches import SINGLE_DESCRIPTORS, SINGLE_MEDIA, SINGLE_WORDS, CaptionBatches, Source
from s2vt.data.text import Vocabulary
from s2vt.engine import gradient
from s2vt.errors import UserError

ALONE = np.array([[0, 3, 3, 1], [4, 2, 0, 1]], "int32")  # K = 4 of N = 5 descriptors of the first 2 of 3 media
CAPTION = np.array([1, 2], "int32")  # caption 2, "1 END", has no content word
ASKED = np.array([[1, 0, -1], [-1, -1, -1]], "int32")


def sampled_inputs():
    return {**inputs_of(), "alone": ALONE, "caption": CAPTION, "asked": ASKED}


def distilled_captioner(name, weight=0.75):
    plain = captioner_of(name)
    model = CAPTIONERS[name](12, units=8, embedding_size=9, dropout=0.0, contrast=0.25, distillation=weight)
    model.build({"v": (None, None, 7)})
    model.set_weights(plain.get_weights())  # the architecture is that without
    return model


def test_the_loss_by_hand():
    cosine = np.log([[[3.0, 1.0], [1.0, 1.0]]]) / 10  # M = 1, K = 2, Q = 2: shares 3/4, 1/4 and 1/2, 1/2
    log_q = np.log([[[0.2, 0.3], [0.3, 0.1]]])  # shares 2/5, 3/5 and 3/4, 1/4
    first = 3 / 4 * np.log(15 / 8) + 1 / 4 * np.log(5 / 12)
    second = 1 / 2 * np.log(2 / 3) + 1 / 2 * np.log(2)
    for counts, expected in (([True, True], (first + second) / 2), ([False, True], second), ([False, False], 0)):
        found = numbers(distillation_loss(cosine, log_q, np.array([counts])))
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_teacher_gets_no_gradient():
    rng = np.random.default_rng(2)
    cosine, log_q, counts = rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 4, 3)), np.ones((2, 3), bool)
    of_both = gradient(lambda both: distillation_loss(both[0], both[1], counts))
    teacher, student = numbers(of_both(ops.convert_to_tensor(np.stack([cosine, log_q]).astype("float32"))))
    assert not teacher.any() and np.abs(student).max() > 0.01
    np.testing.assert_allclose(student.sum(axis=1), 0, atol=1e-6)  # a word likelier in all cells is the same


@pytest.mark.parametrize("name", CONTRASTED)
def test_training_adds_the_distillation_of_each_descriptor_read_alone(name):
    model, inputs = distilled_captioner(name), sampled_inputs()
    v, y, divergences = inputs["v"][0], inputs["y"][1], []
    for t in (1, 0):
        log_q = []
        for i in ALONE[0]:  # the other road: step by step, one descriptor at a time
            logits, state = model.step(model.encode(v[i][None, None]))
            for word in y[:t]:
                logits, state = model.step(state, np.array([word]))
            log_q.append(numbers(ops.log_softmax(logits))[0, y[t]])
        shares = np.exp(10 * model.alignment(v[ALONE[0]], y[t : t + 1])[0].astype("float64"))
        shares, q = shares / shares.sum(), np.exp(log_q) / np.exp(log_q).sum()
        divergences.append((shares * np.log(shares / q)).sum())
    expected = np.mean(divergences)
    model.compile(keras.optimizers.SGD(0.0))
    trained = model.train_on_batch(inputs, return_dict=True)
    assert trained["distillation"] == pytest.approx(expected, rel=1e-4) and expected > 0.05
    model.reset_metrics()
    tested = model.test_on_batch(inputs, return_dict=True)
    of_both = 0.25 * trained["contrast"] + 0.75 * trained["distillation"]
    assert trained["loss"] - tested["loss"] == pytest.approx(of_both, rel=1e-4)


def test_a_batch_samples_descriptors_and_content_words():
    captions = [["a dog and a cat", "it is a dog"], ["the cat", "it is there"], ["a very very big cat ran and ran far"]]
    media = [SimpleNamespace(captions=of_medium, number=k) for k, of_medium in enumerate(captions)]
    store = SimpleNamespace(v=lambda medium: np.full((5, 7), medium.number))
    vocabulary = Vocabulary.from_captions((caption for medium in captions for caption in medium), 1)
    settings = ["training.batch_size=6", "training.captions_per_medium=2", "model.contrast=0.5"]
    config = CONFIG.replace([*settings, "model.distillation=1"])
    seen = set()
    for epoch in range(20):
        batch = CaptionBatches([Source(media, store)], vocabulary, config, seed=1, epoch=epoch)[0]
        assert batch["alone"].shape == (3, SINGLE_DESCRIPTORS) and set(batch["alone"].ravel()) <= set(range(5))
        assert batch["medium"][batch["caption"]].tolist() == [0, 1, 2]  # a caption of each medium, in their order
        assert batch["asked"].shape == (3, SINGLE_WORDS) and SINGLE_MEDIA > 3
        for b, steps in zip(batch["caption"], batch["asked"], strict=True):
            steps = steps[steps >= 0].tolist()
            words = [vocabulary.words[w] for w in batch["y"][b][steps]]
            assert len(set(steps)) == len(steps) and not {"a", "and", "it", "is", "the", vocabulary.words[0]} & set(
                words
            )
            seen |= {(vocabulary.words[batch["y"][b][0]], *sorted(words))}
    assert ("a", "cat", "dog") in seen and ("it", "dog") in seen and ("the", "cat") in seen and ("it",) in seen
    assert len([words for words in seen if len(words) == 5]) > 1  # four of the long caption's six content words
    again = CaptionBatches([Source(media, store)], vocabulary, config, seed=1, epoch=19)[0]
    assert all(np.array_equal(again[key], value) for key, value in batch.items())


def agreement_with_alignment(distillation):
    """Share of objects in 40 unseen scenes for which the cell of the largest likelihood is that of the alignment."""
    scenes, unseen = Scenes(96, seed=1), Scenes(40, seed=2)
    vocabulary = Vocabulary.from_captions((caption for medium in scenes.media for caption in medium.captions), 1)
    settings = ["training.batch_size=32", "training.captions_per_medium=2", "model.contrast=0.5"]
    config = CONFIG.replace([*settings, f"model.distillation={distillation}"])
    keras.utils.set_random_seed(1)
    losses = {"contrast": 0.5, "distillation": distillation}
    model = CAPTIONERS["mean_pool"](len(vocabulary), units=128, embedding_size=9, **losses)
    model.build({"v": (None, None, Scenes.D)})
    model.compile(keras.optimizers.Adam(0.005))
    model.fit(CaptionBatches([Source(scenes.media, scenes)], vocabulary, config, seed=1), epochs=10, verbose=0)
    same = []
    for medium in unseen.media:
        word = np.array([vocabulary.index[next(iter(medium.truth))]])  # "a WORD and a ..."
        _, state = model.step(model.encode(medium.v[:, None]))
        logits, _ = model.step(state, np.array([vocabulary.index["a"]]))
        log_q = numbers(ops.log_softmax(logits))[:, word[0]]
        same.append(log_q.argmax() == model.alignment(medium.v, word)[0].argmax())
    return np.mean(same)


def test_the_likelihood_of_single_descriptors_follows_the_alignment():
    without, taught = agreement_with_alignment(0), agreement_with_alignment(1)
    assert taught > without + 0.1


# --- training a run --------------------------------------------------------------------------------------------------


SETTINGS = ("model.contrast=0.5", "model.distillation=0.5", "model.name=mean_pool")


def test_a_run_with_distillation_resumes_bit_for_bit(training_place):
    names = training_place.train_whole_and_in_parts(*SETTINGS)
    assert names == [
        "epoch", "contrast", "distillation", "loss", "val_METEOR", "val_contrast", "val_distillation", "val_loss"
    ]  # fmt: skip


def test_training_in_bfloat16_differs_by_rounding_alone(training_place):
    training_place.train("parts", *SETTINGS, "training.epochs=1", seed=3, overwrite=True)
    training_place.train("bfloat16", *SETTINGS, "training.epochs=1", "training.precision=mixed_bfloat16", seed=3)
    first, other = (
        float(training_place.log(name).splitlines()[1].split(",")[-1]) for name in ("parts", "bfloat16")
    )  # val_loss
    assert first != other and first == pytest.approx(other, rel=0.01)
    assert all(weights.dtype == np.float32 for weights in training_place.weights("bfloat16"))
    assert keras.config.dtype_policy().name == "float32"  # of what is built after a training


def test_without_a_contrast_it_is_refused(tmp_path):
    config = CONFIG.replace(["model.distillation=0.5"])
    with pytest.raises(UserError, match=r"model.distillation=0.5 .*model.contrast=0.3") as caught:
        train(TrainingRequest(config, Place(tmp_path).run("x"), tmp_path))
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())
