"""Extraction on a Ray cluster on this machine: CPU seconds of a medium in one process without Ray and in workers, all
of one thread, and media per second over the number of nodes. Nodes beyond the cores of the machine share them."""

import json
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.timing import RESULTS


def measure(data_dir="DATA", dataset="MovingShapes", media=16, nodes=2):
    """The first media of the test split. A start is a process with the engine and its network loaded; seconds and CPU
    seconds count from there on. Draws results/cluster.png."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        numbers = {"without Ray": 0, **{f"nodes: {n}": n for n in range(1, nodes + 1)}}
        rows = {name: row(folder / str(n), n, data_dir, dataset, media) for name, n in numbers.items()}
    draw([row["media/s"] for row in rows.values()])
    return rows


def draw(rates):
    """media/s over nodes, beside so many times the rate of one process. rates: without Ray, then of 1, 2, ... nodes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 2.8), layout="constrained")
    axis, nodes = figure.subplots(), np.arange(1, len(rates))
    axis.plot([0, *nodes], rates[0] * np.array([0, *nodes]), color="#c0c0c0", label="nodes x one process without Ray")
    axis.plot(nodes, rates[1:], "o", color="#1a1a1a", label="measured")
    axis.axvline(os.cpu_count(), color="#c0c0c0", linestyle=":", label="cores of the machine")
    axis.set(xlabel="nodes of one core", ylabel="media/s", xlim=(0, None), ylim=(0, None), xticks=nodes)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize="small", loc="lower right")
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / "cluster.png", dpi=150)


def row(folder, number, data_dir, dataset, media):
    """The row of a number of nodes; 0: one process without Ray."""
    folder.mkdir()
    context = multiprocessing.get_context("spawn")  # whose environment sets the engine's threads
    process = context.Process(target=run, args=(folder, number, data_dir, dataset, media))
    process.start()
    process.join()
    found = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    if process.exitcode or not found:
        raise RuntimeError(f"extraction by {number} nodes ended with status {process.exitcode}")
    seconds = max(each["end"] for each in found) - min(each["begin"] for each in found)
    return {
        "workers": len(found),
        "CPU seconds/medium": sum(each["CPU"] for each in found) / media,
        "media/s": media / seconds,
        "CPU seconds of a start": float(np.mean([each["start"] for each in found])),
    }


def run(folder, number, data_dir, dataset, limit):
    """The whole of a process: extraction into a folder."""
    import cfg
    from s2vt import workers
    from s2vt.data import datasets
    from s2vt.features.descriptors import DescriptorStore
    from s2vt.features.extraction import extract

    os.environ.update(dict.fromkeys(workers.THREADS, "1"))
    config = cfg.CONFIGS[dataset]
    media = datasets.select(datasets.read_media(config, data_dir), "test", limit)
    who = cluster(number) if number else workers.here
    store = DescriptorStore(config, folder)
    failed = extract(store, media, workers=lambda work, items, share: who(Metered(work, folder), items, share))
    if failed:
        raise ValueError(f"could not be decoded: {', '.join(failed)}")


def cluster(number):
    """A Cluster of so many nodes with one core each."""
    from ray.cluster_utils import Cluster as RayCluster

    from s2vt.workers import Cluster

    os.environ["RAY_raylet_start_wait_time_s"] = "240"  # a busy machine
    found = RayCluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(number):
        found.add_node(num_cpus=1)
    return Cluster(found.address)


class Metered:
    """Work on descriptors, with what it took of its process: `folder`/<pid>.json."""

    def __init__(self, work, folder):
        self.work, self.folder, self.start = work, folder, None

    def __call__(self, items):
        if self.start is None:
            side, size = self.work.cells.network.grid.input_size, self.work.batch_size
            self.work.extractor().cells(np.zeros((size, side, side, 3), np.uint8))
            self.start, self.begin = time.process_time(), time.time()
        yield from self.work(items)
        found = {"start": self.start, "CPU": time.process_time() - self.start, "begin": self.begin, "end": time.time()}
        (self.folder / f"{os.getpid()}.json").write_text(json.dumps(found))
