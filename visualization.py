"""Media and a sentence -> where and when the captioner found its evidence, word by word.

    python visualization.py --dataset MovingShapes --media_id video440 --sentence "a red circle moves left"

A video gives an MP4 (all words in a grid) and a storyboard PNG; a picture gives a PNG with a map per noun phrase.
Without --sentence the model's own caption is explained. --media explains a file of your own.
"""

import difflib
import math
import os
from pathlib import Path

from s2vt import command_line
from s2vt.errors import UserError


def main():
    parser = command_line.parser("visualization.py", __doc__.split("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--media_id", help="a medium of the data set")
    what.add_argument("--media", help="any video or picture file, explained with the data set's captioner")
    parser.add_argument("--sentence", help="what to look for (default: the model's own caption)")
    parser.add_argument("--checkpoint", default="best", help="a number, best (validation METEOR) or last")
    parser.add_argument("--name", help="the run's folder under experiments_dir (default: the data set)")
    parser.add_argument("--loss", choices=("nll", "kl"), default="nll",
                        help="nll: query loss (Eq. 7); kl: representativeness (Eq. 6)")  # fmt: skip
    parser.add_argument("--start", type=float, metavar="SECONDS", help="of a video: show it from here")
    parser.add_argument("--end", type=float, metavar="SECONDS", help="of a video: show it up to here")
    parser.add_argument("--stride", type=int, default=1, metavar="FRAMES",
                        help="of a video: draw every so many frames; the speed stays that of the source")  # fmt: skip
    parser.add_argument("--output", help="MP4 or PNG to write (default: under the run's folder, saliency/)")
    parser.add_argument("--save_maps", metavar="FILE.npz", help="write the raw numbers as well")
    options = parser.parse_args()
    folder = command_line.run_folder(options, options.name)
    command_line.config_of(options)

    from s2vt.captioning.runs import Run
    from s2vt.data import datasets, media

    run = Run(folder)
    run.checkpoint(options.checkpoint)
    config = command_line.run_config_of(options, run)
    vocabulary = run.vocabulary()
    y = None if options.sentence is None else vocabulary.encode(options.sentence, config.text.max_words)
    if options.media is None:
        medium = _medium(datasets.read_media(config, options.data_dir), options.media_id)
    else:
        medium = datasets.Medium(Path(options.media).stem, Path(options.media), "", ())
    if not medium.path.is_file():
        raise UserError(f"{medium.path}: no such file; expected a video or picture")
    moving = config.media == "video" and not media.is_picture(medium.path)
    _check_range(options, moving)
    suffix = ".mp4" if moving else ".png"
    output = Path(options.output or run.folder / "saliency" / f"{medium.id}{suffix}")
    if output.suffix.lower() != suffix:
        raise UserError(f"--output {output}: expected a name that ends in {suffix}")
    if options.save_maps and not options.save_maps.endswith(".npz"):
        raise UserError(f"--save_maps {options.save_maps}: expected a name that ends in .npz")
    for path in (output, Path(options.save_maps)) if options.save_maps else (output,):
        _check_writable(path)
    show = show_video if moving else show_picture
    for path in show(config, run, vocabulary, medium, y, output, options):
        print(path)
    return 0


def _check_range(options, moving):
    start, end = options.start or 0.0, options.end
    if not moving and (options.start is not None or end is not None or options.stride != 1):
        raise UserError("--start, --end and --stride are for videos; this is a picture")
    if not 0 <= start < math.inf or (end is not None and not start < end):
        raise UserError(f"--start {start:g} --end {end}: expected seconds, 0 or later, the end after the start")
    if options.stride < 1:
        raise UserError(f"--stride {options.stride}: expected 1 or more frames")


def _medium(media, medium_id):
    if medium_id not in media:
        near = difflib.get_close_matches(medium_id, media, 3)
        ids = list(media)
        hint = f"nearest: {', '.join(near)}; " if near else ""
        raise UserError(f"no medium {medium_id!r}; {hint}there are {len(ids)}, from {ids[0]} to {ids[-1]}")
    return media[medium_id]


def _check_writable(path):
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if path.is_dir() or not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UserError(f"{path} cannot be written; expected a file in a folder you may write to; choose --output")


def _explain(config, run, vocabulary, cells, y, options):
    """Explanation of the query sentence, or of the model's own caption; cells (m, G*G, D), of a picture (G*G, D)."""
    import numpy as np

    from s2vt.captioning import decoding
    from s2vt.features.store import v_of
    from s2vt.saliency.explanation import explain

    captioner, _ = run.captioner(options.checkpoint)
    seen = cells if cells.ndim == 3 else cells[None]
    if config.media == "video" and cells.ndim == 2:  # a picture is a video of one frame, which is sampled m times
        seen = np.repeat(seen, config.features.num_frames, axis=0)
    v = v_of(seen, config)
    if y is None:
        y = decoding.greedy(captioner, v[None], config.text.max_words)[0]
        if not y:
            raise UserError("the model's own caption of this medium is empty; give one with --sentence")
    words = [vocabulary.words[i] for i in y]
    return explain(captioner, cells, y, words, v if options.loss == "kl" else None)


def _cells(config, medium, pictures, options):
    """The medium's cells: from its descriptor file where there is one, else through the network."""
    from s2vt.features.store import DescriptorStore, lazy_extractor

    store = DescriptorStore(config, options.data_dir, layer="mixed_10")
    if medium.split and medium.id in store and options.start is None and options.end is None:
        store.check()
        return store.load(medium)
    return lazy_extractor(config)().cells(pictures)


def show_video(config, run, vocabulary, medium, y, output, options):
    from s2vt.data import media
    from s2vt.saliency import rendering

    def see(frame):
        """One sampled frame as the network sees it and as the storyboard shows it, whatever its own size."""
        geometry = media.Geometry.of(frame.shape[1], frame.shape[0], config.features.resize)
        return media.together(input=media.resize(frame, geometry), shown=rendering.thumbnail(frame))

    clip = media.read_frames(medium.path, config.features.num_frames, options.start, options.end, convert=see)
    command_line.load_engine()
    geometry = media.Geometry.of(*clip.size, config.features.resize)
    explanation = _explain(config, run, vocabulary, _cells(config, medium, clip.frames["input"], options), y, options)
    loss, loss_pooled = explanation.maps(options.loss)
    rate = clip.frame_rate / options.stride
    frames = media.at_rate(media.iterate_frames(medium.path, options.start, options.end), rate, clip.frame_rate)
    rendering.saliency_video(output, frames, rate, explanation.words, loss, loss_pooled, clip.times, geometry)
    storyboard = output.with_name(f"{output.stem}_storyboard.png")
    rendering.storyboard(
        storyboard, clip.frames["shown"], clip.times - clip.times[0], clip.duration, explanation.words, loss, loss_pooled, geometry
    )
    if options.save_maps:
        explanation.save(options.save_maps, geometry, clip.indices, clip.times)
    return [output, storyboard, *([options.save_maps] if options.save_maps else [])]


def show_picture(config, run, vocabulary, medium, y, output, options):
    from s2vt.data import media
    from s2vt.evaluation import localization
    from s2vt.saliency import rendering
    from s2vt.saliency.heatmaps import phrase_loss

    picture = media.read_picture(medium.path)
    command_line.load_engine()
    from s2vt.saliency.explanation import noun_phrases

    geometry = media.Geometry.of(picture.shape[1], picture.shape[0], config.features.resize)
    cells = _cells(config, medium, media.resize(picture, geometry)[None], options)
    explanation = _explain(config, run, vocabulary, cells.reshape(-1, cells.shape[-1]), y, options)
    loss, _ = explanation.maps(options.loss)
    folder = Path(options.data_dir) / config.dataset
    boxes = localization.named_boxes(config.truth, folder, medium) if medium.split else {}
    phrases = []
    for positions in noun_phrases(explanation.words) or [(k,) for k in range(len(explanation.words))]:
        name = " ".join(explanation.words[k] for k in positions)
        phrases.append((name, phrase_loss(loss[:, 0], positions), boxes.get(name, ())))
    rendering.picture_figure(output, picture, phrases, geometry, " ".join(explanation.words))
    if options.save_maps:
        explanation.save(options.save_maps, geometry)
    return [output, *([options.save_maps] if options.save_maps else [])]


if __name__ == "__main__":
    command_line.run(main)
