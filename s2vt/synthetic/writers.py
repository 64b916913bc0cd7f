"""Rendering of the data sets: clips in the layout of MSR-VTT, pictures in that of Flickr30k with Entities."""

import concurrent.futures
import math
import multiprocessing
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from s2vt.data.files import atomic_path, write_json
from s2vt.data.labels import FILE as LABELS_FILE
from s2vt.data.video_writer import VideoWriter
from s2vt.synthetic.captions import captions
from s2vt.synthetic.drawing import COLOURS, SHAPES, Renderer
from s2vt.synthetic.scenes import FADE, sample_scene, sample_sequence

MOVING_SPLITS = {"train": 1000, "validate": 40, "test": 60}
SEQUENCE_SPLITS = {"train": 600, "validate": 40, "test": 60}
STILL_SPLITS = {"train": 2400, "val": 100, "test": 300}
NUM_CLIP_FRAMES, CLIP_RATE = 75, 25
CLIP_SIZE = (320, 240)  # width, height
PICTURE_SIZE = (400, 300)


@dataclass(frozen=True)
class _Job:
    """A medium to be rendered: a function of seed, split and index alone."""

    folder: Path
    seed: int
    split: str
    index: int  # within the split
    name: str
    kind: str = "still"  # of scene

    def scene(self):
        """The scene, and the random generator that its captions are drawn with."""
        return _scene(self.seed, self.split, self.index, self.kind)


NUM_SHAPES = {  # {kind of scene: (numbers of objects, their probabilities)}
    "still": ((1, 2, 3), (0.15, 0.45, 0.4)),
    "moving": ((1, 2, 3), (0.3, 0.5, 0.2)),
    "sequence": ((2, 3), (0.6, 0.4)),
}


def _scene(seed, split, index, kind):
    split = sorted(MOVING_SPLITS | STILL_SPLITS).index(split)
    rng = np.random.default_rng([seed, split, index, list(NUM_SHAPES).index(kind)])
    numbers, probabilities = NUM_SHAPES[kind]
    num_shapes = int(rng.choice(numbers, p=probabilities))
    if kind == "sequence":
        return sample_sequence(rng, num_shapes), rng
    return sample_scene(rng, num_shapes, moving=kind == "moving"), rng


def _numbers(sizes, split):
    """Numbers of a split's media, consecutive over the splits as in MSR-VTT."""
    start = sum(list(sizes.values())[: list(sizes).index(split)])
    return range(start, start + sizes[split])


# --- MovingShapes and ShapeSequences: clips in MSR-VTT's layout -----------------------------------------------------


def write_moving_shapes(folder, sizes=None, split=None, limit=None, seed=1, processes=None):
    """Writes MovingShapes into `folder`: objects that move, turn, grow, appear, ...; see `write_clips`.

    Args:
        sizes: {split: number of clips}; MOVING_SPLITS if None.
    """
    return write_clips("moving", folder, sizes or MOVING_SPLITS, split, limit, seed, processes)


def write_shape_sequences(folder, sizes=None, split=None, limit=None, seed=1, processes=None):
    """Writes ShapeSequences into `folder`: objects that appear or disappear one after the other; see `write_clips`.

    Args:
        sizes: {split: number of clips}; SEQUENCE_SPLITS if None.
    """
    return write_clips("sequence", folder, sizes or SEQUENCE_SPLITS, split, limit, seed, processes)


def write_clips(kind, folder, sizes, split=None, limit=None, seed=1, processes=None):
    """Writes clips of one kind of scene in MSR-VTT's layout, with annotations in `truth/<id>.json`.

    The two JSON files always list the whole set. A clip whose annotations exist is not rendered again.

    Args:
        sizes: {split: number of clips}.
        split, limit: render this split only (None: all), at most so many clips of each.
        processes: that render at a time; None: one per core.
    Returns:
        The number of clips rendered.
    """
    folder = Path(folder)
    for file, members in (
        ("train_val_videodatainfo.json", ("train", "validate")),
        ("test_videodatainfo.json", ("test",)),
    ):
        write_json(folder / file, _video_info(kind, sizes, members, seed))
    jobs = [
        _Job(folder, seed, member, index, f"video{number}", kind)
        for member in ([split] if split else sizes)
        for index, number in list(enumerate(_numbers(sizes, member)))[:limit]
    ]
    return _render(_render_clip, [job for job in jobs if not _annotation_path(job).exists()], processes)


def _video_info(kind, sizes, splits, seed):
    """The contents of a `videodatainfo.json` that lists some splits."""
    videos, sentences = [], []
    for split in splits:
        for index, number in enumerate(_numbers(sizes, split)):
            scene, rng = _scene(seed, split, index, kind)
            videos.append({
                "category": 0, "url": "", "video_id": f"video{number}", "start time": 0.0,
                "end time": NUM_CLIP_FRAMES / CLIP_RATE, "split": split, "id": number,
            })  # fmt: skip
            sentences += [{"caption": text, "video_id": f"video{number}"} for text, _ in captions(scene, rng, 15, kind)]
    for sen_id, sentence in enumerate(sentences):
        sentence["sen_id"] = sen_id
    return {"info": {"description": f"rendered shapes: {kind}"}, "videos": videos, "sentences": sentences}


def _annotation_path(job):
    return job.folder / "truth" / f"{job.name}.json"


