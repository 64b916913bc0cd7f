"""Captions as lists of words, and words as numbers. T words, V vocabulary."""

import collections
import difflib
import re

import numpy as np

from s2vt.data.files import read_json, write_json
from s2vt.errors import UserError

END = 0  # index of "." : ends a sentence and pads it
END_WORD = "."

_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")


def tokenize(sentence):
    """Words of a sentence: lower case, punctuation left out.

    Example:
        >>> tokenize("A man's T-shirt,  two  dogs.")
        ['a', "man's", 't-shirt', 'two', 'dogs']
    """
    return _WORD.findall(sentence.lower())


class Vocabulary:
    """The words the captioner knows, END first, then by falling frequency.

    Attributes:
        words: list of V words, words[END] == ".".
        counts: how often each occurs in the training captions, (V,); END once a caption.
    """

    def __init__(self, words, counts):
        self.words, self.counts = list(words), np.asarray(counts, np.int64)
        self.index = {str(word): i for i, word in enumerate(self.words)}
        if self.words[:1] != [END_WORD] or [*self.index] != self.words or self.counts.shape != (len(self.words),):
            raise ValueError("a vocabulary starts with '.' and holds every word once, with its count")

    @classmethod
    def from_captions(cls, captions, min_count):
        """Counts the words of captions (strings) and keeps those that occur at least `min_count` times.

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
        """Log word frequencies with maximum 0, (V,): where b_o starts."""
        logs = np.log(np.maximum(self.counts, 1)).astype(np.float32)
        return logs - logs.max()

    def known(self, caption):
        """Indices of a training caption's words; rare words are left out, as NeuralTalk does."""
        return [self.index[word] for word in tokenize(caption) if word in self.index]

    def encode(self, sentence, max_words):
        """Word indices of a query sentence, (T,), without END.

        Raises:
            UserError: if it is empty, longer than the decoder (max_words with END), or holds unknown words.
        """
        tokens = tokenize(sentence)
        if not tokens:
            raise UserError('the sentence has no words; expected something like --sentence "a red circle moves left"')
        if len(tokens) > max_words - 1:
            raise UserError(
                f"the sentence has {len(tokens)} words; the decoder takes at most {max_words - 1}; shorten it"
            )
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

    def decode(self, indices):
        """The sentence of word indices, up to END."""
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
        """Reads `vocabulary.json`."""
        values = read_json(path)
        try:
            return cls(values["words"], values["counts"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{path} is not a vocabulary ({error}); make it again with --train") from None
