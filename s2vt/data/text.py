"""Captions as lists of words, and words as indices into a vocabulary.

Letters: T words of a sentence, V words of the vocabulary.
"""

import collections
import difflib
import re
from dataclasses import dataclass

import numpy as np

from s2vt.data.files import read_json, write_json
from s2vt.errors import UserError

END = 0  # index of ".", which ends a sentence and pads it
END_WORD = "."

_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")


def tokenize(sentence):
    """Words of a sentence in lower case, without punctuation.

    Example:
        >>> tokenize("A man's T-shirt,  two  dogs.")
        ['a', "man's", 't-shirt', 'two', 'dogs']
    """
    return _WORD.findall(sentence.lower())


@dataclass(frozen=True)
class Sentence:
    """A sentence as words, and as what a captioner says one after the other: its words, or pieces of them.

    Attributes:
        words: the T words.
        indices: of what is said, in the captioner's vocabulary, T or more.
        starts: the position among `indices` at which each word starts, (T,), the first 0.
    """

    words: tuple[str, ...]
    indices: list[int]
    starts: tuple[int, ...]


class Vocabulary:
    """The words that a captioner knows: END first, then by falling frequency, ties alphabetically.

    Attributes:
        words: list of V words, words[END] == ".".
        counts: occurrences of each in the training captions, (V,); END counts once per caption.
        index: {word: its index}.
        whole_words: True: each index is a word, not a piece of one.
    Raises:
        ValueError: if the words do not start with ".", repeat, or are not as many as the counts.
    """

    whole_words = True

    def __init__(self, words, counts):
        self.words, self.counts = list(words), np.asarray(counts, np.int64)
        self.index = {str(word): i for i, word in enumerate(self.words)}
        if self.words[:1] != [END_WORD] or [*self.index] != self.words or self.counts.shape != (len(self.words),):
            raise ValueError("a vocabulary starts with '.' and holds every word once, with its count")

    @classmethod
    def from_captions(cls, captions, min_count):
        """The vocabulary of the words that occur at least `min_count` times in captions (strings).

        Example:
            >>> Vocabulary.from_captions(["a dog", "a cat", "a dog"], min_count=2).words
            ['.', 'a', 'dog']
        """
        counter = collections.Counter()
        total = 0
        for caption in captions:
            counter.update(tokenize(caption))
            total += 1
        kept = sorted(((n, w) for w, n in counter.items() if n >= min_count), key=lambda item: (-item[0], item[1]))
        return cls([END_WORD, *(w for _, w in kept)], [total, *(n for n, _ in kept)])

    def __len__(self):
        return len(self.words)

    def log_frequencies(self):
        """Log word frequencies, shifted to a maximum of 0, (V,): initial value of b_o."""
        logs = np.log(np.maximum(self.counts, 1)).astype(np.float32)
        return logs - logs.max()

    def known(self, caption):
        """Indices of a training caption's words; words outside the vocabulary are left out, as in NeuralTalk."""
        return [self.index[word] for word in tokenize(caption) if word in self.index]

    def encode(self, sentence, max_words):
        """Word indices of a query sentence, (T,) int32, without END.

        Args:
            max_words: steps of the decoder. END may stay beyond them, as in captions of the model's own.
        Raises:
            UserError: if the sentence is empty, longer than the decoder, or has words outside the vocabulary (names
                each with the nearest known words).
        """
        tokens = tokenize(sentence)
        if not tokens:
            raise UserError('the sentence has no words; expected something like --sentence "a red circle moves left"')
        if len(tokens) > max_words:
            raise UserError(f"the sentence has {len(tokens)} words; the decoder takes at most {max_words}; shorten it")
        unknown = [word for word in dict.fromkeys(tokens) if word not in self.index]
        if unknown:
            named = []
            for word in unknown:
                near = difflib.get_close_matches(word, self.words[1:], 3, cutoff=0.5)
                named.append(f"{word!r}" + (f" (nearest: {', '.join(near)})" if near else ""))
            raise UserError(
                f"not in the vocabulary of {len(self) - 1} words: {'; '.join(named)}; use words of vocabulary.json"
            )
        return np.array([self.index[word] for word in tokens], np.int32)

    def read(self, sentence, max_words):
        """The Sentence of a query sentence. Args, Raises: as `encode`."""
        return self.said(self.encode(sentence, max_words).tolist())

    def said(self, indices):
        """The Sentence of a captioner's own caption, word indices without END."""
        return Sentence(tuple(self.words[i] for i in indices), list(indices), tuple(range(len(indices))))

    def decode(self, indices):
        """The sentence of word indices, up to the first END."""
        words = []
        for i in indices:
            if i == END:
                break
            words.append(self.words[int(i)])
        return " ".join(words)

    def save(self, path):
        """Writes `vocabulary.json`."""
        write_json(path, {"words": self.words, "counts": self.counts.tolist()})

    @classmethod
    def load(cls, path):
        """Reads `vocabulary.json`.

        Raises:
            UserError: if the file is missing or malformed.
        """
        values = read_json(path)
        try:
            return cls(values["words"], values["counts"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{path} is not a vocabulary ({error}); train the run again") from None
