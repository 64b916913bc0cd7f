"""Localization of runs from the request to the JSON file, with a captioner that names the colours of cells."""

import csv
import dataclasses
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from colours import CONFIG, AttentiveCaptioner, ColourCaptioner, ColourNetwork, ColourRun, pictures, words_of

import cfg
from s2vt.captioning.runs import Run
from s2vt.config import PROTOCOLS
from s2vt.data import datasets
from s2vt.data.files import read_json
from s2vt.data.text import Vocabulary
from s2vt.errors import UserError
from s2vt.evaluation import localization
from s2vt.evaluation.localization import LocalizationRequest, localize
from s2vt.evaluation.protocol import Protocol
from s2vt.features.descriptors import DescriptorStore
from s2vt.features.extraction import extract
from s2vt.synthetic import writers
from s2vt.synthetic.drawing import COLOURS

SNAKE = CONFIG.replace(["features.scan=snake", "model.name=soft_attention"])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("colours"), 6)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    sizes = {"train": 1, "validate": 1, "test": 1}
    writers.write_moving_shapes(folder / "MovingShapes", sizes, split="test", processes=1)
    store = DescriptorStore(cfg.MOVING_SHAPES, folder, "mixed_10")
    assert extract(store, datasets.select(datasets.read_media(store.config, folder), "test"), ColourNetwork) == {}
    return folder


@pytest.fixture
def run(data, tmp_path):
    return ColourRun(tmp_path / "experiments" / "colours", CONFIG, words_of(data))


def beside(run, **changes):
    """Another run in the same folder of runs."""
    return dataclasses.replace(run, folder=run.folder.with_name("attentive"), **changes)


def request(data, *runs, kinds=("nll",), config=CONFIG, **options):
    configs = tuple(
        dataclasses.replace(run.config(), saliency=config.saliency, evaluation=config.evaluation) for run in runs
    )
    return LocalizationRequest(runs, configs, data, kinds, **options)


def averages(scores, table):
    return {row: average for row, (average, _) in scores.tallies[table].averages().items()}


def phrases_path(scores):
    return scores.path.with_suffix(".phrases.tsv")


def lines_of(scores):
    with open(phrases_path(scores), encoding="utf-8") as file:
        return list(csv.DictReader(file, dialect="excel-tab"))


def test_scores_of_one_run_and_their_file(data, run):
    (scores,) = localize(request(data, run))
    assert scores.path == run.folder / "scores" / "localization_colours_test_7_ours.json"
    assert (scores.media, scores.checkpoints, scores.absent) == ("all 6 media of test", {"colours": 7}, [])
    assert set(run.folder.joinpath("scores").iterdir()) == {scores.path, phrases_path(scores)}  # no partial file
    pointing = averages(scores, "space")
    assert list(pointing) == ["nll", "random", "center"]
    assert pointing["nll"] > 0.6 and pointing["random"] < 0.15 and pointing["center"] < 0.4
    correctness = averages(scores, "attention correctness")
    assert correctness["nll"] > 1.3 * correctness["uniform"]
    record = read_json(scores.path)
    assert record["tables"] == {name: tally.to_json() for name, tally in scores.tallies.items()}
    assert record["rows"] == [
        {"row": "nll", "map": "nll", "run": "colours", "checkpoint": 7, "sha256": "digest of colours"}
    ]
    assert (record["dataset"], record["split"], record["media"]) == ("StillShapes", "test", 6)
    assert record["descriptors"] == DescriptorStore(CONFIG, data, "mixed_10").meta()
    assert record["protocol"] == {
        "name": "ours", "tolerance": 0.0, "sigma_cells": 0.75, "sigma_frames": 0.75, "frame_input": "pooled",
        "words": "all", "reads": 1, "subsets": 256, "subset_share": 0.5,
        "precision": "float32", "integration_steps": 24, "eb_layer": "mixed_10",
        "average": "phrase", "region": "picture", "unknown": "drop", "resize": "squash", "normalize": "clip",
    }  # fmt: skip


def test_runs_and_kinds_of_map_side_by_side(data, run):
    other = beside(run, known=SNAKE, captioner_class=AttentiveCaptioner)
    changed = CONFIG.replace(["evaluation.tolerance=3", "saliency.sigma_cells=0"])
    (scores,) = localize(request(data, run, other, kinds=("nll", "kl", "attention"), config=changed))
    assert scores.path.name == (
        "localization_colours+attentive_test_best_nll+kl+attention_ours_sigma_cells0.0_tolerance3.0.json"
    )
    pointing = averages(scores, "space")
    assert list(pointing) == [
        "colours: nll", "colours: kl", "attentive: nll", "attentive: kl", "attentive: attention", "random", "center",
    ]  # fmt: skip
    assert pointing["colours: nll"] == pointing["attentive: nll"] > 0.6  # nll knows no scan
    assert pointing["attentive: attention"] > 0.7 > pointing["colours: kl"]  # in the order of the cells, not the scan
    assert [row["map"] for row in read_json(scores.path)["rows"]] == ["nll", "kl", "nll", "kl", "attention"]
    assert "tolerance 3 px" in scores.tallies["space"].table() and "bilinear" in scores.tallies["space"].table()


