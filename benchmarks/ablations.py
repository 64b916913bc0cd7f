"""Scores of maps with one setting changed at a time: sigma in space and time, a frame's input, likelihood."""

import dataclasses
import functools
from pathlib import Path

from s2vt.saliency.maps import Asking, find_evidence

SIGMA_CELLS = (0.0, 0.3, 0.6, 0.75, 0.9, 1.5, 3.0)
SIGMA_FRAMES = (0.0, 0.5, 0.75, 1.5, 3.0)


def measure(dataset="StillShapes", name="", data_dir="DATA", experiments_dir="experiments", split="val", limit=0):
    """Query loss of one run's best checkpoint, scored as by `run_s2vt.py --localize`, every row on the same phrases.

    Settings that a row does not name have the data set's values.
    """
    import cfg
    from s2vt import config as configs
    from s2vt.captioning.runs import Run
    from s2vt.data import datasets
    from s2vt.evaluation.mentions import ANNOTATIONS
    from s2vt.features.descriptors import DescriptorStore

    run = Run(Path(experiments_dir) / (name or dataset))
    usual = configs.find(dataset, data_dir, cfg.CONFIGS)
    config = dataclasses.replace(run.config(), saliency=usual.saliency, evaluation=usual.evaluation)
    store = DescriptorStore(config, data_dir, layer="mixed_10")
    media = datasets.select(datasets.read_media(config, data_dir), split, limit or None)
    scorers = scorers_of(config, run.vocabulary(), finder(run.captioner("best")[0], store))
    for medium in store.available(media)[0]:
        geometry, indices, _ = store.details(medium)
        captions = list(ANNOTATIONS[config.annotations](Path(data_dir) / dataset, medium, indices))
        for scorer in scorers:
            scorer.add(medium, geometry, captions)
    return rows_of(scorers)


def settings_of(config):
    """The rows: {label: (its SaliencyConfig, the domain that it changes, "space" or "time")}."""
    usual, rows = config.saliency, {}
    for sigma in SIGMA_CELLS:
        rows[f"sigma_cells={sigma:g}"] = dataclasses.replace(usual, sigma_cells=sigma), "space"
    for how in ("pooled", "cells") if config.media == "video" else ():
        for sigma in SIGMA_FRAMES:
            changed = dataclasses.replace(usual, frame_input=how, sigma_frames=sigma)
            rows[f"frame_input={how}, sigma_frames={sigma:g}"] = changed, "time"
    return rows


def scorers_of(config, vocabulary, find):
    """A Scorer for each row of the table.

    Args:
        find: Asking -> `MapSource.find` of the maps "nll" and "likelihood".
    """
    from s2vt.evaluation.protocol import Protocol
    from s2vt.evaluation.scorer import MapSource, Scorer

    scorers = []
    for label, (saliency, domain) in settings_of(config).items():
        labels = {"nll": label}
        if config.media == "picture" and saliency == config.saliency:
            labels["likelihood"] = f"{label}, likelihood"
        find_asked = find(Asking(config.media, saliency.of_evidence))
        source = MapSource(labels, vocabulary, config.text.max_words, find_asked)
        scorer = Scorer([source], config.media, dataclasses.replace(Protocol.of(config), saliency=saliency))
        scorer.tables = [table for table in scorer.tables if table.domain == domain]
        scorers.append(scorer)
    return scorers


def finder(captioner, store):
    """Asking -> `MapSource.find`. Rows that ask for the same evidence share one computation."""

    @functools.lru_cache(4)
    def evidence(asking, medium, sentences):
        return find_evidence(captioner, store.descriptors(medium), sentences, ["nll", "likelihood"], asking)

    def find(asking, medium, sentences):
        return evidence(asking, medium, tuple(tuple(y.tolist()) for y in sentences))

    return lambda asking: functools.partial(find, asking)


def rows_of(scorers):
    """{row: {title of a table: average}}; then the baselines; then the number of phrases."""
    rows, baselines, phrases = {}, {}, {}
    for scorer in scorers:
        (source,) = scorer.sources
        for tally in scorer.tallies.values():
            phrases[tally.metric] = tally.scored
            for row, (average, _) in tally.averages().items():
                of_map = row in source.rows.values()
                (rows if of_map else baselines).setdefault(row, {})[tally.metric] = average
    return rows | baselines | {"phrases": phrases}
