"""One block of memory for everything that a step makes and needs no longer when it is over."""

from __future__ import annotations

__all__ = ["Arena"]

ALIGNMENT = 64


class Arena:
    """Gives out parts of a block; a part is free again after the step that last needs it.

    >>> arena = Arena()
    >>> arena.take(100, 0, 1), arena.take(100, 1, 2), arena.take(100, 2, 3)
    (0, 128, 0)
    >>> arena.size
    256
    """

    def __init__(self) -> None:
        self.size = 0
        # Parts in use: (last step, start, end).
        self.used: list[tuple[int, int, int]] = []

    def take(self, size: int, first: int, last: int) -> int:
        """The start of ``size`` bytes for steps ``first`` to ``last``; calls go by ``first``."""
        size = max(-(-size // ALIGNMENT) * ALIGNMENT, ALIGNMENT)
        self.used = [part for part in self.used if part[0] >= first]
        start = self._best(size)
        self.used.append((last, start, start + size))
        self.size = max(self.size, start + size)
        return start

    def keep(self, start: int, size: int, last: int) -> None:
        """Leave ``size`` bytes that are in use to somebody else, until step ``last``."""
        self.used.append((last, start, start + -(-size // ALIGNMENT) * ALIGNMENT))

    def _best(self, size: int) -> int:
        """The tightest gap that is wide enough, else the end."""
        best, found, at = -1, -1, 0
        for start, end in sorted([(s, e) for _, s, e in self.used]):
            gap = start - at
            if gap >= size and (best < 0 or gap < best):
                best, found = gap, at
            at = max(at, end)
        return found if found >= 0 else at
