"""MovingShapes and StillShapes: rendered media whose captions, objects, boxes and times are known exactly.

The paper could measure *where* a captioner looks, on photos with boxes. These sets also know *when*: every object
carries its box in every frame and the caption tokens that name it. They are written in the layouts of MSR-VTT and of
Flickr30k with Entities, so that the readers of the real sets read them.

    python -m s2vt.synthetic --dataset MovingShapes --split test --limit 20

Every medium is a function of (seed, split, index) alone: a subset equals the same part of the whole set.
"""
