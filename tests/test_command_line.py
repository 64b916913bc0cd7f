"""The common command line: what its flags select, its one-line errors, and what reaches the terminal."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cfg
from s2vt import command_line, workers
from s2vt.captioning.runs import Run
from s2vt.data.files import write_json
from s2vt.errors import ToolError, UserError

ROOT = Path(cfg.__file__).parent


def parser():
    made = command_line.ScriptParser("x.py", "Does x.", cfg.CONFIGS)
    made.add_short_form("--batch_size", "features.batch_size", "N", "pictures")
    made.add_short_form("--center_crop", "evaluation.region", None, "the centre", value="center_crop")
    made.add_argument("--size")
    return made


def parse(*arguments):
    return parser().parse([str(argument) for argument in arguments])


def command(*arguments):
    return parse(*arguments)[1]


# --- flags


def test_flags_select_config_folders_and_seed():
    found = command(
        "--dataset", "MSVD", "--set", "model.units=7", "--weights", "imagenet", "--data_dir", "D", "--seed", 5
    )
    assert found.config == cfg.MSVD.replace(["model.units=7"])
    assert (found.data_dir, found.experiments_dir, found.seed) == (Path("D"), Path("experiments"), 5)
    assert found.given == {"model.units": "--set model.units=7", "features.weights": "--weights imagenet"}


def test_short_forms_stand_for_settings():
    config = command("--dataset", "MSVD", "--batch_size", 3, "--center_crop").config
    assert (config.features.batch_size, config.evaluation.region) == (3, "center_crop")
    with pytest.raises(UserError, match="^--batch_size 0: expected a whole number"):
        command("--dataset", "MSVD", "--batch_size", 0)


def test_a_run_s_config_json_stands_for_data_set_settings_and_seed(tmp_path):
    config = cfg.MOVING_SHAPES.replace(["model.units=7"])
    write_json(tmp_path / "config.json", {"config": config.to_json(), "seed": 9, "weights": "sha256:1"})
    found = command("--config", tmp_path / "config.json", "--set", "model.units=8")
    assert found.config == cfg.MOVING_SHAPES.replace(["model.units=8"])
    assert (found.seed, found.weights) == (9, "sha256:1")
    assert command("--config", tmp_path / "config.json", "--seed", 2).seed == 2
    with pytest.raises(UserError, match="is of MovingShapes, not MSVD"):
        command("--config", tmp_path / "config.json", "--dataset", "MSVD")


@pytest.mark.parametrize("given", ["kitchen/dataset.json", "kitchen", "kitchen/", "../{}/kitchen", "./kitchen"])
def test_a_users_folder_is_accepted_by_its_path_or_its_description(tmp_path, monkeypatch, given):
    write_json(tmp_path / "kitchen" / "dataset.json", {"layout": "coco", "media": "picture"})
    monkeypatch.chdir(tmp_path)
    found = command("--dataset", given.format(tmp_path.name))
    assert (found.config.dataset, found.config.layout, found.data_dir) == ("kitchen", "coco", tmp_path)
    monkeypatch.chdir(tmp_path / "kitchen")
    assert command("--dataset", "dataset.json").data_dir == command("--dataset", ".").data_dir == tmp_path


def test_a_name_under_data_dir_comes_before_a_folder_of_that_name(tmp_path, monkeypatch):
    for folder in ("clips", "D/clips"):
        write_json(tmp_path / folder / "dataset.json", {"layout": "msr_vtt", "media": "video"})
    (tmp_path / "MSVD").mkdir()
    monkeypatch.chdir(tmp_path)
    assert command("--dataset", "clips", "--data_dir", "D").data_dir == Path("D")
    assert command("--dataset", "MSVD").config == cfg.MSVD


@pytest.mark.parametrize(
    ("given", "fact"),
    [
        ("none/dataset.json", "no such file"),
        ("other.json", "a file named dataset.json"),
        ("empty/", "has no dataset.json"),
        ("../x", "no data set '../x'"),
        ("Kitchen", "no data set 'Kitchen'"),
        ("", "no data set ''"),
    ],
)
def test_a_data_set_that_is_not_there_is_one_line(tmp_path, monkeypatch, given, fact):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        command("--dataset", given)
    assert fact in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (["--dataset", "MSVD", "--seed", "-1"], "'-1': expected a whole number from 0 to 2^32 - 1"),
        (["--dataset", "MSVD", "--seed", "x"], "'x': expected a whole number"),
        (["--dataset", "MSVD", "--seed", "9" * 5000], "expected a whole number"),
        (["--dataset", "MSVD", "--what\nis", "this"], "--what is this"),
        ([], "--dataset, or --config"),
    ],
)
def test_a_mistake_about_the_flags_is_one_line_and_status_2(capsys, arguments, fact):
    with pytest.raises(SystemExit) as exit:
        command(*arguments)
    captured = capsys.readouterr()
    assert exit.value.code == 2 and captured.out == ""
    assert captured.err.startswith("x.py: ") and fact in captured.err and captured.err.count("\n") == 1


def test_the_usual_data_set_is_taken_where_none_is_named(tmp_path):
    """It sees the parsed flags, and is asked only where neither --dataset nor --config is given."""

    def usual(options):
        assert options.dataset is None and options.config is None
        return {"5x6": "COCO", "7x8": None}[options.size]

    def command(*arguments):
        made = command_line.ScriptParser("x.py", "Does x.", cfg.CONFIGS, usual)
        made.add_argument("--size")
        return made.parse(arguments)[1]

    assert command("--size", "5x6", "--set", "model.units=7").config == cfg.COCO.replace(["model.units=7"])
    assert command("--size", "1x1", "--dataset", "MSVD").config == cfg.MSVD
    write_json(tmp_path / "config.json", {"config": cfg.MSVD.to_json(), "seed": 9, "weights": "sha256:1"})
    assert command("--size", "1x1", "--config", str(tmp_path / "config.json")).config == cfg.MSVD
    with pytest.raises(SystemExit):
        command("--size", "7x8")


def test_a_value_may_begin_with_a_minus():
    assert parse("--dataset", "MSVD", "--size", "-5x10")[0].size == "-5x10"


def test_work_is_done_here_unless_a_cluster_is_named(monkeypatch):
    made = parser()
    command_line.add_worker_flags(made)
    options = made.parse_args(["--dataset", "COCO", "--num_cpus", "3"])
    assert command_line.workers(options) is workers.here
    monkeypatch.setitem(sys.modules, "ray", None)  # not installed
    options = made.parse_args(["--dataset", "COCO", "--ray", "auto"])
    with pytest.raises(UserError, match="^--ray needs Ray; run: pip install -r requirements-cluster.txt$"):
        command_line.workers(options)


def test_training_has_no_cluster(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run_s2vt.py", "--dataset", "COCO", "--train", "--ray", "auto"])
    with pytest.raises(SystemExit) as exit:
        __import__("run_s2vt").main()
    assert exit.value.code == 2 and "--ray is for all but --train" in capsys.readouterr().err


def test_help_states_every_default_once():
    text = " ".join(parser().format_help().split())
    assert "(default: DATA)" in text and "None" not in text and "False" not in text
    assert not re.search(r"default[^)]*\) \(default", text)


# --- runs


def test_the_default_run_is_named_as_data_set_and_captioner():
    assert command("--dataset", "MSVD").run_folder() == Path("experiments/MSVD")
    attention = command("--dataset", "MSVD", "--set", "model.name=soft_attention", "--experiments_dir", "E")
    assert attention.run_folder() == Path("E/MSVD-soft_attention")
    assert attention.run_folder("other") == Path("E/other")
    for name in ("../x", "", ".", "..", "a/b", "/etc"):
        with pytest.raises(UserError, match="expected a plain name such as MSVD"):
            command("--dataset", "MSVD").run_folder(name)


@pytest.fixture
def run(tmp_path):
    """A run of MovingShapes whose settings differ from cfg.py's in every section."""
    trained = cfg.MOVING_SHAPES.replace(
        ["features.num_frames=3", "features.batch_size=5", "text.min_count=2", "model.units=7", "training.epochs=1",
         "saliency.sigma_cells=2", "evaluation.tolerance=9"]
    )  # fmt: skip
    write_json(tmp_path / "run" / "config.json", {"config": trained.to_json()})
    return Run(tmp_path / "run")


