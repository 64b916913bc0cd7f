"""A medium's pixels on their way to the captioner, for questions that change pixels or the network."""

import functools

from s2vt.features import networks
from s2vt.features.descriptors import descriptors_of
from s2vt.features.extraction import sample_inputs


class Pixels:
    """The network of a Config and what goes into and comes out of it.

    Args:
        config: of a run.
    """

    def __init__(self, config):
        self.config = config

    @functools.cached_property
    def extractor(self):
        """The FeatureExtractor, loaded when it is first needed."""
        return networks.FeatureExtractor(self.config.features)

    @property
    def grid(self):
        """The Grid of the network."""
        return networks.network_for(self.config.features).grid

    def inputs(self, medium):
        """The network's input, (m, S, S, 3) uint8. Raises MediaError if the medium cannot be decoded."""
        return sample_inputs(medium.path, self.config).frames

    def describe(self, cells):
        """The `Descriptors` of cells (m, C, D)."""
        return descriptors_of(cells, self.config)
