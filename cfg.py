"""One Config per data set: what a user edits. `s2vt/config.py` says what every field means, with unit and source."""

import dataclasses

from s2vt.config import Config, FeatureConfig, ModelConfig, SaliencyConfig, TrainingConfig

MSR_VTT = Config(
    dataset="MSR-VTT",
    layout="msr_vtt",
    media="video",
    annotations="none",
    source="get train_val_videodatainfo.json, test_videodatainfo.json, TrainValVideo/ and TestVideo/ from the owners "
    "(http://ms-multimedia-challenge.com/2017/dataset) and lay them out as DATA/README.md shows",
    splits="6513/497/2990",
)
"""MSR-VTT. Model and training are the paper's.

The captioner that ships was trained with other settings, and with Flickr30k's photographs beside the clips. To repeat
it:

    python preprocessing.py --dataset MSR-VTT --layer mixed_10
    python preprocessing.py --dataset Flickr30k
    python run_s2vt.py --config experiments/MSR-VTT/config.json --train --name COPY

300 clips and 7,099 photographs: the clips' descriptors in 57 min, training of 7 epochs in 58 min, both beside other
work, and 2 GB of memory, on one core of an AMD EPYC with bfloat16.
"""

MSVD = Config(
    dataset="MSVD",
    layout="msvd",
    media="video",
    annotations="none",
    source="get YouTubeClips/ from the owners (https://www.cs.utexas.edu/users/ml/clamp/videoDescription/) and either "
    "'MSR Video Description Corpus.csv' (https://www.microsoft.com/en-us/download/details.aspx?id=52422) or "
    "sents_{train,val,test}_lc_nopunc.txt (https://www.cs.utexas.edu/~vsub/naacl15_project.html) with "
    "youtube_mapping.txt (https://github.com/yaoli/arctic-capgen-vid), and lay them out as DATA/README.md shows",
    splits="1200/100/670",
)

FLICKR30K = Config(
    dataset="Flickr30k",
    layout="flickr30k",
    media="picture",
    annotations="entities",
    source="get results_20130124.token and flickr30k-images/ from the owners "
    "(http://shannon.cs.illinois.edu/DenotationGraph/), and imgs_{train,val,test}.txt "
    "(https://github.com/VisionLearningGroup/caption-guided-saliency) or dataset_flickr30k.json "
    "(https://cs.stanford.edu/people/karpathy/deepimagesent/), and lay them out as DATA/README.md shows",
    splits="29000/1014/1000 29783/1014/1000 29783/1000/1000",
    features=FeatureConfig(weights="inception-2015", layer="mixed_10"),
    saliency=SaliencyConfig(words="content"),
)
"""Flickr30k with the boxes of Flickr30k Entities. Model and training are the paper's.

Departs from it: of a phrase, content words alone are summed, as distillation teaches no others; for captioners without
it, this moves pointing by 0.01 at most (docs/ablations.md). The captioner that ships was trained with other settings.
To repeat it:

    python preprocessing.py --dataset Flickr30k
    python run_s2vt.py --config experiments/Flickr30k/config.json --train --name COPY

7,099 pictures: descriptors in 13 min (EfficientNet-Lite0: 2.5 min), training in 60 min of processor time (39 min),
1.4 GB of memory, on one core of an AMD EPYC with bfloat16.
"""

COCO = Config(
    dataset="COCO",
    layout="coco",
    media="picture",
    annotations="none",
    source="get train2014/, val2014/ and annotations/ from the owners (https://cocodataset.org/#download), and "
    "dataset_coco.json for Karpathy's splits (https://cs.stanford.edu/people/karpathy/deepimagesent/), and lay them "
    "out as DATA/README.md shows",
    splits="113287/5000/5000 82783/40504/0 118287/5000/0",
    features=FeatureConfig(weights="inception-2015", layer="mixed_10"),
)

# Trained with: python run_s2vt.py --dataset MovingShapes --train   (README, "Measured", has hardware and scores)
MOVING_SHAPES = Config(
    dataset="MovingShapes",
    layout="msr_vtt",
    media="video",
    annotations="tracks",
    source="run: python -m s2vt.synthetic --dataset MovingShapes",
    features=FeatureConfig(weights="inception-shapes"),
    model=ModelConfig(units=256, embedding_size=64),
    training=TrainingConfig(
        epochs=24,
        batch_size=50,
        captions_per_medium=5,
        learning_rate=1e-3,
        decay="cosine",
        frame_as_image_share=0.5,
        score_every=4,
    ),
    saliency=SaliencyConfig(frame_input="cells"),
)

# Two or three events at clearly different times, to tell the right moment from any moment of change (docs/results.md).
# Trained with: python run_s2vt.py --dataset ShapeSequences --train
SHAPE_SEQUENCES = dataclasses.replace(
    MOVING_SHAPES,
    dataset="ShapeSequences",
    source="run: python -m s2vt.synthetic --dataset ShapeSequences",
    training=dataclasses.replace(MOVING_SHAPES.training, epochs=80, score_every=8),
)

# Trained with: python run_s2vt.py --dataset StillShapes --train
STILL_SHAPES = Config(
    dataset="StillShapes",
    layout="flickr30k",
    media="picture",
    annotations="entities",
    source="run: python -m s2vt.synthetic --dataset StillShapes",
    features=FeatureConfig(weights="inception-shapes", layer="mixed_10"),
    model=ModelConfig(units=256, embedding_size=64),
    training=TrainingConfig(
        epochs=20, batch_size=50, captions_per_medium=5, learning_rate=1e-3, decay="cosine", score_every=4
    ),
)

_ALL = MSR_VTT, FLICKR30K, MSVD, COCO, MOVING_SHAPES, SHAPE_SEQUENCES, STILL_SHAPES
CONFIGS = {config.dataset: config for config in _ALL}

# Whose run explains a file of the user's own that names neither data set nor run, {kind of medium: data sets}: the
# first that has one. A captioner of photographs reads a video frame by frame.
USUAL = {"picture": (FLICKR30K.dataset,), "video": (MSR_VTT.dataset, FLICKR30K.dataset)}
