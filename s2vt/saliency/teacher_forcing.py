"""Teacher forcing on many sentences and many descriptors at once, in bounded memory.

Letters: N descriptors, R of them in a chunk, L descriptors that are read as one sequence, D channels, T words, V
vocabulary, S sentences, Z numbers in a state, Z_1 of them in vectors, leaves of shape (R, n).

The captioner is two callables, so that any encoder-decoder can be explained:

    encode(v (R, L, D)) -> state        the leaves of a state have leading dimension R
    step(state, word) -> logits (R, V), state        word y_{t-1}: (1,), the same for every row; None for y_0

`gradients` also calls `step` with a word for each row, (R,).
A captioner that reads all words of a sentence in one pass, such as a transformer, may give `step` a method for it,
which is then called in the place of `step` itself:

    step.along(state, words (K,)) -> logits (R, 1 + K, V)        of the word after each of 0..K first words

All sentences about one medium are decoded together: equal prefixes give equal states, so the sentences form a tree of
which each distinct prefix is stepped once.
"""

import collections
import math

import keras
import numpy as np
from keras import ops

MAX_ROWS = 26 * (64 + 1)  # R of a chunk: the paper's r m + m (Eq. 14); larger chunks are no faster
MEMORY_BUDGET = 384 * 2**20  # bytes of a chunk


