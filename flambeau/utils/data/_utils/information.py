"""What code that runs in a worker process can ask about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["WorkerInfo", "enter_worker", "get_worker_info", "worker_memory"]


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker: its number, how many there are, its seed, and its copy of the dataset."""

    id: int
    num_workers: int
    seed: int
    dataset: Any
    rng: Any = None
    worker_method: str | None = "multiprocessing"


class _Here:
    """What this process is: in a worker, its description and the memory it shares."""

    info: WorkerInfo | None = None
    memory: Any = None


def get_worker_info() -> WorkerInfo | None:
    """The description of the worker that this runs in; None in the main process.

    >>> from flambeau.utils.data import get_worker_info
    >>> get_worker_info() is None
    True
    """
    return _Here.info


def enter_worker(info: WorkerInfo, memory: Any) -> None:
    """Say that this process is a worker; ``memory`` gives arrays that its parent can read."""
    _Here.info = info
    _Here.memory = memory


def worker_memory() -> Any:
    """What gives arrays that the parent can read; None in the main process."""
    return _Here.memory
