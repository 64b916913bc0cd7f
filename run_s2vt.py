"""Trains a captioner, scores its captions (Table 3), or scores its saliency maps (Tables 1 and 2).

python run_s2vt.py --dataset MovingShapes --train --model soft_attention
python run_s2vt.py --dataset MovingShapes --test --name MovingShapes,MovingShapes-soft_attention
python run_s2vt.py --dataset MovingShapes --localize --name MovingShapes,MovingShapes-soft_attention --map all
"""

import shlex
import sys
from pathlib import Path

import cfg
from s2vt import command_line

COCO_FOLDER = Path(__file__).parent / "coco-caption"


def main():
    parser = _parser()
    options, command = parser.parse()
    names = [None] if options.name is None else options.name.split(",")
    folders = [command.run_folder(name) for name in names]
    if options.beam < 1:
        parser.error(f"--beam {options.beam}: expected 1 or more")
    if options.baselines_only and not (options.localize and options.name is None):
        parser.error("--baselines_only is for --localize, and has no --name")
    if len(set(folders)) < len(folders) or (options.train and len(folders) > 1):
        parser.error(f"--name {options.name}: expected {'one run' if options.train else 'each run once'}")

    from s2vt.captioning.runs import Run

    runs = tuple(Run(folder) for folder in folders) if not options.baselines_only else ()
    if options.train:
        return train(runs[0], options, command)
    for run in runs:
        run.checkpoint(options.checkpoint)
    configs = tuple(command.config_of(run) for run in runs)
    return (test if options.test else localize)(runs, configs, options, command)


def train(run, options, command):
    from s2vt.captioning import training

    request = training.TrainingRequest(
        config=command.config,
        run=run,
        data_dir=command.data_dir,
        seed=command.seed,
        resume=options.resume,
        overwrite=options.overwrite,
        command=shlex.join(["python", *sys.argv]),
        weights=command.weights,
        data_sets=cfg.CONFIGS,
    )
    best, score = training.train(request)
    print(f"{run.folder}: best checkpoint {best}, validation METEOR {score:.3f}")
    return 0


def test(runs, configs, options, command):
    from s2vt.captioning import testing

    request = testing.ScoringRequest(
        runs=runs,
        configs=configs,
        data_dir=command.data_dir,
        checkpoint=options.checkpoint,
        split=options.split,
        limit=options.limit,
        beam=options.beam,
        coco_folder=COCO_FOLDER,
    )
    scores = testing.score_captions(request, command_line.progress("batch"))
    print(scores.table)
    print(f"\n{scores.num_media} media of {options.split}, beam {options.beam}; {scores.path}")
    return 0


def localize(runs, configs, options, command):
    from s2vt.evaluation import localization
    from s2vt.evaluation.protocol import Protocol
    from s2vt.saliency.maps import parse_kinds

    resize = configs[0].features.resize if configs else None
    protocols = [(name, command.under_protocol(name)) for name in options.protocol.split(",")]
    request = localization.LocalizationRequest(
        runs=runs,
        configs=configs or (command.config,),
        protocols=tuple(Protocol.of(config, name, usual, resize) for name, (config, usual) in protocols),
        data_dir=command.data_dir,
        kinds=tuple(parse_kinds(options.map or command.config.saliency.map)) if runs else (),
        folder=None if runs else command.experiments_dir / "baselines",
        checkpoint=options.checkpoint,
        split=options.split,
        limit=options.limit,
        seed=command.seed,
    )
    for scores in localization.localize(request, command_line.progress("medium")):
        print(scores, end="\n\n")
    return 0


def _parser():
    parser = command_line.ScriptParser("run_s2vt.py", __doc__.split("\n")[0], cfg.CONFIGS)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--train", action="store_true", help="train; each epoch leaves a checkpoint, numbered from 0")
    action.add_argument("--test", action="store_true", help="caption a split and score the captions")
    action.add_argument("--localize", action="store_true", help="score the saliency maps of the true captions")
    parser.add_short_form(
        "--model", "model.name", "M", "the captioner: s2vt, mean_pool, soft_attention, hard_attention, transformer"
    )
    parser.add_argument(
        "--name",
        help="the run's folder under experiments_dir (default: the name of the data set, with -MODEL if that is not "
        "s2vt); with --test, --localize also A,B,...: the rows of one table",
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="with --train: continue an existing run")
    again.add_argument("--overwrite", action="store_true", help="with --train: start an existing run again")
    parser.add_argument("--checkpoint", default="best", help="a number, best (by validation METEOR) or last")
    parser.add_argument("--beam", type=int, default=1, metavar="K", help="with --test: width of the beam; 1 is greedy")
    parser.add_argument("--split", default="test", help="with --test, --localize: train, val or test")
    parser.add_argument("--limit", type=int, metavar="N", help="with --test, --localize: the first N media only")
    _add_localization(parser)
    return parser


def _add_localization(parser):
    """The flags of --localize."""
    kinds = "with --localize: kinds of map; all: those that each run can give (default: saliency.map)"
    protocols = "with --localize: how maps are made and scored: paper, ours, release, torchray"
    parser.add_argument("--map", metavar="A,B,...", help=kinds)
    parser.add_argument("--protocol", metavar="A,B,...", default="ours", help=protocols)
    parser.add_argument(
        "--baselines_only",
        action="store_true",
        help="with --localize: score the baselines alone, which needs no media, descriptors or run",
    )
    for flag, key, values, what in (
        ("--tolerance", "tolerance", "PIXELS", "source pixels by which a point may miss a box"),
        ("--average", "average", "phrase|class", "over phrases (paper), or over the categories' averages (TorchRay)"),
        ("--unknown", "unknown", "drop|miss", "phrases that the captioner cannot read: left out, or misses"),
    ):
        parser.add_short_form(flag, f"evaluation.{key}", values, f"with --localize: {what}")
    crop = "with --localize: only the centre of the picture counts"
    parser.add_short_form("--center_crop", "evaluation.region", None, crop, value="center_crop")


if __name__ == "__main__":
    command_line.run(main)
