"""A loader's worker processes: starting them, hearing from them, noticing their end."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any, NoReturn

from flambeau.ops.sharing import register
from flambeau.utils.data._utils import MP_STATUS_CHECK_INTERVAL
from flambeau.utils.data._utils.channel import LoaderEnd
from flambeau.utils.data._utils.worker import Plan, run

__all__ = ["Crew"]

# Arrays of all the results that one worker may have under way, in bytes: what its socket holds.
INLINE_BYTES = 1 << 17
# How long to wait before trying again to send what a worker's socket has no room for.
RETRY = 0.01
NOT_PICKLED = (
    "Got pickle error when attempting to start a worker Process. "
    "This might be because the worker Process arguments are not picklable. "
    "Python 3.14+ changed the multiprocessing start method in non-Mac POSIX platforms "
    "to 'forkserver', which requires the worker Process arguments to be picklable. "
    "You can also try multiprocessing.set_start_method('fork').")


def inline_limit(prefetch_factor: int) -> int:
    """How many bytes of arrays a result sends along; beyond, they lie in shared memory."""
    return max(4096, min(1 << 15, INLINE_BYTES // prefetch_factor))


class Crew:
    """Worker processes 0 to n - 1, each at the other end of a channel.

    ``plan_of(worker)`` says what each is told. One that has been let go is no longer ``active``.
    """

    def __init__(self, count: int, context: Any, plan_of: Callable[[int], Plan]) -> None:
        self.processes: list[Any] = []
        self.channels: list[LoaderEnd] = []
        self.active: list[bool] = []
        self._owner = os.getpid()
        self._failure: tuple = ()
        self._closed = False
        context = context or multiprocessing
        # A worker that does not inherit the dataset's tensors is sent them without a copy.
        register()
        try:
            for worker in range(count):
                self._start(context, plan_of(worker))
        except BaseException:
            self.close()
            raise

    def _start(self, context: Any, plan: Plan) -> None:
        ours, theirs = socket.socketpair()
        try:
            process = context.Process(target=run, args=(theirs, plan), daemon=True)
            process.start()
        except (TypeError, AttributeError, pickle.PicklingError):
            ours.close()
            warnings.warn(NOT_PICKLED, stacklevel=5)
            raise
        finally:
            # With no other copy of it, its closing shows here as the end of the stream.
            theirs.close()
        self.processes.append(process)
        self.channels.append(LoaderEnd(ours))
        self.active.append(True)

    @property
    def failed(self) -> bool:
        """Whether a worker has died, which ends them all."""
        return bool(self._failure)

    def send(self, worker: int, number: int, keys: Any) -> None:
        """Give a worker the task of this number; without waiting."""
        channel = self.channels[worker]
        channel.send((number, keys, *channel.incoming.take_returned()))

    def receive(self, wanted: int | None, timeout: float | None) -> tuple[int, Any]:
        """The next result, of worker ``wanted`` or of any: the task's number, and the batch.

        RuntimeError where a worker has died; TimeoutError after ``timeout`` seconds.
        """
        if self._failure:
            self._raise()
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            for worker in self._active() if wanted is None else (wanted,):
                found = self._take(worker)
                if found is not None:
                    return found
            if end is not None and time.monotonic() >= end:
                raise TimeoutError
            self._wait(end)

    def _active(self) -> list[int]:
        return [worker for worker, active in enumerate(self.active) if active]

    def _take(self, worker: int) -> Any:
        try:
            found = self.channels[worker].take()
        except EOFError:
            self._report([worker])
        return None if found is None else found[0]

    def _wait(self, end: float | None) -> None:
        """Until something arrives, a worker ends, or it is time to send again."""
        workers = self._active()
        by_handle: dict[Any, int] = {}
        for worker in workers:
            by_handle[self.channels[worker].sock] = worker
            by_handle[self.processes[worker].sentinel] = worker
        left = None if end is None else max(0.0, end - time.monotonic())
        blocked = [w for w in workers if self.channels[w].unsent]
        if blocked:
            left = RETRY if left is None else min(left, RETRY)
        ready = wait(list(by_handle), left)
        for worker in blocked:
            self.channels[worker].flush()
        ended = [by_handle[handle] for handle in ready if isinstance(handle, int)]
        for handle in ready:
            if not isinstance(handle, int):
                self._read(by_handle[handle], ended)
        if ended:
            self._report(ended)

    def _read(self, worker: int, ended: list[int]) -> None:
        try:
            self.channels[worker].read()
        except EOFError:
            if worker not in ended:
                ended.append(worker)

    def _report(self, ended: list[int]) -> NoReturn:
        """Raise for workers that are dead though nobody let them go; end the others."""
        for worker in ended:
            # What shows here can be a moment earlier than its exit code.
            self.processes[worker].join(MP_STATUS_CHECK_INTERVAL)
        pids = ", ".join([str(self.processes[worker].pid) for worker in ended])
        self._failure = (f"DataLoader worker (pid(s) {pids}) exited unexpectedly",
                         _cause(self.processes[ended[0]]))
        self.close()
        self._raise()

    def _raise(self) -> NoReturn:
        text, cause = self._failure
        raise RuntimeError(text) from RuntimeError(cause)

    def let_go(self, worker: int) -> None:
        """Have a worker end: it has no more to give."""
        self.active[worker] = False
        self.channels[worker].close()

    def close(self) -> None:
        """End all workers: those amid a fetch get some seconds, then a signal."""
        if self._closed:
            return
        self._closed = True
        if os.getpid() != self._owner:
            # A fork of the loader's process: the workers are not its own.
            for channel in self.channels:
                channel.sock.close()
            return
        for channel in self.channels:
            channel.close()
        end = time.monotonic() + MP_STATUS_CHECK_INTERVAL
        for process in self.processes:
            process.join(max(0.0, end - time.monotonic()))
        for stop in ("terminate", "kill"):
            alive = [process for process in self.processes if process.is_alive()]
            for process in alive:
                getattr(process, stop)()
            for process in alive:
                process.join(MP_STATUS_CHECK_INTERVAL)


def _cause(process: Any) -> str:
    """How a worker ended, as far as its exit code says."""
    code = process.exitcode
    if code is not None and code < 0:
        try:
            name = signal.strsignal(-code)
        except ValueError:
            name = None
        return (f"DataLoader worker (pid {process.pid}) is killed by signal: "
                f"{name or 'Unknown signal'}. ")
    return (f"DataLoader worker (pid {process.pid}) exited unexpectedly with exit code {code}. "
            "Details are lost due to multiprocessing. Rerunning with num_workers=0 may give better "
            "error trace.")


def follows_parent() -> bool:
    """Whether workers started by this thread may be tied to its life."""
    return sys.platform == "linux" and threading.current_thread() is threading.main_thread()
