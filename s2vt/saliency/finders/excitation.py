"""Evidence by Excitation Backprop, read at mixed_10 or at a layer of the network below it (`saliency.eb_layer`)."""

import functools
import math

import numpy as np

from s2vt.errors import UserError
from s2vt.saliency.finders.losses import find_losses
from s2vt.saliency.finding import Values
from s2vt.saliency.sums import likelihood


def find_excitation(captioner, descriptors, sentences, asking, names):
    """Evidence by Excitation Backprop from a word's logit (EB, EB-R), and by contrastive EB.

    What is handed down is linear in what a word starts with, so a phrase, the sum over its words (Eq. 9), starts from
    all of them with equal probabilities. Of contrastive EB the words' signed maps are summed, and the positive part is
    taken after that (`sums.positive_part`): each word has its own opposite, and what contradicts one word counts
    against what another one says.

    Args: as `finding`; names: "eb" or "ceb".
    Raises:
        ValueError: if a descriptor is negative.   UserError: as `_reader`.
    """
    from s2vt.saliency.excitation_backprop import contrast, excitation, on_cells
    from s2vt.saliency.gradients import word_weights

    rules, v = {"eb": excitation, "ceb": contrast}, np.asarray(descriptors.v, np.float32)
    read, cells = _reader(descriptors, asking), np.asarray(descriptors.cells, np.float32)

    found = word_weights(captioner.encode, captioner.step, v, sentences)  # S of (T, N, D)
    return [
        {name: read(on_cells(rules[name](v, weights), cells, descriptors.order)) for name in names} for weights in found
    ]


def find_likely(captioner, descriptors, sentences, asking, names):
    """Evidence by Excitation Backprop from the cells of each frame that alone make the word likely (Eq. 7).

    At mixed_10 a word's map is `likelihood` itself; further down it shows what in the likely cells excites them. In
    time: the likelihood of each frame alone.

    Args: as `finding`; names: "eb_likely".
    Raises:
        ValueError: if a descriptor is negative.   UserError: as `_reader`.
    """
    from s2vt.saliency.excitation_backprop import of_likely_cells

    read, (_, r, D) = _reader(descriptors, asking), descriptors.cells.shape
    G = math.isqrt(r)

    def from_cells(log_q):
        for i, x in enumerate(descriptors.cells):
            shares = np.stack([likelihood(of_word[i : i + 1])[0] for of_word in log_q])
            yield of_likely_cells(np.asarray(x).reshape(G, G, D), shares)

    def found(values):
        frames = values.frames if values.frames is None else np.stack([likelihood(each) for each in values.frames])
        return dict.fromkeys(names, read(from_cells(values.cells))._replace(frames=frames))

    losses = find_losses(captioner, descriptors, sentences, asking, ["nll"])
    return [found(of_sentence["nll"]) for of_sentence in losses]


def _reader(descriptors, asking):
    """A function of the probabilities of each frame's cells at mixed_10, (T, G, G, D), that gives Values where EB is
    read: their sum over channels, and over the cells of a frame.

    Raises:
        UserError: if a layer below mixed_10 is asked for, and the pictures or the layer are not to be had.
    """
    where = asking.saliency.eb_layer
    if where == "mixed_10":
        grid, down = None, lambda p: [each.sum(axis=-1) for each in p]
    else:
        if asking.layers is None or descriptors.pictures is None:
            raise UserError(
                f"saliency.eb_layer={where} needs the network and the pictures that it read, which are not kept of "
                "every frame of a video (saliency.normalize=release); choose saliency.eb_layer=mixed_10"
            )
        layer = asking.layers(where)
        backprop, grid = _backprop(layer.network, layer.name), layer.grid
        pictures = layer.preprocess(np.asarray(descriptors.pictures(), np.float32))
        x = [backprop.activations(picture[None])[0][0] for picture in pictures]  # once for all sentences
        down = functools.partial(backprop.signed_maps_of_frames, x)

    def read(p):
        cells = np.stack(list(down(p)), axis=1)  # (T, m, h, w)
        return Values(cells, None if asking.frames is None else cells.sum(axis=(2, 3)), grid)

    return read


@functools.lru_cache(1)
def _backprop(network, layer):
    """The ExcitationBackprop of a network and layer, compiled once for all media."""
    from s2vt.saliency.excitation_backprop import ExcitationBackprop

    return ExcitationBackprop(network, layer)
