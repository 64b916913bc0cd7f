"""A classifier on a feature network, explained as a captioner is: its words are its classes, its sentence some of them.

The head is linear on pool_3, the mean of the cells (`s2vt.features.label_head`). Excitation Backprop starts from a
class's weights (Zhang et al. 2016), read at mixed_10 or at a layer below it (`saliency.eb_layer`). Kinds of map that
ask for P(word | words before it) are of captioners: a class has no words before it.

Letters: N descriptors, D channels of the network, L classes.
"""

from pathlib import Path

import numpy as np

from s2vt.config import Config, FeatureConfig, SaliencyConfig
from s2vt.data.text import END_WORD, Vocabulary
from s2vt.explaining.on_network import OnNetwork
from s2vt.features.label_head import LabelHead, network_beside

KINDS = ("ceb", "eb")


class Classifier(OnNetwork):
    """A classifier's head and its network.

    Args:
        head: a LabelHead.   name: for titles.   features: the FeatureConfig of the network that it reads.
    """

    kinds, checkpoint = KINDS, None

    def __init__(self, head, name, features):
        saliency = SaliencyConfig(map=KINDS[0])
        super().__init__(Config(name, "coco", "picture", "none", "", features=features, saliency=saliency))
        self.name, self.folder, self.model = name, Path(name), LinearModel(head)
        self.vocabulary = Vocabulary([END_WORD, *head.classes], np.ones(1 + len(head.classes)))

    @classmethod
    def load(cls, path, weights=None):
        """The classifier of a head's file.

        Args:
            weights: of its network, as `--weights`; None: those that the file lies beside.
        Raises:
            UserError: if there is no such head, or it reads another network.
        """
        weights = weights or network_beside(path)
        head = LabelHead.load(path, weights)
        return cls(head, Path(path).name.partition(".")[0], FeatureConfig(weights=weights, layer="mixed_10"))

    @property
    def described(self):
        """What it is, for messages."""
        return f"{self.name} is a classifier"

    def warning(self, name, v):
        """None: the media that it was fitted to are not known."""


class LinearModel:
    """The head as a captioner whose word t does not depend on the words before it.

    Args: head: a LabelHead.
    """

    def __init__(self, head):
        # A first column of zeros: the end of a sentence.
        self.kernel, self.bias = np.pad(head.kernel, [(0, 0), (1, 0)]), np.pad(head.bias, (1, 0))

    def encode(self, v):
        """pool_3, (B, D), of descriptors (B, N, D)."""
        from keras import ops

        return ops.mean(v, axis=1)

    def step(self, state, word):
        """Logits of all classes, (B, 1+L), and the state."""
        from keras import ops

        return ops.matmul(state, self.kernel) + self.bias, state
