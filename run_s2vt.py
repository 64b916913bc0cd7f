"""Trains a captioner, scores captions (Table 3), or scores saliency maps (Tables 1 and 2).

python run_s2vt.py --dataset MovingShapes --train --model soft_attention
python run_s2vt.py --dataset MovingShapes --test --name MovingShapes,MovingShapes-soft_attention
python run_s2vt.py --dataset MovingShapes --localize --name MovingShapes,MovingShapes-soft_attention --map all
"""

import dataclasses
import shlex
import sys
from pathlib import Path

import cfg
from s2vt import command_line

KINDS = ("information_loss", "kl", "attention")  # the names in s2vt.saliency.maps.MAPS


def main():
    parser = command_line.parser("run_s2vt.py", __doc__.split("\n")[0])
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--train", action="store_true", help="train; a checkpoint an epoch, numbered from 0")
    action.add_argument("--test", action="store_true", help="caption a split and score the captions")
    action.add_argument("--localize", action="store_true", help="score the saliency maps of the true captions")
    parser.add_argument("--model", choices=cfg.CHOICES["model.name"], help="the captioner (default: s2vt)")
    parser.add_argument("--name", help="the run's folder under experiments_dir (default: the data set, with the model "
                        "if not s2vt); with --test, --localize: A,B,... are the rows of one table")  # fmt: skip
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="with --train: go on where the run stopped")
    again.add_argument("--overwrite", action="store_true", help="with --train: start the run again")
    parser.add_argument("--checkpoint", default="best", help="a number, best (validation METEOR) or last")
    parser.add_argument("--beam", type=int, default=1, help="with --test: beam width; 1 is greedy")
    parser.add_argument("--split", default="test", help="with --test, --localize: train, val or test")
    parser.add_argument("--limit", type=int, help="with --test, --localize: at most so many media")
    parser.add_argument("--map", default="information_loss", metavar="A,B,...",
                        help=f"with --localize: which maps, of {', '.join(KINDS)}; all: every one that each run "
                        "can give")  # fmt: skip
    parser.add_argument("--tolerance", type=float, default=0.0,
                        help="with --localize: source pixels a point may miss by (paper: 0, TorchRay: 15)")  # fmt: skip
    parser.add_argument("--spread", type=float, default=0.75,
                        help="with --localize: how far a cell's value reaches, in cells, and a frame's, in sampled "
                             "frames; 0: bilinear maps, each frame's own value")  # fmt: skip
    parser.add_argument("--frame", choices=("pooled", "cells"), help=command_line.FRAME_HELP)
    parser.add_argument("--average", choices=("phrase", "class"), default="phrase",
                        help="with --localize: over phrases (paper) or over the categories (TorchRay)")  # fmt: skip
    parser.add_argument("--center_crop", action="store_true",
                        help="with --localize: only the centre crop counts (Table 2), as it always does for runs with "
                        "features.resize=center_crop")  # fmt: skip
    options = parser.parse_args()
    names = [None] if options.name is None else options.name.split(",")
    folders = [command_line.run_folder(options, name) for name in names]
    config = command_line.config_of(options)
    if options.beam < 1:
        parser.error(f"--beam {options.beam}: expected 1 or more")
    if not 0 <= options.tolerance < float("inf"):
        parser.error(f"--tolerance {options.tolerance}: expected source pixels, 0 or more")
    if not 0 <= options.spread < float("inf"):
        parser.error(f"--spread {options.spread}: expected cells, 0 or more")
    if len(set(folders)) < len(folders) or options.train and len(folders) > 1:
        parser.error(f"--name {options.name}: expected {'one run' if options.train else 'each run once'}")
    options.map = list(KINDS) if options.map == "all" else options.map.split(",")
    if not set(options.map) <= set(KINDS) or len(set(options.map)) < len(options.map):
        parser.error(f"--map {','.join(options.map)}: expected all, or some of {', '.join(KINDS)}, each once")

    from s2vt.captioning.runs import Run

    runs = [Run(folder) for folder in folders]
    if options.train:
        return train(config, runs[0], options)
    for run in runs:
        run.checkpoint(options.checkpoint)
    configs = [command_line.run_config_of(options, run) for run in runs]
    return test(configs, runs, options) if options.test else localize(configs, runs, options)


