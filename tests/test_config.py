"""Settings: the paper's numbers, `--set`, config.json, dataset.json."""

import dataclasses
import json

import pytest

import cfg
from s2vt import config as configs
from s2vt.config import Config
from s2vt.errors import UserError


def test_the_papers_numbers():
    config = cfg.MSR_VTT
    assert (config.features.num_frames, config.model.units, config.model.embedding_size) == (26, 1300, 300)
    assert (config.training.learning_rate, config.model.dropout, config.text.max_words) == (5e-4, 0.5, 25)
    assert cfg.FLICKR30K.features.layer == "mixed_10" and cfg.MSR_VTT.features.layer == "pool_3"


def test_set_changes_a_copy_with_the_right_type():
    changed = cfg.MSR_VTT.replace(["model.units=512", "training.learning_rate=1e-3", " features.scan = snake "])
    assert changed.model.units == 512 and changed.training.learning_rate == 0.001 and changed.features.scan == "snake"
    assert cfg.MSR_VTT.model.units == 1300


@pytest.mark.parametrize(
    ("assignment", "facts"),
    [
        ("model.unit=5", ["did you mean model.units?", "features.weights, "]),
        ("units=5", ["did you mean model.units?"]),
        ("dataset=other", ["no such setting"]),
        ("a=b", ["no such setting"]),
        ("", ["key=value"]),
        ("=", ["no such setting"]),
        ("model.units", ["key=value"]),
        ("saliency.subset_share=0", ["expected a number from 0.01 to 0.99"]),
        ("saliency.subset_share=1", ["expected a number from 0.01 to 0.99"]),
        ("saliency.subset_share=nan", ["expected a number from 0.01 to 0.99"]),
        ("saliency.subsets=1", ["expected a whole number from 2 to 100000"]),
        ("saliency.reads=0", ["expected a whole number from 1 to 64"]),
        ("saliency.reads=2.5", ["expected a whole number from 1 to 64"]),
        ("saliency.words=nouns", ["expected one of all, content"]),
        ("model.units=many", ["whole number"]),
        ("model.units=0", ["whole number, 1 or more"]),
        ("model.units=-3", ["whole number, 1 or more"]),
        ("model.units=1.5", ["whole number"]),
        ("model.units=1e9", ["whole number"]),
        (f"model.units={'9' * 5000}", ["whole number"]),
        ("features.num_frames=0", ["whole number, 1 or more"]),
        ("model.dropout=2", ["a number from 0 to 1"]),
        ("training.frame_as_image_share=7", ["a number from 0 to 1"]),
        ("saliency.sigma_cells=1e9", ["a number from 0 to 100"]),
        ("training.learning_rate=nan", ["a number, 0 or more"]),
        ("training.learning_rate=-1", ["a number, 0 or more"]),
        ("saliency.sigma_cells=inf", ["a number from 0 to 100"]),
        ("features.resize=stretch", ["one of squash, center_crop"]),
        ("model.gate=open", ["one of none, beta"]),
    ],
)
def test_a_wrong_setting_is_named_with_its_valid_values(assignment, facts):
    with pytest.raises(UserError) as caught:
        cfg.MSR_VTT.replace([assignment])
    message = str(caught.value)
    assert message.startswith("--set") and assignment[:40] in message and "\n" not in message
    assert all(fact in message for fact in facts), message


def test_an_error_names_what_the_user_typed():
    with pytest.raises(UserError, match="^--batch_size 0: expected a whole number"):
        cfg.MSR_VTT.with_value("features.batch_size", "0", "--batch_size 0")


# --- config.json


def test_every_config_survives_its_file(tmp_path):
    for config in cfg.CONFIGS.values():
        path = tmp_path / "config.json"
        path.write_text(json.dumps({"config": config.to_json(), "seed": 3, "weights": "sha256:0"}))
        assert configs.record(path) == {"config": config, "seed": 3, "weights": "sha256:0"}


def test_a_missing_section_or_field_has_its_default():
    values = cfg.MOVING_SHAPES.to_json()
    del values["saliency"], values["evaluation"], values["features"]["precision"]
    config = Config.from_json(values)
    assert config.saliency == configs.SaliencyConfig() and config.evaluation == configs.EvaluationConfig()
    assert config.features == cfg.MOVING_SHAPES.features


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((("dataset",), value) for value in (None, 3, "../x", "", "..", "a/b")),
        *((("layout",), value) for value in (None, "x", [])),
        *((("media",), value) for value in ("film", 3)),
        *((("annotations",), value) for value in ({}, "x")),
        *((("features",), value) for value in (None, [], {"x": 1})),
        *((("unknown",), 1), (("model",), 3), (("model", "depth"), 2), (("model", "layers"), 0)),
        *((("model", "units"), value) for value in ("7", -1, 0, 1e3, None, 10**30, True)),
        *((("model", "name"), value) for value in ("gru", 3, None, ["s2vt"])),
        *((("model", "dropout"), value) for value in ("x", -0.5, 7, float("nan"))),
        *((("text", "max_words"), value) for value in (0, "x", 2.5)),
        *((("features", "weights"), value) for value in (3, None)),
        *((("features", "layer"), value) for value in ("pool_4", {})),
    ],
)
def test_a_config_that_does_not_fit_is_refused(key, value):
    values = cfg.MSR_VTT.to_json()
    part = values
    for name in key[:-1]:
        part = part[name]
    part[key[-1]] = value
    with pytest.raises(UserError, match=key[-1] if len(key) == 1 and key[0] in ("dataset", "layout") else "config"):
        Config.from_json(values)


