"""Trains a captioner, scores its captions (Table 3), or scores its saliency maps (Tables 1, 2; faithfulness; sanity).

python run_s2vt.py --dataset MovingShapes --train --model soft_attention
python run_s2vt.py --dataset MovingShapes --test --name MovingShapes,MovingShapes-soft_attention
python run_s2vt.py --dataset MovingShapes --localize --name MovingShapes,MovingShapes-soft_attention --map all
python run_s2vt.py --dataset StillShapes --faithfulness --map nll,kl --limit 20
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
    folders = [command.run_folder(name) for name in ([None] if options.name is None else options.name.split(","))]
    if options.baselines_only and not (options.action is localize and options.name is None):
        parser.error("--baselines_only is for --localize, and has no --name")
    if options.pixels and options.action not in (faithfulness, sanity):
        parser.error("--pixels is for --faithfulness and --sanity")
    if options.ray is not None and options.action is train:
        parser.error("--ray is for all but --train")
    if len(set(folders)) < len(folders) or (options.action is train and len(folders) > 1):
        parser.error(f"--name {options.name}: expected {'one run' if options.action is train else 'each run once'}")

    from s2vt.captioning.runs import Run

    runs = tuple(Run(folder) for folder in folders) if not options.baselines_only else ()
    if options.action is train:
        return train(runs[0], options, command)
    for run in runs:
        run.checkpoint(options.checkpoint)
    return options.action(runs, tuple(command.config_of(run) for run in runs), options, command)


def train(run, options, command):
    """train; each epoch leaves a checkpoint, numbered from 0"""
    from s2vt.captioning import devices, training

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
        devices=devices.Devices(options.devices, options.coordinator, options.processes, options.process),
    )
    best, score = training.train(request)
    print(f"{run.folder}: best checkpoint {best}, validation METEOR {score:.3f}")
    return 0


def test(runs, configs, options, command):
    """caption a split and score the captions"""
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
    scores = testing.score_captions(request, command_line.progress("batch"), command_line.workers(options))
    print(f"{scores.table}\n\n{scores.num_media} media of {options.split}, beam {options.beam}; {scores.path}")
    return 0


def localize(runs, configs, options, command):
    """score the saliency maps of the true captions"""
    from s2vt.evaluation import localization

    return show(localization.localize(*map_request(runs, configs, options, command)))


def faithfulness(runs, configs, options, command):
    """delete and insert what maps call salient, and score what the captioner still says"""
    from s2vt.evaluation import faithfulness

    return show(faithfulness.faithfulness(*map_request(runs, configs, options, command)))


def sanity(runs, configs, options, command):
    """compare maps before and after the captioner's weights are scrambled"""
    from s2vt.evaluation import sanity
    from s2vt.rendering.similarity import similarity_figure

    found = sanity.sanity(*map_request(runs, configs, options, command))
    figures = [similarity_figure(scores.path.with_suffix(".png"), sanity.curves(scores)) for scores in found]
    return show([*found, *(f"{figure}: similarity over the stages" for figure in figures)])


def map_request(runs, configs, options, command):
    """(what is asked about maps, a progress bar, who finds them)."""
    from s2vt.evaluation.localization import LocalizationRequest
    from s2vt.evaluation.protocol import Protocol
    from s2vt.saliency.maps import parse_kinds

    resize = configs[0].features.resize if configs else None
    protocols = [(name, command.under_protocol(name)) for name in options.protocol.split(",")]
    request = LocalizationRequest(
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
        pixels=options.pixels,
    )
    return request, command_line.progress("medium"), command_line.workers(options)


def show(results):
    for result in results:
        print(result, end="\n\n")
    return 0


ACTIONS = (train, test, localize, faithfulness, sanity)


def _parser():
    parser = command_line.ScriptParser("run_s2vt.py", __doc__.split("\n")[0], cfg.CONFIGS)
    group, chosen = parser.add_mutually_exclusive_group(required=True), {"action": "store_const", "dest": "action"}
    for function in ACTIONS:
        group.add_argument(f"--{function.__name__}", **chosen, const=function, help=function.__doc__)
    command_line.add_run_flags(parser)
    return parser


if __name__ == "__main__":
    command_line.run(main)