def with_descriptors(store, media):
    """The media that can be used; a line on stderr names those that could not be decoded."""
    present, left_out = store.available(media)
    if left_out:
        ids = ", ".join(list(left_out)[:10]) + (", ..." if len(left_out) > 10 else "")
        print(f"left out, could not be decoded (see {store.folder / 'failed.tsv'}): {ids}", file=sys.stderr)
    return present


def train(config, run, options):
    from s2vt.data import datasets
    from s2vt.data.files import lock
    from s2vt.errors import UserError
    from s2vt.features.descriptors import DescriptorStore

    run.check_new(config, options.resume, options.overwrite)
    media = datasets.read_media(config, options.data_dir)
    store = DescriptorStore(config, options.data_dir)
    training_media, validation_media = (with_descriptors(store, datasets.select(media, s)) for s in ("train", "val"))
    if config.training.cells:  # single cells are read, too
        training_media = with_descriptors(DescriptorStore(config, options.data_dir, "mixed_10"), training_media)
    if options.record and options.record["weights"] not in (None, store.meta()["weights"]):
        raise UserError(
            f"{options.config} was trained on descriptors of other weights than those in {store.folder}; make its own "
            f"with preprocessing.py --weights, or train on these with --dataset {config.dataset}"
        )
    with lock(run.folder, "choose another --name", writes=(run.folder, run.folder / "checkpoints")):
        command_line.load_engine()
        from s2vt.captioning import training

        training.train(
            config, run, training_media, validation_media, store,
            options.seed, options.resume, options.overwrite, command=shlex.join(["python", *sys.argv]),
        )  # fmt: skip
    scores = run.scores()
    best = run.checkpoint("best")
    print(f"{run.folder}: best checkpoint {best}, validation METEOR {scores[best]:.3f}")
    return 0


def test(configs, runs, options):
    from s2vt.captioning import coco_format, scoring
    from s2vt.data import datasets
    from s2vt.data.files import write_json
    from s2vt.features.descriptors import DescriptorStore

    media = datasets.select(datasets.read_media(configs[0], options.data_dir), options.split, options.limit)
    stores = [DescriptorStore(config, options.data_dir) for config in configs]
    for store in stores:
        media = with_descriptors(store, media)
    command_line.load_engine()
    from s2vt.captioning.decoding import caption_media

    references = {medium.id: list(medium.captions) for medium in media}
    coco = cfg.ROOT / "coco-caption"
    beam = f"_beam{options.beam}" if options.beam > 1 else ""
    rows, records = {}, []
    for config, run, store in zip(configs, runs, stores, strict=True):
        captioner, number = run.captioner(options.checkpoint)
        candidates = caption_media(
            captioner, run.vocabulary(), media, store, config, options.beam, command_line.progress("batch")
        )
        scores = scoring.score(references, candidates)
        name = f"{run.name}_{options.split}_{number}{beam}"
        coco_format.write_coco_annotations(coco / "annotations" / f"{run.name}_{options.split}.json", references)
        coco_format.write_coco_results(coco / "results" / f"{name}.json", candidates)
        record = {**run.identity(number), "split": options.split, "beam": options.beam, "media": len(media),
                  "scores": scores}  # fmt: skip
        result = run.folder / "scores" / f"captions_{name}.json"
        write_json(result, record)
        records.append(record)
        rows[f"{run.name}, checkpoint {number}"] = scores
    if len(runs) > 1:
        result = runs[0].folder / "scores" / f"captions_{'+'.join(r.name for r in runs)}_{options.split}{beam}.json"
        write_json(result, {"dataset": configs[0].dataset, "rows": records})
    print(scoring.table(rows))
    print(f"\n{len(media)} media of {options.split}, beam {options.beam}; {result}")
    return 0


