import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from flambeau.backends import large, reductions, threads
from flambeau.backends.llvm import fork_gate, jit, pool

N = 300_000
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


def work():
    x = np.arange(N, dtype=np.float32)
    assert (large.pointwise("add", x, 1.0) == x + 1).all()
    assert reductions.reduce("sum", np.ones(N, np.float32), None, False) == N


def in_child(call):
    """Run in a forked child; returns its exit status, of a hang SIGALRM."""
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(20)
            call()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(child, 0)[1]


def test_threads_are_set(two_threads):
    assert threads.get_num_threads() == 2
    for count in (1, 3, 2):
        threads.set_num_threads(count)
        assert threads.get_num_threads() == count
        work()
    with pytest.raises(RuntimeError):
        threads.set_num_threads(0)
    assert 1 <= threads.available() <= (os.cpu_count() or 1)


def test_many_python_threads_at_once(two_threads):
    failures = []

    def repeat():
        try:
            for _ in range(20):
                work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=repeat) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_the_gil_is_released(two_threads):
    x = np.random.default_rng(0).standard_normal(1 << 22).astype(np.float32)
    large.pointwise("tanh", x)
    ticks, done = [0], threading.Event()

    def count():
        while not done.is_set():
            ticks[0] += 1

    thread = threading.Thread(target=count)
    thread.start()
    before = ticks[0]
    for _ in range(5):
        large.pointwise("tanh", x)
    seen = ticks[0] - before
    done.set()
    thread.join()
    assert seen > 1000


@needs_fork
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_a_pool_of_its_own(two_threads):
    work()

    def twice():
        work()
        assert in_child(work) == 0

    assert in_child(twice) == 0
    work()


@needs_fork
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forks_while_threads_use_the_pool(two_threads):
    done = threading.Event()

    def keep_busy():
        while not done.is_set():
            work()

    threads = [threading.Thread(target=keep_busy) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert [in_child(work) for _ in range(8)] == [0] * 8
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_signals_reach_the_main_thread(two_threads):
    if not hasattr(signal, "setitimer"):
        pytest.skip("no timers on this system")
    work()
    caught = []
    before = signal.signal(signal.SIGALRM, lambda *_: caught.append(threading.current_thread()))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    threading.Event().wait(0.1)
    signal.signal(signal.SIGALRM, before)
    assert caught == [threading.main_thread()]


def test_the_process_ends_cleanly_right_after_work():
    code = (
        "import numpy as np; from flambeau.backends import large, threads;"
        "threads.set_num_threads(4);"
        "x = np.ones(1 << 20, np.float32);"
        "[large.pointwise('exp', x) for _ in range(20)]"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_a_host_without_futex_runs_serially(monkeypatch, two_threads):
    monkeypatch.setattr(pool, "is_parallel", lambda: False)
    library = pool._loaded.__wrapped__()
    monkeypatch.setattr(pool, "_library", lambda: library)
    monkeypatch.setattr(pool, "_ready_for", 0)
    pool.ensure_started()
    assert pool.parallel_for_address() == library.address("parallel_for")


@needs_fork
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forks_wait_for_threads_that_compile():
    entered, inside = threading.Event(), []

    def compile_slowly():
        with fork_gate.compiling():
            entered.set()
            threading.Event().wait(0.3)
            inside.append(True)

    def compile_in_child():
        assert inside
        jit.load("define i64 @answer() { ret i64 42 }", ("answer",))

    thread = threading.Thread(target=compile_slowly)
    thread.start()
    entered.wait()
    assert in_child(compile_in_child) == 0
    thread.join()
