"""Work on a Ray cluster: the same files and scores on any number of nodes, also if nodes or workers go on the way.

The cluster is one of `ray.cluster_utils`: several nodes, each with processes of its own, on this machine.
"""

import functools
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from processes import ROOT, link_scripts
from small_stores import Extractor, files_of, no_network, picture_config, video_config, write_clips, write_pictures

import s2vt.workers
from s2vt.data import datasets  # noqa: F401, of COMMAND
from s2vt.data.files import lock
from s2vt.errors import ToolError, UserError
from s2vt.features import extraction
from s2vt.features.descriptors import DescriptorStore
from s2vt.features.extraction import extract
from s2vt.workers import Cluster, here

ray = pytest.importorskip("ray", reason="needs the extra cluster (requirements-cluster.txt)")


class Nodes:
    """A Ray cluster on this machine, whose head has no place for a worker.

    Attributes:
        nodes: those with one processor core each.
    """

    def __init__(self, cluster):
        self.cluster, self.nodes = cluster, []

    def resize(self, number):
        """Adds or removes nodes."""
        while len(self.nodes) > number:
            self.remove()
        while len(self.nodes) < number:
            self.nodes.append(self.cluster.add_node(num_cpus=1))
        workers = Cluster(self.cluster.address)
        while sum(node["Alive"] for node in ray.nodes()) != 1 + number:
            time.sleep(0.1)
        return workers

    def remove(self):
        """Kills a node with all its processes."""
        self.cluster.remove_node(self.nodes.pop(), allow_graceful=False)


@pytest.fixture(scope="module")
def nodes():
    from ray.cluster_utils import Cluster as RayCluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_raylet_start_wait_time_s", "240")  # a busy machine
        patch.setenv("RAY_enable_worker_prestart", "0")
        cluster = RayCluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        try:
            nodes = Nodes(cluster)
            nodes.resize(1)
            yield nodes
        finally:
            ray.shutdown()
            cluster.shutdown()


def meet(folder, number):
    """Waits until so many processes have been here."""
    (folder / f"{os.getpid()}.txt").touch()
    patience = time.monotonic() + 120
    while len(list(folder.iterdir())) < number:
        assert time.monotonic() < patience
        time.sleep(0.02)


class Noting(Extractor):
    """Begins when there are so many processes, and adds the number of pictures that each computes to its file."""

    def __init__(self, folder, processes):
        super().__init__()
        self.folder = folder
        meet(folder, processes)

    def cells(self, pictures):
        time.sleep(0.1)
        with open(self.folder / f"{os.getpid()}.txt", "a") as file:
            file.write(f"{len(pictures)}\n")
        return super().cells(pictures)


def noted(folder):
    """The number of pictures that all processes computed, and the number of these processes."""
    found = [sum(map(int, path.read_text().split())) for path in folder.glob("*.txt")]
    return sum(found), len(found)


def together(folder, number, items):
    """Work that begins when there are so many processes, and says in which it is done."""
    for item in items:
        meet(folder, number)
        time.sleep(0.02)
        yield item, os.getpid()


# --- descriptors ----------------------------------------------------------------------------------------------------

NUM_PICTURES, SHARE_OF_PICTURES = 30, 4


@pytest.fixture
def media(tmp_path, monkeypatch):
    """Pictures, one of which is broken and one missing; a share has four."""
    monkeypatch.setattr(extraction, "SHARE", 1)
    (tmp_path / "media").mkdir()
    (tmp_path / "noted").mkdir()
    media = write_pictures(tmp_path / "media", NUM_PICTURES)
    media[5].path.write_bytes(b"not a picture")
    media[6].path.unlink()
    return media


def extracted(media, folder, workers, processes, progress=lambda media, total: media):
    """The files of a store, its failures, and how many pictures were computed by how many processes."""
    store, notes = DescriptorStore(picture_config(folder), folder), folder / "noted"
    failed = extract(store, media, functools.partial(Noting, notes, processes), progress=progress, workers=workers)
    assert list(failed) == ["m5", "m6"]
    return files_of(store.folder), noted(notes)


