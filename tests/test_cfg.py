"""The paper's numbers stand in the config; a setting is checked before anything runs."""

import dataclasses
import json

import pytest

import cfg
from s2vt.errors import UserError


def test_the_papers_numbers():
    config = cfg.MSR_VTT
    assert (config.features.num_frames, config.model.units, config.model.embedding_size) == (26, 1300, 300)
    assert (config.training.learning_rate, config.model.dropout, config.text.max_words) == (5e-4, 0.5, 25)
    assert cfg.FLICKR30K.features.layer == "mixed_10" and cfg.MSR_VTT.features.layer == "pool_3"


def test_set_changes_a_copy_with_the_right_type():
    changed = cfg.MSR_VTT.replace(["model.units=512", "training.learning_rate=1e-3", "features.scan=snake"])
    assert changed.model.units == 512 and changed.training.learning_rate == 0.001 and changed.features.scan == "snake"
    assert cfg.MSR_VTT.model.units == 1300


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("model.unit=5", r"did you mean model.units\?.*There are: features.weights"),
        ("units=5", r"did you mean model.units\?"),
        ("model.units=many", "expected int, such as 1300"),
        ("model.units=0", "expected a positive number"),
        ("model.units=1.5", "expected int"),
        ("training.learning_rate=nan", "expected a number"),
        ("features.resize=stretch", "expected one of squash, center_crop"),
        ("model.units", "expected key=value"),
        ("dataset=other", "no such setting"),
    ],
)
def test_a_wrong_setting_is_one_line(assignment, message):
    with pytest.raises(UserError, match=message) as caught:
        cfg.MSR_VTT.replace([assignment])
    assert "\n" not in str(caught.value)


def test_every_config_survives_its_file(tmp_path):
    for config in cfg.CONFIGS.values():
        path = tmp_path / "config.json"
        path.write_text(json.dumps({"config": config.to_json()}))
        assert cfg.load(path) == config


def test_a_config_of_another_version_is_refused():
    values = cfg.MSR_VTT.to_json()
    values["model"]["layers"] = 2
    with pytest.raises(UserError, match="does not fit the program"):
        cfg.Config.from_json(values)


def test_a_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        cfg.MSR_VTT.dataset = "other"
