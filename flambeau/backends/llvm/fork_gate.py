"""A gate before forks: no thread may be inside LLVM or hold the compiler's locks meanwhile.

A child has none of the other threads, but the locks that they held, which nobody would release.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from flambeau.backends.llvm import ahead

__all__ = ["compiling"]

_changed = threading.Condition(threading.Lock())
# How deep each thread is inside, by its number.
_inside: Counter[int] = Counter()


@contextmanager
def compiling() -> Iterator[None]:
    """What is done inside is over, or not begun, when the process is forked."""
    thread = threading.get_ident()
    with _changed:
        _inside[thread] += 1
    try:
        yield
    finally:
        with _changed:
            _inside[thread] -= 1
            if not _inside[thread]:
                del _inside[thread]
                _changed.notify_all()


def _before_fork() -> None:
    # what is made ahead goes through this gate, too
    ahead.hold()
    own = threading.get_ident()
    _changed.acquire()
    while any(thread != own for thread in _inside):
        _changed.wait()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_changed.release,
                        after_in_child=_changed.release)
