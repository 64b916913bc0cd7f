"""Caption-guided visual saliency: where and when a captioner finds the evidence for each word of a sentence.

    from s2vt import explain, load

Rooms, in the direction in which data flows: `data` -> `features` -> `captioning` -> `saliency` -> `evaluation` and
`rendering` -> `explaining`. `config` holds all settings, `synthetic` renders data sets with known boxes, `hugging_face`
brings captioners of transformers. Importing this package loads no engine; each room is imported by name, such as `from
s2vt.saliency import heatmaps`.
"""

from s2vt.library import explain, load

__all__ = ["explain", "load"]
