"""From descriptors to sentences: greedy decoding (Eq. 10) and beam search.

Letters: B batch, N descriptors, T words, K beam width, V vocabulary.

A captioner is any object with `encode(v (B, N, D)) -> state` and `step(state, word) -> logits (B, V), state`, where
word is y_{t-1}, (B,), or None for y_0, and the leaves of a state have leading dimension B.
"""

import keras
import numpy as np
from keras import ops

from s2vt.data.text import END


def greedy(captioner, v, max_words=25):
    """Greedy decoding: the most probable word at every step, given the words chosen before (Eq. 10).

        y_t = argmax_w P(y_t = w | y_<t, v_1..v_N)

    Args:
        captioner: see the module's docstring.
        v: descriptors, (B, N, D).
        max_words: the largest number of steps, END's included.
    Returns:
        B lists of word indices, without END.
    """
    state = captioner.encode(v)
    word, sentences = None, np.full((len(v), max_words), END)
    ended = np.zeros(len(v), bool)
    for t in range(max_words):
        logits, state = captioner.step(state, word)
        word = ops.convert_to_numpy(ops.argmax(logits, axis=-1)).astype("int32")
        word[ended] = END
        sentences[:, t] = word
        ended |= word == END
        if ended.all():
            break
    return _until_end(sentences)


def beam(captioner, v, width, max_words=25):
    """Beam search for the sentence with the highest mean log-probability per word.

        score(y) = 1/n sum_t log P(y_t | y_<t, v_1..v_N),    n words, END included

    An ended sentence stays among the K best with its score until a longer one exceeds it. The search stops when all K
    sentences of every row have ended. With width 1 the result is that of `greedy`.

    Args:
        captioner: see the module's docstring.
        v: descriptors, (B, N, D).
        width: K, the number of sentences kept at every step, 1..V.
        max_words: the largest number of steps, END's included.
    Returns:
        B lists of word indices, without END.
    Raises:
        ValueError: if width is not in 1..V.
    """
    B, K = len(v), width
    logits, state = captioner.step(captioner.encode(v), None)
    if not 1 <= K <= logits.shape[-1]:
        raise ValueError(f"width must be between 1 and the vocabulary's {logits.shape[-1]} words, received {width}")

    log_p, word = _top_words(logits, K)  # (B, K): the first step's K best words start the K sentences
    sentences = np.full((B, K, max_words), END)
    sentences[..., 0] = word
    length = np.ones((B, K), int)
    state = _take(state, np.repeat(np.arange(B), K))  # leaves (B, ...) -> (B K, ...)

    for t in range(1, max_words):
        ended = word == END
        if ended.all():
            break
        logits, state = captioner.step(state, word.ravel())
        step_log_p, candidate = (a.reshape(B, K, K) for a in _top_words(logits, K))
        # The only continuation of an ended sentence is itself, at no cost.
        step_log_p[ended] = np.where(np.arange(K) == 0, 0, -np.inf)
        candidate[ended] = END
        candidate_log_p = log_p[..., None] + step_log_p  # (B, K sentences, K continuations)
        candidate_length = np.broadcast_to((length + ~ended)[..., None], (B, K, K))

        score = (candidate_log_p / candidate_length).reshape(B, K * K)
        best = np.argsort(-score, axis=-1, kind="stable")[:, :K]  # (B, K)
        log_p, length, word = (
            np.take_along_axis(a.reshape(B, K * K), best, axis=-1)
            for a in (candidate_log_p, candidate_length, candidate)
        )
        parent = best // K
        sentences = np.take_along_axis(sentences, parent[..., None], axis=1)
        sentences[..., t] = word
        state = _take(state, (np.arange(B)[:, None] * K + parent).ravel())

    best = np.argmax(log_p / length, axis=-1)
    return _until_end(sentences[np.arange(B), best])


def caption_media(captioner, vocabulary, media, store, config, width=1):
    """Captions of media, in batches: {id: sentence}. Arguments as `caption_batches`."""
    found = caption_batches(captioner, vocabulary, store, config, width, batches_of(media, config, width))
    return {medium_id: sentence for of_batch in found for medium_id, sentence in of_batch.items()}


def batches_of(media, config, width=1):
    """The media in batches, lists of at most `training.batch_size` sentences under way."""
    size = max(1, config.training.batch_size // width)
    return [media[start : start + size] for start in range(0, len(media), size)]


def caption_batches(captioner, vocabulary, store, config, width, batches):
    """Yields the captions of each batch of media, {id: sentence}.

    Args:
        vocabulary, config: of the captioner's run.   store: DescriptorStore of the media.
        width: the beam's width; 1: greedy.
        batches: iterable of lists of Medium.
    """
    for batch in batches:
        v = np.stack([store.v(medium) for medium in batch]).astype(np.float32)
        if width == 1:
            found = greedy(captioner, v, config.text.max_words)
        else:
            found = beam(captioner, v, width, config.text.max_words)
        yield {medium.id: vocabulary.decode(words) for medium, words in zip(batch, found, strict=True)}


def _top_words(logits, k):
    """The k largest log-probabilities of each row and their words: (R, V) -> (R, k) float64, (R, k) int32."""
    # Words are ranked by their logits, because rounding in log-softmax can make two of them equal.
    value, word = ops.top_k(logits, k)
    log_p = value - ops.logsumexp(logits, axis=-1, keepdims=True)
    return ops.convert_to_numpy(log_p).astype("float64"), ops.convert_to_numpy(word).astype("int32")


def _take(state, rows):
    """Rows of every leaf of a state."""
    return keras.tree.map_structure(lambda leaf: ops.take(leaf, rows, axis=0), state)


def _until_end(sentences):
    """(B, T) word indices -> B lists, each up to its first END."""
    return [[int(w) for w in sentence[: np.append(sentence, END).tolist().index(END)]] for sentence in sentences]