def test_maps_that_share_a_pass_are_found_in_one(data, run, monkeypatch):
    encoded = []
    encode = ColourCaptioner.encode
    monkeypatch.setattr(ColourCaptioner, "encode", lambda self, v: encoded.append(len(v)) or encode(self, v))
    localize(request(data, run, kinds=("nll",), limit=1))
    alone, encoded[:] = encoded.count(64), []
    localize(request(data, run, kinds=("nll", "kl"), limit=1))
    assert alone == encoded.count(64) == 1


@pytest.mark.parametrize(("how", "shape"), [("pooled", (26 * 65, 1, 2048)), ("cells", (26, 64, 2048))])
def test_frames_of_a_clip_are_read_as_the_command_says(clip, run, monkeypatch, how, shape):
    config = cfg.MOVING_SHAPES.replace([f"saliency.frame_input={how}"])
    encoded = []
    encode = ColourCaptioner.encode
    monkeypatch.setattr(ColourCaptioner, "encode", lambda self, v: encoded.append(v.shape) or encode(self, v))
    (scores,) = localize(request(clip, dataclasses.replace(run, known=cfg.MOVING_SHAPES), config=config))
    assert shape in encoded
    assert scores.path.stem == "localization_colours_test_7_ours" + ("_frame_inputpooled" if how == "pooled" else "")
    assert averages(scores, "space")["nll"] > 0.5


def test_several_protocols_share_one_pass_and_have_files_of_their_own(data, run, monkeypatch):
    encoded = []
    encode = ColourCaptioner.encode
    monkeypatch.setattr(ColourCaptioner, "encode", lambda self, v: encoded.append(len(v)) or encode(self, v))
    protocols = tuple(
        Protocol.of(CONFIG.with_settings(PROTOCOLS[name]), name) for name in ("ours", "paper", "torchray")
    )
    together = localize(request(data, run, protocols=protocols))
    assert encoded.count(64) == 6  # one pass for each picture
    assert [scores.path.stem for scores in together] == [
        "localization_colours_test_7_ours", "localization_colours_test_7_paper", "localization_colours_test_7_torchray",
    ]  # fmt: skip
    for protocol, scores in zip(protocols, together, strict=True):
        (alone,) = localize(request(data, run, protocols=(protocol,)))
        assert read_json(alone.path)["tables"] == {name: tally.to_json() for name, tally in scores.tallies.items()}
    ours, paper, torchray = ([averages(scores, "space")[row] for row in ("nll", "random")] for scores in together)
    assert ours != paper and torchray[1] > paper[1] == ours[1]  # the tolerance of 15 pixels


@pytest.mark.parametrize("place", ["data", "clip"])
def test_baselines_alone_need_nothing_but_lists_captions_and_annotations(place, run, tmp_path, request):
    source, config = request.getfixturevalue(place), cfg.STILL_SHAPES if place == "data" else cfg.MOVING_SHAPES
    captions = (caption for medium in datasets.read_media(config, source).values() for caption in medium.captions)
    run = dataclasses.replace(run, known=config, words=Vocabulary.from_captions([*captions, *COLOURS], 1))
    (whole,) = localize(LocalizationRequest((run,), (config,), source, ("nll",)))
    bare = tmp_path / "bare"
    media = ("*.npy", "*.jpg", "*.mp4", "descriptors", "imgs_train.txt", "imgs_val.txt")
    shutil.copytree(source, bare, ignore=shutil.ignore_patterns(*media))
    (alone,) = localize(LocalizationRequest((), (config,), bare, folder=tmp_path))
    assert alone.path == tmp_path / f"localization_{config.dataset}-baselines_test_ours.json"
    for name, tally in alone.tallies.items():
        expected = whole.tallies[name].averages()
        assert tally.averages() == {row: values for row, values in expected.items() if row != "nll"}


def test_the_papers_table_stands_beside_scores_of_its_data(data, run):
    (scores,) = localize(request(data, run))
    assert "Protocol ours; all 6 media of test, colours checkpoint 7" in str(scores)
    assert "the paper's Table 1" not in str(scores)
    beside_paper = str(dataclasses.replace(scores, data=("Flickr30k", "test")))
    assert "| center | 0.201 | 0.599 | 0.647 | 0.496 | 0.644 | 0.652 | 0.384 | 0.397 | 0.492 |" in beside_paper


