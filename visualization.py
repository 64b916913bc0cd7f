"""Media and a sentence -> where and when the captioner finds the evidence for each word.

    python visualization.py --media photo.jpg --sentence "a dog runs on the beach"
    python visualization.py --dataset MovingShapes --media_id video1050 --sentence "a white circle appears"

A video gives an MP4 of all words and a storyboard PNG, a picture a PNG with a map per noun phrase. The ending of
--output chooses other formats; .html is a page on which words are chosen with the mouse. Without --sentence the
captioner's own caption is explained. --media explains a file of your own; --media_id all, or a text file of lines
media_id<TAB>sentence, explains many, with an index page.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import cfg
from s2vt import command_line


def main():
    parser = _parser()
    options = parser.parse_args()
    if options.map == "list":
        return _list(parser, options)
    if options.media_id is None and options.media is None:
        parser.error("one of the arguments --media_id --media is required")

    from s2vt.data.text import tokenize
    from s2vt.explaining.captioners import selected
    from s2vt.explaining.explain import explain_files
    from s2vt.explaining.request import Excerpt, ExplanationRequest, Selection, views_of
    from s2vt.rendering.drawing import Look

    asked = []
    for command, name in _commands(parser, options):
        captioner, protocol = selected(command, name, options.checkpoint, options.protocol)
        asked.append((captioner, Look(captioner.config.saliency, options.cmap, options.layout, options.size, protocol)))
    phrases = [tuple(tokenize(name)) for name in [*(options.words or "").split(","), *options.phrases] if name.strip()]
    request = ExplanationRequest(
        views=views_of(asked),
        data_dir=command.data_dir,
        selection=Selection(*(getattr(options, field.name) for field in dataclasses.fields(Selection))),
        phrases=tuple(phrases),
        excerpt=Excerpt(options.start, options.end, options.stride),
        output=options.output,
        page=options.page,
        save_maps=options.save_maps,
        seed=command.seed,
    )
    result = explain_files(request, command_line.progress, command_line.workers(options))
    for path in result.paths:
        print(path)
    for name, error in result.failed.items():
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
    return 1 if result.failed else 0


def _commands(parser, options):
    """The Command and the name of each run of --name, of several with the network of --weights that is the run's."""
    from s2vt.explaining.usual import runs_of

    for name, weights in runs_of(Path(options.experiments_dir), options.name, options.weights):
        yield parser.command_of(argparse.Namespace(**{**vars(options), "name": name, "weights": weights})), name


def _list(parser, options):
    """Prints the kinds of map: those of the runs that are named, or all of them."""
    from s2vt.captioning.runs import Run
    from s2vt.saliency.listing import kinds_table

    if not (options.name or options.dataset or options.config):
        print(kinds_table())
        return 0
    for command, name in _commands(parser, options):
        run = Run(command.run_folder(name)).require()
        print(kinds_table(run.config().model, run.config().media))
    return 0


def _usual(options):
    """The data set where none is named: that of --name, or the usual one of a file of the user's own."""
    if options.media is None and options.name is None:
        return None
    from s2vt.explaining.usual import usual_dataset

    return usual_dataset(options.media, options.name, Path(options.experiments_dir), cfg.USUAL)


def _parser():
    parser = command_line.ScriptParser("visualization.py", __doc__.split("\n")[0], cfg.CONFIGS, _usual)
    what = parser.add_mutually_exclusive_group()
    which = "of the data set: one id, all of a split, or a text file of lines media_id<TAB>sentence"
    what.add_argument("--media_id", metavar="ID|all|FILE", help=which)
    what.add_argument("--media", metavar="FILE", help="any video or picture; without --dataset, the usual captioner's")
    parser.add_argument("--split", default="test", help="with --media_id all: train, val or test")
    parser.add_argument("--limit", type=int, metavar="N", help="with --media_id all: the first N media only")
    parser.add_argument("--sentence", help="the sentence to explain (default: the captioner's own caption)")
    parser.add_argument("--instead", metavar="SENTENCE", help="why a word of --sentence and not this sentence's word")
    parser.add_argument("--words", help="show these words of the sentence only, such as red,car")
    phrases = 'show one map for each phrase (Eq. 9), such as "a red car" "the road"'
    parser.add_argument("--phrases", nargs="+", metavar="PHRASE", default=[], help=phrases)
    name = "the run under experiments_dir (default: the data set's name); A,B: side by side"
    parser.add_argument("--name", help=name)
    parser.add_argument("--checkpoint", default="best", help="a number, best (by validation METEOR) or last")
    _add_drawing(parser)
    parser.add_argument("--start", type=float, metavar="SECONDS", help="of a video: explain it from here")
    parser.add_argument("--end", type=float, metavar="SECONDS", help="of a video: explain it up to here")
    stride = "of a video: draw one frame in so many; the speed stays that of the source"
    parser.add_argument("--stride", type=int, default=1, metavar="FRAMES", help=stride)
    parser.add_argument(
        "--output",
        help="file to write, whose ending chooses what is made (default: in the run's "
        "folder, saliency/). Of many media: a folder, or FOLDER/{id}.gif",
    )
    parser.add_argument("--page", action="store_true", help="write the HTML page, too, beside the output")
    parser.add_argument("--save_maps", metavar="FILE.npz", help="write the raw numbers, too")
    command_line.add_worker_flags(parser)
    return parser


def _add_drawing(parser):
    """The flags of the kind of map and of how it is drawn."""
    parser.add_short_form(
        "--map",
        "saliency.map",
        "KIND",
        "the kind of map: nll, query loss (Eq. 7), or another one; A,B: side by side; list: print them and exit",
    )
    parser.add_argument("--protocol", default="ours", help="how maps are made: paper, ours, release, torchray")
    parser.add_argument(
        "--layout",
        choices=("grid", "strip", "single"),
        default="grid",
        help="grid: all words; strip: in one row; single: only the word with the most evidence at the moment",
    )
    parser.add_argument("--cmap", default="inferno", help="name of a matplotlib colour map, such as jet")
    parser.add_short_form(
        "--normalize",
        "saliency.normalize",
        "HOW",
        "clip: each word scaled over the clip (Eq. 8); frame: in each frame; release: all steps of the 2017 release, "
        "from every frame of a video",
    )
    size = "largest canvas of a video (default: 1920x1080; of a GIF or WebP, smaller)"
    parser.add_argument("--size", type=command_line.canvas_size, metavar="WxH", help=size)


if __name__ == "__main__":
    command_line.run(main)
