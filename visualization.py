"""Media and a sentence -> where and when the captioner found its evidence, word by word.

    python visualization.py --dataset MovingShapes --media_id video1050 --sentence "a white circle appears"

A video gives an MP4 (all words in a grid) and a storyboard PNG; a picture gives a PNG with a map per noun phrase; the
ending of --output chooses other formats, .html a page on which words are chosen with the mouse. Without --sentence the
model's own caption is explained. --media explains a file of your own; --media_id all, or a text file of
media_id<TAB>sentence, explains many, with an index page.
"""

import argparse
import dataclasses
import difflib
import functools
import math
import os
import re
import sys
from pathlib import Path

import cfg
from s2vt import command_line
from s2vt.errors import UserError


def main():
    options = _parser().parse_args()
    folder = command_line.run_folder(options, options.name)
    command_line.config_of(options)

    from s2vt.captioning.runs import Run

    run = Run(folder)
    checkpoint = run.checkpoint(options.checkpoint)
    config = command_line.run_config_of(options, run)
    vocabulary = run.vocabulary()
    jobs, many = _jobs(config, run, vocabulary, options)
    explainer = Explainer(config, run, checkpoint, vocabulary, options)
    if many:
        return _make_all(jobs, explainer, options)
    seen = _see(jobs[0], config, options)
    (explanation,) = explainer.explain(jobs, seen)
    for path in _make(jobs[0], seen, explanation, options)[1]:
        print(path)
    return 0


