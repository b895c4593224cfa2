"""Measurements: times of a statement, their statistics, and the text that sums them up."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from flambeau.backends.threads import get_num_threads, set_num_threads

__all__ = ["Measurement", "TaskSpec", "ordered_unique", "select_unit", "set_torch_threads",
           "trim_sigfig", "unit_to_english"]

MOST_FIGURES = 4
# What a clock can tell apart, in seconds.
LEAST_CONFIDENCE = 25e-9
# Of a normal distribution, what 90 % of the values lie within.
Z_VALUE = 1.645
# The interquartile range, as a part of the median, from which on a measurement is suspect.
SUSPECT = 0.1
GROSSLY_SUSPECT = 0.25

_UNITS = {-3: ("ns", 1e-9), -2: ("us", 1e-6), -1: ("ms", 1e-3)}
_ENGLISH = {"ns": "nanosecond", "us": "microsecond", "ms": "millisecond", "s": "second"}


@dataclasses.dataclass(repr=False, frozen=True)
class TaskSpec:
    """What is timed: the statement, its setup, and what to call it in tables."""

    stmt: str
    setup: str
    global_setup: str = ""
    label: str | None = None
    sub_label: str | None = None
    description: str | None = None
    env: str | None = None
    num_threads: int = 1

    @property
    def title(self) -> str:
        """The label, or else the statement; the sub-label after it."""
        if self.label is None and "\n" in self.stmt:
            aside = f" ({self.sub_label})" if self.sub_label else ""
            return f"stmt:{aside}\n{textwrap.indent(self.stmt, '  ')}"
        name = self.stmt if self.label is None else self.label
        return f"{name}: {self.sub_label}" if self.sub_label else name

    def setup_str(self) -> str:
        """The setup with its heading; nothing where there is none."""
        if self.setup in ("", "pass"):
            return ""
        if "\n" in self.setup:
            return f"setup:\n{textwrap.indent(self.setup, '  ')}"
        return f"setup: {self.setup}"

    def summarize(self) -> str:
        """Title, description and setup, each on lines of its own."""
        parts = [part for part in (self.title, self.description or "", self.setup_str()) if part]
        return "\n".join([part + "\n" if "\n" in part else part for part in parts])


@dataclasses.dataclass(repr=False)
class Measurement:
    """Times in seconds, each of ``number_per_run`` runs of the statement.

    The fields of its TaskSpec are attributes as well.

    >>> from flambeau.utils.benchmark import Measurement, TaskSpec
    >>> Measurement(4, [2.0, 6.0, 3.0], TaskSpec("f()", "pass")).median
    0.75
    """

    number_per_run: int
    raw_times: list[float]
    task_spec: TaskSpec
    metadata: dict[Any, Any] | None = None

    def __getattr__(self, name: str) -> Any:
        if name in TaskSpec.__dataclass_fields__:
            return getattr(self.task_spec, name)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    @property
    def times(self) -> list[float]:
        """Seconds of one run of the statement, measurement by measurement."""
        return [seconds / self.number_per_run for seconds in self.raw_times]

    def _quantile(self, q: float) -> float:
        return float(np.quantile(self.times, q)) if self.raw_times else -1.0

    @property
    def median(self) -> float:
        """The median time of one run."""
        return self._quantile(0.5)

    @property
    def mean(self) -> float:
        """The mean time of one run."""
        return float(np.mean(self.times)) if self.raw_times else -1.0

    @property
    def iqr(self) -> float:
        """The range of the middle half of the times."""
        return self._quantile(0.75) - self._quantile(0.25)

    @property
    def significant_figures(self) -> int:
        """How many figures of the median mean something, by the spread of the middle half."""
        ordered = sorted(self.times)
        count = len(ordered)
        middle = np.array(ordered[count // 4:-(-3 * count // 4)], np.float32)
        spread = Z_VALUE * float(middle.std()) / len(middle) ** 0.5
        certain = np.log10(np.float32(self.median / max(spread, LEAST_CONFIDENCE)))
        return min(max(int(np.floor(certain)), 1), MOST_FIGURES)

    def meets_confidence(self, threshold: float = SUSPECT) -> bool:
        """Whether the interquartile range is below this part of the median."""
        return self.iqr / self.median < threshold

    @property
    def _warnings(self) -> tuple[str, ...]:
        if not self.raw_times or self.meets_confidence(SUSPECT):
            return ()
        grossly = not self.meets_confidence(GROSSLY_SUSPECT)
        reason = "This suggests significant environmental influence." if grossly else \
            "This could indicate system fluctuation."
        return (f"  WARNING: Interquartile range is {self.iqr / self.median * 100:.1f}% of the "
                f"median measurement.\n           {reason}",)

    @property
    def has_warnings(self) -> bool:
        """Whether the times vary suspiciously."""
        return bool(self._warnings)

    @property
    def title(self) -> str:
        """The title of what was timed."""
        return self.task_spec.title

    @property
    def as_row_name(self) -> str:
        """What a row of a table is called."""
        return self.sub_label or self.stmt or "[Unknown]"

    def __repr__(self) -> str:
        count, threads = len(self.raw_times), self.num_threads
        unit, scale = select_unit(self.median)
        low, high = self._quantile(0.25) / scale, self._quantile(0.75) / scale
        lines = [object.__repr__(self), self.task_spec.summarize(),
                 f"  {'Median: ' if count > 1 else ''}{self.median / scale:.2f} {unit}"]
        if count >= 4:
            lines.append(f"  IQR:    {self.iqr / scale:.2f} {unit} ({low:.2f} to {high:.2f})")
        lines.append(f"  {count} measurement{'s' if count > 1 else ''}, {self.number_per_run} runs "
                     f"{'per measurement,' if count > 1 else ','} {threads} "
                     f"thread{'s' if threads > 1 else ''}")
        return "\n".join([*lines, *self._warnings])

    @staticmethod
    def merge(measurements: Iterable[Measurement]) -> list[Measurement]:
        """Measurements of the same task as one each, of times of single runs."""
        times: dict[TaskSpec, list[float]] = {}
        for m in measurements:
            times.setdefault(m.task_spec, []).extend(m.times)
        return [Measurement(1, seconds, task) for task, seconds in times.items()]


def select_unit(t: float) -> tuple[str, float]:
    """The unit that suits ``t`` seconds, and its length in seconds.

    >>> select_unit(0.0025)
    ('ms', 0.001)
    """
    with np.errstate(all="ignore"):
        magnitude = float(np.log10(np.float32(t))) // 3
    return _UNITS.get(int(magnitude) if np.isfinite(magnitude) else 0, ("s", 1))


def unit_to_english(u: str) -> str:
    """The name of a unit, such as "microsecond" for "us"."""
    return _ENGLISH[u]


def trim_sigfig(x: float, n: int) -> float:
    """``x`` rounded to ``n`` significant figures, in single precision.

    >>> round(trim_sigfig(3.14159, 2), 5)
    3.1
    """
    if n != int(n):
        raise AssertionError("Number of significant figures must be an integer")
    magnitude = int(np.ceil(np.log10(np.abs(np.float32(x)))))
    scale = 10 ** (magnitude - n)
    return float(np.round(np.float32(x / scale)) * np.float32(scale))


def ordered_unique(elements: Iterable[Any]) -> list[Any]:
    """The elements in the order in which they first come, each once."""
    return list(dict.fromkeys(elements))


@contextmanager
def set_torch_threads(n: int) -> Iterator[None]:
    """Compute with ``n`` threads inside of the block."""
    before = get_num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(before)
