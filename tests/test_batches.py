"""Training batches: every caption beside its own descriptors, in shapes that Keras takes."""

import dataclasses
import hashlib
import os
import tracemalloc

import numpy as np
import pytest
from small_stores import Extractor, picture_config, write_pictures

import cfg
from s2vt.config import TextConfig
from s2vt.data.batches import CaptionBatches, Source, caption_matrix
from s2vt.data.text import Vocabulary, tokenize
from s2vt.features.descriptors import DescriptorStore
from s2vt.features.extraction import extract

CAPTIONS = ["a dog runs", "A dog, a cat!", "the cat sits", "a dog sleeps"]


def vocabulary():
    return Vocabulary.from_captions(CAPTIONS, 1)


def test_captions_end_and_are_padded_by_end():
    assert caption_matrix([[3, 1, 2], [4]], 25).tolist() == [[3, 1, 2, 0], [4, 0, 0, 0]]
    assert caption_matrix([[3, 1, 2, 5]], 3).tolist() == [[3, 1, 2]]  # cut: no END is claimed


class _Store:
    def v(self, medium):
        return np.full((6, 3), medium.number, np.float16)


class _Medium:
    def __init__(self, number, captions):
        self.number, self.captions = number, captions


@pytest.mark.parametrize("group", [1, 2])
def test_every_caption_once_an_epoch_beside_its_own_descriptors(group):
    training = dataclasses.replace(cfg.MSR_VTT.training, batch_size=3, captions_per_medium=group)
    config = dataclasses.replace(cfg.MSR_VTT, training=training)
    media = [_Medium(k, [caption, "the cat"]) for k, caption in enumerate(CAPTIONS)] + [_Medium(9, ["zzz"])]
    words = vocabulary()

    def epoch_of(batches):
        rows = []
        for k in range(len(batches)):
            inputs = batches[k]
            assert inputs["v"].shape[1:] == (6, 3) and inputs["v"].dtype == np.float32
            assert len(inputs["v"]) == max(1, 3 // group) or k == len(batches) - 1
            numbers = inputs["v"][inputs["medium"], 0, 0]
            rows += [(int(number), words.decode(row)) for number, row in zip(numbers, inputs["y"], strict=True)]
        return rows

    batches = CaptionBatches([Source(media, _Store())], words, config, seed=4)
    first = epoch_of(batches)
    expected = [(k, " ".join(tokenize(c))) for k, m in enumerate(media[:4]) for c in m.captions]
    assert sorted(first) == sorted(expected) and first != expected
    batches.on_epoch_end()
    second = epoch_of(batches)
    assert sorted(second) == sorted(expected) and second != first
    sources = [Source(media, _Store())]
    assert epoch_of(CaptionBatches(sources, words, config, seed=4, epoch=1)) == second  # going on after a kill
    assert epoch_of(CaptionBatches(sources, words, config)) == expected


def batches_of(captions, max_words=25):
    """Batches of two media, each with one of the captions (lists of words)."""
    training, text = dataclasses.replace(cfg.MSR_VTT.training, batch_size=2), TextConfig(max_words=max_words)
    config = dataclasses.replace(cfg.MSR_VTT, training=training, text=text)
    media = [_Medium(k, [caption]) for k, caption in enumerate(captions)]
    return CaptionBatches([Source(media, _Store())], vocabulary(), config)


def test_batches_are_read_by_threads_of_their_own():
    """Else Keras has tf.data tune itself, in a thread that is waited for, up to a minute, after each epoch."""
    assert batches_of(["the cat", "a dog"]).workers > 1


def test_a_batch_is_as_long_as_its_longest_caption_and_lists_its_words():
    batches = batches_of(["the cat", "a dog", "a dog a cat a dog", "a", "a " * 11, "the", "a " * 30, "a dog runs"], 14)
    batch = batches[0]
    assert batch["y"].tolist() == [vocabulary().known("the cat") + [0, 0], vocabulary().known("a dog") + [0, 0]]
    assert batch["words"].tolist() == [0, 1, 2, 4, 5, 6]  # b T + t, END among them
    batch = batches[1]
    assert batch["y"].shape == (2, 8)
    assert batch["words"].tolist() == [0, 1, 2, 3, 4, 5, 6, 8, 9, -1]  # 9 words, filled up to a multiple of B
    assert batches[2]["y"].shape == (2, 12)
    batch = batches[3]  # a caption that is cut keeps no END
    assert batch["y"].shape == (2, 14)
    assert batch["words"].tolist() == [*range(14), *range(14, 18)]


def test_keras_takes_batches_of_any_length():
    import keras

    from s2vt.captioning.s2vt import S2VT

    captions = ["a dog", "the cat", "a cat", "the dog", "a dog a cat a dog", "the cat sits", "a"]
    batches = batches_of(captions)
    assert [batches[k]["y"].shape for k in range(len(batches))] == [(2, 4), (2, 5), (2, 7), (1, 4)]
    model = S2VT(len(vocabulary()), units=5, embedding_size=4, dropout=0.0)
    model.build({"v": (None, None, 3)})
    model.compile(keras.optimizers.SGD(0.0))
    history = model.fit(batches, validation_data=batches, shuffle=False, verbose=0).history
    losses = [float(model.test_on_batch(batches[k])) for k in range(len(batches))]
    expected = np.average(losses, weights=[2, 2, 2, 1])  # Keras weighs batches by their captions
    np.testing.assert_allclose([history["loss"][0], history["val_loss"][0]], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [((0.0, 0.0), (0, 0)), ((0.01, 0.1), (0, 4)), ((0.6, 0.2), (24, 8)), ((0.3, 0.7), (12, 28)), ((1.0, 0.0), (40, 0))],
)
def test_shares_of_the_batches_have_their_own_readings(shares, expected):
    training = dataclasses.replace(cfg.MSR_VTT.training, batch_size=2, captions_per_medium=2)
    config = dataclasses.replace(cfg.MSR_VTT, training=training)
    media = [_Medium(k, ["a dog runs", "the cat"]) for k in range(40)]
    drawn = []

    def reading(length):
        def read(medium, rng):
            drawn.append((medium.number, rng.random()))
            return np.full((length, 3), -medium.number)

        return read

    source = Source(media, _Store(), tuple(zip(shares, map(reading, (9, 1)), strict=True)))
    batches = CaptionBatches([source], vocabulary(), config, seed=4)
    drawn.clear()  # what the lengths were found by
    lengths = []
    for k in range(len(batches)):
        inputs = batches[k]
        lengths.append(inputs["v"].shape[1])
        number = abs(inputs["v"][inputs["medium"], 0, 0])
        assert len(inputs["y"]) == 2 and set(number) == {number[0]} and inputs["v"].dtype == np.float32
    assert set(lengths) <= {9, 6, 1} and (lengths.count(9), lengths.count(1)) == expected
    assert len(set(lengths)) == 1 or lengths[0] != lengths[1]  # Keras takes the shapes from these
    assert len(set(drawn)) == len(drawn) == sum(expected)
    again = CaptionBatches([source], vocabulary(), config, seed=4)
    assert [again[k]["v"].shape[1] for k in range(len(again))] == lengths  # the same after a kill


class _Pictures:
    """A store of media with 4 descriptors each."""

    def v(self, medium):
        return np.full((4, 3), 100 + medium.number, np.float16)


@pytest.mark.parametrize(("share", "length"), [(0.0, 4), (0.5, 4), (0.5, 9)])
def test_a_batch_holds_media_of_one_source_read_in_one_way(share, length):
    """Clips of 6 frames (in a share of the batches `length`), pictures of 4: each caption once, beside its own."""
    config = cfg.MSR_VTT.replace(["training.batch_size=4", "training.captions_per_medium=2", "model.contrast=1"])
    clips = [_Medium(k, ["a dog runs", "the cat"]) for k in range(11)]
    pictures = [_Medium(k, ["the dog", "a cat sits"]) for k in range(40)]
    own = Source(clips, _Store(), ((share, lambda medium, rng: np.full((length, 3), medium.number)),))
    sources, words = [own, Source(pictures, _Pictures())], vocabulary()

    def epoch_of(batches):
        lengths, rows = [], []
        for k in range(len(batches)):
            batch = batches[k]
            lengths.append(batch["v"].shape[1])
            numbers = batch["v"][batch["medium"], 0, 0]
            assert (batch["picture"][batch["medium"]] == np.where(numbers < 100, numbers, numbers - 100 + 11)).all()
            assert (numbers < 100).all() or (numbers >= 100).all() and lengths[-1] == 4
            rows += [(int(number), words.decode(row)) for number, row in zip(numbers, batch["y"], strict=True)]
        return lengths, rows

    batches = CaptionBatches(sources, words, config, seed=4)
    lengths, rows = epoch_of(batches)
    expected = [(m.number, caption) for m in clips for caption in m.captions]
    expected += [(100 + m.number, caption) for m in pictures for caption in m.captions]
    assert sorted(rows) == sorted(expected) and len(lengths) == 6 + 20
    assert lengths.count(6) == (6 if share == 0 else 3) and lengths.count(9) == (3 if length == 9 else 0)
    assert 6 in lengths[13:] and 6 in lengths[:13]  # all over the epoch
    for seed in range(8):
        first, second = (CaptionBatches(sources, words, config, seed)[k]["v"].shape[1] for k in range(2))
        assert first != second  # Keras takes the shapes from these
    batches.on_epoch_end()
    second = epoch_of(batches)
    assert sorted(second[1]) == sorted(expected) and second[1] != rows
    assert epoch_of(CaptionBatches(sources, words, config, seed=4, epoch=1)) == second  # going on after a kill


@pytest.mark.parametrize(
    ("settings", "shares", "shuffled", "in_order"),
    [
        ([], (), "254a2056cd35", "e85a00239a39"),
        (["training.captions_per_medium=2"], (0.4,), "d277663b3ca4", "d7252508fc29"),
        (
            ["training.captions_per_medium=2", "model.contrast=0.3", "model.distillation=0.5"],
            (0.4, 0.2),
            "ef22c6df5016",
            "c393a617e22e",
        ),
    ],
)
def test_batches_are_those_that_shipped_runs_were_trained_on(settings, shares, shuffled, in_order):
    """Digests of two epochs, recorded before a training could have more than one source."""
    config = cfg.MSR_VTT.replace(["training.batch_size=5", *settings])
    media = [_Medium(k, [caption, "the cat", "a dog sits a dog " * (k % 3)]) for k, caption in enumerate(CAPTIONS * 6)]
    readings = tuple(
        (share, lambda medium, rng, n=n: np.full((n, 3), rng.random() + medium.number))
        for share, n in zip(shares, (9, 1), strict=False)
    )
    training, validation = Source(media, _Store(), readings), Source(media, _Store())
    for source, seed, expected in ((training, 4, shuffled), (validation, None, in_order)):
        batches = CaptionBatches([source], vocabulary(), config, seed)
        found = hashlib.sha256()
        for _ in range(2):
            for k in range(len(batches)):
                for name, array in sorted(batches[k].items()):
                    found.update(f"{name}{array.dtype}{array.shape}".encode() + array.tobytes())
            batches.on_epoch_end()
        assert found.hexdigest()[:12] == expected


def test_training_batches_hold_no_copy_of_the_set(tmp_path):
    """An epoch over 52 MB of descriptors allocates what a few of its batches of 5 media take."""
    config, media = picture_config(tmp_path), write_pictures(tmp_path)
    store = DescriptorStore(config, tmp_path)
    extract(store, media[:1], Extractor())
    many = [dataclasses.replace(media[0], id=f"k{k}") for k in range(200)]
    for medium in many:
        os.link(store.path("m0"), store.path(medium.id))
    each = store.load(media[0]).nbytes
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, batch_size=5))
    batches = CaptionBatches([Source(many, store)], Vocabulary.from_captions(["a"], 1), config)
    batches[0]
    tracemalloc.start()
    try:
        for k in range(len(batches)):
            batches[k]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(store.load(many[0]), np.memmap) and peak < 5 * 5 * 2 * each < 200 * each