def test_features_and_model_are_the_runs_saliency_and_evaluation_the_commands(run):
    wanted = command(
        "--dataset", "MovingShapes", "--set", "saliency.sigma_frames=0", "--batch_size", 6, "--center_crop"
    )
    config, trained = wanted.config_of(run), run.config()
    assert (config.text, config.model, config.training) == (trained.text, trained.model, trained.training)
    assert config.features == dataclasses.replace(trained.features, batch_size=6)
    assert config.saliency == dataclasses.replace(cfg.MOVING_SHAPES.saliency, sigma_frames=0.0)
    assert config.evaluation == dataclasses.replace(cfg.MOVING_SHAPES.evaluation, region="center_crop")


def test_a_run_can_be_asked_about_pictures_seen_otherwise_than_in_training(run):
    asked = command("--dataset", "MovingShapes", "--set", "features.input_size=448").config_of(run).features
    assert asked == dataclasses.replace(run.config().features, input_size=448, batch_size=26)
    trained = cfg.MOVING_SHAPES.replace(["features.view=mirrored"])
    write_json(run.folder / "config.json", {"config": trained.to_json()})
    assert command("--dataset", "MovingShapes").config_of(run).features.view == "mirrored"
    assert command("--dataset", "MovingShapes", "--set", "features.view=plain").config_of(run).features.view == "plain"


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        (["--set", "features.resize=center_crop"], ["features.resize=squash", "--set features.resize=center_crop"]),
        (["--set", "model.name=mean_pool"], ["model.name=s2vt", "mean_pool"]),
        (["--set", "model.units=8"], ["model.units=7", "8"]),
    ],
)
def test_a_setting_other_than_the_runs_is_refused(run, given, facts):
    with pytest.raises(UserError) as caught:
        command("--dataset", "MovingShapes", *given).config_of(run)
    assert all(fact in str(caught.value) for fact in facts), caught.value


