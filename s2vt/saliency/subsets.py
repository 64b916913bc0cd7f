"""What a captioner says after reading some of the descriptors: random subsets, or all of them but one.

Letters: N descriptors, K subsets, L descriptors of a subset, D=2048, T words, S sentences.

    random_subsets -> subsets (K, N)        subset_values -> log P of each word after each subset, (T, K)

Any value of a cooperative game whose players are the descriptors can be estimated from these two; `banzhaf` is one,
`rise` the mean of what a descriptor was there for.

    without_each, without_each_cell -> what is read without one of them        left_out_losses -> what that loses
"""

import numpy as np

from s2vt.saliency.information_loss import NLL, descriptor_losses
from s2vt.saliency.teacher_forcing import MEMORY_BUDGET


def random_subsets(N, number, share, seed):
    """Random subsets of descriptors: each descriptor is in each subset with the same probability, independently.

    An empty subset is drawn again: a captioner reads at least one descriptor. For few descriptors and small shares,
    where many are drawn again, members are then no longer independent and `banzhaf` is biased; with N = 64 and a share
    of 1/2 none ever is.

    Args:
        N: descriptors to choose from, >= 1.
        number: of subsets, K.
        share: probability of a descriptor to be in a subset, in (0, 1).
        seed: of the random numbers; equal arguments give equal subsets.
    Returns:
        (K, N) bool, True for members; no row is all False.
    Raises:
        ValueError: if the share is not between 0 and 1, or N is 0.

    Example:
        >>> random_subsets(4, 3, share=0.5, seed=0).astype(int).tolist()
        [[0, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]]
    """
    if not (0 < share < 1 and N >= 1):
        raise ValueError(f"expected one descriptor or more and a share between 0 and 1; received {N} and {share}")
    rng = np.random.default_rng(seed)
    subsets = rng.random((number, N)) < share
    while len(empty := np.flatnonzero(~subsets.any(axis=1))):
        subsets[empty] = rng.random((len(empty), N)) < share
    return subsets


def subset_values(encode, step, v, sentences, subsets, memory_budget=MEMORY_BUDGET):
    """The log-probability of each word of each sentence when the captioner reads a subset of the descriptors.

        f(t, k) = log P(y_t | y_<t, v_i for i in S_k)

    Subsets of one size are one batch: a captioner's state may hold what it has read.

    Args:
        encode, step, sentences, memory_budget: as in `teacher_forcing`.
        v: descriptors in the order in which the captioner reads them, (N, D).
        subsets: (K, N) bool, from `random_subsets` or others; none empty.
    Returns:
        list of S f, each (T, K) float32, nats, <= 0.
    Raises:
        ValueError: as `teacher_forcing`, and if the subsets are of another number of descriptors or one is empty.
    """
    v, subsets = np.asarray(v, "float32"), np.asarray(subsets, bool)
    if subsets.ndim != 2 or subsets.shape[1:] != v.shape[:1] or not subsets.any(axis=1).all():
        raise ValueError(f"subsets must be (K, {len(v)}), none of them empty; received {subsets.shape}")
    found = [np.empty((np.size(y), len(subsets)), "float32") for y in sentences]
    sizes = subsets.sum(axis=1)
    for size in np.unique(sizes):
        (group,) = np.nonzero(sizes == size)
        members = np.nonzero(subsets[group])[1].reshape(len(group), size)
        losses = descriptor_losses(encode, step, _Sequences(v, members), sentences, memory_budget=memory_budget)
        for values, of_sentence in zip(found, losses, strict=True):
            values[:, group] = -of_sentence["nll"]
    return found


class _Sequences:
    """Sequences of rows of v, (K, L, D), gathered when they are read by slices.   members: which rows, (K, L)."""

    def __init__(self, v, members):
        self.v, self.members = v, members
        self.shape = (*members.shape, v.shape[1])

    def __getitem__(self, rows):
        return self.v[self.members[rows]]


def banzhaf(values, subsets):
    """What each descriptor adds to a random subset of the others, on average: its Banzhaf value, estimated.

        phi_i = mean of f(S_k) over the subsets with i - mean of f(S_k) over those without it

    Every subset counts for every descriptor ("maximum sample reuse", Wang and Jia 2023, Data Banzhaf). With a share
    other than 1/2 it is the weighted Banzhaf value. Standard error: about sd(f) / sqrt(share (1 - share) K).

    Args:
        values: f of each subset, (..., K), any unit.
        subsets: (K, N) bool.
    Returns:
        phi, (..., N) float32, in the unit of f; 0 for a descriptor that is in every subset, or in none.
    Raises:
        ValueError: if these are not values of so many subsets.

    Example:
        >>> subsets = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 1], [0, 1, 1]], bool)
        >>> banzhaf(np.array([-1.0, -4.0, -2.0, -3.0]), subsets).tolist()  # -1.5 + 3.5; -3 + 1; always a member
        [2.0, -2.0, 0.0]
    """
    values, subsets = _checked(values, subsets)
    inside = subsets.sum(axis=0)
    outside = len(subsets) - inside
    with_i, without_i = values @ subsets / np.maximum(inside, 1), values @ ~subsets / np.maximum(outside, 1)
    return np.where((inside > 0) & (outside > 0), with_i - without_i, 0).astype("float32")


