"""The thread pool that kernels run on: started when first needed, safe over fork.

A kernel is `void (ptr context, i64 begin, i64 end)`; `parallel_for(kernel, context, count, chunk)`
calls it on pieces of [0, count). Nested and concurrent use runs serially.
"""

import ctypes
import functools
import os
import platform
import signal
import sys
import threading
from typing import Any

from flambeau.backends.llvm import ahead, jit, pool_text
from flambeau.backends.threads import get_num_threads

_EXPORTS = ("parallel_for", "start_workers", "set_limit", "reset")
_lock = threading.RLock()
_started = 0
_ready_for = 0


def is_parallel() -> bool:
    """Whether this host has what the pool is made of: Linux, pthread and futex."""
    return sys.platform == "linux" and platform.machine() in pool_text.FUTEX_CALL


def _library() -> jit.Library:
    with _lock:  # there is one pool, whichever thread needs it first
        return _loaded()


@functools.cache
def _loaded() -> jit.Library:
    if not is_parallel():
        return jit.load(pool_text.SERIAL, ("parallel_for",))
    library = jit.load(pool_text.parallel_text(platform.machine()), _EXPORTS)
    os.register_at_fork(before=_before_fork, after_in_parent=_lock.release)
    os.register_at_fork(after_in_child=_after_fork)
    return library


def parallel_for_address() -> int:
    """Return the address of `void parallel_for(ptr kernel, ptr context, i64 count, i64 chunk)`."""
    return _library().address("parallel_for")


def ensure_started() -> None:
    """Have the workers running; cheap when they are."""
    if _ready_for == get_num_threads():
        return
    with _lock:
        _start()


def _start() -> None:
    global _started, _ready_for
    library = _library()
    count = get_num_threads()
    if is_parallel():
        helpers = count - 1
        if helpers > _started:
            _started = _start_workers(library, _started, helpers)
        _function(library, "set_limit", None, ctypes.c_int)(min(helpers, _started))
    _ready_for = count


def _start_workers(library: jit.Library, first: int, end: int) -> int:
    start = _function(library, "start_workers", ctypes.c_int, ctypes.c_int, ctypes.c_int)
    # workers inherit the mask: signals must reach Python's own threads
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        return int(start(first, end))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _before_fork() -> None:
    # what is made ahead may wait for the lock
    ahead.hold()
    _lock.acquire()


def _after_fork() -> None:
    """In the child the workers are gone, and whoever was using the pool too."""
    global _started, _ready_for
    _function(_library(), "reset", None)()
    _started = 0
    _ready_for = 0
    _lock.release()


def _function(library: jit.Library, name: str, *types: Any) -> "ctypes._FuncPointer":
    return ctypes.CFUNCTYPE(*types)(library.address(name))
