"""What is expected is made by another thread, once something is compiled, and by then only."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from flambeau.backends.llvm import ahead, jit


@pytest.fixture
def folder(tmp_path, monkeypatch):
    jit.host()  # known, so that this folder does not get it
    monkeypatch.setenv("FLAMBEAU_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    ahead.finish()
    yield tmp_path / "objects"
    ahead.finish()


def text(number: int) -> str:
    return f"define i64 @answer() {{\n  ret i64 {number}\n}}\n"


def load(number: int) -> jit.Library:
    return jit.load(text(number), ("answer",))


def test_expected_things_are_made_when_something_is_compiled(folder):
    made: list[threading.Thread] = []
    load(1)
    ahead.expect(lambda: made.append(threading.current_thread()), lambda: load(3))
    load(1)  # it is on disk
    assert not made
    load(2)
    ahead._thread.join()
    assert made and made[0] is not threading.current_thread()
    assert len(list(folder.iterdir())) == 3


def test_what_fails_keeps_nothing_else_from_being_made(folder):
    made = []
    ahead.expect(lambda: 1 / 0, lambda: made.append(True))
    load(1)
    ahead._thread.join()
    assert made


def test_a_machine_with_one_processor_makes_nothing_ahead(folder, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    made = []
    ahead.expect(lambda: made.append(True))
    load(1)
    assert not made


def test_threads_that_need_the_same_code_compile_it_once(folder, monkeypatch):
    begun, emitted = threading.Event(), []
    real = jit._emitted

    def slow(text: str) -> bytes:
        emitted.append(text)
        begun.set()
        time.sleep(0.05)
        return real(text)

    monkeypatch.setattr(jit, "_emitted", slow)
    found = []
    other = threading.Thread(target=lambda: found.append(jit.object_code(text(7))))
    other.start()
    begun.wait()
    assert jit.object_code(text(7)) == jit.object_code(text(7))
    other.join()
    assert emitted == [text(7)] and len(set(found)) == 1


def test_a_failure_of_one_thread_is_none_of_another(folder, monkeypatch):
    begun, turns = threading.Event(), []
    real = jit._emitted

    def first_fails(text: str) -> bytes:
        turns.append(text)
        begun.set()
        time.sleep(0.05)
        if len(turns) == 1:
            raise RuntimeError("no")
        return real(text)

    monkeypatch.setattr(jit, "_emitted", first_fails)
    errors = []

    def failing() -> None:
        with pytest.raises(RuntimeError):
            jit.object_code(text(8))
        errors.append(True)

    other = threading.Thread(target=failing)
    other.start()
    begun.wait()
    assert jit.object_code(text(8))
    other.join()
    assert errors and not jit._jobs


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked there")
def test_a_child_that_is_forked_meanwhile_can_compile(tmp_path):
    code = """
import os, threading, time
os.cpu_count = lambda: 2
from flambeau.backends.llvm import ahead, jit, pool
def load(n): jit.load("define i64 @answer() {\\n ret i64 %d\\n}\\n" % n, ("answer",))
pool.ensure_started()
for turn in range(4):
    begun = threading.Event()
    def many():
        begun.set()
        for n in range(30):
            load(1000 * turn + n)
            pool.parallel_for_address()
    ahead.expect(many, lambda: load(200))
    load(1000 * turn + 999)
    begun.wait()
    child = os.fork()
    if not child:
        ahead.expect(lambda: load(300))
        load(2)
        pool.ensure_started()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path),
                   "FLAMBEAU_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment,
                          capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
