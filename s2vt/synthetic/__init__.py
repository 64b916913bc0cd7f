"""MovingShapes, ShapeSequences, StillShapes: rendered media with captions, objects, boxes and times known exactly.

The paper measures where a captioner finds its evidence, on photographs with boxes. In these sets it is also known when:
every object has its box in every frame, and the caption's tokens that name it. The clips of MovingShapes show one to
three objects that move, turn, grow, shrink, appear or disappear. In those of ShapeSequences, two or three objects
appear or disappear one after the other, at clearly different times. StillShapes has pictures. The sets are written in
the layouts of MSR-VTT and of Flickr30k with Entities, and read by the readers of the real sets.

    python -m s2vt.synthetic --dataset MovingShapes --split test --limit 20

Every medium is a function of (seed, split, index) alone: a subset equals the same part of the whole set.
"""
