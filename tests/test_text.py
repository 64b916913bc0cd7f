"""Sentences to word indices and back."""

import numpy as np
import pytest

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


def test_a_sentence_is_at_most_as_long_as_the_models_own_captions():
    assert len(vocabulary().encode("a " * 25, 25)) == 25
    with pytest.raises(UserError, match="26 words.* at most 25"):
        vocabulary().encode("a " * 26, 25)


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
