"""What a feature network of this project shows to the captioner, or classifier, that stands on it."""

import dataclasses
import functools

from s2vt.config import FeatureConfig
from s2vt.data.geometry import Geometry, resize
from s2vt.features import middle_layer, networks
from s2vt.features.descriptors import DescriptorStore, descriptors_of
from s2vt.features.every_frame import every_frame


class OnNetwork:
    """Media as a network sees them.

    Args:
        config: the Config to explain with; `features` names the network.
    """

    def __init__(self, config):
        self.config = config

    @functools.cached_property
    def network(self):
        """The network that makes descriptors, loaded once.

        Raises:
            UserError: if its weights cannot be read, or had (MissingWeights).
        """
        return self.extractor()

    def extractor(self):
        """A FeatureExtractor of the network. Raises: as `network`."""
        return networks.FeatureExtractor(self.config.features)

    @property
    def sees(self):
        """What its cells depend on: captioners with an equal value see a medium alike, by one network."""
        features = self.config.features
        return dataclasses.replace(features, layer=FeatureConfig.layer, scan=FeatureConfig.scan)

    @property
    def grid(self):
        """The network's Grid."""
        return networks.network_for(self.config.features).grid

    def geometry(self, width, height, cells=None):
        """Geometry between a source and the network's input."""
        return Geometry.of(width, height, self.config.features.resize, self.grid)

    def prepare(self, frame):
        """What is kept of a frame, (H, W, 3) uint8, to describe it: the network's input, (S, S, 3) uint8."""
        return resize(frame, self.geometry(frame.shape[1], frame.shape[0]))

    def cells(self, prepared):
        """Cells (m, G*G, D) of m prepared frames."""
        return self.network.cells(prepared)

    def stored_cells(self, medium, data_dir):
        """Cells (m, G*G, D) of a medium of the data set, from its descriptor file; None if it has none."""
        store = DescriptorStore(self.config, data_dir, layer="mixed_10")
        if medium.id not in store:
            return None
        store.check()
        return store.descriptors(medium).cells

    def every_frame(self, frames, keep):
        """EveryFrame of a video, for the release's maps."""
        return every_frame(frames, self.network, self.config.features, keep)

    def middle_layer(self, where):
        """A layer of the network below its last one, a MiddleLayer: see `s2vt.features.middle_layer`."""
        return middle_layer.middle_layer(self.config.features, where)

    def read(self, cells):
        """Descriptors: what is read of a medium with these cells, (m, G*G, D)."""
        return descriptors_of(cells, self.config)
