"""Scripts in processes of their own: a small data set, stand-ins for InceptionV3 and Java, and processes that have the
engine already."""

import itertools
import os
import resource
import runpy
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

import numpy as np

import cfg

ROOT = Path(cfg.__file__).parent
SCRIPTS = ("preprocessing", "run_s2vt", "visualization")
PATIENCE = 600  # seconds that one command may take on a busy machine; the longest takes half a minute
WRITING = ("open", "os.rename", "os.remove", "os.mkdir")
COUNTER = "/dev/shm/pym-"  # of multiprocessing: shared memory in which Keras numbers its readers of batches
CHANGING = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate")


class Network:
    """Stands in for InceptionV3: cells of 2048 numbers that depend on the pixels alone."""

    def __init__(self, features):
        from s2vt.features.networks import network_of

        self.grid = network_of(features.weights, features.input_size).grid

    def cells(self, pictures):
        every = -(-self.grid.input_size // self.grid.side)  # 38 pixels of 299
        shown = np.asarray(pictures, np.float32)[:, ::every, ::every].reshape(len(pictures), self.grid.num_cells, 3)
        return np.tile(shown / 255, 683)[..., :2048]


def shared_words(references, candidates):
    """Stands in for METEOR: the share of the candidates' words that their references hold."""
    hits = [word in " ".join(references[i]) for i in references for word in candidates[i].split()]
    return float(np.mean(hits)) if hits else 0.0


def stand_in(replace=setattr):
    """In this process, descriptors come from `Network`, tokens from `str.lower`, METEOR from `shared_words`.

    Args:
        replace: (object, name, value) -> None; a MonkeyPatch's `setattr` undoes it later.
    """
    from s2vt.captioning import java
    from s2vt.features import networks

    replace(networks, "FeatureExtractor", Network)
    replace(java, "tokenize", lambda captions, timeout: [caption.lower() for caption in captions])
    replace(java.MeteorScorer, "score_tokens", lambda scorer, *captions: (shared_words(*captions), {}))


def write_balls(folder):
    """A data set of one's own with truth: eight clips in which a ball crosses the picture."""
    from s2vt.data.files import write_json
    from s2vt.data.video_writer import VideoWriter

    settings = {"features.num_frames": 3, "features.batch_size": 4, "text.min_count": 1, "model.units": 7,
                "model.embedding_size": 5, "training.epochs": 3, "training.batch_size": 4}  # fmt: skip
    write_json(folder / "dataset.json", {"layout": "msr_vtt", "media": "video", "truth": "tracks", "set": settings})
    listed = {"train_val": ([], []), "test": ([], [])}
    for k, split in enumerate(["train", "train", "validate", *["test"] * 5]):
        name, kind = f"clip{k}", "test" if split == "test" else "train_val"
        boxes = [[8 * f, 5 * k, 8 * f + 12, 5 * k + 12] for f in range(6)]
        frames = np.full((6, 64, 64, 3), 30 * k, np.uint8)
        for frame, (x1, y1, x2, y2) in zip(frames, boxes, strict=True):
            frame[y1:y2, x1:x2] = 255, 20 * k, 0
        with VideoWriter(
            folder / ("TestVideo" if kind == "test" else "TrainValVideo") / f"{name}.mp4", 64, 64, 10
        ) as video:
            for frame in frames:
                video.write(frame)
        captions = [f"a ball rolls over number {word}" for word in ("one", "two", "three")]
        listed[kind][0].append({"video_id": name, "split": split})
        listed[kind][1].extend({"video_id": name, "caption": caption} for caption in captions)
        ball = {"event": "right", "boxes": boxes, "seen": [1.0] * 6, "happens": [0, 5]}
        phrases = [{"tokens": [0, 2], "kind": "object", "object": 0}]
        truth = {"num_frames": 6, "objects": [ball], "captions": [{"caption": c, "phrases": phrases} for c in captions]}
        write_json(folder / "truth" / f"{name}.json", truth)
    for kind, (videos, sentences) in listed.items():
        write_json(folder / f"{kind}_videodatainfo.json", {"videos": videos, "sentences": sentences})


def link_scripts(folder):
    """Puts links to the scripts into a folder: run_s2vt.py writes its COCO files beside itself."""
    for script in SCRIPTS:
        if not Path(folder, f"{script}.py").exists():
            os.symlink(ROOT / f"{script}.py", Path(folder, f"{script}.py"))


def _start_in(folder, outputs):
    """Makes `folder` the working directory, with the scripts in it, and sends stdout and stderr to files."""
    os.chdir(folder)
    link_scripts(folder)
    for stream, path in enumerate(outputs, 1):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND), stream)
    stand_in()


