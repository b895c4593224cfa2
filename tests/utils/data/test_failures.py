"""What happens when workers fail, are killed or left alone: errors arrive, nothing stays behind."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import flambeau as fl
from flambeau.utils.data import DataLoader, Dataset
from flambeau.utils.data._utils import ExceptionWrapper
from tests.utils.data.sources import images, numbers

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals and forks of POSIX"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")]
ROOT = Path(__file__).resolve().parents[3]
FORK = {"multiprocessing_context": "fork"}


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    # Tracebacks of errors that were expected hold iterators.
    gc.collect()
    assert multiprocessing.active_children() == []


class Doing(Dataset):
    """Calls a function for its sample number 2."""

    def __init__(self, action: Callable[[], Any]) -> None:
        self.action = action

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        return self.action() if index == 2 else index


def _read(action: Callable[[], Any], **options: Any) -> list:
    return list(DataLoader(Doing(action), **{"num_workers": 2, "batch_size": 1, **FORK, **options}))


def _kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(("action", "cause"), [
    (_kill_self, r"DataLoader worker \(pid \d+\) is killed by signal: Killed"),
    (lambda: os._exit(3), r"exited unexpectedly with exit code 3"),
    (lambda: sys.exit(4), r"exited unexpectedly with exit code 4"),
    (lambda: os.kill(os.getpid(), signal.SIGTERM), "killed by signal: Terminated")])
def test_a_worker_that_dies(action: Callable[[], Any], cause: str) -> None:
    with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid\(s\) \d+\) exited unexpe") \
            as caught:
        _read(action)
    assert isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(RuntimeError, match=cause):
        raise caught.value.__cause__
    assert multiprocessing.active_children() == []


def test_a_worker_that_is_killed_while_idle() -> None:
    loader = DataLoader(range(100), num_workers=2, persistent_workers=True, **FORK)
    list(loader)
    os.kill(loader._iterator._workers[1].pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        list(loader)
    assert multiprocessing.active_children() == []
    # A pass of its own starts anew.
    assert len(list(loader)) == 100


def test_timeout() -> None:
    with pytest.raises(RuntimeError, match="^DataLoader timed out after 0.2 seconds$"):
        _read(lambda: time.sleep(0.6), timeout=0.2)
    assert len(_read(lambda: 5, timeout=5)) == 6


class Odd(Exception):
    """Takes two arguments."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(first, second)


class Message(Exception):
    """Has a message of its own."""

    message = "none"

    def __init__(self, message: str) -> None:
        super().__init__(message)


def _raise(error: BaseException) -> Callable[[], Any]:
    def action() -> None:
        raise error

    return action


def _local_error() -> BaseException:
    class Local(Exception):
        pass

    return Local("local")


@pytest.mark.parametrize(("error", "kind", "text"), [
    (ValueError("no"), ValueError, "Caught ValueError in DataLoader worker process 0.\nOriginal "
                                   "Traceback (most recent call last):\n"),
    (KeyError("no"), KeyError, "Caught KeyError in DataLoader worker process 0.\n"),
    (Odd(1, 2), RuntimeError, "Caught Odd in DataLoader worker process 0.\n"),
    (Message("own"), Message, "Caught Message in DataLoader worker process 0.\n"),
    (_local_error(), RuntimeError, "Local")])
def test_an_exception_arrives_whole(error: BaseException, kind: type, text: str) -> None:
    with pytest.raises(kind) as caught:
        _read(_raise(error))
    said = str(caught.value)
    assert "in __getitem__" in said and "in action\n    raise error\n" in said
    assert text in said
    assert repr(str(error))[1:-1].strip("'") in said


def test_a_sample_that_cannot_be_sent() -> None:
    with pytest.raises(Exception, match="Caught .* in DataLoader worker process 0.*") as caught:
        _read(lambda: 0, collate_fn=lambda batch: (lambda: batch))
    assert "pickle" in str(caught.value)


def test_a_tensor_with_history_is_not_sent() -> None:
    with pytest.raises(RuntimeError, match="non-leaf tensor which requires_grad"):
        _read(lambda: 0, collate_fn=lambda batch: fl.ones(2, requires_grad=True) * 2)


def test_an_initialiser_that_fails() -> None:
    def fail(worker: int) -> None:
        raise OSError(f"no disk for worker {worker}")

    batches = iter(DataLoader(range(4), num_workers=1, worker_init_fn=fail, **FORK))
    for _ in range(4):
        with pytest.raises(OSError, match="Caught OSError in DataLoader worker process 0.") as e:
            next(batches)
        assert "no disk for worker 0" in str(e.value)
    assert list(batches) == []


