"""In which order units run, and which of them side by side."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any

from flambeau.compiler.groups import Unit

__all__ = ["waves_of"]

# Bytes that units which could wait may make before their turn.
MOST_EARLY = 1 << 22


def waves_of(units: Sequence[Unit], writes: Callable[[Unit], bool],
             kind: Callable[[Unit], Any], made: Callable[[Unit], int]) -> list[list[Unit]]:
    """Units in an order that dependencies allow: what can fail first, those that write last.

    Units of one ``kind`` (None: of none) that can run at the same time stand in one list;
    ``made`` gives the bytes of memory that a unit's results take.
    """
    known = {u.number: u for u in units}
    ready: list[tuple[int, int]] = []
    # Per unit those that wait for it, though for others, too, it may be.
    waiting: dict[int, list[Unit]] = {}
    done = 0

    def enter(unit: Unit) -> None:
        left = unit.before & ~done
        if left:
            waiting.setdefault((left & -left).bit_length() - 1, []).append(unit)
        else:
            heapq.heappush(ready, (int(writes(unit)), unit.number))

    for u in units:
        enter(u)
    found = []
    while ready:
        last, number = heapq.heappop(ready)
        wave = [known[number]]
        like = kind(wave[0])
        if like is not None:
            wave += _alike([known[n] for rank, n in sorted(ready) if rank == last],
                           like, kind, made)
            ready = [(rank, n) for rank, n in ready if known[n] not in wave]
            heapq.heapify(ready)
        found.append(wave)
        for unit in wave:
            done |= 1 << unit.number
        for unit in wave:
            for u in waiting.pop(unit.number, ()):
                enter(u)
    assert sum(map(len, found)) == len(units), "units wait for each other"
    return found


def _alike(units: Sequence[Unit], like: Any, kind: Callable[[Unit], Any],
           made: Callable[[Unit], int]) -> list[Unit]:
    """Those of a kind, as far as what they make is not much."""
    found, early = [], 0
    for unit in units:
        if kind(unit) == like:
            early += made(unit)
            if early > MOST_EARLY:
                break
            found.append(unit)
    return found
