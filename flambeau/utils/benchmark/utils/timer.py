"""The Timer: a statement run in loops of a length that makes the clock's cost negligible."""

from __future__ import annotations

import enum
import sys
import textwrap
import timeit
from collections.abc import Callable
from typing import Any

from flambeau.utils.benchmark.utils.common import Measurement, TaskSpec, set_torch_threads

__all__ = ["Language", "Timer", "timer"]

# Times of zero would be divided by.
LEAST_SECONDS = 1e-9
# The part of a measurement that the clock itself may take.
MOST_OVERHEAD = 1e-4
# Seconds by which an adaptive measurement finds its number of runs.
ADAPTIVE_BLOCK = 0.05
# A longer loop would overflow a 32-bit counter.
LONGEST_LOOP = 2**31 - 1


def timer() -> float:
    """Seconds of a clock that only grows."""
    return timeit.default_timer()


class Language(enum.Enum):
    """What a statement is written in."""

    PYTHON = 0
    CPP = 1


class Timer:
    """Times a statement, which is text, with one thread by default.

    ``setup`` runs once before each loop; ``globals`` are the names that both see, ``torch`` among
    them. The other arguments say what tables call it: rows by ``label`` and ``sub_label``, columns
    by ``description``. ValueError for a statement that is no text, NotImplementedError for one in
    C++.

    >>> from flambeau.utils.benchmark import Timer
    >>> measured = Timer("x + 1", setup="x = torch.ones(3)").timeit(100)
    >>> measured.number_per_run, measured.median > 0
    (100, True)
    """

    _timer_cls: type = timeit.Timer

    def __init__(self, stmt: str = "pass", setup: str = "pass", global_setup: str = "",
                 timer: Callable[[], float] = timer, globals: dict[str, Any] | None = None,
                 label: str | None = None, sub_label: str | None = None,
                 description: str | None = None, env: str | None = None, num_threads: int = 1,
                 language: Language | str = Language.PYTHON) -> None:
        if not isinstance(stmt, str):
            raise ValueError("Currently only a `str` stmt is supported.")
        if language in (Language.CPP, "cpp", "c++"):
            raise NotImplementedError("statements in C++ take a compiler, which is not used here: "
                                      "time a Python statement instead")
        if language not in (Language.PYTHON, "py", "python"):
            raise ValueError(f"Invalid language `{language}`.")
        if global_setup:
            raise ValueError(f"global_setup is C++ only, got `{global_setup}`. Most likely this "
                             "code can simply be moved to `setup`.")
        self._globals = dict(globals or {})
        # The package under whatever name it is loaded; a layer below it cannot import it.
        self._globals.setdefault("torch", sys.modules["flambeau"])
        self._language = Language.PYTHON
        stmt, setup = _dedented(stmt), _dedented(setup)
        self._timer = self._timer_cls(stmt=stmt, setup=setup, timer=timer, globals=self._globals)
        self._task_spec = TaskSpec(stmt, setup, global_setup, label, sub_label, description, env,
                                   num_threads)

    def _timeit(self, number: int) -> float:
        return max(self._timer.timeit(number), LEAST_SECONDS)

    def timeit(self, number: int = 1_000_000) -> Measurement:
        """One measurement of ``number`` runs, after a warm-up of a hundredth of them."""
        with set_torch_threads(self._task_spec.num_threads):
            self._timeit(max(number // 100, 2))
            return Measurement(number, [self._timeit(number)], self._task_spec)

    def repeat(self, repeat: int = -1, number: int = -1) -> None:
        """Not here: ``blocked_autorange`` repeats."""
        raise NotImplementedError("See `Timer.blocked_autorange.`")

    def autorange(self, callback: Any = None) -> None:
        """Not here: ``blocked_autorange`` finds how many runs to make."""
        raise NotImplementedError("See `Timer.blocked_autorange.`")

    def blocked_autorange(self, callback: Callable[[int, float], Any] | None = None,
                          min_run_time: float = 0.2) -> Measurement:
        """Measurements for ``min_run_time`` seconds, each of as many runs as the clock needs.

        ``callback(runs, seconds)`` is called after each.
        """
        return self._measured(self._block_size(min_run_time), lambda m: True, min_run_time, None,
                              callback)

    def adaptive_autorange(self, threshold: float = 0.1, *, min_run_time: float = 0.01,
                           max_run_time: float = 10.0,
                           callback: Callable[[int, float], Any] | None = None) -> Measurement:
        """Measurements until their interquartile range is below this part of their median.

        At least four, and at most ``max_run_time`` seconds of them.
        """
        return self._measured(
            self._block_size(ADAPTIVE_BLOCK),
            lambda m: len(m.raw_times) > 3 and m.meets_confidence(threshold), min_run_time,
            max_run_time, callback)

    def _measured(self, number: int, enough: Callable[[Measurement], bool], least: float,
                  most: float | None, callback: Callable[[int, float], Any] | None) -> Measurement:
        found = Measurement(number, [], self._task_spec)
        total = 0.0
        with set_torch_threads(self._task_spec.num_threads):
            while not found.raw_times or total < least or not enough(found):
                seconds = self._timeit(number)
                found.raw_times.append(seconds)
                total += seconds
                if callback:
                    callback(number, seconds)
                if most and total > most:
                    break
        return found

    def _block_size(self, min_run_time: float) -> int:
        """How many runs make the clock's own time negligible; finding out warms up as well."""
        with set_torch_threads(self._task_spec.num_threads):
            overhead = sorted([self._timeit(0) for _ in range(5)])[2]
            number = 1
            while number * 10 <= LONGEST_LOOP:
                seconds = self._timeit(number)
                if seconds > min_run_time:
                    break
                if overhead / seconds <= MOST_OVERHEAD and seconds >= min_run_time / 1000:
                    break
                number *= 10
        return number


def _dedented(code: str) -> str:
    return textwrap.dedent(code).removeprefix("\n").rstrip()