def _render_clip(job):
    """Writes one clip, then its annotations, as `s2vt.data.tracks` reads them."""
    scene, rng = job.scene()
    width, height = CLIP_SIZE
    renderer = Renderer(scene, height, width)
    tracks = [{"colour": s.colour, "shape": s.shape, "event": s.event, "boxes": [], "seen": []} for s in scene.shapes]
    path = job.folder / ("TestVideo" if job.split == "test" else "TrainValVideo") / f"{job.name}.mp4"
    with VideoWriter(path, width, height, CLIP_RATE, crf=20, threads=1) as video:
        for f in range(NUM_CLIP_FRAMES):
            picture, boxes, seen = renderer.frame(f / (NUM_CLIP_FRAMES - 1))
            video.write(picture)
            for track, box, share in zip(tracks, boxes, seen, strict=True):
                track["boxes"].append(box)
                track["seen"].append(round(share, 3))
    for track, shape in zip(tracks, scene.shapes, strict=True):
        track["happens"] = _frames_of_event(shape)
    write_json(
        _annotation_path(job),
        {
            "width": width, "height": height, "num_frames": NUM_CLIP_FRAMES, "frame_rate": CLIP_RATE,
            "background": scene.background, "objects": tracks,
            "captions": [{"caption": text, "phrases": phrases} for text, phrases in captions(scene, rng, 15, job.kind)],
        },
    )  # fmt: skip


def _frames_of_event(shape):
    """[first, last] frame of a shape's event."""
    if shape.event not in ("appear", "disappear"):
        return [0, NUM_CLIP_FRAMES - 1]
    moment, fade = shape.moment * (NUM_CLIP_FRAMES - 1), FADE / 2 * (NUM_CLIP_FRAMES - 1)
    return [math.ceil(moment - fade), math.floor(moment + fade)]


# --- StillShapes: pictures in Flickr30k's layout, with Entities -----------------------------------------------------

ROUND = ("circle", "ring", "heart", "moon")  # shapes of the type "round"; the others are "angular"


def write_still_shapes(folder, sizes=None, split=None, limit=None, seed=1, processes=None):
    """Writes StillShapes into `folder` in the layout of Flickr30k and Flickr30k Entities, and the objects' labels.

    The caption and split lists and `labels.json` (see `s2vt.data.labels`) always name the whole set. Arguments as for
    `write_moving_shapes`.

    Returns:
        The number of pictures rendered.
    """
    folder, sizes, lines, labels = Path(folder), sizes or STILL_SPLITS, [], {}
    for member in sizes:
        names = [f"{number:06d}" for number in _numbers(sizes, member)]
        for index, name in enumerate(names):
            scene, rng = _scene(seed, member, index, "still")
            for k, (text, _) in enumerate(captions(scene, rng, 5, "still")):
                lines.append(f"{name}.jpg#{k}\t{text}\n")
            labels[name] = {str(k + 1): [shape.colour, shape.shape] for k, shape in enumerate(scene.shapes)}
        _write_text(folder / f"imgs_{member}.txt", "".join(f"{name}.jpg\n" for name in names))
    _write_text(folder / "results_20130124.token", "".join(lines))
    write_json(folder / LABELS_FILE, {"classes": {"colour": list(COLOURS), "shape": list(SHAPES)}, "objects": labels})
    jobs = [
        _Job(folder, seed, member, index, f"{number:06d}")
        for member in ([split] if split else sizes)
        for index, number in list(enumerate(_numbers(sizes, member)))[:limit]
    ]
    return _render(_render_picture, [job for job in jobs if not _entities_path(job).exists()], processes)


def _entities_path(job):
    return job.folder / "Entities" / "Annotations" / f"{job.name}.xml"


def _render_picture(job):
    """Writes one picture, its Entities sentences and, last, its Entities annotation."""
    scene, rng = job.scene()
    width, height = PICTURE_SIZE
    picture, boxes, _ = Renderer(scene, height, width).frame(0.0)
    with atomic_path(job.folder / "flickr30k-images" / f"{job.name}.jpg") as partial:
        Image.fromarray(picture).save(partial, quality=92)
    sentences = []
    for text, phrases in captions(scene, rng, 5, "still"):
        for phrase in phrases:
            if phrase["kind"] == "object":
                phrase["type"] = "round" if scene.shapes[phrase["object"]].shape in ROUND else "angular"
        sentences.append(_entity_sentence(text.split(), phrases))
    _write_text(job.folder / "Entities" / "Sentences" / f"{job.name}.txt", "\n".join(sentences) + "\n")
    _write_text(_entities_path(job), _annotation(job.name, width, height, {k + 1: b for k, b in enumerate(boxes)}))


def _entity_sentence(tokens, phrases):
    """A caption in the notation of Entities, [/EN#chain/type words]. Chains: objects 1, 2, ...; the ground 99."""
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


# --- files and processes --------------------------------------------------------------------------------------------


def _write_text(path, text):
    with atomic_path(path) as partial:
        partial.write_text(text, "utf-8")


def _render(render, jobs, processes):
    """Calls render(job) for all jobs; returns their number."""
    from tqdm import tqdm

    if processes == 1:
        return sum(1 for _ in map(render, jobs))
    if jobs:
        fresh = multiprocessing.get_context("spawn")  # a forked process would lack FFmpeg's threads and hang
        with concurrent.futures.ProcessPoolExecutor(processes or os.cpu_count(), mp_context=fresh) as pool:
            list(tqdm(pool.map(render, jobs, chunksize=4), total=len(jobs), unit="medium"))
    return len(jobs)


WRITERS = {
    "MovingShapes": (write_moving_shapes, MOVING_SPLITS),
    "ShapeSequences": (write_shape_sequences, SEQUENCE_SPLITS),
    "StillShapes": (write_still_shapes, STILL_SPLITS),
}