def test_another_network_than_the_runs_is_taken_with_a_warning(run, capsys):
    assert command("--dataset", "MovingShapes").config_of(run).features.weights == "inception-shapes"
    assert capsys.readouterr().err == ""
    config = command("--dataset", "MovingShapes", "--weights", "imagenet").config_of(run)
    assert config.features.weights == "imagenet"
    (line,) = capsys.readouterr().err.splitlines()
    assert all(part in line for part in ("warning: ", str(run.folder), "inception-shapes", "not on imagenet"))


def test_a_network_of_another_shape_is_refused(run):
    with pytest.raises(UserError, match="8x8 cells of 2048 numbers; .* 8x8 cells of 1280 numbers: drop --weights"):
        command("--dataset", "MovingShapes", "--weights", "efficientnet-lite0").config_of(run)


def test_a_run_of_another_data_set_is_refused(run):
    with pytest.raises(UserError, match="was trained on MovingShapes .*not StillShapes"):
        command("--dataset", "StillShapes").config_of(run)


# --- what reaches the terminal


@pytest.mark.parametrize(
    ("outcome", "status", "lines"),
    [
        (UserError("a\nb"), 2, "x.py: a b"),
        (ToolError("Java\u202e failed\x1b[31m"), 1, r"x.py: Java\u202e failed\x1b[31m"),
        (FileNotFoundError(2, "No such file", "f"), 2, "x.py: f: No such file"),
        (UserError("x" * 5000), 2, f"x.py: {'x' * 500} ... {'x' * 500}"),
        (KeyboardInterrupt(), 130, None),
        (3, 3, ""),
    ],
)
def test_errors_become_one_line_and_a_status(capsys, monkeypatch, outcome, status, lines):
    def main():
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(sys, "argv", ["/some/where/x.py"])
    with pytest.raises(SystemExit) as exit:
        command_line.run(main)
    err = capsys.readouterr().err
    assert exit.value.code == status and (lines is None or err.removesuffix("\n") == lines)


NOISY = """
import logging, os, subprocess, sys, warnings
from s2vt import command_line
command_line.Parser("x.py", "Does x.").parse_args()
os.write(2, b"native message\\n")
subprocess.run([sys.executable, "-c", "import sys; print('message of a child process', file=sys.stderr)"])
warnings.warn("a warning")
logging.getLogger("tensorflow").warning("a log record")
print("progress", end="", file=sys.stderr, flush=True)
print("1", file=sys.stderr)
%s
"""