def run_script(script, arguments):
    """Runs a script of the working directory as the shell would; exits as it does."""
    sys.argv = [f"{script}.py", *arguments]
    runpy.run_path(os.path.abspath(f"{script}.py"), run_name="__main__")


def run_once(script, arguments, folder, output, killed_at=None, delay=0.0, count=None, largest_file=None):
    """The whole of a process: one script in `folder`, both its outputs in the file `output`.

    Args:
        killed_at: dies `delay` seconds after the event of this number, counted from 0: one of its files is about to be
            opened for writing, renamed or removed.
        count: a multiprocessing value in which the events are counted.
        largest_file: bytes; a longer file finds the disk full.
    """
    _start_in(folder, (output, output))
    if largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    events = itertools.count()

    def hook(event, details):
        if event not in WRITING or not str(details[0]).startswith(("DATA", "experiments", "coco", folder)):
            return
        if event == "open" and not details[2] & (os.O_WRONLY | os.O_RDWR):
            return
        number = next(events)
        if count is not None:
            count.value = number + 1
        if number == killed_at:
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
            if not delay:
                time.sleep(60)

    sys.addaudithook(hook)
    run_script(script, arguments)


class Worker:
    """Runs scripts in `folder`, in a process that is replaced when it dies or does not answer within PATIENCE.

    Attributes:
        folder: the process' working directory, with DATA and experiments in it.
    """

    def __init__(self, server, folder):
        self.server, self.folder, self.process = server, Path(folder), None

    def run(self, script, *arguments):
        """(exit status, what it printed on stdout, and on stderr, audited changes of files outside the folder)."""
        if self.process is None:
            self.connection, its = self.server.Pipe()
            self.process = self.server.Process(target=_work, args=(its, str(self.folder)), daemon=True)
            self.process.start()
            its.close()
        self.connection.send((script, [str(argument) for argument in arguments]))
        try:
            if self.connection.poll(PATIENCE):
                return self.connection.recv()
            problem = f"no end within {PATIENCE} s"
        except EOFError:
            self.process.join()
            problem = f"died with status {self.process.exitcode}"
        self.close()
        raise AssertionError(f"{script} {' '.join(map(str, arguments))}: {problem}")

    def close(self):
        """Ends the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None


def _work(connection, folder):
    """The whole of a Worker's process."""
    outputs = [Path(folder).parent / name for name in ("stdout", "stderr")]
    _start_in(folder, outputs)
    os.environ["TMPDIR"] = folder
    outside = []

    def hook(event, details):
        if event in CHANGING and (event != "open" or details[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            for path in details[: 2 if event in ("os.rename", "os.link", "os.symlink") else 1]:
                path = os.path.realpath(path) if isinstance(path, (str, bytes)) else folder
                if not os.fsdecode(path).startswith((folder, "/dev/null", COUNTER)):
                    outside.append((event, path))
        if event in ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class"):
            if details[0] not in ("git", "uname"):  # for provenance
                outside.append((event, str(details[:2])))

    sys.addaudithook(hook)
    while True:
        script, arguments = connection.recv()
        outside.clear()
        status = 1
        try:
            run_script(script, arguments)
        except SystemExit as end:
            status = end.code
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush(), sys.stderr.flush()
        printed, changes = [path.read_text(errors="replace") for path in outputs], list(outside)
        for path in outputs:
            os.truncate(path, 0)
        connection.send((status, *printed, changes))