def localize(configs, runs, options):
    from s2vt.data import datasets
    from s2vt.data.files import write_json
    from s2vt.errors import UserError
    from s2vt.evaluation import localization, mentions, protocol
    from s2vt.features.descriptors import DescriptorStore

    config = configs[0]
    if config.truth not in mentions.TRUTHS:
        raise UserError(f"{config.dataset} does not say what its captions name; use a set with boxes, or --test")
    media = datasets.select(datasets.read_media(config, options.data_dir), options.split, options.limit)
    store = DescriptorStore(config, options.data_dir, layer="mixed_10")
    for run, other in zip(runs, configs, strict=True):
        if DescriptorStore(other, options.data_dir, layer="mixed_10").meta() != store.meta():
            raise UserError(f"{run.folder} reads other descriptors than {runs[0].folder}; score them apart")
    media = with_descriptors(store, media)
    command_line.load_engine()

    frame = options.frame or config.frame
    rows, identities = [], []
    for run, its_config in zip(runs, configs, strict=True):
        captioner, number = run.captioner(options.checkpoint)
        for name, maps in maps_of(captioner, its_config, run, store, options.map, frame).items():
            label = name.replace("_", " ") if len(runs) == 1 else f"{run.name}: {name.replace('_', ' ')}"
            rows.append(localization.Row(label, run.vocabulary(), its_config.text.max_words, maps))
            identities.append({"row": label, "map": name, **run.identity(number)})
    resize = "center_crop" if options.center_crop else config.features.resize
    protocol = protocol.Protocol(options.tolerance, options.average, resize, options.spread, frame)
    key = {"dataset": config.dataset, "split": options.split, "rows": identities, "descriptors": store.meta(),
           "protocol": dataclasses.asdict(protocol)}  # fmt: skip
    parts = ["localization", "+".join(run.name for run in runs), options.split]
    parts += [str(number) if len(runs) == 1 else options.checkpoint]
    parts += ["+".join(options.map)] if options.map != ["information_loss"] else []
    parts += [f"tolerance{options.tolerance:g}"] if options.tolerance else []
    parts += [f"spread{options.spread:g}"] if options.spread != localization.SPREAD else []
    parts += [frame] if frame != config.frame else []
    parts += [options.average] if options.average != "phrase" else []
    parts += ["center_crop"] if options.center_crop else []
    result = runs[0].folder / "scores" / f"{'_'.join(parts)}.json"
    record = localization.Record(result.with_suffix(".partial.json"), key)
    tallies = localization.localize(
        media, config.truth, Path(options.data_dir) / config.dataset, store.details, rows, protocol, record,
        command_line.progress("medium"),
    )  # fmt: skip
    write_json(result, {**key, "media": len(media), "tables": {name: t.to_json() for name, t in tallies.items()}})
    record.remove()
    print("\n\n".join(tally.table() for tally in tallies.values()), end="\n\n")
    for line in localization.absent(tallies, rows):
        print(line)
    checkpoints = ", ".join(dict.fromkeys(f"{i['run']} checkpoint {i['checkpoint']}" for i in identities))
    print(f"{len(media)} media of {options.split}, {checkpoints}; {result}")
    return 0


def maps_of(captioner, config, run, store, wanted, frame):
    """{name: (medium, sentences) -> maps} of the maps that are asked of one run."""
    from s2vt.errors import UserError
    from s2vt.features.descriptors import scan_order, v_of
    from s2vt.saliency.maps import MAPS, names_of

    names = [name for name in names_of(captioner) if name in wanted]
    if not names:
        raise UserError(
            f"{run.folder} has no {' or '.join(wanted)} maps, being of the kind {config.model.name}; it can give "
            f"{', '.join(names_of(captioner))} (--map), or choose another run with --name"
        )
    order = scan_order(config.features.scan) if config.features.layer == "mixed_10" else None

    def of(name):
        def maps(medium, sentences):
            cells = store.load(medium)
            v = v_of(cells if cells.ndim == 3 else cells[None], config)
            return MAPS[name](captioner, cells, v, order, sentences, frame)

        return maps

    return {name: of(name) for name in names}


if __name__ == "__main__":
    command_line.run(main)
