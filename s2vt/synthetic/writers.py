"""MovingShapes in MSR-VTT's layout and StillShapes in the layout of Flickr30k and Flickr30k Entities."""

import concurrent.futures
import functools
import math
import multiprocessing
import os
from pathlib import Path

import numpy as np

from s2vt.synthetic.captions import captions
from s2vt.synthetic.drawing import Renderer
from s2vt.synthetic.scenes import FADE, sample_scene

# --- MovingShapes: clips in MSR-VTT's layout ------------------------------------------------------------------------

MOVING_SPLITS = {"train": 1000, "validate": 40, "test": 60}
STILL_SPLITS = {"train": 2400, "val": 100, "test": 300}
NUM_CLIP_FRAMES, CLIP_RATE = 75, 25
CLIP_SIZE = (320, 240)  # width, height
PICTURE_SIZE = (400, 300)


def _scene(seed, split, index, moving):
    """The scene and the random numbers left for its captions."""
    rng = np.random.default_rng([seed, sorted(MOVING_SPLITS | STILL_SPLITS).index(split), index, int(moving)])
    num_shapes = int(rng.choice([1, 2, 3], p=[0.3, 0.5, 0.2] if moving else [0.15, 0.45, 0.4]))
    return sample_scene(rng, num_shapes, moving), rng


def _identifiers(sizes, split):
    """Ids of a split's media: consecutive numbers over the splits, as in MSR-VTT."""
    start = sum(list(sizes.values())[: list(sizes).index(split)])
    return range(start, start + sizes[split])


def _render_clip(folder, seed, split, index, name):
    """Writes one clip and its truth."""
    from s2vt.data.files import write_json
    from s2vt.data.video_writer import VideoWriter

    scene, rng = _scene(seed, split, index, moving=True)
    width, height = CLIP_SIZE
    renderer = Renderer(scene, height, width)
    tracks = [{"colour": s.colour, "shape": s.shape, "event": s.event, "boxes": [], "seen": []} for s in scene.shapes]
    path = folder / ("TestVideo" if split == "test" else "TrainValVideo") / f"{name}.mp4"
    with VideoWriter(path, width, height, CLIP_RATE, crf=20, threads=1) as video:
        for f in range(NUM_CLIP_FRAMES):
            picture, boxes, seen = renderer.frame(f / (NUM_CLIP_FRAMES - 1))
            video.write(picture)
            for track, box, share in zip(tracks, boxes, seen, strict=True):
                track["boxes"].append(box)
                track["seen"].append(round(share, 3))
    fade = FADE / 2 * (NUM_CLIP_FRAMES - 1)
    for track, shape in zip(tracks, scene.shapes, strict=True):
        moment = shape.moment * (NUM_CLIP_FRAMES - 1)
        happens = [0, NUM_CLIP_FRAMES - 1]  # first and last frame of the event
        if shape.event in ("appear", "disappear"):
            happens = [math.ceil(moment - fade), math.floor(moment + fade)]
        track["happens"] = happens
    write_json(
        folder / "truth" / f"{name}.json",
        {
            "width": width, "height": height, "num_frames": NUM_CLIP_FRAMES, "frame_rate": CLIP_RATE,
            "background": scene.background, "objects": tracks,
            "captions": [{"caption": text, "phrases": phrases} for text, phrases in captions(scene, rng, 15)],
        },
    )  # fmt: skip


def write_moving_shapes(folder, sizes=None, split=None, limit=None, seed=1, processes=None):
    """Writes MovingShapes into `folder` in MSR-VTT's layout, with `truth/<id>.json` beside it.

    The two JSON files always list the whole set. A clip that exists is left alone.

    Args:
        sizes: {split: number of clips}; MOVING_SPLITS if None.
        split, limit: render this split only (None: all), at most so many clips of each.
    Returns:
        The number of clips rendered.
    """
    from s2vt.data.files import write_json

    sizes = sizes or MOVING_SPLITS
    for file, members in (
        ("train_val_videodatainfo.json", ("train", "validate")),
        ("test_videodatainfo.json", ("test",)),
    ):
        videos, sentences = [], []
        for member in members:
            for index, number in enumerate(_identifiers(sizes, member)):
                scene, rng = _scene(seed, member, index, moving=True)
                videos.append({
                    "category": 0, "url": "", "video_id": f"video{number}", "start time": 0.0,
                    "end time": NUM_CLIP_FRAMES / CLIP_RATE, "split": member, "id": number,
                })  # fmt: skip
                sentences += [{"caption": text, "video_id": f"video{number}"} for text, _ in captions(scene, rng, 15)]
        for sen_id, sentence in enumerate(sentences):
            sentence["sen_id"] = sen_id
        write_json(
            Path(folder) / file, {"info": {"description": "MovingShapes"}, "videos": videos, "sentences": sentences}
        )
    jobs = [
        (folder, seed, member, index, f"video{number}")
        for member in ([split] if split else sizes)
        for index, number in list(enumerate(_identifiers(sizes, member)))[:limit]
        if not (Path(folder) / "truth" / f"video{number}.json").exists()
    ]
    return _in_parallel(_render_clip, jobs, processes)


# --- StillShapes: pictures in Flickr30k's layout, with Entities -----------------------------------------------------