def test_descriptors_are_the_same_on_any_number_of_nodes(nodes, media, tmp_path):
    found = {}
    for name, number in (("here", 0), ("1", 1), ("3", 3)):
        (tmp_path / name / "noted").mkdir(parents=True)
        workers, processes = nodes.resize(number) if number else here, max(1, number)
        found[name] = extracted(media, tmp_path / name, workers, processes)
        assert found[name][1] == (NUM_PICTURES - 2, processes)
    assert len(found["here"][0]) == 2 * (NUM_PICTURES - 2) + 2  # with meta.json and failed.tsv
    assert found["1"][0] == found["here"][0] and found["3"][0] == found["here"][0]


def test_a_node_that_goes_takes_no_more_with_it_than_what_it_had_in_hand(nodes, media, tmp_path):
    workers = nodes.resize(3)

    def remove_one(done, total):
        for k, medium in enumerate(done):
            if k == SHARE_OF_PICTURES:
                nodes.remove()
            yield medium

    files, (computed, processes) = extracted(media, tmp_path, workers, 3, remove_one)
    (tmp_path / "here" / "noted").mkdir(parents=True)
    assert files == extracted(media, tmp_path / "here", here, 1)[0]
    assert NUM_PICTURES - 2 <= computed <= NUM_PICTURES - 2 + SHARE_OF_PICTURES and processes == 3


COMMAND = """
import sys
from pathlib import Path
from test_cluster import *

extraction.SHARE = 1
folder, address = Path(sys.argv[1]), sys.argv[2]
media = [datasets.Medium(f"m{k}", folder / "media" / f"{k}.png", "test", ("a",)) for k in range(NUM_PICTURES)]
extracted(media, folder, Cluster(address), 2)
"""


