"""Training on several devices, of one process or of several: the same losses as on one device, up to rounding.

Each process runs the same program. Every batch's rows are spread over all devices, and the engine (Keras on JAX)
computes one step for the whole batch: the mean over its words, a contrast of all its pictures and the dropout masks
are those of one device. What differs between processes is here: which rows each of them reads, and that process 0 alone
writes the run. All processes see the same folders of data sets and runs.
"""

import contextlib
import importlib.util
import os
import re
from dataclasses import dataclass

from s2vt.errors import UserError

PATIENCE = 300  # seconds that processes wait for one another to start
FAILED = -1


@dataclass(frozen=True)
class Devices:
    """The devices that train, and which process this is.

    Attributes:
        number: of devices of each process.
        coordinator: HOST:PORT, at which process 0 listens; None: there is one process.
        processes: how many there are.   process: which one this is, from 0.
        patience: seconds that processes wait for one another to start.
    """

    number: int = 1
    coordinator: str | None = None
    processes: int = 1
    process: int = 0
    patience: int = PATIENCE

    @property
    def several(self):
        """Whether there is more than one device."""
        return self.number * self.processes > 1

    @property
    def share(self):
        """The rows of every batch that this process reads, a `Share`."""
        from s2vt.data.batches import Share  # loads the engine

        return Share(self.number * self.processes, self.processes, self.process)

    @property
    def writes(self):
        """Whether this process writes the run."""
        return self.process == 0

    def check(self):
        """What can be known without the engine.

        Raises:
            UserError: if the numbers make no sense, or the engine is not the one that can do it.
        """
        if self.number < 1 or self.processes < 1:
            raise UserError(f"--devices {self.number}, --processes {self.processes}: expected 1 or more")
        if not 0 <= self.process < self.processes:
            raise UserError(
                f"--process {self.process}: expected 0 to {self.processes - 1}, another one for each of --processes "
                f"{self.processes}"
            )
        if (self.processes > 1) != (self.coordinator is not None):
            raise UserError(
                f"--processes {self.processes} --coordinator {self.coordinator}: several processes need both, the "
                "coordinator as HOST:PORT of process 0"
            )
        if self.coordinator is not None and not re.fullmatch(r"\S+:\d{1,5}", self.coordinator):
            raise UserError(f"--coordinator {self.coordinator}: expected HOST:PORT of process 0, such as 10.0.0.1:1234")
        if self.several and (os.environ.get("KERAS_BACKEND") != "jax" or not importlib.util.find_spec("jax")):
            engine = os.environ.get("KERAS_BACKEND") or "tensorflow"
            raise UserError(
                f"training on {self.number * self.processes} devices needs Keras on JAX, and this is {engine}; "
                "pip install jax, and set KERAS_BACKEND=jax"
            )

    def join(self):
        """Waits for the other processes to start, if there are any; before anything is computed.

        Raises:
            UserError: if they do not.
        """
        if self.processes == 1:
            return
        from s2vt import engine

        try:
            engine.join(self.coordinator, self.processes, self.process, self.patience)
        except RuntimeError as error:
            raise UserError(
                f"--coordinator {self.coordinator}: the {self.processes} processes did not all start within "
                f"{self.patience} s ({' '.join(str(error).split())[:200]}); start each with its own --process"
            ) from None

    def from_first(self, decide):
        """What process 0 decides, a whole number >= 0, in all processes.

        Args:
            decide: () -> the number; called in process 0.
        Raises:
            UserError: in the others, if it raised an exception there.
        """
        if self.processes == 1:
            return decide()
        from s2vt import engine

        if not self.writes:
            decided = engine.from_first(FAILED)
            if decided == FAILED:
                raise UserError("process 0 could not go on; its message says why")
            return decided
        decided = FAILED
        try:
            decided = decide()
        finally:
            engine.from_first(decided)
        return decided

    @contextlib.contextmanager
    def distributed(self):
        """Context in which models are trained on the devices.

        Raises:
            UserError: if this machine has fewer of them.
        """
        if not self.several:
            yield
            return
        from s2vt import engine

        try:
            distribution = engine.data_parallel(self.number)
        except ValueError as error:
            raise UserError(
                f"--devices {self.number}: a process has {error}; expected at most that many (for a trial on a CPU, "
                f"XLA_FLAGS=--xla_force_host_platform_device_count={self.number} divides it)"
            ) from None
        with distribution.scope():
            yield
