"""What a worker process does: read tasks, fetch their batches, send them back."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from flambeau.backends.threads import set_num_threads
from flambeau.ops.random import manual_seed
from flambeau.utils.data._utils import MP_STATUS_CHECK_INTERVAL
from flambeau.utils.data._utils.channel import WorkerEnd
from flambeau.utils.data._utils.failure import ExceptionWrapper
from flambeau.utils.data._utils.fetch import fetcher
from flambeau.utils.data._utils.information import WorkerInfo, enter_worker, get_worker_info
from flambeau.utils.data._utils.leases import Outgoing

__all__ = ["Ended", "Plan", "Resume", "WorkerInfo", "get_worker_info", "numpy_seed", "run"]

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Resume:
    """In the place of a task's keys: begin anew, with the dataset as it is."""


@dataclass(frozen=True)
class Ended:
    """In the place of a batch: this worker's copy of an iterable dataset has no more."""

    worker: int


@dataclass(frozen=True)
class Plan:
    """What a worker is told when it starts."""

    dataset: Any
    iterable: bool
    batched: bool
    collate_fn: Callable
    drop_last: bool
    base_seed: int
    init_fn: Callable | None
    worker: int
    num_workers: int
    inline: int
    # Whether the thread that starts the worker lives as long as its process.
    follow: bool

    def fetcher(self) -> Callable[[Any], Any]:
        """A new start: for an iterable dataset a new iterator."""
        return fetcher(self.dataset, self.iterable, self.batched, self.collate_fn, self.drop_last)


def numpy_seed(base_seed: int, worker: int) -> list[int]:
    """The words that NumPy's generator is seeded with, different from those of ``random``.

    >>> numpy_seed(0, 1)
    [1835504127, 1731038949, 1320224556, 2330041505]
    """
    entropy = [worker, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]
    return np.random.SeedSequence(entropy).generate_state(4).tolist()


def run(sock: socket.socket, plan: Plan) -> None:
    """The worker's life: until the loader closes its end of ``sock``, or is gone."""
    parent = os.getppid()

    def alive() -> bool:
        return os.getppid() == parent

    try:
        if plan.follow:
            _end_with_parent()
        _prepare(plan)
        outgoing = Outgoing()
        enter_worker(WorkerInfo(plan.worker, plan.num_workers, plan.base_seed + plan.worker,
                                plan.dataset), outgoing)
        sock.settimeout(MP_STATUS_CHECK_INTERVAL)
        _serve(WorkerEnd(sock, outgoing, plan.inline), plan, alive)
    except (KeyboardInterrupt, EOFError, ConnectionError):
        # The loader raises the interrupt itself; or it wants no more batches.
        pass
    finally:
        sock.close()


def _end_with_parent() -> None:
    """Have the kernel end this process as soon as its parent ends, also amid a fetch."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prepare(plan: Plan) -> None:
    set_num_threads(1)
    seed = plan.base_seed + plan.worker
    random.seed(seed)
    manual_seed(seed)
    np.random.seed(numpy_seed(plan.base_seed, plan.worker))


def _serve(channel: WorkerEnd, plan: Plan, alive: Callable[[], bool]) -> None:
    where = f"in DataLoader worker process {plan.worker}"
    failure = fetch = None
    try:
        if plan.init_fn is not None:
            plan.init_fn(plan.worker)
        fetch = plan.fetcher()
    except Exception:
        failure = ExceptionWrapper(where=where)
    ended = False
    while True:
        try:
            number, keys, returned, forgotten = channel.receive()
        except TimeoutError:
            if not alive():
                return
            continue
        channel.outgoing.returned(returned, forgotten)
        if isinstance(keys, Resume):
            ended = False
            if failure is None:
                fetch = plan.fetcher()
            channel.send((number, None), alive)
            continue
        if ended:
            continue
        batch = failure or _fetched(fetch, keys, plan, where)
        ended = isinstance(batch, Ended)
        _send(channel, number, batch, alive, where)


def _fetched(fetch: Any, keys: Any, plan: Plan, where: str) -> Any:
    try:
        return fetch(keys)
    except Exception as error:
        if isinstance(error, StopIteration) and plan.iterable:
            return Ended(plan.worker)
        return ExceptionWrapper(where=where)


def _send(channel: WorkerEnd, number: int, batch: Any, alive: Callable[[], bool],
          where: str) -> None:
    try:
        channel.send((number, batch), alive)
    except (ConnectionError, EOFError):
        raise
    except Exception:
        # The batch, or the type of an exception, cannot be pickled.
        failure = ExceptionWrapper(where=where)
        if isinstance(batch, ExceptionWrapper):
            failure.exc_type, failure.exc_msg = RuntimeError, batch.exc_msg
        channel.send((number, failure), alive)
