"""Work on many media: in this process, or by workers on the nodes of a Ray cluster (docs/scaling.md).

Work is a callable that can be pickled, `work(items) -> iterator`, with one result for each item. It keeps what it loads
(a network, a captioner) for its next call. Functions that work on many media take `workers`, which is `here` or a
`Cluster`:

    workers(work, items, share=1) -> iterator of all results

`here` is one call, `work(items)`. A `Cluster` cuts the items into shares, gives each share to the next free worker and
yields the results of the shares in their order, so that what is summed up or written from them does not depend on the
number of workers. What work writes, it writes into files that appear whole (`data.files`): a share whose worker dies is
given to another one, and work that finds a file does not make it again.

Imports no engine, and Ray only where a Cluster is made.
"""

import contextlib
import heapq
import io
import logging
import math
import os
import sys
import time
from collections import Counter
from pathlib import Path

from s2vt.errors import ToolError, UserError

ATTEMPTS = 4  # workers that may die over one share, or one after the other while they start
WINDOW = 4  # shares for each worker that may be handed out or waiting for an earlier one
PATIENCE = 5.0  # seconds between two looks for nodes that came or went
# Environment variables of a worker: those of the command that choose and set up the engine, and the numbers of threads
# of OpenMP, OpenBLAS, MKL, TensorFlow (within and between operations) and XLA.
KEPT = ("KERAS_", "TF_", "JAX_", "XLA_")
THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
    "NPROC",
)  # fmt: skip


def here(work, items, share=1):
    """All results of `work(items)`, in this process: one worker that takes the items as one share.

    Example:
        >>> list(here(lambda items: (2 * item for item in items), [3, 4, 5], share=2))
        [6, 8, 10]
    """
    yield from work(items)


