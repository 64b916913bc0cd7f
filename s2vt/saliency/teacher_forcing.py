"""Teacher forcing on many sentences at once: the tree of their prefixes, and the memory that a step takes.

Letters: R descriptors in a chunk, T words, V vocabulary, S sentences, L descriptors that are read together.
"""

import collections
import math

import keras
import numpy as np
from keras import ops


def prefixes(sentences):
    """The tree of sentences: their distinct prefixes y_<t, depth first, and the sentences that go on from each.

    No prefix ends with the last word of all the sentences that share it: nothing is asked of the captioner after it.

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
    """Teacher forcing on all sentences of a tree, one step for each of its prefixes.

    A state is let go as soon as the last prefix that goes on from it is stepped.

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
        logits, state = step(state, np.array(prefix[-1:], "int32") if prefix else None)
        state = keras.tree.map_structure(ops.stop_gradient, state)  # on torch, past steps are freed
        if continued[prefix]:
            states[prefix] = state
        yield prefix, logits
        del logits  # before the next step makes its own


def states_held(tree):
    """How many states `decode_prefixes` holds at most beside the present one: those of branches yet to come.

    Example:
        >>> states_held(prefixes([(5, 1, 3)])), states_held(prefixes([(5, 1, 3), (5, 2, 4)]))
        (0, 1)
    """
    continued = _continued(tree)
    return max((sum(continued[prefix[:t]] > 1 for t in range(len(prefix))) for prefix in tree), default=0)


def _continued(tree):
    """By how many words each prefix of a tree is continued within it."""
    return collections.Counter(prefix[:-1] for prefix in tree if prefix)


def bytes_per_row(v_shape, logits, state, states=0):
    """Memory that one row of a chunk takes: 4 (L D + 4 (L - 1) S + 2 V + (4 + states) S) bytes, for float32.

    L D numbers of the descriptors; V logits and their exponentials; S numbers of state, which for an LSTM (S = 2 H)
    stand before and after the step beside four gates (2 S; a captioner that does not squash them as `fused` does takes
    more); for each further descriptor its input (S / 2), gates (2 S) and state.

    Args:
        v_shape: (D,) or (L, D).   logits, state: of one row, for V and S.   states: held beside, `states_held`.
    """
    S = sum(math.prod(leaf.shape) for leaf in keras.tree.flatten(state))
    length = math.prod(v_shape[:-1])
    return 4 * (math.prod(v_shape) + 4 * (length - 1) * S + 2 * logits.shape[-1] + (4 + states) * S)
