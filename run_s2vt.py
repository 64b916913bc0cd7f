"""Trains the captioner, scores its captions, or scores its saliency maps.

python run_s2vt.py --dataset MovingShapes --train
python run_s2vt.py --dataset MovingShapes --test --checkpoint best
python run_s2vt.py --dataset MovingShapes --localize --checkpoint best
"""

import functools
import sys
from pathlib import Path

import cfg
from s2vt import command_line


def main():
    parser = command_line.parser("run_s2vt.py", __doc__.split("\n")[0])
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--train", action="store_true", help="train; a checkpoint an epoch, numbered from 0")
    action.add_argument("--test", action="store_true", help="caption a split and score the captions")
    action.add_argument("--localize", action="store_true", help="score the saliency maps of the true captions")
    parser.add_argument("--name", help="the run's folder under experiments_dir (default: the data set)")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="with --train: go on where the run stopped")
    again.add_argument("--overwrite", action="store_true", help="with --train: start the run again")
    parser.add_argument("--checkpoint", default="best", help="a number, best (validation METEOR) or last")
    parser.add_argument("--beam", type=int, default=1, help="with --test: beam width; 1 is greedy")
    parser.add_argument("--split", default="test", help="with --test, --localize: train, val or test")
    parser.add_argument("--limit", type=int, help="with --test, --localize: at most so many media")
    options = parser.parse_args()
    folder = command_line.run_folder(options, options.name)
    config = command_line.config_of(options)
    if options.beam < 1:
        parser.error(f"--beam {options.beam}: expected 1 or more")

    from s2vt.captioning.runs import Run

    run = Run(folder)
    if options.train:
        return train(config, run, options)
    run.checkpoint(options.checkpoint)
    config = command_line.run_config_of(options, run)
    return test(config, run, options) if options.test else localize(config, run, options)


def with_descriptors(store, media):
    """The media that can be used; a line on stderr names those that could not be decoded."""
    present, left_out = store.available(media)
    if left_out:
        ids = ", ".join(list(left_out)[:10]) + (", ..." if len(left_out) > 10 else "")
        print(f"left out, could not be decoded (see {store.folder / 'failed.tsv'}): {ids}", file=sys.stderr)
    return present


def train(config, run, options):
    from s2vt.data import datasets
    from s2vt.features.store import DescriptorStore

    run.check_new(config, options.resume, options.overwrite)
    media = datasets.read_media(config, options.data_dir)
    store = DescriptorStore(config, options.data_dir)
    training_media, validation_media = (with_descriptors(store, datasets.select(media, s)) for s in ("train", "val"))
    command_line.load_engine()
    from s2vt.captioning import training

    training.train(
        config, run, training_media, validation_media, store,
        options.seed, options.resume, options.overwrite, command=" ".join(["python", *sys.argv]),
    )  # fmt: skip
    scores = run.scores()
    best = run.checkpoint("best")
    print(f"{run.folder}: best checkpoint {best}, validation METEOR {scores[best]:.3f}")
    return 0


def test(config, run, options):
    from s2vt.captioning import scoring
    from s2vt.data import datasets
    from s2vt.data.files import write_json
    from s2vt.features.store import DescriptorStore

    media = datasets.select(datasets.read_media(config, options.data_dir), options.split, options.limit)
    store = DescriptorStore(config, options.data_dir)
    media = with_descriptors(store, media)
    command_line.load_engine()
    from s2vt.captioning.decoding import caption_media

    captioner, number = run.captioner(options.checkpoint)
    candidates = caption_media(
        captioner, run.vocabulary(), media, store, config, options.beam, command_line.progress("batch")
    )
    references = {medium.id: list(medium.captions) for medium in media}
    scores = scoring.score(references, candidates)
    name = f"{run.name}_{options.split}_{number}" + (f"_beam{options.beam}" if options.beam > 1 else "")
    coco = cfg.ROOT / "coco-caption"
    scoring.write_coco_annotations(coco / "annotations" / f"{run.name}_{options.split}.json", references)
    scoring.write_coco_results(coco / "results" / f"{name}.json", candidates)
    result = run.folder / "scores" / f"captions_{name}.json"
    write_json(result, {"checkpoint": number, "split": options.split, "beam": options.beam, "media": len(media),
                        "scores": scores})  # fmt: skip
    print(scoring.table({f"{run.name}, checkpoint {number}": scores}))
    print(f"\n{len(media)} media of {options.split}, beam {options.beam}; {result}")
    return 0


def localize(config, run, options):
    from s2vt.data import datasets
    from s2vt.data.files import write_json
    from s2vt.errors import UserError
    from s2vt.evaluation import localization
    from s2vt.features.store import DescriptorStore

    if config.truth not in localization.TRUTHS:
        raise UserError(f"{config.dataset} does not say what its captions name; use a set with boxes, or --test")
    media = datasets.select(datasets.read_media(config, options.data_dir), options.split, options.limit)
    store = DescriptorStore(config, options.data_dir, layer="mixed_10")
    media = with_descriptors(store, media)
    command_line.load_engine()
    from s2vt.saliency.explanation import explain

    captioner, number = run.captioner(options.checkpoint)

    def losses(medium, y):
        explanation = explain(captioner, store.load(medium), y)
        return explanation.loss, explanation.loss_pooled

    tallies = localization.localize(
        command_line.progress("medium")(media),
        config.truth,
        Path(options.data_dir) / config.dataset,
        functools.cache(store.details),
        run.vocabulary(),
        config.text.max_words,
        losses,
    )
    result = run.folder / "scores" / f"localization_{run.name}_{options.split}_{number}.json"
    write_json(result, {"checkpoint": number, "split": options.split, "media": len(media),
                        "tables": {name: tally.to_json() for name, tally in tallies.items()}})  # fmt: skip
    print("\n\n".join(tally.table() for tally in tallies.values() if tally.scored))
    print(f"\n{len(media)} media of {options.split}, {run.name}, checkpoint {number}; {result}")
    return 0


if __name__ == "__main__":
    command_line.run(main)
