"""Choices between ways to compute the same, by measurement at first use, kept on disk.

A way is left for another only where that is clearly faster, so that noise does not decide.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from flambeau.backends.llvm import jit, object_cache
from flambeau.backends.llvm.host import compiler_build

# how much faster another way has to be, and how often, or how long, each is timed
MARGIN = 1.04
ROUNDS = (3, 30)
SECONDS = 0.03

# a way may itself be a choice that is still open
_lock = threading.RLock()
# None where there was no answer on disk when it was first asked for
_known: dict[str, str | None] = {}


def known(question: str) -> str | None:
    """The answer to a question that was measured before; None for others."""
    if question not in _known:
        _known[question] = _kept(question)
    return _known[question]


def fastest(question: str, ways: Mapping[str, Callable[[], Any]]) -> str:
    """Return the name of the way to take: the first one, or one that is clearly faster.

    The question names what is computed, and on how many threads; its answer serves every later
    process on this kind of machine.
    """
    answer = _known.get(question)
    if answer is not None:
        return answer
    with _lock:
        kept = _kept(question)
        if kept is None or kept not in ways:
            kept = _measured(ways)
            object_cache.store(_name(question), kept.encode())
        _known[question] = kept
    return kept


def _name(question: str) -> str:
    machine = jit.host()
    return object_cache.key("choice", question, *machine[:3], jit.FORMAT, compiler_build())


def _kept(question: str) -> str | None:
    found = object_cache.load(_name(question))
    return None if found is None else found.decode("utf-8", "replace")


def _measured(ways: Mapping[str, Callable[[], Any]]) -> str:
    for way in ways.values():
        way()
    best = dict.fromkeys(ways, float("inf"))
    begun = time.perf_counter()
    for turn in range(ROUNDS[1]):
        if turn >= ROUNDS[0] and time.perf_counter() - begun > SECONDS * len(ways):
            break
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - start)
    first = next(iter(ways))
    found = min(best, key=best.__getitem__)
    return found if best[found] * MARGIN < best[first] else first
