"""Commands that are killed at any moment, run twice at once, or run out of room: nothing is lost or half written.

Every command is the real script in a process of its own, killed by SIGKILL. A server that has imported the engine forks
these processes, so that hundreds can be killed. InceptionV3 and Java have stand-ins; the last tests do without them.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import ROOT, run_once, write_balls

KILLS = {"extraction": 6, "training": 3, "test": 3, "localize": 3, "visualization": 3}
MANY = 40  # kills of each command in the long test
PATIENCE = 900  # seconds that any one process may take on a busy machine


class Place:
    """A folder with DATA and experiments in it, and the commands run there."""

    def __init__(self, server, folder):
        self.server, self.folder = server, folder
        self.output = folder.with_suffix(".txt")

    def start(self, command, *more, **how):
        """The process of a command that has begun."""
        name, arguments = COMMANDS[command]
        self.output.write_text("")
        arguments = [*arguments.split(), "--dataset", "Balls", "--weights", "DATA/w.pb", *more]
        process = self.server.Process(
            target=run_once, args=(name, arguments, str(self.folder), str(self.output)), kwargs=how
        )
        process.start()
        return process

    def run(self, command, *more, **how):
        """(exit status, what it printed)."""
        process = self.start(command, *more, **how)
        process.join(PATIENCE)
        return process.exitcode, self.output.read_text()

    def finish(self, command):
        """Gives the command again, as a user would after a kill."""
        resumed = ["--resume"] if command == "training" and (self.folder / "experiments" / "Balls").exists() else []
        status, output = self.run(command, *resumed)
        assert status == 0, output


COMMANDS = {
    "extraction": ("preprocessing", "--layer mixed_10"),
    "training": ("run_s2vt", "--train"),
    "test": ("run_s2vt", "--test --checkpoint last"),
    "localize": ("run_s2vt", "--localize --checkpoint last"),
    "visualization": (
        "visualization",
        "--checkpoint last --media_id all --sentence ball --layout single --size 320x240",
    ),
}


class Undisturbed(Place):
    """Where every command has run to its end, with a copy of the folder as it was before each."""

    def __init__(self, server, folder):
        super().__init__(server, folder / "whole")
        write_balls(self.folder / "DATA" / "Balls")
        (self.folder / "DATA" / "w.pb").write_bytes(b"weights")
        self.before, self.seconds, self.events = {}, {}, {}
        for command in COMMANDS:
            self.before[command] = folder / f"before_{command}"
            shutil.copytree(self.folder, self.before[command])
            count, start = server.Value("i", 0), time.monotonic()
            status, output = self.run(command, count=count)
            assert status == 0, output
            self.seconds[command], self.events[command] = time.monotonic() - start, count.value

    def stage(self, command):
        """The folder as it was when a command had run."""
        commands = list(COMMANDS)
        return {**self.before, None: self.folder}[(*commands, None)[commands.index(command) + 1]]

    def copy(self, command, folder):
        """A new place in which all has run that comes before a command."""
        shutil.copytree(self.before[command], folder)
        return Place(self.server, folder)


@pytest.fixture(scope="module")
def whole(server, tmp_path_factory):
    return Undisturbed(server, tmp_path_factory.mktemp("kill"))


# --- what lies there


def content(path):
    """What a file holds, to be compared; fails where it is not whole."""
    match path.suffix:
        case ".npy":
            return np.load(path, allow_pickle=False)
        case ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays}
        case ".h5":
            return weights_of(path)
        case ".json":
            value = json.loads(path.read_text("utf-8"))
            changing = ("command", "git") if path.name == "config.json" else ()
            return {k: v for k, v in value.items() if k not in changing} if changing else value
        case ".png" | ".jpg":
            return np.asarray(Image.open(path))
        case ".mp4":
            from s2vt.data.video import iterate_frames

            return np.stack([frame for _, frame in iterate_frames(path)])
        case _:
            return path.read_bytes()


def weights_of(path):
    import h5py

    found = {}
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if hasattr(item, "shape") else None)
    return found


def files_of(folder):
    """{name: path} of all files but hidden ones and TensorBoard's, which are added to line by line."""
    paths = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path for name, path in paths.items() if "/." not in name and "/tensorboard/" not in name}


