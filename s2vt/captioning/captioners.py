"""The captioner classes, by the values of `model.name` (`--model`)."""

from s2vt.captioning.hard_attention import HardAttention
from s2vt.captioning.mean_pool import MeanPool
from s2vt.captioning.s2vt import S2VT
from s2vt.captioning.soft_attention import SoftAttention
from s2vt.captioning.transformer import Transformer

CAPTIONERS = {
    "s2vt": S2VT,
    "mean_pool": MeanPool,
    "soft_attention": SoftAttention,
    "hard_attention": HardAttention,
    "transformer": Transformer,
}