def _parser():
    parser = command_line.parser("visualization.py", __doc__.split("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--media_id", metavar="ID|all|FILE",
                      help="of the data set: one, all of a split, or a text file of media_id<TAB>sentence")  # fmt: skip
    what.add_argument("--media", help="any video or picture file, explained with the data set's captioner")
    parser.add_argument("--split", default="test", help="of --media_id all")
    parser.add_argument("--limit", type=int, help="of --media_id all: at most so many")
    parser.add_argument("--sentence", help="what to look for (default: the model's own caption)")
    parser.add_argument("--words", help="show these words of the sentence only, such as red,car")
    parser.add_argument("--phrases", nargs="+", metavar="PHRASE", default=[],
                        help='show phrases as one map each (Eq. 9), such as "a red car" "the road"')  # fmt: skip
    parser.add_argument("--checkpoint", default="best", help="a number, best (validation METEOR) or last")
    parser.add_argument("--name", help="the run's folder under experiments_dir (default: the data set)")
    parser.add_argument("--loss", choices=tuple(LOSSES), default="nll",
                        help="nll: query loss (Eq. 7); kl: representativeness (Eq. 6)")  # fmt: skip
    parser.add_argument("--frame", choices=("pooled", "cells"), help=command_line.FRAME_HELP)
    parser.add_argument("--layout", choices=("grid", "strip", "single"), default="grid",
                        help="grid: all words; strip: in one row; single: the leading word's map alone")  # fmt: skip
    parser.add_argument("--cmap", default="inferno", help="a colour map of matplotlib's, such as jet")
    parser.add_argument("--normalize", choices=("clip", "frame", "release"), default="clip",
                        help="each word over the clip, in each frame, or the 2017 release's two steps")  # fmt: skip
    parser.add_argument("--size", type=_size, metavar="WxH",
                        help="of a video's canvas, at most, unless text needs more (default: 1920x1080)")  # fmt: skip
    parser.add_argument("--start", type=float, metavar="SECONDS", help="of a video: show it from here")
    parser.add_argument("--end", type=float, metavar="SECONDS", help="of a video: show it up to here")
    parser.add_argument("--stride", type=int, default=1, metavar="FRAMES",
                        help="of a video: draw every so many frames; the speed stays that of the source")  # fmt: skip
    parser.add_argument("--output", help="file to write; its ending chooses what is made (default: under the run's "
                                         "folder, saliency/). Of many media: a folder, or FOLDER/{id}.gif")  # fmt: skip
    parser.add_argument("--page", action="store_true", help="write the HTML page as well, beside the output")
    parser.add_argument("--save_maps", metavar="FILE.npz", help="write the raw numbers as well")
    return parser


def _size(text):
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found or not all(160 <= int(side) <= 4096 for side in found.groups()):
        raise argparse.ArgumentTypeError(f"{text!r}: expected pixels such as 1280x720, each 160 to 4096")
    return int(found[1]), int(found[2])


# --- what is to be made ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Job:
    """One medium, what is asked of it and where it goes."""

    name: str
    medium: object  # datasets.Medium
    sentence: str | None
    moving: bool  # whether it is shown as a video
    output: Path


def _jobs(config, run, vocabulary, options):
    """(list of Job, whether there are many), after every mistake that can be told before the engine is loaded."""
    from s2vt.data import datasets, pictures
    from s2vt.data.phrases import find_phrases
    from s2vt.data.text import tokenize
    from s2vt.rendering.drawing import palette

    palette(options.cmap)
    if options.media is not None:
        found = [(datasets.Medium(Path(options.media).stem, Path(options.media), "", ()), options.sentence)]
    else:
        found = _chosen(datasets.read_media(config, options.data_dir), options)
    many = options.media_id is not None and (len(found) > 1 or options.media_id != found[0][0].id)
    if many and options.save_maps:
        raise UserError("--save_maps is for one medium; name it with --media_id")
    jobs = []
    for medium, sentence in found:
        if sentence is not None:
            vocabulary.encode(sentence, config.text.max_words)
            find_phrases(tokenize(sentence), _names(options))
        if not medium.path.is_file() and not many:
            raise UserError(f"{medium.path}: no such file; expected a video or picture")
        moving = config.media == "video" and not (medium.path.is_file() and pictures.is_picture(medium.path))
        name = medium.id
        while any(job.name == name for job in jobs):  # the same medium with another sentence
            name = f"{medium.id}_{sum(job.medium.id == medium.id for job in jobs) + 1}"
        output = _output(run, name, moving, many, options)
        jobs.append(Job(name, medium, sentence, moving, output))
    moving = any(job.moving for job in jobs)
    _check_range(options, moving)
    if options.save_maps and not options.save_maps.endswith(".npz"):
        raise UserError(f"--save_maps {options.save_maps}: expected a name that ends in .npz")
    for path in (jobs[0].output, *([Path(options.save_maps)] if options.save_maps else [])):
        _check_writable(path)
    return jobs, many


def _chosen(media, options):
    """[(medium, sentence or None)] that --media_id asks for."""
    from s2vt.data import datasets

    if options.media_id == "all":
        return [(medium, options.sentence) for medium in datasets.select(media, options.split, options.limit)]
    if options.media_id in media or not Path(options.media_id).is_file():
        return [(_medium(media, options.media_id), options.sentence)]
    found = []
    try:
        lines = Path(options.media_id).read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{options.media_id} cannot be read as a list of media_id<TAB>sentence ({error})") from None
    for number, line in enumerate(lines, start=1):
        medium_id, _, sentence = line.partition("\t")
        if line.strip():
            try:
                found.append((_medium(media, medium_id.strip()), sentence.strip() or options.sentence))
            except UserError as error:
                raise UserError(f"{options.media_id}, line {number}: {error}") from None
    if not found:
        raise UserError(f"{options.media_id} lists no media; expected lines of media_id<TAB>sentence")
    return found


def _medium(media, medium_id):
    if medium_id not in media:
        near = difflib.get_close_matches(medium_id, media, 3)
        ids = list(media)
        hint = f"nearest: {', '.join(near)}; " if near else ""
        raise UserError(f"no medium {medium_id!r}; {hint}there are {len(ids)}, from {ids[0]} to {ids[-1]}")
    return media[medium_id]


def _names(options):
    """The words and phrases to show, as lists of words."""
    from s2vt.data.text import tokenize

    return [tokenize(name) for name in [*(options.words or "").split(","), *options.phrases] if name.strip()]


def _output(run, name, moving, many, options):
    """The file to write, after checking its ending."""
    suffix = ".mp4" if moving else ".png"
    default = run.folder / "saliency"
    if many:
        output = Path(options.output or default)
        output = output if "{id}" in output.name else output / f"{{id}}{suffix}"
        output = output.with_name(output.name.replace("{id}", name))
    else:
        output = Path(options.output or default / f"{name}{suffix}")
    endings = MAKERS[moving]
    if output.suffix.lower() not in endings:
        kind = "video" if moving else "picture"
        raise UserError(f"--output {output}: of a {kind}, expected a name that ends in {', '.join(endings)}")
    return output


def _check_range(options, moving):
    start, end = options.start or 0.0, options.end
    if not moving and (options.start is not None or end is not None or options.stride != 1):
        raise UserError("--start, --end and --stride are for videos; this is a picture")
    if not 0 <= start < math.inf or (end is not None and not start < end):
        raise UserError(f"--start {start:g} --end {end}: expected seconds, 0 or later, the end after the start")
    if options.stride < 1:
        raise UserError(f"--stride {options.stride}: expected 1 or more frames")


def _check_writable(path):
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if path.is_dir() or not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UserError(f"{path} cannot be written; expected a file in a folder you may write to; choose --output")


# --- seeing and explaining ------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Seen:
    """A medium as the network sees it and as it is shown.

    Attributes:
        inputs: (m, S, S, 3) uint8; m = 1 for a picture.
        shown: a picture, (1, H, W, 3), or a video's sampled frames at the size of thumbnails, (m', h, w, 3) uint8.
        geometry: of the source.
        clip: `video.SampledFrames` of a video, without the repeats of a clip shorter than m frames; None for a picture.
        once: which of the m these are, (m',); None for a picture.
    """

    inputs: object
    shown: object
    geometry: object
    clip: object = None
    once: object = None


def _see(job, config, options):
    import numpy as np

    from s2vt.data import pictures, sampling
    from s2vt.data.geometry import Geometry, resize
    from s2vt.rendering.drawing import thumbnail

    def see(frame):
        geometry = Geometry.of(frame.shape[1], frame.shape[0], config.features.resize)
        return sampling.together(input=resize(frame, geometry), shown=thumbnail(frame))

    if job.moving:
        clip = sampling.sample_video(job.medium.path, config.features.num_frames, options.start, options.end, convert=see)
        geometry = Geometry.of(*clip.size, config.features.resize)
        _, once = np.unique(clip.indices, return_index=True)
        distinct = dataclasses.replace(clip, indices=clip.indices[once], times=clip.times[once], frames=None)
        return Seen(clip.frames["input"], clip.frames["shown"][once], geometry, distinct, once)
    picture = pictures.read_picture(job.medium.path)
    geometry = Geometry.of(picture.shape[1], picture.shape[0], config.features.resize)
    return Seen(resize(picture, geometry)[None], picture[None], geometry)


class Explainer:
    """A trained captioner and its network, each loaded once, when first needed."""

    def __init__(self, config, run, checkpoint, vocabulary, options):
        self.config, self.run, self.checkpoint, self.vocabulary = config, run, checkpoint, vocabulary
        self.options = options

    @functools.cached_property
    def captioner(self):
        return self.run.captioner(self.checkpoint)[0]

    @functools.cached_property
    def extractor(self):
        from s2vt.features import inception

        return inception.FeatureExtractor(self.config.features)

    def explain(self, jobs, seen):
        """`Explanation` of each job's query sentence, or of the model's own caption; None where that is empty.

        The jobs are about one medium, and explained in one call.
        """
        from s2vt.captioning import decoding
        from s2vt.features.descriptors import descriptors_of
        from s2vt.saliency.explanation import explain

        command_line.load_engine()
        job, max_words = jobs[0], self.config.text.max_words
        cells = self._cells(job, seen)
        v = descriptors_of(cells, self.config).v
        sentences = [
            decoding.greedy(self.captioner, v[None], max_words)[0] if job.sentence is None
            else self.vocabulary.encode(job.sentence, max_words).tolist()
            for job in jobs
        ]  # fmt: skip
        asked = [y for y in sentences if y]
        words = [[self.vocabulary.words[i] for i in y] for y in asked]
        both_losses = self.options.loss == "kl" or any(_wants_page(job, self.options) for job in jobs)
        cells = cells[seen.once] if job.moving else cells[0]
        frame = self.options.frame or self.config.frame
        found = iter(explain(self.captioner, cells, asked, words, v if both_losses else None, frame))
        return [next(found) if y else None for y in sentences]

    def _cells(self, job, seen):
        """The medium's cells, (m, G*G, D): from its descriptor file where there is one, else through the network."""
        from s2vt.features.descriptors import DescriptorStore

        store = DescriptorStore(self.config, self.options.data_dir, layer="mixed_10")
        whole = self.options.start is None and self.options.end is None
        if job.medium.split and whole and job.medium.id in store:
            store.check()
            cells = store.load(job.medium)
            return cells if cells.ndim == 3 else cells[None]
        return self.extractor.cells(seen.inputs)


def _wants_page(job, options):
    """Whether an HTML page is made, beside the output or as the output."""
    return options.page or job.output.suffix.lower() == ".html"


def _phrases(job, words, options):
    """What to show: the words and phrases asked for, else every word of a video, every noun phrase of a picture."""
    from s2vt.data.phrases import find_phrases, noun_phrases, phrases_at

    names = _names(options)
    if names:
        return find_phrases(words, names)
    every = [(k,) for k in range(len(words))]
    return phrases_at(words, every if job.moving else noun_phrases(words) or every)


# --- making ---------------------------------------------------------------------------------------------------------


def _make(job, seen, explanation, options):
    """Makes one job's files: (the sentence, their paths, thumbnail)."""
    from s2vt.rendering import gallery, storyboard

    if explanation is None:
        raise UserError("the model's own caption of this medium is empty; give one with --sentence")
    phrases = _phrases(job, explanation.words, options)
    maker = MAKERS[job.moving][job.output.suffix.lower()]
    paths = maker(job, seen, explanation, phrases, options)
    if _wants_page(job, options) and maker is not make_page:
        paths += make_page(job, seen, explanation, phrases, options)
    if options.save_maps:
        clip = (seen.clip.indices, seen.clip.times) if job.moving else ()
        explanation.save(options.save_maps, seen.geometry, *clip)
        paths.append(Path(options.save_maps))
    content = set(storyboard.informative(explanation.words))
    telling = [k for k, p in enumerate(phrases) if content & {*p.words}] or range(len(phrases))
    losses = explanation.of_phrases(phrases, options.loss)
    thumbnail = gallery.thumbnail(seen.shown, telling, *losses, seen.geometry, options.cmap)
    return " ".join(explanation.words), paths, thumbnail


def make_video(job, seen, explanation, phrases, options):
    """A saliency video or animation, and the storyboard beside it."""
    from s2vt.data import video, video_writer
    from s2vt.rendering.video import saliency_video

    clip, suffix = seen.clip, job.output.suffix.lower()
    rate = video_writer.output_rate(clip.frame_rate, clip.duration, options.stride, suffix)
    frames = video.iterate_frames(job.medium.path, options.start, options.end)
    frames = command_line.progress("frame")(video.at_rate(frames, rate, clip.frame_rate), round(clip.duration * rate))
    saliency_video(
        job.output, frames, rate, explanation.words, phrases, *explanation.of_phrases(phrases, options.loss),
        clip.times, seen.geometry, layout=options.layout, cmap=options.cmap, normalize=options.normalize,
        loss_name=LOSSES[options.loss], limit=options.size,
    )  # fmt: skip
    storyboard = dataclasses.replace(job, output=job.output.with_name(f"{job.output.stem}_storyboard.png"))
    return [job.output, *make_storyboard(storyboard, seen, explanation, phrases, options)]


def make_storyboard(job, seen, explanation, phrases, options):
    """The storyboard of a video; of its content words only, unless words or phrases were asked for."""
    from s2vt.rendering import storyboard

    if not _names(options):
        phrases = [phrases[k] for k in storyboard.informative(explanation.words)]
    start = float(seen.clip.times[0])
    storyboard.storyboard(
        job.output, seen.shown, seen.clip.times, (start, start + seen.clip.duration), explanation.words, phrases,
        *explanation.of_phrases(phrases, options.loss), seen.geometry, cmap=options.cmap, normalize=options.normalize,
    )  # fmt: skip
    return [job.output]


def make_figure(job, seen, explanation, phrases, options):
    """The figure of a picture, with the true boxes of what its phrases name where they are known."""
    from s2vt.evaluation import mentions as localization
    from s2vt.rendering import figure

    config = cfg.find(options.dataset, options.data_dir)
    folder = Path(options.data_dir) / config.dataset
    boxes = localization.named_boxes(config.truth, folder, job.medium) if job.medium.split else {}
    loss, _ = explanation.of_phrases(phrases, options.loss)
    figure.picture_figure(
        job.output, seen.shown[0], explanation.words, phrases, loss[:, 0], seen.geometry,
        boxes=[boxes.get(phrase.name, ()) for phrase in phrases], layout=options.layout, cmap=options.cmap,
        normalize=options.normalize,
    )  # fmt: skip
    return [job.output]


def make_page(job, seen, explanation, phrases, options):
    """The HTML page of a video or picture: both losses, any words; those asked for first."""
    from s2vt.captioning.runs import Run
    from s2vt.data import video, video_writer
    from s2vt.rendering import page

    path = job.output.with_suffix(".html")
    shown = {
        "vocabulary": Run(command_line.run_folder(options, options.name)).vocabulary().words,
        "title": job.medium.path.name,
        "chosen": phrases[0].words if _names(options) else None,
        "loss": options.loss,
        "cmap": options.cmap,
        "normalize": options.normalize,
    }
    if job.moving:
        rate = video_writer.output_rate(seen.clip.frame_rate, seen.clip.duration, options.stride)
        frames = video.iterate_frames(job.medium.path, options.start, options.end)
        frames = video.at_rate(frames, rate, seen.clip.frame_rate)
        page.video_page(path, frames, rate, explanation, seen.clip.times, seen.geometry, **shown)
    else:
        page.picture_page(path, seen.shown[0], explanation, seen.geometry, **shown)
    return [path]


LOSSES = {"nll": "query loss (Eq. 7)", "kl": "representativeness (Eq. 6)"}

# Whether the medium moves -> the output's ending -> what makes it: (job, seen, explanation, phrases, options) -> paths.
MAKERS = {
    True: {
        **dict.fromkeys((".mp4", ".gif", ".webp", ".mov", ".m4v", ".mkv"), make_video),
        **dict.fromkeys((".png", ".pdf", ".svg"), make_storyboard),
        ".html": make_page,
    },
    False: {
        **dict.fromkeys((".png", ".pdf", ".svg"), make_figure),
        ".html": make_page,
    },
}


def _make_all(jobs, explainer, options):
    """Makes all, with one loading of the model, and an index page; goes on where it stopped."""
    from s2vt.data.files import lock

    with lock(jobs[0].output.parent, "choose another --output"):
        return _make_missing(jobs, explainer, options)


def _make_missing(jobs, explainer, options):
    from s2vt.data.pictures import MediaError
    from s2vt.rendering.gallery import Gallery

    gallery = Gallery(jobs[0].output.parent, f"{explainer.run.name}: {len(jobs)} media explained")
    kept = ("words", "phrases", "loss", "layout", "cmap", "normalize", "size", "start", "end", "stride", "page")
    settings = {key: getattr(options, key) for key in kept} | {"checkpoint": explainer.checkpoint}
    settings["size"] = list(options.size) if options.size else None
    missing, failed = {}, {}  # {medium's id: its jobs}; {job's name: error}
    made_with = {job.name: {**settings, "medium": job.medium.id, "sentence": job.sentence, "file": job.output.name}
                 for job in jobs}  # fmt: skip
    for job in jobs:
        if not gallery.holds(job.name, made_with[job.name]):
            missing.setdefault(job.medium.id, []).append(job)
    for asked in command_line.progress("medium")(missing.values(), len(missing)):
        try:
            seen = _see(asked[0], explainer.config, options)
            explanations = explainer.explain(asked, seen)
        except (MediaError, UserError) as error:
            failed |= {job.name: error for job in asked}
            continue
        for job, explanation in zip(asked, explanations, strict=True):
            try:
                gallery.add(job.name, *_make(job, seen, explanation, options), made_with[job.name])
            except (MediaError, UserError) as error:
                failed[job.name] = error
    print(gallery.folder / "index.html")
    for name, error in failed.items():
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    command_line.run(main)
