"""Tables of calls: what a plan runs between one node in NumPy and the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.backends.llvm import chores
from flambeau.compiler.calls import Call, Place

__all__ = ["Segment", "TableWriter"]

ndarray = np.ndarray
# Bytes moved, or operations done, from which other Python threads may run meanwhile, and from
# which calls are shared out together.
LONG = 1 << 16
# How many units of work calls side by side are cut into, and the least work of one.
PARTS = 32
LEAST = 1 << 14


class Segment:
    """Units that run as one table, or one node that runs in NumPy."""

    def __init__(self, table: ndarray | None, slots: list[int], call: Callable | None) -> None:
        self.table = table
        self.slots = slots
        self.call = call
        # Arrays that nobody needs once this has run.
        self.dying: list[int] = []


class TableWriter:
    """Writes tables: entries, and where in them addresses must be put."""

    def __init__(self, consts: dict[int, ndarray]) -> None:
        self.consts = consts
        self.segments: list[Segment] = []
        self.entries: list[list[int]] = []
        self.patches: list[tuple[int, int, int]] = []
        self.arena_words: list[tuple[int, int]] = []
        self.pending: list[tuple[int, list[tuple[int, int]]]] = []
        self.work = 0
        self.length = 0

    @property
    def here(self) -> int:
        """The number of the segment that has what was written last."""
        return len(self.segments) if self.entries else max(len(self.segments) - 1, 0)

    def run(self, calls: Sequence[Call]) -> None:
        """Run calls that need nothing of each other: their pieces as one run of the pool."""
        work = sum([c.work for c in calls])
        self.work += work
        if len(calls) > 1 and work >= LONG:
            self._several(calls, work)
            return
        for call in calls:
            self._entry(call.kernel, call.items, call.chunk, call.words)

    def test(self, flag: int) -> None:
        """End the table where the number at an address is not 0."""
        self._entry(0, 0, 0, [flag])

    def call(self, function: Callable[[list[Any]], None]) -> None:
        """Run something in Python."""
        self._close()
        self.segments.append(Segment(None, [], function))

    def finished(self) -> list[Segment]:
        """The segments, whose tables lack the addresses in the arena."""
        self._close()
        return self.segments

    def settle(self, arena: ndarray) -> None:
        """Put the arena's addresses into the tables."""
        start = arena.__array_interface__["data"][0]
        for number, words in self.pending:
            table = self.segments[number].table
            assert table is not None
            for word, byte in words:
                table[word] = start + byte

    def _several(self, calls: Sequence[Call], work: int) -> None:
        units = _shared_out(calls, max(work // PARTS, LEAST))
        pieces = [piece for unit in units for piece in unit]
        starts = [0]
        for unit in units:
            starts.append(starts[-1] + len(unit))
        words: list[Any] = [len(starts) + 1, *starts]
        contexts = [len(words) + 4 * len(pieces)]
        for call in calls:
            contexts.append(contexts[-1] + len(call.words))
        for at, begin, end in pieces:
            words += [calls[at].kernel, contexts[at], begin, end]
        for call in calls:
            words += call.words
        self._entry(chores.chore("several"), len(units), 1, words)

    def _entry(self, kernel: int, count: int, chunk: int, words: Sequence[Any]) -> None:
        entry = [kernel, count, max(chunk, 1), len(words)]
        for word in words:
            if not isinstance(word, tuple):
                entry.append(word)
                continue
            place: Place
            place, offset = word
            at = self.length + len(entry)
            if place.kind == "slot":
                self.patches.append((at, place.at, offset))
                entry.append(0)
            elif place.kind == "const":
                array = self.consts[place.at]
                entry.append(array.__array_interface__["data"][0] + offset)
            else:
                self.arena_words.append((at, place.at + offset))
                entry.append(0)
        self.entries.append(entry)
        self.length += len(entry)

    def _close(self) -> None:
        if not self.entries:
            return
        slots = sorted({slot for _, slot, _ in self.patches})
        at = {slot: i for i, slot in enumerate(slots)}
        patches = [(word, at[slot], offset) for word, slot, offset in self.patches]
        table = chores.table_words(patches, self.entries, self.work > LONG)
        start = int(table[chores.ENTRIES])
        self.pending.append((len(self.segments), [(start + w, b) for w, b in self.arena_words]))
        self.segments.append(Segment(table, slots, None))
        self.entries, self.patches, self.arena_words = [], [], []
        self.work = self.length = 0


def _shared_out(calls: Sequence[Call], share: int) -> list[list[tuple[int, int, int]]]:
    """Units of about as much work, the longest first: pieces (call, begin, end)."""
    pieces = []
    for at, call in enumerate(calls):
        cost = max(call.work, 1) / max(call.items, 1)
        step = max(int(share / cost) // call.grain, 1) * call.grain
        for begin in range(0, call.items, step):
            end = min(begin + step, call.items)
            pieces.append(((end - begin) * cost, (at, begin, end)))
    pieces.sort(key=lambda piece: -piece[0])
    units: list[list[tuple[int, int, int]]] = []
    filled = float(share)
    for cost, piece in pieces:
        if filled + cost > share:
            units.append([])
            filled = 0.0
        units[-1].append(piece)
        filled += cost
    return units