def assert_same(folder, whole):
    """The same files, bit for bit where what is in them has a shape."""
    found, expected = files_of(folder), files_of(whole)
    assert set(found) == set(expected)
    for name, path in expected.items():
        np.testing.assert_equal(content(found[name]), content(path), name)


GROWING = (".json", ".jsonl", ".csv", ".html", "training_state.npz")  # written anew, whole, as the command goes on


def assert_whole(folder, whole):
    """Nothing is half there: each file is as the undisturbed run left it, or one of those that are written anew."""
    expected = files_of(whole)
    for name, path in files_of(folder).items():
        value = content(path)
        if not name.endswith(GROWING):
            np.testing.assert_equal(value, content(expected[name]), name)


def kill_again_and_again(whole, command, folder, kills, seed=0):
    """Kills a command, gives it again, kills it again, ..., lets it finish, and so on until it was killed often enough.

    Every other kill comes at a random moment, the others just before or amid a random one of the writes.

    Returns:
        how often it was let finish.
    """
    rng, killed, seconds = np.random.default_rng([seed, len(command)]), 0, whole.seconds[command]
    for finished in range(1, 5 * kills):
        place = whole.copy(command, folder / f"{finished}")
        for _ in range(max(3, kills // 3)):
            resumed = command == "training" and (place.folder / "experiments" / "Balls").exists()
            how = {
                "killed_at": int(rng.integers(whole.events[command])),
                "delay": float(rng.choice([0, rng.uniform(0, 0.01)])),
            }
            start = time.monotonic()
            process = place.start(command, *(["--resume"] if resumed else []), **(how if killed % 2 else {}))
            process.join(PATIENCE if killed % 2 else rng.uniform(0, seconds))
            process.kill()
            process.join()
            assert process.exitcode in (0, -signal.SIGKILL), place.output.read_text()
            assert_whole(place.folder, whole.stage(command))
            if process.exitcode == 0:
                seconds = time.monotonic() - start  # the machine may have been busier before
                break
            if (killed := killed + 1) == kills:
                break
        place.finish(command)
        assert_same(place.folder, whole.stage(command))
        assert not list(place.folder.glob("DATA/Balls/descriptors/w/*/.*.npy"))  # what the killed ones left is gone
        shutil.rmtree(place.folder)
        if killed == kills:
            return finished
    raise AssertionError(f"killed {killed} times only")


@pytest.mark.parametrize(("command", "kills"), KILLS.items())
def test_killed_commands_go_on_and_come_to_the_same_end(whole, tmp_path, command, kills):
    kill_again_and_again(whole, command, tmp_path, kills)


@pytest.mark.long
@pytest.mark.parametrize("command", COMMANDS)
def test_hundreds_of_kills(whole, tmp_path, command, capsys):
    finished = kill_again_and_again(whole, command, tmp_path, MANY, seed=1)
    with capsys.disabled():
        print(f"\n{command}: killed {MANY} times, let finish {finished} times, nothing lost")


# --- two at once


@pytest.mark.parametrize("command", COMMANDS)
def test_two_at_once_do_no_harm(whole, tmp_path, command):
    place = whole.copy(command, tmp_path / "place")
    beside = Place(whole.server, place.folder)
    beside.output = tmp_path / "beside.txt"
    processes = [each.start(command) for each in (place, beside)]
    for process in processes:
        process.join(PATIENCE)
    statuses = sorted(process.exitcode for process in processes)
    assert statuses in ([0, 0], [0, 2]), place.output.read_text() + beside.output.read_text()
    assert_same(place.folder, whole.stage(command))


@pytest.mark.parametrize(
    ("command", "folder", "instead"),
    [
        ("extraction", "DATA/Balls/descriptors/w", "choose another --data_dir"),
        ("training", "experiments/Balls", "choose another --name"),
        ("visualization", "experiments/Balls/saliency", "choose another --output"),
    ],
)
def test_a_second_run_is_told_of_the_first(whole, tmp_path, command, folder, instead):
    from s2vt.data.files import lock

    place = whole.copy(command, tmp_path / "place")
    with lock(place.folder / folder, "wait"):
        before = set(files_of(place.folder))
        status, output = place.run(command)
        assert (status, output.count("\n")) == (2, 1)
        pid = f"another process (pid {os.getpid()})"
        assert f"{folder} is being written by {pid}; wait for it, or {instead}" in output
        assert not [name for name in set(files_of(place.folder)) ^ before if "/" in name]  # but for the scripts


# --- a full disk


@pytest.mark.parametrize(
    ("command", "largest_file"),  # bytes: the descriptors, the checkpoint, the scores, the partial scores, the video
    [("extraction", 300_000), ("training", 40_000), ("test", 1000), ("localize", 1000), ("visualization", 3_000)],
)
def test_a_full_disk_is_told_in_one_line_and_leaves_what_was_there(whole, tmp_path, command, largest_file):
    place = whole.copy(command, tmp_path / "place")
    status, output = place.run(command, largest_file=largest_file)
    assert status in (1, 2) and "Traceback" not in output, output
    told = [line for line in re.split("[\r\n]+ *", output) if "cannot write" in line]
    assert told and all(re.search(": cannot write .*; choose another place or make room$", line) for line in told), (
        output
    )
    assert len(told) == 1 or command == "visualization"  # a line a medium
    assert_whole(place.folder, whole.stage(command))
    before, after = files_of(whole.before[command]), files_of(place.folder)
    assert all(content(after[name]) is not None for name in before)
    assert not [path for path in place.folder.rglob(".*") if path.name != ".lock"]
    place.finish(command)
    assert_same(place.folder, whole.stage(command))


# --- Java, and the shell


def test_java_ends_with_the_process_that_started_it(light_meteor_command):
    code = f"from s2vt.captioning import java\njava._meteor_command = lambda: {light_meteor_command!r}\n"
    code += "with java.MeteorScorer() as meteor:\n"
    code += "    meteor.score_tokens({1: ['a dog']}, {1: 'a dog'})\n"
    code += "    print(meteor._dialogue.process.pid, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as asker:
        java = int(asker.stdout.readline())
        asker.kill()
    for _ in range(300):
        if not alive(java):
            break
        time.sleep(0.1)
    assert not alive(java)


def alive(process):
    """Whether a process is there and not only waiting to be buried."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.long
def test_a_training_killed_from_the_shell(whole, tmp_path):
    """No stand-in but for the network: descriptors are there already."""
    place = whole.copy("training", tmp_path / "place")
    arguments = ["--dataset", "Balls", "--weights", "DATA/w.pb", "--train"]
    command = [sys.executable, str(ROOT / "run_s2vt.py"), *arguments]
    undisturbed = subprocess.run([*command, "--name", "whole"], cwd=place.folder, check=True, capture_output=True)
    assert undisturbed.returncode == 0
    rng = np.random.default_rng(2)
    for k in range(4):
        resumed = ["--resume"] if (place.folder / "experiments" / "Balls").exists() else []
        with contextlib.suppress(subprocess.TimeoutExpired):  # which kills
            subprocess.run(
                [*command, *resumed], cwd=place.folder, timeout=rng.uniform(2, 8 + 4 * k), capture_output=True
            )
    subprocess.run([*command, "--resume"], cwd=place.folder, check=True, capture_output=True)
    names = ("log.csv", "vocabulary.json", "checkpoints/2.weights.h5", "checkpoints/scores.json")
    for name in names:
        folder = place.folder / "experiments"
        np.testing.assert_equal(content(folder / "Balls" / name), content(folder / "whole" / name), name)