@pytest.mark.parametrize("seed", ["x", -1, None, 1.5, [], 2**70, True])
def test_a_seed_of_another_type_or_range_is_refused(tmp_path, seed):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"config": cfg.MSR_VTT.to_json(), "seed": seed}))
    with pytest.raises(UserError, match="config.json: the seed is"):
        configs.record(path)


@pytest.mark.parametrize("content", ["[]", "3", "null", "{}", '{"config": 3}', "{", ""])
def test_a_file_that_is_no_record_is_refused(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(UserError, match="config.json"):
        configs.record(path)


def test_differences_name_fields_and_both_values():
    changed = dataclasses.replace(cfg.MSVD.replace(["model.units=7", "saliency.map=kl"]), media="picture")
    assert cfg.MSVD.differences(changed) == {
        "media": ("video", "picture"), "model.units": (1300, 7), "saliency.map": ("nll", "kl"),
    }  # fmt: skip
    assert cfg.MSVD.differences(cfg.MSVD) == {}


def test_a_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        cfg.MSR_VTT.dataset = "other"


# --- dataset.json


def description(folder, content):
    path = folder / "mine" / "dataset.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(("media", "layer"), [("picture", "mixed_10"), ("video", "pool_3")])
def test_a_users_media_are_described_by_their_folder_and_file(tmp_path, media, layer):
    truth = {"picture": "entities", "video": "tracks"}[media]
    settings = {"text.min_count": 1, "features.scan": "snake", "model.dropout": 0.25}
    path = description(tmp_path, {"layout": "coco", "media": media, "truth": truth, "set": settings})
    config = configs.own(path)
    assert (config.dataset, config.layout, config.media, config.annotations) == ("mine", "coco", media, truth)
    assert (config.text.min_count, config.features.scan, config.model.dropout) == (1, "snake", 0.25)
    assert config.features.layer == layer and Config.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        ("{", ["not valid JSON"]),
        ("[]", ['{"layout": "coco"']),
        ("3", ['{"layout": "coco"']),
        ({}, ["'layout' is missing"]),
        ({"layout": "coco"}, ["'media' is missing"]),
        ({"layout": None, "media": "picture"}, ["'layout' is null", "msr_vtt, coco, flickr30k"]),
        ({"layout": ["coco"], "media": "picture"}, ["'layout' is [\"coco\"]"]),
        ({"layout": "coco", "media": None}, ["'media' is null", "picture, video"]),
        ({"layout": "flickr30k", "media": "video"}, ["'media' is \"video\"", "picture", "layout flickr30k"]),
        ({"layout": "coco", "media": "video", "truth": "entities"}, ["'truth' is \"entities\"", "none, tracks"]),
        ({"layout": "coco", "media": "picture", "truth": "tracks"}, ["'truth' is \"tracks\"", "none, entities"]),
        ({"layout": "coco", "media": "picture", "truth": 1}, ["'truth' is 1", "none, entities"]),
        ({"layout": "coco", "media": "picture", "truth": {}}, ["'truth' is {}"]),
        ({"layout": "coco", "medium": "picture"}, ["'medium'", "layout, media, truth, set"]),
        *(
            ({"layout": "coco", "media": "picture", "set": value}, ["'set'", *facts])
            for value, facts in (
                (None, ["object"]), ([], ["object"]), ("text", ["object"]), ({"units": 5}, ["model.units"]),
                ({"a": 1}, ["a: 1"]), ({"model": {}}, ["model: {}"]), ({"model.units": True}, ["model.units: true"]),
                ({"model.units": "x"}, ["model.units: x"]), ({"model.units": None}, ["model.units: null"]),
                ({"model.units": 7.5}, ["7.5"]), ({"model.units": []}, ["[]"]), ({"model.dropout": -1}, ["0 to 1"]),
                ({"training.learning_rate": float("nan")}, ["NaN"]), ({"model.name": "gru"}, ["s2vt, mean_pool"]),
            )
        ),
    ],
)  # fmt: skip
def test_a_malformed_description_is_one_line_that_names_the_entry(tmp_path, content, facts):
    path = description(tmp_path, content)
    with pytest.raises(UserError) as caught:
        configs.own(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and "--set" not in message
    assert all(fact in message for fact in facts), message


def test_a_data_set_is_found_by_its_description_else_by_name(tmp_path):
    path = description(tmp_path, {"layout": "coco", "media": "picture"})
    assert configs.find("mine", tmp_path, cfg.CONFIGS) == configs.own(path)
    assert configs.find("MSVD", tmp_path, cfg.CONFIGS) == cfg.MSVD
    for name in ("Kitchen", "../mine", "mine/", ""):
        with pytest.raises(UserError, match="no data set .*MSR-VTT, .*dataset.json"):
            configs.find(name, tmp_path, cfg.CONFIGS)
