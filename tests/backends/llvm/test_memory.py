import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from flambeau.backends import memory
from flambeau.base import config

F32 = np.dtype(np.float32)
BIG = (memory.THRESHOLD // 4,)


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    monkeypatch.setattr(memory, "_cache", memory.BufferCache(memory.DEFAULT_LIMIT))


def address(array):
    return array.__array_interface__["data"][0]


def test_small_arrays_are_numpy_s_own():
    array = memory.empty((1000,), F32)
    assert array.base is None and array.shape == (1000,) and array.dtype == F32


@pytest.mark.parametrize("count", [1 << 14, 1 << 20, BIG[0]])
def test_from_64_kb_on_arrays_are_aligned(count):
    array = memory.empty((2, count // 2), F32)
    assert address(array) % memory.ALIGNMENT == 0
    assert array.shape == (2, count // 2) and array.flags.c_contiguous and array.flags.writeable


def test_a_dead_buffer_is_handed_out_again():
    first = memory.empty(BIG, F32)
    assert address(first) % memory.ALIGNMENT == 0
    assert first.flags.c_contiguous and first.flags.writeable
    place = address(first)
    del first
    assert memory.cached_bytes() == memory.THRESHOLD
    second = memory.empty((1, *BIG), F32)
    assert address(second) == place and memory.cached_bytes() == 0


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[5:],
        lambda a: a.reshape(2, -1)[1],
        lambda a: a.view(np.int32)[::3][2:],
        lambda a: memoryview(a)[3:],
        lambda a: np.asarray(memoryview(a)),
        lambda a: np.lib.stride_tricks.as_strided(a, (4,), (16,)),
        lambda a: iter(a),
    ],
)
def test_a_buffer_still_viewed_is_never_handed_out(view):
    array = memory.empty(BIG, F32)
    array[:] = 1
    place, kept = address(array), view(array)
    del array
    gc.collect()
    others = [memory.empty(BIG, F32) for _ in range(2)]
    assert place not in [address(other) for other in others]
    for other in others:
        other[:] = 2
    assert next(iter(kept)) in (1, np.float32(1).view(np.int32)) or kept[0][0] == 1
    del kept
    gc.collect()
    assert memory.cached_bytes() == memory.THRESHOLD


def test_a_buffer_much_too_large_is_not_wasted():
    large = memory.empty((4 * BIG[0],), F32)
    place = address(large)
    del large
    assert address(memory.empty(BIG, F32)) != place


def test_a_buffer_serves_requests_a_little_smaller():
    first = memory.empty((BIG[0] + 1000,), F32)
    place = address(first)
    del first
    assert address(memory.empty((BIG[0] + 900,), F32)) == place


@pytest.mark.parametrize("count", [1 << 15, BIG[0]])
def test_an_array_owns_its_memory_until_a_second_one_views_it(count):
    array = memory.empty((count,), F32)
    assert memory.is_owner(array)
    other = array[1:]
    assert not memory.is_owner(array) and not memory.is_owner(other)
    del other
    assert memory.is_owner(array)


def test_a_part_of_an_array_owns_nothing():
    assert memory.is_owner(np.zeros(10))
    assert not memory.is_owner(np.zeros(1000)[10:20])


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(memory._cache, "limit", 3 * memory.THRESHOLD)
    arrays = [memory.empty(BIG, F32) for _ in range(5)]
    arrays.clear()
    assert memory.cached_bytes() == 3 * memory.THRESHOLD
    huge = memory.empty((4 * BIG[0],), F32)
    del huge
    assert memory.cached_bytes() == 3 * memory.THRESHOLD
    memory.empty_cache()
    assert memory.cached_bytes() == 0


def test_it_can_be_turned_off(monkeypatch):
    monkeypatch.setattr(memory._cache, "limit", 0)
    array = memory.empty(BIG, F32)
    assert array.shape == BIG
    del array
    assert memory.cached_bytes() == 0


@pytest.mark.parametrize(("text", "limit"), [("0", 0), ("64", 64 << 20), ("", 1 << 30)])
def test_the_switch(text, limit, monkeypatch):
    monkeypatch.setenv("FLAMBEAU_BUFFER_CACHE", text)
    assert config.buffer_cache(memory.DEFAULT_LIMIT) == limit


def test_a_switch_that_is_no_number(monkeypatch):
    monkeypatch.setenv("FLAMBEAU_BUFFER_CACHE", "much")
    with pytest.raises(ValueError, match="FLAMBEAU_BUFFER_CACHE"):
        config.buffer_cache(memory.DEFAULT_LIMIT)


def test_threads_never_share_a_buffer():
    failures = []

    def use(mark):
        for _ in range(15):
            array = memory.empty(BIG, F32)
            ends = array[:: BIG[0] - 1]
            ends[:] = mark
            if not (ends == mark).all():
                failures.append(mark)

    threads = [threading.Thread(target=use, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_forked_while_the_lock_is_held():
    code = (
        "import os, numpy as np; from flambeau.backends import memory\n"
        "shape, f32 = (memory.THRESHOLD // 4,), np.dtype('f4')\n"
        "memory.empty(shape, f32)\n"
        "memory._cache._lock.acquire()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    memory.empty(shape, f32)\n"
        "    os._exit(memory.cached_bytes() != memory.THRESHOLD)\n"
        "os._exit(os.waitpid(child, 0)[1] != 0)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, env=environment, timeout=30).returncode == 0