class Cluster:
    """Workers on a Ray cluster: processes on its nodes that each hold the work, and take one share at a time.

    A worker starts in the working directory of the command, so that paths mean the same: all nodes need the code, the
    data and the runs under one path, on a file system that they share. There are as many workers as the cluster's nodes
    hold, also of nodes that join later. The workers end with the iteration, or with this process.

    Args:
        address: of the cluster: "auto", the one that runs on this machine; HOST:PORT; "local", a new one here.
        num_cpus: of a worker: its processor cores, and the engine's threads.
        num_gpus: of a worker: its GPUs, or its share of one, such as 0.5.
    Raises:
        UserError: if Ray is not installed, there is no such cluster, or no node holds a worker.
    """

    def __init__(self, address, num_cpus=1, num_gpus=0.0):
        if num_cpus < 1:
            raise UserError(f"--num_cpus {num_cpus}: expected 1 or more")
        if not 0 <= num_gpus < math.inf or (num_gpus > 1 and num_gpus % 1):
            raise UserError(f"--num_gpus {num_gpus:g}: expected a share of one GPU up to 1, or a whole number")
        try:
            import ray
        except ImportError:
            raise UserError("--ray needs Ray; run: pip install -r requirements-cluster.txt") from None
        self.ray, self.num_cpus, self.num_gpus = ray, num_cpus, num_gpus
        if not ray.is_initialized():
            try:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            except Exception as error:  # ConnectionError, RuntimeError, ValueError, by what is wrong with the address
                raise UserError(
                    f"--ray {address}: no connection to a Ray cluster ({error}); start one with: ray start --head, and "
                    "give its address"
                ) from None
        if not self.places():
            sizes = [f"{n.get('CPU', 0):g} CPUs and {n.get('GPU', 0):g} GPUs" for n in self._nodes()]
            raise UserError(
                f"no node has the {num_cpus} CPUs and {num_gpus:g} GPUs of a worker; the nodes have "
                f"{'; '.join(sizes) or 'gone'}: choose smaller --num_cpus and --num_gpus"
            )

    def __call__(self, work, items, share=1):
        """Yields the results of all items, share by share in their order.

        Raises:
            Exception: the first one that work raises.
            ToolError: if ATTEMPTS workers die over one share.
        """
        items = list(items)
        shares = [items[k : k + share] for k in range(0, len(items), share)]
        names = [f"over items {share * k + 1} to {share * k + len(s)} of {len(items)}" for k, s in enumerate(shares)]
        crew, waiting, done, first = _Crew(self, work, names), list(range(len(shares))), {}, 0  # waiting: a heap
        try:
            while first < len(shares):
                crew.engage(len(shares) - first - len(done))
                while waiting and crew.idle and waiting[0] < first + WINDOW * len(crew):
                    k = heapq.heappop(waiting)
                    crew.give(k, shares[k])
                for k, results in crew.finished():
                    if results is None:
                        heapq.heappush(waiting, k)
                    else:
                        done[k] = results
                while first in done:
                    yield from done.pop(first)
                    first += 1
        finally:
            crew.dismiss()

    def places(self):
        """How many workers all nodes hold."""
        return sum(map(self._places_of, self._nodes()))

    def _nodes(self):
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]

    def _places_of(self, resources):
        cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
        places = int(cpus // self.num_cpus)
        if not self.num_gpus:
            return places
        of_gpus = gpus // self.num_gpus if self.num_gpus >= 1 else gpus * int(1 / self.num_gpus + 1e-9)
        return min(places, int(of_gpus))


class _Crew:
    """The workers of one call of a Cluster, and what each is doing.

    Args:
        cluster: the Cluster.   work: for its workers.   names: of the shares, for messages.
    Attributes:
        idle: workers that have loaded the work and have nothing to do.
    """

    def __init__(self, cluster, work, names):
        self.cluster, self.ray, self.names, self.idle = cluster, cluster.ray, names, []
        self.tasks = {}  # reference of a result to come: (worker, index of its share; None while it loads the work)
        self.deaths = Counter()  # of workers, by what they were doing
        self.looked, self.wanted, self.waits = -math.inf, 0, False
        boxed = [self.ray.put(work)]  # in a list, Ray leaves it to the worker when to read it
        self.setting = (boxed, os.getcwd(), sys.path, _environment(cluster.num_cpus))
        options = {"num_cpus": cluster.num_cpus, "num_gpus": cluster.num_gpus}
        self.kind = self.ray.remote(_Worker).options(**options)

    def __len__(self):
        return len(self.tasks) + len(self.idle)

    def engage(self, shares):
        """Starts workers where nodes have places, up to one for each share that is left."""
        if time.monotonic() - self.looked > PATIENCE:
            self.looked, self.wanted = time.monotonic(), self.cluster.places()
        while len(self) < min(self.wanted, shares):
            worker = self.kind.remote()
            self.tasks[worker.load.remote(*self.setting)] = worker, None
        if not len(self) and not self.waits:
            self.waits = True
            print(f"no node left for a worker of {self.cluster.num_cpus} CPUs; waiting for one", file=sys.stderr)

    def give(self, k, share):
        """Gives the k-th share to an idle worker."""
        worker = self.idle.pop()
        self.tasks[worker.do.remote(share)] = worker, k

    def finished(self):
        """Waits for workers; yields the index of each share that ended, with its results, None if its worker died."""
        with contextlib.redirect_stdout(sys.stderr):  # Ray says there that a node is gone
            if not self.tasks:
                time.sleep(PATIENCE)
            ready = self.ray.wait(list(self.tasks), timeout=PATIENCE)[0] if self.tasks else []
        for reference in ready:
            worker, k = self.tasks.pop(reference)
            try:
                results, said = self.ray.get(reference)
            except self.ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except self.ray.exceptions.RayError as error:  # the worker has died, or its node cannot be reached
                self._lost(worker, k, error)
                results = None
            else:
                self.deaths.pop(k, None)
                self.idle.append(worker)
                sys.stderr.write(said)
            if k is not None:
                yield k, results

    def _lost(self, worker, k, error):
        """Counts a worker's death, and ends it if it is cut off only."""
        self.ray.kill(worker)
        self.deaths[k] += 1
        self.looked = -math.inf
        if self.deaths[k] >= ATTEMPTS:
            doing, reason = "as they started" if k is None else self.names[k], str(error).strip().split("\n")[0]
            raise ToolError(f"{ATTEMPTS} workers died {doing}, the last: {reason}")

    def dismiss(self):
        """Ends all workers."""
        for worker in [*self.idle, *(worker for worker, _ in self.tasks.values())]:
            with contextlib.suppress(Exception):  # the cluster itself may be gone
                self.ray.kill(worker)
        self.idle, self.tasks = [], {}


class _Worker:
    """A process on a node of the cluster. Work is read after the engine's environment is set."""

    def load(self, boxed, folder, path, environment):
        """Gets ready for work. Returns what `do` does, for no items."""
        import ray

        os.environ.update(environment)
        sys.path += [place for place in path if place not in sys.path]
        if not Path(folder).is_dir():
            raise UserError(
                f"{os.uname().nodename} has no folder {folder}; all nodes need the code and the data under the same "
                "path, on a file system that they share"
            )
        os.chdir(folder)
        (self.work,) = ray.get(boxed)
        return [], ""

    def do(self, items):
        """The results of a share, and what was printed on stderr."""
        with contextlib.redirect_stderr(io.StringIO()) as said:
            results = list(self.work(items))
        return results, said.getvalue()


def _environment(num_threads):
    """Environment variables of a worker."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
    return kept | dict.fromkeys(THREADS, str(num_threads))
