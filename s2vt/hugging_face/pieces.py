"""Words as the pieces in which a tokenizer of transformers says them.

Letters: T words, V pieces of the vocabulary.
"""

from s2vt.data.text import END, Sentence, tokenize
from s2vt.errors import UserError


class Pieces:
    """The vocabulary of a tokenizer, as `s2vt.data.text.Vocabulary`, but of pieces of words.

    Indices are the tokenizer's ids, but for two that change places: index 0 ends a sentence, as everywhere here.

    Args:
        tokenizer: of transformers, with a fast tokenizer, which says where in a text each piece lies.
        end: the id that ends a sentence.
        prompt: text before each sentence.
    Attributes:
        words: the V pieces.
        prompt_ids: ids of the prompt.
    Raises:
        UserError: if the tokenizer does not say where pieces lie.
    """

    whole_words = False

    def __init__(self, tokenizer, end, prompt=""):
        if not getattr(tokenizer, "is_fast", False):
            raise UserError(
                f"{type(tokenizer).__name__} does not say where in a text its tokens lie; expected a fast tokenizer "
                "(AutoTokenizer gives one where there is one)"
            )
        self.tokenizer, self.end, self.prompt = tokenizer, end, prompt
        pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        self.words = [pieces[self.swapped(i)] if self.swapped(i) < len(pieces) else "" for i in range(len(pieces))]
        self.prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"] if prompt else []

    def swapped(self, index):
        """The id of an index, or the index of an id."""
        return {END: self.end, self.end: END}.get(index, index)

    def encode(self, sentence, max_words):
        """Indices of the pieces of a query sentence. Args, Raises: as `read`."""
        return self.read(sentence, max_words).indices

    def read(self, sentence, max_words):
        """The Sentence of a query sentence: its words, in lower case and without punctuation, and their pieces.

        Args:
            sentence: text.   max_words: the most pieces.
        Raises:
            UserError: if it has no words or too many pieces, or a word that the tokenizer does not know.
        """
        words = tokenize(sentence)
        if not words:
            raise UserError('the sentence has no words; expected something like "a dog runs on the beach"')
        found = self._pieces(words)
        if len(found) > max_words:
            raise UserError(
                f"the sentence has {len(found)} tokens; the captioner takes at most {max_words}; shorten it, or give "
                "captioner(..., max_words=) if the model can say more"
            )
        positions = [word for _, word in found]
        unknown = [word for t, word in enumerate(words) if t not in positions]
        unknown += [words[t] for i, t in found if i == self.tokenizer.unk_token_id]
        if unknown:
            raise UserError(f"the tokenizer has no tokens for {', '.join(map(repr, unknown))}; use other words")
        starts = tuple(positions.index(t) for t in range(len(words)))
        return Sentence(tuple(words), [self.swapped(i) for i, _ in found], starts)

    def said(self, indices):
        """The Sentence of a caption, indices of pieces: its words in lower case without punctuation, in pieces anew."""
        text = self.tokenizer.decode([self.swapped(int(i)) for i in indices], skip_special_tokens=True)
        return self.read(text, len(text) + 1) if tokenize(text) else Sentence((), [], ())

    def _pieces(self, words):
        """The pieces of words after the prompt, (id, position of its word) each."""
        text, last = self.prompt + " " * bool(self.prompt), []
        for word in words:
            text += word + " "
            last.append(len(text) - 1)  # characters of this word end here
        encoded = self.tokenizer(text.rstrip(), add_special_tokens=False, return_offsets_mapping=True)
        first = len(self.prompt)
        return [
            (i, next(t for t, end in enumerate(last) if stop <= end))
            for i, (start, stop) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
            if stop > max(start, first)
        ]