def teacher_forcing(encode, step, v, sentences, memory_budget=MEMORY_BUDGET):
    """The logits of every word of every sentence, from each descriptor (or group of descriptors) read alone.

    Chunks of R rows are read from the zero state, then decoded along the prefix tree of the sentences: one step for
    each distinct prefix, or with `along` one pass for each sentence. Only the current step's logits of one chunk exist,
    or the current sentence's. R is at most `MAX_ROWS` and what the budget holds of rows of `bytes_per_row` (or
    `bytes_per_row_along`), so memory does not grow with N.

    Args:
        encode, step: the captioner, see the top of the module.
        v: descriptors, (N, D), or N groups of L descriptors, (N, L, D), any float type; anything with `shape` that is
            read by slices, so that a memory map is read chunk by chunk.
        sentences: S of them, each word indices (T,).
        memory_budget: bytes of a chunk; at least one row is computed at a time.
    Returns:
        iterator of
            rows: the slice of the N.
            t: position of the next word in the sentences, from 0.
            which: the sentences that share the prefix y_<t, list of 0..S-1.
            logits: of y_t, (R, V). Delete them before the next item is asked for, or two steps' logits exist.
    Raises:
        ValueError: if v or a sentence has another rank or no entries; on iteration, if a word is outside 0..V-1.
    """
    sentences, N = _checked(v, sentences), v.shape[0]
    decode = decode_along if hasattr(step, "along") else decode_prefixes
    tree = prefixes(sentences)
    max_rows = 1 if N == 1 else _max_rows(encode, step, v, tree, memory_budget)
    num_chunks = math.ceil(N / max_rows)
    edges = [N * k // num_chunks for k in range(num_chunks + 1)]

    def stream():
        for rows in map(slice, edges, edges[1:]):
            for prefix, logits in decode(step, encode(_sequences(v, rows)), tree):
                t, which = len(prefix), tree[prefix]
                _check_words([sentences[s][t] for s in which], logits.shape[-1])
                yield rows, t, which, logits
                del logits  # as in `decode_prefixes`

    return stream()


def _max_rows(encode, step, v, tree, memory_budget):
    """The largest R, from a trial of one row."""
    state = encode(_sequences(v, slice(0, 1)))
    if hasattr(step, "along"):
        of_row = bytes_per_row_along(v.shape[1:], step.along(state, _array(max(tree, key=len))), state)
    else:
        of_row = bytes_per_row(v.shape[1:], *step(state, None), states_held(tree))
    return min(MAX_ROWS, max(1, memory_budget // of_row))


def _sequences(v, rows):
    """Rows of v as sequences: each descriptor alone, (R, 1, D), or each group, (R, L, D); float32."""
    chunk = np.asarray(v[rows], "float32")
    return chunk if chunk.ndim == 3 else chunk[:, None]


def _checked(v, sentences):
    """The sentences as tuples of word indices; v must be (N, D) or (N, L, D), and nothing empty."""
    sentences = [np.asarray(y) for y in sentences]
    for y in sentences:
        if len(v.shape) not in (2, 3) or y.ndim != 1 or not v.shape[0] or not len(y):
            raise ValueError(
                f"v must be (N, D) or (N, L, D) and each sentence (T,), not empty; received {v.shape} and {y.shape}"
            )
    return [tuple(y.tolist()) for y in sentences]


def _check_words(words, V):
    if min(words) < 0 or max(words) >= V:
        raise ValueError(f"word indices must be 0..{V - 1}, the captioner's vocabulary; received {words}")


def prefixes(sentences):
    """The prefix tree of sentences: each distinct prefix y_<t, depth first, and the sentences that continue it.

    A prefix that no sentence continues is left out: no logits are needed after it.

    Args:
        sentences: S tuples of word indices.
    Returns:
        {prefix: list of 0..S-1}

    Example:
        >>> prefixes([(5, 1), (5, 1, 3), (5, 2)])
        {(): [0, 1, 2], (5,): [0, 1, 2], (5, 1): [1]}
    """
    tree = collections.defaultdict(list)
    for s, y in enumerate(sentences):
        for t in range(len(y)):
            tree[y[:t]].append(s)
    return dict(sorted(tree.items()))  # tuples sort depth first: every prefix comes after those that it begins with


def decode_prefixes(step, state, tree):
    """Teacher forcing on all sentences of a prefix tree, one step for each prefix.

    A state is released as soon as the last prefix that continues it has been stepped.

    Args:
        step: the captioner's.   state: after the descriptors are read, leaves (R, ...).   tree: from `prefixes`.
    Yields:
        prefix y_<t and the logits of y_t after it, (R, V).
    """
    continued = _continued(tree)
    states = {}
    for prefix in tree:
        parent = prefix[:-1]
        if prefix:
            continued[parent] -= 1
            state = states[parent] if continued[parent] else states.pop(parent)
        logits, state = step(state, _array(prefix[-1:]) if prefix else None)
        state = keras.tree.map_structure(ops.stop_gradient, state)  # on torch, past steps are freed
        if continued[prefix]:
            states[prefix] = state
        yield prefix, logits
        del logits  # before the next step makes its own


def decode_along(step, state, tree):
    """`decode_prefixes` with one pass for each of the longest prefixes, which gives those that it begins with, too.

    Args:
        step: the captioner's, with `along`.   state, tree: as `decode_prefixes`.
    Yields:
        as `decode_prefixes`, each prefix once.
    """
    continued, left = _continued(tree), set(tree)
    for longest in (prefix for prefix in tree if not continued[prefix]):
        every = step.along(state, _array(longest))
        for t in range(len(longest) + 1):
            if longest[:t] in left:
                left.remove(longest[:t])
                yield longest[:t], every[:, t]
        del every  # before the next pass makes its own


def states_held(tree):
    """The largest number of states that `decode_prefixes` holds besides the current one: those of pending branches.

    Example:
        >>> states_held(prefixes([(5, 1, 3)])), states_held(prefixes([(5, 1, 3), (5, 2, 4)]))
        (0, 1)
    """
    continued = _continued(tree)
    return max((sum(continued[prefix[:t]] > 1 for t in range(len(prefix))) for prefix in tree), default=0)


def _array(words):
    return np.array(words, "int32")


def _continued(tree):
    """The number of prefixes in a tree that continue each prefix by one word."""
    return collections.Counter(prefix[:-1] for prefix in tree if prefix)


def bytes_per_row(v_shape, logits, state, states=0):
    """Memory of one row of a chunk: 4 (L D + 4 (L - 1) Z_1 + 2 V + (4 + states) Z) bytes, for float32.

    L D numbers of descriptors; V logits and their exponentials; Z numbers of state, which for an LSTM (Z = 2 H) exist
    before and after the step, with four gates (2 Z; more in a captioner whose update is not fused, see `lstm_update`);
    for each further descriptor, of the Z_1 numbers in vectors that a recurrent encoder carries along, its input (Z_1 /
    2), gates (2 Z_1) and state, rounded up to 4 Z_1. Leaves of higher rank hold what was read, as attention needs it:
    these are made once.

    Args:
        v_shape: (D,) or (L, D).   logits, state: of one row, which give V, Z and Z_1.
        states: number of states held besides the current one, from `states_held`.
    """
    leaves = keras.tree.flatten(state)
    Z, Z_1 = (sum(math.prod(leaf.shape) for leaf in leaves if len(leaf.shape) <= rank) for rank in (math.inf, 2))
    length = math.prod(v_shape[:-1])
    return 4 * (math.prod(v_shape) + 4 * (length - 1) * Z_1 + 2 * logits.shape[-1] + (4 + states) * Z)


def bytes_per_row_along(v_shape, logits, state):
    """Memory of one row of a chunk of `decode_along`: 4 (2 L D + 4 Z + 3 T V) bytes, for float32.

    L D numbers of descriptors, twice where the captioner keeps a copy; Z numbers of state, and of the layers that read
    it; T V logits as they are made and as they are handed over, and as many numbers again for the layers below them.

    Args:
        v_shape: (D,) or (L, D).   logits, state: of one row, (1, T, V), which give T V and Z.
    """
    Z = sum(math.prod(leaf.shape) for leaf in keras.tree.flatten(state))
    return 4 * (2 * math.prod(v_shape) + 4 * Z + 3 * math.prod(logits.shape))
