"""``spawn`` and ``start_processes``: one function in several processes, failing together."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
from typing import Any

import pytest

import flambeau as fl
import flambeau.multiprocessing as mp

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals and forks of POSIX"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")]


def _write(rank: int, found: fl.Tensor, offset: int) -> None:
    found[rank] = rank + offset


def _fail(rank: int, how: str) -> None:
    if rank != 1:
        time.sleep(60)
    if how == "raise":
        raise ValueError("wrong in process 1")
    if how == "exit":
        sys.exit(7)
    if how == "interrupt":
        raise KeyboardInterrupt
    os.kill(os.getpid(), signal.SIGKILL)


def _stubborn(rank: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if rank == 0:
        sys.exit(2)
    time.sleep(60)


def _run(how: str, **options: Any) -> Any:
    return mp.start_processes(_fail, (how,), nprocs=2, start_method="fork", **options)


def test_results_in_shared_memory() -> None:
    found = fl.zeros(2).share_memory_()
    assert mp.spawn(_write, (found, 5), nprocs=2) is None
    assert found.tolist() == [5, 6]


def test_an_exception_is_told_with_its_traceback() -> None:
    start = time.monotonic()
    with pytest.raises(mp.ProcessRaisedException) as caught:
        _run("raise")
    error = caught.value
    text = str(error)
    assert text.startswith("\n\n-- Process 1 terminated with the following error:\nTraceback")
    assert text.endswith("ValueError: wrong in process 1\n")
    assert "in _fail" in text and error.msg == text
    assert error.error_index == 1 and error.error_pid > 0
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(("how", "text", "code", "name"), [
    ("exit", "process 1 terminated with exit code 7", 7, None),
    ("kill", "process 1 terminated with signal SIGKILL", -9, "SIGKILL")])
def test_an_exit_is_told(how: str, text: str, code: int, name: str | None) -> None:
    with pytest.raises(mp.ProcessExitedException) as caught:
        _run(how)
    error = caught.value
    assert str(error) == text
    assert (error.exit_code, error.signal_name, error.error_index) == (code, name, 1)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.exit_code, again.error_pid) == (text, code, error.error_pid)


def test_joining_bit_by_bit() -> None:
    found = fl.zeros(3).share_memory_()
    context = mp.start_processes(_write, (found, 1), nprocs=3, join=False, start_method="fork")
    assert context is not None and len(context.pids()) == 3
    while not context.join(timeout=5):
        pass
    assert context.join() is True
    assert found.tolist() == [1, 2, 3]


def test_a_process_that_does_not_listen_is_killed() -> None:
    context = mp.start_processes(_stubborn, nprocs=2, join=False, start_method="fork")
    assert context is not None
    start = time.monotonic()
    with pytest.raises(mp.ProcessExitedException, match="process 0 terminated with exit code 2"):
        while not context.join(grace_period=0.3):
            pass
    assert time.monotonic() - start < 20
    assert not any(process.is_alive() for process in context.processes)


def test_another_method_than_spawn_warns() -> None:
    with pytest.warns(FutureWarning, match=r"only supports start_method=spawn \(got: fork\)"):
        mp.spawn(_write, (fl.zeros(1), 1), start_method="fork")


def test_the_old_context_warns() -> None:
    with pytest.warns(UserWarning, match="SpawnContext is renamed to ProcessContext"):
        mp.SpawnContext([], [])
