"""Words in, numbers out, and back."""

import numpy as np
import pytest

from s2vt.data.batches import CaptionBatches, caption_matrix
from s2vt.data.text import END, Vocabulary, tokenize
from s2vt.errors import UserError

CAPTIONS = ["a dog runs", "A dog, a cat!", "the cat sits", "a dog sleeps"]


def vocabulary(min_count=1):
    return Vocabulary.from_captions(CAPTIONS, min_count)


def test_frequent_words_come_first_and_ties_alphabetically():
    words = vocabulary(min_count=2)
    assert words.words == [".", "a", "dog", "cat"]
    assert words.counts.tolist() == [4, 4, 3, 2]


def test_log_frequencies_have_maximum_zero():
    np.testing.assert_allclose(
        vocabulary(2).log_frequencies(), np.log([1, 1, 0.75, 0.5]).astype("float32"), strict=True, rtol=1e-6
    )


def test_rare_words_are_left_out_of_training_captions():
    assert vocabulary(2).known("The dog sits.") == [2]


@pytest.mark.parametrize("text", ["a  dog", "A dog.", " a, dog ", "a\tdog\n", "a dog\u2028"])
def test_spaces_commas_and_capitals_do_not_matter(text):
    assert vocabulary().encode(text, 25).tolist() == vocabulary().encode("a dog", 25).tolist()


def test_a_sentence_comes_back():
    words = vocabulary()
    assert words.decode([*words.encode("a cat sits", 25), END, 3]) == "a cat sits"


def test_other_alphabets_and_emoji_are_words_or_nothing():
    assert tokenize("Ein Käse-Brot 🙂 naïve قطة") == ["ein", "käse-brot", "naïve", "قطة"]


@pytest.mark.parametrize("sentence", ["", "  ", "...", "🙂"])
def test_an_empty_sentence_is_refused(sentence):
    with pytest.raises(UserError, match="no words"):
        vocabulary().encode(sentence, 25)


def test_an_unknown_word_is_named_with_the_nearest():
    with pytest.raises(UserError, match=r"'dogg' \(nearest: dog\).*'zebra'"):
        vocabulary().encode("a dogg and a zebra and a dogg", 25)


def test_the_decoder_has_room_for_its_end():
    assert len(vocabulary().encode("a " * 24, 25)) == 24
    with pytest.raises(UserError, match="25 words; the decoder takes at most 24"):
        vocabulary().encode("a " * 25, 25)


def test_a_vocabulary_survives_its_file(tmp_path):
    vocabulary().save(tmp_path / "vocabulary.json")
    read = Vocabulary.load(tmp_path / "vocabulary.json")
    assert read.words == vocabulary().words and read.counts.tolist() == vocabulary().counts.tolist()


@pytest.mark.parametrize(
    "text", ['{"words": ["a"], "counts": [1]}', '{"words": [".", "a", "a"], "counts": [1, 1, 1]}', "[]"]
)
def test_a_damaged_vocabulary_is_refused(tmp_path, text):
    (tmp_path / "vocabulary.json").write_text(text)
    with pytest.raises(UserError, match="is not a vocabulary"):
        Vocabulary.load(tmp_path / "vocabulary.json")


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
    import dataclasses

    import cfg

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

    batches = CaptionBatches(media, _Store(), words, config, seed=4)
    first = epoch_of(batches)
    expected = [(k, " ".join(tokenize(c))) for k, m in enumerate(media[:4]) for c in m.captions]
    assert sorted(first) == sorted(expected) and first != expected
    batches.on_epoch_end()
    second = epoch_of(batches)
    assert sorted(second) == sorted(expected) and second != first
    assert epoch_of(CaptionBatches(media, _Store(), words, config, seed=4, epoch=1)) == second  # going on after a kill
    assert epoch_of(CaptionBatches(media, _Store(), words, config, shuffle=False)) == expected


def batches_of(captions, max_words=25):
    """Batches of two media, each with one of the captions (lists of words)."""
    import dataclasses

    import cfg

    training, text = dataclasses.replace(cfg.MSR_VTT.training, batch_size=2), cfg.TextConfig(max_words=max_words)
    config = dataclasses.replace(cfg.MSR_VTT, training=training, text=text)
    media = [_Medium(k, [caption]) for k, caption in enumerate(captions)]
    return CaptionBatches(media, _Store(), vocabulary(), config, shuffle=False)


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
    import dataclasses

    import cfg

    training = dataclasses.replace(cfg.MSR_VTT.training, batch_size=2, captions_per_medium=2)
    config = dataclasses.replace(cfg.MSR_VTT, training=training)
    media = [_Medium(k, ["a dog runs", "the cat"]) for k in range(40)]
    drawn = []

    def reading(length):
        def read(medium, rng):
            drawn.append((medium.number, rng.random()))
            return np.full((length, 3), -medium.number)

        return read

    readings = list(zip(shares, map(reading, (9, 1)), strict=True))
    batches = CaptionBatches(media, _Store(), vocabulary(), config, seed=4, readings=readings)
    lengths = []
    for k in range(len(batches)):
        inputs = batches[k]
        lengths.append(inputs["v"].shape[1])
        number = abs(inputs["v"][inputs["medium"], 0, 0])
        assert len(inputs["y"]) == 2 and set(number) == {number[0]} and inputs["v"].dtype == np.float32
    assert set(lengths) <= {9, 6, 1} and (lengths.count(9), lengths.count(1)) == expected
    assert len(set(lengths)) == 1 or lengths[0] != lengths[1]  # Keras takes the shapes from these
    assert len(set(drawn)) == len(drawn) == sum(expected)
    again = CaptionBatches(media, _Store(), vocabulary(), config, seed=4, readings=readings)
    assert [again[k]["v"].shape[1] for k in range(len(again))] == lengths  # the same after a kill