def test_a_killed_command_goes_on_where_it_was(nodes, media, tmp_path):
    workers, store = nodes.resize(2), DescriptorStore(picture_config(tmp_path), tmp_path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", COMMAND, tmp_path, nodes.cluster.address], env=environment)
    patience = time.monotonic() + 120
    while len(list(store.folder.glob("[!.]*.npy"))) < 2 * SHARE_OF_PICTURES:
        assert process.poll() is None and time.monotonic() < patience
        time.sleep(0.05)
    process.kill()
    process.wait()
    there = len(list(store.folder.glob("[!.]*.npy")))
    assert there < NUM_PICTURES - 2
    with lock(tmp_path, "wait", writes=[store.folder]):  # as `extract_data_set`
        files, (computed, _) = extracted(media, tmp_path, workers, 2)
    (tmp_path / "here" / "noted").mkdir(parents=True)
    assert files == extracted(media, tmp_path / "here", here, 1)[0]
    assert computed <= NUM_PICTURES - 2 + 2 * SHARE_OF_PICTURES


def test_clips_and_their_means_from_several_workers(nodes, tmp_path):
    clips, found = write_clips(tmp_path), {}
    for name, workers in (("here", here), ("2", nodes.resize(2))):
        cells = DescriptorStore(video_config(tmp_path, batch_size=5), tmp_path / name, "mixed_10")
        assert extract(cells, clips, Extractor, workers=workers) == {}
        pooled = cells.of_layer("pool_3")
        for medium in clips:
            pooled.path(medium.id).unlink()
        assert extract(pooled, clips, no_network, workers=workers) == {}
        found[name] = files_of(tmp_path / name)
    assert found["here"] == found["2"] and len(found["2"]) == 2 * (2 * 4 + 1)


# --- results --------------------------------------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_items_from_all_nodes(nodes, tmp_path):
    workers = nodes.resize(2)
    assert workers.places() == 2
    found = list(workers(functools.partial(together, tmp_path, 2), range(23), share=2))
    assert [item for item, _ in found] == list(range(23))
    assert len({process for _, process in found}) == 2 and os.getpid() not in {process for _, process in found}
    for first in range(0, 22, 2):
        assert found[first][1] == found[first + 1][1]  # of one share
    assert list(workers(dying, [])) == []


def dying(folder, times, items):
    """Work whose process dies at item 3, so many times."""
    for item in items:
        if item == 3 and len(list(folder.iterdir())) < times:
            (folder / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        print(f"doing {item}", file=sys.stderr)
        yield item


def test_a_share_whose_worker_dies_is_done_by_another_one(nodes, tmp_path, capsys, monkeypatch):
    workers = nodes.resize(2)
    monkeypatch.setattr(s2vt.workers, "ATTEMPTS", 2)
    assert list(workers(functools.partial(dying, tmp_path, 1), range(6))) == list(range(6))
    said = [line for line in capsys.readouterr().err.split("\n") if line.startswith("doing")]  # others are Ray's
    assert sorted(said) == [f"doing {k}" for k in range(6)]
    with pytest.raises(ToolError, match=r"^2 workers died over items 3 to 4 of 6, the last: [^\n]+$"):
        list(workers(functools.partial(dying, tmp_path, 1000), range(6), share=2))


def refuse(items):
    raise UserError("cannot write DATA: no space")
    yield


def test_errors_of_work_are_those_of_one_process(nodes):
    with pytest.raises(UserError, match="^cannot write DATA: no space$"):
        list(nodes.resize(2)(refuse, [1, 2, 3]))


# --- captions, scores and maps --------------------------------------------------------------------------------------

COMMANDS = {  # arguments -> where files appear while it works, and how many there are when a node goes
    "preprocessing --split test --limit 20 --batch_size 1": ("DATA/StillShapes/descriptors/*/*/[!.]*.npy", 2),
    "run_s2vt --test --beam 5 --limit 20": None,
    "run_s2vt --localize --map nll,kl --limit 8": ("experiments/StillShapes/scores/*.partial.jsonl", 1),
    "visualization --media_id all --sentence circle --limit 8 --output out": ("out/[!.]*.png", 2),
}
ONE_THREAD = dict.fromkeys(s2vt.workers.THREADS, "1")


def run_all(folder, shapes, *ray_flags, lose=lambda: None):
    """{name: bytes} of all that the commands write into a new folder; `lose` is called while they work."""
    shutil.copytree(shapes / "StillShapes", folder / "DATA" / "StillShapes")
    shutil.copytree(ROOT / "experiments" / "StillShapes", folder / "experiments" / "StillShapes")
    link_scripts(folder)
    for command, sign in COMMANDS.items():
        script, *arguments = command.split()
        line = [sys.executable, ROOT / f"{script}.py", "--dataset", "StillShapes", *arguments, *ray_flags]
        process = subprocess.Popen(line, cwd=folder, env={**os.environ, **ONE_THREAD})
        while sign and process.poll() is None and len(list(folder.glob(sign[0]))) < sign[1]:
            time.sleep(0.05)
        if sign:
            lose()
        assert process.wait() == 0
    found = {f"out/{name}": content for name, content in files_of(folder / "out").items()}
    return found | files_of(folder / "experiments") | files_of(folder / "DATA")


@pytest.fixture(scope="module")
def undisturbed(shapes, tmp_path_factory):
    return run_all(tmp_path_factory.mktemp("here"), shapes)


@pytest.mark.long
@pytest.mark.parametrize("number, lost", [(1, 0), (3, 0), (3, 1)])
def test_descriptors_scores_and_maps_of_the_scripts_are_the_same(nodes, shapes, undisturbed, tmp_path, number, lost):
    nodes.resize(number)

    def lose():
        if lost:
            nodes.remove()
            nodes.resize(number)

    found = run_all(tmp_path, shapes, "--ray", nodes.cluster.address, lose=lose)
    assert set(found) == set(undisturbed)
    assert not [name for name, content in undisturbed.items() if found[name] != content]


# --- the command line -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how, message",
    [
        ({"num_cpus": 0}, "--num_cpus 0: expected 1 or more"),
        ({"num_gpus": 1.5}, "--num_gpus 1.5: expected a share of one GPU up to 1, or a whole number"),
        ({"num_cpus": 2}, "no node has the 2 CPUs and 0 GPUs of a worker; the nodes have .*CPUs and 0 GPUs: choose"),
        ({"num_gpus": 0.5}, "no node has the 1 CPUs and 0.5 GPUs of a worker"),
    ],
)
def test_workers_that_no_node_can_hold_are_refused(nodes, how, message):
    with pytest.raises(UserError, match=f"^{message}"):
        Cluster(nodes.cluster.address, **how)


def test_workers_per_node_follow_their_sizes():
    cluster = object.__new__(Cluster)
    sizes = {(4, 0): 4, (1, 1): 2, (1, 2): 1, (1, 0.3): 6, (6, 0.25): 2, (17, 0): 0}
    for (cluster.num_cpus, cluster.num_gpus), places in sizes.items():
        assert cluster._places_of({"CPU": 16.0, "GPU": 2.0}) == places