ROUND = ("circle", "ring", "heart", "moon")


def _entity_sentence(tokens, phrases):
    """A caption in the Entities notation: [/EN#id/type words]. Chain ids: objects 1, 2, ...; the ground 99."""
    opening = {}
    for phrase in phrases:
        first, past = phrase["tokens"]
        opening[first] = (past, phrase)
    words, position = [], 0
    while position < len(tokens):
        if position not in opening:
            words.append(tokens[position])
            position += 1
            continue
        past, phrase = opening[position]
        chain, kind = (99, "scene") if phrase["kind"] == "ground" else (phrase["object"] + 1, phrase["type"])
        words.append(f"[/EN#{chain}/{kind} {' '.join(tokens[position:past])}]")
        position = past
    return " ".join(words)


def _annotation(name, width, height, boxes):
    """The Entities XML of one picture."""
    objects = "".join(
        f"  <object>\n    <name>{chain}</name>\n    <bndbox>\n"
        f"      <xmin>{x1 + 1}</xmin>\n      <ymin>{y1 + 1}</ymin>\n"
        f"      <xmax>{x2}</xmax>\n      <ymax>{y2}</ymax>\n    </bndbox>\n  </object>\n"
        for chain, (x1, y1, x2, y2) in boxes.items()
    )
    return (
        f"<annotation>\n  <filename>{name}.jpg</filename>\n  <size>\n    <width>{width}</width>\n"
        f"    <height>{height}</height>\n    <depth>3</depth>\n  </size>\n{objects}"
        "  <object>\n    <name>99</name>\n    <scene>1</scene>\n    <nobndbox>1</nobndbox>\n  </object>\n"
        "</annotation>\n"
    )


def _render_picture(folder, seed, split, index, name):
    """Writes one picture with its Entities annotation and sentences."""
    from PIL import Image

    from s2vt.data.files import atomic_path

    scene, rng = _scene(seed, split, index, moving=False)
    width, height = PICTURE_SIZE
    picture, boxes, _ = Renderer(scene, height, width).frame(0.0)
    with atomic_path(folder / "flickr30k-images" / f"{name}.jpg") as partial:
        Image.fromarray(picture).save(partial, quality=92)
    sentences = []
    for text, phrases in captions(scene, rng, 5, moving=False):
        for phrase in phrases:
            if phrase["kind"] == "object":
                phrase["type"] = "round" if scene.shapes[phrase["object"]].shape in ROUND else "angular"
        sentences.append(_entity_sentence(text.split(), phrases))
    entities = folder / "Entities"
    with atomic_path(entities / "Sentences" / f"{name}.txt") as partial:
        Path(partial).write_text("\n".join(sentences) + "\n", encoding="utf-8")
    with atomic_path(entities / "Annotations" / f"{name}.xml") as partial:  # last: its presence means complete
        Path(partial).write_text(_annotation(name, width, height, {k + 1: b for k, b in enumerate(boxes)}), "utf-8")


def write_still_shapes(folder, sizes=None, split=None, limit=None, seed=1, processes=None):
    """Writes StillShapes into `folder` in the layout of Flickr30k and Flickr30k Entities.

    The caption and split lists always name the whole set. Arguments as for `write_moving_shapes`.

    Returns:
        The number of pictures rendered.
    """
    from s2vt.data.files import atomic_path

    sizes, lines = sizes or STILL_SPLITS, []
    for member in sizes:
        names = [f"{number:06d}" for number in _identifiers(sizes, member)]
        for index, name in enumerate(names):
            scene, rng = _scene(seed, member, index, moving=False)
            for k, (text, _) in enumerate(captions(scene, rng, 5, moving=False)):
                lines.append(f"{name}.jpg#{k}\t{text}\n")
        with atomic_path(Path(folder) / f"imgs_{member}.txt") as partial:
            Path(partial).write_text("".join(f"{name}.jpg\n" for name in names), "utf-8")
    with atomic_path(Path(folder) / "results_20130124.token") as partial:
        Path(partial).write_text("".join(lines), "utf-8")
    jobs = [
        (folder, seed, member, index, f"{number:06d}")
        for member in ([split] if split else sizes)
        for index, number in list(enumerate(_identifiers(sizes, member)))[:limit]
        if not (Path(folder) / "Entities" / "Annotations" / f"{number:06d}.xml").exists()
    ]
    return _in_parallel(_render_picture, jobs, processes)


# --- command --------------------------------------------------------------------------------------------------------


def _in_parallel(render, jobs, processes):
    from tqdm import tqdm

    if not jobs:
        return 0
    fresh = multiprocessing.get_context("spawn")  # a fork would wait for ever for FFmpeg's threads, which it lacks
    with concurrent.futures.ProcessPoolExecutor(processes or os.cpu_count(), mp_context=fresh) as pool:
        for _ in tqdm(pool.map(functools.partial(_call, render), jobs, chunksize=4), total=len(jobs), unit="medium"):
            pass
    return len(jobs)


def _call(render, job):
    folder, *rest = job
    render(Path(folder), *rest)


WRITERS = {"MovingShapes": (write_moving_shapes, MOVING_SPLITS), "StillShapes": (write_still_shapes, STILL_SPLITS)}