def rise(values, subsets):
    """The mean probability of a word over the random subsets that have a descriptor (RISE, Petsiuk et al. 2018).

        S(t, i) = mean over the subsets S_k with i of P(y_t | y_<t, v_j for j in S_k)

    Departs from RISE, whose subsets are masks of a coarse grid over pixels, multiplied into the picture: here what is
    not in a subset is not read at all. And because the sum is divided by the number of subsets with i, not by its
    expectation share K, that number's chance adds no noise; both have the same limit.

    Args:
        values: log P of each subset, (..., K), nats, from `subset_values`.
        subsets: (K, N) bool.
    Returns:
        S, (..., N) float32, in [0, 1]; the mean of all subsets for a descriptor that is in none.
    Raises:
        ValueError: if these are not values of so many subsets.

    Example:
        >>> subsets = np.array([[1, 0, 0], [1, 1, 0]], bool)
        >>> rise(np.log([0.5, 0.25]), subsets).tolist()
        [0.375, 0.25, 0.375]
    """
    values, subsets = _checked(values, subsets)
    inside, p = subsets.sum(axis=0), np.exp(values)
    return np.where(inside > 0, p @ subsets / np.maximum(inside, 1), p.mean(axis=-1, keepdims=True)).astype("float32")


def _checked(values, subsets):
    """Values (..., K), float64, and subsets (K, N), bool."""
    values, subsets = np.asarray(values, "float64"), np.asarray(subsets, bool)
    if subsets.ndim != 2 or values.shape[-1:] != subsets.shape[:1]:
        raise ValueError(f"expected values (..., K) of subsets (K, N); received {values.shape} and {subsets.shape}")
    return values, subsets


# --- all descriptors but one -----------------------------------------------------------------------------------------


def left_out_losses(encode, step, v, rest, sentences, measures=NLL, memory_budget=MEMORY_BUDGET):
    """What is lost about each word when something is not read, beyond what is lost with everything.

        value(t, k) = Loss(t | sequence k of the rest) - Loss(t | v)

    Args:
        encode, step, sentences, measures, memory_budget: as in `descriptor_losses`.
        v: descriptors in the order in which the captioner reads them, (N, D).
        rest: K sequences, read instead, (K, L, D), from `without_each` or `without_each_cell`.
    Returns:
        list of S {measure: value (T, K)}, float32, nats; > 0 where what is missing spoke for the word.
    """
    whole = descriptor_losses(encode, step, np.asarray(v)[None], sentences, measures, memory_budget)
    parts = descriptor_losses(encode, step, rest, sentences, measures, memory_budget)
    return [
        {name: part[name] - all_read[name] for name in measures} for part, all_read in zip(parts, whole, strict=True)
    ]


def without_each(v):
    """Sequences of all descriptors but one: v (N, D) -> (N, N-1, D), gathered when they are read by slices.

    Raises:
        ValueError: if there is one descriptor only, without which nothing is left to read.

    Example:
        >>> without_each(np.array([[1.0], [2.0], [3.0]]))[1:].tolist()
        [[[1.0], [3.0]], [[1.0], [2.0]]]
    """
    v, N = np.asarray(v, "float32"), len(v)
    if N < 2:
        raise ValueError(f"leaving one descriptor out needs two or more; received {N}")
    return _Sequences(v, np.nonzero(~np.eye(N, dtype=bool))[1].reshape(N, N - 1))


def without_each_cell(v, cells):
    """Sequences of a video's frames, one of which is the mean of its cells but one; gathered when they are read.

    Args:
        v: the frames, each the mean of its r cells, (m, D).   cells: (m, r, D), r >= 2.
    Returns:
        (m r, m, D): sequence i r + k is without cell k of frame i.

    Example:
        >>> cells = np.array([[[1.0], [3.0]], [[4.0], [8.0]]])
        >>> without_each_cell(cells.mean(axis=1), cells)[1:].tolist()
        [[[1.0], [6.0]], [[2.0], [8.0]], [[2.0], [4.0]]]
    """
    return _WithoutCell(np.asarray(v, "float32"), cells)


class _WithoutCell:
    """`without_each_cell`."""

    def __init__(self, v, cells):
        self.v, self.cells = v, cells
        self.shape = (cells.shape[0] * cells.shape[1], *v.shape)

    def __getitem__(self, rows):
        r = self.cells.shape[1]
        numbers = np.arange(*rows.indices(self.shape[0]))
        i, k = np.divmod(numbers, r)
        sequences = np.repeat(self.v[None], len(numbers), axis=0)
        sequences[np.arange(len(numbers)), i] = (r * self.v[i] - self.cells[i, k]) / (r - 1)
        return sequences
