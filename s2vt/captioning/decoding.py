"""From descriptors to sentences: greedy decoding (Eq. 10) and beam search.

Letters: B batch, N descriptors, T words, K beam width, V vocabulary.

A captioner is anything with `encode(v (B, N, D)) -> state` and `step(state, word) -> logits (B, V), state`, where word
is y_{t-1}, (B,), or None for y_0, and the leaves of a state have leading dimension B.
"""

import keras
import numpy as np
from keras import ops

from s2vt.data.text import END


def greedy(captioner, v, max_words=25):
    """The likeliest word at every step, given the words chosen before (Eq. 10).

        y_t = argmax_w P(y_t = w | y_<t, v_1..v_N)

    Args:
        captioner: see the top of the module.
        v: descriptors, (B, N, D).
        max_words: the most steps to decode, END's own step among them.
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
    """The best sentence that beam search finds, by mean log-probability per word.

        score(y) = 1/n sum_t log P(y_t | y_<t, v_1..v_N),    n words, END included

    An ended sentence keeps its score and its place among the K, as long as no growing one overtakes it; the search
    stops when all K of every row have ended. With width 1 it is `greedy`.

    Args:
        captioner: see the top of the module.
        v: descriptors, (B, N, D).
        width: K, sentences kept at every step, 1..V.
        max_words: the most steps to decode, END's own step among them.
    Returns:
        B lists of word indices, without END.
    Raises:
        ValueError: if width is not in 1..V.
    """
    B, K = len(v), width
    logits, state = captioner.step(captioner.encode(v), None)
    if not 1 <= K <= logits.shape[-1]:
        raise ValueError(f"width must be between 1 and the vocabulary's {logits.shape[-1]} words, received {width}")

    log_p, word = _likeliest(logits, K)  # (B, K): the first step's K best words start the K sentences
    sentences = np.full((B, K, max_words), END)
    sentences[..., 0] = word
    length = np.ones((B, K), int)
    state = _take(state, np.repeat(np.arange(B), K))  # leaves (B, ...) -> (B K, ...)

    for t in range(1, max_words):
        ended = word == END
        if ended.all():
            break
        logits, state = captioner.step(state, word.ravel())
        step_log_p, candidate = (a.reshape(B, K, K) for a in _likeliest(logits, K))
        # An ended sentence has one continuation: itself.
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


def caption_media(captioner, vocabulary, media, store, config, width=1, progress=iter):
    """Captions of media, in batches.

    Args:
        vocabulary, store, config: the run's words, the media's DescriptorStore, and its Config.
        width: the beam's width; 1 is greedy.
        progress: wraps the batches (tqdm).
    Returns:
        {id: sentence}
    """
    sentences = {}
    size = max(1, config.training.batch_size // width)
    for start in progress(range(0, len(media), size)):
        batch = media[start : start + size]
        v = np.stack([store.v(medium) for medium in batch]).astype(np.float32)
        if width == 1:
            found = greedy(captioner, v, config.text.max_words)
        else:
            found = beam(captioner, v, width, config.text.max_words)
        sentences.update({medium.id: vocabulary.decode(words) for medium, words in zip(batch, found, strict=True)})
    return sentences


def _likeliest(logits, k):
    """The k largest log-probabilities of each row and their words: (R, V) -> (R, k) float64, (R, k) int32."""
    # The order is that of the logits themselves: rounding in log-softmax could make two words equal.
    value, word = ops.top_k(logits, k)
    log_p = value - ops.logsumexp(logits, axis=-1, keepdims=True)
    return ops.convert_to_numpy(log_p).astype("float64"), ops.convert_to_numpy(word).astype("int32")


def _take(state, rows):
    """Rows of every leaf of a state."""
    return keras.tree.map_structure(lambda leaf: ops.take(leaf, rows, axis=0), state)


def _until_end(sentences):
    """(B, T) word indices -> B lists, each up to its first END."""
    return [[int(w) for w in sentence[: np.append(sentence, END).tolist().index(END)]] for sentence in sentences]
