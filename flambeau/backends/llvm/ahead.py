"""What will be needed soon, made ready by a thread of its own as soon as anything is compiled.

Where everything is on disk already nothing is done ahead: it is quick enough when it is needed.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable

__all__ = ["begin", "expect", "finish", "hold"]

_waiting: deque[Callable[[], object]] = deque()
_lock = threading.Lock()
_thread: threading.Thread | None = None
# Whether nothing may begin.
_held = False


def expect(*makers: Callable[[], object]) -> None:
    """Have these called, one after another, if something is compiled: what they make they keep."""
    _waiting.extend(makers)


def begin() -> None:
    """Begin with what is expected, as something is being compiled."""
    global _thread
    if not _waiting or (os.cpu_count() or 1) < 2:
        return
    with _lock:
        if not _held and (_thread is None or not _thread.is_alive()):
            _thread = threading.Thread(target=_run, name="flambeau ahead")
            _thread.start()


def finish() -> None:
    """Wait until nothing is being made any more; what is not begun yet is left."""
    _waiting.clear()
    thread = _thread
    if thread is not None and thread is not threading.current_thread():
        thread.join()


def hold() -> None:
    """`finish`, and let nothing begin until this process has been forked."""
    global _held
    with _lock:
        _held = True
    finish()


def _go_on() -> None:
    global _held
    _held = False


def _run() -> None:
    while _waiting:
        try:
            _waiting.popleft()()
        except Exception:
            # who needs it makes it again, and meets the error
            continue


def _in_child() -> None:
    global _lock, _thread
    _lock, _thread = threading.Lock(), None
    _go_on()


if hasattr(os, "register_at_fork"):
    # its locks must not be held in a child, where the thread is not
    os.register_at_fork(before=hold, after_in_parent=_go_on, after_in_child=_in_child)
