"""Starting one function in several processes, and failing together when one of them fails."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import wait
from typing import Any, NoReturn

__all__ = ["ENV_VAR_PARALLEL_START", "ProcessContext", "ProcessException",
           "ProcessExitedException", "ProcessRaisedException", "SpawnContext", "spawn",
           "start_processes"]

ENV_VAR_PARALLEL_START = "TORCH_MP_PARALLEL_START"
log = logging.getLogger(__name__)
# Seconds that processes get to end after they are told to.
PATIENCE = 30
_PR_SET_PDEATHSIG = 1


class ProcessException(Exception):
    """Process number ``error_index``, with id ``error_pid``, failed; ``msg`` says how."""

    def __init__(self, msg: str, error_index: int, error_pid: int) -> None:
        super().__init__(msg)
        self.msg = msg
        self.error_index = error_index
        self.error_pid = error_pid

    def __reduce__(self) -> tuple:
        return type(self), (self.msg, self.error_index, self.error_pid)


class ProcessRaisedException(ProcessException):
    """The process's function raised; the message has its traceback."""


class ProcessExitedException(ProcessException):
    """The process ended by a signal or with ``exit_code``; ``signal_name`` is None without one."""

    def __init__(self, msg: str, error_index: int, error_pid: int, exit_code: int,
                 signal_name: str | None = None) -> None:
        super().__init__(msg, error_index, error_pid)
        self.exit_code = exit_code
        self.signal_name = signal_name

    def __reduce__(self) -> tuple:
        return type(self), (self.msg, self.error_index, self.error_pid, self.exit_code,
                            self.signal_name)


def _run(fn: Callable, index: int, args: tuple, report: str) -> None:
    """The life of process ``index``: an exception goes into the file ``report``."""
    if sys.platform == "linux":
        # So that it does not outlive whoever started it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
    try:
        fn(index, *args)
    except KeyboardInterrupt:
        pass
    except Exception:
        with open(report, "wb") as file:
            pickle.dump(traceback.format_exc(), file)
        sys.exit(1)


class ProcessContext:
    """Processes that were started together, to be joined together."""

    def __init__(self, processes: Sequence[Any], error_files: Sequence[str]) -> None:
        self.processes = processes
        self.error_files = error_files
        self.sentinels = {process.sentinel: at for at, process in enumerate(processes)}

    def pids(self) -> list[int]:
        """The process ids, by number."""
        return [int(process.pid) for process in self.processes]

    def join(self, timeout: float | None = None, grace_period: float | None = None) -> bool:
        """Wait until a process ends; True once all have ended well, False while some run.

        Where one fails the others are ended, after ``grace_period`` seconds of their own if it is
        given, and ProcessRaisedException or ProcessExitedException says why.
        """
        if not self.sentinels:
            return True
        failed = None
        for sentinel in wait(list(self.sentinels), timeout):
            at = self.sentinels.pop(sentinel)  # type: ignore[call-overload]
            self.processes[at].join()
            if self.processes[at].exitcode:
                failed = at
                break
        if failed is None:
            return not self.sentinels
        self._end_all(grace_period)
        self._raise(failed)

    def _join_all(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0.0, end - time.monotonic()))

    def _end_all(self, grace_period: float | None) -> None:
        if grace_period is not None:
            self._join_all(grace_period)
        for stop, said in (("terminate", "Terminating process %s via signal SIGTERM"),
                           ("kill", "Unable to shutdown process %s via SIGTERM , forcefully "
                                    "exiting via SIGKILL")):
            for process in self.processes:
                if process.is_alive():
                    log.warning(said, process.pid)
                    getattr(process, stop)()
            self._join_all(PATIENCE if grace_period is None else grace_period)
        for process in self.processes:
            process.join()

    def _raise(self, at: int) -> NoReturn:
        process, report = self.processes[at], self.error_files[at]
        if os.access(report, os.R_OK):
            with open(report, "rb") as file:
                trace = pickle.load(file)
            with contextlib.suppress(OSError):
                os.unlink(report)
            text = f"\n\n-- Process {at} terminated with the following error:\n{trace}"
            raise ProcessRaisedException(text, at, process.pid)
        code = process.exitcode
        if code >= 0:
            raise ProcessExitedException(f"process {at} terminated with exit code {code}", at,
                                         process.pid, code)
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"<Unknown signal {-code}>"
        raise ProcessExitedException(f"process {at} terminated with signal {name}", at,
                                     process.pid, code, name)


class SpawnContext(ProcessContext):
    """The old name of ProcessContext; it warns."""

    def __init__(self, processes: Sequence[Any], error_files: Sequence[str]) -> None:
        warnings.warn("SpawnContext is renamed to ProcessContext since 1.4 release.",
                      stacklevel=2)
        super().__init__(processes, error_files)


def start_processes(fn: Callable, args: tuple = (), nprocs: int = 1, join: bool = True,
                    daemon: bool = False, start_method: str = "spawn") -> ProcessContext | None:
    """Run ``fn(i, *args)`` in ``nprocs`` processes, i from 0 on.

    With ``join`` it returns when all have ended, and raises as ``ProcessContext.join`` where one
    fails; else it returns the ProcessContext.
    """
    context = multiprocessing.get_context(start_method)

    def start(index: int) -> tuple[Any, str]:
        # The name of a file that is only there if the process fails.
        with tempfile.NamedTemporaryFile(prefix="pytorch-errorfile-", suffix=".pickle") as file:
            report = file.name
        process = context.Process(target=_run, args=(fn, index, args, report),  # type: ignore
                                  daemon=daemon)
        process.start()
        return process, report

    if start_method == "forkserver" and os.environ.get(ENV_VAR_PARALLEL_START, "0") == "1":
        with ThreadPoolExecutor(max_workers=nprocs) as executor:
            started = list(executor.map(start, range(nprocs)))
    else:
        started = [start(index) for index in range(nprocs)]
    running = ProcessContext([process for process, _ in started],
                             [report for _, report in started])
    if not join:
        return running
    while not running.join():
        pass
    return None


def spawn(fn: Callable, args: tuple = (), nprocs: int = 1, join: bool = True,
          daemon: bool = False, start_method: str = "spawn") -> ProcessContext | None:
    """As ``start_processes``, always by the start method "spawn"; another one warns."""
    if start_method != "spawn":
        warnings.warn(f"This method only supports start_method=spawn (got: {start_method}).\n"
                      "To use a different start_method use:\n\t\t"
                      " torch.multiprocessing.start_processes(...)", FutureWarning, stacklevel=2)
    return start_processes(fn, args, nprocs, join, daemon, start_method="spawn")