def run_code(code, *arguments, **how):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, text=True, capture_output=True, check=False, **how
    )


def test_only_the_programs_own_words_reach_the_terminal():
    result = run_code(NOISY % "raise ValueError('a traceback')")
    assert result.returncode == 1 and result.stderr.startswith("progress1\nTraceback")
    assert "ValueError: a traceback" in result.stderr and "message" not in result.stderr
    loud = run_code(NOISY % "", "--verbose").stderr
    assert all(text in loud for text in ("native message", "child process", "a warning", "a log record", "progress1"))


def test_a_crash_in_native_code_prints_the_python_stack():
    result = run_code(NOISY % "os.abort()")
    assert result.returncode == -6 and "Fatal Python error: Aborted" in result.stderr and "<module>" in result.stderr


def test_a_closed_stderr_does_no_harm():
    code = "from s2vt import command_line; command_line.Parser('x.py', '').parse_args(); print('done')"
    result = subprocess.run(["sh", "-c", f'"$0" -c "{code}" 2>&-', sys.executable], cwd=ROOT, capture_output=True)
    assert (result.returncode, result.stdout) == (0, b"done\n")


@pytest.mark.parametrize("script", ["preprocessing.py", "run_s2vt.py", "visualization.py"])
def test_help_imports_no_engine(script):
    code = (
        "import sys, runpy; sys.argv = ['x', '--help']; heavy = {'numpy', 'keras', 'tensorflow', 'av', 'PIL'}\n"
        f"try: runpy.run_path({script!r}, run_name='__main__')\n"
        "except SystemExit as e: print(e.code, sorted(heavy & set(sys.modules)))"
    )
    result = run_code(code, env={**os.environ, "COLUMNS": "100"})
    assert result.stdout.splitlines()[-1] == "0 []", result.stderr
    assert "--dataset" in result.stdout and "(default: None)" not in result.stdout


def test_no_module_of_the_package_imports_a_script():
    scripts = {path.stem for path in ROOT.glob("*.py")}
    for path in (ROOT / "s2vt").rglob("*.py"):
        imported = set(re.findall(r"^\s*(?:from|import)\s+(\w+)", path.read_text("utf-8"), re.M))
        assert not imported & scripts, path


def test_the_kinds_of_map_are_listed_for_a_run_or_for_all(capsys, monkeypatch, tmp_path):
    """Without a run all of them; of a run those that its captioner gives of its media. Neither needs the engine."""
    import visualization
    from s2vt.saliency.maps import KINDS, kinds_with

    def listed(*arguments):
        monkeypatch.setattr(sys, "argv", ["visualization.py", "--map", "list", *arguments])
        assert visualization.main() == 0
        rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \| (.*) \|$", capsys.readouterr().out, re.MULTILINE)
        return {name: (title, captioners, media, cost) for name, title, captioners, media, cost in rows}

    every = listed()
    assert list(every) == list(KINDS) and all(cost for *_, cost in every.values())
    assert every["rollout"][1:3] == ("transformer", "pictures and videos") and every["change"][1:3] == ("all", "videos")
    assert every["alignment"][1] == "those trained with model.contrast"
    record = {"config": cfg.STILL_SHAPES.replace(["model.name=soft_attention"]).to_json()}
    write_json(tmp_path / "StillShapes" / "config.json", record)
    of_run = listed("--experiments_dir", str(tmp_path), "--dataset", "StillShapes")
    assert list(of_run) == kinds_with(("encode", "step", "attention"), "picture")
    assert listed("--experiments_dir", str(tmp_path), "--name", "StillShapes") == of_run
    with pytest.raises(UserError, match="no run 'other'"):
        listed("--experiments_dir", str(tmp_path), "--dataset", "StillShapes", "--name", "other")
    monkeypatch.setattr(sys, "argv", ["visualization.py", "--sentence", "a dog"])
    with pytest.raises(SystemExit, match="2"):
        visualization.main()
    assert "one of the arguments --media_id --media is required" in capsys.readouterr().err
