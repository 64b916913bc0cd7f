"""A captioner of transformers as a captioner of a user's own (`s2vt.explaining.captioners`).

Letters: R rows of a batch, G*G patches, C class tokens, L patches that are read together, D channels of a token, K
words, T words and the one after them, V vocabulary, S side of the input.

A descriptor is a patch and, behind it, the picture's class tokens, ((1 + C) D,), so that the rows of a picture are all
that the captioner needs to read it as the model does.
"""

import math

import numpy as np
from PIL import Image

from s2vt.data.text import END
from s2vt.errors import UserError
from s2vt.hugging_face.families import giving
from s2vt.hugging_face.pieces import Pieces
from s2vt.hugging_face.placing import geometry_of, grid_of

# Those that take logits and no gradients, and whose values of a word are the sum over its pieces.
KINDS = ("nll", "kl", "likelihood", "logit", "banzhaf", "leave_one_out", "leave_one_out_kl")
SENSES = ("decoder", "encoder")


class Adapter:
    """A captioner of transformers for `s2vt.explain`; `s2vt.hugging_face.captioner` makes it.

    Args:
        family: the model's `families.Family`.   image_processor, tokenizer: of transformers.
        alone, prompt, max_words: as `s2vt.hugging_face.captioner`.
    Attributes:
        vocabulary: the `pieces.Pieces`; `words` are its pieces.
        step: the Decoder.
        kinds: the kinds of map that it can give.
        grid: the Grid of its patches.
        num_class_tokens: C.
    Raises:
        UserError: if the model or its processor cannot be explained; a trial picture is read to know.
    """

    kinds = KINDS

    def __init__(self, family, image_processor, tokenizer, alone="decoder", prompt="", max_words=64):
        if alone not in SENSES:
            raise UserError(f"alone={alone!r}: expected one of {', '.join(map(repr, SENSES))}")
        self.family, self.image_processor, self.alone, self.name = family, image_processor, alone, family.name
        self.vocabulary = Pieces(tokenizer, family.end, prompt)
        self.words = self.vocabulary.words
        self.step = Decoder(family, self.vocabulary)
        positions = getattr(family.text_config, "max_position_embeddings", None) or math.inf
        self.max_words = int(min(max_words, positions - len(self.step.before)))
        self.grid, self.num_class_tokens = self._trial()

    def descriptors(self, picture):
        """(H, W, 3) uint8 -> (G*G, (1 + C) D), the patches row by row, each with the class tokens behind it."""
        return self._rows(self._tokens(self._pixels(picture))[0])

    def geometry(self, width, height):
        """Geometry of a source picture."""
        return geometry_of(self.image_processor, width, height, self.grid)

    def encode(self, v):
        """v (R, L, (1 + C) D) -> state: the image tokens that the decoder reads, and the ids so far, none.

        Several patches are read with the class tokens, as the model reads a picture; one patch alone by the decoder
        without them, by the encoder with them.
        """
        v, C = np.asarray(v, np.float32), self.num_class_tokens
        D = v.shape[-1] // (1 + C)
        tokens = v[..., :D]
        if self.alone == "encoder" or v.shape[1] > 1:
            tokens = np.concatenate([v[:, 0, D:].reshape(len(v), C, D), tokens], axis=1)
        if self.alone == "encoder":
            tokens = self._encoded(tokens)
        return tokens, np.empty((len(v), 0), np.int64)

    def _encoded(self, embeddings):
        """Image tokens of patch embeddings, (R, L, D) -> (R, L, D')."""
        import torch

        family = self.family
        with torch.inference_mode(), giving(family.embeddings, tensor_of(embeddings, family.model)):
            return array_of(family.see(family.no_pixels(len(embeddings))))

    def _pixels(self, picture):
        """What the model reads of a picture, (1, 3, S, S)."""
        pixels = self.image_processor(images=Image.fromarray(picture), return_tensors="pt")["pixel_values"]
        return pixels.to(self.family.model.device, self.family.model.dtype)

    def _tokens(self, pixels):
        """Tokens of pictures, (R, C + G*G, D), of which patches alone are read: encoder outputs, or embeddings."""
        import torch

        with torch.inference_mode():
            tokens = self.family.see(pixels) if self.alone == "decoder" else self.family.embeddings(pixels)
        if not torch.is_tensor(tokens) or tokens.ndim != 3:
            raise UserError(f"{self.name}: its encoder has no sequence of patch embeddings; choose alone='decoder'")
        return array_of(tokens)

    def _rows(self, tokens):
        """Descriptors (G*G, (1 + C) D) of the tokens (C + G*G, D) of one picture."""
        special, patches = np.split(tokens, [self.num_class_tokens])
        return np.concatenate([patches, np.tile(special.reshape(-1), (len(patches), 1))], axis=1)

    def _trial(self):
        """(Grid, C), from a picture that is black."""
        pixels = self._pixels(np.zeros((64, 64, 3), np.uint8))
        if pixels.ndim != 4 or pixels.shape[2] != pixels.shape[3]:
            raise UserError(f"{self.name} reads pixels {tuple(pixels.shape[1:])} of a picture; expected (3, S, S)")
        (tokens,) = self._tokens(pixels)
        G = math.isqrt(len(tokens))
        self.num_class_tokens = len(tokens) - G * G
        try:
            state = self.encode(self._rows(tokens)[None, :1])
        except (RuntimeError, ValueError, IndexError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{self.name} cannot read one patch with alone={self.alone!r}: {reason}") from None
        self.step(state, None)
        return grid_of(G * G, pixels.shape[-1]), self.num_class_tokens


class Decoder:
    """`step` of an Adapter: the logits of the next word, or with `along` of all words of a sentence in one pass.

    Args:
        family: a `families.Family`.   vocabulary: the `pieces.Pieces`.
    Attributes:
        before: ids before the first word of a sentence.
    """

    def __init__(self, family, vocabulary):
        self.family, self.vocabulary = family, vocabulary
        self.before = [*family.start, *vocabulary.prompt_ids]

    def __call__(self, state, word):
        """state, word (1,) or (R,) or None -> logits (R, V), state."""
        tokens, ids = (np.asarray(each) for each in state)
        if word is not None:
            swapped = [self.vocabulary.swapped(int(w)) for w in np.asarray(word)]
            ids = np.concatenate([ids, np.broadcast_to(np.array(swapped)[:, None], (len(ids), 1))], axis=1)
        return self._logits(tokens, ids, 1)[:, 0], (tokens, ids)

    def along(self, state, words):
        """state, words (K,) -> logits (R, 1 + K, V) of the word after each of 0..K first words."""
        tokens, _ = state
        ids = np.array([self.vocabulary.swapped(int(w)) for w in words], np.int64)
        return self._logits(np.asarray(tokens), np.broadcast_to(ids, (len(tokens), len(ids))), 1 + len(ids))

    def _logits(self, tokens, ids, last):
        """Logits after each of the `last` last ids, the end's in the place of index END: (R, last, V) float32."""
        import torch

        model, rows = self.family.model, len(ids)
        ids = np.concatenate([np.broadcast_to(self.before, (rows, len(self.before))), ids], axis=1).astype(np.int64)
        with torch.inference_mode():
            logits = array_of(self.family.say(tensor_of(tokens, model), torch.from_numpy(ids).to(model.device), last))
        end = self.vocabulary.end
        logits[..., [END, end]] = logits[..., [end, END]]
        return logits


def tensor_of(values, model):
    """An array as a tensor of a model's kind, on its device."""
    import torch

    return torch.from_numpy(np.array(values, np.float32)).to(model.device, model.dtype)


def array_of(tensor):
    """A tensor as an array, float32."""
    return tensor.float().cpu().numpy()
