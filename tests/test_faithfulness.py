"""Faithfulness of runs from the request to the JSON file, with a captioner that names the colours of cells."""

import dataclasses

import numpy as np
import pytest
from colours import CONFIG, AttentiveCaptioner, ColourNetwork, ColourRun, killed_and_resumed, pictures, words_of

from s2vt.captioning.s2vt import S2VT
from s2vt.config import PROTOCOLS
from s2vt.data import datasets
from s2vt.data.files import read_json
from s2vt.errors import UserError
from s2vt.evaluation import results
from s2vt.evaluation.faithfulness import Counted, faithfulness, mean_descriptor
from s2vt.evaluation.localization import LocalizationRequest, localize
from s2vt.evaluation.protocol import Protocol
from s2vt.features import networks
from s2vt.features.descriptors import DescriptorStore
from s2vt.saliency.gradients import integrated_gradients, word_gradients
from s2vt.saliency.information_loss import descriptor_losses

ATTENTIVE = CONFIG.replace(["model.name=soft_attention"])
XPLIQUE = CONFIG.replace(["evaluation.faithfulness=xplique"])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("faithfulness"), 3)


@pytest.fixture
def run(data, tmp_path):
    return ColourRun(tmp_path / "experiments" / "colours", ATTENTIVE, words_of(data), AttentiveCaptioner)


def request(data, run, kinds=("nll", "attention"), config=XPLIQUE, **options):
    config = dataclasses.replace(run.config(), saliency=config.saliency, evaluation=config.evaluation)
    return LocalizationRequest((run,), (config,), data, kinds, **options)


def test_maps_are_scored_beside_orders_on_the_phrases_of_localization(data, run):
    (scores,) = faithfulness(request(data, run))
    assert scores.path.name == "faithfulness_colours_test_7_nll+attention_ours_xplique.json"
    names = [f"{curve}: space{scale}" for curve in ("deletion", "insertion") for scale in ("", ", probability")]
    assert list(scores.tallies) == [*names, "seconds", "passes", "backward passes"]
    (located,) = localize(request(data, run))
    for name in names:
        averages = {row: average for row, (average, _) in scores.tallies[name].averages().items()}
        assert list(averages) == ["nll", "attention", "random", "center"]
        assert scores.tallies[name].scored == located.tallies["space"].scored > 10
    deleted, inserted = (scores.tallies[f"{curve}: space"].averages() for curve in ("deletion", "insertion"))
    assert deleted["nll"][0] < deleted["random"][0] and inserted["nll"][0] > inserted["random"][0]
    assert scores.tallies["passes"].averages()["nll"][0] == 64 + 1  # a trial row tells how many fit into memory
    record = read_json(scores.path)
    assert record["protocol"]["faithfulness"]["replaced by"] == "zeros"
    assert [row["map"] for row in record["rows"]] == ["nll", "attention", "random", "center"]
    printed = str(scores)
    assert "| area under log P(phrase) | deletion: space | insertion: space |" in printed
    assert "Definition xplique: 10 steps" in printed
    assert "| costs a medium | seconds | passes | backward passes |" in printed


def test_a_resumed_run_equals_a_whole_one(data, run):
    whole, resumed = killed_and_resumed(lambda progress: faithfulness(request(data, run), progress))
    for record in (whole, resumed):
        assert record["tables"].pop("seconds")["scored"] == 3
    assert resumed == whole


def test_another_definition_has_another_file_and_is_not_resumed_from_this_one(data, run):
    (quantus,) = faithfulness(request(data, run, config=CONFIG.replace(["evaluation.faithfulness=quantus"]), limit=1))
    assert quantus.path.name.endswith("first1_ours_quantus.json")
    assert [name for name in quantus.tallies if "insertion" in name] == []
    assert "until 12.8% of them are done; a cell is replaced: zeros" in str(quantus)


def test_pixels_are_replaced_where_asked_for(data, run, monkeypatch):
    network = ColourNetwork()
    monkeypatch.setattr(networks, "FeatureExtractor", lambda features: network)
    (scores,) = faithfulness(request(data, run, kinds=("nll",), pixels=True, limit=1))
    assert scores.path.name.endswith("_xplique_pixels.json")
    for name, better in (("deletion: space", -1), ("insertion: space", 1)):
        cells, pixels = (scores.tallies[f"{name}{where}"].averages() for where in ("", ", pixels"))
        assert better * (pixels["nll"][0] - pixels["random"][0]) > 0
        assert pixels != cells


def test_passes_forward_and_backward_are_counted():
    """Of gradients: all words of all sentences are read, and gone back through, once (at each point)."""
    captioner = S2VT(vocabulary_size=7, units=6, embedding_size=3)
    v, sentences = np.random.default_rng(5).random((4, 5), "float32"), [[4, 2, 6], [4, 2, 1, 3]]
    captioner.build({"v": (None, None, 5)})
    counted = Counted(captioner)
    found = word_gradients(counted.encode, counted.step, v, sentences)
    assert (counted.forward, counted.backward) == (5 + 1, 5)  # a trial row; two words are the same
    for of_sentence, alone in zip(found, word_gradients(captioner.encode, captioner.step, v, sentences), strict=True):
        np.testing.assert_allclose(of_sentence, alone, rtol=1e-6)
    counted = Counted(captioner)
    integrated_gradients(counted.encode, counted.step, v, sentences, 3)
    assert counted.backward == 15
    counted = Counted(captioner)
    descriptor_losses(counted.encode, counted.step, v, sentences)
    assert (counted.forward, counted.backward) == (4 + 1, 0)


def test_the_substitute_is_the_mean_of_the_training_media_where_they_have_descriptors(data):
    store, known = DescriptorStore(CONFIG, data, "mixed_10"), datasets.read_media(CONFIG, data)
    media = datasets.select(known, "test")
    mean, of = mean_descriptor(store, known, media)
    assert of == "3 media of those scored"
    expected = np.mean([store.load(medium) for medium in media], axis=(0, 1), dtype="float64")
    np.testing.assert_allclose(mean, expected, rtol=1e-6)
    training = [dataclasses.replace(medium, split="train") for medium in media[:2]]
    mean, of = mean_descriptor(store, {medium.id: medium for medium in training}, media)
    assert of == "2 media of train"
    np.testing.assert_allclose(
        mean, np.mean([store.load(m) for m in training], axis=(0, 1), dtype="float64"), rtol=1e-6
    )


def test_docs_read_the_result(data, run, tmp_path):
    (scores,) = faithfulness(request(data, run, limit=2))
    copy = results.add(scores.path, "colours_faithfulness", tmp_path)
    found = results.read_result(copy)
    assert found.row("colours", "random") == "random" and found.scored("seconds") == 0
    for name in ("deletion: space", "passes"):
        assert found.value(name, "nll") == pytest.approx(scores.tallies[name].averages()["nll"][0], rel=1e-5)


def test_what_cannot_be_asked_is_refused(data, run):
    release = Protocol.of(CONFIG.with_settings(PROTOCOLS["release"]), "release")
    with pytest.raises(UserError, match="--faithfulness asks about the cells .* --protocol release .* expected ours"):
        faithfulness(request(data, run, protocols=(release,)))
    with pytest.raises(UserError, match="evaluation.faithfulness=lime: expected one of rise, quantus, xplique"):
        CONFIG.replace(["evaluation.faithfulness=lime"])
    with pytest.raises(UserError, match="colours has no rollout maps"):
        faithfulness(request(data, run, kinds=("rollout",)))
    assert not run.folder.exists()