def test_an_iterator_left_half_way_ends_its_workers() -> None:
    for dataset in (numbers(fl, 1000), images(fl, 200, 200)):
        batches = iter(DataLoader(dataset, num_workers=2, prefetch_factor=4, **FORK))
        next(batches)
        pids = [worker.pid for worker in batches._workers]
        start = time.monotonic()
        del batches
        assert time.monotonic() - start < 3
        assert not any(_is_there(pid) for pid in pids)


def test_workers_amid_a_result_too_large_for_their_socket() -> None:
    loader = DataLoader(range(40), num_workers=2, prefetch_factor=6, collate_fn=_text, **FORK)
    batches = iter(loader)
    assert len(next(batches)) == 1 << 20
    time.sleep(0.05)
    del batches
    assert [len(text) for text in loader] == [1 << 20] * 40


def _text(batch: list) -> str:
    return "x" * (1 << 20)


def test_a_fork_that_drops_an_iterator_leaves_it_alone() -> None:
    batches = iter(DataLoader(range(50), num_workers=2, **FORK))
    seen = [int(next(batches))]

    def drop() -> None:
        nonlocal batches
        batches._shutdown_workers()
        del batches

    child = multiprocessing.get_context("fork").Process(target=drop)
    child.start()
    child.join()
    assert child.exitcode == 0
    assert seen + [int(x) for x in batches] == list(range(50))


def test_in_a_thread() -> None:
    seen: list[int] = []
    batches = []

    def start() -> None:
        batches.append(iter(DataLoader(range(20), num_workers=2, **FORK)))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    # The workers outlive the thread that started them.
    time.sleep(0.05)
    seen += [int(x) for x in batches.pop()]
    assert seen == list(range(20))


def test_wrapper() -> None:
    try:
        raise LookupError("lost")
    except LookupError:
        wrapper = pickle.loads(pickle.dumps(ExceptionWrapper(where="somewhere")))
    with pytest.raises(LookupError, match="^Caught LookupError somewhere.\nOriginal Traceback"):
        wrapper.reraise()


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return not Path("/proc").exists()
    return state != "Z"


PROGRAM = """
import os, sys, time
import flambeau as torch
from flambeau.utils.data import DataLoader, Dataset

class Slow(Dataset):
    def __len__(self):
        return 10**6
    def __getitem__(self, index):
        if {amid} and index > 10:
            time.sleep(1000)
        return torch.full((20_000,), float(index))

if __name__ == "__main__":
    loader = DataLoader(Slow(), num_workers=2, multiprocessing_context="{method}",
                        persistent_workers={persistent})
    batches = iter(loader)
    next(batches)
    print(*[worker.pid for worker in batches._workers], flush=True)
    for batch in batches:
        time.sleep(0.001)
"""


def _started(tmp_path: Path, method: str = "fork", amid: bool = False,
             persistent: bool = False) -> tuple[subprocess.Popen, list[int]]:
    """The program above, in a session of its own, and its workers' ids."""
    file = tmp_path / "program.py"
    file.write_text(PROGRAM.format(method=method, amid=amid, persistent=persistent))
    process = subprocess.Popen(
        [sys.executable, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert process.stdout is not None
    return process, [int(word) for word in process.stdout.readline().split()]


def _all_gone(pids: list[int], seconds: float = 8) -> bool:
    end = time.monotonic() + seconds
    while any(_is_there(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize(("whole_group", "persistent"), [(True, False), (False, True)])
def test_an_interrupt_leaves_no_process(tmp_path: Path, whole_group: bool,
                                        persistent: bool) -> None:
    process, workers = _started(tmp_path, persistent=persistent)
    assert len(workers) == 2 and all(_is_there(pid) for pid in workers)
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert said.count("Traceback") == 1 and said.rstrip().endswith("KeyboardInterrupt")
    assert _all_gone(workers)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells children of their parent")
@pytest.mark.parametrize(("method", "amid"), [("fork", False), ("fork", True), ("spawn", False)])
def test_a_killed_parent_leaves_no_process(tmp_path: Path, method: str, amid: bool) -> None:
    before = set(os.listdir("/dev/shm"))
    process, workers = _started(tmp_path, method, amid)
    process.kill()
    process.communicate(timeout=20)
    assert _all_gone(workers)
    assert not [name for name in set(os.listdir("/dev/shm")) - before if "flambeau" in name]