def test_a_killed_localization_is_resumed(data, run):
    done = []

    def stop_after(number):
        def progress(media):
            for medium in media:
                if len(done) == number:
                    raise KeyboardInterrupt
                yield medium
                done.append(medium.id)

        return progress

    (scores,) = localize(request(data, run))
    whole, phrases = scores.path.read_bytes(), phrases_path(scores).read_bytes()
    scores.path.unlink(), phrases_path(scores).unlink()
    with pytest.raises(KeyboardInterrupt):
        localize(request(data, run), stop_after(2))
    (partial,) = (run.folder / "scores").iterdir()
    assert partial.name.endswith(".partial.jsonl") and len(partial.read_text().splitlines()) == 1 + 2
    (scores,) = localize(request(data, run), stop_after(None))
    assert scores.path.read_bytes() == whole and len(done) == len(set(done)) == 6
    assert set((run.folder / "scores").iterdir()) == {scores.path, phrases_path(scores)}
    assert phrases_path(scores).read_bytes() == phrases


def test_the_scores_of_each_phrase_have_the_averages_of_the_tables(data, run):
    protocols = tuple(Protocol.of(CONFIG.with_settings(PROTOCOLS[name]), name) for name in ("ours", "paper"))
    ours, paper = localize(request(data, run, kinds=("nll", "likelihood"), protocols=protocols))
    for scores in (ours, paper):
        lines = lines_of(scores)
        assert [*lines[0]][:5] == ["medium", "sentence", "phrase", "categories", "unread"]
        assert {line["unread"] for line in lines} == {""} and len(lines) == scores.tallies["space"].scored
        for name in scores.tallies:
            for row, average in averages(scores, name).items():
                column = [float(line[f"{name}: {row}"]) for line in lines]
                assert np.mean(column) == pytest.approx(average, abs=1e-5)
        for line in lines:
            assert f" {line['phrase']} " in f" {line['sentence']} " and line["categories"] in ("round", "angular")
        media = [line["medium"] for line in lines]
        assert list(dict.fromkeys(media)) == sorted(set(media)) and len(set(media)) == 6
    assert phrases_path(ours).read_text() != phrases_path(paper).read_text()


def test_phrases_that_a_captioner_cannot_read_say_why(data, run):
    brief = dataclasses.replace(run, known=CONFIG.replace(["text.max_words=4"]))  # three words of a sentence
    (scores,) = localize(request(data, brief))
    assert {line["unread"] for line in lines_of(scores)} == {"", "beyond the decoder's steps"}
    read = [line for line in lines_of(scores) if not line["unread"]]
    assert 0 < len(read) == scores.tallies["space"].scored < len(lines_of(scores))


@pytest.mark.parametrize("damage", [b"\xff\n", b'{"key": 1\n', b"[]\nnot JSON\n"])
def test_a_damaged_record_is_started_again(data, run, damage):
    (whole,) = localize(request(data, run))
    record = whole.path.with_suffix(".partial.jsonl")
    record.write_bytes(damage)
    (again,) = localize(request(data, run))
    assert again.path.read_bytes() == whole.path.read_bytes() and not record.exists()


def test_what_cannot_be_scored_is_refused(data, run):
    blind = dataclasses.replace(CONFIG, annotations="none")
    with pytest.raises(UserError, match="StillShapes does not say what its captions name"):
        localize(request(data, dataclasses.replace(run, known=blind)))
    with pytest.raises(UserError, match="colours has no attention maps.*s2vt.*nll, kl"):
        localize(request(data, run, kinds=("attention",)))
    with pytest.raises(UserError, match="--protocol ours,ours: expected each protocol once"):
        request(data, run, protocols=(Protocol(), Protocol()))
    with pytest.raises(UserError, match="colours has no change maps of a picture.*nll, kl, likelihood"):
        localize(request(data, run, kinds=("change",)))
    cropped = beside(run, known=CONFIG.replace(["features.resize=center_crop"]))
    with pytest.raises(UserError, match="attentive reads other descriptors than .*colours"):
        localize(request(data, run, cropped))
    assert not run.folder.exists()


def test_a_run_has_what_localization_calls():
    """The stand-in above has no method that `Run` lacks."""
    methods = [name for name in vars(ColourRun) if not name.startswith("_")]
    assert not set(methods) - set(dir(Run)) - {field.name for field in dataclasses.fields(ColourRun)}


def test_pictures_seen_otherwise_have_a_result_of_their_own(run):
    """Scores of another view do not overwrite those of the usual one."""
    config = run.config()

    def name(*settings):
        request = LocalizationRequest((run,), (config.replace(list(settings)),), "DATA", ("nll",))
        scorer = SimpleNamespace(file_name="ours")
        return localization._name("localization", request, scorer, {run.name: 3})

    assert len({name(), name("features.view=mirrored"), name("features.input_size=448")}) == 3
    assert name("features.view=mirrored", "features.input_size=448").endswith("_448_mirrored_ours")
